//! The check for over-splitting (P1), and whether two dictionaries split alike (P2, P3).
//!
//! Section 4.4 of Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)): the binary attribute Pos
//! was represented by many latents, each active on a small subset of the prompts of one Pos value, with nothing else in
//! common. The paper names no measure; this is that of the project's specification.
//!
//! Written for Pos, it judges any attribute of few values ([`Question`]); the attributes of many values are the names.
//!
//! * A latent **stands for** a Pos value when at least 95 % of the prompts it is active on have it and no single IO or S
//!   name accounts for 90 % of them. It is a **fragment** when it is active on 0.2 % to 40 % of all prompts: a whole Pos
//!   latent is active on half of them. Latents with fewer than 20 active prompts are left out, since a share of 95 % could
//!   be luck; with fewer than 10,000 prompts that is the stricter floor (1 % of 2,000).
//! * The score is the share of the prompts covered by all latents that stand for a value which the best single one of
//!   them misses: `1 - best recall / union recall`, mean over values. 0: one latent does it all; 0.95: twenty equal parts.
//!   A dictionary in which nothing stands for Pos has no score.
//! * A dictionary splits when it has at least 10 fragments that together are active on at least half of the prompts of a
//!   Pos value (mean over values), whose active sets hardly overlap (mean Jaccard of two fragments of one value at
//!   most 0.2), and when its score (of the values that have one) is at least 1/3: no latent covers two thirds of what all of
//!   them cover. The specification asks for the first three only; without the last a dictionary that has a whole Pos latent
//!   and fragments beside it would be said to split.
//! * Two dictionaries split alike when their fragments, matched one to one, overlap more than chance: the mean Jaccard
//!   of matched pairs against the 99th percentile of the same after the prompts of one side are permuted within each Pos
//!   value. P2 compares two seeds on the same prompts; P3 compares dictionaries trained on two disjoint samples, on codes
//!   of a third.
//!
//! Shape legend: `N` prompts, `F` latents.

use crate::Error;
use dictionaries::Codes;
use kernels::{assign, random};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tasks::{Attribute, ByAttribute, Labels};

/// From where on something counts in the check.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Largest share of prompts on which a fragment is active.
    pub rate: f64,
    /// Share of a latent's active prompts that must have its value.
    pub precision: f64,
    /// Fragments from which on a dictionary splits.
    pub fragments: f64,
    /// Recall of the union without which it does not.
    pub recall: f64,
    /// Mean Jaccard above which it does not.
    pub jaccard: f64,
    /// Score below which one latent for each value does most of it.
    pub score: f64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            rate: 0.4,
            precision: 0.95,
            fragments: 10.0,
            recall: 0.5,
            jaccard: 0.2,
            score: 1.0 / 3.0,
        }
    }
}

impl Thresholds {
    /// Each of them a quarter lower and a quarter higher (of the precision: twice and half as many exceptions), the others as they are,
    /// by what was changed.
    pub fn variations() -> Vec<(String, Self)> {
        let mut all = Vec::new();
        let plain = Self::default();
        for factor in [0.75, 1.25] {
            let changed = [
                (
                    "rate",
                    plain.rate * factor,
                    Self {
                        rate: plain.rate * factor,
                        ..plain
                    },
                ),
                (
                    "fragments",
                    plain.fragments * factor,
                    Self {
                        fragments: plain.fragments * factor,
                        ..plain
                    },
                ),
                (
                    "recall",
                    plain.recall * factor,
                    Self {
                        recall: plain.recall * factor,
                        ..plain
                    },
                ),
                (
                    "jaccard",
                    plain.jaccard * factor,
                    Self {
                        jaccard: plain.jaccard * factor,
                        ..plain
                    },
                ),
                (
                    "score",
                    plain.score * factor,
                    Self {
                        score: plain.score * factor,
                        ..plain
                    },
                ),
            ];
            all.extend(changed.map(|(name, value, changed)| (format!("{name} {value:.3}"), changed)));
        }
        for precision in [0.9, 0.975] {
            all.push((format!("precision {precision}"), Self { precision, ..plain }));
        }
        all
    }
}

/// Smallest share of prompts on which a fragment is active.
const LEAST_RATE: f64 = 0.002;
/// Share of a latent's active prompts from which on a name explains it.
const NAME_PRECISION: f64 = 0.9;
/// Active prompts without which a latent's precision could be luck.
const LEAST_ACTIVE: usize = 20;
/// Prompts without which a value cannot be judged.
const LEAST_HOLDING: usize = 100;
/// What the check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Verdict {
    /// Too few prompts, or too few of them are covered by latents that stand for a value.
    Undefined,
    /// Many small, hardly overlapping latents stand for the values, and no large one.
    Splits,
    /// They do not.
    Clear,
}

