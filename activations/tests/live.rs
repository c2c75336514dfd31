//! A store that is not on disk gives the same bytes as a harvest to disk.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use activations::store::Row;
use activations::{Error, Filter, HarvestPlan, Source, Store, StoredDtype, Stream, StreamConfig, harvest};
use lm::{HookPoint, Model};
use text::{Document, Packing, Tokenizer};

const RESID: HookPoint = HookPoint::ResidPre(1);
const Z: HookPoint = HookPoint::Z(0);
const SHARD: usize = 37;
const STEPS: usize = 48;

fn model() -> Model {
    let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../lm/tests/fixtures/gpt2-micro"));
    Model::load(&dir, &kernels::cpu()).unwrap()
}

fn tokenizer() -> Tokenizer {
    let words: Vec<String> = (b'a'..=b'z').map(|letter| format!(" {}", char::from(letter))).collect();
    Tokenizer::word_level(&words).unwrap()
}

/// Documents of 1 to 17 letters, in windows of up to 6 tokens, so that batches and shards end in each other.
fn plan(dtype: StoredDtype, keep_special: bool, beside: &Path) -> HarvestPlan {
    let text = |document: usize| -> String {
        let letter = |place: usize| char::from(b'a' + ((document * 7 + place * 3) % 26) as u8);
        (0..1 + document * 5 % 17)
            .map(|place| format!(" {}", letter(place)))
            .collect()
    };
    let documents = Document::made((0..60).map(text)).map(Ok);
    let windows = Packing::documents(6)
        .spooled_windows(documents, &tokenizer(), beside)
        .unwrap();
    HarvestPlan {
        hooks: vec![RESID, Z],
        dtype,
        keep_special,
        shuffle: Some((SHARD, 3)),
        ..HarvestPlan::for_nodes(&[], Source::Text(windows), 4, SHARD)
    }
}

fn both(dtype: StoredDtype, keep_special: bool, dir: &Path) -> (Store, Store) {
    let plan = plan(dtype, keep_special, dir);
    harvest(&model(), &tokenizer(), &plan, &dir.join("store"), &mut |_| ())
        .unwrap()
        .unwrap();
    (
        Store::open(&dir.join("store")).unwrap(),
        Store::live(model(), &tokenizer(), plan, None).unwrap(),
    )
}

#[test]
fn rows_and_vectors_are_those_of_the_stored_harvest() {
    for (dtype, keep_special) in [(StoredDtype::F32, false), (StoredDtype::F16, true)] {
        let dir = tempfile::tempdir().unwrap();
        let (stored, live) = both(dtype, keep_special, dir.path());
        assert_eq!(stored.manifest().provenance, live.manifest().provenance);
        let shards = stored.manifest().hooks[&RESID].shards.len();
        assert!(shards > 8 && live.manifest().hooks[&RESID].shards.len() == shards);
        for (hook, head) in [(RESID, None), (Z, Some(0)), (Z, Some(1))] {
            assert_eq!(stored.hook(hook, head).unwrap(), live.hook(hook, head).unwrap());
        }
        // Any shard by itself, and of it the rows that are wanted; what is not wanted is not read by the model either.
        let held_out = stored.held_out(RESID, 0.1, 7).unwrap();
        assert_eq!(held_out, live.held_out(RESID, 0.1, 7).unwrap());
        assert!(held_out.rows() > 0);
        let hooks = [(RESID, None), (Z, Some(1))];
        for shard in [shards - 1, 0, 3] {
            let of = |store: &Store, wanted: &dyn Fn(&Row) -> bool| {
                store.rows_of(&hooks, &BTreeSet::from([shard]), wanted).unwrap()
            };
            assert_eq!(of(&stored, &|_| true), of(&live, &|_| true), "{shard}");
            let held = |row: &Row| held_out.holds(row);
            assert_eq!(of(&stored, &held), of(&live, &held), "{shard}");
        }
        let all: BTreeSet<usize> = (0..shards).collect();
        let tokens = |wanted: &dyn Fn(&Row) -> bool| live.tokens_of(&all, wanted).unwrap();
        let read = stored.windows().unwrap();
        let once: usize = (0..read.len())
            .map(|window| read.window(window).unwrap().ids.len())
            .sum();
        // A batch that lies in two shards is read twice.
        assert!(
            (once..2 * once).contains(&tokens(&|_| true)),
            "{once} {}",
            tokens(&|_| true)
        );
        assert!(tokens(&|row| held_out.holds(row)) < tokens(&|_| true) / 2);
        assert_eq!((tokens(&|_| false), stored.tokens_of(&all, &|_| true).unwrap()), (0, 0));
    }
}

