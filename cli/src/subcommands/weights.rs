//! The argument of all commands that run a model: how its weights are kept.

use lm::{Dtype, LoadOptions};

/// How the weights of a model are kept, where no config says it.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct WeightArgs {
    /// Type of the model's matrices in memory: f32, bf16 (half the memory, inputs of products rounded too) or f16 (half the
    /// memory, slower on the CPU)
    #[arg(long, default_value_t)]
    pub(crate) dtype: Dtype,
}

impl WeightArgs {
    pub(crate) fn options(self) -> LoadOptions {
        LoadOptions {
            dtype: self.dtype,
            ..LoadOptions::default()
        }
    }
}
