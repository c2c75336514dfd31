//! The store gives back what was written, and a second run finishes what an interrupted one left.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use activations::{Error, Node, Part, Store};
use common::{HEADS, ROLES, create, layout, rows, values, write};
use lm::HookPoint;
use proptest::prelude::*;
use tasks::Labels;

/// All files of a folder with their bytes, by path.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(
                files(&path)
                    .into_iter()
                    .map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)),
            );
        } else {
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn round_trip(prompts in 1usize..40, width in 1usize..70, rows_per_shard in 1usize..50, push in 1usize..30) {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), layout(prompts, width, rows_per_shard), push).unwrap();
        let store = Store::open(dir.path()).unwrap();
        let total = prompts * ROLES.len();
        let written = rows(prompts);

        let resid = store.hook(HookPoint::ResidPre(1), None).unwrap();
        prop_assert_eq!(&resid.rows, &written);
        prop_assert_eq!(&resid.values, &values(HookPoint::ResidPre(1), total, width));

        let all_heads = values(HookPoint::Z(0), total, width * HEADS);
        for head in 0..HEADS {
            for (offset, role) in ROLES.into_iter().enumerate() {
                let read = store.node(&Node { hook: HookPoint::Z(0), head: Some(head), role }).unwrap();
                let expected: Vec<f32> = (0..prompts)
                    .flat_map(|prompt| {
                        let start = ((prompt * ROLES.len() + offset) * HEADS + head) * width;
                        all_heads[start..start + width].to_vec()
                    })
                    .collect();
                prop_assert_eq!(read.width, width);
                prop_assert_eq!(read.values, expected);
                let labels: Vec<_> = (0..prompts).map(|prompt| Labels::ioi([prompt % 5, prompt % 3, prompt % 2])).collect();
                prop_assert_eq!(read.labels, labels);
            }
        }
    }
}

#[test]
fn a_second_run_restores_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), layout(25, 6, 8), 10).unwrap();
    let first = files(dir.path());
    assert_eq!(first.len(), 3 + 2 * 50_usize.div_ceil(8));

    // Nothing is missing: nothing is asked for.
    let (_, wanted) = write(dir.path(), layout(25, 6, 8), 10).unwrap();
    assert!(wanted.is_empty(), "{wanted:?}");
    assert_eq!(files(dir.path()), first);

    // One shard and the manifest are gone, another shard is damaged: only those two are asked for.
    let (gone, damaged) = (
        "blocks.1.hook_resid_pre/00003.parquet",
        "blocks.0.attn.hook_z/00001.parquet",
    );
    fs::remove_file(dir.path().join("manifest.json")).unwrap();
    fs::remove_file(dir.path().join(gone)).unwrap();
    let bytes = &first[damaged];
    fs::write(dir.path().join(damaged), &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(Error::Incomplete { .. })));
    let (_, wanted) = write(dir.path(), layout(25, 6, 8), 8).unwrap();
    assert_eq!(wanted.values().copied().collect::<Vec<_>>(), [8, 8]);
    assert_eq!(files(dir.path()), first);

    // A shard is gone although the manifest is there: no manifest stands while it is missing.
    fs::remove_file(dir.path().join(gone)).unwrap();
    let writer = create(dir.path(), layout(25, 6, 8), Part::WHOLE).unwrap();
    assert!(!dir.path().join("manifest.json").exists());
    assert!(matches!(writer.finish(), Err(Error::OutOfOrder { expected: 24, .. })));
}

#[test]
fn rows_must_come_in_order_and_be_finite() {
    let dir = tempfile::tempdir().unwrap();
    let hook = HookPoint::ResidPre(1);
    let mut writer = create(dir.path(), layout(5, 4, 8), Part::WHOLE).unwrap();
    let (rows, mut numbers) = (rows(5), values(hook, 10, 4));
    let gap = writer.push(hook, 2, &rows[2..4], &numbers[8..16]);
    assert!(
        matches!(
            gap,
            Err(Error::OutOfOrder {
                expected: 0,
                found: 2,
                ..
            })
        ),
        "{gap:?}"
    );
    let narrow = writer.push(hook, 0, &rows[..2], &numbers[..6]);
    assert!(
        matches!(
            narrow,
            Err(Error::WrongWidth {
                expected: 4,
                found: 3,
                ..
            })
        ),
        "{narrow:?}"
    );
    let beyond = writer.push(hook, 8, &rows[..4], &numbers[..16]);
    assert!(matches!(beyond, Err(Error::OutOfOrder { .. })), "{beyond:?}");
    numbers[5 * 4 + 1] = f32::NAN;
    let infinite = writer.push(hook, 0, &rows, &numbers);
    assert!(matches!(infinite, Err(Error::NonFinite { row: 5, .. })), "{infinite:?}");
}

#[test]
fn what_is_not_stored_is_named() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), layout(5, 4, 8), 10).unwrap();
    let store = Store::open(dir.path()).unwrap();
    for node in [
        "blocks.1.hook_resid_pre@S1",
        "blocks.2.hook_resid_pre@S2",
        "blocks.0.attn.hook_z.3@END",
    ] {
        let error = store.node(&node.parse().unwrap()).unwrap_err();
        assert!(matches!(error, Error::NotInStore { .. }), "{error}");
        assert!(error.to_string().contains("blocks.0.attn.hook_z (3 heads)"), "{error}");
    }
}
