//! Orthogonal matching pursuit with codes that are not negative: the sparse coder of directions that nobody trained.
//!
//! Pati, Rezaiifar and Krishnaprasad 1993 (<https://doi.org/10.1109/ACSSC.1993.342465>): take the direction that agrees most with what is
//! left, fit all that were taken by least squares, go on. Latents of autoencoders only add, so here only directions of positive
//! agreement are taken, and a direction whose fitted code is not positive is given up (Bruckstein, Elad and Zibulevsky 2008,
//! <https://doi.org/10.1109/TIT.2008.929920>). The Gram matrix is computed once, so a step costs as many products as latents taken.
//!
//! Shape legend: `D` width of a node, `F` latents, `m` latents taken.

use crate::Rows;
use rayon::prelude::*;

/// Agreement, relative to the largest of the row, under which nothing is left to explain.
const NOTHING: f64 = 1e-6;

/// Unit directions and their scalar products.
#[derive(Debug, Clone)]
pub(super) struct Pursuit {
    n_latents: usize,
    /// `u_i . u_j`, `[F, F]`.
    gram: Vec<f32>,
}

/// Codes of one row after one step of the pursuit.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Step {
    /// Latents in the order they were taken.
    pub(super) latents: Vec<u32>,
    /// Their codes, all positive.
    pub(super) codes: Vec<f64>,
    /// How much of the squared length of the row they explain.
    pub(super) explained: f64,
}

impl Pursuit {
    /// Takes the scalar products of `F` unit directions, `[F, F]`.
    pub(super) fn new(gram: &Rows) -> Self {
        Self {
            n_latents: gram.len(),
            gram: gram.values().to_vec(),
        }
    }

    /// At most `k` latents for each row of `agreements`, `[N, F]`: the scalar products of centred activations with the directions.
    pub(super) fn codes(&self, agreements: &Rows, k: usize) -> Vec<Step> {
        let last = |row: usize| self.steps(agreements.row(row), k, |_| ());
        (0..agreements.len()).into_par_iter().map(last).collect()
    }

    /// The squared length that each row's first `1..=k` latents explain, `N` lists; a pursuit that ends early repeats its last.
    pub(super) fn explained(&self, agreements: &Rows, k: usize) -> Vec<Vec<f64>> {
        let of_row = |row: usize| {
            let mut explained = Vec::with_capacity(k);
            let last = self.steps(agreements.row(row), k, |step| explained.push(step.explained));
            explained.resize(k, last.explained);
            explained
        };
        (0..agreements.len()).into_par_iter().map(of_row).collect()
    }

    fn row(&self, latent: u32) -> &[f32] {
        let start = latent as usize * self.n_latents;
        &self.gram[start..start + self.n_latents]
    }

    /// The products of a latent with those that were taken.
    fn column(&self, taken: &[u32], latent: u32) -> Vec<f64> {
        let row = self.row(latent);
        taken.iter().map(|&other| f64::from(row[other as usize])).collect()
    }

    /// The factor of latents that do not depend on each other.
    fn factor(&self, latents: &[u32]) -> Factor {
        let mut factor = Factor::default();
        for (m, &latent) in latents.iter().enumerate() {
            factor.push(&self.column(&latents[..m], latent));
        }
        factor
    }

    /// Runs the pursuit of one row, `[F]`, and hands each step to `each`.
    fn steps(&self, agreements: &[f32], k: usize, mut each: impl FnMut(&Step)) -> Step {
        let mut left: Vec<f64> = agreements.iter().map(|&a| f64::from(a)).collect(); // [F]
        let most = left.iter().copied().fold(0.0, f64::max);
        let (mut step, mut given_up) = (Step::default(), vec![false; left.len()]);
        let mut factor = Factor::default();
        for _ in 0..k {
            let open = left.iter().enumerate().filter(|(latent, _)| !given_up[*latent]);
            let best = open.max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
            let Some((latent, _)) = best.filter(|(_, agreement)| **agreement > NOTHING * most) else {
                break;
            };
            given_up[latent] = true; // each is taken once
            let latent = latent as u32;
            if !factor.push(&self.column(&step.latents, latent)) {
                each(&step);
                continue; // it lies in the span of those that were taken
            }
            let mut next = Step {
                latents: step.latents.iter().copied().chain([latent]).collect(),
                ..Step::default()
            };
            loop {
                let wanted: Vec<f64> = next
                    .latents
                    .iter()
                    .map(|&l| f64::from(agreements[l as usize]))
                    .collect();
                next.codes = factor.solve(&wanted);
                let Some(place) = next.codes.iter().position(|code| *code <= 0.0) else {
                    next.explained = next.codes.iter().zip(&wanted).map(|(code, a)| code * a).sum();
                    break;
                };
                next.latents.remove(place);
                factor = self.factor(&next.latents);
            }
            if next.explained <= step.explained {
                factor = self.factor(&step.latents);
                each(&step);
                continue;
            }
            step = next;
            for (left, &agreement) in left.iter_mut().zip(agreements) {
                *left = f64::from(agreement);
            }
            for (&latent, &code) in step.latents.iter().zip(&step.codes) {
                let row = self.row(latent);
                left.iter_mut()
                    .zip(row)
                    .for_each(|(left, &g)| *left -= code * f64::from(g));
            }
            each(&step);
        }
        step
    }
}

