//! `saelab verify-model`, and the memory that loading a model takes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "a test says what it measured, or that it skips")]

mod common;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::{saelab, succeeds};
use lm::{Dtype, HookPoint, Logits, Model, Request, Start, TokenBatch};
use serde_json::{Value, json};
use strum::VariantArray;
use tasks::{IoiTask, Sample, Task};
use text::Tokenizer;

/// SmolLM2 as a GGUF file, where `SAELAB_SMOLLM2_GGUF` names it.
fn smollm2() -> Option<PathBuf> {
    let path = std::env::var_os("SAELAB_SMOLLM2_GGUF").map(PathBuf::from);
    if path.is_none() {
        println!("skipped: SAELAB_SMOLLM2_GGUF does not name the file (make smollm2)");
    }
    path
}

fn verify(model: &Path, golden: &Path) -> Output {
    let mut command = saelab(&["verify-model"]);
    command.args([model, golden]).output().unwrap()
}

/// Values of the shipped model at one prompt, as a golden file holds them.
fn golden_of_small_world(folder: &Path) -> Value {
    let (model, tokenizer) = (
        Model::load(folder, &kernels::cpu()).unwrap(),
        Tokenizer::open(folder).unwrap(),
    );
    let prompt = IoiTask::new(&tokenizer)
        .unwrap()
        .sample(Sample::Evaluation, 1, 0)
        .remove(0);
    let (bos, ids) = prompt.ids.split_first().unwrap();
    let text = tokenizer.decode(ids).unwrap();
    let hooks: Vec<HookPoint> = [
        "blocks.1.attn.hook_pattern",
        "blocks.0.hook_mlp_out",
        "blocks.1.hook_mlp_out",
    ]
    .map(|name| name.parse().unwrap())
    .into();
    let request = Request {
        capture: hooks.clone(),
        logits: Logits::All,
        ..Request::default()
    };
    let batch = TokenBatch::new(&[&prompt.ids]).unwrap();
    let trace = model.run(Start::Tokens(&batch), &request).unwrap();
    let (t, v) = (prompt.ids.len(), model.spec().d_vocab);
    let logits: Vec<f64> = kernels::to_vec(trace.logits_all().unwrap())
        .into_iter()
        .map(f64::from)
        .collect();
    let sum = |logits: &[f64]| logits.iter().map(|x| x.exp()).sum::<f64>().ln();
    let last = &logits[(t - 1) * v..];
    let next = logits.chunks(v).zip(&prompt.ids[1..]);
    let loss = next.map(|(logits, &id)| sum(logits) - logits[id as usize]).sum::<f64>() / (t - 1) as f64;
    let mut order: Vec<usize> = (0..v).collect();
    order.sort_by(|&a, &b| last[b].total_cmp(&last[a]));
    let with_logit = |id: usize| json!([id, last[id]]);
    let name = |id: u32| tokenizer.decode(&[id]).unwrap();
    let (right, wrong) = (prompt.right_token(), prompt.wrong_token());

    let pattern = trace.tensor4(hooks[0]).unwrap(); // [1, H, T, T]
    let heads = pattern.dims()[1];
    let pattern: Vec<f64> = kernels::to_vec(pattern).into_iter().map(f64::from).collect();
    let norm = |hook: HookPoint| {
        let values = kernels::to_vec(trace.tensor3(hook).unwrap());
        let vector = &values[values.len() - model.spec().d_model..];
        vector.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
    };
    json!({
        "source": "this program",
        "prepend": [bos],
        "prompts": [{
            "text": text, "ids": ids,
            "top": order[..3].iter().map(|&id| with_logit(id)).collect::<Vec<_>>(),
            "some": [with_logit(5), with_logit(order[v - 1])],
            "logsumexp": sum(last), "mean_logit": last.iter().sum::<f64>() / v as f64, "loss": loss,
            "hooks": [{"hook": hooks[0], "at": [-1, -2, 1], "values": pattern[heads * t * t - 2 * t + 1..][..3].to_vec()}],
            "norms": [{"hook": hooks[1], "position": -1, "values": [norm(hooks[1]), norm(hooks[2])]}],
        }],
        "paragraphs": [{"text": text, "tokens": ids.len(), "loss": loss}],
        "choices": [{
            "text": text, "right": name(right), "wrong": name(wrong),
            "difference": last[right as usize] - last[wrong as usize],
        }],
        "tokenizer": [{"text": text, "ids": ids}],
    })
}

/// A golden file with a value changed, and what the program says of it.
fn verdict(golden: &Value, change: &dyn Fn(&mut Value), folder: &Path) -> (Option<i32>, String) {
    let mut golden = golden.clone();
    change(&mut golden);
    let path = folder.join("golden.json");
    std::fs::write(&path, golden.to_string()).unwrap();
    let output = verify(Path::new("models/small-world"), &path);
    let said = [output.stdout, output.stderr]
        .map(|bytes| String::from_utf8(bytes).unwrap())
        .concat();
    (output.status.code(), said)
}

