//! The CPU device, and the way of numbers between host memory and tensors.

use burn::tensor::{Device, Tensor, TensorData};

/// The CPU: burn's `flex` backend, with SIMD and as many threads as rayon has.
pub fn cpu() -> Device {
    Device::flex()
}

/// Puts row-major `values` on `device`.
///
/// # Panics
///
/// When `values` does not hold exactly the product of `shape`, which is an error of the caller.
pub fn from_vec<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    assert_eq!(
        values.len(),
        shape.iter().product::<usize>(),
        "values for a tensor of shape {shape:?}"
    );
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Reads a tensor back as row-major `f32`; waits for the device.
pub fn to_vec<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    match tensor.into_data().try_into_vec_as::<f32>() {
        Ok(values) => values,
        Err(error) => unreachable!("a float tensor is always readable as f32: {error}"),
    }
}
