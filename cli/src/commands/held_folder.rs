//! A folder that must still be there when a command ends.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use same_file::Handle;

/// A folder that a command reads from or writes to for a while. It is kept open, so that a folder that is made under its name
/// after it was removed is told from it.
#[derive(Debug)]
pub(crate) struct HeldFolder {
    path: PathBuf,
    handle: Handle,
}

impl HeldFolder {
    /// Holds a folder, which is made if it is not there.
    pub(crate) fn new(path: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        let handle = Handle::from_path(path).with_context(|| format!("cannot open the folder {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            handle,
        })
    }

    /// # Errors
    ///
    /// A folder that was removed, moved or replaced: what was written to it before is gone.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let is_there = Handle::from_path(&self.path).is_ok_and(|now| now == self.handle);
        anyhow::ensure!(
            is_there,
            "{} was removed or replaced while this command ran, and what had been written to it is gone; run the command again",
            self.path.display()
        );
        Ok(())
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
