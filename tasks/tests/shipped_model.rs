//! The gates of the shipped model, on prompts that never occurred in its training.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;

use lm::Model;
use strum::VariantArray;
use tasks::world::{Behaviour, World, measure};
use text::Tokenizer;

#[test]
fn shipped_model_passes_every_gate() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/small-world");
    let model = Model::load(&dir, &kernels::cpu()).unwrap();
    let tokenizer = Tokenizer::from_dir(&dir).unwrap();
    let world = World::new();
    let config = model.spec();
    assert!((3..=5).contains(&config.n_layer));
    assert!(std::fs::metadata(dir.join("model.safetensors")).unwrap().len() <= 4 * 1_900_000);
    for &behaviour in Behaviour::VARIANTS {
        let score = measure(&model, &tokenizer, &world, behaviour, 300, 1).unwrap();
        assert!(score.passes(), "{score:?}");
    }
}

#[test]
fn every_document_is_tokenized_piece_by_piece() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/small-world");
    let tokenizer = Tokenizer::from_dir(&dir).unwrap();
    let world = World::new();
    for index in 0..200 {
        let document = world.document(3, index);
        let ids = tokenizer.encode(&document.text()).unwrap();
        let pieces: Vec<u32> = document
            .pieces
            .iter()
            .map(|piece| tokenizer.token(&piece.text).unwrap())
            .collect();
        assert_eq!(ids, pieces, "{}", document.text());
    }
}
