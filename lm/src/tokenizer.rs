//! Text to token ids: any Hugging Face `tokenizer.json`, GPT-2's `vocab.json` + `merges.txt`, or a word-level vocabulary.
//!
//! Text is text: characters that spell a special token, such as `<|endoftext|>`, give ordinary tokens, never its id.
//! Ids are a function of the file and the text: what a file asks for beside that (truncation, padding, BPE dropout) is off.

mod charsmap;
mod parts;
mod special;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use serde_json::json;
use tokenizers::models::ModelWrapper;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use self::parts::{Parts, Places, WORD_LEVEL_PATTERN};
pub use self::special::SpecialToken;
use crate::guard::caught;
use crate::{Error, files};

/// Begins (and separates) texts in GPT-2's vocabulary.
const BOS: &str = "<|endoftext|>";
/// What a word-level tokenizer gives for a word that it does not know.
const UNKNOWN: &str = "<|unknown|>";

/// A tokenizer with the beginning-of-text token of its model.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    path: PathBuf,
    bos: u32,
    unknown: Option<u32>,
    hash: String,
    places: Places,
    /// The special tokens that a text may spell, and what finds them.
    special: Vec<SpecialToken>,
    spelled: AhoCorasick,
}

impl Tokenizer {
    /// Loads `tokenizer.json` of a model folder, or `vocab.json` and `merges.txt` where that is absent.
    pub fn from_dir(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("tokenizer.json");
        if path.exists() {
            return Self::from_json(&files::read(&path)?, &path);
        }
        let (vocab, merges) = (dir.join("vocab.json"), dir.join("merges.txt"));
        if !vocab.exists() {
            return Err(Error::NoTokenizer { path: dir.to_owned() });
        }
        // Read once by hand, so that a missing file is named.
        let hash = files::sha256_hex(&[files::read(&vocab)?, files::read(&merges)?].concat());
        let inner = guarded(&vocab, || {
            let bpe = BPE::from_file(&vocab.to_string_lossy(), &merges.to_string_lossy()).build()?;
            let mut inner = tokenizers::Tokenizer::new(bpe);
            inner.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
            inner.with_decoder(Some(ByteLevel::new(false, true, true)));
            inner.add_special_tokens([tokenizers::AddedToken::from(BOS, true)])?;
            Ok(inner)
        })?;
        Self::new(inner, vocab, hash)
    }

