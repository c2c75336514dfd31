//! The ceiling of supervision: logistic regression from activations to whether a feature is active.
//!
//! SynthSAEBench (<https://arxiv.org/abs/2602.14687>) compares autoencoders with it: what a direction and a threshold can reach
//! where the labels are known.
//!
//! Shapes: `P` probed features, `D` width, `B` rows.

use burn::tensor::{Device, Tensor, activation::sigmoid};
use kernels::{Adam, AdamConfig, Update, from_vec, matmul, to_vec};

use crate::Error;
use crate::features::FeatureRows;
use crate::metrics::Truth;

/// Peak learning rate, for rows of mean norm root(width); it falls to 0 over the second half of the steps.
const LEARNING_RATE: f64 = 1e-2;
/// Rows of a step.
const BATCH: usize = 512;

/// Probes of the first `P` features.
#[derive(Debug, Clone)]
pub struct Probes {
    /// `[D, P]`.
    weights: Tensor<2>,
    /// `[1, P]`.
    biases: Tensor<2>,
    /// What rows are multiplied by.
    scale: f32,
}

impl Probes {
    /// Trains probes of the first `probed` features on rows `x`, `[B, D]`, of which it is known what is active; tells each step.
    ///
    /// # Errors
    ///
    /// Fewer rows than a batch has.
    pub fn train(
        x: &[f32],
        rows: &FeatureRows,
        probed: usize,
        steps: usize,
        device: &Device,
        on_step: &mut dyn FnMut(),
    ) -> Result<Self, Error> {
        let (n, d) = (rows.len(), x.len() / rows.len().max(1));
        let mut order = activations::BatchOrder::new(n, BATCH, 0)?;
        let squares: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / n as f64;
        let scale = (d as f64 / squares).sqrt() as f32;
        let mut weights = Tensor::<2>::zeros([d, probed], device);
        let mut biases = Tensor::<2>::zeros([1, probed], device);
        let mut adam = Adam::new(AdamConfig::default(), 2);
        for step in 0..steps {
            let batch = order.batch(step);
            let (mut values, mut labels) = (Vec::with_capacity(BATCH * d), vec![0.0; BATCH * probed]);
            for (place, &row) in batch.iter().enumerate() {
                values.extend(x[row * d..][..d].iter().map(|x| x * scale));
                for &(feature, _) in rows.row(row).iter().filter(|entry| (entry.0 as usize) < probed) {
                    labels[place * probed + feature as usize] = 1.0;
                }
            }
            let x: Tensor<2> = from_vec(values, [BATCH, d], device);
            let labels: Tensor<2> = from_vec(labels, [BATCH, probed], device);
            let logits = matmul(x.clone(), weights.clone()) + biases.clone(); // [B, P]
            let errors = (sigmoid(logits) - labels) / BATCH as f64; // [B, P]
            let left = 2.0 * (steps - step) as f64 / steps as f64;
            let update = Update::plain(LEARNING_RATE * left.min(1.0));
            adam.begin_step();
            adam.update(0, &mut weights, matmul(x.transpose(), errors.clone()), &update);
            adam.update(1, &mut biases, errors.sum_dim(0), &update);
            on_step();
        }
        Ok(Self { weights, biases, scale })
    }

    /// Mean over the probed features of the F1 of "more likely than not".
    pub fn f1(&self, truth: &Truth<'_>, device: &Device) -> f64 {
        let [d, probed] = self.weights.dims();
        let n = truth.rows.len();
        let x: Tensor<2> = from_vec(truth.x.iter().map(|x| x * self.scale).collect(), [n, d], device);
        let logits = to_vec(matmul(x, self.weights.clone()) + self.biases.clone()); // [B, P]
        let mut counts = vec![[0_usize; 3]; probed]; // both, predicted, active
        for (row, logits) in logits.chunks_exact(probed).enumerate() {
            for (count, _) in counts.iter_mut().zip(logits).filter(|(_, logit)| **logit > 0.0) {
                count[1] += 1;
            }
            for &(feature, _) in truth.rows.row(row) {
                if let (Some(count), Some(logit)) = (counts.get_mut(feature as usize), logits.get(feature as usize)) {
                    count[2] += 1;
                    count[0] += usize::from(*logit > 0.0);
                }
            }
        }
        let f1 = |&[both, predicted, active]: &[usize; 3]| match predicted + active {
            0 => 0.0,
            sum => 2.0 * both as f64 / sum as f64,
        };
        counts.iter().map(f1).sum::<f64>() / probed.max(1) as f64
    }
}
