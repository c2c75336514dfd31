//! What is measured, and how edits are found: the names in reports.

use crate::control::exhaustive_reaches;
use serde::de::Error as _;
use serde::de::value::Error as NameError;
use serde::{Deserialize, Serialize};
use strum::VariantNames;

/// The three axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(strum::Display, strum::EnumString, VariantNames)]
#[strum(serialize_all = "snake_case", parse_err_ty = NameError, parse_err_fn = unknown::<Self>)]
pub enum Test {
    /// Does the model work on reconstructions?
    Approximation,
    /// Can attributes be exchanged?
    Control,
    /// Do latents coincide with attributes?
    Interpretability,
}

/// What a score measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(strum::Display, strum::EnumString, VariantNames)]
#[strum(serialize_all = "snake_case", parse_err_ty = NameError, parse_err_fn = unknown::<Self>)]
pub enum Metric {
    /// Logit difference on reconstructions over the clean one. Undefined, as all ratios of logit differences but that of mean ablation
    /// itself, where mean ablation leaves more of the clean logit difference than the config allows.
    Sufficiency,
    /// Distance of sufficiency from 1: more than the clean logit difference is as far from it as less.
    SufficiencyGap,
    /// How near the harm done by removing the reconstruction comes to that of mean ablation: 1 when it is as large, less when it
    /// is smaller or larger.
    Necessity,
    /// Mean number of active latents, over prompts and nodes.
    L0,
    /// Squared error of the reconstruction over the squared distance of the activations from their mean.
    Fvu,
    /// Share of prompts whose prediction under the edit is that under the ground-truth patch.
    EditAccuracy,
    /// Mean Kullback-Leibler divergence from the prediction under the ground-truth patch to that under the edit, in nats.
    EditKl,
    /// Mean weight of the removed or changed latents in the clean reconstruction.
    EditMagnitude,
    /// Edit accuracy with half as many latents as are active in the mean; undefined where that is no few.
    EditHalf,
    /// Mean distance that the edit leaves to the counterfactual activation, over the distance before it.
    EditDistance,
    /// What the greedy search leaves more than the named one: the difference of their edit distances.
    GreedyGap,
    /// Edit accuracy, 0 without an edit and 1 at the reference dictionary's.
    EditSuccess,
    /// Edit magnitude, 0 at the reference dictionary's and 1 when all latents are changed.
    EditExcess,
    /// Area under edit accuracy against the number of exchanged latents, from none to the most, over that most.
    EditArea,
    /// Share of prompts that are predicted as under the ground-truth patch when the latents of a learned mask are exchanged.
    MaskSuccess,
    /// Share of prompts whose prediction stays when they are exchanged with a prompt of which only another attribute differs.
    MaskIsolation,
    /// Mean of both.
    MaskScore,
    /// Latents of the mask.
    MaskLatents,
    /// Mean over predicates of the F1 of the best latent.
    F1,
    /// Precision of the same latents.
    Precision,
    /// Recall of the same latents.
    Recall,
    /// Mean over predicates of the Matthews correlation of the latent that is best by it.
    Mcc,
    /// Mean over predicates of the average precision of the latent that is best by it.
    AveragePrecision,
    /// Share of live latents whose best description reaches the threshold in F1.
    Interpreted,
    /// Share of live latents whose best description reaches the threshold in Matthews correlation.
    InterpretedMcc,
    /// Share of latents that are active on no prompt of the sample.
    Silent,
    /// Number of latents.
    Width,
    /// Number of latents that are active on some prompt of the sample.
    Alive,
    /// Occlusion index: 1 - coverage of the weak attribute's values over that of the strong one's; with a verdict.
    Occlusion,
    /// Share of the prompts of a Pos value covered by all latents that stand for it which the best single one misses; with
    /// a verdict.
    OverSplitting,
    /// Mean Jaccard of the fragments of a split attribute, matched to those of the first seed; with a verdict: whether they
    /// agree more than chance.
    SplittingAgreement,
    /// The same for a family and another one, as the config pairs them: dictionaries of two disjoint samples.
    SplittingAcross,
    /// Logit difference on the reconstruction from the latents that reach the threshold, over the clean one: a dictionary without any
    /// leaves its offset.
    Keep,
    /// The same for subtracting the latents from the threshold on.
    Remove,
    /// Share of prompts that are predicted as under the ground-truth patch when latents from the threshold on come from the
    /// counterfactual and the others from the base.
    Interchange,
    /// Share of prompts that are predicted as without an edit when latents below the threshold come from the
    /// counterfactual and the others from the base.
    InterchangeRest,
}

