//! `saelab reproduce`: a paper's numbers beside those that are measured here.

use std::path::PathBuf;

use activations::NodeRows;
use causal::Sites;
use causal::interventions::Runner;
use eval::{DictionarySet, Earlier, Edit, EditMethod, EvalConfig, EvalFile, Evaluated, evaluate, published};
use lm::{LoadOptions, Model};
use supervised::{FitMethod, fit};
use tasks::{Sample, Task};

use crate::opened_run::OpenedRun;
use crate::run_folder::{self, RunFolder};
use crate::{Context, Outcome, Result};

/// Prompts of a pass.
const BATCH: usize = 50;

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled: gpt2.
    pub model: PathBuf,
    /// Sites file; what is published is of the cross-sections in the default.
    pub sites: PathBuf,
    /// Folder of an experiment, harvested with `refactor_attention = true`, whose dictionaries are measured; without it supervised ones
    /// are fitted here.
    pub run: Option<PathBuf>,
    /// Prompts that are edited.
    pub prompts: usize,
    /// Prompts that supervised dictionaries are fitted to.
    pub fit_on: usize,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read; what stands in the way.
    pub fn run(self, context: &Context) -> Result<Outcome<Evaluated>> {
        let config = self.config()?;
        let options = LoadOptions {
            refactor_attention: true,
            ..LoadOptions::default()
        };
        let (model, tokenizer) = run_folder::load_model(&self.model, options, context)?;
        let (sites, _) = run_folder::read_sites(&self.sites)?;
        let task = run_folder::open_task(&sites.task, &tokenizer, context)?;
        run_folder::note_available(task.as_ref(), Sample::Evaluation, self.prompts, "--prompts", context);
        // The row that needs no dictionary: it says whether model, prompts and patching are the paper's.
        let none = self.evaluated((&model, task.as_ref(), &sites), &[], &config, context)?;
        let beside = published::beside(&none.report);
        let of_none = published::table(&none.report, &beside);
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
        Ok(Outcome {
            results: vec![of_none, published::table(&found.report, &beside)],
            found,
            remarks: Vec::new(),
        })
    }

    /// The paper's settings, as far as they matter for what is published.
    fn config(&self) -> Result<EvalConfig, eval::Error> {
        EvalConfig::try_from(EvalFile {
            prompts: self.prompts,
            ks: vec![2, 4, 6],
            compare_k: 4,
            edits: vec![EditMethod::Greedy],
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
    ) -> Result<Evaluated> {
        let bar = context.bar("reproduce", 0);
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
    fn supervised(&self, model: &Model, task: &dyn Task, sites: &Sites, context: &Context) -> Result<DictionarySet> {
        let prompts = task.sample(Sample::Train, self.fit_on, 0);
        context.note(&format!(
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
            let dictionary = fit(&rows, task.sizes(), FitMethod::Mean, &context.device)?;
            set.by_node.insert(node, Box::new(dictionary));
        }
        Ok(set)
    }
}
