//! How documents become windows of tokens.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::windows::{Found, Window, Windows, WindowsWriter};
use crate::{Document, Error, SpecialToken, Tokenizer};

/// How documents become windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// Longest window in tokens, the beginning-of-text token of a tokenizer that has one included; at least 2.
    pub context: usize,
    /// What a window may hold.
    pub fill: Fill,
    /// What becomes of a document that is longer than a window.
    pub long_documents: LongDocuments,
    /// Whether windows begin with the beginning-of-text token only where their document spells it, as chats do; windows of
    /// several documents always do.
    pub spelled_bos_only: bool,
}

/// What a window may hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fill {
    /// Tokens of one document; the last window of a document is shorter.
    #[default]
    Documents,
    /// Documents one after the other, between them the beginning-of-text token where the tokenizer has one; all windows but the
    /// last are full.
    Packed,
}

/// What becomes of a document that is longer than a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LongDocuments {
    /// It is cut into several windows, each behind its own beginning-of-text token where the tokenizer has one.
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
            spelled_bos_only: false,
        }
    }

    /// The windows of some documents: full ones first, then shorter ones by falling length, each in the documents' order.
    ///
    /// The text of a document is text: characters that spell a special token give ordinary tokens.
    ///
    /// ```
    /// use text::{Document, Packing, Tokenizer};
    ///
    /// let tokenizer = Tokenizer::word_level(&["a".to_owned(), " b".to_owned(), " c".to_owned()])?;
    /// let documents = Document::made(["a b c b".to_owned()]).map(Ok);
    /// let windows = Packing::documents(3).windows(documents, &tokenizer)?;
    /// // Each begins with the beginning-of-text token, which leaves room for two words.
    /// let lengths: Vec<usize> = windows.iter().map(|window| window.ids.len()).collect();
    /// assert_eq!(lengths, [3, 3]);
    /// # Ok::<(), text::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Text that cannot be read or encoded; a document that is too long, where that is refused; no text at all.
    pub fn windows(
        &self,
        documents: impl Iterator<Item = Result<Document, Error>>,
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

    /// The windows of some documents, as [`Packing::windows`] gives them, held in memory only as far as they are few; the rest waits on the disk on which `beside` is or will
    /// be.
    ///
    /// # Errors
    ///
    /// Those of [`Packing::windows`], and a full disk.
    pub fn spooled_windows(
        &self,
        documents: impl Iterator<Item = Result<Document, Error>>,
        tokenizer: &Tokenizer,
        beside: &Path,
    ) -> Result<Windows, Error> {
        let mut windows = WindowsWriter::new(beside);
        let found = self.cut(documents, tokenizer, &mut |window| windows.push(&window))?;
        Ok(windows.finish(found))
    }

    /// Hands on one window after the other, in the order of the documents; counts what was found in them.
    fn cut(
        &self,
        documents: impl Iterator<Item = Result<Document, Error>>,
        tokenizer: &Tokenizer,
        push: &mut dyn FnMut(Window) -> Result<(), Error>,
    ) -> Result<Found, Error> {
        let bos = tokenizer.bos();
        let size = self.context.max(2) - usize::from(bos.is_some());
        let (mut empty, mut counts) = (true, Found::default());
        // Tokens that wait for a full window, and the documents in them.
        let mut waiting: (Vec<u32>, Vec<(u32, u32)>) = (Vec::new(), Vec::new());
        for document in documents {
            let document = document?;
            let number = document.number;
            let special = tokenizer.spelled_special(&document.text);
            counts.spelled_special += usize::from(special.is_some());
            counts.lost_characters += tokenizer.lost_characters(&document.text);
            let mut found = 0;
            let always = !self.spelled_bos_only || self.fill == Fill::Packed;
            let mut before = bos.filter(|_| always);
            // A long document comes in parts, of which only one is in memory.
            for ids in tokenizer.encode_parts(&document.text) {
                let mut ids = ids.map_err(|error| not_encoded(&document, &error, special))?;
                if !tokenizer.recognises_control_tokens() && special.is_some() {
                    check_spelled(&document, &ids, tokenizer)?;
                }
                if tokenizer.recognises_control_tokens() && found == 0 && bos.is_some() && ids.first().copied() == bos {
                    // The document spells it, and its windows begin with it.
                    ids.remove(0);
                    before = bos;
                }
                if ids.is_empty() {
                    continue;
                }
                empty = false;
                let first = found == 0;
                found += ids.len();
                if found > size && self.long_documents == LongDocuments::Refuse {
                    let reason = format!(
                        "is \"refuse\", and {} has more than the {size} tokens that fit into a window; \
                         raise `context` or set it to \"cut\"",
                        document.place
                    );
                    return Err(Error::Config {
                        field: "long_documents",
                        reason,
                    });
                }
                let (tokens, spans) = &mut waiting;
                match self.fill {
                    Fill::Documents => {
                        tokens.extend(ids);
                        let full = tokens.len() / size * size;
                        for ids in tokens.drain(..full).as_slice().chunks(size) {
                            push(of_document(ids, number, before))?;
                        }
                    }
                    Fill::Packed => {
                        if first {
                            if !tokens.is_empty() {
                                tokens.extend(bos);
                            }
                            spans.push((tokens.len() as u32 + first_position(bos), number));
                        }
                        tokens.extend(ids);
                        while tokens.len() >= size {
                            let rest = tokens.split_off(size);
                            push(packed(std::mem::replace(tokens, rest), spans, bos))?;
                        }
                    }
                }
            }
            if self.fill == Fill::Documents && !waiting.0.is_empty() {
                push(of_document(&std::mem::take(&mut waiting.0), number, before))?;
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
        Ok(counts)
    }
}

/// Why a document cannot be encoded, and where it stands; a special token that it spells may be the cause.
fn not_encoded(document: &Document, error: &Error, special: Option<&SpecialToken>) -> Error {
    let hint = special.map_or_else(String::new, |token| {
        format!(
            " (it spells the special token {}, which is ordinary text in a document)",
            token.content
        )
    });
    Error::Document {
        place: document.place.clone(),
        reason: format!("cannot be encoded{hint}: {error}"),
    }
}

/// Refuses a document that spells special tokens and whose text gives the id of one: a tokenizer that looks up whole words
/// may have no ordinary tokens for it.
fn check_spelled(document: &Document, ids: &[u32], tokenizer: &Tokenizer) -> Result<(), Error> {
    let mut tokens = tokenizer.special_tokens().iter();
    match tokens.find(|token| ids.contains(&token.id) && tokenizer.unknown() != Some(token.id)) {
        None => Ok(()),
        Some(token) => Err(Error::Document {
            place: document.place.clone(),
            reason: format!(
                "spells the special token {}, for which the tokenizer has no ordinary tokens; take it out of the text",
                token.content
            ),
        }),
    }
}

/// A window of tokens of one document.
fn of_document(ids: &[u32], document: u32, bos: Option<u32>) -> Window {
    Window {
        ids: bos.into_iter().chain(ids.iter().copied()).collect(),
        documents: vec![(0, document)],
    }
}

/// A window of `tokens`; `spans` keeps what begins or goes on behind it.
fn packed(tokens: Vec<u32>, spans: &mut Vec<(u32, u32)>, bos: Option<u32>) -> Window {
    let count = tokens.len() as u32;
    let end = count + first_position(bos); // of the window
    let documents = spans.iter().copied().filter(|&(start, _)| start < end).collect();
    let going_on = spans.iter().rev().find(|&&(start, _)| start < end).copied();
    let later = spans
        .iter()
        .filter(|&&(start, _)| start >= end)
        .map(|&(start, of)| (start - count, of));
    *spans = going_on
        .map(|(_, document)| (first_position(bos), document))
        .into_iter()
        .chain(later)
        .collect();
    Window {
        ids: bos.into_iter().chain(tokens).collect(),
        documents,
    }
}

/// The position of the first token of a text in its window.
fn first_position(bos: Option<u32>) -> u32 {
    u32::from(bos.is_some())
}

impl Window {
    /// The document at a position; the separator before a document belongs to the one before it.
    pub fn document(&self, position: u32) -> u32 {
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

    fn made(texts: Vec<String>) -> impl Iterator<Item = Result<Document, Error>> {
        Document::made(texts).map(Ok)
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
        let lengths = [3, 0, 9, 1, 1, 6, 14, 2];
        let documents = documents(&lengths);
        let tokenizers = [tokenizer(), tokenizer().with_bos(None).unwrap()];
        for (context, tokenizer) in (2..20).flat_map(|context| tokenizers.iter().map(move |of| (context, of))) {
            let packing = Packing {
                fill: Fill::Packed,
                ..Packing::documents(context)
            };
            let windows = packing.windows(made(documents.clone()), tokenizer).unwrap();
            let (last, full) = windows.split_last().unwrap();
            assert!(full.iter().all(|window| window.ids.len() == context) && last.ids.len() <= context);
            let mut found = vec![Vec::new(); lengths.len()];
            for window in &windows {
                let before = window.ids.iter().take_while(|&&id| Some(id) == tokenizer.bos()).count();
                assert_eq!(before > 0, tokenizer.bos().is_some());
                for (position, &id) in (0_u32..).zip(&window.ids) {
                    if Some(id) != tokenizer.bos() {
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
        let windows = |lengths: &[usize]| packing.windows(made(documents(lengths)), &tokenizer());
        assert_eq!(windows(&[5, 5]).unwrap().len(), 2);
        let message = windows(&[5, 6]).unwrap_err().to_string();
        assert!(message.contains("document 1 has more than the 5 tokens"), "{message}");
    }

    /// Windows of one token each up to one window for all documents.
    #[test]
    fn every_context_from_2_on_holds_every_token_once() {
        let lengths = [3, 0, 9, 1, 14];
        let texts = documents(&lengths);
        for tokenizer in [tokenizer(), tokenizer().with_bos(None).unwrap()] {
            every_token_once(&tokenizer, &lengths, &texts);
        }
    }

    fn every_token_once(tokenizer: &Tokenizer, lengths: &[usize], texts: &[String]) {
        let before = usize::from(tokenizer.bos().is_some());
        let all: Vec<u32> = texts.iter().flat_map(|text| tokenizer.encode(text).unwrap()).collect();
        for context in [2, 3, 10, 15, 16, 1_000_000] {
            for fill in [Fill::Documents, Fill::Packed] {
                let packing = Packing {
                    fill,
                    ..Packing::documents(context)
                };
                let mut windows = Vec::new();
                let mut push = |window: Window| {
                    windows.push(window);
                    Ok(())
                };
                packing.cut(made(texts.to_vec()), tokenizer, &mut push).unwrap();
                let sizes = 1 + before..=context;
                assert!(windows.iter().all(|window| sizes.contains(&window.ids.len())));
                let ids = windows.iter().flat_map(|window| window.ids.iter().copied());
                let ids: Vec<u32> = ids.filter(|&id| Some(id) != tokenizer.bos()).collect();
                assert_eq!(ids, all, "{context} {fill:?}");
                if fill == Fill::Documents {
                    let expected: usize = lengths.iter().map(|length| length.div_ceil(context - before)).sum();
                    assert_eq!(windows.len(), expected, "{context}");
                }
            }
        }
    }

    #[test]
    fn control_tokens_are_read_where_they_are_asked_for_and_the_first_is_not_put_there_twice() {
        let (text, control) = (tokenizer(), tokenizer().with_control_tokens());
        let documents = || made(vec!["<|endoftext|> a b<|endoftext|> c".to_owned(), " d".to_owned()]);
        let letter = |letter: &str| text.token(letter).unwrap();
        let [a, b, c, d] = [" a", " b", " c", " d"].map(letter);
        let bos = text.bos().unwrap();
        for fill in [Fill::Documents, Fill::Packed] {
            let packing = Packing {
                fill,
                ..Packing::documents(9)
            };
            let windows = packing.windows(documents(), &control).unwrap();
            let ids: Vec<Vec<u32>> = windows.into_iter().map(|window| window.ids).collect();
            match fill {
                Fill::Documents => assert_eq!(ids, [vec![bos, a, b, bos, c], vec![bos, d]]),
                Fill::Packed => assert_eq!(ids, [vec![bos, a, b, bos, c, bos, d]]),
            }
            let message = packing.windows(documents(), &text).unwrap_err().to_string();
            assert!(message.contains("spells the special token <|endoftext|>"), "{message}");
        }
        // Where nothing is put before a text, what a document spells stays.
        let without = control.with_bos(None).unwrap();
        let windows = Packing::documents(9).windows(documents(), &without).unwrap();
        assert_eq!(windows[0].ids, [bos, a, b, bos, c]);
    }

    #[test]
    fn a_document_that_cannot_be_encoded_is_named() {
        let place = crate::corpus::Place::Line {
            path: Path::new("a.txt").into(),
            line: 7,
        };
        let windows = |text: &str| {
            let document = Document {
                number: 6,
                text: text.to_owned(),
                place: place.clone(),
            };
            let windows = Packing::documents(6).windows([Ok(document)].into_iter(), &tokenizer());
            windows
                .map(|windows| windows[0].documents.clone())
                .map_err(|error| error.to_string())
        };
        assert_eq!(windows(" a b"), Ok(vec![(0, 6)]));
        let message = windows(" a Zoe").unwrap_err();
        assert!(
            message.starts_with("a.txt: line 7 cannot be encoded: tokenizer") && message.contains("` Zoe`"),
            "{message}"
        );
        let message = windows(" a<|endoftext|>").unwrap_err();
        assert!(
            message.contains("it spells the special token <|endoftext|>"),
            "{message}"
        );
    }

    /// Long documents come in parts; they give the windows of the whole.
    #[test]
    fn a_document_of_many_parts_gives_the_windows_of_its_tokens() {
        let (tokenizer, text) = (tokenizer(), " a b c".repeat(100_000));
        let ids = tokenizer.encode(&text).unwrap();
        for fill in [Fill::Documents, Fill::Packed] {
            let packing = Packing {
                fill,
                ..Packing::documents(64)
            };
            let windows = packing.windows(made(vec![text.clone()]), &tokenizer).unwrap();
            let expected: Vec<&[u32]> = ids.chunks(63).collect();
            let found: Vec<&[u32]> = windows.iter().map(|window| &window.ids[1..]).collect();
            assert!(found == expected, "{fill:?}");
            assert!(windows.iter().all(|window| window.document(1) == 0));
        }
    }
}
