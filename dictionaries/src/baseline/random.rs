//! The random dictionary: what a dictionary reaches without having learned anything.
//!
//! Where the paper freezes a random decoder, this one does not train its encoder either. Unit Gaussian rows `W`, encoder
//! its transpose, at most `k` latents active in each row:
//!
//! `f = top_k((a - b) W^T)`, `a^ = f W + b`, with `b` the mean activation.
//!
//! A comparison is fair in one respect at a time, so there are two: as many active latents as the dictionary it stands
//! beside (its error is then told), or the same error (its number of active latents is then told). Random directions overlap,
//! and the rule above takes no notice of it: with `t` the sum of the squared cosines between an activation and its active
//! directions it leaves about `(1 - t)^2 + t` of the variance, never under 0.75, which would make the second comparison
//! empty. So matched dictionaries go on from there by iterative hard thresholding (Blumensath and Davies 2008,
//! <https://arxiv.org/abs/0805.0510>), `f <- top_k(f + eta (a - b - f W) W^T)`, which lowers the error at the same `k` without
//! anything learned.
//!
//! Shape legend: `B` rows of a batch, `N` rows of activations, `D` width of a node, `F` latents.

use super::checked;
use crate::{Dictionary, Error, Rows};
use activations::Node;
use burn::tensor::{Device, Tensor};
use tasks::Labels;

/// A dictionary of random unit directions.
#[derive(Debug, Clone)]
pub struct RandomDictionary {
    w_dec: Tensor<2>, // [F, D]
    b_dec: Tensor<2>, // [1, D]
    k: usize,
    /// Sweeps of iterative hard thresholding behind the first selection.
    sweeps: usize,
}

/// What a random dictionary is drawn as, before it is matched.
#[derive(Debug, Clone, Copy)]
pub struct RandomSize<'a> {
    /// Width `D` of the activations.
    pub width: usize,
    /// Number of latents `F`.
    pub n_latents: usize,
    /// Seed of the directions.
    pub seed: u64,
    /// Names the stream of random numbers.
    pub node: &'a Node,
    /// Where the directions live.
    pub device: &'a Device,
}

/// A random dictionary that was made to match another, and what it came to.
pub struct Matched {
    /// The dictionary.
    pub dictionary: RandomDictionary,
    /// Mean number of active latents of a row.
    pub l0: f64,
    /// Squared error of the reconstruction over the squared distance from the mean, summed over all rows.
    pub fvu: f64,
}

/// Rows on which matches are made, at most; spread evenly over those that are given. The search costs a dozen times thirty
/// encodings of them.
const MATCH_ROWS: usize = 512;
/// Sweeps of a matched dictionary.
const SWEEPS: usize = 30;
/// Rows that are encoded at once.
const CHUNK: usize = 512;

impl RandomDictionary {
    /// Draws `n_latents` unit directions for `node` around `mean` (`[D]`, the mean of the training activations).
    ///
    /// Each node has directions of its own: the stream of random numbers is named after the node.
    pub fn new(mean: &[f32], n_latents: usize, k: usize, seed: u64, node: &Node, device: &Device) -> Self {
        let d_in = mean.len();
        let mut rng = kernels::random::rng(seed, &format!("random-dictionary/{node}"));
        let values = kernels::random::unit_rows(&mut rng, n_latents, d_in);
        Self {
            w_dec: kernels::from_vec(values, [n_latents, d_in], device), // [F, D]
            b_dec: kernels::from_vec(mean.to_vec(), [1, d_in], device),  // [1, D]
            k,
            sweeps: 0,
        }
    }

    /// The dictionary with as many active latents as another one, `l0` in the mean, fitted to activations `[N, D]`.
    ///
    /// Negative scores are never active, so fewer than asked may be where `l0` is a large part of the latents.
    ///
    /// # Errors
    /// [`Error::Baseline`] for no rows, or numbers that are not finite.
    pub fn matched_l0(values: &[f32], l0: f64, size: &RandomSize<'_>) -> Result<Matched, Error> {
        let (rows, dictionary) = Self::unfitted(values, size)?;
        Ok(dictionary.fitted(&rows, (l0.round() as usize).clamp(1, size.n_latents.max(1))))
    }

