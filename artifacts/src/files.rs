//! Files that are written whole or not at all.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::temporary::Temporary;

/// Writes `path` through a temporary file beside it that is renamed at the end: after a crash, a full disk or Ctrl-C
/// there is the old file or none. Missing folders are made, and what dead processes have left beside it is removed.
pub fn write_atomic(path: &Path, write: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>) -> Result<(), Error> {
    written(path, prepared(path, write).and_then(Temporary::persist))
}

/// Writes several files that belong together, as [`write_atomic`] writes one: all of them are whole on the disk before the
/// first takes its name, so that a full disk leaves the old ones. They are renamed in the order given.
pub fn write_together(files: &[(PathBuf, &[u8])]) -> Result<(), Error> {
    let whole = files.iter().map(|(path, bytes)| written(path, on_disk(path, bytes)));
    let whole: Vec<Temporary> = whole.collect::<Result<_, _>>()?;
    for (file, (path, _)) in whole.into_iter().zip(files) {
        written(path, file.persist())?;
    }
    Ok(())
}

/// A file whose bytes have reached the disk, and that can be renamed to `path`.
fn on_disk(path: &Path, bytes: &[u8]) -> io::Result<Temporary> {
    // Found now, a folder in the way of one file leaves the others as they are.
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let file = prepared(path, |file| file.write_all(bytes))?;
    file.file().sync_all()?;
    Ok(file)
}

/// A file that is whole but for its name, which [`Temporary::persist`] gives it.
pub fn prepared(path: &Path, write: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>) -> io::Result<Temporary> {
    let temporary = Temporary::create(path)?;
    let mut buffer = BufWriter::new(temporary.file());
    write(&mut buffer)?;
    buffer.flush()?;
    drop(buffer);
    Ok(temporary)
}

/// What came of writing `path`.
pub fn written<T>(path: &Path, result: io::Result<T>) -> Result<T, Error> {
    result.map_err(|cause| Error::write(path, cause))
}

/// Writes `bytes` to `path`, whole or not at all, unless a file is there already: of several processes one writes, and the
/// others read what it wrote.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    written(
        path,
        prepared(path, |file| file.write_all(bytes)).and_then(Temporary::persist_new),
    )
}

/// As [`write_new`], for what may be lost with the power of the machine: the disk is not waited for, which takes milliseconds.
pub fn write_new_unsynced(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    written(
        path,
        prepared(path, |file| file.write_all(bytes)).and_then(Temporary::link_new),
    )
}

/// Removes a file, if it is there.
pub fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(Error::Write {
            path: path.to_owned(),
            cause,
        }),
        _ => Ok(()),
    }
}

/// Removes a folder and all in it, if it is there.
pub fn remove_folder(path: &Path) -> Result<(), Error> {
    if path.exists() {
        fs::remove_dir_all(path).map_err(|cause| Error::write(path, cause))?;
    }
    Ok(())
}

/// The bytes of a file.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|cause| Error::read(path, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_belong_together_are_replaced_together_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "sub/c"].map(|name| folder.path().join(name));
        let write = |text: &[u8]| write_together(&[(a.clone(), text), (b.clone(), text), (c.clone(), text)]);
        write(b"old").unwrap();
        // The last cannot be written: the first two stay.
        fs::remove_file(&c).unwrap();
        fs::create_dir(&c).unwrap();
        let error = write(b"new").unwrap_err().to_string();
        assert!(error.contains("sub/c"), "{error}");
        assert_eq!([&a, &b].map(|path| fs::read(path).unwrap()), [b"old", b"old"]);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            3,
            "no temporary file is left"
        );
        fs::remove_dir(&c).unwrap();
        write(b"new").unwrap();
        assert_eq!([&a, &b, &c].map(|path| fs::read(path).unwrap()), [b"new"; 3]);
    }

    #[test]
    fn what_is_there_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        write_new(&path, b"first").unwrap();
        write_new(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        write_atomic(&path, |file| file.write_all(b"old")).unwrap();
        let failed = write_atomic(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("disk full"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }
}
