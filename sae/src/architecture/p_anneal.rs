//! p-annealing (Karvonen et al. 2024, <https://arxiv.org/abs/2408.00113>): ReLU whose penalty turns from an L1 norm into
//! something closer to a count.
//!
//! The slope of `f^p` has no bound near 0; the clip of the gradient's norm bounds what a step does. The penalty is
//! `alpha * sum f^p`. It begins with p = 1; later p falls in ten equal jumps, and `alpha` is multiplied at
//! each by what keeps the penalty of the last steps the same.
//!
//! Shapes: values are `[B, F]` or `[1, N]`.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Jumps of p.
const JUMPS: usize = 10;
/// Share of the run before the first jump.
const START: f64 = 0.1;
/// Steps over which the penalties before and after a jump are compared.
const RECENT: usize = 10;

/// The exponent and the weight as they are at a step of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Anneal {
    /// From the config, not from a checkpoint.
    #[serde(skip)]
    p_end: f64,
    jumps_done: usize,
    /// Multiplies the weight of the penalty.
    pub(crate) alpha: f32,
    /// Penalties of the last steps with the exponent of now and with the next.
    recent: Vec<[f32; 2]>,
}

impl Anneal {
    pub(crate) fn new(p_end: f64) -> Self {
        Self {
            p_end,
            jumps_done: 0,
            alpha: 1.0,
            recent: Vec::new(),
        }
    }

    /// As a checkpoint has it.
    pub(crate) fn restored(&self, from: Self) -> Self {
        Self {
            p_end: self.p_end,
            ..from
        }
    }

    /// The exponent of now.
    pub(crate) fn p(&self) -> f64 {
        self.after(self.jumps_done)
    }

    fn after(&self, jumps: usize) -> f64 {
        1.0 - (1.0 - self.p_end) * jumps as f64 / JUMPS as f64
    }

    /// The exponent after the next jump, if there is one to come.
    pub(crate) fn next_p(&self) -> Option<f64> {
        (self.jumps_done < JUMPS).then(|| self.after(self.jumps_done + 1))
    }

    /// Takes note of the sums of a step's codes to the power of now and of after the next jump, and jumps when it is time.
    pub(crate) fn observe(&mut self, sums: [f32; 2], step: usize, steps: usize) {
        self.recent.push(sums);
        if self.recent.len() > RECENT {
            self.recent.remove(0);
        }
        let start = steps as f64 * START;
        let next_jump = start + (steps as f64 - start) * self.jumps_done as f64 / JUMPS as f64;
        if (step + 1) as f64 >= next_jump {
            let [now, next] = [0, 1].map(|i| self.recent.iter().map(|pair| pair[i]).sum::<f32>());
            if next > 0.0 {
                self.alpha *= now / next;
            }
            self.jumps_done += 1;
            self.recent.clear();
        }
    }
}

/// `f^p` of every code. At 0, where the slope would be infinite, it is that of a constant.
pub(crate) fn powers(codes: Tensor<2>, p: f64) -> Tensor<2> {
    if p == 1.0 {
        return codes;
    }
    let zero = codes.clone().detach().equal_elem(0.0).float();
    (codes + zero.clone()).powf_scalar(p) - zero
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::{cpu, from_vec, to_vec};

    #[test]
    fn the_penalty_stays_while_p_falls() {
        let codes = from_vec(vec![0.0, 0.5, 2.0, 0.1], [2, 2], &cpu());
        let penalty = |anneal: &Anneal| anneal.alpha * to_vec(powers(codes.clone(), anneal.p()).sum())[0];
        let mut anneal = Anneal::new(0.2);
        let first = penalty(&anneal);
        let mut exponents = Vec::new();
        for step in 0..200 {
            assert!((penalty(&anneal) / first - 1.0).abs() < 1e-5, "step {step}");
            if let Some(next) = anneal.next_p() {
                let sum = |p| to_vec(powers(codes.clone(), p).sum())[0];
                anneal.observe([sum(anneal.p()), sum(next)], step, 200);
            }
            exponents.push(anneal.p());
        }
        assert_eq!((exponents[18], exponents[19]), (1.0, 0.92));
        assert!((anneal.p() - 0.2).abs() < 1e-12);
    }
}
