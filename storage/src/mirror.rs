//! A remote folder or file that a command uses, and its local copy.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;

use crate::bucket::Bucket;
use crate::cache::{Cache, Hold};
use crate::get::tag;
use crate::put::remove_copy;
use crate::records::{Stamp, is_below};
use crate::{Error, Location, Names};

/// Objects that are on their way at once.
pub(crate) const AT_ONCE: usize = 8;
/// An object of this name says that what lies beside and below it is being put, or removed.
pub(crate) const MARK: &str = ".partial-put";

/// Seconds after which nobody is still putting what lies under a mark: a day, far longer than clocks differ and a folder takes.
const ABANDONED: i64 = 24 * 60 * 60;

/// What a command does with a location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It reads what is there.
    Input,
    /// It may write there.
    Work,
    /// It looks at what is there, and what workers do: large files have a size and no contents, in a copy of its own.
    Status,
}

/// What was copied to this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Files.
    pub files: usize,
    /// Bytes.
    pub bytes: u64,
}

/// A remote folder or file and its local copy.
#[derive(Debug)]
pub(crate) struct Mirror {
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) location: Location,
    /// The part of the key that is no pattern.
    pub(crate) key: String,
    pub(crate) purpose: Use,
    pub(crate) hold: Hold,
    /// Folders that somebody has not put whole, and what lies in them, by their keys.
    incomplete: Mutex<BTreeMap<String, Vec<String>>>,
    /// Folders that this process has marked, until a pass has put or removed all of them.
    marks: Mutex<BTreeSet<String>>,
}

/// Whether a file is of this machine only: temporary files, locks, what is about to be removed.
fn is_local(key: &str) -> bool {
    let is_temporary = |part: &str| part.starts_with(".partial-") || part.starts_with(".replaced-");
    key.split('/').any(is_temporary) || key.ends_with(".lock")
}

/// Whether an object says what is done, and by whom.
fn is_told(meta: &ObjectMeta) -> bool {
    let key = meta.location.as_ref();
    key.ends_with(".json") || key.split('/').any(|part| part == ".work")
}

/// Whether a file is a worker's sign of life.
fn is_claim(key: &str) -> bool {
    key.ends_with(".claim") && key.split('/').any(|part| part == ".work")
}

/// The folders that have a mark, by their keys.
fn marked(listed: &[ObjectMeta]) -> BTreeSet<String> {
    let marks = listed
        .iter()
        .filter_map(|meta| meta.location.as_ref().strip_suffix(MARK));
    marks.map(|folder| folder.trim_end_matches('/').to_owned()).collect()
}

/// Keys of objects below marks that were all put at least [`ABANDONED`] ago, by processes that were killed: no command sees them. Marks
/// come last, so that what is left of a removal that breaks off stays unseen.
fn abandoned(listed: &[ObjectMeta], now: i64) -> Vec<String> {
    let is_old = |meta: &ObjectMeta| meta.last_modified.timestamp() <= now - ABANDONED;
    let mut keys = BTreeSet::new();
    for folder in marked(listed) {
        let below = || listed.iter().filter(|meta| is_below(meta.location.as_ref(), &folder));
        if below().all(is_old) {
            keys.extend(below().map(|meta| meta.location.as_ref()));
        }
    }
    let (marks, others): (Vec<&str>, Vec<&str>) = keys.into_iter().partition(|key| key.ends_with(MARK));
    others.into_iter().chain(marks).map(str::to_owned).collect()
}

impl Mirror {
    pub(crate) fn new(bucket: &Arc<Bucket>, location: &Location, purpose: Use, cache: &Cache) -> Result<Self, Error> {
        let key = location
            .pattern()
            .map_or(location.key.as_str(), |(folder, _)| folder)
            .to_owned();
        Ok(Self {
            hold: cache.hold(&bucket.path(&key))?,
            bucket: bucket.clone(),
            location: location.clone(),
            key,
            purpose,
            incomplete: Mutex::new(BTreeMap::new()),
            marks: Mutex::new(BTreeSet::new()),
        })
    }

    /// Where its copy is.
    pub(crate) fn path(&self) -> PathBuf {
        self.bucket.path(&self.key)
    }

