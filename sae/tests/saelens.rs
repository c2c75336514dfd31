//! Autoencoders that SAELens wrote give the codes and reconstructions that SAELens computed.
//!
//! `fixtures/saelens/make.py` made the fixtures with SAELens 6.54.12.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};

use activations::Dictionary;
use kernels::{cpu, from_vec, to_vec};
use lm::files;
use sae::{Autoencoder, Error};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/saelens")
        .join(name)
}

#[test]
fn codes_and_reconstructions_are_those_of_saelens() {
    for name in ["saelens-standard", "saelens-topk", "saelens-jumprelu", "saelens-gated"] {
        let model = Autoencoder::load_saelens(&folder(name), &cpu()).unwrap();
        let mut expected = files::read_tensors(&folder(name).join("expected.safetensors")).unwrap();
        let mut take = |key: &str| expected.remove(key).unwrap();
        let x = take("x");
        let codes = model.encode(from_vec(x.data, [x.shape[0], x.shape[1]], &cpu()), &[]);
        let reconstruction = to_vec(model.decode(codes.clone()));
        for (what, found, expected) in [
            ("codes", to_vec(codes), take("feature_acts").data),
            ("reconstruction", reconstruction, take("reconstruction").data),
        ] {
            let size = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            let gap = found
                .iter()
                .zip(&expected)
                .fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
            assert!(gap < 1e-5 * size, "{name}, {what}: {gap} of {size}");
            if what == "codes" {
                assert!(
                    found.iter().zip(&expected).all(|(a, b)| (*a > 0.0) == (*b > 0.0)),
                    "{name}: support"
                );
            }
        }
    }
}

#[test]
fn what_is_not_implemented_is_refused_by_name() {
    let copy = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(folder("saelens-standard").join("cfg.json")).unwrap();
    std::fs::copy(
        folder("saelens-standard").join("sae_weights.safetensors"),
        copy.path().join("sae_weights.safetensors"),
    )
    .unwrap();
    for (from, to, part) in [
        (
            "\"normalize_activations\": \"none\"",
            "\"normalize_activations\": \"layer_norm\"",
            "layer_norm",
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
        let error: Error = Autoencoder::load_saelens(copy.path(), &cpu()).unwrap_err();
        let line = error.to_string();
        assert!(line.contains(part) && !line.contains('\n'), "{line}");
    }
}
