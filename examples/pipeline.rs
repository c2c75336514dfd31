//! From a model to a scored autoencoder without the binary, from the root of the repository:
//! `cargo run --release -p examples --bin pipeline -- runs/pipeline`

#![allow(clippy::print_stdout, reason = "it prints what it found")]

use std::path::PathBuf;

use lab::hook_autoencoders::TextSettings;
use lab::made::Program;
use lab::{ConfigFile, Context, harvest, splice, train};
use lm::LoadOptions;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let run = PathBuf::from(std::env::args().nth(1).ok_or("name a folder for the run")?);
    let context = Context::silent(Program {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        git_revision: None,
        sources: "examples/pipeline.rs".to_owned(),
    });

    // Harvest: documents become windows of tokens, the model reads them, a hook is stored.
    let harvest = harvest::Settings {
        config: config("configs/quality/harvest-text.toml", &["source.documents=400"]),
        out: run.join("activations"),
        shard: None,
    };
    harvest.run(&context)?;

    // Train: a TopK autoencoder on the stored rows, without those that are held out.
    let train = train::Settings {
        config: config(
            "configs/train/topk.toml",
            &[
                "steps=300",
                "batch=512",
                "autoencoder=[{architecture = 'topk', k = 16}]",
            ],
        ),
        run: run.clone(),
        ..train::Settings::default()
    };
    train.run(&context)?;

    // Evaluate: what the model loses on other documents with the reconstruction in the place of the hook.
    let splice = splice::Settings {
        text: TextSettings {
            config: config("configs/quality/splice.toml", &["source.documents=40"]),
            model: "models/small-world".into(),
            load: LoadOptions::default(),
            run,
            replace: false,
        },
    };
    for scored in splice.run(&context)?.found.alone {
        let summary = scored.summary.ok_or("it was trained elsewhere")?;
        let fvu = summary.fvu.ok_or("all rows are the same")?;
        let recovered = scored.recovered_from_zero.ok_or("the model does not need this hook")?;
        println!(
            "FVU {fvu:.3} at L0 {:.1}; of the cross-entropy {recovered:.3} is recovered",
            summary.l0
        );
    }
    Ok(())
}

/// A config of the repository with other values.
fn config(path: &str, set: &[&str]) -> ConfigFile {
    ConfigFile {
        path: path.into(),
        set: set.iter().map(|set| (*set).to_owned()).collect(),
    }
}
