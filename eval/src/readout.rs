//! Linear read-outs of attributes: what an edit should leave alone.
//!
//! RAVEL (Huang et al. 2024, <https://arxiv.org/abs/2402.17700>) asks of an edit that it changes one attribute and no
//! other. Here each other attribute is read from the edited activation by linear discriminant analysis with a shrunken
//! common covariance, fitted on the prompts that dictionaries are fitted on: the value with the largest
//! `m_v' C^-1 a - m_v' C^-1 m_v / 2`, `m_v` the mean activation of value `v`, `C` the covariance within values.
//!
//! Shape legend: `N` prompts, `D` width of all nodes of a site together, `P` values.

use dictionaries::Rows;
use kernels::{cpu, from_vec, matmul, to_vec};

/// Share of the mean variance that is added to the covariance's diagonal.
const RIDGE: f64 = 1e-3;

/// A read-out of one attribute.
#[derive(Debug, Clone)]
pub struct Readout {
    /// The values that occurred in the fit.
    values: Vec<usize>,
    /// `C^-1 m_v`, `[P, D]`.
    weights: Rows,
    /// `-m_v' C^-1 m_v / 2`, `[P]`.
    biases: Vec<f64>,
}

impl Readout {
    /// Fits activations `[N, D]` whose prompts have `labels`, `[N]`. `None` when the covariance is not positive definite
    /// (activations that are constant, or not finite).
    pub fn fit(rows: &Rows, labels: &[usize]) -> Option<Self> {
        let d = rows.width();
        let n_values = labels.iter().max().map_or(0, |most| most + 1);
        let mut means = vec![vec![0.0_f64; d]; n_values];
        let mut counts = vec![0.0_f64; n_values];
        for (i, &label) in labels.iter().enumerate() {
            counts[label] += 1.0;
            means[label]
                .iter_mut()
                .zip(rows.row(i))
                .for_each(|(m, x)| *m += f64::from(*x));
        }
        let values: Vec<usize> = (0..n_values).filter(|&value| counts[value] > 0.0).collect();
        for &value in &values {
            means[value].iter_mut().for_each(|m| *m /= counts[value]);
        }
        let around = |(i, &label): (usize, &usize)| {
            let mean = &means[label];
            rows.row(i)
                .iter()
                .zip(mean)
                .map(|(x, m)| (f64::from(*x) - m) as f32)
                .collect::<Vec<_>>()
        };
        let centred: Vec<f32> = labels.iter().enumerate().flat_map(around).collect();
        let centred = from_vec::<2>(centred, [labels.len(), d], &cpu());
        let covariance = to_vec(matmul(centred.clone().transpose(), centred)); // [D, D]
        let mut covariance: Vec<f64> = covariance.iter().map(|&c| f64::from(c) / labels.len() as f64).collect();
        let trace: f64 = (0..d).map(|i| covariance[i * d + i]).sum();
        (0..d).for_each(|i| covariance[i * d + i] += RIDGE * trace / d as f64);
        cholesky(&mut covariance, d)?;
        let (mut weights, mut biases) = (Vec::new(), Vec::new());
        for &value in &values {
            let direction = solve(&covariance, &means[value]);
            biases.push(-0.5 * direction.iter().zip(&means[value]).map(|(w, m)| w * m).sum::<f64>());
            weights.extend(direction.iter().map(|&w| w as f32));
        }
        Some(Self {
            values,
            weights: Rows::new(d, weights),
            biases,
        })
    }

    /// The value read from each activation, `[N, D] -> [N]`.
    pub fn read(&self, rows: &Rows) -> Vec<usize> {
        let (x, w) = (
            rows.tensor(0..rows.len(), &cpu()),
            self.weights.tensor(0..self.values.len(), &cpu()),
        );
        let scores = to_vec(matmul(x, w.transpose())); // [N, P]
        let best = |scores: &[f32]| {
            let total = |place: usize| f64::from(scores[place]) + self.biases[place];
            let places = 0..scores.len();
            let place = places.reduce(|best, next| if total(next) > total(best) { next } else { best });
            place.map_or(0, |place| self.values[place])
        };
        scores.chunks_exact(self.values.len().max(1)).map(best).collect()
    }
}

