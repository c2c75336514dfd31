//! What taking a latent away does to the answer, to first order: its part of the activation times the gradient of the logit
//! difference (attribution patching with zero as the baseline, for all latents from one backward pass).

use activations::Node;
use eval::TaskDictionary;
use lm::{Grouping, Logits, Model, Passes, Request};
use tasks::{Labels, Prompt};

use super::neighbours::Directions;
use crate::Error;

/// Prompts of a pass.
const BATCH: usize = 32;

/// Mean change of the logit difference when a latent is taken away, over the prompts on which it is active, and their number, `F`.
pub(super) fn on_answer(
    node: Node,
    dictionary: &TaskDictionary,
    directions: &Directions,
    prompts: &[Prompt],
    model: &Model,
) -> Result<Vec<Option<(f64, usize)>>, Error> {
    let prompts: Vec<&Prompt> = prompts
        .iter()
        .filter(|prompt| prompt.position(node.role).is_some())
        .collect();
    let rows: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.ids.as_slice()).collect();
    let position = |row: usize| prompts[row].position(node.role).unwrap_or_default();
    let device = model.device();
    let passes = Passes::new(model, BATCH).grouped(Grouping::Length);
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
        let codes = kernels::to_vec(dictionary.encode_labelled(activations, &labels)); // [B * F]
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

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tensor};
    use dictionaries::{Dictionary, Encoder};
    use lm::{Patch, Start, TokenBatch};
    use std::path::Path;
    use tasks::{Sample, TaskSource};
    use text::Tokenizer;

    /// A latent for each number of the activation, active where it is above 0.
    struct Positive(usize);

    impl Dictionary for Positive {
        fn d_in(&self) -> usize {
            self.0
        }
        fn n_latents(&self) -> usize {
            self.0
        }
        fn device(&self) -> Device {
            kernels::cpu()
        }
        fn decode(&self, codes: Tensor<2>) -> Tensor<2> {
            codes
        }
    }

    impl Encoder for Positive {
        fn encode(&self, activations: Tensor<2>) -> Tensor<2> {
            activations.clamp_min(0.0)
        }
    }

    /// Against central differences: a little of each latent is added and taken away, and the model runs.
    #[test]
    fn the_gradient_is_what_small_changes_do() {
        let folder = Path::new("../models/small-world");
        let model = Model::load(folder, &kernels::cpu()).unwrap();
        let task = TaskSource::Ioi.open(&Tokenizer::open(folder).unwrap()).unwrap();
        let prompts = task.sample(Sample::Evaluation, 6, 1);
        let node: Node = "blocks.2.hook_resid_pre@END".parse().unwrap();
        let dictionary = Positive(model.spec().d_model);
        let directions = Directions::of(&dictionary);
        let found = on_answer(node, &dictionary, &directions, &prompts, &model).unwrap();
        for latent in [3, 40, 101] {
            let mut changes = Vec::new();
            for prompt in &prompts {
                let batch = TokenBatch::new(&[&prompt.ids]).unwrap();
                let at = prompt.position(node.role).unwrap();
                let run = |values: Option<Vec<f32>>| {
                    let patch = values.map(|values| {
                        let values = kernels::from_vec(values, [1, dictionary.0], model.device());
                        Patch::set(node.hook, None, vec![(0, at)], values)
                    });
                    let request = Request {
                        capture: vec![node.hook],
                        patches: patch.into_iter().collect(),
                        logits: Logits::At(vec![prompt.end()]),
                        ..Request::default()
                    };
                    let trace = model.run(Start::Tokens(&batch), &request).unwrap();
                    let logits = kernels::to_vec(trace.logits_at().unwrap());
                    let difference = logits[prompt.right_token() as usize] - logits[prompt.wrong_token() as usize];
                    (
                        f64::from(difference),
                        kernels::to_vec(trace.at(node.hook, None, &[at]).unwrap()),
                    )
                };
                let (_, values) = run(None);
                if values[latent] <= 0.0 {
                    continue;
                }
                let step = 0.05;
                let changed = |by: f32| {
                    let mut values = values.clone();
                    values[latent] += by;
                    run(Some(values)).0
                };
                let slope = (changed(step) - changed(-step)) / (2.0 * f64::from(step));
                changes.push(-slope * f64::from(values[latent]));
            }
            let (change, n) = found[latent].unwrap();
            let expected = changes.iter().sum::<f64>() / changes.len() as f64;
            assert_eq!(n, changes.len());
            assert!(
                (change - expected).abs() < 0.02 * expected.abs() + 2e-3,
                "{change}, {expected}"
            );
        }
    }
}
