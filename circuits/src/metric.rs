//! What is measured of the logits behind a prompt.
//!
//! Shapes: `B` pairs, `V` d_vocab, `R` rows: `B`, or several times the same `B` pairs one after the other.

use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};
use strum::VariantNames;

use crate::{Error, Pair};

/// What is measured at the last position; more is better.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(strum::Display, strum::EnumString, strum::VariantArray, VariantNames)]
#[strum(serialize_all = "snake_case", parse_err_ty = Error, parse_err_fn = unknown)]
pub enum Metric {
    /// Mean logit of the answers minus mean logit of the wrong answers.
    #[default]
    LogitDiff,
    /// Probability of all answers minus probability of all wrong answers.
    ProbDiff,
    /// Minus the Kullback-Leibler divergence from the clean run in nats: 0 where the prediction is the clean one.
    Kl,
    /// Minus the Jensen-Shannon divergence from the clean run in nats, from 0 to minus ln 2.
    Js,
}

impl Metric {
    /// Whether it is above 0 where the model says what is right rather than what is wrong; divergences never are.
    pub fn judges(self) -> bool {
        matches!(self, Self::LogitDiff | Self::ProbDiff)
    }

    /// The metric of some pairs, whose clean runs predict `clean` `[B, V]`.
    pub(crate) fn of(self, pairs: &[&Pair], clean: &Tensor<2>) -> Bound {
        let [rows, d_vocab] = clean.dims();
        let weights = |mean: bool| -> Tensor<2> {
            let mut weights = vec![0.0_f32; rows * d_vocab];
            for (row, pair) in pairs.iter().enumerate() {
                for (tokens, sign) in [(&pair.answer, 1.0), (&pair.wrong, -1.0)] {
                    let share = if mean { sign / tokens.len() as f32 } else { sign };
                    for &token in tokens {
                        weights[row * d_vocab + token as usize] += share;
                    }
                }
            }
            kernels::from_vec(weights, [rows, d_vocab], &clean.device())
        };
        match self {
            Self::LogitDiff => Bound::Logits(weights(true)),
            Self::ProbDiff => Bound::Probabilities(weights(false)),
            Self::Kl => Bound::Divergence(activation::log_softmax(clean.clone(), 1)),
            Self::Js => Bound::Mixture(activation::log_softmax(clean.clone(), 1)),
        }
    }
}

/// A metric of certain pairs.
#[derive(Debug, Clone)]
pub(crate) enum Bound {
    Logits(Tensor<2>),        // [B, V]
    Probabilities(Tensor<2>), // [B, V]
    Divergence(Tensor<2>),    // log-probabilities of the clean run, [B, V]
    Mixture(Tensor<2>),       // the same, [B, V]
}

impl Bound {
    /// The metric of each row of `logits` `[R, V]`.
    pub(crate) fn values(&self, logits: Tensor<2>) -> Tensor<1> {
        let [rows, d_vocab] = logits.dims();
        let records = logits.is_autodiff();
        let fitted = |of_pairs: &Tensor<2>| -> Tensor<2> {
            let times = rows / of_pairs.dims()[0];
            let all = if times == 1 {
                of_pairs.clone()
            } else {
                of_pairs.clone().repeat_dim(0, times)
            };
            if records { all.autodiff() } else { all }
        };
        let values = match self {
            Self::Logits(weights) => (logits * fitted(weights)).sum_dim(1),
            Self::Probabilities(weights) => (activation::softmax(logits, 1) * fitted(weights)).sum_dim(1),
            Self::Divergence(clean) => {
                let clean = fitted(clean);
                let difference = activation::log_softmax(logits, 1) - clean.clone();
                (clean.exp() * difference).sum_dim(1)
            }
            Self::Mixture(clean) => {
                let (a, b) = (fitted(clean), activation::log_softmax(logits, 1)); // [R, V]
                let (p, q) = (a.clone().exp(), b.clone().exp());
                let middle = ((p.clone() + q.clone()) * 0.5).clamp_min(f32::MIN_POSITIVE).log();
                ((p * (a - middle.clone()) + q * (b - middle)) * -0.5).sum_dim(1)
            }
        };
        assert_eq!(values.dims(), [rows, 1], "of {d_vocab} tokens");
        values.reshape([rows]) // [R]
    }
}

fn unknown(name: &str) -> Error {
    Error::UnknownName {
        what: "metric",
        found: name.to_owned(),
        known: format!("use one of {}", Metric::VARIANTS.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both divergences by their definitions, in double precision.
    #[test]
    fn divergences_are_those_of_their_definitions() {
        let device = kernels::cpu();
        let (p, q) = ([0.3_f32, -1.0, 2.0, -40.0], [-0.5_f32, 1.5, 0.1, 3.0]);
        let pair = Pair::default();
        let of = |metric: Metric, logits: [f32; 4]| {
            let clean = kernels::from_vec(p.to_vec(), [1, 4], &device);
            let bound = metric.of(&[&pair], &clean);
            f64::from(kernels::to_vec(bound.values(kernels::from_vec(logits.to_vec(), [1, 4], &device)))[0])
        };
        let softmax = |x: [f32; 4]| {
            let sum: f64 = x.iter().map(|&x| f64::from(x).exp()).sum();
            x.map(|x| f64::from(x).exp() / sum)
        };
        let kl = |a: [f64; 4], b: [f64; 4]| a.iter().zip(b).map(|(a, b)| a * (a / b).ln()).sum::<f64>();
        let (a, b) = (softmax(p), softmax(q));
        let middle = [0, 1, 2, 3].map(|i| (a[i] + b[i]) / 2.0);
        assert!((of(Metric::Kl, q) + kl(a, b)).abs() < 1e-5);
        assert!((of(Metric::Js, q) + (kl(a, middle) + kl(b, middle)) / 2.0).abs() < 1e-6);
        assert!(of(Metric::Kl, p).abs() < 1e-6 && of(Metric::Js, p).abs() < 1e-6);
    }
}