#[test]
fn every_kind_of_value_is_compared_and_a_wrong_one_is_told() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/small-world");
    let (golden, folder) = (golden_of_small_world(&model), tempfile::tempdir().unwrap());
    let (code, said) = verdict(&golden, &|_| (), folder.path());
    assert_eq!(code, Some(0), "{said}");
    let groups = [
        "prompts' tokens",
        "logits",
        "mean losses",
        "hooks",
        "norms",
        "choices",
        "tokenizer",
    ];
    for name in groups {
        assert!(
            said.lines()
                .any(|line| line.starts_with(name) && line.contains("compared")),
            "{said}"
        );
    }
    assert!(said.contains("PASS"), "{said}");

    let change = |place: &'static str, by: f64| {
        move |golden: &mut Value| {
            let value = golden.pointer_mut(place).unwrap();
            *value = json!(value.as_f64().unwrap() + by);
        }
    };
    for (place, by, kind) in [
        ("/prompts/0/top/0/1", 0.01, "logits: 2 of 10 differ"),
        ("/prompts/0/some/1/1", 0.01, "logits: 1 of 10 differ"),
        ("/prompts/0/logsumexp", 0.01, "logits: 1 of 10 differ"),
        ("/prompts/0/mean_logit", 0.01, "logits: 1 of 10 differ"),
        ("/prompts/0/loss", 0.002, "mean losses: 1 of 2 differ"),
        ("/paragraphs/0/loss", 0.002, "mean losses: 1 of 2 differ"),
        ("/prompts/0/hooks/0/values/2", 0.1, "hooks: "),
        ("/prompts/0/norms/0/values/1", 0.1, "norms: 1 of 2 differ"),
        ("/choices/0/difference", 0.01, "choices: 1 of 1 differ"),
    ] {
        let (code, said) = verdict(&golden, &change(place, by), folder.path());
        assert_eq!(code, Some(1), "{place}: {said}");
        assert!(said.contains(kind) && !said.contains("PASS"), "{place}: {said}");
        assert_eq!(said.matches(" differ, first ").count(), 1, "{place}: {said}");
        // The same within a tolerance that the file asks for.
        let wider = |golden: &mut Value| {
            change(place, by)(golden);
            let all = ["logits", "losses", "hooks", "norms", "differences"];
            golden["tolerances"] = all.iter().map(|name| ((*name).to_owned(), json!(1e4))).collect();
        };
        assert_eq!(verdict(&golden, &wider, folder.path()).0, Some(0), "{place}");
    }
    let whole = |place: &'static str, value: Value| {
        move |golden: &mut Value| *golden.pointer_mut(place).unwrap() = value.clone()
    };
    for (place, value, said) in [
        ("/tokenizer/0/ids", json!([7]), "tokenizer: 1 of 1 differ"),
        ("/paragraphs/0/tokens", json!(3), "prompts' tokens: 1 of 2 differ"),
        ("/prepend", json!([]), "logits: "),
        ("/choices/0/right", json!("no such word"), "is not one token"),
        ("/prompts/0/hooks/0/at", json!([0, 0]), "do not lie in a row of shape"),
        (
            "/prompts/0/hooks/0/at",
            json!([0, 0, 1000]),
            "do not lie in a row of shape",
        ),
        (
            "/prompts/0/norms/0/hook",
            json!("blocks.1.hook_mlp_out"),
            "name the hook of block 0",
        ),
        (
            "/prompts/0/hooks/0/hook",
            json!("blocks.99.hook_mlp_out"),
            "block 99 does not exist",
        ),
        ("/prompts/0", json!({"text": "", "ids": [], "tops": []}), "tops"),
    ] {
        let (code, found) = verdict(&golden, &whole(place, value), folder.path());
        assert!(code == Some(1) && found.contains(said), "{place}: {found}");
    }
    let (code, said) = verdict(&golden, &|golden| *golden = json!({"source": "nothing"}), folder.path());
    assert!(code == Some(1) && said.contains("holds nothing to compare"), "{said}");
}

#[test]
fn weights_in_16_bits_are_compared_with_the_tolerance_that_they_need() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/small-world");
    let (golden, folder) = (golden_of_small_world(&model), tempfile::tempdir().unwrap());
    let path = folder.path().join("golden.json");
    let verify = |golden: &Value, dtype: &str| {
        std::fs::write(&path, golden.to_string()).unwrap();
        let mut command = saelab(&["verify-model", "--dtype", dtype]);
        command.args([&model, &path]).output().unwrap()
    };
    let mut wrong = golden.clone();
    wrong["prompts"][0]["loss"] = json!(golden["prompts"][0]["loss"].as_f64().unwrap() + 0.05);
    for (dtype, tolerance) in [("bf16", "tolerance 2e-2"), ("f16", "tolerance 2e-3")] {
        let said = verify(&golden, dtype);
        let lines = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(lines.contains(tolerance), "{lines}");
        succeeds(said);
        let said = verify(&wrong, dtype);
        assert!(String::from_utf8_lossy(&said.stdout).contains("mean losses: 1 of 2 differ"));
        assert_eq!(said.status.code(), Some(1));
    }
    let said = verify(&golden, "f64");
    let lines = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        said.status.code() == Some(2) && lines.contains("expected f32, bf16 or f16"),
        "{lines}"
    );
}

