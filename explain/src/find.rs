//! FIND: functions are explained, explanations are judged, and the scores stand beside controls and chance.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use strum::VariantArray;

use crate::Error;
use crate::black_box::{BlackBox, Kind};
use crate::explanation::{Claim, Explanation, Status};
use crate::judge;
use crate::numeric::{self, Baseline, MlpTraining};
use crate::problem::{Answers, Problem, UnitTest};
use crate::problems;
use crate::strings;
use crate::words::{explain_entities, explain_relation};

/// Which functions are explained, by whom, and how the explanations are judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindFile {
    /// Seed of functions, tests and explainers. Default 0.
    #[serde(default)]
    pub seed: u64,
    /// Numeric functions. FIND: 1000. Required.
    pub numeric: usize,
    /// String functions. FIND: 1000. Required.
    pub strings: usize,
    /// Functions of concepts. FIND: 200. Required.
    pub entities: usize,
    /// Relations. FIND: 75. Required.
    pub relations: usize,
    /// Planted predicates on tokens of the written world. Required.
    pub text: usize,
    /// Training of the networks that stand for 15 % of the numeric functions. Required.
    pub mlp: MlpTraining,
    /// Inputs that an explainer may ask of a function. Default 400.
    #[serde(default = "budget")]
    pub budget: usize,
    /// Resamples of an interval. Default 1000.
    #[serde(default = "resamples")]
    pub resamples: usize,
}

fn budget() -> usize {
    400
}

fn resamples() -> usize {
    1000
}

impl FindFile {
    /// # Errors
    ///
    /// Numbers that leave nothing to do, or nothing to do it with.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |key: &'static str, reason: &str| {
            Err(Error::Config {
                key,
                reason: reason.to_owned(),
            })
        };
        let functions = [self.numeric, self.strings, self.entities, self.relations, self.text];
        match self {
            _ if functions.iter().all(|n| *n == 0) => {
                refuse("numeric", "and all other families are 0, there is nothing to explain")
            }
            Self { budget, .. } if *budget < 120 => refuse("budget", "is below 120, which the offline explainer asks"),
            Self { resamples: 0, .. } => refuse("resamples", "is 0, an interval needs some"),
            Self {
                mlp: MlpTraining { points: 0 | 1, .. },
                ..
            } => refuse("mlp.points", "must be at least 2"),
            _ => Ok(()),
        }
    }

    /// The functions.
    pub fn problems(&self) -> Vec<Problem> {
        let mut all = problems::numeric(self.numeric, self.seed, self.mlp);
        all.extend(problems::strings(self.strings, self.seed));
        all.extend(problems::entities(self.entities, self.seed));
        all.extend(problems::relations(self.relations, self.seed));
        all.extend(problems::text(self.text, self.seed));
        all
    }
}

/// An explanation and what it cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// What was said.
    pub explanation: Explanation,
    /// Tokens that a language model read and wrote.
    pub tokens: u64,
}

/// Something that asks a black box and says what it does.
pub trait Explainer: Sync {
    /// The name in tables.
    fn name(&self) -> String;

    /// Which functions it can be asked about.
    fn takes(&self, kind: Kind) -> bool;

    /// Explains a function. `exemplars` are words to begin with; not every explainer uses them.
    ///
    /// # Errors
    ///
    /// What would stop the whole run, as a wrong key for a server.
    fn explain(&self, of: &mut BlackBox<'_>, exemplars: &[String]) -> Result<Explained, Error>;
}

/// Explainers that need no language model.
#[derive(Debug, Clone, Copy)]
pub enum Offline {
    /// The explainer of each family; free to ask.
    Asking(u64),
    /// That of entities, with the exemplars alone.
    Given,
    /// A predictor of numbers.
    Baseline(Baseline),
    /// "It gives what it is given": texts alone.
    Identity,
}

impl Explainer for Offline {
    fn name(&self) -> String {
        match self {
            Self::Asking(_) => "offline".to_owned(),
            Self::Given => "offline, exemplars".to_owned(),
            Self::Baseline(baseline) => baseline.to_string(),
            Self::Identity => "unchanged".to_owned(),
        }
    }

    fn takes(&self, kind: Kind) -> bool {
        match self {
            Self::Asking(_) => true,
            Self::Given => kind == Kind::Entities,
            Self::Baseline(_) => kind == Kind::Numeric,
            Self::Identity => kind == Kind::Strings,
        }
    }

