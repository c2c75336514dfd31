//! `tokens.parquet`: the tokens of every sequence that the model read, so that each row of a store leads back to its context.
//!
//! Column `window` counts from 0 in the order in which the model read them, and is what column `row` of the shards names; of
//! prompts a window is a prompt. `document` is the document of the window's first token. Position `p` of a row is `ids[p]`.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema, UInt32Type, UInt64Type};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use serde::{Deserialize, Serialize};

use super::hashed::Hashed;
use super::open_shard::truncated;
use super::reader::Store;
use crate::Error;

/// Name of the file in a store's folder that holds the tokens of its windows.
pub const TOKENS_FILE: &str = "tokens.parquet";

/// Windows of a row group, of which one is decoded to look at a window.
const GROUP: usize = 256;

/// What the model read as one sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenWindow {
    /// The document of its first token; of prompts the number of the prompt.
    pub document: u32,
    /// Its token ids.
    pub ids: Vec<u32>,
}

/// The windows of a harvest, in the order in which the model reads them.
pub trait TokenWindows {
    /// Their number.
    fn count(&self) -> usize;
    /// Some of them.
    ///
    /// # Errors
    ///
    /// Whatever the disk says on which they wait.
    fn windows(&self, range: Range<usize>) -> Result<Vec<TokenWindow>, Error>;
}

impl TokenWindows for Vec<TokenWindow> {
    fn count(&self) -> usize {
        self.len()
    }

    fn windows(&self, range: Range<usize>) -> Result<Vec<TokenWindow>, Error> {
        Ok(self.get(range).unwrap_or_default().to_vec())
    }
}

/// The file as the manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokensEntry {
    /// Windows in the file.
    pub windows: usize,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// sha256 of the file's bytes, hexadecimal.
    pub sha256: String,
    /// CRC-32C of the file's bytes: what a reader checks.
    pub crc32c: u32,
}

/// The entry of the file that these windows give.
pub(super) fn entry(windows: &dyn TokenWindows) -> Result<TokensEntry, Error> {
    encode(windows, Path::new(TOKENS_FILE), io::sink())
}

/// Writes the file at `path`.
pub(super) fn write(windows: &dyn TokenWindows, path: &Path) -> Result<TokensEntry, Error> {
    let mut ended = None;
    let written = artifacts::write_atomic(path, |out| {
        let encoded = encode(windows, path, out);
        let failed = || io::Error::other("the windows of the harvest cannot be read");
        let result = encoded.as_ref().map(|_| ()).map_err(|error| match error {
            Error::Io { source, .. } => io::Error::new(source.kind(), source.to_string()),
            _ => failed(),
        });
        ended = Some(encoded);
        result
    });
    match (written, ended) {
        // What the disk said, with advice; not what the source of the windows said.
        (Err(error), None | Some(Ok(_) | Err(Error::Io { .. }))) => Err(error.into()),
        (_, Some(encoded)) => encoded,
        (Ok(()), None) => Err(Error::io(path, io::Error::other("was not written"))),
    }
}

/// Whether the file at `path` is the one of this entry.
pub(super) fn is_whole(path: &Path, entry: &TokensEntry) -> Result<bool, Error> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(Error::io(path, source)),
    };
    let mut hashed = Hashed::new(io::sink());
    io::copy(&mut file, &mut hashed).map_err(|source| Error::io(path, source))?;
    Ok(hashed.finish().tokens(entry.windows) == *entry)
}

/// Writes the windows as Parquet. Equal windows give equal bytes.
fn encode(windows: &dyn TokenWindows, path: &Path, out: impl Write + Send) -> Result<TokensEntry, Error> {
    let failed = |error: ParquetError| {
        let error = match error {
            ParquetError::External(error) => error.downcast().map_or_else(io::Error::other, |error| *error),
            error => io::Error::other(error),
        };
        Error::io(path, error)
    };
    let properties = || -> Result<WriterProperties, ParquetError> {
        Ok(WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_column_statistics_enabled(ColumnPath::from("window"), EnabledStatistics::Chunk)
            .set_column_statistics_enabled(ColumnPath::from("document"), EnabledStatistics::Chunk)
            .set_created_by("saelab".to_owned())
            .build())
    };
    let properties = properties().map_err(failed)?;
    let schema = Arc::new(schema());
    let mut writer = ArrowWriter::try_new(Hashed::new(out), schema.clone(), Some(properties)).map_err(failed)?;
    let count = windows.count();
    for start in (0..count).step_by(GROUP) {
        let range = start..count.min(start + GROUP);
        let group = batch(&schema, start, windows.windows(range)?).map_err(|error| failed(error.into()))?;
        // A row group each.
        writer.write(&group).and_then(|()| writer.flush()).map_err(failed)?;
    }
    Ok(writer.into_inner().map_err(failed)?.finish().tokens(count))
}

