//! The harvest config: the file as written ([`HarvestFile`]) and what it means ([`HarvestConfig`]).
//!
//! The binary parses TOML into the first and turns it into the second; nothing behind it checks again.

use std::path::PathBuf;

use lm::{HookPoint, LoadOptions};
use serde::Deserialize;
use tasks::Role;

use crate::Error;

/// Sequences per forward pass when the file does not say: fills two cores with a small model, fits 4 GB with GPT-2 small.
const DEFAULT_BATCH: usize = 64;
/// Vectors per shard when the file does not say: 50 MB at a width of 768.
const DEFAULT_ROWS_PER_SHARD: usize = 16_384;

/// A harvest config file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HarvestFile {
    /// Folder of the model (Hugging Face layout). Required.
    pub model: PathBuf,
    /// Fold layer norms, centre weights and factor the matrices of every head anew before the model is run. Default false:
    /// the weights as they are. With true, norms at q, k, v, z are comparable between heads, as in the paper; the store then
    /// belongs to the re-factored model and is refused wherever the plain one is used.
    pub refactor_attention: Option<bool>,
    /// Sites file written by `saelab locate`: the hooks and roles of all its nodes are stored. Either this, or `hooks`
    /// and `roles`.
    pub sites: Option<PathBuf>,
    /// Hooks to store, for example `["blocks.2.hook_resid_pre"]`; of `hook_q`, `hook_k`, `hook_v`, `hook_z` all heads.
    pub hooks: Option<Vec<HookPoint>>,
    /// Semantic positions to store of each prompt, for example `["S2", "END"]`. Default: all, since a role adds little
    /// beside the forward pass. Not for text.
    pub roles: Option<Vec<Role>>,
    /// What the model reads. Required.
    pub source: SourceConfig,
    /// Sequences per forward pass. Default 64; more is faster on a GPU, memory grows with it.
    pub batch: Option<usize>,
    /// Vectors per Parquet file. Default 16384: about 50 MB at a width of 768, small enough to lose in a crash.
    pub rows_per_shard: Option<usize>,
}

/// What the model reads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum SourceConfig {
    /// Prompts of the indirect-object task (training sample).
    Ioi {
        /// Number of prompts. Required; 20000 in the paper.
        n: usize,
        /// Seed of the sample. Default 0.
        #[serde(default)]
        seed: u64,
    },
    /// Documents of the written world that the shipped model was trained on.
    World {
        /// Number of documents. Required.
        documents: u64,
        /// Seed of the documents. Default 1: the shipped model was trained on those of seed 0.
        #[serde(default = "world_seed")]
        seed: u64,
        /// Longest window in tokens, beginning-of-text token included. Default 64, the context of the shipped model.
        #[serde(default = "world_context")]
        context: usize,
    },
    /// A text file, one document per line.
    Text {
        /// The file. Required.
        path: PathBuf,
        /// Longest window in tokens, beginning-of-text token included. Default 128, the usual context for autoencoders.
        #[serde(default = "default_context")]
        context: usize,
    },
}

fn world_seed() -> u64 {
    1
}

fn world_context() -> usize {
    64
}

fn default_context() -> usize {
    128
}

impl SourceConfig {
    /// Checks that there is something to read.
    ///
    /// # Errors
    ///
    /// No prompts or documents; windows too short for a token.
    pub fn validate(&self) -> Result<(), Error> {
        let (field, reason) = match self {
            Self::Ioi { n: 0, .. } => ("n", "is 0, must be at least 1"),
            Self::World { documents: 0, .. } => ("documents", "is 0, must be at least 1"),
            Self::Text { context: 0 | 1, .. } | Self::World { context: 0 | 1, .. } => ("context", "must be at least 2"),
            _ => return Ok(()),
        };
        Err(Error::Config {
            field,
            reason: reason.to_owned(),
        })
    }
}

/// A harvest config whose fields are complete and fit together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HarvestConfig {
    /// Folder of the model.
    pub model: PathBuf,
    /// What is done to its weights.
    pub load: LoadOptions,
    /// Which vectors are stored.
    pub selection: Selection,
    /// What the model reads.
    pub source: SourceConfig,
    /// Sequences per forward pass, at least 1.
    pub batch: usize,
    /// Vectors per Parquet file, at least 1.
    pub rows_per_shard: usize,
}

/// Which vectors are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Those of the nodes of a sites file.
    Sites(PathBuf),
    /// Those of all these hooks at all these roles; no roles for text.
    Hooks {
        /// The hooks, at least one.
        hooks: Vec<HookPoint>,
        /// The roles.
        roles: Vec<Role>,
    },
}

