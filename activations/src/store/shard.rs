//! One Parquet file of the store: its footer, and writing and reading it.
//!
//! Vectors are written plain and uncompressed, so the pages of the file hold them as they are in memory: a reader takes them
//! from there without a decoder between. Two checksums guard them: that of the whole file stands in the manifest, those of the
//! row groups in the footer, for a reader that skips some of them and for a harvest that finds the shard without a manifest.
//!
//! Shapes: `N` rows of a shard, `W` numbers per vector.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use lm::HookPoint;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::compute_leaves;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding, PageType, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageReader, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, KeyValue, OffsetIndexBuilder, PageEncodingStats, RowGroupMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::file::writer::{SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::{ColumnDescPtr, ColumnPath};

use super::manifest::Provenance;
use super::schema::{ACTIVATION, PRUNED, Row, binary_schema, declared_bytes, provenance_columns, rows_of};
use crate::{Dtype, Error};

/// Version of manifest and shards; a reader refuses any other.
pub const FORMAT_VERSION: u32 = 2;
/// Rows of a row group, the unit that a reader skips: 6 MB of f16 at a width of 768.
pub const ROW_GROUP_ROWS: usize = 4096;
/// Bytes of a page of vectors, at most (but one vector at least).
const PAGE_BYTES: usize = 1 << 20;
/// Bytes that are read at a time: a part of the second-level cache.
const PIECE: u64 = 1 << 18;
/// Vectors whose sum is taken in f32 before it is added up in f64.
const SUM_ROWS: usize = 64;

/// The contents of a shard.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ShardData {
    /// Origin of each vector, `N`.
    pub(super) rows: Vec<Row>,
    /// The bytes of the vectors, `[N, W]` numbers of the store's type.
    pub(super) vectors: Vec<u8>,
}

/// What a shard must say about itself to belong to a store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) provenance: &'a Provenance,
    pub(super) hook: HookPoint,
    pub(super) width: usize,
    pub(super) dtype: Dtype,
    pub(super) rows: usize,
}

impl Expected<'_> {
    /// Bytes of a vector.
    pub(super) fn bytes(&self) -> usize {
        self.width * self.dtype.size()
    }
}

/// Mean and mean norm of stored vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// Number of vectors.
    pub rows: usize,
    /// Mean of each number, `W`.
    pub mean: Vec<f32>,
    /// Mean Euclidean norm of the whole stored vectors.
    pub mean_norm: f64,
}

impl Statistics {
    /// Of all vectors together.
    pub(super) fn merge(all: &[Self]) -> Self {
        let rows: usize = all.iter().map(|part| part.rows).sum();
        let weight = |part: &Self| part.rows as f64 / rows.max(1) as f64;
        let width = all.first().map_or(0, |part| part.mean.len());
        let mean = |place: usize| {
            all.iter()
                .map(|part| weight(part) * f64::from(part.mean[place]))
                .sum::<f64>() as f32
        };
        Self {
            rows,
            mean: (0..width).map(mean).collect(),
            mean_norm: all.iter().map(|part| weight(part) * part.mean_norm).sum(),
        }
    }
}

/// Statistics in the making.
struct Sums {
    rows: usize,
    /// Of each number, `W`.
    sums: Vec<f64>,
    norms: f64,
}

impl Sums {
    fn new(width: usize) -> Self {
        Self {
            rows: 0,
            sums: vec![0.0; width],
            norms: 0.0,
        }
    }

    /// Adds up to [`SUM_ROWS`] vectors, `[N, W]`.
    fn add(&mut self, values: &[f32]) {
        let width = self.sums.len();
        let mut sum = vec![0.0_f32; width];
        for vector in values.chunks_exact(width) {
            sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += x);
            // Eight sums side by side, so that the loop is vectorised.
            let mut squares = [0.0_f32; 8];
            let (chunks, rest) = vector.as_chunks::<8>();
            for chunk in chunks {
                squares.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x * x);
            }
            let rest: f64 = rest.iter().map(|&x| f64::from(x).powi(2)).sum();
            self.norms += (squares.iter().copied().map(f64::from).sum::<f64>() + rest).sqrt();
            self.rows += 1;
        }
        let totals = self.sums.iter_mut().zip(&sum);
        totals.for_each(|(total, x)| *total += f64::from(*x));
    }

    fn finish(self) -> Statistics {
        let n = self.rows.max(1) as f64;
        Statistics {
            rows: self.rows,
            mean: self.sums.into_iter().map(|sum| (sum / n) as f32).collect(),
            mean_norm: self.norms / n,
        }
    }
}

