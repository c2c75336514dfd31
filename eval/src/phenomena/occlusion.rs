//! The check for occlusion: does a dictionary that has latents for one attribute's values lack them for another's?
//!
//! Section 4.4 of Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)) found that where an
//! activation carries IO and S, autoencoders have latents for IO names, whose supervised vectors are a little longer, and
//! hardly any for S names. Coverage is the share of an attribute's values for which some latent has an F1 of at least
//! `theta`; the index is 1 - weak / strong coverage, 0 for none and 1 for total occlusion.
//!
//! An under-trained autoencoder must not be taken for an occluding one: in the toy (`toys::occlusion`) the weak
//! values come later. So the index is read at the first checkpoint where the strong coverage suffices and again at the
//! end. Where both attributes do not matter to the model at this site, a dictionary that lacks one does no harm, and there
//! is nothing to judge.
//!
//! The strong attribute is the one whose supervised vectors are longer, when both lengths are known; that is what the
//! claim is about, and it does not look at the dictionary. Otherwise it is the one with the larger coverage at the end,
//! which makes the index positive by construction: [`Occlusion::strong_by`] says which.
//!
//! Shape legend: `N` prompts, `F` latents, `P` values of an attribute, `R` resamples.

use super::coverage::{Counts, coverage, occlusion_index};
use crate::Error;
use crate::bootstrap::{Bootstrap, interval};
use dictionaries::Codes;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tasks::Attribute;

/// F1 from which a latent stands for a value, as in the paper on the real node.
pub const THETA: f64 = 0.5;
/// Coverage of the strong attribute from which the index says something.
pub const ENOUGH: f64 = 0.6;

/// From where on something counts in the check.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// F1 from which a latent stands for a value.
    pub theta: f64,
    /// |Change of logit difference| that an attribute must cause at the site for the check to apply.
    pub effect: f64,
    /// The index above which a dictionary occludes.
    pub index: f64,
    /// Coverage of the strong attribute from which on the index is read.
    pub enough: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            theta: THETA,
            effect: 0.25,
            index: 0.5,
            enough: ENOUGH,
        }
    }
}

impl Thresholds {
    /// Each of them a quarter lower and a quarter higher, the others as they are, by what was changed.
    pub fn variations() -> Vec<(String, Self)> {
        let mut all = Vec::new();
        for factor in [0.75, 1.25] {
            let (mut theta, mut effect, mut index, mut enough) =
                (Self::default(), Self::default(), Self::default(), Self::default());
            theta.theta *= factor;
            effect.effect *= factor;
            index.index *= factor;
            enough.enough *= factor;
            all.push((format!("theta {}", theta.theta), theta));
            all.push((format!("effect {}", effect.effect), effect));
            all.push((format!("index {}", index.index), index));
            all.push((format!("enough {}", enough.enough), enough));
        }
        all
    }
}

/// Prompts that must hold a value for its F1 to count.
pub const LEAST_HOLDING: u32 = 5;

/// An attribute that the site carries.
#[derive(Debug, Clone, Copy)]
pub struct Carried<'a> {
    /// Which one.
    pub attribute: Attribute,
    /// Its value in each prompt, `[N]`, below `n_values`.
    pub values: &'a [usize],
    /// Number of its values, `P`.
    pub n_values: usize,
    /// Change of the logit difference when its supervised features are removed at the site.
    pub effect: f64,
    /// Mean norm of its supervised vectors, where it is known.
    pub norm: Option<f64>,
}

/// What the check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Verdict {
    /// One of the attributes does not matter to the model here.
    NotApplicable,
    /// The strong attribute has too few latents at every checkpoint, or its values too few prompts.
    Undefined,
    /// The weak attribute lacks latents as soon as the strong one has them, and still at the end.
    Occludes,
    /// It lacks them at first and has them at the end.
    Late,
    /// It does not lack them.
    Clear,
}

/// How the strong attribute was told from the weak one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StrongBy {
    /// Its supervised vectors are longer.
    Norm,
    /// It has the larger coverage at the end.
    Coverage,
}

/// Coverage at one checkpoint; `None` where no value is held by enough prompts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Coverages {
    /// Of the strong attribute.
    pub strong: Option<f64>,
    /// Of the weak attribute.
    pub weak: Option<f64>,
}

/// 1 - weak / strong at one checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// Place of the checkpoint.
    pub checkpoint: usize,
    /// The index; `None` when the strong attribute has no latent.
    pub value: Option<f64>,
    /// 95 % bootstrap interval over prompts.
    pub interval: Option<(f64, f64)>,
    /// The index in each resample, `[R]`, NaN where it is undefined.
    #[serde(skip)]
    pub resampled: Vec<f64>,
}

impl Index {
    /// Whether the whole interval says that the dictionary occludes.
    fn is_high(&self, above: f64) -> bool {
        self.interval.is_some_and(|(low, _)| low > above)
    }
}

/// The result of the check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Occlusion {
    /// What it says.
    pub verdict: Verdict,
    /// The attribute that is expected to be found.
    pub strong: Attribute,
    /// The attribute that may be hidden behind it.
    pub weak: Attribute,
    /// How the two were told apart.
    pub strong_by: StrongBy,
    /// The F1 that counts as covered.
    pub theta: f64,
    /// Coverage at each checkpoint.
    pub coverages: Vec<Coverages>,
    /// The index at the first checkpoint whose strong coverage is at least 0.6; `None` when there is none.
    pub first: Option<Index>,
    /// The index at the last checkpoint.
    pub end: Index,
}

