//! Every exchange with a server in a file of JSON lines, and playing it back.
//!
//! A line holds the hash of the request's body, the request and the answer, never a key. A file that is recorded to again is played
//! back first, so a run that was broken goes on where it stopped. In playback a request that was not recorded is an error.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;

/// One exchange.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Line {
    key: String,
    request: Value,
    response: Value,
    status: u16,
    ms: u64,
    attempts: u32,
}

/// Exchanges by the hash of the request.
#[derive(Debug, Default)]
pub struct Cassette {
    known: HashMap<String, Value>,
    file: Option<(PathBuf, File)>,
    is_played: bool,
    path: PathBuf,
}

/// The hash of a request's body.
pub(super) fn key(body: &Value) -> String {
    artifacts::sha256_hex(body.to_string().as_bytes())
}

impl Cassette {
    /// One that remembers within a run.
    pub fn memory() -> Self {
        Self::default()
    }

    /// Records to a file; what it holds already is not asked again.
    ///
    /// # Errors
    ///
    /// A file that is no recording, or cannot be written.
    pub fn record(path: &Path) -> Result<Self, Error> {
        let known = match path.exists() {
            true => read(path)?,
            false => (HashMap::new(), 0),
        };
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|cause| cannot_write(path, cause))?;
        // A line that was not finished is written again.
        file.set_len(known.1 as u64)
            .map_err(|cause| cannot_write(path, cause))?;
        Ok(Self {
            known: known.0,
            file: Some((path.to_owned(), file)),
            is_played: false,
            path: path.to_owned(),
        })
    }

    /// Plays a file back.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is no recording.
    pub fn replay(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            known: read(path)?.0,
            file: None,
            is_played: true,
            path: path.to_owned(),
        })
    }

    /// Whether nothing may be asked.
    pub(super) fn is_played(&self) -> bool {
        self.is_played
    }

    /// The recorded answer to a request; in playback a request without one is an error.
    pub(super) fn answer(&self, body: &Value) -> Result<Option<Value>, Error> {
        match self.known.get(&key(body)) {
            Some(answer) => Ok(Some(answer.clone())),
            None if self.is_played => Err(Error::Data {
                path: self.path.clone(),
                reason: "does not hold this request: it was recorded with other settings, functions or version; record it again".to_owned(),
            }),
            None => Ok(None),
        }
    }

    /// Keeps an answer.
    pub(super) fn keep(&mut self, request: &Value, response: &Value, ms: u64, attempts: u32) -> Result<(), Error> {
        let key = key(request);
        if let Some((path, file)) = &mut self.file {
            let line = Line {
                key: key.clone(),
                request: request.clone(),
                response: response.clone(),
                status: 200,
                ms,
                attempts,
            };
            let mut text = serde_json::to_string(&line).map_err(|error| bad(path, error.to_string()))?;
            text.push('\n');
            file.write_all(text.as_bytes())
                .map_err(|cause| cannot_write(path, cause))?;
        }
        self.known.insert(key, response.clone());
        Ok(())
    }
}

fn cannot_write(path: &Path, cause: std::io::Error) -> Error {
    Error::File(artifacts::Error::Write {
        path: path.to_owned(),
        cause,
    })
}

fn bad(path: &Path, reason: String) -> Error {
    Error::Data {
        path: path.to_owned(),
        reason,
    }
}

/// Exchanges of a file, and the bytes of its whole lines. A last line without an end is passed over.
fn read(path: &Path) -> Result<(HashMap<String, Value>, usize), Error> {
    let bytes = artifacts::read(path)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let text = std::str::from_utf8(&bytes[..whole]).map_err(|error| bad(path, format!("is no recording: {error}")))?;
    let mut known = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let line: Line = serde_json::from_str(line).map_err(|error| {
            bad(
                path,
                format!("line {} is no recorded exchange: {error}; record it again", number + 1),
            )
        })?;
        if key(&line.request) != line.key {
            return Err(bad(
                path,
                format!(
                    "line {}: the key is not that of the request; it was changed",
                    number + 1
                ),
            ));
        }
        known.insert(line.key, line.response);
    }
    Ok((known, whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_recorded_is_played_and_a_torn_line_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.jsonl");
        let (one, other) = (json!({"a": 1}), json!({"a": 2}));
        let mut cassette = Cassette::record(&path).unwrap();
        cassette.keep(&one, &json!("first"), 1, 1).unwrap();
        drop(cassette);
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"key\": \"torn")
            .unwrap();
        let mut again = Cassette::record(&path).unwrap();
        assert_eq!(again.answer(&one).unwrap(), Some(json!("first")));
        assert_eq!(again.answer(&other).unwrap(), None);
        again.keep(&other, &json!("second"), 1, 2).unwrap();
        drop(again);
        let played = Cassette::replay(&path).unwrap();
        assert_eq!(played.answer(&other).unwrap(), Some(json!("second")));
        let error = played.answer(&json!({"a": 3})).unwrap_err().to_string();
        assert!(
            error.contains("f.jsonl") && error.contains("record it again"),
            "{error}"
        );
    }

    #[test]
    fn a_changed_recording_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.jsonl");
        Cassette::record(&path)
            .unwrap()
            .keep(&json!({"a": 1}), &json!("x"), 1, 1)
            .unwrap();
        let text = std::fs::read_to_string(&path)
            .unwrap()
            .replace("{\"a\":1}", "{\"a\":9}");
        std::fs::write(&path, text).unwrap();
        assert!(
            Cassette::replay(&path)
                .unwrap_err()
                .to_string()
                .contains("it was changed")
        );
        std::fs::write(&path, "hello\n").unwrap();
        assert!(Cassette::replay(&path).unwrap_err().to_string().contains("line 1"));
    }
}
