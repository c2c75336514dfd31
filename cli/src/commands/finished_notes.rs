//! What is said of autoencoders when they are finished.

use std::fmt::Write as _;

use activations::Dictionary;
use sae::{Finished, Summary, Variant};

use super::training_site::TrainingSite;

/// From this share of the variance on, the longest thousandth of the rows is spoken of even if no row is long.
const MUCH: f64 = 0.5;
/// Rows from which on a thousandth of them is more than one.
const MANY: usize = 1000;

/// How it turned out.
pub(crate) fn of_autoencoder(site: TrainingSite, finished: &Finished) -> String {
    let (variant, summary) = (&finished.variant, &finished.summary);
    let share = |share: Option<f64>| share.map_or("undefined".to_owned(), |share| format!("{share:.3}"));
    let mut text = format!(
        "train: {} {site}: unexplained variance {} ({} per token), {:.1} active latents, {:.0} % dead",
        variant.name,
        share(summary.fvu),
        share(summary.fvu_per_token),
        summary.l0,
        summary.dead * 100.0
    );
    let dense = (summary.dense * finished.model.n_latents() as f64).round();
    // Writing to a string cannot fail.
    if dense > 0.0 {
        let _ = write!(
            text,
            ", {dense} of {} active on more than 10 % of the rows",
            finished.model.n_latents()
        );
    }
    if is_outweighed(summary) {
        let _ = write!(
            text,
            "; {:.0} % of the squared error in the longest thousandth of the rows",
            percent(summary.largest_error)
        );
    }
    if !summary.held_out {
        text += "; on rows that were trained on";
    }
    text
}

/// Whether a few rows or one dimension decide what is measured, if they do.
pub(crate) fn of_activations(site: TrainingSite, variant: &Variant, summary: &Summary) -> Option<String> {
    let what = match variant.target {
        None => String::new(),
        Some(target) => format!(" (its target {target})"),
    };
    let mut parts = Vec::new();
    if is_outweighed(summary) {
        parts.push(format!(
            "{} of {} rows are more than ten times as long as the median; the longest thousandth of the measured rows carries \
             {:.0} % of the variance, so a few rows may decide the unexplained variance: see that per token",
            summary.long_rows,
            summary.all_rows,
            percent(summary.largest_variance)
        ));
    }
    if let Some(found) = summary.dominant {
        parts.push(format!(
            "the mean of dimension {} is {:.0} standard deviations from 0 and {:.0} % of the squared length of the mean, so \
             `cosine` and `fvu_uncentred` say little",
            found.dimension,
            found.deviations,
            found.share * 100.0
        ));
    }
    (!parts.is_empty()).then(|| format!("train: {site}{what}: {}", parts.join("; ")))
}

/// Whether a few rows may decide the unexplained variance.
pub(super) fn is_outweighed(summary: &Summary) -> bool {
    let largest = summary.largest_variance.unwrap_or(0.0);
    summary.long_rows > 0 || (summary.rows >= MANY && largest > MUCH)
}

fn percent(share: Option<f64>) -> f64 {
    share.unwrap_or(0.0) * 100.0
}
