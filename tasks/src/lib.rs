//! Prompts with labelled attributes: the indirect-object task, and a small written world with six behaviours.
//!
//! The indirect-object task ([`IoiTask`]) makes prompts for any tokenizer; the world ([`world::World`]) makes the text
//! that the shipped model is trained on. Both use the word lists of [`lists`] and the templates of this crate, and
//! everything they draw is determined by explicit seeds.

mod attributes;
mod error;
mod ioi;
pub mod lists;
mod partition;
mod prompt;
mod template;
mod tokens;
pub mod world;

pub use attributes::{Attribute, Gender, Labels, Role};
pub use error::Error;
pub use ioi::{IoiTask, Sample};
pub use prompt::Prompt;
