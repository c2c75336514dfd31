//! Examples of a latent: slices in which it is active, and slices in which it is not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use activations::store::StoredWindows;
use tasks::Labels;

use super::scan::{Active, Half, Scan, Slice};
use crate::Error;

/// A slice of what the model read, with a latent's activations.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// Where it is.
    pub slice: Slice,
    /// All that the model read in that window; predicates may look back beyond the slice.
    pub ids: Arc<[u32]>,
    /// Positions of the window that have a vector.
    pub positions: Vec<usize>,
    /// The latent's activation at each of them.
    pub values: Vec<f32>,
}

impl Example {
    /// The largest activation.
    pub fn maximum(&self) -> f32 {
        self.values.iter().copied().fold(0.0, f32::max)
    }

    /// Whether the latent is active anywhere in it.
    pub fn is_active(&self) -> bool {
        self.maximum() > 0.0
    }

    /// The place, among those with a vector, of the largest activation.
    pub fn peak(&self) -> usize {
        let places = (0..self.values.len()).rev();
        places
            .max_by(|a, b| self.values[*a].total_cmp(&self.values[*b]))
            .unwrap_or(0)
    }
}

/// How many examples are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Slices in which the latent is active.
    pub active: usize,
    /// Slices in which it is not, half of which are hard.
    pub inactive: usize,
}

/// Examples of one half of the documents.
#[derive(Debug, Clone, Default)]
pub struct Examples {
    /// Active, evenly spread over the range of their largest activations, strongest first.
    pub active: Vec<Example>,
    /// Those active slices that were not taken.
    pub spare: Vec<Example>,
    /// Inactive, as they come.
    pub random: Vec<Example>,
    /// Inactive, though they hold a token on which the latent was active elsewhere.
    pub hard: Vec<Example>,
    /// Share of all slices in which the latent is active.
    pub share: f64,
}

/// Where examples come from.
#[derive(Debug)]
pub struct Contexts<'a> {
    /// What was kept of the store.
    pub scan: &'a Scan,
    windows: HashMap<u32, Arc<[u32]>>,
}

impl<'a> Contexts<'a> {
    /// Reads the windows of which a scan kept something.
    ///
    /// # Errors
    ///
    /// A damaged file of tokens.
    pub fn new(scan: &'a Scan, stored: &StoredWindows) -> Result<Self, Error> {
        let wanted = scan.windows();
        let mut windows = HashMap::new();
        // Some thousand at a time: a file of windows may be large.
        const CHUNK: usize = 4096;
        for first in (0..stored.len()).step_by(CHUNK) {
            let range = first..(first + CHUNK).min(stored.len());
            if wanted.range(range.start as u32..range.end as u32).next().is_none() {
                continue;
            }
            let numbers = range.start as u32..;
            for (number, window) in numbers.zip(stored.read(range)?) {
                if wanted.contains(&number) {
                    windows.insert(number, window.ids.into());
                }
            }
        }
        Ok(Self { scan, windows })
    }

    /// The tokens of a window of which something was kept.
    pub fn ids(&self, window: u32) -> Option<&Arc<[u32]>> {
        self.windows.get(&window)
    }

    /// The labels of a prompt.
    pub fn labels(&self, window: u32) -> Option<&Labels> {
        self.scan.prompts.get(&window)
    }

    fn example(&self, slice: Slice, active: &[Active]) -> Option<Example> {
        let ids = self.windows.get(&slice.window)?.clone();
        let positions: Vec<usize> = self.scan.positions(slice).filter(|at| *at < ids.len()).collect();
        let by_position: BTreeMap<usize, f32> = active.iter().map(|(at, value)| (*at as usize, *value)).collect();
        let values = positions
            .iter()
            .map(|at| by_position.get(at).copied().unwrap_or(0.0))
            .collect();
        Some(Example {
            slice,
            ids,
            positions,
            values,
        })
    }

    /// A latent's activations in the probes of a half, which stand for all of its tokens.
    pub fn probes(&self, latent: u32, half: Half) -> Vec<Example> {
        let active = self.scan.in_probes(half, latent);
        let of = |slice: Slice| self.example(slice, active.get(&slice).map_or(&[], Vec::as_slice));
        self.scan.probes(half).filter_map(of).collect()
    }

    /// Examples of a latent in one half of the documents.
    pub fn examples(&self, latent: u32, half: Half, sizes: Sizes) -> Examples {
        let kept = self.scan.latents[latent as usize].slices(half);
        let mut active: Vec<Example> = kept.filter_map(|(slice, active)| self.example(slice, active)).collect();
        active.sort_by(|a, b| b.maximum().total_cmp(&a.maximum()).then(a.slice.cmp(&b.slice)));
        let n = active.len();
        let take = sizes.active.min(n);
        let chosen: BTreeSet<usize> = (0..take).map(|i| i * n / take.max(1)).collect();
        let (mut taken, mut spare) = (Vec::new(), Vec::new());
        for (i, example) in active.into_iter().enumerate() {
            match chosen.contains(&i) {
                true => taken.push(example),
                false => spare.push(example),
            }
        }
        let tokens: BTreeSet<u32> = taken.iter().flat_map(active_tokens).collect();
        let probes = self.probes(latent, half);
        let silent = probes.iter().filter(|probe| !probe.is_active()).count();
        let share = 1.0 - silent as f64 / probes.len().max(1) as f64;
        let (mut random, mut hard) = (Vec::new(), Vec::new());
        for probe in probes.into_iter().filter(|probe| !probe.is_active()) {
            let is_hard = probe.positions.iter().any(|at| tokens.contains(&probe.ids[*at]));
            // Of slices that are both, every other one counts as random, so that neither list is all of one kind.
            match is_hard && (hard.len() < sizes.inactive / 2) && (hard.len() <= random.len()) {
                true => hard.push(probe),
                false if random.len() < sizes.inactive - sizes.inactive / 2 => random.push(probe),
                false => {}
            }
        }
        Examples {
            active: taken,
            spare,
            random,
            hard,
            share,
        }
    }
}

fn active_tokens(example: &Example) -> Vec<u32> {
    let places = example.positions.iter().zip(&example.values);
    places
        .filter(|(_, value)| **value > 0.0)
        .map(|(at, _)| example.ids[*at])
        .collect()
}
