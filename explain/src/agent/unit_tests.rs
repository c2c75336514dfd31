//! A language model as judge of unit tests.

use super::client::{ChatError, Client};
use super::grammar::choice;
use super::wire::Message;
use crate::Error;
use crate::black_box::Kind;
use crate::explanation::Explanation;
use crate::find::Judge;
use crate::problem::UnitTest;

/// Tokens of a reply.
const REPLY: u32 = 60;

/// A judge that reads the description in English.
#[derive(Debug)]
pub struct LanguageJudge<'a> {
    /// The server that it is asked from.
    pub client: &'a Client,
}

impl Judge for LanguageJudge<'_> {
    fn name(&self) -> String {
        format!("lm:{}", self.client.model())
    }

    fn decide(&self, kind: Kind, explanation: &Explanation, test: &UnitTest) -> Result<(Option<f64>, u64), Error> {
        let messages = [
            Message::system(
                "You decide which of three examples belongs to a function. Reply with [ANSWER]: and the number, nothing else.",
            ),
            Message::user(question(kind, explanation, test)),
        ];
        match self.client.chat(&messages, REPLY) {
            Ok(reply) => {
                let right = choice(&reply.text).map(|choice| f64::from(u8::from(choice == test.correct)));
                Ok((right, reply.tokens))
            }
            Err(ChatError::Stop(error)) => Err(error),
            // No answer: counted as such.
            Err(ChatError::Endpoint(_) | ChatError::Refused | ChatError::OutOfTokens) => Ok((None, 0)),
        }
    }
}

fn question(kind: Kind, explanation: &Explanation, test: &UnitTest) -> String {
    let description = match explanation.text.as_str() {
        "" => "(none)",
        text => text,
    };
    let ask = match kind {
        Kind::Entities => "For which of these words is the function's value highest?",
        _ => "One of these is an input of the function with its output; the others are of other functions. Which?",
    };
    let mut out = format!("The function is described so:\n{description}\n\n{ask}\n");
    for (number, choice) in (1..).zip(&test.choices) {
        out += &match &choice.output {
            Some(output) => format!("{number}. {:?} -> {output:?}\n", choice.input),
            None => format!("{number}. {:?}\n", choice.input),
        };
    }
    out
}
