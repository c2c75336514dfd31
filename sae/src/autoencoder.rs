//! A finished autoencoder: its encoder and decoder, as evaluations use them.
//!
//! Shapes: `B` rows, `D` width, `F` latents.

use activations::Dictionary;
use burn::tensor::{Device, Tensor};
use kernels::matmul;
use tasks::Labels;

use crate::parameters::Parameters;
use crate::{Activation, Architecture};

/// A sparse autoencoder.
#[derive(Debug, Clone)]
pub struct Autoencoder {
    /// How codes follow from pre-activations.
    pub activation: Activation,
    /// Whether the decoder's bias is subtracted before the encoder.
    pub subtracts_b_dec: bool,
    /// Weights and biases.
    pub parameters: Parameters,
}

impl Autoencoder {
    /// The autoencoder that training on inputs times `scale` ends with, for inputs that are not scaled: codes come out in
    /// the inputs' own units, decoder rows have norm 1. Exact, since every activation function here commutes with a
    /// positive factor that its thresholds share.
    pub(crate) fn finished(architecture: Architecture, mut parameters: Parameters, scale: f32) -> Self {
        if !architecture.has_unit_decoder() {
            parameters.fold_decoder_norms();
        }
        parameters.b_enc = parameters.b_enc / scale;
        parameters.b_dec = parameters.b_dec / scale;
        let activation = architecture.activation();
        // Thresholds and the biases of magnitudes have the inputs' units; log-scales have none.
        let in_units = match activation {
            Activation::Jumprelu => Some(0),
            Activation::Gated => Some(1),
            Activation::Relu | Activation::Topk { .. } => None,
        };
        if let Some(vector) = in_units.and_then(|i| parameters.extra.get_mut(i)) {
            *vector = vector.clone() / scale;
        }
        Self {
            activation,
            subtracts_b_dec: architecture.subtracts_b_dec(),
            parameters,
        }
    }

    /// Codes `[B, F]` of activations `[B, D]`.
    pub fn codes(&self, x: Tensor<2>) -> Tensor<2> {
        let p = &self.parameters;
        let h = matmul(self.centred(x), p.w_enc.clone().transpose()) + p.b_enc.clone().unsqueeze(); // [B, F]
        self.activation.apply(p, h)
    }

    /// What stands before the encoder's product, `[B, D]`.
    pub(crate) fn centred(&self, x: Tensor<2>) -> Tensor<2> {
        if self.subtracts_b_dec {
            x - self.parameters.b_dec.clone().unsqueeze()
        } else {
            x
        }
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
