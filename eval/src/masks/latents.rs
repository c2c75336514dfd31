//! A mask over the latents of a dictionary.
//!
//! Shape legend: `M` pairs, `B` pairs of a batch, `D` width of all nodes of the site together, `F` latents of all of them.

use super::learn::{Exchange, Learning, Logits};
use crate::control::Swap;
use dictionaries::{Directions, Rows, dot};

/// What a dictionary makes of pairs: the latents whose codes differ.
#[derive(Debug, Clone)]
pub struct LatentPairs<'a> {
    /// Activations of the bases, `[M, D]`.
    pub base: &'a Rows,
    /// The latents that differ in each pair; with several nodes those of later ones are numbered on.
    pub swaps: Vec<Vec<Swap>>,
    /// The directions of each node, and the first column of the node.
    pub directions: &'a [(Directions, usize)],
}

impl LatentPairs<'_> {
    /// Number of latents of all nodes.
    pub fn n_latents(&self) -> usize {
        self.directions
            .iter()
            .map(|(directions, _)| directions.rows.len())
            .sum()
    }

    /// The direction of a latent, and its first column.
    fn direction(&self, latent: u32) -> (&[f32], usize) {
        let mut latent = latent as usize;
        for (directions, column) in self.directions {
            match latent < directions.rows.len() {
                true => return (directions.rows.row(latent), *column),
                false => latent -= directions.rows.len(),
            }
        }
        unreachable!("latents are numbered through the nodes")
    }

    /// The bases of some pairs with each latent exchanged by its weight, `[B, D]`.
    fn exchanged(&self, places: &[usize], weight: impl Fn(u32) -> f64) -> Rows {
        let mut rows = self.base.pick(places).values().to_vec();
        for (row, &place) in rows.chunks_exact_mut(self.base.width()).zip(places) {
            for swap in &self.swaps[place] {
                let by = (weight(swap.latent) * f64::from(swap.delta())) as f32;
                if by != 0.0 {
                    let (direction, column) = self.direction(swap.latent);
                    row[column..].iter_mut().zip(direction).for_each(|(x, u)| *x += by * u);
                }
            }
        }
        Rows::new(self.base.width(), rows)
    }

    /// The bases of all pairs with these latents exchanged, `[M, D]`; `latents` rise.
    pub fn with(&self, latents: &[u32]) -> Rows {
        let places: Vec<usize> = (0..self.base.len()).collect();
        self.exchanged(&places, |latent| {
            f64::from(u8::from(latents.binary_search(&latent).is_ok()))
        })
    }
}

/// A mask in the making.
#[derive(Debug, Clone)]
pub struct LatentMask<'a> {
    pairs: LatentPairs<'a>,
    logits: Logits,
}

impl<'a> LatentMask<'a> {
    /// A mask that is half open everywhere, to be learned on pairs.
    pub fn new(pairs: LatentPairs<'a>) -> Self {
        Self {
            logits: Logits::new(pairs.n_latents()),
            pairs,
        }
    }

    /// The latents that are exchanged, rising.
    pub fn latents(&self) -> Vec<u32> {
        self.logits.on()
    }
}

impl Exchange for LatentMask<'_> {
    fn edited(&self, places: &[usize], temperature: f64) -> Rows {
        let soft = self.logits.soft(temperature); // [F]
        self.pairs.exchanged(places, |latent| soft[latent as usize])
    }

    fn step(&mut self, places: &[usize], gradients: &Rows, temperature: f64, learning: &Learning) {
        let soft = self.logits.soft(temperature); // [F]
        let mut slopes = vec![0.0; soft.len()]; // [F]
        let share = 1.0 / places.len().max(1) as f64;
        for (row, &place) in places.iter().enumerate() {
            for swap in &self.pairs.swaps[place] {
                let (direction, column) = self.pairs.direction(swap.latent);
                let along = dot(direction, &gradients.row(row)[column..column + direction.len()]);
                slopes[swap.latent as usize] += share * f64::from(swap.delta()) * along;
            }
        }
        self.logits.step(&soft, &slopes, temperature, learning);
    }
}
