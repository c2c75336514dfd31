//! Prompts with labelled attributes, task by task, and a small written world with six behaviours.
//!
//! A [`Task`] makes prompts for any tokenizer: the indirect object ([`IoiTask`]), the gendered pronoun ([`PronounTask`]), and
//! whatever a user writes down ([`FileTask`]).
//! The world ([`world::World`]) makes the text that the shipped model is trained on. They share the word lists of [`lists`],
//! and everything they draw is determined by explicit seeds.

mod by_attribute;
mod error;
mod family;
mod file;
mod gender;
mod ioi;
pub mod lists;
mod names;
mod open;
mod partition;
mod prompt;
mod pronoun;
mod sample;
mod schema;
mod source;
mod task;
mod template;
mod wording;
mod words;
pub mod world;

pub use by_attribute::{ByAttribute, Labels};
pub use error::Error;
pub use family::Family;
pub use file::{FileTask, STORE_COLUMNS};
pub use gender::Gender;
pub use ioi::IoiTask;
pub use names::{Attribute, Role, TaskName};
pub use partition::stable_hash;
pub use prompt::Prompt;
pub use pronoun::PronounTask;
pub use sample::Sample;
pub use schema::Schema;
pub use source::TaskSource;
pub use task::Task;
pub use words::WordList;
