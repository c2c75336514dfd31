//! The folder of a store belongs to one harvest, whatever lies in it, whoever else writes there, and wherever its files were
//! moved meanwhile.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::SystemTime;

use activations::store::{Layout, MANIFEST_FILE, SETTINGS_FILE, TOKENS_FILE, export_lists};
use activations::{Error, Part, Store, StoreWriter};
use artifacts::Locking;
use common::{ROLES, create, layout, rows, values, windows, write};
use lm::HookPoint;

const RESID: HookPoint = HookPoint::ResidPre(1);
const SHARDS: [&str; 3] = ["00000", "00001", "00002"];

/// 20 rows of two hooks in three shards.
fn small() -> Layout {
    layout(10, 4, 8)
}

/// All files below a folder with their bytes and times, and the folders with their times.
fn files(dir: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        if path.is_dir() {
            let inner = files(&path).into_iter();
            found.extend(inner.map(|(inner, file)| (format!("{name}/{inner}"), file)));
            found.insert(name, (Vec::new(), time));
        } else {
            found.insert(name, (fs::read(&path).unwrap(), time));
        }
    }
    found
}

fn bytes(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    files(dir).into_iter().map(|(name, (bytes, _))| (name, bytes)).collect()
}

/// All rows of a hook, to a writer.
fn push(writer: &mut StoreWriter, layout: &Layout, hook: HookPoint, rows_of: std::ops::Range<usize>) {
    let width = layout.hooks[&hook].width;
    let (rows, values) = (rows(layout.rows / ROLES.len()), values(hook, layout.rows, width));
    let values = &values[rows_of.start * width..rows_of.end * width];
    writer
        .push(hook, rows_of.start, &rows[rows_of.clone()], values)
        .unwrap();
}

fn push_all(writer: &mut StoreWriter, layout: &Layout) {
    for &hook in layout.hooks.keys() {
        push(writer, layout, hook, 0..layout.rows);
    }
}

#[test]
fn a_complete_store_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let (first, _) = write(dir.path(), small(), 10).unwrap();
    let before = files(dir.path());
    let (second, wanted) = write(dir.path(), small(), 10).unwrap();
    assert!(first == second && wanted.is_empty());
    assert!(files(dir.path()) == before, "something was written");
    // Not even the file of settings, which a copy may lack.
    fs::remove_file(dir.path().join(SETTINGS_FILE)).unwrap();
    let before = files(dir.path());
    write(dir.path(), small(), 10).unwrap();
    assert!(files(dir.path()) == before);
}

#[test]
fn other_settings_are_refused_by_name_at_every_stage() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = small();
    other.provenance.settings["dtype"] = "f16".into();
    let refused = || {
        let before = bytes(dir.path());
        let mut others = vec![other.clone()];
        // Other hooks, so that no file has a common name.
        let mut hooks = other.clone();
        hooks.hooks = BTreeMap::from([(HookPoint::MlpOut(0), hooks.hooks[&RESID])]);
        others.push(hooks);
        for other in others {
            let error = create(dir.path(), other, Part::WHOLE).unwrap_err();
            assert!(error.to_string().contains("(dtype: f32 -> f16)"), "{error}");
        }
        assert!(bytes(dir.path()) == before);
    };
    // Nothing was written yet.
    drop(create(dir.path(), small(), Part::WHOLE).unwrap());
    refused();
    // Some shards.
    let mut writer = create(dir.path(), small(), Part::WHOLE).unwrap();
    push(&mut writer, &small(), RESID, 0..8);
    drop(writer);
    refused();
    // All of it.
    write(dir.path(), small(), 10).unwrap();
    refused();
    // The manifest alone says so, then the shards alone.
    fs::remove_file(dir.path().join(SETTINGS_FILE)).unwrap();
    let error = create(dir.path(), other.clone(), Part::WHOLE).unwrap_err();
    assert!(error.to_string().contains("dtype: f32 -> f16"), "{error}");
    fs::remove_file(dir.path().join(MANIFEST_FILE)).unwrap();
    let error = create(dir.path(), other, Part::WHOLE).unwrap_err();
    assert!(error.to_string().contains("dtype: f32 -> f16"), "{error}");
    assert!(!dir.path().join(SETTINGS_FILE).exists());
    write(dir.path(), small(), 10).unwrap();
}

