//! Streams: every row once an epoch in a shuffled order, any step at any time, several hooks row by row, and what a filter
//! leaves unread.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use activations::store::{Batch, HookShape, Layout, Provenance, ROW_GROUP_ROWS, Row, Shuffle};
use activations::{BatchOrder, Error, Filter, HeldOut, Part, Store, StoreWriter, StoredDtype, Stream, StreamConfig};
use lm::HookPoint;

const RESID: HookPoint = HookPoint::ResidPre(1);
const WIDTH: usize = 6;
/// Rows of a document of the invented text.
const DOCUMENT: usize = 100;

/// The invented text: documents of 100 tokens, whose vectors say which token it is.
fn row(index: usize) -> Row {
    Row {
        row: (index / DOCUMENT) as u32,
        document: (index / DOCUMENT) as u32,
        position: (index % DOCUMENT) as u32 + 1,
        token: index as u32,
        special: index.is_multiple_of(DOCUMENT),
        ..Row::default()
    }
}

fn text(rows: usize, rows_per_shard: usize, window: Option<usize>, dtype: StoredDtype) -> Layout {
    let hooks = BTreeMap::from([
        (
            RESID,
            HookShape {
                width: WIDTH,
                heads: None,
            },
        ),
        (
            HookPoint::Z(0),
            HookShape {
                width: 2 * WIDTH,
                heads: Some(2),
            },
        ),
    ]);
    Layout {
        hooks,
        dtype,
        rows,
        rows_per_shard,
        shuffle: window.map(|shards| Shuffle { shards, seed: 5 }),
        roles: Vec::new(),
        provenance: Provenance {
            model_hash: "model".into(),
            tokenizer_hash: "tokenizer".into(),
            settings: serde_json::json!("settings"),
        },
    }
}

/// Numbers that every type holds exactly and that tell row, hook and place.
fn vector(index: usize, hook: HookPoint, width: usize) -> Vec<f32> {
    let sign = if hook.has_heads() { -1.0 } else { 1.0 };
    let digit = |place: usize| sign * ((index >> (4 * place)) & 15) as f32;
    (0..width)
        .map(|place| {
            if place < WIDTH {
                digit(place)
            } else {
                100.0 + digit(place - WIDTH)
            }
        })
        .collect()
}

fn write(dir: &Path, layout: &Layout, part: Part) -> Option<activations::Manifest> {
    let mut writer = StoreWriter::create(dir, layout.clone(), &Vec::new(), part, &mut |locking| {
        unreachable!("{locking:?}")
    })
    .unwrap();
    for (&hook, shape) in &layout.hooks {
        let wanted = writer.wanted(hook);
        for start in (0..layout.rows).step_by(37) {
            let end = (start + 37).min(layout.rows);
            if wanted.any(start..end) {
                let rows: Vec<Row> = (start..end).map(row).collect();
                let values: Vec<f32> = (start..end)
                    .flat_map(|index| vector(index, hook, shape.width))
                    .collect();
                writer.push(hook, start, &rows, &values).unwrap();
            }
        }
    }
    writer.finish().unwrap()
}

fn config(batch: usize, memory: usize) -> StreamConfig {
    StreamConfig {
        hooks: vec![(RESID, None), (HookPoint::Z(0), Some(1))],
        rows: true,
        memory,
        ..StreamConfig::of(RESID, None, batch, 3)
    }
}

fn take(stream: &mut Stream, steps: usize) -> Vec<Batch> {
    (0..steps).map(|_| stream.next_batch().unwrap()).collect()
}

#[test]
fn every_row_comes_once_an_epoch_with_its_vectors_in_every_type() {
    for dtype in [StoredDtype::F32, StoredDtype::F16, StoredDtype::Bf16] {
        let dir = tempfile::tempdir().unwrap();
        let rows = 1000;
        write(dir.path(), &text(rows, 64, Some(3), dtype), Part::WHOLE).unwrap();
        let store = Store::open(dir.path()).unwrap();
        // Memory for two and a half shards: an epoch is many pools, and batches lie across their ends.
        let mut stream = Stream::new(&store, config(48, 64 * 3 * WIDTH * dtype.size() * 5 / 2)).unwrap();
        let batches = take(&mut stream, 2 * rows / 48 + 1);
        let tokens: Vec<u32> = batches
            .iter()
            .flat_map(|batch| batch.rows.iter().map(|row| row.token))
            .collect();
        for epoch in tokens.chunks(rows).take(2) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..rows as u32).collect::<Vec<_>>());
        }
        assert_ne!(tokens[..rows], tokens[rows..2 * rows]);
        for batch in &batches {
            for (place, found) in batch.rows.iter().enumerate() {
                let index = found.token as usize;
                assert_eq!(*found, row(index));
                let of = |hook: usize| &batch.values[hook][place * WIDTH..(place + 1) * WIDTH];
                assert_eq!(of(0), vector(index, RESID, WIDTH));
                // The second head.
                assert_eq!(of(1), &vector(index, HookPoint::Z(0), 2 * WIDTH)[WIDTH..]);
            }
        }
        assert!(stream.throughput().bytes_per_second() > 0.0);
    }
}

