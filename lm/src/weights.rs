//! The parameters of a GPT-2, their names in a Hugging Face file, and the check that a file holds exactly them.
//!
//! Linear layers are Conv1D there, stored `[in, out]`, which is the layout of the product `x · W`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::tensor::{Device, Tensor};

use crate::{Error, HostTensor, Spec};

/// Scale and shift of a layer norm, `[D]` each.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    pub(crate) scale: Tensor<1>,
    pub(crate) shift: Tensor<1>,
}

/// A linear layer `x · weight + bias`.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    pub(crate) weight: Tensor<2>, // [in, out]
    pub(crate) bias: Tensor<1>,   // [out]
}

/// One transformer block.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) norm_1: Norm,
    pub(crate) qkv: Linear, // [D, 3 D]
    pub(crate) out: Linear, // [D, D]
    pub(crate) norm_2: Norm,
    pub(crate) up: Linear,   // [D, d_mlp]
    pub(crate) down: Linear, // [d_mlp, D]
}

/// Name of an unembedding that is not the embedding, `[V, D]`; only a re-factored model has one.
pub(crate) const UNEMBED_WEIGHT: &str = "unembed.weight";
/// Name of its bias, `[V]`.
pub(crate) const UNEMBED_BIAS: &str = "unembed.bias";

/// An unembedding of its own.
#[derive(Debug, Clone)]
pub(crate) struct Unembed {
    pub(crate) weight: Tensor<2>, // [V, D]
    pub(crate) bias: Tensor<1>,   // [V]
}

/// All parameters.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    pub(crate) wte: Tensor<2>, // [V, D]
    pub(crate) wpe: Tensor<2>, // [n_ctx, D]
    pub(crate) blocks: Vec<Block>,
    pub(crate) norm_final: Norm,
    /// None where the embedding is the unembedding too.
    pub(crate) unembed: Option<Unembed>,
}

/// Names (without `transformer.`) and shapes of every parameter, in a fixed order.
pub(crate) fn layout(config: &Spec) -> Vec<(String, Vec<usize>)> {
    let (d, m) = (config.d_model, config.d_mlp);
    let mut names = vec![
        ("wte.weight".to_owned(), vec![config.d_vocab, d]),
        ("wpe.weight".to_owned(), vec![config.n_ctx, d]),
    ];
    for l in 0..config.n_layer {
        let parts: [(&str, Vec<usize>); 12] = [
            ("ln_1.weight", vec![d]),
            ("ln_1.bias", vec![d]),
            ("attn.c_attn.weight", vec![d, 3 * d]),
            ("attn.c_attn.bias", vec![3 * d]),
            ("attn.c_proj.weight", vec![d, d]),
            ("attn.c_proj.bias", vec![d]),
            ("ln_2.weight", vec![d]),
            ("ln_2.bias", vec![d]),
            ("mlp.c_fc.weight", vec![d, m]),
            ("mlp.c_fc.bias", vec![m]),
            ("mlp.c_proj.weight", vec![m, d]),
            ("mlp.c_proj.bias", vec![d]),
        ];
        names.extend(parts.map(|(part, shape)| (format!("h.{l}.{part}"), shape)));
    }
    names.extend([("ln_f.weight".to_owned(), vec![d]), ("ln_f.bias".to_owned(), vec![d])]);
    names
}

