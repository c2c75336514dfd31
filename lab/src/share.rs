//! What commands that share work with other processes need: the folder of their work lists, a key of their settings, what they use.

use std::path::{Path, PathBuf};

use work::Usage;

use crate::usage;
use crate::{ConfigError, Result};

/// The folder of the work lists of what is made in `dir`; hidden, since it is no part of it.
pub(crate) fn folder(dir: &Path) -> PathBuf {
    dir.join(".work")
}

/// What names the work list of these config files, overridden keys and further settings.
pub(crate) fn key(configs: &[&Path], sets: &[String], further: &str) -> Result<String, ConfigError> {
    let mut parts = Vec::new();
    for path in configs {
        let text = std::fs::read_to_string(path);
        parts.push(text.map_err(|error| ConfigError(format!("{}: cannot be read: {error}", path.display())))?);
    }
    parts.extend(sets.iter().cloned().chain([further.to_owned()]));
    Ok(artifacts::sha256_hex(parts.join("\0").as_bytes()))
}

/// What this process has used so far.
pub(crate) fn usage() -> Usage {
    Usage {
        processor_seconds: usage::processor_seconds(),
        peak_memory_mb: usage::peak_memory_mb(),
    }
}
