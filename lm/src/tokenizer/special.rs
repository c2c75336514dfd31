//! Tokens that stand for no text.

use tokenizers::models::ModelWrapper;

use super::BOS;

/// A token that stands for no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialToken {
    /// Its id.
    pub id: u32,
    /// How it is written.
    pub content: String,
}

/// The beginning-of-text token and whatever else `tokenizer` calls special, by id.
pub(super) fn of(tokenizer: &tokenizers::Tokenizer, bos: u32) -> Vec<SpecialToken> {
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
    if tokens.iter().all(|token| token.id != bos) {
        tokens.push(SpecialToken {
            id: bos,
            content: BOS.to_owned(),
        });
    }
    tokens.sort_by_key(|token| token.id);
    tokens
}

/// The token of a word that the model does not know, where it has one.
pub(super) fn unknown(tokenizer: &tokenizers::Tokenizer) -> Option<u32> {
    let content = match tokenizer.get_model() {
        ModelWrapper::BPE(bpe) => bpe.unk_token.as_deref(),
        ModelWrapper::WordPiece(words) => Some(words.unk_token.as_str()),
        ModelWrapper::WordLevel(words) => Some(words.unk_token.as_str()),
        ModelWrapper::Unigram(_) => None,
    };
    tokenizer.token_to_id(content?)
}
