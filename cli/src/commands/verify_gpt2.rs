//! `saelab verify-gpt2`: whether a folder holds the published GPT-2 small, and this program computes what it should.

use std::path::PathBuf;

use activations::{OnBadLine, Packing};
use lm::{Logits, Model, Request, Start, TokenBatch, Tokenizer, files};
use serde::Deserialize;
use tasks::{IoiTask, Prompt, Sample, Task};

use super::{Context, run_folder};
use crate::output;

/// How far a logit or its log-sum may lie from the reference.
const TOLERANCE: f64 = 0.02;
/// Prompts of the indirect-object task, and how many are read at a time.
const PROMPTS: (usize, usize) = (200, 50);
/// Tokens of a window of the text.
const CONTEXT: usize = 128;

/// Arguments of `saelab verify-gpt2`.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyGpt2 {
    /// Folder of GPT-2 small in Hugging Face layout, or `gpt2` once that was pulled
    model: PathBuf,
    /// Prompts and the logits that another implementation gave
    #[arg(long, default_value = "lm/tests/fixtures/gpt2-golden.json")]
    golden: PathBuf,
    /// A text, a document a line, on which the mean loss is printed
    #[arg(long)]
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Golden {
    prompts: Vec<GoldenPrompt>,
}

#[derive(Debug, Deserialize)]
struct GoldenPrompt {
    prompt: String,
    token_ids: Vec<u32>,
    /// Ids and logits of the ten most likely next tokens, falling.
    top10: Vec<(u32, f64)>,
    /// Ids and logits of some others.
    some: Vec<(u32, f64)>,
    logsumexp: f64,
}

impl VerifyGpt2 {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let golden: Golden = files::read_json(&self.golden)?;
        let (model, tokenizer) = run_folder::load_model(&self.model, &context.device)?;
        let mut differences = Vec::new();
        for prompt in &golden.prompts {
            differences.extend(verify(prompt, &model, &tokenizer)?);
        }
        output::result(&format!("prompts: {} of another implementation", golden.prompts.len()))?;
        let (accuracy, difference) = indirect_object(&model, &tokenizer)?;
        output::result(&format!(
            "indirect object: accuracy {accuracy:.3}, logit difference {difference:.2}"
        ))?;
        let ranges = [
            ("accuracy", accuracy, 0.8, 1.0),
            ("logit difference", difference, 2.3, 4.3),
        ];
        for (name, found, least, most) in ranges {
            if !(least..=most).contains(&found) {
                differences.push(format!(
                    "indirect object: {name} {found:.3}, expected {least} to {most}"
                ));
            }
        }
        if let Some(text) = &self.text {
            let (loss, tokens) = mean_loss(text, &model, &tokenizer)?;
            output::result(&format!("{text}: {loss:.4} nats a token on {tokens} tokens"))?;
        }
        if differences.is_empty() {
            return output::result("PASS");
        }
        for difference in &differences {
            output::result(difference)?;
        }
        anyhow::bail!(
            "{}: {} differences from GPT-2 small",
            self.model.display(),
            differences.len()
        )
    }
}

/// What differs at a prompt.
fn verify(golden: &GoldenPrompt, model: &Model, tokenizer: &Tokenizer) -> anyhow::Result<Vec<String>> {
    let ids = tokenizer.encode(&golden.prompt)?;
    if ids != golden.token_ids {
        let line = format!("{:?}: tokens {ids:?}, expected {:?}", golden.prompt, golden.token_ids);
        return Ok(vec![line]);
    }
    let request = Request {
        logits: Logits::At(vec![ids.len() - 1]),
        ..Request::default()
    };
    let trace = model.run(Start::Tokens(&TokenBatch::new(&[ids])?), &request)?;
    Ok(differences(golden, &kernels::to_vec(trace.logits_at()?))) // [V]
}

/// What differs between the logits of the next token and the reference, a line each.
fn differences(golden: &GoldenPrompt, logits: &[f32]) -> Vec<String> {
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
    let mut lines = Vec::new();
    let top: Vec<u32> = order.into_iter().take(golden.top10.len()).collect();
    let expected: Vec<u32> = golden.top10.iter().map(|(id, _)| *id).collect();
    if top != expected {
        lines.push(format!(
            "{:?}: most likely next tokens {top:?}, expected {expected:?}",
            golden.prompt
        ));
    }
    for &(id, expected) in golden.top10.iter().chain(&golden.some) {
        match logits.get(id as usize).map(|&logit| f64::from(logit)) {
            Some(found) if (found - expected).abs() <= TOLERANCE => {}
            Some(found) => lines.push(format!(
                "{:?}: logit of {id} {found:.4}, expected {expected:.4}",
                golden.prompt
            )),
            None => lines.push(format!(
                "{:?}: no token {id} in a vocabulary of {}",
                golden.prompt,
                logits.len()
            )),
        }
    }
    let found = log_sum_exp(logits);
    if (found - golden.logsumexp).abs() > TOLERANCE {
        lines.push(format!(
            "{:?}: logsumexp {found:.4}, expected {:.4}",
            golden.prompt, golden.logsumexp
        ));
    }
    lines
}

