//! Files and folders at `s3://`, `gs://`, `az://` and `https://`, wherever a path is.
//!
//! A command gets a local path in place of a location: of its arguments here, of a config's keys in [`crate::config`]. What it
//! writes there is put by [`storage`] while it runs. So commands know local paths only, and what they say is translated back
//! ([`shown`]) where it is written. Nothing of this is started unless a location is named.

use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use clap::builder::{PathBufValueParser, TypedValueParser};
use storage::{Fetched, Location, Names, Storage, Use};

use crate::output;

/// What the program writes last into a folder, and files that say how something was made.
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
/// How long a process that was asked to end goes on putting what it has written.
const LAST_WORDS: Duration = Duration::from_secs(45);

static STORAGE: OnceLock<Storage> = OnceLock::new();
/// Locations on the command line.
static NAMED: Mutex<Vec<(Location, Use)>> = Mutex::new(Vec::new());

/// The storage, with which something is named for the first time.
fn storage() -> Result<&'static Storage, storage::Error> {
    if let Some(storage) = STORAGE.get() {
        return Ok(storage);
    }
    let made = Storage::from_env(NAMES, |error| output::note(&format!("{error}; tried again")))?;
    Ok(STORAGE.get_or_init(|| made))
}

/// The command line with locations wherever it takes paths.
pub(crate) fn with_locations(command: clap::Command) -> clap::Command {
    let purpose = if command.get_name() == "status" {
        Use::Status
    } else {
        Use::Work
    };
    let mut command = command.mut_args(|arg| {
        if arg.get_value_parser().type_id() != std::any::TypeId::of::<PathBuf>() {
            return arg;
        }
        let is_output = arg.get_id() == "out";
        arg.value_parser(PathBufValueParser::new().try_map(move |path| named(path, purpose, is_output)))
    });
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(name, with_locations);
    }
    command
}

/// The local path of what an argument names.
fn named(path: PathBuf, purpose: Use, is_output: bool) -> Result<PathBuf, storage::Error> {
    let Some(location) = path.to_str().and_then(Location::parse) else {
        return Ok(path);
    };
    let location = location?;
    if is_output && location.scheme.is_read_only() {
        return Err(storage::Error::ReadOnly { location });
    }
    let local = storage()?.local(&location, purpose);
    let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    if !named.iter().any(|(known, _)| *known == location) {
        named.push((location, purpose));
    }
    Ok(local)
}

/// Fetches what the arguments name.
pub(crate) fn open_named() -> anyhow::Result<()> {
    let mut named = std::mem::take(&mut *NAMED.lock().unwrap_or_else(PoisonError::into_inner));
    // Outer ones first: what lies in them is there then.
    named.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (location, purpose) in named {
        open(&location, purpose)?;
    }
    Ok(())
}

fn open(location: &Location, purpose: Use) -> anyhow::Result<()> {
    let start = Instant::now();
    let fetched = storage()?.open(location, purpose)?;
    note_fetched(fetched, &location.to_string(), start);
    Ok(())
}

fn note_fetched(fetched: Fetched, what: &str, start: Instant) {
    if fetched.files > 0 {
        let (mb, seconds) = (fetched.bytes as f64 / 1e6, start.elapsed().as_secs_f64());
        output::note(&format!(
            "{what}: {} files fetched, {mb:.1} MB in {seconds:.1} s",
            fetched.files
        ));
    }
}

/// The local path of an input that a config names, which is fetched; nothing where `text` names no location.
pub(crate) fn input(text: &str) -> anyhow::Result<Option<PathBuf>> {
    let Some(location) = Location::parse(text) else {
        return Ok(None);
    };
    let location = location?;
    open(&location, Use::Input)?;
    Ok(Some(storage()?.local(&location, Use::Input)))
}

/// Whether what is written at this local path is put elsewhere.
pub(crate) fn is_remote(path: &Path) -> bool {
    STORAGE.get().is_some_and(|storage| storage.is_remote(path))
}

/// Puts what was written at this local path and fetches what others have put meanwhile; whether that was anything.
pub(crate) fn refresh(path: &Path) -> anyhow::Result<bool> {
    let Some(storage) = STORAGE.get() else {
        return Ok(false);
    };
    let start = Instant::now();
    let fetched = storage.refresh(path)?;
    note_fetched(fetched, &path.display().to_string(), start);
    Ok(fetched.files > 0)
}

/// Puts all that was written and not put yet.
pub(crate) fn finish() -> anyhow::Result<()> {
    let Some(storage) = STORAGE.get() else {
        return Ok(());
    };
    let start = Instant::now();
    let put = storage.finish()?;
    if put.files + put.removed > 0 {
        output::note(&format!(
            "{} files put, {:.1} MB, and {} removed; {:.1} s after the work was done",
            put.files,
            put.bytes as f64 / 1e6,
            put.removed,
            start.elapsed().as_secs_f64()
        ));
    }
    Ok(())
}

/// The same for a process that was asked to end: not for longer than [`LAST_WORDS`].
pub(crate) fn finish_in_time() {
    if STORAGE.get().is_none() {
        return;
    }
    let (done, ended) = channel();
    let thread = std::thread::Builder::new().spawn(move || done.send(finish()));
    if let (Ok(_), Ok(Err(error))) = (thread, ended.recv_timeout(LAST_WORDS)) {
        output::note(&format!("{error:#}"));
    }
}

/// `text` with locations in place of the local paths that stand for them.
pub(crate) fn shown(text: &str) -> String {
    match STORAGE.get() {
        None => text.to_owned(),
        Some(storage) => storage.shown(text),
    }
}

/// The same of all texts of a JSON value.
pub(crate) fn shown_in(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(text) => Value::String(shown(&text)),
        Value::Array(values) => Value::Array(values.into_iter().map(shown_in).collect()),
        Value::Object(map) => Value::Object(map.into_iter().map(|(key, value)| (key, shown_in(value))).collect()),
        other => other,
    }
}
