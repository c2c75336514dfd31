//! Text to tokens: tokenizers, chat templates, corpora, and windows of tokens.
//!
//! * [`Tokenizer`]: the tokenizer of a model's folder or GGUF file; [`Chat`]: its chat template.
//! * [`Corpus`], [`Document`]: the documents of files (text, JSON lines, Parquet), read one by one.
//! * [`Packing`]: how documents become [`Window`]s; [`Windows`]: those of a text of any length, kept on disk where they are many.

pub mod corpus;
mod error;
mod packing;
mod tokenizer;
mod windows;

pub use corpus::{Corpus, Document, OnBadLine, Skipped};
pub use error::Error;
pub use packing::{Fill, LongDocuments, Packing};
pub use tokenizer::{Chat, ChatDate, ChatMessages, ChatTemplate, SpecialToken, Tokenizer};
pub use windows::{Window, Windows};