impl Metric {
    /// The axis that the metric belongs to.
    pub fn test(self) -> Test {
        match self {
            Self::Sufficiency | Self::SufficiencyGap | Self::Necessity | Self::L0 | Self::Fvu => Test::Approximation,
            Self::EditAccuracy
            | Self::EditKl
            | Self::EditMagnitude
            | Self::EditHalf
            | Self::EditDistance
            | Self::GreedyGap
            | Self::EditSuccess
            | Self::EditExcess
            | Self::EditArea
            | Self::MaskSuccess
            | Self::MaskIsolation
            | Self::MaskScore
            | Self::MaskLatents => Test::Control,
            _ => Test::Interpretability,
        }
    }
}

impl Metric {
    /// The worst and the best that a dictionary can reach; none where there is no such thing. A latent that has nothing to do with a value has
    /// an MCC of 0.
    pub(crate) fn ends(self) -> Option<(f64, f64)> {
        match self {
            Self::Mcc => Some((0.0, 1.0)),
            _ => Some(self.range()).filter(|(least, most)| least.is_finite() && most.is_finite()),
        }
    }

    /// The least and the most that the score can be; infinite where it has no end.
    pub fn range(self) -> (f64, f64) {
        match self {
            Self::EditAccuracy
            | Self::EditHalf
            | Self::EditArea
            | Self::Interchange
            | Self::InterchangeRest
            | Self::MaskSuccess
            | Self::MaskIsolation
            | Self::MaskScore
            | Self::F1
            | Self::Precision
            | Self::Recall
            | Self::AveragePrecision
            | Self::Interpreted
            | Self::InterpretedMcc
            | Self::Silent
            | Self::OverSplitting
            | Self::SplittingAgreement
            | Self::SplittingAcross => (0.0, 1.0),
            Self::Mcc => (-1.0, 1.0),
            Self::SufficiencyGap
            | Self::L0
            | Self::Fvu
            | Self::EditKl
            | Self::EditMagnitude
            | Self::EditDistance
            | Self::MaskLatents
            | Self::Width
            | Self::Alive => (0.0, f64::INFINITY),
            Self::Necessity | Self::Occlusion => (f64::NEG_INFINITY, 1.0),
            _ => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }
}

/// How the latents of an edit are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(strum::Display, strum::EnumString, VariantNames)]
#[strum(serialize_all = "snake_case", parse_err_ty = NameError, parse_err_fn = unknown::<Self>)]
pub enum EditMethod {
    /// One latent after the other ([`crate::control::greedy()`]).
    Greedy,
    /// Eight partial choices carried along ([`crate::control::beam()`]).
    Beam,
    /// All choices, up to three latents ([`crate::control::exhaustive()`]).
    Exhaustive,
    /// Latents that stand for the two values ([`crate::control::guided()`]).
    Guided,
    /// What the labels prescribe ([`crate::control::supervised`]).
    Supervised,
}

impl EditMethod {
    /// Whether the search can exchange just `k` latents: an exhaustive one has too many choices beyond three, a guided one
    /// removes as many as it adds.
    pub(crate) fn exchanges(self, k: usize) -> bool {
        match self {
            Self::Exhaustive => exhaustive_reaches(k),
            Self::Guided => k.is_multiple_of(2),
            Self::Greedy | Self::Beam | Self::Supervised => true,
        }
    }
}

/// What serde says of a name in JSON and configs that is none.
fn unknown<T: VariantNames>(name: &str) -> NameError {
    NameError::unknown_variant(name, T::VARIANTS)
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Display};
    use std::str::FromStr;

    use serde::de::DeserializeOwned;

    use super::*;

    /// Two derives make the names; they agree on every one, and on what is none.
    fn same_by_serde<T>()
    where
        T: VariantNames + FromStr<Err = NameError> + DeserializeOwned + Serialize + PartialEq + Debug + Display,
    {
        for name in T::VARIANTS {
            let parsed: T = name.parse().unwrap();
            assert_eq!(serde_json::to_value(&parsed).unwrap(), *name);
            assert_eq!(parsed.to_string(), *name);
            assert_eq!(serde_json::from_value::<T>((*name).into()).unwrap(), parsed);
        }
        let by_serde = serde_json::from_value::<T>("none".into()).unwrap_err();
        assert_eq!("none".parse::<T>().unwrap_err().to_string(), by_serde.to_string());
    }

    #[test]
    fn names_are_those_of_json() {
        assert_eq!(Metric::AveragePrecision.to_string(), "average_precision");
        assert_eq!("edit_kl".parse(), Ok(Metric::EditKl));
        assert_eq!(EditMethod::Beam.to_string(), "beam");
        same_by_serde::<Test>();
        same_by_serde::<Metric>();
        same_by_serde::<EditMethod>();
        let message = "f2".parse::<Metric>().unwrap_err().to_string();
        assert!(message.contains("f2") && message.contains("sufficiency"), "{message}");
    }
}
