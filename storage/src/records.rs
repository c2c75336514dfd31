//! What is known of the objects whose copies are in the cache: a journal of lines of JSON for each bucket.
//!
//! Processes of one machine append to it, each line in one write, and read what others have appended; the last line of a key holds.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;

/// A journal is rewritten once it has this many lines more than twice its keys.
const SLACK: usize = 1000;

/// Size and time of a local file: as long as both are the same, so are its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Bytes.
    pub(crate) size: u64,
    /// Nanoseconds since 1970.
    pub(crate) modified: i64,
}

impl Stamp {
    pub(crate) fn of(metadata: &std::fs::Metadata) -> Self {
        let since = metadata
            .modified()
            .ok()
            .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        Self {
            size: metadata.len(),
            modified: since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)),
        }
    }
}

/// An object, and the local file that has its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// What tells this state of the object from another: its entity tag or, where it has none, its time.
    pub(crate) tag: String,
    /// The version with which Google's store wants an update; none elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// The local file when it had the object's bytes.
    pub(crate) local: Stamp,
}

/// What a line says of a key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    /// Object and copy are the same.
    Same { key: String, record: Record },
    /// There is no object of that key, or no copy.
    Gone { key: String },
    /// An upload in parts was begun.
    Begun { key: String, upload: String },
    /// It has ended.
    Ended { upload: String },
}

/// The journal of a bucket.
#[derive(Debug)]
pub(crate) struct Records {
    path: PathBuf,
    file: File,
    read: u64,
    lines: usize,
    objects: BTreeMap<String, Record>,
    uploads: BTreeMap<String, String>,
}

impl Records {
    /// Opens the journal at `path`, new or as others have left it.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let failed = |cause| Error::cache(path, cause);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(failed)?;
        let mut records = Self {
            path: path.to_owned(),
            file,
            read: 0,
            lines: 0,
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
        };
        records.refresh()?;
        let size = records.file.metadata().map_err(failed)?.len();
        if size > records.read {
            // A killed process has not finished its line; what follows must not belong to it.
            records.file.write_all(b"\n").map_err(failed)?;
        }
        Ok(records)
    }

    /// Reads what other processes have appended.
    pub(crate) fn refresh(&mut self) -> Result<(), Error> {
        let read = self.read_on();
        read.map_err(|cause| Error::cache(&self.path, cause))
    }

    fn read_on(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.read))?;
        let mut reader = BufReader::new(&self.file);
        let (mut text, mut lines) = (Vec::new(), Vec::new());
        loop {
            text.clear();
            let n = reader.read_until(b'\n', &mut text)?;
            if n == 0 || text.last() != Some(&b'\n') {
                break;
            }
            self.read += n as u64;
            self.lines += 1;
            lines.extend(serde_json::from_slice::<Line>(&text).ok());
        }
        lines.into_iter().for_each(|line| self.take(line));
        Ok(())
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Same { key, record } => drop(self.objects.insert(key, record)),
            Line::Gone { key } => drop(self.objects.remove(&key)),
            Line::Begun { key, upload } => drop(self.uploads.insert(upload, key)),
            Line::Ended { upload } => drop(self.uploads.remove(&upload)),
        }
    }

    /// What is known of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Record> {
        self.objects.get(key)
    }

    /// The known objects that are `key` or lie below it.
    pub(crate) fn below<'a>(&'a self, key: &'a str) -> impl Iterator<Item = (&'a str, &'a Record)> {
        let found = self.objects.range(key.to_owned()..);
        let found = found.take_while(move |(found, _)| found.starts_with(key));
        found.filter_map(move |(found, record)| is_below(found, key).then_some((found.as_str(), record)))
    }

    /// Object and copy of a key are the same now.
    pub(crate) fn same(&mut self, key: &str, record: Record) -> Result<(), Error> {
        let key = key.to_owned();
        self.append(Line::Same { key, record })
    }

    /// There is no object of that key, or no copy.
    pub(crate) fn gone(&mut self, key: &str) -> Result<(), Error> {
        let key = key.to_owned();
        self.append(Line::Gone { key })
    }

    /// An upload in parts was begun.
    pub(crate) fn begun(&mut self, key: &str, upload: &str) -> Result<(), Error> {
        let (key, upload) = (key.to_owned(), upload.to_owned());
        self.append(Line::Begun { key, upload })
    }

    /// An upload in parts has ended, or was aborted.
    pub(crate) fn ended(&mut self, upload: &str) -> Result<(), Error> {
        let upload = upload.to_owned();
        self.append(Line::Ended { upload })
    }

    /// Uploads in parts that have not ended: id and key.
    pub(crate) fn uploads(&self) -> Vec<(String, String)> {
        self.uploads
            .iter()
            .map(|(upload, key)| (upload.clone(), key.clone()))
            .collect()
    }

    fn append(&mut self, line: Line) -> Result<(), Error> {
        let failed = |cause: io::Error| Error::cache(&self.path, cause);
        let mut text = serde_json::to_vec(&line).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        (&self.file).write_all(&text).map_err(failed)?;
        // Read back with the lines of others, so that the order is that of the file.
        self.refresh()
    }

    /// Rewrites the journal if most of it is old; only for a process that uses the cache alone.
    pub(crate) fn tidy(&mut self) -> Result<(), Error> {
        if self.lines < 2 * self.objects.len() + SLACK {
            return Ok(());
        }
        let mut text = Vec::new();
        let same = self.objects.iter().map(|(key, record)| Line::Same {
            key: key.clone(),
            record: record.clone(),
        });
        let begun = self.uploads.iter().map(|(upload, key)| Line::Begun {
            key: key.clone(),
            upload: upload.clone(),
        });
        for line in same.chain(begun) {
            let line = serde_json::to_vec(&line).map_err(|error| Error::cache(&self.path, error.into()))?;
            text.extend(line);
            text.push(b'\n');
        }
        let written = artifacts::write_atomic(&self.path, |file| file.write_all(&text));
        written.map_err(|error| Error::cache(&self.path, io::Error::other(error)))?;
        *self = Self::open(&self.path.clone())?;
        Ok(())
    }
}

