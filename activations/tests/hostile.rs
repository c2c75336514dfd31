//! Damaged stores are refused, each kind of damage with its own error, in one line that names the file.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use activations::store::MANIFEST_FILE;
use activations::{Error, Store};
use arrow::array::{ArrayRef, AsArray, FixedSizeListArray, Float32Array};
use arrow::datatypes::{DataType, Field, Float32Type, Schema};
use arrow::record_batch::RecordBatch;
use common::{layout, write};
use lm::HookPoint;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

const HOOK: HookPoint = HookPoint::ResidPre(1);
const SHARD: &str = "blocks.1.hook_resid_pre/00001.parquet";

/// Writes a store, lets `damage` at it, and returns the error of reading it.
fn after(damage: impl Fn(&Path)) -> Error {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), layout(10, 4, 8), 10).unwrap();
    Store::open(dir.path()).unwrap().hook(HOOK, None).unwrap();
    damage(dir.path());
    let error = Store::open(dir.path())
        .and_then(|store| store.hook(HOOK, None))
        .unwrap_err();
    let message = error.to_string();
    assert!(
        !message.contains('\n') && message.contains(&dir.path().display().to_string()),
        "{message}"
    );
    error
}

fn edit_manifest(dir: &Path, from: &str, to: &str) {
    let path = dir.join(MANIFEST_FILE);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Writes the shard anew with other columns and footer, and lets the manifest know its hash.
fn rewrite(dir: &Path, columns: impl Fn(RecordBatch) -> RecordBatch, footer: impl Fn(&mut KeyValue)) {
    let path = dir.join(SHARD);
    let old = lm::files::sha256_file(&path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&path).unwrap()).unwrap();
    let mut pairs = reader.metadata().file_metadata().key_value_metadata().unwrap().clone();
    pairs.retain(|pair| pair.key.starts_with("saelab."));
    pairs.iter_mut().for_each(footer);
    let batch = columns(reader.build().unwrap().next().unwrap().unwrap());
    let properties = WriterProperties::builder().set_key_value_metadata(Some(pairs)).build();
    let file = fs::File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    edit_manifest(dir, &old, &lm::files::sha256_file(&path).unwrap());
}

/// The batch with other numbers in its vectors.
fn with_values(batch: RecordBatch, width: usize, change: impl Fn(Vec<f32>) -> Vec<f32>) -> RecordBatch {
    let list = batch.column_by_name("activation").unwrap().as_fixed_size_list();
    let values = change(list.values().as_primitive::<Float32Type>().values().to_vec());
    let item = Arc::new(Field::new("element", DataType::Float32, false));
    let numbers: ArrayRef = Arc::new(Float32Array::from(values));
    let list = FixedSizeListArray::try_new(item.clone(), width as i32, numbers, None).unwrap();
    let mut fields: Vec<Field> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    fields[0] = Field::new("activation", DataType::FixedSizeList(item, width as i32), false);
    let mut columns = batch.columns().to_vec();
    columns[0] = Arc::new(list);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

#[test]
fn missing_manifest() {
    let error = after(|dir| fs::remove_file(dir.join(MANIFEST_FILE)).unwrap());
    assert!(matches!(error, Error::MissingManifest { .. }), "{error:?}");
}

#[test]
fn manifest_that_is_none() {
    for (from, to) in [
        ("{", ""),
        ("\"dtype\"", "\"type\""),
        ("\"f32\"", "\"f16\""),
        ("00001.parquet", "../x.parquet"),
    ] {
        let error = after(|dir| edit_manifest(dir, from, to));
        assert!(matches!(error, Error::BadManifest { .. }), "{error:?}");
    }
}

#[test]
fn wrong_version() {
    let error = after(|dir| edit_manifest(dir, "\"format_version\": 1", "\"format_version\": 2"));
    assert!(
        matches!(&error, Error::WrongVersion { found, .. } if found == "2"),
        "{error:?}"
    );
    let version = |pair: &mut KeyValue| {
        if pair.key == "saelab.format_version" {
            pair.value = Some("7".into());
        }
    };
    let error = after(|dir| rewrite(dir, |batch| batch, version));
    assert!(
        matches!(&error, Error::WrongVersion { found, .. } if found == "7"),
        "{error:?}"
    );
    let error = after(|dir| rewrite(dir, |batch| batch, |pair| pair.key = "other".into()));
    assert!(
        matches!(&error, Error::WrongVersion { found, .. } if found == "none"),
        "{error:?}"
    );
}

#[test]
fn truncated_shard() {
    for keep in [0, 3, 100, 1000] {
        let error = after(|dir| {
            let path = dir.join(SHARD);
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..keep]).unwrap();
        });
        assert!(matches!(error, Error::Truncated { .. }), "{error:?}");
    }
}

#[test]
fn missing_shard() {
    let error = after(|dir| fs::remove_file(dir.join(SHARD)).unwrap());
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
}

#[test]
fn changed_byte() {
    let error = after(|dir| {
        let path = dir.join(SHARD);
        let mut bytes = fs::read(&path).unwrap();
        bytes[40] ^= 1;
        fs::write(path, bytes).unwrap();
    });
    assert!(matches!(error, Error::HashMismatch { .. }), "{error:?}");
}

#[test]
fn wrong_width() {
    let double = |batch| with_values(batch, 8, |values| values.repeat(2));
    let error = after(|dir| rewrite(dir, double, |_| ()));
    assert!(
        matches!(
            error,
            Error::WrongWidth {
                expected: 4,
                found: 8,
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn wrong_rows() {
    let error = after(|dir| rewrite(dir, |batch| batch.slice(0, 5), |_| ()));
    assert!(
        matches!(
            error,
            Error::WrongRows {
                expected: 8,
                found: 5,
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn not_finite() {
    for bad in [f32::NAN, f32::INFINITY] {
        let spoil = |mut values: Vec<f32>| {
            values[4 * 6 + 3] = bad;
            values
        };
        let error = after(|dir| rewrite(dir, |batch| with_values(batch, 4, spoil), |_| ()));
        assert!(matches!(error, Error::NonFinite { row: 6, .. }), "{error:?}");
    }
}

#[test]
fn missing_column() {
    let error = after(|dir| {
        let without = |batch: RecordBatch| batch.project(&[0, 1, 2, 4, 5, 6, 7, 8]).unwrap();
        rewrite(dir, without, |_| ());
    });
    assert!(
        matches!(&error, Error::Truncated { reason, .. } if reason.contains("position")),
        "{error:?}"
    );
}
