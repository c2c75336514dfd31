//! The lock of a store that is being written. It is one of the system, so it ends with its process, however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use crate::Error;

/// What a process that writes a store should tell about the lock of the store's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locking {
    /// Another process writes the store; this one waits until it has ended.
    Waits,
    /// The disk has no locks, so nothing keeps a second process out.
    Unsupported,
}

/// A lock that is held.
#[derive(Debug)]
pub(super) struct Lock {
    /// The locked file; `None` where the disk has no locks.
    file: Option<File>,
}

impl Lock {
    /// Locks the file at `path`, alone or with others that share it, once nobody holds a lock that excludes this one.
    pub(super) fn take(path: &Path, shared: bool, on_lock: &mut dyn FnMut(Locking)) -> Result<Self, Error> {
        let mut go = || -> io::Result<Option<File>> {
            let file = open(path)?;
            let tried = match shared {
                true => file.try_lock_shared(),
                false => file.try_lock(),
            };
            let locked = match tried {
                Ok(()) => true,
                Err(TryLockError::Error(_)) => false,
                Err(TryLockError::WouldBlock) => {
                    on_lock(Locking::Waits);
                    let waited = match shared {
                        true => file.lock_shared(),
                        false => file.lock(),
                    };
                    waited.is_ok()
                }
            };
            // On some disks every lock is granted, and none holds.
            Ok((locked && excludes(path)?).then_some(file))
        };
        let file = go().map_err(|source| Error::io(path, source))?;
        if file.is_none() {
            on_lock(Locking::Unsupported);
        }
        Ok(Self { file })
    }

    /// The lock of the file at `path`, if nobody else holds one and the disk has locks.
    pub(super) fn try_alone(path: &Path) -> Option<Self> {
        let file = open(path).ok()?;
        file.try_lock().ok()?;
        excludes(path).ok()?.then_some(Self { file: Some(file) })
    }

    /// Whether this process is the only one that holds the lock; a shared lock may be lost when it is not.
    pub(super) fn alone(&self) -> bool {
        self.file.as_ref().is_some_and(|file| file.try_lock().is_ok())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alone_or_several_together() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let silent = &mut |locking| panic!("{locking:?}");
        let (first, second) = (
            Lock::take(file.path(), true, silent).unwrap(),
            Lock::take(file.path(), true, silent).unwrap(),
        );
        assert!(Lock::try_alone(file.path()).is_none() && !first.alone());
        drop(first);
        assert!(second.alone());
        let (told, waits) = std::sync::mpsc::channel();
        let path = file.path().to_owned();
        let waiting = std::thread::spawn(move || {
            Lock::take(&path, false, &mut |locking| told.send(locking).unwrap()).unwrap();
        });
        assert_eq!(waits.recv(), Ok(Locking::Waits));
        assert!(!waiting.is_finished());
        drop(second);
        waiting.join().unwrap();
        assert!(Lock::try_alone(file.path()).is_some());
    }
}
