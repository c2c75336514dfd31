//! What is asked of the hub over HTTP, and what its answers mean.
//!
//! Redirects are followed here and not by the HTTP library, so that the token provably stays with the hub, and so that an
//! answer to "what is this file" ends at the hub: its storage host knows nothing of commits and hashes.

use std::time::Duration;

use lm::shards::WEIGHTS;
use ureq::http::{Response, StatusCode, Uri};
use ureq::{Agent, Body};

use crate::Error;
use crate::settings::{Hub, Token};
use crate::{HubModel, TOKENIZER_FILE};

/// More than any hub needs.
const MAX_REDIRECTS: usize = 10;

/// The bytes of a file, as the hub names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// SHA-256 of the bytes, for files in large file storage.
    Sha256(String),
    /// Git's SHA-1 of the bytes behind their length, for the others.
    GitBlob(String),
}

impl Checksum {
    /// The hash in an entity tag, if it holds one.
    pub(crate) fn from_etag(etag: &str) -> Option<Self> {
        let hash = etag.trim().trim_start_matches("W/").trim_matches('"');
        let hexadecimal = hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match hash.len() {
            64 if hexadecimal => Some(Self::Sha256(hash.to_owned())),
            40 if hexadecimal => Some(Self::GitBlob(hash.to_owned())),
            _ => None,
        }
    }

    /// In hexadecimal digits: the name of the blob.
    pub(crate) fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::GitBlob(hex) => hex,
        }
    }
}

/// What the hub says of a file.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    /// Its name.
    pub(crate) file: String,
    /// Commit of the revision, 40 hexadecimal digits.
    pub(crate) commit: String,
    pub(crate) checksum: Checksum,
    /// In bytes.
    pub(crate) size: u64,
}

/// Whether this is the full name of a commit.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The connection to one hub.
pub(crate) struct Client<'a> {
    agent: Agent,
    endpoint: &'a str,
    token: Option<&'a Token>,
}

impl<'a> Client<'a> {
    pub(crate) fn new(hub: &'a Hub) -> Self {
        let config = Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            // Between two pieces of a file; a whole one may take hours.
            .timeout_per_read(Some(hub.patience()))
            .user_agent(concat!("saelab/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            agent: config.into(),
            endpoint: hub.endpoint(),
            token: hub.token(),
        }
    }

    /// What the hub knows of a file; `None` when the model does not have it.
    pub(crate) fn head(&self, model: &HubModel, revision: &str, file: &str) -> Result<Option<Remote>, Error> {
        let (mut commit, mut linked, mut size) = (None, None, None);
        let mut address = self.address(model, revision, file);
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(model, true, &address, 0)?;
            let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
            commit = header("x-repo-commit").or(commit);
            linked = header("x-linked-etag").or(linked);
            size = header("x-linked-size").or(size);
            if response.status().is_redirection() {
                let next = self.next(model, &address, &response)?;
                if self.is_hub(&next) {
                    address = next;
                    continue;
                }
            } else if response.status() == StatusCode::NOT_FOUND {
                return match header("x-error-code").as_deref() {
                    Some("RepoNotFound") => Err(self.unknown(model, "no model of that name that this user may see")),
                    Some("RevisionNotFound") => Err(self.unknown(model, "no such revision of it")),
                    _ => Ok(None),
                };
            } else if response.status().is_success() {
                linked = linked.or(header("etag"));
                size = size.or(header("content-length"));
            } else {
                return Err(self.refused(model, &address, response.status()));
            }
            let commit = commit.filter(|commit| is_commit(commit));
            let checksum = linked.as_deref().and_then(Checksum::from_etag);
            let size = size.and_then(|size| size.parse().ok());
            return match (commit, checksum, size) {
                (Some(commit), Some(checksum), Some(size)) => Ok(Some(Remote {
                    file: file.to_owned(),
                    commit,
                    checksum,
                    size,
                })),
                (None, _, _) => Err(self.odd(model, "does not say of which commit its files are")),
                (_, None, _) => Err(self.odd(model, "gives no hash of a file, so that it could not be checked")),
                (_, _, None) => Err(self.odd(model, "does not say how long a file is")),
            };
        }
        Err(self.odd(model, "sends us on and on"))
    }

