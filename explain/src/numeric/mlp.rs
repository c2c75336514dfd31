//! The network that stands for a formula in one of FIND's variants: 1-64-1 with ReLU.
//!
//! Trained as there: Adam of learning rate 0.01 on the mean squared error of all points of the domain at once, weights begun as
//! PyTorch's linear layers are, uniform within one over the root of the number of inputs.

use kernels::random::ChaCha8Rng;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::atom::Formula;

/// Hidden units.
const UNITS: usize = 64;
const LEARNING_RATE: f64 = 0.01;

/// How long a network is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpTraining {
    /// Passes over all points. FIND: 10,000.
    pub epochs: usize,
    /// Evenly spaced points of the domain. FIND: 10,000.
    pub points: usize,
}

/// `w2 relu(w1 x + b1) + b2`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mlp {
    /// `w1`, `b1` and `w2` of each unit, then `b2`.
    parameters: Vec<f32>,
}

impl Mlp {
    /// Trains a network on a formula; points where it has no value are left out.
    pub fn train(formula: &Formula, training: MlpTraining, rng: &mut ChaCha8Rng) -> Self {
        let (low, high) = formula.domain();
        let last = training.points.saturating_sub(1).max(1) as f64;
        let points: Vec<(f32, f32)> = (0..training.points)
            .map(|i| low + (high - low) * i as f64 / last)
            .map(|x| (x as f32, formula.at(x) as f32))
            .filter(|(_, y)| y.is_finite())
            .collect();
        let mut mlp = Self::begin(rng);
        let (mut mean, mut square) = (vec![0.0; 3 * UNITS + 1], vec![0.0; 3 * UNITS + 1]);
        for step in 1..=training.epochs {
            let (_, gradient) = mlp.loss(&points);
            let (correct_mean, correct_square) = (1.0 - 0.9_f64.powi(step as i32), 1.0 - 0.999_f64.powi(step as i32));
            for (i, gradient) in gradient.into_iter().enumerate() {
                mean[i] = 0.9 * mean[i] + 0.1 * gradient;
                square[i] = 0.999 * square[i] + 0.001 * gradient * gradient;
                let change = (mean[i] / correct_mean) / ((square[i] / correct_square).sqrt() + 1e-8);
                mlp.parameters[i] -= (LEARNING_RATE * change) as f32;
            }
        }
        mlp
    }

    fn begin(rng: &mut ChaCha8Rng) -> Self {
        let inner = 1.0 / (UNITS as f32).sqrt();
        let mut draw = |bound: f32| rng.random_range(-bound..bound);
        let mut parameters: Vec<f32> = (0..2 * UNITS).map(|_| draw(1.0)).collect();
        parameters.extend((0..=UNITS).map(|_| draw(inner)));
        Self { parameters }
    }

    /// The value at `x`.
    pub fn at(&self, x: f64) -> f64 {
        let (w1, rest) = self.parameters.split_at(UNITS);
        let (b1, rest) = rest.split_at(UNITS);
        let unit = |i: usize| f64::from(rest[i]) * (f64::from(w1[i]) * x + f64::from(b1[i])).max(0.0);
        (0..UNITS).map(unit).sum::<f64>() + f64::from(rest[UNITS])
    }

    /// Mean squared error, and its gradient by the parameters.
    fn loss(&self, points: &[(f32, f32)]) -> (f64, Vec<f64>) {
        let (w1, rest) = self.parameters.split_at(UNITS);
        let (b1, rest) = rest.split_at(UNITS);
        let (w2, b2) = (&rest[..UNITS], rest[UNITS]);
        let (mut loss, mut of_b2) = (0.0, 0.0);
        let (mut of_w1, mut of_b1, mut of_w2) = ([0.0_f64; UNITS], [0.0_f64; UNITS], [0.0_f64; UNITS]);
        let scale = 2.0 / points.len().max(1) as f64;
        // Sums of few points are of single precision, which the processor does many at a time.
        for points in points.chunks(64) {
            let (mut part_w1, mut part_b1, mut part_w2) = ([0.0_f32; UNITS], [0.0_f32; UNITS], [0.0_f32; UNITS]);
            for &(x, y) in points {
                let mut hidden = [0.0_f32; UNITS];
                for i in 0..UNITS {
                    hidden[i] = (w1[i] * x + b1[i]).max(0.0);
                }
                let found: f32 = hidden.iter().zip(w2).map(|(h, w)| h * w).sum::<f32>() + b2;
                let error = found - y;
                loss += f64::from(error) * f64::from(error);
                of_b2 += f64::from(error);
                for i in 0..UNITS {
                    let back = if hidden[i] > 0.0 { error * w2[i] } else { 0.0 };
                    part_w1[i] += back * x;
                    part_b1[i] += back;
                    part_w2[i] += error * hidden[i];
                }
            }
            for i in 0..UNITS {
                of_w1[i] += f64::from(part_w1[i]);
                of_b1[i] += f64::from(part_b1[i]);
                of_w2[i] += f64::from(part_w2[i]);
            }
        }
        let all = of_w1.into_iter().chain(of_b1).chain(of_w2).chain([of_b2]);
        (loss / points.len().max(1) as f64, all.map(|sum| sum * scale).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::Atom;
    use kernels::random::rng;

    #[test]
    fn gradients_are_those_of_central_differences() {
        let points: Vec<(f32, f32)> = (-20..20).map(|i| (i as f32 / 7.0, (i as f32 / 5.0).sin())).collect();
        let mlp = Mlp::begin(&mut rng(3, "mlp"));
        let (_, gradient) = mlp.loss(&points);
        let loss = |parameters: &[f64]| {
            let value = |x: f64| {
                let unit = |i: usize| parameters[2 * UNITS + i] * (parameters[i] * x + parameters[UNITS + i]).max(0.0);
                (0..UNITS).map(unit).sum::<f64>() + parameters[3 * UNITS]
            };
            let square = |&(x, y): &(f32, f32)| (value(f64::from(x)) - f64::from(y)).powi(2);
            points.iter().map(square).sum::<f64>() / points.len() as f64
        };
        let here: Vec<f64> = mlp.parameters.iter().map(|&p| f64::from(p)).collect();
        for i in 0..here.len() {
            let at = |delta: f64| {
                let mut moved = here.clone();
                moved[i] += delta;
                loss(&moved)
            };
            let expected = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert!(
                (gradient[i] - expected).abs() < 2e-3,
                "{i}: {} and {expected}",
                gradient[i]
            );
        }
    }

    #[test]
    fn a_line_is_learnt() {
        let formula = Formula::Simple(Atom::Linear { m: 0.5, b: 2.0 });
        let training = MlpTraining {
            epochs: 600,
            points: 200,
        };
        let mlp = Mlp::train(&formula, training, &mut rng(0, "mlp"));
        let error: f64 = (-100..=100)
            .map(|x| (mlp.at(f64::from(x)) - formula.at(f64::from(x))).powi(2))
            .sum();
        assert!(error / 201.0 < 0.1, "mean squared error {}", error / 201.0);
    }
}
