//! What the direction of a latent alone does to the logits: the last norm and the unembedding of it, less those of nothing.
//!
//! The norm makes the direction of one length, so the numbers say which tokens, and not how much an activation moves them.

use lm::{HookPoint, Logits, Model, Past, Request, Start};

use super::neighbours::{Directions, largest};
use crate::Error;

/// Directions that go through the unembedding at once.
const BLOCK: usize = 64;
/// Tokens of each end that are kept.
const KEPT: usize = 10;

/// Token ids and what is added to their logits: raised most, and lowered most.
type Ends = [Vec<(u32, f32)>; 2];

/// Whether vectors of a hook are summands of the residual stream, or the stream itself.
fn is_residual(hook: HookPoint) -> bool {
    let name = hook.to_string();
    [
        "hook_resid_pre",
        "hook_resid_mid",
        "hook_resid_post",
        "hook_attn_out",
        "hook_mlp_out",
    ]
    .iter()
    .any(|end| name.ends_with(end))
}

/// The logits that each direction raises and lowers most, `F`.
pub(super) fn direct(writes: HookPoint, directions: &Directions, model: &Model) -> Result<Vec<Option<Ends>>, Error> {
    let spec = model.spec();
    let [n, width] = directions.raw.dims();
    if !is_residual(writes) || width != spec.d_model {
        return Ok(vec![None; n]);
    }
    let device = directions.raw.device();
    let through = |rows: burn::tensor::Tensor<2>| -> Result<Vec<f32>, Error> {
        let n = rows.dims()[0];
        let start = Start::Resid {
            layer: spec.n_layer,
            resid: rows.reshape([n, 1, width]), // [B, 1, D]
            past: Past::default(),
        };
        let request = Request {
            logits: Logits::At(vec![0; n]),
            ..Request::default()
        };
        Ok(kernels::to_vec(model.run(start, &request)?.logits_at()?)) // [B * V]
    };
    let nothing = through(burn::tensor::Tensor::zeros([1, width], &device))?; // [V]
    let mut found = Vec::with_capacity(n);
    for start in (0..n).step_by(BLOCK) {
        let end = n.min(start + BLOCK);
        let logits = through(directions.raw.clone().slice([start..end, 0..width]))?;
        for row in logits.chunks_exact(nothing.len().max(1)) {
            let added = || (0..).zip(row.iter().zip(&nothing).map(|(logit, nothing)| logit - nothing));
            let lowered = largest(added().map(|(token, value)| (token, -value)), KEPT);
            let lowered = lowered.into_iter().map(|(token, value)| (token, -value)).collect();
            found.push(Some([largest(added(), KEPT), lowered]));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tensor};
    use dictionaries::{Dictionary, Encoder};
    use std::path::Path;

    /// Two directions, and nothing else.
    struct Two(Vec<f32>);

    impl Dictionary for Two {
        fn d_in(&self) -> usize {
            self.0.len() / 2
        }
        fn n_latents(&self) -> usize {
            2
        }
        fn device(&self) -> Device {
            kernels::cpu()
        }
        fn decode(&self, codes: Tensor<2>) -> Tensor<2> {
            let rows = kernels::from_vec(self.0.clone(), [2, self.d_in()], &kernels::cpu());
            kernels::matmul(codes, rows)
        }
    }

    impl Encoder for Two {
        fn encode(&self, activations: Tensor<2>) -> Tensor<2> {
            Tensor::zeros([activations.dims()[0], 2], &kernels::cpu())
        }
    }

    /// Against the last norm and the tied unembedding of a GPT-2 computed from its file in f64.
    #[test]
    fn logits_are_those_of_norm_and_unembedding() {
        let folder = Path::new("../models/small-world");
        let model = Model::load(folder, &kernels::cpu()).unwrap();
        let d = model.spec().d_model;
        let values: Vec<f32> = (0..2 * d).map(|i| ((i * 7919 % 101) as f32 - 50.0) / 40.0).collect();
        let directions = Directions::of(&Two(values.clone()));
        let found = direct("blocks.2.hook_resid_pre".parse().unwrap(), &directions, &model).unwrap();
        let tensors = artifacts::read_tensors(&folder.join("model.safetensors")).unwrap();
        let named = |end: &str| &tensors.iter().find(|(name, _)| name.ends_with(end)).unwrap().1.data;
        let (embed, scale) = (named("wte.weight"), named("ln_f.weight"));
        for (latent, found) in found.into_iter().enumerate() {
            let u: Vec<f64> = values[latent * d..(latent + 1) * d]
                .iter()
                .map(|x| f64::from(*x))
                .collect();
            let mean = u.iter().sum::<f64>() / d as f64;
            let variance = u.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / d as f64;
            let logit = |token: u32| -> f64 {
                let row = &embed[token as usize * d..(token as usize + 1) * d];
                let terms = u.iter().zip(scale).zip(row);
                terms
                    .map(|((x, scale), w)| (x - mean) / (variance + 1e-5).sqrt() * f64::from(*scale) * f64::from(*w))
                    .sum()
            };
            let mut all: Vec<f64> = (0..model.spec().d_vocab as u32).map(logit).collect();
            let [raised, lowered] = found.unwrap();
            for &(token, value) in raised.iter().chain(&lowered) {
                assert!(
                    (f64::from(value) - logit(token)).abs() < 1e-3,
                    "{value}, {}",
                    logit(token)
                );
            }
            all.sort_by(f64::total_cmp);
            assert!((all[all.len() - 1] - f64::from(raised[0].1)).abs() < 1e-3);
            assert!((all[0] - f64::from(lowered[0].1)).abs() < 1e-3);
        }
        let other = direct("blocks.2.attn.hook_z".parse().unwrap(), &directions, &model).unwrap();
        assert_eq!(other, [None, None]);
    }
}
