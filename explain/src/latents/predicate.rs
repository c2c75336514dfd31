//! Predicates of a token in its context: what explanations of latents claim, in a form that is executed.
//!
//! A predicate is up to three conjunctions of up to three literals each; each conjunction has a grade from 1 to 10, the strength
//! that it predicts.

use serde::{Deserialize, Serialize};

use super::class::Class;
use super::vocabulary::Vocabulary;

/// Most conjunctions of a predicate, and literals of a conjunction.
pub const MOST: usize = 3;
/// Most tokens of a set.
pub const MOST_TOKENS: usize = 32;
/// The furthest token before another that any literal looks at, unless it looks at all of them.
pub(super) const FURTHEST: usize = 16;

/// A statement about a token in its context. Tokens are ids of the model's tokenizer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Literal {
    /// The token is one of these.
    Token(Vec<u32>),
    /// Its text ends so.
    Suffix(String),
    /// It is of a class.
    Class(Class),
    /// The token `back` places before is one of these.
    Previous {
        /// Places before, 1 to 4.
        back: usize,
        /// The tokens.
        tokens: Vec<u32>,
    },
    /// One of the last `back` tokens before it is one of these.
    Within {
        /// Places before.
        back: usize,
        /// The tokens.
        tokens: Vec<u32>,
    },
    /// The token stands `times` times among all before it and it.
    Seen {
        /// The token.
        token: u32,
        /// How often.
        times: usize,
    },
    /// The same token stands before it.
    Repeat,
    /// It is at this place of what the model reads, counted from 0.
    Position(usize),
}

impl Literal {
    /// Whether it holds of the token at `at` of what the model reads.
    pub fn holds(&self, ids: &[u32], at: usize, vocabulary: &Vocabulary) -> bool {
        let Some(&token) = ids.get(at) else { return false };
        match self {
            Self::Token(tokens) => tokens.contains(&token),
            Self::Suffix(suffix) => vocabulary.text(token).ends_with(suffix.as_str()),
            Self::Class(class) => vocabulary.is(token, *class),
            Self::Previous { back, tokens } => at.checked_sub(*back).is_some_and(|at| tokens.contains(&ids[at])),
            Self::Within { back, tokens } => ids[at.saturating_sub(*back)..at].iter().any(|id| tokens.contains(id)),
            Self::Seen { token, times } => ids[..=at].iter().filter(|id| *id == token).count() == *times,
            Self::Repeat => ids[..at].contains(&token),
            Self::Position(position) => at == *position,
        }
    }

    /// The literal in the token ids of another vocabulary; `None` where one of its tokens has no id there.
    fn renamed(&self, of: &dyn Fn(u32) -> Option<u32>) -> Option<Self> {
        let all = |tokens: &[u32]| tokens.iter().map(|token| of(*token)).collect::<Option<Vec<u32>>>();
        Some(match self {
            Self::Token(tokens) => Self::Token(all(tokens)?),
            Self::Previous { back, tokens } => Self::Previous {
                back: *back,
                tokens: all(tokens)?,
            },
            Self::Within { back, tokens } => Self::Within {
                back: *back,
                tokens: all(tokens)?,
            },
            Self::Seen { token, times } => Self::Seen {
                token: of(*token)?,
                times: *times,
            },
            Self::Suffix(_) | Self::Class(_) | Self::Repeat | Self::Position(_) => self.clone(),
        })
    }

    /// How many tokens it names: of two literals that say the same, the one that names fewer is the simpler.
    pub fn tokens(&self) -> usize {
        match self {
            Self::Token(tokens) | Self::Previous { tokens, .. } | Self::Within { tokens, .. } => tokens.len(),
            Self::Seen { .. } => 1,
            Self::Suffix(_) | Self::Class(_) | Self::Repeat | Self::Position(_) => 0,
        }
    }

    /// In English, of "the token".
    pub fn sentence(&self, vocabulary: &Vocabulary, negated: bool) -> String {
        let list = |tokens: &[u32]| {
            let shown: Vec<String> = tokens
                .iter()
                .take(8)
                .map(|id| format!("{:?}", vocabulary.text(*id)))
                .collect();
            let more = tokens.len().saturating_sub(8);
            match more {
                0 => shown.join(", "),
                more => format!("{} and {more} more", shown.join(", ")),
            }
        };
        let not = if negated { "not " } else { "" };
        match self {
            Self::Token(tokens) => format!("the token is {not}{}", list(tokens)),
            Self::Suffix(suffix) => format!("the token does {not}end with {suffix:?}").replace("does end", "ends"),
            Self::Class(class) => format!("the token is {not}{class}"),
            Self::Previous { back: 1, tokens } => format!("the token before is {not}{}", list(tokens)),
            Self::Previous { back, tokens } => format!("the token {back} before is {not}{}", list(tokens)),
            Self::Within { back, tokens } => {
                let none = if negated { "none" } else { "one" };
                format!("{none} of the {back} tokens before is {}", list(tokens))
            }
            Self::Seen { token, times } => {
                let text = vocabulary.text(*token);
                let times = match times {
                    1 => "once".to_owned(),
                    2 => "twice".to_owned(),
                    n => format!("{n} times"),
                };
                format!("{text:?} has {not}been said {times}")
            }
            Self::Repeat => format!("the token has {not}been said before"),
            Self::Position(position) => format!("the token is {not}number {position}"),
        }
    }
}

