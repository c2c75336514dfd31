//! What the model reads in a harvest: one sequence of tokens per prompt or window of text, and the rows stored of it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use tasks::{Labels, Prompt, Role};
use text::{Window, Windows};

use crate::Error;
use crate::store::{Row, TokenWindow, TokenWindows};

/// One sequence and the rows that are stored of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sequence {
    /// What the model reads.
    window: Window,
    row: u32,
    /// The positions stored, in order.
    positions: Vec<u32>,
    /// Of prompts: the role of each position, and the labels.
    prompt: Option<(Vec<Role>, Labels)>,
    /// Stored positions that are special.
    special: Vec<u32>,
}

impl Sequence {
    /// Token ids; the first is the beginning-of-text token.
    pub(super) fn ids(&self) -> &[u32] {
        &self.window.ids
    }

    /// Number of rows stored.
    pub(super) fn count(&self) -> usize {
        self.positions.len()
    }

    /// The rows stored, in order.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> {
        self.positions.iter().enumerate().map(|(index, &position)| Row {
            row: self.row,
            document: self.window.document(position),
            position,
            role: self.prompt.as_ref().and_then(|(roles, _)| roles.get(index).copied()),
            token: self.window.ids[position as usize],
            special: self.special.binary_search(&position).is_ok(),
            labels: self.prompt.as_ref().map(|(_, labels)| labels.clone()),
        })
    }

    /// sha256 of all that it asks of the model and of the store.
    fn digest(&self) -> String {
        let mut bytes = Vec::new();
        let mut put = |number: usize| bytes.extend_from_slice(&(number as u64).to_le_bytes());
        put(self.ids().len());
        self.ids().iter().for_each(|&id| put(id as usize));
        for &(start, document) in &self.window.documents {
            put(start as usize);
            put(document as usize);
        }
        self.positions.iter().for_each(|&position| put(position as usize));
        for (_, label) in self.prompt.iter().flat_map(|(_, labels)| labels.iter()) {
            put(label);
        }
        artifacts::sha256_hex(&bytes)
    }
}

/// One sequence per prompt.
pub(super) fn prompt_sequences(
    prompts: &[Prompt],
    roles: &BTreeSet<Role>,
    n_ctx: usize,
) -> Result<Vec<Sequence>, Error> {
    if prompts.is_empty() || roles.is_empty() {
        let (field, reason) = if prompts.is_empty() {
            ("n", "gives no prompts")
        } else {
            ("roles", "is empty")
        };
        return Err(Error::Config {
            field,
            reason: format!("{reason}, at least one is needed"),
        });
    }
    let expected = prompts[0].ids.len();
    if expected > n_ctx {
        return Err(lm::Error::TooLong { found: expected, n_ctx }.into());
    }
    let sequences = prompts.iter().enumerate().map(|(index, prompt)| {
        let found = prompt.ids.len();
        if found != expected {
            return Err(Error::UnequalLength {
                row: index,
                expected,
                found,
            });
        }
        let (row, window) = (
            index as u32,
            Window {
                ids: prompt.ids.clone(),
                documents: vec![(0, index as u32)],
            },
        );
        let position = |&role: &Role| match prompt.position(role) {
            Some(position) => Ok(position as u32),
            None => Err(Error::NoRole { role }),
        };
        Ok(Sequence {
            window,
            row,
            positions: roles.iter().map(position).collect::<Result<_, _>>()?,
            prompt: Some((roles.iter().copied().collect(), prompt.labels.clone())),
            special: Vec::new(),
        })
    });
    sequences.collect()
}

/// The sequences of a harvest in the order of its store.
pub(super) enum Sequences<'a> {
    /// Of prompts, in memory.
    Prompts(Vec<Sequence>),
    /// Of text: windows on disk, of each of which the number of rows is known.
    Text {
        windows: &'a Windows,
        special: BTreeSet<u32>,
        keep_special: bool,
        counts: Cow<'a, [u32]>,
    },
}

/// Sequences that are looked at together where all are looked at.
const TOGETHER: usize = 1024;

impl<'a> Sequences<'a> {
    /// One sequence per window. Position 0 and the ids in `special` are special.
    pub(super) fn of_text(windows: &'a Windows, special: BTreeSet<u32>, keep_special: bool) -> Result<Self, Error> {
        let mut counts = Vec::with_capacity(windows.len());
        for range in ranges(windows.len()) {
            let sequences = windows.read(range)?;
            let sequences = sequences
                .into_iter()
                .map(|window| window_sequence(window, 0, &special, keep_special));
            counts.extend(sequences.map(|sequence| sequence.count() as u32));
        }
        if counts.iter().all(|&count| count == 0) {
            let reason = "holds special tokens only, none of which is stored".to_owned();
            return Err(Error::Config { field: "path", reason });
        }
        Ok(Self::Text {
            windows,
            special,
            keep_special,
            counts: counts.into(),
        })
    }

