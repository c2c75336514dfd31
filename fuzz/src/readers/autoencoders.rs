//! Folders of autoencoders: SAELens, sparsify, dictionary_learning, and this project's own.
//!
//! A file is read beside the files of every committed folder of its library. What is read is also used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use dictionaries::Dictionary as _;
use dictionaries::{Autoencoder, Format};
use kernels::{cpu, from_vec, to_vec};
use serde_json::Value;

use super::{any, message};
use crate::scratch::{Scratch, bytes, entries, repository};
use crate::{Form, Reader, Target};

/// Numbers of a weight matrix beyond which codes are not computed.
const LARGEST: usize = 1 << 20;

const CFG: &str = "cfg.json";
const CONFIG: &str = "config.json";
const SAELENS: &str = "sae_weights.safetensors";
const SCALER: &str = "activation_scaler.json";
const SPARSIFY: &str = "sae.safetensors";
const TORCH: &str = "ae.pt";

pub(super) fn targets() -> Vec<Target> {
    let target = |name, form, seeds, reader| Target {
        name,
        form,
        seeds,
        reader,
    };
    vec![
        target(
            "saelens-cfg",
            Form::Json,
            || seeds("saelens-", CFG),
            || beside("saelens-", CFG),
        ),
        target(
            "saelens-weights",
            Form::Tensors,
            || seeds("saelens-", SAELENS),
            || beside("saelens-", SAELENS),
        ),
        target(
            "saelens-scaler",
            Form::Json,
            || vec![br#"{"scaling_factor": 2.5}"#.to_vec()],
            || beside("saelens-expected", SCALER),
        ),
        target(
            "sparsify-cfg",
            Form::Json,
            || seeds("sparsify-", CFG),
            || beside("sparsify-", CFG),
        ),
        target(
            "sparsify-weights",
            Form::Tensors,
            || seeds("sparsify-", SPARSIFY),
            || beside("sparsify-", SPARSIFY),
        ),
        target(
            "torch-config",
            Form::Json,
            || seeds("dl-", CONFIG),
            || beside("dl-", CONFIG),
        ),
        target(
            "torch-weights",
            Form::Archive,
            || seeds("dl-", TORCH),
            || beside("dl-", TORCH),
        ),
        target("saelab-config", Form::Json, || vec![own(CONFIG)], own_config),
        target("saelab-weights", Form::Tensors, || vec![own(SAELENS)], own_weights),
    ]
}

/// The committed folders whose names begin so.
fn folders(prefix: &str) -> Vec<PathBuf> {
    let all = ["interchange", "saelens"].map(|group| entries(&repository("dictionaries/tests/fixtures").join(group)));
    let wanted = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        path.is_dir() && name.is_some_and(|name| name.starts_with(prefix))
    };
    all.concat().into_iter().filter(wanted).collect()
}

/// The file of this name in each of the folders, each content once.
fn seeds(prefix: &str, name: &str) -> Vec<Vec<u8>> {
    let mut found: Vec<Vec<u8>> = folders(prefix).iter().map(|folder| bytes(&folder.join(name))).collect();
    found.sort();
    found.dedup();
    found
}

/// Reads the folders of one library in which the input is the file `name`. It is accepted when one of them is.
fn beside(prefix: &'static str, name: &'static str) -> Reader {
    let (scratch, device) = (Scratch::new(), cpu());
    let mut places = Vec::new();
    let mut told = std::collections::BTreeSet::new();
    for folder in folders(prefix) {
        let names = [CFG, CONFIG, SAELENS, SPARSIFY, TORCH].map(|name| folder.join(name));
        let others: Vec<PathBuf> = names
            .into_iter()
            .filter(|path| path.exists() && !path.ends_with(name))
            .collect();
        // Weights of the same names and shapes are refused and accepted alike.
        if !told.insert(others.iter().map(|path| outline(path)).collect::<Vec<_>>()) {
            continue;
        }
        let place = places.len().to_string();
        for other in others {
            let copy = Path::new(&place).join(other.file_name().unwrap_or_default());
            scratch.put(&copy.to_string_lossy(), &bytes(&other));
        }
        places.push(place);
    }
    assert!(!places.is_empty(), "no folder of the repository begins with {prefix}");
    Box::new(move |input| {
        any(places.iter().map(|place| {
            scratch.put(&format!("{place}/{name}"), input);
            used(&scratch.path().join(place), &device)
        }))
    })
}

/// What tells a file from others: the header of tensors, all of anything else.
fn outline(path: &Path) -> Vec<u8> {
    let bytes = bytes(path);
    let header = bytes.first_chunk::<8>().map(|length| u64::from_le_bytes(*length));
    match header.and_then(|length| bytes.get(8..)?.get(..usize::try_from(length).ok()?)) {
        Some(header) => header.to_vec(),
        None => bytes,
    }
}

/// Reads an autoencoder, and encodes and decodes two rows.
fn used(folder: &Path, device: &Device) -> Result<(), String> {
    let (model, _) = message(Autoencoder::open(folder, device))?;
    let d = model.d_in();
    if d.saturating_mul(model.n_latents()) <= LARGEST {
        let rows = (0..2 * d).map(|i| (i % 5) as f32 - 1.5).collect();
        let x: Tensor<2> = from_vec(rows, [2, d], device);
        let _ = to_vec(model.reconstruct(x));
    }
    Ok(())
}

/// The files of an autoencoder in this project's layout.
fn own_files() -> BTreeMap<&'static str, Vec<u8>> {
    let (scratch, device) = (Scratch::new(), cpu());
    let from = &folders("saelens-jumprelu")[0];
    let (model, origin) = Autoencoder::open(from, &device).expect("the folder is whole");
    let folder = scratch.path().join("own");
    model
        .write(&folder, Format::Saelab, &origin)
        .expect("it can be written");
    [CFG, CONFIG, SAELENS]
        .map(|name| (name, bytes(&folder.join(name))))
        .into()
}

fn own(name: &str) -> Vec<u8> {
    own_files().remove(name).unwrap_or_default()
}

fn own_config() -> Reader {
    let (scratch, device) = (Scratch::new(), cpu());
    for (name, bytes) in own_files() {
        scratch.put(name, &bytes);
    }
    Box::new(move |input| {
        scratch.put(CONFIG, &resealed(input));
        used(scratch.path(), &device)
    })
}

/// Weights under the hash that `config.json` has of them, and `cfg.json` as it was.
fn own_weights() -> Reader {
    let (scratch, device, config) = (Scratch::new(), cpu(), own(CONFIG));
    for (name, bytes) in own_files() {
        scratch.put(name, &bytes);
    }
    let old = artifacts::sha256_hex(&own(SAELENS));
    Box::new(move |input| {
        scratch.put(SAELENS, input);
        let text = String::from_utf8_lossy(&config).replace(&old, &artifacts::sha256_hex(input));
        scratch.put(CONFIG, &resealed(text.as_bytes()));
        used(scratch.path(), &device)
    })
}

/// The file under the hash of itself that it must hold, so that a change is not refused for that alone.
fn resealed(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text).into_owned();
    let hash = serde_json::from_str::<Value>(&text).ok().and_then(|value| {
        let hash = value.get("sha256")?.as_str()?.to_owned();
        (hash.len() == 64).then_some(hash)
    });
    match hash.as_ref().and_then(|hash| text.rsplit_once(hash.as_str())) {
        Some((before, after)) => {
            let hash = artifacts::sha256_hex([before, &"0".repeat(64), after].concat().as_bytes());
            [before, &hash, after].concat().into_bytes()
        }
        None => text.into_bytes(),
    }
}
