//! Asking a server: retries, what it does not take, what was spent.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use kernels::random::{ChaCha8Rng, rng};
use rand::RngExt;
use serde_json::Value;

use super::cassette::Cassette;
use super::server::Server;
use super::wire::{self, Capabilities, Fault, Finish, Message};
use crate::Error;

/// Retries of one request.
const RETRIES: u32 = 5;
/// The longest wait between two attempts, in units of [`Server::wait`].
const LONGEST_WAIT: u32 = 30;
/// The longest wait that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(120);
/// Bytes of an answer.
const LARGEST: u64 = 8 << 20;

/// What the model said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its text.
    pub text: String,
    /// Tokens of prompt and reply; where the server does not count, a quarter of the bytes.
    pub tokens: u64,
}

/// Why there is no reply.
#[derive(Debug)]
pub enum ChatError {
    /// The server did not answer as it should, after all retries.
    Endpoint(String),
    /// The server refuses to answer this.
    Refused,
    /// The limit of tokens would be passed.
    OutOfTokens,
    /// Nothing more can be asked.
    Stop(Error),
}

impl From<Error> for ChatError {
    fn from(error: Error) -> Self {
        Self::Stop(error)
    }
}

/// A connection to a server, with a record of what was said.
#[derive(Debug)]
pub struct Client {
    server: Server,
    agent: ureq::Agent,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    has: Capabilities,
    cassette: Cassette,
    spent: u64,
    requests: u64,
    jitter: ChaCha8Rng,
}

/// What came back from one attempt.
enum Attempt {
    Answer(Value),
    /// Why it is tried again, and how long the server asks to wait.
    Again(String, Option<Duration>),
    /// What the server does not take.
    Complaint(String),
}

