//! The storage of a process: one for all who read and write files in it, made by the first location that is named.
//!
//! Nothing of it is started, and nothing is looked for in the environment, where no location is named.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use crate::{Error, Fetched, Location, Names, Put, Storage, Use};

/// What the program writes last into a folder, files that say how something was made, and what is looked for on web servers.
const NAMES: Names = Names {
    seals: &[
        "manifest.json",
        "sae_weights.safetensors",
        "dictionary.safetensors",
        "SHA256SUMS",
    ],
    accounts: &["made.json", "run.json", "metrics.jsonl", "events.out.tfevents."],
    web: &[
        "cfg.json",
        "chat_template.jinja",
        "config.json",
        "dictionary.safetensors",
        "generation_config.json",
        "harvest.json",
        "made.json",
        "manifest.json",
        "merges.txt",
        "model.safetensors",
        "model.safetensors.index.json",
        "sae.safetensors",
        "sae_weights.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "tokens.parquet",
        "vocab.json",
    ],
};

static STORAGE: OnceLock<Storage> = OnceLock::new();
static TOLD: OnceLock<fn(&str)> = OnceLock::new();
/// Locations that were named and are not opened yet.
static NAMED: Mutex<Vec<Result<(Location, Use), Error>>> = Mutex::new(Vec::new());

/// Has remarks of one line told to `note`: what was fetched, and troubles that may pass. Nobody is told where this is not said.
pub fn tell(note: fn(&str)) {
    // Said once.
    let _ = TOLD.set(note);
}

fn note(text: &str) {
    if let Some(told) = TOLD.get() {
        told(text);
    }
}

fn storage() -> Result<&'static Storage, Error> {
    if let Some(storage) = STORAGE.get() {
        return Ok(storage);
    }
    let made = Storage::from_env(NAMES, |error| note(&format!("{error}; tried again")))?;
    Ok(STORAGE.get_or_init(|| made))
}

/// The local path that stands for what `path` names, which [`open_named`] opens; `path` itself where that is no location. What is wrong
/// with a location is told there, too: whoever parses a command line would repeat it with what it may hold of secrets.
pub fn named(path: PathBuf, purpose: Use, is_output: bool) -> PathBuf {
    let Some(location) = path.to_str().and_then(Location::parse) else {
        return path;
    };
    let found = location.and_then(|location| match is_output && location.scheme.is_read_only() {
        true => Err(Error::ReadOnly { location }),
        false => Ok((storage()?.local(&location, purpose), location)),
    });
    let (local, named) = match found {
        Ok((local, location)) => (local, Ok((location, purpose))),
        Err(error) => (path, Err(error)),
    };
    NAMED.lock().unwrap_or_else(PoisonError::into_inner).push(named);
    local
}

/// Opens what was [`named`].
///
/// # Errors
///
/// Locations that cannot be meant, and as of [`Storage::open`].
pub fn open_named() -> Result<(), Error> {
    let named = std::mem::take(&mut *NAMED.lock().unwrap_or_else(PoisonError::into_inner));
    let mut named = named.into_iter().collect::<Result<Vec<_>, Error>>()?;
    // Outer ones first: what lies in them is there then.
    named.sort_by(|(a, _), (b, _)| a.cmp(b));
    named
        .into_iter()
        .try_for_each(|(location, purpose)| open(&location, purpose))
}

fn open(location: &Location, purpose: Use) -> Result<(), Error> {
    let start = Instant::now();
    let fetched = storage()?.open(location, purpose)?;
    note_fetched(fetched, &location.to_string(), start);
    Ok(())
}

fn note_fetched(fetched: Fetched, what: &str, start: Instant) {
    if fetched.files > 0 {
        let (mb, seconds) = (fetched.bytes as f64 / 1e6, start.elapsed().as_secs_f64());
        note(&format!(
            "{what}: {} files fetched, {mb:.1} MB in {seconds:.1} s",
            fetched.files
        ));
    }
}

/// The local copy of an input, which is fetched; `None` where `text` names no location.
///
/// # Errors
///
/// As of [`Storage::open`].
pub fn input(text: &str) -> Result<Option<PathBuf>, Error> {
    let Some(location) = Location::parse(text) else {
        return Ok(None);
    };
    let location = location?;
    open(&location, Use::Input)?;
    Ok(Some(storage()?.local(&location, Use::Input)))
}

/// Whether what is written at this local path is put elsewhere.
pub fn is_remote(path: &Path) -> bool {
    STORAGE.get().is_some_and(|storage| storage.is_remote(path))
}

/// Puts what was written at this local path and fetches what others have put there meanwhile; whether that was anything.
///
/// # Errors
///
/// As of [`Storage::refresh`].
pub fn refresh(path: &Path) -> Result<bool, Error> {
    let Some(storage) = STORAGE.get() else {
        return Ok(false);
    };
    let start = Instant::now();
    let fetched = storage.refresh(path)?;
    note_fetched(fetched, &path.display().to_string(), start);
    Ok(fetched.files > 0)
}

/// Puts all that was written and not put yet; nothing where no location was named.
///
/// # Errors
///
/// As of [`Storage::finish`].
pub fn finish() -> Result<Put, Error> {
    let start = Instant::now();
    let put = STORAGE.get().map_or(Ok(Put::default()), Storage::finish)?;
    if put != Put::default() {
        note(&format!(
            "{} files put, {:.1} MB, {} removed; the last of it took {:.1} s",
            put.files,
            put.bytes as f64 / 1e6,
            put.removed,
            start.elapsed().as_secs_f64()
        ));
    }
    Ok(put)
}

/// `text` with locations in place of the local paths that stand for them.
pub fn shown(text: &str) -> String {
    STORAGE
        .get()
        .map_or_else(|| text.to_owned(), |storage| storage.shown(text))
}

/// A JSON value with the locations in all its strings as [`shown`] gives them.
pub fn shown_in(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(text) => Value::String(shown(&text)),
        Value::Array(values) => Value::Array(values.into_iter().map(shown_in).collect()),
        Value::Object(map) => Value::Object(map.into_iter().map(|(key, value)| (key, shown_in(value))).collect()),
        other => other,
    }
}
