//! Latents in the layout that Neuronpedia's upload takes: `batch-<n>.json`, each a list of features with their activations, as
//! SAEDashboard 0.8's `NeuronpediaDashboardBatch` reads them.
//!
//! Statistics that are not measured here (alignment with neurons, histograms of logits) are empty lists there.

use std::path::Path;

use serde_json::{Value, json};

use super::contexts::{BINS_PER_OCTAVE, Context, bin_start};
use super::files::name;
use super::measure::{Found, Latent, Source, Subject};
use crate::Error;

/// Features of a file.
const BATCH: usize = 128;
/// Intervals of the activation by which contexts are grouped.
const BINS: usize = 10;

/// Writes all latents of a dictionary into `out`. `model`: Neuronpedia's name of the model.
///
/// # Errors
///
/// A folder that cannot be written to.
pub fn write(
    found: &Found,
    subject: &Subject<'_>,
    source: &Source<'_>,
    model: &str,
    out: &Path,
) -> Result<usize, Error> {
    std::fs::create_dir_all(out).map_err(|source| Error::List {
        path: out.to_owned(),
        source,
    })?;
    let mut written = 0;
    for (number, latents) in found.latents.chunks(BATCH).enumerate() {
        let features = latents.iter().enumerate();
        let features: Vec<Value> = features
            .map(|(place, latent)| feature(number * BATCH + place, latent, found.rows, source))
            .collect();
        let batch = json!({
            "model_id": model, "layer": subject.writes.layer().unwrap_or(0), "sae_set": subject.set, "sae_id_suffix": subject.site, "features": features,
        });
        artifacts::write_json(&out.join(format!("batch-{number}.json")), &batch)?;
        written += 1;
    }
    Ok(written)
}

fn feature(index: usize, latent: &Latent, rows: u64, source: &Source<'_>) -> Value {
    let contexts = &latent.contexts;
    let near = |all: &[(u32, f32)]| {
        (
            all.iter().map(|entry| entry.0).collect::<Vec<_>>(),
            all.iter().map(|entry| entry.1).collect::<Vec<_>>(),
        )
    };
    let (correlated, jaccard) = near(&latent.coactive);
    let strings = |ends: &[(u32, f32)]| {
        (
            ends.iter().map(|&(token, _)| name(source, token)).collect::<Vec<_>>(),
            ends.iter().map(|end| end.1).collect::<Vec<_>>(),
        )
    };
    let (raised, lowered) = match &latent.logits {
        Some([raised, lowered]) => (strings(raised), strings(lowered)),
        None => Default::default(),
    };
    let filled: Vec<(usize, u32)> = contexts
        .histogram
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, count)| *count > 0)
        .collect();
    let middle = |bin: usize| (bin_start(bin) + 0.5 / f64::from(BINS_PER_OCTAVE)).exp2();
    let shown = contexts.top.iter().chain(&contexts.sample);
    json!({
        "feature_index": index,
        "neuron_alignment_indices": [], "neuron_alignment_values": [], "neuron_alignment_l1": [],
        "correlated_neurons_indices": [], "correlated_neurons_l1": [], "correlated_neurons_pearson": [],
        "correlated_features_indices": correlated, "correlated_features_l1": [], "correlated_features_pearson": jaccard,
        "neg_str": lowered.0, "neg_values": lowered.1, "pos_str": raised.0, "pos_values": raised.1,
        "frac_nonzero": contexts.active as f64 / rows.max(1) as f64,
        "freq_hist_data_bar_values": filled.iter().map(|(bin, _)| middle(*bin)).collect::<Vec<_>>(),
        "freq_hist_data_bar_heights": filled.iter().map(|(_, count)| *count).collect::<Vec<_>>(),
        "logits_hist_data_bar_heights": [], "logits_hist_data_bar_values": [],
        "n_prompts_total": source.windows.len(),
        "n_tokens_in_prompt": source.windows.iter().map(|window| window.ids.len()).max().unwrap_or(0),
        "dataset": "",
        "activations": shown.map(|context| activation(context, contexts.max, source)).collect::<Vec<_>>(),
        "decoder_weights_dist": [], "vector": [],
    })
}

fn activation(context: &Context, max: f32, source: &Source<'_>) -> Value {
    let ids = source.tokens_of(context);
    let values: Vec<f32> = context
        .values
        .iter()
        .take(ids.len())
        .map(|value| if value.is_nan() { 0.0 } else { *value })
        .collect();
    let width = max / BINS as f32;
    let bin = ((context.value / width).floor() as usize).min(BINS - 1) as f32;
    json!({
        "bin_min": bin * width, "bin_max": (bin + 1.0) * width, "bin_contains": 1.0 / BINS as f32,
        "tokens": ids.iter().map(|&id| name(source, id)).collect::<Vec<_>>(),
        "values": values, "qualifying_token_index": context.position - context.start,
    })
}
