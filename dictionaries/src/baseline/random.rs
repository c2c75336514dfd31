//! The random dictionary: what a dictionary reaches without having learned anything.
//!
//! Where the paper freezes a random decoder, this one has no encoder to train either: unit Gaussian rows `W` around the mean
//! activation `b`, and codes by orthogonal matching pursuit ([`super::pursuit`]) with at most `k` latents a row. A weaker coder would
//! make the comparison easier than it is.
//!
//! A comparison is fair in one respect at a time, so there are two: as many active latents as the dictionary it stands
//! beside (its error is then told), or the same error (its number of active latents is then told). One draw of directions is one
//! dictionary: a baseline has several draws, as a trained family has several seeds.
//!
//! Shape legend: `B` rows of a batch, `N` rows of activations, `D` width of a node, `F` latents.

use super::checked;
use super::pursuit::Pursuit;
use crate::{Dictionary, Encoder, Error, Rows};
use activations::Node;
use burn::tensor::{Device, Tensor};

/// A dictionary of random unit directions.
#[derive(Debug, Clone)]
pub struct RandomDictionary {
    w_dec: Tensor<2>, // [F, D]
    b_dec: Tensor<2>, // [1, D]
    k: usize,
    pursuit: Pursuit,
}

/// What a random dictionary is drawn as, before it is matched.
#[derive(Debug, Clone, Copy)]
pub struct RandomSize<'a> {
    /// Width `D` of the activations.
    pub width: usize,
    /// Number of latents `F`.
    pub n_latents: usize,
    /// Seed of the directions.
    pub seed: u64,
    /// Number of the draw.
    pub draw: usize,
    /// Names the stream of random numbers.
    pub node: &'a Node,
    /// Where the directions live.
    pub device: &'a Device,
}

/// A random dictionary that was made to match another, and what it came to.
pub struct Matched {
    /// The dictionary.
    pub dictionary: RandomDictionary,
    /// Mean number of active latents of a row.
    pub l0: f64,
    /// Squared error of the reconstruction over the squared distance from the mean, summed over all rows.
    pub fvu: f64,
}

/// Rows on which matches are made, at most; spread evenly over those that are given.
const MATCH_ROWS: usize = 512;

/// Latents of the first pursuit of [`RandomDictionary::matched_fvu`].
const FIRST_PURSUIT: usize = 8;

impl RandomDictionary {
    /// The first draw of `n_latents` unit directions around `mean` (`[D]`), of which a row activates at most `k`.
    pub fn new(mean: &[f32], n_latents: usize, k: usize, seed: u64, node: &Node, device: &Device) -> Self {
        let width = mean.len();
        let size = RandomSize {
            width,
            n_latents,
            seed,
            draw: 0,
            node,
            device,
        };
        Self::drawn(mean, k, &size)
    }

    /// Draws unit directions around `mean` (`[D]`, the mean of the training activations), of which a row activates at most `k`.
    ///
    /// Each node and draw has directions of its own: the stream of random numbers is named after them.
    fn drawn(mean: &[f32], k: usize, size: &RandomSize<'_>) -> Self {
        let (d_in, f, device) = (mean.len(), size.n_latents, size.device);
        let stream = format!("random-dictionary/{}/{}", size.draw, size.node);
        let values = kernels::random::unit_rows(&mut kernels::random::rng(size.seed, &stream), f, d_in);
        let w_dec = kernels::from_vec(values, [f, d_in], device); // [F, D]
        let gram = kernels::matmul(w_dec.clone(), w_dec.clone().transpose()); // [F, F]
        Self {
            w_dec,
            b_dec: kernels::from_vec(mean.to_vec(), [1, d_in], device), // [1, D]
            k,
            pursuit: Pursuit::new(&Rows::from_tensor(gram)),
        }
    }

    /// The dictionary with as many active latents as another one, `l0` in the mean, fitted to activations `[N, D]`.
    ///
    /// Fewer than asked may be active where `l0` is a large part of the latents.
    ///
    /// # Errors
    /// [`Error::Baseline`] for no rows, or numbers that are not finite.
    pub fn matched_l0(values: &[f32], l0: f64, size: &RandomSize<'_>) -> Result<Matched, Error> {
        let (rows, dictionary) = Self::unfitted(values, size)?;
        Ok(dictionary.fitted(&rows, (l0.round() as usize).clamp(1, size.n_latents.max(1))))
    }

