//! What a black box does: functions with known descriptions, explainers and judges, and latents of dictionaries.
//!
//! FIND (Schwettmann et al., "FIND: A Function Description Benchmark for Evaluating Interpretability Methods",
//! [arXiv 2309.03886](https://arxiv.org/abs/2309.03886)) asks explainers what functions do whose description is known. The same
//! question is asked here of the latents of a dictionary, with scores of Bills et al. (2023) and of delphi (Paulo et al.,
//! [arXiv 2410.13928](https://arxiv.org/abs/2410.13928)); and in the written world, whose every token has labels, whether the answer is
//! *true*.
//!
//! | module | owns |
//! | --- | --- |
//! | [`black_box`] | what may be asked: a budget, a transcript, a seed |
//! | [`explanation`] | a sentence and a claim that is executed |
//! | [`numeric`], [`strings`], [`words`], [`planted`] | the families of functions, and their offline explainers |
//! | [`problem`], [`problems`] | functions with their truth and tests, which no explainer sees |
//! | [`find_data`] | FIND's own files |
//! | [`judge`], [`find`], [`find_table`] | unit tests and other scores, the run, its table |
//! | [`latents`] | latents of a dictionary |
//! | [`agent`] | a language model behind a server as explainer and judge |
//! | [`statistic`] | intervals, areas, correlations |
//!
//! No code that a language model wrote is ever executed: claims are data of small languages of our own. Without a server no socket is
//! opened.

pub mod agent;
pub mod black_box;
mod error;
pub mod explanation;
pub mod find;
pub mod find_data;
pub mod find_table;
pub mod judge;
pub mod latents;
pub mod numeric;
pub mod planted;
mod planted_text;
pub mod problem;
pub mod problems;
pub mod statistic;
pub mod strings;
pub mod words;

pub use black_box::{BlackBox, Exchange, Function, Input, Kind, Output};
pub use error::Error;
pub use explanation::{Claim, Explanation, Status};
pub use problem::Problem;
