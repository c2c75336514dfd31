//! How well the scores of an explanation predict whether it is true.
//!
//! In the written world every token has labels. A latent that stands for one (its F1 with it is at least 0.8) has a true explanation, and
//! an explanation of it is true if its Matthews' correlation with that label is at least 0.8. A score is worth something if true
//! explanations have higher ones: the area under its curve, and its rank correlation with the agreement.

use serde::{Deserialize, Serialize};
use strum::VariantArray;

use super::agreement::{GROUNDED, TRUE};
use super::explained::{DictionaryExplained, ExplanationMethod, LatentExplained, Rung};
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

/// Whose explanations are asked about. Those of controls are not among them: another latent's is told from the own too easily.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "lowercase")]
pub enum Whose {
    /// Those of the offline explainer.
    Offline,
    /// The single tokens that tell most.
    #[strum(serialize = "one token")]
    Token,
    /// Both of each latent.
    #[strum(serialize = "offline and one token")]
    Both,
    /// Those of a language model.
    #[strum(serialize = "language model")]
    LanguageModel,
}

impl Whose {
    fn methods(self) -> &'static [ExplanationMethod] {
        match self {
            Self::Offline => &[ExplanationMethod::Offline],
            Self::Token => &[ExplanationMethod::Token],
            Self::Both => &[ExplanationMethod::Offline, ExplanationMethod::Token],
            Self::LanguageModel => &[ExplanationMethod::LanguageModel],
        }
    }
}

/// How well one score predicts the truth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Predicts {
    /// What is known of the latents.
    pub rung: Rung,
    /// Whose explanations.
    pub whose: Whose,
    /// The score.
    pub score: String,
    /// Latents that stand for a label and have the score.
    pub latents: usize,
    /// Explanations of them.
    pub explanations: usize,
    /// Those that are true.
    pub true_ones: usize,
    /// Area under the curve: how often a true explanation has a higher score than another; none where all are alike.
    pub auroc: Option<Estimate>,
    /// Spearman's rank correlation of score and agreement; none of fewer than three latents.
    pub spearman: Option<Estimate>,
}

/// Latents that a rank correlation needs: that of two is always 1 or -1.
const RANKED: usize = 3;

/// Scores and agreements of one latent's explanations.
type Pairs = Vec<(f64, f64)>;

/// Of every rung, explainer and score, over the latents that stand for a label. Intervals are over latents.
pub fn predicts(all: &[DictionaryExplained], resamples: usize, seed: u64) -> Vec<Predicts> {
    let mut found = Vec::new();
    for &rung in Rung::VARIANTS {
        for &whose in Whose::VARIANTS {
            for score in SCORES {
                let pairs = pairs(all, rung, whose, score);
                if !pairs.is_empty() {
                    found.push(of_pairs(rung, whose, score, &pairs, resamples, seed));
                }
            }
        }
    }
    found
}

/// By latent, those without the score left out.
fn pairs(all: &[DictionaryExplained], rung: Rung, whose: Whose, score: &str) -> Vec<Pairs> {
    let latents = all
        .iter()
        .filter(|dictionary| dictionary.rung == rung)
        .flat_map(|dictionary| &dictionary.latents);
    let grounded = latents.filter(|latent| latent.stands.as_ref().is_some_and(|stands| stands.f1 >= GROUNDED));
    let of_latent = |latent: &LatentExplained| -> Pairs {
        let asked = latent
            .methods
            .iter()
            .filter(|found| whose.methods().contains(&found.method));
        asked
            .filter_map(|found| Some((*found.scores.get(score)?, *found.scores.get("agree")?)))
            .collect()
    };
    grounded.map(of_latent).filter(|pairs| !pairs.is_empty()).collect()
}

