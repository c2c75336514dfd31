//! What stands in the files of a unit: one line of JSON.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::Error;

/// What a process has used so far, where the system tells.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Processor time of all its threads, in seconds.
    pub processor_seconds: Option<f64>,
    /// The most memory that it has held, in MB.
    pub peak_memory_mb: Option<u64>,
}

/// An attempt at a unit: a claim while it lasts, and afterwards how it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) unit: String,
    /// Name of the worker, which its successor has too.
    pub(crate) worker: String,
    pub(crate) host: String,
    pub(crate) pid: u32,
    /// 1 for the first.
    pub(crate) attempt: usize,
    /// Seconds since 1970 by the clock of the host.
    pub(crate) began: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Ended>,
}

/// What an attempt has cost. Units of a group are done together, and each has its part of what they took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ended {
    pub(crate) seconds: f64,
    pub(crate) processor_seconds: Option<f64>,
    /// Of the whole process until then.
    pub(crate) peak_memory_mb: Option<u64>,
    /// Why it failed; none where it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// The record of a file, or why it is none, and the size of the file in bytes.
type Found = (Result<Record, String>, u64);

impl Record {
    /// Reads the record of a file and the file's size in bytes; `None` where there is no file.
    ///
    /// The file is opened, not only looked at: on NFS that asks the server.
    pub(crate) fn read(path: &Path) -> Result<Option<Found>, Error> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|source| Error::io(path, source))?,
        };
        let size = file.metadata().map_err(|source| Error::io(path, source))?.len();
        let mut line = Vec::new();
        let read = BufReader::new(file).read_until(b'\n', &mut line);
        read.map_err(|source| Error::io(path, source))?;
        Ok(Some((
            serde_json::from_slice(&line).map_err(|error| error.to_string()),
            size,
        )))
    }

    #[expect(clippy::expect_used, reason = "text, numbers and options are JSON")]
    pub(crate) fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("text, numbers and options are JSON");
        line.push(b'\n');
        line
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |passed| passed.as_secs())
}

/// The name of this machine, as its processes see it: that of a container in a container.
pub(crate) fn host() -> String {
    let named = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let named = named.or_else(|| std::env::var("HOSTNAME").ok());
    named.map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}

/// Whether a process of this machine is there; `None` where the system does not tell.
pub(crate) fn is_alive(pid: u32) -> Option<bool> {
    let proc = Path::new("/proc");
    proc.join("self").exists().then(|| {
        // A process that has ended and that nobody has waited for yet is there, too.
        let status = std::fs::read_to_string(proc.join(pid.to_string()).join("stat")).ok();
        let state = status.as_deref().and_then(|text| text.rsplit_once(") "));
        state.is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
    })
}
