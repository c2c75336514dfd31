//! How well latents stand for known features: SynthSAEBench's measures (`sae_lens.synthetic.evals`).
//!
//! A latent belongs to the feature whose direction its decoder row is most alike, by absolute cosine; what it fires on is compared
//! with where that feature is active. Every mean is over all latents, dead ones included.
//!
//! Shapes: `F` latents, `N` features, `D` width, `B` rows.

use std::collections::BTreeSet;

use artifacts::rounded;
use burn::tensor::{Device, Tensor};
use dictionaries::Autoencoder;
use kernels::{assign, from_vec, matmul, random, to_vec};
use serde::{Deserialize, Serialize};

use crate::dictionary::{FeatureDictionary, normalise};
use crate::features::FeatureRows;

/// Rows that are encoded at once.
const ROWS: usize = 4096;
/// Rows shorter than this have no ratio of lengths.
const SHORT: f64 = 1e-6;

/// Whatever encodes and reconstructs rows with a decoder that has a row a latent.
pub trait Coder {
    /// Decoder rows, `[F, D]`.
    fn decoder(&self) -> Vec<f32>;
    /// Codes `[B, F]` and reconstructions `[B, D]` of rows `[B, D]`.
    fn run(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<2>);
}

impl Coder for Autoencoder {
    fn decoder(&self) -> Vec<f32> {
        to_vec(self.parameters.w_dec.clone())
    }

    fn run(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let codes = self.codes(x.clone());
        (codes.clone(), self.reconstruct_from(x, codes))
    }
}

/// What was measured of one coder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean absolute cosine of latents and features under the best assignment of one to the other.
    pub mcc: f64,
    /// [`Scores::mcc`] of as many random directions.
    pub chance_mcc: f64,
    /// Harmonic mean of a latent's precision and recall for its feature; 0 where undefined.
    pub f1: f64,
    /// Share of the rows that a latent fires on on which its feature is active.
    pub precision: f64,
    /// Share of the rows on which its feature is active that a latent fires on.
    pub recall: f64,
    /// Features that some latent belongs to, for each latent.
    pub uniqueness: f64,
    /// Latents that fired on no row.
    pub dead: usize,
    /// Mean number of active latents of a row.
    pub l0: f64,
    /// One minus the squared error over the variance of the rows.
    pub explained_variance: f64,
    /// Mean length of a reconstruction over that of its row.
    pub shrinkage: f64,
}

/// Rows with known features, on which coders are measured.
#[derive(Debug, Clone)]
pub struct Truth<'a> {
    /// The directions.
    pub dictionary: &'a FeatureDictionary,
    /// Which features are active.
    pub rows: &'a FeatureRows,
    /// What they add up to, `[B, D]`.
    pub x: &'a [f32],
}

/// Rows of each latent and its feature.
#[derive(Debug, Clone, Default)]
struct Counts {
    /// Both are active.
    both: usize,
    /// The latent is.
    latent: usize,
    /// The feature is.
    feature: usize,
}

impl Counts {
    /// Precision, recall and F1.
    fn scores(&self) -> [f64; 3] {
        let ratio = |of: usize| if of > 0 { self.both as f64 / of as f64 } else { 0.0 };
        let (precision, recall) = (ratio(self.latent), ratio(self.feature));
        let sum = precision + recall;
        let f1 = if sum > 0.0 { 2.0 * precision * recall / sum } else { 0.0 };
        [precision, recall, f1]
    }
}

/// Absolute cosines of decoder rows with the directions, `[F, N]`.
#[derive(Debug, Clone)]
pub struct Alignment {
    cosines: Vec<f32>,
    features: usize,
}

impl Alignment {
    /// Of decoder rows `[F, D]` of any length.
    pub fn new(mut decoder: Vec<f32>, dictionary: &FeatureDictionary, device: &Device) -> Self {
        let (d, features) = (dictionary.width, dictionary.len());
        normalise(&mut decoder, d, 1.0);
        let latents = decoder.len() / d;
        let directions: Tensor<2> = from_vec(dictionary.directions.clone(), [features, d], device);
        let products = matmul(from_vec(decoder, [latents, d], device), directions.transpose()); // [F, N]
        let cosines = to_vec(products).into_iter().map(f32::abs).collect();
        Self { cosines, features }
    }

    /// The feature of each latent; of equally similar ones the first.
    pub fn best(&self) -> Vec<usize> {
        let of = |cosines: &[f32]| {
            let better = |best: usize, place: usize| if cosines[place] > cosines[best] { place } else { best };
            (0..cosines.len()).fold(0, better)
        };
        self.cosines.chunks_exact(self.features).map(of).collect()
    }

