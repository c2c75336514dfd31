//! Claims: who works on a unit now.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use crate::record::{self, Ended, Record};
use crate::{Error, WorkList};

/// A unit that this process works on.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) unit: usize,
    record: Record,
    /// Open, so that it is known from one that another worker puts in its place.
    file: File,
}

/// The claims of others, as they were seen.
#[derive(Debug, Default)]
pub(crate) struct Watched(BTreeMap<usize, Seen>);

#[derive(Debug, Clone, Copy)]
struct Seen {
    size: u64,
    since: Instant,
    /// Whether it has grown meanwhile.
    grew: bool,
}

/// What is known of a unit that could not be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Its claim has grown: another worker does it.
    Alive,
    /// Its claim has not grown since it was first seen.
    Quiet,
}

/// Whether a unit is this worker's now.
#[derive(Debug)]
pub(crate) enum Tried {
    Mine(Claim),
    Taken(Taken),
}

impl Claim {
    /// Claims a unit for a worker, unless another works on it.
    pub(crate) fn take(list: &WorkList, unit: usize, worker: &str, watched: &mut Watched) -> Result<Tried, Error> {
        let path = list.file(unit, "claim");
        let mut attempt = first_attempt(list, unit);
        // More than once only where several workers want it at once; then whoever comes last looks on.
        for _ in 0..3 {
            let record = Record {
                unit: list.units[unit].name.clone(),
                worker: worker.to_owned(),
                host: record::host(),
                pid: std::process::id(),
                attempt,
                began: record::now(),
                ended: None,
            };
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Ok(mut file) => {
                    file.write_all(&record.line())
                        .map_err(|source| Error::io(&path, source))?;
                    return Ok(Tried::Mine(Self { unit, record, file }));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(Error::io(&path, source)),
            }
            let Some((found, size)) = Record::read(&path)? else {
                continue;
            };
            // One without a record is being written, or was when its process was killed.
            let found = found.ok();
            if let Some(taken) = watched.judge(list, unit, worker, found.as_ref(), size) {
                return Ok(Tried::Taken(taken));
            }
            attempt = found.map_or(attempt, |found| found.attempt.max(attempt));
            bury(list, unit, &path, attempt)?;
            attempt += 1;
        }
        Ok(Tried::Taken(Taken::Alive))
    }

    /// A handle on the file for the thread that lets it grow.
    pub(crate) fn handle(&self) -> Option<File> {
        self.file.try_clone().ok()
    }

    /// Says what became of the unit, and gives the claim back. Where another worker has finished it before, its record stays.
    pub(crate) fn end(self, list: &WorkList, ended: Ended) -> Result<(), Error> {
        let kind = match ended.error {
            None => "done".to_owned(),
            Some(_) => format!("failed-{}", self.record.attempt),
        };
        let record = Record {
            ended: Some(ended),
            ..self.record.clone()
        };
        // The result, not this record, says that the unit is done.
        artifacts::write_new_unsynced(&list.file(self.unit, &kind), &record.line())?;
        self.give_back(list)
    }

    /// Gives the claim back without a word: there was nothing to do.
    pub(crate) fn give_back(self, list: &WorkList) -> Result<(), Error> {
        let path = list.file(self.unit, "claim");
        let is_mine = same_file::Handle::from_file(self.file).ok() == same_file::Handle::from_path(&path).ok();
        match is_mine.then(|| fs::remove_file(&path)) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(&path, error)),
            _ => Ok(()),
        }
    }
}

impl Watched {
    /// What is known of a claim of another; `None` when it is dead.
    fn judge(
        &mut self,
        list: &WorkList,
        unit: usize,
        worker: &str,
        found: Option<&Record>,
        size: u64,
    ) -> Option<Taken> {
        if let Some(found) = found {
            let lives = (found.host == record::host())
                .then(|| record::is_alive(found.pid))
                .flatten();
            match lives {
                Some(false) => return None,
                // A predecessor, on a machine that was lost.
                None if found.worker == worker => return None,
                _ => {}
            }
        }
        let now = Seen {
            size,
            since: Instant::now(),
            grew: false,
        };
        let seen = self.0.entry(unit).or_insert(now);
        if seen.size != size {
            *seen = Seen { grew: true, ..now };
        }
        (seen.since.elapsed() < list.lease).then_some(if seen.grew { Taken::Alive } else { Taken::Quiet })
    }

    pub(crate) fn forget(&mut self, unit: usize) {
        self.0.remove(&unit);
    }
}

/// The number of the next attempt, where nobody has a claim.
fn first_attempt(list: &WorkList, unit: usize) -> usize {
    let was = |attempt: usize| {
        ["lost", "failed"]
            .iter()
            .any(|kind| list.file(unit, &format!("{kind}-{attempt}")).exists())
    };
    let mut attempt = 1;
    while was(attempt) {
        attempt += 1;
    }
    attempt
}

/// Puts a dead claim aside. Two workers may find it dead at once, and the slower one put the claim of the faster one aside: then both do
/// the unit, of which one result stays.
fn bury(list: &WorkList, unit: usize, claim: &Path, attempt: usize) -> Result<(), Error> {
    match fs::rename(claim, list.file(unit, &format!("lost-{attempt}"))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(claim, error)),
        _ => Ok(()),
    }
}
