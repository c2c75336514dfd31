//! `saelab splice`: what autoencoders and transcoders of a run lose on running text.

use super::Context;
use super::text::TextArgs;
use crate::output;

/// Arguments of `saelab splice`.
#[derive(Debug, clap::Args)]
pub(crate) struct Splice {
    #[command(flatten)]
    args: TextArgs,
}

impl Splice {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::splice::Settings {
            text: self.args.settings(),
        };
        output::outcome(&settings.run(context)?)
    }
}
