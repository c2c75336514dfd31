//! What has become of the units of a list, read from its folder without touching it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::Error;
use crate::list::Plan;
use crate::record::{self, Record};

/// A claim that is older than this without having grown is said to be lost.
const SILENCE: Duration = Duration::from_secs(60);

/// Where a unit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, strum::Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum State {
    /// Nobody has begun it, or nobody works on it now.
    Waiting,
    /// A worker gives signs of life.
    Running,
    /// Its worker has ended without a word, or was not heard of for a minute.
    Lost,
    /// Its last attempt ended with an error.
    Failed,
    /// Done.
    Done,
}

/// What is known of a unit.
#[derive(Debug, Clone, Serialize)]
pub struct UnitStatus {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: State,
    /// Attempts so far.
    pub attempts: usize,
    /// The worker of the last attempt, as `2/8`.
    pub worker: Option<String>,
    /// The machine of the last attempt.
    pub host: Option<String>,
    /// When the last attempt began, in seconds since 1970 by the clock of its machine.
    pub began: Option<u64>,
    /// Seconds of the attempts that finished it or, while it runs, so far.
    pub seconds: Option<f64>,
    /// Processor time of the attempts that finished it, in seconds.
    pub processor_seconds: Option<f64>,
    /// The most memory that the process had held by the end of them, in MB.
    pub peak_memory_mb: Option<u64>,
    /// Seconds of the attempts that came to nothing.
    pub lost_seconds: f64,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

/// What is known of a stage.
#[derive(Debug, Clone, Serialize)]
pub struct Stage {
    /// Its name.
    pub stage: String,
    /// Its units, in the order of the list.
    pub units: Vec<UnitStatus>,
}

impl Stage {
    /// All stages whose lists are in the folder `work`, the oldest first; none where there is no such folder.
    ///
    /// # Errors
    ///
    /// Folders and files that cannot be read, and plans and records that this program did not write.
    pub fn read_all(work: &Path) -> Result<Vec<Self>, Error> {
        let failed = |source| Error::io(work, source);
        let entries = match fs::read_dir(work) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut stages = Vec::new();
        for entry in entries {
            let dir = entry.map_err(failed)?.path();
            if let Some(plan) = Plan::read(&dir)? {
                let made = fs::metadata(dir.join("plan.json"))
                    .and_then(|metadata| metadata.modified())
                    .ok();
                stages.push((made, dir.clone(), Self::of(&dir, plan)?));
            }
        }
        stages.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        Ok(stages.into_iter().map(|(_, _, stage)| stage).collect())
    }

    fn of(dir: &Path, plan: Plan) -> Result<Self, Error> {
        let mut found: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        let failed = |source| Error::io(dir, source);
        for entry in fs::read_dir(dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            let number = name
                .split_once('.')
                .and_then(|(number, kind)| Some((number.parse().ok()?, kind)));
            if let Some((number, kind)) = number {
                found.entry(number).or_default().push(kind.to_owned());
            }
        }
        let units = plan.units.into_iter().enumerate();
        let units = units.map(|(number, unit)| {
            let kinds = found.remove(&number).unwrap_or_default();
            UnitStatus::of(dir, number, unit.name, &kinds)
        });
        Ok(Self {
            stage: plan.stage,
            units: units.collect::<Result<_, _>>()?,
        })
    }

    /// How many units are in a state.
    pub fn count(&self, state: State) -> usize {
        self.units.iter().filter(|unit| unit.state == state).count()
    }
}

impl UnitStatus {
    fn of(dir: &Path, number: usize, name: String, kinds: &[String]) -> Result<Self, Error> {
        let mut status = Self {
            name,
            state: State::Waiting,
            attempts: 0,
            worker: None,
            host: None,
            began: None,
            seconds: None,
            processor_seconds: None,
            peak_memory_mb: None,
            lost_seconds: 0.0,
            error: None,
        };
        let mut kinds: Vec<&String> = kinds.iter().collect();
        let attempt = |kind: &str| {
            kind.rsplit_once('-')
                .and_then(|(_, number)| number.parse::<usize>().ok())
        };
        // What ended before in the order of the attempts, then the claim, then what is done.
        kinds.sort_by_key(|kind| (*kind == "done", *kind == "claim", attempt(kind)));
        for kind in kinds {
            let path = dir.join(format!("{number:05}.{kind}"));
            let age = age(&path);
            let record = match Record::read(&path)? {
                // It has become something else since.
                None => continue,
                // A claim that is being written, or was when its process was killed.
                Some((Err(_), _)) if kind == "claim" || kind.starts_with("lost") => {
                    status.attempts += 1;
                    continue;
                }
                // Its contents were lost with the power of a machine.
                Some((Err(_), 0)) if kind == "done" => {
                    (status.attempts, status.state) = (status.attempts + 1, State::Done);
                    continue;
                }
                Some((Err(reason), _)) => return Err(Error::Damaged { path, reason }),
                Some((Ok(record), _)) => record,
            };
            status.add(kind, record, age);
        }
        Ok(status)
    }

    /// Takes an attempt into account; `age` is how long its file has not changed.
    fn add(&mut self, kind: &str, record: Record, age: Duration) {
        self.attempts += 1;
        // By the clock of its machine and that of the disk, so never less than nothing.
        let lasted = record::now().saturating_sub(record.began).saturating_sub(age.as_secs()) as f64;
        match (kind, record.ended) {
            (done, Some(ended)) if done.starts_with("done") => {
                // `done-1` has a result that was done again.
                self.state = if done == "done" { State::Done } else { State::Waiting };
                self.seconds = Some(self.seconds.unwrap_or(0.0) + ended.seconds);
                let processor = [self.processor_seconds, ended.processor_seconds].into_iter().flatten();
                self.processor_seconds = processor.reduce(|before, more| before + more);
                (self.peak_memory_mb, self.error) = (self.peak_memory_mb.max(ended.peak_memory_mb), None);
            }
            ("claim", _) => {
                let is_here = record.host == record::host();
                let lives = match is_here.then(|| record::is_alive(record.pid)).flatten() {
                    Some(false) => false,
                    _ => age < SILENCE,
                };
                (self.state, self.seconds) = (if lives { State::Running } else { State::Lost }, Some(lasted));
            }
            (_, Some(ended)) => {
                self.lost_seconds += ended.seconds;
                self.state = if ended.error.is_some() {
                    State::Failed
                } else {
                    State::Waiting
                };
                self.error = ended.error;
            }
            (_, None) => {
                self.lost_seconds += lasted;
                (self.state, self.error) = (State::Waiting, None);
            }
        }
        (self.worker, self.host) = (Some(record.worker), Some(record.host));
        self.began = Some(record.began);
    }
}

/// How long a file has not changed.
fn age(path: &Path) -> Duration {
    let changed = fs::metadata(path).and_then(|metadata| metadata.modified());
    changed
        .ok()
        .and_then(|changed| SystemTime::now().duration_since(changed).ok())
        .unwrap_or_default()
}
