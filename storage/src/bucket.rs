//! A bucket: its client, its journal, and its folder in the cache.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::path::Path as Key;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::cache::Cache;
use crate::connect::Objects;
use crate::location::is_file_name;
use crate::records::Records;
use crate::{Error, Location};

/// How often a piece of work is begun again whose requests were tried again in vain.
const ATTEMPTS: u32 = 4;
/// The pause before the second attempt; it doubles.
const PAUSE: Duration = Duration::from_millis(500);

/// A bucket that this process uses.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// Without a key.
    pub(crate) location: Location,
    pub(crate) objects: Objects,
    records: Mutex<Records>,
    folder: PathBuf,
}

impl Bucket {
    pub(crate) fn new(location: &Location, objects: Objects, cache: &Cache) -> Result<Self, Error> {
        Ok(Self {
            location: location.of_bucket(),
            objects,
            records: Mutex::new(Records::open(&cache.records(location))?),
            folder: cache.of_bucket(location),
        })
    }

    pub(crate) fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The local file or folder of a key.
    pub(crate) fn path(&self, key: &str) -> PathBuf {
        match key.is_empty() {
            true => self.folder.clone(),
            false => self.folder.join(key),
        }
    }

    /// The key of a local file.
    pub(crate) fn key(&self, path: &Path) -> Option<String> {
        let within = path.strip_prefix(&self.folder).ok()?;
        let parts: Option<Vec<&str>> = within.components().map(|part| part.as_os_str().to_str()).collect();
        Some(parts?.join("/"))
    }

    pub(crate) fn at(&self, key: &str) -> Location {
        self.location.with_key(key)
    }

    pub(crate) fn error(&self, key: &str, error: &object_store::Error) -> Error {
        Error::of_store(&self.at(key), error)
    }

    pub(crate) fn name(&self, key: &str) -> Result<Key, Error> {
        Key::parse(key).map_err(|error| Error::Name {
            location: self.at(key),
            reason: error.to_string(),
        })
    }

    /// The objects that are `key` or lie below it.
    pub(crate) async fn list(&self, key: &str) -> Result<Vec<ObjectMeta>, Error> {
        let prefix = (!key.is_empty()).then(|| self.name(key)).transpose()?;
        let mut found: Vec<ObjectMeta> = match self.location.scheme.is_read_only() {
            // Web servers list nothing.
            true => Vec::new(),
            false => {
                let listed = self.objects.whole.list(prefix.as_ref()).try_collect().await;
                listed.map_err(|error| self.error(key, &error))?
            }
        };
        if let Some(name) = prefix.filter(|_| found.is_empty()) {
            match self.objects.whole.head(&name).await {
                Ok(meta) => found.push(meta),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.error(key, &error)),
            }
        }
        for meta in &found {
            let name = meta.location.as_ref();
            if !name.split('/').all(is_file_name) {
                return Err(Error::Name {
                    location: self.location.clone(),
                    reason: format!("the object {:?}", name.chars().take(200).collect::<String>()),
                });
            }
        }
        Ok(found)
    }
}

/// Does `work` until it succeeds, fails for good, or was tried [`ATTEMPTS`] times.
pub(crate) async fn attempts<T>(mut work: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
    let mut pause = PAUSE;
    for _ in 1..ATTEMPTS {
        match work().await {
            Err(error) if error.is_passing() => tokio::time::sleep(pause).await,
            done => return done,
        }
        pause *= 2;
    }
    work().await
}
