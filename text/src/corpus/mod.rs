//! The documents of a text corpus: plain text, JSON lines or Parquet, as they come or compressed with gzip or zstd.
//!
//! | name ends in | a document is |
//! | --- | --- |
//! | `.jsonl`, `.ndjson`, `.json` | a line: an object with the text in one field; nothing else in it is looked at |
//! | `.parquet` | a row: the text in one column |
//! | anything else | a line |
//!
//! The first and the last may be compressed with gzip or zstd, which is known by the first bytes of a file; `.gz`, `.gzip`,
//! `.zst` or `.zstd` may follow the ending. Parquet may be compressed with snappy or zstd. A pipe and `/dev/stdin` have no
//! ending: their lines are JSON where the first of them begins with `{`. A byte order mark at the beginning of a file is no
//! part of its text.
//!
//! Files are read one after the other, in the order of their patterns and, within a pattern, of their names; a file that
//! several patterns name is read once. Documents are numbered from 0 through all files: the number of a document is that of
//! its line or row, plus the lines or rows of the files before it. Blank and null documents are passed over and keep their
//! numbers. Of a file only a line is in memory, which may have [`LONGEST_DOCUMENT`] bytes.
//!
//! JSON lines may hold chats instead of texts ([`Corpus::chats`]), whose text is what the chat template of a model makes of them.

mod files;
mod json;
mod lines;
mod rows;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Chat;
use serde::{Deserialize, Serialize};

use self::lines::Lines;
use self::rows::Rows;
use crate::Error;

/// Most bytes of a document that is read from a file: 256 MiB. A compressed file can claim any length.
pub const LONGEST_DOCUMENT: usize = 256 << 20;

/// The files of a corpus.
#[derive(Debug, Clone)]
pub struct Corpus {
    files: Vec<PathBuf>,
    repeated: Vec<PathBuf>,
    /// The JSON field or Parquet column of the text.
    field: String,
    on_bad_line: OnBadLine,
    chat: Option<Arc<Chat>>,
}

/// What becomes of a line or row that holds no document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBadLine {
    /// Reading ends with an error that names it.
    #[default]
    Error,
    /// It is passed over and counted.
    Skip,
}

/// A document of a corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its number in the corpus: of its line or row, from 0.
    pub number: u32,
    /// Its text.
    pub text: String,
    /// Where it stands.
    pub place: Place,
}

/// Where a document stands, as messages say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file of lines.
    Line {
        /// The file.
        path: Arc<Path>,
        /// The line, from 1.
        line: u64,
    },
    /// In a Parquet file.
    Row {
        /// The file.
        path: Arc<Path>,
        /// The row, from 0.
        row: u64,
    },
    /// In no file: the document of this number was made by the program.
    Made(u32),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { path, line } => write!(formatter, "{}: line {line}", path.display()),
            Self::Row { path, row } => write!(formatter, "{}: row {row} (from 0)", path.display()),
            Self::Made(number) => write!(formatter, "document {number}"),
        }
    }
}

impl Document {
    /// Documents that stand in no file, numbered from 0.
    pub fn made(texts: impl IntoIterator<Item = String>) -> impl Iterator<Item = Self> {
        (0..).zip(texts).map(|(number, text)| Self {
            number,
            text,
            place: Place::Made(number),
        })
    }
}

/// The lines or rows of a corpus that were skipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Their number.
    pub count: u64,
    /// Where the first of them stands, and what is wrong with it.
    pub first: Option<String>,
}

impl Corpus {
    /// The files that the patterns name: paths, or globs such as `data/**/*.jsonl.zst`.
    ///
    /// # Errors
    ///
    /// A pattern that is none, or that no file matches; a folder.
    pub fn open<P: AsRef<str>>(patterns: &[P], field: &str, on_bad_line: OnBadLine) -> Result<Self, Error> {
        let (files, repeated) = files::named_by(patterns)?;
        Ok(Self {
            files,
            repeated,
            field: field.to_owned(),
            on_bad_line,
            chat: None,
        })
    }

    /// The same files, JSON lines whose field holds the messages of a chat; a document is the text that `chat` makes of them.
    #[must_use]
    pub fn chats(self, chat: Chat) -> Self {
        Self {
            chat: Some(Arc::new(chat)),
            ..self
        }
    }

