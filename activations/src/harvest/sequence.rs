//! What the model reads in a harvest: one sequence of tokens per prompt or window of text, and the rows stored of it.

use std::collections::BTreeSet;
use std::path::Path;

use lm::Tokenizer;
use tasks::{Labels, Prompt, Role};

use crate::Error;
use crate::store::Row;

/// One sequence and the rows that are stored of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sequence {
    /// Token ids; the first is the beginning-of-text token.
    pub(super) ids: Vec<u32>,
    row: u32,
    document: u32,
    stored: Stored,
}

/// Which positions are stored.
#[derive(Debug, Clone, PartialEq)]
enum Stored {
    /// A prompt: some semantic positions.
    Roles(Vec<(Role, u32)>, Labels),
    /// A window of text: all but the first.
    All,
}

impl Sequence {
    /// Number of rows stored.
    pub(super) fn count(&self) -> usize {
        match &self.stored {
            Stored::Roles(roles, _) => roles.len(),
            Stored::All => self.ids.len().saturating_sub(1),
        }
    }

    /// The rows stored, in order.
    pub(super) fn rows(&self) -> Vec<Row> {
        let row = |position: u32, role, labels| {
            let token = self.ids[position as usize];
            Row {
                row: self.row,
                document: self.document,
                position,
                role,
                token,
                labels,
            }
        };
        match &self.stored {
            Stored::Roles(roles, labels) => roles
                .iter()
                .map(|&(role, position)| row(position, Some(role), Some(*labels)))
                .collect(),
            Stored::All => (1..self.ids.len() as u32)
                .map(|position| row(position, None, None))
                .collect(),
        }
    }
}

/// One sequence per prompt.
pub(super) fn prompt_sequences(prompts: &[Prompt], roles: &BTreeSet<Role>) -> Result<Vec<Sequence>, Error> {
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
    let sequences = prompts.iter().enumerate().map(|(index, prompt)| {
        let found = prompt.ids.len();
        if found != expected {
            return Err(Error::UnequalLength {
                row: index,
                expected,
                found,
            });
        }
        let roles = roles.iter().map(|&role| (role, prompt.position(role) as u32)).collect();
        let stored = Stored::Roles(roles, prompt.labels);
        Ok(Sequence {
            ids: prompt.ids.clone(),
            row: index as u32,
            document: index as u32,
            stored,
        })
    });
    sequences.collect()
}

/// Documents cut into windows of at most `context` tokens, each behind the beginning-of-text token, with the number of
/// their document: full ones first, then shorter ones by falling length, each in the documents' order. `context` is at least
/// 2 ([`crate::SourceConfig::validate`]).
///
/// # Errors
///
/// Text that the tokenizer cannot encode.
pub fn text_windows(
    documents: &[String],
    context: usize,
    tokenizer: &Tokenizer,
) -> Result<Vec<(Vec<u32>, u32)>, Error> {
    let mut windows = Vec::new();
    for (document, text) in (0_u32..).zip(documents) {
        for window in tokenizer.encode(text)?.chunks(context.max(2) - 1) {
            let ids = std::iter::once(tokenizer.bos()).chain(window.iter().copied()).collect();
            windows.push((ids, document));
        }
    }
    // Stable: keeps the documents' order.
    windows.sort_by_key(|(ids, _): &(Vec<u32>, u32)| std::cmp::Reverse(ids.len()));
    Ok(windows)
}

/// The windows of the documents.
pub(super) fn text_sequences(
    documents: &[String],
    context: usize,
    tokenizer: &Tokenizer,
) -> Result<Vec<Sequence>, Error> {
    let windows = text_windows(documents, context, tokenizer)?;
    if windows.is_empty() {
        let reason = "holds no text, at least one document is needed".to_owned();
        return Err(Error::Config { field: "path", reason });
    }
    let sequence = |(row, (ids, document))| Sequence {
        ids,
        row,
        document,
        stored: Stored::All,
    };
    Ok((0_u32..).zip(windows).map(sequence).collect())
}

/// sha256 of all that the sequences ask of the model and of the store.
pub(super) fn digest(sequences: &[Sequence]) -> String {
    let mut bytes = Vec::new();
    let mut put = |number: usize| bytes.extend_from_slice(&(number as u64).to_le_bytes());
    for sequence in sequences {
        put(sequence.ids.len());
        sequence.ids.iter().for_each(|&id| put(id as usize));
        put(sequence.document as usize);
        if let Stored::Roles(roles, labels) = &sequence.stored {
            roles.iter().for_each(|&(_, position)| put(position as usize));
            labels.iter().for_each(|&label| put(label));
        }
    }
    lm::files::sha256_hex(&bytes)
}

/// The documents of a text file: one per line that is not blank.
pub fn read_documents(path: &Path) -> Result<Vec<String>, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    Ok(text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(str::to_owned)
        .collect())
}