/// Checks a dictionary for occlusion.
///
/// `checkpoints`: in the order of training, the last is the end (a single one is both first and end); each holds the
/// codes of the nodes of the site (`N` rows), whose latents count together. `bootstrap` resamples the `N` prompts.
///
/// # Errors
/// [`Error::Check`] when codes, values and resamples do not belong to the same prompts, or there is no checkpoint.
pub fn check(
    checkpoints: &[&[Codes]],
    carried: [Carried<'_>; 2],
    thresholds: &Thresholds,
    bootstrap: &Bootstrap,
) -> Result<Occlusion, Error> {
    let theta = thresholds.theta;
    let n = carried[0].values.len();
    validate(checkpoints, &carried, bootstrap, n)?;
    let Some(last) = checkpoints.len().checked_sub(1) else {
        return refuse("no checkpoint was given".to_owned());
    };
    let once = vec![1; n];
    let best_f1 = |codes: &[Codes], of: &Carried<'_>, least: u32, weights: &[u32]| {
        Counts::of_codes(codes, of.values, of.n_values, weights).best_f1(least)
    };
    let best: Vec<[Vec<Option<f64>>; 2]> = checkpoints
        .iter()
        .map(|codes| carried.map(|of| best_f1(codes, &of, LEAST_HOLDING, &once)))
        .collect();
    let by_norm = carried[0].norm.zip(carried[1].norm);
    let (second_is_strong, strong_by) = match by_norm {
        Some((first, second)) => (second > first, StrongBy::Norm),
        None => {
            let [first, second] = [0, 1].map(|i| coverage(&best[last][i], theta));
            (second > first, StrongBy::Coverage)
        }
    };
    let (strong, weak) = (usize::from(second_is_strong), usize::from(!second_is_strong));
    let coverages: Vec<Coverages> = best
        .iter()
        .map(|best| Coverages {
            strong: coverage(&best[strong], theta),
            weak: coverage(&best[weak], theta),
        })
        .collect();

    let index = |at: usize| {
        let of = |strong: Option<f64>, weak: Option<f64>| occlusion_index(strong?, weak?);
        // Which values count is settled by the sample, not by the resample.
        let resample = |weights: &Vec<u32>, i: usize| {
            let mut resampled = best_f1(checkpoints[at], &carried[i], 1, weights);
            let counted = resampled.iter_mut().zip(&best[at][i]);
            counted.for_each(|(f1, sample)| *f1 = f1.filter(|_| sample.is_some()));
            coverage(&resampled, theta)
        };
        let resampled: Vec<f64> = bootstrap
            .counts()
            .par_iter()
            .map(|weights| of(resample(weights, strong), resample(weights, weak)).unwrap_or(f64::NAN))
            .collect();
        Index {
            checkpoint: at,
            value: of(coverages[at].strong, coverages[at].weak),
            interval: interval(&resampled),
            resampled,
        }
    };
    let enough = |coverages: &Coverages| coverages.strong.is_some_and(|strong| strong >= thresholds.enough);
    let first = coverages.iter().position(enough).map(index);
    let end = match &first {
        Some(first) if first.checkpoint == last => first.clone(),
        _ => index(last),
    };
    let applies = carried.iter().all(|of| of.effect.abs() >= thresholds.effect);
    let verdict = match &first {
        _ if !applies => Verdict::NotApplicable,
        Some(first) if first.value.is_some() => {
            match (first.is_high(thresholds.index), end.is_high(thresholds.index)) {
                (true, true) => Verdict::Occludes,
                (true, false) => Verdict::Late,
                (false, _) => Verdict::Clear,
            }
        }
        _ => Verdict::Undefined,
    };
    Ok(Occlusion {
        verdict,
        strong: carried[strong].attribute,
        weak: carried[weak].attribute,
        strong_by,
        theta,
        coverages,
        first,
        end,
    })
}

/// Everything must belong to the same `n` prompts.
fn validate(
    checkpoints: &[&[Codes]],
    carried: &[Carried<'_>; 2],
    bootstrap: &Bootstrap,
    n: usize,
) -> Result<(), Error> {
    if n == 0 {
        return Err(causal::Error::NoPrompts.into());
    }
    for of in carried {
        if of.values.len() != n {
            return refuse(format!("{} has {} values, expected {n}", of.attribute, of.values.len()));
        }
        if let Some(value) = of.values.iter().find(|value| **value >= of.n_values) {
            return refuse(format!(
                "{} has the value {value} of {} values",
                of.attribute, of.n_values
            ));
        }
    }
    for (place, codes) in checkpoints.iter().enumerate() {
        if let Some(codes) = codes.iter().find(|codes| codes.rows.len() != n) {
            return refuse(format!(
                "checkpoint {place} has {} rows of codes, expected {n}",
                codes.rows.len()
            ));
        }
    }
    match bootstrap.counts().iter().find(|counts| counts.len() != n) {
        Some(counts) => refuse(format!(
            "the bootstrap resamples {} prompts, expected {n}",
            counts.len()
        )),
        None => Ok(()),
    }
}

fn refuse<T>(reason: String) -> Result<T, Error> {
    Err(Error::Check {
        check: "occlusion",
        reason,
    })
}