    /// The dictionary whose error is nearest to another's, `fvu`, on activations `[N, D]`.
    ///
    /// Random directions cannot reach every error: the nearest may be far, so look at [`Matched::fvu`].
    ///
    /// # Errors
    /// [`Error::Baseline`] for no rows, or numbers that are not finite.
    pub fn matched_fvu(values: &[f32], fvu: f64, size: &RandomSize<'_>) -> Result<Matched, Error> {
        let (rows, dictionary) = Self::unfitted(values, size)?;
        // The latents for a smaller k are the first ones for a larger, so one pursuit tells the error of all. The error falls with k, and
        // a pursuit costs the cube of it: one that has not come to the other's error begins again for twice as many latents.
        let limit = size.n_latents.min(2 * size.width).max(1);
        let (centred, agreements) = dictionary.centred(&rows);
        let whole: f64 = centred.values().iter().map(|&x| f64::from(x).powi(2)).sum();
        let error = |explained: &[Vec<f64>], k: usize| {
            1.0 - explained.iter().map(|row| row[k - 1]).sum::<f64>() / whole.max(f64::MIN_POSITIVE)
        };
        let mut most = FIRST_PURSUIT.min(limit);
        let explained = loop {
            let explained = dictionary.pursuit.explained(&agreements, most);
            if most == limit || error(&explained, most) <= fvu {
                break explained;
            }
            most = (2 * most).min(limit);
        };
        let distance = |k: &usize| (error(&explained, *k) - fvu).abs();
        let k = (1..=most)
            .min_by(|a, b| distance(a).total_cmp(&distance(b)).then(a.cmp(b)))
            .unwrap_or(1);
        Ok(dictionary.fitted(&rows, k))
    }

    fn unfitted(values: &[f32], size: &RandomSize<'_>) -> Result<(Rows, Self), Error> {
        let all = checked("random", values, size.width)?;
        let dictionary = Self::drawn(&all.mean(), 1, size);
        let step = all.len().div_ceil(MATCH_ROWS);
        let places: Vec<usize> = (0..all.len()).step_by(step).collect();
        Ok((all.pick(&places), dictionary))
    }

    /// Activations around the mean, `[N, D]`, and their scalar products with all directions, `[N, F]`.
    fn centred(&self, rows: &Rows) -> (Rows, Rows) {
        let centred = rows.tensor(0..rows.len(), &self.device()) - self.b_dec.clone(); // [N, D]
        let agreements = kernels::matmul(centred.clone(), self.w_dec.clone().transpose()); // [N, F]
        (Rows::from_tensor(centred), Rows::from_tensor(agreements))
    }

    /// The same directions with `k` active latents, and what that comes to on `rows`.
    fn fitted(self, rows: &Rows, k: usize) -> Matched {
        let dictionary = Self { k, ..self };
        let (centred, agreements) = dictionary.centred(rows);
        let steps = dictionary.pursuit.codes(&agreements, k);
        let variance: f64 = centred.values().iter().map(|&x| f64::from(x).powi(2)).sum();
        let explained: f64 = steps.iter().map(|step| step.explained).sum();
        let active: usize = steps.iter().map(|step| step.latents.len()).sum();
        Matched {
            dictionary,
            l0: active as f64 / rows.len().max(1) as f64,
            fvu: if variance > 0.0 {
                (1.0 - explained / variance).max(0.0)
            } else {
                0.0
            },
        }
    }

    /// The mean of activations `[N, D]`, for [`RandomDictionary::new`].
    pub fn mean(values: &[f32], width: usize) -> Vec<f32> {
        Rows::new(width, values.to_vec()).mean()
    }
}

impl Dictionary for RandomDictionary {
    fn d_in(&self) -> usize {
        self.w_dec.dims()[1]
    }

    fn n_latents(&self) -> usize {
        self.w_dec.dims()[0]
    }

    fn device(&self) -> Device {
        self.w_dec.device()
    }

    fn decode(&self, codes: Tensor<2>) -> Tensor<2> {
        kernels::matmul(codes, self.w_dec.clone()) + self.b_dec.clone() // [B, D]
    }

    fn directions(&self) -> Tensor<2> {
        self.w_dec.clone() // [F, D]
    }
}

impl Encoder for RandomDictionary {
    fn encode(&self, activations: Tensor<2>) -> Tensor<2> {
        let (_, agreements) = self.centred(&Rows::from_tensor(activations)); // [B, F]
        let (n, f) = (agreements.len(), self.n_latents());
        let mut codes = vec![0.0; n * f];
        for (row, step) in codes.chunks_exact_mut(f).zip(self.pursuit.codes(&agreements, self.k)) {
            for (latent, code) in step.latents.iter().zip(step.codes) {
                row[*latent as usize] = code as f32;
            }
        }
        kernels::from_vec(codes, [n, f], &self.device()) // [B, F]
    }
}
