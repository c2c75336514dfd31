//! Arguments of the commands that may ask a language model behind a server.

use std::path::PathBuf;

use explain::agent::{Cassette, Client, Key, Mode, Server};

use crate::config::ConfigError;

/// Who explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ExplainerName {
    /// The explainers of this program: no server, no key
    Offline,
    /// A language model: one batch of exemplars, then its answer
    #[value(name = "lm:milan")]
    Milan,
    /// A language model that experiments
    #[value(name = "lm:aia")]
    Aia,
    /// A language model that experiments, with exemplars to begin with
    #[value(name = "lm:aia+init")]
    AiaInit,
}

impl ExplainerName {
    /// How a language model is asked, if one is.
    pub(crate) fn mode(self) -> Option<Mode> {
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
    /// Who explains
    #[arg(long, value_enum, default_value = "offline")]
    pub(crate) explainer: ExplainerName,
    /// Address of an OpenAI-compatible server, for example http://127.0.0.1:8000/v1
    #[arg(long)]
    base_url: Option<String>,
    /// Name of the language model on the server
    #[arg(long)]
    lm: Option<String>,
    /// Environment variable that holds the key, where the server wants one; the key itself is written nowhere
    #[arg(long)]
    api_key_env: Option<String>,
    /// Keep every exchange in this file; what it holds already is not asked again
    #[arg(long, conflicts_with = "replay")]
    record: Option<PathBuf>,
    /// Play the exchanges of this file back; nothing is asked
    #[arg(long)]
    replay: Option<PathBuf>,
    /// Tokens that all prompts and replies may take together
    #[arg(long)]
    max_tokens: Option<u64>,
    /// Allow plain HTTP to another machine
    #[arg(long)]
    allow_insecure: bool,
    /// Longest time of one exchange, in seconds
    #[arg(long, default_value_t = 120)]
    timeout: u64,
}

impl LanguageModelArgs {
    /// The client, where a language model is asked; `is_judge`: it judges, too.
    pub(crate) fn client(&self, is_judge: bool, seed: u64) -> anyhow::Result<Option<Client>> {
        if self.explainer.mode().is_none() && !is_judge {
            return Ok(None);
        }
        let refuse = |reason: &str| Err(ConfigError(reason.to_owned()));
        // Nothing is asked in playback; the name of the model belongs to the recorded requests.
        let base = match (&self.base_url, &self.replay) {
            (Some(base), _) => base.as_str(),
            (None, Some(_)) => "http://127.0.0.1/v1",
            (None, None) => {
                return Ok(refuse(
                    "a language model needs --base-url, for example http://127.0.0.1:8000/v1, or --replay",
                )?);
            }
        };
        let Some(model) = &self.lm else {
            return Ok(refuse("a language model needs --lm, its name on the server")?);
        };
        let mut server =
            Server::new(base, model, self.allow_insecure).map_err(|error| ConfigError(error.to_string()))?;
        server.seed = seed;
        server.most_tokens = self.max_tokens;
        server.timeout = std::time::Duration::from_secs(self.timeout.max(1));
        if let (Some(variable), None) = (&self.api_key_env, &self.replay) {
            let key = std::env::var(variable).ok().as_deref().and_then(Key::new);
            let Some(key) = key else {
                return Ok(refuse(&format!(
                    "--api-key-env: the environment variable {variable} is not set, or is empty"
                ))?);
            };
            server.key = Some((key, variable.clone()));
        }
        let cassette = match (&self.record, &self.replay) {
            (Some(path), _) => Cassette::record(path)?,
            (None, Some(path)) => Cassette::replay(path)?,
            (None, None) => Cassette::memory(),
        };
        Ok(Some(Client::new(server, cassette)))
    }
}

/// A server that failed for some functions; the others were finished. The program ends with exit code 3.
#[derive(Debug, thiserror::Error)]
#[error(
    "{failed} of {all} explanations are missing, since the server failed after all retries; the others are finished. Run the same \
         command again with --record to ask for the missing ones only"
)]
pub(crate) struct EndpointFailed {
    pub(crate) failed: usize,
    pub(crate) all: usize,
}