#[test]
fn smollm2_computes_what_transformers_computes() {
    let Some(model) = smollm2() else { return };
    for dtype in Dtype::VARIANTS {
        let mut command = saelab(&["verify-model", "--dtype", &dtype.to_string()]);
        command.arg(&model).arg("lm/tests/fixtures/smollm2-golden.json");
        let said = command.output().unwrap();
        println!("{dtype}\n{}", String::from_utf8_lossy(&said.stdout));
        succeeds(said);
    }
}

/// Runs a program and gives the most memory that it had resident, in MB (2^20 bytes).
fn peak_of(mut command: Command) -> u64 {
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kb = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        peak = kb.map_or(peak, |kb| kb / 1024);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return peak;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A pass of a model, kept in `dtype`, over one token that asks for nothing but the embedding.
fn load(model: &Path, dtype: Dtype, folder: &Path) -> Command {
    let ids = folder.join("ids.safetensors");
    let header = br#"{"ids":{"dtype":"I64","shape":[1,1],"data_offsets":[0,8]}}"#;
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header, &0_u64.to_le_bytes()].concat();
    std::fs::write(&ids, bytes).unwrap();
    let mut command = saelab(&["trace", "--hooks", "hook_embed", "--dtype", &dtype.to_string()]);
    command
        .arg(model)
        .arg("--ids")
        .arg(ids)
        .arg("--out")
        .arg(folder.join("out.safetensors"));
    command
}

/// A safetensors file of zeros in bf16, most of which no disk holds.
fn zeros(path: &Path, tensors: &[(String, Vec<usize>)]) {
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, shape) in tensors {
        let bytes = 2 * shape.iter().product::<usize>();
        header.insert(
            name.clone(),
            json!({"dtype": "BF16", "shape": shape, "data_offsets": [end, end + bytes]}),
        );
        end += bytes;
    }
    let header = Value::Object(header).to_string();
    let mut file = File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len((8 + header.len() + end) as u64).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn loading_takes_the_weights_and_little_more() {
    let folder = tempfile::tempdir().unwrap();
    let (d, m, v, layers) = (1024, 4096, 512, 6);
    let config = json!({
        "model_type": "llama", "hidden_size": d, "intermediate_size": m, "num_hidden_layers": layers, "num_attention_heads": 16,
        "num_key_value_heads": 16, "vocab_size": v, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": true, "hidden_act": "silu",
    });
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let mut tensors = vec![
        ("model.embed_tokens.weight".to_owned(), vec![v, d]),
        ("model.norm.weight".to_owned(), vec![d]),
    ];
    for layer in 0..layers {
        let of_layer = |part: &str| format!("model.layers.{layer}.{part}.weight");
        for part in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            tensors.push((of_layer(&format!("self_attn.{part}")), vec![d, d]));
        }
        tensors.extend(["gate_proj", "up_proj"].map(|part| (of_layer(&format!("mlp.{part}")), vec![m, d])));
        tensors.push((of_layer("mlp.down_proj"), vec![d, m]));
        tensors.extend(["input_layernorm", "post_attention_layernorm"].map(|part| (of_layer(part), vec![d])));
    }
    let mut weight_map = serde_json::Map::new();
    for (i, of_shard) in tensors.chunks(tensors.len().div_ceil(2)).enumerate() {
        let name = format!("model-0000{}-of-00002.safetensors", i + 1);
        zeros(&folder.path().join(&name), of_shard);
        weight_map.extend(of_shard.iter().map(|(tensor, _)| (tensor.clone(), json!(name))));
    }
    let index = json!({"weight_map": weight_map}).to_string();
    std::fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();

    let numbers: usize = tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    for (dtype, bytes) in [(Dtype::F32, 4), (Dtype::Bf16, 2), (Dtype::F16, 2)] {
        let weights = (bytes * numbers) as u64 >> 20;
        let peak = peak_of(load(folder.path(), dtype, folder.path()));
        println!("{dtype}: weights {weights} MB, peak {peak} MB");
        // A shard, of 100 MB, does not fit beside the weights; a tensor and the program do.
        assert!(
            (weights..weights + 100).contains(&peak),
            "{dtype}: weights {weights} MB, peak {peak} MB"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn smollm2_is_loaded_in_the_memory_of_its_weights() {
    let Some(model) = smollm2() else { return };
    let folder = tempfile::tempdir().unwrap();
    for (dtype, bytes) in [(Dtype::F32, 4), (Dtype::Bf16, 2), (Dtype::F16, 2)] {
        let start = std::time::Instant::now();
        let peak = peak_of(load(&model, dtype, folder.path()));
        println!("{dtype}: peak {peak} MB, {:.2} s", start.elapsed().as_secs_f64());
        // 134,515,008 numbers.
        assert!(peak <= ((134_515_008 * bytes) >> 20) + 200, "{dtype}: {peak} MB");
    }
}
