//! `made.json`, which stands beside every artefact and says what made it: the command, its settings in full, the model, the hashes
//! of what it was made from, and the build of the program.
//!
//! It is a file of its own, so that the files that it speaks of have the same bytes whatever build wrote them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::{Context, Result};
use lm::Model;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use storage::process::{shown, shown_in};

/// Its name.
pub const MADE: &str = "made.json";

/// What made an artefact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// The command, without its arguments.
    pub command: String,
    /// All settings that the artefact depends on, defaults filled in.
    pub settings: Value,
    /// The model that was run, or whose activations were read.
    pub model: Option<ModelMade>,
    /// What it was made from: hashes by what they are of.
    pub parents: BTreeMap<String, String>,
    /// The program.
    pub program: Program,
}

/// A model, by all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelMade {
    /// The folder, file or name that the command was given.
    pub asked: String,
    /// Its name on the Hugging Face hub, where its folder tells it.
    pub name: Option<String>,
    /// The commit of its files there.
    pub revision: Option<String>,
    /// Hash of its weights, as they were run.
    pub hash: String,
}

/// The build of the program that runs a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its version.
    pub version: String,
    /// The commit of its sources, with `-dirty` where they differ from it; none where they were built outside git.
    pub git_revision: Option<String>,
    /// Hash of its sources: another one where any code is another.
    pub sources: String,
}

impl ModelMade {
    /// A model that was loaded from `folder`, which stands for what the command was given.
    pub(crate) fn new(asked: &Path, folder: &Path, model: &Model) -> Self {
        let cached = in_cache(folder);
        let (name, revision) = match cached {
            Some((name, revision)) => (Some(name), Some(revision)),
            None => (named_in_config(folder), None),
        };
        Self {
            asked: shown(&asked.display().to_string()),
            name,
            revision,
            hash: model.hash().to_owned(),
        }
    }
}

/// Name and commit of a folder of the cache that Hugging Face's libraries share: `models--OWNER--NAME/snapshots/COMMIT`.
fn in_cache(folder: &Path) -> Option<(String, String)> {
    let folder = folder.canonicalize().ok()?;
    let mut parts = folder.components().rev().filter_map(|part| part.as_os_str().to_str());
    let (commit, snapshots, model) = (parts.next()?, parts.next()?, parts.next()?);
    let name = model.strip_prefix("models--").filter(|_| snapshots == "snapshots")?;
    Some((name.replace("--", "/"), commit.to_owned()))
}

/// The name that `transformers` wrote into `config.json`, where it is one of the hub's and not a folder's.
fn named_in_config(folder: &Path) -> Option<String> {
    let config: Value = artifacts::read_json(&folder.join("config.json")).ok()?;
    let name = config["_name_or_path"].as_str()?;
    let is_name =
        !name.is_empty() && !name.starts_with(['/', '.', '~']) && name.split('/').count() <= 2 && !name.contains('\\');
    is_name.then(|| name.to_owned())
}

impl Made {
    /// What `command` made with these settings.
    pub(crate) fn by(context: &Context, command: &str, settings: Value) -> Self {
        Self {
            command: command.to_owned(),
            settings: shown_in(settings),
            model: None,
            parents: BTreeMap::new(),
            program: context.program.clone(),
        }
    }

    pub(crate) fn with_model(self, model: Option<ModelMade>) -> Self {
        Self { model, ..self }
    }

    pub(crate) fn with_parent(mut self, what: &str, hash: &str) -> Self {
        self.parents.insert(what.to_owned(), hash.to_owned());
        self
    }

