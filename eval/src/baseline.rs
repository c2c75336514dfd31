//! The random dictionary: what a dictionary reaches without having learned anything.
//!
//! Not in the paper (Makelov, Lange, Nanda, [arXiv 2405.08366](https://arxiv.org/abs/2405.08366)), which compares with
//! frozen random decoders; this one does not train its encoder either. Unit Gaussian rows `W`, encoder its transpose,
//! the same number of latents `F` and the same number of active ones `k` as the TopK autoencoder it stands beside:
//!
//! `f = top_k((a - b) W^T)`, `a^ = f W + b`, with `b` the mean activation (the autoencoder's pre-bias).
//!
//! Shape legend: `B` rows of a batch, `D` width of a node, `F` latents.

use crate::rows::Rows;
use activations::{Dictionary, Node};
use burn::tensor::{Device, Tensor};
use tasks::Labels;

/// A dictionary of random unit directions.
pub struct RandomDictionary {
    w_dec: Tensor<2>, // [F, D]
    b_dec: Tensor<2>, // [1, D]
    k: usize,
}

impl RandomDictionary {
    /// Draws `n_latents` unit directions for `node` around `mean` (`[D]`, the mean of the training activations).
    ///
    /// Each node has directions of its own: the stream of random numbers is named after the node.
    pub fn new(mean: &[f32], n_latents: usize, k: usize, seed: u64, node: &Node, device: &Device) -> Self {
        let d_in = mean.len();
        let mut rng = kernels::random::rng(seed, &format!("random-dictionary/{node}"));
        let values = kernels::random::unit_rows(&mut rng, n_latents, d_in);
        Self {
            w_dec: kernels::from_vec(values, [n_latents, d_in], device), // [F, D]
            b_dec: kernels::from_vec(mean.to_vec(), [1, d_in], device),  // [1, D]
            k,
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

    fn encode(&self, activations: Tensor<2>, _labels: &[Labels]) -> Tensor<2> {
        let scores = kernels::matmul(activations - self.b_dec.clone(), self.w_dec.clone().transpose()); // [B, F]
        kernels::top_k(scores, self.k)
    }

    fn decode(&self, codes: Tensor<2>) -> Tensor<2> {
        kernels::matmul(codes, self.w_dec.clone()) + self.b_dec.clone() // [B, D]
    }

    fn directions(&self) -> Tensor<2> {
        self.w_dec.clone() // [F, D]
    }
}
