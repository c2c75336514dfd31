//! A batch of pairs at a model: its clean and its corrupted run.

use std::collections::BTreeMap;

use burn::tensor::{Int, Tensor, TensorData};
use lm::{HookPoint, Logits, Model, Request, Start, TokenBatch, Trace};

use crate::metric::Bound;
use crate::{Error, Metric, Pair, sources};

/// Pairs whose clean prompts have one length, `T`.
///
/// A corrupted prompt of another length stands behind an alignment: what was computed of it is taken at the position that stands for
/// each clean one, so that both runs have `T` positions. Such prompts are padded behind their end, which nothing before it sees.
#[derive(Debug, Clone)]
pub(crate) struct Batch<'a> {
    pub(crate) model: &'a Model,
    pub(crate) pairs: Vec<&'a Pair>,
    pub(crate) clean: TokenBatch,
    corrupted: TokenBatch,
    /// Last position of each corrupted prompt.
    ends: Vec<usize>,
    /// For each row and clean position the place among all corrupted positions; none where they are the same.
    alignment: Option<Vec<usize>>,
}

/// What one run of a batch left.
#[derive(Debug)]
pub(crate) struct Run {
    /// What all sources added, `[B, S, T D]`.
    pub(crate) stack: Tensor<3>,
    /// The token embedding, `[B, T, D]`.
    pub(crate) embed: Tensor<3>,
    /// Further hooks that were asked for, `[B, T, width]`, all heads side by side.
    pub(crate) streams: BTreeMap<HookPoint, Tensor<3>>,
    /// Logits behind the last position, `[B, V]`.
    pub(crate) logits: Tensor<2>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(model: &'a Model, pairs: Vec<&'a Pair>) -> Result<Self, Error> {
        let longest = pairs.iter().map(|pair| pair.corrupted.len()).max().unwrap_or(0);
        let clean: Vec<&[u32]> = pairs.iter().map(|pair| pair.clean.as_slice()).collect();
        let padded = |pair: &&Pair| {
            let mut ids = pair.corrupted.clone();
            ids.resize(longest, pair.corrupted.last().copied().unwrap_or(0));
            ids
        };
        let is_aligned = pairs.iter().any(|pair| pair.positions.is_some());
        let places = |(row, pair): (usize, &&Pair)| -> Vec<usize> {
            match &pair.positions {
                Some(positions) => positions.iter().map(|position| row * longest + position).collect(),
                None => (0..pair.clean.len()).map(|position| row * longest + position).collect(),
            }
        };
        Ok(Self {
            model,
            clean: TokenBatch::new(&clean)?,
            corrupted: TokenBatch::new(&pairs.iter().map(padded).collect::<Vec<_>>())?,
            ends: pairs.iter().map(|pair| pair.corrupted.len() - 1).collect(),
            alignment: is_aligned.then(|| pairs.iter().enumerate().flat_map(places).collect()),
            pairs,
        })
    }

    /// Pairs, `B`.
    pub(crate) fn rows(&self) -> usize {
        self.clean.rows()
    }

    /// Logits behind the last position of every row.
    fn last(&self, on_corrupted: bool) -> Logits {
        Logits::At(match on_corrupted {
            true => self.ends.clone(),
            false => vec![self.clean.len() - 1; self.rows()],
        })
    }

    /// The run on clean prompts, with `streams` kept besides the sources.
    pub(crate) fn run(&self, streams: &[HookPoint]) -> Result<Run, Error> {
        self.run_on(false, streams)
    }

    /// The run on corrupted prompts, at the positions that stand for the clean ones.
    pub(crate) fn run_corrupted(&self, streams: &[HookPoint]) -> Result<Run, Error> {
        self.run_on(true, streams)
    }

    fn run_on(&self, on_corrupted: bool, streams: &[HookPoint]) -> Result<Run, Error> {
        let mut capture = sources::hooks(self.model.spec());
        capture.extend(streams);
        let request = Request {
            capture,
            ..Request::default()
        };
        let trace = self.plain(on_corrupted, request)?;
        let aligned = |x: Tensor<3>| if on_corrupted { self.aligned(x) } else { x };
        let values = |hook: HookPoint| -> Result<Tensor<3>, Error> {
            if !hook.has_heads() {
                return Ok(trace.tensor3(hook)?); // [B, T, width]
            }
            let by_head = trace.tensor4(hook)?; // [B, T, H, Dh]
            let [b, t, h, width] = by_head.dims();
            Ok(by_head.reshape([b, t, h * width])) // [B, T, H Dh]
        };
        let kept = streams.iter().map(|&hook| Ok((hook, aligned(values(hook)?))));
        let stack = sources::stack(self.model, &trace)?; // [B, S, T D]
        Ok(Run {
            stack: if on_corrupted { self.aligned_stack(stack) } else { stack },
            embed: aligned(trace.tensor3(HookPoint::Embed)?),
            streams: kept.collect::<Result<_, Error>>()?,
            logits: trace.logits_at()?,
        })
    }

    /// Values of the corrupted run, one vector a position, at the positions that stand for the clean ones, `[B, T, width]`.
    pub(crate) fn aligned(&self, x: Tensor<3>) -> Tensor<3> {
        let Some(places) = &self.alignment else { return x };
        let [b, len, width] = x.dims();
        let places: Vec<i32> = places.iter().map(|&place| place as i32).collect();
        let n = places.len();
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [n]), &x.device());
        x.reshape([b * len, width])
            .select(0, places)
            .reshape([b, self.clean.len(), width]) // [B, T, width]
    }

    /// The same of several vectors a position that lie one after the other, `[B, n, T D]`.
    pub(crate) fn aligned_stack(&self, x: Tensor<3>) -> Tensor<3> {
        if self.alignment.is_none() {
            return x;
        }
        let ([b, n, width], len, t) = (x.dims(), self.corrupted.len(), self.clean.len());
        let d = width / len;
        let by_position = x.reshape([b, n, len, d]).swap_dims(1, 2).reshape([b, len, n * d]); // [B, T', n D]
        let aligned = self.aligned(by_position).reshape([b, t, n, d]); // [B, T, n, D]
        aligned.swap_dims(1, 2).reshape([b, n, t * d]) // [B, n, T D]
    }

    /// A run on the clean or the corrupted prompts, with logits behind the last position of each.
    pub(crate) fn plain(&self, on_corrupted: bool, request: Request) -> Result<Trace, Error> {
        let request = Request {
            logits: self.last(on_corrupted),
            ..request
        };
        let tokens = if on_corrupted { &self.corrupted } else { &self.clean };
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
