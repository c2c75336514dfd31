//! What a command has written, put into its bucket in an order in which nothing is seen before it is whole.
//!
//! Files of the program appear whole under their names, so each can be put as soon as it is there. What makes several files one thing
//! is a *seal*, a file that its readers need and that was written last: the manifest of a store, the weights of an autoencoder, the
//! checksums of a checkpoint. Seals are put last. A folder that is put or replaced as a whole has a mark meanwhile ([`MARK`]), by which
//! readers pass it over; a mark stays until a pass has carried out all it had to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use object_store::ObjectStoreExt;

use crate::mirror::{AT_ONCE, MARK, Mirror};
use crate::put::Meanwhile;
use crate::records::{Record, Stamp, is_below};
use crate::{Error, Names};

/// What one pass does, in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Folders that are put, replaced or removed as a whole.
    marked: BTreeSet<String>,
    /// Seals whose folders change.
    broken: Vec<String>,
    /// Files, the oldest first.
    puts: Vec<String>,
    /// Seals, the deepest first.
    seals: Vec<String>,
    /// Objects whose files were removed.
    deletes: Vec<String>,
}

/// What was put and removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Put {
    /// Files put.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Objects removed.
    pub removed: usize,
}

impl Put {
    pub(crate) fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.removed += other.removed;
    }
}

fn file_name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

fn folder_of(key: &str) -> &str {
    key.rfind('/').map_or("", |end| &key[..end])
}

/// Whether a file is in a hidden folder: it may still grow, and is of use to who continues the work only.
fn is_growing(key: &str, root: &str) -> bool {
    let hidden = |part: &str| part.starts_with('.') && part != ".work";
    folder_of(within(key, root)).split('/').any(hidden)
}

/// A key without that of the folder which the command was given.
fn within<'a>(key: &'a str, root: &str) -> &'a str {
    key.strip_prefix(root).unwrap_or(key)
}

/// The files of all folders that have a seal.
fn sealed(files: &BTreeMap<String, Stamp>, seals: &[&str]) -> BTreeSet<String> {
    let is_seal = |key: &&String| seals.contains(&file_name(key));
    let folders: BTreeSet<&Path> = files
        .keys()
        .filter(is_seal)
        .map(|key| Path::new(folder_of(key)))
        .collect();
    let is_sealed = |key: &&String| Path::new(key).ancestors().any(|folder| folders.contains(folder));
    files.keys().filter(is_sealed).cloned().collect()
}

/// What is to be done for `files` to be what the bucket holds, where `known` says what it holds now. All that a seal seals is among the
/// files.
fn plan(
    files: &BTreeMap<String, Stamp>,
    known: &BTreeMap<String, Record>,
    (seals, root): (&[&str], &str),
    all: bool,
) -> Plan {
    let is_seal = |key: &str| seals.contains(&file_name(key));
    let changed = files
        .iter()
        .filter(|(key, stamp)| known.get(*key).is_none_or(|record| record.local != **stamp));
    let (mut sealing, mut others): (Vec<(&String, &Stamp)>, Vec<_>) = changed.partition(|(key, _)| is_seal(key));
    let deletes: Vec<String> = known.keys().filter(|key| !files.contains_key(*key)).cloned().collect();
    let mut plan = Plan::default();
    for (seal, _) in &sealing {
        let folder = folder_of(seal);
        let is_known = known.contains_key(*seal);
        let is_new = !known.keys().any(|key| is_below(key, folder));
        if is_known || is_new {
            plan.marked.insert(folder.to_owned());
        }
        if is_known {
            plan.broken.push((*seal).clone());
        }
    }
    for seal in deletes.iter().filter(|key| is_seal(key)) {
        let folder = folder_of(seal);
        if !files.keys().any(|key| is_below(key, folder)) {
            plan.marked.insert(folder.to_owned());
        }
        plan.broken.push(seal.clone());
    }
    // What grows is put with what is whole, so that a checkpoint has the log that belongs to it.
    if !all && sealing.is_empty() && others.iter().all(|(key, _)| is_growing(key, root)) {
        others.clear();
    }
    others.sort_by_key(|(key, stamp)| (stamp.modified, *key));
    sealing.sort_by_key(|(key, _)| (std::cmp::Reverse(key.split('/').count()), *key));
    plan.puts = others.into_iter().map(|(key, _)| key.clone()).collect();
    plan.seals = sealing.into_iter().map(|(key, _)| key.clone()).collect();
    plan.deletes = deletes.into_iter().filter(|key| !plan.broken.contains(key)).collect();
    plan
}

