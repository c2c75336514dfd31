//! Texts to texts: FIND's string family (Schwettmann et al., [arXiv 2309.03886](https://arxiv.org/abs/2309.03886)).
//!
//! | module | owns |
//! | --- | --- |
//! | `op` | the names of the 67 atoms and the arguments that each takes |
//! | `apply` | what each does |
//! | `words` | numbers as English words, letters and their places in the alphabet |
//! | `program` | one atom, or two in a row, as text and back |
//! | `sample` | functions and their inputs from seeds |
//! | `search` | the offline explainer |
//!
//! Texts are sequences of code points; letters and digits are those of ASCII. Where the published functions are defective, what they
//! do is kept and said at the atom.

mod apply;
mod op;
mod program;
mod sample;
mod search;
mod words;

pub use op::{Args, Atom, Op, Takes};
pub use program::{Program, StringFunction};
pub use sample::{inputs, sample};
pub use search::{PROBES, explain};
