//! `saelab locate`: finds the sites where a model keeps the attributes of the task.

use std::path::PathBuf;
use std::time::Instant;

use causal::locate::Located;
use causal::{LocateConfig, locate};
use eval::table;
use lm::LoadOptions;
use tasks::Sample;

use crate::run_folder;
use crate::{ConfigFile, Context, Outcome, Result};

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Config, for example configs/ioi/locate.toml.
    pub config: ConfigFile,
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled.
    pub model: PathBuf,
    /// How the weights of the model are kept.
    pub load: LoadOptions,
    /// Sites file to write.
    pub out: PathBuf,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<Outcome<Located>> {
        let config: LocateConfig = self.config.read()?;
        let (model, tokenizer) = run_folder::load_model(&self.model, self.load, context)?;
        let task = run_folder::open_task(&config.task, &tokenizer, context)?;
        run_folder::note_available(task.as_ref(), Sample::Locate, config.prompts, "`prompts`", context);
        let cost = causal::locate::estimated_forward_passes(model.spec(), task.as_ref(), &config);
        context.note(&format!(
            "locate: at most {} interventions on {} prompts, about {:.0} forward passes of one prompt",
            cost.interventions, config.prompts, cost.forward_passes
        ));
        let bar = context.bar("locate", 0);
        let start = Instant::now();
        let mut told = false;
        let located = locate(&model, task.as_ref(), &config, &mut |done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
            // The first candidates lie in the first blocks and cost most, so this is an upper estimate.
            let minutes = start.elapsed().as_secs_f64() / done as f64 * total as f64 / 60.0;
            if !told && done == 20 && minutes > 1.0 {
                context.note(&format!("locate: about {minutes:.0} minutes"));
            }
            told |= done >= 20;
        })?;
        bar.finish_and_clear();
        run_folder::write_sites(&self.out, &located.sites)?;
        let table = table::located(&located);
        Ok(Outcome::new(located, table))
    }
}