fn schema() -> Schema {
    Schema::new(vec![
        Field::new("window", DataType::UInt64, false),
        Field::new("document", DataType::UInt64, false),
        Field::new("ids", DataType::List(Arc::new(id_field())), false),
    ])
}

fn id_field() -> Field {
    Field::new("element", DataType::UInt32, false)
}

/// Windows from number `first` on.
fn batch(
    schema: &Arc<Schema>,
    first: usize,
    windows: Vec<TokenWindow>,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let numbers: UInt64Array = (first..first + windows.len()).map(|number| number as u64).collect();
    let documents: UInt64Array = windows.iter().map(|window| u64::from(window.document)).collect();
    let offsets = OffsetBuffer::from_lengths(windows.iter().map(|window| window.ids.len()));
    let ids: UInt32Array = windows.iter().flat_map(|window| window.ids.iter().copied()).collect();
    let lists = ListArray::try_new(Arc::new(id_field()), offsets, Arc::new(ids), None)?;
    let columns: Vec<ArrayRef> = vec![Arc::new(numbers), Arc::new(documents), Arc::new(lists)];
    RecordBatch::try_new(schema.clone(), columns)
}

/// The windows of a store, see [`Store::windows`].
#[derive(Debug, Clone)]
pub struct StoredWindows {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    windows: usize,
}

impl Store {
    /// The windows of tokens that the model read; the checksum of their file is compared first.
    ///
    /// # Errors
    ///
    /// A file that is missing or damaged.
    pub fn windows(&self) -> Result<StoredWindows, Error> {
        let (path, entry) = (self.dir().join(TOKENS_FILE), &self.manifest().tokens);
        let mut file = File::open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::MissingShard { path: path.clone() },
            _ => Error::io(&path, source),
        })?;
        let mut hashed = Hashed::new(io::sink());
        io::copy(&mut file, &mut hashed).map_err(|source| Error::io(&path, source))?;
        let found = hashed.finish().tokens(entry.windows);
        if found.crc32c != entry.crc32c || found.bytes != entry.bytes {
            return Err(Error::Checksum {
                path,
                expected: entry.crc32c,
                found: found.crc32c,
            });
        }
        let load = || ArrowReaderMetadata::load(&file, ArrowReaderOptions::new());
        let metadata = artifacts::caught(load)
            .map_err(|message| truncated(&path, message))?
            .map_err(|error| truncated(&path, error))?;
        let groups = metadata.metadata().row_groups().iter().map(|group| group.num_rows());
        let expected = (0..entry.windows)
            .step_by(GROUP)
            .map(|start| GROUP.min(entry.windows - start) as i64);
        if !groups.eq(expected) {
            return Err(truncated(
                &path,
                format!("not the row groups of {} windows", entry.windows),
            ));
        }
        Ok(StoredWindows {
            path,
            metadata,
            windows: entry.windows,
        })
    }
}

impl StoredWindows {
    /// Their number.
    pub fn len(&self) -> usize {
        self.windows
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.windows == 0
    }

    /// One window: that which column `row` of the shards names by this number.
    ///
    /// # Errors
    ///
    /// A number behind the last window; a file that was damaged meanwhile.
    pub fn window(&self, number: usize) -> Result<TokenWindow, Error> {
        let mut group = self.group(number / GROUP)?;
        let inside = number % GROUP;
        match inside < group.len() {
            true => Ok(group.swap_remove(inside)),
            false => Err(self.none(number)),
        }
    }

    /// Some windows, in their order.
    ///
    /// # Errors
    ///
    /// As [`StoredWindows::window`].
    pub fn read(&self, range: Range<usize>) -> Result<Vec<TokenWindow>, Error> {
        if range.end > self.windows {
            return Err(self.none(range.end - 1));
        }
        let mut found = Vec::with_capacity(range.len());
        for group in range.start / GROUP..range.end.div_ceil(GROUP) {
            let first = group * GROUP;
            let wanted = (first..)
                .zip(self.group(group)?)
                .filter(|(number, _)| range.contains(number));
            found.extend(wanted.map(|(_, window)| window));
        }
        Ok(found)
    }

