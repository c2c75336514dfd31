//! Linear layers, alone or with the activation behind them.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::activation::{gelu_tanh, relu, silu};
use super::{Nonlinearity, plain, task_of};
use crate::gemm::Matrix;
use crate::host::flex_slice;
use crate::vector::{self, simd};
use crate::{Weight, from_vec};

/// `x · weight`, plus `bias` and `residual` where there are such.
///
/// # Shapes
///
/// - x: `[B, T, N]`, weight: `[N, P]`, bias: `[P]`, residual: `[B, T, P]`
/// - output: `[B, T, P]`
pub fn linear(x: Tensor<3>, weight: &Weight, bias: Option<&Tensor<1>>, residual: Option<Tensor<3>>) -> Tensor<3> {
    let Some(residual) = residual else {
        let y = host_linear(
            &x,
            weight,
            bias,
            #[inline(always)]
            |_, y, bias| {
                if let Some(bias) = bias {
                    vector::add_scaled(y, 1.0, bias);
                }
            },
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
            |start, y, bias| match bias {
                Some(bias) => {
                    for ((y, residual), bias) in y.iter_mut().zip(&rows[start..]).zip(bias) {
                        *y += bias + residual;
                    }
                }
                None => {
                    for (y, residual) in y.iter_mut().zip(&rows[start..]) {
                        *y += residual;
                    }
                }
            },
        )
    });
    y.unwrap_or_else(|| residual + plus(x, weight, bias))
}

/// The activation function of `x · weight + bias`.
///
/// # Shapes
///
/// - x: `[B, T, N]`, weight: `[N, P]`, bias: `[P]`
/// - output: `[B, T, P]`
pub fn linear_activated(
    x: Tensor<3>,
    weight: &Weight,
    bias: Option<&Tensor<1>>,
    activation: Nonlinearity,
) -> Tensor<3> {
    let y = match activation {
        Nonlinearity::GeluTanh => host_activated(&x, weight, bias, gelu_tanh),
        Nonlinearity::Silu => host_activated(&x, weight, bias, silu),
        Nonlinearity::Relu => host_activated(&x, weight, bias, relu),
        Nonlinearity::GeluErf => return activation.apply(linear(x, weight, bias, None)),
    };
    y.unwrap_or_else(|| activation.apply(plus(x, weight, bias)))
}

/// The gated hidden layer of an MLP: `activation(gate) * up`, where `x · weight + bias` is the gate and, beside it, up.
///
/// # Shapes
///
/// - x: `[B, T, D]`, weight: `[D, 2 M]`, bias: `[2 M]`
/// - output: `[B, T, M]`
pub fn linear_gated(x: Tensor<3>, weight: &Weight, bias: Option<&Tensor<1>>, activation: Nonlinearity) -> Tensor<3> {
    let y = match activation {
        Nonlinearity::Silu => host_gated(&x, weight, bias, silu),
        Nonlinearity::GeluTanh => host_gated(&x, weight, bias, gelu_tanh),
        Nonlinearity::Relu => host_gated(&x, weight, bias, relu),
        Nonlinearity::GeluErf => None,
    };
    y.unwrap_or_else(|| {
        let y = linear(x, weight, bias, None); // [B, T, 2 M]
        let m = y.dims()[2] / 2;
        let (gate, up) = (y.clone().narrow(2, 0, m), y.narrow(2, m, m)); // [B, T, M]
        activation.apply(gate) * up
    })
}

/// `function` of the gate, times up, in host memory: two products, so that the second is multiplied into the memory of the first.
fn host_gated(
    x: &Tensor<3>,
    weight: &Weight,
    bias: Option<&Tensor<1>>,
    function: impl Fn(f32) -> f32 + Sync,
) -> Option<Tensor<3>> {
    let ([b, t, d], [_, both]) = (x.dims(), weight.dims());
    let m = both / 2;
    let (host, weight) = (plain(x)?, weight.host()?);
    let bias = match bias {
        Some(bias) => Some(plain(bias)?),
        None => None,
    };
    let rows = Matrix::rows(flex_slice(&host), d);
    let mut y = weight.multiply(rows, 0..m); // [B T, M]
    let up = weight.multiply(rows, m..both); // [B T, M]
    let bias = bias.as_ref().map(|bias| flex_slice(bias).split_at(m));
    y.par_chunks_mut(task_of(m))
        .zip(up.par_chunks(task_of(m)))
        .for_each(|(y, up)| {
            simd!(|| {
                let Some((of_gate, of_up)) = bias else {
                    y.iter_mut().zip(up).for_each(|(y, up)| *y = function(*y) * up);
                    return;
                };
                for (y, up) in y.chunks_exact_mut(m).zip(up.chunks_exact(m)) {
                    let biases = of_gate.iter().zip(of_up);
                    for ((y, up), (of_gate, of_up)) in y.iter_mut().zip(up).zip(biases) {
                        *y = function(*y + of_gate) * (up + of_up);
                    }
                }
            });
        });
    Some(from_vec(y, [b, t, m], &x.device())) // [B, T, M]
}

/// `function` of `x · weight + bias` in host memory.
fn host_activated(
    x: &Tensor<3>,
    weight: &Weight,
    bias: Option<&Tensor<1>>,
    function: impl Fn(f32) -> f32 + Sync,
) -> Option<Tensor<3>> {
    host_linear(
        x,
        weight,
        bias,
        #[inline(always)]
        |_, y, bias| match bias {
            Some(bias) => {
                for (y, bias) in y.iter_mut().zip(bias) {
                    *y = function(*y + bias);
                }
            }
            None => y.iter_mut().for_each(|y| *y = function(*y)),
        },
    )
}

/// The product in host memory, after which all threads `finish` its rows: given are the place of a row's first number, the row
/// and the bias. `None` where a tensor is not a plain one of the CPU.
pub(super) fn host_linear(
    x: &Tensor<3>,
    weight: &Weight,
    bias: Option<&Tensor<1>>,
    finish: impl Fn(usize, &mut [f32], Option<&[f32]>) + Sync,
) -> Option<Tensor<3>> {
    let ([b, t, n], [_, p]) = (x.dims(), weight.dims());
    let (host, weight) = (plain(x)?, weight.host()?);
    let bias = match bias {
        Some(bias) => Some(plain(bias)?),
        None => None,
    };
    let mut y = weight.multiply(Matrix::rows(flex_slice(&host), n), 0..p); // [B T, P]
    let (bias, task) = (bias.as_ref().map(flex_slice), task_of(p));
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
fn plus(x: Tensor<3>, weight: &Weight, bias: Option<&Tensor<1>>) -> Tensor<3> {
    let ([b, t, n], [_, p]) = (x.dims(), weight.dims());
    let y = weight.multiply(x.reshape([b * t, n])); // [B T, P]
    let y = match bias {
        Some(bias) => y + bias.clone().reshape([1, p]),
        None => y,
    };
    y.reshape([b, t, p]) // [B, T, P]
}
