//! Locks of the system on files: they end with their process, however that ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::{Error, written};

/// What a process should tell about a lock that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locking {
    /// Another process holds it; this one waits until that one has ended.
    Waits,
    /// The disk has no locks, so nothing keeps a second process out.
    Unsupported {
        /// What the system says.
        cause: String,
    },
}

/// Who may hold a lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// One holder.
    Alone,
    /// All holders that share it.
    Shared,
}

/// A lock that is held.
#[derive(Debug)]
pub struct Lock {
    /// The locked file; `None` where the disk has no locks.
    file: Option<File>,
}

impl Lock {
    /// Locks the file at `path` once nobody holds a lock that excludes this one.
    ///
    /// # Errors
    ///
    /// A file that is not there or cannot be opened. A disk without locks is no error: `on_lock` is told.
    pub fn take(path: &Path, sharing: Sharing, on_lock: &mut dyn FnMut(Locking)) -> Result<Self, Error> {
        let file = open(path).map_err(|cause| Error::read(path, cause))?;
        let locked = locked(&file, sharing, on_lock).and_then(|()| excluded(path));
        Ok(Self::on(file, locked, on_lock))
    }

    /// The lock of the file at `path`, if nobody else holds one and the disk has locks.
    pub fn try_alone(path: &Path) -> Option<Self> {
        let file = open(path).ok()?;
        file.try_lock().ok()?;
        excludes(path).ok()?.then_some(Self { file: Some(file) })
    }

    /// Whether this process is the only one that holds the lock; a shared lock may be lost when it is not.
    pub fn alone(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.try_lock().is_ok())
    }

    /// The lock on `file`, or none where `locked` says why the disk has none.
    fn on(file: File, locked: io::Result<()>, on_lock: &mut dyn FnMut(Locking)) -> Self {
        let told = locked.inspect_err(|error| {
            let cause = error.to_string();
            on_lock(Locking::Unsupported { cause });
        });
        Self {
            file: told.ok().map(|()| file),
        }
    }
}

/// A file that exists to be locked.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    lock: Lock,
}

impl LockFile {
    /// Makes the file at `path`, with its folders, and locks it once nobody else holds it. It stays when this is dropped.
    ///
    /// # Errors
    ///
    /// A file that cannot be made or written. A disk without locks is no error: `on_lock` is told.
    pub fn take(path: &Path, on_lock: &mut dyn FnMut(Locking)) -> Result<Self, Error> {
        let folder = path.parent().unwrap_or(Path::new("."));
        loop {
            written(path, fs::create_dir_all(folder))?;
            let file = match OpenOptions::new().create(true).append(true).open(path) {
                // Another process has removed the folder meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.exists() => continue,
                opened => written(path, opened)?,
            };
            let locked = locked(&file, Sharing::Alone, on_lock);
            // The process that held it before may have removed the file.
            if locked.is_ok() && !is_same(&file, path) {
                continue;
            }
            let locked = locked.and_then(|()| excluded(path));
            return Ok(Self {
                path: path.to_owned(),
                lock: Lock::on(file, locked, on_lock),
            });
        }
    }

    /// Ends the lock and removes the file, and its folder if nothing else is in it.
    pub fn remove(self) {
        // Still locked, so nobody else holds this file; it does not matter if it stays.
        if self.lock.file.is_some() || cfg!(not(unix)) {
            remove_with_folder(&self.path);
        }
    }

    /// Removes the file that a killed process left at `path`, and its folder if nothing else is in it; a lock that is held stays.
    pub fn remove_abandoned(path: &Path) {
        let Ok(file) = open(path) else { return };
        if file.try_lock().is_ok() && is_same(&file, path) {
            remove_with_folder(path);
        }
    }
}

/// Removes a file, and its folder if nothing else is in it; either may stay.
fn remove_with_folder(path: &Path) {
    let _ = fs::remove_file(path);
    if let Some(folder) = path.parent() {
        let _ = fs::remove_dir(folder);
    }
}

