//! `saelab status`: what of an experiment is done, running or failed, and what it cost.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use activations::store::{Files, Store};
use report::{Cell, Group, Table};
use serde::Serialize;
use work::{Stage, State, UnitStatus};

use crate::error::WithContext as _;
use crate::run_folder::{self, RunFolder};
use crate::share;
use crate::wording::counted;
use crate::{Outcome, Result};

/// Units of a state that the table names; `--json` has all.
const NAMED: usize = 10;

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder of an experiment, or of a store.
    pub run: PathBuf,
    /// Print all that is known of every unit, as JSON.
    pub json: bool,
}

/// What is known of an experiment.
#[derive(Debug, Serialize)]
struct Found {
    stores: Vec<StoreFound>,
    /// Autoencoders that stand finished in `sae/`, whoever made them.
    autoencoders: usize,
    /// Trainings that broke off or still run: their checkpoints.
    checkpoints: Vec<PathBuf>,
    stages: Vec<StageFound>,
}

#[derive(Debug, Serialize)]
struct StoreFound {
    folder: PathBuf,
    /// Files that are there, and that there will be.
    files: usize,
    of: usize,
    complete: bool,
}

/// A stage that was dealt over workers.
#[derive(Debug, Serialize)]
struct StageFound {
    folder: PathBuf,
    #[serde(flatten)]
    stage: Stage,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self) -> Result<Outcome<()>> {
        ensure!(self.run.is_dir(), "{}: there is no such folder", self.run.display());
        let found = Found::read(&self.run)?;
        if found.stores.is_empty() && found.autoencoders == 0 && found.checkpoints.is_empty() && found.stages.is_empty()
        {
            bail!(
                "{} holds no store, no autoencoders and no work list; name the folder of an experiment",
                self.run.display()
            );
        }
        match self.json {
            true => Ok(Outcome::new(
                (),
                serde_json::to_string_pretty(&found).context("cannot be written as JSON")?,
            )),
            false => Ok(Outcome::new((), found.table())),
        }
    }
}

impl Found {
    fn read(run: &Path) -> Result<Self> {
        let mut folders = vec![run.to_owned()];
        folders.extend(run_folder::folders(run)?.into_iter().map(|name| run.join(name)));
        let (mut stores, mut stages) = (Vec::new(), Vec::new());
        for folder in folders {
            for stage in Stage::read_all(&share::folder(&folder))? {
                let folder = folder.clone();
                stages.push(StageFound { folder, stage });
            }
            if let Some(Files { there, of, complete }) = Store::files(&folder)? {
                stores.push(StoreFound {
                    folder,
                    files: there,
                    of,
                    complete,
                });
            }
        }
        // In the order of the data.
        stages.sort_by_key(|found| found.stage.stage != "harvest");
        let sae = RunFolder(run.to_owned()).sae();
        let mut autoencoders = 0;
        for name in run_folder::folders(&sae)? {
            let sites = run_folder::folders(&sae.join(&name))?;
            let is_finished = |site: &String| sae.join(&name).join(site).join("sae_weights.safetensors").exists();
            autoencoders += sites.iter().filter(|site| is_finished(site)).count();
        }
        let of_trainings = RunFolder(run.to_owned()).checkpoints();
        let mut checkpoints = Vec::new();
        for site in run_folder::folders(&of_trainings)? {
            let steps = run_folder::folders(&of_trainings.join(&site))?;
            checkpoints.extend(steps.into_iter().map(|step| of_trainings.join(&site).join(step)));
        }
        Ok(Self {
            stores,
            autoencoders,
            checkpoints,
            stages,
        })
    }

    fn table(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        for store in &self.stores {
            let end = if store.complete { "complete" } else { "not complete" };
            let _ = writeln!(
                out,
                "{}: store, {} of {} files, {end}",
                store.folder.display(),
                store.files,
                store.of
            );
        }
        if self.autoencoders > 0 {
            let _ = writeln!(out, "sae: {} finished", counted(self.autoencoders, "autoencoder"));
        }
        for checkpoint in &self.checkpoints {
            let _ = writeln!(
                out,
                "{}: a training that is not finished; the same `saelab train` resumes it",
                checkpoint.display()
            );
        }
        if self.stages.is_empty() {
            let _ = writeln!(
                out,
                "no work lists: no stage was run with --shard, so nobody wrote down what it cost"
            );
            return out;
        }
        let columns = [
            ("units", 6),
            ("done", 6),
            ("running", 8),
            ("failed", 7),
            ("lost", 7),
            ("waiting", 8),
            ("time", 10),
            ("processor", 10),
            ("in vain", 10),
            ("memory", 8),
        ];
        let columns = columns.map(|(heading, width)| Group::column(heading, width));
        let mut table = Table::new("stage", 10, columns.to_vec());
        for StageFound { stage, .. } in &self.stages {
            let sum = |of: &dyn Fn(&UnitStatus) -> Option<f64>| stage.units.iter().filter_map(of).sum::<f64>();
            let is_done = |unit: &UnitStatus| unit.state == State::Done;
            let memory = stage.units.iter().filter_map(|unit| unit.peak_memory_mb).max();
            let states = [State::Done, State::Running, State::Failed, State::Lost, State::Waiting];
            let mut cells = vec![Cell::Count(stage.units.len())];
            cells.extend(states.map(|state| Cell::Count(stage.count(state))));
            cells.extend([
                Cell::text(duration(sum(&|unit| unit.seconds.filter(|_| is_done(unit))))),
                Cell::text(duration(sum(&|unit| unit.processor_seconds))),
                Cell::text(duration(sum(&|unit| Some(unit.lost_seconds)))),
                Cell::text(memory.map_or_else(|| "-".to_owned(), |mb| format!("{mb} MB"))),
            ]);
            table.push(stage.stage.as_str(), cells);
        }
        out = out + "\n" + &table.text();
        for state in [State::Failed, State::Lost, State::Running] {
            self.name_units(state, &mut out);
        }
        out
    }

    /// A line for each unit in a state, up to [`NAMED`].
    fn name_units(&self, state: State, out: &mut String) {
        let units = self.stages.iter().flat_map(|found| &found.stage.units);
        let units: Vec<&UnitStatus> = units.filter(|unit| unit.state == state).collect();
        for unit in units.iter().take(NAMED) {
            let end = match (&unit.error, unit.seconds) {
                (Some(error), _) => format!(": {error}"),
                (None, Some(seconds)) => format!(" for {}", duration(seconds)),
                (None, None) => String::new(),
            };
            let _ = writeln!(
                out,
                "{state}: {}, worker {} on {}, attempt {}{end}",
                unit.name,
                unit.worker.as_deref().unwrap_or("?"),
                unit.host.as_deref().unwrap_or("?"),
                unit.attempts
            );
        }
        if units.len() > NAMED {
            let _ = writeln!(out, "and {} more; --json names all", units.len() - NAMED);
        }
    }
}

/// Seconds in the unit that suits them.
fn duration(seconds: f64) -> String {
    match seconds {
        0.0 => "-".to_owned(),
        seconds if seconds < 120.0 => format!("{seconds:.1} s"),
        seconds if seconds < 7200.0 => format!("{:.1} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3600.0),
    }
}
