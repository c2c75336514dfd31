//! Fuzzing: do all marked tokens fit the explanation?
//!
//! As delphi asks it. In active slices the tokens of at least 0.3 of the largest activation are marked. In the wrong ones as many tokens
//! as are active on average: in inactive slices (the token at three quarters and others at random), or in active slices on tokens that
//! are not active, which asks where in the slice the latent is active.

use eval::agreement::Agreement;
use kernels::random::ChaCha8Rng;
use rand::RngExt;

use super::example::{Example, Examples};
use super::says::Says;

/// Share of the largest activation from which a token is marked.
pub(super) const MARKED: f32 = 0.3;

/// Balanced accuracy over right and wrong marks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fuzzing {
    /// Wrong marks are in inactive slices; `None` without them.
    pub inactive: Option<f64>,
    /// Wrong marks are on the inactive tokens of active slices; `None` where every token with a vector is active.
    pub active: Option<f64>,
}

/// Positions that are marked in an active slice.
pub fn marks(example: &Example) -> Vec<usize> {
    let least = MARKED * example.maximum();
    let places = example.positions.iter().zip(&example.values);
    places
        .filter(|(_, value)| **value > 0.0 && **value >= least)
        .map(|(at, _)| *at)
        .collect()
}

/// `n` positions: that at three quarters, if it is among them, and others at random.
fn random_marks(positions: &[usize], n: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut left = positions.to_vec();
    let mut marked = Vec::new();
    if !left.is_empty() {
        marked.push(left.remove(left.len() * 3 / 4));
    }
    while marked.len() < n && !left.is_empty() {
        marked.push(left.swap_remove(rng.random_range(0..left.len())));
    }
    marked
}

/// Asks of every example.
pub fn fuzzing(says: &Says<'_>, examples: &Examples, rng: &mut ChaCha8Rng) -> Fuzzing {
    let fits = |example: &Example, marked: &[usize]| marked.iter().all(|at| says.grade(example, *at) > 0);
    let n_active = |example: &Example| example.values.iter().filter(|value| **value > 0.0).count();
    let tokens: usize = examples.active.iter().map(n_active).sum();
    let n = tokens.div_ceil(examples.active.len().max(1)).max(1);
    let (mut inactive, mut active) = (Agreement::default(), Agreement::default());
    for example in &examples.active {
        let fits_right = fits(example, &marks(example));
        inactive.add(fits_right, true);
        active.add(fits_right, true);
        let silent = example
            .positions
            .iter()
            .zip(&example.values)
            .filter(|(_, value)| **value == 0.0);
        let silent: Vec<usize> = silent.map(|(at, _)| *at).collect();
        if !silent.is_empty() {
            active.add(fits(example, &random_marks(&silent, n, rng)), false);
        }
    }
    for example in examples.random.iter().chain(&examples.hard) {
        inactive.add(fits(example, &random_marks(&example.positions, n, rng)), false);
    }
    Fuzzing {
        inactive: inactive.balanced_accuracy(),
        active: active.balanced_accuracy(),
    }
}