    /// Their number.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Prompts(sequences) => sequences.len(),
            Self::Text { windows, .. } => windows.len(),
        }
    }

    /// Tokens of a sequence.
    pub(super) fn tokens(&self, index: usize) -> usize {
        match self {
            Self::Prompts(sequences) => sequences[index].ids().len(),
            Self::Text { windows, .. } => windows.tokens(index),
        }
    }

    /// Tokens of every sequence, in order.
    pub(super) fn lengths(&self) -> impl Iterator<Item = usize> {
        (0..self.len()).map(|index| self.tokens(index))
    }

    /// Rows stored of a sequence.
    pub(super) fn count(&self, index: usize) -> usize {
        match self {
            Self::Prompts(sequences) => sequences[index].count(),
            Self::Text { counts, .. } => counts[index] as usize,
        }
    }

    /// Rows stored of all.
    pub(super) fn rows(&self) -> usize {
        (0..self.len()).map(|index| self.count(index)).sum()
    }

    /// Some of them.
    pub(super) fn read(&self, range: Range<usize>) -> Result<Vec<Sequence>, Error> {
        match self {
            Self::Prompts(sequences) => Ok(sequences[range].to_vec()),
            Self::Text {
                windows,
                special,
                keep_special,
                ..
            } => {
                let numbered = range.clone().zip(windows.read(range)?);
                let sequence = |(row, window)| window_sequence(window, row as u32, special, *keep_special);
                Ok(numbered.map(sequence).collect())
            }
        }
    }

    /// sha256 of all that the sequences ask of the model and of the store: over the hashes of the sequences.
    pub(super) fn digest(&self) -> Result<String, Error> {
        let mut all = artifacts::Sha256Hex::default();
        for range in ranges(self.len()) {
            for sequence in self.read(range)? {
                all.update(sequence.digest().as_bytes());
            }
        }
        Ok(all.finish())
    }
}

impl TokenWindows for Sequences<'_> {
    fn count(&self) -> usize {
        self.len()
    }

    fn windows(&self, range: Range<usize>) -> Result<Vec<TokenWindow>, Error> {
        let kept = |sequence: Sequence| TokenWindow {
            document: sequence.window.document(0),
            ids: sequence.window.ids,
        };
        Ok(self.read(range)?.into_iter().map(kept).collect())
    }
}

/// All indices below `len`, some at a time.
fn ranges(len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len)
        .step_by(TOGETHER)
        .map(move |start| start..(start + TOGETHER).min(len))
}

/// The sequence of a window: all positions are stored, or those that are not special.
fn window_sequence(window: Window, row: u32, special: &BTreeSet<u32>, keep_special: bool) -> Sequence {
    let ids = (0_u32..).zip(&window.ids);
    let (specials, others): (Vec<_>, Vec<_>) = ids.partition(|(position, id)| *position == 0 || special.contains(id));
    let positions = |of: Vec<(u32, &u32)>| of.into_iter().map(|(position, _)| position).collect();
    Sequence {
        positions: match keep_special {
            true => (0..window.ids.len() as u32).collect(),
            false => positions(others),
        },
        special: positions(specials),
        window,
        row,
        prompt: None,
    }
}

#[cfg(test)]
mod tests {
    use text::Tokenizer;

    use super::*;
    use text::Document;
    use text::{Fill, Packing};

    #[test]
    fn special_positions_are_left_out_or_marked() {
        let words: Vec<String> = ('a'..='z').map(|letter| format!(" {letter}")).collect();
        let tokenizer = Tokenizer::word_level(&words).unwrap();
        let packing = Packing {
            fill: Fill::Packed,
            ..Packing::documents(6)
        };
        let folder = tempfile::tempdir().unwrap();
        let windows = packing
            .spooled_windows(
                Document::made([" a b", " c d e f g h i j"].map(str::to_owned)).map(Ok),
                &tokenizer,
                folder.path(),
            )
            .unwrap();
        let sequences = |keep| Sequences::of_text(&windows, tokenizer.bos().into_iter().collect(), keep).unwrap();
        let (without, with) = (sequences(false), sequences(true));
        let first = &without.read(0..1).unwrap()[0];
        assert_eq!(first.positions, [1, 2, 4, 5]);
        assert!(first.rows().all(|row| !row.special));
        let marks: Vec<bool> = with.read(0..1).unwrap()[0].rows().map(|row| row.special).collect();
        assert_eq!(marks, [true, false, false, true, false, false]);
        assert_eq!((without.count(0), with.count(0)), (4, 6));
        assert_ne!(with.digest().unwrap(), without.digest().unwrap());
    }

    #[test]
    fn text_of_special_tokens_only_is_refused_by_that_name() {
        let words = [" a".to_owned()];
        let tokenizer = Tokenizer::word_level(&words).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let windows = Packing::documents(6).spooled_windows(
            Document::made([" a a".to_owned()]).map(Ok),
            &tokenizer,
            folder.path(),
        );
        let (windows, special) = (windows.unwrap(), BTreeSet::from([tokenizer.token(" a").unwrap()]));
        assert!(Sequences::of_text(&windows, special.clone(), true).is_ok());
        let message = Sequences::of_text(&windows, special, false).err().unwrap().to_string();
        assert!(message.contains("`path` holds special tokens only"), "{message}");
    }
}
