//! The one place that turns a device's name into a device.

use burn::tensor::Device;

use crate::config::ConfigError;

/// Opens `cpu`, `wgpu[:i]` or `cuda[:i]`.
///
/// # Errors
///
/// A name that is none of these, or a backend that this binary was built without.
pub(crate) fn open(name: &str) -> Result<Device, ConfigError> {
    let (backend, index) = match name.split_once(':') {
        Some((backend, index)) => {
            let index = index
                .parse::<usize>()
                .map_err(|_| ConfigError(format!("--device {name}: `{index}` is not a device number")))?;
            (backend, Some(index))
        }
        None => (name, None),
    };
    match (backend, index) {
        ("cpu", None) => Ok(kernels::cpu()),
        #[cfg(feature = "wgpu")]
        ("wgpu", None) => Ok(Device::wgpu(burn::tensor::DeviceKind::DefaultDevice)),
        #[cfg(feature = "wgpu")]
        ("wgpu", Some(index)) => Ok(Device::wgpu(burn::tensor::DeviceKind::DiscreteGpu(index))),
        #[cfg(feature = "cuda")]
        ("cuda", index) => Ok(Device::cuda(index.unwrap_or(0))),
        #[cfg(not(feature = "wgpu"))]
        ("wgpu", _) => Err(not_built("wgpu")),
        #[cfg(not(feature = "cuda"))]
        ("cuda", _) => Err(not_built("cuda")),
        _ => Err(ConfigError(format!(
            "--device {name}: expected cpu, wgpu, wgpu:0, cuda or cuda:0"
        ))),
    }
}

#[cfg(not(all(feature = "wgpu", feature = "cuda")))]
fn not_built(backend: &str) -> ConfigError {
    ConfigError(format!(
        "--device {backend}: this program was built without it; rebuild with `cargo build --release --features {backend}`"
    ))
}
