//! Files under temporary names: who they belong to, and what becomes of them when a process ends.
//!
//! A temporary name holds an *owner*: the machine (its boot and its namespace of processes), the process and when that began,
//! and a number. So the next process can tell what a dead one has left from what a living one is writing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use crate::sha256_hex;

/// Begins the name of a temporary file.
const PREFIX: &str = ".partial-";
/// What another machine, or another user's process, has left is taken for abandoned when nothing was written to it for so
/// long; whether that process lives cannot be found out from here.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// The process that owns a temporary file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    /// Tells apart the places in which a number stands for a process; empty where the system does not tell.
    place: String,
    process: u32,
    /// When the process began, in ticks since the boot: numbers of processes are used again.
    began: u64,
}

impl Owner {
    /// This process.
    fn this() -> &'static Self {
        static THIS: OnceLock<Owner> = OnceLock::new();
        THIS.get_or_init(|| {
            let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
            let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
            let process = std::process::id();
            let (place, began) = match began(process) {
                Some(began) if !boot.is_empty() => {
                    let place = sha256_hex(format!("{boot} {}", namespace.display()).as_bytes());
                    (place[..12].to_owned(), began)
                }
                _ => (String::new(), 0),
            };
            Self { place, process, began }
        })
    }

    /// The owner in what [`unique`] gave; none in any other text.
    fn parse(unique: &str) -> Option<Self> {
        let parts: Vec<&str> = unique.split('-').collect();
        let [place, process, began, number] = parts[..] else {
            return None;
        };
        let is_place = place.is_empty() || place.len() == 12 && place.bytes().all(|byte| byte.is_ascii_hexdigit());
        number.parse::<u64>().ok().filter(|_| is_place)?;
        Some(Self {
            place: place.to_owned(),
            process: process.parse().ok()?,
            began: began.parse().ok()?,
        })
    }

    /// Whether the process is over; `None` where that cannot be found out from here.
    fn is_dead(&self) -> Option<bool> {
        let known = !self.place.is_empty() && self.place == Self::this().place;
        known.then(|| began(self.process) != Some(self.began))
    }
}

/// When a process began; none when it is over, or where the system does not tell.
fn began(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which may hold anything but ends with the last bracket, come the state and, as the twentieth, the time.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let is_over = matches!(fields.next()?, "Z" | "X");
    let began = fields.nth(18)?.parse().ok()?;
    (!is_over).then_some(began)
}

/// A part of a name that no other file of any process has, and that says whose it is.
pub fn unique() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let Owner { place, process, began } = Owner::this();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{place}-{process}-{began}-{number}")
}

/// Whether nobody writes to the file at `path` any more, of whose name `unique` is the part that says whose it is. A file that
/// no saelab has made is nobody's to remove.
pub fn is_abandoned(unique: &str, path: &Path) -> bool {
    let (Some(owner), Ok(metadata)) = (Owner::parse(unique), fs::symlink_metadata(path)) else {
        return false;
    };
    match owner.is_dead() {
        Some(false) => false,
        // The system may hide the processes of other users.
        Some(true) if is_ours(&metadata) => true,
        _ => {
            let age = metadata.modified().map(|time| SystemTime::now().duration_since(time));
            age.is_ok_and(|age| age.is_ok_and(|age| age > ABANDONED_AFTER))
        }
    }
}

/// Whether a file belongs to the user of this process.
#[cfg(target_os = "linux")]
fn is_ours(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").is_ok_and(|this| this.uid() == metadata.uid())
}

#[cfg(not(target_os = "linux"))]
fn is_ours(_: &fs::Metadata) -> bool {
    false
}

/// The temporary files of this process, and the folders that were searched for what others have left.
struct Registry {
    files: BTreeSet<PathBuf>,
    /// Folders that are being filled.
    folders: BTreeSet<PathBuf>,
    /// Beginnings of files that another process can continue, with the names under which it finds them.
    beginnings: BTreeMap<PathBuf, PathBuf>,
    searched: BTreeSet<PathBuf>,
}

fn registry() -> MutexGuard<'static, Registry> {
    static REGISTRY: Mutex<Registry> = Mutex::new(Registry {
        files: BTreeSet::new(),
        folders: BTreeSet::new(),
        beginnings: BTreeMap::new(),
        searched: BTreeSet::new(),
    });
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes the temporary files of this process, hands over what it has of files that it fetches, and keeps it from making or renaming any from now on: a thread that tries to
/// waits for ever. For the end of the process by a signal, where no destructor runs.
pub fn end_temporaries() {
    let registry = registry();
    for path in &registry.files {
        // There is nobody left to tell, and the next process tries again.
        let _ = fs::remove_file(path);
    }
    for path in &registry.folders {
        let _ = fs::remove_dir_all(path);
    }
    for (part, common) in &registry.beginnings {
        hand_over(part, common);
    }
    std::mem::forget(registry);
}

/// The beginning of a file at `part` is found under the name `common` when the process is ended by a signal.
pub fn begin(part: &Path, common: &Path) {
    registry().beginnings.insert(part.to_owned(), common.to_owned());
}

/// What stands at `part` is no beginning any more.
pub fn end(part: &Path) {
    registry().beginnings.remove(part);
}

/// Gives the beginning of a file the name under which any process continues it. Where more of it has that name already, that
/// stays; what cannot be renamed is left to be found by its owner's name.
pub fn hand_over(part: &Path, common: &Path) {
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let _ = match size(part) > size(common) {
        true => fs::rename(part, common),
        false => fs::remove_file(part),
    };
}

