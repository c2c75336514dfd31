//! The format of golden values.

use lm::{Dtype, HookPoint};
use serde::Deserialize;

/// What another implementation computed; of everything only what is there is compared.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Golden {
    /// Where the values come from, and how; printed.
    pub(super) source: Option<String>,
    /// How far values may lie apart.
    pub(super) tolerances: Tolerances,
    /// Ids before every text that the model reads, such as that of the beginning of a text.
    pub(super) prepend: Vec<u32>,
    pub(super) prompts: Vec<Prompt>,
    pub(super) paragraphs: Vec<Paragraph>,
    pub(super) choices: Vec<Choice>,
    pub(super) indirect_object: Option<IndirectObject>,
    pub(super) tokenizer: Vec<Case>,
}

/// How far values may lie apart.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tolerances {
    /// Logits, their mean and the logarithm of the sum of their exponentials.
    pub(super) logits: f64,
    /// Mean losses, in nats a token.
    pub(super) losses: f64,
    /// Values of a hook, relative to the largest of them that are compared.
    pub(super) hooks: f64,
    /// Norms, each relative to itself.
    pub(super) norms: f64,
    /// Logit differences.
    pub(super) differences: f64,
}

impl Default for Tolerances {
    fn default() -> Self {
        Self {
            logits: 2e-3,
            losses: 1e-3,
            hooks: 1e-3,
            norms: 1e-3,
            differences: 2e-3,
        }
    }
}

impl Tolerances {
    /// What rounding the weights, and in bf16 what is multiplied with them, may add: three times what it adds to SmolLM2.
    const BF16: Self = Self {
        logits: 1.0,
        losses: 0.02,
        hooks: 0.03,
        norms: 0.03,
        differences: 0.5,
    };
    const F16: Self = Self {
        logits: 0.1,
        losses: 2e-3,
        hooks: 3e-3,
        norms: 3e-3,
        differences: 0.1,
    };

    /// The tolerances of a model whose weights are kept in `dtype`: at least what that type needs.
    pub(super) fn of(self, dtype: Dtype) -> Self {
        let needed = match dtype {
            Dtype::F32 => return self,
            Dtype::Bf16 => Self::BF16,
            Dtype::F16 => Self::F16,
        };
        Self {
            logits: self.logits.max(needed.logits),
            losses: self.losses.max(needed.losses),
            hooks: self.hooks.max(needed.hooks),
            norms: self.norms.max(needed.norms),
            differences: self.differences.max(needed.differences),
        }
    }
}

/// A text, and what the model computes of it; logits are those of the last position.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prompt {
    pub(super) text: String,
    /// Ids of the text alone.
    pub(super) ids: Vec<u32>,
    /// Ids and logits of the most likely next tokens, falling.
    #[serde(default)]
    pub(super) top: Vec<(u32, f64)>,
    /// Ids and logits of some others.
    #[serde(default)]
    pub(super) some: Vec<(u32, f64)>,
    pub(super) logsumexp: Option<f64>,
    pub(super) mean_logit: Option<f64>,
    /// Mean loss of all tokens but the first.
    pub(super) loss: Option<f64>,
    #[serde(default)]
    pub(super) hooks: Vec<HookValues>,
    #[serde(default)]
    pub(super) norms: Vec<Norms>,
}

/// Some neighbouring values of a hook.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HookValues {
    pub(super) hook: HookPoint,
    /// The index of the first of them, without that of the row: `[position, head, i]`, `[position, i]` or `[head, query, key]`.
    /// Negative numbers count from the end.
    pub(super) at: Vec<i64>,
    pub(super) values: Vec<f64>,
}

/// Norms of a hook `[B, T, D]` at one position, in one block after another.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Norms {
    /// A hook of block 0.
    pub(super) hook: HookPoint,
    /// Negative numbers count from the end.
    pub(super) position: i64,
    /// One for each block from block 0 on.
    pub(super) values: Vec<f64>,
}

/// A text and its mean loss.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Paragraph {
    pub(super) text: String,
    /// Number of its tokens.
    pub(super) tokens: usize,
    pub(super) loss: f64,
}

/// A text and the difference between the logits of two next tokens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Choice {
    pub(super) text: String,
    /// One token, such as " Mary".
    pub(super) right: String,
    pub(super) wrong: String,
    /// Logit of `right` less that of `wrong`.
    pub(super) difference: f64,
}

/// What is published of a model on the indirect-object task; the prompts are this program's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IndirectObject {
    /// How many.
    pub(super) prompts: usize,
    /// Least and largest share of prompts with a positive logit difference.
    pub(super) accuracy: (f64, f64),
    /// Least and largest mean logit difference.
    pub(super) difference: (f64, f64),
}

/// A text and its ids.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) text: String,
    pub(super) ids: Vec<u32>,
    /// Whether special tokens that the text spells are read as such.
    #[serde(default)]
    pub(super) control: bool,
}
