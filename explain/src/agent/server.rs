//! A server and what is asked of it at most.

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use ureq::http::Uri;

use crate::Error;

/// A key, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// A key; `None` for an empty one.
    pub fn new(key: &str) -> Option<Self> {
        let key = key.trim();
        (!key.is_empty()).then(|| Self(key.to_owned()))
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// `text` without the key: servers may send back what they were sent.
    pub fn hide(&self, text: &str) -> String {
        text.replace(&self.0, "[key]")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key")
    }
}

/// An OpenAI-compatible server.
#[derive(Debug, Clone)]
pub struct Server {
    pub(super) base: String,
    pub(super) is_loopback: bool,
    /// The model that is asked for.
    pub model: String,
    /// The key, and the environment variable that it came from.
    pub key: Option<(Key, String)>,
    /// Seed that the server is sent, and of the jitter between retries.
    pub seed: u64,
    /// Longest time that one exchange may take. Default 120 s.
    pub timeout: Duration,
    /// What the waits between retries are multiples of. Default 1 s.
    pub wait: Duration,
    /// Tokens that all replies and prompts may take together; none: as many as it takes.
    pub most_tokens: Option<u64>,
}

impl Server {
    /// A server at `base`, for example `http://127.0.0.1:8000/v1`; nothing is added to it but the name of what is asked.
    ///
    /// # Errors
    ///
    /// An address that is none; plain HTTP to another machine, unless `allow_insecure`: what is sent, the key too, could be read on
    /// the way.
    pub fn new(base: &str, model: &str, allow_insecure: bool) -> Result<Self, Error> {
        let refuse = |reason: &str| {
            Err(Error::Server {
                reason: format!("--base-url {base}: {reason}"),
            })
        };
        let base_url = base.strip_suffix('/').unwrap_or(base);
        let Ok(uri) = base_url.parse::<Uri>() else {
            return refuse("no address");
        };
        let Some(host) = uri.host() else {
            return refuse("names no host; for example http://127.0.0.1:8000/v1");
        };
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return refuse("holds a user; name the variable of a key with --api-key-env instead");
        }
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_loopback = host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_loopback || allow_insecure => {}
            Some("http") => {
                return refuse("plain HTTP to another machine can be read on the way; use https, or --allow-insecure");
            }
            _ => return refuse("must begin with http:// or https://"),
        }
        Ok(Self {
            base: base_url.to_owned(),
            is_loopback,
            model: model.to_owned(),
            key: None,
            seed: 0,
            timeout: Duration::from_secs(120),
            wait: Duration::from_secs(1),
            most_tokens: None,
        })
    }

    /// `text` without the key.
    pub fn hide(&self, text: &str) -> String {
        match &self.key {
            Some((key, _)) => key.hide(text),
            None => text.to_owned(),
        }
    }

    /// A JSON value without the key in any of its texts or names.
    pub(super) fn hide_in(&self, value: Value) -> Value {
        match value {
            _ if self.key.is_none() => value,
            Value::String(text) => Value::String(self.hide(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.hide_in(item)).collect(),
            Value::Object(map) => map
                .into_iter()
                .map(|(name, item)| (self.hide(&name), self.hide_in(item)))
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine() {
        for good in [
            "http://127.0.0.1:8000/v1",
            "http://localhost/v1/",
            "http://[::1]:9/v1",
            "https://api.example.com/v1",
        ] {
            assert!(Server::new(good, "m", false).is_ok(), "{good}");
        }
        for bad in [
            "http://api.example.com/v1",
            "http://127.0.0.1.example.com/v1",
            "ftp://127.0.0.1",
            "127.0.0.1",
            "",
            "https://a:b@c/v1",
        ] {
            assert!(Server::new(bad, "m", false).is_err(), "{bad}");
        }
        assert!(Server::new("http://api.example.com/v1", "m", true).is_ok());
    }

    #[test]
    fn a_key_is_not_shown() {
        let key = Key::new(" sk-secret\n").unwrap();
        assert!(!format!("{key:?}").contains("secret"));
        assert_eq!(key.hide("you sent sk-secret"), "you sent [key]");
        assert_eq!(Key::new("  "), None);
    }
}
