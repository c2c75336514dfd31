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

mod golden;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use artifacts::HostTensor;
use lm::{HookPoint, LoadOptions, Logits, Model, Request, Start, TokenBatch, Trace};
use tasks::{IoiTask, Sample, Task};
use text::{OnBadLine, Packing, Tokenizer};

use self::golden::{Choice, Golden, HookValues, IndirectObject, Norms, Prompt, Tolerances};
use self::report::{Group, quoted};
use crate::error::WithContext as _;
use crate::run_folder;
use crate::{Context, Outcome, Result};

/// Rows of a pass over short prompts.
const BATCH: usize = 50;
/// Tokens of a window of the text.
const CONTEXT: usize = 128;

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled.
    pub model: PathBuf,
    /// How the weights of the model are kept.
    pub load: LoadOptions,
    /// Values that another implementation computed, such as lm/tests/fixtures/gpt2-golden.json.
    pub golden: PathBuf,
    /// A text, a document a line, on which the mean loss is printed.
    pub text: Option<String>,
}

/// A model that computes something else than the golden values.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kinds} kinds of values differ from those of {}", .model.display(), .golden.display())]
pub struct Differs {
    /// The model.
    pub model: PathBuf,
    /// Kinds of values that differ.
    pub kinds: usize,
    /// The file of the golden values.
    pub golden: PathBuf,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<Outcome<Option<Differs>>> {
        let golden: Golden = artifacts::read_json(&self.golden)?;
        let (model, tokenizer) = run_folder::load_model(&self.model, self.load, context)?;
        if let Some(source) = &golden.source {
            context.note(&format!("golden values: {source}"));
        }
        let verifier = Verifier {
            model,
            tokenizer,
            prepend: golden.prepend.clone(),
        };
        let groups = verifier.compare(&golden).context(self.golden.display().to_string())?;
        let lines: Vec<String> = groups.iter().filter_map(Group::line).collect();
        ensure!(
            !lines.is_empty() || self.text.is_some(),
            "{}: holds nothing to compare; `saelab verify-model --help` names the keys",
            self.golden.display()
        );
        let mut results = lines;
        if let Some(text) = &self.text {
            let (loss, tokens) = verifier.mean_loss_of_text(text)?;
            results.push(format!("{text}: {loss:.4} nats a token on {tokens} tokens"));
        }
        let failures: Vec<String> = groups.iter().filter_map(Group::failure).collect();
        let found = (!failures.is_empty()).then_some(Differs {
            model: self.model,
            kinds: failures.len(),
            golden: self.golden,
        });
        match found {
            None => results.push("PASS".to_owned()),
            Some(_) => results.extend(failures),
        }
        Ok(Outcome {
            found,
            results,
            remarks: Vec::new(),
        })
    }
}

/// A model, and what is put before its texts.
struct Verifier {
    model: Model,
    tokenizer: Tokenizer,
    prepend: Vec<u32>,
}

/// A choice, the ids that the model reads, and those of the right and the wrong token.
type ChoiceIds<'a> = (&'a Choice, Vec<u32>, [u32; 2]);

/// Groups of the values of prompts.
struct OfPrompts {
    tokens: Group,
    logits: Group,
    losses: Group,
    hooks: Group,
    norms: Group,
}

impl Verifier {
    fn compare(&self, golden: &Golden) -> Result<Vec<Group>> {
        let Tolerances {
            logits,
            losses,
            hooks,
            norms,
            differences,
        } = golden.tolerances.of(self.model.dtype());
        let mut of = OfPrompts {
            tokens: Group::exact("prompts' tokens"),
            logits: Group::measured("logits", "absolute", logits),
            losses: Group::measured("mean losses", "absolute", losses),
            hooks: Group::measured("hooks", "relative", hooks),
            norms: Group::measured("norms", "relative", norms),
        };
        for prompt in &golden.prompts {
            self.prompt(prompt, &mut of)?;
        }
        for paragraph in &golden.paragraphs {
            let ids = self.tokenizer.encode(&paragraph.text)?;
            let (found, expected) = (ids.len(), paragraph.tokens);
            of.tokens.check(found == expected, || {
                format!("{}: {found} tokens, expected {expected}", quoted(&paragraph.text))
            });
            let ids = self.with_prepended(&ids);
            let loss = mean_loss(&self.all_logits(&ids)?, &ids);
            of.losses.compare(loss, paragraph.loss, 1.0, || quoted(&paragraph.text));
        }
        let mut choices = Group::measured("choices", "absolute", differences);
        self.choices(&golden.choices, &mut choices)?;
        let mut indirect_object = Group::exact("indirect object");
        if let Some(published) = &golden.indirect_object {
            self.indirect_object(published, &mut indirect_object)?;
        }
        let tokenizer = self.tokenizer(golden)?;
        Ok(vec![
            of.tokens,
            of.logits,
            of.losses,
            of.hooks,
            of.norms,
            choices,
            indirect_object,
            tokenizer,
        ])
    }