/// Literals that all hold, or do not where they are negated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Conjunction {
    /// Literals, and whether each is negated.
    pub literals: Vec<(Literal, bool)>,
    /// The strength that is predicted where it holds, 1 to 10.
    pub grade: u8,
}

impl Conjunction {
    /// How many tokens its literals name.
    pub fn tokens(&self) -> usize {
        self.literals.iter().map(|(literal, _)| literal.tokens()).sum()
    }

    /// Whether it holds.
    pub fn holds(&self, ids: &[u32], at: usize, vocabulary: &Vocabulary) -> bool {
        self.literals
            .iter()
            .all(|(literal, negated)| literal.holds(ids, at, vocabulary) != *negated)
    }
}

/// Conjunctions of which one holds; without any it never does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predicate {
    /// The conjunctions.
    pub any: Vec<Conjunction>,
}

impl Predicate {
    /// The predicted strength of the token at `at`, 0 to 10.
    pub fn grade(&self, ids: &[u32], at: usize, vocabulary: &Vocabulary) -> u8 {
        let holding = self
            .any
            .iter()
            .filter(|conjunction| conjunction.holds(ids, at, vocabulary));
        holding.map(|conjunction| conjunction.grade).max().unwrap_or(0)
    }

    /// The predicate in the token ids of another vocabulary; `None` where one of its tokens has no id there.
    pub fn renamed(&self, of: &dyn Fn(u32) -> Option<u32>) -> Option<Self> {
        let literals = |conjunction: &Conjunction| -> Option<Conjunction> {
            let renamed = conjunction
                .literals
                .iter()
                .map(|(literal, negated)| Some((literal.renamed(of)?, *negated)));
            Some(Conjunction {
                literals: renamed.collect::<Option<_>>()?,
                grade: conjunction.grade,
            })
        };
        let any = self.any.iter().map(literals).collect::<Option<_>>()?;
        Some(Self { any })
    }

    /// In English.
    pub fn sentence(&self, vocabulary: &Vocabulary) -> String {
        if self.any.is_empty() {
            return String::new();
        }
        let conjunction = |conjunction: &Conjunction| {
            let parts = conjunction
                .literals
                .iter()
                .map(|(literal, negated)| literal.sentence(vocabulary, *negated));
            parts.collect::<Vec<_>>().join(" and ")
        };
        let any: Vec<String> = self.any.iter().map(conjunction).collect();
        format!("active where {}", any.join("; or where "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary() -> Vocabulary {
        Vocabulary::new(["<b>", " the", " Cat", " sat", ".", "42"].map(str::to_owned).to_vec())
    }

    #[test]
    fn literals_hold_where_they_say() {
        let (ids, of) = ([0, 1, 2, 3, 4, 2, 5], vocabulary());
        let places = |literal: Literal| {
            (0..ids.len())
                .filter(|at| literal.holds(&ids, *at, &of))
                .collect::<Vec<_>>()
        };
        assert_eq!(places(Literal::Token(vec![2, 3])), [2, 3, 5]);
        assert_eq!(places(Literal::Suffix("at".to_owned())), [2, 3, 5]);
        assert_eq!(places(Literal::Class(Class::Capitalised)), [2, 5]);
        assert_eq!(places(Literal::Class(Class::Digit)), [6]);
        assert_eq!(places(Literal::Class(Class::Punctuation)), [4]);
        assert_eq!(
            places(Literal::Previous {
                back: 2,
                tokens: vec![2]
            }),
            [4]
        );
        assert_eq!(
            places(Literal::Within {
                back: 2,
                tokens: vec![1]
            }),
            [2, 3]
        );
        assert_eq!(places(Literal::Seen { token: 2, times: 1 }), [2, 3, 4]);
        assert_eq!(places(Literal::Repeat), [5]);
        assert_eq!(places(Literal::Position(0)), [0]);
        assert!(!Literal::Repeat.holds(&ids, 99, &of));
    }

    #[test]
    fn the_strongest_conjunction_that_holds_is_predicted() {
        let conjunction = |token: u32, negated: bool, grade: u8| Conjunction {
            literals: vec![(Literal::Token(vec![token]), negated)],
            grade,
        };
        let predicate = Predicate {
            any: vec![conjunction(2, false, 3), conjunction(1, true, 2)],
        };
        let grades: Vec<u8> = (0..3)
            .map(|at| predicate.grade(&[1, 2, 3], at, &vocabulary()))
            .collect();
        assert_eq!(grades, [0, 3, 2]);
        assert_eq!(Predicate::default().grade(&[1], 0, &vocabulary()), 0);
        let sentence = predicate.sentence(&vocabulary());
        assert_eq!(
            sentence,
            "active where the token is \" Cat\"; or where the token is not \" the\""
        );
    }
}
