//! A language model behind a server, as explainer and as judge.
//!
//! | module | owns |
//! | --- | --- |
//! | `server` | its address, its key, the limits of what is asked |
//! | `wire` | requests and answers of OpenAI-compatible chat completions |
//! | `client` | retries, capabilities, tokens that were spent |
//! | `cassette` | every exchange in a file, and playing it back |
//! | `grammar` | what a reply says: a call, an answer, or neither |
//! | `prompt` | what the model is told |
//! | `aia` | the loop of the Automated Interpretability Agent, and the exchange of one batch like MILAN's |
//! | `unit_tests` | the judge of unit tests |
//! | `detection` | the judge of windows of text |
//!
//! What a function gives back is shown to the model and never read as its reply. Replies are data; none is executed.

mod aia;
mod cassette;
mod client;
mod detection;
mod grammar;
mod prompt;
mod server;
mod unit_tests;
mod wire;

pub use aia::{Agent, Mode};
pub use cassette::Cassette;
pub use client::{ChatError, Client, Reply};
pub use detection::detect;
pub use grammar::{Answer, Turn, choice, flags, parse};
pub use server::{Key, Server};
pub use unit_tests::LanguageJudge;
pub use wire::Message;
