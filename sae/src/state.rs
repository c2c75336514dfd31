//! Checkpoints of a grid in training, from which it goes on to the same bytes.
//!
//! A checkpoint is a folder `step-00001000/` with `state.json` (settings, counters, hashes) and for each autoencoder a folder
//! with `parameters`, `first` and `second` (the optimiser's moments) as safetensors. It is written under another name and
//! renamed when it is whole; the one before stays until the next.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use kernels::{from_vec, to_vec};
use lm::{HostTensor, files};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::parameters::Parameters;
use crate::trainer::{Counters, Trainer};
use crate::{Error, Grid};

const FORMAT_VERSION: u32 = 1;
const STATE: &str = "state.json";
/// Checkpoints that are kept.
const KEPT: usize = 2;
const PARTS: [&str; 3] = ["parameters", "first", "second"];

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    format_version: u32,
    /// Hash of the store of the activations.
    parent: String,
    members: BTreeMap<String, Member>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    settings: Value,
    counters: Counters,
    /// SHA-256 of each file.
    files: BTreeMap<String, String>,
}

impl Grid {
    /// Writes a checkpoint into `dir` and drops all but the last two; `parent` names the activations.
    ///
    /// # Errors
    ///
    /// Parameters that are not finite, and files that cannot be written; what was there before stays.
    pub fn save(&self, dir: &Path, parent: &str) -> Result<(), Error> {
        self.check()?;
        let step = self.steps_done();
        let (partial, whole) = (dir.join(".partial"), dir.join(format!("step-{step:08}")));
        files::remove_folder(&partial)?;
        let mut settings = self.settings();
        let mut members = BTreeMap::new();
        for (variant, trainer) in &self.members {
            let folder = partial.join(&variant.name);
            let mut hashes = BTreeMap::new();
            for part in PARTS {
                let path = folder.join(format!("{part}.safetensors"));
                files::write_tensors(&path, &tensors(trainer, part), &BTreeMap::new())?;
                hashes.insert(part.to_owned(), files::sha256_file(&path)?);
            }
            let member = Member {
                settings: settings.remove(&variant.name).unwrap_or_default(),
                counters: trainer.counters(),
                files: hashes,
            };
            members.insert(variant.name.clone(), member);
        }
        let state = State {
            format_version: FORMAT_VERSION,
            parent: parent.to_owned(),
            members,
        };
        files::write_json(&partial.join(STATE), &state)?;
        files::remove_folder(&whole)?;
        fs::rename(&partial, &whole).map_err(|cause| lm::Error::Write {
            path: whole.clone(),
            cause,
        })?;
        let old = checkpoints(dir)?;
        for path in &old[..old.len().saturating_sub(KEPT)] {
            files::remove_folder(path)?;
        }
        Ok(())
    }

    /// Goes on from the last checkpoint in `dir`; gives its step, or none when there is no checkpoint.
    ///
    /// # Errors
    ///
    /// A checkpoint of other settings or activations (the differences are listed), or a damaged one (the one before is
    /// named).
    pub fn resume(&mut self, dir: &Path, parent: &str) -> Result<Option<usize>, Error> {
        let mut found = checkpoints(dir)?;
        let Some(path) = found.pop() else {
            return Ok(None);
        };
        let damaged = |reason: String| Error::DamagedState {
            path: path.clone(),
            reason,
            previous: found.last().cloned(),
        };
        let mut state: State = files::read_json(&path.join(STATE)).map_err(|error| damaged(error.to_string()))?;
        if state.format_version != FORMAT_VERSION {
            return Err(damaged(format!("it has format version {}", state.format_version)));
        }
        let mut differences = Vec::new();
        if state.parent != parent {
            let (old, new) = (&state.parent, parent);
            differences.push(format!("activations: {old:.12} -> {new:.12}"));
        }
        let settings = self.settings();
        for (name, new) in &settings {
            // Through text, as the old ones: reading a number may move its last bit.
            let new: Value = serde_json::from_str(&new.to_string()).unwrap_or_default();
            match state.members.get(name) {
                Some(member) => differences.extend(files::json_differences(&member.settings, &new)),
                None => differences.push(format!("autoencoder `{name}` is new")),
            }
        }
        if !differences.is_empty() {
            let mut told = std::collections::BTreeSet::new();
            differences.retain(|difference| told.insert(difference.clone()));
            return Err(Error::OtherConfig {
                path: path.clone(),
                differences: differences.join("; "),
            });
        }
        let device = self.device().clone();
        for (variant, trainer) in &mut self.members {
            let Some(member) = state.members.remove(&variant.name) else {
                return Err(damaged(format!("`{}` is missing", variant.name)));
            };
            let folder = path.join(&variant.name);
            restore(trainer, member, &folder, &device).map_err(|error| damaged(error.to_string()))?;
        }
        Ok(Some(self.steps_done()))
    }
}

