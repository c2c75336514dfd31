//! A language model behind a server, which may be asked to explain and to judge.

use std::path::PathBuf;

use explain::agent::{Cassette, Client, Key, Mode, Server};

use crate::{ConfigError, Result};

/// The server and what may be asked of it.
#[derive(Debug, Clone, Default)]
pub struct LanguageModel {
    /// How the language model explains; none where the explainers of this project do.
    pub mode: Option<Mode>,
    /// Address of an OpenAI-compatible server, for example http://127.0.0.1:8000/v1.
    pub base_url: Option<String>,
    /// Name of the language model on the server.
    pub name: Option<String>,
    /// Environment variable that holds the key, where the server wants one.
    pub api_key_env: Option<String>,
    /// File that keeps every exchange; what it holds already is not asked again.
    pub record: Option<PathBuf>,
    /// File whose exchanges are played back; nothing is asked.
    pub replay: Option<PathBuf>,
    /// Tokens that all prompts and replies may take together.
    pub max_tokens: Option<u64>,
    /// Allow plain HTTP to another machine.
    pub allow_insecure: bool,
    /// Longest time of one exchange, in seconds.
    pub timeout: u64,
}

impl LanguageModel {
    /// The client, where a language model is asked; `is_judge`: it judges, too.
    pub(crate) fn client(&self, is_judge: bool, seed: u64) -> Result<Option<Client>> {
        if self.mode.is_none() && !is_judge {
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
        let Some(model) = &self.name else {
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
pub struct EndpointFailed {
    /// Explanations that are missing.
    pub failed: usize,
    /// Explanations that were asked for.
    pub all: usize,
}