/// How one value is represented.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OfValue {
    /// Number of fragments.
    pub fragments: usize,
    /// Share of the value's prompts on which some fragment is active.
    pub fragment_recall: f64,
    /// Share of the value's prompts on which some latent that stands for it is active.
    pub union_recall: f64,
    /// The largest share on which a single such latent is.
    pub best_recall: f64,
}

/// The result of the check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Splitting {
    /// What it says.
    pub verdict: Verdict,
    /// `1 - best recall / union recall`, mean over values; `None` when nothing stands for one of them.
    pub score: Option<f64>,
    /// Number of fragments of all values.
    pub fragments: usize,
    /// Mean Jaccard of the active sets of two fragments of one value; `None` when there is no such pair.
    pub jaccard: Option<f64>,
    /// By value.
    pub by_value: Vec<OfValue>,
}

/// Whether two dictionaries split alike.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Fragments of either.
    pub fragments: [usize; 2],
    /// Matched pairs.
    pub pairs: usize,
    /// Mean Jaccard of matched pairs; `None` when there are none.
    pub jaccard: Option<f64>,
    /// 99th percentile of the same with permuted prompts.
    pub chance: Option<f64>,
    /// Whether they agree beyond chance.
    pub above_chance: Option<bool>,
}

/// A set of prompts, a bit each.
#[derive(Debug, Clone, PartialEq)]
struct Set(Vec<u64>);

impl Set {
    fn of(n: usize, members: impl Iterator<Item = usize>) -> Self {
        let mut words = vec![0; n.div_ceil(64)];
        members.for_each(|i| words[i / 64] |= 1 << (i % 64));
        Self(words)
    }

    fn members(&self, n: usize) -> impl Iterator<Item = usize> {
        (0..n).filter(|i| self.0[i / 64] >> (i % 64) & 1 == 1)
    }

    fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    fn shared(&self, other: &Self) -> usize {
        let words = self.0.iter().zip(&other.0);
        words.map(|(a, b)| (a & b).count_ones() as usize).sum()
    }

    fn union(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    /// Shared prompts over prompts in either.
    fn jaccard(&self, other: &Self) -> f64 {
        let shared = self.shared(other);
        shared as f64 / (self.len() + other.len() - shared).max(1) as f64
    }
}

/// What is judged.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// Labels of the prompts, `[N]`.
    pub labels: &'a [Labels],
    /// Number of values of each attribute.
    pub n_values: ByAttribute,
    /// The attribute that may be split: `Pos` of the indirect object.
    pub attribute: Attribute,
}

impl Question<'_> {
    /// Number of values of the attribute.
    fn n(&self) -> usize {
        self.n_values.get(self.attribute).unwrap_or(0)
    }

    /// Whether a prompt has a value of the attribute.
    fn has(&self, prompt: usize, value: usize) -> bool {
        self.labels[prompt].get(self.attribute) == Some(value)
    }

    /// Attributes a single value of which may explain a latent.
    fn names(&self) -> impl Iterator<Item = Attribute> {
        let n = self.n();
        let many = self.n_values.iter().filter(move |&(_, n_values)| n_values > n);
        many.map(|(attribute, _)| attribute)
    }
}

/// A latent that stands for a value.
struct Standing {
    value: usize,
    active: Set,
    is_fragment: bool,
}