impl ShardData {
    /// Statistics of all vectors, and a checksum of the rows and vectors of every row group: one pass.
    fn summary(&self, width: usize, dtype: Dtype) -> (Statistics, Vec<u32>) {
        let bytes = width * dtype.size();
        let (mut sums, mut values) = (Sums::new(width), Vec::new());
        let groups = self
            .rows
            .chunks(ROW_GROUP_ROWS)
            .zip(self.vectors.chunks(ROW_GROUP_ROWS * bytes));
        let checksums = groups.map(|(rows, vectors)| {
            let mut checksum = checksum(rows);
            for block in vectors.chunks(SUM_ROWS * bytes) {
                checksum = crc32c::crc32c_append(checksum, block);
                values.clear();
                dtype.decode(block, &mut values);
                sums.add(&values);
            }
            checksum
        });
        let checksums = checksums.collect();
        (sums.finish(), checksums)
    }

    /// Writes the Parquet file. Equal contents give equal bytes.
    pub(super) fn encode(self, expected: Expected<'_>, out: &mut (impl Write + Send)) -> io::Result<()> {
        self.encode_parquet(expected, out).map_err(|error| match error {
            // What the disk said, as it said it.
            ParquetError::External(error) => match error.downcast() {
                Ok(error) => *error,
                Err(error) => io::Error::other(error),
            },
            error => io::Error::other(error),
        })
    }

    fn encode_parquet(self, expected: Expected<'_>, out: &mut (impl Write + Send)) -> Result<(), ParquetError> {
        let bytes = expected.bytes();
        let (statistics, checksums) = self.summary(expected.width, expected.dtype);
        let mean: Vec<String> = statistics.mean.iter().map(f32::to_string).collect();
        let checksums: Vec<String> = checksums.iter().map(|sum| format!("{sum:08x}")).collect();
        let footer = [
            ("format_version", FORMAT_VERSION.to_string()),
            ("model_hash", expected.provenance.model_hash.clone()),
            ("tokenizer_hash", expected.provenance.tokenizer_hash.clone()),
            ("config_hash", expected.provenance.config_hash.clone()),
            ("hook", expected.hook.to_string()),
            ("dtype", expected.dtype.name().to_owned()),
            ("rows", expected.rows.to_string()),
            ("width", expected.width.to_string()),
            ("mean", format!("[{}]", mean.join(","))),
            ("mean_norm", statistics.mean_norm.to_string()),
            ("crc32c", checksums.join(",")),
        ];
        let footer = footer.map(|(key, value)| KeyValue::new(format!("saelab.{key}"), value));
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_created_by("saelab".to_owned())
            .set_key_value_metadata(Some(footer.to_vec()));
        for column in PRUNED {
            properties = properties.set_column_statistics_enabled(ColumnPath::from(column), EnabledStatistics::Chunk);
        }
        let schema = Arc::new(binary_schema(&self.rows, bytes));
        let columns = provenance_columns(&self.rows);
        let writer = ArrowWriter::try_new(out, schema.clone(), Some(properties.build()))?;
        let (mut file, columns_of_group) = writer.into_serialized_writer()?;
        let activation = file.schema_descr().column(0);
        let vectors = Bytes::from(self.vectors);
        for (group, start) in (0..self.rows.len()).step_by(ROW_GROUP_ROWS).enumerate() {
            let rows = ROW_GROUP_ROWS.min(self.rows.len() - start);
            let mut writers = columns_of_group.create_column_writers(group)?;
            let mut group = file.next_row_group()?;
            let vectors = vectors.slice(start * bytes..(start + rows) * bytes);
            append_vectors(&mut group, activation.clone(), &vectors, bytes)?;
            let provenance = schema.fields()[1..].iter().zip(&columns);
            for (mut writer, (field, column)) in writers.drain(1..).zip(provenance) {
                for leaf in compute_leaves(field, &column.slice(start, rows))? {
                    writer.write(&leaf)?;
                }
                writer.close()?.append_to_row_group(&mut group)?;
            }
            group.close()?;
        }
        file.close()?;
        Ok(())
    }
}

