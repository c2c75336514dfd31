//! `saelab splice`: what autoencoders of a run lose on running text, against two ablations.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::Path;

use activations::Dictionary as _;
use anyhow::Context as _;
use burn::tensor::{Device, Tensor};
use eval::{Change, DENSE, SpliceTask};
use lm::files;
use sae::Summary;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::held_folder::HeldFolder;
use super::hook_autoencoders::{self, HookArgs, TextFile};
use super::run_folder::{self, RunFolder};
use super::{Context, finished_notes};
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
    /// Hash of the model, and of the files of the autoencoder.
    pub(crate) model: String,
    pub(crate) identity: String,
    /// What it reached on the activations that its training held out, or, where it held out none, on those it was trained on.
    pub(crate) summary: Option<Summary>,
    /// Tokens that were predicted.
    pub(crate) tokens: usize,
    /// Cross-entropy of the untouched model, in nats.
    pub(crate) ce_clean: f64,
    /// Share of latents that are active on more than a tenth of the replaced tokens.
    pub(crate) dense: f64,
    /// With the reconstruction in place, with zeros, with the mean.
    pub(crate) spliced: Change,
    pub(crate) zero: Change,
    pub(crate) mean: Change,
    /// Shares of the ablations' cost that the reconstruction avoids; absent when that cost is too small.
    pub(crate) recovered_from_zero: Option<f64>,
    pub(crate) recovered_from_mean: Option<f64>,
}

impl Spliced {
    /// Reads `splice.json`.
    pub(crate) fn read_all(path: &Path) -> anyhow::Result<Vec<Self>> {
        let rows: Vec<Value> = files::read_json(path)?;
        // Older versions did not say which autoencoder a row is about.
        anyhow::ensure!(
            rows.iter().all(|row| row.get("identity").is_some()),
            "{} is of another version; run `saelab splice` again",
            path.display()
        );
        serde_json::from_value(rows.into())
            .with_context(|| format!("{} is damaged; run `saelab splice` again", path.display()))
    }
}

/// How often each latent was active.
struct Activity {
    /// `[1, F]`
    counts: Tensor<2>,
    rows: usize,
}

impl Activity {
    fn new(n_latents: usize, device: &Device) -> Self {
        Self {
            counts: Tensor::zeros([1, n_latents], device),
            rows: 0,
        }
    }

    /// Counts codes `[n, F]`.
    fn add(&mut self, codes: Tensor<2>) {
        self.rows += codes.dims()[0];
        let active = codes.greater_elem(0.0).float().sum_dim(0); // [1, F]
        self.counts = self.counts.clone() + active;
    }

    /// Share of latents that were active on more than [`DENSE`] of the rows.
    fn dense(self) -> f64 {
        let most = DENSE * self.rows as f64;
        let counts = kernels::to_vec(self.counts);
        counts.iter().filter(|count| f64::from(**count) > most).count() as f64 / counts.len().max(1) as f64
    }
}

