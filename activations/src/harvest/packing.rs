//! How documents become windows of tokens.

use std::path::Path;

use lm::Tokenizer;
use serde::{Deserialize, Serialize};

use super::windows::{Windows, WindowsWriter};
use crate::Error;

/// A window of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Token ids; the first is the beginning-of-text token.
    pub ids: Vec<u32>,
    /// The documents in it: the position at which each begins, and its number.
    pub(super) documents: Vec<(u32, u32)>,
}

/// How documents become windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// Longest window in tokens, beginning-of-text token included; at least 2.
    pub context: usize,
    /// What a window may hold.
    pub fill: Fill,
    /// What becomes of a document that is longer than a window.
    pub long_documents: LongDocuments,
}

/// What a window may hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fill {
    /// Tokens of one document; the last window of a document is shorter.
    #[default]
    Documents,
    /// Documents one after the other, a beginning-of-text token between them; all windows but the last are full.
    Packed,
}

/// What becomes of a document that is longer than a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LongDocuments {
    /// It is cut into several windows, each behind its own beginning-of-text token.
    #[default]
    Cut,
    /// The harvest is refused.
    Refuse,
}

impl Packing {
    /// Windows of one document each, long ones cut.
    pub fn documents(context: usize) -> Self {
        Self {
            context,
            fill: Fill::Documents,
            long_documents: LongDocuments::Cut,
        }
    }

