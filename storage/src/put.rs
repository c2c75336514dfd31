//! Local files become objects, whole or not at all.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use artifacts::Sha256Hex;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path as Key;
use object_store::{
    Attributes, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutResult,
    UpdateVersion,
};

use crate::Error;
use crate::bucket::{Bucket, attempts};
use crate::connect::Parts;
use crate::get::{SHA256, tag};
use crate::location::Scheme;
use crate::records::{Record, Stamp};

/// A larger file is put in parts of at least so many bytes. Stores want 5 MiB and take 10,000 parts.
const PART: u64 = 8 << 20;
const MOST_PARTS: u64 = 9000;
/// Parts of one file that are on their way at once.
const PARTS_AT_ONCE: usize = 4;

/// What happens where another process has put other bytes at a key meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meanwhile {
    /// They stay, and that is an error.
    Refuse,
    /// They stay: the file says how something was made, not what.
    Keep,
    /// They are replaced: the file belongs to one worker.
    Replace,
}

/// A file as it is when it begins to be put; what is appended later does not belong to it.
struct Snapshot {
    file: File,
    path: PathBuf,
    stamp: Stamp,
    sha256: String,
}

impl Snapshot {
    /// `None` where there is no such file any more.
    fn open(path: &Path) -> Result<Option<Self>, Error> {
        let failed = |cause| Error::cache(path, cause);
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        let stamp = Stamp::of(&file.metadata().map_err(failed)?);
        let mut snapshot = Self {
            file,
            path: path.to_owned(),
            stamp,
            sha256: String::new(),
        };
        let mut hash = Sha256Hex::default();
        for part in 0..stamp.size.div_ceil(PART) {
            hash.update(&snapshot.read(part * PART, PART)?);
        }
        snapshot.sha256 = hash.finish();
        Ok(Some(snapshot))
    }

    /// So many bytes from `start` on, fewer at the end.
    fn read(&self, start: u64, most: u64) -> Result<Bytes, Error> {
        let size = most.min(self.stamp.size - start) as usize;
        let mut bytes = vec![0; size];
        let read = read_at(&self.file, &mut bytes, start);
        read.map_err(|cause| Error::cache(&self.path, cause))?;
        Ok(bytes.into())
    }
}

fn read_at(mut file: &File, bytes: &mut [u8], start: u64) -> io::Result<()> {
    use io::Seek;
    file.seek(io::SeekFrom::Start(start))?;
    file.read_exact(bytes)
}

impl Bucket {
    /// Puts the local file of a key, if it is still there.
    pub(crate) async fn put(&self, key: &str, meanwhile: Meanwhile) -> Result<Option<u64>, Error> {
        let Some(snapshot) = Snapshot::open(&self.path(key))? else {
            return Ok(None);
        };
        let name = self.name(key)?;
        let put = attempts(async || match (snapshot.stamp.size > PART, &self.objects.parts) {
            (true, Some(parts)) => self.put_in_parts(&name, &snapshot, parts, meanwhile).await,
            _ => self.put_whole(&name, &snapshot, meanwhile).await,
        });
        let (tag, version) = put.await?;
        let local = snapshot.stamp;
        self.records().same(key, Record { tag, version, local })?;
        Ok(Some(snapshot.stamp.size))
    }

    /// How an object may be written that was last seen as the journal says.
    fn mode(&self, key: &str, meanwhile: Meanwhile) -> PutMode {
        let known = self.records().get(key).cloned();
        match known {
            _ if meanwhile == Meanwhile::Replace => PutMode::Overwrite,
            None => PutMode::Create,
            // Google's store updates a version, which a listing does not tell.
            Some(Record { version: None, .. }) if self.location.scheme == Scheme::Gs => PutMode::Overwrite,
            Some(Record { tag, version, .. }) => PutMode::Update(UpdateVersion {
                e_tag: Some(tag),
                version,
            }),
        }
    }

