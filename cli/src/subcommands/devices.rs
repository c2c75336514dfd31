//! `saelab devices`: what `--device` can be here.

use kernels::Backend;
use strum::VariantArray;

use crate::output;

/// Arguments of `saelab devices`.
#[derive(Debug, clap::Args)]
pub(crate) struct Devices {}

impl Devices {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        for backend in Backend::VARIANTS {
            match backend.found() {
                Ok(found) => {
                    for device in found {
                        output::result(&format!("{:<8} {}", device.name, device.description))?;
                    }
                }
                Err(error) => output::result(&format!("{backend:<8} none: {error}"))?,
            }
        }
        Ok(())
    }
}
