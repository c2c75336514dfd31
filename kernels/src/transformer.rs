//! The parts of a transformer block between its matrix products, in few passes over memory on the CPU.
//!
//! Each function takes any tensor. On plain CPU tensors it works in host memory: a product goes to memory that nobody has filled
//! before, one pass of all threads over it adds bias and residual or applies GELU, and attention takes the causal half alone, head by head, while scores are in cache. On other devices,
//! and where gradients are wanted, it is the same computation in burn's operations; results differ in the last bits.
//!
//! Shapes: `B` rows, `T` tokens, `D` d_model, `H` heads, `Dh` d_head, `N` inputs, `P` outputs of a linear layer.

use burn::tensor::{Tensor, activation};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::gemm::{Matrix, gemm, gemm_new};
use crate::host::{contiguous, flex_slice, into_flex};
use crate::vector::{self, simd};
use crate::{from_vec, matmul};

/// Queries whose scores are taken at a time; keys after the last of them are not looked at.
const QUERIES: usize = 64;
/// Numbers that one task works on: a few microseconds of work.
const PER_TASK: usize = 1 << 15;
/// `2 sqrt(2/pi)`, the factor of `x` in `2u` of GELU.
const LINEAR: f64 = 1.595_769_121_605_730_7;
/// The factor of `x^3`.
const CUBIC: f64 = 0.044715 * LINEAR;

/// `x · weight + bias`, and `+ residual` where there is one.
///
/// # Shapes
///
/// - x: `[B, T, N]`, weight: `[N, P]`, bias: `[P]`, residual: `[B, T, P]`
/// - output: `[B, T, P]`
pub fn linear(x: Tensor<3>, weight: &Tensor<2>, bias: &Tensor<1>, residual: Option<Tensor<3>>) -> Tensor<3> {
    let Some(residual) = residual else {
        let y = host_linear(
            &x,
            weight,
            bias,
            #[inline(always)]
            |_, y, bias| vector::add_scaled(y, 1.0, bias),
        );
        return y.unwrap_or_else(|| plus(x, weight, bias));
    };
    let y = plain(&residual).and_then(|host| {
        let rows = flex_slice(&host);
        host_linear(
            &x,
            weight,
            bias,
            #[inline(always)]
            |start, y, bias| {
                for ((y, residual), bias) in y.iter_mut().zip(&rows[start..]).zip(bias) {
                    *y += bias + residual;
                }
            },
        )
    });
    y.unwrap_or_else(|| residual + plus(x, weight, bias))
}

/// [`gelu_tanh`] of `x · weight + bias`.
///
/// # Shapes
///
/// - x: `[B, T, N]`, weight: `[N, P]`, bias: `[P]`
/// - output: `[B, T, P]`
pub fn linear_gelu_tanh(x: Tensor<3>, weight: &Tensor<2>, bias: &Tensor<1>) -> Tensor<3> {
    let y = host_linear(
        &x,
        weight,
        bias,
        #[inline(always)]
        |_, y, bias| {
            for (y, bias) in y.iter_mut().zip(bias) {
                *y = gelu(*y + bias);
            }
        },
    );
    y.unwrap_or_else(|| gelu_tanh(plus(x, weight, bias)))
}

/// GPT-2's activation, the approximation of GELU by a hyperbolic tangent: `x/2 (1 + tanh u) = x sigmoid(2u)` with
/// `u = sqrt(2/pi) (x + 0.044715 x^3)`.
fn gelu_tanh(x: Tensor<3>) -> Tensor<3> {
    let twice_u = x.clone() * (x.clone() * x.clone() * CUBIC + LINEAR);
    x * activation::sigmoid(twice_u)
}

/// The same of one number.
#[inline(always)]
fn gelu(x: f32) -> f32 {
    let twice_u = x * (x * x * CUBIC as f32 + LINEAR as f32);
    x / (1.0 + vector::exp(-twice_u))
}

/// The product in host memory, after which all threads `finish` its rows: given are the place of a row's first number, the row
/// and the bias. `None` where a tensor is not a plain one of the CPU.
fn host_linear(
    x: &Tensor<3>,
    weight: &Tensor<2>,
    bias: &Tensor<1>,
    finish: impl Fn(usize, &mut [f32], &[f32]) + Sync,
) -> Option<Tensor<3>> {
    let ([b, t, n], [p]) = (x.dims(), bias.dims());
    let (host, weight, bias) = (plain(x)?, plain(weight)?, plain(bias)?);
    let mut y = gemm_new(Matrix::rows(flex_slice(&host), n), Matrix::rows(flex_slice(&weight), p));
    let (bias, task) = (flex_slice(&bias), (PER_TASK / p.max(1)).max(1) * p.max(1));
    y.par_chunks_mut(task).enumerate().for_each(|(index, rows)| {
        simd!(|| {
            for (row, y) in rows.chunks_exact_mut(p).enumerate() {
                finish(index * task + row * p, y, bias);
            }
        });
    });
    Some(from_vec(y, [b, t, p], &x.device())) // [B, T, P]
}

/// `x · weight + bias` in burn's operations.
fn plus(x: Tensor<3>, weight: &Tensor<2>, bias: &Tensor<1>) -> Tensor<3> {
    let ([b, t, n], [p]) = (x.dims(), bias.dims());
    let y = matmul(x.reshape([b * t, n]), weight.clone()); // [B T, P]
    (y + bias.clone().reshape([1, p])).reshape([b, t, p]) // [B, T, P]
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
                    simd!(|| {
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
    let most = vector::max(x);
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
        let (x, weight) = (tensor("x", [3, 50, 7]), tensor("w", [7, 900]) * 1.5);
        let bias = tensor("b", [900]);
        let found = linear_gelu_tanh(x.clone(), &weight, &bias);
        let burn = linear_gelu_tanh(tracked(&x), &tracked(&weight), &tracked(&bias));
        assert_close(to_vec(found), to_vec(burn));
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
