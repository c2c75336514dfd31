//! P5: without any training, 1,000 random latents beat the two ideal ones on two Gaussians.
//!
//! The analysis of Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366), section 4.4 and figure
//! 14). `D` is an equal mixture of `+-mu + N(0, I)` in 100 dimensions, `|mu| = 2`; the loss is the squared error summed
//! over dimensions plus lambda times the sum of codes.
//!
//! * The ideal family: decoder rows `+-mu / |mu|`, encoder rows `+-k mu`, encoder biases `-gamma`, no decoder bias;
//!   `gamma` in [0, 5] (100 values), `k` in [0, 2] (20 values). Only `t = mu x / |mu|` matters, so the loss is an integral
//!   over `t`, computed here to about six digits instead of sampled: the 99 other dimensions cost exactly 99.
//! * The random family: encoder rows `beta w_j` with `w_j` drawn from `D`, decoder rows `w_j / |w_j|`, biases `-gamma`.
//!   With `tau = gamma / beta` and `g_j = relu(w_j x - tau)` the codes are `beta g_j`, so for one `tau` the loss is a
//!   parabola in `beta`, whose minimum in [0, 0.1] is known; only `tau` is searched. All `tau` and lambda see the same
//!   draws. `tau` and `beta` are chosen on one half of the draws and the loss is measured on the other, against the exact
//!   104 of the silent autoencoder.
//!
//! The published random curve has `gamma` near 2.35 throughout and cannot be had from the text of the paper; with `gamma`
//! tuned the claim holds, which is what is checked.
//!
//! Shape legend: `D` = 100, `M` random latents, `N` draws.

use dictionaries::dot;
use kernels::random::{self, ChaCha8Rng};
use kernels::{Matrix, gemm};
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Width `D`.
pub const WIDTH: usize = 100;
/// `|mu|`.
const DISTANCE: f64 = 2.0;
/// The loss of an autoencoder that does nothing: E |x|^2.
pub(crate) const SILENT: f64 = WIDTH as f64 + DISTANCE * DISTANCE;
/// The ideal curve of figure 14, at lambda 0 to 7.
pub const PUBLISHED_IDEAL: [f64; 8] = [98.96, 100.74, 102.05, 102.93, 103.48, 103.76, 103.87, 103.93];
/// Largest factor of the random encoder rows.
const MOST_BETA: f64 = 0.1;
/// Thresholds `tau` that are tried lie between these, in geometric progression.
const TAUS: [f64; 2] = [4.0, 64.0];
/// Draws that are worked on at once, by one thread.
const CHUNK: usize = 250;

/// An endless stream of draws from the mixture, with `mu` in a random direction.
pub(crate) struct TwoGaussians {
    mu: Vec<f32>,
    rng: ChaCha8Rng,
}

impl TwoGaussians {
    /// The mixture of `seed` (its `mu` depends on nothing else) and one stream of draws from it.
    pub(crate) fn new(seed: u64, stream: &str) -> Self {
        let direction = random::unit_rows(&mut random::rng(seed, "two-gaussians/mu"), 1, WIDTH);
        Self {
            mu: direction.iter().map(|x| x * DISTANCE as f32).collect(),
            rng: random::rng(seed, stream),
        }
    }

    /// The next `n` rows, `[n, D]`, row-major.
    pub(crate) fn draw(&mut self, n: usize) -> Vec<f32> {
        let mut values = random::normal(&mut self.rng, n * WIDTH, 1.0);
        for row in values.chunks_mut(WIDTH) {
            let sign = if self.rng.random_bool(0.5) { 1.0 } else { -1.0 };
            row.iter_mut().zip(&self.mu).for_each(|(x, mu)| *x += sign * mu);
        }
        values
    }

    /// |cos| of a unit vector `[D]` with `mu`.
    pub(crate) fn cosine(&self, row: &[f32]) -> f64 {
        (dot(row, &self.mu) / DISTANCE).abs()
    }
}

/// The best member of the ideal family at one lambda.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ideal {
    /// Weight of the penalty.
    pub lambda: f64,
    /// Total loss.
    pub loss: f64,
    /// Minus the encoder biases.
    pub gamma: f64,
    /// Factor of the encoder rows.
    pub k: f64,
    /// Share of inputs on which one of the two latents is active.
    pub firing: f64,
}

