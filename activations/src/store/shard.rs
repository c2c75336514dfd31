//! One Parquet file of the store: its footer, and writing it.
//!
//! Vectors are written plain and uncompressed, so the pages of the file hold them as they are in memory: a reader takes them
//! from there without a decoder between. Two checksums guard them: that of the whole file stands in the manifest, those of the
//! row groups in the footer, for a reader that skips some of them and for a harvest that finds the shard without a manifest. The
//! footer also says which shard of which hook of which harvest this is, so that one in another's place is found.
//!
//! Shapes: `N` rows of a shard, `W` numbers per vector.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use lm::HookPoint;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::compute_leaves;
use parquet::basic::{Compression, Encoding, PageType, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter as _};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, KeyValue, OffsetIndexBuilder, PageEncodingStats};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::{ColumnDescPtr, ColumnPath};

use super::manifest::Provenance;
use super::schema::{PRUNED, Row, binary_schema, provenance_columns};
use super::statistics::{SUM_ROWS, Statistics, Sums};
use crate::StoredDtype;

/// Version of manifest and shards; a reader refuses any other.
pub const FORMAT_VERSION: u32 = 4;
/// Rows of a row group, the unit that a reader skips: 6 MB of f16 at a width of 768.
pub const ROW_GROUP_ROWS: usize = 4096;
/// Bytes of a page of vectors, at most (but one vector at least).
const PAGE_BYTES: usize = 1 << 20;

/// The contents of a shard.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ShardData {
    /// Origin of each vector, `N`.
    pub(crate) rows: Vec<Row>,
    /// The bytes of the vectors, `[N, W]` numbers of the store's type.
    pub(crate) vectors: Vec<u8>,
}

/// What a shard must say about itself to belong to a store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) provenance: &'a Provenance,
    pub(super) hook: HookPoint,
    /// Number of the shard among those of its hook.
    pub(super) shard: usize,
    pub(super) width: usize,
    pub(super) dtype: StoredDtype,
    pub(super) rows: usize,
    /// CRC-32C of the footer, where a manifest says it.
    pub(super) footer_crc32c: Option<u32>,
}

impl Expected<'_> {
    /// Bytes of a vector.
    pub(super) fn bytes(&self) -> usize {
        self.width * self.dtype.size()
    }
}

impl ShardData {
    /// Places for so many vectors of so many bytes.
    pub(crate) fn empty(rows: usize, bytes: usize) -> Self {
        Self {
            rows: vec![Row::default(); rows],
            vectors: vec![0; rows * bytes],
        }
    }

    /// Puts a vector and its origin into their place.
    ///
    /// # Errors
    ///
    /// The index of the first number that the type cannot hold.
    pub(crate) fn put(&mut self, place: usize, row: Row, vector: &[f32], dtype: StoredDtype) -> Result<(), usize> {
        let bytes = vector.len() * dtype.size();
        self.rows[place] = row;
        dtype.encode(vector, &mut self.vectors[place * bytes..(place + 1) * bytes])
    }

    /// Statistics of all vectors, and a checksum of the rows and vectors of every row group: one pass.
    fn summary(&self, width: usize, dtype: StoredDtype) -> (Statistics, Vec<u32>) {
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
            ("settings", expected.provenance.settings.to_string()),
            ("hook", expected.hook.to_string()),
            ("shard", expected.shard.to_string()),
            ("dtype", expected.dtype.to_string()),
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
pub(super) fn checksum(rows: &[Row]) -> u32 {
    let mut bytes = Vec::with_capacity(rows.len() * 48);
    rows.iter().for_each(|row| row.put(&mut bytes));
    crc32c::crc32c(&bytes)
}
