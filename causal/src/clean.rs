//! The undisturbed model on a task, and the prompts that it is compared on.

use serde::{Deserialize, Serialize};
use tasks::{Attribute, Prompt, Task};

use crate::Error;
use crate::interventions::CleanRun;

/// How well the undisturbed model does the task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clean {
    /// Mean of the logit of the right answer minus that of the wrong one (`IO - S`, the right pronoun minus the other) at END,
    /// in logits.
    pub logit_diff: f64,
    /// Share of prompts whose argmax over the whole vocabulary is the right answer.
    pub accuracy: f64,
    /// Number of prompts.
    pub n: usize,
}

/// The counterfactual prompts that change `attribute`, one for each prompt.
///
/// # Errors
/// [`Error::Counterfactuals`] when they do not pair up with the prompts.
pub fn counterfactuals(
    task: &dyn Task,
    prompts: &[Prompt],
    attribute: Attribute,
    seed: u64,
) -> Result<Vec<Prompt>, Error> {
    let changed = task.counterfactuals(prompts, attribute, seed);
    if changed.len() != prompts.len() {
        return Err(Error::Counterfactuals {
            attribute,
            expected: prompts.len(),
            found: changed.len(),
        });
    }
    Ok(changed)
}

/// How well the undisturbed model does.
pub fn describe(clean: &CleanRun<'_>) -> Clean {
    let right = clean
        .prompts
        .iter()
        .zip(&clean.outcome.prediction)
        .filter(|(prompt, token)| prompt.right_token() == **token);
    let n = clean.prompts.len();
    Clean {
        logit_diff: artifacts::rounded(clean.outcome.mean_logit_diff()),
        accuracy: artifacts::rounded(right.count() as f64 / n.max(1) as f64),
        n,
    }
}
