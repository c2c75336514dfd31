//! Adam (Kingma & Ba 2014, <https://arxiv.org/abs/1412.6980>) and AdamW's decoupled weight decay
//! (Loshchilov & Hutter 2017, <https://arxiv.org/abs/1711.05101>).
//!
//! burn's own optimiser keeps its state behind parameter ids that safetensors files do not carry; this one keeps it in
//! numbered slots that a checkpoint stores and restores.

use burn::tensor::{Device, Tensor};

use crate::{from_vec, to_vec};

/// Hyperparameters that stay constant during a run; the learning rate is given at each step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamConfig {
    /// Decay of the first moment.
    pub beta_1: f32,
    /// Decay of the second moment.
    pub beta_2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
}

impl Default for AdamConfig {
    /// PyTorch's defaults.
    fn default() -> Self {
        Self {
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
        }
    }
}

/// First and second moment of one parameter, flattened.
#[derive(Debug, Clone)]
pub struct Moments {
    /// Running mean of the gradient, `[n]`.
    pub first: Tensor<1>,
    /// Running mean of the squared gradient, `[n]`.
    pub second: Tensor<1>,
}

/// The optimiser: one slot of [`Moments`] a parameter.
#[derive(Debug, Clone)]
pub struct Adam {
    config: AdamConfig,
    step: i32,
    slots: Vec<Option<Moments>>,
}

impl Adam {
    /// An optimiser for `n_slots` parameters that has taken no step.
    pub fn new(config: AdamConfig, n_slots: usize) -> Self {
        Self {
            config,
            step: 0,
            slots: vec![None; n_slots],
        }
    }

    /// Begins a step; every [`Adam::update`] until the next call belongs to it.
    pub fn begin_step(&mut self) {
        self.step += 1;
    }

    /// The parameter of `slot` after this step.
    ///
    /// `weight_decay` is AdamW's: the parameter shrinks by `learning_rate * weight_decay`, apart from the gradient.
    /// Both tensors are plain (not autodiff).
    pub fn update<const D: usize>(
        &mut self,
        slot: usize,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        learning_rate: f64,
        weight_decay: f64,
    ) -> Tensor<D> {
        let AdamConfig {
            beta_1,
            beta_2,
            epsilon,
        } = self.config;
        let shape = parameter.dims();
        let n = shape.iter().product::<usize>();
        let g = gradient.reshape([n]); // [n]
        let (first, second) = match self.slots[slot].take() {
            Some(Moments { first, second }) => (
                first * beta_1 + g.clone() * (1.0 - beta_1),
                second * beta_2 + g.clone() * g * (1.0 - beta_2),
            ),
            None => (g.clone() * (1.0 - beta_1), g.clone() * g * (1.0 - beta_2)),
        };
        let scale_1 = learning_rate / (1.0 - f64::from(beta_1).powi(self.step));
        let scale_2 = (1.0 / (1.0 - f64::from(beta_2).powi(self.step))).sqrt();
        let update = first.clone() / (second.clone().sqrt() * scale_2 + epsilon) * scale_1; // [n]
        self.slots[slot] = Some(Moments { first, second });
        let parameter = if weight_decay == 0.0 {
            parameter
        } else {
            parameter * (1.0 - learning_rate * weight_decay)
        };
        parameter - update.reshape(shape)
    }

    /// Steps taken.
    pub fn step(&self) -> i32 {
        self.step
    }

    /// The state as host vectors, for a checkpoint: `(first, second)` by slot; empty where no update has come yet.
    pub fn state(&self) -> Vec<(Vec<f32>, Vec<f32>)> {
        self.slots
            .iter()
            .map(|slot| match slot {
                Some(moments) => (to_vec(moments.first.clone()), to_vec(moments.second.clone())),
                None => (Vec::new(), Vec::new()),
            })
            .collect()
    }

    /// Restores what [`Adam::state`] and [`Adam::step`] gave.
    pub fn restore(config: AdamConfig, step: i32, state: Vec<(Vec<f32>, Vec<f32>)>, device: &Device) -> Self {
        let slots = state
            .into_iter()
            .map(|(first, second)| {
                let n = first.len();
                (n > 0).then(|| Moments {
                    first: from_vec(first, [n], device),
                    second: from_vec(second, [n], device),
                })
            })
            .collect();
        Self { config, step, slots }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu;

    /// The textbook loop in f64 on one number.
    fn reference(gradients: &[f64], learning_rate: f64, decay: f64) -> f64 {
        let (mut x, mut m, mut v) = (1.0_f64, 0.0_f64, 0.0_f64);
        for (t, g) in gradients.iter().enumerate() {
            let t = t as i32 + 1;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            x *= 1.0 - learning_rate * decay;
            x -= learning_rate * (m / (1.0 - 0.9_f64.powi(t))) / ((v / (1.0 - 0.999_f64.powi(t))).sqrt() + 1e-8);
        }
        x
    }

    #[test]
    fn matches_the_textbook_and_survives_a_restore() {
        let gradients = [0.3, -2.0, 0.05, 1.0];
        let mut adam = Adam::new(AdamConfig::default(), 1);
        let mut x: Tensor<1> = from_vec(vec![1.0], [1], &cpu());
        for (i, g) in gradients.iter().enumerate() {
            if i == 2 {
                adam = Adam::restore(AdamConfig::default(), adam.step(), adam.state(), &cpu());
            }
            adam.begin_step();
            x = adam.update(0, x, from_vec(vec![*g as f32], [1], &cpu()), 0.01, 0.1);
        }
        let expected = reference(&gradients, 0.01, 0.1);
        assert!((f64::from(to_vec(x)[0]) - expected).abs() < 1e-6);
    }
}
