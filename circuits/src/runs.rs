//! A batch of pairs at a model: its clean and its corrupted run.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use lm::{HookPoint, Logits, Model, Request, Start, TokenBatch, Trace};

use crate::metric::Bound;
use crate::{Error, Metric, Pair, sources};

/// Pairs of one length.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) model: &'a Model,
    pub(crate) pairs: Vec<&'a Pair>,
    pub(crate) clean: TokenBatch,
    pub(crate) corrupted: TokenBatch,
}

/// What one run of a batch left.
#[derive(Debug)]
pub(crate) struct Run {
    /// What all sources added, `[B, S, T D]`.
    pub(crate) stack: Tensor<3>,
    /// The token embedding, `[B, T, D]`.
    pub(crate) embed: Tensor<3>,
    /// Further hooks that were asked for, `[B, T, D]`.
    pub(crate) streams: BTreeMap<HookPoint, Tensor<3>>,
    /// Logits behind the last position, `[B, V]`.
    pub(crate) logits: Tensor<2>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(model: &'a Model, pairs: Vec<&'a Pair>) -> Result<Self, Error> {
        let rows = |of: fn(&Pair) -> &[u32]| pairs.iter().map(|pair| of(pair)).collect::<Vec<_>>();
        Ok(Self {
            model,
            clean: TokenBatch::new(&rows(|pair| &pair.clean))?,
            corrupted: TokenBatch::new(&rows(|pair| &pair.corrupted))?,
            pairs,
        })
    }

    /// Pairs, `B`.
    pub(crate) fn rows(&self) -> usize {
        self.clean.rows()
    }

    /// Logits behind the last position of every row.
    pub(crate) fn last(&self) -> Logits {
        Logits::At(vec![self.clean.len() - 1; self.rows()])
    }

    /// The run on clean or corrupted tokens, with `streams` kept besides the sources.
    pub(crate) fn run(&self, tokens: &TokenBatch, streams: &[HookPoint]) -> Result<Run, Error> {
        let mut capture = sources::hooks(self.model.spec());
        capture.extend(streams);
        let request = Request {
            capture,
            logits: self.last(),
            ..Request::default()
        };
        let trace = self.model.run(Start::Tokens(tokens), &request)?;
        let kept = streams.iter().map(|&hook| Ok((hook, trace.tensor3(hook)?)));
        Ok(Run {
            stack: sources::stack(self.model, &trace)?,
            embed: trace.tensor3(HookPoint::Embed)?,
            streams: kept.collect::<Result<_, Error>>()?,
            logits: trace.logits_at()?,
        })
    }

    /// The logits of a run where nothing is looked at, as every run without patches is.
    pub(crate) fn plain(&self, tokens: &TokenBatch, request: Request) -> Result<Trace, Error> {
        let request = Request {
            logits: self.last(),
            ..request
        };
        Ok(self.model.run(Start::Tokens(tokens), &request)?)
    }

    /// The metric of these pairs, whose clean run predicts `clean` `[B, V]`.
    pub(crate) fn metric(&self, metric: Metric, clean: &Tensor<2>) -> Bound {
        metric.of(&self.pairs, clean)
    }
}

/// Numbers of a tensor in double precision.
pub(crate) fn numbers(tensor: Tensor<1>) -> Vec<f64> {
    kernels::to_vec(tensor).into_iter().map(f64::from).collect()
}
