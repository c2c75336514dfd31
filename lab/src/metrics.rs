//! What a training run says about itself while it runs: JSON lines, and event files that TensorBoard reads.
//!
//! An event file is a sequence of records: length, masked CRC-32C of the length, a protobuf `Event`, masked CRC-32C of that.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

/// The log of one autoencoder.
#[derive(Debug)]
pub(crate) struct Metrics {
    path: PathBuf,
    lines: BufWriter<File>,
    events: BufWriter<File>,
}

impl Metrics {
    /// Goes on with the log in `dir` at `step`: what stood there for this step and later ones is dropped. At step 0 this
    /// is a new log.
    pub(crate) fn open(dir: &Path, step: usize) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let path = dir.join("metrics.jsonl");
        let old = match fs::read_to_string(&path) {
            Ok(text) if step > 0 => text,
            _ => String::new(),
        };
        let kept = old.lines().filter(|line| {
            let parsed = serde_json::from_str::<Value>(line).ok();
            parsed
                .and_then(|line| line["step"].as_u64())
                .is_some_and(|at| at < step as u64)
        });
        // Whole or not at all: a kill now must not lose what stands there.
        let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
        artifacts::write_atomic(&path, |file| file.write_all(kept.as_bytes())).map_err(io::Error::other)?;
        let lines = BufWriter::new(OpenOptions::new().append(true).open(&path)?);
        // TensorBoard reads all event files of a folder in the order of their names, later ones over earlier ones.
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let from = name
                .strip_prefix("events.out.tfevents.")
                .and_then(|step| step.parse::<usize>().ok());
            if from.is_some_and(|from| from >= step) {
                fs::remove_file(entry.path())?;
            }
        }
        let name = format!("events.out.tfevents.{step:010}");
        let events = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .open(dir.join(name))?;
        let mut metrics = Self {
            path,
            lines,
            events: BufWriter::new(events),
        };
        metrics.event(&string(3, "brain.Event:2"))?;
        if step > 0 {
            // A session that starts: what other files hold for this step and later ones is hidden.
            let started = [varint_field(2, step as u64), message(7, &varint_field(1, 1))].concat();
            metrics.event(&started)?;
        }
        metrics.events.flush()?;
        Ok(metrics)
    }

    /// The file of the JSON lines.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the numbers of one step, through to the file.
    pub(crate) fn write(&mut self, step: usize, numbers: &Map<String, Value>) -> io::Result<()> {
        writeln!(self.lines, "{}", Value::Object(numbers.clone()))?;
        let scalars = numbers.iter().filter(|(name, _)| name.as_str() != "step");
        let values: Vec<u8> = scalars
            .filter_map(|(name, value)| {
                let value = value.as_f64()? as f32;
                let simple = [&[(2 << 3) | 5], &value.to_le_bytes()[..]].concat();
                Some(message(1, &[string(1, name), simple].concat()))
            })
            .flatten()
            .collect();
        self.event(&[varint_field(2, step as u64), message(5, &values)].concat())?;
        self.lines.flush()?;
        self.events.flush()
    }

    fn event(&mut self, fields: &[u8]) -> io::Result<()> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |time| time.as_secs_f64());
        let event = [&[(1 << 3) | 1], &now.to_le_bytes()[..], fields].concat();
        let length = (event.len() as u64).to_le_bytes();
        self.events.write_all(&length)?;
        self.events.write_all(&masked_crc(&length))?;
        self.events.write_all(&event)?;
        self.events.write_all(&masked_crc(&event))
    }
}

fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
        .to_le_bytes()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn varint_field(field: u8, value: u64) -> Vec<u8> {
    [vec![field << 3], varint(value)].concat()
}

fn message(field: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![(field << 3) | 2], varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn string(field: u8, text: &str) -> Vec<u8> {
    message(field, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: usize) -> Map<String, Value> {
        Map::from_iter([
            ("step".to_owned(), step.into()),
            ("loss".to_owned(), (step as f64 * 0.5).into()),
        ])
    }

    #[test]
    fn going_on_drops_what_comes_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut metrics = Metrics::open(folder.path(), 0).unwrap();
        (0..5).for_each(|step| metrics.write(step, &line(step)).unwrap());
        let mut metrics = Metrics::open(folder.path(), 3).unwrap();
        (3..6).for_each(|step| metrics.write(step, &line(step)).unwrap());
        let text = fs::read_to_string(metrics.path()).unwrap();
        let expected: String = (0..6).map(|step| format!("{}\n", Value::Object(line(step)))).collect();
        assert_eq!(text, expected);
        assert!(folder.path().join("events.out.tfevents.0000000003").exists());
    }

    #[test]
    fn a_kill_after_going_on_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut metrics = Metrics::open(folder.path(), 0).unwrap();
        (0..3).for_each(|step| metrics.write(step, &line(step)).unwrap());
        // Killed before the first line of its own.
        std::mem::forget(Metrics::open(folder.path(), 3).unwrap());
        let metrics = Metrics::open(folder.path(), 3).unwrap();
        assert_eq!(fs::read_to_string(metrics.path()).unwrap().lines().count(), 3);
    }

    #[test]
    fn records_have_the_checksums_that_tensorboard_expects() {
        // CRC-32C of "123456789" is e3069283 (RFC 3720's polynomial); masked as TensorFlow does.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        let folder = tempfile::tempdir().unwrap();
        drop(Metrics::open(folder.path(), 0).unwrap());
        let bytes = fs::read(folder.path().join("events.out.tfevents.0000000000")).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(bytes.len(), 8 + 4 + length + 4);
        assert_eq!(bytes[8..12], masked_crc(&bytes[..8]));
        assert_eq!(bytes[12 + length..], masked_crc(&bytes[12..12 + length]));
        assert!(bytes[12..].windows(13).any(|window| window == b"brain.Event:2"));
    }
}