/// The best member of the ideal family at each lambda.
pub fn ideal(lambdas: &[f64]) -> Vec<Ideal> {
    const STEPS: usize = 4000;
    const REACH: f64 = 10.0; // standard deviations beyond which there is nothing to integrate
    let h = (2.0 * REACH + DISTANCE) / STEPS as f64;
    let normal = |x: f64| (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let points: Vec<(f64, f64)> = (0..=STEPS)
        .map(|i| -REACH + i as f64 * h)
        .map(|t| (t, 0.5 * (normal(t - DISTANCE) + normal(t + DISTANCE)) * h))
        .collect();
    let mut cells = Vec::new();
    for of_k in 0..20 {
        for of_gamma in 0..100 {
            let (k, gamma) = (2.0 * f64::from(of_k) / 19.0, 5.0 * f64::from(of_gamma) / 99.0);
            // One latent; the other sees the mirror image, and both are never active at once since gamma >= 0.
            let (mut error, mut price, mut firing) = (0.0, 0.0, 0.0);
            for &(t, weight) in &points {
                let code = k * DISTANCE * t - gamma;
                if code > 0.0 {
                    error += weight * ((t - code).powi(2) - t * t);
                    price += weight * code;
                    firing += weight;
                }
            }
            cells.push((k, gamma, 2.0 * error, 2.0 * price, 2.0 * firing));
        }
    }
    let best = |lambda: f64| {
        let of = cells.iter().map(|&(k, gamma, error, price, firing)| Ideal {
            lambda,
            loss: SILENT + error + lambda * price,
            gamma,
            k,
            firing,
        });
        of.min_by(|a, b| a.loss.total_cmp(&b.loss))
    };
    lambdas.iter().filter_map(|&lambda| best(lambda)).collect()
}

/// How finely the random family is searched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Random latents `M`; the paper has 1,000.
    pub encoders: usize,
    /// Draws `N`: half choose `tau` and `beta`, half measure.
    pub samples: usize,
    /// Thresholds `tau` that are tried.
    pub thresholds: usize,
    /// Seed of encoders and draws.
    pub seed: u64,
}

/// Both families at one lambda.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The ideal family.
    pub ideal: Ideal,
    /// The ideal family as published.
    pub published: f64,
    /// Total loss of the tuned random family, on the half that did not choose it.
    pub random: f64,
    /// Its standard error.
    pub random_error: f64,
    /// The chosen factor of the encoder rows.
    pub beta: f64,
    /// The chosen bias, negated.
    pub gamma: f64,
}

/// Both families at lambda 0 to 7.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// By rising lambda.
    pub rows: Vec<Row>,
}

/// What one draw contributes to the loss at one `tau`, for a factor of 1: the loss changes by
/// `-2 beta overlap + beta^2 square + lambda beta price`.
#[derive(Debug, Clone, Copy)]
struct Terms {
    overlap: f64,
    square: f64,
    price: f64,
}

impl Terms {
    fn change(&self, beta: f64, lambda: f64) -> f64 {
        beta * (beta * self.square - 2.0 * self.overlap + lambda * self.price)
    }
}

impl Settings {
    /// Computes both curves.
    pub fn run(&self) -> Outcome {
        let encoders = TwoGaussians::new(self.seed, "splitting-analytic/encoders").draw(self.encoders);
        let draws = TwoGaussians::new(self.seed, "splitting-analytic/draws").draw(self.samples);
        let units: Vec<f32> = encoders
            .chunks(WIDTH)
            .flat_map(|row| {
                let norm = dot(row, row).sqrt() as f32;
                row.iter().map(move |x| x / norm)
            })
            .collect();
        let last = self.thresholds.saturating_sub(1).max(1) as f64;
        let taus: Vec<f32> = (0..self.thresholds)
            .map(|i| (TAUS[0] * (TAUS[1] / TAUS[0]).powf(i as f64 / last)) as f32)
            .collect();
        // By draw, then by tau.
        let terms: Vec<Vec<Terms>> = draws
            .par_chunks(CHUNK * WIDTH)
            .flat_map_iter(|rows| {
                let n = rows.len() / WIDTH;
                let mut products = vec![0.0; n * self.encoders];
                gemm(
                    &mut products,
                    Matrix::rows(rows, WIDTH),
                    Matrix::rows(&encoders, WIDTH).transposed(),
                ); // [n, M]
                let of_draw =
                    |(x, products): (&[f32], &[f32])| taus.iter().map(|tau| terms(x, products, *tau, &units)).collect();
                rows.chunks(WIDTH)
                    .zip(products.chunks(self.encoders))
                    .map(of_draw)
                    .collect::<Vec<Vec<Terms>>>()
            })
            .collect();
        let (choose, measure) = terms.split_at(terms.len() / 2);
        let lambdas: Vec<f64> = (0..PUBLISHED_IDEAL.len()).map(|lambda| lambda as f64).collect();
        let rows = ideal(&lambdas)
            .into_iter()
            .zip(PUBLISHED_IDEAL)
            .map(|(ideal, published)| {
                let (place, beta) = best(choose, ideal.lambda);
                let (mean, error) =
                    mean_and_error(measure.iter().map(|of_tau| of_tau[place].change(beta, ideal.lambda)));
                Row {
                    ideal,
                    published,
                    random: SILENT + mean,
                    random_error: error,
                    beta,
                    gamma: beta * f64::from(taus[place]),
                }
            });
        Outcome { rows: rows.collect() }
    }
}

