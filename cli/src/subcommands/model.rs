//! `saelab model`: models from the Hugging Face hub.

use hub::{Hub, HubModel, PullEvent};

use super::Context;
use lab::ConfigError;

use crate::output;

/// Arguments of `saelab model`.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Fetch a model into the cache shared with Hugging Face's libraries, and print its folder; an interrupted download resumes
    #[command(
        after_help = "HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_HUB_OFFLINE and HF_HUB_DOWNLOAD_TIMEOUT mean what they mean \
                      there. A host that sends fewer than 1,000 bytes a second for that long (60 s) is given up."
    )]
    Pull {
        /// Name on the hub: gpt2, or owner/name
        name: String,
        /// Branch, tag or commit
        #[arg(long, default_value = "main")]
        revision: String,
    },
}

impl ModelArgs {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let What::Pull { name, revision } = self.what;
        let model = HubModel::new(&name, &revision).map_err(|error| ConfigError(error.to_string()))?;
        let bar = context.bar("MB", 0);
        let folder = Hub::from_env()?.pull(&model, &mut |event| match event {
            PullEvent::Planned { files, bytes } => {
                output::note(&format!("pull: {files} files, {:.1} MB to fetch", bytes as f64 / 1e6));
            }
            PullEvent::NoLock { cause } => output::note(&format!(
                "pull: the disk of the cache gives no lock ({cause}); another pull at the same time would fetch the same files"
            )),
            PullEvent::Waiting { file } => {
                output::note(&format!("pull: another process fetches {file}, waiting for it"))
            }
            PullEvent::Bytes { file, done, total } => {
                bar.set_message(format!("{file} (MB)"));
                bar.set_length(total.div_ceil(1_000_000));
                bar.set_position(done / 1_000_000);
            }
        })?;
        bar.finish_and_clear();
        output::result(&folder.display().to_string())
    }
}
