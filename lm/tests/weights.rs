//! Weights in one file and in several, and folders that are none of a model: read alike, or refused in one line.

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
use lm::{Error, Logits, Model, Request, Spec, Start, TokenBatch};
use proptest::prelude::*;

const INDEX: &str = "model.safetensors.index.json";

fn fixture(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/gpt2-micro")
        .join(part)
}

/// The folder of a model whose weights lie in `n` files.
fn sharded(n: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("config.json"), folder.path().join("config.json")).unwrap();
    let all: Vec<_> = artifacts::read_tensors(&fixture("model.safetensors"))
        .unwrap()
        .into_iter()
        .collect();
    let mut places = serde_json::Map::new();
    for (i, part) in all.chunks(all.len().div_ceil(n)).enumerate() {
        let file = shard(i, n);
        let tensors: BTreeMap<String, HostTensor> = part.iter().cloned().collect();
        artifacts::write_tensors(&folder.path().join(&file), &tensors, &BTreeMap::new()).unwrap();
        places.extend(tensors.into_keys().map(|name| (name, file.clone().into())));
    }
    write_index(folder.path(), serde_json::Value::Object(places));
    folder
}

fn shard(i: usize, n: usize) -> String {
    format!("model-{:05}-of-{n:05}.safetensors", i + 1)
}

fn write_index(folder: &Path, places: serde_json::Value) {
    let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": places});
    std::fs::write(folder.join(INDEX), index.to_string()).unwrap();
}

fn places(folder: &Path) -> serde_json::Value {
    let index: serde_json::Value = artifacts::read_json(&folder.join(INDEX)).unwrap();
    index["weight_map"].clone()
}

fn logits(model: &Model) -> Vec<f32> {
    let request = Request {
        logits: Logits::All,
        ..Request::default()
    };
    let tokens = TokenBatch::new(&[[1, 2, 3]]).unwrap();
    to_vec(
        model
            .run(Start::Tokens(&tokens), &request)
            .unwrap()
            .logits_all()
            .unwrap(),
    )
}

/// The line with which a folder is refused.
fn refused(folder: &Path) -> String {
    let line = Model::load(folder, &cpu()).unwrap_err().to_string();
    assert!(!line.contains('\n') && line.len() < 1000, "{line}");
    line
}

#[test]
fn shards_are_the_model_that_one_file_is() {
    let whole = Model::load(&fixture(""), &cpu()).unwrap();
    let mut hashes = vec![whole.file_hash().to_owned()];
    for n in [1, 2, 5] {
        let folder = sharded(n);
        let model = Model::load(folder.path(), &cpu()).unwrap();
        assert_eq!(logits(&model), logits(&whole));
        assert!(model.passed_over_index().is_none());
        // As it is documented.
        let of_shards: String = (0..n)
            .map(|i| artifacts::sha256_file(&folder.path().join(shard(i, n))).unwrap() + "\n")
            .collect();
        let of_weights = artifacts::sha256_hex(of_shards.as_bytes());
        let config = lm::to_hugging_face(model.spec(), 0);
        assert_eq!(
            model.file_hash(),
            artifacts::sha256_hex(format!("{config} {of_weights}").as_bytes())
        );
        hashes.push(model.file_hash().to_owned());
    }
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), 4);
}

