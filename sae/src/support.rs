//! The entries of a `[B, F]` matrix of latents that a pass works with: all of them, or the active ones only.
//!
//! Architectures are written once, over values of either kind: element-wise formulas are the same, vectors of one number a
//! latent are spread over the entries, and the decoder is a dense product or the sparse kernel.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries; values are `[B, F]` or `[1, N]`.

use std::sync::Arc;

use burn::tensor::{Int, Tensor, TensorData};
use kernels::{ActiveSet, Precision, sparse_decode};

/// Which entries exist.
#[derive(Debug, Clone)]
pub(crate) enum Support {
    /// All; values are `[B, F]`, and products are dense, in this precision.
    Dense(Precision),
    /// Those of the set; values are `[1, N]`.
    Sparse(Arc<ActiveSet>),
}

impl Support {
    /// One number a latent, `[F]`, for every entry: `[1, F]` or `[1, N]`.
    pub(crate) fn spread(&self, per_latent: Tensor<1>) -> Tensor<2> {
        match self {
            Self::Dense(_) => per_latent.unsqueeze(), // [1, F]
            Self::Sparse(set) => {
                let latents: Vec<i32> = set.latents().iter().map(|&latent| latent as i32).collect();
                let n = latents.len();
                let index = Tensor::<1, Int>::from_data(TensorData::new(latents, [n]), &per_latent.device());
                per_latent.select(0, index).unsqueeze() // [1, N]
            }
        }
    }

    /// Values times decoder rows `[F, D]`, summed over each row's entries: `[B, D]`.
    pub(crate) fn decode(&self, values: Tensor<2>, w_dec: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Dense(precision) => precision.matmul(values, w_dec), // [B, D]
            Self::Sparse(set) => sparse_decode(values.reshape([set.len()]), w_dec, set), // [B, D]
        }
    }
}
