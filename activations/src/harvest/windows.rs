//! The windows of a text of any length: their tokens in an unnamed file, and 20 bytes for each of them in memory.
//!
//! The file is begun when the windows outgrow [`MEMORY`]. It has no name, so that nothing of it is left however the process ends.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::SpooledTempFile;

use super::packing::Window;
use crate::Error;

/// Bytes of windows that are held before the file is begun: those of 16 million tokens.
const MEMORY: usize = 64 << 20;

/// Windows in the order of a store: full ones first, then shorter ones by falling length, each in the documents' order.
#[derive(Debug, Clone)]
pub struct Windows {
    /// For each window as little-endian `u32`: its documents (position, number), its tokens.
    bytes: Arc<Mutex<SpooledTempFile>>,
    places: Vec<Place>,
    folder: PathBuf,
}

/// Where a window stands in the file, and its sizes.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    documents: u32,
    tokens: u32,
}

/// Takes windows in any order.
pub(super) struct WindowsWriter {
    bytes: SpooledTempFile,
    places: Vec<Place>,
    end: u64,
    folder: PathBuf,
}

impl WindowsWriter {
    /// Windows whose file, if one is needed, is on the disk on which `beside` is or will be.
    pub(super) fn new(beside: &Path) -> Self {
        Self::with_memory(beside, MEMORY)
    }

    fn with_memory(beside: &Path, memory: usize) -> Self {
        // The folder of a store is made when its first shard is there.
        let folder = beside
            .ancestors()
            .find(|folder| folder.is_dir())
            .unwrap_or(Path::new("."));
        Self {
            bytes: SpooledTempFile::new_in(memory, folder),
            places: Vec::new(),
            end: 0,
            folder: folder.to_owned(),
        }
    }

    pub(super) fn push(&mut self, window: &Window) -> Result<(), Error> {
        let spans = window.documents.iter().flat_map(|&(start, document)| [start, document]);
        let numbers = spans.chain(window.ids.iter().copied());
        let record: Vec<u8> = numbers.flat_map(u32::to_le_bytes).collect();
        self.bytes
            .write_all(&record)
            .map_err(|source| failed(&self.folder, source))?;
        self.places.push(Place {
            offset: self.end,
            documents: window.documents.len() as u32,
            tokens: window.ids.len() as u32,
        });
        self.end += record.len() as u64;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Windows {
        // Stable: keeps the documents' order.
        self.places.sort_by_key(|place| std::cmp::Reverse(place.tokens));
        Windows {
            bytes: Arc::new(Mutex::new(self.bytes)),
            places: self.places,
            folder: self.folder,
        }
    }
}

impl Windows {
    /// Their number.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Tokens of a window.
    pub(super) fn tokens(&self, index: usize) -> usize {
        self.places[index].tokens as usize
    }

    /// Some windows.
    pub(super) fn read(&self, range: Range<usize>) -> Result<Vec<Window>, Error> {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut record = Vec::new();
        let mut window = |place: &Place| {
            record.resize(4 * (2 * place.documents as usize + place.tokens as usize), 0);
            bytes.seek(SeekFrom::Start(place.offset))?;
            bytes.read_exact(&mut record)?;
            let mut numbers = lm::files::words::<4>(&record).map(u32::from_le_bytes);
            let documents = numbers.by_ref().take(2 * place.documents as usize).collect::<Vec<_>>();
            Ok(Window {
                documents: documents
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&[start, document]| (start, document))
                    .collect(),
                ids: numbers.collect(),
            })
        };
        let windows = self.places[range].iter().map(&mut window).collect::<io::Result<_>>();
        windows.map_err(|source| failed(&self.folder, source))
    }
}

fn failed(folder: &Path, source: io::Error) -> Error {
    Error::Spool {
        folder: folder.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows() -> Vec<Window> {
        let window = |i: u32| Window {
            ids: (0..7 - i % 3).map(|token| token * 1000 + i).collect(),
            documents: (0..1 + i % 2).map(|span| (span * 3, i + span)).collect(),
        };
        (0..50).map(window).collect()
    }

    #[test]
    fn in_memory_and_on_disk_they_are_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut expected = windows();
        expected.sort_by_key(|window| std::cmp::Reverse(window.ids.len()));
        for memory in [0, 300, MEMORY] {
            let mut writer = WindowsWriter::with_memory(&folder.path().join("not/there/yet"), memory);
            windows().iter().for_each(|window| writer.push(window).unwrap());
            assert_eq!(writer.bytes.is_rolled(), memory < MEMORY);
            let written = writer.finish();
            assert_eq!(written.read(0..50).unwrap(), expected);
            assert_eq!(written.read(20..23).unwrap(), expected[20..23]);
            assert_eq!((written.len(), written.tokens(49)), (50, expected[49].ids.len()));
            assert_eq!(
                std::fs::read_dir(folder.path()).unwrap().count(),
                0,
                "the file has no name"
            );
        }
    }

    #[test]
    fn a_disk_that_takes_nothing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let mut writer = WindowsWriter::with_memory(&path, 10);
        drop(folder);
        let message = windows()
            .iter()
            .find_map(|window| writer.push(window).err())
            .unwrap()
            .to_string();
        assert!(
            message.contains(&path.display().to_string()) && message.contains("free some space"),
            "{message}"
        );
    }
}
