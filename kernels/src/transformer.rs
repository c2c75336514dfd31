//! The parts of a transformer block between its matrix products, in few passes over memory on the CPU.
//!
//! Each function takes any tensor. On plain CPU tensors it works in host memory: biases and residuals are written before a
//! product adds to them, and attention takes the causal half alone, head by head, while scores are in cache. On other devices,
//! and where gradients are wanted, it is the same computation in burn's operations; results differ in the last bits.
//!
//! Shapes: `B` rows, `T` tokens, `D` d_model, `H` heads, `Dh` d_head, `N` inputs, `P` outputs of a linear layer.

use burn::backend::Flex;
use burn::tensor::{Tensor, activation};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::gemm::{Matrix, gemm, gemm_add};
use crate::host::{contiguous, flex_slice, flex_slice_mut, into_flex};
use crate::{from_vec, matmul, vector};

/// Queries whose scores are taken at a time; keys after the last of them are not looked at.
const QUERIES: usize = 64;
/// Numbers that one task works on: a few microseconds of work.
const PER_TASK: usize = 1 << 15;

/// `x · weight + bias`, and `+ residual` where there is one.
///
/// # Shapes
///
/// - x: `[B, T, N]`, weight: `[N, P]`, bias: `[P]`, residual: `[B, T, P]`
/// - output: `[B, T, P]`
pub fn linear(x: Tensor<3>, weight: &Tensor<2>, bias: &Tensor<1>, residual: Option<Tensor<3>>) -> Tensor<3> {
    let [b, t, n] = x.dims();
    let p = bias.dims()[0];
    let host = || {
        let (x, weight, bias) = (plain(&x)?, plain(weight)?, plain(bias)?);
        let mut out = Vec::with_capacity(b * t * p);
        let bias = flex_slice(&bias);
        match &residual {
            Some(residual) => {
                let residual = plain(residual)?;
                for row in flex_slice(&residual).chunks_exact(p) {
                    out.extend(row.iter().zip(bias).map(|(a, b)| a + b));
                }
            }
            None => (0..b * t).for_each(|_| out.extend_from_slice(bias)),
        }
        gemm_add(
            &mut out,
            Matrix::rows(flex_slice(&x), n),
            Matrix::rows(flex_slice(&weight), p),
        );
        Some(out)
    };
    if let Some(out) = host() {
        return from_vec(out, [b, t, p], &x.device()); // [B, T, P]
    }
    let y = matmul(x.reshape([b * t, n]), weight.clone()); // [B T, P]
    let y = (y + bias.clone().reshape([1, p])).reshape([b, t, p]);
    match residual {
        Some(residual) => residual + y,
        None => y,
    }
}

/// GPT-2's activation, the approximation of GELU by a hyperbolic tangent: `x/2 (1 + tanh u) = x sigmoid(2u)` with
/// `u = sqrt(2/pi) (x + 0.044715 x^3)`.
pub fn gelu_tanh<const R: usize>(x: Tensor<R>) -> Tensor<R> {
    let scale = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
    match into_flex(x) {
        Ok(flex) => {
            let mut flex = contiguous(flex);
            let (linear, cubic) = (scale as f32, (0.044715 * scale) as f32);
            flex_slice_mut(&mut flex).par_chunks_mut(PER_TASK).for_each(|values| {
                pulp::Arch::new().dispatch(|| {
                    for x in values {
                        let twice_u = *x * (*x * *x * cubic + linear);
                        *x /= 1.0 + vector::exp(-twice_u);
                    }
                });
            });
            Tensor::from_primitive::<Flex>(flex)
        }
        Err(x) => {
            let twice_u = x.clone() * (x.clone() * x.clone() * (0.044715 * scale) + scale);
            x * activation::sigmoid(twice_u)
        }
    }
}

