//! Settings of a search for sites: the raw file and its checked form.
//!
//! Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)) take their sites from earlier circuit
//! work and need no such settings.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::ops::Deref;
use tasks::TaskSource;

/// Settings of a search for sites; every key may be left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LocateFile {
    /// The task: `ioi`, `pronoun`, or the path of a task file (`docs/tasks.md`), which ends in `.toml`. Default `ioi`.
    pub task: TaskSource,
    /// Number of prompts; of a task file at most those that it has. Default 200: a share of 0.1 is known to about +-0.04.
    pub prompts: usize,
    /// Seed of prompts and counterfactuals. Default 0.
    pub seed: u64,
    /// Prompts in one forward pass. Default 50; it changes memory and speed only.
    pub batch: usize,
    /// Smallest share of prompts (0 to 1) whose prediction a patch must change. Default 0.1.
    pub min_changed: f64,
    /// Smallest share of the clean logit difference that mean ablation must remove. Default 0.1.
    pub min_removed: f64,
    /// Residual streams, and as many head outputs, that are measured exactly; where a model has more, they are narrowed down to
    /// so many first. Default 80, all of a model of 4 blocks of 4 heads.
    pub narrow_to: usize,
    /// Prompts of the narrowing, the first of `prompts`. Default 40: what changes a tenth of the predictions changes 4.
    pub narrow_prompts: usize,
    /// Largest number of sites that are chosen among the kept nodes. Default 8: bounds the cost of an evaluation.
    pub max_sites: usize,
    /// Sites reserved for head outputs, the strongest first. Default 4; at most `max_sites` less the task's
    /// attributes, so that every attribute can be represented.
    pub max_head_sites: usize,
}

impl Default for LocateFile {
    fn default() -> Self {
        Self {
            task: TaskSource::Ioi,
            prompts: 200,
            seed: 0,
            batch: 50,
            min_changed: 0.1,
            min_removed: 0.1,
            narrow_to: 80,
            narrow_prompts: 40,
            max_sites: 8,
            max_head_sites: 4,
        }
    }
}

/// Checked settings: the fields of [`LocateFile`], all in range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "LocateFile", into = "LocateFile")]
pub struct LocateConfig(LocateFile);

impl Deref for LocateConfig {
    type Target = LocateFile;

    fn deref(&self) -> &LocateFile {
        &self.0
    }
}

impl LocateConfig {
    /// Checks that every attribute of a task can be represented beside the sites of heads.
    ///
    /// # Errors
    /// [`Error::Config`] names `max_sites`.
    pub(super) fn check_sites(&self, attributes: usize) -> Result<(), Error> {
        if self.max_head_sites.saturating_add(attributes) <= self.max_sites {
            return Ok(());
        }
        let reason = format!(
            "is {}; it must be at least {}: `max_head_sites`, {}, and one for each edited attribute of the task",
            self.max_sites,
            self.max_head_sites + attributes,
            self.max_head_sites
        );
        Err(Error::Config {
            field: "max_sites",
            reason,
        })
    }
}

impl From<LocateConfig> for LocateFile {
    fn from(config: LocateConfig) -> Self {
        config.0
    }
}

impl TryFrom<LocateFile> for LocateConfig {
    type Error = Error;

    /// # Errors
    /// [`Error::Config`] names the field that is out of range. Of a task file it is not known yet how many attributes it edits.
    fn try_from(file: LocateFile) -> Result<Self, Error> {
        for (field, value, least) in [
            ("prompts", file.prompts, 2),
            ("batch", file.batch, 1),
            ("narrow_to", file.narrow_to, 1),
            ("narrow_prompts", file.narrow_prompts, 2),
        ] {
            if value < least {
                return Err(Error::Config {
                    field,
                    reason: format!("is {value}; it must be at least {least}"),
                });
            }
        }
        for (field, value) in [("min_changed", file.min_changed), ("min_removed", file.min_removed)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(Error::Config {
                    field,
                    reason: format!("is {value}; it must be between 0 and 1"),
                });
            }
        }
        let config = Self(file);
        if !matches!(config.task, TaskSource::File(_)) {
            config.check_sites(config.task.schema()?.edited.len())?;
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every key at its least and largest value and beyond them: taken, or refused under its own name.
    #[test]
    fn every_key_is_taken_at_its_borders_and_refused_beyond() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("task", &["\"pronoun\""], &["\"nothing\""]),
            ("prompts", &["2", "1000000000"], &["0", "1", "-1"]),
            ("seed", &["0"], &["-1"]),
            ("batch", &["1"], &["0"]),
            ("narrow_to", &["1", "1000000000"], &["0", "-1"]),
            ("narrow_prompts", &["2"], &["1", "-1"]),
            ("min_changed", &["0", "1"], &["-0.1", "1.1"]),
            ("min_removed", &["0", "1"], &["-0.1", "1.1"]),
            // The default `max_head_sites` is 4, and the indirect-object task edits three attributes.
            ("max_sites", &["7", "1000000000"], &["0", "6"]),
            ("max_head_sites", &["0", "5"], &["6"]),
        ];
        let defaults = serde_json::to_value(LocateFile::default()).unwrap();
        assert_eq!(defaults.as_object().unwrap().len(), cases.len());
        for (key, taken, refused) in cases {
            let parse = |value: &str| serde_json::from_str::<LocateConfig>(&format!("{{\"{key}\": {value}}}"));
            for value in *taken {
                parse(value).unwrap_or_else(|error| panic!("{key} = {value}: {error}"));
            }
            for value in *refused {
                let message = parse(value).expect_err(value).to_string();
                // What serde refuses gets its key from the reader of the file.
                let said = ["expected", &format!("unknown {key}"), &format!("`{key}`")];
                let named = said.iter().any(|said| message.contains(said));
                assert!(named, "{key} = {value}: {message}");
            }
        }
        let nan = LocateFile {
            min_changed: f64::NAN,
            ..LocateFile::default()
        };
        assert!(
            LocateConfig::try_from(nan)
                .unwrap_err()
                .to_string()
                .contains("`min_changed`")
        );
    }
}