impl TryFrom<HarvestFile> for HarvestConfig {
    type Error = Error;

    fn try_from(file: HarvestFile) -> Result<Self, Error> {
        let refuse = |field, reason: &str| {
            Err(Error::Config {
                field,
                reason: reason.to_owned(),
            })
        };
        let text = matches!(file.source, SourceConfig::Text { .. } | SourceConfig::World { .. });
        let selection = match (file.sites, file.hooks, file.roles) {
            (Some(_), _, _) if text => return refuse("sites", "needs prompts: give `hooks` for text"),
            (Some(sites), None, None) => Selection::Sites(sites),
            (Some(_), _, _) => return refuse("sites", "stands beside `hooks` or `roles`: give one or the other"),
            (None, None, _) => return refuse("hooks", "is missing: give `sites`, or `hooks` and `roles`"),
            (None, Some(hooks), _) if hooks.is_empty() => return refuse("hooks", "is empty, at least one is needed"),
            (None, Some(_), Some(_)) if text => return refuse("roles", "means nothing for text, remove it"),
            (None, Some(_), Some(roles)) if roles.is_empty() => {
                return refuse("roles", "is empty, at least one is needed");
            }
            (None, Some(hooks), None) if text => Selection::Hooks {
                hooks,
                roles: Vec::new(),
            },
            (None, Some(hooks), roles) => Selection::Hooks {
                hooks,
                roles: roles.unwrap_or_else(|| Role::ALL.to_vec()),
            },
        };
        file.source.validate()?;
        let batch = file.batch.unwrap_or(DEFAULT_BATCH);
        let rows_per_shard = file.rows_per_shard.unwrap_or(DEFAULT_ROWS_PER_SHARD);
        if batch == 0 || rows_per_shard == 0 {
            return refuse(
                if batch == 0 { "batch" } else { "rows_per_shard" },
                "is 0, must be at least 1",
            );
        }
        Ok(Self {
            model: file.model,
            load: LoadOptions {
                refactor_attention: file.refactor_attention.unwrap_or(false),
            },
            selection,
            source: file.source,
            batch,
            rows_per_shard,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: serde_json::Value) -> Result<HarvestConfig, String> {
        let file: HarvestFile = serde_json::from_value(json).map_err(|error| error.to_string())?;
        HarvestConfig::try_from(file).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_filled_in() {
        let file = serde_json::json!({
            "model": "m", "hooks": ["blocks.0.hook_resid_pre"], "source": { "kind": "ioi", "n": 10 },
        });
        let config = config(file).unwrap();
        let hooks = vec![HookPoint::ResidPre(0)];
        assert_eq!(
            config.selection,
            Selection::Hooks {
                hooks,
                roles: Role::ALL.to_vec()
            }
        );
        assert_eq!(
            (config.batch, config.rows_per_shard),
            (DEFAULT_BATCH, DEFAULT_ROWS_PER_SHARD)
        );
        assert_eq!(config.source, SourceConfig::Ioi { n: 10, seed: 0 });
        assert!(!config.load.refactor_attention);
    }

    #[test]
    fn contradictions_name_the_field() {
        let ioi = serde_json::json!({ "kind": "ioi", "n": 10 });
        let text = serde_json::json!({ "kind": "text", "path": "t.txt" });
        let hook = serde_json::json!(["blocks.0.hook_resid_pre"]);
        for (file, part) in [
            (serde_json::json!({ "model": "m", "source": ioi }), "`hooks`"),
            (
                serde_json::json!({ "model": "m", "hooks": hook, "sites": "s", "source": ioi }),
                "`sites`",
            ),
            (
                serde_json::json!({ "model": "m", "sites": "s", "source": text }),
                "`sites`",
            ),
            (
                serde_json::json!({ "model": "m", "hooks": hook, "roles": ["END"], "source": text }),
                "`roles`",
            ),
            (
                serde_json::json!({ "model": "m", "hooks": [], "source": ioi }),
                "`hooks`",
            ),
            (
                serde_json::json!({ "model": "m", "hooks": hook, "source": ioi, "batch": 0 }),
                "`batch`",
            ),
            (
                serde_json::json!({ "model": "m", "hooks": hook, "source": { "kind": "ioi", "n": 0 } }),
                "`n`",
            ),
            (
                serde_json::json!({ "model": "m", "hooks": hook, "source": ioi, "bach": 1 }),
                "unknown field `bach`",
            ),
            (
                serde_json::json!({ "model": "m", "hooks": hook, "source": { "kind": "ioi", "m": 1 } }),
                "unknown field",
            ),
        ] {
            let message = config(file).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