    fn explain(&self, of: &mut BlackBox<'_>, exemplars: &[String]) -> Result<Explained, Error> {
        let explanation = match (self, of.kind()) {
            (Self::Asking(seed), Kind::Numeric) => numeric::explain(of, *seed),
            (Self::Asking(_), Kind::Strings) => strings::explain(of),
            (Self::Asking(_), Kind::Relations) => explain_relation(of),
            (Self::Asking(seed), Kind::Text) => crate::planted::explain(of, *seed),
            (Self::Asking(_), Kind::Entities) => explain_entities(of, None),
            (Self::Given, _) => explain_entities(of, Some(exemplars)),
            (Self::Baseline(baseline), _) => baseline.explain(of),
            (Self::Identity, _) => {
                let program: strings::Program = "strip".parse()?;
                Ok(Explanation::claiming(
                    "gives back what it is given".to_owned(),
                    Claim::Program(program),
                ))
            }
        };
        Ok(Explained {
            explanation: explanation?,
            tokens: 0,
        })
    }
}

/// The explainers of the offline run.
pub fn offline(seed: u64) -> Vec<Offline> {
    let baselines = Baseline::VARIANTS.iter().copied().map(Offline::Baseline);
    [Offline::Asking(seed), Offline::Given, Offline::Identity]
        .into_iter()
        .chain(baselines)
        .collect()
}

/// Something that decides unit tests.
pub trait Judge: Sync {
    /// The name in results.
    fn name(&self) -> String;

    /// The credit of the right choice, 0 to 1, and the tokens that a language model read and wrote; no credit for an answer that is
    /// none.
    ///
    /// # Errors
    ///
    /// What would stop the whole run.
    fn decide(&self, kind: Kind, explanation: &Explanation, test: &UnitTest) -> Result<(Option<f64>, u64), Error>;
}

/// The judge that executes claims.
#[derive(Debug, Clone, Copy)]
pub struct Executes;

impl Judge for Executes {
    fn name(&self) -> String {
        "exec".to_owned()
    }

    fn decide(&self, _kind: Kind, explanation: &Explanation, test: &UnitTest) -> Result<(Option<f64>, u64), Error> {
        Ok((Some(judge::decide(explanation.claim.as_ref(), test)), 0))
    }
}

/// One explanation of one function, scored: a line of the results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// The function.
    pub id: String,
    /// Its family.
    pub family: Kind,
    /// How it is served.
    pub variant: String,
    /// Who explained it.
    pub explainer: String,
    /// Who decided unit tests.
    pub judge: String,
    /// How the explanation came about.
    pub status: Status,
    /// The explanation in English.
    pub explanation: String,
    /// What it claims.
    pub claim: Option<Claim>,
    /// Scores by name. `unit3`: credit in unit tests. `code`: share of outputs that the claim gives. `exception`: the same of
    /// exceptions. `nmse`: error on the grid, left out where it is not finite; `nmse<0.1` and the like: whether it is below.
    pub scores: BTreeMap<String, f64>,
    /// Inputs that were asked.
    pub queries: usize,
    /// Tokens that a language model read and wrote.
    pub tokens: u64,
    /// Answers of a judge that were none; they score 0.
    pub invalid: usize,
}

/// Scores of an explanation.
///
/// # Errors
///
/// What stops a judge for good.
pub fn score(
    problem: &Problem,
    explanation: &Explanation,
    judge: &dyn Judge,
) -> Result<(BTreeMap<String, f64>, usize, u64), Error> {
    let (mut scores, mut invalid, mut tokens) = (BTreeMap::new(), 0, 0);
    if !problem.tests.is_empty() {
        let mut credit = 0.0;
        for test in &problem.tests {
            let (decided, cost) = judge.decide(problem.kind(), explanation, test)?;
            tokens += cost;
            invalid += usize::from(decided.is_none());
            credit += decided.unwrap_or(0.0);
        }
        scores.insert("unit3".to_owned(), credit / problem.tests.len() as f64);
    }
    match &problem.answers {
        Answers::Tests => {}
        Answers::Numbers { values, corruption } => scores.extend(numbers(values, *corruption, explanation)),
        Answers::Pairs(pairs) => {
            let right = |wanted: fn(bool) -> bool| {
                let of = pairs.iter().filter(|pair| wanted(pair.2));
                let hits: Vec<f64> = of.map(|pair| hit(explanation, pair)).collect();
                (!hits.is_empty()).then(|| hits.iter().sum::<f64>() / hits.len() as f64)
            };
            scores.extend(right(|_| true).map(|share| ("code".to_owned(), share)));
            scores.extend(right(|exception| exception).map(|share| ("exception".to_owned(), share)));
        }
        Answers::Tokens(answers) => scores.extend(answers.score(explanation)),
    }
    Ok((scores, invalid, tokens))
}

