//! How well a dictionary reconstructs what stands at a place of the untouched model, and with how many latents, on the text of a splice.
//!
//! Shapes: `n` replaced tokens of a batch, `D` width, `F` latents.

use burn::tensor::Tensor;
use dictionaries::{Autoencoder, DENSE};
use kernels::to_vec;
use serde::{Deserialize, Serialize};

use super::{Place, SpliceTask};
use crate::Error;

/// How well a dictionary reconstructs the vectors of a text, and with how many latents.
///
/// `y` is what is to be reconstructed, `e = y - ŷ`, `ȳ` the mean of `y`; sums run over the replaced tokens and dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fidelity {
    /// Fraction of variance unexplained: `sum e² / sum (y - ȳ)²`; none of vectors that are all the same.
    pub fvu: Option<f64>,
    /// Mean over tokens of `|e|² / |y - ȳ|²`; tokens whose vector equals the mean are left out.
    pub fvu_per_token: Option<f64>,
    /// Mean number of active latents of a token.
    pub l0: f64,
    /// Share of latents that no token activates.
    pub dead: f64,
    /// Share of latents that are active on more than [`DENSE`] of the tokens.
    pub dense: f64,
}

/// What a batch adds to the sums.
#[derive(Debug, Default)]
struct Sums {
    tokens: usize,
    error: f64,
    variance: f64,
    /// Of the tokens whose vector differs from the mean.
    ratios: f64,
    n_ratios: usize,
    /// Tokens that activate each latent, `[F]`.
    active: Vec<f64>,
}

impl Sums {
    /// Of the vectors `x` `[n, D]` that a dictionary reads and `y` `[n, D_out]` that it reconstructs, whose mean is `mean` `[1, D_out]`.
    fn of(dictionary: &Autoencoder, x: Tensor<2>, y: Tensor<2>, mean: Tensor<2>) -> Self {
        let tokens = x.dims()[0];
        let codes = dictionary.codes(x.clone()); // [n, F]
        let active = codes.clone().greater_elem(0.0).float().sum_dim(0); // [1, F]
        let residual = y.clone() - dictionary.reconstruct_from(x, codes); // [n, D_out]
        let [errors, variances] = [residual, y - mean].map(|rows| {
            let squares = to_vec(rows.square().sum_dim(1)); // [n]
            squares.into_iter().map(f64::from).collect::<Vec<_>>()
        });
        let ratios = errors.iter().zip(&variances).filter(|(_, variance)| **variance > 0.0);
        Self {
            tokens,
            error: errors.iter().sum(),
            variance: variances.iter().sum(),
            ratios: ratios.clone().map(|(error, variance)| error / variance).sum(),
            n_ratios: ratios.count(),
            active: to_vec(active).into_iter().map(f64::from).collect(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.tokens += other.tokens;
        self.error += other.error;
        self.variance += other.variance;
        self.ratios += other.ratios;
        self.n_ratios += other.n_ratios;
        self.active.resize(other.active.len(), 0.0);
        for (count, more) in self.active.iter_mut().zip(&other.active) {
            *count += more;
        }
    }

    fn finish(&self) -> Fidelity {
        let (tokens, n_latents) = (self.tokens as f64, self.active.len().max(1) as f64);
        let share = |is_counted: &dyn Fn(f64) -> bool| {
            self.active.iter().filter(|count| is_counted(**count)).count() as f64 / n_latents
        };
        Fidelity {
            fvu: ratio(self.error, self.variance),
            fvu_per_token: ratio(self.ratios, self.n_ratios as f64),
            l0: self.active.iter().sum::<f64>() / tokens,
            dead: share(&|count| count == 0.0),
            dense: share(&|count| count > DENSE * tokens),
        }
    }
}

fn ratio(above: f64, below: f64) -> Option<f64> {
    (below > 0.0).then_some(above / below).filter(|ratio| ratio.is_finite())
}

impl SpliceTask<'_, '_> {
    /// Measures a dictionary that reads `reads` and writes `writes`, a place of this task, on the untouched model.
    ///
    /// # Errors
    ///
    /// A place that is not of this task; a hook that the model does not have, or that is no vector at a position.
    pub fn fidelity(&self, reads: Place, writes: Place, dictionary: &Autoencoder) -> Result<Fidelity, Error> {
        let of_place = self.writes.iter().zip(&self.means).find(|(place, _)| **place == writes);
        let (_, mean) = of_place.ok_or_else(|| Error::Splice {
            place: writes,
            reason: "is measured and not ablated".to_owned(),
        })?;
        let batches = self.text.read(&[reads, writes], |mut vectors| {
            let (y, x) = (vectors.remove(1), vectors.remove(0)); // [n, D_out], [n, D]
            Sums::of(dictionary, x, y, mean.clone())
        })?;
        let mut sums = Sums::default();
        batches.iter().for_each(|batch| sums.add(batch));
        Ok(sums.finish())
    }
}
