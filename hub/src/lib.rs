//! Models of the Hugging Face hub: fetched into the cache that Hugging Face's own libraries share, and found there again.
//!
//! ```text
//! CACHE/models--NAME/blobs/HASH                   bytes; HASH.OWNER.incomplete while they come, HASH.incomplete when they broke off
//!                    snapshots/COMMIT/model.safetensors -> ../../blobs/HASH
//!                    refs/REVISION                COMMIT; written when all files are there
//! CACHE/.locks/models--NAME/HASH.lock             held while HASH comes
//! ```
//!
//! The hub names a file's bytes by SHA-256 (large ones) or by git's SHA-1; what arrives is compared with that before it gets
//! its name. The token goes to the hub itself and never to another host that the hub sends us on to. No error repeats an
//! address beyond its host, since addresses of storage hosts are signed, nor anything else that an answer held.
//!
//! Of the crate `hf-hub` the layout is used and not the client: that of 0.5 sends the token on to the storage host, adds a
//! whole answer to a half file, compares no hash and panics on odd answers; that of 1.0 starts half files anew, compares no
//! hash either, and brings 236 crates.

mod cache;
mod client;
mod error;
mod settings;

use std::path::PathBuf;

use client::{Client, Remote};
use hf_hub::{Repo, RepoType};
use lm::shards::{INDEX, WEIGHTS};

pub use error::Error;
pub use settings::Hub;

/// The largest config that is fetched, in bytes.
const LARGEST_CONFIG: u64 = 8 << 20;
/// The largest index of shards that is fetched, in bytes; one of a thousand shards is far smaller.
const LARGEST_INDEX: u64 = 64 << 20;
/// Without it there is no model.
const CONFIG: &str = "config.json";
/// A tokenizer in one file, ...
const TOKENIZER_FILE: &str = "tokenizer.json";
/// ... or in these where that is absent, as `text::Tokenizer::from_dir` reads them.
const TOKENIZER_PARTS: [&str; 2] = ["vocab.json", "merges.txt"];
/// Taken along where they exist: which token begins a text, and how a chat is written, where the former does not say that.
const BESIDE_TOKENIZER: [&str; 2] = ["tokenizer_config.json", "chat_template.jinja"];

/// A model on the hub, at a branch, a tag or a commit.
#[derive(Debug, Clone)]
pub struct HubModel {
    name: String,
    revision: String,
}

impl HubModel {
    /// The model `name` (`gpt2`, `openai-community/gpt2`) at `revision` (`main`).
    ///
    /// # Errors
    ///
    /// What can be no name or revision on the hub: anything that could lead out of the cache's folder.
    pub fn new(name: &str, revision: &str) -> Result<Self, Error> {
        let fail = |what, found: &str, expected| Error::Name {
            what,
            found: found.to_owned(),
            expected,
        };
        let plain = |part: &str| {
            !part.is_empty()
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
                && !part.starts_with(['-', '.'])
                && !part.ends_with(['-', '.'])
                && !part.contains("..")
        };
        let parts = name.split('/').count();
        if parts > 2 || name.contains("--") || !name.split('/').all(plain) {
            return Err(fail("name", name, "gpt2 or owner/name"));
        }
        if !revision.split('/').all(plain) {
            return Err(fail("revision", revision, "a branch, tag or commit"));
        }
        Ok(Self {
            name: name.to_owned(),
            revision: revision.to_owned(),
        })
    }

    fn repo(&self) -> Repo {
        Repo::with_revision(self.name.clone(), RepoType::Model, self.revision.clone())
    }
}

impl std::fmt::Display for HubModel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.name)?;
        match self.revision.as_str() {
            "main" => Ok(()),
            revision => write!(formatter, "@{revision}"),
        }
    }
}

/// What a pull is about to do or doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullEvent<'a> {
    /// The hub has said what there is to fetch.
    Planned {
        /// Files of the model.
        files: usize,
        /// Bytes that are not in the cache yet.
        bytes: u64,
    },
    /// The disk of the cache gives no lock, so another pull at the same time would fetch the same; told once.
    NoLock {
        /// What the system says.
        cause: &'a str,
    },
    /// Another process fetches this file; it is waited for.
    Waiting {
        /// The file.
        file: &'a str,
    },
    /// Bytes of a file have come.
    Bytes {
        /// The file.
        file: &'a str,
        /// Bytes that are here, those of an earlier pull included.
        done: u64,
        /// Its size.
        total: u64,
    },
}

