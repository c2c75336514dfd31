//! A bucket: its client, its journal, and its folder in the cache.

use std::collections::BTreeSet;
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
/// Endings of what is a file on a web server, and no folder.
const FILES: [&str; 11] = [
    ".gguf",
    ".gz",
    ".json",
    ".jsonl",
    ".npy",
    ".parquet",
    ".pt",
    ".safetensors",
    ".toml",
    ".txt",
    ".zst",
];
/// A larger file of JSON on a web server lists nothing.
const LARGEST_LIST: u64 = 64 << 20;
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
    /// Whether copies hold only what is small.
    pub(crate) names_only: bool,
}

impl Bucket {
    pub(crate) fn new(location: &Location, objects: Objects, cache: &Cache, names_only: bool) -> Result<Self, Error> {
        Ok(Self {
            location: location.of_bucket(),
            objects,
            records: Mutex::new(Records::open(&cache.records(location, names_only))?),
            folder: cache.of_bucket(location, names_only),
            names_only,
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

    /// The objects that are `key` or lie below it. Of a folder on a web server these are files of the names `web`, and those
    /// that files of JSON among them name.
    pub(crate) async fn list(&self, key: &str, web: &[&str]) -> Result<Vec<ObjectMeta>, Error> {
        // The client retries a request that fails, but not one whose answer is cut.
        attempts(async || self.list_once(key, web).await).await
    }

    async fn list_once(&self, key: &str, web: &[&str]) -> Result<Vec<ObjectMeta>, Error> {
        let prefix = (!key.is_empty()).then(|| self.name(key)).transpose()?;
        let mut found: Vec<ObjectMeta> = match self.location.scheme.is_read_only() {
            true => self.look_for(key, web).await?,
            false => {
                let listed = self.objects.whole.list(prefix.as_ref()).try_collect().await;
                listed.map_err(|error| self.error(key, &error))?
            }
        };
        if let Some(name) = prefix.filter(|_| found.is_empty()) {
            found.extend(self.head(&name).await?);
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

    /// The files of a folder on a web server; none where `key` is a file.
    async fn look_for(&self, key: &str, web: &[&str]) -> Result<Vec<ObjectMeta>, Error> {
        let within = |name: &str| {
            if key.is_empty() {
                name.to_owned()
            } else {
                format!("{key}/{name}")
            }
        };
        let mut names: BTreeSet<String> = web.iter().map(|name| within(name)).collect();
        if FILES.iter().any(|ending| key.ends_with(ending)) {
            names.clear();
        }
        let (mut asked, mut found) = (BTreeSet::new(), Vec::new());
        while let Some(next) = names.pop_first() {
            let name = self.name(&next)?;
            asked.insert(next.clone());
            let meta = match self.head(&name).await {
                Ok(Some(meta)) => meta,
                // Some servers refuse what is not there.
                Ok(None) | Err(Error::Refused { .. }) => continue,
                Err(error) => return Err(error),
            };
            if next.ends_with(".json") && meta.size < LARGEST_LIST {
                let failed = |error| self.error(&next, &error);
                let bytes = self
                    .objects
                    .whole
                    .get(&name)
                    .await
                    .map_err(failed)?
                    .bytes()
                    .await
                    .map_err(failed)?;
                let value = serde_json::from_slice(&bytes).unwrap_or_default();
                let mut named = BTreeSet::new();
                files_in(&value, &mut named);
                names.extend(
                    named
                        .iter()
                        .map(|name| within(name))
                        .filter(|name| !asked.contains(name)),
                );
            }
            found.push(meta);
        }
        Ok(found)
    }

    /// What is known of an object, if it is there.
    pub(crate) async fn head(&self, name: &Key) -> Result<Option<ObjectMeta>, Error> {
        match self.objects.whole.head(name).await {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.error(name.as_ref(), &error)),
        }
    }
}

/// Texts of a JSON value that are names of files beside it, as manifests and lists of weights have them.
fn files_in(value: &serde_json::Value, names: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::String(text) => {
            let is_data = [".parquet", ".safetensors"].iter().any(|ending| text.ends_with(ending));
            if is_data && text.split('/').all(is_file_name) {
                names.insert(text.clone());
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| files_in(value, names)),
        serde_json::Value::Object(map) => map.values().for_each(|value| files_in(value, names)),
        _ => {}
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