    /// The files, in the order in which they are read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The names of files that stand among [`Corpus::files`] under this or another name already; these are not read again.
    pub fn repeated(&self) -> &[PathBuf] {
        &self.repeated
    }

    /// The documents one after the other; after an error there is nothing more.
    pub fn into_documents(self) -> Documents {
        Documents {
            files: self.files.into_iter(),
            field: self.field,
            on_bad_line: self.on_bad_line,
            chat: self.chat,
            reading: None,
            number: 0,
            skipped: Skipped::default(),
        }
    }
}

/// The documents of a corpus, see [`Corpus::into_documents`].
pub struct Documents {
    /// The files that are not begun.
    files: std::vec::IntoIter<PathBuf>,
    field: String,
    on_bad_line: OnBadLine,
    chat: Option<Arc<Chat>>,
    /// The file that is read, and the lines or rows that were read of it.
    reading: Option<(Arc<Path>, Content, u64)>,
    /// The number of the next document.
    number: u64,
    skipped: Skipped,
}

/// What a file holds.
enum Content {
    Lines(Lines),
    Rows(Rows),
}

/// What is wrong.
enum Bad {
    /// With a line or row; the next can be read.
    Document(String),
    /// With the file, of which no more can be read.
    File(String),
}

/// Opens a file of texts or, where they are to be rendered, of chats.
fn open(path: &Path, field: &str, chat: Option<&Arc<Chat>>) -> Result<Content, Error> {
    let Some(chat) = chat else {
        return files::open(path, field);
    };
    // Parquet is not looked into: its texts are no messages.
    let lines = match files::open(path, field) {
        Ok(Content::Lines(lines)) => lines.of_chats(Arc::clone(chat)),
        Ok(Content::Rows(_)) => None,
        Err(error) => return Err(error),
    };
    lines.map(Content::Lines).ok_or_else(|| Error::Corpus {
        path: path.to_owned(),
        reason: "is not JSON lines, from which chats are read; write an object with `messages` a line (.jsonl)"
            .to_owned(),
    })
}

impl Documents {
    /// What was skipped so far.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// The next document, blank ones included.
    fn read(&mut self) -> Option<Result<Document, Error>> {
        loop {
            let (path, content, read) = match &mut self.reading {
                Some(reading) => reading,
                none => {
                    let path = self.files.next()?;
                    match open(&path, &self.field, self.chat.as_ref()) {
                        Ok(content) => none.insert((path.into(), content, 0)),
                        Err(error) => return Some(Err(error)),
                    }
                }
            };
            let (text, place) = match content {
                Content::Lines(lines) => {
                    let (path, line) = (Arc::clone(path), *read + 1);
                    (lines.next(), Place::Line { path, line })
                }
                Content::Rows(rows) => {
                    let (path, row) = (Arc::clone(path), *read);
                    (rows.next(), Place::Row { path, row })
                }
            };
            let Some(text) = text else {
                self.reading = None;
                continue;
            };
            let Ok(number) = u32::try_from(self.number) else {
                let reason = format!(
                    "is more than the {} documents that a corpus may have",
                    u64::from(u32::MAX) + 1
                );
                return Some(Err(Error::Document { place, reason }));
            };
            *read += 1;
            self.number += 1;
            match (text, self.on_bad_line) {
                (Ok(text), _) => return Some(Ok(Document { number, text, place })),
                (Err(Bad::Document(reason)), OnBadLine::Skip) => {
                    self.skipped.count += 1;
                    self.skipped.first.get_or_insert_with(|| format!("{place} {reason}"));
                }
                (Err(Bad::Document(reason)), OnBadLine::Error) => {
                    return Some(Err(Error::Document { place, reason }));
                }
                (Err(Bad::File(reason)), _) => {
                    let path = path.to_path_buf();
                    return Some(Err(Error::Corpus { path, reason }));
                }
            }
        }
    }
}

impl Iterator for Documents {
    type Item = Result<Document, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.read()? {
                Ok(document) if document.text.trim().is_empty() => {}
                Ok(document) => return Some(Ok(document)),
                Err(error) => {
                    (self.reading, self.files) = (None, Vec::new().into_iter());
                    return Some(Err(error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
