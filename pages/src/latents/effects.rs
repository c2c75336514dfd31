//! What taking a latent away does to the answer, to first order: its part of the activation times the gradient of the logit
//! difference (attribution patching with zero as the baseline, for all latents from one backward pass).

use activations::{Dictionary, Node};
use lm::{Grouping, Logits, Passes, Request};
use tasks::{Labels, Sample, Task};

use super::measure::Source;
use super::neighbours::Directions;
use crate::Error;

/// Prompts of a pass.
const BATCH: usize = 32;

/// Mean change of the logit difference when a latent is taken away, over the prompts on which it is active, and their number, `F`.
pub(super) fn on_answer(
    node: Node,
    dictionary: &dyn Dictionary,
    directions: &Directions,
    task: &dyn Task,
    source: &Source<'_>,
) -> Result<Vec<Option<(f64, usize)>>, Error> {
    let prompts: Vec<_> = task.sample(Sample::Evaluation, source.prompts, 0);
    let prompts: Vec<_> = prompts
        .into_iter()
        .filter(|prompt| prompt.position(node.role).is_some())
        .collect();
    let rows: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.ids.as_slice()).collect();
    let position = |row: usize| prompts[row].position(node.role).unwrap_or_default();
    let device = source.model.device();
    let passes = Passes::new(source.model, BATCH).grouped(Grouping::Length);
    let per_batch = passes.run(
        &rows,
        |pass| -> Result<Request, Error> {
            Ok(Request {
                capture: vec![node.hook],
                watch: vec![node.hook],
                logits: Logits::At(pass.rows.iter().map(|&row| prompts[row].end()).collect()),
                ..Request::default()
            })
        },
        |pass, trace| {
            let at: Vec<usize> = pass.rows.iter().map(|&row| position(row)).collect();
            let logits = trace.logits_at()?; // [B, V]
            let [n, vocabulary] = logits.dims();
            let mut signs = vec![0.0; n * vocabulary];
            for (place, &row) in pass.rows.iter().enumerate() {
                signs[place * vocabulary + prompts[row].right_token() as usize] += 1.0;
                signs[place * vocabulary + prompts[row].wrong_token() as usize] -= 1.0;
            }
            let signs = kernels::from_vec(signs, [n, vocabulary], device).autodiff(); // [B, V]
            let gradients = trace.gradients((logits * signs).sum())?;
            let gradient = gradients.at(node.hook, node.head, &at)?; // [B, D]
            let activations = trace.at(node.hook, node.head, &at)?.inner(); // [B, D]
            Ok((pass.rows.clone(), activations, gradient))
        },
    )?;
    let n_latents = directions.len();
    let mut sums = vec![(0.0, 0usize); n_latents];
    for (rows, activations, gradient) in per_batch {
        let labels: Vec<Labels> = rows.iter().map(|&row| prompts[row].labels.clone()).collect();
        let codes = kernels::to_vec(dictionary.encode(activations, &labels)); // [B * F]
        let slopes = kernels::to_vec(kernels::matmul(gradient, directions.raw.clone().transpose())); // [B * F]
        for (place, (code, slope)) in codes
            .iter()
            .zip(&slopes)
            .enumerate()
            .filter(|(_, (code, _))| **code > 0.0)
        {
            let (sum, n) = &mut sums[place % n_latents.max(1)];
            *sum -= f64::from(*code) * f64::from(*slope);
            *n += 1;
        }
    }
    Ok(sums
        .into_iter()
        .map(|(sum, n)| (n > 0).then(|| (sum / n as f64, n)))
        .collect())
}
