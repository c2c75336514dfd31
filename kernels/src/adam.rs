//! Adam (Kingma & Ba 2014, <https://arxiv.org/abs/1412.6980>) and AdamW's decoupled weight decay
//! (Loshchilov & Hutter 2017, <https://arxiv.org/abs/1711.05101>).
//!
//! burn's own optimiser keeps its state behind parameter ids that safetensors files do not carry; this one keeps it in
//! numbered slots that a checkpoint stores and restores. On the CPU and on a GPU a step is one pass over memory, in place;
//! elsewhere the same formulas are burn operations.
//!
//! Shapes: `F` rows, `D` width, `n` numbers.

use burn::backend::Flex;
use burn::tensor::{Device, Tensor};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::adam_state::{Factors, Moments, SMALLEST_NORM};
use crate::host::{self, flex_slice_mut, into_flex};
use crate::vector::{dot, simd};
use crate::{Scalar, from_vec, to_vec};

/// Numbers that one task of the thread pool takes at a time, about.
const NUMBERS_PER_TASK: usize = 1 << 14;

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

/// What one update does.
#[derive(Debug, Clone)]
pub struct Update {
    /// Step size.
    pub learning_rate: f64,
    /// AdamW's: the parameter shrinks by `learning_rate * weight_decay`, apart from the gradient.
    pub weight_decay: f64,
    /// Multiplies the gradient: what clips its norm.
    pub gradient_scale: Scalar,
    /// Rows of the parameter have norm 1: what the gradient has along them is removed first, and they are brought back to
    /// norm 1 afterwards.
    pub unit_rows: bool,
}

impl Update {
    /// A plain step: no decay, no clip, no constraint.
    pub fn plain(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            weight_decay: 0.0,
            gradient_scale: 1.0.into(),
            unit_rows: false,
        }
    }
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

    /// Moves the parameter of `slot`; both tensors are plain (not autodiff). A tensor that nobody else holds is
    /// changed in place.
    ///
    /// # Shapes
    ///
    /// - parameter, gradient: the same; with [`Update::unit_rows`] two-dimensional, `[F, D]`
    pub fn update<const D: usize>(
        &mut self,
        slot: usize,
        parameter: &mut Tensor<D>,
        gradient: Tensor<D>,
        update: &Update,
    ) {
        let shape = parameter.dims();
        let n: usize = shape.iter().product();
        let factors = Factors::new(&self.config, self.step, update);
        let device = parameter.device();
        let Moments { first, second } = self.slots[slot].take().unwrap_or_else(|| Moments {
            first: Tensor::zeros([n], &device),
            second: Tensor::zeros([n], &device),
        });
        let taken = std::mem::replace(parameter, Tensor::zeros([0; D], &device));
        let (moved, moments) = match (into_flex(taken), into_flex(first), into_flex(second)) {
            (Ok(parameter), Ok(first), Ok(second)) => {
                factors.step_on_cpu([parameter, first, second], &gradient, shape[D - 1])
            }
            (Err(parameter), Err(first), Err(second)) => {
                factors.step_on_device(parameter, gradient, Moments { first, second })
            }
            _ => unreachable!("the moments lie on the device of the parameter"),
        };
        self.slots[slot] = Some(moments);
        *parameter = moved;
    }

    /// Steps taken.
    pub fn step(&self) -> i32 {
        self.step
    }

    /// The moments by slot, for a checkpoint; none where no update has come yet.
    pub fn slots(&self) -> &[Option<Moments>] {
        &self.slots
    }

    /// Forgets the moments of some rows of the parameter of `slot`, which has `n_rows` of them.
    pub fn reset_rows(&mut self, slot: usize, rows: &[u32], n_rows: usize) {
        let Some(moments) = &mut self.slots[slot] else { return };
        for moment in [&mut moments.first, &mut moments.second] {
            let device = moment.device();
            let mut values = to_vec(moment.clone());
            let n = values.len();
            for &row in rows {
                values[row as usize * n / n_rows..][..n / n_rows].fill(0.0);
            }
            *moment = from_vec(values, [n], &device);
        }
    }

    /// Restores what [`Adam::slots`] and [`Adam::step`] gave: `(first, second)` by slot, empty where there was none.
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

