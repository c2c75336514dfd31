//! Axis 3, interpretability: does the activity of a latent coincide with the value of an attribute?
//!
//! Section 4.3 of Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)). A predicate is "the
//! attribute has the value v": IO = n and S = n for each name, Pos = ABB and Pos = BAB. A latent is active where its
//! code is above 0. With the active set `F` and the predicate set `A`: precision `|A n F| / |F|`, recall
//! `|A n F| / |A|`, `F1 = 2 |A n F| / (|A| + |F|)`.
//!
//! The best of many latents would look good by luck, so the latent is chosen on the even rows of the sample and scored
//! on the odd rows. (Halves by parity, because samples list all ABB prompts before all BAB prompts.) Only predicates
//! that hold somewhere in both halves count. An always-active latent already reaches F1 = 0.667 on a balanced Pos, so
//! its score stands beside the others as a baseline.
//!
//! Shape legend: `N` prompts, `F` latents, `P` predicates (values of the attribute), `R` resamples.

use crate::dictionaries::Codes;
use rayon::prelude::*;

/// The latent that stands for a predicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen {
    /// The predicate: the attribute has this value.
    pub value: usize,
    /// Node of the site, by its place in the list of codes.
    pub node: usize,
    /// The latent with the best F1 on the even rows.
    pub latent: u32,
}

/// Means over predicates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct F1 {
    /// Mean F1 of the chosen latents.
    pub f1: f64,
    /// Mean precision; a latent that is never active has precision 0.
    pub precision: f64,
    /// Mean recall.
    pub recall: f64,
}

/// Counts of one predicate on scored rows: both, active, holding.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    both: f64,
    active: f64,
    holds: f64,
}

/// For each value that occurs on even and on odd rows, the latent with the best F1 on the even rows.
///
/// `codes`: one per node of the site, `N` rows each; latents of all nodes compete. The lowest (node, latent) wins a
/// tie. `values[i]`: the attribute's value in prompt `i`, below `n_values`.
pub fn choose(codes: &[Codes], values: &[usize], n_values: usize) -> Vec<Chosen> {
    let mut holds = [vec![0u32; n_values], vec![0u32; n_values]];
    for (i, &value) in values.iter().enumerate() {
        holds[i % 2][value] += 1;
    }
    let mut best: Vec<Option<(f64, Chosen)>> = vec![None; n_values];
    for (node, codes) in codes.iter().enumerate() {
        let mut active = vec![0u32; codes.n_latents];
        let mut both = vec![0u32; codes.n_latents * n_values]; // [F, P]
        for (row, &value) in codes.rows.iter().zip(values).step_by(2) {
            for &(latent, _) in row.iter().filter(|entry| entry.1 > 0.0) {
                active[latent as usize] += 1;
                both[latent as usize * n_values + value] += 1;
            }
        }
        for (place, &both) in both.iter().enumerate() {
            let (latent, value) = (place / n_values, place % n_values);
            if holds[0][value] == 0 || holds[1][value] == 0 {
                continue;
            }
            let f1 = 2.0 * f64::from(both) / f64::from(holds[0][value] + active[latent]);
            if best[value].is_none_or(|(known, _)| f1 > known) {
                best[value] = Some((
                    f1,
                    Chosen {
                        value,
                        node,
                        latent: latent as u32,
                    },
                ));
            }
        }
    }
    best.into_iter().flatten().map(|(_, chosen)| chosen).collect()
}

/// Which chosen latents are active on the odd rows: for each odd row the places in `chosen`, and its value.
#[derive(Debug, Clone)]
pub struct Activity {
    n_chosen: usize,
    place_of: Vec<Option<usize>>, // [P]
    rows: Vec<(usize, Vec<u32>)>,
}

impl Activity {
    /// Reads the odd rows of `codes` (one per node, as for [`choose`]).
    pub fn of_latents(codes: &[Codes], values: &[usize], n_values: usize, chosen: &[Chosen]) -> Self {
        let mut wanted: Vec<Vec<Vec<u32>>> = codes.iter().map(|codes| vec![Vec::new(); codes.n_latents]).collect();
        for (place, chosen) in chosen.iter().enumerate() {
            wanted[chosen.node][chosen.latent as usize].push(place as u32);
        }
        let rows = values.iter().enumerate().skip(1).step_by(2).map(|(i, &value)| {
            let mut places = Vec::new();
            for (codes, wanted) in codes.iter().zip(&wanted) {
                for &(latent, _) in codes.rows[i].iter().filter(|entry| entry.1 > 0.0) {
                    places.extend_from_slice(&wanted[latent as usize]);
                }
            }
            (value, places)
        });
        let rows = rows.collect();
        Self {
            n_chosen: chosen.len(),
            place_of: places(chosen, n_values),
            rows,
        }
    }

    /// One latent that is active on every row stands for every predicate that occurs in both halves.
    pub fn always_on(values: &[usize], n_values: usize) -> Self {
        let constant = Codes {
            n_latents: 1,
            rows: vec![vec![(0, 1.0)]; values.len()],
        };
        let codes = [constant];
        let chosen = choose(&codes, values, n_values);
        Self::of_latents(&codes, values, n_values, &chosen)
    }

    /// Number of scored predicates.
    pub fn n_predicates(&self) -> usize {
        self.n_chosen
    }

    /// Number of scored (odd) rows.
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// Mean F1, precision and recall on the odd rows; `None` without predicates.
    pub fn score(&self) -> Option<F1> {
        self.weighted(&vec![1; self.rows.len()])
    }

    /// The same in each resample of the odd rows, `[R]`, the choice of latents held fixed.
    pub fn resampled(&self, counts: &[Vec<u32>]) -> Vec<Option<F1>> {
        counts.par_iter().map(|counts| self.weighted(counts)).collect()
    }

    /// The scores with row `i` counted `counts[i]` times. A predicate without a holding row is left out.
    fn weighted(&self, counts: &[u32]) -> Option<F1> {
        let mut sums = vec![Counts::default(); self.n_chosen];
        for ((value, active), &count) in self.rows.iter().zip(counts).filter(|(_, count)| **count > 0) {
            let (own, count) = (self.place_of[*value], f64::from(count));
            if let Some(own) = own {
                sums[own].holds += count;
            }
            for &place in active {
                let sum = &mut sums[place as usize];
                sum.active += count;
                sum.both += if own == Some(place as usize) { count } else { 0.0 };
            }
        }
        let (mut total, mut n) = (
            F1 {
                f1: 0.0,
                precision: 0.0,
                recall: 0.0,
            },
            0.0,
        );
        for sum in sums.iter().filter(|sum| sum.holds > 0.0) {
            total.f1 += 2.0 * sum.both / (sum.holds + sum.active);
            total.precision += sum.both / sum.active.max(1.0);
            total.recall += sum.both / sum.holds;
            n += 1.0;
        }
        (n > 0.0).then(|| F1 {
            f1: total.f1 / n,
            precision: total.precision / n,
            recall: total.recall / n,
        })
    }
}

/// Where each value stands in the list of chosen predicates, `[P]`.
fn places(chosen: &[Chosen], n_values: usize) -> Vec<Option<usize>> {
    let mut places = vec![None; n_values];
    for (place, chosen) in chosen.iter().enumerate() {
        places[chosen.value] = Some(place);
    }
    places
}
