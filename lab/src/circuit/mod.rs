//! Which edges of a model carry a behaviour, and how faithful they are alone.

mod across;
pub mod check;
pub mod compare;
pub mod draw;
pub mod export;
pub mod import;
pub mod latents;
pub mod score;
pub mod select;
mod source;
pub mod split;
mod tables;

pub use source::CircuitConfig;
