//! `saelab explain`: what the latents of dictionaries are active on, and whether that is so.

use std::path::PathBuf;

use lab::ConfigFile;

use super::Context;
use super::language_model::LanguageModelArgs;
use super::overrides::Overrides;
use super::weights::WeightArgs;
use crate::output;

/// Arguments of `saelab explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// Config, for example configs/explain/quick.toml
    config: PathBuf,
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    weights: WeightArgs,
    /// Folder of the experiment: its dictionaries are explained, and the result is written there
    #[arg(long)]
    run: PathBuf,
    /// Store from which contexts are taken [default: `activations` of the run]
    #[arg(long)]
    activations: Option<PathBuf>,
    /// Only dictionaries of this name; may be repeated
    #[arg(long)]
    dictionary: Vec<String>,
    /// Only these latents, by number: 3,17,250
    #[arg(long, value_delimiter = ',')]
    latents: Vec<u32>,
    /// Also write the explanations in Neuronpedia's format: a file of JSON lines
    #[arg(long)]
    neuronpedia: Option<PathBuf>,
    /// SVG file to write: how well each score predicts whether an explanation is true
    #[arg(long)]
    picture: Option<PathBuf>,
    /// Also write explanations and detection scores in delphi's format: a folder
    #[arg(long)]
    delphi: Option<PathBuf>,
    #[command(flatten)]
    language: LanguageModelArgs,
    #[command(flatten)]
    set: Overrides,
}

impl Explain {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::explain::Settings {
            config: ConfigFile {
                path: self.config,
                set: self.set.keys,
            },
            model: self.model,
            load: self.weights.options(),
            run: self.run,
            activations: self.activations,
            dictionary: self.dictionary,
            latents: self.latents,
            neuronpedia: self.neuronpedia,
            delphi: self.delphi,
            picture: self.picture,
            language: self.language.settings(),
        };
        let outcome = settings.run(context)?;
        output::outcome(&outcome)?;
        outcome.found.failed.map_or(Ok(()), |failed| Err(failed.into()))
    }
}
