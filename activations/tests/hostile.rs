//! Damaged stores are refused, each kind of damage with its own error, in one line that names the file.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use activations::store::MANIFEST_FILE;
use activations::{Error, Manifest, Store};
use arrow::array::{AsArray, FixedSizeBinaryArray};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Schema};
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
    fs::write(path, resealed(text.replacen(from, to, 1))).unwrap();
}

/// The manifest with the hash of its own contents, if it is one.
fn resealed(text: String) -> String {
    let Ok(mut manifest) = serde_json::from_str::<Manifest>(&text) else {
        return text;
    };
    manifest.sha256.clear();
    manifest.sha256 = artifacts::sha256_hex(&serde_json::to_vec(&manifest).unwrap());
    serde_json::to_string_pretty(&manifest).unwrap()
}

/// Writes the shard anew with other columns and footer, and lets the manifest know its checksum.
fn rewrite(dir: &Path, columns: impl Fn(RecordBatch) -> RecordBatch, footer: impl Fn(&mut KeyValue)) {
    let path = dir.join(SHARD);
    let old = crc32c::crc32c(&fs::read(&path).unwrap());
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&path).unwrap()).unwrap();
    let mut pairs = reader.metadata().file_metadata().key_value_metadata().unwrap().clone();
    pairs.retain(|pair| pair.key.starts_with("saelab."));
    pairs.iter_mut().for_each(footer);
    let batch = columns(reader.build().unwrap().next().unwrap().unwrap());
    let properties = WriterProperties::builder()
        .set_key_value_metadata(Some(pairs))
        .set_dictionary_enabled(false)
        .build();
    let file = fs::File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let new = crc32c::crc32c(&fs::read(&path).unwrap());
    edit_manifest(dir, &old.to_string(), &new.to_string());
}

