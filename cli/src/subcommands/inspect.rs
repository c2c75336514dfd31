//! `saelab inspect`: what a folder of an autoencoder holds.

use std::path::PathBuf;

use dictionaries::{Activation, Autoencoder, Dictionary, Format, Origin};
use kernels::to_vec;

use super::Context;
use crate::output;

/// Arguments of `saelab inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// Folder of an autoencoder of saelab, SAELens, sparsify or dictionary_learning
    sae: PathBuf,
}

impl Inspect {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let format = Format::of(&self.sae)?;
        let (model, origin) = Autoencoder::open(&self.sae, &context.device)?;
        let p = &model.parameters;
        let norms = |rows: &burn::tensor::Tensor<2>| spread(to_vec(rows.clone().square().sum_dim(1).sqrt()));
        let k = match model.activation {
            Activation::Topk { k } | Activation::Groupmax { k } => Some(k),
            Activation::Relu | Activation::Jumprelu | Activation::Gated => None,
        };
        let thresholds = matches!(model.activation, Activation::Jumprelu)
            .then(|| p.extra.first().map(|thresholds| spread(to_vec(thresholds.clone()))));
        let trained = match &origin {
            Origin::Trained(trained) => Some(serde_json::json!({
                "site": trained.site, "activations": trained.parent, "as": trained.variant, "measured": trained.summary,
            })),
            Origin::Imported { .. } => None,
        };
        // A folder of another library says nothing of where it was before.
        let imported = match &origin {
            Origin::Imported { path, .. } if format == Format::Saelab => Some(path.display().to_string()),
            _ => None,
        };
        let report = serde_json::json!({
            "format": format.to_string(),
            "activation": model.activation.saelens_name(),
            "k": k,
            "d_in": model.d_in(),
            "d_out": p.d_out(),
            "n_latents": model.n_latents(),
            "transcodes": model.transcodes,
            "has_skip": model.skip.is_some(),
            "normalisation": model.normalisation.saelens_name(),
            "subtracts_b_dec": model.subtracts_b_dec,
            "encoder_norms": norms(&p.w_enc),
            "decoder_norms": norms(&p.w_dec),
            "encoder_biases": spread(to_vec(p.b_enc.clone())),
            "thresholds": thresholds,
            "trained": trained,
            "imported_from": imported,
            "hook": origin.hook().map(|hook| hook.to_string()),
            "writes": origin.writes().filter(|_| model.transcodes),
        });
        output::result(&serde_json::to_string_pretty(&report)?)
    }
}

/// The smallest, the middle and the largest of some numbers.
fn spread(mut values: Vec<f32>) -> serde_json::Value {
    values.sort_unstable_by(f32::total_cmp);
    let at = |place: usize| values.get(place).copied();
    serde_json::json!({ "min": at(0), "median": at(values.len() / 2), "max": at(values.len().saturating_sub(1)) })
}