    fn none(&self, number: usize) -> Error {
        Error::NotInStore {
            path: self.path.clone(),
            wanted: format!("window {number}"),
            available: format!("{} windows, counted from 0", self.windows),
        }
    }

    fn group(&self, group: usize) -> Result<Vec<TokenWindow>, Error> {
        if group * GROUP >= self.windows {
            return Err(self.none(group * GROUP));
        }
        let read = || self.read_group(group);
        artifacts::caught(read).unwrap_or_else(|message| Err(truncated(&self.path, message)))
    }

    fn read_group(&self, group: usize) -> Result<Vec<TokenWindow>, Error> {
        let bad = |error: &dyn std::fmt::Display| truncated(&self.path, error);
        let file = File::open(&self.path).map_err(|source| Error::io(&self.path, source))?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_row_groups(vec![group])
            .with_batch_size(GROUP)
            .build()
            .map_err(|error| bad(&error))?;
        let mut windows = Vec::new();
        for batch in reader {
            let batch = batch.map_err(|error| bad(&error))?;
            windows_of(&batch, group * GROUP + windows.len(), &mut windows).map_err(|reason| bad(&reason))?;
        }
        match windows.len() == GROUP.min(self.windows - group * GROUP) {
            true => Ok(windows),
            false => Err(bad(&format!("{} windows in row group {group}", windows.len()))),
        }
    }
}

/// Appends the windows of a record batch, which must be numbered from `first` on.
fn windows_of(batch: &RecordBatch, first: usize, windows: &mut Vec<TokenWindow>) -> Result<(), String> {
    let column = |name: &str| {
        batch
            .column_by_name(name)
            .ok_or_else(|| format!("column {name} is missing"))
    };
    let numbers = |name: &str| -> Result<&UInt64Array, String> {
        let column = column(name)?.as_primitive_opt::<UInt64Type>();
        column.ok_or_else(|| format!("column {name} is not u64"))
    };
    let (numbered, documents) = (numbers("window")?, numbers("document")?);
    let lists = column("ids")?.as_list_opt::<i32>().ok_or("column ids is no list")?;
    for index in 0..batch.num_rows() {
        if [numbered.is_null(index), documents.is_null(index), lists.is_null(index)].contains(&true) {
            return Err("a column has nulls".to_owned());
        }
        if numbered.value(index) != (first + index) as u64 {
            return Err(format!(
                "window {} stands in place {}",
                numbered.value(index),
                first + index
            ));
        }
        let list = lists.value(index);
        let ids = list
            .as_primitive_opt::<UInt32Type>()
            .filter(|ids| ids.null_count() == 0);
        windows.push(TokenWindow {
            document: u32::try_from(documents.value(index)).map_err(|_| "a document beyond u32".to_owned())?,
            ids: ids.ok_or("column ids is no list of u32")?.values().to_vec(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(count: usize) -> Vec<TokenWindow> {
        let window = |i: usize| TokenWindow {
            document: (i / 3) as u32,
            ids: (0..i % 5).map(|place| (i * 31 + place) as u32).collect(),
        };
        (0..count).map(window).collect()
    }

    #[test]
    fn equal_windows_give_equal_files_and_are_known_again() {
        let folder = tempfile::tempdir().unwrap();
        for count in [0, 1, GROUP, GROUP + 1, 3 * GROUP] {
            let (windows, path) = (windows(count), folder.path().join(TOKENS_FILE));
            let written = write(&windows, &path).unwrap();
            assert_eq!((written.windows, &written), (count, &entry(&windows).unwrap()));
            assert_eq!(written.sha256, artifacts::sha256_file(&path).unwrap());
            assert!(is_whole(&path, &written).unwrap());
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[5] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            assert!(!is_whole(&path, &written).unwrap());
            std::fs::remove_file(&path).unwrap();
            assert!(!is_whole(&path, &written).unwrap());
        }
    }

    /// Windows that cannot be read are not a fault of the disk that is written to.
    #[test]
    fn windows_that_cannot_be_read_leave_no_file() {
        struct Broken;
        impl TokenWindows for Broken {
            fn count(&self) -> usize {
                1
            }

            fn windows(&self, _: Range<usize>) -> Result<Vec<TokenWindow>, Error> {
                Err(Error::from(text::Error::Spool {
                    folder: PathBuf::from("elsewhere"),
                    source: io::Error::other("gone"),
                }))
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let message = write(&Broken, &folder.path().join(TOKENS_FILE))
            .unwrap_err()
            .to_string();
        assert!(message.contains("in elsewhere"), "{message}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
