//! One Parquet file of the store: its footer, and writing and reading it.
//!
//! Shapes: `N` rows of a shard, `W` numbers per vector.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use lm::HookPoint;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::manifest::Provenance;
use super::schema::{Row, declared_width, from_batch, schema, to_batch};
use crate::Error;

/// Version of manifest and shards; a reader refuses any other.
pub const FORMAT_VERSION: u32 = 1;
/// The type of the stored numbers, as named in manifest and footers.
pub(super) const DTYPE: &str = "f32";
/// Rows that the Parquet reader decodes at a time: large enough to be fast, small beside a shard.
const DECODE_ROWS: usize = 8192;

/// The contents of a shard.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ShardData {
    /// Origin of each vector, `N`.
    pub(super) rows: Vec<Row>,
    /// The vectors, `[N, W]`.
    pub(super) values: Vec<f32>,
}

/// What a shard must say about itself to belong to a store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) provenance: &'a Provenance,
    pub(super) hook: HookPoint,
    pub(super) width: usize,
    pub(super) rows: usize,
}

impl ShardData {
    /// The index of the first vector that holds a NaN or an infinity.
    pub(super) fn first_non_finite(&self, width: usize) -> Option<usize> {
        self.values
            .iter()
            .position(|value| !value.is_finite())
            .map(|index| index / width)
    }

    /// sha256 over rows and values in a fixed byte order.
    fn content_hash(&self) -> String {
        let mut bytes = Vec::with_capacity(self.values.len() * 4 + self.rows.len() * 48);
        for row in &self.rows {
            for id in [row.row, row.document, row.position, row.token] {
                bytes.extend_from_slice(&id.to_le_bytes());
            }
            bytes.extend_from_slice(row.role.map(|role| role.to_string()).unwrap_or_default().as_bytes());
            bytes.push(b';');
            for label in row.labels.iter().flatten() {
                bytes.extend_from_slice(&(*label as u64).to_le_bytes());
            }
            bytes.push(b';');
        }
        bytes.extend(self.values.iter().flat_map(|value| value.to_le_bytes()));
        lm::files::sha256_hex(&bytes)
    }

    /// The bytes of the Parquet file. Equal contents give equal bytes.
    pub(super) fn encode(self, expected: Expected<'_>) -> Result<Vec<u8>, ParquetError> {
        let footer = [
            ("saelab.format_version", FORMAT_VERSION.to_string()),
            ("saelab.model_hash", expected.provenance.model_hash.clone()),
            ("saelab.tokenizer_hash", expected.provenance.tokenizer_hash.clone()),
            ("saelab.config_hash", expected.provenance.config_hash.clone()),
            ("saelab.hook", expected.hook.to_string()),
            ("saelab.dtype", DTYPE.to_owned()),
            ("saelab.rows", expected.rows.to_string()),
            ("saelab.width", expected.width.to_string()),
            ("saelab.content_sha256", self.content_hash()),
        ];
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            // Activations never repeat: dictionaries and statistics over them cost time and find nothing.
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_created_by("saelab".to_owned())
            .set_key_value_metadata(Some(
                footer.map(|(key, value)| KeyValue::new(key.to_owned(), value)).to_vec(),
            ))
            .build();
        let batch = to_batch(&self.rows, self.values, expected.width)?;
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, Arc::new(schema(expected.width)), Some(properties))?;
        writer.write(&batch)?;
        writer.close()?;
        Ok(bytes)
    }
}

/// A shard whose footer was read and agrees with what is expected; its contents are not read yet.
pub(super) struct OpenShard<'a> {
    path: &'a Path,
    rows: usize,
    content_hash: Option<String>,
    reader: ParquetRecordBatchReaderBuilder<File>,
}

impl<'a> OpenShard<'a> {
    /// Reads and checks the footer.
    pub(super) fn open(path: &'a Path, expected: Expected<'_>) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| Error::Io {
            path: path.to_owned(),
            source,
        })?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| truncated(path, error))?;
        let footer = |key: &str| {
            let pairs = reader.metadata().file_metadata().key_value_metadata()?;
            pairs
                .iter()
                .find(|pair| pair.key == format!("saelab.{key}"))?
                .value
                .clone()
        };
        let version = footer("format_version").unwrap_or_else(|| "none".to_owned());
        if version != FORMAT_VERSION.to_string() {
            return Err(Error::WrongVersion {
                path: path.to_owned(),
                expected: FORMAT_VERSION,
                found: version,
            });
        }
        let config = footer("config_hash").unwrap_or_default();
        if config != expected.provenance.config_hash {
            let expected = expected.provenance.config_hash.clone();
            return Err(Error::OtherConfig {
                path: path.to_owned(),
                expected,
                found: config,
            });
        }
        let hook = footer("hook").unwrap_or_default();
        if hook != expected.hook.to_string() {
            return Err(truncated(
                path,
                format!("hook {} expected, found {hook:?}", expected.hook),
            ));
        }
        let found =
            declared_width(reader.schema()).ok_or_else(|| truncated(path, "no column activation of f32 lists"))?;
        if found != expected.width {
            return Err(Error::WrongWidth {
                path: path.to_owned(),
                expected: expected.width,
                found,
            });
        }
        let found = usize::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0);
        if found != expected.rows {
            return Err(Error::WrongRows {
                path: path.to_owned(),
                expected: expected.rows,
                found,
            });
        }
        let content_hash = footer("content_sha256");
        Ok(Self {
            path,
            rows: expected.rows,
            content_hash,
            reader,
        })
    }

    /// Decodes all rows and values.
    pub(super) fn read(self) -> Result<ShardData, Error> {
        let path = self.path;
        let reader = self
            .reader
            .with_batch_size(DECODE_ROWS)
            .build()
            .map_err(|error| truncated(path, error))?;
        let mut data = ShardData::default();
        for batch in reader {
            let batch = batch.map_err(|error| truncated(path, error))?;
            from_batch(&batch, &mut data.rows, &mut data.values).map_err(|reason| truncated(path, reason))?;
        }
        match data.rows.len() == self.rows {
            true => Ok(data),
            false => Err(Error::WrongRows {
                path: path.to_owned(),
                expected: self.rows,
                found: data.rows.len(),
            }),
        }
    }

    /// Decodes the contents and tells whether they are those that were written.
    pub(super) fn verify(self) -> bool {
        let recorded = self.content_hash.clone();
        self.read().is_ok_and(|data| Some(data.content_hash()) == recorded)
    }
}

fn truncated(path: &Path, reason: impl ToString) -> Error {
    // Parquet's messages may span lines; ours are one line.
    let reason = reason.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    Error::Truncated {
        path: path.to_owned(),
        reason,
    }
}
