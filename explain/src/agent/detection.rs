//! A language model as judge of windows: in which of them is a latent active that is described so?

use super::client::{ChatError, Client};
use super::grammar::flags;
use super::wire::Message;
use crate::Error;

/// Windows of one question.
const WINDOWS: usize = 5;
/// Tokens of a reply.
const REPLY: u32 = 60;

/// For each window whether the judge says that the latent is active in it; none for windows of a question that was not answered as asked,
/// so that one wrong answer is counted and not passed over. Also the tokens that were read and written.
///
/// # Errors
///
/// What would stop the whole run.
pub fn detect(client: &Client, explanation: &str, windows: &[String]) -> Result<(Vec<Option<bool>>, u64), Error> {
    let (mut all, mut tokens) = (Vec::new(), 0);
    for some in windows.chunks(WINDOWS) {
        let list: Vec<String> = (1..)
            .zip(some)
            .map(|(number, window)| format!("{number}. {window:?}"))
            .collect();
        let messages = [
            Message::system(
                "You decide in which texts a feature of a language model is active. Reply with a list like [1, 0, 0, 1, 0], one digit for \
                 each text in order, 1 where the feature is active in it, and nothing else.",
            ),
            Message::user(format!("The feature: {explanation}\n\nThe texts:\n{}", list.join("\n"))),
        ];
        let found = match client.chat(&messages, REPLY) {
            Ok(reply) => {
                tokens += reply.tokens;
                flags(&reply.text, some.len())
            }
            Err(ChatError::Stop(error)) => return Err(error),
            Err(ChatError::Endpoint(_) | ChatError::Refused | ChatError::OutOfTokens) => None,
        };
        match found {
            Some(flags) => all.extend(flags.into_iter().map(Some)),
            None => all.extend(some.iter().map(|_| None)),
        }
    }
    Ok((all, tokens))
}
