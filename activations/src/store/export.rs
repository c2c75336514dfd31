//! The store in the form that needs no recipe: the vectors as a numeric column.

use std::fmt::Display;
use std::io;
use std::path::Path;

use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::Store;
use super::open_shard::OpenShard;
use super::schema::to_list_batch;
use super::shard::Expected;
use crate::Error;

/// Writes every shard of `store` into `out`, under the same name, with `activation` as a fixed-size list of `f32`; tells
/// `on_shard` how many of how many are done.
///
/// The result is for other tools; it is no store, since this program reads the binary form.
///
/// # Errors
///
/// A damaged store, and whatever the disk says.
pub fn export_lists(store: &Store, out: &Path, on_shard: &mut dyn FnMut(usize, usize)) -> Result<(), Error> {
    let hooks = &store.manifest().hooks;
    let total = hooks.values().map(|entry| entry.shards.len()).sum();
    let mut done = 0;
    for (&hook, entry) in hooks {
        for (shard, (path, expected)) in store.shards(hook)?.into_iter().enumerate() {
            let open = OpenShard::in_memory(&path, expected, store.crc32c(hook, shard))?;
            let target = out.join(&entry.shards[shard].file);
            let bytes = as_lists(&open, expected, &target)?;
            lm::files::write_atomic(&target, |file| file.write_all(&bytes))?;
            done += 1;
            on_shard(done, total);
        }
    }
    Ok(())
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
