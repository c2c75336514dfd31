//! How the answer at END changes with what is overwritten: the loss against given tokens, and its gradient at the overwritten nodes.
//!
//! What is learned about an activation (a mask over latents, a rotation) is learned from these gradients; the model stays as it is.
//!
//! Shape legend: `B` prompts of a batch, `D` width of a node, `V` vocabulary.

use super::{CleanRun, Prompts, Runner, past};
use crate::Error;
use crate::site::restart_layer;
use activations::Node;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};
use dictionaries::Rows;
use lm::{Batch, Grouping, HookPoint, Logits, Passes, Patch, Request};
use std::collections::{BTreeMap, BTreeSet};

/// Losses of one batch, and what they change with.
#[derive(Debug, Clone, PartialEq)]
pub struct LossGradients {
    /// Cross-entropy of each row's token, in nats, `[B]`.
    pub losses: Vec<f32>,
    /// Gradient of each row's own loss at its overwritten nodes, `[B, D]` each.
    pub gradients: BTreeMap<Node, Rows>,
}

impl Runner<'_> {
    /// The batches of a clean run: the places of their prompts.
    pub fn batches(&self, clean: &CleanRun<'_>) -> Vec<Batch> {
        let lengths = clean.prompts.iter().map(|prompt| prompt.ids.len());
        let passes = Passes::new(self.model, clean.batch).grouped(Grouping::Length);
        passes.batches(lengths)
    }

    /// Runs batch `number` of a clean run with the nodes of `overwrites` replaced by the rows of that batch, `[B, D]` each, and
    /// differentiates the cross-entropy of one token a row.
    ///
    /// # Errors
    /// [`Error::Node`] when a node was not recorded; [`Error::Model`].
    pub fn loss_gradients(
        &self,
        clean: &CleanRun<'_>,
        (number, batch): (usize, &Batch),
        overwrites: &BTreeMap<Node, Rows>,
        tokens: &[u32],
    ) -> Result<LossGradients, Error> {
        let mut layer = usize::MAX;
        for node in overwrites.keys() {
            layer = layer.min(if self.restarts { restart_layer(node)? } else { 0 });
        }
        let missing = |node: &Node| Error::Node {
            node: *node,
            reason: "it was not recorded in the clean run".to_owned(),
        };
        let Some(resid) = clean.resid.get(&layer) else {
            return Err(overwrites.keys().next().map_or(Error::NoPrompts, missing));
        };
        let ids: Vec<&[u32]> = batch
            .rows
            .iter()
            .map(|&row| clean.prompts[row].ids.as_slice())
            .collect();
        let pass = Passes::new(self.model, clean.batch).pass(number, batch.clone(), &ids)?;
        let prompts = Prompts::new(clean.prompts, &pass.rows);
        let (from, past) = past(&clean.keys_values[number], layer, overwrites, &prompts)?;
        let positions = |node: &Node| -> Result<Vec<usize>, Error> {
            Ok(prompts
                .positions(node)?
                .into_iter()
                .map(|position| position - from)
                .collect())
        };
        let set = overwrites.iter().map(|(node, rows)| {
            let values = rows.tensor(0..rows.len(), self.model.device()); // [B, D]
            Ok(Patch::set(
                node.hook,
                node.head,
                positions(node)?.into_iter().enumerate().collect(),
                values,
            ))
        });
        let watch: BTreeSet<HookPoint> = overwrites.keys().map(|node| node.hook).collect();
        let request = Request {
            patches: set.collect::<Result<_, Error>>()?,
            watch: watch.into_iter().collect(),
            logits: Logits::At(prompts.ends().map(|end| end - from).collect()),
            ..Request::default()
        };
        let resid = resid[number].clone(); // [B, T, d_model]
        let len = resid.dims()[1];
        let trace = pass.resume(layer, resid.narrow(1, from, len - from), past, &request)?;
        let logits = trace.logits_at()?; // [B, V]
        let ids: Vec<i32> = tokens.iter().map(|&token| token as i32).collect();
        let ids = Tensor::from_data(TensorData::new(ids, [tokens.len(), 1]), &logits.device()); // [B, 1]
        let losses = log_softmax(logits, 1).gather(1, ids).neg(); // [B, 1]
        // No prompt sees another: the gradient of the sum is that of each.
        let gradients = trace.gradients(losses.clone().sum())?;
        let read = |node: &Node| {
            let rows = gradients.at(node.hook, node.head, &positions(node)?)?; // [B, D]
            Ok((*node, Rows::from_tensor(rows)))
        };
        Ok(LossGradients {
            losses: kernels::to_vec(losses.inner()),
            gradients: overwrites.keys().map(read).collect::<Result<_, Error>>()?,
        })
    }
}