impl Mirror {
    /// Puts what was written here since the last pass, and removes what was removed; with `all` also what may still grow.
    pub(crate) async fn pass(&self, names: &Names, all: bool) -> Result<Put, Error> {
        let plan = self.plan(names, all)?;
        self.carry_out(&plan, names).await
    }

    /// What a pass has to do now.
    pub(crate) fn plan(&self, names: &Names, all: bool) -> Result<Plan, Error> {
        if !self.hold.is_valid() {
            let gone = std::io::Error::other("the cache was removed while it was used");
            return Err(Error::cache(&self.path(), gone));
        }
        self.bucket.records().refresh()?;
        let files = self.whole_files(names)?;
        let known: BTreeMap<String, Record> = self
            .bucket
            .records()
            .below(&self.key)
            .map(|(key, record)| (key.to_owned(), record.clone()))
            .collect();
        Ok(plan(&files, &known, (names.seals, &self.key), all))
    }

    /// The files of the copy, once two looks in a row find the same in all folders that have a seal: a folder that appears or goes
    /// while one looks is not taken for a part of itself.
    fn whole_files(&self, names: &Names) -> Result<BTreeMap<String, Stamp>, Error> {
        let mut files = self.files()?;
        loop {
            let before = sealed(&files, names.seals);
            if before.is_empty() {
                return Ok(files);
            }
            files = self.files()?;
            if sealed(&files, names.seals) == before {
                return Ok(files);
            }
        }
    }

    pub(crate) async fn carry_out(&self, plan: &Plan, names: &Names) -> Result<Put, Error> {
        let mut put = Put::default();
        for folder in &plan.marked {
            self.mark(folder).await?;
        }
        for key in &plan.broken {
            self.bucket.delete(key).await?;
        }
        let has_failed = AtomicBool::new(false);
        let puts = plan.puts.iter().map(|key| self.put_unless(&has_failed, key, names));
        // What is on its way when another fails is waited for, or nobody would know that it was put.
        let sizes: Vec<Result<Option<u64>, Error>> = futures_util::stream::iter(puts).buffered(AT_ONCE).collect().await;
        let mut sizes = sizes.into_iter().collect::<Result<Vec<_>, Error>>()?;
        for key in &plan.deletes {
            // Another process of this machine may have put it again.
            if !self.bucket.path(key).exists() {
                self.bucket.delete(key).await?;
                put.removed += 1;
            }
        }
        for key in &plan.seals {
            sizes.push(self.bucket.put(key, self.meanwhile(key, names)).await?);
        }
        let keys = || plan.puts.iter().chain(&plan.seals).zip(&sizes);
        let vanished: Vec<&String> = keys().filter_map(|(key, size)| size.is_none().then_some(key)).collect();
        // With those that a pass before has left.
        let marks = self.marks().clone();
        // Where files vanished before they were put, the rest of their folder is no whole; the next pass removes it.
        for folder in marks
            .iter()
            .filter(|&folder| !vanished.iter().any(|key| is_below(key, folder)))
        {
            self.unmark(folder).await?;
        }
        for size in sizes.into_iter().flatten() {
            put.files += 1;
            put.bytes += size;
        }
        put.removed += plan.broken.len();
        Ok(put)
    }

    /// Puts a file, unless another could not be put.
    async fn put_unless(&self, has_failed: &AtomicBool, key: &str, names: &Names) -> Result<Option<u64>, Error> {
        if has_failed.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let put = self.bucket.put(key, self.meanwhile(key, names)).await;
        has_failed.fetch_or(put.is_err(), Ordering::Relaxed);
        put
    }

    /// Has readers see a folder again. What others had left in it before, and this process has not put, is removed.
    async fn unmark(&self, folder: &str) -> Result<(), Error> {
        let left = self.incomplete().get(folder).cloned().unwrap_or_default();
        for key in left {
            if self.bucket.records().get(&key).is_none() {
                self.bucket.delete(&key).await?;
            }
        }
        self.bucket.delete(&mark_of(folder)).await?;
        self.incomplete().remove(folder);
        self.marks().remove(folder);
        Ok(())
    }

    async fn mark(&self, folder: &str) -> Result<(), Error> {
        self.marks().insert(folder.to_owned());
        let mark = mark_of(folder);
        let name = self.bucket.name(&mark)?;
        let put = crate::bucket::attempts(async || {
            let put = self.bucket.objects.whole.put(&name, Vec::new().into()).await;
            put.map(drop).map_err(|error| self.bucket.error(&mark, &error))
        });
        put.await
    }

