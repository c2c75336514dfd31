//! Checkpoints of a grid in training, from which it resumes and ends with the same bytes.
//!
//! A checkpoint is a folder `step-00001000-0123456789ab/`, named after its step and the training it belongs to, so that the
//! checkpoints of several trainings stand side by side. It holds `state.json` (settings, counters), for each autoencoder a folder
//! with `parameters`, `first` and `second` (the optimiser's moments) as safetensors, and `SHA256SUMS` over all of these (as
//! `sha256sum -c` reads it). It is written under another name and renamed when it is whole; the one before stays until the next.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use artifacts::HostTensor;
use burn::tensor::{Device, Tensor};
use dictionaries::Parameters;
use kernels::{from_vec, to_vec};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::trainer::{Counters, Trainer};
use crate::{Error, Grid};

const FORMAT_VERSION: u32 = 2;
const STATE: &str = "state.json";
const SUMS: &str = "SHA256SUMS";
/// Checkpoints of a training that are kept.
const KEPT: usize = 2;
const PARTS: [&str; 3] = ["parameters", "first", "second"];

/// Where the checkpoints of one training are.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    /// The folder, which may hold those of other trainings too.
    pub dir: PathBuf,
    /// What names the training: a hash of all its settings, of which the first 12 digits are used.
    pub training: String,
    /// Hash of the store of the activations.
    pub parent: String,
}

/// What was found to resume from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resumed {
    /// Nothing of these autoencoders.
    Nothing,
    /// A checkpoint after so many steps.
    At(usize),
    /// Only a checkpoint of autoencoders of these names with other settings or activations.
    Other {
        /// Its folder.
        path: PathBuf,
        /// What differs, old -> new.
        differences: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    format_version: u32,
    step: usize,
    /// Hash of the store of the activations.
    parent: String,
    members: BTreeMap<String, Member>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    settings: Value,
    counters: Counters,
}

impl Checkpoints {
    /// The training's name in file names.
    fn short(&self) -> &str {
        self.training.get(..12).unwrap_or(&self.training)
    }

    fn partial(&self) -> PathBuf {
        self.dir.join(format!(".partial-{}", self.short()))
    }

    /// Where a checkpoint is while it is removed.
    fn removed(&self) -> PathBuf {
        self.dir.join(format!(".partial-removed-{}", self.short()))
    }

    /// Removes a whole checkpoint. It loses its name first, so that nobody finds a part of it, whenever this process ends.
    fn remove_whole(&self, path: &Path) -> Result<(), Error> {
        artifacts::remove_folder(&self.removed())?;
        if path.exists() {
            fs::rename(path, self.removed()).map_err(|cause| artifacts::Error::write(path, cause))?;
        }
        Ok(artifacts::remove_folder(&self.removed())?)
    }

    /// Removes all checkpoints of this training, and the folder if nothing else is in it.
    ///
    /// # Errors
    ///
    /// Files that cannot be removed.
    pub fn remove(&self) -> Result<(), Error> {
        for found in found(&self.dir)?
            .into_iter()
            .filter(|found| found.training == self.short())
        {
            self.remove_whole(&found.path)?;
        }
        artifacts::remove_folder(&self.partial())?;
        artifacts::remove_folder(&self.removed())?;
        // Not where another training has something in it, or another process was faster.
        let _ = fs::remove_dir(&self.dir);
        Ok(())
    }
}