    async fn put_whole(
        &self,
        name: &Key,
        snapshot: &Snapshot,
        meanwhile: Meanwhile,
    ) -> Result<(String, Option<String>), Error> {
        let key = name.as_ref();
        let bytes = snapshot.read(0, snapshot.stamp.size)?;
        let mut mode = self.mode(key, meanwhile);
        loop {
            let options = PutOptions {
                mode: mode.clone(),
                attributes: attributes(snapshot),
                ..PutOptions::default()
            };
            match self.objects.whole.put_opts(name, bytes.clone().into(), options).await {
                Ok(put) => return self.state(name, put).await,
                Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                    return self.settle(name, snapshot, meanwhile).await;
                }
                // A store that knows no conditions.
                Err(object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. })
                    if mode != PutMode::Overwrite =>
                {
                    mode = PutMode::Overwrite;
                }
                Err(error) => return Err(self.error(key, &error)),
            }
        }
    }

    async fn put_in_parts(
        &self,
        name: &Key,
        snapshot: &Snapshot,
        parts: &Parts,
        meanwhile: Meanwhile,
    ) -> Result<(String, Option<String>), Error> {
        let key = name.as_ref();
        // Uploads in parts have no conditions everywhere, so what stands there is looked at first.
        let there = self.head(name).await?;
        let known = self.records().get(key).map(|record| record.tag.clone());
        if meanwhile != Meanwhile::Replace && there.as_ref().is_some_and(|there| Some(tag(there)) != known) {
            return self.settle(name, snapshot, meanwhile).await;
        }
        let options = PutMultipartOptions {
            attributes: attributes(snapshot),
            ..PutMultipartOptions::default()
        };
        let begun = parts.0.create_multipart_opts(name, options).await;
        let id = begun.map_err(|error| self.error(key, &error))?;
        self.records().begun(key, &id)?;
        let put = self.put_parts(name, &id, snapshot, parts).await;
        if put.is_err() {
            // If that fails too, the next process aborts it.
            if parts.0.abort_multipart(name, &id).await.is_err() {
                return put;
            }
        }
        self.records().ended(&id)?;
        put
    }

    async fn put_parts(
        &self,
        name: &Key,
        id: &object_store::MultipartId,
        snapshot: &Snapshot,
        parts: &Parts,
    ) -> Result<(String, Option<String>), Error> {
        let (key, size) = (name.as_ref(), snapshot.stamp.size);
        let part = PART * size.div_ceil(PART * MOST_PARTS);
        let mut hash = Sha256Hex::default();
        // Read in order, one after the other, as they are sent.
        let sent = futures_util::stream::iter(0..size.div_ceil(part)).map(|index| {
            let bytes = snapshot.read(index * part, part).inspect(|bytes| hash.update(bytes));
            async move {
                let put = parts.0.put_part(name, id, index as usize, bytes?.into()).await;
                put.map_err(|error| self.error(key, &error))
            }
        });
        let sent: Vec<_> = sent.buffered(PARTS_AT_ONCE).try_collect().await?;
        if hash.finish() != snapshot.sha256 {
            return Err(self.damaged(key, "the local file was changed while it was put"));
        }
        match parts.0.complete_multipart(name, id, sent).await {
            Ok(put) => self.state(name, put).await,
            Err(error) => Err(self.error(key, &error)),
        }
    }

    /// Aborts uploads in parts that killed processes of this machine have begun; only where no other process uses this root.
    pub(crate) async fn abort_uploads(&self, below: &str) -> Result<(), Error> {
        let Some(parts) = &self.objects.parts else {
            return Ok(());
        };
        let begun = self.records().uploads();
        for (id, key) in begun
            .into_iter()
            .filter(|(_, key)| crate::records::is_below(key, below))
        {
            // Where that fails, the next command tries it again.
            if let Ok(()) | Err(object_store::Error::NotFound { .. }) =
                parts.0.abort_multipart(&self.name(&key)?, &id).await
            {
                self.records().ended(&id)?;
            }
        }
        Ok(())
    }

    /// The state of an object that was put.
    async fn state(&self, name: &Key, put: PutResult) -> Result<(String, Option<String>), Error> {
        match put.e_tag {
            Some(tag) => Ok((tag, put.version)),
            None => {
                let meta = self.head(name).await?;
                let meta = meta.ok_or_else(|| self.damaged(name.as_ref(), "it is gone"))?;
                Ok((tag(&meta), meta.version))
            }
        }
    }

    /// Something stands there that this process has not seen: the same bytes are as good as put, by another process or by a request
    /// of this one whose answer was lost.
    async fn settle(
        &self,
        name: &Key,
        snapshot: &Snapshot,
        meanwhile: Meanwhile,
    ) -> Result<(String, Option<String>), Error> {
        let key = name.as_ref();
        let head = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        let got = self
            .objects
            .whole
            .get_opts(name, head)
            .await
            .map_err(|error| self.error(key, &error))?;
        let (meta, said) = (
            got.meta.clone(),
            got.attributes.get(&SHA256).map(|value| value.to_string()),
        );
        let is_same = meta.size == snapshot.stamp.size
            && match said {
                Some(said) => said == snapshot.sha256,
                None => self.sha256(name).await? == snapshot.sha256,
            };
        match is_same || meanwhile == Meanwhile::Keep {
            true => Ok((tag(&meta), meta.version)),
            false => Err(Error::Conflict { location: self.at(key) }),
        }
    }

    /// The hash of an object's bytes.
    async fn sha256(&self, name: &Key) -> Result<String, Error> {
        let failed = |error| self.error(name.as_ref(), &error);
        let mut stream = self.objects.whole.get(name).await.map_err(failed)?.into_stream();
        let mut hash = Sha256Hex::default();
        while let Some(bytes) = stream.try_next().await.map_err(failed)? {
            hash.update(&bytes);
        }
        Ok(hash.finish())
    }

    /// Removes an object; one that is not there is no error.
    pub(crate) async fn delete(&self, key: &str) -> Result<(), Error> {
        let name = self.name(key)?;
        let removed = attempts(async || match self.objects.whole.delete(&name).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error(key, &error)),
        });
        removed.await?;
        self.records().gone(key)
    }
}

fn attributes(snapshot: &Snapshot) -> Attributes {
    Attributes::from_iter([(SHA256, snapshot.sha256.clone())])
}

/// Removes a local copy that has no object any more.
pub(crate) fn remove_copy(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::cache(path, error)),
        _ => Ok(()),
    }
}