    pub(crate) fn incomplete(&self) -> MutexGuard<'_, BTreeMap<String, Vec<String>>> {
        self.incomplete.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn marks(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the copy what is there now. Where no other process uses it, what a killed one has left and not put goes; else files
    /// that were written here meanwhile stay.
    pub(crate) async fn pull(&self, cache: &Cache, names: &Names, first: bool) -> Result<Fetched, Error> {
        self.bucket.records().refresh()?;
        // Before the listing, so that what is put after it is not taken for gone.
        let known: BTreeMap<String, Stamp> = {
            let records = self.bucket.records();
            let known = records.below(&self.key);
            known.map(|(key, record)| (key.to_owned(), record.local)).collect()
        };
        let mut listed = self.bucket.list(&self.key, names.web).await?;
        let forget = first && !cache.is_unput(&self.path()) && cache.is_alone(&self.hold);
        if forget {
            self.bucket.abort_uploads(&self.key).await?;
        }
        if forget && self.purpose == Use::Work && !self.location.scheme.is_read_only() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let gone = abandoned(&listed, now.as_secs().cast_signed());
            for key in &gone {
                self.bucket.delete(key).await?;
            }
            let gone: BTreeSet<&str> = gone.iter().map(String::as_str).collect();
            listed.retain(|meta| !gone.contains(meta.location.as_ref()));
        }
        let listed = self.whole(listed);
        let there: BTreeMap<&str, &ObjectMeta> = listed.iter().map(|meta| (meta.location.as_ref(), meta)).collect();
        self.drop_gone(known, &there, forget)?;
        let missing: Vec<&ObjectMeta> = listed.iter().filter(|meta| !self.is_current(meta, forget)).collect();
        let (missing, large): (Vec<&ObjectMeta>, Vec<_>) = missing
            .into_iter()
            .partition(|meta| !self.bucket.names_only || is_told(meta));
        for meta in large {
            self.bucket.name_only(meta)?;
        }
        let bytes = missing.iter().map(|meta| meta.size).sum();
        cache.make_room(&self.location, bytes)?;
        let fetched = futures_util::stream::iter(missing.iter().map(|meta| self.bucket.fetch(meta)));
        let fetched: Vec<()> = fetched.buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(Fetched {
            files: fetched.len(),
            bytes,
        })
    }

    /// The objects that are to be copied: those that were put whole.
    fn whole(&self, mut listed: Vec<ObjectMeta>) -> Vec<ObjectMeta> {
        let marks = marked(&listed);
        let pattern = self
            .location
            .pattern()
            .and_then(|(_, pattern)| glob::Pattern::new(pattern).ok());
        let options = glob::MatchOptions {
            require_literal_separator: true,
            ..glob::MatchOptions::new()
        };
        let is_wanted = |key: &str| {
            !is_local(key)
                && (self.purpose == Use::Status || !is_claim(key))
                && !marks.iter().any(|folder| is_below(key, folder))
                && pattern
                    .as_ref()
                    .is_none_or(|pattern| pattern.matches_with(key, options))
        };
        let below = |folder: &String| {
            let keys = listed.iter().map(|meta| meta.location.as_ref());
            let of_folder = keys.filter(|key| is_below(key, folder) && !key.ends_with(MARK) && !is_claim(key));
            (folder.clone(), of_folder.map(str::to_owned).collect())
        };
        let incomplete: BTreeMap<String, Vec<String>> = marks.iter().map(below).collect();
        listed.retain(|meta| is_wanted(meta.location.as_ref()));
        *self.incomplete() = incomplete;
        listed
    }

    /// Whether the copy of an object need not be fetched.
    fn is_current(&self, meta: &ObjectMeta, forget: bool) -> bool {
        let key = meta.location.as_ref();
        let local = fs::metadata(self.bucket.path(key))
            .ok()
            .map(|metadata| Stamp::of(&metadata));
        let records = self.bucket.records();
        match (local, records.get(key)) {
            (Some(local), Some(record)) if local == record.local => record.tag == tag(meta),
            // Written here and not put yet.
            (Some(_), _) => !forget,
            (None, _) => false,
        }
    }

