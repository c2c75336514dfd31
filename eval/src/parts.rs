//! What an unfinished evaluation has measured: one file for each (site, dictionary set), so that a broken run goes on.
//!
//! A file holds scores with their resamples as `resamples.parquet` does. Its name has two hashes: that of all that the
//! scores depend on, the program included, and that of the first together with the bytes of the file. So a file whose bytes
//! have changed, or that belongs to another dictionary, site, setting or program, is not taken for what was asked, whatever
//! it is called. Files appear whole or not at all.

use crate::Error;
use crate::columns::{read_resamples, resamples_parquet};
use crate::ledger::Entry;
use artifacts::Sha256Hex;
use serde::Serialize;
use std::io;
use std::path::PathBuf;

/// Hexadecimal digits of each hash in a name.
const DIGITS: usize = 20;

/// The folder of the parts of one evaluation.
#[derive(Debug, Clone)]
pub struct Parts {
    folder: PathBuf,
    program: String,
}

impl Parts {
    /// Parts in `folder`, which need not exist yet. `program` names what measures: its revision, and all else of it or of the
    /// machine that scores may depend on. What another program has measured is not used.
    pub fn new(folder: PathBuf, program: String) -> Self {
        Self { folder, program }
    }

    /// Hash of what `about` and the program determine.
    fn key(&self, about: &impl Serialize) -> Result<String, Error> {
        Ok(artifacts::sha256_hex(&serde_json::to_vec(&(&self.program, about))?))
    }

    /// What was measured before; nothing where no whole file of just that is there.
    pub(crate) fn read(&self, about: &impl Serialize) -> Result<Option<Vec<Entry>>, Error> {
        let key = self.key(about)?;
        let listed = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            listed => listed.and_then(Iterator::collect::<Result<Vec<_>, _>>),
        };
        let listed = listed.map_err(|source| Error::Read {
            path: self.folder.clone(),
            source,
        })?;
        for entry in listed {
            let name = entry.file_name();
            let is_about = name.to_str().is_some_and(|name| name.starts_with(&key[..DIGITS]));
            // What cannot be read, or is not what its name says, is measured again.
            if is_about
                && let Ok(bytes) = artifacts::read(&entry.path())
                && *name == *file_name(&key, &bytes)
                && let Ok(entries) = read_resamples(&entry.path())
            {
                return Ok(Some(entries));
            }
        }
        Ok(None)
    }

    /// Keeps what was measured.
    pub(crate) fn write(&self, about: &impl Serialize, entries: &[Entry]) -> Result<(), Error> {
        let bytes = resamples_parquet(entries)?;
        let path = self.folder.join(file_name(&self.key(about)?, &bytes));
        artifacts::write_atomic(&path, |out| out.write_all(&bytes))?;
        Ok(())
    }

    /// Removes the folder, once the report is written.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be removed.
    pub fn remove(&self) -> Result<(), Error> {
        artifacts::remove_folder(&self.folder)?;
        Ok(())
    }
}

/// Name of the file with these bytes about what `key` is the hash of.
fn file_name(key: &str, bytes: &[u8]) -> String {
    let mut hash = Sha256Hex::default();
    hash.update(key.as_bytes());
    hash.update(bytes);
    format!("{}-{}.parquet", &key[..DIGITS], &hash.finish()[..DIGITS])
}