    /// What is done where another process has put something else.
    fn meanwhile(&self, key: &str, names: &Names) -> Meanwhile {
        let is_of_one_worker = folder_of(within(key, &self.key))
            .split('/')
            .any(|part| part.starts_with('.'));
        if is_of_one_worker || self.incomplete().keys().any(|folder| is_below(key, folder)) {
            return Meanwhile::Replace;
        }
        let is_account = names.accounts.iter().any(|account| file_name(key).starts_with(account));
        if is_account { Meanwhile::Keep } else { Meanwhile::Refuse }
    }
}

fn mark_of(folder: &str) -> String {
    match folder.is_empty() {
        true => MARK.to_owned(),
        false => format!("{folder}/{MARK}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEALS: [&str; 2] = ["manifest.json", "weights"];

    fn files(list: &[(&str, i64)]) -> BTreeMap<String, Stamp> {
        list.iter()
            .map(|&(key, modified)| (key.to_owned(), Stamp { size: 1, modified }))
            .collect()
    }

    fn known(list: &[(&str, i64)]) -> BTreeMap<String, Record> {
        let record = |local| Record {
            tag: String::new(),
            version: None,
            local,
        };
        files(list)
            .into_iter()
            .map(|(key, local)| (key, record(local)))
            .collect()
    }

    fn set(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|&key| key.to_owned()).collect()
    }

    #[test]
    fn shards_come_before_the_manifest_and_each_in_its_order() {
        let shards = [("s/h/0", 2), ("s/h/1", 1), ("s/harvest.json", 0)];
        let first = plan(&files(&shards), &known(&[("s/harvest.json", 0)]), (&SEALS, ""), false);
        assert_eq!(
            (first.puts, first.seals),
            (vec!["s/h/1".into(), "s/h/0".into()], vec![])
        );
        let there = files(&[&shards[..], &[("s/manifest.json", 3)]].concat());
        let last = plan(&there, &known(&[("s/h/1", 1)]), (&SEALS, ""), false);
        assert_eq!(last.puts, ["s/harvest.json", "s/h/0"]);
        assert_eq!(last.seals, ["s/manifest.json"]);
        assert!(last.marked.is_empty() && last.broken.is_empty() && last.deletes.is_empty());
        let none = plan(
            &there,
            &known(&[
                ("s/h/0", 2),
                ("s/h/1", 1),
                ("s/manifest.json", 3),
                ("s/harvest.json", 0),
            ]),
            (&SEALS, ""),
            true,
        );
        assert_eq!(none, Plan::default());
    }

    #[test]
    fn what_appears_or_changes_as_a_whole_is_marked_meanwhile() {
        let there = files(&[("r/sae/a/weights", 1), ("r/sae/a/config.json", 1)]);
        let new = plan(&there, &known(&[("r/x", 1)]), (&SEALS, ""), false);
        assert_eq!((new.marked, new.broken), (set(&["r/sae/a"]), vec![]));
        let replaced = plan(
            &there,
            &known(&[("r/sae/a/weights", 0), ("r/sae/a/config.json", 0)]),
            (&SEALS, ""),
            false,
        );
        assert_eq!(
            (replaced.marked, replaced.broken),
            (set(&["r/sae/a"]), vec!["r/sae/a/weights".into()])
        );
        // A checkpoint that was removed, and a manifest alone.
        let removed = plan(
            &files(&[]),
            &known(&[("c/weights", 1), ("c/x", 1)]),
            (&SEALS, ""),
            false,
        );
        assert_eq!(
            (removed.marked, removed.broken, removed.deletes),
            (set(&["c"]), vec!["c/weights".into()], vec!["c/x".into()])
        );
        let manifest = plan(
            &files(&[("s/0", 1)]),
            &known(&[("s/0", 1), ("s/manifest.json", 1)]),
            (&SEALS, ""),
            false,
        );
        assert_eq!(
            (manifest.marked, manifest.broken),
            (set(&[]), vec!["s/manifest.json".into()])
        );
    }

    #[test]
    fn what_grows_waits_for_what_is_whole() {
        let grows = ("r/sae/.training-x/metrics.jsonl", 5);
        let alone = plan(&files(&[grows]), &known(&[]), (&SEALS, ""), false);
        assert_eq!(alone.puts.len(), 0);
        for (also, all) in [(Some(("r/checkpoints/x", 6)), false), (None, true)] {
            let there: Vec<_> = [Some(grows), also].into_iter().flatten().collect();
            let put = plan(&files(&there), &known(&[]), (&SEALS, ""), all);
            assert_eq!(put.puts.first().map(String::as_str), Some(grows.0));
        }
        assert!(!is_growing("r/.work/train/00000.claim", "r") && is_growing("r/.training-x/made.json", "r"));
        assert!(!is_growing(".hidden/r/x", ".hidden/r"));
    }
}
