//! Reading a Parquet file of the store: its footer first, then rows and pages of vectors, checked against what was written.
//!
//! Shapes: `N` rows of a shard, `W` numbers per vector.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageReader as _};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;
use serde_json::Value;

use super::hashed::footer_crc32c;
use super::schema::{ACTIVATION, Row, declared_bytes, rows_of};
use super::shard::{Expected, FORMAT_VERSION, ROW_GROUP_ROWS, ShardData, checksum};
use super::statistics::Statistics;
use crate::Error;

/// Bytes that are read at a time: a part of the second-level cache.
const PIECE: u64 = 1 << 18;

/// Where the bytes of a shard are: on disk, or all in memory.
pub(super) trait Source: ChunkReader + Sized + 'static {
    /// The same bytes for another reader.
    fn again(&self) -> io::Result<Self>;
}

impl Source for File {
    fn again(&self) -> io::Result<Self> {
        self.try_clone()
    }
}

impl Source for Bytes {
    fn again(&self) -> io::Result<Self> {
        Ok(self.clone())
    }
}

/// A shard whose footer was read and agrees with what is expected; its contents are not read yet.
#[derive(Debug)]
pub(super) struct OpenShard<'a, S> {
    path: &'a Path,
    expected: Expected<'a>,
    source: S,
    metadata: ArrowReaderMetadata,
}

impl<'a> OpenShard<'a, File> {
    /// Opens the file and checks what its footer says.
    pub(super) fn on_disk(path: &'a Path, expected: Expected<'a>) -> Result<Self, Error> {
        let mut file = File::open(path).map_err(|source| unreadable(path, source))?;
        let found = footer_crc32c(&mut file).map_err(|source| unreadable(path, source))?;
        let open = Self::new(path, expected, file)?;
        match expected.footer_crc32c {
            Some(expected) if expected != found => Err(Error::Checksum {
                path: path.to_owned(),
                expected,
                found,
            }),
            _ => Ok(open),
        }
    }
}

impl<'a> OpenShard<'a, Bytes> {
    /// Reads the whole file, checks what its footer says, and the checksum of its bytes.
    pub(super) fn in_memory(path: &'a Path, expected: Expected<'a>, crc32c: u32) -> Result<Self, Error> {
        let (bytes, found) = read_checked(path).map_err(|source| unreadable(path, source))?;
        let open = Self::new(path, expected, Bytes::from(bytes))?;
        match found == crc32c {
            true => Ok(open),
            false => Err(Error::Checksum {
                path: path.to_owned(),
                expected: crc32c,
                found,
            }),
        }
    }
}

