//! Language models: families, weights, the forward pass with named hooks, and a training loop.
//!
//! * [`Model`]: a model in Hugging Face layout; [`Model::run`] reads and changes activations at [`HookPoint`]s and gives gradients.
//! * [`Dtype`]: what its weights are kept in.
//! * [`Passes`]: rows of tokens through a model, batch by batch.
//! * [`Spec`]: what a model computes, whatever [`Family`] it is of.
//! * [`train`]: language-model training of a GPT-2, fed with batches of token ids; [`interchange`] plants a mechanism meanwhile.
//! * [`shards`]: the files that weights lie in.
//!
//! Shapes: `B` rows of a batch, `T` tokens of a row, `D` d_model, `H` heads, `K` heads of keys and values, `Dh` d_head, `M` d_mlp,
//! `V` d_vocab.

mod attention;
mod checkpoint;
mod decoder;
mod dtype;
mod entry;
mod error;
mod families;
mod gguf_checkpoint;
mod head_inputs;
mod hooks;
pub mod interchange;
mod mlp_parts;
mod model;
mod passes;
mod refactor;
mod rotary;
mod run;
mod safetensors_files;
pub mod shards;
mod spec;
mod tap;
pub mod train;
mod weight_norms;
mod weights;

pub use dtype::Dtype;
pub use error::Error;
pub use families::{Family, to_hugging_face};
pub use head_inputs::NormRule;
pub use hooks::{HookPoint, NormAt};
pub use kernels::Nonlinearity;
pub use model::{LoadOptions, Model};
pub use passes::{Batch, Grouping, Pass, PassCost, Passes, Schedule, in_order_of_rows};
pub use rotary::{Rotary, Scaling};
pub use run::{Change, Gradients, Logits, Map, Past, Patch, Request, Start, TokenBatch, Trace, Vectors};
pub use spec::{LayerSpec, NormKind, Spec};
pub use weight_norms::{BlockNorms, WeightNorms};
