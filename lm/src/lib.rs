//! GPT-2: weights, tokenizer, forward pass with named hooks, training loop, and the files every stage writes.
//!
//! * [`Model`]: any GPT-2 in Hugging Face layout; [`Model::run`] reads and overwrites activations at [`HookPoint`]s.
//! * [`Tokenizer`]: GPT-2's byte-level BPE, or the word-level tokenizer of the small world.
//! * [`train`]: language-model training, fed with batches of token ids; [`interchange`] plants a mechanism meanwhile.
//! * [`hub`]: models of the Hugging Face hub, in the cache that its libraries share.
//! * [`files`]: atomic writes, hashes, safetensors.
//!
//! Shapes: `B` rows of a batch, `T` tokens of a row, `D` d_model, `H` heads, `Dh` d_head, `V` d_vocab.

mod error;
pub mod files;
pub mod guard;
mod hooks;
pub mod hub;
pub mod interchange;
mod model;
mod refactor;
mod run;
mod shards;
mod spec;
mod tap;
mod temporary;
mod tokenizer;
pub mod train;
mod weights;

pub use error::Error;
pub use files::HostTensor;
pub use hooks::HookPoint;
pub use model::{LoadOptions, Model};
pub use run::{Logits, Overwrite, Past, Request, Start, TokenBatch, Trace};
pub use spec::{Activation, Spec};
pub use tokenizer::{SpecialToken, Tokenizer};
