//! Division of a long text into parts that are encoded one by one and give the same ids as the whole text.
//!
//! The tokenizers library needs more than a hundred bytes for each byte of a text that it encodes in one call. A text is
//! therefore divided at places of which the following holds whatever the rest of the text is:
//!
//! 1. The normalizer treats what lies before the place and what lies behind it independently. Only the four Unicode forms
//!    and lower case are taken to do so; the character behind a place is one that they neither change nor compose with
//!    what comes before it.
//! 2. The pre-tokenizer ends a word at the place, and finds the same words before and behind it when it sees only one of
//!    the two sides. Models work word by word, so that nothing else can depend on the other side.
//! 3. No added token lies across the place or looks at its neighbours there.
//!
//! A tokenizer of another kind has no such places ([`Places::None`]), and its texts are encoded whole.

use serde_json::Value;
use tokenizers::{NormalizedString, Normalizer as _};

/// Bytes of a part, as far as there are places: some megabytes of the library's memory.
const PART: usize = 64 << 10;
/// Most bytes between two places, and most bytes of a text of a tokenizer that has none: one call for so many takes up to
/// 10 and 100 MB.
const LONGEST_STRETCH: usize = 256 << 10;
const LONGEST_WHOLE: usize = 1 << 20;

/// Patterns of a `Split` that end a word at every place of [`Places::BehindLetters`]: they match every character, have no
/// look-behind, and no alternative goes on behind a letter with anything but letters. GPT-2, Llama 3, Qwen 2.
const PATTERNS: [&str; 3] = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];
/// The pattern of our word-level tokenizers. It leaves single digits unmatched; no place lies behind a digit.
pub(super) const WORD_LEVEL_PATTERN: &str = " ?[0-9]{2}| ?[A-Za-z]+|[^A-Za-z0-9 ]";

/// Hiragana that no Unicode form takes apart.
const HIRAGANA: &str = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむもやゆよらりるれろわをん";

/// Where texts may be divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Places {
    /// Nowhere.
    None,
    /// Before a space, behind what is neither white space nor a number.
    BeforeSpaces,
    /// There, and between a letter (Latin without accents, Chinese, part of the hiragana) and a digit, line break, tab, full stop or comma.
    BehindLetters,
}

impl Places {
    /// The places of texts of `tokenizer`.
    pub(super) fn of(tokenizer: &tokenizers::Tokenizer) -> Self {
        let (Ok(normalizer), Ok(pre_tokenizer)) = (
            serde_json::to_value(tokenizer.get_normalizer()),
            serde_json::to_value(tokenizer.get_pre_tokenizer()),
        ) else {
            return Self::None;
        };
        let places = match pre_tokenizer["type"].as_str() {
            Some("Sequence") => steps(&pre_tokenizer, normalizer.is_null()),
            // A metaspace is put before a text that does not begin with a space; parts behind a place do.
            Some("Metaspace") if pre_tokenizer["split"] == true => Self::BeforeSpaces,
            _ => divider(&pre_tokenizer, normalizer.is_null()),
        };
        if places != Self::None && keeps_sides_apart(&normalizer) && added_tokens_allow(places, tokenizer) {
            places
        } else {
            Self::None
        }
    }

    /// Whether a text may be divided between two characters.
    fn between(self, before: char, behind: char) -> bool {
        match self {
            Self::None => false,
            Self::BeforeSpaces => behind == ' ' && !before.is_whitespace() && !before.is_numeric(),
            Self::BehindLetters => {
                Self::BeforeSpaces.between(before, behind)
                    || is_letter(before)
                        && matches!(behind, '\n' | '\r' | '\t' | '0'..='9' | '.' | ',' | '。' | '，' | '、')
            }
        }
    }

    /// Whether there is such a place in `text`.
    fn lies_in(self, text: &str) -> bool {
        let behind = text.chars().skip(1);
        text.chars()
            .zip(behind)
            .any(|(before, behind)| self.between(before, behind))
    }
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic() || ('\u{4e00}'..='\u{9fa5}').contains(&c) || HIRAGANA.contains(c)
}

/// The places at which one pre-tokenizer ends a word; `bare` says that no normalizer comes before it.
fn divider(step: &Value, bare: bool) -> Places {
    match step["type"].as_str() {
        // A space is put before a text that does not begin with one.
        Some("ByteLevel") if step["use_regex"] == true && step["add_prefix_space"] == true => Places::BeforeSpaces,
        Some("ByteLevel") if step["use_regex"] == true => Places::BehindLetters,
        Some("Split") if step["behavior"] == "Isolated" && step["invert"] == false => {
            let pattern = step["pattern"]["Regex"].as_str().unwrap_or_default();
            if PATTERNS.contains(&pattern) || (bare && pattern == WORD_LEVEL_PATTERN) {
                Places::BehindLetters
            } else {
                Places::None
            }
        }
        Some("Whitespace" | "WhitespaceSplit" | "BertPreTokenizer") => Places::BeforeSpaces,
        _ => Places::None,
    }
}

