//! `saelab harvest`: caches activations in Parquet.

use std::path::PathBuf;

use lab::ConfigFile;
use work::Share;

use super::Context;
use super::overrides::Overrides;

/// Arguments of `saelab harvest`.
#[derive(Debug, clap::Args)]
pub(crate) struct Harvest {
    /// Config, for example configs/ioi/harvest.toml
    config: PathBuf,
    /// Folder for the store, new or empty; a complete store of the same config is reused, and an unfinished one is completed
    #[arg(long)]
    out: PathBuf,
    /// Do one part of several, for example 1/4: run each part once, in the same folder or in folders that are merged afterwards
    #[arg(long)]
    shard: Option<Share>,
    #[command(flatten)]
    set: Overrides,
}

impl Harvest {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::harvest::Settings {
            config: ConfigFile {
                path: self.config,
                set: self.set.keys,
            },
            out: self.out,
            shard: self.shard,
        };
        Ok(settings.run(context)?)
    }
}
