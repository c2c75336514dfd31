//! The files of the cache: found, fetched, checked and linked.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::client::{Checksum, Client, Remote, is_commit};
use super::{Hub, HubModel, MODEL_FILES, PullEvent, TOKENIZER_FILE, TOKENIZER_PARTS};
use crate::{Error, files};

/// Bytes that are read and written at a time.
const PIECE: usize = 1 << 20;

impl Hub {
    /// The folder of a model in the cache, if all its files are there; the network is not asked.
    pub fn cached(&self, model: &HubModel) -> Option<PathBuf> {
        let commit = match is_commit(&model.revision) {
            true => model.revision.clone(),
            false => fs::read_to_string(self.reference(model)).ok()?.trim().to_owned(),
        };
        let folder = is_commit(&commit).then(|| self.layout(model).pointer_path(&commit))?;
        let has = |file: &&str| folder.join(file).is_file();
        let tokenizer = has(&TOKENIZER_FILE) || TOKENIZER_PARTS.iter().all(has);
        (MODEL_FILES.iter().all(has) && tokenizer).then_some(folder)
    }

    /// Bytes of a file that are in the cache.
    pub(super) fn bytes_here(&self, model: &HubModel, remote: &Remote) -> u64 {
        let blob = self.blob(model, remote);
        let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        size(&blob).max(size(&incomplete(&blob)))
    }

    /// Brings a file into the cache, under its name in the snapshot of its commit.
    pub(super) fn fetch(
        &self,
        client: &Client<'_>,
        model: &HubModel,
        remote: &Remote,
        on_event: &mut dyn FnMut(PullEvent<'_>),
    ) -> Result<(), Error> {
        let blob = self.blob(model, remote);
        let _lock = self.lock(model, remote, &mut || {
            on_event(PullEvent::Waiting { file: remote.file })
        })?;
        if !blob.is_file() || hash(&blob, remote)? != remote.checksum.hex() {
            let part = incomplete(&blob);
            download(client, model, remote, &part, on_event)?;
            let found = hash(&part, remote)?;
            if found != remote.checksum.hex() {
                // Going on with it could never end well.
                fs::remove_file(&part).map_err(|cause| written(&part, cause))?;
                return Err(Error::HubHash {
                    model: model.to_string(),
                    file: remote.file,
                    expected: remote.checksum.hex().to_owned(),
                    found,
                });
            }
            fs::rename(&part, &blob).map_err(|cause| written(&blob, cause))?;
        }
        let folder = self.layout(model).pointer_path(&remote.commit);
        link(
            &blob,
            &folder.join(remote.file),
            Path::new("../../blobs").join(remote.checksum.hex()),
        )
    }

    /// Says which commit a branch or tag stands for, and returns the folder.
    pub(super) fn publish(&self, model: &HubModel, commit: &str) -> Result<PathBuf, Error> {
        if model.revision != commit {
            files::write_atomic(&self.reference(model), |file| file.write_all(commit.as_bytes()))?;
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

    /// Held while a file comes, as Hugging Face's own library holds it.
    fn lock(&self, model: &HubModel, remote: &Remote, on_wait: &mut dyn FnMut()) -> Result<File, Error> {
        let folder = self.cache().join(".locks").join(model.repo().folder_name());
        let path = folder.join(format!("{}.lock", remote.checksum.hex()));
        let blob = self.blob(model, remote);
        let mut go = || {
            fs::create_dir_all(&folder)?;
            fs::create_dir_all(blob.parent().unwrap_or(&folder))?;
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    on_wait();
                    file.lock()?;
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
            Ok(file)
        };
        go().map_err(|cause| written(&path, cause))
    }
}

/// Brings the bytes of a file to `part`, behind those that are there already.
fn download(
    client: &Client<'_>,
    model: &HubModel,
    remote: &Remote,
    part: &Path,
    on_event: &mut dyn FnMut(PullEvent<'_>),
) -> Result<(), Error> {
    let (file, total) = (remote.file, remote.size);
    let mut out = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(part)
        .map_err(|cause| written(part, cause))?;
    let here = out.metadata().map_err(|cause| written(part, cause))?.len();
    if here == total {
        return Ok(());
    }
    // More than there can be is not the beginning of this file.
    let here = if here > total { 0 } else { here };
    let (start, body) = client.get(model, remote, here)?;
    let place = |out: &mut File| {
        out.set_len(start)?;
        out.seek(SeekFrom::Start(start))
    };
    let mut done = place(&mut out).map_err(|cause| written(part, cause))?;
    // One byte too many tells as much as all of them.
    let mut body = body.into_reader().take((total - start).saturating_add(1));
    let mut piece = vec![0; PIECE];
    let ended = loop {
        on_event(PullEvent::Bytes { file, done, total });
        match body.read(&mut piece) {
            Ok(0) => break None,
            Ok(read) => {
                out.write_all(&piece[..read]).map_err(|cause| written(part, cause))?;
                done += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Some(error),
        }
    };
    if done < total {
        return Err(Error::HubBroken {
            model: model.to_string(),
            file: remote.file,
            done,
            total,
            // The kind alone: what the text of an error of the network may hold is not ours to repeat.
            cause: ended.map_or_else(String::new, |error| format!(" ({})", error.kind())),
        });
    }
    out.sync_all().map_err(|cause| written(part, cause))
}

/// The file while it is not whole.
fn incomplete(blob: &Path) -> PathBuf {
    blob.with_added_extension("incomplete")
}

/// The hash of a file, as the hub computes it.
fn hash(path: &Path, remote: &Remote) -> Result<String, Error> {
    match remote.checksum {
        Checksum::Sha256(_) => files::digest_file(Sha256::new(), path),
        Checksum::GitBlob(_) => {
            let length = fs::metadata(path)
                .map_err(|cause| Error::Read {
                    path: path.to_owned(),
                    cause,
                })?
                .len();
            files::digest_file(Sha1::new().chain_update(format!("blob {length}\0")), path)
        }
    }
}

/// Gives a blob its name in a snapshot; a name that stands for other bytes is replaced.
#[cfg(unix)]
fn link(_: &Path, name: &Path, target: PathBuf) -> Result<(), Error> {
    if fs::read_link(name).is_ok_and(|found| found == target) {
        return Ok(());
    }
    let go = || {
        let folder = name.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let temporary = tempfile::Builder::new().prefix(".partial-").tempdir_in(folder)?;
        let beside = temporary.path().join("link");
        std::os::unix::fs::symlink(&target, &beside)?;
        fs::rename(&beside, name)
    };
    go().map_err(|cause| written(name, cause))
}

/// Where links need a privilege the bytes are copied, as Hugging Face's own library does.
#[cfg(not(unix))]
fn link(blob: &Path, name: &Path, _: PathBuf) -> Result<(), Error> {
    let mut from = File::open(blob).map_err(|cause| Error::Read {
        path: blob.to_owned(),
        cause,
    })?;
    files::write_atomic(name, |mut file| io::copy(&mut from, &mut file).map(|_| ()))
}

fn written(path: &Path, cause: io::Error) -> Error {
    Error::Write {
        path: path.to_owned(),
        cause,
    }
}
