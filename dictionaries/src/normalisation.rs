//! What some autoencoders do to each input before anything else, and undo at the end (SAELens's `normalize_activations`).
//!
//! Factors that are the same for every input are folded into the weights instead and do not appear here.
//!
//! Shapes: `B` rows, `D` width.

use burn::tensor::Tensor;

/// Added to the standard deviation of an input.
const EPSILON: f64 = 1e-5;

/// What is done to each input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalisation {
    /// Nothing.
    None,
    /// Its mean is subtracted, and it is divided by its standard deviation (of `D - 1` degrees of freedom, plus 1e-5).
    LayerNorm,
    /// It is brought to a norm of root(`D`).
    ConstantNorm,
}

impl Normalisation {
    /// SAELens's name for it.
    pub fn saelens_name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::LayerNorm => "layer_norm",
            Self::ConstantNorm => "constant_norm_rescale",
        }
    }

    /// Normalised inputs, `[B, D]`.
    pub fn apply(self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::None => x,
            Self::LayerNorm => {
                let (mean, deviation) = moments(&x);
                (x - mean) / (deviation + EPSILON)
            }
            Self::ConstantNorm => x.clone() * factor(&x),
        }
    }

    /// How normalised inputs `[B, D]` follow a `change` of the inputs `x`, to first order.
    pub fn change(self, x: Tensor<2>, change: Tensor<2>) -> Tensor<2> {
        let d = x.dims()[1];
        match self {
            Self::None => change,
            Self::LayerNorm => {
                let (mean, deviation) = moments(&x);
                let (centred, change) = (x - mean, change.clone() - change.mean_dim(1));
                let degrees = (d.max(2) - 1) as f64;
                let divisor = (deviation.clone() * degrees).clamp_min(f64::from(f32::MIN_POSITIVE)); // [B, 1]
                let of_deviation = (centred.clone() * change.clone()).sum_dim(1) / divisor; // [B, 1]
                let scale = deviation + EPSILON; // [B, 1]
                (change - centred * of_deviation / scale.clone()) / scale
            }
            Self::ConstantNorm => {
                let square = x.clone().square().sum_dim(1).clamp_min(f64::from(f32::MIN_POSITIVE)); // [B, 1]
                let along = (x.clone() * change.clone()).sum_dim(1) / square; // [B, 1]
                let factor = factor(&x);
                (change - x * along) * factor
            }
        }
    }

    /// Outputs `[B, D]` in the units of the inputs `x`.
    pub fn undo(self, x: &Tensor<2>, out: Tensor<2>) -> Tensor<2> {
        match self {
            Self::None => out,
            Self::LayerNorm => {
                let (mean, deviation) = moments(x);
                out * deviation + mean
            }
            Self::ConstantNorm => out / factor(x),
        }
    }
}

/// Mean and standard deviation of each row, `[B, 1]`.
fn moments(x: &Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let degrees = (x.dims()[1].max(2) - 1) as f64;
    let mean = x.clone().mean_dim(1);
    let deviation = ((x.clone() - mean.clone()).square().sum_dim(1) / degrees).sqrt();
    (mean, deviation)
}

/// What brings each row to a norm of root(`D`), `[B, 1]`.
fn factor(x: &Tensor<2>) -> Tensor<2> {
    let root = (x.dims()[1] as f64).sqrt();
    x.clone()
        .square()
        .sum_dim(1)
        .sqrt()
        .clamp_min(f64::from(f32::MIN_POSITIVE))
        .recip()
        * root
}

#[cfg(test)]
mod tests {
    use kernels::{from_vec, random, to_vec};

    use super::*;

    #[test]
    fn a_change_is_the_central_difference() {
        let mut rng = random::rng(4, "a change of inputs");
        let mut rows = || from_vec(random::normal(&mut rng, 4 * 12, 1.0), [4, 12], &kernels::cpu());
        let (x, change) = (rows() + 0.3, rows());
        for normalisation in [
            Normalisation::None,
            Normalisation::LayerNorm,
            Normalisation::ConstantNorm,
        ] {
            let at = |share: f32| normalisation.apply(x.clone() + change.clone() * share);
            let expected = to_vec((at(0.01) - at(-0.01)) / 0.02);
            let found = to_vec(normalisation.change(x.clone(), change.clone()));
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    (found - expected).abs() < 1e-3,
                    "{normalisation:?}: {found} and {expected}"
                );
            }
        }
    }
}
