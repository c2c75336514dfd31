//! Text to token ids: any Hugging Face `tokenizer.json` (byte-level BPE, SentencePiece-like BPE, Unigram and whatever else the
//! library reads), GPT-2's `vocab.json` + `merges.txt`, or a word-level vocabulary.
//!
//! Text is text: characters that spell a special token, such as `<|endoftext|>`, give ordinary tokens, never its id, unless
//! [`Tokenizer::with_control_tokens`] asks for that. Ids are a function of the file and the text: what a file asks for beside that
//! (truncation, padding, BPE dropout, tokens before and behind a text) is off. Which token begins a text is [`Tokenizer::bos`].

mod bos;
mod bytes;
mod charsmap;
mod chat;
mod parts;
mod special;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use artifacts::caught;
use gguf::{Gguf, GgufTokenizer};
use serde_json::json;
use tokenizers::models::ModelWrapper;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use self::bos::Beside;
use self::bytes::Missing;
pub use self::chat::{Chat, ChatDate, ChatMessages, ChatTemplate};
use self::parts::{Parts, Places, WORD_LEVEL_PATTERN};
pub use self::special::SpecialToken;
use crate::Error;

/// Begins (and separates) texts of a word-level vocabulary.
const BOS: &str = bos::GPT2;
/// What a word-level tokenizer gives for a word that it does not know.
const UNKNOWN: &str = "<|unknown|>";

/// Finds the token that begins a text.
type FindBos<'a> = dyn Fn(&tokenizers::Tokenizer) -> tokenizers::Result<Option<u32>> + 'a;

/// A tokenizer with the beginning-of-text token of its model, if the model has one.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    path: PathBuf,
    bos: Option<u32>,
    /// The token of a word-level vocabulary for words that it does not have; such words are refused.
    refused: Option<u32>,
    unknown: Option<u32>,
    hash: String,
    places: Places,
    missing: Missing,
    chat: Option<ChatTemplate>,
    /// The special tokens that a text may spell, and what finds them.
    special: Vec<SpecialToken>,
    spelled: AhoCorasick,
}

