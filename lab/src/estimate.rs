//! What stages will cost, before they begin: time from products of this machine, memory and disk from the sizes.

use std::fmt;
use std::time::Instant;

use crate::{Context, Result};
use activations::{Cost, HarvestPlan};
use dictionaries::Variant;
use lm::{Model, PassCost};
use sae::TrainConfig;
use text::Tokenizer;

/// What something will take.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Estimate {
    /// Seconds on this machine.
    pub(crate) seconds: f64,
    /// Bytes of memory that grow with the settings; the program and the weights of a model come on top.
    pub(crate) memory: f64,
    /// Of what, in words.
    what: String,
}

impl fmt::Display for Estimate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.what)
    }
}

/// The least time of three.
fn fastest(mut run: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..3).map(time).fold(f64::INFINITY, f64::min)
}

/// Seconds of a floating-point operation of this machine in a product of the size that a model's layers have.
fn seconds_per_flop(context: &Context) -> f64 {
    let (m, k, n) = (1024, 256, 1024);
    let matrix = |rows, columns| kernels::from_vec::<2>(vec![1.0; rows * columns], [rows, columns], &context.device);
    let (a, b) = (matrix(m, k), matrix(k, n));
    let product = fastest(|| {
        kernels::to_vec(kernels::matmul(a.clone(), b.clone()));
    });
    product / (2 * m * k * n) as f64
}

/// Passes over a text that `saelab splice` takes: one of the untouched model, five for the two ablations of each of `places`, two for
/// each of `n` dictionaries, and both for each of `sets` that stand in one pass.
pub(crate) fn splice_passes(places: usize, n: usize, sets: usize) -> usize {
    1 + 5 * places + 2 * n + 7 * sets
}

/// What so many passes of a text will take.
pub(crate) fn of_passes(one: PassCost, passes: usize, context: &Context) -> Estimate {
    let seconds = (one.flops * passes as f64 * seconds_per_flop(context)).ceil();
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
    let seconds = (seconds_of(&cost, context) * share).ceil();
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

/// The time of what a model computes, from one product of this machine.
pub(crate) fn seconds_of(cost: &Cost, context: &Context) -> f64 {
    cost.flops * seconds_per_flop(context)
}

/// Products of the encoder that a step of a variant takes (`saelab bench train`).
pub(crate) fn products(variant: &Variant) -> f64 {
    if variant.architecture.k().is_some() { 1.5 } else { 7.0 }
}

/// What the autoencoders of one site will take, with `n_rows` rows of width `d` in memory: the time from one encoder product of this machine.
pub(crate) fn of_training(
    n_rows: usize,
    d: usize,
    variants: &[Variant],
    config: &TrainConfig,
    context: &Context,
) -> Estimate {
    let (f, n) = (d * config.expansion, variants.len());
    let values = vec![1.0; config.batch.max(f) * d];
    let matrix = |rows: usize| kernels::from_vec::<2>(values[..rows * d].to_vec(), [rows, d], &context.device);
    let (x, w_enc) = (matrix(config.batch), matrix(f));
    let product = fastest(|| {
        kernels::to_vec(kernels::matmul(x.clone(), w_enc.clone().transpose()));
    });
    // A sparse step takes 1.5 products and a dense one 7, and small ones half a millisecond more.
    let step: f64 = variants.iter().map(|variant| products(variant) * product + 5e-4).sum();
    let parameters = (2 * f * d + 2 * f + d) as f64;
    let memory = (n_rows * d) as f64 * 4.0 + parameters * (16 * n + 4) as f64 + (config.batch * (f + 4 * d) * 8) as f64;
    let disk = parameters * (4 + 2 * 12) as f64 * n as f64;
    let seconds = (step * config.steps as f64).ceil();
    let what = format!(
        "about {seconds:.0} s, {:.0} MB of memory and {:.0} MB of disk for {n} of width {d} with {f} latents on {n_rows} rows",
        memory / 1e6,
        disk / 1e6,
    );
    Estimate { seconds, memory, what }
}
