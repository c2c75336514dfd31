//! What is finished, in files: one record an autoencoder, so that a run that was broken off does not begin anew.
//!
//! A record says what it is of: a hash of the program, the model and the settings. One of something else, or one that was changed, is
//! not used; it is made again.

use std::io;
use std::path::PathBuf;

use artifacts::{sha256_hex, write_json};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Error;

/// A folder of records.
#[derive(Debug, Clone)]
pub struct Records {
    folder: PathBuf,
    program: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record<T> {
    /// Hash of what it is of.
    of: String,
    /// What was found.
    found: T,
    /// Hash of `of` and `found`.
    seal: String,
}

impl Records {
    /// Records in `folder`, which need not exist yet. `program` is all of program and machine that figures depend on.
    pub fn new(folder: PathBuf, program: String) -> Self {
        Self { folder, program }
    }

    /// Hash of the program and of settings: what a record is of.
    pub fn identity(&self, settings: &serde_json::Value) -> String {
        sha256_hex(format!("{} {settings}", self.program).as_bytes())
    }

    /// The folder.
    pub fn folder(&self) -> &PathBuf {
        &self.folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }

    /// The record of this name, if it is there, whole and of these settings.
    ///
    /// # Errors
    ///
    /// A file that is there and cannot be read.
    pub fn read<T: Serialize + DeserializeOwned>(&self, name: &str, of: &str) -> Result<Option<T>, Error> {
        let path = self.path(name);
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(Error::Read { path, cause }),
            Ok(bytes) => bytes,
        };
        let record: Option<Record<T>> = serde_json::from_slice(&bytes).ok();
        let whole = record.filter(|record| record.of == of && record.seal == seal(of, &record.found));
        Ok(whole.map(|record| record.found))
    }

    /// Writes a record.
    ///
    /// # Errors
    ///
    /// A folder that cannot be written.
    pub fn write<T: Serialize>(&self, name: &str, of: &str, found: &T) -> Result<(), Error> {
        let record = Record {
            of: of.to_owned(),
            found,
            seal: seal(of, found),
        };
        Ok(write_json(&self.path(name), &record)?)
    }
}

#[expect(clippy::expect_used, reason = "plain data is always written")]
fn seal<T: Serialize>(of: &str, found: &T) -> String {
    let found = serde_json::to_string(found).expect("records are plain structs of numbers and text");
    sha256_hex(format!("{of} {found}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_of_this_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(dir.path().to_owned(), "this".to_owned());
        let of = records.identity(&serde_json::json!({"steps": 1}));
        assert_eq!(records.read::<Vec<f64>>("a", &of).unwrap(), None);
        records.write("a", &of, &vec![0.123_456_7, 1e-9]).unwrap();
        assert_eq!(records.read("a", &of).unwrap(), Some(vec![0.123_456_7, 1e-9]));
        let newer = Records::new(dir.path().to_owned(), "newer".to_owned());
        assert_ne!(newer.identity(&serde_json::json!({"steps": 1})), of);
        assert_eq!(
            records
                .read::<Vec<f64>>("a", &newer.identity(&serde_json::json!({"steps": 1})))
                .unwrap(),
            None
        );
        let path = dir.path().join("a.json");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("0.1234567", "0.1234568")).unwrap();
        assert_eq!(records.read::<Vec<f64>>("a", &of).unwrap(), None);
        std::fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert_eq!(records.read::<Vec<f64>>("a", &of).unwrap(), None);
    }
}
