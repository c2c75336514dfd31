//! `saelab locate`: finds the sites where a model keeps the attributes of the task.

use std::path::PathBuf;
use std::time::Instant;

use causal::{LocateConfig, locate};
use eval::table;
use tasks::Sample;

use super::{Context, run_folder};
use crate::{config, output};

/// Arguments of `saelab locate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Locate {
    /// Config, for example configs/ioi/locate.toml
    config: PathBuf,
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    weights: run_folder::WeightArgs,
    /// Sites file to write
    #[arg(long)]
    out: PathBuf,
    /// Override a config key: key=value
    #[arg(long)]
    set: Vec<String>,
}

impl Locate {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let config: LocateConfig = config::read(&self.config, &self.set)?;
        let (model, tokenizer) = run_folder::load_model(&self.model, self.weights.options(), &context.device)?;
        let task = run_folder::open_task(&config.task, &tokenizer)?;
        run_folder::note_available(task.as_ref(), Sample::Locate, config.prompts, "`prompts`");
        let cost = causal::locate::estimated_forward_passes(model.spec(), task.as_ref(), &config);
        output::note(&format!(
            "locate: at most {} interventions on {} prompts, about {:.0} forward passes of one prompt",
            cost.interventions, config.prompts, cost.forward_passes
        ));
        let bar = context.progress.bar("locate", 0);
        let start = Instant::now();
        let mut told = false;
        let located = locate(&model, task.as_ref(), &config, &mut |done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
            // The first candidates lie in the first blocks and cost most, so this is an upper estimate.
            let minutes = start.elapsed().as_secs_f64() / done as f64 * total as f64 / 60.0;
            if !told && done == 20 && minutes > 1.0 {
                output::note(&format!("locate: about {minutes:.0} minutes"));
            }
            told |= done >= 20;
        })?;
        bar.finish_and_clear();
        run_folder::write_sites(&self.out, &located.sites)?;
        output::result(&table::located(&located))
    }
}
