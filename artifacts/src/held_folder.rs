//! A folder that must still be there when a command ends.

use std::fs;
use std::path::{Path, PathBuf};

use same_file::Handle;

use crate::{Error, written};

/// A folder that a command reads from or writes to for a while. It is kept open, so that a folder that is made under its name
/// after it was removed is told from it.
#[derive(Debug)]
pub struct HeldFolder {
    path: PathBuf,
    handle: Handle,
}

impl HeldFolder {
    /// Holds a folder, which is made if it is not there.
    pub fn new(path: &Path) -> Result<Self, Error> {
        written(path, fs::create_dir_all(path))?;
        let handle = Handle::from_path(path).map_err(|cause| Error::read(path, cause))?;
        Ok(Self {
            path: path.to_owned(),
            handle,
        })
    }

    /// # Errors
    ///
    /// A folder that was removed, moved or replaced: what was written to it before is gone.
    pub fn check(&self) -> Result<(), Error> {
        let is_there = Handle::from_path(&self.path).is_ok_and(|now| now == self.handle);
        match is_there {
            true => Ok(()),
            false => Err(Error::Replaced {
                path: self.path.clone(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_made_again_is_another_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let held = HeldFolder::new(&path).unwrap();
        fs::write(path.join("x"), "x").unwrap();
        held.check().unwrap();
        fs::remove_dir_all(&path).unwrap();
        assert!(held.check().is_err());
        fs::create_dir(&path).unwrap();
        let error = held.check().unwrap_err().to_string();
        assert!(error.contains("run was removed or replaced"), "{error}");
        // A file in its place is none either, and cannot be made one.
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "x").unwrap();
        assert!(held.check().is_err() && HeldFolder::new(&path).is_err());
    }
}
