//! From a model to a scored autoencoder without the binary, from the root of the repository:
//! `cargo run --release -p examples --bin pipeline -- runs/pipeline`

#![allow(clippy::print_stdout, reason = "it prints what it found")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use activations::{HarvestPlan, Source, Store, harvest};
use causal::{Insert, Place, SpliceText};
use lm::{HookPoint, Model};
use sae::{Rows, TrainConfig, TrainFile, train};
use tasks::world::World;
use text::{Document, Packing, Tokenizer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = PathBuf::from(std::env::args().nth(1).ok_or("name a folder for the activations")?);
    let (folder, device, hook) = (Path::new("models/small-world"), kernels::cpu(), HookPoint::ResidPost(3));
    let (model, tokenizer) = (Model::load(folder, &device)?, Tokenizer::open(folder)?);
    let documents = |seed, n| Document::made((0..n).map(move |i| World::new().document(seed, i).text())).map(Ok);

    // Harvest: documents become windows of tokens, the model reads them, a hook is stored.
    let windows = Packing::documents(64).spooled_windows(documents(0, 400), &tokenizer, &out)?;
    let mut plan = HarvestPlan::for_nodes(&[], Source::Text(windows), 32, 16_384);
    plan.hooks = vec![hook];
    harvest(&model, &tokenizer, &plan, &out, &mut |_| ())?;

    // Train: the rows of the store, a config as in a file, autoencoders with their summaries.
    let stored = Store::open(&out)?.hook(hook, None)?;
    let rows = Rows {
        width: stored.width,
        values: stored.values,
    };
    let file = r#"{"expansion": 4, "steps": 300, "batch": 512, "autoencoder": [{"architecture": "topk", "k": 16}]}"#;
    let config = TrainConfig::try_from(serde_json::from_str::<TrainFile>(file)?)?;
    let trained = train(rows, BTreeMap::new(), &config, &device)?.remove(0);
    let (fvu, l0) = (trained.summary.fvu.ok_or("all rows are the same")?, trained.summary.l0);

    // Evaluate: what the model loses on other documents with the reconstruction in the place of the hook.
    let windows = Packing::documents(64).windows(documents(1, 40), &tokenizer)?;
    let windows: Vec<Vec<u32>> = windows.into_iter().map(|window| window.ids).collect();
    let (special, place) = (tokenizer.special_ids(), Place::new(hook));
    let read = SpliceText::new(&model, &special, &windows)?;
    let task = read.task(&[place])?;
    let spliced = task.change(&[Insert::at(place, move |x| trained.model.reconstruct(x))])?;
    let recovered = read
        .recovered(spliced, task.zero)
        .ok_or("the model does not need this hook")?;
    println!("FVU {fvu:.3} at L0 {l0:.1}; of the cross-entropy {recovered:.3} is recovered");
    Ok(())
}
