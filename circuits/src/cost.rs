//! What scoring will take, reckoned before it begins.

use lm::Spec;

use crate::{Ablation, Graph, Method, Pair, ScoreOptions, exact};

/// What scoring will take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Forward passes of one pair; those that begin at a later block count as their share.
    pub forward: f64,
    /// Backward passes of one pair.
    pub backward: f64,
    /// Floating-point operations of the linear layers, for all pairs. A backward pass counts as a forward pass, since no weight has
    /// a gradient.
    pub flops: f64,
}

/// What scoring `pairs` will take.
pub fn cost(spec: &Spec, pairs: &[Pair], options: &ScoreOptions) -> Cost {
    let (steps, layers) = (options.steps as f64, spec.n_layer as f64);
    let (forward, backward) = match options.method {
        Method::Eap | Method::Relp | Method::RelpFrozenPatterns => (3.0, 1.0),
        Method::EapIgInputs => (2.0 + steps, steps),
        Method::EapIgActivations | Method::EapIgActivationsMended => {
            let runs = steps * (1.0 + 2.0 * layers);
            (2.0 + runs, runs)
        }
        Method::CleanCorrupted => (4.0, 2.0),
        Method::InformationFlow => (2.0, 0.0),
        Method::Exact => (2.0 + exact::passes(&Graph::new(spec)), 0.0),
    };
    let for_means = if options.ablation == Ablation::Mean { 1.0 } else { 0.0 };
    let forward = forward + for_means;
    Cost {
        forward,
        backward,
        flops: (forward + backward) * forward_flops(spec, pairs),
    }
}

/// Floating-point operations of the linear layers in a forward pass of all `pairs`, of one side of each.
pub fn forward_flops(spec: &Spec, pairs: &[Pair]) -> f64 {
    let tokens: usize = pairs.iter().map(|pair| pair.clean.len()).sum();
    tokens as f64 * spec.n_layer as f64 * spec.block_flops() + pairs.len() as f64 * spec.unembed_flops()
}
