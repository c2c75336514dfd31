//! The activation functions, and how each keeps codes sparse.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::{relu, topk};

/// What makes the codes sparse.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "architecture", rename_all = "lowercase", deny_unknown_fields)]
pub enum Architecture {
    /// ReLU with an L1 penalty.
    Relu {
        /// Weight of the sum of codes against the squared error summed over dimensions, for inputs whose mean norm is
        /// the root of their width.
        l1: f64,
    },
    /// The `k` largest pre-activations.
    Topk {
        /// Active latents of a row.
        k: usize,
    },
}

impl Architecture {
    /// Name of the dictionary in run folders and reports.
    pub fn dictionary_name(&self) -> &'static str {
        match self {
            Self::Relu { .. } => "sae-relu",
            Self::Topk { .. } => "sae-topk",
        }
    }

    /// Codes from pre-activations, `[B, F]` both.
    pub(crate) fn activate(&self, pre_activations: Tensor<2>) -> Tensor<2> {
        match *self {
            Self::Relu { .. } => relu::activate(pre_activations),
            Self::Topk { k } => topk::activate(pre_activations, k),
        }
    }

    /// What is added to the squared error, `[1]`; `warm` rises from 0 to 1 at the start of a run.
    pub(crate) fn penalty(&self, codes: Tensor<2>, warm: f64) -> Option<Tensor<1>> {
        match *self {
            Self::Relu { l1 } => Some(relu::penalty(codes, l1, warm)),
            Self::Topk { .. } => None,
        }
    }
}