    /// A tokenizer whose vocabulary is exactly `pieces` (a word with its leading space, punctuation, or two digits),
    /// a token for the beginning of a text and one for unknown words.
    ///
    /// A space belongs to the word that follows it, and digits come in pairs (" 1732" is " 17", "32").
    pub fn word_level(pieces: &[String]) -> Result<Self, Error> {
        // The byte-level alphabet writes a space as "Ġ", as in GPT-2's own vocabulary.
        let mut vocab = serde_json::Map::new();
        for piece in [BOS, UNKNOWN]
            .into_iter()
            .map(str::to_owned)
            .chain(pieces.iter().map(|p| p.replace(' ', "Ġ")))
        {
            let id = vocab.len();
            vocab.insert(piece, json!(id));
        }
        let special = |id: u32, content: &str| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        };
        let byte_level =
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
        let json = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": [special(0, BOS), special(1, UNKNOWN)],
            "normalizer": null,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": WORD_LEVEL_PATTERN}, "behavior": "Isolated", "invert": false},
                byte_level,
            ]},
            "post_processor": null,
            "decoder": byte_level,
            "model": {"type": "WordLevel", "vocab": vocab, "unk_token": UNKNOWN},
        });
        Self::from_json(format!("{json:#}\n").as_bytes(), Path::new("tokenizer.json"))
    }

    fn from_json(json: &[u8], path: &Path) -> Result<Self, Error> {
        charsmap::check(json).map_err(|reason| failed(path, reason.into()))?;
        let inner = guarded(path, || tokenizers::Tokenizer::from_bytes(json))?;
        Self::new(inner, path.to_owned(), files::sha256_hex(json))
    }

    fn new(mut inner: tokenizers::Tokenizer, path: PathBuf, hash: String) -> Result<Self, Error> {
        let places = guarded(&path, || {
            // A file may ask for texts to be cut or filled to a length, or for random merges, as in its last training.
            inner.with_truncation(None)?;
            inner.with_padding(None);
            if let ModelWrapper::BPE(bpe) = inner.get_model()
                && bpe.dropout.is_some()
            {
                let mut bpe = bpe.clone();
                bpe.dropout = None;
                inner.with_model(bpe);
            }
            inner.set_encode_special_tokens(true);
            Ok(Places::of(&inner))
        })?;
        let bos = inner.token_to_id(BOS).ok_or_else(|| Error::Tokenizer {
            path: path.clone(),
            reason: format!("has no token {BOS}, which begins every prompt; is it a GPT-2 tokenizer?"),
        })?;
        let special = special::of(&inner, bos);
        let spelled = AhoCorasick::new(special.iter().map(|token| &token.content));
        let spelled = spelled.map_err(|error| failed(&path, error.into()))?;
        let unknown = inner.token_to_id(UNKNOWN);
        Ok(Self {
            inner,
            path,
            bos,
            unknown,
            hash,
            places,
            special,
            spelled,
        })
    }

    /// Token ids of `text`; nothing is added before or after.
    ///
    /// # Errors
    ///
    /// A word outside a word-level vocabulary; a text that cannot be divided ([`Tokenizer::encode_parts`]).
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let mut ids = Vec::new();
        for part in self.encode_parts(text) {
            ids.append(&mut part?);
        }
        Ok(ids)
    }

    /// Token ids of `text` part by part: together those of [`Tokenizer::encode`]. A part needs memory for some ten thousand
    /// tokens, however long the text is.
    ///
    /// # Errors
    ///
    /// A word outside a word-level vocabulary; more than 256 KiB without a space or another end of a word; a text of more
    /// than 1 MiB of a tokenizer that cannot tell the ends of words from the characters beside them (`parts.rs`).
    pub fn encode_parts<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Result<Vec<u32>, Error>> + 'a {
        Parts::new(text, self.places).map(|part| {
            let undivided = |longest: usize| Error::Tokenizer {
                path: self.path.clone(),
                reason: match self.places {
                    Places::None => format!(
                        "can encode a text in one call only, which needs too much memory for more than {} KiB; divide the text",
                        longest >> 10
                    ),
                    Places::BeforeSpaces | Places::BehindLetters => format!(
                        "finds no end of a word in {} KiB of a text; is it text? If so, put spaces or line breaks into it",
                        longest >> 10
                    ),
                },
            };
            self.encode_part(part.map_err(undivided)?)
        })
    }

    fn encode_part(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding = guarded(&self.path, || self.inner.encode_fast(text, false))?;
        let ids = encoding.get_ids().to_vec();
        if let Some(unknown) = self.unknown
            && let Some(at) = ids.iter().position(|&id| id == unknown)
        {
            // The places of tokens cost time and memory, and are asked for only here.
            let encoding = guarded(&self.path, || self.inner.encode(text, false))?;
            let (start, end) = encoding.get_offsets()[at];
            let word: String = text
                .get(start..end)
                .unwrap_or(text)
                .chars()
                .take(LONGEST_WORD)
                .collect();
            return Err(Error::Tokenizer {
                path: self.path.clone(),
                reason: format!("`{word}` is not in its vocabulary"),
            });
        }
        Ok(ids)
    }

    /// The special tokens: that of the beginning of a text and whatever else the tokenizer calls special, by id.
    pub fn special_tokens(&self) -> &[SpecialToken] {
        &self.special
    }

    /// The token of a word that is not known, where the tokenizer has one.
    pub fn unknown(&self) -> Option<u32> {
        special::unknown(&self.inner)
    }

    /// The first special token that `text` spells. Its characters are ordinary text, and give other tokens.
    pub fn spelled_special(&self, text: &str) -> Option<&SpecialToken> {
        let found = self.spelled.find(text)?;
        self.special.get(found.pattern().as_usize())
    }

    /// The text of `ids`, special tokens included.
    pub fn decode(&self, ids: &[u32]) -> Result<String, Error> {
        guarded(&self.path, || self.inner.decode(ids, false))
    }

    /// The id of `text` when it is exactly one known token, such as `" Mary"`.
    pub fn token(&self, text: &str) -> Option<u32> {
        match self.encode(text).as_deref() {
            Ok([id]) => Some(*id),
            _ => None,
        }
    }

    /// The token that begins every text.
    pub fn bos(&self) -> u32 {
        self.bos
    }

    /// Ids that stand for no text: the beginning-of-text token and whatever else the tokenizer calls special.
    pub fn special_ids(&self) -> BTreeSet<u32> {
        self.special.iter().map(|token| token.id).collect()
    }

    /// Number of ids, special tokens included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The largest id that a text can be given.
    pub fn largest_id(&self) -> u32 {
        self.inner.get_vocab(true).into_values().max().unwrap_or(0)
    }

    /// SHA-256 of the file or files it was loaded from.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json` into `dir`, atomically.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        let json = guarded(&self.path, || self.inner.to_string(true))?;
        files::write_atomic(&dir.join("tokenizer.json"), |file| writeln!(file, "{json}"))?;
        let config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BOS,
            "eos_token": BOS,
            "unk_token": self.unknown.map(|_| UNKNOWN),
            "clean_up_tokenization_spaces": false,
        });
        files::write_json(&dir.join("tokenizer_config.json"), &config)
    }
}

/// What the library makes of a file or text; its errors and panics name the file.
fn guarded<T>(path: &Path, work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, Error> {
    match caught(work) {
        Ok(result) => result.map_err(|error| failed(path, error)),
        Err(panic) => Err(failed(
            path,
            format!("the tokenizers library cannot work with it ({panic})").into(),
        )),
    }
}

/// Characters of an unknown word that an error repeats.
const LONGEST_WORD: usize = 60;

/// Longest reason that is repeated: a file may hold a text of any length, and an error may quote it.
const LONGEST_REASON: usize = 300;

fn failed(path: &Path, error: tokenizers::Error) -> Error {
    Error::Tokenizer {
        path: path.to_owned(),
        reason: {
            let mut reason = error.to_string().replace(char::is_control, " ");
            if reason.len() > LONGEST_REASON {
                reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
                reason.push_str(" ...");
            }
            reason
        },
    }
}
