//! Tensor kernels shared by all stages, and the only library that names a burn backend.
//!
//! * [`matmul`], [`Precision`]: the dense matrix product of the language model and of the autoencoders.
//! * [`linear`], [`linear_activated`], [`causal_attention`]: a transformer block in few passes over memory.
//! * [`Weight`]: a matrix of a linear layer or table of an embedding, in 32 or 16 bits.
//! * [`top_k_mask`], [`top_k`]: exact row-wise selection, deterministic at ties.
//! * [`encode`], [`Entries`], [`sparse_encode`], [`sparse_decode`], [`sparse_squared_error`]: a sparse autoencoder's step where everything after the
//!   encoder's product touches only the active entries.
//! * [`Adam`]: Adam and AdamW whose state can be read, reset and stored.
//! * [`random`]: seeded host-side randomness; no tensor is ever drawn from a device's global generator.
//! * [`instruction_set`], [`bf16_instruction_set`]: what products and loops run with on this machine.
//! * [`assign`]: the pairs of rows and columns with the largest total weight.
//! * [`open`], [`Backend`]: the devices of this build, by name; [`cpu`] is the one that is always there.
//! * [`widen_f16`], [`narrow_f16`]: numbers of 16 bits, as stores hold them.
//! * [`from_vec`], [`to_vec`], [`Scalar`]: the way between host memory and tensors.
//!
//! Shapes: `B` rows, `F` latents.

mod active;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod active_gpu;
mod adam;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod adam_gpu;
mod adam_state;
mod assignment;
mod bf16;
#[cfg(target_arch = "x86_64")]
mod bf16_amx;
#[cfg(target_arch = "x86_64")]
mod bf16_avx512;
#[cfg(target_arch = "x86_64")]
mod bf16_tiles;
mod device;
mod encode;
mod entries;
mod f16;
mod gemm;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod gpu;
mod halves;
mod host;
mod matmul;
mod ops;
mod panels;
pub mod random;
mod reconstruction;
mod scalar;
mod scan;
mod screen;
mod search;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod segments_gpu;
mod select;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod select_gpu;
mod sparse;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod sparse_gpu;
mod sum;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod sum_gpu;
mod transformer;
mod vector;
mod weight;

pub use active::ActiveSet;
pub use adam::{Adam, AdamConfig, Update, squared_norm};
pub use adam_state::Moments;
pub use assignment::assign;
pub use bf16::bf16_instruction_set;
pub use device::{Backend, DeviceError, Found, cpu, is_cpu, is_gpu, open};
pub use encode::{Encoding, encode};
pub use entries::Entries;
pub use f16::{narrow_f16, widen_f16};
pub use gemm::{Matrix, gemm};
pub use halves::Half;
pub use host::{from_vec, look_at, to_vec};
pub use matmul::{Precision, matmul};
pub use ops::{sparse_decode, sparse_encode};
pub use reconstruction::{SquaredError, sparse_squared_error};
pub use scalar::Scalar;
pub use search::{Auxiliary, Encoded, NotFinite, Rule};
pub use select::{top_k, top_k_mask};
pub use sum::{sum, variance};
pub use transformer::{
    Attention, HeadNorms, Heads, Nonlinearity, Rotation, causal_attention, linear, linear_activated, linear_gated,
    linear_heads, rms_norm,
};
pub use vector::instruction_set;
pub use weight::{UsedAs, Weight};
