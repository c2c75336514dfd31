//! `saelab eval`: all dictionaries of an experiment on approximation, control and interpretability.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use activations::{Dictionary, Node, Store};
use anyhow::Context as _;
use eval::{DictionarySet, Edit, EvalConfig, RandomDictionary, evaluate, table};
use lm::files;
use sae::{Activation, Autoencoder, Origin};
use supervised::SupervisedDictionary;
use tasks::IoiTask;

use super::Context;
use super::run_folder::{self, RunFolder};
use super::training_site::TrainingSite;
use crate::{config, output};

/// Arguments of `saelab eval`.
#[derive(Debug, clap::Args)]
pub(crate) struct Eval {
    /// Config, for example configs/ioi/eval.toml
    config: PathBuf,
    /// Model folder in Hugging Face layout
    #[arg(long)]
    model: PathBuf,
    /// Folder of the experiment; holds activations/, supervised/ and sae/, and receives the report
    #[arg(long)]
    run: PathBuf,
    /// Sites file
    #[arg(long)]
    sites: PathBuf,
    /// Override a config key: key=value
    #[arg(long)]
    set: Vec<String>,
}

impl Eval {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let start = Instant::now();
        let config: EvalConfig = config::read(&self.config, &self.set)?;
        let (model, tokenizer) = run_folder::load_model(&self.model, &context.device)?;
        let task = IoiTask::new(&tokenizer)?;
        let sites = run_folder::read_sites(&self.sites)?;
        let run = RunFolder(self.run);
        let store = Store::open(&run.activations())?;
        let harvested = &store.manifest().provenance.model_hash;
        anyhow::ensure!(
            harvested == model.hash(),
            "{} was harvested from another model ({harvested:.12}) than {} ({:.12}); run `saelab harvest` into a new folder",
            run.activations().display(),
            self.model.display(),
            model.hash()
        );
        let sets = dictionaries(&run, &store, &sites.nodes(), config.seed, context)?;
        let bar = context.progress.bar("eval", 0);
        let report = evaluate(&model, &task, &sites, &sets, &config, &mut |done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        })?;
        bar.finish_and_clear();
        report.write(&run.0)?;
        files::write_json(&run.0.join("run.json"), &circumstances(start, context))?;
        output::result(&table::tables(&report))?;
        output::note(&format!(
            "eval: report.json, scores.parquet and run.json are in {}",
            run.0.display()
        ));
        Ok(())
    }
}

/// Every dictionary of the experiment, and a random one of the size and sparsity of the TopK autoencoder.
fn dictionaries(
    run: &RunFolder,
    store: &Store,
    nodes: &BTreeSet<Node>,
    seed: u64,
    context: &Context,
) -> anyhow::Result<Vec<DictionarySet>> {
    let mut sets = Vec::new();
    for name in run_folder::folders(&run.supervised())? {
        let mut by_node: BTreeMap<Node, Box<dyn Dictionary>> = BTreeMap::new();
        for &node in nodes {
            let dir = run.supervised().join(&name).join(node.dir_name());
            let (dictionary, origin) = SupervisedDictionary::load(&dir, &context.device)?;
            check_parent(&dir, &origin.parent, store)?;
            by_node.insert(node, Box::new(dictionary));
        }
        sets.push(DictionarySet {
            name,
            edit: Edit::Supervised,
            by_node,
        });
    }
    let mut random: BTreeMap<Node, Box<dyn Dictionary>> = BTreeMap::new();
    for name in run_folder::folders(&run.sae())? {
        let mut by_node: BTreeMap<Node, Box<dyn Dictionary>> = BTreeMap::new();
        for &node in nodes {
            // Trained on this node, or on all positions of its hook.
            let at_node = run.sae().join(&name).join(node.dir_name());
            let at_hook = run
                .sae()
                .join(&name)
                .join(TrainingSite::Hook(node.hook, node.head).dir_name());
            let dir = if at_hook.exists() && !at_node.exists() {
                at_hook
            } else {
                at_node
            };
            let (dictionary, origin) = Autoencoder::load(&dir, &context.device)?;
            if let Origin::Trained(trained) = &origin {
                match trained.site.contains('@') {
                    true => check_parent(&dir, &trained.parent, store)?,
                    false => anyhow::ensure!(
                        trained.model == store.manifest().provenance.model_hash,
                        "{} was trained on another model ({:.12}); run `saelab train` again",
                        dir.display(),
                        trained.model
                    ),
                }
            }
            if let Some(reason) = dictionary.not_a_dictionary() {
                anyhow::bail!("{} cannot be compared: {reason}; move it out of the run", dir.display());
            }
            if let Activation::Topk { k } = dictionary.activation {
                let rows = store.node(&node)?;
                let mean = RandomDictionary::mean(&rows.values, rows.width);
                let twin = RandomDictionary::new(&mean, dictionary.n_latents(), k, seed, &node, &context.device);
                random.insert(node, Box::new(twin));
            }
            by_node.insert(node, Box::new(dictionary));
        }
        sets.push(DictionarySet {
            name,
            edit: Edit::Greedy,
            by_node,
        });
    }
    if !random.is_empty() {
        sets.push(DictionarySet {
            name: "random".to_owned(),
            edit: Edit::Greedy,
            by_node: random,
        });
    }
    anyhow::ensure!(
        !sets.is_empty(),
        "{} holds no dictionaries; run `saelab fit` and `saelab train` first",
        run.0.display()
    );
    Ok(sets)
}

/// A dictionary made from other activations than those in the experiment's folder must not be compared.
fn check_parent(dir: &std::path::Path, parent: &str, store: &Store) -> anyhow::Result<()> {
    anyhow::ensure!(
        parent == store.hash(),
        "{} was made from other activations ({parent:.12}) than those of this run ({:.12}); run `saelab fit` and `saelab train` again",
        dir.display(),
        store.hash()
    );
    Ok(())
}

/// When, where and how long: what is kept out of the report because it changes from run to run.
fn circumstances(start: Instant, context: &Context) -> serde_json::Value {
    let git = std::process::Command::new("git")
        .args(["rev-parse", "HEAD"])
        .stderr(std::process::Stdio::null())
        .output();
    let revision = git
        .ok()
        .filter(|out| out.status.success())
        .map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .context("no host name")
        .map(|name| name.trim().to_owned());
    serde_json::json!({
        "date": humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        "device": context.device_name,
        "git_revision": revision,
        "host": host.ok(),
        "threads": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "version": env!("CARGO_PKG_VERSION"),
        "wall_s": (start.elapsed().as_secs_f64() * 10.0).round() / 10.0,
    })
}