fn hit(explanation: &Explanation, (input, wanted, _): &(String, String, bool)) -> f64 {
    let found = explanation.claim.as_ref().and_then(|claim| judge::output(claim, input));
    f64::from(u8::from(found.as_deref() == Some(wanted)))
}

/// The errors of a formula; without one nothing is below any threshold.
fn numbers(
    values: &[(f64, f64)],
    corruption: Option<numeric::Corruption>,
    explanation: &Explanation,
) -> BTreeMap<String, f64> {
    let predicted = |x: f64| match &explanation.claim {
        Some(Claim::Expression(expression)) => expression.at(x),
        _ => f64::NAN,
    };
    let all = numeric::score(values.iter().map(|(x, y)| (*y, predicted(*x))));
    let below = |threshold: f64| f64::from(u8::from(all.nmse < threshold));
    let mut scores = BTreeMap::from([
        ("nmse<0.1".to_owned(), f64::from(u8::from(all.passes()))),
        ("nmse<0.01".to_owned(), below(0.01)),
        ("nmse<1e-4".to_owned(), below(1e-4)),
    ]);
    let mut add = |name: &str, value: f64| {
        if value.is_finite() {
            scores.insert(name.to_owned(), value);
        }
    };
    add("nmse", all.nmse);
    add("1-R2", all.by_variance.unwrap_or(f64::NAN));
    if let Some(corruption) = corruption {
        let inside = values.iter().filter(|(x, _)| corruption.holds(*x));
        add(
            "nmse inside",
            numeric::score(inside.map(|(x, y)| (*y, predicted(*x)))).nmse,
        );
    }
    scores
}

/// Which explanation is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum Control {
    /// The true one.
    Truth,
    /// The true one of another function of the family.
    Shuffled,
    /// None.
    Null,
}

impl Control {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Truth, Self::Shuffled, Self::Null];
}

/// Explains every function that an explainer takes, one after the other or side by side, and scores what it says.
///
/// # Errors
///
/// What stops the explainer or the judge for good.
pub fn run(
    problems: &[Problem],
    explainer: &dyn Explainer,
    judge: &dyn Judge,
    budget: usize,
    seed: u64,
    side_by_side: bool,
    on_done: &(dyn Fn() + Sync),
) -> Result<Vec<Scored>, Error> {
    let one = |problem: &Problem| {
        let mut of = problem.black_box(budget, seed);
        let explained = explainer.explain(&mut of, &problem.exemplars)?;
        let (scores, invalid, judged) = score(problem, &explained.explanation, judge)?;
        on_done();
        Ok(Scored {
            queries: of.queries(),
            tokens: explained.tokens + judged,
            ..scored(
                problem,
                explainer.name(),
                judge.name(),
                explained.explanation,
                scores,
                invalid,
            )
        })
    };
    let fit: Vec<&Problem> = problems
        .iter()
        .filter(|problem| explainer.takes(problem.kind()))
        .collect();
    match side_by_side {
        true => fit.into_par_iter().map(one).collect(),
        false => fit.into_iter().map(one).collect(),
    }
}

/// Scores a control on every function.
///
/// # Errors
///
/// What stops the judge for good.
pub fn run_control(problems: &[Problem], control: Control, judge: &dyn Judge) -> Result<Vec<Scored>, Error> {
    let one = |(i, problem): (usize, &Problem)| {
        let explanation = match control {
            Control::Truth => problem.truth.clone(),
            Control::Null => Explanation::null(),
            Control::Shuffled => {
                // The next of the same family that says something else.
                let others = problems[i + 1..].iter().chain(&problems[..i]);
                let mut fit =
                    others.filter(|other| other.kind() == problem.kind() && other.truth.claim != problem.truth.claim);
                fit.next().map_or_else(Explanation::null, |other| other.truth.clone())
            }
        };
        let (scores, invalid, tokens) = score(problem, &explanation, judge)?;
        Ok(Scored {
            tokens,
            ..scored(problem, control.to_string(), judge.name(), explanation, scores, invalid)
        })
    };
    problems.iter().enumerate().map(one).collect()
}

fn scored(
    problem: &Problem,
    explainer: String,
    judge: String,
    explanation: Explanation,
    scores: BTreeMap<String, f64>,
    invalid: usize,
) -> Scored {
    Scored {
        id: problem.id.clone(),
        family: problem.kind(),
        variant: problem.variant.clone(),
        explainer,
        judge,
        status: explanation.status,
        explanation: explanation.text,
        claim: explanation.claim,
        scores,
        queries: 0,
        tokens: 0,
        invalid,
    }
}
