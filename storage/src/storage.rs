//! All locations that a process uses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::bucket::Bucket;
use crate::cache::Cache;
use crate::connect::Objects;
use crate::mirror::{Fetched, Mirror, Use};
use crate::pass::Put;
use crate::records::is_below;
use crate::{Error, Location};

/// Least time between two looks at what was written.
const PASS_EVERY: Duration = Duration::from_millis(500);
/// Looks take at most this share of the time.
const LOOKS: u32 = 20;

/// Names of files with a meaning here.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// Files without which the folder around them is not whole; they are written last.
    pub seals: &'static [&'static str],
    /// Beginnings of the names of files that say how something was made, with times and hosts: where two processes have made the same, one
    /// of them is as good as the other.
    pub accounts: &'static [&'static str],
    /// Files by which a folder on a web server is known, which lists nothing; those of JSON name further files.
    pub web: &'static [&'static str],
}

/// The locations that a process uses.
#[derive(Debug)]
pub struct Storage {
    shared: Arc<Shared>,
    runtime: Mutex<Option<Driver>>,
    putting: Mutex<Option<Putting>>,
}

#[derive(Debug)]
struct Shared {
    cache: Cache,
    names: Names,
    /// Told of troubles that may pass.
    on_trouble: fn(&Error),
    /// Buckets by location and whether they are only listed ([`Use::Status`]).
    buckets: Mutex<BTreeMap<(Location, bool), Arc<Bucket>>>,
    mirrors: Mutex<Vec<Arc<Mirror>>>,
    put: Mutex<Put>,
    /// Held by the thread that looks through files and puts them.
    passing: Mutex<()>,
}

/// The thread that drives all connections.
#[derive(Debug)]
struct Driver {
    handle: Handle,
    /// Dropped, the thread ends.
    _end: oneshot::Sender<()>,
}