impl Splice {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let args = self.args;
        let file: TextFile = config::read(&args.config, &args.set)?;
        let mut documents = run_folder::documents(&file.source)?;
        let Some(packing) = file.source.packing() else {
            anyhow::bail!("prompts are no text");
        };
        let (model, tokenizer) = run_folder::load_model(&args.model, &context.device)?;
        let windows = packing.windows(&mut documents, &tokenizer);
        if let Some(skipped) = documents.skipped() {
            output::note(&format!("splice: {skipped}"));
        }
        let windows = windows?;
        let windows: Vec<Vec<u32>> = windows.into_iter().map(|window| window.ids).collect();
        let special = tokenizer.special_ids();
        let run = RunFolder(args.run);
        let sites = hook_autoencoders::all(&run)?;
        let held = HeldFolder::new(&run.0)?;
        let bar = context
            .progress
            .bar("splice", sites.iter().map(|site| site.autoencoders.len()).sum());
        let mut all = Vec::new();
        for site in sites {
            let task =
                SpliceTask::new(&model, site.hook, site.head, &special, &windows).with_context(|| site.site.clone())?;
            for (dictionary, dir) in site.autoencoders {
                bar.inc(1);
                let Some(loaded) = hook_autoencoders::load(&dir, site.hook, &model, context)? else {
                    continue;
                };
                let (autoencoder, trained) = (loaded.autoencoder, loaded.trained);
                let activity = RefCell::new(Activity::new(autoencoder.n_latents(), &context.device));
                let reconstruct = |x: Tensor<2>| {
                    let codes = autoencoder.codes(x.clone()); // [n, F]
                    activity.borrow_mut().add(codes.clone());
                    autoencoder.reconstruct_from(x, codes)
                };
                let spliced = task
                    .change(&reconstruct)
                    .with_context(|| format!("{dictionary} at {}", site.site))?;
                all.push(Spliced {
                    dictionary,
                    model: model.hash().to_owned(),
                    identity: loaded.identity,
                    dense: activity.into_inner().dense(),
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
        held.check()?;
        files::write_json(&run.0.join("splice.json"), &all)?;
        held.check()?;
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
                "{site}: cross-entropy {:.3}, with zeros {:.3}, with the mean {:.3}, on {} tokens\n{:<28} {:>6} {:>9} \
                 {:>6} {:>6} {:>6} {:>7} {:>7} {:>9} {:>9}",
                row.ce_clean,
                row.zero.ce,
                row.mean.ce,
                row.tokens,
                "",
                "FVU",
                "per token",
                "L0",
                "dead",
                "dense",
                "CE",
                "KL",
                "from zero",
                "from mean"
            );
        }
        let summary = row.summary;
        let _ = writeln!(
            out,
            "{:<28} {:>6} {:>9} {:>6} {:>6} {:>6.3} {:>7.3} {:>7.4} {:>9} {:>9}",
            marked(row),
            share(summary.and_then(|summary| summary.fvu)),
            share(summary.and_then(|summary| summary.fvu_per_token)),
            summary.map_or("-".to_owned(), |summary| format!("{:.1}", summary.l0)),
            share(summary.map(|summary| summary.dead)),
            row.dense,
            row.spliced.ce,
            row.spliced.kl,
            share(row.recovered_from_zero),
            share(row.recovered_from_mean)
        );
    }
    out + "\n" + &notes(all)
}

/// What the columns are of, and where a few rows decide them.
fn notes(all: &[Spliced]) -> String {
    let mut notes = String::new();
    if all.iter().any(is_of_held_out_rows) {
        notes +=
            "FVU (of all rows together, and the mean over each token's own), L0, dead: on what its training held out\n";
    }
    if all.iter().any(is_of_trained_rows) {
        notes += TRAINED_ROWS;
    }
    // Writing to a string cannot fail.
    let _ = writeln!(
        notes,
        "dense: latents active on more than {:.0} % of the tokens; it and the rest on this text",
        100.0 * DENSE
    );
    let mut site = "";
    for row in all
        .iter()
        .filter(|row| row.summary.as_ref().is_some_and(finished_notes::is_outweighed))
    {
        if row.site != site {
            site = &row.site;
            let share = row.summary.and_then(|summary| summary.largest_variance).unwrap_or(0.0);
            let _ = writeln!(
                notes,
                "{site}: the longest thousandth of the rows carries {:.0} % of the variance; a few rows may decide FVU, see that \
                 per token",
                100.0 * share
            );
        }
    }
    notes
}

/// The line below a table in which some names are marked.
pub(crate) const TRAINED_ROWS: &str =
    "*: FVU, L0, dead on the rows that it was trained on, none of which was set aside\n";

fn is_of_held_out_rows(row: &Spliced) -> bool {
    row.summary.is_some_and(|summary| summary.held_out)
}

/// Whether the figures of its training are not of held-out rows.
pub(crate) fn is_of_trained_rows(row: &Spliced) -> bool {
    row.summary.is_some_and(|summary| !summary.held_out)
}

/// The name, with a mark where the figures of its training are not of held-out rows.
fn marked(row: &Spliced) -> String {
    format!("{}{}", row.dictionary, if is_of_trained_rows(row) { "*" } else { "" })
}
