//! Latents against everything the written world knows about its tokens.
//!
//! The shipped model was trained on documents whose every token has labels ([`tasks::world::Label`]). A predicate is "this
//! label has this value". A latent is active where its code is above 0. For each predicate the latent of the best F1 on the
//! even documents, and that of the best Matthews correlation, are scored on the odd documents; the average precision is that of
//! the latter (formulas in `agreement`). F1 alone would choose latents that are active almost everywhere for a predicate that
//! often holds, whose correlation is nothing.
//!
//! Predicates that hold on fewer than [`FEWEST`] rows of either half are left out.
//!
//! Shapes: `N` tokens, `D` width, `F` latents, `P` predicates.

mod probes;

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use dictionaries::DENSE;
use kernels::{from_vec, matmul, to_vec};
use lm::{HookPoint, Model, Passes, Request, Schedule};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tasks::world::{Document, Label};
use text::Tokenizer;

use crate::Error;
use crate::agreement::{Agreement, Ranked};

pub use probes::Probes;

/// Rows of each half on which a predicate must hold.
pub const FEWEST: usize = 20;
/// MCC from which a predicate counts as found by its latent, and a latent as explained by its predicate.
const FOUND: f64 = 0.5;
/// Tokens whose codes are held densely at once.
const ROWS: usize = 2048;

/// The positive codes of each row, by rising latent.
pub type SparseRows = Vec<Vec<(u32, f32)>>;

/// Activations of a hook on documents, with what is true of each token.
#[derive(Debug)]
pub struct WorldSample {
    /// The hook's vectors, `[N, D]`.
    vectors: Tensor<2>,
    /// Predicates that hold for each token, `N`.
    holds: Vec<Vec<u32>>,
    /// Whether a token is of an odd document, on which latents are scored; `N`.
    scored: Vec<bool>,
    /// Family and value of each predicate, `P`.
    predicates: Vec<(&'static str, String)>,
}

/// Means over the predicates of a family.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FamilyScore {
    /// Predicates.
    pub predicates: usize,
    /// Mean F1 of the latents that are chosen by it.
    pub f1: f64,
    /// Mean Matthews correlation of the latents that are chosen by it.
    pub mcc: f64,
    /// Mean average precision of the same.
    pub average_precision: f64,
    /// Share of predicates whose latent, chosen by MCC, reaches an MCC of 0.5.
    pub found: f64,
}

/// A dictionary against the world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// By family of predicates, and `all`.
    pub families: BTreeMap<String, FamilyScore>,
    /// Share of latents that are active on no token.
    pub silent: f64,
    /// Share of latents that are active on more than [`DENSE`] of the tokens.
    pub dense: f64,
    /// Share of the others whose predicate, chosen by MCC, reaches an MCC of 0.5.
    pub explained: f64,
    /// The latents that stand for each predicate, `family: value`.
    pub latents: BTreeMap<String, PredicateLatents>,
}

/// The latents that stand for a predicate, by their numbers from 0, and their scores on the odd documents.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PredicateLatents {
    /// The latent that is best by F1.
    pub by_f1: usize,
    /// Its F1.
    pub f1: f64,
    /// The latent that is best by Matthews correlation.
    pub by_mcc: usize,
    /// Its Matthews correlation.
    pub mcc: f64,
}

