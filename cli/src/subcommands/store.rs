//! `saelab store`: a store of activations in other forms.

use std::path::PathBuf;

use activations::Store;
use activations::store::export_lists;

use super::Context;
use crate::output;

/// Arguments of `saelab store`.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Write the shards with the vectors as a numeric column, for tools that cannot read them from binary
    Export {
        /// Folder of the store
        store: PathBuf,
        /// Folder for the files: new, empty, or of an interrupted export of the same store
        #[arg(long)]
        out: PathBuf,
        /// Layout of the vectors
        #[arg(long, value_enum)]
        layout: ExportLayout,
    },
}

/// The form of exported vectors.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum ExportLayout {
    /// A fixed-size list of f32
    List,
}

impl StoreArgs {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let What::Export {
            store,
            out,
            layout: ExportLayout::List,
        } = self.what;
        let bar = context.bar("export", 0);
        export_lists(&Store::open(&store)?, &out, &mut |done, total| {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        })?;
        bar.finish_and_clear();
        output::note(&format!("export: {}", out.display()));
        Ok(())
    }
}