    /// The bytes of a file from `start` on, and where they begin: at `start`, or at 0 where that is all the host can do.
    pub(crate) fn get(&self, model: &HubModel, remote: &Remote, start: u64) -> Result<(u64, Body), Error> {
        let mut address = self.address(model, &remote.commit, &remote.file);
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(model, false, &address, start)?;
            match response.status() {
                status if status.is_redirection() => address = self.next(model, &address, &response)?,
                StatusCode::PARTIAL_CONTENT => {
                    let range = response
                        .headers()
                        .get("content-range")
                        .and_then(|range| range.to_str().ok());
                    return match range.is_some_and(|range| range.starts_with(&format!("bytes {start}-"))) {
                        true => Ok((start, response.into_body())),
                        false => Err(self.odd(model, "sends another part of a file than was asked for")),
                    };
                }
                StatusCode::OK => return Ok((0, response.into_body())),
                StatusCode::NOT_FOUND => return Err(self.missing(model, &remote.file)),
                status => return Err(self.refused(model, &address, status)),
            }
        }
        Err(self.odd(model, "sends us on and on"))
    }

    fn address(&self, model: &HubModel, revision: &str, file: &str) -> String {
        let revision = revision.replace('/', "%2F");
        format!("{}/{}/resolve/{revision}/{file}", self.endpoint, model.name)
    }

    /// One request; the token goes with it to the hub alone.
    fn send(&self, model: &HubModel, head: bool, address: &str, start: u64) -> Result<Response<Body>, Error> {
        let mut request = match head {
            true => self.agent.head(address),
            false => self.agent.get(address),
        };
        // A packed answer would have another length.
        request = request.header("accept-encoding", "identity");
        if let Some(token) = self.token.filter(|_| self.is_hub(address)) {
            request = request.header("authorization", token.bearer());
        }
        if start > 0 {
            request = request.header("range", format!("bytes={start}-"));
        }
        request.call().map_err(|error| self.unreached(model, address, &error))
    }

    /// Where an answer sends us.
    fn next(&self, model: &HubModel, from: &str, response: &Response<Body>) -> Result<String, Error> {
        let location = response
            .headers()
            .get("location")
            .and_then(|location| location.to_str().ok());
        let uri = location.and_then(|location| location.parse::<Uri>().ok());
        match (location, uri.as_ref().map(|uri| (uri.scheme_str(), uri.host()))) {
            (Some(location), Some((Some("http" | "https"), Some(_)))) => Ok(location.to_owned()),
            (Some(location), Some((None, None))) if location.starts_with('/') => match origin(from) {
                Some((scheme, authority)) => Ok(format!("{scheme}://{authority}{location}")),
                None => Err(self.odd(model, "sends us to no address")),
            },
            _ => Err(self.odd(model, "sends us to no address")),
        }
    }

    /// Whether an address is the hub's own.
    fn is_hub(&self, address: &str) -> bool {
        let hub = origin(self.endpoint);
        hub.is_some() && hub == origin(address)
    }

    /// The file that the model does not have.
    pub(crate) fn missing(&self, model: &HubModel, file: &str) -> Error {
        let advice = match file {
            WEIGHTS => "are its weights safetensors, whole or with an index of shards? No other form is read",
            TOKENIZER_FILE => "nor vocab.json with merges.txt; no other form of a tokenizer is read",
            _ => "is it a language model in Hugging Face layout?",
        };
        let reason = format!("has no file {file} of this model (404); {advice}");
        self.error(model, self.endpoint, reason)
    }

    /// An answer that a hub does not give.
    pub(crate) fn odd(&self, model: &HubModel, what: &str) -> Error {
        self.error(model, self.endpoint, format!("{what}; check HF_ENDPOINT"))
    }

    fn unknown(&self, model: &HubModel, what: &str) -> Error {
        let reason = format!("knows {what} (404); check it, or set HF_TOKEN if it is private");
        self.error(model, self.endpoint, reason)
    }

    /// A status that is no answer. What else the answer says is not repeated: it could hold the request.
    fn refused(&self, model: &HubModel, address: &str, status: StatusCode) -> Error {
        let advice = match (status.as_u16(), self.token) {
            _ if !self.is_hub(address) => "the hub keeps the file there: run again later, what has come is kept",
            (401, None) => "there is no such model, or it is private: check the name, or set HF_TOKEN",
            (401, Some(_)) => "the token is refused, or there is no such model: check HF_TOKEN and the name",
            (403, _) => "its terms must be accepted on its page, by the owner of HF_TOKEN",
            (429, _) => "too many requests: wait some minutes, then run again",
            (500.., _) => "the fault is there: run again later, what has come is kept",
            _ => "that is no answer: check HF_ENDPOINT",
        };
        self.error(model, address, format!("answers {}; {advice}", status.as_u16()))
    }

    /// No answer at all. Of the library's error only what cannot hold an address is repeated.
    fn unreached(&self, model: &HubModel, address: &str, error: &ureq::Error) -> Error {
        let cause = match error {
            ureq::Error::Io(error) => error.to_string(),
            ureq::Error::Timeout(_) => "no answer in time".to_owned(),
            ureq::Error::HostNotFound => "no such host".to_owned(),
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) => "its certificate is not accepted".to_owned(),
            ureq::Error::InvalidProxyUrl | ureq::Error::ConnectProxyFailed(_) => "the proxy refuses".to_owned(),
            _ => "no HTTP answer".to_owned(),
        };
        let reason = format!(
            "cannot be reached ({cause}); check the network and HF_ENDPOINT, or set HF_HUB_OFFLINE=1 to use what the cache holds"
        );
        self.error(model, address, reason)
    }

    fn error(&self, model: &HubModel, address: &str, reason: String) -> Error {
        let host = origin(address).map_or_else(|| "the hub".to_owned(), |(_, authority)| authority);
        Error::Answer {
            model: model.to_string(),
            host,
            reason,
        }
    }
}

