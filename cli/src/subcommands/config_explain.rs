//! `saelab config explain`: what the keys of config files mean.

use lab::ConfigError;

use crate::{config_keys, output};

/// Arguments of `saelab config`.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Explain the keys of configs: value, unit, default and reason
    Explain {
        /// A command (train, "circuit score"), or a key (steps, source.context, autoencoder.0.k); without one, all commands
        name: Option<String>,
        /// Print all configs as a Markdown page
        #[arg(long, conflicts_with = "name")]
        markdown: bool,
    },
}

impl ConfigArgs {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let What::Explain { name, markdown } = self.what;
        let text = match name {
            _ if markdown => config_keys::markdown(),
            None => config_keys::overview(),
            Some(name) => config_keys::explain(&name).map_err(|near| {
                ConfigError(format!(
                    "no command and no key is called `{name}`; did you mean `{near}`?"
                ))
            })?,
        };
        output::result(&text)
    }
}
