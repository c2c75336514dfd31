//! `saelab phenomena`: the toys of occlusion and over-splitting.

use std::path::PathBuf;

use artifacts::HeldFolder;
use toys::{Job, PhenomenaConfig, Records, Summary, job};

use super::Context;
use crate::{config, output};

/// Arguments of `saelab phenomena`.
#[derive(Debug, clap::Args)]
pub(crate) struct Phenomena {
    /// Config, for example configs/phenomena/quick.toml
    config: PathBuf,
    /// Folder of the results; configurations that are finished there are not run again
    #[arg(long)]
    out: PathBuf,
    /// Override a config key: key=value
    #[arg(long)]
    set: Vec<String>,
}

impl Phenomena {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let config: PhenomenaConfig = config::read(&self.config, &self.set)?;
        let held = HeldFolder::new(&self.out)?;
        let folder = Records::new(self.out.clone(), context.program());
        let mut records = Vec::new();
        for job in &config.jobs {
            let record = folder.finished(job)?;
            let path = folder.path(job)?;
            if record.is_none() && path.exists() {
                output::note(&format!(
                    "phenomena: {} was made by another program, or changed since; it is made again",
                    path.display()
                ));
            }
            records.push(record);
        }
        let unfinished = config.jobs.iter().zip(&records).filter(|(_, record)| record.is_none());
        let left: Vec<Job> = unfinished.map(|(job, _)| job.clone()).collect();
        let steps = left.iter().map(Job::steps).sum();
        output::note(&format!(
            "phenomena: {} configurations, {} of them to be run: {steps} optimiser steps, about {:.1} min on 2 cores",
            records.len(),
            left.len(),
            left.iter().map(Job::seconds).sum::<f64>() / 60.0
        ));
        let bar = context.progress.bar("phenomena", steps);
        let mut new = job::finish_all(&left, &folder, &context.device, &|| bar.inc(1))?.into_iter();
        let records = records
            .into_iter()
            .filter_map(|record| record.or_else(|| new.next()))
            .collect();
        bar.finish_and_clear();
        let summary = Summary::new(records);
        artifacts::write_json(&self.out.join("phenomena.json"), &summary)?;
        held.check()?;
        for job in &config.jobs {
            let path = folder.path(job)?;
            anyhow::ensure!(
                path.exists(),
                "{} was removed while this command ran; run the command again",
                path.display()
            );
        }
        output::result(&summary.table())?;
        output::note(&format!("phenomena: phenomena.json is in {}", self.out.display()));
        Ok(())
    }
}
