//! How fast the vectors of a store are written and read in each layout that Parquet offers, one thread, in memory.
//!
//! `cargo run --release --workspace --example layouts -- STORE [MEGABYTES]` takes the vectors of the first hook of a store, so
//! that compression meets real activations, repeats them to the size asked for (default 200) and prints a JSON line a layout.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement for developers: it ends at the first error"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use activations::{Store, StoredDtype};
use arrow::array::{Array, ArrayRef, FixedSizeBinaryArray, FixedSizeListArray, Float16Array, Float32Array};
use arrow::buffer::Buffer;
use arrow::datatypes::Field;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use half::f16;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

/// Rows of a file: a shard of the store.
const ROWS: usize = 16_384;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let store = Store::open(Path::new(&arguments.next().unwrap())).unwrap();
    let megabytes: usize = arguments.next().map_or(200, |size| size.parse().unwrap());
    let (&hook, entry) = store.manifest().hooks.iter().next().unwrap();
    let vectors = store.hook(hook, entry.heads.map(|_| 0)).unwrap();
    let width = vectors.width;
    let values: Vec<f32> = vectors.values.iter().copied().cycle().take(ROWS * width).collect();
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).unwrap());
    for dtype in [StoredDtype::F32, StoredDtype::F16] {
        for form in ["binary", "list"] {
            let column = column(form, dtype, &values, width);
            for (encoding, compression) in [
                (Encoding::PLAIN, Compression::UNCOMPRESSED),
                (Encoding::PLAIN, zstd),
                (Encoding::BYTE_STREAM_SPLIT, Compression::UNCOMPRESSED),
                (Encoding::BYTE_STREAM_SPLIT, zstd),
            ] {
                measure((form, dtype, width), &column, (encoding, compression), megabytes);
            }
        }
    }
}

/// The vectors as a column of fixed-size binary or of lists.
fn column(form: &str, dtype: StoredDtype, values: &[f32], width: usize) -> ArrayRef {
    if form == "binary" {
        let mut bytes = vec![0; values.len() * dtype.size()];
        dtype.encode(values, &mut bytes).unwrap();
        let size = (width * dtype.size()) as i32;
        return Arc::new(FixedSizeBinaryArray::try_new(size, Buffer::from_vec(bytes), None).unwrap());
    }
    let numbers: ArrayRef = match dtype {
        StoredDtype::F32 => Arc::new(Float32Array::from(values.to_vec())),
        _ => Arc::new(Float16Array::from_iter_values(values.iter().map(|&x| f16::from_f32(x)))),
    };
    let item = Arc::new(Field::new("element", numbers.data_type().clone(), false));
    Arc::new(FixedSizeListArray::try_new(item, width as i32, numbers, None).unwrap())
}

fn measure(
    (form, dtype, width): (&str, StoredDtype, usize),
    column: &ArrayRef,
    (encoding, compression): (Encoding, Compression),
    megabytes: usize,
) {
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_encoding(encoding)
        .set_compression(compression)
        .build();
    let field = Field::new("activation", column.data_type().clone(), false);
    let schema = Arc::new(arrow::datatypes::Schema::new(vec![field]));
    let batch = RecordBatch::try_new(schema.clone(), vec![column.clone()]).unwrap();
    let bytes = ROWS * width * dtype.size();
    let repeats = (megabytes * 1_000_000).div_ceil(bytes);
    let mut file = Vec::new();
    let start = Instant::now();
    for _ in 0..repeats {
        file.clear();
        let mut writer = ArrowWriter::try_new(&mut file, schema.clone(), Some(properties.clone())).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
    let write = start.elapsed().as_secs_f64();
    let size = file.len();
    let file = Bytes::from(file);
    let (start, mut rows) = (Instant::now(), 0);
    for _ in 0..repeats {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
        for batch in reader.with_batch_size(4096).build().unwrap() {
            rows += batch.unwrap().num_rows();
        }
    }
    let read = start.elapsed().as_secs_f64();
    assert_eq!(rows, repeats * ROWS);
    let rate = |seconds: f64| ((repeats * bytes) as f64 / seconds / 1e6).round();
    let line = serde_json::json!({
        "layout": form, "dtype": dtype, "width": width, "encoding": encoding.to_string(),
        "compression": matches!(compression, Compression::ZSTD(_)).then_some("zstd 1"),
        "write_mb_per_s": rate(write), "read_mb_per_s": rate(read), "size": size as f64 / bytes as f64,
    });
    println!("{line}");
}
