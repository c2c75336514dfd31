//! A mask over directions that are learned with it: distributed alignment search, the skyline of all masks.
//!
//! With orthonormal rows `R` and differences `d = a_t - a_s`, `a_edit = a_s + R^T (m * R d)`. The gradient at `R`, from that at the edited
//! activation `g`, is `(m * R d) g^T + (m * R g) d^T`; after each step of Adam the rows are made orthonormal again (QR).
//!
//! Shape legend: `M` pairs, `B` pairs of a batch, `D` width of all nodes of the site together, `R` directions.

use super::learn::{Exchange, Learning, Logits};
use super::pairs::Pairs;
use burn::tensor::Tensor;
use dictionaries::{Rows, dot};
use kernels::{Adam, AdamConfig, Update};
use nalgebra::DMatrix;

/// Learned directions and the mask over them.
#[derive(Debug, Clone)]
pub struct Rotation<'a> {
    pairs: &'a Pairs,
    /// Orthonormal rows, `[R, D]`.
    rows: Rows,
    logits: Logits,
    adam: Adam,
}

impl<'a> Rotation<'a> {
    /// `n` random orthonormal directions (at most `D`), drawn from the stream `stream` of `seed`, to be learned on pairs.
    pub fn new(pairs: &'a Pairs, n: usize, seed: u64, stream: &str) -> Self {
        let width = pairs.base.width();
        let n = n.min(width);
        let values = kernels::random::normal(
            &mut kernels::random::rng(seed, &format!("rotation/{stream}")),
            n * width,
            1.0,
        );
        Self {
            rows: orthonormal(&Rows::new(width, values)),
            logits: Logits::new(n),
            adam: Adam::new(AdamConfig::default(), 1),
            pairs,
        }
    }

    /// Number of directions that are exchanged.
    pub fn n_on(&self) -> usize {
        self.logits.on().len()
    }

    /// The bases of other pairs with the learned part exchanged, `[M, D]`.
    pub fn with(&self, pairs: &Pairs) -> Rows {
        let mut on = vec![0.0; self.rows.len()];
        self.logits.on().iter().for_each(|&row| on[row as usize] = 1.0);
        let places: Vec<usize> = (0..pairs.base.len()).collect();
        self.exchanged(pairs, &places, &on)
    }

    fn exchanged(&self, pairs: &Pairs, places: &[usize], weights: &[f64]) -> Rows {
        let mut values = Vec::with_capacity(places.len() * self.rows.width());
        for &place in places {
            let difference = difference(pairs, place); // [D]
            let mut row = pairs.base.row(place).to_vec();
            for (r, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
                let by = (weight * dot(self.rows.row(r), &difference)) as f32;
                row.iter_mut().zip(self.rows.row(r)).for_each(|(x, u)| *x += by * u);
            }
            values.extend(row);
        }
        Rows::new(self.rows.width(), values)
    }
}

/// `a_t - a_s` of one pair, `[D]`.
fn difference(pairs: &Pairs, place: usize) -> Vec<f32> {
    let both = pairs.source.row(place).iter().zip(pairs.base.row(place));
    both.map(|(t, s)| t - s).collect()
}

impl Exchange for Rotation<'_> {
    fn edited(&self, places: &[usize], temperature: f64) -> Rows {
        self.exchanged(self.pairs, places, &self.logits.soft(temperature))
    }

    fn step(&mut self, places: &[usize], gradients: &Rows, temperature: f64, learning: &Learning) {
        let soft = self.logits.soft(temperature); // [R]
        let (n, width) = (self.rows.len(), self.rows.width());
        let share = 1.0 / places.len().max(1) as f64;
        let (mut slopes, mut turn) = (vec![0.0; n], vec![0.0_f32; n * width]);
        for (b, &place) in places.iter().enumerate() {
            let (d, g) = (difference(self.pairs, place), gradients.row(b));
            for r in 0..n {
                let (along_d, along_g) = (dot(self.rows.row(r), &d), dot(self.rows.row(r), g));
                slopes[r] += share * along_d * along_g;
                let [by_g, by_d] = [along_d, along_g].map(|along| (share * soft[r] * along) as f32);
                let turn = &mut turn[r * width..(r + 1) * width];
                turn.iter_mut()
                    .zip(g.iter().zip(&d))
                    .for_each(|(t, (g, d))| *t += by_g * g + by_d * d);
            }
        }
        self.logits.step(&soft, &slopes, temperature, learning);
        let tensor = |values: Vec<f32>| -> Tensor<2> { kernels::from_vec(values, [n, width], &kernels::cpu()) };
        let (mut rows, turn) = (tensor(self.rows.values().to_vec()), tensor(turn)); // [R, D]
        self.adam.begin_step();
        self.adam
            .update(0, &mut rows, turn, &Update::plain(learning.rotation_rate));
        self.rows = orthonormal(&Rows::from_tensor(rows));
    }
}

/// The nearest-in-order orthonormal rows: those of QR, with the signs of the given ones.
fn orthonormal(rows: &Rows) -> Rows {
    let values = rows.values().iter().map(|&x| f64::from(x));
    let columns = DMatrix::from_iterator(rows.width(), rows.len(), values); // [D, R]
    // The diagonal of this R is not negative.
    let q = columns.qr().q(); // [D, R]
    Rows::new(rows.width(), q.iter().map(|&x| x as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masks::Kind;

    /// The loss `sum_b w_b . a_edit_b`, whose gradient at what is edited is `w_b`.
    fn loss(rotation: &Rotation<'_>, weights: &Rows, places: &[usize]) -> f64 {
        let edited = rotation.edited(places, 1.0);
        (0..places.len()).map(|b| dot(edited.row(b), weights.row(b))).sum()
    }

    #[test]
    fn the_gradient_of_the_directions_is_that_of_central_differences() {
        let (n, d) = (6, 5);
        let draw = |name: &str| {
            Rows::new(
                d,
                kernels::random::normal(&mut kernels::random::rng(1, name), n * d, 1.0),
            )
        };
        let pairs = Pairs {
            base: draw("base"),
            source: draw("source"),
            tokens: vec![0; n],
            kinds: vec![Kind::Cause; n],
        };
        let (weights, places) = (draw("weights"), (0..n).collect::<Vec<_>>());
        let rotation = Rotation::new(&pairs, 3, 7, "test");
        let soft = rotation.logits.soft(1.0);
        for (r, column) in [(0, 0), (1, 3), (2, 4)] {
            let moved = |by: f32| {
                let mut rotation = rotation.clone();
                let mut values = rotation.rows.values().to_vec();
                values[r * d + column] += by;
                rotation.rows = Rows::new(d, values);
                loss(&rotation, &weights, &places)
            };
            let by = 1e-2;
            let found = (moved(by) - moved(-by)) / (2.0 * f64::from(by));
            let expected: f64 = places
                .iter()
                .map(|&place| {
                    let (difference, g) = (difference(&pairs, place), weights.row(place));
                    let [along_d, along_g] = [&difference, &g.to_vec()].map(|x| dot(rotation.rows.row(r), x));
                    soft[r] * (along_d * f64::from(g[column]) + along_g * f64::from(difference[column]))
                })
                .sum();
            assert!(
                (found - expected).abs() < 2e-3 * expected.abs().max(1.0),
                "{found} {expected}"
            );
        }
        let rows = &rotation.rows;
        for (i, j) in [(0, 0), (0, 1), (1, 2), (2, 2)] {
            assert!((dot(rows.row(i), rows.row(j)) - f64::from(u8::from(i == j))).abs() < 1e-5);
        }
    }
}
