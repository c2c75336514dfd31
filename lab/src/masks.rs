//! `saelab masks`: which latents carry an attribute, by masks that are learned from the model's gradients.

use std::path::PathBuf;

use causal::interventions::Runner;
use eval::masks::{FILE, Masks, MasksConfig, Told, measure, table};
use lm::LoadOptions;
use tasks::Sample;

use crate::opened_run::OpenedRun;
use crate::run_folder::{self, RunFolder};
use crate::{ConfigFile, Context, Outcome, Result};

/// Prompts of a pass that learns nothing.
const BATCH: usize = 50;

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Config, for example configs/eval/masks.toml.
    pub config: ConfigFile,
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled.
    pub model: PathBuf,
    /// Folder of the experiment; holds activations/, supervised/ and sae/, and receives masks.json.
    pub run: PathBuf,
    /// Sites file.
    pub sites: PathBuf,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<Outcome<Masks>> {
        let config: MasksConfig = self.config.read()?;
        let run = RunFolder(self.run);
        let opened = OpenedRun::open(
            &self.model,
            LoadOptions::default(),
            &self.sites,
            &run.activations(),
            context,
        )?;
        let samples = [
            (Sample::Evaluation, config.prompts, "`prompts`"),
            (Sample::Interpretability, config.learned_on, "`learned_on`"),
        ];
        for (sample, asked, what) in samples {
            run_folder::note_available(opened.task.as_ref(), sample, asked, what, context);
        }
        let sets = opened.sets(&run, &config.of_baselines()?, context)?;
        let attributes: usize = opened.sites.sites.iter().map(|site| site.attributes.len()).sum();
        let masks = (sets.len() + config.das_seeds) * attributes;
        context.note(&format!(
            "masks: {masks} masks of {} steps with {} pairs each: {} passes of a prompt, forward and back",
            config.steps,
            config.batch,
            masks * config.steps * config.batch
        ));
        let bar = context.bar("masks", opened.sites.sites.len());
        let mut told = Told::default();
        let masks = measure(
            &Runner::new(&opened.model, BATCH),
            opened.task.as_ref(),
            &opened.sites,
            &sets,
            &config,
            &mut |_, of_site| {
                told.learning += of_site.learning;
                told.greedy += of_site.greedy;
                bar.inc(1);
            },
        )?;
        bar.finish_and_clear();
        context.note(&format!(
            "masks: learning took {:.1} s, greedy edits of the same dictionaries with 8 latents on the {} scored prompts {:.1} s: \
             {:.1} times",
            told.learning,
            config.prompts,
            told.greedy,
            told.learning / told.greedy
        ));
        let path = run.0.join(FILE);
        artifacts::write_json(&path, &masks)?;
        let table = table(&masks);
        Ok(Outcome::new(masks, table).remark(format!("masks: {}", path.display())))
    }
}
