//! The type that the weights of a model are kept in.

use kernels::Half;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The type that matrices of linear layers and tables of embeddings are kept in.
///
/// All else is `f32`, whatever the type: norms and biases, the residual stream, softmax, rotation, caps, logits, and the sums of
/// every product.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[derive(strum::Display, strum::EnumString, strum::VariantArray)]
#[strum(serialize_all = "lowercase", parse_err_ty = Error, parse_err_fn = unknown)]
pub enum Dtype {
    /// 32 bits: the numbers of every checkpoint exactly.
    #[default]
    F32,
    /// 16 bits, 8 of them significant, the range of `f32`. What a product multiplies with a matrix is rounded, too.
    Bf16,
    /// 16 bits, 11 of them significant; nothing above 65,504. On the CPU what a product multiplies with a matrix stays `f32`.
    F16,
}

impl Dtype {
    /// The 16-bit type that the matrices are kept in, `None` for `f32`.
    pub fn half(self) -> Option<Half> {
        match self {
            Self::F32 => None,
            Self::Bf16 => Some(Half::Bf16),
            Self::F16 => Some(Half::F16),
        }
    }
}

impl From<Half> for Dtype {
    fn from(half: Half) -> Self {
        match half {
            Half::Bf16 => Self::Bf16,
            Half::F16 => Self::F16,
        }
    }
}

fn unknown(name: &str) -> Error {
    Error::Dtype { name: name.to_owned() }
}