#[test]
fn a_stream_of_it_gives_the_same_batches_from_any_step_on() {
    let dir = tempfile::tempdir().unwrap();
    let (stored, live) = both(StoredDtype::F16, true, dir.path());
    let held_out = stored.held_out(RESID, 0.2, 1).unwrap();
    let filters = [
        Filter::default(),
        Filter {
            without_special: true,
            without_held_out: held_out,
            ..Filter::default()
        },
    ];
    for filter in filters {
        // Pools of one shard, of three, and of all; more than two epochs.
        for memory in [0, 3 * SHARD * 64 * 2 * 3, usize::MAX] {
            let config = StreamConfig {
                hooks: vec![(RESID, None), (Z, Some(1))],
                filter: filter.clone(),
                rows: true,
                memory,
                steps: STEPS,
                ..StreamConfig::of(RESID, None, 32, 9)
            };
            let [mut expected, mut found] = [&stored, &live].map(|store| Stream::new(store, config.clone()).unwrap());
            assert_eq!(expected.rows(), found.rows());
            assert!(STEPS * 32 > 2 * expected.rows());
            for step in (0..STEPS).chain([17, 3, STEPS - 1, 0]) {
                expected.seek(step);
                found.seek(step);
                assert_eq!(
                    expected.next_batch().unwrap(),
                    found.next_batch().unwrap(),
                    "{memory} {step}"
                );
            }
            // Nothing is made beyond the last step.
            found.seek(STEPS - 1);
            let last: Vec<usize> = found.shards().collect();
            found.seek(0);
            let all: Vec<usize> = found.shards().collect();
            assert!(all.ends_with(&last), "{memory}: {all:?} {last:?}");
            let epochs = (STEPS * 32).div_ceil(found.rows());
            let most = epochs * stored.manifest().hooks[&RESID].shards.len();
            assert!(all.len() <= most, "{memory}: {} of {most}", all.len());
            found.seek(STEPS);
            assert!(matches!(found.next_batch(), Err(Error::Stream { .. })));
        }
    }
}

#[test]
fn what_cannot_be_made_shard_by_shard_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |change: &dyn Fn(&mut HarvestPlan)| {
        let mut plan = plan(StoredDtype::F32, false, dir.path());
        change(&mut plan);
        Store::live(model(), &tokenizer(), plan, None).unwrap_err().to_string()
    };
    let message = refused(&|plan| plan.shuffle = Some((2 * SHARD, 3)));
    assert!(
        message.contains("`rows_per_shard`") && message.contains("set both to 74"),
        "{message}"
    );
    let message = refused(&|plan| plan.hooks = vec![HookPoint::ResidPre(99)]);
    assert!(message.contains("99"), "{message}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Shards in the order of a stream, over a stop and a new start: in the end the folder of the harvest, whatever came first.
#[test]
fn what_is_kept_is_the_store_of_the_harvest() {
    let dir = tempfile::tempdir().unwrap();
    let mut plan = plan(StoredDtype::F16, true, dir.path());
    // A window of three shards.
    plan.shuffle = Some((3 * SHARD, 3));
    let (stored, kept) = (dir.path().join("store"), dir.path().join("kept"));
    harvest(&model(), &tokenizer(), &plan, &stored, &mut |_| ())
        .unwrap()
        .unwrap();
    let live = || {
        let mut on_lock = |locking| unreachable!("{locking:?}");
        Store::live(model(), &tokenizer(), plan.clone(), Some((&kept, &mut on_lock))).unwrap()
    };
    let config = StreamConfig {
        memory: 0,
        steps: 5,
        ..StreamConfig::of(Z, Some(1), 32, 9)
    };
    let store = Store::open(&stored).unwrap();
    let mut expected = Stream::new(&store, config.clone()).unwrap();
    let first = live();
    let mut found = Stream::new(&first, config.clone()).unwrap();
    assert_eq!(expected.next_batch().unwrap(), found.next_batch().unwrap());
    assert!(first.finish().unwrap().is_none());
    drop(found);
    drop(first);
    // What a process that was killed leaves is completed by the next one, shard by shard.
    let second = live();
    let mut found = Stream::new(&second, config).unwrap();
    found.seek(1);
    for _ in 1..5 {
        assert_eq!(expected.next_batch().unwrap(), found.next_batch().unwrap());
    }
    drop(found);
    assert!(second.finish().unwrap().is_none() && Store::open(&kept).is_err());
    for (hook, head) in [(Z, Some(0)), (RESID, None)] {
        assert_eq!(store.hook(hook, head).unwrap(), second.hook(hook, head).unwrap());
    }
    assert_eq!(second.finish().unwrap().as_ref(), Some(store.manifest()));
    drop(second);
    let files = |dir: &Path| {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => files.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path())),
                false => files.push(path),
            }
        }
        files.sort();
        let read = |path: PathBuf| {
            (
                path.strip_prefix(dir).unwrap().to_owned(),
                std::fs::read(&path).unwrap(),
            )
        };
        files.into_iter().map(read).collect::<Vec<_>>()
    };
    assert!(files(&stored) == files(&kept));
    // A complete one is read and not written.
    assert_eq!(live().hook(RESID, None).unwrap(), store.hook(RESID, None).unwrap());
}
