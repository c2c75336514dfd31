//! The list itself: its units and its folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::record::Usage;
use crate::{Error, Share, Worker};

const FORMAT_VERSION: u32 = 1;
const PLAN: &str = "plan.json";
/// How often a claim grows.
const BEAT: Duration = Duration::from_secs(10);
/// A claim that has not grown for this long is dead.
const LEASE: Duration = Duration::from_secs(60);

/// One piece of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// What it is, in words; names are different in a list.
    pub name: String,
    /// Neighbours of one group are done together where one worker has several of them.
    pub group: String,
    /// What it costs in comparison with the other units.
    pub cost: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    format_version: u32,
    pub(crate) stage: String,
    pub(crate) units: Vec<Unit>,
}

/// The units of a stage, and the folder in which workers say which of them they do.
#[derive(Debug)]
pub struct WorkList {
    pub(crate) dir: PathBuf,
    pub(crate) units: Vec<Unit>,
    pub(crate) beat: Duration,
    pub(crate) lease: Duration,
}

impl WorkList {
    /// The list of a stage, new or as other workers left it.
    ///
    /// `work` is the folder of all lists of a run, and `key` a hash of all that the results depend on: other settings have
    /// another list.
    ///
    /// # Errors
    ///
    /// A folder that cannot be written, and one that holds other units under the same key.
    #[expect(clippy::expect_used, reason = "text and numbers are JSON")]
    pub fn open(work: &Path, stage: &str, key: &str, units: Vec<Unit>) -> Result<Self, Error> {
        let dir = work.join(format!("{stage}-{}", key.get(..12).unwrap_or(key)));
        fs::create_dir_all(&dir).map_err(|source| Error::io(&dir, source))?;
        let (path, plan) = (
            dir.join(PLAN),
            Plan {
                format_version: FORMAT_VERSION,
                stage: stage.to_owned(),
                units,
            },
        );
        let text = serde_json::to_vec_pretty(&plan).expect("text and numbers are JSON");
        artifacts::write_new(&path, &text)?;
        // Bytes, since reading a number may move its last bit.
        if fs::read(&path).map_err(|source| Error::io(&path, source))? != text {
            return Err(Error::OtherPlan { path });
        }
        Ok(Self {
            dir,
            units: plan.units,
            beat: BEAT,
            lease: LEASE,
        })
    }

    /// The same with claims that grow every `beat` and are dead after `lease` without; 10 s and 60 s where this is not said.
    pub fn with_lease(self, beat: Duration, lease: Duration) -> Self {
        Self { beat, lease, ..self }
    }

    /// The units.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// The worker of a share. `usage` tells what this process has used.
    ///
    /// # Errors
    ///
    /// A system that gives no thread.
    pub fn worker(&self, share: Share, usage: fn() -> Usage) -> Result<Worker<'_>, Error> {
        Worker::new(self, share, usage)
    }

    /// A file of a unit: `claim`, `done`, `lost-1`, `failed-1`.
    pub(crate) fn file(&self, unit: usize, kind: &str) -> PathBuf {
        self.dir.join(format!("{unit:05}.{kind}"))
    }
}

impl Plan {
    /// The plan in the folder of a list; `None` where it holds none.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, Error> {
        let path = dir.join(PLAN);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|source| Error::io(&path, source))?,
        };
        let plan: Self = serde_json::from_slice(&bytes).map_err(|error| Error::Damaged {
            path: path.clone(),
            reason: error.to_string(),
        })?;
        match plan.format_version {
            FORMAT_VERSION => Ok(Some(plan)),
            _ => Err(Error::OtherPlan { path }),
        }
    }
}