/// Whole checkpoints in `dir`, the newest last.
fn checkpoints(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let fail = |cause| lm::Error::Read {
        path: dir.to_owned(),
        cause,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if entry.file_name().to_string_lossy().starts_with("step-") {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Names and shapes of the parameters, in the order of their slots.
fn layout(p: &Parameters) -> Vec<(String, Vec<usize>)> {
    let (n_latents, d_in, d_out) = (p.n_latents(), p.d_in(), p.d_out());
    let mut layout = vec![
        ("W_enc".to_owned(), vec![n_latents, d_in]),
        ("b_enc".to_owned(), vec![n_latents]),
        ("W_dec".to_owned(), vec![n_latents, d_out]),
        ("b_dec".to_owned(), vec![d_out]),
    ];
    layout.extend((0..p.extra.len()).map(|i| (format!("extra.{i}"), vec![n_latents])));
    layout
}

/// The tensors of one file of a checkpoint.
fn tensors(trainer: &Trainer, part: &str) -> BTreeMap<String, HostTensor> {
    let p = trainer.parameters();
    let values: Vec<Option<Vec<f32>>> = if part == "parameters" {
        p.to_host().into_iter().map(Some).collect()
    } else {
        let of = |moments: &kernels::Moments| match part {
            "first" => to_vec(moments.first.clone()),
            _ => to_vec(moments.second.clone()),
        };
        trainer
            .adam()
            .slots()
            .iter()
            .map(|slot| slot.as_ref().map(of))
            .collect()
    };
    let named = layout(p).into_iter().zip(values);
    named
        .filter_map(|((name, shape), values)| Some((name, HostTensor::new(shape, values?))))
        .collect()
}

fn restore(trainer: &mut Trainer, member: Member, folder: &Path, device: &Device) -> Result<(), Error> {
    let layout = layout(trainer.parameters());
    let mut parts = Vec::new();
    for part in PARTS {
        let path = folder.join(format!("{part}.safetensors"));
        let damaged = |reason: String| Error::Checkpoint {
            path: path.clone(),
            reason,
        };
        if member.files.get(part) != Some(&files::sha256_file(&path)?) {
            return Err(damaged("its hash is not the one in state.json".to_owned()));
        }
        let mut tensors = files::read_tensors(&path)?;
        let mut values = Vec::new();
        for (name, shape) in &layout {
            match tensors.remove(name) {
                Some(tensor) if tensor.shape == *shape => values.push(tensor.data),
                // Before the first step there are no moments.
                None if part != "parameters" => values.push(Vec::new()),
                _ => return Err(damaged(format!("`{name}` is missing or not of shape {shape:?}"))),
            }
        }
        parts.push(values);
    }
    let (second, first) = (parts.pop().unwrap_or_default(), parts.pop().unwrap_or_default());
    let mut values = parts.pop().unwrap_or_default().into_iter();
    let mut next = || values.next().unwrap_or_default();
    let old = trainer.parameters();
    let (n_latents, d_in, d_out) = (old.n_latents(), old.d_in(), old.d_out());
    let vector = |values: Vec<f32>| -> Tensor<1> {
        let n = values.len();
        from_vec(values, [n], device)
    };
    let parameters = Parameters {
        w_enc: from_vec(next(), [n_latents, d_in], device),
        b_enc: vector(next()),
        w_dec: from_vec(next(), [n_latents, d_out], device),
        b_dec: vector(next()),
        extra: values.map(vector).collect(),
    };
    trainer.restore(member.counters, parameters, first.into_iter().zip(second).collect());
    Ok(())
}
