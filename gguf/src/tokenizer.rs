//! The tokenizer of a GGUF file as a `tokenizer.json`.
//!
//! There are two kinds. `gpt2` is byte-level BPE with its merges; how a text is divided before is only named. `llama` is
//! SentencePiece, which joins the two neighbours whose joined piece has the highest score, the leftmost of equals. BPE does
//! the same with the merges of [`merges_of`], but where a piece can be joined in two ways at places that overlap (`a` `aa`
//! `a` to `aaa`): SentencePiece takes the left place, BPE the way that comes first in its list.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use crate::Error;
use crate::metadata::Metadata;
use crate::{Architecture, GgufTokenizer};

/// What SentencePiece writes for a space.
const SPACE: &str = "\u{2581}";
/// Longest piece that is taken apart for merges, in bytes: all that SentencePiece trains are far shorter.
const LONGEST_PIECE: usize = 1024;

/// The pattern of Llama 3; that of Qwen 2 takes digits one by one.
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_2: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The pattern of Mistral Nemo: a word is capitals, then small letters.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Types of tokens.
const NORMAL: i64 = 1;
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;
const BYTE: i64 = 6;

/// The tokenizer that the metadata describe.
pub(crate) fn of(metadata: &Metadata, architecture: Architecture) -> Result<GgufTokenizer, Error> {
    let model = metadata.text("tokenizer.ggml.model")?;
    let model = metadata.required("tokenizer.ggml.model", model)?;
    let is_sentence_piece = match model {
        "gpt2" => false,
        "llama" => true,
        other => {
            let reason = format!(
                "its tokenizer is of kind `{other}`; supported are gpt2 (byte-level BPE) and llama (SentencePiece)"
            );
            return Err(metadata.source().unsupported(reason));
        }
    };
    let mut vocabulary = Vocabulary::read(metadata, is_sentence_piece)?;
    let parts = if is_sentence_piece {
        vocabulary.user_defined_spaces();
        sentence_piece(&vocabulary, architecture)?
    } else {
        byte_level(&vocabulary, architecture)?
    };
    let bos = vocabulary.id("bos", is_sentence_piece.then_some(1))?;
    let add_bos = metadata.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(parts.add_bos);
    if add_bos && bos.is_none() {
        return Err(metadata
            .source()
            .damaged("`tokenizer.ggml.bos_token_id`, which begins texts, is not in its metadata"));
    }
    let json = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": vocabulary.added(),
        "normalizer": parts.normalizer,
        "pre_tokenizer": parts.pre_tokenizer,
        "post_processor": bos.filter(|_| add_bos).map(|bos| vocabulary.begins(bos)),
        "decoder": parts.decoder,
        "model": parts.model,
    });
    Ok(GgufTokenizer {
        json: json.to_string().into_bytes(),
        bos,
        add_bos,
        eos: vocabulary.id("eos", is_sentence_piece.then_some(2))?,
        chat_template: metadata.text("tokenizer.chat_template")?.map(str::to_owned),
    })
}

/// What differs between the kinds.
struct Parts {
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
    model: Value,
    /// Whether texts begin with a token where the file does not say.
    add_bos: bool,
}

/// Tokens in the order of their ids, and the type of each.
struct Vocabulary<'a> {
    metadata: &'a Metadata,
    tokens: Vec<String>,
    types: Vec<i64>,
    is_sentence_piece: bool,
}

impl<'a> Vocabulary<'a> {
    fn read(metadata: &'a Metadata, is_sentence_piece: bool) -> Result<Self, Error> {
        let key = "tokenizer.ggml.tokens";
        let tokens = metadata.required(key, metadata.texts(key)?)?;
        let types = metadata.integers("tokenizer.ggml.token_type")?;
        let types = types.unwrap_or_else(|| vec![NORMAL; tokens.len()]);
        let vocabulary = Self {
            metadata,
            tokens,
            types,
            is_sentence_piece,
        };
        vocabulary.one_each("token_type", vocabulary.types.len())?;
        let mut seen = HashSet::new();
        match vocabulary.tokens.iter().find(|token| !seen.insert(token.as_str())) {
            Some(token) => Err(vocabulary.damaged(format!("token {token:?} is in its vocabulary twice"))),
            None => Ok(vocabulary),
        }
    }

    fn damaged(&self, reason: String) -> Error {
        self.metadata.source().damaged(reason)
    }

