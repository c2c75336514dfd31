//! Language models: families, weights, tokenizers, the forward pass with named hooks, a training loop, and the files every stage
//! writes.
//!
//! * [`Model`]: a model in Hugging Face layout; [`Model::run`] reads and changes activations at [`HookPoint`]s and gives gradients.
//! * [`Dtype`]: what its weights are kept in.
//! * [`Passes`]: rows of tokens through a model, batch by batch.
//! * [`Spec`]: what a model computes, whatever [`Family`] it is of.
//! * [`Tokenizer`]: text to token ids.
//! * [`train`]: language-model training of a GPT-2, fed with batches of token ids; [`interchange`] plants a mechanism meanwhile.
//! * [`hub`]: models of the Hugging Face hub, in the cache that its libraries share.
//! * [`gguf`]: models in one file of llama.cpp's format.
//! * [`files`]: atomic writes, hashes, safetensors.
//!
//! Shapes: `B` rows of a batch, `T` tokens of a row, `D` d_model, `H` heads, `K` heads of keys and values, `Dh` d_head, `M` d_mlp,
//! `V` d_vocab.

mod attention;
mod checkpoint;
mod decoder;
mod dtype;
mod error;
mod families;
pub mod files;
pub mod gguf;
pub mod guard;
mod head_inputs;
mod hooks;
pub mod hub;
pub mod interchange;
mod mlp_parts;
mod model;
mod passes;
mod refactor;
mod rotary;
mod run;
mod safetensors_file;
mod shards;
mod spec;
mod tap;
mod temporary;
mod tokenizer;
pub mod train;
mod weight_norms;
mod weights;

pub use dtype::Dtype;
pub use error::Error;
pub use families::{Family, to_hugging_face};
pub use files::HostTensor;
pub use head_inputs::NormRule;
pub use hooks::{HookPoint, NormAt};
pub use kernels::Activation;
pub use model::{LoadOptions, Model};
pub use passes::{Batch, Grouping, Pass, PassCost, Passes, Schedule, in_order_of_rows};
pub use rotary::{Rotary, Scaling};
pub use run::{Change, Gradients, Logits, Map, Past, Patch, Request, Start, TokenBatch, Trace, Vectors};
pub use spec::{LayerSpec, NormKind, Spec};
pub use tokenizer::{Chat, ChatDate, ChatMessages, ChatTemplate, SpecialToken, Tokenizer};
pub use weight_norms::{BlockNorms, WeightNorms};
