//! What an unfinished evaluation has measured: one file for each (site, dictionary set), so that a broken run goes on.
//!
//! A file is named after the hash of all that its scores depend on, and holds scores with their resamples as
//! `resamples.parquet` does. Files appear whole or not at all.

use crate::Error;
use crate::columns::{read_resamples, resamples_parquet};
use crate::ledger::Entry;
use lm::files;
use serde::Serialize;
use std::path::PathBuf;

/// The folder of the parts of one evaluation.
#[derive(Debug, Clone)]
pub struct Parts {
    folder: PathBuf,
}

impl Parts {
    /// Parts in `folder`, which need not exist yet.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The file of what `about` determines.
    fn path(&self, about: &impl Serialize) -> Result<PathBuf, Error> {
        let hash = files::sha256_hex(&serde_json::to_vec(about)?);
        Ok(self.folder.join(format!("{}.parquet", &hash[..20])))
    }

    /// What was measured before; nothing where no whole file is there.
    pub(crate) fn read(&self, about: &impl Serialize) -> Result<Option<Vec<Entry>>, Error> {
        let path = self.path(about)?;
        // A file that cannot be read is measured again.
        Ok(path.exists().then(|| read_resamples(&path).ok()).flatten())
    }

    /// Keeps what was measured.
    pub(crate) fn write(&self, about: &impl Serialize, entries: &[Entry]) -> Result<(), Error> {
        let bytes = resamples_parquet(entries)?;
        files::write_atomic(&self.path(about)?, |out| out.write_all(&bytes))?;
        Ok(())
    }

    /// Removes the folder, once the report is written.
    ///
    /// # Errors
    /// [`Error::Model`] when it cannot be removed.
    pub fn remove(&self) -> Result<(), Error> {
        if self.folder.exists() {
            files::remove_folder(&self.folder)?;
        }
        Ok(())
    }
}
