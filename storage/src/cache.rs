//! The folder in which local copies are kept, who uses which of them, and how it stays within its bound.
//!
//! ```text
//! CACHE/objects/s3-BUCKET-0123abcd/KEY     copies, and what commands write
//!       records/s3-BUCKET-0123abcd.jsonl   which of them are the same as their objects
//!       roots/0123456789ab.lock            a folder or file that a command named; locked while one uses it, changed by every use
//!       roots/0123456789ab.unput           it holds what could not be put into its bucket when its command ended
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::records::Records;
use crate::{Error, Location};

/// The variable that names the folder.
const FOLDER: &str = "SAELAB_CACHE";
/// The variable that says how much it may hold.
const BOUND: &str = "SAELAB_CACHE_GB";
/// Where nothing is said: 100 GB.
const DEFAULT_BOUND: u64 = 100_000_000_000;
/// What makes buckets of one name different buckets.
const ENDPOINTS: [&str; 6] = [
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ENDPOINT",
    "GOOGLE_BASE_URL",
];

/// The cache of this user.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    /// Bytes.
    bound: u64,
    endpoints: String,
    /// Locks of this process.
    own: Mutex<BTreeSet<PathBuf>>,
}

/// A folder or file of the cache that this process uses: nobody removes it.
#[derive(Debug)]
pub(crate) struct Hold {
    path: PathBuf,
    lock: PathBuf,
    file: File,
}

impl Cache {
    /// The cache that the environment names.
    pub(crate) fn from_env() -> Result<Self, Error> {
        let named = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let folder = named(FOLDER)
            .or_else(|| Some(named("XDG_CACHE_HOME")?.join("saelab")))
            .or_else(|| Some(named("HOME")?.join(".cache/saelab")));
        let folder = folder.ok_or_else(|| Error::Setting {
            variable: FOLDER,
            reason: "is not set, and neither is HOME; name a folder for copies of remote files".to_owned(),
        })?;
        // Paths that commands are given must not depend on where they go.
        let folder = std::path::absolute(&folder).map_err(|cause| Error::cache(&folder, cause))?;
        let bound = match std::env::var(BOUND) {
            Err(_) => DEFAULT_BOUND,
            Ok(text) => match text.trim().parse::<f64>() {
                Ok(gb) if gb > 0.0 && gb < 1e9 => (gb * 1e9) as u64,
                _ => {
                    return Err(Error::Setting {
                        variable: BOUND,
                        reason: format!("is {text:?}, expected a number of GB above 0"),
                    });
                }
            },
        };
        let endpoints = ENDPOINTS.map(|name| std::env::var(name).unwrap_or_default()).join(" ");
        Ok(Self::new(folder, bound, endpoints))
    }

    pub(crate) fn new(folder: PathBuf, bound: u64, endpoints: String) -> Self {
        Self {
            folder,
            bound,
            endpoints,
            own: Mutex::new(BTreeSet::new()),
        }
    }