impl Factors {
    fn new(config: &AdamConfig, step: i32, update: &Update) -> Self {
        let correction = |beta: f32| 1.0 - f64::from(beta).powi(step);
        Self {
            beta_1: config.beta_1,
            beta_2: config.beta_2,
            epsilon: config.epsilon,
            rate: (update.learning_rate / correction(config.beta_1)) as f32,
            root: (1.0 / correction(config.beta_2)).sqrt() as f32,
            shrink: (1.0 - update.learning_rate * update.weight_decay) as f32,
            gradient_scale: update.gradient_scale.clone(),
            unit_rows: update.unit_rows,
        }
    }

    /// One pass over everything; rows of `width` are projected and renormalised on the way.
    fn step_on_cpu<const D: usize>(
        &self,
        parameter_and_moments: [FlexTensor; 3],
        gradient: &Tensor<D>,
        width: usize,
    ) -> (Tensor<D>, Moments) {
        let gradient = host::read(gradient);
        let [mut parameter, mut first, mut second] = parameter_and_moments.map(host::contiguous);
        let (width, scale) = (width.max(1), self.gradient_scale.read() as f32);
        let per_task = (NUMBERS_PER_TASK / width).max(1) * width;
        flex_slice_mut(&mut parameter)
            .par_chunks_mut(per_task)
            .zip(gradient.as_slice().par_chunks(per_task))
            .zip(flex_slice_mut(&mut first).par_chunks_mut(per_task))
            .zip(flex_slice_mut(&mut second).par_chunks_mut(per_task))
            .for_each(|(((w, g), m), v)| {
                simd!(|| {
                    let rows = w.chunks_mut(width).zip(g.chunks(width));
                    let moments = m.chunks_mut(width).zip(v.chunks_mut(width));
                    for ((w, g), (m, v)) in rows.zip(moments) {
                        self.step_row(w, g, m, v, scale);
                    }
                });
            });
        let moments = Moments {
            first: Tensor::from_primitive::<Flex>(first),
            second: Tensor::from_primitive::<Flex>(second),
        };
        (Tensor::from_primitive::<Flex>(parameter), moments)
    }

    #[inline(always)]
    fn step_row(&self, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], scale: f32) {
        let along = if self.unit_rows { dot(g, w) } else { 0.0 };
        for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            let g = (g - along * *w) * scale;
            *m = self.beta_1 * *m + (1.0 - self.beta_1) * g;
            *v = self.beta_2 * *v + (1.0 - self.beta_2) * g * g;
            *w = *w * self.shrink - self.rate * *m / (v.sqrt() * self.root + self.epsilon);
        }
        if self.unit_rows {
            let factor = 1.0 / dot(w, w).sqrt().max(SMALLEST_NORM);
            w.iter_mut().for_each(|w| *w *= factor);
        }
    }

    /// The same on another device: a kernel of its own on a GPU.
    fn step_on_device<const D: usize>(
        &self,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        moments: Moments,
    ) -> (Tensor<D>, Moments) {
        #[cfg(any(feature = "wgpu", feature = "cuda"))]
        let (parameter, gradient, moments) = match crate::adam_gpu::step(self, parameter, gradient, moments) {
            Ok(moved) => return moved,
            Err(not_here) => not_here,
        };
        self.step_anywhere(parameter, gradient, moments.first, moments.second)
    }

    /// The same as burn operations, for any device.
    fn step_anywhere<const D: usize>(
        &self,
        parameter: Tensor<D>,
        mut gradient: Tensor<D>,
        first: Tensor<1>,
        second: Tensor<1>,
    ) -> (Tensor<D>, Moments) {
        let shape = parameter.dims();
        if self.unit_rows {
            let along = (gradient.clone() * parameter.clone()).sum_dim(D - 1); // [F, 1]
            gradient = gradient - along * parameter.clone();
        }
        let scale = self.gradient_scale.tensor(&first); // [1]
        let g = gradient.reshape([shape.iter().product::<usize>()]) * scale; // [n]
        let first = first * self.beta_1 + g.clone() * (1.0 - self.beta_1);
        let second = second * self.beta_2 + g.square() * (1.0 - self.beta_2);
        let step = first.clone() / (second.clone().sqrt() * self.root + self.epsilon) * self.rate; // [n]
        let mut parameter = parameter * self.shrink - step.reshape(shape);
        if self.unit_rows {
            let norm = parameter
                .clone()
                .square()
                .sum_dim(D - 1)
                .sqrt()
                .clamp_min(SMALLEST_NORM); // [F, 1]
            parameter = parameter / norm;
        }
        (parameter, Moments { first, second })
    }
}

