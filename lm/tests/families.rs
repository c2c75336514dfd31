//! Every family of models against `transformers`, hook by hook, on micro models (`scripts/family_fixtures.py`); what a
//! checkpoint may leave out, spell otherwise or carry besides; and what is refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use artifacts::HostTensor;
use kernels::{cpu, to_vec};
use lm::{Error, HookPoint, Logits, Model, Request, Start, TokenBatch, Trace};
use serde_json::{Value, json};

/// Every case and how many hooks its fixture holds.
const CASES: [(&str, usize); 20] = [
    ("llama", 45),
    ("llama3", 10),
    ("llama-bias", 45),
    ("llama-yarn", 10),
    ("llama-linear", 10),
    ("mistral", 12),
    ("qwen2", 43),
    ("qwen2-window", 18),
    ("qwen3", 47),
    ("gemma2", 75),
    ("gemma3", 84),
    ("neox", 39),
    ("neox-serial", 43),
    ("defaults-llama", 4),
    ("defaults-mistral", 4),
    ("defaults-qwen2", 4),
    ("defaults-qwen3", 4),
    ("defaults-gemma2", 4),
    ("defaults-gemma3_text", 4),
    ("defaults-gpt_neox", 4),
];

/// Largest error of a tensor, as a share of its largest number.
const TOLERANCE: f32 = 1e-5;
/// What is below it is the score of a masked key.
const MASKED: f32 = -1e9;

fn fixture(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/families")
        .join(case)
}

fn ids(case: &str) -> TokenBatch {
    let (shape, ids) = artifacts::read_integers(&fixture(case).join("expected.safetensors"), "ids").unwrap();
    let rows: Vec<Vec<u32>> = ids
        .chunks(shape[1])
        .map(|row| row.iter().map(|&id| u32::try_from(id).unwrap()).collect())
        .collect();
    TokenBatch::new(&rows).unwrap()
}

fn load(folder: &Path) -> Result<Model, Error> {
    Model::load(folder, &cpu())
}

/// A hook's tensor, of rank 3 or 4.
fn captured(trace: &Trace, hook: HookPoint) -> HostTensor {
    match trace.tensor3(hook) {
        Ok(tensor) => HostTensor::new(tensor.dims(), to_vec(tensor)),
        Err(_) => {
            let tensor = trace.tensor4(hook).unwrap();
            HostTensor::new(tensor.dims(), to_vec(tensor))
        }
    }
}

/// Fails, naming `what`, unless `found` is `expected` within the tolerance; masked scores need only be masked in both.
fn check(what: &str, found: &HostTensor, expected: &HostTensor) {
    assert_eq!(found.shape, expected.shape, "{what}");
    let (mut error, mut size) = (0.0_f32, 0.0_f32);
    for (place, (&a, &b)) in found.data.iter().zip(&expected.data).enumerate() {
        assert_eq!(a < MASKED, b < MASKED, "{what} at {place}: {a}, expected {b}");
        if b >= MASKED {
            assert!(a.is_finite(), "{what} at {place}: {a}");
            error = error.max((a - b).abs());
            size = size.max(b.abs());
        }
    }
    assert!(
        error <= TOLERANCE * size,
        "{what}: off by {error}, its largest is {size}"
    );
}

