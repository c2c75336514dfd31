//! Tokens that stand for no text.

use serde::Deserialize;
use tokenizers::models::ModelWrapper;

/// A token that stands for no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialToken {
    /// Its id.
    pub id: u32,
    /// How it is written.
    pub content: String,
}

/// The beginning-of-text token, where there is one, and whatever else `tokenizer` calls special, by id.
pub(super) fn of(tokenizer: &tokenizers::Tokenizer, bos: Option<u32>) -> Vec<SpecialToken> {
    let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
    let special = added
        .iter()
        .filter(|(_, token)| token.special && !token.content.is_empty());
    let mut tokens: Vec<SpecialToken> = special
        .map(|(&id, token)| SpecialToken {
            id,
            content: token.content.clone(),
        })
        .collect();
    let unlisted = bos.filter(|bos| tokens.iter().all(|token| token.id != *bos));
    let content = unlisted.and_then(|id| tokenizer.id_to_token(id));
    if let Some((id, content)) = unlisted.zip(content.filter(|content| !content.is_empty())) {
        tokens.push(SpecialToken { id, content });
    }
    tokens.sort_by_key(|token| token.id);
    tokens
}

/// The token of a word that the model does not know, where it has one. That of a Unigram model is not shown by the library
/// ([`unknown_of_unigram`]).
pub(super) fn unknown(tokenizer: &tokenizers::Tokenizer) -> Option<u32> {
    let content = match tokenizer.get_model() {
        ModelWrapper::BPE(bpe) => bpe.unk_token.as_deref(),
        ModelWrapper::WordPiece(words) => Some(words.unk_token.as_str()),
        ModelWrapper::WordLevel(words) => Some(words.unk_token.as_str()),
        ModelWrapper::Unigram(_) => None,
    };
    tokenizer.token_to_id(content?)
}

/// The token of what a Unigram model does not know, from its tokenizer.json.
pub(super) fn unknown_of_unigram(json: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct File {
        model: Model,
    }
    #[derive(Deserialize)]
    struct Model {
        unk_id: Option<u32>,
    }
    serde_json::from_slice::<File>(json).ok()?.model.unk_id
}

/// Refuses a tokenizer.json whose added tokens do not have the ids that it says: the library counts those that are not in the
/// vocabulary from its end on.
pub(super) fn check_ids(tokenizer: &tokenizers::Tokenizer, json: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        added_tokens: Vec<Added>,
    }
    #[derive(Deserialize)]
    struct Added {
        id: u32,
        content: String,
    }
    let Ok(File { added_tokens }) = serde_json::from_slice(json) else {
        return Ok(());
    };
    for Added { id, content } in added_tokens {
        match tokenizer.token_to_id(&content) {
            Some(found) if found != id => {
                return Err(format!(
                    "its added token {content} has id {id}, and would be read as {found}"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}
