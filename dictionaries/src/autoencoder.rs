//! A finished autoencoder: its encoder and decoder, as evaluations use them.
//!
//! Shapes: `B` rows, `D` width, `F` latents.

use burn::tensor::{Device, Tensor};
use kernels::matmul;

use crate::{Activation, Architecture, Dictionary, Encoder, Normalisation, Parameters};

/// A sparse autoencoder, or a transcoder.
#[derive(Debug, Clone)]
pub struct Autoencoder {
    /// What happens to each input first, and is undone at the end.
    pub normalisation: Normalisation,
    /// How codes follow from pre-activations.
    pub activation: Activation,
    /// Whether the decoder's bias is subtracted before the encoder.
    pub subtracts_b_dec: bool,
    /// Weights and biases.
    pub parameters: Parameters,
    /// Whether the output is something else than the input: a transcoder.
    pub transcodes: bool,
    /// What a transcoder passes on directly, `[D_out, D]`.
    pub skip: Option<Tensor<2>>,
}

impl Autoencoder {
    /// An autoencoder whose inputs are taken as they are.
    pub fn plain(activation: Activation, subtracts_b_dec: bool, parameters: Parameters) -> Self {
        Self {
            normalisation: Normalisation::None,
            activation,
            subtracts_b_dec,
            parameters,
            transcodes: false,
            skip: None,
        }
    }

    /// What training on inputs times the first of `scales`, and for a transcoder targets times the second, ends with, for
    /// inputs and targets that are not scaled: codes come out in the inputs' own units, an autoencoder's decoder rows have
    /// norm 1. Exact, since every activation function here commutes with a positive factor that its thresholds share.
    pub fn finished(architecture: Architecture, mut parameters: Parameters, scales: (f32, Option<f32>)) -> Self {
        let activation = architecture.activation();
        if !architecture.has_unit_decoder() {
            parameters.fold_decoder_norms(activation);
        }
        let (of_inputs, of_targets) = scales;
        parameters.b_enc = parameters.b_enc / of_inputs;
        parameters.b_dec = parameters.b_dec / of_targets.unwrap_or(of_inputs);
        if let Some(of_targets) = of_targets {
            parameters.w_dec = parameters.w_dec * (of_inputs / of_targets);
        }
        // The threshold that replaces a selection over the batch comes later.
        if let Some(vector) = activation
            .extra_in_units()
            .and_then(|slot| parameters.extra.get_mut(slot))
        {
            *vector = vector.clone() / of_inputs;
        }
        let transcodes = of_targets.is_some();
        Self {
            transcodes,
            ..Self::plain(activation, architecture.subtracts_b_dec() && !transcodes, parameters)
        }
    }

    /// Codes `[B, F]` of activations `[B, D]`.
    pub fn codes(&self, x: Tensor<2>) -> Tensor<2> {
        let p = &self.parameters;
        let h = matmul(self.centred(x), p.w_enc.clone().transpose()) + p.b_enc.clone().unsqueeze(); // [B, F]
        self.activation.apply(p, h)
    }

    /// How the codes `[B, F]` of activations `[B, D]` follow a change of the activations, to first order: which latents are active is
    /// constant, and what is active is affine in what the encoder reads.
    pub fn codes_change(&self, x: Tensor<2>, change: Tensor<2>) -> Tensor<2> {
        let p = &self.parameters;
        let is_active = self.codes(x.clone()).greater_scalar(0.0).float(); // [B, F]
        let of_pre = matmul(self.normalisation.change(x, change), p.w_enc.clone().transpose()); // [B, F]
        let slopes = match self.activation {
            Activation::Gated => is_active * p.extra[0].clone().exp().unsqueeze(), // [B, F]
            Activation::Relu | Activation::Jumprelu | Activation::Topk { .. } | Activation::Groupmax { .. } => {
                is_active
            }
        };
        of_pre * slopes // [B, F]
    }

    /// What becomes of activations `[B, D]`: `[B, D]`, or a transcoder's `[B, D_out]`.
    pub fn reconstruct(&self, x: Tensor<2>) -> Tensor<2> {
        let codes = self.codes(x.clone());
        self.reconstruct_from(x, codes)
    }

    /// What becomes of activations `[B, D]` whose codes `[B, F]` are known already.
    pub fn reconstruct_from(&self, x: Tensor<2>, codes: Tensor<2>) -> Tensor<2> {
        let p = &self.parameters;
        let mut out = matmul(codes, p.w_dec.clone()) + p.b_dec.clone().unsqueeze(); // [B, D_out]
        if let Some(skip) = &self.skip {
            out = out + matmul(x.clone(), skip.clone().transpose());
        }
        if self.transcodes {
            out
        } else {
            self.normalisation.undo(&x, out)
        }
    }

    /// What stands before the encoder's product, `[B, D]`.
    pub fn centred(&self, x: Tensor<2>) -> Tensor<2> {
        let x = self.normalisation.apply(x);
        if self.subtracts_b_dec {
            x - self.parameters.b_dec.clone().unsqueeze()
        } else {
            x
        }
    }

    /// Why this is no [`Dictionary`], if it is none: what a code adds must not depend on the input.
    pub fn not_a_dictionary(&self) -> Option<&'static str> {
        // A transcoder does not undo what it does to its inputs.
        let undone = !self.transcodes && self.normalisation != Normalisation::None;
        undone.then_some("it normalises each input, so that its directions depend on the input")
    }
}

impl Dictionary for Autoencoder {
    fn d_in(&self) -> usize {
        self.parameters.d_in()
    }

    fn d_out(&self) -> usize {
        self.parameters.d_out()
    }

    fn n_latents(&self) -> usize {
        self.parameters.n_latents()
    }

    fn device(&self) -> Device {
        self.parameters.w_dec.device()
    }

    fn decode(&self, codes: Tensor<2>) -> Tensor<2> {
        matmul(codes, self.parameters.w_dec.clone()) + self.parameters.b_dec.clone().unsqueeze() // [B, D]
    }

    fn direct(&self, activations: Tensor<2>) -> Option<Tensor<2>> {
        let skip = self.skip.as_ref()?;
        Some(matmul(activations, skip.clone().transpose())) // [B, D_out]
    }

    fn directions(&self) -> Tensor<2> {
        self.parameters.w_dec.clone()
    }
}

impl Encoder for Autoencoder {
    fn encode(&self, activations: Tensor<2>) -> Tensor<2> {
        self.codes(activations)
    }

    fn code_change(&self, activations: Tensor<2>, change: Tensor<2>) -> Option<Tensor<2>> {
        Some(self.codes_change(activations, change))
    }
}
