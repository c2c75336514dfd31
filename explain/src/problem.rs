//! Problems: a function, what is true of it, and tests. The runner holds them; explainers see the black box alone.

use serde::{Deserialize, Serialize};

use crate::black_box::{BlackBox, Function, Kind};
use crate::explanation::Explanation;
use crate::numeric::Corruption;
use crate::planted_text::TokenAnswers;

/// One choice of a unit test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// What was given to a function.
    pub input: String,
    /// What it gave; none where the question is for which word it is most selective.
    pub output: Option<String>,
}

/// FIND's unit test: which of three is of this function?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitTest {
    /// Three, of which one is of this function and the others of others.
    pub choices: [Choice; 3],
    /// Which, from 0.
    pub correct: usize,
}

/// What a function truly does, as far as scores other than unit tests need it.
#[derive(Debug, Clone, PartialEq)]
pub enum Answers {
    /// Only unit tests.
    Tests,
    /// Values of a numeric function on the grid, drawn once, and where it is corrupted.
    Numbers {
        /// `x` and the value, not finite where there is none.
        values: Vec<(f64, f64)>,
        /// The corrupted interval.
        corruption: Option<Corruption>,
    },
    /// Inputs and outputs, and whether each is an exception to the rule.
    Pairs(Vec<(String, String, bool)>),
    /// Of a planted predicate.
    Tokens(TokenAnswers),
}

/// A function with its truth.
pub struct Problem {
    /// Its name, which says nothing about it.
    pub id: String,
    /// How it is served: `clean`, `noised`, `composed`.
    pub variant: String,
    /// What explainers ask, and see nothing else of.
    pub(crate) function: Box<dyn Function + Send + Sync>,
    /// The true explanation.
    pub truth: Explanation,
    /// Words to begin with.
    pub exemplars: Vec<String>,
    /// Unit tests.
    pub tests: Vec<UnitTest>,
    /// What else is scored.
    pub answers: Answers,
}

impl std::fmt::Debug for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Problem")
            .field("id", &self.id)
            .field("variant", &self.variant)
            .field("truth", &self.truth)
            .finish_non_exhaustive()
    }
}

impl Problem {
    /// A problem without exemplars and tests.
    pub fn new(id: String, variant: &str, function: Box<dyn Function + Send + Sync>, truth: Explanation) -> Self {
        Self {
            id,
            variant: variant.to_owned(),
            function,
            truth,
            exemplars: Vec::new(),
            tests: Vec::new(),
            answers: Answers::Tests,
        }
    }

    /// What its function takes.
    pub fn kind(&self) -> Kind {
        self.function.kind()
    }

    /// The function to be asked: all that an explainer gets.
    pub fn black_box(&self, budget: usize, seed: u64) -> BlackBox<'_> {
        BlackBox::new(self.function.as_ref(), &self.id, budget, seed)
    }
}