    fn with_prepended(&self, ids: &[u32]) -> Vec<u32> {
        [&self.prepend, ids].concat()
    }

    /// Logits of every position, `[T, V]`.
    fn all_logits(&self, ids: &[u32]) -> Result<HostTensor> {
        let request = Request {
            logits: Logits::All,
            ..Request::default()
        };
        let logits = self.run(ids, &request)?.logits_all()?; // [1, T, V]
        let [_, t, v] = logits.dims();
        Ok(HostTensor::new([t, v], kernels::to_vec(logits)))
    }

    fn run(&self, ids: &[u32], request: &Request) -> Result<Trace> {
        Ok(self.model.run(Start::Tokens(&TokenBatch::new(&[ids])?), request)?)
    }

    /// A prompt; the model reads the golden ids, so that one wrong token is told once and does not hide what else is wrong.
    fn prompt(&self, prompt: &Prompt, of: &mut OfPrompts) -> Result<()> {
        let name = || quoted(&prompt.text);
        let found = self.tokenizer.encode(&prompt.text)?;
        of.tokens.check(found == prompt.ids, || {
            format!("{}: {found:?}, expected {:?}", name(), prompt.ids)
        });
        let ids = self.with_prepended(&prompt.ids);
        let all = self.all_logits(&ids).with_context(name)?;
        let last = &all.data[all.data.len() - all.shape[1]..]; // [V]
        next_token(prompt, last, &mut of.logits);
        if let Some(expected) = prompt.loss {
            of.losses.compare(mean_loss(&all, &ids), expected, 1.0, name);
        }
        let of_norms = prompt
            .norms
            .iter()
            .flat_map(|norms| (0..norms.values.len()).map(|l| in_block(norms.hook, l)));
        let hooks: BTreeSet<HookPoint> = prompt.hooks.iter().map(|values| values.hook).chain(of_norms).collect();
        if hooks.is_empty() {
            return Ok(());
        }
        let request = Request {
            capture: hooks.iter().copied().collect(),
            ..Request::default()
        };
        let trace = self.run(&ids, &request).with_context(name)?;
        for values in &prompt.hooks {
            hook_values(values, &captured(&trace, values.hook)?, &mut of.hooks)?;
        }
        for norms in &prompt.norms {
            ensure!(
                norms.hook.layer() == Some(0),
                "norms of {}: name the hook of block 0; the values are those of one block after another",
                norms.hook
            );
            norms_of_blocks(norms, &trace, &mut of.norms)?;
        }
        Ok(())
    }

    /// Logit differences, prompts of equal length together.
    fn choices(&self, choices: &[Choice], group: &mut Group) -> Result<()> {
        let mut by_length: BTreeMap<usize, Vec<ChoiceIds<'_>>> = BTreeMap::new();
        for choice in choices {
            let one = |text: &str| {
                let token = self.tokenizer.token(text);
                token.with_context(|| format!("{}: {text:?} is not one token", quoted(&choice.text)))
            };
            let ids = self.with_prepended(&self.tokenizer.encode(&choice.text)?);
            let tokens = [one(&choice.right)?, one(&choice.wrong)?];
            by_length.entry(ids.len()).or_default().push((choice, ids, tokens));
        }
        for choices in by_length.values().flat_map(|choices| choices.chunks(BATCH)) {
            let rows: Vec<&[u32]> = choices.iter().map(|(_, ids, _)| ids.as_slice()).collect();
            let tokens: Vec<[u32; 2]> = choices.iter().map(|(.., tokens)| *tokens).collect();
            let last: Vec<usize> = rows.iter().map(|row| row.len() - 1).collect();
            let found = self.logit_differences(&rows, &last, &tokens)?;
            for ((choice, ..), found) in choices.iter().zip(found) {
                group.compare(found, choice.difference, 1.0, || quoted(&choice.text));
            }
        }
        Ok(())
    }