/// Whether `found` is `key` or lies below it; everything lies below the empty key.
pub(crate) fn is_below(found: &str, key: &str) -> bool {
    key.is_empty()
        || found
            .strip_prefix(key)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(tag: &str) -> Record {
        Record {
            tag: tag.to_owned(),
            version: None,
            local: Stamp { size: 3, modified: 5 },
        }
    }

    #[test]
    fn processes_see_what_others_append_and_the_last_line_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/b.jsonl");
        let (mut one, mut two) = (Records::open(&path).unwrap(), Records::open(&path).unwrap());
        one.same("a/x", record("1")).unwrap();
        two.same("a/x", record("2")).unwrap();
        two.same("ab", record("3")).unwrap();
        one.begun("a/y", "upload").unwrap();
        one.refresh().unwrap();
        assert_eq!(one.get("a/x"), Some(&record("2")));
        let below = |key| one.below(key).map(|(key, _)| key.to_owned()).collect::<Vec<_>>();
        assert_eq!(
            (below("a"), below(""), below("a/x")),
            (
                vec!["a/x".to_owned()],
                vec!["a/x".to_owned(), "ab".to_owned()],
                vec!["a/x".to_owned()]
            )
        );
        two.gone("a/x").unwrap();
        one.refresh().unwrap();
        assert_eq!(one.get("a/x"), None);
        assert_eq!(two.uploads(), [("upload".to_owned(), "a/y".to_owned())]);
    }

    #[test]
    fn a_torn_line_costs_itself_only_and_old_lines_are_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.jsonl");
        Records::open(&path).unwrap().same("x", record("1")).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"same\":{\"key\":\"tor").unwrap();
        let mut records = Records::open(&path).unwrap();
        records.same("y", record("2")).unwrap();
        records.same("z", record("3")).unwrap();
        assert!(records.get("tor").is_none());
        assert!(records.get("x").is_some() && records.get("y").is_some() && records.get("z").is_some());
        for _ in 0..SLACK + 10 {
            records.same("z", record("4")).unwrap();
        }
        records.tidy().unwrap();
        assert_eq!((records.lines, records.get("z")), (3, Some(&record("4"))));
    }
}