impl WorldSample {
    /// Runs the model on documents. Those longer than its context are cut into windows, each behind the beginning-of-text
    /// token where the tokenizer has one.
    ///
    /// # Errors
    ///
    /// A tokenizer that does not split text into the world's words; a hook that the model does not have; no documents, or so
    /// few that no predicate holds on [`FEWEST`] tokens of both halves.
    pub fn new(
        model: &Model,
        tokenizer: &Tokenizer,
        documents: &[Document],
        hook: HookPoint,
        head: Option<usize>,
    ) -> Result<Self, Error> {
        let mut numbers: BTreeMap<(&'static str, String), u32> = BTreeMap::new();
        let (mut rows, mut holds, mut scored) = (Vec::new(), Vec::new(), Vec::new());
        let before = usize::from(tokenizer.bos().is_some());
        for (number, document) in documents.iter().enumerate() {
            let ids = tokenizer.encode(&document.text())?;
            if ids.len() != document.pieces.len() {
                return Err(Error::NotTheWorld);
            }
            let window = model.spec().n_ctx.max(2) - before;
            for (ids, pieces) in ids.chunks(window).zip(document.pieces.chunks(window)) {
                rows.push(
                    tokenizer
                        .bos()
                        .into_iter()
                        .chain(ids.iter().copied())
                        .collect::<Vec<u32>>(),
                );
                for piece in pieces {
                    let mut of_token = Vec::new();
                    for predicate in predicates(&piece.label) {
                        let next = numbers.len() as u32;
                        of_token.push(*numbers.entry(predicate).or_insert(next));
                    }
                    holds.push(of_token);
                    scored.push(number % 2 == 1);
                }
            }
        }
        // Row by row, so that no vector depends on what else is read.
        let passes = Passes::new(model, 1).scheduled(Schedule::SideBySide);
        let request = Request {
            capture: vec![hook],
            ..Request::default()
        };
        let vectors = passes.run(
            &rows,
            |_| Ok::<_, Error>(request.clone()),
            |pass, trace| {
                let tokens = (before..pass.tokens.len()).map(|place| trace.at(hook, head, &[place]));
                Ok(Tensor::cat(tokens.collect::<Result<Vec<_>, _>>()?, 0)) // [T, D]
            },
        )?;
        if vectors.is_empty() {
            return Err(causal::Error::NoText.into());
        }
        let mut predicates = vec![("", String::new()); numbers.len()];
        for (predicate, number) in numbers {
            predicates[number as usize] = predicate;
        }
        let sample = Self {
            vectors: Tensor::cat(vectors, 0), // [N, D]
            holds,
            scored,
            predicates,
        };
        let [choosing, scoring] = [false, true].map(|scored| sample.holding(scored));
        if choosing.iter().zip(&scoring).all(|(a, b)| *a.min(b) < FEWEST as u32) {
            return Err(Error::TooFewTokens {
                documents: documents.len(),
                fewest: FEWEST,
            });
        }
        Ok(sample)
    }

    /// Number of tokens of one half on which each predicate holds, `[P]`.
    fn holding(&self, scored: bool) -> Vec<u32> {
        let mut holding = vec![0; self.predicates.len()];
        let of_half = self.holds.iter().zip(&self.scored).filter(|(_, of)| **of == scored);
        for &predicate in of_half.flat_map(|(holds, _)| holds) {
            holding[predicate as usize] += 1;
        }
        holding
    }

    /// Tokens, `N`.
    pub fn tokens(&self) -> usize {
        self.holds.len()
    }

    /// The vectors of all tokens, `[N, D]`.
    pub fn vectors(&self) -> &Tensor<2> {
        &self.vectors
    }

    /// Mean vector of the documents on which latents are chosen, `[1, D]`.
    pub fn mean(&self) -> Tensor<2> {
        let weights: Vec<f32> = self.scored.iter().map(|scored| f32::from(u8::from(!scored))).collect();
        let (n, chosen) = (weights.len(), weights.iter().sum::<f32>().max(1.0));
        let weights = from_vec(weights, [1, n], &self.vectors.device());
        matmul(weights, self.vectors.clone()).div_scalar(chosen) // [1, D]
    }

    /// Scores a dictionary by its `encode`, `[n, D]` to `[n, F]`.
    ///
    /// # Errors
    ///
    /// [`causal::Error::NotANumber`] when a code is not finite.
    pub fn score(&self, encode: &dyn Fn(Tensor<2>) -> Tensor<2>) -> Result<Truth, Error> {
        let (codes, n_latents) = self.codes(encode)?;
        Ok(self.score_codes(&codes, n_latents))
    }

    /// The positive codes of all tokens, `N` rows by rising latent, and the number of latents.
    ///
    /// # Errors
    ///
    /// [`causal::Error::NotANumber`] when a code is not finite.
    pub fn codes(&self, encode: &dyn Fn(Tensor<2>) -> Tensor<2>) -> Result<(SparseRows, usize), Error> {
        let [n, d] = self.vectors.dims();
        let mut codes: Vec<Vec<(u32, f32)>> = Vec::with_capacity(n);
        let mut n_latents = 0;
        for first in (0..n).step_by(ROWS) {
            let rows = self.vectors.clone().slice([first..(first + ROWS).min(n), 0..d]);
            let dense = encode(rows); // [n, F]
            n_latents = dense.dims()[1];
            let dense = to_vec(dense);
            if let Some(code) = dense.iter().find(|code| !code.is_finite()) {
                let (what, value) = ("code of a latent", f64::from(*code));
                return Err(causal::Error::NotANumber { what, value }.into());
            }
            for row in dense.chunks_exact(n_latents.max(1)) {
                let entries = (0_u32..).zip(row.iter().copied()).filter(|(_, code)| *code > 0.0);
                codes.push(entries.collect());
            }
        }
        Ok((codes, n_latents))
    }

    /// Scores codes of all tokens, as [`WorldSample::codes`] gives them.
    pub fn score_codes(&self, codes: &[Vec<(u32, f32)>], n_latents: usize) -> Truth {
        let [choosing, scoring] = [false, true].map(|scored| Counts::new(self, codes, n_latents, scored));
        // Predicates that hold often enough.
        let p = self.predicates.len();
        let fit = (0..p).filter(|&i| choosing.holds[i] >= FEWEST as u32 && scoring.holds[i] >= FEWEST as u32);
        let fit: Vec<usize> = fit.collect();
        let scores: Vec<(usize, PredicateLatents, f64)> = fit
            .par_iter()
            .map(|&predicate| {
                let [by_f1, by_mcc] = [Agreement::f1, Agreement::mcc].map(|by| choosing.best(predicate, by));
                let latents = PredicateLatents {
                    by_f1,
                    f1: scoring.agreement(predicate, by_f1).f1(),
                    by_mcc,
                    mcc: scoring.agreement(predicate, by_mcc).mcc(),
                };
                (
                    predicate,
                    latents,
                    self.average_precision(codes, predicate, by_mcc as u32),
                )
            })
            .collect();
        let mut by_family: BTreeMap<String, Vec<[f64; 3]>> = BTreeMap::new();
        let mut latents = BTreeMap::new();
        for (predicate, of_predicate, precision) in scores {
            let (family, value) = &self.predicates[predicate];
            for family in [*family, "all"] {
                let of_family = by_family.entry(family.to_owned()).or_default();
                of_family.push([of_predicate.f1, of_predicate.mcc, precision]);
            }
            latents.insert(format!("{family}: {value}"), of_predicate);
        }
        let family = |scores: Vec<[f64; 3]>| {
            let mean = |i: usize| scores.iter().map(|score| score[i]).sum::<f64>() / scores.len() as f64;
            let found = scores.iter().filter(|score| score[1] >= FOUND).count();
            FamilyScore {
                predicates: scores.len(),
                f1: mean(0),
                mcc: mean(1),
                average_precision: mean(2),
                found: found as f64 / scores.len() as f64,
            }
        };
        let alive: Vec<usize> = (0..n_latents)
            .filter(|&i| choosing.active[i] + scoring.active[i] > 0)
            .collect();
        let is_explained = |latent: &&usize| {
            let mcc = |predicate: &&usize| choosing.agreement(**predicate, **latent).mcc();
            let best = fit.iter().max_by(|a, b| mcc(a).total_cmp(&mcc(b)));
            best.is_some_and(|&predicate| scoring.agreement(predicate, **latent).mcc() >= FOUND)
        };
        let most = DENSE * codes.len() as f64;
        let is_dense = |latent: &&usize| f64::from(choosing.active[**latent] + scoring.active[**latent]) > most;
        let dense = alive.iter().filter(is_dense).count();
        let explained = alive.iter().filter(is_explained).count();
        Truth {
            families: by_family
                .into_iter()
                .map(|(name, scores)| (name, family(scores)))
                .collect(),
            silent: 1.0 - alive.len() as f64 / n_latents.max(1) as f64,
            dense: dense as f64 / n_latents.max(1) as f64,
            explained: explained as f64 / alive.len().max(1) as f64,
            latents,
        }
    }

    /// Of one latent's codes on the scored rows as a ranking for a predicate.
    fn average_precision(&self, codes: &[Vec<(u32, f32)>], predicate: usize, latent: u32) -> f64 {
        let mut rows: Vec<(f32, bool)> = Vec::new();
        for ((codes, holds), _) in codes
            .iter()
            .zip(&self.holds)
            .zip(&self.scored)
            .filter(|(_, scored)| **scored)
        {
            let code = codes
                .binary_search_by_key(&latent, |entry| entry.0)
                .map_or(0.0, |place| codes[place].1);
            rows.push((code, holds.contains(&(predicate as u32))));
        }
        let n = rows.len() as f64;
        Ranked::new(rows).average_precision(|_| 1.0, n).unwrap_or(0.0)
    }
}

/// How often latents are active and predicates hold in one half of the documents.
struct Counts {
    n: u32,
    n_predicates: usize,
    /// `[F]`
    active: Vec<u32>,
    /// `[P]`
    holds: Vec<u32>,
    /// `[F, P]`
    both: Vec<u32>,
}

impl Counts {
    fn new(sample: &WorldSample, codes: &[Vec<(u32, f32)>], n_latents: usize, scored: bool) -> Self {
        let p = sample.predicates.len();
        let mut counts = Self {
            n: 0,
            n_predicates: p,
            active: vec![0; n_latents],
            holds: sample.holding(scored),
            both: vec![0; n_latents * p],
        };
        let rows = codes.iter().zip(&sample.holds).zip(&sample.scored);
        for ((codes, holds), _) in rows.filter(|(_, of)| **of == scored) {
            counts.n += 1;
            for &(latent, _) in codes {
                counts.active[latent as usize] += 1;
                for &predicate in holds {
                    counts.both[latent as usize * p + predicate as usize] += 1;
                }
            }
        }
        counts
    }