#[test]
fn one_file_wins_over_an_index_beside_it() {
    let folder = sharded(2);
    std::fs::copy(fixture("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    // It is not even read.
    std::fs::write(folder.path().join(INDEX), "of another time").unwrap();
    let (model, whole) = (
        Model::load(folder.path(), &cpu()).unwrap(),
        Model::load(&fixture(""), &cpu()).unwrap(),
    );
    assert_eq!(model.passed_over_index(), Some(&*folder.path().join(INDEX)));
    assert_eq!(model.file_hash(), whole.file_hash());
    assert!(whole.passed_over_index().is_none());
}

#[test]
fn what_is_wrong_with_shards_is_said_in_one_line() {
    let missing = sharded(3);
    std::fs::remove_file(missing.path().join(shard(1, 3))).unwrap();
    let line = refused(missing.path());
    assert!(
        line.contains(INDEX) && line.contains(&shard(1, 3)) && !line.contains("permissions"),
        "{line}"
    );

    let cut = sharded(3);
    let path = cut.path().join(shard(1, 3));
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert!(refused(cut.path()).contains(&shard(1, 3)));

    // A tensor that is nowhere, one that lies elsewhere, one that the index does not know, and one that is not of GPT-2.
    let folder = sharded(2);
    let right = places(folder.path());
    for (name, place, part) in [
        ("h.7.ln_1.bias", shard(0, 2).into(), "places `h.7.ln_1.bias`"),
        ("wte.weight", shard(0, 2).into(), "does not place there"),
        ("wte.weight", serde_json::Value::Null, "damaged"),
        ("wte.weight", 3.into(), "damaged"),
    ] {
        let mut changed = right.clone();
        let name = match changed.get(name) {
            None if name == "wte.weight" => format!("transformer.{name}"),
            _ => name.to_owned(),
        };
        changed[&name] = place;
        write_index(folder.path(), changed);
        let line = refused(folder.path());
        assert!(line.contains(part) && line.contains(INDEX), "{line}");
    }
    let mut changed = right.clone();
    let (name, _) = right.as_object().unwrap().iter().next().unwrap();
    changed.as_object_mut().unwrap().remove(name);
    write_index(folder.path(), changed);
    assert!(refused(folder.path()).contains(&format!("`{name}`")));

    // Names that lead out of the folder, or are none.
    let outside = folder.path().parent().unwrap().join("outside.safetensors");
    for name in [
        "../outside.safetensors",
        &outside.to_string_lossy(),
        "a/../../outside.safetensors",
        "..\\outside.safetensors",
        "",
        ".",
        ".safetensors",
        "config.json",
        "a\u{1b}.safetensors",
        "a b.safetensors",
    ] {
        let mut changed = right.clone();
        changed["wte.weight"] = name.into();
        write_index(folder.path(), changed);
        let line = refused(folder.path());
        assert!(line.contains("is no name of a safetensors file"), "{line}");
    }
    for text in [
        "",
        "[]",
        "{}",
        "{\"weight_map\": {}}",
        "{\"weight_map\": []}",
        "\u{feff}{}",
    ] {
        std::fs::write(folder.path().join(INDEX), text).unwrap();
        assert!(refused(folder.path()).contains(INDEX), "{text}");
    }
}

#[test]
fn a_folder_without_weights_that_are_read_says_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("config.json"), folder.path().join("config.json")).unwrap();
    let line = refused(folder.path());
    assert!(
        line.contains("neither model.safetensors nor model.safetensors.index.json"),
        "{line}"
    );
    for name in ["tf_model.h5", "pytorch_model.bin.index.json", "pytorch_model.bin"] {
        std::fs::write(folder.path().join(name), "x").unwrap();
        let line = refused(folder.path());
        assert!(
            line.contains(&format!("its weights as {name}")) && !line.contains("permissions"),
            "{line}"
        );
    }
}

#[test]
fn a_config_that_does_not_belong_to_the_weights_is_refused_before_its_tensors_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("model.safetensors");
    std::fs::copy(fixture("model.safetensors"), &weights).unwrap();
    let right: serde_json::Value = artifacts::read_json(&fixture("config.json")).unwrap();
    for (key, value, part) in [
        (
            "n_layer",
            serde_json::json!(1_000_000),
            "`n_layer` is 1000000, supported is at most 65536",
        ),
        (
            "n_layer",
            serde_json::json!(16_777_216),
            "`n_layer` is 16777216, supported is at most 65536",
        ),
        ("n_layer", serde_json::json!(1), "config.json tells of 1;"),
        ("n_layer", serde_json::json!(0), "`n_layer` is 0"),
        ("n_layer", serde_json::json!(-1), "-1"),
        ("n_layer", serde_json::json!(1.5), "1.5"),
        ("n_layer", serde_json::json!(1e300), "`n_layer` is 1e+300"),
        ("n_layer", serde_json::json!("2"), "`n_layer` is \"2\""),
        (
            "n_layer",
            serde_json::json!(u64::MAX),
            "`n_layer` is 18446744073709551615",
        ),
        ("n_embd", serde_json::json!(1_000_000_000), "`n_embd` is 1000000000"),
        ("n_embd", serde_json::json!(16_777_216), "from config.json"),
        ("n_inner", serde_json::json!(0), "`n_inner` is 0"),
        ("n_inner", serde_json::json!(16_777_216), "from config.json"),
        ("n_positions", serde_json::json!(16_777_216), "from config.json"),
        ("vocab_size", serde_json::json!(16_777_216), "from config.json"),
        ("n_head", serde_json::json!(0), "`n_head` is 0"),
    ] {
        let mut config = right.clone();
        config[key] = value;
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let line = refused(folder.path());
        assert!(line.contains(part), "{key}: {line}");
    }
    // Many names are not all told.
    std::fs::write(folder.path().join("config.json"), right.to_string()).unwrap();
    let mut tensors = artifacts::read_tensors(&fixture("model.safetensors")).unwrap();
    tensors.retain(|name, _| !name.contains("ln_"));
    artifacts::write_tensors(&weights, &tensors, &BTreeMap::new()).unwrap();
    let line = refused(folder.path());
    assert!(line.contains("missing tensors: ") && line.contains(" more; "), "{line}");
    let mut tensors = artifacts::read_tensors(&fixture("model.safetensors")).unwrap();
    tensors.extend((0..100_000).map(|i| (format!("extra.{i}"), HostTensor::new([1], vec![0.0]))));
    artifacts::write_tensors(&weights, &tensors, &BTreeMap::new()).unwrap();
    let line = refused(folder.path());
    assert!(line.contains("and 99995 more"), "{line}");
    // The same tensor under both styles of names.
    let mut tensors = artifacts::read_tensors(&fixture("model.safetensors")).unwrap();
    let again = tensors.iter().find(|(name, _)| name.ends_with("ln_f.bias")).unwrap();
    let (name, tensor) = (again.0.clone(), again.1.clone());
    let other = name
        .strip_prefix("transformer.")
        .map_or(format!("transformer.{name}"), str::to_owned);
    tensors.insert(other, tensor);
    artifacts::write_tensors(&weights, &tensors, &BTreeMap::new()).unwrap();
    assert!(refused(folder.path()).contains("twice"));
}

