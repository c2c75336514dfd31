//! Approximation, control and interpretability of any dictionary: model + sites + dictionaries -> report.
//!
//! The three axes of Makelov, Lange and Nanda, "Towards Principled Evaluations of Sparse Autoencoders for
//! Interpretability and Control" ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)), measured on a task with
//! labelled attributes ([`tasks::Task`]). [`causal::locate()`] finds where the attributes live without consulting a dictionary,
//! [`evaluate()`] scores dictionaries there, always against what patching the true counterfactual activations does to the model.
//!
//! | module | owns |
//! | --- | --- |
//! | [`dictionary_set`] | named dictionaries, one for each node |
//! | [`approximation`] | sufficiency and necessity |
//! | [`control`] | searches for edits |
//! | [`masks`] | which latents carry an attribute: masks learned by gradients |
//! | [`interpretability`], [`agreement`] | F1, correlation and average precision of latents against attribute values |
//! | [`interpretation`] | what a latent stands for |
//! | [`bootstrap`] | resamples of prompts |
//! | [`ledger`] | scores together with their resamples |
//! | [`coverage`] | whether intervals cover what they claim |
//! | [`statistics`], [`compare`] | which differences between dictionaries are real, within and across evaluations |
//! | [`truth`] | latents against all that the written world knows of its tokens |
//! | [`phenomena`] | occlusion and over-splitting: checks of dictionaries, and toys |
//! | [`published`] | the paper's numbers beside ours |
//! | [`config`] | settings of an evaluation |
//! | [`mod@evaluate`], `measure`, `derive` | the evaluation, site by site, and scores that relate others |
//! | [`parts`] | what a broken run has measured |
//! | [`metric`], [`report`], [`columns`], [`table`] | what comes out: names, JSON, Parquet, text |
//!
//! Shape legend: `N` prompts, `D` width of a node, `F` latents, `T` tokens of a prompt, `V` vocabulary.

pub mod agreement;
pub mod approximation;
pub mod best_latent;
pub mod bootstrap;
pub mod columns;
pub mod compare;
pub mod config;
pub mod control;
pub mod coverage;
mod derive;
pub mod dictionary_set;
mod error;
pub mod evaluate;
pub mod interpretability;
pub mod interpretation;
pub mod ledger;
pub mod masks;
mod measure;
pub mod metric;
pub mod parts;
pub mod phenomena;
pub mod published;
pub mod report;
pub mod statistics;
pub mod table;
pub mod truth;

pub use self::report::{Comparison, Report, Score};
pub use best_latent::BestLatent;
pub use config::{Baseline, EvalConfig, EvalFile};
pub use dictionary_set::{DictionarySet, Edit, TaskDictionary};
pub use error::Error;
pub use evaluate::{Earlier, Evaluated, Observer, evaluate};
pub use metric::{EditMethod, Metric};
pub use parts::Parts;
pub use truth::{FamilyScore, PredicateLatents, Probes, Truth, WorldSample};
