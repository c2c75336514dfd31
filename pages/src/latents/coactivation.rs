//! Which latents are active together.
//!
//! The counts of all pairs are kept in 16 bits each, and no more rows are counted than these can hold, nor more pairs than can be
//! counted in a minute.

use super::contexts::SparseCodes;

/// Pairs of active latents after which no further row is counted.
const MOST_PAIRS: u64 = 400_000_000;

/// Latents whose pairs fit into 1 GB; those of a larger dictionary are not counted.
const MOST_LATENTS: usize = 32_000;

/// Neighbours of a latent that are kept.
const KEPT: usize = 6;

/// Counts of pairs.
pub(super) struct Coactivation {
    n_latents: usize,
    rows: u64,
    pairs: u64,
    active: Vec<u16>,
    /// `both[a (a - 1) / 2 + b]` for `b < a`.
    both: Vec<u16>,
}

impl Coactivation {
    pub(super) fn new(n_latents: usize) -> Self {
        let pairs = match n_latents <= MOST_LATENTS {
            true => n_latents * n_latents.saturating_sub(1) / 2,
            false => 0,
        };
        Self {
            n_latents,
            rows: 0,
            pairs: 0,
            active: vec![0; n_latents],
            both: vec![0; pairs],
        }
    }

    /// Rows that were counted.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Counts rows, by rising latent each, until there are enough.
    pub(super) fn add(&mut self, codes: &[SparseCodes]) {
        for active in codes {
            if self.rows >= u64::from(u16::MAX) || self.pairs >= MOST_PAIRS || self.n_latents > MOST_LATENTS {
                return;
            }
            self.rows += 1;
            self.pairs += (active.len() * active.len() / 2) as u64;
            for (place, &(a, _)) in active.iter().enumerate() {
                self.active[a as usize] += 1;
                let start = a as usize * (a as usize).saturating_sub(1) / 2;
                for &(b, _) in &active[..place] {
                    self.both[start + b as usize] += 1;
                }
            }
        }
    }

    fn both(&self, a: usize, b: usize) -> u16 {
        let (high, low) = (a.max(b), a.min(b));
        self.both
            .get(high * high.saturating_sub(1) / 2 + low)
            .copied()
            .unwrap_or(0)
    }

    /// The latents with the largest Jaccard index for each latent: rows on which both are active over rows on which either is, `F`.
    pub(super) fn nearest(&self) -> Vec<Vec<(u32, f32)>> {
        use rayon::prelude::*;
        let of = |a: usize| {
            let jaccard = |b: usize| {
                let both = f32::from(self.both(a, b));
                both / (f32::from(self.active[a]) + f32::from(self.active[b]) - both)
            };
            let others = (0..self.n_latents).filter(|&b| b != a && self.both(a, b) > 0);
            super::neighbours::largest(others.map(|b| (b as u32, jaccard(b))), KEPT)
        };
        (0..self.n_latents).into_par_iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_those_of_a_count_of_every_pair() {
        let rows: Vec<SparseCodes> = (0..200_u32)
            .map(|i| {
                (0..7)
                    .filter(|latent| (i * 13 + latent * latent * 5) % 7 < 3)
                    .map(|latent| (latent, 1.0))
                    .collect()
            })
            .collect();
        let mut found = Coactivation::new(7);
        found.add(&rows[..50]);
        found.add(&rows[50..]);
        let has = |row: &SparseCodes, latent: u32| row.iter().any(|entry| entry.0 == latent);
        for (a, near) in (0..).zip(found.nearest()) {
            for (b, value) in near {
                let both = rows.iter().filter(|row| has(row, a) && has(row, b)).count() as f32;
                let either = rows.iter().filter(|row| has(row, a) || has(row, b)).count() as f32;
                assert!(a != b && (value - both / either).abs() < 1e-6);
            }
        }
        assert_eq!(found.rows(), 200);
    }
}
