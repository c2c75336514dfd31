//! A finished autoencoder: its encoder and decoder, as evaluations use them.
//!
//! Shapes: `B` rows, `D` width, `F` latents.

use activations::Dictionary;
use burn::tensor::{Device, Tensor};
use kernels::matmul;
use tasks::Labels;

use crate::Architecture;
use crate::parameters::Parameters;

/// A sparse autoencoder.
#[derive(Debug, Clone)]
pub struct Autoencoder {
    /// What makes the codes sparse.
    pub architecture: Architecture,
    /// Weights and biases.
    pub parameters: Parameters,
    /// What stands in for a selection over the batch: pre-activations above it are kept. Calibrated on the training
    /// activations; unused by other architectures.
    pub batch_threshold: f32,
}

impl Autoencoder {
    /// Codes `[B, F]` of activations `[B, D]`.
    pub fn codes(&self, x: Tensor<2>) -> Tensor<2> {
        let p = &self.parameters;
        let h = matmul(self.centred(x), p.w_enc.clone().transpose()) + p.b_enc.clone().unsqueeze(); // [B, F]
        self.architecture.activate(p, h, self.batch_threshold)
    }

    /// What stands before the encoder's product, `[B, D]`.
    pub(crate) fn centred(&self, x: Tensor<2>) -> Tensor<2> {
        if self.architecture.subtracts_b_dec() {
            x - self.parameters.b_dec.clone().unsqueeze()
        } else {
            x
        }
    }

    /// The same autoencoder for inputs that are not scaled by `scale`: codes come out in the inputs' own units, decoder
    /// rows have norm 1. Exact, since every activation function here commutes with a positive factor that its thresholds
    /// share.
    pub(crate) fn unscaled(mut self, scale: f32) -> Self {
        let p = &mut self.parameters;
        if !self.architecture.has_unit_decoder() {
            let norms = p.decoder_norms().clamp_min(1e-8); // [F]
            let column = norms.clone().reshape([p.n_latents(), 1]); // [F, 1]
            p.w_enc = p.w_enc.clone() * column.clone();
            p.b_enc = p.b_enc.clone() * norms;
            p.w_dec = p.w_dec.clone() / column;
        }
        p.b_enc = p.b_enc.clone() / scale;
        p.b_dec = p.b_dec.clone() / scale;
        match self.architecture {
            Architecture::Jumprelu { .. } => p.extra[0] = p.extra[0].clone() / scale,
            Architecture::Gated { .. } => p.extra[1] = p.extra[1].clone() / scale,
            _ => {}
        }
        self.batch_threshold /= scale;
        self
    }
}

impl Dictionary for Autoencoder {
    fn d_in(&self) -> usize {
        self.parameters.d_in()
    }

    fn n_latents(&self) -> usize {
        self.parameters.n_latents()
    }

    fn device(&self) -> Device {
        self.parameters.w_dec.device()
    }

    fn encode(&self, activations: Tensor<2>, _labels: &[Labels]) -> Tensor<2> {
        self.codes(activations)
    }

    fn decode(&self, codes: Tensor<2>) -> Tensor<2> {
        matmul(codes, self.parameters.w_dec.clone()) + self.parameters.b_dec.clone().unsqueeze() // [B, D]
    }

    fn directions(&self) -> Tensor<2> {
        self.parameters.w_dec.clone()
    }
}