fn logits(folder: &Path, batch: &TokenBatch) -> HostTensor {
    let request = Request {
        logits: Logits::All,
        ..Request::default()
    };
    let model = load(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let tensor = model.run(Start::Tokens(batch), &request).unwrap().logits_all().unwrap();
    HostTensor::new(tensor.dims(), to_vec(tensor))
}

/// Whether the logits of `folder` are those of `case`.
fn computes(folder: &Path, case: &str) -> bool {
    let expected = artifacts::read_tensors(&fixture(case).join("expected.safetensors")).unwrap();
    let (found, expected) = (logits(folder, &ids(case)), &expected["logits"]);
    let error = found.data.iter().zip(&expected.data).map(|(a, b)| (a - b).abs());
    found.shape == expected.shape && error.fold(0.0, f32::max) < 1e-4
}

/// A copy of a case with another configuration and other tensors.
fn changed(
    case: &str,
    config: impl FnOnce(&mut Value),
    tensors: impl FnOnce(&mut BTreeMap<String, HostTensor>),
) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut json: Value = artifacts::read_json(&fixture(case).join("config.json")).unwrap();
    config(&mut json);
    std::fs::write(folder.path().join("config.json"), json.to_string()).unwrap();
    let mut weights = artifacts::read_tensors(&fixture(case).join("model.safetensors")).unwrap();
    tensors(&mut weights);
    artifacts::write_tensors(&folder.path().join("model.safetensors"), &weights, &BTreeMap::new()).unwrap();
    folder
}

fn with_config(case: &str, config: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    changed(case, config, |_| ())
}

fn with_tensors(case: &str, tensors: impl FnOnce(&mut BTreeMap<String, HostTensor>)) -> tempfile::TempDir {
    changed(case, |_| (), tensors)
}

/// `tensors` under other names.
fn renamed(tensors: &mut BTreeMap<String, HostTensor>, name: impl Fn(&str) -> String) {
    *tensors = std::mem::take(tensors)
        .into_iter()
        .map(|(old, tensor)| (name(&old), tensor))
        .collect();
}

#[test]
fn every_hook_of_every_family_equals_transformers() {
    let mut failed = Vec::new();
    for (case, n_hooks) in CASES {
        let compared = std::panic::catch_unwind(|| compare(case, n_hooks));
        if compared.is_err() {
            failed.push(case);
        }
    }
    assert!(failed.is_empty(), "{failed:?} (the reasons are above)");
}

/// Runs a case once for all hooks and once for each hook alone, which other kernels may compute.
fn compare(case: &str, n_hooks: usize) {
    let expected = artifacts::read_tensors(&fixture(case).join("expected.safetensors")).unwrap();
    let model = load(&fixture(case)).unwrap_or_else(|error| panic!("{case}: {error}"));
    let batch = ids(case);
    let names = expected.keys().filter(|name| *name != "logits" && *name != "ids");
    let hooks: Vec<HookPoint> = names
        .map(|name| name.parse().unwrap_or_else(|error| panic!("{case}: {error}")))
        .collect();
    assert_eq!(hooks.len(), n_hooks, "{case}");
    let run = |capture: Vec<HookPoint>, logits: Logits| {
        let request = Request {
            capture,
            logits,
            ..Request::default()
        };
        let trace = model.run(Start::Tokens(&batch), &request);
        trace.unwrap_or_else(|error| panic!("{case}: {error}"))
    };
    let all = run(hooks.clone(), Logits::All);
    for &hook in &hooks {
        let name = hook.to_string();
        check(&format!("{case}: {name}"), &captured(&all, hook), &expected[&name]);
    }
    let tensor = all.logits_all().unwrap();
    let found = HostTensor::new(tensor.dims(), to_vec(tensor));
    check(&format!("{case}: logits"), &found, &expected["logits"]);
    for hook in hooks {
        let name = hook.to_string();
        let alone = captured(&run(vec![hook], Logits::None), hook);
        check(&format!("{case}: {name} alone"), &alone, &expected[&name]);
    }
}

#[test]
fn the_keys_of_transformers_4_say_the_same() {
    for (case, _) in CASES.iter().filter(|(case, _)| !case.starts_with("defaults")) {
        let old = fixture(case).join("config-old.json");
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(old, folder.path().join("config.json")).unwrap();
        let weights = "model.safetensors";
        std::fs::copy(fixture(case).join(weights), folder.path().join(weights)).unwrap();
        let [of_4, of_5] = [folder.path(), &fixture(case)].map(|path| load(path).unwrap());
        assert_eq!(of_4.spec(), of_5.spec(), "{case}");
        assert_eq!(of_4.hash(), of_5.hash(), "{case}");
        assert!(computes(folder.path(), case), "{case}");
    }
}

