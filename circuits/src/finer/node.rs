//! One vector of each prompt by the latents of a dictionary of it: all that goes through the vector, not one edge.
//!
//! The vector goes from what it is on the corrupted prompt to what it is on the clean one while everything else is clean, and
//! gradients are taken at the middles of equal parts of that way: integrated gradients of activation patching. What the latents and the
//! error term score adds up to what patching the vector changes, as the parts become many.

use burn::tensor::Tensor;
use dictionaries::Encoder;
use lm::{Grouping, HookPoint, Model, Passes, Patch, Request};

use super::doubles;
use crate::runs::{Batch, Run, numbers};
use crate::{Error, Metric, Pair, pairs};

/// A vector of every prompt: a hook, its head where it has heads, and a position of each clean prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vector {
    /// The hook; not scores or patterns.
    pub hook: HookPoint,
    /// The head, exactly where the hook has heads.
    pub head: Option<usize>,
    /// A position of each pair's clean prompt.
    pub positions: Vec<usize>,
}

/// Scores of the latents of a dictionary, means over pairs: how much the metric falls when a latent has the code that it has on the
/// corrupted prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Latents {
    /// Of each latent.
    pub scores: Vec<f64>,
    /// Of what the dictionary leaves over, its error term.
    pub error: f64,
    /// Of the whole vector: the sum of both.
    pub total: f64,
    /// How much the metric falls in fact when the vector is that of the corrupted prompt.
    pub patched: f64,
}

/// The scores of the latents of `dictionary` at a vector of each prompt, from `steps` gradients; `batch` pairs are run together.
///
/// # Errors
///
/// Pairs that the model cannot run; a hook that it does not have; a dictionary of another width; no steps.
pub fn node_latents(
    model: &Model,
    pairs: &[Pair],
    (metric, steps, batch): (Metric, usize, usize),
    at: &Vector,
    dictionary: &dyn Encoder,
) -> Result<Latents, Error> {
    check(model, pairs, steps, at, dictionary)?;
    let f = dictionary.n_latents();
    let directions = dictionary.directions(); // [F, D]
    let passes = Passes::new(model, batch).grouped(Grouping::Length);
    let sums = passes.each(pairs, |pass| -> Result<Vec<f64>, Error> {
        let batch = Batch::new(model, pass.rows.iter().map(|&row| &pairs[row]).collect())?;
        let positions: Vec<usize> = pass.rows.iter().map(|&row| at.positions[row]).collect();
        let (clean, corrupted) = (batch.run(&[at.hook])?, batch.run_corrupted(&[at.hook])?);
        let metric = batch.metric(metric, &clean.logits);
        let of_clean = numbers(metric.values(clean.logits.clone())).into_iter().sum::<f64>();
        let [clean, corrupted] = [&clean, &corrupted].map(|run| vectors(run, at, &positions, dictionary.d_in())); // [B, D]
        let whole = corrupted.clone() - clean.clone(); // [B, D]
        let patched = |share: f32, watch: Vec<HookPoint>| {
            let places = positions.iter().copied().enumerate().collect();
            let values = clean.clone() + whole.clone() * share;
            let request = Request {
                patches: vec![Patch::set(at.hook, at.head, places, values)],
                watch,
                ..Request::default()
            };
            batch.plain(false, request)
        };
        let mut gradient = Tensor::<2>::zeros(whole.dims(), &whole.device()); // [B, D]
        for k in 0..steps {
            let trace = patched((k as f32 + 0.5) / steps as f32, vec![at.hook])?;
            let gradients = trace.gradients(metric.values(trace.logits_at()?).sum().neg())?;
            gradient = gradient + gradients.at(at.hook, at.head, &positions)? / steps as f32;
        }
        let of_patched = numbers(metric.values(patched(1.0, Vec::new())?.logits_at()?))
            .into_iter()
            .sum::<f64>();
        let codes = dictionary.encode(corrupted) - dictionary.encode(clean.clone()); // [B, F]
        let along = gradient.clone().matmul(directions.clone().transpose()); // [B, F]
        let rest = whole.clone() - codes.clone().matmul(directions.clone()); // [B, D]
        let mut sums = doubles((codes * along).sum_dim(0)); // [1, F]
        sums.extend(doubles((rest * gradient.clone()).sum())); // [1]
        sums.extend(doubles((whole.clone() * gradient).sum())); // [1]
        sums.push(of_clean - of_patched);
        Ok(sums)
    })?;
    let mut means = vec![0.0; f + 3];
    for sum in sums {
        means
            .iter_mut()
            .zip(sum)
            .for_each(|(mean, value)| *mean += value / pairs.len() as f64);
    }
    Ok(Latents {
        error: means[f],
        total: means[f + 1],
        patched: means[f + 2],
        scores: {
            means.truncate(f);
            means
        },
    })
}

fn check(model: &Model, all: &[Pair], steps: usize, at: &Vector, dictionary: &dyn Encoder) -> Result<(), Error> {
    pairs::check(all, model.spec())?;
    let refused = |reason: String| Err(Error::Setting(format!("{}: {reason}", at.hook)));
    at.hook.check(model.spec())?;
    if steps == 0 {
        return refused("`steps` is 0: take at least one".to_owned());
    }
    let heads = if at.hook.has_heads() {
        at.hook.heads(model.spec())
    } else {
        None
    };
    if at.hook.is_by_key() || at.head.is_some() != heads.is_some() || at.head.zip(heads).is_some_and(|(h, n)| h >= n) {
        return refused("name a head of the model exactly where the hook has heads".to_owned());
    }
    let width = at.hook.width(model.spec());
    if [dictionary.d_in(), dictionary.d_out()] != [width; 2] {
        return refused(format!(
            "the dictionary is of vectors of width {}, not {width}",
            dictionary.d_in()
        ));
    }
    let fits = at.positions.len() == all.len()
        && at
            .positions
            .iter()
            .zip(all)
            .all(|(&position, pair)| position < pair.clean.len());
    match fits {
        true => Ok(()),
        false => refused("there is not one position for each pair".to_owned()),
    }
}

/// The vector of each pair in a run, `[B, width]`.
fn vectors(run: &Run, at: &Vector, positions: &[usize], width: usize) -> Tensor<2> {
    let x = run.streams[&at.hook].clone(); // [B, T, all heads' width]
    let rows = positions.iter().enumerate().map(|(row, &position)| {
        let row = x.clone().narrow(0, row, 1).narrow(1, position, 1); // [1, 1, all heads' width]
        row.narrow(2, at.head.unwrap_or(0) * width, width).reshape([1, width])
    });
    Tensor::cat(rows.collect(), 0) // [B, width]
}
