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
        let logits = through(directions.raw.clone().slice([start..end]))?;
        for row in logits.chunks_exact(nothing.len().max(1)) {
            let added = || (0..).zip(row.iter().zip(&nothing).map(|(logit, nothing)| logit - nothing));
            let lowered = largest(added().map(|(token, value)| (token, -value)), KEPT);
            let lowered = lowered.into_iter().map(|(token, value)| (token, -value)).collect();
            found.push(Some([largest(added(), KEPT), lowered]));
        }
    }
    Ok(found)
}
