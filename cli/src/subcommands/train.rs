//! `saelab train`: sparse autoencoders on cached activations, all of a site on one stream.

use std::path::PathBuf;

use lab::ConfigFile;
use work::Share;

use super::Context;

/// Arguments of `saelab train`.
#[derive(Debug, clap::Args)]
pub(crate) struct Train {
    /// Config, for example configs/ioi/train.toml
    config: PathBuf,
    /// Folder of the experiment; holds activations/
    #[arg(long)]
    run: PathBuf,
    /// Store of activations, if it is not that of the experiment's folder
    #[arg(long)]
    activations: Option<PathBuf>,
    /// Harvest config of a text: the model runs beside the training, which reads its activations as they come; none are stored without
    /// --keep. The bytes are those of `saelab harvest`, then `saelab train --stream`
    #[arg(long, conflicts_with_all = ["activations", "shard"])]
    harvest: Option<PathBuf>,
    /// Keep what --harvest computes: the store that `saelab harvest` writes, in activations/ of the experiment's folder
    #[arg(long, requires = "harvest")]
    keep: bool,
    /// Sites file; of a store made from text the hooks of its nodes, without it every hook
    #[arg(long)]
    sites: Option<PathBuf>,
    /// Fail where a checkpoint of the same autoencoders with other settings is there and none with these; with the same settings
    /// a training that broke off is resumed in any case
    #[arg(long)]
    resume: bool,
    /// Overwrite what stands in the folder of an autoencoder and was made with other settings, from other activations or by another
    /// library; it stays until its successor is finished
    #[arg(long)]
    replace: bool,
    /// Read activations of a text from disk batch by batch instead of keeping all in memory; the batches are the same
    #[arg(long)]
    stream: bool,
    /// Do one part of several, for example 1/4, in processes that share the folder of the experiment: each trains its own autoencoders,
    /// then those that nobody works on; all end with the bytes that one process makes
    #[arg(long)]
    shard: Option<Share>,
    /// Override a config key: key=value
    #[arg(long)]
    set: Vec<String>,
}

impl Train {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::train::Settings {
            config: ConfigFile {
                path: self.config,
                set: self.set,
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
