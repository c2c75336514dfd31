//! The loop of the Automated Interpretability Agent of FIND: the model asks the function until it describes it.
//!
//! At most 20 replies, 25 inputs a call, and as many inputs in all as the black box answers. A call and a description in one reply: the
//! call is made and the description passed over, since it was written before the outputs were seen, unless no reply is left. After three
//! replies with neither, the answer is asked for; without one the function has no description.

use super::client::{ChatError, Client};
use super::grammar::{self, Answer, Turn};
use super::prompt;
use super::wire::Message;
use crate::Error;
use crate::black_box::{BlackBox, Input, Kind};
use crate::explanation::{Claim, Explanation, Status};
use crate::find::{Explained, Explainer};

/// Replies of a conversation.
const TURNS: usize = 20;
/// Inputs of one call.
const INPUTS: usize = 25;
/// Replies without call and answer before the answer is asked for.
const IDLE: usize = 3;
/// Tokens of a reply.
const REPLY: u32 = 600;

/// How a model is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum Mode {
    /// One batch of exemplars, and then the answer: MILAN's exchange.
    Milan,
    /// Free experiments.
    Aia,
    /// Exemplars to begin with, and then free experiments.
    #[strum(serialize = "aia+init")]
    AiaInit,
}

/// A language model as explainer.
#[derive(Debug)]
pub struct Agent<'a> {
    /// The server that it is asked from.
    pub client: &'a Client,
    /// How.
    pub mode: Mode,
}

impl Explainer for Agent<'_> {
    fn name(&self) -> String {
        format!("lm:{}", self.mode)
    }

    fn takes(&self, kind: Kind) -> bool {
        match (self.mode, kind) {
            // Planted predicates take token ids, which no model writes.
            (_, Kind::Text) => false,
            (Mode::Aia, _) => true,
            (Mode::Milan | Mode::AiaInit, kind) => matches!(kind, Kind::Entities | Kind::Relations),
        }
    }

    fn explain(&self, of: &mut BlackBox<'_>, exemplars: &[String]) -> Result<Explained, Error> {
        let mut talk = Talk {
            client: self.client,
            messages: vec![Message::system(prompt::SYSTEM)],
            tokens: 0,
        };
        let explanation = match self.converse(&mut talk, of, exemplars) {
            Ok(explanation) => explanation,
            Err(ChatError::Endpoint(_)) => Explanation::without(Status::EndpointFailed),
            Err(ChatError::Refused) => Explanation::without(Status::Refused),
            Err(ChatError::OutOfTokens) => Explanation::without(Status::OutOfTokens),
            Err(ChatError::Stop(error)) => return Err(error),
        };
        Ok(Explained {
            explanation,
            tokens: talk.tokens,
        })
    }
}

/// A conversation and its cost.
struct Talk<'a> {
    client: &'a Client,
    messages: Vec<Message>,
    tokens: u64,
}

impl Talk<'_> {
    /// Says something and returns the reply, which becomes part of the conversation.
    fn say(&mut self, text: String) -> Result<String, ChatError> {
        self.messages.push(Message::user(text));
        let reply = self.client.chat(&self.messages, REPLY)?;
        self.tokens += reply.tokens;
        self.messages.push(Message::assistant(reply.text.clone()));
        Ok(reply.text)
    }
}

impl Agent<'_> {
    fn converse(
        &self,
        talk: &mut Talk<'_>,
        of: &mut BlackBox<'_>,
        exemplars: &[String],
    ) -> Result<Explanation, ChatError> {
        let kind = of.kind();
        let mut text = prompt::task(kind);
        if self.mode != Mode::Aia && !exemplars.is_empty() {
            text += &match kind {
                // Examples of a latent are texts with their activations already.
                Kind::Text => format!(
                    "\n\nExamples, with the strongest tokens between << and >>:\n{}",
                    exemplars.join("\n")
                ),
                _ => {
                    let inputs: Vec<Input> = exemplars
                        .iter()
                        .take(of.remaining())
                        .cloned()
                        .map(Input::Text)
                        .collect();
                    let outputs = of.call(&inputs)?;
                    format!("\n\nResponse:\n{}", prompt::pairs(&inputs, &outputs))
                }
            };
        }
        if self.mode == Mode::Milan {
            text += "\n\nYou have no calls. Answer now.";
            let reply = talk.say(text)?;
            return Ok(match grammar::parse(&reply, kind) {
                Turn::Answer(answer) | Turn::Call(_, Some(answer)) => explanation(answer, kind),
                Turn::Call(_, None) | Turn::BadCall(_) | Turn::Neither => Explanation::without(Status::NoDescription),
            });
        }
        let mut idle = 0;
        for turn in 1..=TURNS {
            let reply = talk.say(text)?;
            text = match grammar::parse(&reply, kind) {
                Turn::Answer(answer) => return Ok(explanation(answer, kind)),
                Turn::Call(_, Some(answer)) if turn == TURNS => return Ok(explanation(answer, kind)),
                Turn::Call(inputs, _) if inputs.len() > INPUTS => format!("Response: at most {INPUTS} inputs a call."),
                Turn::Call(inputs, _) if inputs.len() > of.remaining() => {
                    format!(
                        "Response: {} inputs are left. Call f on no more than that, or answer.",
                        of.remaining()
                    )
                }
                Turn::Call(inputs, _) => {
                    let outputs = of.call(&inputs)?;
                    format!(
                        "Response:\n{}\n({} inputs and {} messages left)",
                        prompt::pairs(&inputs, &outputs),
                        of.remaining(),
                        TURNS - turn
                    )
                }
                Turn::BadCall(reason) => {
                    format!(
                        "Response: the call cannot be read ({reason}). Write CALL(input, input, ...) with texts in double quotes."
                    )
                }
                Turn::Neither if idle == IDLE => return Ok(Explanation::without(Status::NoDescription)),
                Turn::Neither => {
                    idle += 1;
                    match idle {
                        IDLE => "Give your final answer now, beginning with [DESCRIPTION]:".to_owned(),
                        _ => "Your message has neither a call nor an answer. Write CALL(input, ...) or [DESCRIPTION]: ...".to_owned(),
                    }
                }
            };
        }
        Ok(Explanation::without(Status::NoDescription))
    }
}

/// The answer with its code as a claim, where that is of our languages; other code is kept in the text and never executed.
fn explanation(answer: Answer, kind: Kind) -> Explanation {
    let code = answer.code.as_deref().unwrap_or_default();
    let claim = match kind {
        Kind::Numeric => code.parse().ok().map(Claim::Expression),
        Kind::Strings => code.parse().ok().map(Claim::Program),
        Kind::Entities | Kind::Relations | Kind::Text => None,
    };
    let mut text = answer.description;
    if let Some(domain) = &answer.domain {
        text = format!("{text} (domain: {domain})");
    }
    Explanation {
        text,
        claim,
        status: Status::Done,
    }
}
