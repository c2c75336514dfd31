//! What is known of a latent after it was explained.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::predicate::Predicate;
use crate::explanation::Status;

/// Whose explanation is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "lowercase")]
pub enum ExplanationMethod {
    /// The offline explainer.
    Offline,
    /// The single token that tells most.
    #[strum(serialize = "one token")]
    Token,
    /// A language model.
    #[strum(serialize = "language model")]
    LanguageModel,
    /// The label that is true of its tokens: a control.
    Truth,
    /// The offline explanation of another latent: a control.
    Shuffled,
    /// None: a control.
    Null,
}

/// What is known of the latents of a dictionary: a rung of the ladder from functions with a known truth to latents without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(strum::Display, strum::VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Rung {
    /// Predicates planted on tokens: the truth is exact.
    #[strum(serialize = "planted predicates")]
    Planted,
    /// Directions planted for such predicates, which also hear each other: those that their predicate describes have a truth.
    #[strum(serialize = "planted directions")]
    Directions,
    /// Labels as features, codes read from labels: the truth is exact.
    Labels,
    /// Latents that read activations: those that stand for a label have a truth, the others have none.
    Latents,
}

/// An explanation of a latent with its scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodExplained {
    /// Whose.
    pub method: ExplanationMethod,
    /// In English.
    pub explanation: String,
    /// In executable form.
    pub predicate: Option<Predicate>,
    /// How it came about.
    pub status: Status,
    /// Scores by name: `detection`, `random`, `hard`, `auroc`, `fuzzing`, `fuzzing active`, `simulation`, `generation` against the
    /// latent; `behaviour`, Matthews' correlation with its activity over all tokens; `agree`, that with the label that is true of
    /// its tokens.
    pub scores: BTreeMap<String, f64>,
    /// Inputs that were asked.
    pub queries: usize,
    /// Tokens that a language model read and wrote.
    pub tokens: u64,
    /// Answers of a judge that were none.
    pub invalid: usize,
}

/// What a latent stands for, as far as a label says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stands {
    /// The label.
    pub label: String,
    /// F1 of activity and label on the scoring half.
    pub f1: f64,
    /// Their Matthews' correlation there.
    pub mcc: f64,
}

/// A latent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatentExplained {
    /// Its number.
    pub latent: u32,
    /// Whether it was drawn among all latents of the dictionary, and not because it stands for a label.
    pub drawn: bool,
    /// Tokens of either half on which it is active.
    pub active: [u64; 2],
    /// Its largest activation.
    pub maximum: f32,
    /// What it stands for.
    pub stands: Option<Stands>,
    /// Explanations.
    pub methods: Vec<MethodExplained>,
    /// What was asked about its examples, for delphi's layout.
    #[serde(skip)]
    pub records: Vec<Record>,
}

/// One example with what the offline explanation predicts of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its tokens with a vector.
    pub tokens: Vec<String>,
    /// Activations.
    pub activations: Vec<f32>,
    /// Whether the latent is active in it.
    pub activating: bool,
    /// The predicted strength, 0 to 1.
    pub probability: f64,
}

/// The latents of a dictionary at a site that were explained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DictionaryExplained {
    /// The dictionary.
    pub dictionary: String,
    /// Its family: dictionaries of one family differ in their seeds.
    pub family: String,
    /// Where it reads.
    pub site: String,
    /// What is known of its latents.
    pub rung: Rung,
    /// All its latents.
    pub n_latents: usize,
    /// Those of them that stand for a label (F1 of at least 0.8).
    pub standing: usize,
    /// Those of them that are active on no token.
    pub silent: usize,
    /// Those that were asked for and have too few contexts of either kind.
    pub too_few: usize,
    /// Tokens that were scanned.
    pub tokens: usize,
    /// The latents that were explained.
    pub latents: Vec<LatentExplained>,
}

impl DictionaryExplained {
    /// All explanations by a method, with their latents.
    pub fn by(&self, method: ExplanationMethod) -> impl Iterator<Item = (&LatentExplained, &MethodExplained)> {
        let of = move |latent: &'_ LatentExplained| latent.methods.iter().position(|found| found.method == method);
        self.latents
            .iter()
            .filter_map(move |latent| Some((latent, &latent.methods[of(latent)?])))
    }
}
