//! A number that a device may still be computing.
//!
//! Reading a number waits for all that a GPU was told before, so a training step hands its losses and norms on as they are,
//! and whoever looks at them reads them. On the CPU they are known at once.

use std::iter::Sum;
use std::ops::Add;

use burn::tensor::Tensor;

use crate::{is_cpu, to_vec};

/// A single number.
#[derive(Debug, Clone)]
pub struct Scalar(Place);

#[allow(clippy::large_enum_variant, reason = "a step makes a handful of them")]
#[derive(Debug, Clone)]
enum Place {
    Known(f64),
    /// `[1]`, plain.
    Pending(Tensor<1>),
}

impl Scalar {
    /// The number of a tensor of one, `[1]` (plain).
    pub fn of(tensor: Tensor<1>) -> Self {
        match is_cpu(&tensor.device()) {
            true => f64::from(to_vec(tensor)[0]).into(),
            false => Self(Place::Pending(tensor)),
        }
    }

    /// The number, if that takes no waiting.
    pub fn known(&self) -> Option<f64> {
        match self.0 {
            Place::Known(value) => Some(value),
            Place::Pending(_) => None,
        }
    }

    /// The number; waits for the device.
    pub fn read(&self) -> f64 {
        match &self.0 {
            Place::Known(value) => *value,
            Place::Pending(tensor) => f64::from(to_vec(tensor.clone())[0]),
        }
    }

    /// For a squared norm: what brings a vector of more than `norm` down to it, and leaves others.
    pub fn clip(&self, norm: f64) -> Self {
        Self(match &self.0 {
            Place::Known(square) => Place::Known((norm / square.sqrt()).min(1.0)),
            // Not every device divides by 0 to infinity.
            Place::Pending(square) => {
                let root = square.clone().clamp_min(f32::MIN_POSITIVE).sqrt();
                Place::Pending((root.recip() * norm).clamp_max(1.0))
            }
        })
    }

    /// The number on the device of `like`, `[1]`.
    pub(crate) fn tensor(&self, like: &Tensor<1>) -> Tensor<1> {
        match &self.0 {
            Place::Known(value) => Tensor::full([1], *value as f32, &like.device()),
            Place::Pending(tensor) => tensor.clone(),
        }
    }
}

impl From<f64> for Scalar {
    fn from(value: f64) -> Self {
        Self(Place::Known(value))
    }
}

impl Add for Scalar {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(match (self.0, other.0) {
            (Place::Known(a), Place::Known(b)) => Place::Known(a + b),
            (Place::Pending(a), Place::Pending(b)) => Place::Pending(a + b),
            (Place::Known(a), Place::Pending(b)) | (Place::Pending(b), Place::Known(a)) => Place::Pending(b + a as f32),
        })
    }
}

impl Sum for Scalar {
    fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(0.0.into(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cpu, from_vec};

    #[test]
    fn numbers_of_either_kind_give_the_same() {
        let waiting = |value: f32| Scalar::of(from_vec(vec![value], [1], &cpu().autodiff()));
        assert!(waiting(1.0).known().is_none());
        for (a, b) in [(9.0, 16.0), (0.09, 0.16), (0.0, 0.0)] {
            let known: Scalar = [Scalar::from(f64::from(a)), Scalar::from(f64::from(b))]
                .into_iter()
                .sum();
            for other in [waiting(a) + waiting(b), waiting(a) + f64::from(b).into()] {
                assert!((other.read() - known.read()).abs() < 1e-6);
                assert!((other.clip(1.0).read() - known.clip(1.0).read()).abs() < 1e-6);
            }
        }
        assert!((Scalar::from(25.0).clip(1.0).read() - 0.2).abs() < 1e-12);
    }
}