#[test]
fn tokens_of_another_harvest_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(TOKENS_FILE);
    fs::write(&path, "of somebody").unwrap();
    let message = create(dir.path(), small(), Part::WHOLE).unwrap_err().to_string();
    assert!(message.contains("tokens.parquet: holds other tokens"), "{message}");
    assert_eq!(fs::read(&path).unwrap(), b"of somebody");
    // In a folder that is this harvest's they are what a kill or an accident left.
    fs::remove_file(&path).unwrap();
    let (manifest, _) = write(dir.path(), small(), 10).unwrap();
    let whole = bytes(dir.path());
    fs::write(&path, "cut").unwrap();
    let (again, wanted) = write(dir.path(), small(), 10).unwrap();
    assert!(again == manifest && wanted.is_empty() && bytes(dir.path()) == whole);
    // A copy without the file of settings is known by its contents.
    for name in [SETTINGS_FILE, MANIFEST_FILE] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    write(dir.path(), small(), 10).unwrap();
    assert!(bytes(dir.path()) == whole);
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    for name in [
        "blocks.5.hook_resid_pre/00000.parquet",
        "blocks.1.hook_resid_pre/notes.txt",
        "blocks.1.hook_resid_pre/00003.parquet",
        "blocks.1.hook_resid_pre/0.parquet",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "somebody's work").unwrap();
        let error = create(dir.path(), small(), Part::WHOLE).unwrap_err();
        assert!(matches!(error, Error::Occupied { .. }), "{name}: {error}");
        assert_eq!(bytes(dir.path()).values().filter(|bytes| !bytes.is_empty()).count(), 1);
    }
    // What is no part of any harvest does not matter: a model, a note, what the file manager leaves.
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("model.safetensors"), "somebody's work").unwrap();
    fs::write(dir.path().join(".DS_Store"), "").unwrap();
    drop(create(dir.path(), small(), Part::WHOLE).unwrap());
    fs::write(dir.path().join("README"), "my activations").unwrap();
    write(dir.path(), small(), 10).unwrap();
    // Shards of another hook do: who reads `*/*.parquet` would take them.
    fs::create_dir(dir.path().join("blocks.5.hook_resid_pre")).unwrap();
    fs::remove_file(dir.path().join(MANIFEST_FILE)).unwrap();
    let error = create(dir.path(), small(), Part::WHOLE).unwrap_err();
    assert!(error.to_string().contains("blocks.5.hook_resid_pre"), "{error}");
}

/// Moves files of a store.
type Move<'a> = &'a dyn Fn(&Path);

#[test]
fn shards_in_the_wrong_place_are_written_again() {
    let another = tempfile::tempdir().unwrap();
    let mut other = small();
    other.provenance.settings["batch"] = 9.into();
    write(another.path(), other, 10).unwrap();
    let shard = |hook: &str, number: usize| format!("{hook}/{}.parquet", SHARDS[number]);
    let (resid, z) = ("blocks.1.hook_resid_pre", "blocks.0.attn.hook_z");
    let swap = |dir: &Path, a: &str, b: &str| {
        fs::rename(dir.join(a), dir.join("x")).unwrap();
        fs::rename(dir.join(b), dir.join(a)).unwrap();
        fs::rename(dir.join("x"), dir.join(b)).unwrap();
    };
    let moves: [(&str, Move<'_>); 4] = [
        ("within a hook", &|dir| swap(dir, &shard(resid, 0), &shard(resid, 1))),
        ("between hooks", &|dir| swap(dir, &shard(resid, 1), &shard(z, 1))),
        ("copied", &|dir| {
            drop(fs::copy(dir.join(shard(z, 0)), dir.join(shard(z, 1))))
        }),
        ("from another store", &|dir| {
            drop(fs::copy(another.path().join(shard(z, 2)), dir.join(shard(z, 2))));
        }),
    ];
    for (what, go) in moves {
        for with_manifest in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), small(), 10).unwrap();
            let expected = bytes(dir.path());
            go(dir.path());
            let store = Store::open(dir.path()).unwrap();
            let read = [(RESID, None), (HookPoint::Z(0), Some(0))].map(|(hook, head)| store.hook(hook, head));
            assert!(read.iter().any(Result::is_err), "{what}");
            if !with_manifest {
                fs::remove_file(dir.path().join(MANIFEST_FILE)).unwrap();
            }
            write(dir.path(), small(), 10).unwrap();
            assert!(bytes(dir.path()) == expected, "{what}, manifest: {with_manifest}");
        }
    }
}

#[test]
fn a_damaged_manifest_is_made_again_from_the_shards() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), small(), 10).unwrap();
    let expected = bytes(dir.path());
    fs::write(dir.path().join(MANIFEST_FILE), "{ \"format_version\": 3, \"x").unwrap();
    let (_, wanted) = write(dir.path(), small(), 10).unwrap();
    assert!(wanted.is_empty() && bytes(dir.path()) == expected);
}