fn of_pairs(rung: Rung, whose: Whose, score: &str, latents: &[Pairs], resamples: usize, seed: u64) -> Predicts {
    let repeated = |weights: &[u32]| -> Pairs {
        let repeat = |(pairs, n): (&Pairs, &u32)| std::iter::repeat_n(pairs, *n as usize).flatten().copied().collect();
        latents
            .iter()
            .zip(weights)
            .flat_map(|of| -> Pairs { repeat(of) })
            .collect()
    };
    let area = |weights: &[u32]| {
        let scored = repeated(weights).into_iter();
        auroc(&scored.map(|(score, agree)| (score, agree >= TRUE)).collect::<Vec<_>>())
    };
    let ranks = |weights: &[u32]| {
        let (scores, agree): (Vec<f64>, Vec<f64>) = repeated(weights).into_iter().unzip();
        spearman(&scores, &agree)
    };
    let all = || latents.iter().flatten();
    Predicts {
        rung,
        whose,
        score: score.to_owned(),
        latents: latents.len(),
        explanations: all().count(),
        true_ones: all().filter(|(_, agree)| *agree >= TRUE).count(),
        auroc: Estimate::of(latents.len(), resamples, seed, area),
        spearman: (latents.len() >= RANKED)
            .then(|| Estimate::of(latents.len(), resamples, seed, ranks))
            .flatten(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::explained::{MethodExplained, Stands};
    use super::*;
    use crate::explanation::Status;

    fn explained(method: ExplanationMethod, score: f64, agree: f64) -> MethodExplained {
        MethodExplained {
            method,
            explanation: String::new(),
            predicate: None,
            status: Status::Done,
            scores: [("detection".to_owned(), score), ("agree".to_owned(), agree)].into(),
            queries: 0,
            tokens: 0,
            invalid: 0,
        }
    }

    /// F1 of a latent; score and agreement of its offline explanation and of its single token.
    type Numbers = (f64, [(f64, f64); 2]);

    fn dictionary(of: &[Numbers]) -> DictionaryExplained {
        let latent = |(number, (f1, [offline, token])): (u32, &Numbers)| LatentExplained {
            latent: number,
            drawn: true,
            active: [1, 1],
            maximum: 1.0,
            stands: Some(Stands {
                label: "a = b".to_owned(),
                f1: *f1,
                mcc: *f1,
            }),
            methods: vec![
                explained(ExplanationMethod::Offline, offline.0, offline.1),
                explained(ExplanationMethod::Token, token.0, token.1),
                explained(ExplanationMethod::Shuffled, 0.0, 1.0),
            ],
            records: Vec::new(),
        };
        DictionaryExplained {
            dictionary: "d".to_owned(),
            family: "d".to_owned(),
            site: "s".to_owned(),
            rung: Rung::Latents,
            n_latents: of.len(),
            standing: 0,
            silent: 0,
            too_few: 0,
            tokens: 0,
            latents: (0..).zip(of).map(latent).collect(),
        }
    }

    #[test]
    fn a_score_is_held_against_the_truth_over_latents_that_have_one() {
        let of = [
            (0.9, [(0.9, 0.95), (0.6, 0.3)]),
            (0.85, [(0.8, 0.85), (0.7, 0.81)]),
            (0.95, [(0.75, 0.5), (0.5, 0.2)]),
            // It stands for nothing, so that its explanation is neither true nor false.
            (0.7, [(1.0, 0.0), (1.0, 0.0)]),
        ];
        let found = predicts(&[dictionary(&of)], 200, 0);
        let numbers: Vec<_> = found
            .iter()
            .map(|row| {
                (
                    row.whose,
                    row.latents,
                    row.explanations,
                    row.true_ones,
                    row.auroc.unwrap().value,
                )
            })
            .collect();
        // Offline: 0.9 and 0.8 are true, 0.75 is not. One token: 0.7 is true, 0.6 and 0.5 are not. Both: of nine pairs, 0.75 is above 0.7.
        assert_eq!(
            numbers,
            [
                (Whose::Offline, 3, 3, 2, 1.0),
                (Whose::Token, 3, 3, 1, 1.0),
                (Whose::Both, 3, 6, 3, 8.0 / 9.0)
            ]
        );
        assert!(
            found
                .iter()
                .all(|row| row.rung == Rung::Latents && row.score == "detection")
        );
        let both = found[2].auroc.unwrap();
        assert!(both.low <= both.value && both.high == 1.0 && both.n == 3, "{both:?}");
        // One explanation alone, or all of them true, predict nothing.
        let alike = predicts(&[dictionary(&of[..1])], 50, 0);
        assert_eq!((alike[0].auroc, alike[0].spearman), (None, None));
    }
}
