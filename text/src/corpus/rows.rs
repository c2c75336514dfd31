//! The documents of a Parquet file.

use std::fs::File;
use std::sync::Arc;

use arrow::array::{Array, AsArray, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use artifacts::caught;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Compression;
use parquet::file::metadata::ParquetMetaData;

use super::{Bad, LONGEST_DOCUMENT};

/// Rows that are decoded at a time, and the bytes of text that they may have on average.
const ROWS: usize = 256;
const BYTES: i64 = 16 << 20;

/// The rows of a Parquet file.
pub(super) struct Rows {
    reader: ParquetRecordBatchReader,
    /// The rows that are decoded, and how many of them were taken.
    ready: StringViewArray,
    taken: usize,
}

impl Rows {
    /// The texts of the column `field`; the error says what is wrong with the file.
    pub(super) fn open(file: File, field: &str) -> Result<Self, String> {
        caught(|| Self::of_file(file, field))
            .unwrap_or_else(|message| Err(format!("is no whole Parquet file ({message})")))
    }

    fn of_file(file: File, field: &str) -> Result<Self, String> {
        let not_parquet =
            |error: parquet::errors::ParquetError| format!("is no whole Parquet file ({})", one_line(&error));
        let found = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(not_parquet)?;
        let names: Vec<&str> = found
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        let Some(column) = names.iter().position(|name| *name == field) else {
            return Err(format!(
                "has no column `{field}`, its columns are {}; set `text_field`",
                names.join(", ")
            ));
        };
        let found_type = found.schema().field(column).data_type();
        if !is_text(found_type) {
            return Err(format!(
                "its column `{field}` is {found_type}, not text; set `text_field`"
            ));
        }
        check_compression(found.metadata(), field)?;
        let views = with_views(&found, column);
        let metadata = ArrowReaderMetadata::try_new(found.metadata().clone(), views).map_err(not_parquet)?;
        let rows = rows_at_a_time(metadata.metadata(), field);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
        let projection = ProjectionMask::roots(builder.parquet_schema(), [column]);
        let reader = builder.with_projection(projection).with_batch_size(rows).build();
        Ok(Self {
            reader: reader.map_err(not_parquet)?,
            ready: StringViewArray::new_null(0),
            taken: 0,
        })
    }

    /// The text of the next row.
    pub(super) fn next(&mut self) -> Option<Result<String, Bad>> {
        while self.taken == self.ready.len() {
            let batch = match caught(|| self.reader.next()) {
                Ok(batch) => batch?.map_err(|error| one_line(&error)),
                Err(message) => Err(message),
            };
            let column =
                batch.and_then(|batch| cast(batch.column(0), &DataType::Utf8View).map_err(|error| one_line(&error)));
            match column {
                Ok(column) => (self.ready, self.taken) = (column.as_string_view().clone(), 0),
                Err(reason) => return Some(Err(Bad::File(format!("cannot be read: {reason}")))),
            }
        }
        let at = self.taken;
        self.taken += 1;
        // No text is an empty one.
        let text = if self.ready.is_null(at) {
            ""
        } else {
            self.ready.value(at)
        };
        if text.len() > LONGEST_DOCUMENT {
            let longest = LONGEST_DOCUMENT >> 20;
            return Some(Err(Bad::Document(format!(
                "has more than {longest} MiB, the most of a document; divide it into several rows"
            ))));
        }
        Some(Ok(text.to_owned()))
    }
}

fn is_text(of: &DataType) -> bool {
    match of {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// Reads the column as views, so that a text which all rows of a dictionary share is in memory once.
fn with_views(found: &ArrowReaderMetadata, column: usize) -> ArrowReaderOptions {
    let view = |(at, field): (usize, &Arc<Field>)| match at == column {
        true => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        false => Arc::clone(field),
    };
    let fields: Vec<Arc<Field>> = found.schema().fields().iter().enumerate().map(view).collect();
    let schema = Schema::new_with_metadata(fields, found.schema().metadata().clone());
    ArrowReaderOptions::new().with_schema(Arc::new(schema))
}

fn check_compression(metadata: &ParquetMetaData, field: &str) -> Result<(), String> {
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    let of_field = columns.filter(|column| column.column_path().parts().first().is_some_and(|name| name == field));
    for column in of_field {
        match column.compression() {
            Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_) => {}
            other => {
                let name = format!("{other:?}").to_lowercase();
                let name = name.split('(').next().unwrap_or_default();
                return Err(format!(
                    "is compressed with {name}, which is not read; write it with zstd or snappy (in pyarrow: \
                     `write_table(table, path, compression=\"zstd\")`)"
                ));
            }
        }
    }
    Ok(())
}

/// So many rows that their texts need little memory.
fn rows_at_a_time(metadata: &ParquetMetaData, field: &str) -> usize {
    let of_group = metadata.row_groups().iter().filter_map(|group| {
        let mut columns = group.columns().iter();
        let column = columns.find(|column| column.column_path().parts().first().is_some_and(|name| name == field))?;
        Some(column.uncompressed_size().max(1) / group.num_rows().max(1))
    });
    let bytes = of_group.max().unwrap_or(1).max(1);
    usize::try_from(BYTES / bytes).unwrap_or(1).clamp(1, ROWS)
}

fn one_line(error: &dyn std::error::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
