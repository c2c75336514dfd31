//! Clean runs, and runs in which the nodes of a site are overwritten.
//!
//! All nodes of a site are overwritten together with vectors computed beforehand from clean runs, never recomputed
//! downstream (Makelov, Lange, Nanda, [arXiv 2405.08366](https://arxiv.org/abs/2405.08366), section 4). A clean run
//! keeps the residual stream that enters each block at which an intervention can restart, so an intervention costs only
//! the blocks after the first overwritten node, and logits only at END.
//!
//! Memory: `N * T * d_model` floats for each restart layer (500 prompts of 19 tokens at d_model 768: 29 MB a layer).
//!
//! Shape legend: `N` prompts, `B` prompts of a batch, `T` tokens of a prompt, `D` width of a node, `V` vocabulary.

use crate::Error;
use crate::rows::Rows;
use crate::site::restart_layer;
use activations::Node;
use burn::tensor::Tensor;
use lm::{Gpt2, HookPoint, Logits, Overwrite, Request, Start, TokenBatch, Trace};
use std::collections::{BTreeMap, BTreeSet};
use tasks::{Prompt, Role};

/// What the model answers at END, prompt by prompt.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// `logit(IO) - logit(S)` with the names of the base prompt, `[N]`.
    pub logit_diff: Vec<f32>,
    /// Argmax over the whole vocabulary, `[N]`; the lowest id wins a tie.
    pub prediction: Vec<u32>,
}

impl Outcome {
    /// Mean logit difference over the prompts.
    pub fn mean_logit_diff(&self) -> f64 {
        mean(&self.logit_diff)
    }

    /// 1 where both predict the same token, 0 elsewhere, `[N]`.
    pub fn agreement(&self, other: &Outcome) -> Vec<f32> {
        self.prediction
            .iter()
            .zip(&other.prediction)
            .map(|(a, b)| f32::from(u8::from(a == b)))
            .collect()
    }

    /// Reads the logits at END of some prompts.
    fn push(&mut self, prompts: &[Prompt], logits: Tensor<2>) {
        let rows = Rows::from_tensor(logits); // [B, V]
        for (i, prompt) in prompts.iter().enumerate() {
            let row = rows.row(i);
            self.logit_diff
                .push(row[prompt.io_token() as usize] - row[prompt.s_token() as usize]);
            let mut best = 0;
            for (token, &logit) in row.iter().enumerate() {
                if logit > row[best] {
                    best = token;
                }
            }
            self.prediction.push(best as u32);
        }
    }
}

/// Mean in f64, in order; 0 for no values.
pub fn mean(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len().max(1) as f64
}

/// An undisturbed run of some prompts, and what interventions on them restart from.
pub struct CleanRun<'a> {
    /// The prompts, `N` of them.
    pub prompts: &'a [Prompt],
    /// What the undisturbed model answers.
    pub outcome: Outcome,
    /// The clean values of the recorded nodes, `[N, D]` each.
    pub nodes: BTreeMap<Node, Rows>,
    /// Residual stream entering a block, one `[B, T, d_model]` for each batch.
    resid: BTreeMap<usize, Vec<Tensor<3>>>,
}

/// Runs a model on lists of prompts, in batches of fixed size.
pub struct Runner<'a> {
    model: &'a Gpt2,
    batch: usize,
}

impl<'a> Runner<'a> {
    /// A runner that shows `model` at most `batch` prompts at a time (at least one).
    pub fn new(model: &'a Gpt2, batch: usize) -> Self {
        Self {
            model,
            batch: batch.max(1),
        }
    }

