//! Which values of an attribute have a latent of their own.
//!
//! Section 4.4 of Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)): coverage of an attribute
//! at `theta` is the share of its values for which some latent has F1 >= theta against "the attribute has this value".
//! With a latent active on `a` prompts, the value held by `h`, and both on `b`: `F1 = 2 b / (a + h)`. Single values, no
//! unions.
//!
//! Shape legend: `N` prompts, `F` latents, `P` values.

use dictionaries::Codes;

/// How often latents are active, values hold, and both; weighted by how often each prompt counts.
#[derive(Debug, Clone)]
pub struct Counts {
    /// `[F]`.
    pub active: Vec<u32>,
    /// `[F, P]`, row-major.
    pub both: Vec<u32>,
    /// `[P]`.
    pub holds: Vec<u32>,
}

impl Counts {
    /// Nothing counted yet.
    pub fn new(n_latents: usize, n_values: usize) -> Self {
        Self {
            active: vec![0; n_latents],
            both: vec![0; n_latents * n_values],
            holds: vec![0; n_values],
        }
    }

    /// Counts the latents of all nodes of a site side by side; prompt `i` counts `weights[i]` times.
    pub fn of_codes(codes: &[Codes], values: &[usize], n_values: usize, weights: &[u32]) -> Self {
        let mut counts = Self::new(codes.iter().map(|codes| codes.n_latents).sum(), n_values);
        for (&value, &weight) in values.iter().zip(weights) {
            counts.holds[value] += weight;
        }
        let mut first = 0;
        for codes in codes {
            let rows = codes.rows.iter().zip(values).zip(weights);
            for ((row, &value), &weight) in rows.filter(|(_, weight)| **weight > 0) {
                for &(latent, _) in row.iter().filter(|entry| entry.1 > 0.0) {
                    let latent = first + latent as usize;
                    counts.active[latent] += weight;
                    counts.both[latent * n_values + value] += weight;
                }
            }
            first += codes.n_latents;
        }
        counts
    }

    /// The best F1 of any latent against each value, `[P]`; `None` for a value that fewer than `least` prompts hold.
    pub fn best_f1(&self, least: u32) -> Vec<Option<f64>> {
        let n_values = self.holds.len();
        let mut best = vec![0f64; n_values];
        for (latent, &active) in self.active.iter().enumerate().filter(|(_, active)| **active > 0) {
            let both = &self.both[latent * n_values..][..n_values];
            for ((best, &both), &holds) in best.iter_mut().zip(both).zip(&self.holds) {
                *best = best.max(2.0 * f64::from(both) / f64::from(active + holds));
            }
        }
        let held = self.holds.iter().map(|&holds| holds >= least.max(1));
        held.zip(best).map(|(held, f1)| held.then_some(f1)).collect()
    }
}

/// Share of the defined values whose best F1 is at least `theta`; `None` when none is defined.
pub fn coverage(best_f1: &[Option<f64>], theta: f64) -> Option<f64> {
    let defined: Vec<f64> = best_f1.iter().copied().flatten().collect();
    let covered = defined.iter().filter(|f1| **f1 >= theta).count();
    (!defined.is_empty()).then(|| covered as f64 / defined.len() as f64)
}

/// The occlusion index, 1 - weak / strong: 0 for none, 1 when the weak attribute has no latents at all. `None` when the
/// strong attribute has none either.
pub fn occlusion_index(strong: f64, weak: f64) -> Option<f64> {
    (strong > 0.0).then(|| 1.0 - weak / strong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f1_by_hand() {
        // Latent 0 is active where the value is 0 and once where it is 1; latent 1 of the second node never.
        let first = Codes {
            n_latents: 1,
            rows: vec![vec![(0, 1.0)], vec![(0, 2.0)], vec![(0, 0.5)], vec![(0, -1.0)]],
        };
        let second = Codes {
            n_latents: 2,
            rows: vec![vec![], vec![], vec![(0, 1.0)], vec![(0, 1.0)]],
        };
        let counts = Counts::of_codes(&[first, second], &[0, 0, 1, 1], 3, &[1; 4]);
        assert_eq!(counts.active, [3, 2, 0]);
        let best = counts.best_f1(1);
        assert_eq!(best, [Some(0.8), Some(1.0), None]);
        assert_eq!(coverage(&best, 0.9), Some(0.5));
        assert_eq!(coverage(&[None], 0.9), None);
        assert_eq!(counts.best_f1(3), [None, None, None]);
        assert_eq!(occlusion_index(0.8, 0.2), Some(0.75));
        assert_eq!(occlusion_index(0.0, 0.0), None);
    }

    #[test]
    fn weights_repeat_prompts() {
        let codes = |rows: &[usize]| Codes {
            n_latents: 4,
            rows: rows.iter().map(|&i| vec![(i as u32 % 4, 1.0), (3, 0.5)]).collect(),
        };
        let (values, weights) = ([0, 1, 2, 0, 1], [2, 0, 1, 3, 0]);
        let weighted = Counts::of_codes(&[codes(&[0, 1, 2, 3, 4])], &values, 3, &weights);
        let repeated = Counts::of_codes(&[codes(&[0, 0, 2, 3, 3, 3])], &[0, 0, 2, 0, 0, 0], 3, &[1; 6]);
        assert_eq!((weighted.active, weighted.both), (repeated.active, repeated.both));
    }
}