/// Appends the vectors of a row group as a column chunk, plain and uncompressed: activations never repeat, and compressing them
/// costs time and saves a tenth (`examples/layouts.rs`).
///
/// Its pages are the vectors as they lie in memory. The library's own column writer would take each vector apart and copy it
/// four times, which costs as much as hashing it.
fn append_vectors<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    column: ColumnDescPtr,
    vectors: &Bytes,
    bytes: usize,
) -> Result<(), ParquetError> {
    let page_bytes = (PAGE_BYTES / bytes).max(1) * bytes;
    let mut chunk = TrackedWrite::new(Vec::with_capacity(vectors.len() + vectors.len() / 16 + 4096));
    let mut pages = SerializedPageWriter::new(&mut chunk);
    let (mut places, mut count) = (OffsetIndexBuilder::new(), 0);
    for start in (0..vectors.len()).step_by(page_bytes) {
        let page = vectors.slice(start..vectors.len().min(start + page_bytes));
        let (size, rows) = (page.len(), page.len() / bytes);
        let page = Page::DataPage {
            buf: page,
            num_values: rows as u32,
            encoding: Encoding::PLAIN,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let written = pages.write_page(CompressedPage::new(page, size))?;
        places.append_row_count(rows as i64);
        places.append_offset_and_size(written.offset as i64, written.compressed_size as i32);
        places.append_unencoded_byte_array_data_bytes(None);
        count += 1;
    }
    pages.close()?;
    let (size, rows) = (chunk.bytes_written(), vectors.len() / bytes);
    let metadata = ColumnChunkMetaData::builder(column)
        .set_compression(Compression::UNCOMPRESSED)
        .set_encodings(vec![Encoding::PLAIN, Encoding::RLE])
        .set_page_encoding_stats(vec![PageEncodingStats {
            page_type: PageType::DATA_PAGE,
            encoding: Encoding::PLAIN,
            count,
        }])
        .set_total_compressed_size(size as i64)
        .set_total_uncompressed_size(size as i64)
        .set_num_values(rows as i64)
        .set_data_page_offset(0)
        .build()?;
    let close = ColumnCloseResult {
        bytes_written: size as u64,
        rows_written: rows as u64,
        metadata,
        bloom_filter: None,
        column_index: None,
        offset_index: Some(places.build()),
    };
    group.append_column(&Bytes::from(chunk.into_inner()?), close)
}

/// The checksum of rows, to which that of their vectors is appended.
fn checksum(rows: &[Row]) -> u32 {
    let mut bytes = Vec::with_capacity(rows.len() * 48);
    rows.iter().for_each(|row| row.put(&mut bytes));
    crc32c::crc32c(&bytes)
}

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
        let file = File::open(path).map_err(|source| Error::io(path, source))?;
        Self::new(path, expected, file)
    }
}

impl<'a> OpenShard<'a, Bytes> {
    /// Reads the whole file, checks what its footer says, and the checksum of its bytes.
    pub(super) fn in_memory(path: &'a Path, expected: Expected<'a>, crc32c: u32) -> Result<Self, Error> {
        let (bytes, found) = read_checked(path).map_err(|source| Error::io(path, source))?;
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
        let metadata = ArrowReaderMetadata::load(&source, ArrowReaderOptions::new());
        let open = Self {
            path,
            expected,
            source,
            metadata: metadata.map_err(|error| truncated(path, error))?,
        };
        let version = open.footer("format_version").unwrap_or("none");
        if version != FORMAT_VERSION.to_string() {
            return Err(Error::WrongVersion {
                path: path.to_owned(),
                expected: FORMAT_VERSION,
                found: version.to_owned(),
            });
        }
        let config = open.footer("config_hash").unwrap_or_default();
        if config != expected.provenance.config_hash {
            return Err(Error::OtherConfig {
                path: path.to_owned(),
                expected: expected.provenance.config_hash.clone(),
                found: config.to_owned(),
            });
        }
        let (hook, dtype) = (expected.hook.to_string(), expected.dtype.name().to_owned());
        for (key, expected) in [("hook", hook), ("dtype", dtype)] {
            let found = open.footer(key).unwrap_or_default();
            if found != expected {
                return Err(truncated(path, format!("{key} {expected} expected, found {found:?}")));
            }
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

    /// Whether the contents are those that were written.
    pub(super) fn verify(&self) -> bool {
        (0..self.groups().len()).all(|group| self.checked(group).is_ok())
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

pub(super) fn truncated(path: &Path, reason: impl ToString) -> Error {
    // Parquet's messages may span lines; ours are one line.
    let reason = reason.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    Error::Truncated {
        path: path.to_owned(),
        reason,
    }
}
