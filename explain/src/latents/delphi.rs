//! Explanations and scores in the layout of delphi's results, which its own scripts read:
//!
//! ```text
//! FOLDER/explanations/<module>_latent<n>.txt     a JSON string
//! FOLDER/scores/detection/<module>_latent<n>.txt a JSON list: one object an example
//! ```

use std::path::Path;

use serde_json::{Value, json};

use super::explained::{DictionaryExplained, ExplanationMethod};
use crate::Error;

/// Writes the offline explanations and their detection, example by example. The module's name is that of the site and the dictionary.
///
/// # Errors
///
/// A file that cannot be written.
pub fn write(folder: &Path, all: &[DictionaryExplained]) -> Result<(), Error> {
    for dictionary in all {
        let module = format!("{}.{}", dictionary.site, dictionary.dictionary).replace(['/', '@'], "-");
        for (latent, explained) in dictionary.by(ExplanationMethod::Offline) {
            let name = format!("{module}_latent{}.txt", latent.latent);
            write_json(
                &folder.join("explanations").join(&name),
                &Value::String(explained.explanation.clone()),
            )?;
            let example = |record: &super::explained::Record| {
                let prediction = record.probability > 0.0;
                json!({
                    "str_tokens": record.tokens,
                    "activations": record.activations,
                    "distance": if record.activating { 1 } else { -1 },
                    "activating": record.activating,
                    "prediction": prediction,
                    "probability": record.probability,
                    "correct": prediction == record.activating,
                })
            };
            let scores: Vec<Value> = latent.records.iter().map(example).collect();
            write_json(
                &folder.join("scores").join("detection").join(&name),
                &Value::Array(scores),
            )?;
        }
    }
    Ok(())
}

fn write_json(path: &Path, value: &Value) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        let cannot = |cause| artifacts::Error::Write {
            path: parent.to_owned(),
            cause,
        };
        std::fs::create_dir_all(parent).map_err(cannot)?;
    }
    Ok(artifacts::write_atomic(path, |file| {
        file.write_all(value.to_string().as_bytes())
    })?)
}
