//! The entries of a `[B, F]` matrix of latents that a pass works with: all of them, or the active ones only.
//!
//! Architectures are written once, over values of either kind: element-wise formulas are the same, vectors of one number a
//! latent are spread over the entries, and the decoder is a dense product or the sparse kernel.
//!
//! Shapes: `B` rows, `D` width, `F` latents, `N` active entries; values are `[B, F]` or `[1, N]`.

use burn::tensor::Tensor;
use kernels::{Entries, Precision, sparse_decode};

/// Which entries exist.
#[derive(Debug, Clone)]
pub(crate) enum Support {
    /// All; values are `[B, F]`, and products are dense, in this precision.
    Dense(Precision),
    /// Those that are active; values are `[1, N]`.
    Sparse(Entries),
}

impl Support {
    /// One number a latent, `[F]`, for every entry: `[1, F]` or `[1, N]`.
    pub(crate) fn spread(&self, per_latent: Tensor<1>) -> Tensor<2> {
        match self {
            Self::Dense(_) => per_latent.unsqueeze(), // [1, F]
            Self::Sparse(entries) => {
                let latents = entries.latents(&per_latent.device());
                per_latent.select(0, latents).unsqueeze() // [1, N]
            }
        }
    }

    /// Values times decoder rows `[F, D]`, summed over each row's entries: `[B, D]`.
    pub(crate) fn decode(&self, values: Tensor<2>, w_dec: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Dense(precision) => precision.matmul(values, w_dec), // [B, D]
            Self::Sparse(entries) => sparse_decode(values.reshape([entries.len()]), w_dec, entries), // [B, D]
        }
    }
}
