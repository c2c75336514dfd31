//! `saelab synthetic`: autoencoders on activations whose features are known.

use std::path::PathBuf;

use artifacts::{HeldFolder, write_json};
use synthetic::{Bench, Error, Records, SyntheticConfig, SyntheticFile};

use super::Context;
use crate::config::{self, ConfigError};
use crate::output;

/// Arguments of `saelab synthetic`.
#[derive(Debug, clap::Args)]
pub(crate) struct Synthetic {
    /// Config, for example configs/synthetic/quick.toml
    config: PathBuf,
    /// Folder of the results; autoencoders that are finished there are not trained again
    #[arg(long)]
    out: PathBuf,
    /// Override a config key: key=value
    #[arg(long)]
    set: Vec<String>,
}

impl Synthetic {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let file: SyntheticFile = config::read(&self.config, &self.set)?;
        let config = SyntheticConfig::try_from(file).map_err(refused)?;
        let held = HeldFolder::new(&self.out)?;
        let records = Records::new(self.out.clone(), context.program());
        let bench = Bench::new(&config, &records);
        let cost = bench.cost().map_err(refused)?;
        output::note(&format!(
            "synthetic: {} autoencoders, {} of them to be trained: {} steps, about {:.1} min on 2 cores and {:.0} MB of memory",
            cost.autoencoders,
            cost.unfinished,
            cost.steps,
            cost.seconds / 60.0,
            cost.bytes / 1e6
        ));
        let bar = context.progress.bar("synthetic", cost.steps);
        let report = bench
            .run(&context.device, &mut |steps| bar.inc(steps as u64))
            .map_err(refused)?;
        bar.finish_and_clear();
        held.check()?;
        write_json(&self.out.join("synthetic.json"), &report)?;
        output::result(&report.table())?;
        output::note(&format!("synthetic: synthetic.json is in {}", self.out.display()));
        Ok(())
    }
}

/// What a config asks for and cannot be is a fault of the config.
fn refused(error: Error) -> anyhow::Error {
    match error {
        Error::Config { .. } | Error::Autoencoder(sae::Error::Config { .. }) => ConfigError(error.to_string()).into(),
        other => other.into(),
    }
}
