//! `saelab submit`: a harvest and a training grid as Slurm job arrays.

use std::path::PathBuf;

use lab::ConfigFile;

use super::Context;
use crate::output;

/// Arguments of `saelab submit`.
#[derive(Debug, clap::Args)]
pub(crate) struct Submit {
    /// Config of the harvest, for example configs/quality/harvest-text.toml
    config: PathBuf,
    /// Folder of the experiment, on a disk that all nodes share; activations/ and sae/ are written there
    #[arg(long)]
    run: PathBuf,
    /// Number of tasks in the harvest's array
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    array: u32,
    /// Config of a training grid on these activations, whose array starts when that of the harvest has succeeded
    #[arg(long)]
    train: Option<PathBuf>,
    /// Number of tasks in the training's array [default: as many as the harvest's, at most one for each autoencoder]
    #[arg(long, requires = "train", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    train_array: Option<u32>,
    /// Sites file for the training
    #[arg(long, requires = "train")]
    sites: Option<PathBuf>,
    /// Train from disk batch by batch (`saelab train --stream`)
    #[arg(long, requires = "train")]
    stream: bool,
    /// Cores per task [default: those of this machine]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=4096))]
    cores: Option<u32>,
    /// An option of sbatch for all jobs, for example --sbatch=--partition=gpu
    #[arg(long)]
    sbatch: Vec<String>,
    /// Submit the jobs with sbatch instead of printing the script
    #[arg(long)]
    submit: bool,
    /// Override a key of the harvest's config: key=value
    #[arg(long)]
    set: Vec<String>,
    /// Override a key of the training's config: key=value
    #[arg(long, requires = "train")]
    train_set: Vec<String>,
}

impl Submit {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::submit::Settings {
            config: ConfigFile {
                path: self.config,
                set: self.set,
            },
            run: self.run,
            array: self.array,
            train: self.train,
            train_array: self.train_array,
            sites: self.sites,
            stream: self.stream,
            cores: self.cores,
            sbatch: self.sbatch,
            submit: self.submit,
            train_set: self.train_set,
        };
        output::outcome(&settings.run(context)?)
    }
}
