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
use rayon::prelude::*;
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

    /// Reads the logits at END of some prompts, `[B, V]`.
    fn read(prompts: &[Prompt], logits: Tensor<2>) -> Self {
        let mut outcome = Self::default();
        let rows = Rows::from_tensor(logits); // [B, V]
        for (i, prompt) in prompts.iter().enumerate() {
            let row = rows.row(i);
            outcome
                .logit_diff
                .push(row[prompt.io_token() as usize] - row[prompt.s_token() as usize]);
            let mut best = 0;
            for (token, &logit) in row.iter().enumerate() {
                if logit > row[best] {
                    best = token;
                }
            }
            outcome.prediction.push(best as u32);
        }
        outcome
    }

    /// Adds the prompts of the next batch.
    fn extend(&mut self, batch: Outcome) {
        self.logit_diff.extend(batch.logit_diff);
        self.prediction.extend(batch.prediction);
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
    /// Prompts of a batch.
    batch: usize,
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
        let restarts: Vec<HookPoint> = layers.iter().map(|&layer| HookPoint::ResidPre(layer)).collect();
        let passes = self.passes(prompts, |batch| {
            let trace = self.undisturbed(batch, nodes, &restarts, Logits::At(positions(batch, Role::End)))?;
            let resid = restarts
                .iter()
                .map(|&hook| trace.tensor3(hook))
                .collect::<Result<Vec<_>, _>>()?; // [B, T, d_model]
            Ok((
                Outcome::read(batch, trace.logits_at()?),
                values(&trace, nodes, batch)?,
                resid,
            ))
        })?;
        let mut run = CleanRun {
            prompts,
            outcome: Outcome::default(),
            nodes: BTreeMap::new(),
            batch: self.batch,
            resid: BTreeMap::new(),
        };
        for (outcome, values, resid) in passes {
            run.outcome.extend(outcome);
            extend(&mut run.nodes, values);
            for (&layer, resid) in layers.iter().zip(resid) {
                run.resid.entry(layer).or_default().push(resid);
            }
        }
        Ok(run)
    }

    /// Runs the prompts undisturbed as far as `nodes` need and returns their values, `[N, D]` each.
    ///
    /// # Errors
    /// [`Error::NoPrompts`], [`Error::Model`].
    pub fn record(&self, prompts: &[Prompt], nodes: &BTreeSet<Node>) -> Result<BTreeMap<Node, Rows>, Error> {
        let passes = self.passes(prompts, |batch| {
            values(&self.undisturbed(batch, nodes, &[], Logits::None)?, nodes, batch)
        })?;
        let mut all = BTreeMap::new();
        passes.into_iter().for_each(|values| extend(&mut all, values));
        Ok(all)
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
            let shape = clean.nodes.get(node).map(|known| (known.len(), known.width()));
            if shape != Some((rows.len(), rows.width())) {
                let reason = "it was not recorded in the clean run, or in another shape".to_owned();
                return Err(Error::Node { node: *node, reason });
            }
            let layer = restart_layer(node)?;
            first = Some(first.map_or(layer, |other: usize| other.min(layer)));
        }
        let Some((layer, resid)) = first.and_then(|layer| Some((layer, clean.resid.get(&layer)?))) else {
            return Ok(clean.outcome.clone());
        };
        let batches: Vec<_> = clean.prompts.chunks(clean.batch).zip(resid).enumerate().collect();
        let passes = batches.into_par_iter().map(|(place, (batch, resid))| {
            let start = place * clean.batch;
            let overwrite = overwrites.iter().map(|(node, rows)| Overwrite {
                hook: node.hook,
                head: node.head,
                at: positions(batch, node.role).into_iter().enumerate().collect(),
                values: rows.tensor(start..start + batch.len(), self.model.device()), // [B, D]
            });
            let request = Request {
                capture: Vec::new(),
                overwrite: overwrite.collect(),
                logits: Logits::At(positions(batch, Role::End)),
            };
            let resid = resid.clone();
            let trace = self.model.run(Start::Resid { layer, resid }, &request)?;
            Ok(Outcome::read(batch, trace.logits_at()?)) // [B, V]
        });
        let mut outcome = Outcome::default();
        for part in passes.collect::<Result<Vec<_>, Error>>()? {
            outcome.extend(part);
        }
        Ok(outcome)
    }

    /// Handles all batches, on all threads; the results are in the order of the prompts.
    ///
    /// burn's element-wise operations use one thread, so batches side by side are faster than batches in turn.
    fn passes<T: Send>(
        &self,
        prompts: &[Prompt],
        pass: impl Fn(&[Prompt]) -> Result<T, Error> + Sync + Send,
    ) -> Result<Vec<T>, Error> {
        if prompts.is_empty() {
            return Err(Error::NoPrompts);
        }
        prompts.par_chunks(self.batch).map(pass).collect()
    }

    /// One undisturbed pass over a batch, which captures `nodes` and `more`.
    fn undisturbed(
        &self,
        batch: &[Prompt],
        nodes: &BTreeSet<Node>,
        more: &[HookPoint],
        logits: Logits,
    ) -> Result<Trace, Error> {
        let ids: Vec<&[u32]> = batch.iter().map(|prompt| prompt.ids.as_slice()).collect();
        let tokens = TokenBatch::new(&ids)?; // [B, T]
        let hooks: BTreeSet<HookPoint> = nodes.iter().map(|node| node.hook).chain(more.iter().copied()).collect();
        let request = Request {
            capture: hooks.into_iter().collect(),
            overwrite: Vec::new(),
            logits,
        };
        Ok(self.model.run(Start::Tokens(&tokens), &request)?)
    }
}

/// The captured values of a batch, `[B, D]` for each node.
fn values(trace: &Trace, nodes: &BTreeSet<Node>, batch: &[Prompt]) -> Result<BTreeMap<Node, Rows>, Error> {
    let read = |node: &Node| {
        let rows = trace.at(node.hook, node.head, &positions(batch, node.role))?; // [B, D]
        Ok((*node, Rows::from_tensor(rows)))
    };
    nodes.iter().map(read).collect()
}

/// Adds the rows of a batch to those before it.
fn extend(all: &mut BTreeMap<Node, Rows>, batch: BTreeMap<Node, Rows>) {
    for (node, rows) in batch {
        all.entry(node)
            .or_insert_with(|| Rows::empty(rows.width()))
            .extend(&rows);
    }
}

/// The position of `role` in each prompt.
fn positions(prompts: &[Prompt], role: Role) -> Vec<usize> {
    prompts.iter().map(|prompt| prompt.position(role)).collect()
}
