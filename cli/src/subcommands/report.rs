//! `saelab report`: the page about a run, and pages of what its latents do.

use std::path::PathBuf;

use super::Context;
use super::weights::WeightArgs;
use crate::output;

/// Arguments of `saelab report`.
#[derive(Debug, clap::Args)]
pub(crate) struct Report {
    /// Folder of the experiment; receives report.html and latents/
    run: PathBuf,
    /// Model (a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled), needed for the pages of latents
    #[arg(long)]
    model: Option<PathBuf>,
    #[command(flatten)]
    weights: WeightArgs,
    /// Store of activations on which latents are inspected [default: RUN/activations]
    #[arg(long, requires = "model")]
    activations: Option<PathBuf>,
    /// Sites file, which names the task; needed where the task is read from a file or the run was not evaluated
    #[arg(long, requires = "model")]
    sites: Option<PathBuf>,
    /// Dictionary whose latents are inspected; may be given several times [default: the first seed of each trained family]
    #[arg(long, requires = "model")]
    dictionary: Vec<String>,
    /// Prompts on which the effect of a latent on the answer is estimated
    #[arg(long, default_value_t = 100)]
    prompts: usize,
    /// Folder to which the latents are also written in Neuronpedia's upload layout
    #[arg(long, requires = "model")]
    neuronpedia: Option<PathBuf>,
}

impl Report {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::report::Settings {
            run: self.run,
            model: self.model,
            load: self.weights.options(),
            activations: self.activations,
            sites: self.sites,
            dictionary: self.dictionary,
            prompts: self.prompts,
            neuronpedia: self.neuronpedia,
        };
        match settings.run(context)? {
            Some(page) => output::result(&format!("report: {}", page.display())),
            None => Ok(()),
        }
    }
}
