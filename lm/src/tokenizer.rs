//! Text to token ids: any Hugging Face `tokenizer.json`, GPT-2's `vocab.json` + `merges.txt`, or a word-level vocabulary.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

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
        let fail = |error: tokenizers::Error| failed(&vocab, error);
        let bpe = BPE::from_file(&vocab.to_string_lossy(), &merges.to_string_lossy())
            .build()
            .map_err(fail)?;
        let mut inner = tokenizers::Tokenizer::new(bpe);
        inner.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
        inner.with_decoder(Some(ByteLevel::new(false, true, true)));
        let special = tokenizers::AddedToken::from(BOS, true);
        inner.add_special_tokens([special]).map_err(fail)?;
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
                {"type": "Split", "pattern": {"Regex": " ?[0-9]{2}| ?[A-Za-z]+|[^A-Za-z0-9 ]"}, "behavior": "Isolated", "invert": false},
                byte_level,
            ]},
            "post_processor": null,
            "decoder": byte_level,
            "model": {"type": "WordLevel", "vocab": vocab, "unk_token": UNKNOWN},
        });
        Self::from_json(format!("{json:#}\n").as_bytes(), Path::new("tokenizer.json"))
    }

    fn from_json(json: &[u8], path: &Path) -> Result<Self, Error> {
        let inner = tokenizers::Tokenizer::from_bytes(json).map_err(|error| failed(path, error))?;
        Self::new(inner, path.to_owned(), files::sha256_hex(json))
    }

    fn new(mut inner: tokenizers::Tokenizer, path: PathBuf, hash: String) -> Result<Self, Error> {
        // A file may ask for texts to be cut or filled to a length, as its last user had them.
        inner.with_truncation(None).map_err(|error| failed(&path, error))?;
        inner.with_padding(None);
        let bos = inner.token_to_id(BOS).ok_or_else(|| Error::Tokenizer {
            path: path.clone(),
            reason: format!("has no token {BOS}, which begins every prompt; is it a GPT-2 tokenizer?"),
        })?;
        let unknown = inner.token_to_id(UNKNOWN);
        Ok(Self {
            inner,
            path,
            bos,
            unknown,
            hash,
        })
    }

    /// Token ids of `text`; nothing is added before or after.
    ///
    /// # Errors
    ///
    /// A word outside a word-level vocabulary.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding = self
            .inner
            .encode(text, false)
            .map_err(|error| failed(&self.path, error))?;
        let ids = encoding.get_ids().to_vec();
        if let Some(unknown) = self.unknown
            && let Some(at) = ids.iter().position(|&id| id == unknown)
        {
            let (start, end) = encoding.get_offsets()[at];
            let word = text.get(start..end).unwrap_or(text);
            return Err(Error::Tokenizer {
                path: self.path.clone(),
                reason: format!("`{word}` is not in its vocabulary"),
            });
        }
        Ok(ids)
    }

    /// The text of `ids`, special tokens included.
    pub fn decode(&self, ids: &[u32]) -> Result<String, Error> {
        self.inner.decode(ids, false).map_err(|error| failed(&self.path, error))
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
        let added = self.inner.get_added_tokens_decoder();
        let special = added.iter().filter(|(_, token)| token.special).map(|(id, _)| *id);
        special.chain([self.bos]).collect()
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
        let json = self.inner.to_string(true).map_err(|error| failed(&self.path, error))?;
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

fn failed(path: &Path, error: tokenizers::Error) -> Error {
    Error::Tokenizer {
        path: path.to_owned(),
        reason: error.to_string().replace('\n', " "),
    }
}
