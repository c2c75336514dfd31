//! What can go wrong with files that are elsewhere.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};

use crate::Location;
use crate::location::Scheme;
use crate::secrets::without_secrets;

/// An error of this crate; each prints as one line that says what, where and what to do, without credentials.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Text that begins like a location and is none.
    #[error("{location} {reason}")]
    BadLocation {
        /// What can be repeated of it.
        location: String,
        /// What is wrong.
        reason: String,
    },
    /// There is no such bucket.
    #[error("{location}: there is no such bucket; check its name, or create it")]
    NoBucket {
        /// The bucket.
        location: Location,
    },
    /// No credentials were found.
    #[error("{location}: no credentials were found; {}", credentials(*.scheme))]
    NoCredentials {
        /// What was asked for.
        location: Location,
        /// Its kind of store.
        scheme: Scheme,
    },
    /// The store does not allow it.
    #[error(
        "{location}: the store refuses it ({reason}); check the credentials in the environment and what they allow"
    )]
    Refused {
        /// What was asked for.
        location: Location,
        /// The store's word.
        reason: String,
    },
    /// Nobody answers.
    #[error("{location}: the store cannot be reached ({reason}); check the network and the endpoint, then run again")]
    Unreachable {
        /// What was asked for.
        location: Location,
        /// Why.
        reason: String,
    },
    /// Something else that the store, or its client, says.
    #[error("{location}: {reason}")]
    Store {
        /// What was asked for.
        location: Location,
        /// What it says.
        reason: String,
    },
    /// Bytes that came are not those that were put.
    #[error(
        "{location}: what came is not what was put there ({reason}); run again, and if it stays so put it there anew"
    )]
    Damaged {
        /// The object.
        location: Location,
        /// How they differ.
        reason: String,
    },
    /// Another process has put something else there.
    #[error(
        "{location}: another process has put other bytes there meanwhile, which stay; look whether two different jobs write to one \
         place"
    )]
    Conflict {
        /// The object.
        location: Location,
    },
    /// A web server cannot be written to.
    #[error("{location} is read only; name a folder here or at s3://, gs:// or az:// to write to")]
    ReadOnly {
        /// Where something was to be written.
        location: Location,
    },
    /// More than the cache may hold.
    #[error(
        "{location} has {needed} MB, the cache may hold {bound} MB; allow more with SAELAB_CACHE_GB, or name less than the whole folder"
    )]
    TooLarge {
        /// What is to be read.
        location: Location,
        /// Its size in MB.
        needed: u64,
        /// The bound in MB.
        bound: u64,
    },
    /// An object whose name no local file can have.
    #[error("{location} cannot be a local file: {reason}; give it another name")]
    Name {
        /// The object.
        location: Location,
        /// Why.
        reason: String,
    },
    /// A setting of the environment.
    #[error("{variable}: {reason}")]
    Setting {
        /// The variable.
        variable: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The local copy.
    #[error("the local copy {}: {cause}; check the disk, or name another folder in SAELAB_CACHE", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// The cause; part of the message, so not given again as its source.
        cause: io::Error,
    },
}

/// What credentials a kind of store takes.
fn credentials(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::S3 => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, run where an instance or a web identity has a role, or set \
             AWS_SKIP_SIGNATURE=true for a public bucket"
        }
        Scheme::Gs => {
            "set GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT, or run where an instance has a role"
        }
        Scheme::Az => "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or what else Azure's clients take",
        Scheme::Http | Scheme::Https => "the server asks for them, and none can be given",
    }
}

/// Parts of the codes with which stores refuse a request.
const REFUSALS: [&str; 6] = [
    "AccessDenied",
    "AccessKey",
    "Authentication",
    "Authorization",
    "Signature",
    "Token",
];

impl Error {
    pub(crate) fn cache(path: &Path, cause: io::Error) -> Self {
        let path = path.to_owned();
        Self::Cache { path, cause }
    }

    /// What an error of the client means.
    pub(crate) fn of_store(location: &Location, error: &object_store::Error) -> Self {
        let (location, text) = (location.clone(), with_sources(error));
        let code = between(&text, "<Code>", "</Code>");
        if code == Some("NoSuchBucket") || text.contains("ContainerNotFound") {
            let location = location.of_bucket();
            return Self::NoBucket { location };
        }
        // Asked last, where no other credentials were found.
        if [
            "169.254.",
            "metadata.google.internal",
            "/latest/api/token",
            "Account must be specified",
        ]
        .iter()
        .any(|part| text.contains(part))
        {
            let scheme = location.scheme;
            return Self::NoCredentials { location, scheme };
        }
        let said = match (code, between(&text, "<Message>", "</Message>")) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.to_owned(),
            (None, _) => text.clone(),
        };
        let reason = without_secrets(&said);
        match error {
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                Self::Refused { location, reason }
            }
            _ if code.is_some_and(|code| REFUSALS.iter().any(|part| code.contains(part))) => {
                Self::Refused { location, reason }
            }
            object_store::Error::Generic { .. } if is_transport(&text) => {
                let reason = without_secrets(&innermost(error));
                Self::Unreachable { location, reason }
            }
            _ => Self::Store { location, reason },
        }
    }

    /// Whether the same may succeed later without anybody's doing.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Store { .. } | Self::Damaged { .. }
        )
    }
}

fn is_transport(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let words = [
        "error sending request",
        "http error",
        "connect",
        "dns",
        "timed out",
        "reset by peer",
        "connection closed",
    ];
    words.iter().any(|word| text.contains(word)) && !text.contains("non-2xx")
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let rest = text.split_once(start)?.1;
    Some(rest.split_once(end)?.0)
}

/// An error and its sources, as far as they are not said already.
fn with_sources(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

/// The last source of an error: "Connection refused".
fn innermost(error: &object_store::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