impl Grid {
    /// Writes a checkpoint and drops all of this training but the last two.
    ///
    /// # Errors
    ///
    /// Parameters that are not finite, and files that cannot be written; what was there before stays.
    pub fn save(&self, checkpoints: &Checkpoints) -> Result<(), Error> {
        self.check()?;
        let step = self.steps_done();
        let (dir, short, partial) = (&checkpoints.dir, checkpoints.short(), checkpoints.partial());
        let whole = dir.join(format!("step-{step:08}-{short}"));
        artifacts::remove_folder(&partial)?;
        let _in_work = artifacts::TemporaryFolder::new(&partial);
        let mut settings = self.settings();
        let (mut members, mut sums) = (BTreeMap::new(), String::new());
        let mut add = |name: &str| -> Result<(), Error> {
            // Writing to a string cannot fail.
            let _ = writeln!(sums, "{}  {name}", artifacts::sha256_file(&partial.join(name))?);
            Ok(())
        };
        for (variant, trainer) in &self.members {
            for part in PARTS {
                let name = format!("{}/{part}.safetensors", variant.name);
                artifacts::write_tensors(&partial.join(&name), &tensors(trainer, part), &BTreeMap::new())?;
                add(&name)?;
            }
            let Some(settings) = settings.remove(&variant.name) else {
                unreachable!("every member has settings and a name of its own")
            };
            let member = Member {
                settings,
                counters: trainer.counters(),
            };
            members.insert(variant.name.clone(), member);
        }
        let state = State {
            format_version: FORMAT_VERSION,
            step,
            parent: checkpoints.parent.clone(),
            members,
        };
        artifacts::write_json(&partial.join(STATE), &state)?;
        add(STATE)?;
        artifacts::write_atomic(&partial.join(SUMS), |file| file.write_all(sums.as_bytes()))?;
        checkpoints.remove_whole(&whole)?;
        fs::rename(&partial, &whole).map_err(|cause| artifacts::Error::write(&whole, cause))?;
        let mut old = found(dir)?;
        old.retain(|found| found.training == short);
        for found in &old[..old.len().saturating_sub(KEPT)] {
            checkpoints.remove_whole(&found.path)?;
        }
        Ok(())
    }

    /// Resumes from the checkpoint with the most steps, of this training or of another that held the same autoencoders with
    /// the same settings; checkpoints of other trainings that are damaged are passed over.
    ///
    /// # Errors
    ///
    /// A damaged checkpoint of this training; the one before is named.
    pub fn resume(&mut self, checkpoints: &Checkpoints) -> Result<Resumed, Error> {
        let mut found = found(&checkpoints.dir)?;
        let mut other = Resumed::Nothing;
        while let Some(last) = found.pop() {
            let own = last.training == checkpoints.short();
            let previous = found.iter().rfind(|found| found.training == checkpoints.short());
            let damaged = |file: PathBuf, reason: String| Error::DamagedState {
                folder: last.path.clone(),
                file,
                reason,
                previous: previous.map(|found| found.path.clone()),
            };
            let (state, sums) = match read(&last, self.config.steps) {
                Ok(read) => read,
                Err((file, reason)) if own => return Err(damaged(file, reason)),
                Err(_) => continue,
            };
            let differences = self.differences(&state, &checkpoints.parent);
            if !differences.is_empty() {
                let known = self
                    .members
                    .iter()
                    .any(|(variant, _)| state.members.contains_key(&variant.name));
                if known && other == Resumed::Nothing {
                    other = Resumed::Other {
                        path: last.path.clone(),
                        differences: differences.join("; "),
                    };
                }
                continue;
            }
            let (device, mut members) = (self.device.clone(), state.members);
            let mut restored = Vec::new();
            for (variant, trainer) in &self.members {
                let Some(member) = members.remove(&variant.name) else {
                    return Err(damaged(last.path.join(STATE), format!("`{}` is missing", variant.name)));
                };
                let counters = member.counters;
                counters
                    .check(state.step, trainer.parameters().n_latents())
                    .map_err(|reason| damaged(last.path.join(STATE), reason))?;
                let tensors = restore(trainer, &variant.name, &last.path, &sums, &device);
                restored.push((counters, tensors.map_err(|(file, reason)| damaged(file, reason))?));
            }
            for ((_, trainer), (counters, (parameters, moments))) in self.members.iter_mut().zip(restored) {
                trainer.restore(counters, parameters, moments);
            }
            return Ok(Resumed::At(state.step));
        }
        Ok(other)
    }

