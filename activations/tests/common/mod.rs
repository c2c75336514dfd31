//! Stores made of invented numbers, for the tests of the format.

use std::collections::BTreeMap;
use std::path::Path;

use activations::store::{HookShape, Layout, Provenance, Row, TokenWindow};
use activations::{Error, Manifest, Part, StoreWriter, StoredDtype};
use lm::HookPoint;
use tasks::{Labels, Role};

/// Roles of the invented prompts.
pub(crate) const ROLES: [Role; 2] = [Role::S2, Role::END];
/// Heads of the invented `hook_z`.
pub(crate) const HEADS: usize = 3;

/// A store of `prompts` prompts: a hook of this width and one of three heads of this width.
pub(crate) fn layout(prompts: usize, width: usize, rows_per_shard: usize) -> Layout {
    let hooks = BTreeMap::from([
        (HookPoint::ResidPre(1), HookShape { width, heads: None }),
        (
            HookPoint::Z(0),
            HookShape {
                width: width * HEADS,
                heads: Some(HEADS),
            },
        ),
    ]);
    let provenance = Provenance {
        model_hash: "model".into(),
        tokenizer_hash: "tokenizer".into(),
        settings: serde_json::json!({ "dtype": "f32", "batch": 4 }),
    };
    Layout {
        provenance,
        hooks,
        rows: prompts * ROLES.len(),
        dtype: StoredDtype::F32,
        rows_per_shard,
        shuffle: None,
        roles: ROLES.to_vec(),
    }
}

/// The rows of the invented prompts.
pub(crate) fn rows(prompts: usize) -> Vec<Row> {
    let row = |index: usize| {
        let prompt = index / ROLES.len();
        Row {
            row: prompt as u32,
            document: prompt as u32,
            position: (index % 7) as u32,
            role: Some(ROLES[index % ROLES.len()]),
            token: (index * 31) as u32,
            special: index.is_multiple_of(11),
            labels: Some(Labels::ioi([prompt % 5, prompt % 3, prompt % 2])),
        }
    };
    (0..prompts * ROLES.len()).map(row).collect()
}

/// The tokens of the invented prompts of the smallest store.
pub(crate) fn windows() -> Vec<TokenWindow> {
    let window = |prompt: u32| TokenWindow {
        document: prompt,
        ids: (0..7).map(|position| 7 * prompt + position).collect(),
    };
    (0..10).map(window).collect()
}

/// The numbers of a hook, `[rows, width]`.
pub(crate) fn values(hook: HookPoint, rows: usize, width: usize) -> Vec<f32> {
    let salt = hook.to_string().len();
    (0..rows * width)
        .map(|index| ((index * 7919 + salt) % 1013) as f32 / 97.0 - 5.0)
        .collect()
}

/// A writer that no other process keeps waiting, on a disk with locks.
pub(crate) fn create(dir: &Path, layout: Layout, part: Part) -> Result<StoreWriter, Error> {
    StoreWriter::create(dir, layout, &windows(), part, &mut |locking| {
        unreachable!("{locking:?}")
    })
}

/// Writes the store, `push` rows at a time; returns how many rows of each hook were still wanted.
pub(crate) fn write(dir: &Path, layout: Layout, push: usize) -> Result<(Manifest, BTreeMap<HookPoint, usize>), Error> {
    let (hooks, total) = (layout.hooks.clone(), layout.rows);
    let rows = rows(total / ROLES.len());
    let mut writer = create(dir, layout, Part::WHOLE)?;
    let mut wanted = BTreeMap::new();
    for (&hook, shape) in &hooks {
        let values = values(hook, total, shape.width);
        for start in (0..total).step_by(push) {
            let end = (start + push).min(total);
            if writer.wanted(hook).any(start..end) {
                *wanted.entry(hook).or_default() += end - start;
                writer.push(
                    hook,
                    start,
                    &rows[start..end],
                    &values[start * shape.width..end * shape.width],
                )?;
            }
        }
    }
    match writer.finish()? {
        Some(manifest) => Ok((manifest, wanted)),
        None => unreachable!("the whole has no other part"),
    }
}