    /// The logit of the first of two tokens less that of the second, at one position of each row.
    fn logit_differences(&self, rows: &[&[u32]], at: &[usize], tokens: &[[u32; 2]]) -> Result<Vec<f64>> {
        let request = Request {
            logits: Logits::At(at.to_vec()),
            ..Request::default()
        };
        let logits = self
            .model
            .run(Start::Tokens(&TokenBatch::new(rows)?), &request)?
            .logits_at()?; // [B, V]
        let logits = kernels::to_vec(logits);
        let rows = logits.chunks_exact(self.model.spec().d_vocab).zip(tokens);
        Ok(rows
            .map(|(logits, [right, wrong])| f64::from(logits[*right as usize] - logits[*wrong as usize]))
            .collect())
    }

    /// Share of prompts of the task where the right name is the more likely of the two, and the mean difference of their logits.
    fn indirect_object(&self, published: &IndirectObject, group: &mut Group) -> Result<()> {
        let prompts = IoiTask::new(&self.tokenizer)?.sample(Sample::Evaluation, published.prompts, 0);
        let mut found = Vec::new();
        for prompts in prompts.chunks(BATCH) {
            let rows: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.ids.as_slice()).collect();
            let at: Vec<usize> = prompts.iter().map(tasks::Prompt::end).collect();
            let tokens: Vec<[u32; 2]> = prompts
                .iter()
                .map(|prompt| [prompt.right_token(), prompt.wrong_token()])
                .collect();
            found.extend(self.logit_differences(&rows, &at, &tokens)?);
        }
        let n = found.len().max(1) as f64;
        let right = found.iter().filter(|difference| **difference > 0.0).count();
        let (accuracy, difference) = (right as f64 / n, found.iter().sum::<f64>() / n);
        let ranges = [
            ("accuracy", accuracy, published.accuracy),
            ("mean logit difference", difference, published.difference),
        ];
        for (name, found, (least, most)) in ranges {
            group.check((least..=most).contains(&found), || {
                format!("{name}: {found:.3}, expected {least} to {most}")
            });
        }
        Ok(())
    }

    /// Texts and their ids.
    fn tokenizer(&self, golden: &Golden) -> Result<Group> {
        let mut group = Group::exact("tokenizer");
        let with_control = self.tokenizer.clone().with_control_tokens();
        for case in &golden.tokenizer {
            let tokenizer = if case.control { &with_control } else { &self.tokenizer };
            let found = tokenizer.encode(&case.text)?;
            group.check(found == case.ids, || {
                format!("{}: {found:?}, expected {:?}", quoted(&case.text), case.ids)
            });
        }
        Ok(group)
    }

    /// Mean cross-entropy on a text in nats a token, and the tokens that were predicted.
    fn mean_loss_of_text(&self, text: &str) -> Result<(f64, usize)> {
        let documents = text::Corpus::open(&[text], "text", OnBadLine::Error)?.into_documents();
        let context = CONTEXT.min(self.model.spec().n_ctx);
        let windows = Packing::documents(context).windows(documents, &self.tokenizer)?;
        let (mut total, mut tokens) = (0.0, 0);
        for window in windows {
            let predicted = window.ids.len() - 1;
            total += mean_loss(&self.all_logits(&window.ids)?, &window.ids) * predicted as f64;
            tokens += predicted;
        }
        Ok((total / tokens.max(1) as f64, tokens))
    }
}