    /// Runs the prompts undisturbed, keeping the values at `nodes` and all that interventions on them need.
    ///
    /// # Errors
    /// [`Error::NoPrompts`], [`Error::Node`] for a node that cannot be overwritten, [`Error::Model`].
    pub fn clean<'p>(&self, prompts: &'p [Prompt], nodes: &BTreeSet<Node>) -> Result<CleanRun<'p>, Error> {
        let layers = nodes.iter().map(restart_layer).collect::<Result<BTreeSet<_>, _>>()?;
        let mut hooks: BTreeSet<HookPoint> = nodes.iter().map(|node| node.hook).collect();
        hooks.extend(layers.iter().map(|&layer| HookPoint::ResidPre(layer)));
        let mut outcome = Outcome::default();
        let mut resid: BTreeMap<usize, Vec<Tensor<3>>> = BTreeMap::new();
        let values = self.forward(prompts, nodes, &hooks, true, |batch, trace| {
            outcome.push(batch, trace.logits_at()?);
            for &layer in &layers {
                resid
                    .entry(layer)
                    .or_default()
                    .push(trace.tensor3(HookPoint::ResidPre(layer))?); // [B, T, d_model]
            }
            Ok(())
        })?;
        Ok(CleanRun {
            prompts,
            outcome,
            nodes: values,
            resid,
        })
    }

    /// Runs the prompts undisturbed as far as `nodes` need and returns their values, `[N, D]` each.
    ///
    /// # Errors
    /// [`Error::NoPrompts`], [`Error::Model`].
    pub fn record(&self, prompts: &[Prompt], nodes: &BTreeSet<Node>) -> Result<BTreeMap<Node, Rows>, Error> {
        let hooks = nodes.iter().map(|node| node.hook).collect();
        self.forward(prompts, nodes, &hooks, false, |_, _| Ok(()))
    }

    /// Runs the prompts of `clean` with every node of `overwrites` replaced by its row, `[N, D]` each.
    ///
    /// The run restarts before the first block that is touched. `clean` must have recorded the nodes.
    ///
    /// # Errors
    /// [`Error::Node`] when a node was not recorded or its values are not `[N, D]`; [`Error::Model`].
    pub fn intervene(&self, clean: &CleanRun<'_>, overwrites: &BTreeMap<Node, Rows>) -> Result<Outcome, Error> {
        let mut first = None;
        for (node, rows) in overwrites {
            let fits = clean
                .nodes
                .get(node)
                .is_some_and(|known| known.len() == rows.len() && known.width() == rows.width());
            if !fits {
                let reason = "it was not recorded in the clean run, or in another shape".to_owned();
                return Err(Error::Node { node: *node, reason });
            }
            let layer = restart_layer(node)?;
            first = Some(first.map_or(layer, |other: usize| other.min(layer)));
        }
        let Some((layer, resid)) = first.and_then(|layer| Some((layer, clean.resid.get(&layer)?))) else {
            return Ok(clean.outcome.clone());
        };
        let mut outcome = Outcome::default();
        let mut done = 0;
        for (batch, resid) in clean.prompts.chunks(self.batch).zip(resid) {
            let range = done..done + batch.len();
            let overwrite = overwrites.iter().map(|(node, rows)| Overwrite {
                hook: node.hook,
                head: node.head,
                at: positions(batch, node.role).into_iter().enumerate().collect(),
                values: rows.tensor(range.clone(), self.model.device()), // [B, D]
            });
            let request = Request {
                overwrite: overwrite.collect(),
                logits: Logits::At(positions(batch, Role::End)),
                ..Request::default()
            };
            let trace = self.model.run(
                Start::Resid {
                    layer,
                    resid: resid.clone(),
                },
                &request,
            )?;
            outcome.push(batch, trace.logits_at()?); // [B, V]
            done = range.end;
        }
        Ok(outcome)
    }

    /// Runs all batches from their tokens, reads `nodes` and hands every trace to `each`.
    fn forward(
        &self,
        prompts: &[Prompt],
        nodes: &BTreeSet<Node>,
        hooks: &BTreeSet<HookPoint>,
        logits: bool,
        mut each: impl FnMut(&[Prompt], &Trace) -> Result<(), Error>,
    ) -> Result<BTreeMap<Node, Rows>, Error> {
        if prompts.is_empty() {
            return Err(Error::NoPrompts);
        }
        let mut values: BTreeMap<Node, Rows> = BTreeMap::new();
        for batch in prompts.chunks(self.batch) {
            let ids: Vec<&[u32]> = batch.iter().map(|prompt| prompt.ids.as_slice()).collect();
            let tokens = TokenBatch::new(&ids)?; // [B, T]
            let logits = if logits {
                Logits::At(positions(batch, Role::End))
            } else {
                Logits::None
            };
            let request = Request {
                capture: hooks.iter().copied().collect(),
                logits,
                ..Request::default()
            };
            let trace = self.model.run(Start::Tokens(&tokens), &request)?;
            for node in nodes {
                let rows = Rows::from_tensor(trace.at(node.hook, node.head, &positions(batch, node.role))?); // [B, D]
                values
                    .entry(*node)
                    .or_insert_with(|| Rows::empty(rows.width()))
                    .extend(&rows);
            }
            each(batch, &trace)?;
        }
        Ok(values)
    }
}

/// The position of `role` in each prompt.
fn positions(prompts: &[Prompt], role: Role) -> Vec<usize> {
    prompts.iter().map(|prompt| prompt.position(role)).collect()
}