/// Weights that any language computes alike, to compare implementations at full size without a download.
///
/// Element `i` of the tensor at place `t` of [`layout`] is a 32-bit hash of `i + t * 0x9e3779b9` (two rounds of multiply and
/// xor-shift: constants 0x7feb352d and 0x846ca68b, shifts 16, 15, 16), of which the upper 24 bits are read as a number
/// `u` from -1/2 to 1/2. It is `u / 8`, or `1 + u / 4` for the scale of a layer norm. `scripts/gpt2_geometry.py` does the same.
pub(crate) fn hashed(config: &Spec) -> BTreeMap<String, HostTensor> {
    let number = |element: u32, place: u32| {
        let mut hash = element.wrapping_add(place.wrapping_mul(0x9e37_79b9));
        hash = (hash ^ (hash >> 16)).wrapping_mul(0x7feb_352d);
        hash = (hash ^ (hash >> 15)).wrapping_mul(0x846c_a68b);
        hash ^= hash >> 16;
        (hash >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    let tensor = |(place, (name, shape)): (u32, (String, Vec<usize>))| {
        let is_scale = name.contains("ln_") && name.ends_with(".weight");
        let (offset, factor) = if is_scale { (1.0, 0.25) } else { (0.0, 0.125) };
        let n: usize = shape.iter().product();
        let data = (0..n as u32)
            .map(|element| offset + factor * number(element, place))
            .collect();
        (name, HostTensor { shape, data })
    };
    (0_u32..).zip(layout(config)).map(tensor).collect()
}

/// The parameters among the tensors that were read from `path`; keys may carry `transformer.`, mask buffers and a tied
/// `lm_head.weight` are accepted and dropped.
pub(crate) fn checked(
    tensors: BTreeMap<String, HostTensor>,
    path: &Path,
    config: &Spec,
) -> Result<BTreeMap<String, HostTensor>, Error> {
    let mut found = BTreeMap::new();
    for (name, tensor) in tensors {
        let name = name.strip_prefix("transformer.").unwrap_or(&name).to_owned();
        if found.insert(name.clone(), tensor).is_some() {
            let reason = format!("`{name}` is there twice, with and without `transformer.`");
            return Err(Error::Format {
                path: path.to_owned(),
                reason,
            });
        }
    }
    // Before the names of all blocks are listed, which a config may say to be millions.
    let blocks: BTreeSet<&str> = found
        .keys()
        .filter_map(|name| name.strip_prefix("h.")?.split('.').next())
        .collect();
    if blocks.len() != config.n_layer {
        return Err(Error::Blocks {
            path: path.to_owned(),
            expected: config.n_layer,
            found: blocks.len(),
        });
    }
    let mut tensors = BTreeMap::new();
    let mut missing = Vec::new();
    for (name, expected) in layout(config) {
        match found.remove(&name) {
            Some(tensor) if tensor.shape == expected => {
                if !tensor.is_finite() {
                    return Err(Error::Format {
                        path: path.to_owned(),
                        reason: format!("`{name}` holds NaN or infinity"),
                    });
                }
                tensors.insert(name, tensor);
            }
            Some(tensor) => {
                return Err(Error::Shape {
                    path: path.to_owned(),
                    name,
                    expected,
                    found: tensor.shape,
                });
            }
            None => missing.push(name),
        }
    }
    if !missing.is_empty() {
        return Err(Error::MissingTensors {
            path: path.to_owned(),
            names: missing,
        });
    }
    if let Some(head) = found.remove("lm_head.weight")
        && tensors.get("wte.weight") != Some(&head)
    {
        let reason = "`lm_head.weight` differs from `wte.weight`; only tied embeddings are supported".to_owned();
        return Err(Error::Format {
            path: path.to_owned(),
            reason,
        });
    }
    found.retain(|name, _| !(name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias")));
    if !found.is_empty() {
        return Err(Error::UnexpectedTensors {
            path: path.to_owned(),
            names: found.into_keys().collect(),
        });
    }
    Ok(tensors)
}

impl Weights {
    /// Puts `tensors` (of the names and shapes of [`layout`], and perhaps an unembedding) on `device`.
    pub(crate) fn from_host(config: &Spec, tensors: &BTreeMap<String, HostTensor>, device: &Device) -> Self {
        let vector = |name: &str| -> Tensor<1> {
            let tensor = &tensors[name];
            kernels::from_vec(tensor.data.clone(), [tensor.shape[0]], device)
        };
        let matrix = |name: &str| -> Tensor<2> {
            let tensor = &tensors[name];
            kernels::from_vec(tensor.data.clone(), [tensor.shape[0], tensor.shape[1]], device)
        };
        let norm = |name: String| Norm {
            scale: vector(&format!("{name}.weight")),
            shift: vector(&format!("{name}.bias")),
        };
        let linear = |name: String| Linear {
            weight: matrix(&format!("{name}.weight")),
            bias: vector(&format!("{name}.bias")),
        };
        let blocks = (0..config.n_layer)
            .map(|l| Block {
                norm_1: norm(format!("h.{l}.ln_1")),
                qkv: linear(format!("h.{l}.attn.c_attn")),
                out: linear(format!("h.{l}.attn.c_proj")),
                norm_2: norm(format!("h.{l}.ln_2")),
                up: linear(format!("h.{l}.mlp.c_fc")),
                down: linear(format!("h.{l}.mlp.c_proj")),
            })
            .collect();
        Self {
            wte: matrix("wte.weight"),
            wpe: matrix("wpe.weight"),
            blocks,
            norm_final: norm("ln_f".to_owned()),
            unembed: tensors.contains_key(UNEMBED_WEIGHT).then(|| Unembed {
                weight: matrix(UNEMBED_WEIGHT),
                bias: vector(UNEMBED_BIAS),
            }),
        }
    }

    /// The parameters of rank 2 and those of rank 1, each in a fixed order.
    pub(crate) fn parameters_mut(&mut self) -> (Vec<&mut Tensor<2>>, Vec<&mut Tensor<1>>) {
        let mut matrices = vec![&mut self.wte, &mut self.wpe];
        let mut vectors = Vec::new();
        for block in &mut self.blocks {
            for linear in [&mut block.qkv, &mut block.out, &mut block.up, &mut block.down] {
                matrices.push(&mut linear.weight);
                vectors.push(&mut linear.bias);
            }
            for norm in [&mut block.norm_1, &mut block.norm_2] {
                vectors.extend([&mut norm.scale, &mut norm.shift]);
            }
        }
        vectors.extend([&mut self.norm_final.scale, &mut self.norm_final.shift]);
        (matrices, vectors)
    }

    /// The parameters under their names, in host memory.
    pub(crate) fn to_host(&self, config: &Spec) -> BTreeMap<String, HostTensor> {
        let mut values = Vec::new();
        let norm = |norm: &Norm| [norm.scale.clone(), norm.shift.clone()].map(kernels::to_vec);
        let linear = |linear: &Linear| {
            [
                kernels::to_vec(linear.weight.clone()),
                kernels::to_vec(linear.bias.clone()),
            ]
        };
        values.extend([&self.wte, &self.wpe].map(|tensor| kernels::to_vec(tensor.clone())));
        for block in &self.blocks {
            values.extend(norm(&block.norm_1));
            values.extend(linear(&block.qkv));
            values.extend(linear(&block.out));
            values.extend(norm(&block.norm_2));
            values.extend(linear(&block.up));
            values.extend(linear(&block.down));
        }
        values.extend(norm(&self.norm_final));
        layout(config)
            .into_iter()
            .zip(values)
            .map(|((name, shape), data)| (name, HostTensor { shape, data }))
            .collect()
    }
}
