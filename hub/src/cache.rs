//! The files of the cache: found, fetched, checked and linked.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use artifacts::temporary::{self, is_abandoned};
use artifacts::{LockFile, Locking};
use hf_hub::{Cache, CacheRepo};
use lm::Spec;
use lm::shards::{INDEX, Index, WEIGHTS};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::client::{Checksum, Client, Remote, is_commit};
use crate::settings::SLOWEST;
use crate::{BESIDE_TOKENIZER, CONFIG, Hub, HubModel, PullEvent, TOKENIZER_FILE, TOKENIZER_PARTS};

/// Bytes that are read and written at a time.
const PIECE: usize = 1 << 20;
/// Ends the name of a file that is not whole.
const INCOMPLETE: &str = ".incomplete";

impl Hub {
    /// The folder of a model in the cache, if all its files are there; the network is not asked.
    ///
    /// # Errors
    ///
    /// A file whose bytes are not those that its name in the cache stands for, and an index of shards that is none.
    pub fn cached(&self, model: &HubModel) -> Result<Option<PathBuf>, Error> {
        let commit = match is_commit(&model.revision) {
            true => Some(model.revision.clone()),
            false => fs::read_to_string(self.reference(model))
                .ok()
                .map(|commit| commit.trim().to_owned()),
        };
        let Some(commit) = commit.filter(|commit| is_commit(commit)) else {
            return Ok(None);
        };
        let folder = self.layout(model).pointer_path(&commit);
        let has = |file: &str| folder.join(file).is_file();
        let mut names = vec![CONFIG.to_owned()];
        match has(TOKENIZER_FILE) {
            true => names.push(TOKENIZER_FILE.to_owned()),
            false => names.extend(TOKENIZER_PARTS.map(str::to_owned)),
        }
        names.extend(BESIDE_TOKENIZER.map(str::to_owned).into_iter().filter(|name| has(name)));
        match has(WEIGHTS) || !has(INDEX) {
            true => names.push(WEIGHTS.to_owned()),
            false => {
                names.extend(
                    Index::read(&folder.join(INDEX))?
                        .shards()
                        .into_iter()
                        .map(str::to_owned),
                );
                names.push(INDEX.to_owned());
            }
        }
        if !names.iter().all(|name| has(name)) {
            return Ok(None);
        }
        for name in names {
            let path = folder.join(&name);
            let blob = fs::read_link(&path)
                .ok()
                .and_then(|blob| Some(blob.file_name()?.to_str()?.to_owned()));
            // A copy in the place of a link has no name that says what its bytes are.
            if let Some(expected) = blob.as_deref().and_then(Checksum::from_etag)
                && hash(&path, &expected)? != expected.hex()
            {
                return Err(Error::DamagedInCache {
                    model: model.to_string(),
                    file: name,
                    cache: self.cache().to_owned(),
                });
            }
        }
        Ok(Some(folder))
    }

    /// Bytes of a file that are in the cache.
    pub(crate) fn bytes_here(&self, model: &HubModel, remote: &Remote) -> u64 {
        let blob = self.blob(model, remote);
        let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let parts = abandoned(&blob).iter().map(|part| size(part)).max();
        let copy = size(&self.name(model, remote));
        size(&blob).max(parts.unwrap_or(0)).max(copy)
    }

