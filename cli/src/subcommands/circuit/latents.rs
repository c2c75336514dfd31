//! `saelab circuit latents`: which latents of a dictionary carry an attribute, beside those that the supervised evaluation chooses.
//!
//! A latent's score is how much the metric falls when it has the code of the counterfactual prompt. The evaluation of `saelab eval` chooses
//! latents twice: by F1, one for each value, and in its edits, which exchange the latents that come nearest to the counterfactual vector.

use std::path::PathBuf;

use super::ModelArg;
use crate::output;
use crate::subcommands::Context;

/// Arguments of `saelab circuit latents`.
#[derive(Debug, clap::Args)]
pub(super) struct Latents {
    /// Folder of the experiment, as made by `make eval-ioi`
    #[arg(long)]
    run: PathBuf,
    #[command(flatten)]
    model: ModelArg,
    /// Sites file
    #[arg(long)]
    sites: PathBuf,
    /// Name of the dictionaries
    #[arg(long, default_value = "sae-topk-seed0")]
    dictionary: String,
    /// Pairs of a prompt and its counterfactual
    #[arg(long, default_value_t = 200)]
    pairs: usize,
    /// Prompts on which latents are chosen by F1
    #[arg(long, default_value_t = 2000)]
    interpretability_prompts: usize,
    /// Latents that an edit exchanges
    #[arg(long, default_value_t = 4)]
    k: usize,
    /// Points from the counterfactual vector to the clean one at which gradients are taken
    #[arg(long, default_value_t = 10)]
    steps: usize,
    /// JSON file to write
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Latents {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::circuit::latents::Settings {
            run: self.run,
            model: self.model.model,
            load: self.model.weights.options(),
            sites: self.sites,
            dictionary: self.dictionary,
            pairs: self.pairs,
            interpretability_prompts: self.interpretability_prompts,
            k: self.k,
            steps: self.steps,
            out: self.out,
        };
        output::outcome(&settings.run(context)?)
    }
}