#[test]
fn a_window_of_null_is_none() {
    let no_window = with_config("mistral", |json| json["sliding_window"] = Value::Null);
    assert!(!computes(no_window.path(), "mistral"));
    let llama = with_config("mistral", |json| {
        json["model_type"] = "llama".into();
        json.as_object_mut().unwrap().remove("sliding_window");
    });
    let batch = ids("mistral");
    assert_eq!(logits(no_window.path(), &batch).data, logits(llama.path(), &batch).data);
}

#[test]
fn base_models_and_multimodal_ones_hold_the_same_under_other_names() {
    for (case, prefix) in [("llama3", "model."), ("gemma3", "model."), ("neox", "gpt_neox.")] {
        let base = with_tensors(case, |tensors| {
            renamed(tensors, |name| name.strip_prefix(prefix).unwrap_or(name).to_owned());
            assert!(tensors.keys().all(|name| !name.starts_with(prefix)));
        });
        assert!(computes(base.path(), case), "{case} without `{prefix}`");
    }
    for prefix in ["language_model.model.", "model.language_model."] {
        let multimodal = changed(
            "gemma3",
            |json| {
                let text = json.take();
                *json = json!({"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"], "text_config": text,
                               "vision_config": {"hidden_size": 4, "model_type": "siglip_vision_model"}, "mm_tokens_per_image": 256});
            },
            |tensors| {
                renamed(tensors, |name| name.replacen("model.", prefix, 1));
                let (tower, rest) = match prefix {
                    "language_model.model." => ("vision_tower.", "multi_modal_projector."),
                    _ => ("model.vision_tower.", "model.multi_modal_projector."),
                };
                for name in [
                    format!("{tower}vision_model.encoder.layers.0.mlp.fc1.weight"),
                    format!("{rest}mm_input_projection_weight"),
                ] {
                    tensors.insert(name, HostTensor::new([1, 2], vec![1.0, 2.0]));
                }
            },
        );
        assert!(computes(multimodal.path(), "gemma3"), "{prefix}");
    }
}

#[test]
fn buffers_of_old_checkpoints_are_passed_over() {
    let llama = with_tensors("llama", |tensors| {
        for layer in 0..2 {
            let name = format!("model.layers.{layer}.self_attn.rotary_emb.inv_freq");
            tensors.insert(name, HostTensor::new([4], vec![9.0; 4]));
        }
    });
    assert!(computes(llama.path(), "llama"));
    let neox = with_tensors("neox-serial", |tensors| {
        for layer in 0..2 {
            let at = format!("gpt_neox.layers.{layer}.attention");
            tensors.insert(
                format!("{at}.bias"),
                HostTensor::new([1, 1, 2, 2], vec![1.0, 0.0, 1.0, 1.0]),
            );
            tensors.insert(format!("{at}.masked_bias"), HostTensor::new([1], vec![-1e9]));
            tensors.insert(format!("{at}.rotary_emb.inv_freq"), HostTensor::new([4], vec![9.0; 4]));
        }
    });
    assert!(computes(neox.path(), "neox-serial"));
    let in_memory_name = with_tensors("neox-serial", |tensors| {
        renamed(tensors, |name| name.replace("embed_out", "lm_head"));
        assert!(tensors.contains_key("lm_head.weight"));
    });
    assert!(computes(in_memory_name.path(), "neox-serial"));
}

#[test]
fn a_tied_head_may_be_stored_at_either_end_or_both() {
    const EMBED: &str = "model.embed_tokens.weight";
    const HEAD: &str = "lm_head.weight";
    let both = with_tensors("llama3", |tensors| {
        tensors.insert(HEAD.to_owned(), tensors[EMBED].clone());
    });
    assert!(computes(both.path(), "llama3"));
    let head_alone = with_tensors("llama3", |tensors| {
        renamed(tensors, |name| name.replace(EMBED, HEAD));
    });
    assert!(computes(head_alone.path(), "llama3"));

    // Two that differ are two, whatever the configuration says: as `llama`, which states that.
    let contradicted = with_config("llama", |json| json["tie_word_embeddings"] = true.into());
    assert!(computes(contradicted.path(), "llama"));

    let absent = with_tensors("llama", |tensors| {
        tensors.remove(HEAD).unwrap();
    });
    let error = load(absent.path()).unwrap_err().to_string();
    assert!(error.contains(HEAD), "{error}");
}

