//! The store in the form that needs no recipe: the vectors as a numeric column.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use serde_json::{Value, json};

use super::open_shard::OpenShard;
use super::schema::to_list_batch;
use super::shard::Expected;
use super::{Store, claim};
use crate::Error;

/// Name of the file in a folder of exported shards that says which store they are from.
pub(super) const EXPORT_FILE: &str = "export.json";

/// Writes every shard of `store` into `out`, under the same name, with `activation` as a fixed-size list of `f32`; tells
/// `on_shard` how many of how many are done.
///
/// The result is for other tools; it is no store, since this program reads the binary form. `out` is a new or empty folder,
/// or one that an export of the same store has begun: a second export writes the same files.
///
/// # Errors
///
/// A folder that holds anything else, the store itself among it; a damaged store, and whatever the disk says.
pub fn export_lists(store: &Store, out: &Path, on_shard: &mut dyn FnMut(usize, usize)) -> Result<(), Error> {
    begin(store, out)?;
    let hooks = &store.manifest().hooks;
    let total = hooks.values().map(|entry| entry.shards.len()).sum();
    let mut done = 0;
    for (&hook, entry) in hooks {
        for (shard, (path, expected)) in store.shards(hook)?.into_iter().enumerate() {
            let open = OpenShard::in_memory(&path, expected, store.crc32c(hook, shard))?;
            let target = out.join(&entry.shards[shard].file);
            let bytes = as_lists(&open, expected, &target)?;
            artifacts::write_atomic(&target, |file| file.write_all(&bytes))?;
            done += 1;
            on_shard(done, total);
        }
    }
    Ok(())
}

/// Takes the folder for this export: it must hold nothing else.
fn begin(store: &Store, out: &Path) -> Result<(), Error> {
    let occupied = |path: &Path, reason: &str| Error::Occupied {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    // Looked at before the folder is made, and again when all links in its path can be followed.
    check_apart(store, out)?;
    std::fs::create_dir_all(out).map_err(|source| Error::io(out, source))?;
    check_apart(store, out)?;
    let path = out.join(EXPORT_FILE);
    let export = json!({ "store": store.hash(), "layout": "list" });
    let check = |found: &Value| match *found == export {
        true => Ok(()),
        false => Err(occupied(out, "holds an export of another store")),
    };
    match claim::read_json(&path)? {
        Some(found) => check(&found)?,
        None => {
            if let Some(path) = claim::entries(out)?.first() {
                return Err(occupied(path, "is not of this export, which needs a new folder"));
            }
            claim::write_new(&path, &export)?;
            // Another process may have been faster.
            check(&claim::read_json(&path)?.unwrap_or_default())?;
        }
    }
    let hooks = store.manifest().hooks.keys();
    hooks
        .map(|hook| out.join(hook.to_string()))
        .try_for_each(|folder| check_apart(store, &folder))
}

/// Refuses a folder that is the store's or lies in it, by whatever name.
fn check_apart(store: &Store, folder: &Path) -> Result<(), Error> {
    let resolve = |path: &Path| path.canonicalize().map_err(|source| Error::io(path, source));
    let source = resolve(store.dir())?;
    let absolute = std::path::absolute(folder).map_err(|source| Error::io(folder, source))?;
    let there = absolute.ancestors().find(|folder| folder.exists());
    let there = there.map_or_else(|| Ok(PathBuf::from(&absolute)), resolve)?;
    match there.starts_with(&source) {
        true => Err(Error::Occupied {
            path: folder.to_owned(),
            reason: format!("is the store {} itself, or lies in it", store.dir().display()),
        }),
        false => Ok(()),
    }
}

/// The bytes of a shard whose vectors are lists.
fn as_lists(open: &OpenShard<'_, Bytes>, expected: Expected<'_>, target: &Path) -> Result<Vec<u8>, Error> {
    fn failed(target: &Path, error: impl Display) -> Error {
        Error::io(target, io::Error::other(error.to_string()))
    }
    let level = ZstdLevel::try_new(1).map_err(|error| failed(target, error))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_created_by("saelab".to_owned())
        .build();
    let batch = |group: usize| {
        let mut values = Vec::new();
        for page in open.pages(group)? {
            expected.dtype.decode(&page, &mut values);
        }
        to_list_batch(&open.rows(group)?, values, expected.width).map_err(|error| failed(target, error))
    };
    let mut bytes = Vec::new();
    let first = batch(0)?;
    let mut writer =
        ArrowWriter::try_new(&mut bytes, first.schema(), Some(properties)).map_err(|error| failed(target, error))?;
    writer.write(&first).map_err(|error| failed(target, error))?;
    for group in 1..open.groups().len() {
        writer.write(&batch(group)?).map_err(|error| failed(target, error))?;
    }
    writer.close().map_err(|error| failed(target, error))?;
    Ok(bytes)
}