impl Client {
    /// A client; nothing is asked yet.
    pub fn new(server: Server, cassette: Cassette) -> Self {
        let config = ureq::Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(5).min(server.timeout)))
            .timeout_global(Some(server.timeout))
            .user_agent(concat!("saelab/", env!("CARGO_PKG_VERSION")));
        // A proxy of the surroundings does not serve this machine itself.
        let config = if server.is_loopback { config.proxy(None) } else { config };
        let jitter = rng(server.seed, "agent/jitter");
        Self {
            agent: config.build().into(),
            server,
            state: Mutex::new(State {
                has: Capabilities::default(),
                cassette,
                spent: 0,
                requests: 0,
                jitter,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The model that is asked for.
    pub fn model(&self) -> &str {
        &self.server.model
    }

    /// Tokens that were read and written so far, those of a recording too.
    pub fn spent(&self) -> u64 {
        self.state().spent
    }

    /// Requests that were sent, retries too.
    pub fn requests(&self) -> u64 {
        self.state().requests
    }

    /// The model's reply to a conversation.
    ///
    /// # Errors
    ///
    /// [`ChatError`].
    pub fn chat(&self, messages: &[Message], max_tokens: u32) -> Result<Reply, ChatError> {
        let first = self.complete(messages, max_tokens)?;
        // A reply that was cut is asked for once more with twice the room, then taken as it is.
        let completion = match first.finish {
            Finish::Length => self.complete(messages, max_tokens.saturating_mul(2))?,
            Finish::Stop | Finish::Refused => first.clone(),
        };
        let twice = if first.finish == Finish::Length {
            first.tokens.unwrap_or(0)
        } else {
            0
        };
        match completion.finish {
            Finish::Refused => Err(ChatError::Refused),
            Finish::Stop | Finish::Length => Ok(Reply {
                tokens: completion.tokens.unwrap_or(0) + twice,
                text: completion.content,
            }),
        }
    }

    /// One answer, recorded or asked for; its tokens are counted.
    fn complete(&self, messages: &[Message], max_tokens: u32) -> Result<wire::Completion, ChatError> {
        let bytes: usize = messages.iter().map(|message| message.content.len()).sum();
        let prompt = bytes as u64 / 4;
        if let Some(most) = self.server.most_tokens
            && self.spent() + prompt + u64::from(max_tokens) > most
        {
            return Err(ChatError::OutOfTokens);
        }
        let answer = self.answer(messages, max_tokens)?;
        let mut completion = wire::completion(&answer).map_err(|fault| {
            ChatError::Endpoint(match fault {
                Fault::Empty => "the reply is empty".to_owned(),
                Fault::NotUnderstood => "the answer is not that of a chat completion".to_owned(),
            })
        })?;
        let tokens = completion
            .tokens
            .unwrap_or(prompt + completion.content.len() as u64 / 4);
        completion.tokens = Some(tokens);
        self.state().spent += tokens;
        Ok(completion)
    }

    fn answer(&self, messages: &[Message], max_tokens: u32) -> Result<Value, ChatError> {
        let begun = Instant::now();
        let mut failures = 0;
        loop {
            let has = self.state().has;
            let body = wire::body(&self.server.model, messages, max_tokens, self.server.seed, has);
            if let Some(answer) = self.recorded(&body)? {
                return Ok(answer);
            }
            match self.attempt(&body)? {
                Attempt::Answer(answer) => {
                    let ms = begun.elapsed().as_millis() as u64;
                    self.state().cassette.keep(&body, &answer, ms, failures + 1)?;
                    return Ok(answer);
                }
                Attempt::Complaint(complaint) => {
                    if !self.state().has.give_up(&complaint) {
                        return Err(self.stop(&format!("refuses the request: {complaint}")).into());
                    }
                }
                Attempt::Again(reason, _) if failures == RETRIES => return Err(ChatError::Endpoint(reason)),
                Attempt::Again(_, asked) => {
                    std::thread::sleep(self.wait(failures, asked));
                    failures += 1;
                }
            }
        }
    }

    /// A recorded answer. In playback a server's complaints were not recorded: what it was then not sent is tried, too.
    fn recorded(&self, body: &Value) -> Result<Option<Value>, Error> {
        let mut state = self.state();
        let found = state.cassette.answer(body);
        if found.is_err() && state.cassette.is_played() {
            for complaint in ["max_tokens", "temperature", "seed"] {
                let mut has = state.has;
                if !has.give_up(complaint) {
                    continue;
                }
                let messages: Vec<Message> = serde_json::from_value(body["messages"].clone()).unwrap_or_default();
                let limit = body["max_tokens"]
                    .as_u64()
                    .or(body["max_completion_tokens"].as_u64())
                    .unwrap_or(0);
                let other = wire::body(&self.server.model, &messages, limit as u32, self.server.seed, has);
                if let Ok(Some(answer)) = state.cassette.answer(&other) {
                    state.has = has;
                    return Ok(Some(answer));
                }
            }
        }
        found
    }

    fn wait(&self, failures: u32, asked: Option<Duration>) -> Duration {
        if let Some(asked) = asked {
            return asked.min(LONGEST_ASKED);
        }
        let jitter = self.state().jitter.random_range(0.8..1.2);
        (self.server.wait * LONGEST_WAIT.min(1 << failures.min(10))).mul_f64(jitter)
    }

    fn stop(&self, reason: &str) -> Error {
        Error::Server {
            reason: format!("{} {}", self.server.base, self.server.hide(reason)),
        }
    }

    fn attempt(&self, body: &Value) -> Result<Attempt, ChatError> {
        self.state().requests += 1;
        let mut request = self
            .agent
            .post(format!("{}/chat/completions", self.server.base))
            .header("Content-Type", "application/json")
            .header("Accept", "application/json");
        if let Some((key, _)) = &self.server.key {
            request = request.header("Authorization", format!("Bearer {}", key.reveal()));
        }
        let again = |reason: String| Ok(Attempt::Again(self.server.hide(&reason), None));
        let mut response = match request.send(body.to_string().as_bytes()) {
            Ok(response) => response,
            Err(error) => return again(error.to_string()),
        };
        let status = response.status().as_u16();
        let asked = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok())
            .and_then(retry_after);
        let bytes = match response.body_mut().with_config().limit(LARGEST).read_to_vec() {
            Ok(bytes) => bytes,
            Err(error) => return again(format!("the answer cannot be read: {error}")),
        };
        let text = self.server.hide(&String::from_utf8_lossy(&bytes));
        let shown: String = self.server.hide(&complaint(&text)).chars().take(300).collect();
        match status {
            // Once more behind the parser: a key may have been sent back with escapes.
            200 => match serde_json::from_str::<Value>(&text).map(|answer| self.server.hide_in(answer)) {
                Ok(answer) if wire::completion(&answer) != Err(Fault::NotUnderstood) => Ok(Attempt::Answer(answer)),
                Ok(_) => again("the answer is not that of a chat completion".to_owned()),
                Err(error) => again(format!("the answer is no JSON: {error}")),
            },
            400 => Ok(Attempt::Complaint(shown)),
            401 | 403 => Err(self.stop(&self.unauthorised(status)).into()),
            404 => Err(self
                .stop(&format!(
                    "answers 404 for the model {}: {shown}; check --base-url and --model",
                    self.server.model
                ))
                .into()),
            408 | 409 | 425 | 429 | 500 | 502 | 503 | 504 => {
                Ok(Attempt::Again(format!("status {status}: {shown}"), asked))
            }
            status => Err(self.stop(&format!("answers with status {status}: {shown}")).into()),
        }
    }

    fn unauthorised(&self, status: u16) -> String {
        match &self.server.key {
            Some((_, variable)) => {
                format!("does not accept the key of {variable} (status {status}); set {variable} to a valid one")
            }
            None => format!("asks for a key (status {status}); name the variable that holds it with --api-key-env"),
        }
    }
}

/// What an error's body says.
fn complaint(text: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let error = &value["error"];
    let message = error["message"]
        .as_str()
        .or(error.as_str())
        .or(value["message"].as_str());
    let parameter = error["param"]
        .as_str()
        .map(|name| format!(" ({name})"))
        .unwrap_or_default();
    format!("{}{parameter}", message.unwrap_or(text).trim())
}

/// How long a server asks to wait: seconds, or a date.
fn retry_after(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value.trim()).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        assert_eq!(retry_after(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after("soon"), None);
    }

    #[test]
    fn what_an_error_says_is_found() {
        assert_eq!(complaint(r#"{"error":{"message":"no","param":"seed"}}"#), "no (seed)");
        assert_eq!(complaint(r#"{"error":"no"}"#), "no");
        assert_eq!(complaint(r#"{"message":"no"}"#), "no");
        assert_eq!(complaint("<html>"), "<html>");
    }
}