/// The places at which pre-tokenizers one after the other end a word: those of the first that ends words.
fn steps(sequence: &Value, bare: bool) -> Places {
    let steps = sequence["pretokenizers"].as_array().map_or(&[][..], Vec::as_slice);
    // These look at single characters only: what they do on one side of a place does not depend on the other.
    let by_character = |step: &&Value| matches!(step["type"].as_str(), Some("Digits" | "Punctuation"));
    let mut rest = steps.iter().skip_while(by_character);
    let places = rest.next().map_or(Places::None, |step| divider(step, bare));
    // Behind that step each word is on its own, unless a step asks where in the text its word stands, as Metaspace does.
    let alone = |step: &Value| {
        let kind = step["type"].as_str();
        matches!(
            kind,
            Some(
                "ByteLevel"
                    | "Split"
                    | "Digits"
                    | "Punctuation"
                    | "Whitespace"
                    | "WhitespaceSplit"
                    | "BertPreTokenizer"
            )
        )
    };
    if rest.all(alone) { places } else { Places::None }
}

/// Whether a normalizer changes the sides of a place independently of each other and leaves the place one.
fn keeps_sides_apart(normalizer: &Value) -> bool {
    match normalizer["type"].as_str() {
        None => normalizer.is_null(),
        Some("NFC" | "NFD" | "NFKC" | "NFKD" | "Lowercase") => true,
        Some("Sequence") => {
            let steps = normalizer["normalizers"].as_array();
            steps.is_some_and(|steps| steps.iter().all(keeps_sides_apart))
        }
        Some(_) => false,
    }
}

/// Whether no added token lies across a place or looks at its neighbours there. Special tokens that are text in a text matter
/// only where they hide others that are not special.
fn added_tokens_allow(places: Places, tokenizer: &tokenizers::Tokenizer) -> bool {
    let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
    let special_is_text = tokenizer.get_encode_special_tokens();
    if special_is_text && added.values().all(|token| token.special) {
        return true;
    }
    added.values().all(|token| {
        let mut normalized = NormalizedString::from(token.content.as_str());
        if let Some(normalizer) = tokenizer.get_normalizer()
            && normalizer.normalize(&mut normalized).is_err()
        {
            return false;
        }
        let looks_around = token.lstrip || token.rstrip || token.single_word;
        !places.lies_in(&token.content)
            && !places.lies_in(normalized.get())
            && ((token.special && special_is_text) || !looks_around)
    })
}

/// The parts of a text, in order; `Err` is a text without a place in so many bytes, behind which nothing comes.
pub(super) struct Parts<'a> {
    rest: &'a str,
    places: Places,
    /// Bytes of a part, and the most that it may have.
    size: usize,
    longest: usize,
}

impl<'a> Parts<'a> {
    pub(super) fn new(text: &'a str, places: Places) -> Self {
        let longest = match places {
            Places::None => LONGEST_WHOLE,
            Places::BeforeSpaces | Places::BehindLetters => LONGEST_STRETCH,
        };
        Self::of_size(text, places, PART, longest)
    }

    fn of_size(text: &'a str, places: Places, size: usize, longest: usize) -> Self {
        let rest = text;
        Self {
            rest,
            places,
            size,
            longest,
        }
    }

    /// Where the next part ends: the last place within its size, else the first one behind it.
    fn end(&self) -> Option<usize> {
        if self.places == Places::None {
            return None;
        }
        let is_place = |&at: &usize| {
            let before = self.rest[..at].chars().next_back();
            let behind = self.rest[at..].chars().next();
            before
                .zip(behind)
                .is_some_and(|(before, behind)| self.places.between(before, behind))
        };
        let within = self.rest.floor_char_boundary(self.size);
        let most = self.rest.floor_char_boundary(self.longest);
        let boundary = |at: &usize| self.rest.is_char_boundary(*at);
        let before = (1..=within).rev().filter(boundary).find(is_place);
        before.or_else(|| (within + 1..=most).filter(boundary).find(is_place))
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Result<&'a str, usize>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let whole = self.rest.len();
        let end = if whole <= self.size { Some(whole) } else { self.end() };
        match end {
            None if whole > self.longest => {
                self.rest = "";
                Some(Err(self.longest))
            }
            end => {
                let (part, rest) = self.rest.split_at(end.unwrap_or(whole));
                self.rest = rest;
                Some(Ok(part))
            }
        }
    }
}

#[cfg(test)]
mod tests;
