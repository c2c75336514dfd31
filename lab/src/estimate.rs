//! What stages will cost, before they begin: time from products of this machine, memory and disk from the sizes.

use std::fmt;
use std::time::Instant;

use crate::{Context, Result};
use activations::{Cost, HarvestPlan};
use kernels::{UsedAs, Weight};
use lm::{Dtype, Model, PassCost};
use text::Tokenizer;

/// What something will take.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Estimate {
    /// Seconds on this machine.
    pub(crate) seconds: f64,
    /// Bytes of memory that grow with the settings; the program and the weights of a model come on top.
    pub(crate) memory: f64,
    /// Of what, in words.
    pub(crate) what: String,
}

impl fmt::Display for Estimate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.what)
    }
}

/// Runs of a timed product, and seconds that they fill at least: the first ones find threads asleep and caches cold.
const TIMED: (usize, f64) = (3, 0.1);

/// The least time of several runs.
pub(crate) fn fastest(mut run: impl FnMut()) -> f64 {
    let (mut least, mut sum, mut runs) = (f64::INFINITY, 0.0, 0);
    while runs < TIMED.0 || sum < TIMED.1 {
        let start = Instant::now();
        run();
        let seconds = start.elapsed().as_secs_f64();
        (least, sum, runs) = (least.min(seconds), sum + seconds, runs + 1);
    }
    least
}

/// Seconds of a floating-point operation of this machine, in a product of the size that a model's layers have, with a matrix that is
/// kept in `dtype`.
fn seconds_per_flop(dtype: Dtype, context: &Context) -> f64 {
    let (m, k, n) = (1024, 576, 1536);
    let a = kernels::from_vec::<2>(vec![1.0; m * k], [m, k], &context.device);
    let b = match dtype.half() {
        None => kernels::from_vec::<2>(vec![1.0; k * n], [k, n], &context.device).into(),
        Some(half) => Weight::of_halves(
            half,
            vec![half.narrow(1.0); k * n],
            [k, n],
            UsedAs::Layer,
            &context.device,
        ),
    };
    let product = fastest(|| {
        kernels::to_vec(b.multiply(a.clone()));
    });
    product / (2 * m * k * n) as f64
}

/// Passes over a text that `saelab splice` takes: one of the untouched model, five for the two ablations of each of `places`, two for
/// each of `n` dictionaries, and both for each of `sets` that stand in one pass.
pub(crate) fn splice_passes(places: usize, n: usize, sets: usize) -> usize {
    1 + 5 * places + 3 * n + 7 * sets
}

/// What so many passes of a model over a text will take.
pub(crate) fn of_passes(one: PassCost, passes: usize, model: &Model, context: &Context) -> Estimate {
    let seconds = (one.flops * passes as f64 * seconds_per_flop(model.dtype(), context)).ceil();
    Estimate {
        seconds,
        memory: 0.0,
        what: format!("{} tokens, about {seconds:.0} s", one.tokens),
    }
}

/// What the part of a harvest that a plan names will take: the time from one product of this machine.
pub(crate) fn of_harvest(
    plan: &HarvestPlan,
    model: &Model,
    tokenizer: &Tokenizer,
    context: &Context,
) -> Result<Estimate, activations::Error> {
    let cost = plan.cost(model, tokenizer)?;
    let share = 1.0 / plan.part.of as f64;
    let seconds = (seconds_of(&cost, model, context) * share).ceil();
    let (disk, memory) = (cost.disk as f64 * share, cost.window as f64);
    let what = format!(
        "{} tokens, {} vectors of each hook, about {seconds:.0} s, {:.0} MB of disk and {:.0} MB of memory to shuffle in",
        cost.tokens,
        cost.rows,
        disk / 1e6,
        memory / 1e6
    );
    Ok(Estimate { seconds, memory, what })
}

/// Seconds that a harvest will take, from one product of this machine.
pub(crate) fn seconds_of(cost: &Cost, model: &Model, context: &Context) -> f64 {
    cost.flops * seconds_per_flop(model.dtype(), context)
}

/// Time of the pages of latents over that of the encoder's products alone: codes are also sorted into contexts and histograms, one by
/// one. Measured on 1.45 M vectors of SmolLM2 with 12,672 latents, 32 of them active.
const OF_PAGES: f64 = 3.0;

/// Estimated seconds of making pages of latents, whose encoder's products take `flops` floating-point operations.
pub(crate) fn of_pages(flops: f64, context: &Context) -> f64 {
    flops * OF_PAGES * seconds_per_flop(Dtype::F32, context)
}

/// Time of a circuit's passes over that of the layers' products alone: every edge into a node is summed, and heads have inputs of their
/// own. Measured at GPT-2 small's sizes and on SmolLM2, pairs of 15 to 20 tokens.
const OF_CIRCUITS: f64 = 7.0;

/// Estimated seconds of a circuit's passes, whose layers' products take `flops` floating-point operations.
pub(crate) fn of_circuits(flops: f64, model: &Model, context: &Context) -> f64 {
    (flops * OF_CIRCUITS * seconds_per_flop(model.dtype(), context)).ceil()
}
