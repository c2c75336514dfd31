//! `saelab eval`: all dictionaries of an experiment on approximation, control and interpretability.

use std::path::PathBuf;

use lab::ConfigFile;

use super::Context;
use super::overrides::Overrides;
use crate::output;

/// Arguments of `saelab eval`.
#[derive(Debug, clap::Args)]
pub(crate) struct Eval {
    /// Config, for example configs/eval/ioi-quick.toml
    config: PathBuf,
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled
    #[arg(long)]
    model: PathBuf,
    /// Folder of the experiment; holds activations/, supervised/ and sae/, and receives the report unless --out says otherwise
    #[arg(long)]
    run: PathBuf,
    /// Sites file
    #[arg(long)]
    sites: PathBuf,
    /// Folder for the report, if it is not that of the experiment
    #[arg(long)]
    out: Option<PathBuf>,
    /// Store of activations, if it is not the one in the experiment's folder
    #[arg(long)]
    activations: Option<PathBuf>,
    /// Score only the dictionaries of this name or family, and the baselines; may be given several times
    #[arg(long)]
    only: Vec<String>,
    /// Overwrite a report of other settings, or one with dictionaries that this evaluation lacks
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    set: Overrides,
}

impl Eval {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::eval::Settings {
            config: ConfigFile {
                path: self.config,
                set: self.set.keys,
            },
            model: self.model,
            run: self.run,
            sites: self.sites,
            out: self.out,
            activations: self.activations,
            only: self.only,
            replace: self.replace,
        };
        output::outcome(&settings.run(context)?)
    }
}
