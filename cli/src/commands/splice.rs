//! `saelab splice`: what autoencoders of a run lose on running text, against two ablations.

use std::fmt::Write as _;

use eval::{Change, SpliceTask};
use lm::files;
use sae::Summary;
use serde::{Deserialize, Serialize};

use super::Context;
use super::hook_autoencoders::{self, HookArgs, TextFile};
use super::run_folder::{self, RunFolder};
use crate::{config, output};

/// Arguments of `saelab splice`.
#[derive(Debug, clap::Args)]
pub(crate) struct Splice {
    #[command(flatten)]
    args: HookArgs,
}

/// One autoencoder of `splice.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Spliced {
    pub(crate) dictionary: String,
    pub(crate) architecture: String,
    pub(crate) site: String,
    /// What it reached on the activations that its training held out, or, where it held out none, on those it was trained on.
    pub(crate) summary: Option<Summary>,
    /// Tokens that were predicted.
    pub(crate) tokens: usize,
    /// Cross-entropy of the untouched model, in nats.
    pub(crate) ce_clean: f64,
    /// With the reconstruction in place, with zeros, with the mean.
    pub(crate) spliced: Change,
    pub(crate) zero: Change,
    pub(crate) mean: Change,
    /// Shares of the ablations' cost that the reconstruction avoids; absent when that cost is too small.
    pub(crate) recovered_from_zero: Option<f64>,
    pub(crate) recovered_from_mean: Option<f64>,
}

impl Splice {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let args = self.args;
        let file: TextFile = config::read(&args.config, &args.set)?;
        let documents = run_folder::documents(&file.source)?;
        let Some(packing) = file.source.packing() else {
            anyhow::bail!("prompts are no text");
        };
        let (model, tokenizer) = run_folder::load_model(&args.model, &context.device)?;
        let windows = packing.windows(documents, &tokenizer)?;
        let windows: Vec<Vec<u32>> = windows.into_iter().map(|window| window.ids).collect();
        let run = RunFolder(args.run);
        let sites = hook_autoencoders::all(&run)?;
        let bar = context
            .progress
            .bar("splice", sites.iter().map(|site| site.autoencoders.len()).sum());
        let mut all = Vec::new();
        for site in sites {
            let task = SpliceTask::new(&model, site.hook, site.head, &windows)?;
            for (dictionary, dir) in site.autoencoders {
                bar.inc(1);
                let Some((autoencoder, trained)) = hook_autoencoders::load(&dir, site.hook, &model, context)? else {
                    continue;
                };
                let spliced = task.change(&|x| autoencoder.reconstruct(x))?;
                all.push(Spliced {
                    dictionary,
                    architecture: match &trained {
                        Some(trained) => trained.variant.architecture.name().to_owned(),
                        None => format!("imported {}", autoencoder.activation.saelens_name()),
                    },
                    site: site.site.clone(),
                    summary: trained.map(|trained| trained.summary),
                    tokens: task.tokens,
                    ce_clean: task.ce_clean,
                    spliced,
                    zero: task.zero,
                    mean: task.mean,
                    recovered_from_zero: task.recovered(spliced, task.zero),
                    recovered_from_mean: task.recovered(spliced, task.mean),
                });
            }
        }
        bar.finish_and_clear();
        files::write_json(&run.0.join("splice.json"), &all)?;
        output::result(&table(&all))?;
        output::note(&format!("splice: splice.json is in {}", run.0.display()));
        Ok(())
    }
}

fn table(all: &[Spliced]) -> String {
    let mut out = String::new();
    let mut site = "";
    let share = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{share:.3}"));
    for row in all {
        if row.site != site {
            site = &row.site;
            // Writing to a string cannot fail.
            let _ = writeln!(
                out,
                "{site}: cross-entropy {:.3}, with zeros {:.3}, with the mean {:.3}, on {} tokens\n{:<28} {:>6} {:>6} \
                 {:>6} {:>7} {:>7} {:>9} {:>9}",
                row.ce_clean,
                row.zero.ce,
                row.mean.ce,
                row.tokens,
                "",
                "FVU",
                "L0",
                "dead",
                "CE",
                "KL",
                "from zero",
                "from mean"
            );
        }
        let summary = row.summary;
        let _ = writeln!(
            out,
            "{:<28} {:>6} {:>6} {:>6} {:>7.3} {:>7.4} {:>9} {:>9}",
            marked(row),
            share(summary.and_then(|summary| summary.fvu)),
            summary.map_or("-".to_owned(), |summary| format!("{:.1}", summary.l0)),
            share(summary.map(|summary| summary.dead)),
            row.spliced.ce,
            row.spliced.kl,
            share(row.recovered_from_zero),
            share(row.recovered_from_mean)
        );
    }
    out + "\nFVU, L0, dead: on what its training held out; the rest on this text\n"
        + if all.iter().any(is_of_trained_rows) {
            TRAINED_ROWS
        } else {
            ""
        }
}

/// The line below a table in which some names are marked.
pub(crate) const TRAINED_ROWS: &str = "*: FVU, L0, dead on rows that it was trained on; its training held out none\n";

/// Whether the figures of its training are not of held-out rows.
pub(crate) fn is_of_trained_rows(row: &Spliced) -> bool {
    row.summary.is_some_and(|summary| !summary.held_out)
}

/// The name, with a mark where the figures of its training are not of held-out rows.
fn marked(row: &Spliced) -> String {
    format!("{}{}", row.dictionary, if is_of_trained_rows(row) { "*" } else { "" })
}