    /// The error that a list has not one entry for each token.
    fn one_each(&self, name: &str, length: usize) -> Result<(), Error> {
        let tokens = self.tokens.len();
        match length == tokens {
            true => Ok(()),
            false => Err(self.damaged(format!(
                "`tokenizer.ggml.{name}` has {length} entries for {tokens} tokens"
            ))),
        }
    }

    /// Writes tokens that are matched in the text itself with the spaces that are there.
    fn user_defined_spaces(&mut self) {
        for (token, kind) in self.tokens.iter_mut().zip(&self.types) {
            if *kind == USER_DEFINED && token.contains(SPACE) {
                *token = token.replace(SPACE, " ");
            }
        }
    }

    /// The id of a token with a role.
    fn id(&self, role: &str, otherwise: Option<u64>) -> Result<Option<u32>, Error> {
        let key = format!("tokenizer.ggml.{role}_token_id");
        let Some(id) = self.metadata.unsigned(&key)? else {
            // What readers assume of a SentencePiece vocabulary, if the token is one of that kind.
            let special = |id: &u64| matches!(self.types.get(*id as usize), Some(&(UNKNOWN | CONTROL)));
            return Ok(otherwise.filter(special).map(|id| id as u32));
        };
        // Some files name a token that does not exist for "none".
        if id == u64::from(u32::MAX) {
            return Ok(None);
        }
        match u32::try_from(id) {
            Ok(id) if (id as usize) < self.tokens.len() => Ok(Some(id)),
            _ => Err(self.damaged(format!("`{key}` is {id}, but there are {} tokens", self.tokens.len()))),
        }
    }

    /// Tokens that are matched whole, before anything else.
    fn added(&self) -> Vec<Value> {
        let matched = (0_u32..).zip(self.tokens.iter().zip(&self.types));
        matched
            .filter(|(_, (token, kind))| matches!(**kind, CONTROL | USER_DEFINED) && !token.is_empty())
            .map(|(id, (token, kind))| {
                json!({
                    "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": *kind == CONTROL,
                })
            })
            .collect()
    }

    /// The post-processor that begins texts with a token.
    fn begins(&self, bos: u32) -> Value {
        let token = &self.tokens[bos as usize];
        let special = |type_id: u32| json!({ "SpecialToken": { "id": token, "type_id": type_id } });
        let sequence = |id: &str, type_id: u32| json!({ "Sequence": { "id": id, "type_id": type_id } });
        let mut tokens = Map::new();
        tokens.insert(token.clone(), json!({ "id": token, "ids": [bos], "tokens": [token] }));
        json!({
            "type": "TemplateProcessing",
            "single": [special(0), sequence("A", 0)],
            "pair": [special(0), sequence("A", 0), special(1), sequence("B", 1)],
            "special_tokens": tokens,
        })
    }

    /// The BPE model with these merges.
    fn bpe(&self, merges: Vec<[&str; 2]>, unknown: Option<u32>, ignore_merges: bool) -> Value {
        let ids: Map<String, Value> = self.tokens.iter().cloned().zip((0_u32..).map(Value::from)).collect();
        json!({
            "type": "BPE", "dropout": null, "unk_token": unknown.map(|id| &self.tokens[id as usize]),
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": self.is_sentence_piece,
            "byte_fallback": self.types.contains(&BYTE), "ignore_merges": ignore_merges, "vocab": ids, "merges": merges,
        })
    }
}