    /// The windows of some documents: full ones first, then shorter ones by falling length, each in the documents' order.
    ///
    /// # Errors
    ///
    /// Text that cannot be read or encoded; a document that is too long, where that is refused; no text at all.
    pub fn windows(
        &self,
        documents: impl Iterator<Item = Result<String, Error>>,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<Window>, Error> {
        let mut windows = Vec::new();
        self.cut(documents, tokenizer, &mut |window| {
            windows.push(window);
            Ok(())
        })?;
        // Stable: keeps the documents' order.
        windows.sort_by_key(|window| std::cmp::Reverse(window.ids.len()));
        Ok(windows)
    }

    /// The same windows, held in memory only as far as they are few; the rest waits on the disk on which `beside` is or will
    /// be.
    ///
    /// # Errors
    ///
    /// Those of [`Packing::windows`], and a full disk.
    pub fn spooled_windows(
        &self,
        documents: impl Iterator<Item = Result<String, Error>>,
        tokenizer: &Tokenizer,
        beside: &Path,
    ) -> Result<Windows, Error> {
        let mut windows = WindowsWriter::new(beside);
        self.cut(documents, tokenizer, &mut |window| windows.push(&window))?;
        Ok(windows.finish())
    }

    /// Hands on one window after the other, in the order of the documents.
    fn cut(
        &self,
        documents: impl Iterator<Item = Result<String, Error>>,
        tokenizer: &Tokenizer,
        push: &mut dyn FnMut(Window) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let size = self.context.max(2) - 1;
        let bos = tokenizer.bos();
        let mut empty = true;
        // Tokens that wait for a full window, and the documents in them.
        let mut waiting: (Vec<u32>, Vec<(u32, u32)>) = (Vec::new(), Vec::new());
        for (document, text) in (0_u32..).zip(documents) {
            let ids = tokenizer.encode(&text?)?;
            empty &= ids.is_empty();
            if ids.len() > size && self.long_documents == LongDocuments::Refuse {
                let reason = format!(
                    "is \"refuse\", and document {document} has {} tokens where {size} fit beside the beginning-of-text token; \
                     raise `context` or set it to \"cut\"",
                    ids.len()
                );
                return Err(Error::Config {
                    field: "long_documents",
                    reason,
                });
            }
            match self.fill {
                Fill::Documents => {
                    let window = |ids: &[u32]| Window {
                        ids: std::iter::once(bos).chain(ids.iter().copied()).collect(),
                        documents: vec![(0, document)],
                    };
                    ids.chunks(size).map(window).try_for_each(&mut *push)?;
                }
                Fill::Packed if ids.is_empty() => {}
                Fill::Packed => {
                    let (tokens, spans) = &mut waiting;
                    if !tokens.is_empty() {
                        tokens.push(bos);
                    }
                    spans.push((tokens.len() as u32 + 1, document));
                    tokens.extend(ids);
                    while tokens.len() >= size {
                        let rest = tokens.split_off(size);
                        push(packed(std::mem::replace(tokens, rest), spans, bos))?;
                    }
                }
            }
        }
        let (tokens, mut spans) = waiting;
        if !tokens.is_empty() {
            push(packed(tokens, &mut spans, bos))?;
        }
        if empty {
            let reason = "holds no text, at least one document is needed".to_owned();
            return Err(Error::Config { field: "path", reason });
        }
        Ok(())
    }
}

/// A window of `tokens`; `spans` keeps what begins or goes on behind it.
fn packed(tokens: Vec<u32>, spans: &mut Vec<(u32, u32)>, bos: u32) -> Window {
    let end = tokens.len() as u32; // position of the last token, behind the first
    let documents = spans.iter().copied().filter(|&(start, _)| start <= end).collect();
    let going_on = spans.iter().rev().find(|&&(start, _)| start <= end).copied();
    let later = spans
        .iter()
        .filter(|&&(start, _)| start > end)
        .map(|&(start, of)| (start - end, of));
    *spans = going_on
        .map(|(_, document)| (1, document))
        .into_iter()
        .chain(later)
        .collect();
    Window {
        ids: std::iter::once(bos).chain(tokens).collect(),
        documents,
    }
}

impl Window {
    /// The document at a position; the separator before a document belongs to the one before it.
    pub(super) fn document(&self, position: u32) -> u32 {
        let begun = self.documents.partition_point(|&(start, _)| start <= position);
        self.documents
            .get(begun.saturating_sub(1))
            .map_or(0, |&(_, document)| document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Tokenizer {
        let words: Vec<String> = ('a'..='z').map(|letter| format!(" {letter}")).collect();
        Tokenizer::word_level(&words).unwrap()
    }

    /// Documents of so many letters each, that go on through the alphabet.
    fn documents(lengths: &[usize]) -> Vec<String> {
        let mut letters = ('a'..='z').cycle();
        let text = |&length: &usize| {
            letters
                .by_ref()
                .take(length)
                .map(|letter| format!(" {letter}"))
                .collect()
        };
        lengths.iter().map(text).collect()
    }

    #[test]
    fn packed_windows_hold_every_token_once_with_its_document() {
        let (tokenizer, lengths) = (tokenizer(), [3, 0, 9, 1, 1, 6, 14, 2]);
        let documents = documents(&lengths);
        for context in 2..20 {
            let packing = Packing {
                fill: Fill::Packed,
                ..Packing::documents(context)
            };
            let windows = packing.windows(documents.iter().cloned().map(Ok), &tokenizer).unwrap();
            let (last, full) = windows.split_last().unwrap();
            assert!(full.iter().all(|window| window.ids.len() == context) && last.ids.len() <= context);
            let mut found = vec![Vec::new(); lengths.len()];
            for window in &windows {
                assert_eq!(window.ids[0], tokenizer.bos());
                for (position, &id) in (0_u32..).zip(&window.ids) {
                    if id != tokenizer.bos() {
                        found[window.document(position) as usize].push(id);
                    }
                }
            }
            let expected: Vec<Vec<u32>> = documents.iter().map(|text| tokenizer.encode(text).unwrap()).collect();
            assert_eq!(found, expected, "context {context}");
        }
    }

    #[test]
    fn long_documents_can_be_refused() {
        let packing = Packing {
            long_documents: LongDocuments::Refuse,
            ..Packing::documents(6)
        };
        let windows = |lengths: &[usize]| packing.windows(documents(lengths).into_iter().map(Ok), &tokenizer());
        assert_eq!(windows(&[5, 5]).unwrap().len(), 2);
        let message = windows(&[5, 6]).unwrap_err().to_string();
        assert!(message.contains("document 1 has 6 tokens where 5 fit"), "{message}");
    }
}
