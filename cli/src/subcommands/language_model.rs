//! Arguments of the commands that may ask a language model behind a server.

use std::path::PathBuf;

use explain::agent::Mode;
use lab::language_model::LanguageModel;

/// Who explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ExplainerName {
    /// The explainers of this program: no server, no key
    Offline,
    /// A language model that sees one batch of exemplars and answers
    #[value(name = "lm:milan")]
    Milan,
    /// A language model that experiments
    #[value(name = "lm:aia")]
    Aia,
    /// A language model that experiments, starting from exemplars
    #[value(name = "lm:aia+init")]
    AiaInit,
}

impl ExplainerName {
    /// How a language model is asked, if one is.
    fn mode(self) -> Option<Mode> {
        match self {
            Self::Offline => None,
            Self::Milan => Some(Mode::Milan),
            Self::Aia => Some(Mode::Aia),
            Self::AiaInit => Some(Mode::AiaInit),
        }
    }
}

/// The server and what may be asked of it.
#[derive(Debug, clap::Args)]
pub(crate) struct LanguageModelArgs {
    /// Explainer to use
    #[arg(long, value_enum, default_value = "offline")]
    explainer: ExplainerName,
    /// Address of an OpenAI-compatible server, for example http://127.0.0.1:8000/v1
    #[arg(long)]
    base_url: Option<String>,
    /// Name of the language model on the server
    #[arg(long)]
    lm: Option<String>,
    /// Environment variable that holds the API key, if the server needs one; the key itself is never written
    #[arg(long)]
    api_key_env: Option<String>,
    /// Record every exchange in this file; requests that it already holds are not sent again
    #[arg(long, conflicts_with = "replay")]
    record: Option<PathBuf>,
    /// Replay the exchanges of this file; no requests are sent
    #[arg(long)]
    replay: Option<PathBuf>,
    /// Maximum number of tokens of all prompts and replies together
    #[arg(long)]
    max_tokens: Option<u64>,
    /// Allow plain HTTP to another machine
    #[arg(long)]
    allow_insecure: bool,
    /// Timeout of one exchange, in seconds
    #[arg(long, default_value_t = 120)]
    timeout: u64,
}

impl LanguageModelArgs {
    pub(crate) fn settings(self) -> LanguageModel {
        LanguageModel {
            mode: self.explainer.mode(),
            base_url: self.base_url,
            name: self.lm,
            api_key_env: self.api_key_env,
            record: self.record,
            replay: self.replay,
            max_tokens: self.max_tokens,
            allow_insecure: self.allow_insecure,
            timeout: self.timeout,
        }
    }
}