/// Checks a dictionary for over-splitting of an attribute.
///
/// `codes`: one per node of the site, `N` rows each; their latents count together.
///
/// # Errors
/// [`Error::Check`] when codes and labels do not belong together.
pub fn check(codes: &[Codes], question: &Question<'_>, thresholds: &Thresholds) -> Result<Splitting, Error> {
    validate(codes, question)?;
    let n = question.labels.len();
    let standing = standing(codes, question, thresholds);
    let mut by_value = Vec::new();
    let mut jaccards = Vec::new();
    let mut enough_prompts = true;
    for value in 0..question.n() {
        let holding = Set::of(n, (0..n).filter(|&i| question.has(i, value)));
        enough_prompts &= holding.len() >= LEAST_HOLDING;
        let recall = |active: &Set| active.shared(&holding) as f64 / holding.len().max(1) as f64;
        let union = |sets: &[&Standing]| {
            let mut union = Set::of(n, std::iter::empty());
            sets.iter().for_each(|set| union.union(&set.active));
            recall(&union)
        };
        let all: Vec<&Standing> = standing.iter().filter(|latent| latent.value == value).collect();
        let fragments: Vec<&Standing> = all.iter().copied().filter(|latent| latent.is_fragment).collect();
        for (i, a) in fragments.iter().enumerate() {
            jaccards.extend(fragments[..i].iter().map(|b| a.active.jaccard(&b.active)));
        }
        by_value.push(OfValue {
            fragments: fragments.len(),
            fragment_recall: union(&fragments),
            union_recall: union(&all),
            best_recall: all.iter().map(|latent| recall(&latent.active)).fold(0.0, f64::max),
        });
    }
    let mean = |of: &dyn Fn(&OfValue) -> f64| by_value.iter().map(of).sum::<f64>() / by_value.len().max(1) as f64;
    // What the best single latent misses, of the values that are represented.
    let represented = by_value.iter().filter(|of| of.union_recall > 0.0);
    let missed: Vec<f64> = represented.map(|of| 1.0 - of.best_recall / of.union_recall).collect();
    let mean_missed = missed.iter().sum::<f64>() / missed.len().max(1) as f64;
    let score = (missed.len() == by_value.len()).then_some(mean_missed);
    let fragments: usize = by_value.iter().map(|of| of.fragments).sum();
    let jaccard = (!jaccards.is_empty()).then(|| jaccards.iter().sum::<f64>() / jaccards.len() as f64);
    // A value that is not represented has no large latent either.
    let small_parts = fragments as f64 >= thresholds.fragments
        && jaccard.is_some_and(|jaccard| jaccard <= thresholds.jaccard)
        && mean_missed >= thresholds.score;
    let verdict = if !enough_prompts || mean(&|of| of.union_recall) < thresholds.recall {
        Verdict::Undefined
    } else if small_parts && mean(&|of| of.fragment_recall) >= thresholds.recall {
        Verdict::Splits
    } else {
        Verdict::Clear
    };
    Ok(Splitting {
        verdict,
        score,
        fragments,
        jaccard,
        by_value,
    })
}

/// Whether two dictionaries split an attribute alike: `a` and `b` are their codes of the same prompts, as for [`check`].
///
/// # Errors
/// [`Error::Check`] when codes and labels do not belong together.
pub fn agreement(
    a: &[Codes],
    b: &[Codes],
    question: &Question<'_>,
    permutations: usize,
    seed: u64,
) -> Result<Agreement, Error> {
    validate(a, question)?;
    validate(b, question)?;
    let n = question.labels.len();
    let [a, b] = [a, b].map(|codes| {
        let mut fragments: Vec<Vec<Set>> = vec![Vec::new(); question.n()];
        for latent in standing(codes, question, &Thresholds::default())
            .into_iter()
            .filter(|latent| latent.is_fragment)
        {
            fragments[latent.value].push(latent.active);
        }
        fragments
    });
    let (pairs, jaccard) = matched(&a, &b);
    let holding: Vec<Vec<usize>> = (0..question.n())
        .map(|value| (0..n).filter(|&i| question.has(i, value)).collect())
        .collect();
    let permuted = |number: usize| {
        let mut rng = random::rng(seed, &format!("splitting/permutation {number}"));
        let mut to: Vec<usize> = (0..n).collect();
        for prompts in &holding {
            let mut shuffled = prompts.clone();
            shuffled.shuffle(&mut rng);
            prompts.iter().zip(shuffled).for_each(|(&i, j)| to[i] = j);
        }
        let moved = |set: &Set| Set::of(n, set.members(n).map(|i| to[i]));
        let b: Vec<Vec<Set>> = b.iter().map(|sets| sets.iter().map(moved).collect()).collect();
        matched(&a, &b).1
    };
    let mut chance: Vec<f64> = (0..permutations).into_par_iter().filter_map(permuted).collect();
    chance.sort_unstable_by(f64::total_cmp);
    let chance = chance.get((chance.len() * 99).div_ceil(100).saturating_sub(1)).copied();
    let count = |fragments: &[Vec<Set>]| fragments.iter().map(Vec::len).sum();
    Ok(Agreement {
        fragments: [count(&a), count(&b)],
        pairs,
        jaccard,
        chance,
        above_chance: jaccard.zip(chance).map(|(jaccard, chance)| jaccard > chance),
    })
}

