//! The written world's text with planted predicates: what makes tokens active, and what explanations are held against.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use kernels::random::{ChaCha8Rng, normal};
use tasks::world::World;

use crate::black_box::{Function, Input, Kind, Output};
use crate::explanation::{Claim, Explanation};
use crate::latents::{
    Conjunction, Example, Examples, Predicate, SLICE, Says, Slice, Vocabulary, agreement, detection, simulation,
};

/// Tokens that are read at once.
const CONTEXT: usize = 64;
/// Documents that an explainer may look at; those of tests come behind them.
const SEEN: u64 = 60;
/// Documents of tests.
const TESTED: u64 = 60;
/// Seed of the documents of this family, none that a model was trained on.
const DOCUMENTS: u64 = 9;
/// Strength of an activation.
const STRENGTH: f32 = 5.0;

/// The written world's words, and windows of its text.
#[derive(Debug)]
pub(crate) struct PlantedText {
    pub(crate) vocabulary: Vocabulary,
    pub(crate) seen: Vec<Arc<[u32]>>,
    pub(crate) tested: Vec<Arc<[u32]>>,
}

static TEXT: LazyLock<PlantedText> = LazyLock::new(|| {
    let world = World::new();
    let pieces = world.pieces();
    let ids: HashMap<&str, u32> = pieces.iter().map(String::as_str).zip(0..).collect();
    let windows = |documents: std::ops::Range<u64>| {
        let document = |index| world.document(DOCUMENTS, index).pieces;
        let windows = documents.flat_map(|index| {
            let tokens: Vec<u32> = document(index)
                .iter()
                .filter_map(|piece| ids.get(piece.text.as_str()).copied())
                .collect();
            tokens.chunks(CONTEXT).map(Arc::from).collect::<Vec<_>>()
        });
        windows.collect()
    };
    let (seen, tested) = (windows(0..SEEN), windows(SEEN..SEEN + TESTED));
    PlantedText {
        vocabulary: Vocabulary::new(pieces),
        seen,
        tested,
    }
});

impl PlantedText {
    pub(crate) fn get() -> &'static Self {
        &TEXT
    }
}

/// How strongly a planted predicate is active on a token of what is read, without noise.
pub(crate) fn strength(predicate: &Predicate, ids: &[u32], at: usize, vocabulary: &Vocabulary) -> f32 {
    STRENGTH * f32::from(predicate.grade(ids, at, vocabulary)) / 10.0
}

/// A predicate that makes tokens active.
#[derive(Debug, Clone)]
pub(crate) struct Planted(pub(crate) Predicate);

impl Function for Planted {
    fn kind(&self) -> Kind {
        Kind::Text
    }

    fn respond(&self, inputs: &[Input], rng: &mut ChaCha8Rng) -> Vec<Output> {
        let vocabulary = &PlantedText::get().vocabulary;
        let mut answer = |input: &Input| match input {
            Input::Tokens(ids) => {
                let noise = normal(rng, ids.len(), 0.2);
                let value = |at: usize| {
                    let strength = strength(&self.0, ids, at, vocabulary);
                    if strength > 0.0 {
                        (strength * (1.0 + noise[at])).max(0.05)
                    } else {
                        0.0
                    }
                };
                Output::Activations((0..ids.len()).map(value).collect())
            }
            Input::Number(_) | Input::Text(_) => Output::Error("not tokens".to_owned()),
        };
        inputs.iter().map(&mut answer).collect()
    }
}

/// What an explanation of a planted predicate is held against, on documents that no explainer saw.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenAnswers {
    pub(crate) truth: Predicate,
}

impl TokenAnswers {
    /// `detection`: balanced accuracy over slices; `agree`: Matthews' correlation over tokens; `simulation`: correlation with the
    /// activations; `exception`: share of the tokens told right at which only the exception keeps the predicate from holding.
    pub fn score(&self, explanation: &Explanation) -> BTreeMap<String, f64> {
        let text = PlantedText::get();
        let says = match &explanation.claim {
            Some(Claim::Tokens(predicate)) => Says::Predicate(predicate, &text.vocabulary),
            _ => Says::Nothing,
        };
        let truth = Says::Predicate(&self.truth, &text.vocabulary);
        let value = |ids: &Arc<[u32]>, at: usize| f32::from(self.truth.grade(ids, at, &text.vocabulary));
        let all: Vec<Example> = slices(&text.tested, value);
        let (active, random): (Vec<Example>, Vec<Example>) = all.iter().cloned().partition(Example::is_active);
        let examples = Examples {
            active,
            random,
            ..Examples::default()
        };
        let mut scores = BTreeMap::from([("simulation".to_owned(), simulation(&says, &examples))]);
        scores.extend(detection(&says, &examples).map(|found| ("detection".to_owned(), found.balanced_accuracy)));
        scores.extend(agreement(&says, &truth, &all).map(|mcc| ("agree".to_owned(), mcc)));
        let without = Predicate {
            any: self
                .truth
                .any
                .iter()
                .map(|conjunction| Conjunction {
                    literals: conjunction
                        .literals
                        .iter()
                        .filter(|(_, negated)| !negated)
                        .cloned()
                        .collect(),
                    grade: conjunction.grade,
                })
                .collect(),
        };
        let (mut right, mut n) = (0.0, 0.0);
        for example in &all {
            for at in &example.positions {
                let kept = without.grade(&example.ids, *at, &text.vocabulary) > 0;
                if kept && truth.grade(example, *at) == 0 {
                    n += 1.0;
                    right += f64::from(u8::from(says.grade(example, *at) == 0));
                }
            }
        }
        if n > 0.0 {
            scores.insert("exception".to_owned(), right / n);
        }
        scores
    }
}

/// Windows cut into slices, with a value for each token.
pub(crate) fn slices(windows: &[Arc<[u32]>], value: impl Fn(&Arc<[u32]>, usize) -> f32) -> Vec<Example> {
    let mut all = Vec::new();
    for (window, ids) in (0..).zip(windows) {
        for (index, first) in (0..).zip((0..ids.len()).step_by(SLICE)) {
            let positions: Vec<usize> = (first..(first + SLICE).min(ids.len())).collect();
            all.push(Example {
                slice: Slice { window, index },
                ids: ids.clone(),
                values: positions.iter().map(|at| value(ids, *at)).collect(),
                positions,
            });
        }
    }
    all
}
