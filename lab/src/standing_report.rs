//! A report that stands where another one is to be written: it is overwritten only by one that says as much.

use std::collections::BTreeSet;
use std::path::Path;

use crate::Result;
use causal::{Site, Sites};
use eval::report::REPORT;
use eval::{DictionarySet, EvalConfig, Report};
use serde_json::Value;

/// Refuses to write into a folder that holds a report of other settings, another model or other sites, or one with dictionaries
/// that the new one does not have.
///
/// # Errors
/// What differs, by key and value, and the options that allow it.
pub(super) fn check(
    folder: &Path,
    config: &EvalConfig,
    model_hash: &str,
    sites: &Sites,
    sets: &[DictionarySet],
) -> Result<()> {
    let path = folder.join(REPORT);
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let what = match Report::read(&path) {
        Err(error) => Some(format!("cannot be read ({error})")),
        Ok(report) => differences(&report, config, model_hash, sites, sets)?,
    };
    match what {
        None => Ok(()),
        Some(what) => bail!(
            "{} {what}; write this one into another folder with --out, or overwrite that one with --replace",
            path.display()
        ),
    }
}

/// What a report says that the new one would not say.
fn differences(
    report: &Report,
    config: &EvalConfig,
    model_hash: &str,
    sites: &Sites,
    sets: &[DictionarySet],
) -> Result<Option<String>> {
    // Through text, as the old ones: reading a number may move its last bit.
    let through_text = |value: Value| serde_json::from_str::<Value>(&value.to_string());
    let old = through_text(serde_json::to_value(&report.config)?)?;
    let new = through_text(serde_json::to_value(config)?)?;
    let mut differ = artifacts::json_differences(&old, &new);
    if report.model.hash != model_hash {
        differ.push(format!("model: {:.12} -> {model_hash:.12}", report.model.hash));
    }
    let names = |sites: &[Site]| -> BTreeSet<String> { sites.iter().map(|site| site.name.clone()).collect() };
    let [old_sites, new_sites] = [names(&report.sites), names(&sites.sites)];
    if old_sites != new_sites {
        let list = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(", ");
        differ.push(format!("sites: {} -> {}", list(old_sites), list(new_sites)));
    }
    if !differ.is_empty() {
        return Ok(Some(format!("is of other settings ({})", differ.join("; "))));
    }
    let lost = report.dictionaries.iter().map(|facts| facts.name.as_str());
    let lost: Vec<&str> = lost.filter(|name| sets.iter().all(|set| set.name != *name)).collect();
    Ok((!lost.is_empty()).then(|| format!("has scores of {}, which this evaluation lacks", lost.join(", "))))
}
