//! The directions of the features: nearly orthogonal unit vectors, and the activations that they add up to.
//!
//! Steps 1 and 8 of SynthSAEBench's generator (<https://arxiv.org/abs/2602.14687>; `sae_lens.synthetic.feature_dictionary`).
//!
//! Shapes: `N` features, `D` width, `B` rows.

use burn::tensor::{Device, Tensor};
use kernels::{Adam, AdamConfig, Update, from_vec, matmul, random, to_vec};
use rayon::prelude::*;

use crate::features::FeatureRows;

/// Steps that make random directions more orthogonal, and their learning rate.
const STEPS: usize = 100;
const LEARNING_RATE: f64 = 3e-4;
/// Directions whose products with all others are held at once.
const CHUNK: usize = 1024;
/// Length of the bias.
const BIAS_NORM: f32 = 0.5;
const LEAST_NORM: f32 = 1e-8;

/// The directions of the features and what is added to every row.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureDictionary {
    /// Width of an activation, `D`.
    pub width: usize,
    /// A unit vector a feature, `[N, D]`.
    pub directions: Vec<f32>,
    /// `[D]`.
    pub bias: Vec<f32>,
}

impl FeatureDictionary {
    /// `features` directions of `width` numbers, random and then made more orthogonal.
    pub fn new(features: usize, width: usize, seed: u64, device: &Device) -> Self {
        let directions = random::normal(&mut random::rng(seed, "synthetic/directions"), features * width, 1.0);
        let bias = random::normal(&mut random::rng(seed, "synthetic/bias"), width, 1.0);
        Self::from_draws(width, directions, bias, device)
    }

    /// From normal numbers `[N, D]` and `[D]`.
    pub fn from_draws(width: usize, directions: Vec<f32>, mut bias: Vec<f32>, device: &Device) -> Self {
        normalise(&mut bias, width, BIAS_NORM);
        Self {
            width,
            directions: orthogonalise(directions, width, device),
            bias,
        }
    }

    /// Number of directions, `N`.
    pub fn len(&self) -> usize {
        self.directions.len() / self.width
    }

    /// Whether there are no directions.
    pub fn is_empty(&self) -> bool {
        self.directions.is_empty()
    }

    /// What rows of features add up to: `[B, D]`.
    pub fn activations(&self, rows: &FeatureRows) -> Vec<f32> {
        let d = self.width;
        let mut values = vec![0.0; rows.len() * d];
        values.par_chunks_mut(d).enumerate().for_each(|(row, x)| {
            x.copy_from_slice(&self.bias);
            for &(feature, activation) in rows.row(row) {
                let direction = &self.directions[feature as usize * d..][..d];
                x.iter_mut().zip(direction).for_each(|(x, u)| *x += activation * u);
            }
        });
        values
    }

    /// How close directions come to each other: the mean over features of the largest absolute cosine with another one.
    pub fn closeness(&self, device: &Device) -> f64 {
        let n = self.len();
        let all: Tensor<2> = from_vec(self.directions.clone(), [n, self.width], device);
        let mut sum = 0.0;
        for start in (0..n).step_by(CHUNK) {
            let rows = CHUNK.min(n - start);
            let products = matmul(all.clone().narrow(0, start, rows), all.clone().transpose()); // [rows, N]
            for (row, products) in to_vec(products).chunks_exact(n).enumerate() {
                let others = products.iter().enumerate().filter(|(other, _)| *other != start + row);
                sum += f64::from(others.map(|(_, x)| x.abs()).fold(0.0, f32::max));
            }
        }
        sum / n as f64
    }
}

/// Lets Adam lessen `sum over i != j of (u_i . u_j)^2 + N sum over i of (|u_i|^2 - 1)^2`, from unit vectors to unit vectors.
fn orthogonalise(mut directions: Vec<f32>, width: usize, device: &Device) -> Vec<f32> {
    normalise(&mut directions, width, 1.0);
    let n = directions.len() / width;
    let mut u: Tensor<2> = from_vec(directions, [n, width], device); // [N, D]
    let mut adam = Adam::new(AdamConfig::default(), 1);
    for _ in 0..STEPS {
        let chunks = (0..n).step_by(CHUNK).map(|start| {
            let chunk = u.clone().narrow(0, start, CHUNK.min(n - start));
            matmul(matmul(chunk, u.clone().transpose()), u.clone()) // [chunk, D]
        });
        let products = Tensor::cat(chunks.collect(), 0); // [N, D]
        // The product of a direction with itself has another weight than those with others.
        let squares = u.clone().square().sum_dim(1); // [N, 1]
        let own = (squares.clone() - 1.0) * n as f64 - squares;
        let gradient = (products + u.clone() * own) * 4.0;
        adam.begin_step();
        adam.update(0, &mut u, gradient, &Update::plain(LEARNING_RATE));
    }
    let mut directions = to_vec(u);
    normalise(&mut directions, width, 1.0);
    directions
}

/// Brings rows of `width` numbers to a length.
pub(crate) fn normalise(rows: &mut [f32], width: usize, length: f32) {
    for row in rows.chunks_exact_mut(width) {
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(LEAST_NORM);
        row.iter_mut().for_each(|x| *x *= length / norm);
    }
}