/// Matches fragments of the same value; number of pairs and their mean Jaccard.
fn matched(a: &[Vec<Set>], b: &[Vec<Set>]) -> (usize, Option<f64>) {
    let (mut pairs, mut sum) = (0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let jaccards: Vec<Vec<f64>> = a.iter().map(|a| b.iter().map(|b| a.jaccard(b)).collect()).collect();
        for (i, j) in assign(a.len(), b.len(), &|i, j| jaccards[i][j]) {
            pairs += 1;
            sum += jaccards[i][j];
        }
    }
    (pairs, (pairs > 0).then(|| sum / pairs as f64))
}

/// The latents that stand for a value, in the order of nodes and latents.
fn standing(codes: &[Codes], question: &Question<'_>, thresholds: &Thresholds) -> Vec<Standing> {
    let rates = LEAST_RATE..=thresholds.rate;
    let n = question.labels.len();
    let mut found = Vec::new();
    for codes in codes {
        let mut active: Vec<Vec<u32>> = vec![Vec::new(); codes.n_latents];
        for (i, row) in codes.rows.iter().enumerate() {
            for &(latent, _) in row.iter().filter(|entry| entry.1 > 0.0) {
                active[latent as usize].push(i as u32);
            }
        }
        for active in active.into_iter().filter(|active| active.len() >= LEAST_ACTIVE) {
            // The most frequent value of an attribute among the active prompts, and its share.
            let precision = |attribute: Attribute| {
                let mut counts = vec![0usize; question.n_values.get(attribute).unwrap_or(0)];
                let values = active
                    .iter()
                    .filter_map(|&i| question.labels[i as usize].get(attribute));
                values.for_each(|value| counts[value] += 1);
                let most = (0..counts.len()).rev().max_by_key(|&value| counts[value]);
                most.map_or((0, 0.0), |value| (value, counts[value] as f64 / active.len() as f64))
            };
            let (value, share) = precision(question.attribute);
            let is_name = || question.names().any(|name| precision(name).1 >= NAME_PRECISION);
            if share < thresholds.precision || is_name() {
                continue;
            }
            found.push(Standing {
                value,
                is_fragment: rates.contains(&(active.len() as f64 / n as f64)),
                active: Set::of(n, active.iter().map(|&i| i as usize)),
            });
        }
    }
    found
}

fn validate(codes: &[Codes], question: &Question<'_>) -> Result<(), Error> {
    let refuse = |reason: String| {
        Err(Error::Check {
            check: "splitting",
            reason,
        })
    };
    let n = question.labels.len();
    if n == 0 {
        return Err(causal::Error::NoPrompts.into());
    }
    if let Some(codes) = codes.iter().find(|codes| codes.rows.len() != n) {
        return refuse(format!("{} rows of codes for {n} prompts", codes.rows.len()));
    }
    let n_values = &question.n_values;
    for labels in question.labels {
        let fits = |(attribute, n_values)| labels.get(attribute).is_some_and(|value| value < n_values);
        if !n_values.iter().all(fits) {
            return refuse(format!(
                "a prompt has the labels {labels}, the attributes have so many values: {n_values}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_count_like_lists() {
        let (a, b) = (
            Set::of(130, [0, 63, 64, 129].into_iter()),
            Set::of(130, [63, 64, 65].into_iter()),
        );
        assert_eq!((a.len(), b.len(), a.shared(&b)), (4, 3, 2));
        assert_eq!(a.jaccard(&b), 0.4);
        assert_eq!(a.members(130).collect::<Vec<_>>(), [0, 63, 64, 129]);
        let mut union = a.clone();
        union.union(&b);
        assert_eq!(union.len(), 5);
        assert_eq!(
            Set::of(5, std::iter::empty()).jaccard(&Set::of(5, std::iter::empty())),
            0.0
        );
    }

    #[test]
    fn mismatched_input_is_refused() {
        let codes = [Codes {
            n_latents: 1,
            rows: vec![vec![]; 3],
        }];
        let ask = |codes: &[Codes], labels: &[Labels]| {
            let question = Question {
                labels,
                n_values: ByAttribute::ioi([2, 2, 2]),
                attribute: Attribute::POS,
            };
            check(codes, &question, &Thresholds::default())
        };
        for (labels, part) in [
            (vec![Labels::ioi([0, 1, 0]); 2], "3 rows of codes for 2"),
            (vec![Labels::ioi([0, 1, 2]); 3], "IO 0, S 1, Pos 2"),
            (vec![Labels::default(); 3], "IO 2"),
        ] {
            let error = ask(&codes, &labels).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(ask(&[], &[]).is_err());
    }
}
