//! Folders that the field's libraries wrote give the codes and reconstructions that the libraries computed, and go from one
//! library's layout to another's without changing them.
//!
//! `fixtures/saelens/make.py` and `fixtures/interchange/make.py` made them with SAELens 6.54.12, dictionary_learning 0.1.0 and
//! sparsify 1.3.3.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};

use dictionaries::{Autoencoder, Error, Format, Origin};
use kernels::{cpu, from_vec, to_vec};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Every fixture: its folder and the file of what the library computed.
fn fixtures() -> Vec<(PathBuf, PathBuf)> {
    let mut all = Vec::new();
    for (parent, golden) in [
        ("saelens", "expected.safetensors"),
        ("interchange", "golden.safetensors"),
    ] {
        for entry in std::fs::read_dir(folder(parent)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                all.push((path.clone(), path.join(golden)));
            }
        }
    }
    all.sort();
    all
}

/// What a library computed: inputs, codes, reconstructions.
struct Golden {
    x: artifacts::HostTensor,
    codes: Vec<f32>,
    reconstruction: Vec<f32>,
}

fn golden(path: &Path) -> Golden {
    let mut tensors = artifacts::read_tensors(path).unwrap();
    Golden {
        x: tensors.remove("x").unwrap(),
        codes: tensors.remove("feature_acts").unwrap().data,
        reconstruction: tensors.remove("reconstruction").unwrap().data,
    }
}

fn check(model: &Autoencoder, golden: &Golden, name: &str) {
    let x = || from_vec(golden.x.data.clone(), [golden.x.shape[0], golden.x.shape[1]], &cpu());
    let (codes, reconstruction) = (to_vec(model.codes(x())), to_vec(model.reconstruct(x())));
    let same = codes.iter().zip(&golden.codes).all(|(a, b)| (*a > 0.0) == (*b > 0.0));
    assert!(same, "{name}: support");
    for (what, found, expected) in [
        ("codes", codes, &golden.codes),
        ("reconstruction", reconstruction, &golden.reconstruction),
    ] {
        let size = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let gaps = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
        let gap = gaps.fold(0.0_f32, f32::max);
        assert_eq!(found.len(), expected.len(), "{name}, {what}");
        assert!(gap < 1e-5 * size, "{name}, {what}: {gap} of {size}");
    }
}

#[test]
fn codes_and_reconstructions_are_those_of_the_libraries() {
    let all = fixtures();
    assert_eq!(all.len(), 24);
    for (path, expected) in all {
        let model = Autoencoder::read(&path, &cpu()).unwrap();
        check(&model, &golden(&expected), &path.display().to_string());
    }
}

#[test]
fn every_layout_that_can_hold_an_autoencoder_gives_it_back() {
    let mut held = std::collections::BTreeMap::new();
    for (path, expected) in fixtures() {
        let (model, golden) = (Autoencoder::read(&path, &cpu()).unwrap(), golden(&expected));
        for format in [
            Format::Saelab,
            Format::Saelens,
            Format::Sparsify,
            Format::DictionaryLearning,
        ] {
            let out = tempfile::tempdir().unwrap();
            let origin = Origin::Imported {
                path: path.clone(),
                hook: None,
                writes: None,
            };
            match model.write(out.path(), format, &origin) {
                Err(Error::Unsupported { .. }) => continue,
                other => other.unwrap(),
            }
            assert_eq!(Format::of(out.path()).unwrap(), format);
            let back = Autoencoder::read(out.path(), &cpu()).unwrap();
            check(&back, &golden, &format!("{} as {format}", path.display()));
            *held.entry(format.to_string()).or_insert(0) += 1;
        }
    }
    // sparsify holds the top-k ones; dictionary_learning no transcoders and no normalised inputs; SAELens all but
    // groupmax and top-k transcoders.
    let expected = [
        ("saelab", 24),
        ("saelens", 22),
        ("sparsify", 6),
        ("dictionary-learning", 15),
    ];
    assert_eq!(held, expected.map(|(format, n)| (format.to_owned(), n)).into());
}

#[test]
fn a_damaged_pickle_is_named() {
    let copy = tempfile::tempdir().unwrap();
    let from = folder("interchange/dl-topk");
    std::fs::copy(from.join("config.json"), copy.path().join("config.json")).unwrap();
    let bytes = std::fs::read(from.join("ae.pt")).unwrap();
    for damaged in [&bytes[..bytes.len() / 2], &b"not a pickle"[..], &[]] {
        std::fs::write(copy.path().join("ae.pt"), damaged).unwrap();
        let line = Autoencoder::read(copy.path(), &cpu()).unwrap_err().to_string();
        assert!(line.contains("ae.pt") && !line.contains('\n'), "{line}");
    }
}

#[test]
fn what_is_not_implemented_is_refused_by_name() {
    let copy = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(folder("saelens/saelens-standard").join("cfg.json")).unwrap();
    std::fs::copy(
        folder("saelens/saelens-standard").join("sae_weights.safetensors"),
        copy.path().join("sae_weights.safetensors"),
    )
    .unwrap();
    for (from, to, part) in [
        (
            "\"normalize_activations\": \"none\"",
            "\"normalize_activations\": \"covariance_whitening\"",
            "covariance_whitening",
        ),
        (
            "\"architecture\": \"standard\"",
            "\"architecture\": \"temporal\"",
            "temporal",
        ),
        (
            "\"architecture\": \"standard\"",
            "\"architecture\": \"jumprelu\"",
            "`threshold` is missing",
        ),
        ("\"d_sae\": 192", "\"d_sae\": 191", "[48, 192]"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text);
        std::fs::write(copy.path().join("cfg.json"), changed).unwrap();
        let error: Error = Autoencoder::read(copy.path(), &cpu()).unwrap_err();
        let line = error.to_string();
        assert!(line.contains(part) && !line.contains('\n'), "{line}");
    }
}