    /// The latent that is best by `criterion`; of equal ones the first.
    fn best(&self, predicate: usize, criterion: fn(&Agreement) -> f64) -> usize {
        let score = |latent: &usize| criterion(&self.agreement(predicate, *latent));
        let latents = 0..self.active.len();
        latents.rev().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap_or(0)
    }

    fn agreement(&self, predicate: usize, latent: usize) -> Agreement {
        Agreement {
            both: f64::from(self.both[latent * self.n_predicates + predicate]),
            active: f64::from(self.active[latent]),
            holds: f64::from(self.holds[predicate]),
            n: f64::from(self.n),
        }
    }
}

/// What is true of a token, as family and value.
pub fn predicates(label: &Label) -> Vec<(&'static str, String)> {
    let mut all = vec![("role", format!("{:?}", label.role))];
    let mut add = |family, value: Option<String>| all.extend(value.map(|value| (family, value)));
    add("entity", label.entity.map(|entity| format!("{entity:?}")));
    add("gender", label.gender.map(|gender| format!("{gender:?}")));
    add("number", label.number.map(|number| format!("{number:?}")));
    add("kind", label.kind.map(|kind| kind.to_string()));
    add("country", label.country.map(|country| country.to_string()));
    add("behaviour", label.behaviour.map(|behaviour| format!("{behaviour:?}")));
    add("frame", label.frame.map(|frame| frame.to_string()));
    add("mentioned", label.mentioned_before.then(|| "before".to_owned()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::cpu;

    /// Two predicates over 120 tokens of alternating documents, the first on every third. Latent 0 is the first predicate, 1 fires
    /// everywhere, 2 on half of the second predicate, 3 with the first predicate where latents are chosen and as latent 2 where
    /// they are scored, 4 nowhere.
    fn sample() -> (WorldSample, Vec<Vec<(u32, f32)>>) {
        let n = 120;
        let holds = (0..n).map(|i| vec![u32::from(i % 3 != 0)]).collect();
        let scored = |i: usize| (i / 3) % 2 == 1;
        let codes = (0..n)
            .map(|i| {
                let mut row = vec![(1, 0.5)];
                row.extend((i % 3 == 0).then_some((0, 1.0 + i as f32)));
                row.extend((i % 3 == 1).then_some((2, 0.3)));
                row.extend((i % 3 == usize::from(scored(i))).then_some((3, 0.2)));
                row.sort_by_key(|entry| entry.0);
                row
            })
            .collect();
        let sample = WorldSample {
            vectors: from_vec((0..n).map(|i| i as f32).collect(), [n, 1], &cpu()),
            holds,
            scored: (0..n).map(scored).collect(),
            predicates: vec![("role", "a".to_owned()), ("role", "b".to_owned())],
        };
        (sample, codes)
    }

    #[test]
    fn a_code_that_is_no_number_is_an_error() {
        let (sample, _) = sample();
        for value in [f32::NAN, f32::INFINITY] {
            let error = sample.score(&|x| x.zeros_like() + value).unwrap_err().to_string();
            assert!(error.contains("code of a latent"), "{error}");
        }
        let silent = sample.score(&|x| x.zeros_like()).unwrap();
        assert_eq!((silent.silent, silent.dense), (1.0, 0.0));
    }

    #[test]
    fn each_score_has_the_latent_that_is_best_by_it() {
        let (sample, codes) = sample();
        let truth = sample.score_codes(&codes, 5);
        let role = &truth.families["role"];
        assert_eq!(role, &truth.families["all"]);
        // Predicate a: all scores 1. Predicate b holds on 2/3 of the rows: by F1 the latent that fires everywhere is best (0.8, with
        // an MCC of 0), by MCC the one that fires on half of them (0.5).
        assert!((role.f1 - 0.9).abs() < 1e-12, "{role:?}");
        assert!((role.mcc - 0.75).abs() < 1e-12, "{role:?}");
        let precision = (20.0 + 20.0 * 2.0 / 3.0) / 40.0;
        assert!(
            (role.average_precision - (1.0 + precision) / 2.0).abs() < 1e-12,
            "{role:?}"
        );
        assert_eq!((role.predicates, role.found), (2, 1.0));
        assert_eq!(to_vec(sample.mean()), [59.5 - 1.5], "rows 0 to 2, 6 to 8, ...");
        assert!((truth.silent - 0.2).abs() < 1e-12);
        assert!(
            (truth.dense - 0.8).abs() < 1e-12,
            "all but the silent one fire on a third or more"
        );
        // Latents 0 and 2; latent 3 was taken for predicate a.
        assert_eq!(truth.explained, 0.5);
        let named = |predicate: &str| (truth.latents[predicate].by_f1, truth.latents[predicate].by_mcc);
        assert_eq!((named("role: a"), named("role: b")), ((0, 0), (1, 2)));
        assert!(
            (truth.latents["role: b"].f1 - 0.8).abs() < 1e-12 && (truth.latents["role: b"].mcc - 0.5).abs() < 1e-12
        );
    }
}