#[test]
fn any_step_can_be_gone_to() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &text(700, 50, Some(2), StoredDtype::F32), Part::WHOLE).unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut stream = Stream::new(&store, config(30, 50_000)).unwrap();
    let batches = take(&mut stream, 60);
    assert_eq!(stream.position(), 60);
    for step in [0, 59, 23, 24, 3] {
        stream.seek(step);
        assert_eq!(stream.next_batch().unwrap(), batches[step], "step {step}");
    }
    let mut other = Stream::new(
        &store,
        StreamConfig {
            seed: 4,
            ..config(30, 50_000)
        },
    )
    .unwrap();
    assert_ne!(other.next_batch().unwrap().rows, batches[0].rows);
}

#[test]
fn neighbours_share_a_document_as_often_as_chance_has_it() {
    let dir = tempfile::tempdir().unwrap();
    // Windows of 4 shards; a stream whose memory holds 4 shards, so that a pool mixes rows of up to 4 windows.
    let (rows, per_shard) = (40_000, 1000);
    write(
        dir.path(),
        &text(rows, per_shard, Some(4), StoredDtype::F16),
        Part::WHOLE,
    )
    .unwrap();
    let store = Store::open(dir.path()).unwrap();
    let stored = store.hook(RESID, None).unwrap().rows;
    let share = |rows: &[Row]| {
        let pairs = rows.windows(2);
        (
            pairs
                .clone()
                .filter(|pair| pair[0].document == pair[1].document)
                .count() as f64,
            pairs.len() as f64,
        )
    };
    // Of two rows drawn from a window of n rows, the second is one of the 99 others of the document of the first, out of n - 1.
    let chance = (DOCUMENT - 1) as f64 / (4 * per_shard - 1) as f64;
    // On disk neighbours are of one window, but for the pairs across its end.
    let (same, pairs) = share(&stored);
    let error = (pairs * chance * (1.0 - chance)).sqrt();
    assert!(
        (same - pairs * chance).abs() < 3.0 * error,
        "on disk: {same} of {pairs}, expected {}",
        pairs * chance
    );
    // A batch may mix more than a window, so it shares no more often than that.
    let pool = StreamConfig {
        hooks: vec![(RESID, None)],
        ..config(500, 4 * per_shard * WIDTH * 2)
    };
    let mut stream = Stream::new(&store, pool).unwrap();
    let (mut same, mut pairs) = (0.0, 0.0);
    for batch in take(&mut stream, rows / 500) {
        let (more, of) = share(&batch.rows);
        (same, pairs) = (same + more, pairs + of);
    }
    let error = (pairs * chance * (1.0 - chance)).sqrt();
    assert!(
        same < pairs * chance + 3.0 * error,
        "in batches: {same} of {pairs}, at most {}",
        pairs * chance
    );
    assert!(same > 0.0);

    // Without the shuffle at write time the same count says that documents stand together.
    let plain = tempfile::tempdir().unwrap();
    write(
        plain.path(),
        &text(rows, per_shard, None, StoredDtype::F16),
        Part::WHOLE,
    )
    .unwrap();
    let (same, pairs) = share(&Store::open(plain.path()).unwrap().hook(RESID, None).unwrap().rows);
    assert!(same > 0.9 * pairs);
}

