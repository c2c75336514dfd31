//! `saelab synthetic`: autoencoders on activations whose features are known.

use std::path::PathBuf;

use artifacts::{HeldFolder, write_json};
use synthetic::{Bench, Records, Report, SyntheticConfig, SyntheticFile};

use crate::{ConfigError, ConfigFile, Context, Error, Outcome, Result};

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Config, for example configs/synthetic/quick.toml.
    pub config: ConfigFile,
    /// Folder of the results; autoencoders that are finished there are not trained again.
    pub out: PathBuf,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<Outcome<Report>> {
        let file: SyntheticFile = self.config.read()?;
        let config = SyntheticConfig::try_from(file).map_err(refused)?;
        let held = HeldFolder::new(&self.out)?;
        let records = Records::new(self.out.clone(), context.program_key());
        let bench = Bench::new(&config, &records);
        let cost = bench.cost().map_err(refused)?;
        context.note(&format!(
            "synthetic: {} autoencoders, {} of them to be trained: {} steps, about {:.1} min on 2 cores and {:.0} MB of memory",
            cost.autoencoders,
            cost.unfinished,
            cost.steps,
            cost.seconds / 60.0,
            cost.bytes / 1e6
        ));
        let bar = context.bar("synthetic", cost.steps);
        let report = bench
            .run(&context.device, &mut |steps| bar.inc(steps as u64))
            .map_err(refused)?;
        bar.finish_and_clear();
        held.check()?;
        write_json(&self.out.join("synthetic.json"), &report)?;
        let table = report.table();
        Ok(Outcome::new(report, table).remark(format!("synthetic: synthetic.json is in {}", self.out.display())))
    }
}

/// What a config asks for and cannot be is a fault of the config.
fn refused(error: synthetic::Error) -> Error {
    match error {
        synthetic::Error::Config { .. } | synthetic::Error::Autoencoder(sae::Error::Config { .. }) => {
            ConfigError(error.to_string()).into()
        }
        other => other.into(),
    }
}
