//! The token that begins a text, as the files of a model say it.

use std::path::Path;

use serde_json::Value;
use tokenizers::{Encoding, Token};

use crate::Error;

/// Begins (and separates) texts in GPT-2's vocabulary.
pub(super) const GPT2: &str = "<|endoftext|>";
/// `model_type` of config.json of a GPT-2.
pub(super) const GPT2_TYPE: &str = "gpt2";

/// What stands beside the tokenizer in the folder of a model.
pub(super) struct Beside {
    /// `model_type` of config.json, where there is one.
    pub(super) model_type: Option<String>,
    /// The contents of tokenizer_config.json; null where there is none.
    pub(super) config: Value,
}

impl Beside {
    pub(super) fn read(dir: &Path) -> Result<Self, Error> {
        let optional = |name: &str| -> Result<Value, Error> {
            let path = dir.join(name);
            if path.exists() {
                Ok(artifacts::read_json(&path)?)
            } else {
                Ok(Value::Null)
            }
        };
        Ok(Self {
            model_type: optional("config.json")?["model_type"].as_str().map(str::to_owned),
            config: optional("tokenizer_config.json")?,
        })
    }

    /// A token that tokenizer_config.json names: a string, or an object that holds it.
    pub(super) fn named(&self, key: &str) -> Option<&str> {
        let named = &self.config[key];
        named.as_str().or_else(|| named["content"].as_str())
    }
}

/// The token that begins a text:
///
/// 1. what the post-processor of tokenizer.json puts before a text (Llama 3, Gemma, Mistral);
/// 2. of a GPT-2 `<|endoftext|>`, which its files do not say and everyone who studies it prepends (TransformerLens too);
/// 3. `bos_token` of tokenizer_config.json where `add_bos_token` is true there;
/// 4. none (Qwen, Pythia, SmolLM2, whose `bos_token` is a mark of its chats).
///
/// The message of an error says what is wrong with the files.
pub(super) fn of(tokenizer: &tokenizers::Tokenizer, beside: &Beside) -> tokenizers::Result<Option<u32>> {
    match prepended(tokenizer)?.as_slice() {
        [] => {}
        [bos] => return Ok(Some(*bos)),
        [..] => {
            return Err("its post-processor puts several tokens before a text, of which one is read at most".into());
        }
    }
    if beside.model_type.as_deref() == Some(GPT2_TYPE)
        && let Some(bos) = tokenizer.token_to_id(GPT2)
    {
        return Ok(Some(bos));
    }
    if beside.config["add_bos_token"] != true {
        return Ok(None);
    }
    let Some(bos) = beside.named("bos_token") else {
        return Err("tokenizer_config.json beside it has `add_bos_token` and no `bos_token`".into());
    };
    match tokenizer.token_to_id(bos) {
        Some(id) => Ok(Some(id)),
        None => Err(format!("has no token {bos}, the `bos_token` of tokenizer_config.json beside it").into()),
    }
}

/// What the post-processor puts before a text. What it puts behind one is never read.
fn prepended(tokenizer: &tokenizers::Tokenizer) -> tokenizers::Result<Vec<u32>> {
    // A text of one token that no vocabulary has, so that the tokens of the post-processor are told from it.
    const TEXT: u32 = u32::MAX;
    let text = Encoding::from_tokens(vec![Token::new(TEXT, "x".to_owned(), (0, 1))], 0);
    let whole = tokenizer.post_process(text, None, true)?;
    let before = whole.get_ids().iter().position(|&id| id == TEXT).unwrap_or(0);
    Ok(whole.get_ids()[..before].to_vec())
}