/// Compares the logits of the next token.
fn next_token(prompt: &Prompt, logits: &[f32], group: &mut Group) {
    let name = |what: &str| format!("{}: {what}", quoted(&prompt.text));
    for &(id, expected) in prompt.top.iter().chain(&prompt.some) {
        match logits.get(id as usize) {
            Some(found) => group.compare(f64::from(*found), expected, 1.0, || {
                name(&format!("logit of token {id}"))
            }),
            None => group.check(false, || {
                name(&format!("no token {id} in a vocabulary of {}", logits.len()))
            }),
        }
    }
    // Two tokens of almost one logit may change places; a token that should not be among the first changes the logit of a rank.
    let mut falling = logits.to_vec();
    falling.sort_by(|a, b| b.total_cmp(a));
    for (rank, (&found, &(_, expected))) in falling.iter().zip(&prompt.top).enumerate() {
        group.compare(f64::from(found), expected, 1.0, || {
            name(&format!("logit at rank {}", rank + 1))
        });
    }
    if let Some(expected) = prompt.logsumexp {
        group.compare(log_sum_exp(logits), expected, 1.0, || name("logsumexp"));
    }
    if let Some(expected) = prompt.mean_logit {
        let mean = logits.iter().map(|&x| f64::from(x)).sum::<f64>() / logits.len() as f64;
        group.compare(mean, expected, 1.0, || name("mean logit"));
    }
}

/// The tensor at a hook of the only row.
fn captured(trace: &Trace, hook: HookPoint) -> Result<HostTensor> {
    Ok(match trace.tensor3(hook) {
        Ok(tensor) => {
            let [_, t, width] = tensor.dims();
            HostTensor::new([t, width], kernels::to_vec(tensor))
        }
        Err(_) => {
            let tensor = trace.tensor4(hook)?;
            let [_, i, j, k] = tensor.dims();
            HostTensor::new([i, j, k], kernels::to_vec(tensor))
        }
    })
}

/// Compares neighbouring values of a hook.
fn hook_values(golden: &HookValues, found: &HostTensor, group: &mut Group) -> Result<()> {
    let HookValues { hook, at, values } = golden;
    let start = flat_index(at, &found.shape).filter(|start| {
        // All of them are of one row.
        let width = found.shape.last().copied().unwrap_or(0);
        start % width.max(1) + values.len() <= width
    });
    let start = start.with_context(|| {
        let (n, shape) = (values.len(), &found.shape);
        format!("{hook}: {n} values from {at:?} on do not lie in a row of shape {shape:?}")
    })?;
    let scale = values
        .iter()
        .fold(f64::MIN_POSITIVE, |most, value| most.max(value.abs()));
    for (i, (&found, &expected)) in found.data[start..].iter().zip(values).enumerate() {
        group.compare(f64::from(found), expected, scale, || format!("{hook} {at:?} + {i}"));
    }
    Ok(())
}

/// Compares the norms of a hook at one position, block by block.
fn norms_of_blocks(golden: &Norms, trace: &Trace, group: &mut Group) -> Result<()> {
    for (l, &expected) in golden.values.iter().enumerate() {
        let hook = in_block(golden.hook, l);
        let found = captured(trace, hook)?;
        let position = golden.position;
        let start = flat_index(&[position, 0], &found.shape)
            .with_context(|| format!("{hook}: no position {position} in shape {:?}", found.shape))?;
        let vector = &found.data[start..][..found.shape[1]]; // [D]
        let norm = vector.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let scale = expected.abs().max(f64::MIN_POSITIVE);
        group.compare(norm, expected, scale, || format!("{hook} at {position}"));
    }
    Ok(())
}

/// The same hook of another block.
fn in_block(hook: HookPoint, l: usize) -> HookPoint {
    let name = hook.to_string().replacen("blocks.0.", &format!("blocks.{l}."), 1);
    name.parse().unwrap_or(hook)
}

/// The place of an index in a tensor that lies row by row; negative numbers count from the end.
fn flat_index(at: &[i64], shape: &[usize]) -> Option<usize> {
    if at.len() != shape.len() {
        return None;
    }
    at.iter().zip(shape).try_fold(0, |flat, (&at, &len)| {
        let from_start = if at < 0 { at + len as i64 } else { at };
        let index = usize::try_from(from_start).ok().filter(|&index| index < len)?;
        Some(flat * len + index)
    })
}

