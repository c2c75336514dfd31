//! How well the scores of an explanation predict whether it is true.
//!
//! In the written world every token has labels. A latent that stands for one (its F1 with it is at least 0.8) has a true explanation, and
//! an explanation of it is true if its Matthews' correlation with that label is at least 0.8. A score is worth something if true
//! explanations have higher ones: the area under its curve, and its rank correlation with the agreement.

use serde::{Deserialize, Serialize};

use super::agreement::{GROUNDED, TRUE};
use super::explained::{DictionaryExplained, Method};
use crate::statistic::{Estimate, auroc, spearman};

/// The scores that are looked at.
pub(super) const SCORES: [&str; 9] = [
    "detection",
    "random",
    "hard",
    "auroc",
    "fuzzing",
    "fuzzing active",
    "simulation",
    "generation",
    "behaviour",
];

/// How well one score predicts the truth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Predicts {
    /// The score.
    pub score: String,
    /// Whose explanations.
    pub method: Method,
    /// Explanations of grounded latents that have the score.
    pub explanations: usize,
    /// Share of them that are true.
    pub share_true: f64,
    /// Area under the curve: how often a true explanation has a higher score than another; none where all are alike.
    pub auroc: Option<Estimate>,
    /// Spearman's rank correlation of score and agreement.
    pub spearman: Option<Estimate>,
}

/// Of every score, over the grounded latents of all dictionaries that read activations. Intervals are over latents.
pub fn predicts(all: &[DictionaryExplained], method: Method, resamples: usize, seed: u64) -> Vec<Predicts> {
    let of = |score: &str| -> Vec<(f64, f64)> {
        let read = all.iter().filter(|dictionary| dictionary.reads_activations);
        let explained = read.flat_map(|dictionary| dictionary.by(method));
        let grounded =
            explained.filter(|(latent, _)| latent.stands.as_ref().is_some_and(|stands| stands.f1 >= GROUNDED));
        grounded
            .filter_map(|(_, method)| Some((*method.scores.get(score)?, *method.scores.get("agree")?)))
            .collect()
    };
    let predicts = |score: &str| {
        let pairs = of(score);
        let repeated = |weights: &[u32]| -> Vec<(f64, f64)> {
            let repeat = |(pair, n): (&(f64, f64), &u32)| std::iter::repeat_n(*pair, *n as usize);
            pairs.iter().zip(weights).flat_map(repeat).collect()
        };
        let area = |weights: &[u32]| {
            auroc(
                &repeated(weights)
                    .iter()
                    .map(|(score, agree)| (*score, *agree >= TRUE))
                    .collect::<Vec<_>>(),
            )
        };
        let ranks = |weights: &[u32]| {
            let (scores, agree): (Vec<f64>, Vec<f64>) = repeated(weights).into_iter().unzip();
            spearman(&scores, &agree)
        };
        Predicts {
            score: score.to_owned(),
            method,
            explanations: pairs.len(),
            share_true: pairs.iter().filter(|(_, agree)| *agree >= TRUE).count() as f64 / pairs.len().max(1) as f64,
            auroc: Estimate::of(pairs.len(), resamples, seed, area),
            spearman: Estimate::of(pairs.len(), resamples, seed, ranks),
        }
    };
    SCORES
        .into_iter()
        .map(predicts)
        .filter(|found| found.explanations > 0)
        .collect()
}
