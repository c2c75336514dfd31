//! The devices of a build: the CPU, and what wgpu and CUDA find where they were built in.
//!
//! A device has a name: `cpu`, `wgpu:i` or `cuda:i`; without a number it is the first. Adapters of wgpu are counted through
//! all kinds, the discrete ones first and software drivers last, so `wgpu` is a GPU wherever there is one.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use burn::backend::DispatchDevice;
use burn::tensor::{Device, Tensor};

use crate::to_vec;

/// What can hold tensors and compute with them.
#[derive(strum::Display, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "lowercase")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// burn's `flex` backend, with SIMD and as many threads as rayon has; in every build.
    Cpu,
    /// Any GPU, through Vulkan, Metal or DirectX.
    Wgpu,
    /// NVIDIA GPUs, through their driver.
    Cuda,
}

/// Why a device cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// No device is called that.
    #[error("`{name}` names no device; expected cpu, wgpu, wgpu:0, cuda or cuda:0")]
    Name {
        /// What was asked for.
        name: String,
    },
    /// The backend is not in this build.
    #[error("this program was built without {backend}; build it with `cargo build --release --features {backend}`")]
    NotBuilt {
        /// The backend, which is also the feature's name.
        backend: &'static str,
    },
    /// The backend finds no device at all.
    #[error("{backend} finds no device; {remedy}")]
    NoneFound {
        /// The backend.
        backend: &'static str,
        /// What would help.
        remedy: &'static str,
    },
    /// Fewer devices than the number asks for.
    #[error("{name} is not there: {backend} finds {found}, counted from 0 (`saelab devices` lists them)")]
    Missing {
        /// What was asked for.
        name: String,
        /// The backend.
        backend: &'static str,
        /// Number of devices.
        found: usize,
    },
    /// The device was found, and fails.
    #[error("{name} was found but does not compute: {reason}")]
    Refused {
        /// What was asked for.
        name: String,
        /// What its driver or burn says.
        reason: String,
    },
}

/// A device that was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// What to open it as.
    pub name: String,
    /// What it is, in words.
    pub description: String,
}

impl Backend {
    /// Its devices; each is opened to ask what it is.
    ///
    /// # Errors
    ///
    /// [`DeviceError::NotBuilt`] and [`DeviceError::NoneFound`].
    pub fn found(self) -> Result<Vec<Found>, DeviceError> {
        if self == Self::Cpu {
            let threads = thread::available_parallelism().map_or(1, usize::from);
            let name = self.to_string();
            let description = format!("{threads} threads, {}", crate::instruction_set());
            return Ok(vec![Found { name, description }]);
        }
        let devices = self.devices()?.into_iter().enumerate();
        let describe = |(i, (device, kind)): (usize, (Device, &str))| {
            let name = format!("{self}:{i}");
            let description = match try_out(&name, &device) {
                Ok(()) => format!("{}, {kind}", model(&device)),
                Err(error) => format!("{kind}; {error}"),
            };
            Found { name, description }
        };
        Ok(devices.map(describe).collect())
    }

    /// Its devices in the order of their numbers, and the kind of each.
    fn devices(self) -> Result<Vec<(Device, &'static str)>, DeviceError> {
        let devices = match self {
            Self::Cpu => vec![(cpu(), "CPU")],
            #[cfg(feature = "wgpu")]
            Self::Wgpu => wgpu_adapters(),
            #[cfg(feature = "cuda")]
            Self::Cuda => {
                let found = Device::enumerate(burn::tensor::DeviceType::Cuda);
                found.iter().map(|device| (device.clone(), "NVIDIA GPU")).collect()
            }
            #[cfg(not(all(feature = "wgpu", feature = "cuda")))]
            missing => {
                return Err(DeviceError::NotBuilt {
                    backend: missing.into(),
                });
            }
        };
        if devices.is_empty() {
            return Err(DeviceError::NoneFound {
                backend: self.into(),
                remedy: match self {
                    Self::Cuda => "it needs an NVIDIA GPU and its driver (libcuda), see `nvidia-smi`",
                    Self::Cpu | Self::Wgpu => {
                        "it needs the GPU's Vulkan driver, or a software driver (Debian: apt-get install \
                         mesa-vulkan-drivers libvulkan1)"
                    }
                },
            });
        }
        Ok(devices)
    }
}

/// The CPU.
pub fn cpu() -> Device {
    Device::flex()
}

/// Whether the plain tensors of `device` lie in host memory, where the kernels of the CPU work. Not so of `cpu().autodiff()`:
/// there everything takes the way of a device without kernels, through burn's operations.
pub fn is_cpu(device: &Device) -> bool {
    matches!(device.as_dispatch(), DispatchDevice::Flex(_))
}

/// Whether the plain tensors of `device` lie on a GPU, for which there are kernels too.
pub fn is_gpu(device: &Device) -> bool {
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    return matches!(device.as_dispatch(), DispatchDevice::Cube(_));
    #[cfg(not(any(feature = "wgpu", feature = "cuda")))]
    {
        let _ = device;
        false
    }
}

