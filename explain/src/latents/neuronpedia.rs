//! Explanations as Neuronpedia's exports have them: one JSON object a line.

use std::path::Path;

use serde_json::json;

use super::explained::{DictionaryExplained, ExplanationMethod};
use crate::Error;

/// Writes explanations by a method. `model` is the name there.
///
/// # Errors
///
/// A file that cannot be written.
pub fn write(path: &Path, model: &str, all: &[DictionaryExplained], method: ExplanationMethod) -> Result<(), Error> {
    let mut lines = String::new();
    for dictionary in all {
        for (latent, explained) in dictionary.by(method) {
            let line = json!({
                "modelId": model,
                "layer": format!("{}-{}", dictionary.site, dictionary.dictionary),
                "index": latent.latent.to_string(),
                "description": explained.explanation,
                "explanationModelName": format!("saelab {method}"),
                "typeName": format!("saelab_{method}").replace(' ', "_"),
            });
            lines += &line.to_string();
            lines.push('\n');
        }
    }
    Ok(artifacts::write_atomic(path, |file| file.write_all(lines.as_bytes()))?)
}
