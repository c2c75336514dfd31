//! The arguments of the commands that look at autoencoders of whole hooks on text.

use std::path::PathBuf;

use lab::ConfigFile;
use lab::hook_autoencoders::TextSettings;

use super::overrides::Overrides;
use super::weights::WeightArgs;

/// Arguments of the commands that look at them on text.
#[derive(Debug, clap::Args)]
pub(crate) struct TextArgs {
    /// Config that names the text, for example configs/quality/splice.toml
    config: PathBuf,
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    weights: WeightArgs,
    /// Folder of the experiment: its autoencoders that were trained on whole hooks are scored, and the result is written there
    #[arg(long)]
    run: PathBuf,
    /// Overwrite a result of another text or model
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    set: Overrides,
}

impl TextArgs {
    pub(crate) fn settings(self) -> TextSettings {
        TextSettings {
            config: ConfigFile {
                path: self.config,
                set: self.set.keys,
            },
            model: self.model,
            load: self.weights.options(),
            run: self.run,
            replace: self.replace,
        }
    }
}
