//! The windows of a text of any length: their tokens in an unnamed file, and 20 bytes for each of them in memory.
//!
//! The file is begun when the windows outgrow [`MEMORY`]. It has no name, so that nothing of it is left however the process ends.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kernels::random;
use rand::seq::SliceRandom;
use tempfile::SpooledTempFile;

use crate::Error;

/// Bytes of windows that are held before the file is begun: those of 16 million tokens.
const MEMORY: usize = 64 << 20;

/// Most windows of one length that lie together: several batches.
const GROUP: usize = 256;

/// A window of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Token ids; the first is the beginning-of-text token where the tokenizer has one.
    pub ids: Vec<u32>,
    /// The documents in it: the position at which each begins, and its number.
    pub documents: Vec<(u32, u32)>,
}

/// What was found in the documents of some windows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Documents that spell a special token.
    pub(crate) spelled_special: usize,
    /// Characters that have no token and are lost.
    pub(crate) lost_characters: usize,
}

/// Windows in the order of a store: groups of one length, which batches are made of, in random order, so that the first
/// shards of a store hold the same mixture of lengths as its last ones; in a group the documents' order.
#[derive(Debug, Clone)]
pub struct Windows {
    /// For each window as little-endian `u32`: its documents (position, number), its tokens.
    bytes: Arc<Mutex<SpooledTempFile>>,
    places: Vec<Place>,
    folder: PathBuf,
    found: Found,
}

/// Where a window stands in the file, and its sizes.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    documents: u32,
    tokens: u32,
}

/// Takes windows in any order.
pub(crate) struct WindowsWriter {
    bytes: SpooledTempFile,
    places: Vec<Place>,
    end: u64,
    folder: PathBuf,
}

impl WindowsWriter {
    /// Windows whose file, if one is needed, is on the disk on which `beside` is or will be; where nothing may be written there,
    /// as beside a complete store that is shared, among the system's temporary files.
    pub(crate) fn new(beside: &Path) -> Self {
        Self::with_memory(beside, MEMORY)
    }

    fn with_memory(beside: &Path, memory: usize) -> Self {
        // The folder of a store is made when its first shard is there.
        let parents = beside.ancestors().map(|folder| match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        });
        let mut writable = parents.filter(|folder| folder.is_dir() && tempfile::tempfile_in(folder).is_ok());
        let folder = writable.next().map_or_else(std::env::temp_dir, Path::to_owned);
        Self {
            bytes: SpooledTempFile::new_in(memory, &folder),
            places: Vec::new(),
            end: 0,
            folder,
        }
    }

    pub(crate) fn push(&mut self, window: &Window) -> Result<(), Error> {
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

    /// All that were taken, with what was found in their documents.
    pub(crate) fn finish(mut self, found: Found) -> Windows {
        // Stable: keeps the documents' order.
        self.places.sort_by_key(|place| place.tokens);
        let lengths = self.places.chunk_by(|a, b| a.tokens == b.tokens);
        let mut groups: Vec<&[Place]> = lengths.flat_map(|of_length| of_length.chunks(GROUP)).collect();
        groups.shuffle(&mut random::rng(0, "harvest/windows"));
        Windows {
            bytes: Arc::new(Mutex::new(self.bytes)),
            places: groups.concat(),
            folder: self.folder,
            found,
        }
    }
}

impl Windows {
    /// Their number.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The number of documents whose text spells a special token, such as `<|endoftext|>`; it was encoded as ordinary text.
    pub fn spelled_special(&self) -> usize {
        self.found.spelled_special
    }

    /// The number of characters of the documents that are lost, because the vocabulary has no token for a byte of them.
    pub fn lost_characters(&self) -> usize {
        self.found.lost_characters
    }

    /// Tokens of a window.
    pub fn tokens(&self, index: usize) -> usize {
        self.places[index].tokens as usize
    }

    /// Some windows.
    ///
    /// # Errors
    ///
    /// The file that holds them cannot be read.
    pub fn read(&self, range: Range<usize>) -> Result<Vec<Window>, Error> {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut record = Vec::new();
        let mut window = |place: &Place| {
            record.resize(4 * (2 * place.documents as usize + place.tokens as usize), 0);
            bytes.seek(SeekFrom::Start(place.offset))?;
            bytes.read_exact(&mut record)?;
            let mut numbers = artifacts::words::<4>(&record).map(u32::from_le_bytes);
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
        let mut orders = Vec::new();
        for memory in [0, 300, MEMORY] {
            let mut writer = WindowsWriter::with_memory(&folder.path().join("not/there/yet"), memory);
            windows().iter().for_each(|window| writer.push(window).unwrap());
            assert_eq!(writer.bytes.is_rolled(), memory < MEMORY);
            let written = writer.finish(Found::default());
            let all = written.read(0..50).unwrap();
            assert_eq!(written.read(20..23).unwrap(), all[20..23]);
            assert_eq!((written.len(), written.tokens(49)), (50, all[49].ids.len()));
            assert_eq!(
                std::fs::read_dir(folder.path()).unwrap().count(),
                0,
                "the file has no name"
            );
            orders.push(all);
        }
        assert!(orders.iter().all(|order| *order == orders[0]));
        // Three lengths, each of them together and in the order in which they came.
        let lengths: Vec<&[Window]> = orders[0].chunk_by(|a, b| a.ids.len() == b.ids.len()).collect();
        assert_eq!(lengths.len(), 3);
        for together in lengths {
            let expected = windows()
                .into_iter()
                .filter(|window| window.ids.len() == together[0].ids.len());
            assert_eq!(together, expected.collect::<Vec<_>>());
        }
    }

    /// They once came by falling length, and what a streamed training held out were the shortest.
    #[test]
    fn every_tenth_of_many_has_windows_of_all_lengths() {
        let mut writer = WindowsWriter::new(&std::env::temp_dir());
        for i in 0..100 * GROUP {
            let ids = vec![0; 10 + i % 4];
            let documents = vec![(0, i as u32)];
            writer.push(&Window { ids, documents }).unwrap();
        }
        let windows = writer.finish(Found::default());
        for tenth in 0..10 {
            let places = tenth * 10 * GROUP..(tenth + 1) * 10 * GROUP;
            let lengths: std::collections::BTreeSet<usize> = places.map(|i| windows.tokens(i)).collect();
            assert!(lengths.len() >= 3, "{lengths:?}");
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
