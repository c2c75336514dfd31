//! Files of a store that were changed anywhere: a reader refuses them or gives the rows that were written, and never panics.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;

use activations::store::{Batch, MANIFEST_FILE, SETTINGS_FILE, TOKENS_FILE, TokenWindow};
use activations::{Error, Filter, HookRows, Part, Store, Stream, StreamConfig};
use common::{create, layout, write};
use lm::HookPoint;
use proptest::prelude::*;
use tasks::Role;

const HOOK: HookPoint = HookPoint::Z(0);
const SHARD: &str = "blocks.0.attn.hook_z/00001.parquet";

/// A change of a file's bytes.
#[derive(Debug, Clone)]
enum Change {
    Flip(usize, u8),
    Cut(usize),
    Remove(usize, usize),
    Insert(usize, Vec<u8>),
    /// A run of bytes in the place of another.
    Copy(usize, usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let place = 0_usize..1 << 20;
    prop_oneof![
        4 => (place.clone(), 1_u8..).prop_map(|(at, bits)| Change::Flip(at, bits)),
        1 => place.clone().prop_map(Change::Cut),
        1 => (place.clone(), 1_usize..40).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => (place.clone(), prop::collection::vec(any::<u8>(), 1..40)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => (place.clone(), place, 1_usize..200).prop_map(|(from, to, count)| Change::Copy(from, to, count)),
    ]
}

impl Change {
    /// Changes the file; `from_end` counts places from its end, where the footer is.
    fn apply(&self, path: &Path, from_end: bool) {
        let mut bytes = fs::read(path).unwrap();
        let size = bytes.len();
        let place = |at: usize| match from_end {
            true => size - 1 - at % size.min(1500),
            false => at % size,
        };
        match self {
            Self::Flip(at, bits) => bytes[place(*at)] ^= bits,
            Self::Cut(at) => bytes.truncate(place(*at)),
            Self::Remove(at, count) => drop(bytes.drain(place(*at)..size.min(place(*at) + count))),
            Self::Insert(at, more) => drop(bytes.splice(place(*at)..place(*at), more.iter().copied())),
            Self::Copy(from, to, count) => {
                let (from, to) = (place(*from), place(*to));
                let count = (*count).min(size - from.max(to));
                bytes.copy_within(from..from + count, to);
            }
        }
        fs::write(path, bytes).unwrap();
    }
}

/// All that readers say of a store: whole shards, rows found by their footers, statistics.
type Said = (HookRows, Vec<Batch>, Vec<f32>, Vec<TokenWindow>);

fn read(dir: &Path) -> Result<Said, Error> {
    let store = Store::open(dir)?;
    Ok((
        store.hook(HOOK, Some(1))?,
        filtered(&store)?,
        store.statistics(HOOK, 2)?.mean,
        kept(&store)?,
    ))
}

fn kept(store: &Store) -> Result<Vec<TokenWindow>, Error> {
    let windows = store.windows()?;
    windows.read(0..windows.len())
}

fn filtered(store: &Store) -> Result<Vec<Batch>, Error> {
    let config = StreamConfig {
        filter: Filter {
            tokens: Some(40..500),
            role: Some(Role::END),
            ..Filter::default()
        },
        rows: true,
        ..StreamConfig::of(HOOK, Some(2), 2, 0)
    };
    let mut stream = Stream::new(store, config)?;
    (0..4).map(|_| stream.next_batch()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_changed_file_is_refused_or_read_as_it_was(change in change(), file in 0_usize..4, from_end: bool) {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), layout(10, 4, 8), 10).unwrap();
        let expected = read(dir.path()).unwrap();
        let name = [MANIFEST_FILE, SHARD, SETTINGS_FILE, TOKENS_FILE][file];
        change.apply(&dir.path().join(name), from_end);
        // Each reader by itself: one may see what another does not read.
        if let Ok(store) = Store::open(dir.path()) {
            if let Ok(rows) = store.hook(HOOK, Some(1)) {
                prop_assert_eq!(rows, expected.0);
            }
            if let Ok(batches) = filtered(&store) {
                prop_assert_eq!(batches, expected.1);
            }
            if let Ok(statistics) = store.statistics(HOOK, 2) {
                prop_assert_eq!(statistics.mean, expected.2);
            }
            if let Ok(windows) = kept(&store) {
                prop_assert_eq!(windows, expected.3);
            }
        }
        // A second harvest refuses the folder, or makes the store whole.
        if let Ok(writer) = create(dir.path(), layout(10, 4, 8), Part::WHOLE) {
            drop(writer);
            write(dir.path(), layout(10, 4, 8), 10).unwrap();
            prop_assert_eq!(read(dir.path()).unwrap(), read_again());
        }
    }
}

/// What an unharmed store says.
fn read_again() -> Said {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), layout(10, 4, 8), 10).unwrap();
    read(dir.path()).unwrap()
}