/// The batch with other bytes in its vectors, each of `bytes`.
fn with_vectors(batch: RecordBatch, bytes: usize, change: impl Fn(Vec<u8>) -> Vec<u8>) -> RecordBatch {
    let vectors = batch.column_by_name("activation").unwrap().as_fixed_size_binary();
    let vectors = change(vectors.value_data().to_vec());
    let vectors = FixedSizeBinaryArray::try_new(bytes as i32, Buffer::from_vec(vectors), None).unwrap();
    let mut fields: Vec<Field> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    fields[0] = Field::new("activation", DataType::FixedSizeBinary(bytes as i32), false);
    let mut columns = batch.columns().to_vec();
    columns[0] = Arc::new(vectors);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

#[test]
fn missing_manifest() {
    let error = after(|dir| fs::remove_file(dir.join(MANIFEST_FILE)).unwrap());
    assert!(
        matches!(&error, Error::Incomplete { missing, .. } if missing == MANIFEST_FILE),
        "{error:?}"
    );
    let error = after(|dir| {
        fs::remove_file(dir.join(MANIFEST_FILE)).unwrap();
        fs::remove_dir_all(dir.join("blocks.0.attn.hook_z")).unwrap();
        fs::remove_file(dir.join(SHARD)).unwrap();
    });
    let expected =
        "lacks manifest.json, blocks.1.hook_resid_pre/00001.parquet, blocks.0.attn.hook_z/00000.parquet and 2 more;";
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn no_store() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere");
    for (path, reason) in [
        (nowhere.as_path(), "no such folder"),
        (dir.path(), "neither a manifest.json nor a harvest.json"),
        (
            Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")),
            "is a file",
        ),
    ] {
        let error = Store::open(path).unwrap_err();
        assert!(matches!(error, Error::NoStore { .. }), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert!(!nowhere.exists());
}

#[test]
fn manifest_that_is_none() {
    for (from, to) in [
        ("{", ""),
        ("\n  \"dtype\"", "\n  \"type\""), // not that of the settings
        ("\n  \"dtype\": \"f32\"", "\n  \"dtype\": \"f64\""),
        ("\"rows\": 8", "\"rows\": 9"),
        ("00001.parquet", "../x.parquet"),
    ] {
        let error = after(|dir| edit_manifest(dir, from, to));
        assert!(matches!(error, Error::BadManifest { .. }), "{error:?}");
    }
    // What would pass all other checks: the heads of a width, the shuffle, the order of roles.
    for (from, to) in [
        ("\"heads\": 3", "\"heads\": 6"),
        ("\"S2\"", "\"S1\""),
        ("\"batch\": 4", "\"batch\": 5"),
    ] {
        let error = after(|dir| {
            let path = dir.join(MANIFEST_FILE);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{text}");
            fs::write(path, text.replacen(from, to, 1)).unwrap();
        });
        assert!(
            matches!(&error, Error::BadManifest { reason, .. } if reason.contains("sha256")),
            "{error:?}"
        );
    }
}

#[test]
fn wrong_version() {
    let error = after(|dir| edit_manifest(dir, "\"format_version\": 4", "\"format_version\": 1"));
    assert!(
        matches!(&error, Error::WrongVersion { found, .. } if found == "1"),
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
    assert!(matches!(error, Error::MissingShard { .. }), "{error:?}");
}

#[test]
fn changed_byte() {
    // Everywhere: what is not the footer is caught by the checksum, the footer by itself or by the checksum.
    let size = {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), layout(10, 4, 8), 10).unwrap();
        fs::metadata(dir.path().join(SHARD)).unwrap().len() as usize
    };
    for place in (0..size).step_by(23) {
        let error = after(|dir| {
            let path = dir.join(SHARD);
            let mut bytes = fs::read(&path).unwrap();
            bytes[place] ^= 1;
            fs::write(path, bytes).unwrap();
        });
        let named = matches!(
            error,
            Error::Checksum { .. } | Error::Truncated { .. } | Error::ForeignShard { .. } | Error::WrongVersion { .. }
        );
        let sizes = matches!(error, Error::WrongRows { .. } | Error::WrongWidth { .. });
        assert!(
            named || sizes || matches!(error, Error::MisplacedShard { .. }),
            "{place}: {error:?}"
        );
    }
}

#[test]
fn shard_of_another_store() {
    let error = after(|dir| {
        let other = tempfile::tempdir().unwrap();
        let mut layout = layout(10, 4, 8);
        layout.provenance.settings["batch"] = 5.into();
        write(other.path(), layout, 10).unwrap();
        fs::copy(other.path().join(SHARD), dir.join(SHARD)).unwrap();
    });
    assert!(
        matches!(&error, Error::ForeignShard { differences, .. } if *differences == ["batch: 5 -> 4"]),
        "{error:?}"
    );
    // The right store, the wrong place.
    for (from, place) in [
        (SHARD.replace("00001", "00000"), "shard 0 of blocks.1.hook_resid_pre"),
        (
            SHARD.replace("blocks.1.hook_resid_pre", "blocks.0.attn.hook_z"),
            "shard 1 of blocks.0.attn.hook_z",
        ),
    ] {
        let error = after(|dir| {
            fs::copy(dir.join(&from), dir.join(SHARD)).unwrap();
        });
        assert!(
            matches!(&error, Error::MisplacedShard { found, .. } if found == place),
            "{error:?}"
        );
    }
}

#[test]
fn wrong_width() {
    let double = |batch| with_vectors(batch, 32, |vectors| vectors.repeat(2));
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
        let spoil = |mut vectors: Vec<u8>| {
            vectors[4 * (4 * 6 + 3)..][..4].copy_from_slice(&bad.to_le_bytes());
            vectors
        };
        let error = after(|dir| rewrite(dir, |batch| with_vectors(batch, 16, spoil), |_| ()));
        assert!(matches!(error, Error::NonFinite { row: 14, .. }), "{error:?}");
    }
}

#[test]
fn missing_column() {
    let error = after(|dir| {
        let without = |batch: RecordBatch| batch.project(&[0, 1, 2, 4, 5, 6, 7, 8, 9]).unwrap();
        rewrite(dir, without, |_| ());
    });
    assert!(
        matches!(&error, Error::Truncated { reason, .. } if reason.contains("position")),
        "{error:?}"
    );
}