/// Replaces the lower triangle of a symmetric `[D, D]` matrix by its Cholesky factor.
fn cholesky(a: &mut [f64], d: usize) -> Option<()> {
    for j in 0..d {
        for i in j..d {
            let sum: f64 = (0..j).map(|k| a[i * d + k] * a[j * d + k]).sum();
            let rest = a[i * d + j] - sum;
            if i > j {
                a[i * d + j] = rest / a[j * d + j];
            } else if rest > 0.0 && rest.is_finite() {
                a[j * d + j] = rest.sqrt();
            } else {
                return None;
            }
        }
    }
    Some(())
}

/// Solves `L L' x = b`.
fn solve(l: &[f64], b: &[f64]) -> Vec<f64> {
    let d = b.len();
    let mut x = b.to_vec();
    for i in 0..d {
        let sum: f64 = (0..i).map(|k| l[i * d + k] * x[k]).sum();
        x[i] = (x[i] - sum) / l[i * d + i];
    }
    for i in (0..d).rev() {
        let sum: f64 = (i + 1..d).map(|k| l[k * d + i] * x[k]).sum();
        x[i] = (x[i] - sum) / l[i * d + i];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::random;

    #[test]
    fn the_factor_solves() {
        let (d, draws) = (5, random::normal(&mut random::rng(1, "cholesky"), 35, 1.0));
        let entry = |i: usize, j: usize| -> f64 {
            let dot: f64 = (0..7)
                .map(|k| f64::from(draws[i * 7 + k]) * f64::from(draws[j * 7 + k]))
                .sum();
            dot + if i == j { 0.5 } else { 0.0 }
        };
        let a: Vec<f64> = (0..25).map(|place| entry(place / d, place % d)).collect();
        let b = [1.0, -2.0, 0.5, 3.0, 0.0];
        let mut factor = a.clone();
        cholesky(&mut factor, d).unwrap();
        let x = solve(&factor, &b);
        for i in 0..d {
            let product: f64 = (0..d).map(|j| a[i * d + j] * x[j]).sum();
            assert!((product - b[i]).abs() < 1e-9, "{product}");
        }
        assert!(cholesky(&mut [1.0, 2.0, 2.0, 1.0], 2).is_none());
    }

    #[test]
    fn reads_planted_values_and_not_what_is_absent() {
        let (n, d, p) = (600, 12, 6);
        let means = random::normal(&mut random::rng(2, "means"), p * d, 1.0);
        let noise = random::normal(&mut random::rng(3, "noise"), n * d, 0.2);
        let label = |i: usize| i % p;
        let rows: Vec<f32> = (0..n * d)
            .map(|place| means[label(place / d) * d + place % d] + noise[place])
            .collect();
        let rows = Rows::new(d, rows);
        let labels: Vec<usize> = (0..n).map(label).collect();
        let read = Readout::fit(&rows, &labels).unwrap().read(&rows);
        let right = read.iter().zip(&labels).filter(|(a, b)| a == b).count();
        assert!(right as f64 / n as f64 > 0.97, "{right}");
        let absent: Vec<usize> = (0..n).map(|i| (i / p) % 2).collect();
        let read = Readout::fit(&rows, &absent).unwrap().read(&rows);
        let right = read.iter().zip(&absent).filter(|(a, b)| a == b).count();
        assert!((right as f64 / n as f64 - 0.5).abs() < 0.12, "{right}");
        assert!(Readout::fit(&Rows::repeat(&[1.0, 2.0], 4), &[0, 1, 0, 1]).is_none());
    }
}
