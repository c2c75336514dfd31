//! Queries, keys and values: the product, the norm of every head and the rotation by position, in one pass.

use burn::tensor::Tensor;

use super::linear::host_linear;
use super::norm::inverse_root;
use super::plain;
use crate::Weight;
use crate::host::flex_slice;

/// Angles of rotary position embeddings, as cosines and sines, `[positions, pairs]` each.
///
/// Numbers `i` and `i + pairs` of a head are one pair, which is turned by the angle; numbers from `2 pairs` on stay as they are.
#[derive(Debug, Clone)]
pub struct Rotation {
    cos: Vec<f32>,
    sin: Vec<f32>,
    pairs: usize,
}

impl Rotation {
    /// The rotation of positions `first .. first + len`: the angle of pair `i` at position `p` is `p * frequencies[i]`; cosines and
    /// sines are multiplied by `factor`.
    pub fn new(frequencies: &[f64], factor: f64, first: usize, len: usize) -> Self {
        let angles = || {
            let positions = first..first + len;
            // Angles are rounded to f32 before their cosine is taken, as all implementations do.
            positions.flat_map(|position| {
                frequencies
                    .iter()
                    .map(move |&frequency| f64::from(position as f32 * frequency as f32))
            })
        };
        Self {
            cos: angles().map(|angle| (angle.cos() * factor) as f32).collect(),
            sin: angles().map(|angle| (angle.sin() * factor) as f32).collect(),
            pairs: frequencies.len(),
        }
    }

    /// Cosines, `[positions, pairs]`, row by row.
    pub fn cos(&self) -> &[f32] {
        &self.cos
    }

    /// Sines, `[positions, pairs]`, row by row.
    pub fn sin(&self) -> &[f32] {
        &self.sin
    }

    /// Pairs of numbers of a head that are turned.
    pub fn pairs(&self) -> usize {
        self.pairs
    }
}

/// Root-mean-square norms of the heads of queries and of keys; weights `[Dh]`.
#[derive(Debug, Clone, Copy)]
pub struct HeadNorms<'a> {
    /// Of queries.
    pub query: &'a Tensor<1>,
    /// Of keys.
    pub key: &'a Tensor<1>,
    /// What is added to the mean square.
    pub epsilon: f64,
}

/// Heads of queries, of keys and of values that lie side by side, and what is done to them before attention.
#[derive(Debug, Clone, Copy)]
pub struct Heads<'a> {
    /// Heads of queries, `H`.
    pub query: usize,
    /// Heads of keys and as many of values, `K`.
    pub key_value: usize,
    /// Width of a head, `Dh`.
    pub width: usize,
    /// Norms of queries and keys, before the rotation.
    pub norms: Option<HeadNorms<'a>>,
    /// Rotation of queries and keys.
    pub rotation: Option<&'a Rotation>,
}

/// Queries, keys and values as attention takes them: `x · weight + bias`, normed and rotated as `heads` say. `None` where a tensor
/// is not a plain one of the CPU.
///
/// # Shapes
///
/// - x: `[B, T, D]`, weight: `[D, (H + 2 K) Dh]`, bias: `[(H + 2 K) Dh]`
/// - output: `[B, T, (H + 2 K) Dh]`
pub fn linear_heads(x: &Tensor<3>, weight: &Weight, bias: Option<&Tensor<1>>, heads: Heads<'_>) -> Option<Tensor<3>> {
    let ([_, t, _], [_, p]) = (x.dims(), weight.dims());
    let norms = match heads.norms {
        Some(norms) => Some((plain(norms.query)?, plain(norms.key)?, norms.epsilon)),
        None => None,
    };
    let norms = norms
        .as_ref()
        .map(|(query, key, epsilon)| (flex_slice(query), flex_slice(key), *epsilon));
    host_linear(
        x,
        weight,
        bias,
        #[inline(always)]
        |start, y, bias| {
            if let Some(bias) = bias {
                crate::vector::add_scaled(y, 1.0, bias);
            }
            let turned = (heads.query + heads.key_value) * heads.width;
            for (head, y) in y[..turned].chunks_exact_mut(heads.width).enumerate() {
                if let Some((query, key, epsilon)) = norms {
                    let scale = if head < heads.query { query } else { key };
                    let factor = inverse_root(y, epsilon);
                    for (y, scale) in y.iter_mut().zip(scale) {
                        *y = *y * factor * scale;
                    }
                }
                if let Some(rotation) = heads.rotation {
                    rotate(y, rotation, start / p % t);
                }
            }
        },
    )
}

/// Turns the pairs of one head by the angles of `position`, counted from the first of the rotation.
#[inline(always)]
fn rotate(head: &mut [f32], rotation: &Rotation, position: usize) {
    let pairs = rotation.pairs;
    let (first, rest) = head.split_at_mut(pairs);
    let angles = position * pairs..(position + 1) * pairs;
    let (cos, sin) = (&rotation.cos[angles.clone()], &rotation.sin[angles]);
    for (((a, b), cos), sin) in first.iter_mut().zip(&mut rest[..pairs]).zip(cos).zip(sin) {
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}
