//! Names of files and folders that are not on this machine.

use std::fmt;

use crate::Error;

/// How a store is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum Scheme {
    /// Amazon S3, and what speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gs,
    /// Azure Blob Storage.
    Az,
    /// A web server, without encryption. It is read only.
    Http,
    /// A web server. It is read only.
    Https,
}

impl Scheme {
    /// Whether nothing can be written there.
    pub fn is_read_only(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }
}

/// A file or folder in a bucket: `s3://BUCKET/KEY`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// How its store is spoken to.
    pub scheme: Scheme,
    /// The bucket, the container (`az`) or the host (`https`).
    pub bucket: String,
    /// The name in the bucket, without a slash at either end; empty for the bucket itself. The last parts of it may be a pattern
    /// (`corpus/*.jsonl`).
    pub key: String,
}

impl Location {
    /// The location that `text` names; `None` where `text` is the path of a local file.
    ///
    /// # Errors
    ///
    /// A location without a bucket, with a user name, a password or a query (credentials would stand in files and messages), or with parts that
    /// no file can have.
    pub fn parse(text: &str) -> Option<Result<Self, Error>> {
        let (scheme, rest) = text.split_once("://")?;
        Some(Self::parse_rest(scheme.parse().ok()?, rest))
    }

    fn parse_rest(scheme: Scheme, rest: &str) -> Result<Self, Error> {
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let of_name =
            |c: char| c.is_ascii_alphanumeric() || "-._".contains(c) || scheme.is_read_only() && ":[]".contains(c);
        let is_name = !bucket.is_empty() && bucket.chars().all(of_name) && !bucket.starts_with('.');
        let bad = |reason: &str| Error::BadLocation {
            // What stands in place of a bucket may be a secret, so it is not repeated.
            location: format!("{scheme}://{}", if is_name { bucket } else { "..." }),
            reason: reason.to_owned(),
        };
        if rest.split('/').take(2).any(|part| part.contains('@')) && !is_name {
            return Err(bad(
                "holds a user name or password; give credentials in the environment",
            ));
        }
        if !is_name {
            return Err(bad(
                "has no bucket, or one of a name that none can have; write it as s3://BUCKET/FOLDER",
            ));
        }
        if scheme.is_read_only() && key.contains(['?', '#']) {
            return Err(bad(
                "has a query or a fragment, which are not taken: they may hold credentials",
            ));
        }
        let key = key.strip_suffix('/').unwrap_or(key);
        if !key.is_empty() && !key.split('/').all(is_file_name) {
            return Err(bad(
                "has a part that no file can have: an empty one, `.`, `..`, or one of more than 255 bytes",
            ));
        }
        Ok(Self {
            scheme,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
        })
    }

    /// The location of another key in the same bucket.
    pub fn with_key(&self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            ..self.clone()
        }
    }

    /// The bucket itself.
    pub fn of_bucket(&self) -> Self {
        self.with_key("")
    }

    /// The key up to the part in which a pattern begins, and the pattern of whole keys, where the key is one.
    pub fn pattern(&self) -> Option<(&str, &str)> {
        if self.scheme.is_read_only() {
            return None;
        }
        let at = self.key.find(['*', '?', '['])?;
        let folder = self.key[..at].rfind('/').map_or("", |end| &self.key[..end]);
        Some((folder, &self.key))
    }
}

/// Whether a part of a key can be the name of a local file.
pub(crate) fn is_file_name(part: &str) -> bool {
    !matches!(part, "" | "." | "..")
        && part.len() <= 255
        && !part.contains(['\0', '\\'])
        && !part.chars().any(char::is_control)
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.bucket)?;
        match self.key.is_empty() {
            true => Ok(()),
            false => write!(f, "/{}", self.key),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Location {
        Location::parse(text).unwrap().unwrap()
    }

    #[test]
    fn locations_are_told_from_paths() {
        for path in [
            "runs/x",
            "/a/b",
            "s3:/b/x",
            "ftp://host/x",
            "",
            "file:///x",
            "S3://b/x",
            "C:\\x",
        ] {
            assert!(Location::parse(path).is_none(), "{path}");
        }
        for (text, key) in [
            ("s3://bucket/run/activations/", "run/activations"),
            ("gs://bucket", ""),
            ("az://container/a b/ü.txt", "a b/ü.txt"),
            ("https://example.org:8080/x.jsonl.gz", "x.jsonl.gz"),
        ] {
            let location = parse(text);
            assert_eq!(location.key, key);
            assert_eq!(location.to_string(), text.trim_end_matches('/'));
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_without_repeating_secrets() {
        for text in [
            "s3://",
            "s3:///x",
            "s3://user:hunter2@bucket/x",
            "s3://user:hunter2/x@bucket/x",
            "https://hunter2@host/x",
            "https://host/x?X-Amz-Signature=hunter2",
            "s3://b/a//b",
            "s3://b/../x",
            "s3://b/./x",
            "s3://b/a\nb",
            "s3://../x",
        ] {
            let error = Location::parse(text).unwrap().unwrap_err().to_string();
            assert!(!error.contains("hunter2") && !error.contains('\n'), "{text}: {error}");
        }
    }

    #[test]
    fn patterns_begin_at_a_folder() {
        assert_eq!(parse("s3://b/c/d/*.jsonl").pattern(), Some(("c/d", "c/d/*.jsonl")));
        assert_eq!(parse("s3://b/x?").pattern(), Some(("", "x?")));
        assert_eq!(parse("s3://b/c/d").pattern(), None);
    }

    proptest! {
        #[test]
        fn any_text_is_a_path_a_location_or_refused(text in "(s3|gs|az|https)://.{0,40}") {
            if let Some(Ok(location)) = Location::parse(&text) {
                prop_assert_eq!(parse(&location.to_string()), location.clone());
                prop_assert!(location.key.is_empty() || location.key.split('/').all(is_file_name));
            }
        }
    }
}
