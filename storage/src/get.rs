//! Objects become local files.

use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

use artifacts::Sha256Hex;
use futures_util::TryStreamExt;
use object_store::{Attribute, GetOptions, GetRange, ObjectMeta, ObjectStore};

use crate::Error;
use crate::bucket::{Bucket, attempts};
use crate::records::{Record, Stamp};

/// Under this name an object says what its bytes are.
pub(crate) const SHA256: Attribute = Attribute::Metadata(std::borrow::Cow::Borrowed("sha256"));
/// Bytes that are asked for at a time: a request has a bounded time.
const PIECE: u64 = 64 << 20;

/// What tells a state of an object from another.
pub(crate) fn tag(meta: &ObjectMeta) -> String {
    meta.e_tag.clone().unwrap_or_else(|| meta.last_modified.to_rfc3339())
}

impl Bucket {
    /// Copies an object to its place in the cache. What comes has to be of the size that was listed, of one state of the object, and
    /// of the hash that the object was put with, if this program put it.
    pub(crate) async fn fetch(&self, meta: &ObjectMeta) -> Result<(), Error> {
        let key = meta.location.as_ref();
        let path = self.path(key);
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|cause| Error::cache(folder, cause))?;
        // Named as the unfinished files of the program are, which are removed if it is killed.
        let part = folder.join(format!(".partial-{}", artifacts::temporary::unique()));
        let fetched = attempts(async || self.fetch_to(meta, &part).await).await;
        let done = fetched.and_then(|()| self.keep(meta, &part, &path));
        if done.is_err() {
            let _ = fs::remove_file(&part);
        }
        done
    }

    async fn fetch_to(&self, meta: &ObjectMeta, part: &Path) -> Result<(), Error> {
        let key = meta.location.as_ref();
        let failed = |cause| Error::cache(part, cause);
        let mut file = File::create(part).map_err(failed)?;
        let (mut hash, mut at, mut expected) = (Sha256Hex::default(), 0, None);
        loop {
            let range = at..meta.size.min(at + PIECE);
            let whole = range == (0..meta.size);
            let got = self
                .objects
                .whole
                .get_opts(&meta.location, self.asked(meta, &range, whole))
                .await;
            let got = got.map_err(|error| match error {
                object_store::Error::Precondition { .. } => self.damaged(key, "it was changed while it was read"),
                error => self.error(key, &error),
            })?;
            expected = expected.or_else(|| got.attributes.get(&SHA256).map(|value| value.to_string()));
            let mut stream = got.into_stream();
            while let Some(bytes) = stream.try_next().await.map_err(|error| self.error(key, &error))? {
                hash.update(&bytes);
                file.write_all(&bytes).map_err(failed)?;
                at += bytes.len() as u64;
            }
            if at != range.end {
                return Err(self.damaged(key, &format!("{at} bytes came, expected {}", range.end)));
            }
            if at == meta.size {
                break;
            }
        }
        let found = hash.finish();
        match expected.filter(|expected| *expected != found) {
            Some(expected) => Err(self.damaged(key, &format!("SHA-256 {found:.12}, expected {expected:.12}"))),
            None => Ok(()),
        }
    }

    fn asked(&self, meta: &ObjectMeta, range: &Range<u64>, whole: bool) -> GetOptions {
        GetOptions {
            // The tags of web servers may be weak, which match nothing.
            if_match: meta.e_tag.clone().filter(|_| !self.location.scheme.is_read_only()),
            range: (!whole).then(|| GetRange::Bounded(range.clone())),
            ..GetOptions::default()
        }
    }

    pub(crate) fn damaged(&self, key: &str, reason: &str) -> Error {
        Error::Damaged {
            location: self.at(key),
            reason: reason.to_owned(),
        }
    }

    /// A file of the object's size, without its bytes.
    pub(crate) fn name_only(&self, meta: &ObjectMeta) -> Result<(), Error> {
        let path = self.path(meta.location.as_ref());
        let failed = |cause| Error::cache(&path, cause);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
        let part = path.with_file_name(format!(".partial-{}", artifacts::temporary::unique()));
        File::create(&part)
            .and_then(|file| file.set_len(meta.size))
            .map_err(failed)?;
        self.keep(meta, &part, &path)
    }

    /// Gives a whole copy its name.
    fn keep(&self, meta: &ObjectMeta, part: &Path, path: &Path) -> Result<(), Error> {
        let failed = |cause| Error::cache(path, cause);
        let file = File::options().write(true).open(part).map_err(failed)?;
        // `saelab status` judges by the time whether a worker is alive.
        file.set_modified(SystemTime::from(meta.last_modified))
            .map_err(failed)?;
        fs::rename(part, path).map_err(failed)?;
        let local = Stamp::of(&file.metadata().map_err(failed)?);
        let (tag, version) = (tag(meta), meta.version.clone());
        self.records()
            .same(meta.location.as_ref(), Record { tag, version, local })
    }
}