#[test]
fn several_workers_write_the_bytes_of_one() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let layout = text(1000, 30, Some(4), StoredDtype::Bf16);
    let manifest = write(one.path(), &layout, Part::WHOLE).unwrap();
    let part = |index| Part { index, of: 3 };
    assert_eq!(write(two.path(), &layout, part(2)), None);
    assert!(matches!(Store::open(two.path()), Err(Error::Incomplete { .. })));
    // What a killed worker left behind goes away.
    std::fs::write(two.path().join(format!("{RESID}/.partial-x")), b"half a shard").unwrap();
    assert_eq!(write(two.path(), &layout, part(0)), None);
    assert_eq!(write(two.path(), &layout, part(1)), Some(manifest.clone()));
    // The shards' hashes stand in the manifest.
    assert_eq!(
        Store::open(two.path()).unwrap().hash(),
        Store::open(one.path()).unwrap().hash()
    );
    for entry in manifest.hooks.values().flat_map(|hook| &hook.shards) {
        let bytes = |dir: &Path| std::fs::read(dir.join(&entry.file)).unwrap();
        assert_eq!(bytes(one.path()), bytes(two.path()));
    }
    assert!(!two.path().join(format!("{RESID}/.partial-x")).exists());
}

#[test]
fn a_filter_reads_only_the_row_groups_that_may_hold_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let rows = 5 * ROW_GROUP_ROWS;
    write(
        dir.path(),
        &text(rows, 3 * ROW_GROUP_ROWS, None, StoredDtype::F16),
        Part::WHOLE,
    )
    .unwrap();
    let store = Store::open(dir.path()).unwrap();
    let documents = 60..62;
    let filter = Filter {
        documents: Some(documents.clone()),
        positions: Some(1..51),
        ..Filter::default()
    };
    let mut stream = Stream::new(
        &store,
        StreamConfig {
            filter,
            ..config(100, usize::MAX)
        },
    )
    .unwrap();
    assert_eq!(stream.rows(), 2 * 50);
    let batch = stream.next_batch().unwrap();
    assert!(
        batch
            .rows
            .iter()
            .all(|row| documents.contains(&row.document) && row.position <= 50)
    );
    for (place, found) in batch.rows.iter().enumerate() {
        let expected = vector(found.token as usize, RESID, WIDTH);
        assert_eq!(batch.values[0][place * WIDTH..(place + 1) * WIDTH], expected);
    }
    // Of each hook one row group was read: the second of the first shard; the second shard was never opened.
    let cost = stream.throughput();
    assert_eq!(cost.skipped, 2 * 2);
    assert_eq!(cost.stored as usize, ROW_GROUP_ROWS * 3 * WIDTH * 2);
    let none = Filter {
        tokens: Some(90_000..90_001),
        ..Filter::default()
    };
    let empty = Stream::new(
        &store,
        StreamConfig {
            filter: none,
            ..config(1, 0)
        },
    );
    assert!(matches!(empty, Err(Error::Stream { .. })));
}

