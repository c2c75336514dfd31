//! Requests and answers of OpenAI-compatible chat completions: plain JSON, no streaming, no tools.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Most characters of a reply that are kept.
const LONGEST: usize = 100_000;
/// Most tokens that one exchange is believed to have cost, so that no sum of them overflows.
const COSTLIEST: u64 = 1 << 32;

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
}

impl Message {
    /// What the model is told before anything else.
    pub fn system(content: impl Into<String>) -> Self {
        Self::of("system", content)
    }

    /// What the user says.
    pub fn user(content: impl Into<String>) -> Self {
        Self::of("user", content)
    }

    /// What the model said.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::of("assistant", content)
    }

    fn of(role: &str, content: impl Into<String>) -> Self {
        Self {
            role: role.to_owned(),
            content: content.into(),
        }
    }
}

/// What a server takes; each is given up at the first answer that complains of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Capabilities {
    pub(super) seed: bool,
    pub(super) temperature: bool,
    /// `max_tokens`; otherwise `max_completion_tokens`.
    pub(super) max_tokens: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            seed: true,
            temperature: true,
            max_tokens: true,
        }
    }
}

impl Capabilities {
    /// Gives up what a complaint names; `false` where it names nothing that could be given up.
    pub(super) fn give_up(&mut self, complaint: &str) -> bool {
        let known = [
            ("max_tokens", &mut self.max_tokens),
            ("temperature", &mut self.temperature),
            ("seed", &mut self.seed),
        ];
        let named = known.into_iter().find(|(name, has)| **has && complaint.contains(name));
        match named {
            Some((_, has)) => {
                *has = false;
                true
            }
            None => false,
        }
    }
}

/// The body of a request, in an order that does not change.
pub(super) fn body(model: &str, messages: &[Message], max_tokens: u32, seed: u64, has: Capabilities) -> Value {
    let mut body = Map::new();
    let limit = if has.max_tokens {
        "max_tokens"
    } else {
        "max_completion_tokens"
    };
    body.insert(limit.to_owned(), json!(max_tokens));
    body.insert("messages".to_owned(), json!(messages));
    body.insert("model".to_owned(), json!(model));
    body.insert("n".to_owned(), json!(1));
    if has.seed {
        body.insert("seed".to_owned(), json!(seed));
    }
    body.insert("stream".to_owned(), json!(false));
    if has.temperature {
        body.insert("temperature".to_owned(), json!(0));
    }
    Value::Object(body)
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Completion {
    pub(super) content: String,
    pub(super) finish: Finish,
    /// Tokens of prompt and reply, where the server counts them.
    pub(super) tokens: Option<u64>,
}

/// Why a reply ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    Stop,
    Length,
    Refused,
}

/// Why an answer is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not of the protocol.
    NotUnderstood,
    /// It has no text.
    Empty,
}

/// Reads an answer; what is not known is passed over.
pub(super) fn completion(answer: &Value) -> Result<Completion, Fault> {
    let choice = answer["choices"].get(0).ok_or(Fault::NotUnderstood)?;
    let finish = match choice["finish_reason"].as_str() {
        Some("length") => Finish::Length,
        Some("content_filter") => Finish::Refused,
        _ => Finish::Stop,
    };
    let content = match &choice["message"]["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        Value::Null if finish == Finish::Refused => String::new(),
        Value::Null => return Err(Fault::Empty),
        _ => return Err(Fault::NotUnderstood),
    };
    Ok(Completion {
        content: without_thoughts(&content).chars().take(LONGEST).collect(),
        finish,
        tokens: answer["usage"]["total_tokens"]
            .as_u64()
            .map(|tokens| tokens.min(COSTLIEST)),
    })
}

/// A reply without the thoughts before it.
fn without_thoughts(content: &str) -> &str {
    let Some(rest) = content.trim_start().strip_prefix("<think>") else {
        return content;
    };
    rest.split_once("</think>").map_or("", |(_, reply)| reply.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(choice: Value) -> Result<Completion, Fault> {
        completion(&json!({"choices": [choice], "usage": {"total_tokens": 7}, "other": 1}))
    }

    #[test]
    fn answers_of_many_shapes_are_read() {
        let text = |choice: Value| read(choice).map(|completion| completion.content);
        assert_eq!(text(json!({"message": {"content": "a"}})), Ok("a".to_owned()));
        let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
        assert_eq!(text(json!({"message": {"content": parts}})), Ok("ab".to_owned()));
        assert_eq!(
            text(json!({"message": {"content": "<think>no</think>\nyes"}})),
            Ok("yes".to_owned())
        );
        assert_eq!(
            text(json!({"message": {"content": "<think>never ends"}})),
            Ok(String::new())
        );
        assert_eq!(text(json!({"message": {"content": null}})), Err(Fault::Empty));
        assert_eq!(text(json!({"message": {"content": 3}})), Err(Fault::NotUnderstood));
        assert_eq!(completion(&json!({"choices": []})), Err(Fault::NotUnderstood));
        assert_eq!(completion(&json!("text")), Err(Fault::NotUnderstood));
        let cut = read(json!({"finish_reason": "length", "message": {"content": "a"}})).unwrap();
        assert_eq!((cut.finish, cut.tokens), (Finish::Length, Some(7)));
        let refused = read(json!({"finish_reason": "content_filter", "message": {"content": null}})).unwrap();
        assert_eq!(refused.finish, Finish::Refused);
    }

    #[test]
    fn a_capability_is_given_up_once() {
        let mut has = Capabilities::default();
        assert!(has.give_up("Unsupported parameter: 'max_tokens' is not supported with this model"));
        assert!(!has.give_up("max_tokens"));
        assert!(has.give_up("temperature does not support 0") && !has.give_up("model not found"));
        let body = body("m", &[Message::user("x")], 5, 1, has);
        assert_eq!(body["max_completion_tokens"], 5);
        assert!(body.get("max_tokens").is_none() && body.get("temperature").is_none() && body["seed"] == 1);
    }
}