    /// Writes it into the folder of the artefact.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        self.write_as(&folder.join(MADE))
    }

    /// Writes it beside an artefact that shares its folder with others.
    pub(crate) fn write_as(&self, path: &Path) -> Result<()> {
        Ok(artifacts::write_json(path, self)?)
    }

    /// Refuses to overwrite `path`, which `old` made, unless it was made just so or is to be replaced.
    ///
    /// # Errors
    /// The keys that differ, with both values, and the option that allows it.
    pub(crate) fn check_place(&self, path: &Path, old: Option<&Self>, replace: bool) -> Result<()> {
        if replace || path.symlink_metadata().is_err() {
            return Ok(());
        }
        let what = match old {
            None => "does not say what made it".to_owned(),
            Some(old) => {
                let about = |made: &Self| {
                    let model = made.model.as_ref().map(|model| &model.hash);
                    let about = serde_json::json!({"settings": made.settings, "model": model, "parents": made.parents});
                    // Through text, as the old ones: reading a number may move its last bit.
                    serde_json::from_str::<Value>(&about.to_string())
                };
                let differences = artifacts::json_differences(&about(old)?, &about(self)?);
                if differences.is_empty() {
                    return Ok(());
                }
                let differences: Vec<&str> = differences
                    .iter()
                    .map(|text| text.trim_start_matches("settings."))
                    .collect();
                format!("was made otherwise ({})", differences.join("; "))
            }
        };
        bail!(
            "{} {what}; overwrite it with --replace, or write into another folder",
            path.display()
        )
    }

    /// What stands in a folder; nothing where none is there that can be read: artefacts of other programs have none.
    pub fn read(folder: &Path) -> Option<Self> {
        Self::read_from(&folder.join(MADE))
    }

    /// What a file says, if it is there and can be read.
    pub(crate) fn read_from(path: &Path) -> Option<Self> {
        artifacts::read_json(path).ok()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Nobody is told anything.
    pub(crate) fn context() -> Context {
        Context::silent(Program {
            version: "0.1.0".to_owned(),
            git_revision: None,
            sources: "cafe".to_owned(),
        })
    }

    #[test]
    fn a_model_of_the_hub_is_known_by_name_and_commit() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join("models--HuggingFaceTB--SmolLM2-135M/snapshots/abc");
        std::fs::create_dir_all(&folder).unwrap();
        let expected = ("HuggingFaceTB/SmolLM2-135M".to_owned(), "abc".to_owned());
        assert_eq!(in_cache(&folder), Some(expected));
        assert_eq!(in_cache(cache.path()), None);
        for (name, expected) in [
            ("gpt2", true),
            ("owner/model", true),
            ("/data/gpt2", false),
            ("./x", false),
            ("", false),
        ] {
            std::fs::write(
                folder.join("config.json"),
                serde_json::json!({"_name_or_path": name}).to_string(),
            )
            .unwrap();
            assert_eq!(named_in_config(&folder).is_some(), expected, "{name}");
        }
    }

    #[test]
    fn what_is_written_is_read_and_names_the_build() {
        let folder = tempfile::tempdir().unwrap();
        let made = Made::by(&context(), "train", serde_json::json!({"steps": 3})).with_parent("activations", "cafe");
        made.write(folder.path()).unwrap();
        assert_eq!(Made::read(folder.path()), Some(made.clone()));
        assert_eq!(made.program, context().program);
        assert_eq!(Made::read(&folder.path().join("nothing")), None);
    }

    #[test]
    fn what_was_made_otherwise_is_overwritten_only_when_it_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(MADE);
        let made = |steps: usize, parent: &str| {
            Made::by(&context(), "fit", serde_json::json!({"steps": steps})).with_parent("store", parent)
        };
        made(4, "b").check_place(&path, None, false).unwrap();
        made(3, "a").write(folder.path()).unwrap();
        let old = Made::read(folder.path());
        made(3, "a").check_place(&path, old.as_ref(), false).unwrap();
        made(4, "b").check_place(&path, old.as_ref(), true).unwrap();
        let error = made(4, "b")
            .check_place(&path, old.as_ref(), false)
            .unwrap_err()
            .to_string();
        for part in ["steps: 3 -> 4", "parents.store: a -> b", "--replace"] {
            assert!(error.contains(part), "{error}");
        }
        let error = made(3, "a").check_place(&path, None, false).unwrap_err().to_string();
        assert!(error.contains("does not say what made it"), "{error}");
    }
}