#[test]
fn held_out_and_special_rows_never_come_and_all_others_once_an_epoch() {
    let rows = 40 * DOCUMENT;
    let mut chosen = Vec::new();
    // However the rows lie in shards, the same documents are held out; the last shard may be one row.
    for (per_shard, window) in [(64, Some(3)), (1333, None), (rows - 1, Some(1))] {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            &text(rows, per_shard, window, StoredDtype::F16),
            Part::WHOLE,
        )
        .unwrap();
        let store = Store::open(dir.path()).unwrap();
        let held_out = store.held_out(RESID, 0.1, 7).unwrap();
        // In memory.
        let stored = store.hook(RESID, None).unwrap().rows;
        let kept = stored.iter().filter(|row| !row.special);
        assert_eq!(held_out, HeldOut::choose(kept, 0.1, 7));
        // One token of a document is special, and 4 of 40 documents are held out.
        let documents = 40 * (DOCUMENT - 1);
        assert_eq!((held_out.of(), held_out.rows()), (documents, documents / 10));
        let expected: BTreeSet<u32> = (0..rows)
            .map(row)
            .filter(|row| !row.special && !held_out.holds(row))
            .map(|row| row.token)
            .collect();
        let filter = Filter {
            without_special: true,
            without_held_out: held_out.clone(),
            ..Filter::default()
        };
        let streamed = StreamConfig {
            filter,
            ..config(44, 64 * 3 * WIDTH * 2 * 5 / 2)
        };
        let mut stream = Stream::new(&store, streamed.clone()).unwrap();
        assert_eq!(stream.rows(), expected.len());
        // 81 batches are an epoch.
        let batches = take(&mut stream, 2 * expected.len() / 44);
        let tokens: Vec<u32> = batches
            .iter()
            .flat_map(|batch| batch.rows.iter().map(|row| row.token))
            .collect();
        for epoch in tokens.chunks(expected.len()) {
            assert_eq!(epoch.iter().copied().collect::<BTreeSet<u32>>(), expected);
        }
        for batch in &batches {
            for (place, found) in batch.rows.iter().enumerate() {
                let of = |hook: usize| &batch.values[hook][place * WIDTH..(place + 1) * WIDTH];
                assert_eq!(of(0), vector(found.token as usize, RESID, WIDTH));
                assert_eq!(
                    of(1),
                    &vector(found.token as usize, HookPoint::Z(0), 2 * WIDTH)[WIDTH..]
                );
            }
        }
        // Rows in memory come in the same batches, whether a pool holds some shards or all.
        let in_memory = |row: &Row| !row.special && !held_out.holds(row);
        let trained: Vec<u32> = stored
            .iter()
            .filter(|row| in_memory(row))
            .map(|row| row.token)
            .collect();
        let counts: Vec<usize> = stored
            .chunks(per_shard)
            .map(|shard| shard.iter().filter(|row| in_memory(row)).count())
            .collect();
        for memory in [streamed.memory, usize::MAX] {
            let streamed = StreamConfig {
                memory,
                ..streamed.clone()
            };
            let mut order = BatchOrder::pooled(&counts, streamed.pool_shards(&store), 44, 3).unwrap();
            let mut stream = Stream::new(&store, streamed).unwrap();
            for step in 0..170 {
                let expected: Vec<u32> = order.batch(step).into_iter().map(|row| trained[row]).collect();
                let found: Vec<u32> = stream.next_batch().unwrap().rows.iter().map(|row| row.token).collect();
                assert_eq!(found, expected, "step {step}");
            }
        }
        for step in [80, 0, 33] {
            stream.seek(step);
            assert_eq!(stream.next_batch().unwrap(), batches[step], "step {step}");
        }
        chosen.push(expected);
    }
    assert!(chosen.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn means_in_the_footers_are_those_of_the_vectors() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &text(777, 100, Some(3), StoredDtype::F16), Part::WHOLE).unwrap();
    let store = Store::open(dir.path()).unwrap();
    let found = store.statistics(RESID, 5).unwrap();
    assert_eq!(found.rows, 500);
    let values = store.hook(RESID, None).unwrap().values;
    let vectors: Vec<&[f32]> = values.chunks(WIDTH).take(500).collect();
    for place in 0..WIDTH {
        let mean = vectors.iter().map(|vector| f64::from(vector[place])).sum::<f64>() / 500.0;
        assert!((f64::from(found.mean[place]) - mean).abs() < 1e-5);
    }
    let norm = |vector: &&[f32]| vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let mean_norm = vectors.iter().map(norm).sum::<f64>() / 500.0;
    assert!((found.mean_norm - mean_norm).abs() < 1e-5 * mean_norm);
}

#[test]
fn a_damaged_shard_ends_the_stream_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &text(300, 100, None, StoredDtype::F32), Part::WHOLE).unwrap();
    let store = Store::open(dir.path()).unwrap();
    let shard = dir.path().join(format!("{RESID}/00001.parquet"));
    let mut bytes = std::fs::read(&shard).unwrap();
    bytes[500] ^= 4;
    std::fs::write(&shard, bytes).unwrap();
    for filter in [
        Filter::default(),
        Filter {
            documents: Some(1..2),
            ..Filter::default()
        },
    ] {
        let mut stream = Stream::new(
            &store,
            StreamConfig {
                filter,
                ..config(20, 0)
            },
        )
        .unwrap();
        let error = (0..20).find_map(|_| stream.next_batch().err()).unwrap();
        assert!(error.to_string().contains("00001.parquet"), "{error}");
        assert!(matches!(error, Error::Checksum { .. }), "{error:?}");
    }
}

#[test]
fn impossible_streams_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &text(300, 100, None, StoredDtype::F32), Part::WHOLE).unwrap();
    let store = Store::open(dir.path()).unwrap();
    for batch in [0, 301] {
        assert!(matches!(
            Stream::new(&store, config(batch, 0)),
            Err(Error::Stream { .. })
        ));
    }
    let of = |hook, head| Stream::new(&store, StreamConfig::of(hook, head, 10, 0));
    assert!(matches!(of(HookPoint::Z(0), None), Err(Error::NotInStore { .. })));
    assert!(matches!(
        of(HookPoint::ResidPre(0), None),
        Err(Error::NotInStore { .. })
    ));
}