    /// The dictionary whose error is nearest to another's, `fvu`, on activations `[N, D]`, by binary search over the number
    /// of active latents.
    ///
    /// Random directions cannot reach every error: the nearest may be far, so look at [`Matched::fvu`].
    ///
    /// # Errors
    /// [`Error::Baseline`] for no rows, or numbers that are not finite.
    pub fn matched_fvu(values: &[f32], fvu: f64, size: &RandomSize<'_>) -> Result<Matched, Error> {
        let (rows, mut dictionary) = Self::unfitted(values, size)?;
        // The error falls with every further latent.
        let (mut low, mut high) = (1, size.n_latents.max(1));
        let mut best: Option<Matched> = None;
        while low <= high {
            let k = low + (high - low) / 2;
            let found = dictionary.fitted(&rows, k);
            let exact_enough = found.fvu <= fvu;
            dictionary = found.dictionary.clone();
            if best
                .as_ref()
                .is_none_or(|best| (found.fvu - fvu).abs() < (best.fvu - fvu).abs())
            {
                best = Some(found);
            }
            match exact_enough {
                true => high = k - 1,
                false => low = k + 1,
            }
        }
        Ok(best.unwrap_or_else(|| dictionary.fitted(&rows, 1)))
    }

    fn unfitted(values: &[f32], size: &RandomSize<'_>) -> Result<(Rows, Self), Error> {
        let width = size.width;
        let all = checked("random", values, width)?;
        let dictionary = Self {
            sweeps: SWEEPS,
            ..Self::new(&all.mean(), size.n_latents, 1, size.seed, size.node, size.device)
        };
        let step = all.len().div_ceil(MATCH_ROWS);
        let mut rows = Rows::empty(width);
        (0..all.len())
            .step_by(step)
            .for_each(|row| rows.extend(&Rows::new(width, all.row(row).to_vec())));
        Ok((rows, dictionary))
    }

    /// The same directions with `k` active latents, and what that comes to on `rows`.
    fn fitted(self, rows: &Rows, k: usize) -> Matched {
        let dictionary = Self { k, ..self };
        let (device, mean) = (dictionary.device(), kernels::to_vec(dictionary.b_dec.clone()));
        let (mut active, mut error, mut variance) = (0, 0.0, 0.0);
        for start in (0..rows.len()).step_by(CHUNK) {
            let range = start..(start + CHUNK).min(rows.len());
            let codes = dictionary.encode(rows.tensor(range.clone(), &device), &[]); // [B, F]
            let rebuilt = Rows::from_tensor(dictionary.decode(codes.clone())); // [B, D]
            active += kernels::to_vec(codes).iter().filter(|code| **code > 0.0).count();
            for (i, row) in range.enumerate() {
                for ((a, r), b) in rows.row(row).iter().zip(rebuilt.row(i)).zip(&mean) {
                    error += f64::from(a - r).powi(2);
                    variance += f64::from(a - b).powi(2);
                }
            }
        }
        Matched {
            dictionary,
            l0: active as f64 / rows.len().max(1) as f64,
            fvu: if variance > 0.0 { error / variance } else { 0.0 },
        }
    }

    /// The mean of activations `[N, D]`, for [`RandomDictionary::new`].
    pub fn mean(values: &[f32], width: usize) -> Vec<f32> {
        Rows::new(width, values.to_vec()).mean()
    }
}

impl Dictionary for RandomDictionary {
    fn d_in(&self) -> usize {
        self.w_dec.dims()[1]
    }

    fn n_latents(&self) -> usize {
        self.w_dec.dims()[0]
    }

    fn device(&self) -> Device {
        self.w_dec.device()
    }

    fn encode(&self, activations: Tensor<2>, _labels: &[Labels]) -> Tensor<2> {
        let centred = activations - self.b_dec.clone(); // [B, D]
        let scores = |residual: Tensor<2>| kernels::matmul(residual, self.w_dec.clone().transpose()); // [B, F]
        // One over the largest eigenvalue of W^T W, by the law of large random matrices: no sweep raises the error.
        let rate = 1.0 / (1.0 + (self.n_latents() as f64 / self.d_in() as f64).sqrt()).powi(2);
        let mut codes = kernels::top_k(scores(centred.clone()), self.k);
        for _ in 0..self.sweeps {
            let residual = centred.clone() - kernels::matmul(codes.clone(), self.w_dec.clone()); // [B, D]
            codes = kernels::top_k(codes + scores(residual) * rate, self.k);
        }
        codes
    }

    fn decode(&self, codes: Tensor<2>) -> Tensor<2> {
        kernels::matmul(codes, self.w_dec.clone()) + self.b_dec.clone() // [B, D]
    }

    fn directions(&self) -> Tensor<2> {
        self.w_dec.clone() // [F, D]
    }
}