/// The thread that puts what appears.
#[derive(Debug)]
struct Putting {
    end: Sender<()>,
    thread: JoinHandle<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Storage {
    /// With the cache that the environment names; nothing is started or asked yet.
    ///
    /// # Errors
    ///
    /// `SAELAB_CACHE_GB` that is no number, and an environment without a folder for a cache.
    pub fn from_env(names: Names, on_trouble: fn(&Error)) -> Result<Self, Error> {
        Ok(Self::new(Cache::from_env()?, names, on_trouble))
    }

    fn new(cache: Cache, names: Names, on_trouble: fn(&Error)) -> Self {
        Self {
            shared: Arc::new(Shared {
                cache,
                names,
                on_trouble,
                buckets: Mutex::new(BTreeMap::new()),
                mirrors: Mutex::new(Vec::new()),
                put: Mutex::new(Put::default()),
                passing: Mutex::new(()),
            }),
            runtime: Mutex::new(None),
            putting: Mutex::new(None),
        }
    }

    /// The local path that stands for a location in this use.
    pub fn local(&self, location: &Location, purpose: Use) -> PathBuf {
        let folder = self.shared.cache.of_bucket(location, purpose == Use::Status);
        match location.key.is_empty() {
            true => folder,
            false => folder.join(&location.key),
        }
    }

    /// Makes the local copy of a location what is there now and keeps it as long as this lives; what a command writes there is put from
    /// now on, if that is the use. There may be nothing, then there is no copy either.
    ///
    /// # Errors
    ///
    /// A bucket that is not there, credentials that are missing or refused, a store that cannot be reached, bytes that are
    /// not those that were put, more than the cache may hold, and whatever the disk says.
    pub fn open(&self, location: &Location, purpose: Use) -> Result<Fetched, Error> {
        let bucket = self.bucket(location, purpose)?;
        let is_open = |mirror: &Arc<Mirror>| {
            let is_part = mirror.location.pattern().is_none() && is_below(&location.key, &mirror.key);
            let is_used_so = mirror.purpose == purpose || (mirror.purpose, purpose) == (Use::Work, Use::Input);
            Arc::ptr_eq(&mirror.bucket, &bucket) && is_used_so && (is_part || mirror.location == *location)
        };
        if lock(&self.shared.mirrors).iter().any(is_open) {
            return Ok(Fetched::default());
        }
        let mirror = Arc::new(Mirror::new(&bucket, location, purpose, &self.shared.cache)?);
        let fetched = self
            .handle()?
            .block_on(mirror.pull(&self.shared.cache, &self.shared.names, true))?;
        lock(&self.shared.mirrors).push(mirror);
        if purpose == Use::Work && !location.scheme.is_read_only() {
            self.begin_putting()?;
        }
        Ok(fetched)
    }

    /// Puts what was written, then copies what others have put meanwhile, at the location whose local path this is, or that it is
    /// a part of.
    ///
    /// # Errors
    ///
    /// As of [`Storage::open`] and [`Storage::finish`].
    pub fn refresh(&self, path: &Path) -> Result<Fetched, Error> {
        let mirrors = lock(&self.shared.mirrors).clone();
        let mut fetched = Fetched::default();
        for mirror in mirrors.iter().filter(|mirror| path.starts_with(mirror.path())) {
            let handle = self.handle()?;
            if mirror.purpose == Use::Work {
                self.shared.pass(&handle, mirror, true)?;
            }
            let _passing = lock(&self.shared.passing);
            let found = handle.block_on(mirror.pull(&self.shared.cache, &self.shared.names, false))?;
            fetched.files += found.files;
            fetched.bytes += found.bytes;
        }
        Ok(fetched)
    }

    /// Whether a local path stands for a location.
    pub fn is_remote(&self, path: &Path) -> bool {
        lock(&self.shared.mirrors)
            .iter()
            .any(|mirror| path.starts_with(mirror.path()))
    }

    /// Puts all that was written and not put yet; says what was put since the beginning.
    ///
    /// # Errors
    ///
    /// What the stores say, after several attempts. What could not be put stays here, and is put by the next command that uses its
    /// location. Something that was written to a web server.
    pub fn finish(&self) -> Result<Put, Error> {
        if let Some(Putting { end, thread }) = lock(&self.putting).take() {
            drop(end);
            // It has nothing to say.
            let _ = thread.join();
        }
        let mirrors = std::mem::take(&mut *lock(&self.shared.mirrors));
        let mut first = Ok(());
        for mirror in &mirrors {
            let done = match mirror.location.scheme.is_read_only() {
                true => refuse_written(mirror),
                false if mirror.purpose == Use::Work => {
                    let done = self.handle().and_then(|handle| self.shared.last_pass(&handle, mirror));
                    self.shared.cache.set_unput(&mirror.path(), done.is_err());
                    done
                }
                false => Ok(()),
            };
            first = first.and(done);
        }
        first.map(|()| *lock(&self.shared.put))
    }

    /// `text` with locations in place of the local paths that stand for them.
    pub fn shown(&self, text: &str) -> String {
        let buckets: Vec<(Location, bool)> = lock(&self.shared.buckets).keys().cloned().collect();
        self.shared.cache.shown(text, &buckets)
    }

    fn bucket(&self, location: &Location, purpose: Use) -> Result<Arc<Bucket>, Error> {
        let mut buckets = lock(&self.shared.buckets);
        let name = (location.of_bucket(), purpose == Use::Status);
        if let Some(bucket) = buckets.get(&name) {
            return Ok(bucket.clone());
        }
        let objects = Objects::connect(location)?;
        let bucket = Arc::new(Bucket::new(location, objects, &self.shared.cache, name.1)?);
        buckets.insert(name, bucket.clone());
        Ok(bucket)
    }

    /// The runtime, which is started by its first user.
    fn handle(&self) -> Result<Handle, Error> {
        let mut runtime = lock(&self.runtime);
        if let Some(driver) = &*runtime {
            return Ok(driver.handle.clone());
        }
        let failed = |cause| Error::cache(Path::new("(a thread for the network)"), cause);
        let built = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let (handle, (end, ended)) = (built.handle().clone(), oneshot::channel());
        let thread = std::thread::Builder::new().name("network".to_owned());
        thread.spawn(move || built.block_on(ended)).map_err(failed)?;
        *runtime = Some(Driver {
            handle: handle.clone(),
            _end: end,
        });
        Ok(handle)
    }

    fn begin_putting(&self) -> Result<(), Error> {
        let mut putting = lock(&self.putting);
        if putting.is_some() {
            return Ok(());
        }
        let (handle, shared, (end, ended)) = (self.handle()?, self.shared.clone(), channel());
        let thread = std::thread::Builder::new().name("put".to_owned());
        let thread = thread.spawn(move || {
            let (mut told, mut pause) = (String::new(), PASS_EVERY);
            while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let start = Instant::now();
                let mirrors = lock(&shared.mirrors).clone();
                let mut moved = false;
                for mirror in mirrors
                    .iter()
                    .filter(|mirror| mirror.purpose == Use::Work && !mirror.location.scheme.is_read_only())
                {
                    let before = *lock(&shared.put);
                    // The last pass says what was wrong for good.
                    if let Err(error) = shared.pass(&handle, mirror, false)
                        && told != error.to_string()
                    {
                        (shared.on_trouble)(&error);
                        told = error.to_string();
                    }
                    moved |= before != *lock(&shared.put);
                }
                // What was put took its time for a good reason.
                pause = if moved {
                    PASS_EVERY
                } else {
                    PASS_EVERY.max(LOOKS * start.elapsed())
                };
            }
        });
        let thread = thread.map_err(|cause| Error::cache(Path::new("(a thread to put files)"), cause))?;
        *putting = Some(Putting { end, thread });
        Ok(())
    }

    /// For tests: with a store that is none of the net's.
    #[cfg(test)]
    fn with_bucket(self, location: &Location, objects: Objects) -> Self {
        for names_only in [false, true] {
            let bucket = Bucket::new(location, objects.clone(), &self.shared.cache, names_only).unwrap();
            lock(&self.shared.buckets).insert((location.of_bucket(), names_only), Arc::new(bucket));
        }
        self
    }
}

impl Shared {
    /// One pass over a mirror.
    fn pass(&self, handle: &Handle, mirror: &Mirror, all: bool) -> Result<(), Error> {
        let _passing = lock(&self.passing);
        let put = handle.block_on(mirror.pass(&self.names, all))?;
        lock(&self.put).add(put);
        Ok(())
    }

    /// A pass with all, and another where files vanished in it, as another process of this machine may have them do.
    fn last_pass(&self, handle: &Handle, mirror: &Mirror) -> Result<(), Error> {
        self.pass(handle, mirror, true)?;
        match mirror.marks().is_empty() {
            true => Ok(()),
            false => self.pass(handle, mirror, true),
        }
    }
}

/// Refuses what was written to the copy of a read-only location.
fn refuse_written(mirror: &Mirror) -> Result<(), Error> {
    let records = mirror.bucket.records();
    let files = mirror.files()?;
    let is_new = |(key, stamp): (&String, &crate::records::Stamp)| {
        is_below(key, &mirror.key) && records.get(key).is_none_or(|record| record.local != *stamp)
    };
    match files.iter().any(is_new) {
        false => Ok(()),
        true => Err(Error::ReadOnly {
            location: mirror.location.clone(),
        }),
    }
}

#[cfg(test)]
mod tests;
