//! The border values of every key of a harvest config, those of the text apart: each does what the key's documentation says,
//! or is refused with its name.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use activations::store::Row;
use activations::{Store, StoredDtype};
use common::{saelab, succeeds};
use lm::HookPoint;

const PROMPTS: &str = r#"
model = "models/small-world"
hooks = ["blocks.1.hook_resid_pre"]
roles = ["S2", "END"]
batch = 4
rows_per_shard = 8
[source]
kind = "prompts"
task = "ioi"
n = 10
"#;

const WORLD: &str = r#"
model = "models/small-world"
hooks = ["blocks.1.hook_resid_pre"]
rows_per_shard = 40
shuffle_window = 0
[source]
kind = "world"
documents = 6
"#;

/// What should come of a config with these settings.
enum Expected {
    /// Exit code 2, with this in the one line.
    Refused(&'static str),
    /// The harvest makes a store for which this is true.
    Holds(fn(&Store) -> bool),
}
use Expected::{Holds, Refused};

const HOOK: HookPoint = HookPoint::ResidPre(1);

fn rows(store: &Store) -> Vec<Row> {
    store.hook(HOOK, None).unwrap().rows
}

fn shards(store: &Store) -> Vec<usize> {
    let shards = &store.manifest().hooks[&HOOK].shards;
    shards.iter().map(|shard| shard.rows).collect()
}

fn in_order(store: &Store) -> bool {
    rows(store).is_sorted_by_key(|row| (row.row, row.position))
}

/// Whether rows are in random order within each shard, and every shard holds the rows of its part of the text.
fn shuffled_within_shards(store: &Store) -> bool {
    let key = |row: &Row| (row.row, row.position);
    let (rows, sizes) = (rows(store), shards(store));
    let mut sorted = rows.clone();
    sorted.sort_by_key(key);
    let mut start = 0;
    sizes.iter().all(|size| {
        let range = start..start + size;
        start += size;
        let mut shard = rows[range.clone()].to_vec();
        let shuffled = !shard.is_sorted_by_key(key);
        shard.sort_by_key(key);
        shuffled && shard == sorted[range]
    })
}

fn across_shards(store: &Store) -> bool {
    let first = &rows(store)[..shards(store)[0]];
    shards(store).len() > 3 && first.iter().any(|row| row.row > 2) && !in_order(store)
}

/// Whether a store is one of the model in this type, and says so of all that is compared with it.
fn is_of(store: &Store, dtype: lm::Dtype) -> bool {
    let options = lm::LoadOptions {
        dtype,
        ..lm::LoadOptions::default()
    };
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/small-world");
    let model = lm::Model::load_with(&folder, options, &kernels::cpu()).unwrap();
    store.manifest().provenance.model_hash == model.hash() && store.manifest().dtype == StoredDtype::F32
}

fn prompts(expected: usize) -> impl Fn(&Store) -> bool {
    move |store| rows(store).len() == 2 * expected
}

#[test]
fn every_border_value_does_what_its_key_says_or_is_refused_with_it() {
    let cases: &[(&str, &[&str], Expected)] = &[
        (
            PROMPTS,
            &[],
            Holds(|store| prompts(10)(store) && shards(store) == [8, 8, 4] && in_order(store)),
        ),
        (PROMPTS, &["rows_per_shard=0"], Refused("`rows_per_shard` is 0")),
        (
            PROMPTS,
            &["rows_per_shard=1"],
            Holds(|store| shards(store) == [1; 20] && in_order(store)),
        ),
        (PROMPTS, &["rows_per_shard=20"], Holds(|store| shards(store) == [20])),
        (
            PROMPTS,
            &["rows_per_shard=1000000000"],
            Holds(|store| shards(store) == [20]),
        ),
        (PROMPTS, &["rows_per_shard=-1"], Refused("`rows_per_shard` is -1")),
        (
            PROMPTS,
            &["rows_per_shard=9000000000"],
            Refused("`rows_per_shard` is 9000000000"),
        ),
        (PROMPTS, &["batch=0"], Refused("`batch` is 0")),
        (PROMPTS, &["batch=1"], Holds(prompts_10)),
        (PROMPTS, &["batch=1000000000"], Holds(prompts_10)),
        (PROMPTS, &["batch=1.5"], Refused("`batch` is 1.5")),
        (PROMPTS, &["source.n=0"], Refused("`n` is 0")),
        (PROMPTS, &["source.n=1"], Holds(|store| prompts(1)(store))),
        (PROMPTS, &["source.n=-3"], Refused("`source.n` is -3")),
        (PROMPTS, &["source.n=many"], Refused("`source.n` is \"many\"")),
        (PROMPTS, &["source.seed=0"], Holds(prompts_10)),
        (PROMPTS, &["source.seed=9223372036854775807"], Holds(prompts_10)),
        (PROMPTS, &["source.seed=-1"], Refused("`source.seed` is -1")),
        (
            PROMPTS,
            &["source.task=true"],
            Refused("`source.task` is true, expected a string"),
        ),
        (
            PROMPTS,
            &["source.kind=x"],
            Refused("`source.kind` is \"x\", expected one of"),
        ),
        (
            PROMPTS,
            &["dtype=f32"],
            Holds(|store| store.manifest().dtype == StoredDtype::F32),
        ),
        (
            PROMPTS,
            &["dtype=bf16"],
            Holds(|store| store.manifest().dtype == StoredDtype::Bf16),
        ),
        (
            PROMPTS,
            &["dtype=f8"],
            Refused("`dtype` is \"f8\", expected one of \"f32\", \"f16\", \"bf16\""),
        ),
        (PROMPTS, &["dtype=16"], Refused("`dtype` is 16, expected one of")),
        (PROMPTS, &["hooks=[]"], Refused("`hooks` is empty")),
        (
            PROMPTS,
            &["hooks=[\"hook_embed\", \"hook_embed\"]"],
            Refused("`hooks` names hook_embed twice"),
        ),
        (
            PROMPTS,
            &["hooks=hook_embed"],
            Refused("`hooks` is \"hook_embed\", expected a list"),
        ),
        (PROMPTS, &["hooks=[\"hook_nothing\"]"], Refused("`hooks`: ")),
        (PROMPTS, &["roles=[]"], Refused("`roles` is empty")),
        (
            PROMPTS,
            &["roles=[\"END\", \"END\"]"],
            Refused("`roles` names END twice"),
        ),
        (
            PROMPTS,
            &["roles=[\"end\"]"],
            Refused("`roles` names end, task ioi has IO, S1, S1+1, S2, END"),
        ),
        (PROMPTS, &["shuffle_window=0"], Holds(in_order)),
        (
            PROMPTS,
            &["shuffle_window=1"],
            Refused("`shuffle_window` is for text only"),
        ),
        (PROMPTS, &["shuffle_seed=0"], Refused("`shuffle_seed` is for text only")),
        (PROMPTS, &["special_tokens=exclude"], Holds(prompts_10)),
        (
            PROMPTS,
            &["special_tokens=mark"],
            Refused("`special_tokens` is for text only"),
        ),
        (
            PROMPTS,
            &["refactor_attention=yes"],
            Refused("`refactor_attention` is \"yes\", expected true or false"),
        ),
        (
            PROMPTS,
            &["model_dtype=f32"],
            Holds(|store| is_of(store, lm::Dtype::F32)),
        ),
        (
            PROMPTS,
            &["model_dtype=bf16"],
            Holds(|store| is_of(store, lm::Dtype::Bf16)),
        ),
        (WORLD, &["model_dtype=f16"], Holds(|store| is_of(store, lm::Dtype::F16))),
        (
            PROMPTS,
            &["model_dtype=f64"],
            Refused("`model_dtype` is \"f64\", expected one of"),
        ),
        (PROMPTS, &["sites=\"s\""], Refused("`sites` stands beside")),
        (
            WORLD,
            &[],
            Holds(|store| in_order(store) && rows(store).iter().all(|row| !row.special && row.position > 0)),
        ),
        (WORLD, &["shuffle_window=1"], Holds(shuffled_within_shards)),
        (WORLD, &["shuffle_window=39"], Holds(shuffled_within_shards)),
        (WORLD, &["shuffle_window=40"], Holds(shuffled_within_shards)),
        (WORLD, &["shuffle_window=1000000000"], Holds(across_shards)),
        (
            WORLD,
            &["shuffle_window=1", "shuffle_seed=9223372036854775807"],
            Holds(shuffled_within_shards),
        ),
        (WORLD, &["shuffle_seed=7"], Holds(in_order)),
        (WORLD, &["shuffle_seed=-1"], Refused("`shuffle_seed` is -1")),
        (WORLD, &["shuffle_window=-1"], Refused("`shuffle_window` is -1")),
        (
            WORLD,
            &["special_tokens=mark"],
            Holds(|store| {
                rows(store).iter().all(|row| row.special || row.position > 0)
                    && rows(store)[0].special
                    && in_order(store)
            }),
        ),
        (
            WORLD,
            &["special_tokens=true"],
            Refused("`special_tokens` is true, expected \"exclude\" or \"mark\""),
        ),
        (
            WORLD,
            &["special_tokens=2"],
            Refused("`special_tokens` is 2, expected \"exclude\" or \"mark\""),
        ),
        (WORLD, &["source.documents=0"], Refused("`documents` is 0")),
        (
            WORLD,
            &["source.documents=1"],
            Holds(|store| rows(store).iter().all(|row| row.document == 0)),
        ),
        (WORLD, &["source.context=1"], Refused("`context` must be at least 2")),
        (
            WORLD,
            &["source.context=2"],
            Holds(|store| rows(store).iter().all(|row| row.position == 1)),
        ),
        (WORLD, &["roles=[\"END\"]"], Refused("`roles` means nothing for text")),
    ];
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    for (number, (text, sets, expected)) in cases.iter().enumerate() {
        std::fs::write(&config, text).unwrap();
        let out = folder.path().join(number.to_string());
        let mut command = saelab(&["harvest", &config.to_string_lossy(), "--out", &out.to_string_lossy()]);
        command.args(sets.iter().flat_map(|set| ["--set", set]));
        let output = command.output().unwrap();
        match expected {
            Refused(part) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!(output.status.code(), Some(2), "{sets:?}: {said}");
                assert!(
                    said.contains(part) && said.trim_end().lines().count() == 1,
                    "{sets:?}: {said}"
                );
                assert!(!out.exists(), "{sets:?}");
            }
            Holds(check) => {
                succeeds(output);
                assert!(check(&Store::open(&out).unwrap()), "{sets:?}");
            }
        }
    }
}

