//! `saelab bench eval`: what an evaluation costs with interventions that restart, and with whole runs.

use std::path::PathBuf;
use std::time::Instant;

use activations::Node;
use causal::interventions::Runner;
use causal::{Site, Sites};
use dictionaries::RandomDictionary;
use eval::{DictionarySet, Earlier, Edit, EditMethod, EvalConfig, EvalFile, TaskDictionary, evaluate};
use lm::Model;
use tasks::{Attribute, IoiTask, TaskSource};

use lab::run_folder;

use super::Context;
use super::weights::WeightArgs;
use lab::usage;

use crate::output;

/// Arguments of `saelab bench eval`.
#[derive(Debug, clap::Args)]
pub(super) struct BenchEval {
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled
    #[arg(long, default_value = "models/small-world")]
    model: PathBuf,
    #[command(flatten)]
    weights: WeightArgs,
    /// Prompts that are reconstructed and edited
    #[arg(long, default_value_t = 2000)]
    prompts: usize,
    /// Random dictionaries
    #[arg(long, default_value_t = 6)]
    dictionaries: usize,
    /// Latents of each dictionary
    #[arg(long, default_value_t = 512, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    d_sae: usize,
    /// Active latents per row
    #[arg(long, default_value_t = 6)]
    k: usize,
}

/// Where the bench evaluates: residual streams and a head, at END and before it.
const NODES: [&str; 4] = [
    "blocks.0.attn.hook_z.3@END",
    "blocks.1.hook_resid_pre@S2",
    "blocks.2.hook_resid_pre@END",
    "blocks.3.hook_resid_pre@END",
];

impl BenchEval {
    /// 4 sites, 2 attributes, greedy edits with k = 2, 4, 6.
    pub(super) fn measure(&self, context: &Context) -> anyhow::Result<serde_json::Value> {
        let (model, tokenizer) = run_folder::load_model(&self.model, self.weights.options(), context)?;
        let task = IoiTask::new(&tokenizer)?;
        let site = |name: &&str| -> anyhow::Result<Site> {
            Ok(Site {
                name: (*name).to_owned(),
                nodes: vec![name.parse()?],
                attributes: vec![Attribute::IO, Attribute::S],
                evidence: Vec::new(),
            })
        };
        let sites = Sites {
            task: TaskSource::Ioi,
            model_hash: Some(model.hash().to_owned()),
            sites: NODES.iter().map(site).collect::<Result<_, _>>()?,
        };
        let config: EvalConfig = EvalFile {
            prompts: self.prompts,
            edits: vec![EditMethod::Greedy],
            thresholds: Vec::new(),
            compare: Vec::new(),
            ..EvalFile::default()
        }
        .try_into()?;
        let sets: Vec<DictionarySet> = (0..self.dictionaries as u64)
            .map(|seed| self.random(&model, &sites, seed, context))
            .collect();
        let time = |runner: Runner<'_>| -> anyhow::Result<(f64, usize)> {
            let (start, mut interventions) = (Instant::now(), 0);
            evaluate(
                &runner,
                &task,
                &sites,
                &sets,
                &config,
                &Earlier::default(),
                &mut |done, _| interventions = done,
            )?;
            Ok((start.elapsed().as_secs_f64(), interventions))
        };
        let (seconds, interventions) = time(Runner::new(&model, config.batch))?;
        output::note(&format!("bench eval: {seconds:.1} s with restarts; now without"));
        let (whole, _) = time(Runner::new(&model, config.batch).without_restarts())?;
        Ok(serde_json::json!({
            "bench": "eval", "sites": sites.sites.len(), "attributes": 2, "dictionaries": sets.len(), "d_sae": self.d_sae,
            "prompts": self.prompts, "interventions": interventions, "seconds": seconds,
            "seconds_without_restarts": whole, "ratio": seconds / whole, "peak_mb": usage::peak_memory_mb(),
        }))
    }

    fn random(&self, model: &Model, sites: &Sites, seed: u64, context: &Context) -> DictionarySet {
        let name = format!("random-seed{seed}");
        let dictionary = |node: &Node| -> Box<TaskDictionary> {
            let mean = vec![0.0; node.width(model.spec())];
            Box::new(RandomDictionary::new(
                &mean,
                self.d_sae,
                self.k,
                seed,
                node,
                &context.device,
            ))
        };
        DictionarySet {
            family: "random".to_owned(),
            identity: name.clone(),
            folders: std::collections::BTreeMap::new(),
            reads: std::collections::BTreeMap::new(),
            seeded: true,
            name,
            edit: Edit::Greedy,
            by_node: sites.nodes().iter().map(|node| (*node, dictionary(node))).collect(),
        }
    }
}
