//! The way of numbers between host memory and tensors.

use std::mem::MaybeUninit;

use burn::backend::Flex;
use burn::tensor::{Device, Tensor, TensorData};
use burn_flex::FlexTensor;
use rayon::prelude::*;

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

/// What `look` makes of a tensor's numbers, row by row; those of a CPU tensor are not copied. Waits for the device.
pub fn look_at<const D: usize, T>(tensor: &Tensor<D>, look: impl FnOnce(&[f32]) -> T) -> T {
    look(read(tensor).as_slice())
}

/// A tensor's numbers in host memory, row by row; those of a CPU tensor are not copied.
pub(crate) enum HostView {
    Flex(FlexTensor),
    Copied(Vec<f32>),
}

impl HostView {
    pub(crate) fn as_slice(&self) -> &[f32] {
        match self {
            Self::Flex(tensor) => flex_slice(tensor),
            Self::Copied(values) => values,
        }
    }
}

/// Reads a tensor; a tensor of another device is waited for.
pub(crate) fn read<const D: usize>(tensor: &Tensor<D>) -> HostView {
    match into_flex(tensor.clone().inner()) {
        Ok(flex) => HostView::Flex(contiguous(flex)),
        Err(tensor) => HostView::Copied(to_vec(tensor)),
    }
}

/// The primitive behind a plain CPU tensor, or the tensor back.
#[allow(
    clippy::result_large_err,
    reason = "a tensor handle moves as often as it is passed on, which is cheap"
)]
pub(crate) fn into_flex<const D: usize>(tensor: Tensor<D>) -> Result<FlexTensor, Tensor<D>> {
    if tensor.clone().try_into_primitive::<Flex>().is_err() {
        return Err(tensor);
    }
    match tensor.try_into_primitive::<Flex>() {
        Ok(flex) => Ok(flex),
        Err(error) => unreachable!("the same conversion has just succeeded: {error:?}"),
    }
}

/// New memory of zeros, cut into tasks of the thread pool, which zero their own part and `write` it while it is in cache; and
/// what the tasks return, in order.
#[allow(
    unsafe_code,
    reason = "zeros on one thread would be one more pass over memory, which costs as much as some of the tasks"
)]
pub(crate) fn zeros_by_tasks<T: Send>(
    len: usize,
    per_task: usize,
    write: impl Fn(usize, &mut [f32]) -> T + Sync,
) -> (Vec<f32>, Vec<T>) {
    let mut numbers = Vec::with_capacity(len);
    let results = numbers.spare_capacity_mut()[..len]
        .par_chunks_mut(per_task.max(1))
        .enumerate()
        .map(|(task, part)| {
            part.fill(MaybeUninit::new(0.0_f32));
            // SAFETY: every number of the part has just been written, and both types have one layout.
            let part = unsafe { &mut *(std::ptr::from_mut(part) as *mut [f32]) };
            write(task, part)
        })
        .collect();
    // SAFETY: the tasks have written all `len` numbers.
    unsafe { numbers.set_len(len) };
    (numbers, results)
}

/// The same numbers row by row; the tensor itself where they already are.
pub(crate) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// The numbers of a contiguous CPU tensor of `f32`, for writing; copied first when they are shared.
pub(crate) fn flex_slice_mut(tensor: &mut FlexTensor) -> &mut [f32] {
    let Some((start, end)) = tensor.layout().contiguous_offsets() else {
        unreachable!("the tensor was made contiguous");
    };
    &mut tensor.storage_mut::<f32>()[start..end]
}

/// The numbers of a contiguous CPU tensor of `f32`.
pub(crate) fn flex_slice(tensor: &FlexTensor) -> &[f32] {
    match tensor.as_slice::<f32>() {
        Some(values) => values,
        None => unreachable!("the tensor was made contiguous, and all tensors are f32"),
    }
}