    fn own(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of a bucket's folder, or of one with names and no contents.
    fn name(&self, location: &Location, names_only: bool) -> String {
        let Location { scheme, bucket, .. } = location;
        let told = artifacts::sha256_hex(format!("{scheme} {bucket} {}", self.endpoints).as_bytes());
        let bucket: String = bucket
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        format!(
            "{scheme}-{bucket}-{}{}",
            &told[..8],
            if names_only { "-names" } else { "" }
        )
    }

    /// The folder of a bucket.
    pub(crate) fn of_bucket(&self, location: &Location, names_only: bool) -> PathBuf {
        self.folder.join("objects").join(self.name(location, names_only))
    }

    /// The journal of a bucket.
    pub(crate) fn records(&self, location: &Location, names_only: bool) -> PathBuf {
        self.folder
            .join("records")
            .join(format!("{}.jsonl", self.name(location, names_only)))
    }

    fn root(&self, path: &Path, ending: &str) -> PathBuf {
        let name = artifacts::sha256_hex(path.as_os_str().as_encoded_bytes());
        self.folder.join("roots").join(format!("{}.{ending}", &name[..12]))
    }

    /// Uses the copy at `path` as long as what is returned lives.
    pub(crate) fn hold(&self, path: &Path) -> Result<Hold, Error> {
        let lock = self.root(path, "lock");
        let failed = |cause| Error::cache(&lock, cause);
        fs::create_dir_all(self.folder.join("roots")).map_err(failed)?;
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&lock)
                .map_err(failed)?;
            file.lock_shared().map_err(failed)?;
            // One that was removed while this process waited is nobody's lock any more.
            if !is_same(&file, &lock) {
                continue;
            }
            if file.metadata().map_err(failed)?.len() == 0 {
                (&file).write_all(path.as_os_str().as_encoded_bytes()).map_err(failed)?;
            }
            file.set_modified(SystemTime::now()).map_err(failed)?;
            self.own().insert(lock.clone());
            let path = path.to_owned();
            return Ok(Hold { path, lock, file });
        }
    }

    /// The roots that are known: lock, path, when they were last used.
    fn roots(&self) -> Vec<(PathBuf, PathBuf, SystemTime)> {
        let mut roots = Vec::new();
        for entry in fs::read_dir(self.folder.join("roots")).into_iter().flatten().flatten() {
            let lock = entry.path();
            let is_lock = lock.extension().is_some_and(|ending| ending == "lock");
            let (mut path, used) = (String::new(), entry.metadata().and_then(|metadata| metadata.modified()));
            let read = File::open(&lock).and_then(|mut file| file.read_to_string(&mut path));
            if let (true, Ok(_), Ok(used)) = (is_lock, read, used) {
                roots.push((lock, PathBuf::from(path), used));
            }
        }
        roots.sort_by_key(|root| root.2);
        roots
    }

    /// Whether no other process uses the copy at `path`, a part of it, or what it is a part of.
    pub(crate) fn is_alone(&self, hold: &Hold) -> bool {
        let others = self.roots().into_iter().filter(|(lock, path, _)| {
            let is_own = self.own().contains(lock) && *lock != hold.lock;
            !is_own && (path.starts_with(&hold.path) || hold.path.starts_with(path))
        });
        let mut held = others.map(|(lock, ..)| match lock == hold.lock {
            true => hold.is_shared(),
            false => is_held(&lock),
        });
        !held.any(|held| held)
    }

    /// Whether what was written at `path` could not be put into its bucket when its command ended.
    pub(crate) fn is_unput(&self, path: &Path) -> bool {
        self.root(path, "unput").exists()
    }

    /// Says so, or that it is all there now.
    pub(crate) fn set_unput(&self, path: &Path, unput: bool) {
        let marker = self.root(path, "unput");
        // What cannot be said is said by the command's error.
        let _ = match unput {
            true => fs::write(marker, b""),
            false => fs::remove_file(marker),
        };
    }

    /// Makes room for `needed` more bytes of `location`: what was not used for longest goes, nothing that a process uses.
    pub(crate) fn make_room(&self, location: &Location, needed: u64) -> Result<(), Error> {
        if needed == 0 {
            return Ok(());
        }
        let mut total = size(&self.folder.join("objects"));
        let roots = self.roots();
        let held: Vec<&(PathBuf, PathBuf, SystemTime)> = roots
            .iter()
            .filter(|(lock, path, _)| self.own().contains(lock) || is_held(lock) || self.is_unput(path))
            .collect();
        for (lock, path, _) in &roots {
            if total + needed <= self.bound {
                break;
            }
            let overlaps =
                |(_, other, _): &&(PathBuf, PathBuf, SystemTime)| path.starts_with(other) || other.starts_with(path);
            if !held.iter().any(overlaps) {
                total -= self.remove(lock, path)?;
            }
        }
        if total + needed > self.bound {
            return Err(Error::TooLarge {
                location: location.clone(),
                needed: needed / 1_000_000,
                bound: self.bound / 1_000_000,
            });
        }
        Ok(())
    }

    /// Removes a copy that nobody uses; returns its bytes.
    fn remove(&self, lock: &Path, path: &Path) -> Result<u64, Error> {
        let Ok(file) = File::open(lock) else {
            return Ok(0);
        };
        if file.try_lock().is_err() {
            return Ok(0);
        }
        let objects = self.folder.join("objects");
        let Ok(within) = path.strip_prefix(&objects) else {
            return Ok(0);
        };
        let mut parts = within.components();
        let Some(bucket) = parts.next() else {
            return Ok(0);
        };
        let key = parts.as_path().to_string_lossy().replace('\\', "/");
        let bytes = size(path);
        let removed = match path.is_dir() {
            true => fs::remove_dir_all(path),
            false => fs::remove_file(path),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::cache(path, error)),
            _ => {}
        }
        let name = bucket.as_os_str().to_string_lossy();
        let mut records = Records::open(&self.folder.join("records").join(format!("{name}.jsonl")))?;
        let keys: Vec<String> = records.below(&key).map(|(key, _)| key.to_owned()).collect();
        for key in keys {
            records.gone(&key)?;
        }
        records.tidy()?;
        fs::remove_file(lock).map_err(|cause| Error::cache(lock, cause))?;
        Ok(bytes)
    }

    /// `text` with locations in place of the paths of copies.
    pub(crate) fn shown(&self, text: &str, buckets: &[(Location, bool)]) -> String {
        let mut text = text.to_owned();
        // The name of the one begins with that of the other.
        for (bucket, names_only) in buckets.iter().rev() {
            let folder = self.of_bucket(bucket, *names_only);
            text = text.replace(&folder.to_string_lossy().into_owned(), &bucket.of_bucket().to_string());
        }
        text
    }
}

impl Hold {
    /// Whether the lock is still there: a cache that was removed under a running command says nothing about what the command removed.
    pub(crate) fn is_valid(&self) -> bool {
        is_same(&self.file, &self.lock)
    }

    /// Whether other processes use the same root.
    fn is_shared(&self) -> bool {
        // A second handle cannot have it alone while this one shares it, so this one asks for it.
        let alone = self.file.try_lock().is_ok();
        let _ = self.file.lock_shared();
        !alone
    }
}

fn is_held(lock: &Path) -> bool {
    match File::open(lock).map(|file| file.try_lock()) {
        Ok(Err(TryLockError::WouldBlock)) => true,
        // A disk without locks: nobody can say.
        Ok(Err(TryLockError::Error(_))) => true,
        Ok(Ok(())) | Err(_) => false,
    }
}

/// Whether an open file is the one of this name.
fn is_same(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let there = fs::metadata(path).map(id);
        file.metadata()
            .map(id)
            .is_ok_and(|open| there.is_ok_and(|there| there == open))
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}

/// Bytes of the files at or below `path`.
fn size(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return 0;
    };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| size(&entry.path())).sum()
}
