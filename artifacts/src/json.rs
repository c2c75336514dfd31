//! JSON files, and where two of them differ.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::{Error, read, write_atomic};

/// Writes `value` as indented JSON, atomically.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    write_atomic(path, |file| {
        serde_json::to_writer_pretty(&mut *file, value)?;
        file.write_all(b"\n")
    })
}

/// Reads a JSON file.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Error> {
    serde_json::from_slice(&read(path)?).map_err(|error| Error::Format {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// Where two JSON values differ: `path: old -> new` for each place; strings stand without quotes.
///
/// ```
/// use serde_json::json;
///
/// let (old, new) = (json!({"a": {"k": 8, "x": 1}}), json!({"a": {"k": 16, "x": 1}}));
/// assert_eq!(artifacts::json_differences(&old, &new), ["a.k: 8 -> 16"]);
/// ```
pub fn json_differences(old: &Value, new: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    compare("", old, new, &mut differences);
    differences
}

fn compare(path: &str, old: &Value, new: &Value, differences: &mut Vec<String>) {
    if let (Value::Object(old), Value::Object(new)) = (old, new) {
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for key in keys {
            let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
            let inner = match path {
                "" => key.clone(),
                path => format!("{path}.{key}"),
            };
            compare(&inner, &of(old), &of(new), differences);
        }
    } else if old != new {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        differences.push(format!("{path}: {} -> {}", text(old), text(new)));
    }
}

/// `value` rounded to six significant digits: what reports say of a measured number.
pub fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value) + 0.0 // no -0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_listed_with_their_path() {
        let (old, new) = (
            serde_json::json!({"steps": 10, "a": {"k": 8, "x": 1}, "dtype": "f32"}),
            serde_json::json!({"steps": 20, "a": {"k": 16, "x": 1}, "dtype": "f16", "seed": 1}),
        );
        let found = json_differences(&old, &new);
        assert_eq!(
            found,
            [
                "a.k: 8 -> 16",
                "dtype: f32 -> f16",
                "seed: null -> 1",
                "steps: 10 -> 20"
            ]
        );
    }
}