fn byte_level(vocabulary: &Vocabulary<'_>, architecture: Architecture) -> Result<Parts, Error> {
    let metadata = vocabulary.metadata;
    let pre = metadata.text("tokenizer.ggml.pre")?;
    let pre = metadata.required("tokenizer.ggml.pre", pre)?;
    let with = |step: Value| {
        let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": step["type"] == "Digits" });
        json!({ "type": "Sequence", "pretokenizers": [step, bytes] })
    };
    let split = |pattern: &str| {
        with(json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false }))
    };
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    let pre_tokenizer = match pre {
        "gpt-2" | "olmo" => bytes.clone(),
        "smollm" | "starcoder" | "refact" => with(json!({ "type": "Digits", "individual_digits": true })),
        "llama-bpe" | "llama3" => split(LLAMA_3),
        "qwen2" => split(QWEN_2),
        "tekken" => split(TEKKEN),
        other => {
            return Err(metadata.source().unsupported(format!(
                "its tokenizer divides texts as `{other}` does; supported are gpt-2, olmo, smollm, starcoder, refact, llama-bpe, \
                 llama3, qwen2 and tekken"
            )));
        }
    };
    let merges = metadata.texts("tokenizer.ggml.merges")?;
    let merges = metadata.required("tokenizer.ggml.merges", merges)?;
    let pairs = merges.iter().map(|merge| {
        let pair = merge.split_once(' ').map(|(left, right)| [left, right]);
        pair.ok_or_else(|| {
            vocabulary.damaged(format!(
                "merge {merge:?} of its tokenizer is no two tokens with a space between"
            ))
        })
    });
    let pairs = pairs.collect::<Result<Vec<_>, _>>()?;
    let begins = matches!(pre, "llama-bpe" | "llama3" | "tekken");
    // The unknown token that the file may name stands for nothing that bytes can spell.
    let model = vocabulary.bpe(pairs, None, begins);
    // Not in the file: the tokenizers of these families compose characters first.
    let composes = pre == "qwen2" || architecture == Architecture::GptNeox;
    Ok(Parts {
        normalizer: if composes {
            json!({ "type": "NFC" })
        } else {
            Value::Null
        },
        pre_tokenizer,
        decoder: bytes,
        model,
        add_bos: begins,
    })
}

fn sentence_piece(vocabulary: &Vocabulary<'_>, architecture: Architecture) -> Result<Parts, Error> {
    let metadata = vocabulary.metadata;
    let scores = metadata.floats("tokenizer.ggml.scores")?;
    let scores = metadata.required("tokenizer.ggml.scores", scores)?;
    vocabulary.one_each("scores", scores.len())?;
    // Those of Gemma say less than the order of its pieces.
    let scores = if architecture.is_gemma() {
        vec![0.0; scores.len()]
    } else {
        scores
    };
    let merges = merges_of(vocabulary, &scores)?;
    let unknown = (0_u64..).zip(&vocabulary.types).find(|(_, kind)| **kind == UNKNOWN);
    let unknown = vocabulary.id("unknown", unknown.map(|(id, _)| id))?;
    // Said to be so by readers where the file does not say.
    let prefix = metadata.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    let replace = |from: &str, to: &str| json!({ "type": "Replace", "pattern": { "String": from }, "content": to });
    let mut normalizers = vec![replace(" ", SPACE)];
    let mut decoders = vec![
        replace(SPACE, " "),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    if prefix {
        normalizers.insert(0, json!({ "type": "Prepend", "prepend": SPACE }));
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    Ok(Parts {
        normalizer: json!({ "type": "Sequence", "normalizers": normalizers }),
        pre_tokenizer: Value::Null,
        decoder: json!({ "type": "Sequence", "decoders": decoders }),
        model: vocabulary.bpe(merges, unknown, false),
        add_bos: true,
    })
}

/// Every way to make a piece of two others, best pieces first: those of the highest score, then of the lowest id.
///
/// Only pieces that are neither matched whole nor stand for a byte take part. Of the ways to one piece the one with the longer left
/// half comes first, which is what the left of two overlapping places is when the pieces of a run have been joined from the left.
fn merges_of<'a>(vocabulary: &'a Vocabulary<'_>, scores: &[f32]) -> Result<Vec<[&'a str; 2]>, Error> {
    let pieces = || {
        let pieces = vocabulary.tokens.iter().zip(&vocabulary.types).enumerate();
        pieces
            .filter(|(_, (_, kind))| **kind == NORMAL)
            .map(|(id, (token, _))| (token.as_str(), id))
    };
    let ids: HashMap<&str, usize> = pieces().collect();
    let mut best: Vec<(&str, usize)> = pieces().collect();
    if let Some((piece, _)) = best.iter().find(|(piece, _)| piece.len() > LONGEST_PIECE) {
        let reason = format!(
            "a piece of its tokenizer has {} bytes, more than {LONGEST_PIECE}",
            piece.len()
        );
        return Err(vocabulary.damaged(reason));
    }
    best.sort_by(|(_, a), (_, b)| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    let mut merges = Vec::new();
    for (piece, _) in best {
        for (at, _) in piece.char_indices().skip(1).collect::<Vec<_>>().into_iter().rev() {
            let (left, right) = piece.split_at(at);
            if ids.contains_key(left) && ids.contains_key(right) {
                merges.push([left, right]);
            }
        }
    }
    Ok(merges)
}
