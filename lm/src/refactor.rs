//! The same model in a basis in which heads can be compared: layer norms folded, writing weights and unembedding centred,
//! the matrices of every head factored anew.
//!
//! Section 1.5 of the specification of Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)), which
//! follows TransformerLens. A head does not care how its matrices share out their norms: `W_Q W_K^T` and `W_V W_O` are all
//! that counts. Here each product is split by its singular value decomposition,
//!
//! * `[W_Q; b_Q] [W_K; b_K]^T = U S V^T`, `[W_Q; b_Q] = U root(S)`, `[W_K; b_K] = V root(S)`: queries and keys have balanced
//!   norms,
//! * `W_V W_O = U S V^T`, `W_V = U S`, `W_O = V^T`, and `b_V W_O`, which every position gets in full since attention sums to
//!   1, is part of `b_O`: a head's `z` is as long as what the head writes.
//!
//! Log-probabilities stay what they were: layer norm sees no mean, so what writes into the residual stream needs none, and
//! softmax sees no constant, so the unembedding needs none. Activations at q, k, v, z are those of other axes, and the two
//! must never be mixed: the model's hash differs.
//!
//! Shapes: `D` d_model, `Dh` d_head, `V` d_vocab. Computed in f64.

use std::collections::BTreeMap;

use artifacts::HostTensor;
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

use crate::Spec;

/// Name of the unembedding, which is the embedding no longer, `[V, D]`.
const UNEMBED_WEIGHT: &str = "lm_head.weight";
/// Name of its bias, `[V]`.
const UNEMBED_BIAS: &str = "lm_head.bias";

type Tensors = BTreeMap<String, HostTensor>;

/// Rewrites the parameters of a GPT-2, which have their names in a checkpoint; the unembedding gets parameters of its own.
pub(crate) fn refactor(config: &mut Spec, tensors: &mut Tensors) {
    let d = config.d_model;
    unembed(tensors, config);
    for l in 0..config.n_layer {
        let name = |part: &str| format!("h.{l}.{part}");
        fold(tensors, &name("ln_1"), &name("attn.c_attn"), d);
        fold(tensors, &name("ln_2"), &name("mlp.c_fc"), d);
        for part in ["attn.c_proj", "mlp.c_proj"] {
            for kind in ["weight", "bias"] {
                centre_rows(values(tensors, &name(&format!("{part}.{kind}"))), d);
            }
        }
        refactor_heads(config, tensors, l);
    }
    for embedding in ["wte.weight", "wpe.weight"] {
        centre_rows(values(tensors, embedding), d);
    }
}

/// The numbers of a tensor, which the layout says is there.
fn values<'a>(tensors: &'a mut Tensors, name: &str) -> &'a mut Vec<f32> {
    match tensors.get_mut(name) {
        Some(tensor) => &mut tensor.data,
        None => unreachable!("the layout of a GPT-2 has `{name}`"),
    }
}

/// Takes scale and shift out of a layer norm, which is left with ones and zeros.
fn take_norm(tensors: &mut Tensors, norm: &str) -> (Vec<f32>, Vec<f32>) {
    let [scale, shift] = [("weight", 1.0), ("bias", 0.0)].map(|(kind, neutral)| {
        let values = values(tensors, &format!("{norm}.{kind}"));
        let plain = vec![neutral; values.len()];
        std::mem::replace(values, plain)
    });
    (scale, shift)
}

/// Moves scale and shift of a layer norm into the linear layer behind it, `[D, out]`, and takes from each of its columns the
/// mean, which no input that layer norm made can see.
fn fold(tensors: &mut Tensors, norm: &str, linear: &str, d: usize) {
    let (scale, shift) = take_norm(tensors, norm);
    let weight = values(tensors, &format!("{linear}.weight"));
    let n_out = weight.len() / d;
    let mut moved = vec![0f64; n_out];
    let mut means = vec![0f64; n_out];
    for ((row, &scale), &shift) in weight.chunks_exact_mut(n_out).zip(&scale).zip(&shift) {
        for ((value, moved), mean) in row.iter_mut().zip(&mut moved).zip(&mut means) {
            *moved += f64::from(shift) * f64::from(*value);
            *value *= scale;
            *mean += f64::from(*value) / d as f64;
        }
    }
    for row in weight.chunks_exact_mut(n_out) {
        row.iter_mut()
            .zip(&means)
            .for_each(|(value, mean)| *value = (f64::from(*value) - mean) as f32);
    }
    add(values(tensors, &format!("{linear}.bias")), &moved);
}