fn prompts_10(store: &Store) -> bool {
    prompts(10)(store)
}

#[test]
fn a_part_is_one_of_its_number_however_many_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    std::fs::write(&config, PROMPTS).unwrap();
    let harvest = |out: &str, shard: &str| {
        let out = folder.path().join(out);
        saelab(&[
            "harvest",
            &config.to_string_lossy(),
            "--out",
            &out.to_string_lossy(),
            "--shard",
            shard,
        ])
        .output()
        .unwrap()
    };
    for wrong in [
        "0/0", "0/2", "5/3", "1/0", "1/-2", "1", "1/2/3", "", "/", "a/b", "1.0/2", "1/100001",
    ] {
        let output = harvest("refused", wrong);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{wrong}: {said}");
        assert!(said.contains("--shard"), "{wrong}: {said}");
    }
    assert!(!folder.path().join("refused").exists());
    succeeds(harvest("whole", "1/1"));
    let expected = shards(&Store::open(&folder.path().join("whole")).unwrap());
    // Three shards, so most of these parts are empty.
    let many = 100_000;
    for part in ["1/4", "2/4", "3/4", "4/4"] {
        succeeds(harvest("four", part));
    }
    assert_eq!(shards(&Store::open(&folder.path().join("four")).unwrap()), expected);
    for index in [1, many / 2, many] {
        let said = succeeds(harvest("many", &format!("{index}/{many}")));
        assert!(said.contains("other parts are not"), "{said}");
    }
    succeeds(harvest("many", "1/1"));
    assert_eq!(shards(&Store::open(&folder.path().join("many")).unwrap()), expected);
}