fn log_sum_exp(logits: &[f32]) -> f64 {
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    most + logits.iter().map(|&x| (f64::from(x) - most).exp()).sum::<f64>().ln()
}

/// Share of prompts of the indirect-object task where the right name is the more likely of the two, and the mean difference
/// of their logits.
fn indirect_object(model: &Model, tokenizer: &Tokenizer) -> anyhow::Result<(f64, f64)> {
    let (n, batch) = PROMPTS;
    let prompts = IoiTask::new(tokenizer)?.sample(Sample::Evaluation, n, 0);
    let mut found = Vec::new();
    for prompts in prompts.chunks(batch) {
        let request = Request {
            logits: Logits::At(prompts.iter().map(Prompt::end).collect()),
            ..Request::default()
        };
        let ids: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.ids.as_slice()).collect();
        let logits = model
            .run(Start::Tokens(&TokenBatch::new(&ids)?), &request)?
            .logits_at()?; // [B, V]
        let logits = kernels::to_vec(logits);
        for (prompt, logits) in prompts.iter().zip(logits.chunks_exact(model.spec().d_vocab)) {
            found.push(f64::from(
                logits[prompt.right_token() as usize] - logits[prompt.wrong_token() as usize],
            ));
        }
    }
    let n = found.len().max(1) as f64;
    let right = found.iter().filter(|difference| **difference > 0.0).count();
    Ok((right as f64 / n, found.iter().sum::<f64>() / n))
}

/// Mean cross-entropy on a text in nats a token, and the tokens that were predicted.
fn mean_loss(text: &str, model: &Model, tokenizer: &Tokenizer) -> anyhow::Result<(f64, usize)> {
    let documents = activations::Corpus::open(&[text], "text", OnBadLine::Error)?.into_documents();
    let windows = Packing::documents(CONTEXT.min(model.spec().n_ctx)).windows(documents, tokenizer)?;
    let (mut total, mut tokens) = (0.0, 0);
    for window in windows {
        let request = Request {
            logits: Logits::All,
            ..Request::default()
        };
        let logits = model
            .run(Start::Tokens(&TokenBatch::new(&[&window.ids])?), &request)?
            .logits_all()?; // [1, T, V]
        let logits = kernels::to_vec(logits);
        for (logits, &next) in logits.chunks_exact(model.spec().d_vocab).zip(&window.ids[1..]) {
            total += log_sum_exp(logits) - f64::from(logits[next as usize]);
            tokens += 1;
        }
    }
    Ok((total / f64::from(tokens.max(1)), tokens as usize))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_kind_of_difference_is_named() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lm/tests/fixtures/gpt2-golden.json");
        let golden: Golden = files::read_json(&path).unwrap();
        for prompt in &golden.prompts {
            // Logits that agree with all that is known; one more token takes what is left of the sum.
            let mut logits = vec![f32::NEG_INFINITY; 50_257];
            for &(id, logit) in prompt.top10.iter().chain(&prompt.some) {
                logits[id as usize] = logit as f32;
            }
            let left = prompt.logsumexp.exp() - log_sum_exp(&logits).exp();
            assert!(left > 0.0);
            // Spread over many tokens, so that none of them is among the first ten.
            let free: Vec<usize> = (0..logits.len())
                .filter(|&id| logits[id] == f32::NEG_INFINITY)
                .collect();
            for id in &free {
                logits[*id] = (left / free.len() as f64).ln() as f32;
            }
            assert_eq!(differences(prompt, &logits), Vec::<String>::new());

            let first = prompt.top10[0].0 as usize;
            logits[first] -= 0.03;
            let lines = differences(prompt, &logits);
            assert!(
                lines.iter().any(|line| line.contains(&format!("logit of {first}"))),
                "{lines:?}"
            );
            logits[free[0]] = logits[first] + 9.0;
            let lines = differences(prompt, &logits).join("\n");
            assert!(
                lines.contains("most likely next tokens") && lines.contains("logsumexp"),
                "{lines}"
            );
            assert!(
                differences(prompt, &logits[..100])
                    .join("\n")
                    .contains("in a vocabulary of 100")
            );
        }
    }
}