/// Causal attention of all heads, `softmax(scale q kᵀ) v`; `None` where the tensor is not a plain one of the CPU.
///
/// # Shapes
///
/// - qkv: `[B, T, 3 D]`, queries, keys and values side by side, in each the heads side by side
/// - output: `[B, T, D]`
pub fn causal_attention(qkv: &Tensor<3>, heads: usize, scale: f64) -> Option<Tensor<3>> {
    let [b, t, triple] = qkv.dims();
    let (d, d_head) = (triple / 3, triple / 3 / heads.max(1));
    let host = plain(qkv)?;
    let mut out = vec![0.0; b * t * d];
    out.par_chunks_mut(t * d)
        .zip(flex_slice(&host).par_chunks(t * triple))
        .for_each(|(out, qkv)| {
            let (mut scores, mut z) = (Vec::new(), Vec::new());
            for head in 0..heads {
                // Rows of this head in the part of queries, keys or values.
                let rows = |part: usize, from: usize, to: usize| {
                    let first = from * triple + part * d + head * d_head;
                    Matrix::strided(&qkv[first..], to - from, d_head, triple)
                };
                for from in (0..t).step_by(QUERIES) {
                    let to = (from + QUERIES).min(t);
                    scores.clear();
                    scores.resize((to - from) * to, 0.0);
                    gemm(&mut scores, rows(0, from, to), rows(1, 0, to).transposed()); // [queries, keys]
                    pulp::Arch::new().dispatch(|| {
                        for (query, scores) in (from..to).zip(scores.chunks_exact_mut(to)) {
                            let (seen, hidden) = scores.split_at_mut(query + 1);
                            softmax(seen, scale as f32);
                            hidden.fill(0.0);
                        }
                    });
                    z.clear();
                    z.resize((to - from) * d_head, 0.0);
                    gemm(&mut z, Matrix::rows(&scores, to), rows(2, 0, to)); // [queries, Dh]
                    for (query, z) in (from..to).zip(z.chunks_exact(d_head)) {
                        out[query * d + head * d_head..][..d_head].copy_from_slice(z);
                    }
                }
            }
        });
    Some(from_vec(out, [b, t, d], &qkv.device())) // [B, T, D]
}

/// Softmax of `scale x`, in place.
#[inline(always)]
fn softmax(x: &mut [f32], scale: f32) {
    let most = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for x in x.iter_mut() {
        *x = vector::exp((*x - most) * scale);
    }
    let factor = 1.0 / vector::sum(x);
    for x in x.iter_mut() {
        *x *= factor;
    }
}

/// The numbers of a plain CPU tensor, row by row.
fn plain<const R: usize>(tensor: &Tensor<R>) -> Option<FlexTensor> {
    into_flex(tensor.clone()).ok().map(contiguous)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cpu, random, to_vec};

    fn tensor<const R: usize>(name: &str, shape: [usize; R]) -> Tensor<R> {
        let values = random::normal(&mut random::rng(0, name), shape.iter().product(), 1.0);
        from_vec(values, shape, &cpu())
    }

    /// The same tensor where gradients are kept, so that burn's operations are taken.
    fn tracked<const R: usize>(tensor: &Tensor<R>) -> Tensor<R> {
        from_vec(to_vec(tensor.clone()), tensor.dims(), &cpu().autodiff())
    }

    fn assert_close(found: Vec<f32>, expected: Vec<f32>) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                (found - expected).abs() <= 2e-5 * expected.abs().max(1.0),
                "{found} {expected}"
            );
        }
    }

    #[test]
    fn linear_layers_and_gelu_equal_burns() {
        let (x, weight, bias) = (tensor("x", [3, 5, 7]), tensor("w", [7, 9]), tensor("b", [9]));
        let residual = tensor("r", [3, 5, 9]);
        for residual in [None, Some(residual)] {
            let found = linear(x.clone(), &weight, &bias, residual.clone());
            let burn = linear(
                tracked(&x),
                &tracked(&weight),
                &tracked(&bias),
                residual.map(|r| tracked(&r)),
            );
            assert_close(to_vec(found), to_vec(burn));
        }
        let x = tensor("gelu", [100_000]) * 4.0;
        assert_close(to_vec(gelu_tanh(x.clone())), to_vec(gelu_tanh(tracked(&x))));
    }

    #[test]
    fn attention_equals_the_textbook() {
        for (b, t, heads, d_head) in [(1, 1, 1, 1), (2, 7, 3, 4), (2, 150, 2, 8)] {
            let d = heads * d_head;
            let qkv = tensor("qkv", [b, t, 3 * d]);
            let values = to_vec(qkv.clone());
            let at = |row: usize, token: usize, part: usize, head: usize| {
                &values[((row * t + token) * 3 + part) * d + head * d_head..][..d_head]
            };
            let mut expected = vec![0.0_f32; b * t * d];
            for row in 0..b {
                for head in 0..heads {
                    for query in 0..t {
                        let score = |key: usize| {
                            let pairs = at(row, query, 0, head).iter().zip(at(row, key, 1, head));
                            (0.3 * pairs.map(|(q, k)| f64::from(*q) * f64::from(*k)).sum::<f64>()).exp()
                        };
                        let total: f64 = (0..=query).map(score).sum();
                        for place in 0..d_head {
                            let z = (0..=query).map(|key| score(key) * f64::from(at(row, key, 2, head)[place]));
                            expected[(row * t + query) * d + head * d_head + place] = (z.sum::<f64>() / total) as f32;
                        }
                    }
                }
            }
            assert_close(to_vec(causal_attention(&qkv, heads, 0.3).unwrap()), expected);
            assert!(causal_attention(&tracked(&qkv), heads, 0.3).is_none());
        }
    }
}
