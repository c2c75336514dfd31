//! What a store will hold, and where each row of the source goes: known before the first row.

use std::collections::BTreeMap;
use std::ops::Range;

use lm::HookPoint;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tasks::Role;

use super::manifest::Provenance;
use crate::StoredDtype;

/// What a store will hold.
#[derive(Debug, Clone)]
pub struct Layout {
    /// What it is made from.
    pub provenance: Provenance,
    /// The hooks and the shape of their vectors.
    pub hooks: BTreeMap<HookPoint, HookShape>,
    /// Type of the stored numbers.
    pub dtype: StoredDtype,
    /// Vectors per hook.
    pub rows: usize,
    /// Vectors per shard.
    pub rows_per_shard: usize,
    /// How rows are shuffled; `None` keeps the order of the source.
    pub shuffle: Option<Shuffle>,
    /// Semantic positions of each prompt, in the order of the rows; empty for text.
    pub roles: Vec<Role>,
}

/// A shuffle at write time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shuffle {
    /// Shards that are filled together: a row of the source may end up anywhere in those of its window.
    pub shards: usize,
    /// Seed of the order.
    pub seed: u64,
}

/// The shape of a hook's stored vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HookShape {
    /// Numbers per vector, all heads together.
    pub width: usize,
    /// Heads side by side in a vector, for hooks that have heads.
    pub heads: Option<usize>,
}

/// One of several equal shares of a harvest, in consecutive windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Which share, from 0.
    pub index: usize,
    /// How many there are, at least 1.
    pub of: usize,
}

impl Part {
    /// All of it.
    pub const WHOLE: Self = Self { index: 0, of: 1 };

    pub(super) fn holds(self, window: usize, windows: usize) -> bool {
        // In 128 bits: nobody counts the parts that the command line may ask for.
        window as u128 * self.of as u128 / windows.max(1) as u128 == self.index as u128
    }
}

impl Layout {
    pub(crate) fn shards(&self) -> usize {
        self.rows.div_ceil(self.rows_per_shard)
    }

    /// Shards of a window; the last one may have fewer.
    pub(crate) fn window_shards(&self) -> usize {
        self.shuffle.map_or(1, |shuffle| shuffle.shards.max(1))
    }

    /// The window of a row.
    pub(super) fn window_of(&self, row: usize) -> usize {
        row / self.rows_per_shard / self.window_shards()
    }

    /// The rows of a window.
    pub(crate) fn window_rows(&self, window: usize) -> Range<usize> {
        let size = self.rows_per_shard * self.window_shards();
        window * size..((window + 1) * size).min(self.rows)
    }

    pub(crate) fn windows(&self) -> usize {
        self.shards().div_ceil(self.window_shards())
    }

    /// For each row of a window in the order of the source, its place in the window.
    pub(crate) fn order(&self, window: usize) -> Vec<u32> {
        let mut places: Vec<u32> = (0..self.window_rows(window).len() as u32).collect();
        if let Some(Shuffle { seed, .. }) = self.shuffle {
            places.shuffle(&mut kernels::random::rng(seed, &format!("activations/window {window}")));
        }
        places
    }
}