impl Tokenizer {
    /// The tokenizer of a model that is a folder in Hugging Face layout or a GGUF file.
    ///
    /// # Errors
    ///
    /// Those of [`Tokenizer::from_dir`]; a GGUF file without a tokenizer that is read here.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if !path.is_file() {
            return Self::from_dir(path);
        }
        let GgufTokenizer {
            json,
            bos,
            add_bos,
            eos,
            chat_template,
        } = Gguf::open(path)?.tokenizer()?;
        let tokenizer = Self::from_json_parts(&json, path, bos.filter(|_| add_bos))?;
        let spelled = |id: Option<u32>| id.and_then(|id| tokenizer.inner.id_to_token(id));
        let chat = chat_template.map(|source| ChatTemplate::new(path, source, spelled(bos), spelled(eos)));
        Ok(tokenizer.with_chat_template(chat))
    }

    /// Loads `tokenizer.json` of a model folder, or GPT-2's `vocab.json` and `merges.txt` where that is absent. The token that
    /// begins a text is the one that the files of the folder say (`tokenizer/bos.rs` has the rules).
    ///
    /// # Errors
    ///
    /// No tokenizer in the folder, or one that cannot be read; several tokens before a text; a `bos_token` that is none of its tokens.
    pub fn from_dir(dir: &Path) -> Result<Self, Error> {
        let beside = Beside::read(dir)?;
        let path = dir.join("tokenizer.json");
        if path.exists() {
            let tokenizer = Self::from_json(&artifacts::read(&path)?, &path, &|tokenizer| {
                bos::of(tokenizer, &beside)
            })?;
            return Ok(tokenizer.with_chat_template(ChatTemplate::of_folder(dir, &beside)?));
        }
        let (vocab, merges) = (dir.join("vocab.json"), dir.join("merges.txt"));
        if !vocab.exists() {
            return Err(Error::NoTokenizer { path: dir.to_owned() });
        }
        if let Some(kind) = beside.model_type.filter(|kind| kind != bos::GPT2_TYPE) {
            let reason = format!(
                "is read without a tokenizer.json of a GPT-2 only, and config.json beside it says {kind}; add the tokenizer.json of the \
                 model"
            );
            return Err(failed(&vocab, reason.into()));
        }
        // Read once by hand, so that a missing file is named.
        let hash = artifacts::sha256_hex(&[artifacts::read(&vocab)?, artifacts::read(&merges)?].concat());
        let inner = guarded(&vocab, || {
            let bpe = BPE::from_file(&vocab.to_string_lossy(), &merges.to_string_lossy()).build()?;
            let mut inner = tokenizers::Tokenizer::new(bpe);
            inner.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
            inner.with_decoder(Some(ByteLevel::new(false, true, true)));
            inner.add_special_tokens([tokenizers::AddedToken::from(BOS, true)])?;
            Ok(inner)
        })?;
        Self::new(inner, vocab, hash, &|tokenizer| Ok(tokenizer.token_to_id(BOS)))
    }

    /// A tokenizer from the contents of a `tokenizer.json`, wherever they come from, with the token that begins a text; `path` is
    /// what messages name.
    ///
    /// # Errors
    ///
    /// Contents that are no tokenizer; a token that is none of its tokens.
    pub fn from_json_parts(json: &[u8], path: &Path, bos: Option<u32>) -> Result<Self, Error> {
        Self::from_json(json, path, &|_| Ok(bos))
    }

    fn from_json(json: &[u8], path: &Path, bos: &FindBos<'_>) -> Result<Self, Error> {
        charsmap::check(json).map_err(|reason| failed(path, reason.into()))?;
        let inner = guarded(path, || tokenizers::Tokenizer::from_bytes(json))?;
        special::check_ids(&inner, json).map_err(|reason| failed(path, reason.into()))?;
        let tokenizer = Self::new(inner, path.to_owned(), artifacts::sha256_hex(json), bos)?;
        Ok(match tokenizer.inner.get_model() {
            ModelWrapper::Unigram(_) => Self {
                unknown: special::unknown_of_unigram(json),
                ..tokenizer
            },
            _ => tokenizer,
        })
    }

    /// The same tokenizer with another token that begins a text, or with none. What the files call special stays so, and no
    /// other token becomes it.
    ///
    /// # Errors
    ///
    /// A token that is none of its tokens.
    pub fn with_bos(self, bos: Option<u32>) -> Result<Self, Error> {
        check_bos(&self.inner, bos).map_err(|error| failed(&self.path, error))?;
        Ok(Self { bos, ..self })
    }

    /// The same tokenizer with the chat template of its model, or with none.
    #[must_use]
    pub fn with_chat_template(self, chat: Option<ChatTemplate>) -> Self {
        Self { chat, ..self }
    }

    /// The chat template of the model, where its files have one.
    pub fn chat_template(&self) -> Option<&ChatTemplate> {
        self.chat.as_ref()
    }

    /// The same tokenizer, of which a text that spells a special token gives the id of that token.
    #[must_use]
    pub fn with_control_tokens(mut self) -> Self {
        self.inner.set_encode_special_tokens(false);
        self.places = Places::of(&self.inner);
        self
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
        Self::from_json_parts(format!("{json:#}\n").as_bytes(), Path::new("tokenizer.json"), Some(0))
    }

    fn new(mut inner: tokenizers::Tokenizer, path: PathBuf, hash: String, bos: &FindBos<'_>) -> Result<Self, Error> {
        let (places, missing, bos, special) = guarded(&path, || {
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
            let bos = bos(&inner)?;
            check_bos(&inner, bos)?;
            Ok((Places::of(&inner), Missing::of(&inner), bos, special::of(&inner, bos)))
        })?;
        let (refused, unknown) = (inner.token_to_id(UNKNOWN), special::unknown(&inner));
        let spelled = AhoCorasick::new(special.iter().map(|token| &token.content));
        let spelled = spelled.map_err(|error| failed(&path, error.into()))?;
        Ok(Self {
            inner,
            path,
            bos,
            refused,
            unknown,
            hash,
            places,
            missing,
            chat: None,
            special,
            spelled,
        })
    }

    /// Whether a text that spells a special token gives the id of that token.
    pub fn recognises_control_tokens(&self) -> bool {
        !self.inner.get_encode_special_tokens()
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
        if let Some(refused) = self.refused
            && let Some(at) = ids.iter().position(|&id| id == refused)
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
        self.unknown
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

    /// The token that begins every text that the model reads; nothing is put before a text where there is none.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The bytes for which a byte-level vocabulary has no token.
    pub fn missing_bytes(&self) -> &[u8] {
        self.missing.bytes()
    }

    /// The number of characters of `text` that are lost in its ids, because a byte of them has no token.
    pub fn lost_characters(&self, text: &str) -> usize {
        self.missing.characters_in(text)
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
        artifacts::write_atomic(&dir.join("tokenizer.json"), |file| writeln!(file, "{json}"))?;
        let ends = self.bos.and_then(|bos| self.inner.id_to_token(bos));
        let config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "add_bos_token": ends.is_some(),
            "bos_token": ends,
            "eos_token": ends,
            "unk_token": self.refused.map(|_| UNKNOWN),
            "clean_up_tokenization_spaces": false,
        });
        Ok(artifacts::write_json(&dir.join("tokenizer_config.json"), &config)?)
    }
}

/// Refuses a token that is none.
fn check_bos(tokenizer: &tokenizers::Tokenizer, bos: Option<u32>) -> tokenizers::Result<()> {
    match bos.filter(|id| tokenizer.id_to_token(*id).is_none()) {
        None => Ok(()),
        Some(id) => Err(format!("has no token {id}, with which texts are to begin").into()),
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
