//! Rows that a model has computed once and that are looked at twice: in memory, or beyond 64 MB in a file without a name, of which nothing
//! is left however the process ends.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use lm::HookPoint;
use sae::{Error, Rows, Split};
use tempfile::SpooledTempFile;

/// Bytes in memory.
const MEMORY: usize = 64 << 20;

/// Parts of what is held out, by number.
#[derive(Debug)]
pub(crate) struct HeldOutFile {
    file: SpooledTempFile,
    folder: PathBuf,
    end: u64,
    parts: BTreeMap<usize, Part>,
}

/// Where a part begins, and the width and length of its inputs and of each of its targets.
#[derive(Debug, Clone)]
struct Part {
    start: u64,
    inputs: [usize; 2],
    targets: Vec<(HookPoint, [usize; 2])>,
}

impl HeldOutFile {
    /// Nothing yet; the file is to be on the disk of `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            file: SpooledTempFile::new_in(MEMORY, folder),
            folder: folder.to_owned(),
            end: 0,
            parts: BTreeMap::new(),
        }
    }

    /// Keeps a part.
    pub(crate) fn write(&mut self, number: usize, part: &Split) -> Result<(), Error> {
        let sizes = |rows: &Rows| [rows.width, rows.values.len()];
        let place = Part {
            start: self.end,
            inputs: sizes(&part.inputs),
            targets: part.targets.iter().map(|(&hook, rows)| (hook, sizes(rows))).collect(),
        };
        let all = std::iter::once(&part.inputs).chain(part.targets.values());
        let bytes: Vec<u8> = all
            .flat_map(|rows| &rows.values)
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let written = self
            .file
            .seek(SeekFrom::Start(self.end))
            .and_then(|_| self.file.write_all(&bytes));
        written.map_err(|source| self.failed(source))?;
        self.end += bytes.len() as u64;
        self.parts.insert(number, place);
        Ok(())
    }

    /// A part that was kept; all of its rows are held out.
    pub(crate) fn read(&mut self, number: usize) -> Result<Option<Split>, Error> {
        let Some(part) = self.parts.get(&number).cloned() else {
            return Ok(None);
        };
        let split = self.read_part(part);
        split.map(Some).map_err(|source| self.failed(source))
    }

    fn read_part(&mut self, part: Part) -> io::Result<Split> {
        self.file.seek(SeekFrom::Start(part.start))?;
        let mut rows = |[width, length]: [usize; 2]| {
            let mut bytes = vec![0; length * size_of::<f32>()];
            self.file.read_exact(&mut bytes)?;
            let values = artifacts::words::<4>(&bytes).map(f32::from_le_bytes).collect();
            Ok::<_, io::Error>(Rows { width, values })
        };
        let inputs = rows(part.inputs)?;
        let targets = part.targets.into_iter().map(|(hook, sizes)| Ok((hook, rows(sizes)?)));
        Ok(Split {
            targets: targets.collect::<io::Result<_>>()?,
            inputs,
            trained: 0,
        })
    }

    fn failed(&self, source: io::Error) -> Error {
        let path = self.folder.clone();
        activations::Error::Io { path, source }.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_as_they_were_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = HeldOutFile::new(folder.path());
        let part = |number: usize| Split {
            inputs: Rows {
                width: 3,
                values: (0..3 * number).map(|i| i as f32 + 0.1).collect(),
            },
            targets: BTreeMap::from([(
                HookPoint::MlpOut(1),
                Rows {
                    width: 2,
                    values: vec![-(number as f32); 2 * number],
                },
            )]),
            trained: 0,
        };
        for number in [0, 4, 2] {
            file.write(number, &part(number)).unwrap();
        }
        for number in [2, 0, 4] {
            let (found, expected) = (file.read(number).unwrap().unwrap(), part(number));
            assert_eq!(found.inputs.values, expected.inputs.values);
            assert_eq!(
                found.targets[&HookPoint::MlpOut(1)].values,
                expected.targets[&HookPoint::MlpOut(1)].values
            );
            assert_eq!((found.inputs.width, found.trained), (3, 0));
        }
        assert!(file.read(1).unwrap().is_none());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
