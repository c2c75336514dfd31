//! Clean runs, and runs in which the nodes of a site are overwritten.
//!
//! All nodes of a site are overwritten together with vectors computed beforehand from clean runs, never recomputed
//! downstream (Makelov, Lange, Nanda, [arXiv 2405.08366](https://arxiv.org/abs/2405.08366), section 4). A clean run
//! keeps the residual stream that enters each block at which an intervention can restart, and the keys and values of the
//! blocks from there on: an intervention costs only the blocks after the first overwritten node, at the positions from the
//! first overwritten one on, and logits only at END.
//!
//! Memory: `N * T * d_model` floats for each restart layer (500 prompts of 19 tokens at d_model 768: 29 MB a layer), and
//! twice that for each block from the first of them on; keys and values beyond `MOST_KEPT` are not kept, and interventions
//! run all positions.
//!
//! Shape legend: `N` prompts, `B` prompts of a batch, `T` tokens of a prompt, `D` width of a node, `V` vocabulary.

mod loss;

use crate::Error;
use crate::site::restart_layer;
use activations::Node;
use burn::tensor::{Tensor, TensorData};
use dictionaries::Rows;
use lm::{
    Grouping, HookPoint, Logits, Model, Pass, Passes, Past, Patch, Request, Schedule, Start, Trace, in_order_of_rows,
};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use tasks::Prompt;

pub use loss::LossGradients;

/// Prompts in one product with the unembedding. The whole matrix is packed for every product, which for a large vocabulary costs about as
/// much as multiplying 50 rows, so small batches are slow.
const UNEMBEDDED: usize = 128;

/// Most bytes of keys and values that a clean run keeps.
const MOST_KEPT: usize = 1 << 30;

/// What an intervention is asked for besides predictions and logit differences.
#[derive(Debug, Clone, Copy)]
pub enum Want<'a> {
    /// Nothing more.
    Prediction,
    /// Log-probabilities of the whole vocabulary, for later comparison.
    LogProbs,
    /// The divergence of these log-probabilities `[N, V]` from the run's own.
    DivergenceFrom(&'a Rows),
}

/// What the model answers at END, prompt by prompt.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// Logit of the base prompt's right answer minus that of its wrong one, `[N]`.
    pub logit_diff: Vec<f32>,
    /// Argmax over the whole vocabulary, `[N]`; the lowest id wins a tie.
    pub prediction: Vec<u32>,
    /// Natural log-probabilities, `[N, V]`, where asked for.
    pub log_probs: Option<Rows>,
    /// `KL(reference || this run)` in nats, `[N]`, where asked for.
    pub kl: Vec<f32>,
}

impl Outcome {
    /// Mean logit difference over the prompts.
    pub fn mean_logit_diff(&self) -> f64 {
        mean(&self.logit_diff)
    }

    /// Asks another run how far it is from this one, whose log-probabilities were asked for.
    pub fn divergence(&self) -> Want<'_> {
        match &self.log_probs {
            Some(log_probs) => Want::DivergenceFrom(log_probs),
            None => Want::Prediction,
        }
    }

    /// 1 where both predict the same token, 0 elsewhere, `[N]`.
    pub fn agreement(&self, other: &Outcome) -> Vec<f32> {
        self.prediction
            .iter()
            .zip(&other.prediction)
            .map(|(a, b)| f32::from(u8::from(a == b)))
            .collect()
    }

    /// Reads the logits at END of a batch of prompts, `[B, V]`.
    fn read(batch: &Prompts<'_>, logits: Tensor<2>, want: Want<'_>) -> Self {
        let mut outcome = Self::default();
        let rows = Rows::from_tensor(logits); // [B, V]
        let mut log_probs = Rows::empty(rows.width());
        for (i, (place, prompt)) in batch.places.iter().zip(&batch.prompts).enumerate() {
            let row = rows.row(i);
            outcome
                .logit_diff
                .push(row[prompt.right_token() as usize] - row[prompt.wrong_token() as usize]);
            outcome.prediction.push(argmax(row) as u32);
            match want {
                Want::Prediction => {}
                Want::LogProbs => log_probs.extend(&Rows::new(row.len(), log_softmax(row))),
                Want::DivergenceFrom(reference) => {
                    outcome.kl.push(divergence(reference.row(*place), &log_softmax(row)));
                }
            }
        }
        outcome.log_probs = matches!(want, Want::LogProbs).then_some(log_probs);
        outcome
    }

    /// Adds the prompts of the next batch.
    fn extend(&mut self, batch: Outcome) {
        self.logit_diff.extend(batch.logit_diff);
        self.prediction.extend(batch.prediction);
        self.kl.extend(batch.kl);
        match (&mut self.log_probs, batch.log_probs) {
            (Some(all), Some(more)) => all.extend(&more),
            (all, more) => *all = more,
        }
    }

    /// Puts the answers of batches, whose prompts stand at `places`, in the order of the prompts.
    fn in_order(self, places: &[usize]) -> Self {
        Self {
            logit_diff: in_order_of_rows(self.logit_diff, places),
            prediction: in_order_of_rows(self.prediction, places),
            log_probs: self.log_probs.map(|rows| rows.in_order(places)),
            kl: in_order_of_rows(self.kl, places),
        }
    }
}