/// Gives the unembedding parameters of its own, `[V, D]` and `[V]`: the last layer norm folded in, the means over the
/// vocabulary and over `D` taken out.
fn unembed(tensors: &mut Tensors, config: &mut Spec) {
    let d = config.d_model;
    let (scale, shift) = take_norm(tensors, "ln_f");
    let name = if config.tied { "wte.weight" } else { UNEMBED_WEIGHT };
    let mut weight = values(tensors, name).clone();
    (config.tied, config.unembed_bias) = (false, true);
    let n_vocab = weight.len() / d;
    let mut bias = vec![0f64; n_vocab];
    for (row, bias) in weight.chunks_exact_mut(d).zip(&mut bias) {
        for ((value, &scale), &shift) in row.iter_mut().zip(&scale).zip(&shift) {
            *bias += f64::from(shift) * f64::from(*value);
            *value *= scale;
        }
    }
    let mut means = vec![0f64; d];
    for row in weight.chunks_exact(d) {
        means
            .iter_mut()
            .zip(row)
            .for_each(|(mean, &value)| *mean += f64::from(value) / n_vocab as f64);
    }
    for row in weight.chunks_exact_mut(d) {
        row.iter_mut()
            .zip(&means)
            .for_each(|(value, mean)| *value = (f64::from(*value) - mean) as f32);
    }
    centre_rows(&mut weight, d);
    let mean = bias.iter().sum::<f64>() / n_vocab as f64;
    let bias = bias.iter().map(|value| (value - mean) as f32).collect();
    tensors.insert(UNEMBED_WEIGHT.to_owned(), HostTensor::new([n_vocab, d], weight));
    tensors.insert(UNEMBED_BIAS.to_owned(), HostTensor::new([n_vocab], bias));
}

/// Takes the mean out of every row of `d` numbers.
fn centre_rows(values: &mut [f32], d: usize) {
    for row in values.chunks_exact_mut(d) {
        let mean = row.iter().map(|&value| f64::from(value)).sum::<f64>() / d as f64;
        row.iter_mut()
            .for_each(|value| *value = (f64::from(*value) - mean) as f32);
    }
}

fn add(to: &mut [f32], what: &[f64]) {
    to.iter_mut()
        .zip(what)
        .for_each(|(to, what)| *to = (f64::from(*to) + what) as f32);
}

/// The matrices of one head.
struct Head {
    /// Query, key and value, `[D + 1, Dh]`: the last row is the bias; that of values is missing, `[D, Dh]`.
    qkv: [DMatrix<f64>; 3],
    /// `W_O^T`, `[D, Dh]`.
    out: DMatrix<f64>,
    /// What its values' bias adds to the output, `[D]`.
    constant: DVector<f64>,
}

/// Factors the matrices of the heads of block `l` anew, layer norm being folded and the outputs centred.
fn refactor_heads(config: &Spec, tensors: &mut Tensors, l: usize) {
    let (d, d_head) = (config.d_model, config.d_head);
    let [weight, bias, out, out_bias] =
        ["c_attn.weight", "c_attn.bias", "c_proj.weight", "c_proj.bias"].map(|part| format!("h.{l}.attn.{part}"));
    let [mut qkv, mut qkv_bias, mut w_out, mut b_out] =
        [&weight, &bias, &out, &out_bias].map(|name| std::mem::take(values(tensors, name)));
    let heads: Vec<Head> = (0..config.n_head)
        .into_par_iter()
        .map(|head| {
            let part = |part: usize| {
                DMatrix::from_fn(d + 1, d_head, |row, i| {
                    let at = part * d + head * d_head + i;
                    f64::from(if row < d { qkv[row * 3 * d + at] } else { qkv_bias[at] })
                })
            };
            let w_out = w_out[head * d_head * d..][..d_head * d].iter();
            let w_out = DMatrix::from_iterator(d, d_head, w_out.map(|&value| f64::from(value))); // [D, Dh]
            refactored([part(0), part(1), part(2)], w_out)
        })
        .collect();
    for (head, found) in heads.iter().enumerate() {
        for (part, matrix) in found.qkv.iter().enumerate() {
            for (i, column) in matrix.column_iter().enumerate() {
                let at = part * d + head * d_head + i;
                for (row, &value) in qkv.chunks_exact_mut(3 * d).zip(&column) {
                    row[at] = value as f32;
                }
                qkv_bias[at] = column.get(d).map_or(0.0, |&value| value as f32);
            }
        }
        w_out[head * d_head * d..][..d_head * d]
            .iter_mut()
            .zip(&found.out)
            .for_each(|(to, &value)| *to = value as f32);
        add(&mut b_out, found.constant.as_slice());
    }
    for (name, data) in [(&weight, qkv), (&bias, qkv_bias), (&out, w_out), (&out_bias, b_out)] {
        *values(tensors, name) = data;
    }
}

