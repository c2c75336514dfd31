//! Planted predicates as latents of a store of text: codes whose reason is known exactly, read from the tokens themselves; and planted
//! directions, along which those codes are added up to vectors and read back, so that each latent also hears the others.

use activations::store::{Row, StoredWindows};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use kernels::random::{normal, rng, unit_rows};
use kernels::{from_vec, matmul};
use rayon::prelude::*;

use super::predicate::Predicate;
use super::vocabulary::Vocabulary;
use crate::Error;
use crate::planted::predicates;
use crate::planted_text::strength;

/// Standard deviation of a code around the strength of its predicate, as a share of it.
const NOISE: f32 = 0.2;
/// The weakest code of a token on which a predicate holds.
const WEAKEST: f32 = 0.05;

/// Code below which a planted direction is silent: half of the weakest strength that a predicate gives.
const SILENT: f32 = 1.25;

/// Predicates, and the tokens that they speak of.
#[derive(Debug)]
pub struct PlantedCodes<'a> {
    /// One a latent.
    pub predicates: Vec<Predicate>,
    /// All windows of the store.
    windows: Vec<Vec<u32>>,
    vocabulary: &'a Vocabulary,
    seed: u64,
}

impl<'a> PlantedCodes<'a> {
    /// `n` predicates of a seed over the windows of a store, which are held: 4 bytes a token.
    ///
    /// # Errors
    ///
    /// A tokenizer that lacks a word of the written world; a damaged file of windows.
    pub fn new(n: usize, seed: u64, windows: &StoredWindows, vocabulary: &'a Vocabulary) -> Result<Self, Error> {
        let predicates = predicates(n, seed, vocabulary).ok_or_else(|| Error::Latents {
            reason: "predicates can be planted on the written world's words only, and the tokenizer lacks some of them"
                .to_owned(),
        })?;
        let windows = windows.read(0..windows.len())?;
        Ok(Self {
            predicates,
            windows: windows.into_iter().map(|window| window.ids).collect(),
            vocabulary,
            seed,
        })
    }

    /// Codes of rows of the store, `[B * F]`: the strength of each predicate with noise, which depends on the token alone.
    pub fn codes(&self, rows: &[Row]) -> Vec<f32> {
        let of_row = |row: &Row| -> Vec<f32> {
            let ids = self.windows.get(row.row as usize).map_or(&[][..], Vec::as_slice);
            let at = row.position as usize;
            let mut codes: Vec<f32> = self
                .predicates
                .iter()
                .map(|predicate| strength(predicate, ids, at, self.vocabulary))
                .collect(); // [F]
            if codes.iter().any(|code| *code > 0.0) {
                let mut rng = rng(self.seed, &format!("explain/planted/{}/{at}", row.row));
                for (code, noise) in codes.iter_mut().zip(normal(&mut rng, self.predicates.len(), NOISE)) {
                    if *code > 0.0 {
                        *code = (*code * (1.0 + noise)).max(WEAKEST);
                    }
                }
            }
            codes
        };
        rows.par_iter().flat_map_iter(of_row).collect()
    }

    /// Codes of rows of the store, each added along its own random unit direction of `width` and read back along that direction:
    /// `relu(codes E E^T - 1.25)` with directions `E [F, D]`, `[B, F]`.
    pub fn directions(&self, rows: &[Row], width: usize, device: &Device) -> Tensor<2> {
        let n = self.predicates.len();
        let directions = unit_rows(&mut rng(self.seed, "explain/planted/directions"), n, width);
        let directions = from_vec(directions, [n, width], device); // [F, D]
        let vectors = matmul(from_vec(self.codes(rows), [rows.len(), n], device), directions.clone()); // [B, D]
        relu(matmul(vectors, directions.transpose()).sub_scalar(SILENT)) // [B, F]
    }
}