/// The prompts of a batch.
struct Prompts<'a> {
    /// Places among all prompts of the run.
    places: &'a [usize],
    prompts: Vec<&'a Prompt>,
}

impl<'a> Prompts<'a> {
    fn new(all: &'a [Prompt], places: &'a [usize]) -> Self {
        Self {
            places,
            prompts: places.iter().map(|&place| &all[place]).collect(),
        }
    }

    /// The position of a node in each prompt.
    fn positions(&self, node: &Node) -> Result<Vec<usize>, Error> {
        let missing = || Error::Node {
            node: *node,
            reason: "the prompts have no such role".to_owned(),
        };
        let position = |prompt: &&Prompt| prompt.position(node.role).ok_or_else(missing);
        self.prompts.iter().map(position).collect()
    }

    /// The position of the last token of each prompt.
    fn ends(&self) -> impl Iterator<Item = usize> {
        self.prompts.iter().map(|prompt| prompt.end())
    }
}

/// Place of the largest logit; the lowest wins a tie.
fn argmax(row: &[f32]) -> usize {
    let better = |best: usize, (place, logit): (usize, &f32)| if *logit > row[best] { place } else { best };
    row.iter().enumerate().fold(0, better)
}

/// Logits minus the logarithm of the sum of their exponentials, `[V]`.
fn log_softmax(row: &[f32]) -> Vec<f32> {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|&x| f64::from((x - most).exp())).sum();
    let norm = most + sum.ln() as f32;
    row.iter().map(|x| x - norm).collect()
}

/// `KL(p || q)` in nats, from log-probabilities `[V]`.
fn divergence(p: &[f32], q: &[f32]) -> f32 {
    let terms = p.iter().zip(q).map(|(&p, &q)| f64::from(p.exp()) * f64::from(p - q));
    let sum = terms.sum::<f64>();
    // Rounding may go below 0; what is not a number stays so.
    if sum < 0.0 { 0.0 } else { sum as f32 }
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
    /// Keys and values by block, from the first restart on, for each batch; none where they would be too many.
    keys_values: Vec<BTreeMap<usize, [Tensor<4>; 2]>>,
}

/// Runs a model on lists of prompts, in batches of equal length and limited size.
#[derive(Clone, Copy)]
pub struct Runner<'a> {
    model: &'a Model,
    batch: usize,
    restarts: bool,
}

impl<'a> Runner<'a> {
    /// A runner that shows `model` at most `batch` prompts at a time (at least one).
    pub fn new(model: &'a Model, batch: usize) -> Self {
        Self {
            model,
            batch: batch.max(1),
            restarts: true,
        }
    }

    /// The same runner, whose interventions run the whole model again: what restarting saves is measured against it.
    pub fn without_restarts(self) -> Self {
        Self {
            restarts: false,
            ..self
        }
    }

