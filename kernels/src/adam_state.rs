//! What a step of Adam reads and writes besides the parameter and its gradient.
//!
//! Shapes: `n` numbers.

use burn::tensor::Tensor;

use crate::Scalar;

/// Keeps the length of a decoder row away from zero.
pub(crate) const SMALLEST_NORM: f32 = 1e-8;

/// First and second moment of one parameter, flattened.
#[derive(Debug, Clone)]
pub struct Moments {
    /// Running mean of the gradient, `[n]`.
    pub first: Tensor<1>,
    /// Running mean of the squared gradient, `[n]`.
    pub second: Tensor<1>,
}

/// What a step multiplies by, from the hyperparameters and the number of the step.
pub(crate) struct Factors {
    pub(crate) beta_1: f32,
    pub(crate) beta_2: f32,
    pub(crate) epsilon: f32,
    /// Learning rate over the correction of the first moment.
    pub(crate) rate: f32,
    /// Root of one over the correction of the second moment.
    pub(crate) root: f32,
    pub(crate) shrink: f32,
    pub(crate) gradient_scale: Scalar,
    pub(crate) unit_rows: bool,
}
