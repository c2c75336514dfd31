//! What can go wrong when prompts are made for a tokenizer.

use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The language model failed.
    #[error(transparent)]
    Lm(#[from] lm::Error),
    /// The tokenizer failed.
    #[error(transparent)]
    Text(#[from] text::Error),
    /// What was given cannot be the name of an attribute, a role or a task.
    #[error("{what} \"{found}\" is no name: {reason}")]
    Name {
        /// What was to be named.
        what: &'static str,
        /// What was given, or its beginning.
        found: String,
        /// Why not, and what is a name.
        reason: String,
    },
    /// A name of a behaviour or a built-in task is not known.
    #[error("unknown {what} \"{found}\": use one of {known}")]
    UnknownName {
        /// What was to be named.
        what: &'static str,
        /// The name that was given.
        found: String,
        /// The names that exist.
        known: String,
    },
    /// Too few words of a list are single tokens.
    #[error(
        "only {found} of the {of} {list} in tasks::lists are single tokens of the tokenizer in these prompts, {needed} are needed: \
         use a model with a larger English vocabulary"
    )]
    TooFewWords {
        /// The list: `names`, `objects` or `places`.
        list: &'static str,
        /// How many words survived.
        found: usize,
        /// How many there are.
        of: usize,
        /// How many are needed.
        needed: usize,
    },
    /// A task file, or a file of prompts, that cannot be used.
    #[error("{path}: {reason}")]
    TaskFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A line of a file of prompts that cannot be used.
    #[error("{path}, line {line}: {reason}")]
    TaskLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The tokenizer fails on the text of a template.
    #[error("the tokenizer cannot encode the prompt text \"{text}\": use a model with an English vocabulary")]
    Encode {
        /// The text of the template.
        text: String,
        /// The tokenizer's own error.
        #[source]
        source: text::Error,
    },
    /// The tokenizer changes the text of a template, as it does when words are unknown.
    #[error(
        "the tokenizer reads the prompt text \"{text}\" back as \"{found}\": \
         its words are not in the vocabulary, use a model with an English vocabulary"
    )]
    UnknownText {
        /// The text of the template.
        text: String,
        /// What decoding gave.
        found: String,
    },
    /// The tokens of a prompt depend on more than its words.
    #[error(
        "the tokenizer does not split the prompt \"{text}\" at its words: \
         use a model whose tokens keep the space before a word"
    )]
    MergedWords {
        /// The prompt.
        text: String,
    },
    /// The name whose second mention tells the order of the names is not among the tokens of a prompt.
    #[error(
        "the name that frame {frame} of the world repeats is not a token of its text: \
         use a tokenizer that keeps the world's names whole"
    )]
    NoRepeatedName {
        /// Number of the frame.
        frame: usize,
    },
    /// Two templates have different numbers of tokens.
    #[error(
        "prompts have unequal lengths, {first_len} tokens (\"{first}\") and {second_len} tokens (\"{second}\"): \
         use a model whose tokenizer keeps the templates' words whole"
    )]
    UnequalLengths {
        /// A prompt of the first template.
        first: String,
        /// Its number of tokens.
        first_len: usize,
        /// A prompt of another template.
        second: String,
        /// Its number of tokens.
        second_len: usize,
    },
}
