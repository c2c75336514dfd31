//! What is said of autoencoders when they are finished.

use std::fmt::Write as _;

use dictionaries::{Dictionary, Summary, Variant};
use sae::Finished;

use crate::training_site::TrainingSite;

/// From this share of the variance on, the longest thousandth of the rows is spoken of even if no row is long.
const MUCH: f64 = 0.5;
/// Rows from which on a thousandth of them is more than one.
const MANY: usize = 1000;

/// Fall or rise of the loss from the third quarter of the steps to the last up to which it counts as settled.
const SETTLED: f64 = 0.02;

/// How it turned out. `fall`: by how much of itself its loss fell from the third quarter of the steps to the last.
pub(crate) fn of_autoencoder(site: TrainingSite, finished: &Finished, fall: Option<f64>) -> String {
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
    if let Some(fall) = fall {
        text.push_str(&of_fall(fall));
    }
    let _ = match summary.held_out {
        true => write!(text, "; on {} held-out rows", summary.rows),
        false => write!(text, "; on {} rows that were trained on", summary.rows),
    };
    text
}

/// Whether the loss has settled, by how much of itself it fell from the third quarter of the steps to the last.
fn of_fall(fall: f64) -> String {
    let percent = fall * 100.0;
    if fall > SETTLED {
        format!("; the loss has not settled: it fell by {percent:.1} % in the last quarter, raise `steps`")
    } else if fall < -SETTLED {
        // Also when AuxK's term joins it, as latents die.
        format!(
            "; the loss has not settled: it rose by {:.1} % in the last quarter",
            -percent
        )
    } else {
        format!("; the loss has settled ({percent:.1} % in the last quarter of the steps)")
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn note(changes: serde_json::Value) -> Option<String> {
        let mut summary = serde_json::json!({
            "fvu": 0.007, "fvu_per_token": 0.031, "fvu_uncentred": 0.006, "cosine": 0.99, "l0": 16.0, "dead": 0.0, "dense": 0.0,
            "rows": 2692, "held_out": true, "all_rows": 26_921, "long_rows": 0, "largest_variance": 0.01, "largest_error": 0.01,
            "dominant": null,
        });
        summary
            .as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        let variant = serde_json::json!({
            "name": "sae", "architecture": {"architecture": "topk", "k": 3}, "seed": 0, "learning_rate": 1e-3, "target": null,
        });
        let [variant, summary] = [variant, summary];
        of_activations(
            "blocks.2.hook_resid_pre".parse().unwrap(),
            &serde_json::from_value(variant).unwrap(),
            &serde_json::from_value(summary).unwrap(),
        )
    }

    #[test]
    fn a_loss_that_rises_has_not_settled() {
        assert!(of_fall(0.011).contains("has settled (1.1 %"));
        assert!(of_fall(-0.011).contains("has settled (-1.1 %"));
        assert!(of_fall(0.07).contains("it fell by 7.0 %"));
        assert!(of_fall(-0.416).contains("it rose by 41.6 %"));
    }

    #[test]
    fn a_few_long_rows_and_a_far_dimension_are_spoken_of_and_nothing_else() {
        assert_eq!(note(serde_json::json!({})), None);
        let long = note(serde_json::json!({"long_rows": 27, "largest_variance": 0.97})).unwrap();
        assert!(
            long.contains("27 of 26921 rows") && long.contains("97 % of the variance"),
            "{long}"
        );
        assert!(note(serde_json::json!({"largest_variance": 0.6})).is_some());
        // Of 16 rows the longest is a sixteenth.
        assert_eq!(note(serde_json::json!({"largest_variance": 0.6, "rows": 16})), None);
        let far = serde_json::json!({"dominant": {"dimension": 5, "share": 0.98, "deviations": 100.0}});
        let far = note(far).unwrap();
        assert!(
            far.contains("dimension 5 is 100 standard deviations") && far.contains("98 %"),
            "{far}"
        );
    }
}
