//! An orthonormal basis as a dictionary of non-negative codes.
//!
//! With orthonormal rows `w_i` around the mean `b`, axis `i` gets two latents, one for each of its directions:
//!
//! `f_i = relu((a - b) . w_i)`, `f_(D + i) = relu(-(a - b) . w_i)`, `a^ = b + sum_i (f_i - f_(D + i)) w_i = a`.
//!
//! So a latent is active and scored like those of any other dictionary. An edit exchanges the coordinate of an axis, whatever its
//! sign, and counts that as one latent, as in the paper. All axes together reconstruct exactly; such a dictionary is not sparse.
//!
//! Shape legend: `B` rows of a batch, `D` width of a node, `F = 2 D` latents.

use crate::{Dictionary, Encoder};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

/// Both directions of every axis of an orthonormal basis.
pub struct SignedBasis {
    axes: Tensor<2>,       // [D, D], a row an axis
    directions: Tensor<2>, // [F, D]: the axes, then their negatives
    mean: Tensor<2>,       // [1, D]
}

impl SignedBasis {
    /// The dictionary of orthonormal `axes` (`[D, D]`, a row an axis) around `mean`, `[D]`.
    pub(super) fn new(axes: Vec<f32>, mean: Vec<f32>, device: &Device) -> Self {
        let width = mean.len();
        let axes = kernels::from_vec(axes, [width, width], device); // [D, D]
        Self {
            directions: Tensor::cat(vec![axes.clone(), -axes.clone()], 0), // [F, D]
            axes,
            mean: kernels::from_vec(mean, [1, width], device), // [1, D]
        }
    }
}

impl Dictionary for SignedBasis {
    fn d_in(&self) -> usize {
        self.axes.dims()[1]
    }

    fn n_latents(&self) -> usize {
        self.directions.dims()[0]
    }

    fn device(&self) -> Device {
        self.axes.device()
    }

    fn decode(&self, codes: Tensor<2>) -> Tensor<2> {
        kernels::matmul(codes, self.directions.clone()) + self.mean.clone() // [B, D]
    }

    fn is_signed_basis(&self) -> bool {
        true
    }

    fn directions(&self) -> Tensor<2> {
        self.directions.clone() // [F, D]
    }
}

impl Encoder for SignedBasis {
    fn encode(&self, activations: Tensor<2>) -> Tensor<2> {
        let coordinates = kernels::matmul(activations - self.mean.clone(), self.axes.clone().transpose()); // [B, D]
        Tensor::cat(vec![relu(coordinates.clone()), relu(-coordinates)], 1) // [B, F]
    }
}