/// Squared norm of a gradient; with `unit_rows`, the parameter `[F, D]` whose rows have norm 1, of what remains of it when
/// the part along those rows is removed.
pub fn squared_norm<const D: usize>(gradient: &Tensor<D>, unit_rows: Option<&Tensor<D>>) -> Scalar {
    let width = gradient.dims()[D - 1].max(1);
    if into_flex(gradient.clone()).is_err() {
        #[cfg(any(feature = "wgpu", feature = "cuda"))]
        if let Some(squares) = crate::sum_gpu::squares(gradient, unit_rows) {
            return Scalar::of(squares.clamp_min(0.0));
        }
        let square = |tensor: Tensor<D>| tensor.square().sum(); // [1]
        let mut squares = square(gradient.clone());
        if let Some(rows) = unit_rows {
            squares = squares - square((gradient.clone() * rows.clone()).sum_dim(D - 1)); // of [F, 1]
        }
        return Scalar::of(squares.clamp_min(0.0));
    }
    let (gradient, rows) = (host::read(gradient), unit_rows.map(host::read));
    let rows = rows.as_ref().map(host::HostView::as_slice);
    let per_task = (NUMBERS_PER_TASK / width).max(1) * width;
    let partial: Vec<f64> = gradient
        .as_slice()
        .par_chunks(per_task)
        .enumerate()
        .map(|(task, g)| {
            simd!(|| {
                let mut sum = 0.0;
                for (i, g) in g.chunks(width).enumerate() {
                    sum += f64::from(dot(g, g));
                    if let Some(rows) = rows {
                        let along = dot(g, &rows[task * per_task + i * width..][..width]);
                        sum -= f64::from(along * along);
                    }
                }
                sum
            })
        })
        .collect();
    partial.iter().sum::<f64>().max(0.0).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cpu, random};

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
        let update = Update {
            weight_decay: 0.1,
            ..Update::plain(0.01)
        };
        for (i, g) in gradients.iter().enumerate() {
            if i == 2 {
                let of = |moments: &Moments| (to_vec(moments.first.clone()), to_vec(moments.second.clone()));
                let state = adam
                    .slots()
                    .iter()
                    .map(|slot| slot.as_ref().map(of).unwrap_or_default());
                adam = Adam::restore(AdamConfig::default(), adam.step(), state.collect(), &cpu());
            }
            adam.begin_step();
            adam.update(0, &mut x, from_vec(vec![*g as f32], [1], &cpu()), &update);
        }
        let expected = reference(&gradients, 0.01, 0.1);
        assert!((f64::from(to_vec(x)[0]) - expected).abs() < 1e-6);
    }

    #[test]
    fn one_pass_over_memory_equals_the_tensor_operations() {
        for (rows, width, unit_rows) in [(1, 1, false), (37, 53, false), (37, 53, true), (700, 33, true)] {
            let draw = |stream: &str| -> Tensor<2> {
                let values = random::normal(&mut random::rng(1, stream), rows * width, 1.0);
                from_vec(values, [rows, width], &cpu())
            };
            let update = Update {
                learning_rate: 0.01,
                weight_decay: 0.1,
                gradient_scale: 0.7.into(),
                unit_rows,
            };
            let parameter = draw("parameter");
            let parameter = if unit_rows {
                parameter.clone() / parameter.square().sum_dim(1).sqrt()
            } else {
                parameter
            };
            let factors = Factors::new(&AdamConfig::default(), 1, &update);
            let zeros = || Tensor::<1>::zeros([rows * width], &cpu());
            let (expected, _) = factors.step_anywhere(parameter.clone(), draw("gradient"), zeros(), zeros());
            let mut adam = Adam::new(AdamConfig::default(), 1);
            adam.begin_step();
            let mut found = parameter.clone();
            adam.update(0, &mut found, draw("gradient"), &update);
            let gap = to_vec((found - expected).abs().max())[0];
            assert!(gap < 1e-6, "{rows} x {width}, unit rows {unit_rows}: {gap}");

            let gradient = draw("gradient");
            let along = (gradient.clone() * parameter.clone()).sum_dim(1);
            let rest = if unit_rows {
                gradient.clone() - along * parameter.clone()
            } else {
                gradient.clone()
            };
            let expected = f64::from(to_vec(rest.square().sum())[0]);
            let found = squared_norm(&gradient, unit_rows.then_some(&parameter)).read();
            assert!(
                (found - expected).abs() < 1e-4 * expected.max(1e-3),
                "{found}, expected {expected}"
            );
        }
    }
}