    /// What a checkpoint has other than this grid, each difference once.
    fn differences(&self, state: &State, parent: &str) -> Vec<String> {
        let mut differences = Vec::new();
        if state.parent != parent {
            let (old, new) = (&state.parent, parent);
            differences.push(format!("activations: {old:.12} -> {new:.12}"));
        }
        for (name, new) in &self.settings() {
            // Through text, as the old ones: reading a number may move its last bit.
            let Ok(new) = serde_json::from_str::<Value>(&new.to_string()) else {
                unreachable!("the text of a JSON value is JSON")
            };
            match state.members.get(name) {
                Some(member) => differences.extend(artifacts::json_differences(&member.settings, &new)),
                None => differences.push(format!("autoencoder `{name}` is new")),
            }
        }
        let mut told = BTreeSet::new();
        differences.retain(|difference| told.insert(difference.clone()));
        differences
    }
}

/// A whole checkpoint on disk.
#[derive(Debug)]
struct Found {
    step: usize,
    training: String,
    path: PathBuf,
}

/// Whole checkpoints in `dir`, those of the most steps last.
fn found(dir: &Path) -> Result<Vec<Found>, Error> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let fail = |cause| artifacts::Error::read(dir, cause);
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let parts = name.strip_prefix("step-").and_then(|name| name.split_once('-'));
        if let Some((step, training)) = parts.and_then(|(step, training)| Some((step.parse().ok()?, training))) {
            all.push(Found {
                step,
                training: training.to_owned(),
                path: entry.path(),
            });
        }
    }
    all.sort_by(|a, b| (a.step, &a.training).cmp(&(b.step, &b.training)));
    Ok(all)
}

/// A file and what is wrong with it.
type Damage = (PathBuf, String);

/// The state of a checkpoint, and the checksums of its other files, by name.
fn read(found: &Found, steps: usize) -> Result<(State, BTreeMap<String, String>), Damage> {
    let (state_file, sums_file) = (found.path.join(STATE), found.path.join(SUMS));
    let sums = fs::read_to_string(&sums_file).map_err(|error| (sums_file.clone(), error.to_string()))?;
    let sums: BTreeMap<String, String> = sums
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(sum, name)| (name.to_owned(), sum.to_owned()))
        .collect();
    let bytes = fs::read(&state_file).map_err(|error| (state_file.clone(), error.to_string()))?;
    let bad = |reason: String| (state_file.clone(), reason);
    if sums.get(STATE) != Some(&artifacts::sha256_hex(&bytes)) {
        return Err(bad(format!("its hash is not the one in {SUMS}")));
    }
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
    // The version is read alone first: another version may have other fields.
    if value["format_version"] != FORMAT_VERSION {
        return Err(bad(format!(
            "it has format version {}, expected {FORMAT_VERSION}",
            value["format_version"]
        )));
    }
    let state: State = serde_json::from_value(value).map_err(|error| bad(error.to_string()))?;
    match state.step == found.step && state.step <= steps {
        true => Ok((state, sums)),
        false => Err(bad(format!(
            "it is of step {}, which its folder's name or `steps` contradicts",
            state.step
        ))),
    }
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

/// Parameters, and both moments of each slot.
type Restored = (Parameters, Vec<(Vec<f32>, Vec<f32>)>);

fn restore(
    trainer: &Trainer,
    name: &str,
    folder: &Path,
    sums: &BTreeMap<String, String>,
    device: &Device,
) -> Result<Restored, Damage> {
    let layout = layout(trainer.parameters());
    let mut parts = Vec::new();
    for part in PARTS {
        let file = format!("{name}/{part}.safetensors");
        let path = folder.join(&file);
        let damaged = |reason: String| (path.clone(), reason);
        let found = artifacts::sha256_file(&path).map_err(|error| damaged(error.to_string()))?;
        if sums.get(&file) != Some(&found) {
            return Err(damaged(format!("its hash is not the one in {SUMS}")));
        }
        let mut tensors = artifacts::read_tensors(&path).map_err(|error| damaged(error.to_string()))?;
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
    let Ok([values, first, second]) = <[Vec<Vec<f32>>; PARTS.len()]>::try_from(parts) else {
        unreachable!("one list was read for each part")
    };
    let mut values = values.into_iter();
    let mut next = || match values.next() {
        Some(values) => values,
        None => unreachable!("the layout has every parameter"),
    };
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
    Ok((parameters, first.into_iter().zip(second).collect()))
}
