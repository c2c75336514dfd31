//! `saelab truth`: latents against all that the written world knows of its tokens.

use super::Context;
use super::text::TextArgs;
use crate::output;

/// Arguments of `saelab truth`.
#[derive(Debug, clap::Args)]
pub(crate) struct TruthArgs {
    #[command(flatten)]
    args: TextArgs,
}

impl TruthArgs {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::truth::Settings {
            text: self.args.settings(),
        };
        output::outcome(&settings.run(context)?)
    }
}
