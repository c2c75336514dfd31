//! Where the hub is, where its files are kept, and who asks: the environment variables of Hugging Face's libraries.
//!
//! | variable | meaning | default |
//! | --- | --- | --- |
//! | `HF_ENDPOINT` | address of the hub | `https://huggingface.co` |
//! | `HF_HUB_CACHE` | folder of the cache | `$HF_HOME/hub` |
//! | `HF_HOME` | folder of Hugging Face's libraries | `$XDG_CACHE_HOME/huggingface`, or `~/.cache/huggingface` |
//! | `HF_TOKEN` | token | the file `$HF_TOKEN_PATH`, or `$HF_HOME/token` |
//! | `HF_HUB_DOWNLOAD_TIMEOUT` | seconds without an answer, or with fewer than 1,000 bytes a second of a file, after which a pull ends | 60 |
//! | `HF_HUB_OFFLINE` | `1`, `true`, `yes` or `on`: nothing is asked of the network | off |
//!
//! A variable that is empty counts as not set.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::http::Uri;

use crate::Error;

/// The slowest transfer that is waited for, in bytes a second: a third of what a modem did. A file of 500 MB takes six days so.
pub(crate) const SLOWEST: f64 = 1000.0;

/// The hub, the cache, and the token of a user.
#[derive(Debug, Clone)]
pub struct Hub {
    endpoint: String,
    cache: PathBuf,
    token: Option<Token>,
    offline: bool,
    patience: Duration,
}

/// A credential: nothing prints it.
#[derive(Clone)]
pub(crate) struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(..)")
    }
}

impl Token {
    /// The header that presents it.
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl Hub {
    /// What the environment says.
    ///
    /// # Errors
    ///
    /// A variable that cannot be meant; its value is not repeated where it may hold a credential.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_variables(&|name| std::env::var_os(name))
    }

    fn from_variables(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let folder = |name: &str| Some(at_home(PathBuf::from(variable(name)?)));
        let home = match (folder("HF_HOME"), folder("XDG_CACHE_HOME")) {
            (Some(home), _) => home,
            (None, Some(caches)) => caches.join("huggingface"),
            (None, None) => std::env::home_dir()
                .ok_or_else(|| setting("HF_HOME", "is needed, since this user has no home folder"))?
                .join(".cache/huggingface"),
        };
        let text = |name: &'static str| match variable(name).map(OsString::into_string) {
            Some(Err(_)) => Err(setting(name, "is not UTF-8")),
            Some(Ok(text)) => Ok(Some(text)),
            None => Ok(None),
        };
        let endpoint = text("HF_ENDPOINT")?.unwrap_or_else(|| "https://huggingface.co".to_owned());
        let token = match text("HF_TOKEN")? {
            Some(token) => Some(token),
            None => stored_token(&folder("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token")))?,
        };
        let offline = text("HF_HUB_OFFLINE")?
            .is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str()));
        let patience = match text("HF_HUB_DOWNLOAD_TIMEOUT")? {
            None => 60,
            Some(seconds) => seconds
                .parse()
                .ok()
                .filter(|seconds| (1..=86_400).contains(seconds))
                .ok_or_else(|| setting("HF_HUB_DOWNLOAD_TIMEOUT", "is no number of seconds from 1 to 86400"))?,
        };
        Ok(Self {
            endpoint: checked_endpoint(&endpoint)?,
            cache: folder("HF_HUB_CACHE").unwrap_or_else(|| home.join("hub")),
            token: token.map(|token| checked_token(&token)).transpose()?.flatten(),
            offline,
            patience: Duration::from_secs(patience),
        })
    }

    /// The address of the hub, without a slash at its end.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The folder of the cache.
    pub fn cache(&self) -> &Path {
        &self.cache
    }

    pub(crate) fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// How long a host may be silent or slow.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Whether the network is not to be used.
    pub(crate) fn offline(&self) -> bool {
        self.offline
    }
}

fn setting(variable: &'static str, reason: &'static str) -> Error {
    Error::Setting { variable, reason }
}

/// A path whose first part may be `~`, which no shell has replaced in quotes or in a container's settings.
fn at_home(path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

fn checked_endpoint(endpoint: &str) -> Result<String, Error> {
    let endpoint = endpoint.trim_end_matches('/');
    let uri: Uri = endpoint.parse().map_err(|_| {
        setting(
            "HF_ENDPOINT",
            "is no address; expected something like https://huggingface.co",
        )
    })?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err(setting(
            "HF_ENDPOINT",
            "holds a user name; give the credential in HF_TOKEN",
        ));
    }
    if !matches!(uri.scheme_str(), Some("http" | "https")) || authority.is_empty() || uri.query().is_some() {
        let reason = "is no address of a hub; expected something like https://huggingface.co";
        return Err(setting("HF_ENDPOINT", reason));
    }
    Ok(endpoint.to_owned())
}

