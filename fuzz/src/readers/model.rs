//! Safetensors, and the folder of a GPT-2.

use std::collections::BTreeMap;

use artifacts::HostTensor;
use kernels::cpu;
use lm::{HookPoint, Logits, Model, Request, Start, TokenBatch};
use serde_json::json;

use super::message;
use crate::scratch::{Scratch, bytes};
use crate::{Form, Reader, Target};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

/// Sizes of the smallest GPT-2: vocabulary, positions, width, width of the MLP.
const V: usize = 6;
const T: usize = 5;
const D: usize = 4;
const M: usize = 8;

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "safetensors",
            form: Form::Tensors,
            seeds: || vec![weights(), half(), integers()],
            reader: safetensors,
        },
        Target {
            name: "model-weights",
            form: Form::Tensors,
            seeds: || vec![weights()],
            reader: || beside(WEIGHTS, [(CONFIG, config())].into()),
        },
        Target {
            name: "model-config",
            form: Form::Json,
            seeds: || vec![config(), old_config()],
            reader: || beside(CONFIG, [(WEIGHTS, weights())].into()),
        },
        Target {
            name: "model-index",
            form: Form::Json,
            seeds: || vec![index()],
            reader: || {
                let [first, second] = shards();
                beside(
                    INDEX,
                    [(CONFIG, config()), (SHARDS[0], first), (SHARDS[1], second)].into(),
                )
            },
        },
    ]
}

fn safetensors() -> Reader {
    let scratch = Scratch::new();
    Box::new(move |input| {
        let path = scratch.put("x.safetensors", input);
        let integers = artifacts::read_integers(&path, "ids").map(|_| ());
        message(artifacts::read_tensors(&path).map(|_| ()).or(integers))
    })
}

/// Reads the folder of a model in which the input is the file `name`, and runs what it holds.
fn beside(name: &'static str, others: BTreeMap<&'static str, Vec<u8>>) -> Reader {
    let (scratch, device) = (Scratch::new(), cpu());
    for (name, bytes) in others {
        scratch.put(name, &bytes);
    }
    Box::new(move |input| {
        scratch.put(name, input);
        let model = message(Model::load(scratch.path(), &device))?;
        let tokens = message(TokenBatch::new(&[[0_u32, 1], [2, 0]]))?;
        let request = Request {
            capture: vec![
                HookPoint::Z(0),
                HookPoint::Pattern(0),
                HookPoint::Normalized(lm::NormAt::Final),
            ],
            logits: Logits::All,
            ..Request::default()
        };
        let trace = message(model.run(Start::Tokens(&tokens), &request))?;
        message(trace.logits_all()).map(|_| ())
    })
}

fn tensor(shape: &[usize]) -> HostTensor {
    let n = shape.iter().product::<usize>();
    HostTensor::new(shape, (0..n).map(|i| (i % 7) as f32 * 0.1 - 0.3).collect())
}

fn parameters() -> BTreeMap<String, HostTensor> {
    let block = [
        ("ln_1.weight", vec![D]),
        ("ln_1.bias", vec![D]),
        ("attn.c_attn.weight", vec![D, 3 * D]),
        ("attn.c_attn.bias", vec![3 * D]),
        ("attn.c_proj.weight", vec![D, D]),
        ("attn.c_proj.bias", vec![D]),
        ("ln_2.weight", vec![D]),
        ("ln_2.bias", vec![D]),
        ("mlp.c_fc.weight", vec![D, M]),
        ("mlp.c_fc.bias", vec![M]),
        ("mlp.c_proj.weight", vec![M, D]),
        ("mlp.c_proj.bias", vec![D]),
    ];
    let mut named: BTreeMap<String, HostTensor> = block
        .iter()
        .map(|(name, shape)| (format!("h.0.{name}"), tensor(shape)))
        .collect();
    for (name, shape) in [
        ("wte.weight", vec![V, D]),
        ("wpe.weight", vec![T, D]),
        ("ln_f.weight", vec![D]),
        ("ln_f.bias", vec![D]),
        ("lm_head.weight", vec![V, D]),
        ("h.0.attn.bias", vec![1, 1, T, T]),
    ] {
        named.insert(name.to_owned(), tensor(&shape));
    }
    named
}

fn file(tensors: &BTreeMap<String, HostTensor>) -> Vec<u8> {
    let scratch = Scratch::new();
    let path = scratch.path().join("x.safetensors");
    artifacts::write_tensors(&path, tensors, &BTreeMap::new()).expect("the tensors can be written");
    bytes(&path)
}

fn weights() -> Vec<u8> {
    file(&parameters())
}

/// One file with metadata and a tensor of each float type.
fn half() -> Vec<u8> {
    let header = json!({
        "__metadata__": { "format": "pt" },
        "a": { "dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8] },
        "b": { "dtype": "BF16", "shape": [1, 4], "data_offsets": [8, 16] },
        "c": { "dtype": "F64", "shape": [], "data_offsets": [16, 24] },
        "d": { "dtype": "F32", "shape": [0, 3], "data_offsets": [24, 24] },
    });
    with_header(&header, 24)
}

fn integers() -> Vec<u8> {
    let header = json!({
        "ids": { "dtype": "I64", "shape": [2, 2], "data_offsets": [0, 32] },
        "mask": { "dtype": "BOOL", "shape": [8], "data_offsets": [32, 40] },
        "short": { "dtype": "I32", "shape": [2], "data_offsets": [40, 48] },
    });
    with_header(&header, 48)
}

fn with_header(header: &serde_json::Value, numbers: usize) -> Vec<u8> {
    let header = header.to_string();
    let length = (header.len() as u64).to_le_bytes();
    [&length, header.as_bytes(), &vec![1; numbers]].concat()
}

fn shards() -> [Vec<u8>; 2] {
    let mut first = parameters();
    let second = first.split_off("ln");
    [file(&first), file(&second)]
}

fn index() -> Vec<u8> {
    let place = |name: &String| SHARDS[usize::from(name.as_str() >= "ln")];
    let map: BTreeMap<String, &str> = parameters().keys().map(|name| (name.clone(), place(name))).collect();
    json!({ "metadata": { "total_size": 1000 }, "weight_map": map })
        .to_string()
        .into_bytes()
}

fn config() -> Vec<u8> {
    let config = json!({
        "model_type": "gpt2", "activation_function": "gelu_new", "n_layer": 1, "n_head": 2, "n_embd": D, "n_inner": M,
        "n_positions": T, "n_ctx": T, "vocab_size": V, "layer_norm_epsilon": 1e-5, "scale_attn_weights": true,
        "scale_attn_by_inverse_layer_idx": false, "tie_word_embeddings": true, "bos_token_id": 0, "eos_token_id": 0,
        "torch_dtype": "float32",
    });
    config.to_string().into_bytes()
}

/// As old folders have it: keys of other models and of training beside.
fn old_config() -> Vec<u8> {
    let config = json!({
        "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "initializer_range": 0.02, "n_layer": 1, "n_head": 1,
        "n_embd": D, "n_inner": M, "n_positions": T, "vocab_size": V, "activation_function": "relu",
        "add_cross_attention": false, "pruned_heads": {}, "quantization_config": null, "summary_type": "cls_index",
        "task_specific_params": { "text-generation": { "do_sample": true, "max_length": 50 } },
    });
    config.to_string().into_bytes()
}