    /// Brings a file into the cache, under its name in the snapshot of its commit. Where all is there, nothing is written.
    pub(crate) fn fetch(
        &self,
        client: &Client<'_>,
        model: &HubModel,
        remote: &Remote,
        on_event: &mut dyn FnMut(PullEvent<'_>),
    ) -> Result<(), Error> {
        let (blob, name) = (self.blob(model, remote), self.name(model, remote));
        if !is_whole(&blob, remote)? {
            // Some copy a cache without its links, and lose the blobs.
            if is_whole(&name, remote)? {
                return Ok(());
            }
            let folder = blob.parent().unwrap_or(self.cache());
            artifacts::written(folder, fs::create_dir_all(folder))?;
            let _lock = self.lock(model, remote, on_event);
            // Another process may have fetched it meanwhile.
            if !is_whole(&blob, remote)? {
                self.fetch_blob(client, model, remote, on_event)?;
            }
        }
        let target = Path::new("../../blobs").join(remote.checksum.hex());
        Ok(link(&blob, &name, target)?)
    }

    /// What a config that was fetched says of the model.
    pub(crate) fn spec(&self, model: &HubModel, remote: &Remote) -> Result<Spec, Error> {
        Ok(Spec::read(&self.name(model, remote))?)
    }

    /// An index of shards that was fetched.
    pub(crate) fn index(&self, model: &HubModel, remote: &Remote) -> Result<Index, Error> {
        Ok(Index::read(&self.name(model, remote))?)
    }

    /// Brings the bytes of a file into a file of this process, and gives it the name of the blob when they are right.
    fn fetch_blob(
        &self,
        client: &Client<'_>,
        model: &HubModel,
        remote: &Remote,
        on_event: &mut dyn FnMut(PullEvent<'_>),
    ) -> Result<(), Error> {
        let blob = self.blob(model, remote);
        let (part, common) = (adopt(&blob, remote.size), with_end(&blob, INCOMPLETE));
        temporary::begin(&part, &common);
        let downloaded = self.download(client, model, remote, &part, on_event);
        temporary::end(&part);
        if let Err(error) = downloaded {
            // The next pull goes on there.
            temporary::hand_over(&part, &common);
            return Err(error);
        }
        let found = hash(&part, &remote.checksum)?;
        if found != remote.checksum.hex() {
            // Going on with it could never end well.
            artifacts::written(&part, fs::remove_file(&part))?;
            return Err(Error::Hash {
                model: model.to_string(),
                file: remote.file.as_str().into(),
                expected: remote.checksum.hex().to_owned(),
                found,
            });
        }
        artifacts::written(&blob, fs::rename(&part, &blob))?;
        // What other pulls began is of no use any more; what cannot be removed harms nobody.
        abandoned(&blob).iter().for_each(|part| drop(fs::remove_file(part)));
        Ok(())
    }

    /// Says which commit a branch or tag stands for, and returns the folder.
    pub(crate) fn publish(&self, model: &HubModel, commit: &str) -> Result<PathBuf, Error> {
        let reference = self.reference(model);
        let is_said = || fs::read_to_string(&reference).is_ok_and(|said| said.trim() == commit);
        if model.revision != commit && !is_said() {
            artifacts::write_atomic(&reference, |file| file.write_all(commit.as_bytes()))?;
        }
        Ok(self.layout(model).pointer_path(commit))
    }

    fn layout(&self, model: &HubModel) -> CacheRepo {
        Cache::new(self.cache().to_owned()).repo(model.repo())
    }

    fn folder(&self, model: &HubModel) -> PathBuf {
        self.cache().join(model.repo().folder_name())
    }

    fn reference(&self, model: &HubModel) -> PathBuf {
        self.folder(model).join("refs").join(&model.revision)
    }

    fn blob(&self, model: &HubModel, remote: &Remote) -> PathBuf {
        self.folder(model).join("blobs").join(remote.checksum.hex())
    }

    /// The name of a file in the snapshot of its commit.
    fn name(&self, model: &HubModel, remote: &Remote) -> PathBuf {
        self.layout(model).pointer_path(&remote.commit).join(&remote.file)
    }

    /// Held while a file comes, as Hugging Face's own library holds it, so that two pulls do not fetch the same. Where it cannot
    /// be had (some network disks know no locks, a shared cache may have one of another user) nothing is lost but time: each
    /// process writes into a file of its own.
    fn lock(&self, model: &HubModel, remote: &Remote, on_event: &mut dyn FnMut(PullEvent<'_>)) -> Option<LockFile> {
        let folder = self.cache().join(".locks").join(model.repo().folder_name());
        let path = folder.join(format!("{}.lock", remote.checksum.hex()));
        let lock = LockFile::take(&path, &mut |locking| match locking {
            Locking::Waits => on_event(PullEvent::Waiting { file: &remote.file }),
            Locking::Unsupported { cause } => on_event(PullEvent::NoLock { cause: &cause }),
        });
        lock.inspect_err(|error| {
            let cause = match error {
                artifacts::Error::Write { cause, .. } => cause.to_string(),
                other => other.to_string(),
            };
            on_event(PullEvent::NoLock { cause: &cause });
        })
        .ok()
    }

    /// Brings the bytes of a file to `part`, behind those that are there already.
    fn download(
        &self,
        client: &Client<'_>,
        model: &HubModel,
        remote: &Remote,
        part: &Path,
        on_event: &mut dyn FnMut(PullEvent<'_>),
    ) -> Result<(), Error> {
        let (file, total) = (remote.file.as_str(), remote.size);
        let out = OpenOptions::new().create(true).truncate(false).write(true).open(part);
        let mut out = artifacts::written(part, out)?;
        let here = artifacts::written(part, out.metadata())?.len();
        if here == total {
            return Ok(());
        }
        // More than there can be is not the beginning of this file.
        let here = if here > total { 0 } else { here };
        let (start, body) = client.get(model, remote, here)?;
        let mut place = || {
            out.set_len(start)?;
            out.seek(SeekFrom::Start(start))
        };
        let mut done = artifacts::written(part, place())?;
        // One byte too many tells as much as all of them.
        let mut body = body.into_reader().take((total - start).saturating_add(1));
        let mut piece = vec![0; PIECE];
        let (mut since, mut before) = (Instant::now(), done);
        let ended = loop {
            on_event(PullEvent::Bytes { file, done, total });
            match body.read(&mut piece) {
                Ok(0) => break None,
                Ok(read) => {
                    artifacts::written(part, out.write_all(&piece[..read]))?;
                    done += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The kind alone: what the text of an error of the network may hold is not ours to repeat.
                Err(error) => break Some(error.kind().to_string()),
            }
            // A host that sends a byte now and then would never be told from one that sends.
            let span = since.elapsed();
            if done < total && span >= self.patience() {
                if ((done - before) as f64) < SLOWEST * span.as_secs_f64() {
                    break Some(format!("fewer than {SLOWEST} bytes a second for {} s", span.as_secs()));
                }
                (since, before) = (Instant::now(), done);
            }
        };
        if done < total {
            return Err(Error::Broken {
                model: model.to_string(),
                file: remote.file.as_str().into(),
                done,
                total,
                cause: ended.map_or_else(String::new, |cause| format!(" ({cause})")),
            });
        }
        Ok(artifacts::written(part, out.sync_all())?)
    }
}

/// A file that this process alone writes to: new, or the largest beginning of it that an earlier pull has left.
fn adopt(blob: &Path, total: u64) -> PathBuf {
    let own = with_end(blob, &format!(".{}{INCOMPLETE}", temporary::unique()));
    let mut left: Vec<(u64, PathBuf)> = abandoned(blob)
        .into_iter()
        .filter_map(|part| Some((fs::metadata(&part).ok()?.len(), part)))
        .collect();
    // More than there can be is the beginning of nothing.
    left.sort_by_key(|(size, _)| if *size > total { 0 } else { *size });
    while let Some((_, part)) = left.pop() {
        // Of two processes one is too late.
        if fs::rename(&part, &own).is_ok() {
            break;
        }
    }
    own
}

/// Beginnings of a file that no process writes to: under the name that Hugging Face's library gives them too, or of a process
/// that is over.
fn abandoned(blob: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(hash)) = (blob.parent(), blob.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    let is_abandoned = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        match name.and_then(|name| name.strip_prefix(hash)?.strip_suffix(INCOMPLETE)) {
            Some("") => true,
            Some(unique) => unique
                .strip_prefix('.')
                .is_some_and(|unique| is_abandoned(unique, path)),
            None => false,
        }
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(is_abandoned).collect()
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Whether a file holds what the hub has.
fn is_whole(path: &Path, remote: &Remote) -> Result<bool, Error> {
    // The length is looked at first: it costs nothing.
    let has_length = fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == remote.size);
    Ok(has_length && hash(path, &remote.checksum)? == remote.checksum.hex())
}

/// The hash of a file, of the kind of `checksum`.
fn hash(path: &Path, checksum: &Checksum) -> Result<String, artifacts::Error> {
    match checksum {
        Checksum::Sha256(_) => artifacts::digest_file(Sha256::new(), path),
        Checksum::GitBlob(_) => {
            let metadata = fs::metadata(path).map_err(|cause| artifacts::Error::read(path, cause))?;
            let header = format!("blob {}\0", metadata.len());
            artifacts::digest_file(Sha1::new().chain_update(header), path)
        }
    }
}

/// Gives a blob its name in a snapshot; a name that stands for other bytes is replaced.
#[cfg(unix)]
fn link(_: &Path, name: &Path, target: PathBuf) -> Result<(), artifacts::Error> {
    if fs::read_link(name).is_ok_and(|found| found == target) {
        return Ok(());
    }
    artifacts::written(name, temporary::symlink(&target, name))
}

/// Where links need a privilege the bytes are copied, as Hugging Face's own library does.
#[cfg(not(unix))]
fn link(blob: &Path, name: &Path, _: PathBuf) -> Result<(), artifacts::Error> {
    let mut from = fs::File::open(blob).map_err(|cause| artifacts::Error::read(blob, cause))?;
    artifacts::write_atomic(name, |mut file| io::copy(&mut from, &mut file).map(|_| ()))
}
