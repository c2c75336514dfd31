//! `saelab phenomena`: the toys of occlusion and over-splitting.

use std::path::PathBuf;

use crate::{ConfigFile, Context, Outcome, Result};
use artifacts::HeldFolder;
use toys::{Job, PhenomenaConfig, Records, Summary, job};

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Config, for example configs/phenomena/quick.toml.
    pub config: ConfigFile,
    /// Folder of the results; configurations that are finished there are not run again.
    pub out: PathBuf,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<Outcome<Summary>> {
        let config: PhenomenaConfig = self.config.read()?;
        let held = HeldFolder::new(&self.out)?;
        let folder = Records::new(self.out.clone(), context.program_key());
        let mut records = Vec::new();
        for job in &config.jobs {
            let record = folder.finished(job)?;
            let path = folder.path(job)?;
            if record.is_none() && path.exists() {
                context.note(&format!(
                    "phenomena: {} was made by another program, or changed since; it is made again",
                    path.display()
                ));
            }
            records.push(record);
        }
        let unfinished = config.jobs.iter().zip(&records).filter(|(_, record)| record.is_none());
        let left: Vec<Job> = unfinished.map(|(job, _)| job.clone()).collect();
        let steps = left.iter().map(Job::steps).sum();
        context.note(&format!(
            "phenomena: {} configurations, {} of them to be run: {steps} optimiser steps, about {:.1} min on 2 cores",
            records.len(),
            left.len(),
            left.iter().map(Job::seconds).sum::<f64>() / 60.0
        ));
        let bar = context.bar("phenomena", steps);
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
            ensure!(
                path.exists(),
                "{} was removed while this command ran; run the command again",
                path.display()
            );
        }
        let table = summary.table();
        Ok(Outcome::new(summary, table).remark(format!("phenomena: phenomena.json is in {}", self.out.display())))
    }
}