/// The terms of one draw `x`, `[D]`, whose products with the encoder rows are `products`, `[M]`.
fn terms(x: &[f32], products: &[f32], tau: f32, units: &[f32]) -> Terms {
    let mut sum = [0f32; WIDTH];
    let mut price = 0.0;
    for (product, unit) in products
        .iter()
        .zip(units.chunks(WIDTH))
        .filter(|(product, _)| **product > tau)
    {
        let code = product - tau;
        price += f64::from(code);
        sum.iter_mut().zip(unit).for_each(|(sum, u)| *sum += code * u);
    }
    Terms {
        overlap: dot(&sum, x),
        square: dot(&sum, &sum),
        price,
    }
}

/// Place of the best `tau`, and the best `beta` there.
fn best(draws: &[Vec<Terms>], lambda: f64) -> (usize, f64) {
    let n = draws.len() as f64;
    let mut found = (0, 0.0);
    let mut least = f64::INFINITY;
    for place in 0..draws.first().map_or(0, Vec::len) {
        let mean = |of: fn(&Terms) -> f64| draws.iter().map(|of_tau| of(&of_tau[place])).sum::<f64>() / n;
        let mean = Terms {
            overlap: mean(|terms| terms.overlap),
            square: mean(|terms| terms.square),
            price: mean(|terms| terms.price),
        };
        let top = (2.0 * mean.overlap - lambda * mean.price) / (2.0 * mean.square.max(f64::MIN_POSITIVE));
        let beta = top.clamp(0.0, MOST_BETA);
        let change = mean.change(beta, lambda);
        if change < least {
            (least, found) = (change, (place, beta));
        }
    }
    found
}

/// Mean of some values, and its standard error.
fn mean_and_error(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / n;
    let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (mean, (variance / n).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bar. The random family is reduced: 16 thresholds and 4,000 draws instead of 49 and 40,000.
    #[test]
    fn ideal_curve_is_the_published_one_and_random_latents_beat_it() {
        let settings = Settings {
            encoders: 1000,
            samples: 4000,
            thresholds: 16,
            seed: 0,
        };
        let outcome = settings.run();
        for row in &outcome.rows {
            assert!((row.ideal.loss - row.published).abs() < 0.1, "{row:?}");
            if row.ideal.lambda <= 6.0 {
                assert!(row.random < row.ideal.loss, "{row:?}");
            }
        }
        let margin = |lambda: usize| outcome.rows[lambda].ideal.loss - outcome.rows[lambda].random;
        assert!(margin(0) > 25.0 && margin(3) > 5.0, "{outcome:#?}");
        assert_eq!(outcome, settings.run());
    }

    /// The integral and the parabola agree with codes and reconstructions computed one by one on draws.
    #[test]
    fn both_families_agree_with_brute_force() {
        let (seed, n, lambda) = (5, 20_000, 2.0);
        let mut stream = TwoGaussians::new(seed, "test");
        let draws = stream.draw(n);
        let brute = |encoder: &[f32], decoder: &[f32], bias: f64, rows: &[f32]| {
            let mut total = 0.0;
            for x in rows.chunks(WIDTH) {
                let mut rest = x.to_vec();
                for (w, u) in encoder.chunks(WIDTH).zip(decoder.chunks(WIDTH)) {
                    let code = (dot(w, x) + bias).max(0.0);
                    rest.iter_mut().zip(u).for_each(|(x, u)| *x -= code as f32 * u);
                    total += lambda * code;
                }
                total += dot(&rest, &rest);
            }
            total / (rows.len() / WIDTH) as f64
        };
        let point = ideal(&[lambda])[0];
        let scaled = |by: f64| stream.mu.iter().map(|x| x * by as f32).collect::<Vec<f32>>();
        let pair = |by: f64| [scaled(by), scaled(-by)].concat();
        let found = brute(&pair(point.k), &pair(1.0 / DISTANCE), -point.gamma, &draws);
        assert!(
            (found - point.loss).abs() < 0.3,
            "{found} drawn, {} integrated",
            point.loss
        );

        let rows = &draws[..200 * WIDTH];
        let encoders = TwoGaussians::new(seed, "encoders").draw(30);
        let units: Vec<f32> = encoders
            .chunks(WIDTH)
            .flat_map(|row| row.iter().map(|x| x / dot(row, row).sqrt() as f32))
            .collect();
        let (tau, beta) = (12.0, 0.07);
        let change = rows.chunks(WIDTH).map(|x| {
            let products: Vec<f32> = encoders.chunks(WIDTH).map(|w| dot(w, x) as f32).collect();
            dot(x, x) + terms(x, &products, tau, &units).change(beta, lambda)
        });
        let found = change.sum::<f64>() / 200.0;
        let scaled: Vec<f32> = encoders.iter().map(|w| w * beta as f32).collect();
        let expected = brute(&scaled, &units, -beta * f64::from(tau), rows);
        assert!((found / expected - 1.0).abs() < 1e-4, "{found}, {expected}");
    }

    #[test]
    fn a_large_lambda_silences_the_ideal_pair() {
        let points = ideal(&[0.0, 7.0, 20.0]);
        assert!((points[0].loss - 99.0).abs() < 0.05);
        assert!(points[1].firing < 0.1 && points[1].firing > 0.0);
        assert_eq!(points[2].loss, SILENT);
    }
}