#[test]
fn a_folder_that_is_removed_meanwhile_is_an_error() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("store");
    // Before the last shards, and after them.
    for before_last in [true, false] {
        let mut writer = create(&dir, small(), Part::WHOLE).unwrap();
        push(&mut writer, &small(), RESID, 0..16);
        if !before_last {
            push(&mut writer, &small(), RESID, 16..20);
            push(&mut writer, &small(), HookPoint::Z(0), 0..20);
        }
        fs::remove_dir_all(&dir).unwrap();
        let error = match before_last {
            true => {
                let (rows, values) = (rows(10), values(RESID, 20, 4));
                writer.push(RESID, 16, &rows[16..], &values[64..]).unwrap_err()
            }
            false => writer.finish().unwrap_err(),
        };
        assert!(matches!(error, Error::Vanished { .. }), "{error}");
        assert!(!dir.exists());
    }
    // One shard is enough.
    let mut writer = create(&dir, small(), Part::WHOLE).unwrap();
    push_all(&mut writer, &small());
    fs::remove_file(dir.join("blocks.0.attn.hook_z/00001.parquet")).unwrap();
    let error = writer.finish().unwrap_err();
    assert!(error.to_string().contains("hook_z/00001.parquet is gone"), "{error}");
    assert!(!dir.join(MANIFEST_FILE).exists());
    // And what another harvest has put in its place is not touched.
    let mut writer = create(&dir, small(), Part::WHOLE).unwrap();
    fs::remove_dir_all(&dir).unwrap();
    let mut other = small();
    other.provenance.settings["batch"] = 9.into();
    write(&dir, other, 10).unwrap();
    let before = bytes(&dir);
    let (rows, values) = (rows(10), values(HookPoint::Z(0), 20, 12));
    let error = writer.push(HookPoint::Z(0), 0, &rows, &values).unwrap_err();
    assert!(matches!(error, Error::OtherConfig { .. }), "{error}");
    assert!(bytes(&dir) == before);
}

#[test]
fn a_second_writer_waits_and_finds_the_store_complete() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = create(dir.path(), small(), Part::WHOLE).unwrap();
    push(&mut first, &small(), RESID, 0..20);
    let (told, waits) = channel();
    let path = dir.path().to_owned();
    let second = std::thread::spawn(move || {
        let writer = StoreWriter::create(&path, small(), &windows(), Part::WHOLE, &mut |locking| {
            told.send(locking).unwrap()
        });
        writer.unwrap().finish().unwrap()
    });
    assert_eq!(waits.recv().unwrap(), Locking::Waits);
    // It has removed nothing of the first, which is still writing.
    let temporary = dir.path().join("blocks.1.hook_resid_pre/.partial-living");
    fs::write(&temporary, "").unwrap();
    push(&mut first, &small(), HookPoint::Z(0), 0..20);
    assert!(temporary.exists() && !second.is_finished());
    let manifest = first.finish().unwrap();
    assert_eq!(second.join().unwrap(), manifest);
    assert!(!temporary.exists(), "nobody else was writing");
}

#[test]
fn parts_share_a_folder_and_leave_each_others_temporary_files() {
    let dir = tempfile::tempdir().unwrap();
    let parts = [0, 1].map(|index| Part { index, of: 2 });
    let temporary = dir.path().join("blocks.0.attn.hook_z/.partial-living");
    let [mut first, mut second] = parts.map(|part| create(dir.path(), small(), part).unwrap());
    push_all(&mut first, &small());
    fs::write(&temporary, "").unwrap();
    assert_eq!(first.finish().unwrap(), None);
    assert!(temporary.exists());
    push_all(&mut second, &small());
    assert!(second.finish().unwrap().is_some());
    assert!(!temporary.exists());
    let whole = tempfile::tempdir().unwrap();
    write(whole.path(), small(), 10).unwrap();
    assert!(bytes(whole.path()) == bytes(dir.path()));
}

#[test]
fn an_export_takes_a_folder_of_its_own() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = dir.path().join("store");
    write(&source, small(), 10).unwrap();
    let before = bytes(&source);
    let store = Store::open(&source).unwrap();
    let another = dir.path().join("another");
    write(&another, small(), 10).unwrap();
    fs::remove_file(another.join(MANIFEST_FILE)).unwrap(); // one that is unfinished
    let work = dir.path().join("work");
    fs::create_dir(&work).unwrap();
    fs::write(work.join("x"), "").unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&source, &link).unwrap();
    for out in [
        source.clone(),
        source.join("."),
        source.join("export/deep"),
        dir.path().join("nowhere/../store"),
        link.clone(),
        link.join("export"),
        dir.path().to_owned(),
        another.clone(),
        work,
    ] {
        let error = export_lists(&store, &out, &mut |_, _| ()).unwrap_err();
        assert!(matches!(error, Error::Occupied { .. }), "{}: {error}", out.display());
        assert!(bytes(&source) == before, "{}", out.display());
    }
    write(&another, small(), 10).unwrap();
    assert!(bytes(&another) == before);

    // What a kill has left is completed; another store is refused.
    let out = elsewhere.path().join("export");
    export_lists(&store, &out, &mut |_, _| ()).unwrap();
    let whole = bytes(&out);
    assert_eq!(whole.keys().filter(|name| name.ends_with(".parquet")).count(), 6);
    fs::remove_file(out.join("blocks.0.attn.hook_z/00001.parquet")).unwrap();
    export_lists(&store, &out, &mut |_, _| ()).unwrap();
    assert!(bytes(&out) == whole);
    let third = tempfile::tempdir().unwrap();
    write(third.path(), layout(10, 5, 8), 10).unwrap();
    let error = export_lists(&Store::open(third.path()).unwrap(), &out, &mut |_, _| ()).unwrap_err();
    assert!(error.to_string().contains("export of another store"), "{error}");
    assert!(bytes(&out) == whole);
    // A harvest does not take the folder of an export either.
    let error = create(&out, small(), Part::WHOLE).unwrap_err();
    assert!(matches!(error, Error::Occupied { .. }), "{error}");
}
