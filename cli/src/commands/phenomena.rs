//! `saelab phenomena`: the toys of occlusion and over-splitting.

use std::path::PathBuf;

use eval::phenomena::{Job, PhenomenaConfig, Summary};
use lm::files;

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
        let jobs = config.jobs;
        let mut finished = Vec::new();
        for job in &jobs {
            finished.push(job.finished(&self.out)?);
        }
        let left = || {
            jobs.iter()
                .zip(&finished)
                .filter(|(_, record)| record.is_none())
                .map(|(job, _)| job)
        };
        output::note(&format!(
            "phenomena: {} configurations, {} of them to be run: {} optimiser steps, about {:.1} min on 2 cores",
            jobs.len(),
            left().count(),
            left().map(Job::steps).sum::<usize>(),
            left().map(Job::seconds).sum::<f64>() / 60.0
        ));
        let bar = context.progress.bar("phenomena", left().map(Job::steps).sum());
        let mut records = Vec::new();
        for (job, record) in jobs.iter().zip(finished) {
            records.push(match record {
                Some(record) => record,
                None => {
                    bar.set_message(job.name());
                    job.finish(&self.out, &context.device, &mut || bar.inc(1))?
                }
            });
        }
        bar.finish_and_clear();
        let summary = Summary::new(records);
        files::write_json(&self.out.join("phenomena.json"), &summary)?;
        output::result(&summary.table())?;
        output::note(&format!("phenomena: phenomena.json is in {}", self.out.display()));
        Ok(())
    }
}
