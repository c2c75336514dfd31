//! The tensors of a library's weights file, each taken with the shape that it must have, or refused by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use artifacts::HostTensor;
use burn::tensor::{Device, Tensor};
use kernels::from_vec;

use super::{refused, shown, torch};
use crate::Error;

/// The tensors that have not been taken yet.
pub(super) struct Tensors {
    path: PathBuf,
    tensors: BTreeMap<String, HostTensor>,
    device: Device,
}

impl Tensors {
    pub(super) fn of_safetensors(path: PathBuf, device: &Device) -> Result<Self, Error> {
        Ok(Self {
            tensors: artifacts::read_tensors(&path)?,
            path,
            device: device.clone(),
        })
    }

    pub(super) fn of_torch(path: PathBuf, device: &Device) -> Result<Self, Error> {
        Ok(Self {
            tensors: torch::read(&path)?,
            path,
            device: device.clone(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The shape of a matrix whose sides are 1 or more.
    pub(super) fn matrix(&self, name: &str) -> Result<[usize; 2], Error> {
        match self.tensors.get(name).map(|tensor| tensor.shape.as_slice()) {
            Some(&[a, b]) if a > 0 && b > 0 => Ok([a, b]),
            Some(shape) => Err(refused(
                &self.path,
                format!("`{name}` has shape {shape:?}, expected a matrix that is not empty"),
            )),
            None => Err(self.missing(name)),
        }
    }

    /// A tensor of `shape` without NaN and infinity.
    pub(super) fn take<const D: usize>(&mut self, name: &str, shape: [usize; D]) -> Result<Tensor<D>, Error> {
        let data = self.values(name)?.ok_or_else(|| self.missing(name))?;
        if data.shape != shape {
            let reason = format!("`{name}` has shape {:?}, expected {shape:?}", data.shape);
            return Err(refused(&self.path, reason));
        }
        Ok(from_vec(data.data, shape, &self.device))
    }

    /// A tensor of any shape without NaN and infinity, if it is there.
    pub(super) fn values(&mut self, name: &str) -> Result<Option<HostTensor>, Error> {
        let tensor = self.tensors.remove(name);
        match tensor.as_ref().is_none_or(HostTensor::is_finite) {
            true => Ok(tensor),
            false => Err(refused(&self.path, format!("`{name}` holds NaN or infinity"))),
        }
    }

    /// A tensor of one number, if it is there.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<f32>, Error> {
        let Some(tensor) = self.values(name)? else {
            return Ok(None);
        };
        match tensor.data.as_slice() {
            &[number] => Ok(Some(number)),
            _ => Err(refused(
                &self.path,
                format!("`{name}` has shape {:?}, expected one number", tensor.shape),
            )),
        }
    }

    /// Refuses what is left: a tensor that nobody took belongs to another autoencoder than the config says.
    pub(super) fn finish(self) -> Result<(), Error> {
        match self.tensors.keys().next() {
            None => Ok(()),
            Some(name) => Err(refused(
                &self.path,
                format!(
                    "`{}` is a tensor that an autoencoder as the config describes it does not have",
                    shown(name)
                ),
            )),
        }
    }

    pub(super) fn missing(&self, name: &str) -> Error {
        let mut reason = format!("`{name}` is missing");
        if !self.tensors.is_empty() {
            let names: Vec<&str> = self.tensors.keys().map(String::as_str).collect();
            reason += &format!("; the file has {}", shown(&names.join(", ")));
        }
        refused(&self.path, reason)
    }
}