    /// [`Scores::mcc`].
    pub fn mcc(&self) -> f64 {
        let weight = |latent: usize, feature: usize| f64::from(self.cosines[latent * self.features + feature]);
        let pairs = assign(self.cosines.len() / self.features, self.features, &weight);
        pairs
            .iter()
            .map(|&(latent, feature)| weight(latent, feature))
            .sum::<f64>()
            / pairs.len().max(1) as f64
    }
}

/// [`Scores::mcc`] of `latents` random directions.
pub fn chance_mcc(latents: usize, dictionary: &FeatureDictionary, seed: u64, device: &Device) -> f64 {
    let rows = random::unit_rows(&mut random::rng(seed, "synthetic/chance"), latents, dictionary.width);
    rounded(Alignment::new(rows, dictionary, device).mcc())
}

/// Measures a coder; `chance_mcc` is that of as many random directions.
pub fn score(coder: &dyn Coder, truth: &Truth<'_>, chance_mcc: f64, device: &Device) -> Scores {
    let d = truth.dictionary.width;
    let alignment = Alignment::new(coder.decoder(), truth.dictionary, device);
    let best = alignment.best();
    let latents = best.len();
    // The latents of each feature, so that a row is read feature by feature.
    let mut latents_of = vec![Vec::new(); truth.dictionary.len()];
    for (latent, &feature) in best.iter().enumerate() {
        latents_of[feature].push(latent);
    }
    let mut counts = vec![Counts::default(); latents];
    let (mut error, mut ratios, mut n_ratios) = (0.0, 0.0, 0_usize);
    for start in (0..truth.rows.len()).step_by(ROWS) {
        let rows = ROWS.min(truth.rows.len() - start);
        let x = &truth.x[start * d..][..rows * d];
        let (codes, reconstruction) = coder.run(from_vec(x.to_vec(), [rows, d], device));
        let (codes, reconstruction) = (to_vec(codes), to_vec(reconstruction)); // [B, F], [B, D]
        for (row, codes) in codes.chunks_exact(latents).enumerate() {
            for (count, _) in counts.iter_mut().zip(codes).filter(|(_, code)| **code != 0.0) {
                count.latent += 1;
            }
            for &(feature, _) in truth.rows.row(start + row) {
                for &latent in &latents_of[feature as usize] {
                    counts[latent].feature += 1;
                    counts[latent].both += usize::from(codes[latent] != 0.0);
                }
            }
        }
        for (x, y) in x.chunks_exact(d).zip(reconstruction.chunks_exact(d)) {
            error += x.iter().zip(y).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>();
            let [of_x, of_y] = [x, y].map(|row| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt());
            if of_x > SHORT {
                ratios += of_y / of_x;
                n_ratios += 1;
            }
        }
    }
    let n = latents.max(1) as f64;
    let sums = counts.iter().fold([0.0; 3], |mut sums, count| {
        sums.iter_mut()
            .zip(count.scores())
            .for_each(|(sum, score)| *sum += score);
        sums
    });
    let [precision, recall, f1] = sums.map(|sum| rounded(sum / n));
    Scores {
        mcc: rounded(alignment.mcc()),
        chance_mcc,
        f1,
        precision,
        recall,
        uniqueness: rounded(best.iter().collect::<BTreeSet<_>>().len() as f64 / n),
        dead: counts.iter().filter(|count| count.latent == 0).count(),
        l0: rounded(counts.iter().map(|count| count.latent).sum::<usize>() as f64 / truth.rows.len().max(1) as f64),
        explained_variance: rounded(1.0 - error / variance(truth.x, d)),
        shrinkage: rounded(ratios / n_ratios.max(1) as f64),
    }
}

/// Mean of rows `[B, D]`: `[D]`.
pub(crate) fn mean(x: &[f32], d: usize) -> Vec<f32> {
    let n = (x.len() / d).max(1) as f64;
    let mut sums = vec![0.0_f64; d];
    for row in x.chunks_exact(d) {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    sums.into_iter().map(|sum| (sum / n) as f32).collect()
}

/// Sum over rows `[B, D]` of the squared distance from their mean.
pub(crate) fn variance(x: &[f32], d: usize) -> f64 {
    let mean = mean(x, d);
    let of = |row: &[f32]| {
        row.iter()
            .zip(&mean)
            .map(|(x, mean)| f64::from(x - mean).powi(2))
            .sum::<f64>()
    };
    x.chunks_exact(d).map(of).sum()
}
