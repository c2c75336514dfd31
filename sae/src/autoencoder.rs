//! The parameters of an autoencoder, its encoder and decoder.
//!
//! `f = φ((x − b_dec) W_enc + b_enc)`, `x̂ = f W_dec + b_dec`, rows of `W_dec` of unit norm.
//!
//! Shapes: `B` rows, `D` width, `F` latents.

use activations::Dictionary;
use burn::tensor::{Device, Tensor};
use kernels::{from_vec, matmul, random};
use tasks::Labels;

use crate::Architecture;

/// A sparse autoencoder.
#[derive(Debug, Clone)]
pub struct Autoencoder {
    /// What makes the codes sparse.
    pub architecture: Architecture,
    /// `[D, F]`
    pub w_enc: Tensor<2>,
    /// `[F]`
    pub b_enc: Tensor<1>,
    /// `[F, D]`
    pub w_dec: Tensor<2>,
    /// `[D]`
    pub b_dec: Tensor<1>,
}

impl Autoencoder {
    /// Random unit decoder rows, the encoder their transpose, `b_dec` the mean of the data.
    pub(crate) fn init(
        architecture: Architecture,
        n_latents: usize,
        mean: Vec<f32>,
        seed: u64,
        device: &Device,
    ) -> Self {
        let d_in = mean.len();
        let mut w_dec = random::normal(&mut random::rng(seed, "sae/init"), n_latents * d_in, 1.0);
        for row in w_dec.chunks_mut(d_in) {
            let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-8);
            row.iter_mut().for_each(|x| *x /= norm);
        }
        let w_dec = from_vec(w_dec, [n_latents, d_in], device); // [F, D]
        Self {
            architecture,
            w_enc: w_dec.clone().transpose(), // [D, F]
            b_enc: Tensor::zeros([n_latents], device),
            w_dec,
            b_dec: from_vec(mean, [d_in], device),
        }
    }

    /// Codes `[B, F]` of activations `[B, D]`; differentiable.
    pub(crate) fn codes(&self, x: Tensor<2>) -> Tensor<2> {
        let [_, d_in] = x.dims();
        let n_latents = self.b_enc.dims()[0];
        let centred = x - self.b_dec.clone().reshape([1, d_in]);
        let pre_activations = matmul(centred, self.w_enc.clone()) + self.b_enc.clone().reshape([1, n_latents]); // [B, F]
        self.architecture.activate(pre_activations)
    }

    /// The same autoencoder for inputs that are not scaled by `scale`: codes come out in the inputs' own units, the
    /// decoder keeps unit rows. Exact, since both activation functions commute with a positive factor.
    pub(crate) fn unscaled(mut self, scale: f32) -> Self {
        self.b_enc = self.b_enc / scale;
        self.b_dec = self.b_dec / scale;
        self
    }
}

impl Dictionary for Autoencoder {
    fn d_in(&self) -> usize {
        self.b_dec.dims()[0]
    }

    fn n_latents(&self) -> usize {
        self.b_enc.dims()[0]
    }

    fn device(&self) -> Device {
        self.w_dec.device()
    }

    fn encode(&self, activations: Tensor<2>, _labels: &[Labels]) -> Tensor<2> {
        self.codes(activations)
    }

    fn decode(&self, codes: Tensor<2>) -> Tensor<2> {
        let d_in = self.d_in();
        matmul(codes, self.w_dec.clone()) + self.b_dec.clone().reshape([1, d_in]) // [B, D]
    }

    fn directions(&self) -> Tensor<2> {
        self.w_dec.clone()
    }
}