/// Opens the device called `cpu`, `wgpu[:i]` or `cuda[:i]`, and has it add two numbers.
///
/// # Errors
///
/// A name that no device has, a backend that was not built in, a device that is not there or does not work.
pub fn open(name: &str) -> Result<Device, DeviceError> {
    let unknown = || DeviceError::Name { name: name.to_owned() };
    let (backend, index) = match name.split_once(':') {
        Some((backend, index)) => (backend, Some(index.parse::<usize>().map_err(|_| unknown())?)),
        None => (name, None),
    };
    let (backend, index) = match (backend.parse::<Backend>().map_err(|_| unknown())?, index) {
        (Backend::Cpu, None) => return Ok(cpu()),
        (Backend::Cpu, Some(_)) => return Err(unknown()),
        (backend, index) => (backend, index.unwrap_or(0)),
    };
    let devices = backend.devices()?;
    let found = devices.len();
    let Some((device, _)) = devices.into_iter().nth(index) else {
        return Err(DeviceError::Missing {
            name: name.to_owned(),
            backend: backend.into(),
            found,
        });
    };
    try_out(name, &device)?;
    Ok(device)
}

/// Has a device add two numbers. Where a driver is too old or a tool is missing, what burn opens it with panics, in this
/// thread or its own; so that is caught here, once, before any work has begun. Meanwhile panics say nothing: the first of
/// them is the reason.
fn try_out(name: &str, device: &Device) -> Result<(), DeviceError> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let reason = Arc::new(OnceLock::new());
    let before = panic::take_hook();
    panic::set_hook({
        let reason = reason.clone();
        Box::new(move |panic| {
            reason.get_or_init(|| panic.payload_as_str().unwrap_or("it cannot be opened").to_owned());
        })
    });
    let sum = panic::catch_unwind(AssertUnwindSafe(|| to_vec(Tensor::<1>::ones([2], device).sum())[0]));
    panic::set_hook(before);
    let reason = match sum {
        Ok(2.0) => return Ok(()),
        Ok(sum) => format!("1 + 1 gives {sum}"),
        Err(_) => reason.get().cloned().unwrap_or_default(),
    };
    Err(DeviceError::Refused {
        name: name.to_owned(),
        reason: reason.replace('\n', " "),
    })
}

/// What a device that works calls itself.
fn model(device: &Device) -> String {
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    if let Some(identity) = device.identity() {
        return identity.name;
    }
    format!("{device:?}")
}

/// Every adapter once, by kind.
#[cfg(feature = "wgpu")]
fn wgpu_adapters() -> Vec<(Device, &'static str)> {
    use burn::tensor::{DeviceKind, DeviceType};

    let mut left: Vec<Device> = Device::enumerate(DeviceType::Wgpu).to_vec();
    let mut found = Vec::new();
    let mut take = |kind: DeviceKind, words: &'static str| -> bool {
        let device = Device::wgpu(kind);
        let before = left.len();
        left.retain(|other| *other != device);
        let taken = left.len() < before;
        if taken {
            found.push((device, words));
        }
        taken
    };
    // burn counts each kind from 0.
    (0..).find(|&i| !take(DeviceKind::DiscreteGpu(i), "discrete GPU"));
    (0..).find(|&i| !take(DeviceKind::IntegratedGpu(i), "integrated GPU"));
    (0..).find(|&i| !take(DeviceKind::VirtualGpu(i), "virtual GPU"));
    let software = Device::wgpu(DeviceKind::Cpu);
    let (cpus, others): (Vec<Device>, Vec<Device>) = left.into_iter().partition(|device| *device == software);
    found.extend(others.into_iter().map(|device| (device, "adapter of an unknown kind")));
    // burn opens the first software driver only, however many there are.
    found.extend(cpus.into_iter().take(1).map(|device| (device, "software driver")));
    found
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;

    #[test]
    fn names_that_no_device_has_are_refused() {
        for name in ["", "gpu", "cpu:0", "wgpu:", "wgpu:one", "cuda:-1", "Cpu"] {
            let name = name.to_owned();
            assert_eq!(open(&name).err(), Some(DeviceError::Name { name }));
        }
        assert!(is_cpu(&open("cpu").unwrap()) && !is_cpu(&cpu().autodiff()));
    }

    #[test]
    fn a_device_opens_by_the_name_it_is_listed_under() {
        for &backend in Backend::VARIANTS {
            match backend.found() {
                Ok(found) => {
                    for device in &found {
                        open(&device.name).unwrap();
                    }
                    if backend != Backend::Cpu {
                        let name = format!("{backend}:{}", found.len());
                        assert!(matches!(open(&name), Err(DeviceError::Missing { .. })), "{name}");
                    }
                }
                Err(error) => assert_eq!(open(backend.into()).err(), Some(error)),
            }
        }
    }
}