/// A model small enough that most of its bytes are structure.
fn tiny() -> (tempfile::TempDir, Vec<u8>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let config = Spec::gpt2(1, 1, 1, 2, 3);
    let train = lm::train::PretrainConfig {
        steps: 1,
        learning_rate: 1e-3,
        warmup_steps: 0,
        weight_decay: 0.0,
        clip_norm: 1.0,
        init_std: 0.1,
        seed: 0,
    };
    lm::train::Pretrainer::new(train, config, &cpu())
        .export(folder.path(), 0)
        .unwrap();
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let (weights, config) = (read("model.safetensors"), read("config.json"));
    (folder, weights, config)
}

/// `bytes` with some of them changed, and a piece cut out or put in twice.
fn mutated(
    bytes: &[u8],
    changes: &[(prop::sample::Index, u8)],
    from: prop::sample::Index,
    length: usize,
    twice: bool,
) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for (place, byte) in changes {
        let place = place.index(out.len());
        out[place] = *byte;
    }
    let from = from.index(out.len());
    let piece = from..out.len().min(from + length);
    let copy = if twice { out[piece.clone()].to_vec() } else { Vec::new() };
    out.splice(if twice { from..from } else { piece }, copy);
    out
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(600) })]

    /// Whatever the bytes of a model's files are, they are read or refused in one line.
    #[test]
    fn changed_files_never_end_in_a_panic(
        which in 0..3_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        from in any::<prop::sample::Index>(),
        length in 0..40_usize,
        twice in any::<bool>(),
    ) {
        let (folder, weights, config) = tiny();
        let change = |bytes: &[u8]| mutated(bytes, &changes, from, length, twice);
        let path = |name: &str| folder.path().join(name);
        match which {
            0 => std::fs::write(path("model.safetensors"), change(&weights)).unwrap(),
            1 => std::fs::write(path("config.json"), change(&config)).unwrap(),
            _ => {
                std::fs::rename(path("model.safetensors"), path("m.safetensors")).unwrap();
                let names = artifacts::read_tensors(&path("m.safetensors")).unwrap().into_keys();
                let index = serde_json::json!({"weight_map": names.map(|name| (name, "m.safetensors")).collect::<BTreeMap<_, _>>()});
                std::fs::write(path(INDEX), change(index.to_string().as_bytes())).unwrap();
            }
        }
        match Model::load(folder.path(), &cpu()) {
            Ok(model) => drop(logits_of_one(&model)),
            Err(error) => prop_assert!(!error.to_string().contains('\n'), "{error}"),
        }
    }
}

fn logits_of_one(model: &Model) -> Result<Vec<f32>, Error> {
    let request = Request {
        logits: Logits::All,
        ..Request::default()
    };
    let tokens = TokenBatch::new(&[[0]])?;
    Ok(to_vec(model.run(Start::Tokens(&tokens), &request)?.logits_all()?))
}
