//! What training changes: the parameters of an autoencoder, in numbered slots.
//!
//! Shapes: `D` width, `F` latents.

use burn::tensor::{Device, Gradients, Tensor};
use kernels::{from_vec, random, to_vec};

use crate::Activation;

/// The parameters. Encoder and decoder both hold a latent's direction as a row, so that its gradients are rows too.
#[derive(Debug, Clone)]
pub struct Parameters {
    /// Encoder directions, `[F, D]` (SAELens's `W_enc`, transposed); of a transcoder `D` is the width of its inputs here.
    pub w_enc: Tensor<2>,
    /// Encoder bias, `[F]`; of a Gated autoencoder the bias of the gate.
    pub b_enc: Tensor<1>,
    /// Decoder directions, `[F, D]`; of a transcoder `D` is the width of its outputs here and in `b_dec`.
    pub w_dec: Tensor<2>,
    /// Decoder bias, `[D]`; where the architecture says so it is subtracted before the encoder too.
    pub b_dec: Tensor<1>,
    /// Vectors `[F]` that only some architectures have: JumpReLU's thresholds; Gated's log-scales `r_mag` and biases
    /// `b_mag` of the magnitudes.
    pub extra: Vec<Tensor<1>>,
}

impl Parameters {
    /// Slot of [`Parameters::w_enc`] in an optimiser.
    pub const W_ENC: usize = 0;
    /// Slot of [`Parameters::b_enc`].
    pub const B_ENC: usize = 1;
    /// Slot of [`Parameters::w_dec`].
    pub const W_DEC: usize = 2;
    /// Slot of [`Parameters::b_dec`].
    pub const B_DEC: usize = 3;
    /// The first slot of [`Parameters::extra`].
    pub const EXTRA: usize = 4;

    /// Random unit decoder rows, the encoder their transpose, or for a transcoder random unit rows too; encoder bias 0 and
    /// `b_dec` as given; `extra` constant vectors. `d_in` is the width of the inputs.
    pub fn init(
        n_latents: usize,
        d_in: usize,
        b_dec: Vec<f32>,
        extra: &[f32],
        seed: u64,
        device: &Device,
        transcodes: bool,
    ) -> Self {
        let d_out = b_dec.len();
        let w_dec = random::unit_rows(&mut random::rng(seed, "sae/init"), n_latents, d_out);
        let w_enc = if transcodes {
            random::unit_rows(&mut random::rng(seed, "sae/init/encoder"), n_latents, d_in)
        } else {
            w_dec.clone()
        };
        Self {
            w_enc: from_vec(w_enc, [n_latents, d_in], device),
            b_enc: Tensor::zeros([n_latents], device),
            w_dec: from_vec(w_dec, [n_latents, d_out], device),
            b_dec: from_vec(b_dec, [d_out], device),
            extra: extra
                .iter()
                .map(|&value| from_vec(vec![value; n_latents], [n_latents], device))
                .collect(),
        }
    }

    /// Number of latents, `F`.
    pub fn n_latents(&self) -> usize {
        self.b_enc.dims()[0]
    }

    /// Width of an input.
    pub fn d_in(&self) -> usize {
        self.w_enc.dims()[1]
    }

    /// Width of an output; differs from that of an input in transcoders only.
    pub fn d_out(&self) -> usize {
        self.b_dec.dims()[0]
    }

    /// All numbers in host memory, a vector a slot.
    pub fn to_host(&self) -> Vec<Vec<f32>> {
        let mut all = vec![
            to_vec(self.w_enc.clone()),
            to_vec(self.b_enc.clone()),
            to_vec(self.w_dec.clone()),
            to_vec(self.b_dec.clone()),
        ];
        all.extend(self.extra.iter().map(|extra| to_vec(extra.clone())));
        all
    }

    /// A copy whose gradients are asked for.
    pub fn tracked(&self) -> Self {
        Self {
            w_enc: self.w_enc.clone().autodiff().require_grad(),
            b_enc: self.b_enc.clone().autodiff().require_grad(),
            w_dec: self.w_dec.clone().autodiff().require_grad(),
            b_dec: self.b_dec.clone().autodiff().require_grad(),
            extra: self.extra.iter().map(|p| p.clone().autodiff().require_grad()).collect(),
        }
    }

    /// The gradients of a tracked copy; zero where the loss does not depend on a parameter.
    pub fn gradients(&mut self, grads: &mut Gradients) -> Self {
        Self {
            w_enc: gradient(&mut self.w_enc, grads),
            b_enc: gradient(&mut self.b_enc, grads),
            w_dec: gradient(&mut self.w_dec, grads),
            b_dec: gradient(&mut self.b_dec, grads),
            extra: self.extra.iter_mut().map(|p| gradient(p, grads)).collect(),
        }
    }

    /// Whether no number is NaN or infinite.
    pub fn are_finite(&self) -> bool {
        let vectors = [&self.b_enc, &self.b_dec].into_iter().chain(&self.extra);
        let matrices = [&self.w_enc, &self.w_dec].map(|matrix| (matrix.clone() * 0.0).sum());
        let sum = vectors.map(|vector| (vector.clone() * 0.0).sum()).chain(matrices);
        sum.reduce(|a, b| a + b).is_none_or(|sum| to_vec(sum)[0] == 0.0)
    }

    /// Sums, number by number.
    pub fn plus(self, other: Self) -> Self {
        Self {
            w_enc: self.w_enc + other.w_enc,
            b_enc: self.b_enc + other.b_enc,
            w_dec: self.w_dec + other.w_dec,
            b_dec: self.b_dec + other.b_dec,
            extra: self.extra.into_iter().zip(other.extra).map(|(a, b)| a + b).collect(),
        }
    }

    /// Norms of the decoder's rows, `[F]`.
    pub fn decoder_norms(&self) -> Tensor<1> {
        let n_latents = self.n_latents();
        self.w_dec.clone().square().sum_dim(1).sqrt().reshape([n_latents]) // [F]
    }

    /// Raises thresholds to 0. The libraries' JumpReLU has a ReLU, so a code is never below 0 whatever its threshold.
    pub fn keep_thresholds_positive(&mut self, activation: Activation) {
        if activation == Activation::Jumprelu {
            self.extra[0] = self.extra[0].clone().clamp_min(0.0);
        }
    }

    /// Whether the decoder's rows have norm 1, to 1e-5.
    pub fn has_unit_rows(&self) -> bool {
        to_vec(self.decoder_norms())
            .iter()
            .all(|norm| (norm - 1.0).abs() <= 1e-5)
    }

    /// Moves the norms of the decoder's rows into the encoder and what is compared with its pre-activations: codes times
    /// norms, the same outputs.
    pub fn fold_decoder_norms(&mut self, activation: Activation) {
        let norms = self.decoder_norms().clamp_min(1e-8); // [F]
        let column = norms.clone().reshape([self.n_latents(), 1]); // [F, 1]
        self.w_enc = self.w_enc.clone() * column.clone();
        self.b_enc = self.b_enc.clone() * norms.clone();
        self.w_dec = self.w_dec.clone() / column;
        if let Some(slot) = activation.extra_in_units() {
            self.extra[slot] = self.extra[slot].clone() * norms;
        }
    }
}

fn gradient<const D: usize>(tracked: &mut Tensor<D>, grads: &mut Gradients) -> Tensor<D> {
    tracked
        .grad_remove(grads)
        .unwrap_or_else(|| tracked.clone().inner().zeros_like())
}
