//! `saelab train`: sparse autoencoders on cached activations, all of a site on one stream.

use std::path::PathBuf;

use lab::ConfigFile;
use work::Share;

use super::Context;
use super::overrides::Overrides;

/// Arguments of `saelab train`.
#[derive(Debug, clap::Args)]
pub(crate) struct Train {
    /// Config, for example configs/ioi/train.toml
    config: PathBuf,
    /// Folder of the experiment; holds activations/
    #[arg(long)]
    run: PathBuf,
    /// Store of activations, if it is not the one in the experiment's folder
    #[arg(long)]
    activations: Option<PathBuf>,
    /// Harvest config of a text: the model runs alongside training, which reads the activations as they are computed; none are stored
    /// without --keep. The results are byte-identical to those of `saelab harvest` followed by `saelab train --stream`
    #[arg(long, conflicts_with_all = ["activations", "shard"])]
    harvest: Option<PathBuf>,
    /// Keep what --harvest computes: the store that `saelab harvest` writes, in activations/ of the experiment's folder
    #[arg(long, requires = "harvest")]
    keep: bool,
    /// Sites file; for a store made from text it selects the hooks of its nodes, without it every hook is used
    #[arg(long)]
    sites: Option<PathBuf>,
    /// Fail if there is a checkpoint of the same autoencoders with other settings but none with these; with the same settings
    /// an interrupted training run is always resumed
    #[arg(long)]
    resume: bool,
    /// Overwrite an autoencoder that was made with other settings, from other activations or by another library; it stays until its
    /// replacement is finished
    #[arg(long)]
    replace: bool,
    /// Read activations of a text from disk batch by batch instead of keeping all in memory; the batches are the same
    #[arg(long)]
    stream: bool,
    /// Do one part of several, for example 1/4, in processes that share the folder of the experiment: each trains its own autoencoders,
    /// then those that no other process works on; the results are byte-identical to those of one process
    #[arg(long)]
    shard: Option<Share>,
    #[command(flatten)]
    set: Overrides,
}

impl Train {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::train::Settings {
            config: ConfigFile {
                path: self.config,
                set: self.set.keys,
            },
            run: self.run,
            activations: self.activations,
            harvest: self.harvest,
            keep: self.keep,
            sites: self.sites,
            resume: self.resume,
            replace: self.replace,
            stream: self.stream,
            shard: self.shard,
        };
        Ok(settings.run(context)?)
    }
}