#[test]
fn damaged_weights_are_named() {
    for (case, name) in [
        ("llama", "model.layers.1.mlp.up_proj.weight"),
        ("llama-bias", "model.layers.0.self_attn.o_proj.bias"),
        ("qwen2", "model.layers.1.self_attn.k_proj.bias"),
        ("qwen3", "model.layers.0.self_attn.q_norm.weight"),
        ("gemma2", "model.layers.2.pre_feedforward_layernorm.weight"),
        ("gemma3", "model.norm.weight"),
        ("neox", "gpt_neox.layers.1.attention.query_key_value.bias"),
    ] {
        let missing = with_tensors(case, |tensors| {
            tensors.remove(name).unwrap();
        });
        let error = load(missing.path()).unwrap_err();
        assert!(matches!(error, Error::MissingTensors { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
        let misshaped = with_tensors(case, |tensors| {
            let tensor = tensors.get_mut(name).unwrap();
            tensor.shape.reverse();
            tensor.shape[0] += 1;
            tensor.data = vec![0.5; tensor.shape.iter().product()];
        });
        let error = load(misshaped.path()).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
        let not_finite = with_tensors(case, |tensors| tensors.get_mut(name).unwrap().data[1] = f32::NAN);
        let error = load(not_finite.path()).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}

/// What of a configuration is refused: case, JSON pointer, value, what the message names besides the value.
fn refused() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    vec![
        ("llama", "/model_type", json!("mixtral"), "model_type"),
        ("gemma3", "/model_type", json!("gemma3n_text"), "model_type"),
        ("llama", "/hidden_act", json!("xielu"), "hidden_act"),
        ("gemma2", "/hidden_activation", json!("xielu"), "hidden_activation"),
        ("neox", "/hidden_act", json!("quick_geglu"), "hidden_act"),
        ("llama", "/rope_parameters/rope_type", json!("longrope"), "rope_type"),
        (
            "llama-yarn",
            "/rope_parameters/rope_type",
            json!("dynamic"),
            "rope_type",
        ),
        (
            "gemma3",
            "/rope_parameters/full_attention/rope_type",
            json!("proportional"),
            "rope_type",
        ),
        ("gemma3", "/layer_types/1", json!("chunked_attention"), "layer_types"),
        ("qwen2-window", "/layer_types", json!(["full_attention"]), "layer_types"),
        (
            "gemma3",
            "/use_bidirectional_attention",
            json!(true),
            "use_bidirectional_attention",
        ),
        (
            "llama",
            "/quantization_config",
            json!({"quant_method": "gptq"}),
            "quantization_config",
        ),
        // Sizes and numbers of which no model can be made.
        ("llama", "/num_key_value_heads", json!(3), "num_key_value_heads"),
        ("llama", "/num_attention_heads", json!(0), "num_attention_heads"),
        ("qwen3", "/hidden_size", json!(-24), "hidden_size"),
        ("neox", "/hidden_size", json!(33), "hidden_size"),
        ("mistral", "/intermediate_size", json!("40"), "intermediate_size"),
        ("llama", "/head_dim", json!(7), "head_dim"),
        ("llama", "/num_hidden_layers", json!(1e300), "num_hidden_layers"),
        ("llama", "/rms_norm_eps", json!(-1e-5), "rms_norm_eps"),
        ("neox", "/layer_norm_eps", json!("1e-5"), "layer_norm_eps"),
        ("mistral", "/sliding_window", json!(0), "sliding_window"),
        ("gemma2", "/query_pre_attn_scalar", json!(0), "query_pre_attn_scalar"),
        (
            "gemma2",
            "/attn_logit_softcapping",
            json!(0.0),
            "attn_logit_softcapping",
        ),
        (
            "gemma2",
            "/final_logit_softcapping",
            json!(0.0),
            "final_logit_softcapping",
        ),
        ("llama", "/rope_parameters/rope_theta", json!(0.0), "rope_theta"),
        ("llama-linear", "/rope_parameters/factor", json!(0.0), "factor"),
        (
            "llama3",
            "/rope_parameters/low_freq_factor",
            json!(4.0),
            "low_freq_factor",
        ),
        (
            "neox",
            "/rope_parameters/partial_rotary_factor",
            json!(1.5),
            "partial_rotary_factor",
        ),
    ]
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    let mut failed = Vec::new();
    for (case, pointer, value, named) in refused() {
        let folder = with_config(case, |json| set(json, pointer, value.clone()));
        let error = match load(folder.path()) {
            Ok(_) => "no error".to_owned(),
            Err(error) => error.to_string(),
        };
        let says_value = value.as_str().is_none_or(|word| error.contains(word));
        if !(error.contains(named) && says_value && error.lines().count() == 1) {
            failed.push(format!("{case}: {pointer} {value}: {error}"));
        }
    }
    // Keys of transformers 4, which are read in another place.
    for (case, key, value, named) in [
        (
            "llama",
            "rope_scaling",
            json!({"type": "dynamic", "factor": 2.0}),
            "dynamic",
        ),
        (
            "gemma3",
            "rope_scaling",
            json!({"rope_type": "su", "factor": 2.0}),
            "su",
        ),
    ] {
        let folder = with_config(case, |json| {
            *json = artifacts::read_json(&fixture(case).join("config-old.json")).unwrap();
            json[key] = value;
        });
        match load(folder.path()) {
            Err(error) if error.to_string().contains(named) => {}
            other => failed.push(format!("{case}: {key}: {:?}", other.map(|_| "no error"))),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn set(json: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match json.pointer_mut(parent).unwrap() {
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
        object => object[key] = value,
    }
}

#[test]
fn what_changes_nothing_is_not_refused() {
    for (case, key, value) in [
        ("llama", "unsloth_fixed", json!(true)),
        ("llama", "eos_token_id", json!([2, 7])),
        ("llama", "quantization_config", Value::Null),
        ("qwen2", "max_window_layers", json!(1)),
        ("gemma2", "hidden_act", json!("xielu")),
        // transformers reads it nowhere in Gemma 3.
        ("gemma3", "attn_logit_softcapping", json!(0.5)),
        ("neox", "classifier_dropout", json!(0.5)),
    ] {
        let folder = with_config(case, |json| json[key] = value.clone());
        assert!(computes(folder.path(), case), "{case}: {key} {value}");
    }
}

#[test]
fn rows_that_do_not_fit_are_named() {
    for case in ["llama", "gemma3", "neox"] {
        let model = load(&fixture(case)).unwrap();
        let run = |rows: &[Vec<u32>]| {
            let batch = TokenBatch::new(rows).unwrap();
            model.run(Start::Tokens(&batch), &Request::default()).err()
        };
        assert!(
            matches!(run(&[vec![50]]), Some(Error::UnknownToken { found: 50, .. })),
            "{case}"
        );
        let absent = Request {
            capture: vec![HookPoint::ResidPre(3)],
            ..Request::default()
        };
        let batch = ids(case);
        let error = model.run(Start::Tokens(&batch), &absent).err();
        assert!(matches!(error, Some(Error::Hook { .. })), "{case}");
    }
    // Between attention and MLP there is nothing where both read the same stream.
    let parallel = load(&fixture("neox")).unwrap();
    let request = Request {
        capture: vec![HookPoint::ResidMid(0)],
        ..Request::default()
    };
    let error = parallel.run(Start::Tokens(&ids("neox")), &request).err();
    assert!(matches!(error, Some(Error::Hook { .. })), "{error:?}");
}
