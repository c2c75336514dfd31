//! What a step learns from: rows, and dead latents to revive.
//!
//! Shapes: `B` rows, `D` width, `F` latents.

use burn::tensor::Tensor;
use dictionaries::{Architecture, Parameters};

use crate::silence::Dead;

/// What one step learns from.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Inputs, `[B, D]` (plain).
    pub x: &'a Tensor<2>,
    /// What to reconstruct when it is not the inputs, `[B, D_out]` (plain): this makes a transcoder.
    pub target: Option<&'a Tensor<2>>,
}

impl Batch<'_> {
    /// What to reconstruct, `[B, D]`.
    pub(crate) fn target(&self) -> &Tensor<2> {
        self.target.unwrap_or(self.x)
    }

    /// Whether the decoder's bias is subtracted from the inputs; a transcoder's lives in another space.
    fn subtracts_b_dec(&self, architecture: Architecture) -> bool {
        self.target.is_none() && architecture.subtracts_b_dec()
    }

    /// What stands before the encoder's product, `[B, D]`, and whether the decoder's bias was subtracted for it.
    pub(crate) fn centred(&self, architecture: Architecture, parameters: &Parameters) -> (Tensor<2>, bool) {
        if self.subtracts_b_dec(architecture) {
            let b_dec = parameters.b_dec.clone().inner();
            (self.x.clone() - b_dec.unsqueeze(), true)
        } else {
            (self.x.clone(), false)
        }
    }
}

/// The dead latents and how they are revived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Revival<'a> {
    /// Dead latents.
    pub(crate) dead: &'a Dead,
    /// AuxK: how many of them may help with each row.
    pub(crate) k: usize,
    /// AuxK: weight of their loss.
    pub(crate) weight: f64,
}