/// Removes from `folder` the temporary files of processes that are over: on this machine at once, of other machines and other
/// users when nothing was written to them for a day. What cannot be removed is left to the next process.
pub fn remove_leftovers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let unique = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if unique.is_some_and(|unique| is_abandoned(unique, &path)) {
            let _ = fs::remove_file(path);
        }
    }
}

/// A file that gets its name when it is whole; dropped before, it is removed.
#[derive(Debug)]
pub struct Temporary {
    file: File,
    /// Empty once it has its name.
    path: PathBuf,
    target: PathBuf,
}

impl Temporary {
    /// A new file beside `target`, as readable and writable as the user's umask says. Missing folders are made, and what dead
    /// processes have left there is removed.
    pub fn create(target: &Path) -> io::Result<Self> {
        let folder = folder_of(target);
        let mut registry = registry();
        // With the lock held, so that no folder is made again that the end of the process has removed.
        fs::create_dir_all(folder)?;
        let (file, path) = make(folder, |path| {
            OpenOptions::new().write(true).create_new(true).open(path)
        })?;
        registry.files.insert(path.clone());
        let is_new = registry.searched.insert(folder.to_owned());
        drop(registry);
        if is_new {
            remove_leftovers(folder);
        }
        Ok(Self {
            file,
            path,
            target: target.to_owned(),
        })
    }

    /// What is written to.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name; another one of that name is replaced.
    pub fn persist(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        let mut registry = registry();
        fs::rename(&self.path, &self.target)?;
        registry.files.remove(&std::mem::take(&mut self.path));
        Ok(())
    }
}

impl Temporary {
    /// Gives the file its name unless another one has it, which then stays.
    pub fn persist_new(self) -> io::Result<()> {
        self.file.sync_all()?;
        self.link_new()
    }

    /// [`Temporary::persist_new`] without waiting for the disk.
    pub(crate) fn link_new(self) -> io::Result<()> {
        // A link is refused where the name is taken, in one step; dropping this removes the temporary name.
        match fs::hard_link(&self.path, &self.target) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // A disk without links.
            Err(_) if !self.target.exists() => self.persist(),
            _ => Ok(()),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let mut registry = registry();
            let _ = fs::remove_file(&self.path);
            registry.files.remove(&self.path);
        }
    }
}

/// A folder that is being filled and gets another name when it is whole. While this lives, [`end_temporaries`] removes the folder;
/// dropping it removes nothing.
#[derive(Debug)]
pub struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    /// The folder at `path`, which need not be there yet.
    pub fn new(path: &Path) -> Self {
        registry().folders.insert(path.to_owned());
        Self(path.to_owned())
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        registry().folders.remove(&self.0);
    }
}

/// Makes a symbolic link at `name`; what stands there is replaced.
#[cfg(unix)]
pub fn symlink(target: &Path, name: &Path) -> io::Result<()> {
    let folder = folder_of(name);
    fs::create_dir_all(folder)?;
    remove_leftovers(folder);
    // Held, so that the process does not end in between.
    let _registry = registry();
    let ((), path) = make(folder, |path| std::os::unix::fs::symlink(target, path))?;
    fs::rename(&path, name).inspect_err(|_| drop(fs::remove_file(&path)))
}

/// What `create` makes under a temporary name in `folder`, and where.
fn make<T>(folder: &Path, create: impl Fn(&Path) -> io::Result<T>) -> io::Result<(T, PathBuf)> {
    loop {
        let path = folder.join(format!("{PREFIX}{}", unique()));
        match create(&path) {
            // Of a process in another place, where the system does not tell places apart.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|made| (made, path)),
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != OsStr::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path, age: Duration) {
        let file = File::create(path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    /// A process that is over.
    #[cfg(target_os = "linux")]
    fn dead() -> String {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        format!("{}-{}-1-0", Owner::this().place, child.id())
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_dead_processes_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (this, hour) = (Owner::this(), Duration::from_secs(3600));
        assert!(!this.place.is_empty() && this.began > 0);
        let living = unique();
        // The same number, but of a process that began at another time.
        let again = format!("{}-{}-{}-0", this.place, this.process, this.began - 1);
        let elsewhere = format!("0123456789ab-{}-{}-0", this.process, this.began);
        for (name, age, stays) in [
            (format!("{PREFIX}{living}"), 100 * hour, true),
            (format!("{PREFIX}{}", dead()), Duration::ZERO, false),
            (format!("{PREFIX}{again}"), Duration::ZERO, false),
            (format!("{PREFIX}{elsewhere}"), 20 * hour, true),
            (format!("{PREFIX}{elsewhere}1"), 30 * hour, false),
            // Of another program.
            (format!("{PREFIX}AbCdEf"), 30 * hour, true),
            (format!("{PREFIX}{elsewhere}-1"), 30 * hour, true),
            ("notes.partial-".to_owned(), 30 * hour, true),
            ("model.safetensors".to_owned(), 30 * hour, true),
        ] {
            let path = folder.path().join(name);
            touch(&path, age);
            remove_leftovers(folder.path());
            assert_eq!(path.exists(), stays, "{}", path.display());
        }
        // The next file that is written there does it as well.
        let path = folder.path().join(format!("{PREFIX}{}", dead()));
        touch(&path, Duration::ZERO);
        Temporary::create(&folder.path().join("x")).unwrap().persist().unwrap();
        assert!(!path.exists() && folder.path().join("x").exists());
    }

    #[test]
    fn a_dropped_file_is_gone_and_a_whole_one_has_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("deep/x");
        let temporary = Temporary::create(&target).unwrap();
        assert!(registry().files.contains(&temporary.path));
        let path = temporary.path.clone();
        drop(temporary);
        assert!(!path.exists() && !registry().files.contains(&path));
        Temporary::create(&target).unwrap().persist().unwrap();
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 1);
    }
}
