//! `saelab verify-model`: whether a model computes what another implementation computed.
//!
//! Golden values are a JSON file whose keys are all optional; `scripts/golden.py` makes such files:
//!
//! | key | holds | deviation |
//! | --- | --- | --- |
//! | `source` | where the values come from, printed | |
//! | `tolerances` | `logits` 2e-3, `losses` 1e-3, `hooks` 1e-3, `norms` 1e-3, `differences` 2e-3 unless said; with `--dtype bf16` at least 1, 0.02, 0.03, 0.03, 0.5, with `f16` 0.1, 2e-3, 3e-3, 3e-3, 0.1 | |
//! | `prepend` | ids before every text that the model reads | |
//! | `prompts` | `text`, `ids` of it; at the last position `top`, the most likely next tokens, and `some` others, as `[id, logit]`, `logsumexp`, `mean_logit`; `loss` | absolute |
//! | `prompts[].hooks` | `hook`, `at`: index of the first value, negative ones from the end, `values` along the last axis | relative to the largest of `values` |
//! | `prompts[].norms` | `hook` of block 0, `position`, `values`: the norm in each block from there on | relative |
//! | `paragraphs` | `text`, `tokens` (their number), `loss` | absolute |
//! | `choices` | `text`, `right` and `wrong` next token, `difference` of their logits | absolute |
//! | `indirect_object` | `prompts` of this program's task, the ranges of `accuracy` and mean `difference` | |
//! | `tokenizer` | `text`, `ids`; `control` where special tokens that the text spells are read as such | none |
//!
//! Logits of prompts are of a pass that nobody looks into, hooks of another one, so both ways through a block are compared.

use std::path::PathBuf;

use super::Context;
use super::weights::WeightArgs;
use crate::output;

/// Arguments of `saelab verify-model`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "GOLDEN is JSON with any of: source, tolerances, prepend, prompts (text, ids, top, some, logsumexp, \
                        mean_logit, loss, hooks, norms), paragraphs (text, tokens, loss), choices (text, right, wrong, difference), \
                        indirect_object, tokenizer (text, ids, control). scripts/golden.py makes such files."
)]
pub(crate) struct VerifyModel {
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled
    model: PathBuf,
    #[command(flatten)]
    weights: WeightArgs,
    /// Values that another implementation computed, such as lm/tests/fixtures/gpt2-golden.json
    golden: PathBuf,
    /// A text file, one document per line, on which the mean loss is printed
    #[arg(long)]
    text: Option<String>,
}

impl VerifyModel {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::verify_model::Settings {
            model: self.model,
            load: self.weights.options(),
            golden: self.golden,
            text: self.text,
        };
        let outcome = settings.run(context)?;
        output::outcome(&outcome)?;
        outcome.found.map_or(Ok(()), |differs| Err(differs.into()))
    }
}
