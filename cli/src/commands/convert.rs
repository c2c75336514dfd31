//! `saelab convert`: an autoencoder from one library's folder into another's.

use std::path::PathBuf;

use anyhow::Context as _;
use sae::{Autoencoder, Format, Origin};

use super::Context;
use crate::output;

/// Arguments of `saelab convert`.
#[derive(Debug, clap::Args)]
pub(crate) struct Convert {
    /// Folder of an autoencoder of saelab, SAELens, sparsify or dictionary_learning; which one is seen from its files
    input: PathBuf,
    /// Layout to write: saelab, saelens, sparsify or dictionary-learning
    #[arg(long)]
    to: Format,
    /// Folder to write
    out: PathBuf,
}

impl Convert {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let format = Format::of(&self.input)?;
        if let Ok(there) = Format::of(&self.out) {
            anyhow::bail!(
                "{} holds an autoencoder of {there} already; choose another folder",
                self.out.display()
            );
        }
        let (model, origin) = match format {
            Format::Saelab => Autoencoder::load(&self.input, &context.device)?,
            _ => {
                let path = std::path::absolute(&self.input).context("the input folder has no name")?;
                let model = Autoencoder::read(&self.input, &context.device)?;
                (model, Origin::Imported { path })
            }
        };
        model.write(&self.out, self.to, &origin)?;
        output::note(&format!("convert: {format} to {} in {}", self.to, self.out.display()));
        Ok(())
    }
}
