//! Approximation, control and interpretability of any dictionary: model + sites + dictionaries -> report.
//!
//! The three axes of Makelov, Lange and Nanda, "Towards Principled Evaluations of Sparse Autoencoders for
//! Interpretability and Control" ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)), measured on the
//! indirect-object task. [`locate()`] finds where the attributes live without consulting a dictionary, [`evaluate()`]
//! scores dictionaries there, always against what patching the true counterfactual activations does to the model.
//!
//! | module | owns |
//! | --- | --- |
//! | [`site`] | sites and their file |
//! | [`rows`] | one vector per prompt, on the host |
//! | [`interventions`] | clean runs, and runs with nodes overwritten |
//! | [`mod@locate`] | the search for sites |
//! | [`dictionaries`] | named dictionaries and what they make of a sample |
//! | [`baseline`] | the random dictionary |
//! | [`approximation`] | sufficiency and necessity |
//! | [`control`] | greedy and supervised edits |
//! | [`interpretability`] | F1 of latents against attribute values |
//! | [`bootstrap`] | intervals |
//! | [`ledger`] | scores together with their resamples, and comparisons between dictionaries |
//! | [`splice`] | cross-entropy on running text with reconstructions in place |
//! | [`truth`] | latents against all that the written world knows of its tokens |
//! | [`phenomena`] | occlusion and over-splitting: checks of dictionaries, and toys |
//! | [`config`] | settings of an evaluation |
//! | [`mod@evaluate`], `measure` | the evaluation, site by site |
//! | [`report`], [`table`] | what comes out: JSON, Parquet, text |
//!
//! Shape legend: `N` prompts, `D` width of a node, `F` latents, `T` tokens of a prompt, `V` vocabulary.

pub mod approximation;
pub mod baseline;
pub mod bootstrap;
pub mod config;
pub mod control;
pub mod dictionaries;
mod error;
pub mod evaluate;
pub mod interpretability;
pub mod interventions;
pub mod ledger;
pub mod locate;
mod measure;
pub mod phenomena;
pub mod report;
pub mod rows;
pub mod site;
pub mod splice;
pub mod table;
pub mod truth;

pub use baseline::RandomDictionary;
pub use config::{EvalConfig, EvalFile};
pub use dictionaries::{DictionarySet, Edit};
pub use error::Error;
pub use evaluate::evaluate;
pub use locate::{LocateConfig, LocateFile, Located, locate};
pub use report::{Comparison, Metric, Report, Score};
pub use site::{Evidence, Site, Sites};
pub use splice::{Change, SpliceTask};
pub use truth::{FamilyScore, Truth, WorldSample};
