//! `saelab convert`: an autoencoder from one library's folder into another's.

use std::path::PathBuf;

use dictionaries::{Autoencoder, Format};

use super::Context;
use crate::output;

/// Arguments of `saelab convert`.
#[derive(Debug, clap::Args)]
pub(crate) struct Convert {
    /// Folder of an autoencoder of saelab, SAELens, sparsify or dictionary_learning; which one is detected from its files
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
        let (model, origin) = Autoencoder::open(&self.input, &context.device)?;
        model.write(&self.out, self.to, &origin)?;
        output::note(&format!("convert: {format} to {} in {}", self.to, self.out.display()));
        Ok(())
    }
}