/// Locks an open file, and waits while others hold it.
fn locked(file: &File, sharing: Sharing, on_lock: &mut dyn FnMut(Locking)) -> io::Result<()> {
    let tried = match sharing {
        Sharing::Alone => file.try_lock(),
        Sharing::Shared => file.try_lock_shared(),
    };
    match tried {
        Ok(()) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(error),
        Err(TryLockError::WouldBlock) => on_lock(Locking::Waits),
    }
    loop {
        let waited = match sharing {
            Sharing::Alone => file.lock(),
            Sharing::Shared => file.lock_shared(),
        };
        match waited {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            waited => return waited,
        }
    }
}

/// Some disks lock only files that are open for writing; a store may be one that must not be written.
fn open(path: &Path) -> io::Result<File> {
    let writable = OpenOptions::new().read(true).write(true).open(path);
    writable.or_else(|_| File::open(path))
}

/// Whether a lock that is held keeps others out: the file, opened again, must not be locked.
fn excludes(path: &Path) -> io::Result<bool> {
    Ok(matches!(open(path)?.try_lock(), Err(TryLockError::WouldBlock)))
}

/// The error of a disk that grants every lock, where none holds.
fn excluded(path: &Path) -> io::Result<()> {
    match excludes(path)? {
        true => Ok(()),
        false => Err(io::Error::other("a second lock of the same file is granted")),
    }
}

#[cfg(unix)]
fn is_same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |metadata: io::Result<fs::Metadata>| metadata.map(|found| (found.dev(), found.ino())).ok();
    id(file.metadata()).is_some() && id(file.metadata()) == id(fs::metadata(path))
}

#[cfg(not(unix))]
fn is_same(_: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alone_or_several_together() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let silent = &mut |locking| panic!("{locking:?}");
        let (first, second) = (
            Lock::take(file.path(), Sharing::Shared, silent).unwrap(),
            Lock::take(file.path(), Sharing::Shared, silent).unwrap(),
        );
        assert!(Lock::try_alone(file.path()).is_none() && !first.alone());
        drop(first);
        assert!(second.alone());
        let (told, waits) = std::sync::mpsc::channel();
        let path = file.path().to_owned();
        let waiting = std::thread::spawn(move || {
            Lock::take(&path, Sharing::Alone, &mut |locking| told.send(locking).unwrap()).unwrap();
        });
        assert_eq!(waits.recv(), Ok(Locking::Waits));
        assert!(!waiting.is_finished());
        drop(second);
        waiting.join().unwrap();
        assert!(Lock::try_alone(file.path()).is_some());
    }

    #[test]
    fn a_second_lock_file_waits_for_the_first_and_none_is_left() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join("checkpoints/site/sae.lock");
        let order = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for i in 0..8 {
                let (path, order) = (&path, &order);
                scope.spawn(move || {
                    let unsupported = |locking| assert_eq!(locking, Locking::Waits);
                    let lock = LockFile::take(path, &mut { unsupported }).unwrap();
                    order.lock().unwrap().push((i, true));
                    std::thread::sleep(std::time::Duration::from_millis(3));
                    order.lock().unwrap().push((i, false));
                    lock.remove();
                });
            }
        });
        let order = order.into_inner().unwrap();
        assert_eq!(order.len(), 16);
        for pair in order.chunks(2) {
            assert_eq!((pair[0].0, pair[0].1, pair[1].1), (pair[1].0, true, false));
        }
        assert!(!path.parent().unwrap().exists());
    }

    #[test]
    fn only_a_lock_file_that_nobody_holds_is_abandoned() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join("site/sae.lock");
        let held = LockFile::take(&path, &mut |locking| panic!("{locking:?}")).unwrap();
        LockFile::remove_abandoned(&path);
        assert!(path.exists());
        // As the system does when a process is killed.
        drop(held);
        LockFile::remove_abandoned(&path);
        assert!(!path.parent().unwrap().exists());
        LockFile::remove_abandoned(&path);
    }
}