/// The Cholesky factor of the Gram matrix of the latents taken, row by row.
#[derive(Debug, Default)]
struct Factor {
    rows: Vec<Vec<f64>>,
}

impl Factor {
    /// Adds a unit direction whose products with those before it are `column`. False when it depends on them.
    fn push(&mut self, column: &[f64]) -> bool {
        let mut row = Vec::with_capacity(column.len() + 1);
        for (i, &value) in column.iter().enumerate() {
            let sum: f64 = self.rows[i].iter().zip(&row).map(|(a, b): (&f64, &f64)| a * b).sum();
            row.push((value - sum) / self.rows[i][i]);
        }
        let rest = 1.0 - row.iter().map(|x| x * x).sum::<f64>();
        if rest <= 1e-10 {
            return false;
        }
        row.push(rest.sqrt());
        self.rows.push(row);
        true
    }

    /// Solves `L L' x = b`.
    fn solve(&self, b: &[f64]) -> Vec<f64> {
        let mut x = b.to_vec();
        for i in 0..x.len() {
            let sum: f64 = self.rows[i][..i].iter().zip(&x).map(|(l, x)| l * x).sum();
            x[i] = (x[i] - sum) / self.rows[i][i];
        }
        for i in (0..x.len()).rev() {
            let sum: f64 = (i + 1..x.len()).map(|k| self.rows[k][i] * x[k]).sum();
            x[i] = (x[i] - sum) / self.rows[i][i];
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::dot;

    fn units(f: usize, d: usize) -> Rows {
        Rows::new(
            d,
            kernels::random::unit_rows(&mut kernels::random::rng(5, "pursuit"), f, d),
        )
    }

    fn products(a: &Rows, b: &Rows) -> Rows {
        let values = (0..a.len()).flat_map(|i| (0..b.len()).map(move |j| (i, j)));
        Rows::new(b.len(), values.map(|(i, j)| dot(a.row(i), b.row(j)) as f32).collect())
    }

    /// The residual of `row` without the codes, written out.
    fn residual(row: &[f32], step: &Step, directions: &Rows) -> Vec<f32> {
        let mut left = row.to_vec();
        for (&latent, &code) in step.latents.iter().zip(&step.codes) {
            left.iter_mut()
                .zip(directions.row(latent as usize))
                .for_each(|(x, u)| *x -= code as f32 * u);
        }
        left
    }

    #[test]
    fn sparse_sums_are_found_again() {
        let directions = units(60, 40);
        let mut rows = Rows::empty(40);
        for i in 0..20 {
            let mut row = vec![0.0_f32; 40];
            for (latent, code) in [(i, 3.0), (i + 20, 2.0), (i + 40, 1.5)] {
                row.iter_mut()
                    .zip(directions.row(latent))
                    .for_each(|(x, u)| *x += code * u);
            }
            rows.extend(&Rows::new(40, row));
        }
        let pursuit = Pursuit::new(&products(&directions, &directions));
        let found = pursuit.codes(&products(&rows, &directions), 3);
        let right = found.iter().enumerate().filter(|(i, step)| {
            let mut latents = step.latents.clone();
            latents.sort_unstable();
            latents == [*i as u32, *i as u32 + 20, *i as u32 + 40]
        });
        assert!(right.count() >= 18);
    }

    #[test]
    fn codes_are_those_of_least_squares_and_never_negative() {
        let directions = units(48, 12);
        let rows = Rows::new(
            12,
            kernels::random::normal(&mut kernels::random::rng(6, "rows"), 12 * 30, 1.0),
        );
        let (gram, agreements) = (products(&directions, &directions), products(&rows, &directions));
        let pursuit = Pursuit::new(&gram);
        let explained = pursuit.explained(&agreements, 8);
        for k in [1, 4, 8] {
            for (i, step) in pursuit.codes(&agreements, k).iter().enumerate() {
                assert!(step.latents.len() <= k && step.codes.iter().all(|code| *code > 0.0));
                let left = residual(rows.row(i), step, &directions);
                // What is left is orthogonal to all that was taken, and its length is what was not explained.
                for &latent in &step.latents {
                    assert!(dot(&left, directions.row(latent as usize)).abs() < 1e-4);
                }
                let whole = dot(rows.row(i), rows.row(i));
                assert!((dot(&left, &left) - (whole - step.explained)).abs() < 1e-3 * whole);
                assert_eq!(explained[i][k - 1], step.explained);
            }
        }
        assert!(
            explained
                .iter()
                .all(|row| row.windows(2).all(|pair| pair[1] >= pair[0] - 1e-6))
        );
    }
}