impl Hub {
    /// Fetches the weights, the config and the tokenizer of `model`, and returns their folder in the cache.
    ///
    /// Files that are in the cache are compared with their hash and kept, half files gone on with; where all are there nothing is
    /// written, so a cache may be read-only. All files are of one commit. Weights are `model.safetensors`, or the shards of its
    /// index where the model has no such file. Offline, the cache alone is asked.
    ///
    /// # Errors
    ///
    /// A model of a computation that this program does not have, which its config says before anything large is fetched. A hub that cannot be reached, refuses, sends other bytes than it announced, or sends fewer than 1,000 bytes a second for as
    /// long as `HF_HUB_DOWNLOAD_TIMEOUT` says; a full disk. What was whole before stays
    /// whole, and what came of a file stays for the next pull unless it turned out wrong.
    pub fn pull(&self, model: &HubModel, on_event: &mut dyn FnMut(PullEvent<'_>)) -> Result<PathBuf, Error> {
        if self.offline() {
            return self.cached(model)?.ok_or_else(|| Error::NotCached {
                model: model.to_string(),
                cache: self.cache().to_owned(),
            });
        }
        let client = Client::new(self);
        let mut told = false;
        let on_event = &mut |event: PullEvent<'_>| {
            if !(matches!(event, PullEvent::NoLock { .. }) && std::mem::replace(&mut told, true)) {
                on_event(event);
            }
        };
        let (commit, files) = self.files(&client, model, on_event)?;
        let missing = files
            .iter()
            .map(|remote| remote.size.saturating_sub(self.bytes_here(model, remote)));
        on_event(PullEvent::Planned {
            files: files.len(),
            bytes: missing.fold(0, u64::saturating_add),
        });
        for remote in &files {
            self.fetch(&client, model, remote, on_event)?;
        }
        self.publish(model, &commit)
    }

    /// The commit of the revision, and what the hub has of the model in it, small files first.
    fn files(
        &self,
        client: &Client<'_>,
        model: &HubModel,
        on_event: &mut dyn FnMut(PullEvent<'_>),
    ) -> Result<(String, Vec<Remote>), Error> {
        let need = |revision: &str, file: &str| {
            let found = client.head(model, revision, file)?;
            found.ok_or_else(|| client.missing(model, file))
        };
        let config = need(&model.revision, CONFIG)?;
        if config.size > LARGEST_CONFIG {
            return Err(client.odd(model, "has a config.json that is too long to be one"));
        }
        // It says whether the rest is worth fetching.
        self.fetch(client, model, &config, on_event)?;
        self.spec(model, &config)?;
        // A branch may move on while we ask.
        let commit = config.commit.clone();
        let mut files = vec![config];
        match client.head(model, &commit, TOKENIZER_FILE)? {
            Some(tokenizer) => files.push(tokenizer),
            None => {
                for part in TOKENIZER_PARTS {
                    let found = client.head(model, &commit, part)?;
                    files.push(found.ok_or_else(|| client.missing(model, TOKENIZER_FILE))?);
                }
            }
        }
        for name in BESIDE_TOKENIZER {
            files.extend(client.head(model, &commit, name)?);
        }
        let of_commit = |files: &[Remote]| match files.iter().all(|remote| remote.commit == commit) {
            true => Ok(()),
            false => Err(client.odd(model, "answers with files of another commit than was asked for")),
        };
        match client.head(model, &commit, WEIGHTS)? {
            Some(weights) => files.push(weights),
            None => {
                let index = client.head(model, &commit, INDEX)?;
                let index = index.ok_or_else(|| client.missing(model, WEIGHTS))?;
                of_commit(std::slice::from_ref(&index))?;
                if index.size > LARGEST_INDEX {
                    return Err(client.odd(model, "has an index of shards that is too long to be one"));
                }
                // It says which other files there are, so it comes before it is said how much there is to fetch.
                self.fetch(client, model, &index, on_event)?;
                for shard in self.index(model, &index)?.shards() {
                    files.push(need(&commit, shard)?);
                }
                files.push(index);
            }
        }
        of_commit(&files)?;
        Ok((commit, files))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["gpt2", "openai-community/gpt2", "a/b.c_d-1"] {
            assert_eq!(HubModel::new(name, "main").unwrap().to_string(), name);
        }
        for name in [
            "",
            "/",
            "/gpt2",
            "gpt2/",
            "a/b/c",
            "../gpt2",
            "a/..",
            "a--b",
            ".git",
            "a b",
            "gpt2?x",
            "gpt2#",
            "ä",
            "a\nb",
            "-a",
            "a%2Fb",
            "a\\b",
            "https://x/y",
        ] {
            assert!(HubModel::new(name, "main").is_err(), "{name}");
        }
        assert_eq!(
            HubModel::new("gpt2", "refs/pr/1").unwrap().to_string(),
            "gpt2@refs/pr/1"
        );
        for revision in ["", "..", "a/../b", "/a", "a//b", "a?b", "a b"] {
            assert!(HubModel::new("gpt2", revision).is_err(), "{revision}");
        }
    }
}
