//! Config files and `--set`, as the program reads them.

use std::path::Path;

use activations::{HarvestConfig, HarvestFile};
use causal::{LocateConfig, Sites};
use eval::EvalConfig;
use lab::config;
use lab::hook_autoencoders::TextFile;
use sae::{TrainConfig, TrainFile};
use supervised::{FitConfig, FitFile};
use tasks::TaskSource;
use toys::PhenomenaConfig;

use super::{any, message};
use crate::scratch::{Scratch, bytes, entries, repository};
use crate::{Form, Reader, Target};

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "toml",
            form: Form::Toml,
            seeds: committed,
            reader: toml,
        },
        Target {
            name: "set",
            form: Form::Toml,
            seeds: || {
                vec![
                    b"steps=3\nexpansion=8\nlearning_rate=1e-3".to_vec(),
                    b"source.n=20\nmodel=\"a\"".to_vec(),
                ]
            },
            reader: set,
        },
    ]
}

/// All committed configs but those of commands whose configs are not read here.
fn committed() -> Vec<Vec<u8>> {
    const OTHERS: [&str; 6] = [
        "pretrain",
        "circuits",
        "find",
        "synthetic",
        "explain/quick.toml",
        "eval/masks.toml",
    ];
    let is_read = |path: &Path| !OTHERS.iter().any(|name| path.ends_with(name));
    let folders = entries(&repository("configs"))
        .into_iter()
        .filter(|path| path.is_dir() && is_read(path));
    let files = folders.flat_map(|folder| entries(&folder));
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml") && is_read(path))
        .map(|path| bytes(&path))
        .collect()
}

fn toml() -> Reader {
    let scratch = Scratch::new();
    Box::new(move |input| {
        let path = scratch.put("config.toml", input);
        all(&path, &[])
    })
}

/// One `--set` a line, over a small config of each kind.
fn set() -> Reader {
    let small = [
        "train/topk.toml",
        "ioi/harvest.toml",
        "eval/ioi-quick.toml",
        "phenomena/quick.toml",
    ];
    let paths = small.map(|name| repository("configs").join(name));
    Box::new(move |input| {
        let text = String::from_utf8_lossy(input);
        let sets: Vec<String> = text.lines().map(str::to_owned).collect();
        any(paths.iter().map(|path| all(path, &sets)))
    })
}

/// Reads a file as each kind of config. It is accepted when it is one of them.
fn all(path: &Path, sets: &[String]) -> Result<(), String> {
    any([
        message(config::read::<HarvestFile>(path, sets))
            .and_then(|file| message(HarvestConfig::try_from(file)))
            .map(drop),
        message(config::read::<TrainFile>(path, sets))
            .and_then(|file| message(TrainConfig::try_from(file)))
            .map(|config| config.variants.iter().for_each(|variant| drop(config.hash(variant)))),
        message(config::read::<FitFile>(path, sets))
            .and_then(|file| message(FitConfig::try_from(file)))
            .map(drop),
        message(config::read::<TextFile>(path, sets)).and_then(|file| message(file.source.validate())),
        message(config::read::<Sites>(path, sets)).and_then(|sites| {
            // The file of a task lies elsewhere.
            match sites.task {
                TaskSource::File(_) => Ok(()),
                ref task => message(sites.check_task(&message(task.schema())?)),
            }
        }),
        message(config::read::<EvalConfig>(path, sets)).map(drop),
        message(config::read::<LocateConfig>(path, sets)).map(drop),
        message(config::read::<PhenomenaConfig>(path, sets)).map(drop),
        message(TaskSource::File(path.to_owned()).schema()).map(drop),
    ])
}
