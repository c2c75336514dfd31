//! The parts of a transformer block between its matrix products, in few passes over memory on the CPU.
//!
//! Each function takes any tensor. On plain CPU tensors it works in host memory: a product goes to memory that nobody has filled
//! before, and one pass of all threads over it adds bias and residual, applies the activation or rotates the heads; attention takes
//! the causal half alone, head by head, while scores are in cache. On other devices, and where gradients are wanted, it is the
//! same computation in burn's operations; results differ in the last bits.
//!
//! Shapes: `B` rows, `T` tokens, `D` d_model, `H` heads, `K` heads of keys and values, `Dh` d_head, `N` inputs, `P` outputs of a
//! linear layer, `M` d_mlp.

mod activation;
mod attention;
mod heads;
mod linear;
mod norm;
#[cfg(test)]
mod tests;

use burn::tensor::Tensor;
use burn_flex::FlexTensor;

pub use activation::Nonlinearity;
pub use attention::{Attention, causal_attention};
pub use heads::{HeadNorms, Heads, Rotation, linear_heads};
pub use linear::{linear, linear_activated, linear_gated};
pub use norm::rms_norm;

use crate::host::{contiguous, into_flex};

/// Numbers that one task works on: a few microseconds of work.
const PER_TASK: usize = 1 << 15;

/// The numbers of a plain CPU tensor, row by row.
fn plain<const R: usize>(tensor: &Tensor<R>) -> Option<FlexTensor> {
    into_flex(tensor.clone()).ok().map(contiguous)
}

/// Numbers of whole rows of `width` that one task works on.
fn task_of(width: usize) -> usize {
    (PER_TASK / width.max(1)).max(1) * width.max(1)
}