/// Mean loss of all tokens but the first, of logits `[T, V]`.
fn mean_loss(logits: &HostTensor, ids: &[u32]) -> f64 {
    let next = logits.data.chunks_exact(logits.shape[1]).zip(&ids[1..]);
    let losses: Vec<f64> = next
        .map(|(logits, &next)| log_sum_exp(logits) - f64::from(logits[next as usize]))
        .collect();
    losses.iter().sum::<f64>() / losses.len().max(1) as f64
}

fn log_sum_exp(logits: &[f32]) -> f64 {
    let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    most + logits.iter().map(|&x| (f64::from(x) - most).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Logits that agree with all that is known of a prompt; other tokens share what is left of the sum.
    fn agreeing(prompt: &Prompt) -> (Vec<f32>, usize) {
        let mut logits = vec![f32::NEG_INFINITY; 50_257];
        for &(id, logit) in prompt.top.iter().chain(&prompt.some) {
            logits[id as usize] = logit as f32;
        }
        let left = prompt.logsumexp.unwrap().exp() - log_sum_exp(&logits).exp();
        assert!(left > 0.0);
        // Spread over many tokens, so that none of them is among the first ten.
        let free: Vec<usize> = (0..logits.len())
            .filter(|&id| logits[id] == f32::NEG_INFINITY)
            .collect();
        free.iter()
            .for_each(|&id| logits[id] = (left / free.len() as f64).ln() as f32);
        (logits, free[0])
    }

    fn failure(prompt: &Prompt, logits: &[f32]) -> Option<String> {
        let mut group = Group::measured("logits", "absolute", 0.02);
        next_token(prompt, logits, &mut group);
        group.failure()
    }

    #[test]
    fn a_wrong_logit_a_wrong_rank_and_a_wrong_sum_are_told() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lm/tests/fixtures/gpt2-golden.json");
        let golden: Golden = artifacts::read_json(&path).unwrap();
        assert_eq!(golden.prompts.len(), 5);
        for mut prompt in golden.prompts {
            // Of the invented logits it would be another.
            assert!(prompt.mean_logit.take().is_some());
            let (mut logits, free) = agreeing(&prompt);
            assert_eq!(failure(&prompt, &logits), None);
            let first = prompt.top[0].0 as usize;
            logits[first] -= 0.03;
            let line = failure(&prompt, &logits).unwrap();
            assert!(line.contains(&format!("logit of token {first}")), "{line}");
            let line = failure(&prompt, &logits[..100]).unwrap();
            assert!(line.contains("in a vocabulary of 100"), "{line}");
            // All known logits are right, and another token is the most likely one.
            let (mut logits, _) = agreeing(&prompt);
            logits[free] = logits[first] + 9.0;
            let line = failure(&prompt, &logits).unwrap();
            assert!(line.contains("logit at rank 1"), "{line}");
            // Only the sum is another.
            let (logits, _) = agreeing(&prompt);
            prompt.logsumexp = prompt.logsumexp.map(|sum| sum + 0.03);
            let line = failure(&prompt, &logits).unwrap();
            assert!(line.contains("1 of") && line.contains("logsumexp"), "{line}");
        }
    }

    #[test]
    fn an_index_counts_from_both_ends_and_stays_inside() {
        assert_eq!(flat_index(&[-1, 0, 2], &[3, 4, 5]), Some(42));
        assert_eq!(flat_index(&[1, -1, 0], &[3, 4, 5]), Some(35));
        for at in [vec![3, 0, 0], vec![0, -5, 0], vec![0, 0], vec![0, 0, 0, 0]] {
            assert_eq!(flat_index(&at, &[3, 4, 5]), None, "{at:?}");
        }
    }

    #[test]
    fn the_loss_is_that_of_the_next_token() {
        let (a, b) = (0.75_f32.ln(), 0.25_f32.ln());
        let logits = HostTensor::new([3, 2], vec![a, b, b, a, 9.0, 9.0]);
        let loss = mean_loss(&logits, &[0, 1, 1]);
        assert!((loss - (-0.25_f64.ln() - 0.75_f64.ln()) / 2.0).abs() < 1e-6, "{loss}");
    }

    #[test]
    fn hooks_of_other_blocks_are_named_alike() {
        let hook: HookPoint = "blocks.0.hook_mlp_out".parse().unwrap();
        assert_eq!(in_block(hook, 11).to_string(), "blocks.11.hook_mlp_out");
    }
}