/// Scheme, and host with port; a user name is not part of it.
fn origin(address: &str) -> Option<(String, String)> {
    let uri: Uri = address.parse().ok()?;
    let scheme = uri.scheme_str()?.to_lowercase();
    let default = if scheme == "https" { 443 } else { 80 };
    let host = uri.host()?.to_lowercase();
    match uri.port_u16().unwrap_or(default) {
        port if port == default => Some((scheme, host)),
        port => Some((scheme, format!("{host}:{port}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_scheme_host_and_port_are_the_hub() {
        let same = |a, b| origin(a) == origin(b);
        assert!(same("https://huggingface.co", "https://HUGGINGFACE.co:443/gpt2?x=1"));
        for other in [
            "http://huggingface.co/x",
            "https://huggingface.co:8443/x",
            "https://huggingface.co.evil.example/x",
            "https://cdn.huggingface.co/x",
            "https://huggingface.co@evil.example/x",
        ] {
            assert!(!same("https://huggingface.co", other), "{other}");
        }
        assert_eq!(origin("https://me:secret@x/y").unwrap().1, "x");
    }

    #[test]
    fn hashes_are_taken_from_entity_tags_and_nothing_else_is() {
        let git = "10c66461e4c109db5a2196bff4bb59be30396ed8";
        let large = "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707";
        assert_eq!(
            Checksum::from_etag(&format!("\"{git}\"")),
            Some(Checksum::GitBlob(git.to_owned()))
        );
        assert_eq!(
            Checksum::from_etag(&format!("W/\"{git}\"")),
            Some(Checksum::GitBlob(git.to_owned()))
        );
        assert_eq!(Checksum::from_etag(large), Some(Checksum::Sha256(large.to_owned())));
        for none in [
            "",
            "\"\"",
            "../../etc/passwd",
            &"g".repeat(40),
            &"A".repeat(64),
            &git[1..],
            "W/\"..\"",
        ] {
            assert_eq!(Checksum::from_etag(none), None, "{none}");
        }
    }
}
