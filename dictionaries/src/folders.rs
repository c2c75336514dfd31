//! Autoencoders read from and written to a folder of any of the libraries.

use std::path::Path;

use burn::tensor::Device;

use crate::formats::{Named, dictionary_learning, folder, saelens, sparsify, unsupported};
use crate::{Activation, Autoencoder, Error, Format, Origin};

impl Autoencoder {
    /// Reads a folder of any of the libraries.
    ///
    /// # Errors
    ///
    /// Files that are missing, damaged, do not fit together, or need what is not implemented.
    pub fn read(dir: &Path, device: &Device) -> Result<Self, Error> {
        Ok(Self::open(dir, device)?.0)
    }

    /// Reads an autoencoder and where it comes from: of a folder of another library which one it was, and the hook that it names.
    ///
    /// # Errors
    ///
    /// Those of [`Autoencoder::read`].
    pub fn open(dir: &Path, device: &Device) -> Result<(Self, Origin), Error> {
        let (model, named) = match Format::of(dir)? {
            Format::Saelab => return Self::load(dir, device),
            Format::Saelens => saelens::load(dir, device)?,
            Format::Sparsify => sparsify::load(dir, device)?,
            Format::DictionaryLearning => {
                let (model, hook) = dictionary_learning::load(dir, device)?;
                (model, Named { hook, writes: None })
            }
        };
        let model = model.checked(dir)?;
        // A folder without an absolute path has a file in it all the same.
        let path = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        let Named { hook, writes } = named;
        Ok((model, Origin::Imported { path, hook, writes }))
    }

    /// Writes a folder for one of the libraries, which may hold other files but no other autoencoder; `origin` is kept where
    /// there is room for it. What an interrupted call left in the folder is finished.
    ///
    /// # Errors
    ///
    /// What the library cannot express; a folder that holds a file of another autoencoder; files that cannot be written.
    pub fn write(&self, dir: &Path, format: Format, origin: &Origin) -> Result<(), Error> {
        let files = match format {
            Format::Saelab => self.files(dir, origin)?,
            Format::Saelens => {
                let known = match self.activation {
                    Activation::Relu | Activation::Jumprelu => true,
                    Activation::Topk { .. } | Activation::Gated => !self.transcodes,
                    Activation::Groupmax { .. } => false,
                };
                if !known {
                    let name = self.activation.saelens_name();
                    let kind = if self.transcodes { "transcoders" } else { "autoencoders" };
                    return Err(unsupported("SAELens", format!("it knows no {name} {kind}")));
                }
                saelens::files(self, dir, origin.metadata())?
            }
            Format::Sparsify => sparsify::files(self, dir)?,
            Format::DictionaryLearning => dictionary_learning::files(self, dir, origin.hook().as_ref())?,
        };
        folder::write_beside(dir, &files)
    }
}
