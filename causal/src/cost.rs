//! What an evaluation costs, before it starts.
//!
//! Floating-point operations: two a weight and token in the blocks and at the positions that an intervention runs again, and
//! the unembedding at END. The time is that of one intervention at each site, times their number; small passes are slower than
//! their operations say.

use crate::site::{Site, restart_layer};
use lm::Spec;
use tasks::Prompt;

/// The cost of an evaluation.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Interventions, each over all prompts.
    pub interventions: usize,
    /// Forward passes of one prompt, most of them over the last blocks only.
    pub passes: usize,
    /// Floating-point operations.
    pub flop: f64,
    /// Bytes of clean residual streams that are held for restarts.
    pub bytes: f64,
    /// Expected seconds of the passes, from one at each site.
    pub seconds: f64,
}

/// Operations of one prompt of `tokens` through the blocks from `layer` on, of which the last `run` are run; logits at one
/// position.
pub fn flop(config: &Spec, layer: usize, tokens: usize, run: usize) -> f64 {
    let (tokens, run) = (tokens as f64, run as f64);
    let scores = 4.0 * run * tokens * (config.n_head * config.d_head) as f64;
    let block = run * config.block_flops() + scores;
    block * config.n_layer.saturating_sub(layer) as f64 + config.unembed_flops()
}

/// Positions that interventions at a site run, in the mean over prompts.
pub fn positions(site: &Site, prompts: &[Prompt]) -> usize {
    let first = |prompt: &Prompt| {
        site.nodes
            .iter()
            .filter_map(|node| prompt.position(node.role))
            .min()
            .unwrap_or(0)
    };
    let run: usize = prompts.iter().map(|prompt| prompt.ids.len() - first(prompt)).sum();
    run.div_ceil(prompts.len().max(1))
}

/// The first block that interventions at a site run.
pub fn first_layer(site: &Site) -> usize {
    site.nodes
        .iter()
        .filter_map(|node| restart_layer(node).ok())
        .min()
        .unwrap_or(0)
}
