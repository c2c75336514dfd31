//! Documents of the world packed into batches of token ids, for the training of a language model.

use lm::TokenBatch;
use text::Tokenizer;

use super::World;
use crate::Error;

/// Batch number `step` of a run: rows of `len` tokens, each a sequence of whole documents that begin with the
/// beginning-of-text token, the last one cut off.
///
/// Every batch is a function of `(seed, step)`, so a resumed run needs no other cursor than its step.
pub fn token_batch(
    world: &World,
    tokenizer: &Tokenizer,
    seed: u64,
    step: usize,
    rows: usize,
    len: usize,
) -> Result<TokenBatch, Error> {
    // A document has at least 3 tokens, so a row never needs more documents than this.
    let per_row = len as u64;
    let ids: Vec<Vec<u32>> = (0..rows)
        .map(|row| {
            let first = (step * rows + row) as u64 * per_row;
            let mut ids = Vec::with_capacity(len + 128);
            let mut documents = first..;
            while ids.len() < len {
                let Some(index) = documents.next() else { break };
                ids.extend(tokenizer.bos());
                ids.extend(tokenizer.encode(&world.document(seed, index).text())?);
            }
            ids.truncate(len);
            Ok(ids)
        })
        .collect::<Result<_, Error>>()?;
    Ok(TokenBatch::new(&ids)?)
}
