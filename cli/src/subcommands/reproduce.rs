//! `saelab reproduce`: a paper's numbers beside those that are measured here.

use std::path::PathBuf;

use super::Context;
use crate::output;

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

impl Reproduce {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let Paper::Makelov(makelov) = self.paper;
        makelov.run(context)
    }
}

/// Arguments of `saelab reproduce makelov`.
#[derive(Debug, clap::Args)]
struct Makelov {
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled, here gpt2
    #[arg(long)]
    model: PathBuf,
    /// Sites file; the published numbers are for the cross-sections in the default
    #[arg(long, default_value = "configs/sites/gpt2-ioi.toml")]
    sites: PathBuf,
    /// Folder of an experiment, harvested with `refactor_attention = true`, whose dictionaries are measured; without it, supervised ones
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

impl Makelov {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::reproduce::Settings {
            model: self.model,
            sites: self.sites,
            run: self.run,
            prompts: self.prompts,
            fit_on: self.fit_on,
        };
        output::outcome(&settings.run(context)?)
    }
}