    /// Removes copies whose objects are gone and, to `forget` what was never put, files that never were objects.
    fn drop_gone(
        &self,
        known: BTreeMap<String, Stamp>,
        there: &BTreeMap<&str, &ObjectMeta>,
        forget: bool,
    ) -> Result<(), Error> {
        if self.location.pattern().is_some() {
            // Other files of the folder are not its own; what the pattern names and is gone has to go all the same.
            let gone = known
                .into_keys()
                .filter(|key| !there.contains_key(key.as_str()) && self.is_named(key));
            return gone.into_iter().try_for_each(|key| self.drop_copy(&key));
        }
        let files = self.files()?;
        for (key, stamp) in &known {
            let is_same = files.get(key).is_none_or(|local| local == stamp);
            // Claims of this process are not asked for, and are there.
            let is_own = is_claim(key) && !forget;
            if !there.contains_key(key.as_str()) && (is_same || forget) && !is_own {
                self.drop_copy(key)?;
            }
        }
        if forget {
            let left = files
                .keys()
                .filter(|key| !there.contains_key(key.as_str()) && !known.contains_key(*key));
            for key in left {
                remove_copy(&self.bucket.path(key))?;
            }
            remove_empty(&self.path());
        }
        Ok(())
    }

    fn is_named(&self, key: &str) -> bool {
        let pattern = self
            .location
            .pattern()
            .and_then(|(_, pattern)| glob::Pattern::new(pattern).ok());
        pattern.is_none_or(|pattern| pattern.matches(key))
    }

    fn drop_copy(&self, key: &str) -> Result<(), Error> {
        remove_copy(&self.bucket.path(key))?;
        self.bucket.records().gone(key)
    }

    /// The files of the copy that belong into the bucket, by their keys.
    pub(crate) fn files(&self) -> Result<BTreeMap<String, Stamp>, Error> {
        let mut files = BTreeMap::new();
        self.walk(&self.path(), &mut files)?;
        Ok(files)
    }

    fn walk(&self, path: &Path, files: &mut BTreeMap<String, Stamp>) -> Result<(), Error> {
        let failed = |cause| Error::cache(path, cause);
        let metadata = match fs::symlink_metadata(path) {
            // Gone since its folder was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            metadata => metadata.map_err(failed)?,
        };
        let Some(key) = self.bucket.key(path) else {
            return Err(Error::Name {
                location: self.location.clone(),
                reason: format!("{} is not UTF-8", path.display()),
            });
        };
        if is_local(&key) {
            return Ok(());
        }
        if metadata.is_file() {
            files.insert(key, Stamp::of(&metadata));
        } else if metadata.is_dir() {
            let entries = match fs::read_dir(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                entries => entries.map_err(failed)?,
            };
            for entry in entries {
                self.walk(&entry.map_err(failed)?.path(), files)?;
            }
        }
        Ok(())
    }
}

/// Removes empty folders at and below `path`.
fn remove_empty(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    // Refused where something is in it.
    let _ = fs::remove_dir(path);
}

#[cfg(test)]
mod tests {
    use object_store::path::Path as Key;
    use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory};

    use super::*;

    #[test]
    fn what_nobody_has_touched_for_a_day_under_a_mark_is_abandoned() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = InMemory::new();
        let listed: Vec<ObjectMeta> = runtime.block_on(async {
            for key in [
                "run/c/step-5/.partial-put",
                "run/c/step-5/weights",
                "run/c/step-50/weights",
                "run/a",
            ] {
                store.put(&Key::from(key), Vec::new().into()).await.unwrap();
            }
            store.list(None).try_collect().await.unwrap()
        });
        let now = listed[0].last_modified.timestamp();
        assert!(abandoned(&listed, now).is_empty() && abandoned(&listed, now + ABANDONED / 2).is_empty());
        let late = now + ABANDONED + 60;
        assert_eq!(
            abandoned(&listed, late),
            ["run/c/step-5/weights", "run/c/step-5/.partial-put"]
        );
        // One object that was put since: somebody is still at it.
        let mut touched = listed.clone();
        let weights = touched
            .iter_mut()
            .find(|meta| meta.location.as_ref().ends_with("step-5/weights"));
        weights.unwrap().last_modified += std::time::Duration::from_secs(3600);
        assert!(abandoned(&touched, late).is_empty());
    }
}