/// One head; queries, keys and values come with their biases as a last row.
fn refactored([query, key, value]: [DMatrix<f64>; 3], out: DMatrix<f64>) -> Head {
    let d = out.nrows();
    let (bias, value) = (value.row(d).transpose(), value.rows(0, d).into_owned()); // [Dh], [D, Dh]
    let Factors { u, s, v } = factors_of_product(query, key);
    let roots = s.map(f64::sqrt);
    let (query, key) = (scaled(u, &roots), scaled(v, &roots));
    let constant = &out * bias; // W_O^T b_V, [D]
    let Factors { u, s, v } = factors_of_product(value, out);
    Head {
        qkv: [query, key, scaled(u, &s)],
        out: v,
        constant,
    }
}

/// `U diag(s) V^T`, by falling singular value.
struct Factors {
    /// Orthonormal columns.
    u: DMatrix<f64>,
    s: DVector<f64>,
    /// Orthonormal columns.
    v: DMatrix<f64>,
}

/// Decomposes `X Y^T`, whose rank is at most the few columns of both, without forming it.
fn factors_of_product(x: DMatrix<f64>, y: DMatrix<f64>) -> Factors {
    let (x, y) = (x.qr(), y.qr());
    let small = (x.r() * y.r().transpose()).svd(true, true); // [Dh, Dh]
    let (Some(u), Some(v_t)) = (small.u, small.v_t) else {
        unreachable!("both were asked for")
    };
    Factors {
        u: x.q() * u,
        s: small.singular_values,
        v: y.q() * v_t.transpose(),
    }
}

/// Columns times a factor each.
fn scaled(mut columns: DMatrix<f64>, factors: &DVector<f64>) -> DMatrix<f64> {
    for (mut column, factor) in columns.column_iter_mut().zip(factors) {
        column *= *factor;
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::entries;
    use kernels::random;

    /// Three layers of three heads with every parameter drawn at random.
    fn random_model() -> (Spec, Tensors) {
        let config = Spec::gpt2(3, 3, 12, 8, 20);
        let mut rng = random::rng(0, "refactor");
        let tensors = entries(&config).into_iter().map(|entry| {
            let n = entry.shape.iter().product();
            (
                entry.name,
                HostTensor::new(entry.shape, random::normal(&mut rng, n, 0.5)),
            )
        });
        let tensors = tensors.collect();
        (config, tensors)
    }

    fn dot(a: impl IntoIterator<Item = f32>, b: impl IntoIterator<Item = f32>) -> f64 {
        a.into_iter().zip(b).map(|(a, b)| f64::from(a) * f64::from(b)).sum()
    }

    #[test]
    fn norms_are_folded_and_weights_centred() {
        let (mut config, mut tensors) = random_model();
        refactor(&mut config, &mut tensors);
        for (name, tensor) in &tensors {
            if name.contains("ln_") {
                let neutral = if name.ends_with("weight") { 1.0 } else { 0.0 };
                assert!(tensor.data.iter().all(|value| *value == neutral), "{name}");
            }
            let writes = ["wte", "wpe", "c_proj"].iter().any(|part| name.contains(part)) || name == UNEMBED_WEIGHT;
            if writes {
                for row in tensor.data.chunks_exact(config.d_model) {
                    assert!(row.iter().sum::<f32>().abs() < 1e-5, "{name}");
                }
            }
        }
        let bias = &tensors[UNEMBED_BIAS].data;
        assert!(bias.iter().sum::<f32>().abs() < 1e-4);
    }

    #[test]
    fn heads_write_as_much_as_their_z_and_balance_queries_with_keys() {
        let (mut config, mut tensors) = random_model();
        refactor(&mut config, &mut tensors);
        let (d, d_head) = (config.d_model, config.d_head);
        for l in 0..config.n_layer {
            let of = |part: &str| &tensors[&format!("h.{l}.attn.{part}")].data;
            let (out, qkv, bias) = (of("c_proj.weight"), of("c_attn.weight"), of("c_attn.bias"));
            assert!(bias[2 * d..].iter().all(|value| *value == 0.0));
            for head in 0..config.n_head {
                let row = |i: usize| out[(head * d_head + i) * d..][..d].iter().copied();
                let column = |part: usize, i: usize| {
                    let at = part * d + head * d_head + i;
                    qkv.iter().skip(at).step_by(3 * d).copied().chain([bias[at]])
                };
                for i in 0..d_head {
                    for j in 0..d_head {
                        let one = f64::from(u8::from(i == j));
                        assert!((dot(row(i), row(j)) - one).abs() < 1e-5, "layer {l}, head {head}");
                        // Queries and keys have the same Gram matrix, which is diagonal.
                        let gram = [0, 1].map(|part| dot(column(part, i), column(part, j)));
                        assert!(
                            (gram[0] - gram[1]).abs() < 1e-4 && (i == j || gram[0].abs() < 1e-4),
                            "{gram:?}"
                        );
                    }
                }
            }
        }
    }
}
