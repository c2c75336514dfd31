//! `saelab reproduce`: a paper's numbers beside those that are measured here.

use std::path::PathBuf;

use activations::NodeRows;
use causal::Sites;
use causal::interventions::Runner;
use eval::{DictionarySet, Earlier, Edit, EvalConfig, EvalFile, Evaluated, Method, evaluate, published};
use lm::{LoadOptions, Model};
use supervised::{Method as Fitted, fit};
use tasks::{Sample, Task};

use super::Context;
use super::opened_run::OpenedRun;
use super::run_folder::{self, RunFolder};
use crate::output;

/// Prompts of a pass.
const BATCH: usize = 50;

/// Arguments of `saelab reproduce`.
#[derive(Debug, clap::Args)]
pub(crate) struct Reproduce {
    #[command(subcommand)]
    paper: Paper,
}

/// Papers with numbers that can stand beside ours.
#[derive(Debug, clap::Subcommand)]
enum Paper {
    /// Makelov, Lange, Nanda, arXiv 2405.08366: the indirect object in GPT-2 small
    Makelov(Makelov),
}

/// Arguments of `saelab reproduce makelov`.
#[derive(Debug, clap::Args)]
struct Makelov {
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled: gpt2
    #[arg(long)]
    model: PathBuf,
    /// Sites file; what is published is of the cross-sections in the default
    #[arg(long, default_value = "configs/sites/gpt2-ioi.toml")]
    sites: PathBuf,
    /// Folder of an experiment, harvested with `refactor_attention = true`, whose dictionaries are measured; without it supervised ones
    /// are fitted here
    #[arg(long)]
    run: Option<PathBuf>,
    /// Prompts that are edited
    #[arg(long, default_value_t = 5000)]
    prompts: usize,
    /// Prompts that supervised dictionaries are fitted to
    #[arg(long, default_value_t = 20_000)]
    fit_on: usize,
}

impl Reproduce {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let Paper::Makelov(makelov) = self.paper;
        makelov.run(context)
    }
}

impl Makelov {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let config = self.config()?;
        let options = LoadOptions {
            refactor_attention: true,
            ..LoadOptions::default()
        };
        let (model, tokenizer) = run_folder::load_model(&self.model, options, &context.device)?;
        let (sites, _) = run_folder::read_sites(&self.sites)?;
        let task = run_folder::open_task(&sites.task, &tokenizer)?;
        run_folder::note_available(task.as_ref(), Sample::Evaluation, self.prompts, "--prompts");
        // The row that needs no dictionary: it says whether model, prompts and patching are the paper's.
        let none = self.evaluated((&model, task.as_ref(), &sites), &[], &config, context)?;
        let beside = published::beside(&none.report);
        output::result(&published::table(&none.report, &beside))?;
        let sets = match &self.run {
            Some(folder) => {
                let run = RunFolder(folder.clone());
                OpenedRun::open(&self.model, options, &self.sites, &run.activations(), context)?
                    .sets(&run, &config, context)?
            }
            None => vec![self.supervised(&model, task.as_ref(), &sites, context)?],
        };
        let found = self.evaluated((&model, task.as_ref(), &sites), &sets, &config, context)?;
        let beside: Vec<_> = published::beside(&found.report)
            .into_iter()
            .filter(|of| of.dictionary != eval::report::NONE)
            .collect();
        output::result(&published::table(&found.report, &beside))
    }

    /// The paper's settings, as far as they matter for what is published.
    fn config(&self) -> Result<EvalConfig, eval::Error> {
        EvalConfig::try_from(EvalFile {
            prompts: self.prompts,
            ks: vec![2, 4, 6],
            compare_k: 4,
            edits: vec![Method::Greedy],
            thresholds: Vec::new(),
            baselines: Vec::new(),
            refactor_attention: true,
            // The paper rates wherever the ratio is defined.
            max_kept: 1e9,
            min_denominator: 1e-3,
            compare: Vec::new(),
            batch: BATCH,
            ..EvalFile::default()
        })
    }

    fn evaluated(
        &self,
        (model, task, sites): (&Model, &dyn Task, &Sites),
        sets: &[DictionarySet],
        config: &EvalConfig,
        context: &Context,
    ) -> anyhow::Result<Evaluated> {
        let bar = context.progress.bar("reproduce", 0);
        let mut step = |done: usize, total: usize| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        };
        let runner = Runner::new(model, BATCH);
        let found = evaluate(&runner, task, sites, sets, config, &Earlier::default(), &mut step)?;
        bar.finish_and_clear();
        Ok(found)
    }

    /// The paper's main dictionary: conditional means of every attribute value, at every node.
    fn supervised(
        &self,
        model: &Model,
        task: &dyn Task,
        sites: &Sites,
        context: &Context,
    ) -> anyhow::Result<DictionarySet> {
        let prompts = task.sample(Sample::Train, self.fit_on, 0);
        output::note(&format!(
            "reproduce: supervised dictionaries are fitted to {} prompts",
            prompts.len()
        ));
        let labels: Vec<_> = prompts.iter().map(|prompt| prompt.labels.clone()).collect();
        let recorded = Runner::new(model, BATCH).record(&prompts, &sites.nodes())?;
        let mut set = DictionarySet {
            name: "supervised-mean".to_owned(),
            family: "supervised-mean".to_owned(),
            identity: format!("fitted to {} prompts", prompts.len()),
            folders: std::collections::BTreeMap::new(),
            seeded: false,
            edit: Edit::Supervised,
            by_node: std::collections::BTreeMap::new(),
            reads: std::collections::BTreeMap::new(),
        };
        for (node, rows) in recorded {
            let rows = NodeRows {
                width: rows.width(),
                values: rows.values().to_vec(),
                labels: labels.clone(),
            };
            let dictionary = fit(&rows, task.sizes(), Fitted::Mean, &context.device)?;
            set.by_node.insert(node, Box::new(dictionary));
        }
        Ok(set)
    }
}
