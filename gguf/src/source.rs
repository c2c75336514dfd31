//! The bytes of a GGUF file: positioned reads, and a cursor that goes through them from one place on.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::Error;

/// Bytes that a cursor reads at once.
const WINDOW: usize = 64 << 10;

/// An open file.
#[derive(Debug)]
pub(crate) struct Source {
    file: File,
    length: u64,
    path: PathBuf,
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let opened = File::open(path).and_then(|file| {
            let length = file.metadata()?.len();
            Ok((file, length))
        });
        let (file, length) = opened.map_err(|cause| artifacts::Error::read(path, cause))?;
        Ok(Self {
            file,
            length,
            path: path.to_owned(),
        })
    }

    /// Bytes of the file.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Fills `buffer` with the bytes from `at` on.
    pub(crate) fn read_at(&self, at: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let read = self.file.read_exact_at(buffer, at);
        Ok(read.map_err(|cause| artifacts::Error::read(&self.path, cause))?)
    }

    /// A cursor at a place of the file.
    pub(crate) fn cursor(&self, at: u64) -> Cursor<'_> {
        Cursor {
            source: self,
            at,
            window: Vec::new(),
            begin: at,
            item: String::new(),
        }
    }

    /// The error of a file that is cut off or not a GGUF file.
    pub(crate) fn damaged(&self, reason: impl Into<String>) -> Error {
        artifacts::Error::format(&self.path, reason).into()
    }

    /// The error of a file that is whole, but asks for what is not there.
    pub(crate) fn unsupported(&self, reason: impl Into<String>) -> Error {
        Error::Unsupported {
            path: self.path.clone(),
            reason: reason.into(),
        }
    }
}

/// Reads one item after another; what lies beyond the end of the file is an error that names the item.
pub(crate) struct Cursor<'a> {
    source: &'a Source,
    at: u64,
    /// Bytes of the file from `begin` on.
    window: Vec<u8>,
    begin: u64,
    item: String,
}

impl Cursor<'_> {
    /// What is read from here on, for errors.
    pub(crate) fn name(&mut self, item: impl Into<String>) {
        self.item = item.into();
    }

    /// The place of the next byte.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// The error that the next `n` items of at least `least` bytes each do not fit into the file, if they do not.
    pub(crate) fn has_room(&self, n: u64, least: u64) -> Result<(), Error> {
        let left = self.source.length.saturating_sub(self.at);
        match n.checked_mul(least) {
            Some(needed) if needed <= left => Ok(()),
            _ => Err(self.source.damaged(format!(
                "it ends in {}: {n} times at least {least} bytes, of which there are {left}",
                self.item
            ))),
        }
    }

    /// Goes over `n` bytes.
    pub(crate) fn skip(&mut self, n: u64) -> Result<(), Error> {
        self.has_room(n, 1)?;
        self.at += n;
        Ok(())
    }

    /// The next `N` bytes.
    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.has_room(N as u64, 1)?;
        let known = usize::try_from(self.at - self.begin)
            .ok()
            .and_then(|from| self.window.get(from..)?.first_chunk::<N>());
        let bytes = match known {
            Some(bytes) => *bytes,
            None => {
                let left = usize::try_from(self.source.length - self.at).unwrap_or(usize::MAX);
                self.window.resize(WINDOW.max(N).min(left), 0);
                self.begin = self.at;
                self.source.read_at(self.at, &mut self.window)?;
                let mut bytes = [0; N];
                bytes.copy_from_slice(&self.window[..N]);
                bytes
            }
        };
        self.at += N as u64;
        Ok(bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        self.take().map(u64::from_le_bytes)
    }

    /// A text with its length before it.
    pub(crate) fn text(&mut self, longest: u64) -> Result<String, Error> {
        let length = self.u64()?;
        self.has_room(length, 1)?;
        if length > longest {
            return Err(self.source.damaged(format!(
                "{} is a text of {length} bytes, more than {longest}",
                self.item
            )));
        }
        let mut bytes = vec![0; length as usize];
        let from = usize::try_from(self.at - self.begin).unwrap_or(usize::MAX);
        match self.window.get(from..).and_then(|rest| rest.get(..bytes.len())) {
            Some(known) => bytes.copy_from_slice(known),
            None => self.source.read_at(self.at, &mut bytes)?,
        }
        self.at += length;
        String::from_utf8(bytes).map_err(|_| self.source.damaged(format!("{} is no UTF-8 text", self.item)))
    }

    /// Goes over a text.
    pub(crate) fn skip_text(&mut self) -> Result<(), Error> {
        let length = self.u64()?;
        self.skip(length)
    }
}
