//! `saelab find`: functions with known descriptions are explained, and the explanations judged.

use std::path::PathBuf;

use lab::ConfigFile;

use super::Context;
use super::language_model::LanguageModelArgs;
use super::overrides::Overrides;
use crate::output;

/// Arguments of `saelab find`.
#[derive(Debug, clap::Args)]
pub(crate) struct Find {
    /// Config, for example configs/find/quick.toml
    config: PathBuf,
    /// Folder of FIND's own data (`find-dataset` of its repository), used instead of functions made from the seed
    #[arg(long)]
    data: Option<PathBuf>,
    /// Folder for the results
    #[arg(long)]
    out: PathBuf,
    /// How unit tests are decided: `exec` executes what explanations claim, `lm` asks the language model
    #[arg(long, value_enum, default_value = "exec")]
    judge: JudgeName,
    #[command(flatten)]
    model: LanguageModelArgs,
    #[command(flatten)]
    set: Overrides,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum JudgeName {
    Exec,
    Lm,
}

impl Find {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::find::Settings {
            config: ConfigFile {
                path: self.config,
                set: self.set.keys,
            },
            data: self.data,
            out: self.out,
            judge: match self.judge {
                JudgeName::Exec => lab::find::JudgeName::Exec,
                JudgeName::Lm => lab::find::JudgeName::Lm,
            },
            language: self.model.settings(),
        };
        let outcome = settings.run(context)?;
        output::outcome(&outcome)?;
        outcome.found.failed.map_or(Ok(()), |failed| Err(failed.into()))
    }
}