impl<'a, S: Source> OpenShard<'a, S> {
    fn new(path: &'a Path, expected: Expected<'a>, source: S) -> Result<Self, Error> {
        let metadata = unpanicked(path, || {
            ArrowReaderMetadata::load(&source, ArrowReaderOptions::new()).map_err(|error| truncated(path, error))
        })?;
        let open = Self {
            path,
            expected,
            source,
            metadata,
        };
        let version = open.footer("format_version").unwrap_or("none");
        if version != FORMAT_VERSION.to_string() {
            return Err(Error::WrongVersion {
                path: path.to_owned(),
                expected: FORMAT_VERSION,
                found: version.to_owned(),
            });
        }
        let settings = open.footer("settings").and_then(|text| serde_json::from_str(text).ok());
        let settings: Value = settings.unwrap_or_default();
        if settings != expected.provenance.settings {
            return Err(Error::ForeignShard {
                path: path.to_owned(),
                differences: artifacts::json_differences(&settings, &expected.provenance.settings),
            });
        }
        let place = [
            ("hook", expected.hook.to_string()),
            ("shard", expected.shard.to_string()),
        ];
        if place.iter().any(|(key, expected)| open.footer(key) != Some(expected)) {
            let [hook, shard] = ["hook", "shard"].map(|key| open.footer(key).unwrap_or("none"));
            return Err(Error::MisplacedShard {
                path: path.to_owned(),
                found: format!("shard {shard} of {hook}"),
            });
        }
        let found = declared_bytes(open.metadata.schema())
            .ok_or_else(|| truncated(path, format!("no column {ACTIVATION} of fixed-size binary")))?;
        if found != expected.bytes() {
            return Err(Error::WrongWidth {
                path: path.to_owned(),
                expected: expected.width,
                found: found / expected.dtype.size(),
            });
        }
        let found = usize::try_from(open.metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
        if found != expected.rows {
            return Err(Error::WrongRows {
                path: path.to_owned(),
                expected: expected.rows,
                found,
            });
        }
        Ok(open)
    }

    /// A value that the footer holds.
    fn footer(&self, key: &str) -> Option<&str> {
        let pairs = self.metadata.metadata().file_metadata().key_value_metadata()?;
        let pair = pairs
            .iter()
            .find(|pair| pair.key.strip_prefix("saelab.") == Some(key))?;
        pair.value.as_deref()
    }

    /// Bytes of the file.
    pub(super) fn size(&self) -> u64 {
        self.source.len()
    }

    /// The row groups, in order.
    pub(super) fn groups(&self) -> &[RowGroupMetaData] {
        self.metadata.metadata().row_groups()
    }

    /// What the footer says of the vectors.
    pub(super) fn statistics(&self) -> Result<Statistics, Error> {
        let mean = self.footer("mean").and_then(|mean| serde_json::from_str(mean).ok());
        let mean_norm = self.footer("mean_norm").and_then(|norm| norm.parse().ok());
        match (mean, mean_norm) {
            (Some(mean), Some(mean_norm)) => Ok(Statistics {
                rows: self.expected.rows,
                mean,
                mean_norm,
            }),
            _ => Err(truncated(self.path, "the footer holds no mean and mean norm")),
        }
    }

    /// Where the vectors of a row group come from.
    pub(super) fn rows(&self, group: usize) -> Result<Vec<Row>, Error> {
        unpanicked(self.path, || self.read_rows(group))
    }

    fn read_rows(&self, group: usize) -> Result<Vec<Row>, Error> {
        let source = self.source.again().map_err(|source| Error::io(self.path, source))?;
        let fail = |error: ParquetError| truncated(self.path, error);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(source, self.metadata.clone());
        let leaves = 1..builder.parquet_schema().num_columns();
        let projection = ProjectionMask::leaves(builder.parquet_schema(), leaves);
        let reader = builder
            .with_row_groups(vec![group])
            .with_projection(projection)
            .with_batch_size(ROW_GROUP_ROWS)
            .build()
            .map_err(fail)?;
        let mut rows = Vec::new();
        for batch in reader {
            let batch = batch.map_err(|error| truncated(self.path, error))?;
            rows_of(&batch, &mut rows).map_err(|reason| truncated(self.path, reason))?;
        }
        self.count(group, rows.len())?;
        Ok(rows)
    }

    /// The bytes of a row group's vectors, page by page; nothing is copied when they are in memory.
    pub(super) fn pages(&self, group: usize) -> Result<Vec<Bytes>, Error> {
        unpanicked(self.path, || self.read_pages(group))
    }

    fn read_pages(&self, group: usize) -> Result<Vec<Bytes>, Error> {
        let fail = |error: ParquetError| truncated(self.path, error);
        let source = self.source.again().map_err(|source| Error::io(self.path, source))?;
        let Some(metadata) = self.groups().get(group) else {
            return Err(truncated(self.path, format!("no row group {group}")));
        };
        let rows = usize::try_from(metadata.num_rows()).unwrap_or(0);
        let mut reader = SerializedPageReader::new(Arc::new(source), metadata.column(0), rows, None).map_err(fail)?;
        let (mut pages, mut bytes) = (Vec::new(), 0);
        while let Some(page) = reader.get_next_page().map_err(fail)? {
            match page {
                Page::DataPage {
                    buf,
                    num_values,
                    encoding: Encoding::PLAIN,
                    ..
                } if buf.len() == num_values as usize * self.expected.bytes() => {
                    bytes += buf.len();
                    pages.push(buf);
                }
                _ => return Err(truncated(self.path, "the vectors are not plain")),
            }
        }
        self.count(group, bytes / self.expected.bytes())?;
        Ok(pages)
    }

    fn count(&self, group: usize, found: usize) -> Result<(), Error> {
        let expected = self.groups().get(group).map_or(0, RowGroupMetaData::num_rows);
        match usize::try_from(expected) == Ok(found) {
            true => Ok(()),
            false => Err(Error::WrongRows {
                path: self.path.to_owned(),
                expected: usize::try_from(expected).unwrap_or(0),
                found,
            }),
        }
    }

    /// Rows and pages of a row group, checked against the footer's checksum.
    pub(super) fn checked(&self, group: usize) -> Result<(Vec<Row>, Vec<Bytes>), Error> {
        let recorded = self.footer("crc32c").and_then(|sums| sums.split(',').nth(group));
        let expected = recorded
            .and_then(|sum| u32::from_str_radix(sum, 16).ok())
            .ok_or_else(|| truncated(self.path, format!("the footer holds no checksum of row group {group}")))?;
        let (rows, pages) = (self.rows(group)?, self.pages(group)?);
        let found = pages
            .iter()
            .fold(checksum(&rows), |sum, page| crc32c::crc32c_append(sum, page));
        match found == expected {
            true => Ok((rows, pages)),
            false => Err(Error::Checksum {
                path: self.path.to_owned(),
                expected,
                found,
            }),
        }
    }

    /// All that the shard holds, checked against the footer's checksums.
    pub(super) fn contents(&self) -> Result<ShardData, Error> {
        let mut data = ShardData::default();
        for group in 0..self.groups().len() {
            let (rows, pages) = self.checked(group)?;
            data.rows.extend(rows);
            pages.iter().for_each(|page| data.vectors.extend_from_slice(page));
        }
        Ok(data)
    }
}

/// A shard that is not there, or that the system does not let us read.
fn unreadable(path: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::NotFound => Error::MissingShard { path: path.to_owned() },
        _ => Error::io(path, source),
    }
}

/// The bytes of a file and their CRC-32C, which is taken of each piece while the cache still holds it.
fn read_checked(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let mut file = File::open(path)?;
    let size = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    let (mut bytes, mut sum) = (Vec::with_capacity(size), 0);
    loop {
        let start = bytes.len();
        // The last piece is an empty one; a file that grows meanwhile is read to its end too.
        if (&mut file).take(PIECE).read_to_end(&mut bytes)? == 0 {
            return Ok((bytes, sum));
        }
        sum = crc32c::crc32c_append(sum, &bytes[start..]);
    }
}

/// What `read` gives; a panic of the Parquet library is that of a damaged file.
fn unpanicked<T>(path: &Path, read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    artifacts::caught(read).unwrap_or_else(|message| Err(truncated(path, message)))
}

pub(super) fn truncated(path: &Path, reason: impl ToString) -> Error {
    // Parquet's messages may span lines; ours are one line.
    let reason = reason.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    Error::Truncated {
        path: path.to_owned(),
        reason,
    }
}