    /// The model that it runs.
    pub fn model(&self) -> &'a Model {
        self.model
    }

    /// Runs the prompts undisturbed, keeping the values at `nodes` and all that interventions on them need.
    ///
    /// # Errors
    /// [`Error::NoPrompts`], [`Error::Node`] for a node that cannot be overwritten, [`Error::Model`].
    pub fn clean<'p>(&self, prompts: &'p [Prompt], nodes: &BTreeSet<Node>) -> Result<CleanRun<'p>, Error> {
        self.clean_with(prompts, nodes, &BTreeSet::new())
    }

    /// The same, keeping the values at `more` nodes too, which are not overwritten.
    ///
    /// # Errors
    /// Those of [`Runner::clean`].
    pub fn clean_with<'p>(
        &self,
        prompts: &'p [Prompt],
        nodes: &BTreeSet<Node>,
        more: &BTreeSet<Node>,
    ) -> Result<CleanRun<'p>, Error> {
        let layer = |node: &Node| restart_layer(node).map(|layer| if self.restarts { layer } else { 0 });
        let layers = nodes.iter().map(layer).collect::<Result<BTreeSet<_>, _>>()?;
        let restarts: Vec<HookPoint> = layers.iter().map(|&layer| HookPoint::ResidPre(layer)).collect();
        let kept = self.kept_blocks(prompts, layers.first().copied());
        let spec = self.model.spec();
        let read: BTreeSet<Node> = nodes | more;
        let hooks = read.iter().map(|node| node.hook).chain(restarts.iter().copied());
        let hooks = hooks.chain(kept.iter().flat_map(|&l| [spec.key_hook(l), HookPoint::V(l)]));
        let hooks: BTreeSet<HookPoint> = hooks.collect();
        let passes = self.passes(prompts, |pass, batch| {
            let trace = pass.run(&Request {
                capture: hooks.iter().copied().collect(),
                logits: Logits::At(batch.ends().collect()),
                ..Request::default()
            })?;
            let keys_values = |&l: &usize| {
                let (keys, values) = (trace.tensor4(spec.key_hook(l))?, trace.tensor4(HookPoint::V(l))?);
                Ok((l, [keys, values]))
            };
            let resid = restarts
                .iter()
                .map(|&hook| trace.tensor3(hook))
                .collect::<Result<Vec<_>, _>>()?; // [B, T, d_model]
            Ok((
                Outcome::read(batch, trace.logits_at()?, Want::Prediction),
                values(&trace, &read, batch)?,
                resid,
                kept.iter()
                    .map(keys_values)
                    .collect::<Result<BTreeMap<_, _>, Error>>()?,
            ))
        })?;
        let mut run = CleanRun {
            prompts,
            outcome: Outcome::default(),
            nodes: BTreeMap::new(),
            batch: self.batch,
            resid: BTreeMap::new(),
            keys_values: Vec::new(),
        };
        let mut places = Vec::new();
        for (of_batch, (outcome, values, resid, keys_values)) in passes {
            places.extend(of_batch);
            run.keys_values.push(keys_values);
            run.outcome.extend(outcome);
            extend(&mut run.nodes, values);
            for (&layer, resid) in layers.iter().zip(resid) {
                run.resid.entry(layer).or_default().push(resid);
            }
        }
        run.outcome = run.outcome.in_order(&places);
        run.nodes = in_order(run.nodes, &places);
        Ok(run)
    }

    /// Blocks whose keys and values are worth keeping: all from the first restart on, where that is allowed and not too much.
    fn kept_blocks(&self, prompts: &[Prompt], first: Option<usize>) -> Vec<usize> {
        let (Some(first), true) = (first, self.restarts) else {
            return Vec::new();
        };
        let spec = self.model.spec();
        let (blocks, tokens) = (first..spec.n_layer, prompts.iter().map(|prompt| prompt.ids.len()));
        let bytes = blocks.len() * tokens.sum::<usize>() * spec.n_kv_head * spec.d_head * 2 * size_of::<f32>();
        if bytes <= MOST_KEPT {
            blocks.collect()
        } else {
            Vec::new()
        }
    }

    /// Runs the prompts undisturbed as far as `nodes` need and returns their values, `[N, D]` each.
    ///
    /// # Errors
    /// [`Error::NoPrompts`], [`Error::Model`].
    pub fn record(&self, prompts: &[Prompt], nodes: &BTreeSet<Node>) -> Result<BTreeMap<Node, Rows>, Error> {
        let hooks: BTreeSet<HookPoint> = nodes.iter().map(|node| node.hook).collect();
        let request = Request {
            capture: hooks.into_iter().collect(),
            ..Request::default()
        };
        let passes = self.passes(prompts, |pass, batch| values(&pass.run(&request)?, nodes, batch))?;
        let (mut all, mut places) = (BTreeMap::new(), Vec::new());
        for (of_batch, values) in passes {
            places.extend(of_batch);
            extend(&mut all, values);
        }
        Ok(in_order(all, &places))
    }

    /// The gradient of each prompt's logit difference at the nodes, `[N, D]` each, from one backward pass.
    ///
    /// # Errors
    /// [`Error::NoPrompts`], [`Error::Model`].
    pub fn gradients(&self, prompts: &[Prompt], nodes: &BTreeSet<Node>) -> Result<BTreeMap<Node, Rows>, Error> {
        let hooks: BTreeSet<HookPoint> = nodes.iter().map(|node| node.hook).collect();
        let passes = self.passes(prompts, |pass, batch| {
            let trace = pass.run(&Request {
                watch: hooks.iter().copied().collect(),
                logits: Logits::At(batch.ends().collect()),
                ..Request::default()
            })?;
            let logits = trace.logits_at()?; // [B, V]
            let of = |token: fn(&Prompt) -> u32| -> Tensor<2> {
                let ids: Vec<i32> = batch.prompts.iter().map(|prompt| token(prompt) as i32).collect();
                let ids = TensorData::new(ids, [batch.prompts.len(), 1]);
                logits.clone().gather(1, Tensor::from_data(ids, &logits.device())) // [B, 1]
            };
            // No prompt sees another: the gradient of the sum is that of each.
            let gradients = trace.gradients((of(Prompt::right_token) - of(Prompt::wrong_token)).sum())?;
            let read = |node: &Node| {
                let rows = gradients.at(node.hook, node.head, &batch.positions(node)?)?; // [B, D]
                Ok((*node, Rows::from_tensor(rows)))
            };
            nodes.iter().map(read).collect::<Result<BTreeMap<_, _>, Error>>()
        })?;
        let (mut all, mut places) = (BTreeMap::new(), Vec::new());
        for (of_batch, values) in passes {
            places.extend(of_batch);
            extend(&mut all, values);
        }
        Ok(in_order(all, &places))
    }

    /// Runs the prompts of `clean` with every node of `overwrites` replaced by its row, `[N, D]` each.
    ///
    /// The run restarts before the first block that is touched. `clean` must have recorded the nodes. Without overwrites the
    /// answer is that of the clean run, and nothing more can be asked for.
    ///
    /// # Errors
    /// [`Error::Node`] when a node was not recorded or its values are not `[N, D]`; [`Error::Model`].
    pub fn intervene(
        &self,
        clean: &CleanRun<'_>,
        overwrites: &BTreeMap<Node, Rows>,
        want: Want<'_>,
    ) -> Result<Outcome, Error> {
        let mut first = None;
        for (node, rows) in overwrites {
            let shape = clean.nodes.get(node).map(|known| (known.len(), known.width()));
            if shape != Some((rows.len(), rows.width())) {
                let reason = "it was not recorded in the clean run, or in another shape".to_owned();
                return Err(Error::Node { node: *node, reason });
            }
            let layer = if self.restarts { restart_layer(node)? } else { 0 };
            first = Some(first.map_or(layer, |other: usize| other.min(layer)));
        }
        let Some((layer, resid)) = first.and_then(|layer| Some((layer, clean.resid.get(&layer)?))) else {
            return Ok(clean.outcome.clone());
        };
        let spec = self.model.spec();
        let last = HookPoint::ResidPost(spec.n_layer - 1);
        // The batches of the clean run, whoever made it.
        let runner = Self {
            batch: clean.batch,
            ..*self
        };
        let passes = runner.passes(clean.prompts, |pass, batch| {
            let resid = resid[pass.number].clone(); // [B, T, d_model]
            let (from, past) = past(&clean.keys_values[pass.number], layer, overwrites, batch)?;
            let overwrite = overwrites.iter().map(|(node, rows)| {
                let at = batch.positions(node)?.into_iter().map(|position| position - from);
                let values = rows.pick(batch.places);
                let values = values.tensor(0..values.len(), self.model.device()); // [B, D]
                Ok(Patch::set(node.hook, node.head, at.enumerate().collect(), values))
            });
            let request = Request {
                patches: overwrite.collect::<Result<_, Error>>()?,
                capture: [last].into(),
                ..Request::default()
            };
            let len = resid.dims()[1];
            let resid = resid.narrow(1, from, len - from); // [B, T - P, d_model]
            let trace = pass.resume(layer, resid, past, &request)?;
            let ends: Vec<usize> = batch.ends().map(|end| end - from).collect();
            Ok(Rows::from_tensor(trace.at(last, None, &ends)?)) // [B, d_model]
        })?;
        let (mut ends, mut places) = (Rows::empty(spec.d_model), Vec::new());
        for (of_batch, part) in passes {
            places.extend(of_batch);
            ends.extend(&part);
        }
        self.answers(clean.prompts, &places, &ends, want)
    }

    /// What the model answers where the residual stream behind its last block is `ends` `[N, d_model]`, at END of the prompts at `places`.
    fn answers(&self, prompts: &[Prompt], places: &[usize], ends: &Rows, want: Want<'_>) -> Result<Outcome, Error> {
        let layer = self.model.spec().n_layer;
        let part = |(number, places): (usize, &[usize])| {
            let first = number * UNEMBEDDED;
            let resid = ends.tensor(first..first + places.len(), self.model.device()); // [B, d_model]
            let start = Start::Resid {
                layer,
                resid: resid.unsqueeze_dim(1), // [B, 1, d_model]
                past: Past::default(),
            };
            let request = Request {
                logits: Logits::At(vec![0; places.len()]),
                ..Request::default()
            };
            let trace = self.model.run(start, &request)?;
            Ok(Outcome::read(&Prompts::new(prompts, places), trace.logits_at()?, want)) // [B, V]
        };
        let parts = places.par_chunks(UNEMBEDDED).enumerate().map(part);
        let mut outcome = Outcome::default();
        for part in parts.collect::<Result<Vec<Outcome>, Error>>()? {
            outcome.extend(part);
        }
        Ok(outcome.in_order(places))
    }

    /// Handles all batches, on all threads: prompts are short, and interventions run few blocks of few positions. Each result
    /// stands beside the places of its prompts.
    fn passes<T: Send>(
        &self,
        prompts: &[Prompt],
        work: impl Fn(&Pass<'_>, &Prompts<'_>) -> Result<T, Error> + Sync + Send,
    ) -> Result<Vec<(Vec<usize>, T)>, Error> {
        if prompts.is_empty() {
            return Err(Error::NoPrompts);
        }
        let ids: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.ids.as_slice()).collect();
        let passes = Passes::new(self.model, self.batch)
            .grouped(Grouping::Length)
            .scheduled(Schedule::SideBySide);
        passes.each(&ids, |pass| {
            let found = work(&pass, &Prompts::new(prompts, &pass.rows))?;
            Ok((pass.rows, found))
        })
    }
}

