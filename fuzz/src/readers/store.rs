//! A store of activations: its manifest, and a Parquet shard and the tokens under checksums that fit.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use activations::store::{HookShape, Layout, MANIFEST_FILE, Provenance, Row, TOKENS_FILE, TokenWindow};
use activations::{Filter, Manifest, Node, Part, Store, StoreWriter, StoredDtype, Stream, StreamConfig};
use lm::HookPoint;
use serde_json::json;
use tasks::{Labels, Role};

use super::message;
use crate::scratch::Scratch;
use crate::{Form, Reader, Target};

const HOOK: HookPoint = HookPoint::Z(0);
const SHARD: &str = "blocks.0.attn.hook_z/00001.parquet";
const ROWS: usize = 10;
const ROWS_PER_SHARD: usize = 4;
const HEADS: usize = 2;
const WIDTH: usize = 3;

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "manifest",
            form: Form::Json,
            seeds: || vec![of_store(MANIFEST_FILE)],
            reader: manifest,
        },
        Target {
            name: "shard",
            form: Form::Bytes,
            seeds: || vec![of_store(SHARD)],
            reader: shard,
        },
        Target {
            name: "tokens",
            form: Form::Bytes,
            seeds: || vec![of_store(TOKENS_FILE)],
            reader: tokens,
        },
    ]
}

fn manifest() -> Reader {
    let scratch = Scratch::new();
    write(scratch.path());
    Box::new(move |input| {
        let sealed = serde_json::from_slice(input).ok().map(sealed);
        scratch.put(MANIFEST_FILE, sealed.as_deref().unwrap_or(input));
        read(scratch.path())
    })
}

fn shard() -> Reader {
    let scratch = Scratch::new();
    write(scratch.path());
    let manifest: Manifest = artifacts::read_json(&scratch.path().join(MANIFEST_FILE)).expect("it was written as JSON");
    Box::new(move |input| {
        scratch.put(SHARD, input);
        let mut manifest = manifest.clone();
        let shards = manifest.hooks.get_mut(&HOOK).map(|entry| &mut entry.shards);
        let entry = &mut shards.expect("the store holds the hook")[1];
        entry.bytes = input.len() as u64;
        entry.sha256 = artifacts::sha256_hex(input);
        entry.crc32c = crc32c::crc32c(input);
        entry.footer_crc32c = footer_crc32c(input);
        scratch.put(MANIFEST_FILE, &sealed(manifest));
        read(scratch.path())
    })
}

fn tokens() -> Reader {
    let scratch = Scratch::new();
    write(scratch.path());
    let manifest: Manifest = artifacts::read_json(&scratch.path().join(MANIFEST_FILE)).expect("it was written as JSON");
    Box::new(move |input| {
        scratch.put(TOKENS_FILE, input);
        let mut manifest = manifest.clone();
        manifest.tokens.bytes = input.len() as u64;
        manifest.tokens.sha256 = artifacts::sha256_hex(input);
        manifest.tokens.crc32c = crc32c::crc32c(input);
        scratch.put(MANIFEST_FILE, &sealed(manifest));
        read(scratch.path())
    })
}

/// The manifest under the hash of itself that it must hold, so that a change is not refused for that alone.
fn sealed(mut manifest: Manifest) -> Vec<u8> {
    let json = |manifest: &Manifest| serde_json::to_vec(manifest).expect("it was read from JSON");
    manifest.sha256 = String::new();
    manifest.sha256 = artifacts::sha256_hex(&json(&manifest));
    json(&manifest)
}

/// CRC-32C of a Parquet file's footer, whose length stands before the last four bytes.
fn footer_crc32c(file: &[u8]) -> u32 {
    let Some(end) = file.last_chunk::<8>() else {
        return 0;
    };
    let length = u32::from_le_bytes([end[0], end[1], end[2], end[3]]) as usize;
    let start = (file.len() - end.len()).saturating_sub(length);
    crc32c::crc32c(&file[start..])
}

/// Reads a store in every way: whole, one node, the footers, and batches of some of its rows.
fn read(dir: &Path) -> Result<(), String> {
    let store = message(Store::open(dir))?;
    let node = Node {
        hook: HOOK,
        head: Some(1),
        role: Role::END,
    };
    let outcomes = [
        message(store.hook(HOOK, Some(0)).map(|_| ())),
        message(store.node(&node).map(|_| ())),
        message(store.statistics(HOOK, 2).map(|_| ())),
        message(
            store
                .windows()
                .and_then(|windows| windows.read(0..windows.len()))
                .map(|_| ()),
        ),
        message(store.windows().and_then(|windows| windows.window(3)).map(|_| ())),
        batches(&store, Filter::default()),
        batches(
            &store,
            Filter {
                role: Some(Role::END),
                ..Filter::default()
            },
        ),
    ];
    outcomes.into_iter().collect()
}

fn batches(store: &Store, filter: Filter) -> Result<(), String> {
    let config = StreamConfig {
        filter,
        rows: true,
        ..StreamConfig::of(HOOK, Some(1), 2, 0)
    };
    let mut stream = message(Stream::new(store, config))?;
    (0..4).try_for_each(|_| message(stream.next_batch()).map(|_| ()))
}

fn of_store(name: &str) -> Vec<u8> {
    let scratch = Scratch::new();
    write(scratch.path());
    fs::read(scratch.path().join(name)).expect("the store holds it")
}

/// Writes a store of invented numbers.
fn write(dir: &Path) {
    let layout = Layout {
        provenance: Provenance {
            model_hash: "model".to_owned(),
            tokenizer_hash: "tokenizer".to_owned(),
            settings: json!({ "dtype": "f32", "batch": 4 }),
        },
        hooks: BTreeMap::from([(
            HOOK,
            HookShape {
                width: HEADS * WIDTH,
                heads: Some(HEADS),
            },
        )]),
        rows: ROWS,
        dtype: StoredDtype::F32,
        rows_per_shard: ROWS_PER_SHARD,
        shuffle: None,
        roles: vec![Role::S2, Role::END],
    };
    let row = |index: usize| Row {
        row: (index / 2) as u32,
        document: (index / 2) as u32,
        position: index as u32,
        role: Some([Role::S2, Role::END][index % 2]),
        token: 7 * index as u32,
        special: index == 3,
        labels: Some(Labels::ioi([index % 3, 1, 0])),
    };
    let rows: Vec<Row> = (0..ROWS).map(row).collect();
    let values: Vec<f32> = (0..ROWS * HEADS * WIDTH).map(|index| index as f32 - 20.0).collect();
    let window = |document: u32| TokenWindow {
        document,
        ids: vec![0, document],
    };
    let windows: Vec<TokenWindow> = (0..ROWS as u32 / 2).map(window).collect();
    let mut writer = StoreWriter::create(dir, layout, &windows, Part::WHOLE, &mut |_| ()).expect("the folder is empty");
    writer.push(HOOK, 0, &rows, &values).expect("the rows are wanted");
    writer.finish().expect("the store can be written");
}
