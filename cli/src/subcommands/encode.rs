//! `saelab encode`: runs a sparse autoencoder on vectors from a file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use artifacts::HostTensor;
use dictionaries::{Autoencoder, Dictionary};

use super::Context;

/// Rows that are encoded at once.
const ROWS: usize = 4096;

/// Arguments of `saelab encode`.
#[derive(Debug, clap::Args)]
pub(crate) struct Encode {
    /// Folder of an autoencoder of saelab, SAELens, sparsify or dictionary_learning
    sae: PathBuf,
    /// safetensors file with `x`: F32 [n, d_in]
    #[arg(long)]
    input: PathBuf,
    /// safetensors file to write: `feature_acts` [n, d_sae] and `reconstruction` [n, d_out]
    #[arg(long)]
    out: PathBuf,
}

impl Encode {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let model = Autoencoder::read(&self.sae, &context.device)?;
        let (d_in, d_sae, d_out) = (model.d_in(), model.n_latents(), model.parameters.d_out());
        let input = artifacts::read_tensors(&self.input)?.remove("x");
        let Some(x) = input.filter(|x| x.shape.len() == 2 && x.shape[1] == d_in) else {
            anyhow::bail!("{}: expected a tensor `x` of shape [n, {d_in}]", self.input.display());
        };
        let n = x.shape[0];
        let broken = |values: &[f32], width: usize| values.iter().position(|x| !x.is_finite()).map(|at| at / width);
        if let Some(row) = broken(&x.data, d_in) {
            anyhow::bail!(
                "{}: row {row} of `x` holds a number that is not finite",
                self.input.display()
            );
        }
        let (mut codes, mut reconstruction) = (Vec::with_capacity(n * d_sae), Vec::with_capacity(n * d_out));
        for rows in x.data.chunks(ROWS * d_in) {
            let rows = kernels::from_vec(rows.to_vec(), [rows.len() / d_in, d_in], &context.device);
            let f = model.codes(rows.clone()); // [rows, F]
            reconstruction.extend(kernels::to_vec(model.reconstruct_from(rows, f.clone())));
            codes.extend(kernels::to_vec(f));
        }
        if let Some(row) = broken(&reconstruction, d_out).or(broken(&codes, d_sae)) {
            anyhow::bail!(
                "{}: row {row} of `x` is too large for {}; its codes are not finite",
                self.input.display(),
                self.sae.display()
            );
        }
        let tensors = BTreeMap::from([
            ("feature_acts".to_owned(), HostTensor::new([n, d_sae], codes)),
            ("reconstruction".to_owned(), HostTensor::new([n, d_out], reconstruction)),
        ]);
        artifacts::write_tensors(&self.out, &tensors, &BTreeMap::new())?;
        Ok(())
    }
}