/// The first position that an intervention on a batch touches, and what later positions see of those before it.
///
/// All positions run where no keys and values were kept.
fn past(
    keys_values: &BTreeMap<usize, [Tensor<4>; 2]>,
    layer: usize,
    overwrites: &BTreeMap<Node, Rows>,
    batch: &Prompts<'_>,
) -> Result<(usize, Past), Error> {
    let touched = overwrites.keys().map(|node| batch.positions(node));
    let touched = touched.collect::<Result<Vec<_>, _>>()?;
    let from = touched.into_iter().flatten().chain(batch.ends()).min().unwrap_or(0);
    if keys_values.is_empty() || from == 0 {
        return Ok((0, Past::default()));
    }
    let before = |part: &Tensor<4>| part.clone().narrow(1, 0, from); // [B, P, H, Dh]
    let blocks = keys_values.range(layer..).map(|(_, [k, v])| [before(k), before(v)]);
    let blocks = blocks.collect();
    Ok((from, Past { blocks }))
}

/// The captured values of a batch, `[B, D]` for each node.
fn values(trace: &Trace, nodes: &BTreeSet<Node>, batch: &Prompts<'_>) -> Result<BTreeMap<Node, Rows>, Error> {
    let read = |node: &Node| {
        let rows = trace.at(node.hook, node.head, &batch.positions(node)?)?; // [B, D]
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

/// Rows of batches, whose prompts stand at `places`, in the order of the prompts.
fn in_order(nodes: BTreeMap<Node, Rows>, places: &[usize]) -> BTreeMap<Node, Rows> {
    let ordered = nodes.into_iter().map(|(node, rows)| (node, rows.in_order(places)));
    ordered.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_is_that_of_the_definition() {
        let (p, q) = (log_softmax(&[0.0, 1.0, 2.0]), log_softmax(&[100.0, 99.0, 99.5]));
        let expected: f64 = p
            .iter()
            .zip(&q)
            .map(|(p, q)| f64::from(p.exp()) * f64::from(p - q))
            .sum();
        assert!((p.iter().map(|x| x.exp()).sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((f64::from(divergence(&p, &q)) - expected).abs() < 1e-6 && expected > 0.1);
        assert_eq!(divergence(&p, &p), 0.0);
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), 1);
    }
}
