//! A run: what its folder holds, and the page about it.

mod behind;
mod circuit;
mod curves;
mod explanations;
mod figures;
mod page;
mod phenomena;
mod words;

use std::path::{Path, PathBuf};

use activations::Store;
use eval::ledger::Entry;
use eval::report::{REPORT, RESAMPLES};
use eval::{Report, columns};
use serde_json::Value;
use toys::Summary;

use crate::Error;
pub use circuit::CircuitFolder;
pub use curves::Curve;
pub use explanations::Explanations;
pub use page::page;

/// Name of the page in a run's folder.
pub const PAGE: &str = "report.html";

/// What an evaluated run's folder holds. What lies beside the report is read as far as it can be; what cannot is told on the page.
#[derive(Debug)]
pub struct Run {
    /// What the run is called on the page: the name of its folder.
    pub name: String,
    /// The report.
    pub report: Report,
    /// Its scores with their resamples; none where `resamples.parquet` is missing or of another report.
    pub entries: Vec<Entry>,
    /// When, where and how long: `run.json`.
    pub circumstances: Option<Value>,
    /// What was harvested: rows of each hook, and the settings.
    pub harvest: Option<(usize, Value)>,
    /// What trainings said.
    pub curves: Vec<Curve>,
    /// Rows of `splice.json`.
    pub spliced: Vec<Spliced>,
    /// The toys of occlusion and over-splitting.
    pub phenomena: Option<Summary>,
    /// Circuits.
    pub circuits: Vec<CircuitFolder>,
    /// Explanations of latents.
    pub explanations: Option<Explanations>,
    /// Pages of latents: where each lies from the run's folder, and what it is of.
    pub latents: Vec<(String, String)>,
    /// What could not be read, in words.
    pub troubles: Vec<String>,
}

/// One dictionary on running text, of `splice.json`.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
pub struct Spliced {
    /// The dictionary.
    pub dictionary: String,
    /// The hook.
    pub site: String,
    /// How it reconstructs the activations of the text.
    pub fidelity: SplicedFidelity,
    /// Share of the cost of zero ablation that the reconstruction avoids.
    pub recovered_from_zero: Option<f64>,
}

/// How a dictionary reconstructs a text: what is shown of it.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
pub struct SplicedFidelity {
    /// Mean number of active latents of a token.
    pub l0: f64,
}

impl Run {
    /// Reads the run in `dir`.
    ///
    /// # Errors
    ///
    /// No `report.json`, or one that is damaged or of another version.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let report = Report::read(&dir.join(REPORT))?;
        let mut troubles = Vec::new();
        let entries = or_trouble(entries(dir, &report), &mut troubles).unwrap_or_default();
        let circumstances = or_trouble(optional(&dir.join("run.json")), &mut troubles).flatten();
        let spliced = or_trouble(spliced(dir), &mut troubles).unwrap_or_default();
        let phenomena = or_trouble(optional(&dir.join("phenomena").join("phenomena.json")), &mut troubles);
        let store = dir.join("activations");
        let harvest = match store.exists() {
            true => or_trouble(Store::open(&store), &mut troubles),
            false => None,
        };
        Ok(Self {
            name: name_of(dir),
            report,
            entries,
            circumstances,
            harvest: harvest.map(|store| (store.manifest().rows, store.manifest().provenance.settings.clone())),
            curves: curves::read(&dir.join("sae"), &mut troubles),
            spliced,
            phenomena: phenomena.flatten(),
            circuits: circuit::read(&dir.join("circuits"), &mut troubles),
            explanations: or_trouble(optional(&dir.join("explain.json")), &mut troubles).flatten(),
            latents: crate::latents::pages(dir),
            troubles,
        })
    }

    /// The page, written beside the report.
    ///
    /// # Errors
    ///
    /// A folder that cannot be written to.
    pub fn write(&self, dir: &Path) -> Result<PathBuf, Error> {
        let path = dir.join(PAGE);
        let text = page(self)?;
        artifacts::write_atomic(&path, |file| file.write_all(text.as_bytes()))?;
        Ok(path)
    }
}

/// What `splice.json` of a run says of its dictionaries; nothing where there is no such file.
///
/// # Errors
///
/// A file that is damaged.
pub fn spliced(dir: &Path) -> Result<Vec<Spliced>, Error> {
    let all: Option<Vec<Spliced>> = optional(&dir.join("splice.json"))?;
    Ok(all.unwrap_or_default())
}

/// The name of a folder, also where it is written as `.`.
pub(crate) fn name_of(dir: &Path) -> String {
    let whole = dir.canonicalize();
    let dir = whole.as_deref().unwrap_or(dir);
    dir.file_name()
        .map_or_else(|| dir.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn entries(dir: &Path, report: &Report) -> Result<Vec<Entry>, Error> {
    let path = dir.join(RESAMPLES);
    if !path.exists() {
        return Ok(Vec::new());
    }
    report.check_columns(dir)?;
    Ok(columns::read_resamples(&path)?)
}

/// What a file holds; none where there is no such file.
fn optional<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match path.exists() {
        true => Ok(Some(artifacts::read_json(path)?)),
        false => Ok(None),
    }
}

/// A part that can be read; what is wrong with another is noted.
fn or_trouble<T, E: std::fmt::Display>(part: Result<T, E>, troubles: &mut Vec<String>) -> Option<T> {
    part.map_err(|error| troubles.push(error.to_string())).ok()
}