/// The token of a login, if there was one.
fn stored_token(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(path) {
        Ok(token) => Ok(Some(token)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(artifacts::Error::Read {
            path: path.to_owned(),
            cause,
        }
        .into()),
    }
}

fn checked_token(token: &str) -> Result<Option<Token>, Error> {
    let token = token.trim();
    if !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(setting(
            "HF_TOKEN",
            "(or the file of the token) holds characters that no token has",
        ));
    }
    Ok((!token.is_empty()).then(|| Token(token.to_owned())))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn hub(variables: &[(&str, &str)]) -> Result<Hub, Error> {
        let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
        Hub::from_variables(&|name| variables.get(name).map(OsString::from))
    }

    #[test]
    fn the_cache_is_where_the_variables_say() {
        for (variables, expected) in [
            (vec![("HF_HOME", "/h")], "/h/hub"),
            (vec![("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")], "/c"),
            (vec![("XDG_CACHE_HOME", "/x"), ("HF_HOME", "")], "/x/huggingface/hub"),
        ] {
            assert_eq!(hub(&variables).unwrap().cache(), Path::new(expected));
        }
        let home = std::env::home_dir().unwrap();
        assert_eq!(hub(&[]).unwrap().cache(), home.join(".cache/huggingface/hub"));
        assert_eq!(hub(&[("HF_HOME", "~/h")]).unwrap().cache(), home.join("h/hub"));
    }

    #[test]
    fn the_token_is_found_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        let bearer = |variables: &[(&str, &str)]| {
            let hub = hub(variables).unwrap();
            assert!(!format!("{hub:?}").contains("secret"));
            hub.token().map(Token::bearer)
        };
        assert_eq!(bearer(&[("HF_HOME", home)]), None);
        std::fs::write(folder.path().join("token"), "secret-of-login\n").unwrap();
        assert_eq!(bearer(&[("HF_HOME", home)]).unwrap(), "Bearer secret-of-login");
        assert_eq!(
            bearer(&[("HF_HOME", home), ("HF_TOKEN", "secret")]).unwrap(),
            "Bearer secret"
        );
        let other = folder.path().join("other");
        std::fs::write(&other, "secret-elsewhere").unwrap();
        let path = ("HF_TOKEN_PATH", other.to_str().unwrap());
        assert_eq!(bearer(&[("HF_HOME", home), path]).unwrap(), "Bearer secret-elsewhere");
        for wrong in ["secret\r\nX-Header: 1", "secret\u{e9}"] {
            let error = hub(&[("HF_HOME", home), ("HF_TOKEN", wrong)]).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
    }

    #[test]
    fn an_address_that_is_none_is_refused_and_a_password_in_it_not_repeated() {
        for right in [
            "https://huggingface.co/",
            "http://127.0.0.1:8080",
            "https://art.example/api/hf",
        ] {
            let hub = hub(&[("HF_ENDPOINT", right)]).unwrap();
            assert_eq!(hub.endpoint(), right.trim_end_matches('/'));
        }
        for wrong in [
            "huggingface.co",
            "ftp://x",
            "https://",
            "https://me:secret@x",
            "https://x/?token=secret",
            "a b",
        ] {
            let error = hub(&[("HF_ENDPOINT", wrong)]).unwrap_err();
            let message = format!("{error} {error:?}");
            assert!(
                message.contains("HF_ENDPOINT") && !message.contains("secret"),
                "{message}"
            );
        }
    }

    #[test]
    fn a_time_that_is_none_is_refused() {
        let patience = |value| hub(&[("HF_HUB_DOWNLOAD_TIMEOUT", value)]).map(|hub| hub.patience().as_secs());
        assert_eq!((patience("").unwrap(), patience("7").unwrap()), (60, 7));
        for wrong in ["0", "-1", "1.5", "soon", "86401"] {
            let error = patience(wrong).unwrap_err().to_string();
            assert!(error.starts_with("HF_HUB_DOWNLOAD_TIMEOUT "), "{error}");
        }
    }

    #[test]
    fn offline_is_what_the_other_libraries_take_for_it() {
        for (value, expected) in [
            ("1", true),
            ("True", true),
            ("on", true),
            ("0", false),
            ("", false),
            ("no", false),
        ] {
            assert_eq!(
                hub(&[("HF_HUB_OFFLINE", value)]).unwrap().offline(),
                expected,
                "{value}"
            );
        }
    }
}
