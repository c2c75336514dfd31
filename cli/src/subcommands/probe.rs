//! `saelab probe`: k-sparse probes and absorption on the written world's labels.

use super::Context;
use super::text::TextArgs;
use crate::output;

/// Arguments of `saelab probe`.
#[derive(Debug, clap::Args)]
pub(crate) struct ProbeArgs {
    #[command(flatten)]
    args: TextArgs,
}

impl ProbeArgs {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = lab::probe::Settings {
            text: self.args.settings(),
        };
        output::outcome(&settings.run(context)?)
    }
}
