//! The keys of all config files, as the build script found them in the structs that parse them (`cli/build/config_keys.rs`).

use std::fmt::Write as _;

include!(concat!(env!("OUT_DIR"), "/config_keys.rs"));

/// The config of a command, or a file written like one.
#[derive(Debug)]
pub(crate) struct Config {
    /// The command as it is typed, or the kind of file.
    pub(crate) command: &'static str,
    /// What the config is.
    pub(crate) about: &'static str,
    pub(crate) keys: &'static [Key],
}

/// One key of a config.
#[derive(Debug)]
pub(crate) struct Key {
    /// The key with those above it; `N` stands for the number of a list's entry, from 0, `NAME` for a name of the user's.
    pub(crate) path: &'static str,
    /// What a value of it is: a number, a path, a word.
    pub(crate) value: &'static str,
    /// The doc comment: what it is, its unit, its default and why.
    pub(crate) doc: &'static str,
    /// Whether a config without it is refused.
    pub(crate) is_required: bool,
    /// The other key and its value under which a table has this one; empty where it always has.
    pub(crate) when: &'static str,
    /// The words it may be, and what each means.
    pub(crate) words: &'static [(&'static str, &'static str)],
}

impl Key {
    /// The sentences that say what the key is, and the one that says its default, which begins with "Default", or "Required".
    fn parts(&self) -> (String, String) {
        let begins = if self.is_required { "Required" } else { "Default" };
        let (defaults, meaning): (Vec<&str>, Vec<&str>) =
            sentences(self.doc).partition(|sentence| sentence.starts_with(begins));
        let default = match (self.is_required, defaults.is_empty()) {
            (true, true) => "Required.".to_owned(),
            _ => defaults.join(" "),
        };
        (meaning.join(" "), default)
    }

    /// Whether a user who writes `name` means this key: the whole path, with or without numbers for `N`, or its last part.
    fn is_meant(&self, name: &str) -> bool {
        let matches = |(known, asked): (&str, &str)| {
            known == asked || known == "NAME" || (known == "N" && asked.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let whole = self.path.split('.').count() == name.split('.').count()
            && self.path.split('.').zip(name.split('.')).all(matches);
        whole || self.path.rsplit('.').next() == Some(name)
    }

    /// What `saelab config explain` prints of the key.
    fn explained(&self, command: &str) -> String {
        let (meaning, default) = self.parts();
        let when = if self.when.is_empty() {
            String::new()
        } else {
            format!(", where {}", self.when)
        };
        let mut out = format!("{}  ({command}: {}{when})\n", self.path, self.value);
        for text in [meaning, default].iter().filter(|text| !text.is_empty()) {
            for line in wrapped(text) {
                let _ = writeln!(out, "    {line}");
            }
        }
        for (word, doc) in self.words {
            for (i, line) in wrapped(&format!("\"{word}\": {doc}")).into_iter().enumerate() {
                let _ = writeln!(out, "      {}{line}", if i == 0 { "" } else { "  " });
            }
        }
        out
    }
}

/// Sentences of a text; one ends with a full stop before a space and a capital, a digit or code.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.match_indices(". ").map(|(at, _)| at + 1).find(|end| {
            let next = rest[end + 1..].chars().next();
            next.is_some_and(|next| next.is_uppercase() || next == '`' || next.is_ascii_digit())
        });
        let (sentence, left) = rest.split_at(end.unwrap_or(rest.len()));
        rest = left.trim_start();
        Some(sentence)
    })
}

/// Lines of at most 96 characters.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        if let Some(line) = lines.last_mut() {
            if line.is_empty() {
                line.push_str(word);
            } else if line.chars().count() + 1 + word.chars().count() <= 96 {
                line.push(' ');
                line.push_str(word);
            } else {
                lines.push(word.to_owned());
            }
        }
    }
    lines
}

/// What there is to explain, without a name.
pub(crate) fn overview() -> String {
    let mut out = String::from(
        "Configs, and the number of their keys; `saelab config explain NAME` says all of one, or of one key.\n\n",
    );
    for config in CONFIGS {
        let _ = writeln!(out, "{:14} {:3}  {}", config.command, config.keys.len(), config.about);
    }
    out.push_str("\nThe paper: arXiv 2405.08366; its follow-up: openreview.net/forum?id=JdrVuEQih5.\n");
    out
}

/// What is to be said of a command or a key.
///
/// # Errors
/// The nearest known name, where none is meant.
pub(crate) fn explain(name: &str) -> Result<String, &'static str> {
    let name = name.trim_end_matches(".toml");
    if let Some(config) = CONFIGS.iter().find(|config| config.command == name) {
        let keys: Vec<String> = config.keys.iter().map(|key| key.explained(config.command)).collect();
        return Ok(format!("{}: {}\n\n{}", config.command, config.about, keys.join("\n")));
    }
    let meant: Vec<String> = all_keys()
        .filter(|(_, key)| key.is_meant(name))
        .map(|(config, key)| key.explained(config.command))
        .collect();
    if !meant.is_empty() {
        return Ok(meant.join("\n"));
    }
    let last = |key: &'static Key| key.path.rsplit('.').next().unwrap_or(key.path);
    let known = all_keys()
        .map(|(_, key)| last(key))
        .chain(CONFIGS.iter().map(|config| config.command));
    let near = |known: &&str| strsim::jaro_winkler(name.rsplit('.').next().unwrap_or(name), known);
    Err(known.max_by(|a, b| near(a).total_cmp(&near(b))).unwrap_or("train"))
}

/// Commands that read the configs of `splice`.
const AS_SPLICE: [&str; 2] = ["truth", "probe"];

/// Every key with the config that has it; keys that several commands read alike once.
fn all_keys() -> impl Iterator<Item = (&'static Config, &'static Key)> {
    CONFIGS
        .iter()
        .filter(|config| !AS_SPLICE.contains(&config.command))
        .flat_map(|config| config.keys.iter().map(move |key| (config, key)))
}

/// All configs as one Markdown page, `docs/config.md`.
pub(crate) fn markdown() -> String {
    let mut out = String::from(
        "# Configs\n\n\
         Every key of every config file. The page is printed by `saelab config explain --markdown` from the structs that parse the \
         files (`make docs`); a test says whether it is current. `saelab config explain KEY` says the same of one key.\n\n\
         A config is a TOML file. `--set key=value` overrides a key of it, `--set source.n=100` one of a table, \
         `--set autoencoder.0.k=8` one of the first entry of a list. In the tables `N` stands for the number of an entry, from 0, and \
         `NAME` for a name of yours. A key that is not known is refused, with the nearest known one.\n\n\
         \"The paper\" is [Makelov, Lange and Nanda](https://arxiv.org/abs/2405.08366), and its follow-up [Makelov's at the workshop on \
         mechanistic interpretability of ICML 2024](https://openreview.net/forum?id=JdrVuEQih5).\n",
    );
    for config in CONFIGS {
        let _ = write!(out, "\n## {}\n\n{}\n\n", config.command, config.about);
        if AS_SPLICE.contains(&config.command) {
            out.push_str("The same keys as [splice](#splice).\n");
            continue;
        }
        out.push_str("| key | value | meaning | default |\n| --- | --- | --- | --- |\n");
        for key in config.keys {
            let (mut meaning, default) = key.parts();
            if !key.when.is_empty() {
                meaning = format!("Where `{}`: {meaning}", key.when);
            }
            for (word, doc) in key.words {
                let _ = write!(meaning, "<br>`\"{word}\"`: {doc}");
            }
            let _ = writeln!(
                out,
                "| `{}` | {} | {} | {} |",
                key.path,
                key.value,
                cell(&meaning),
                cell(
                    default
                        .trim_start_matches("Default")
                        .trim_start_matches(':')
                        .trim_start()
                )
            );
        }
    }
    out
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use serde::de::DeserializeOwned;
    use toml::Value;

    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    fn config(command: &str) -> &'static Config {
        CONFIGS.iter().find(|config| config.command == command).unwrap()
    }

    /// The keys that serde itself lists where it refuses an unknown one in this TOML.
    fn listed<T: DeserializeOwned>(text: &str) -> BTreeSet<String> {
        let error = match toml::from_str::<T>(text) {
            Ok(_) => panic!("{text} was taken"),
            Err(error) => error.message().to_owned(),
        };
        assert!(error.starts_with("unknown field `bogus`"), "{error}");
        error.split('`').skip(3).step_by(2).map(str::to_owned).collect()
    }

    /// The keys directly below `prefix`, of a table with `when`.
    fn known(command: &str, prefix: &str, when: &str) -> BTreeSet<String> {
        let keys = config(command).keys.iter().filter(|key| key.when == when);
        keys.filter_map(|key| key.path.strip_prefix(prefix))
            .filter(|rest| !rest.contains('.'))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn the_keys_are_those_that_serde_takes() {
        let bogus = "bogus = 1";
        assert_eq!(known("locate", "", ""), listed::<causal::LocateFile>(bogus));
        assert_eq!(known("harvest", "", ""), listed::<activations::HarvestFile>(bogus));
        assert_eq!(known("fit", "", ""), listed::<supervised::FitFile>(bogus));
        assert_eq!(known("train", "", ""), listed::<sae::TrainFile>(bogus));
        assert_eq!(
            known("train", "autoencoder.N.", ""),
            listed::<sae::TrainFile>("steps = 1\n[[autoencoder]]\narchitecture = \"topk\"\nbogus = 1")
        );
        assert_eq!(known("eval", "", ""), listed::<eval::EvalFile>(bogus));
        assert_eq!(
            known("eval", "compare.N.", ""),
            listed::<eval::EvalFile>("compare = [{ bogus = 1 }]")
        );
        assert_eq!(known("phenomena", "", ""), listed::<toys::PhenomenaFile>(bogus));
        assert_eq!(
            known("phenomena", "occlusion.N.", ""),
            listed::<toys::PhenomenaFile>("occlusion = [{ bogus = 1 }]")
        );
        assert_eq!(known("sites file", "", ""), listed::<causal::Sites>(bogus));
        for kind in ["prompts", "world", "text"] {
            let when = format!("kind = \"{kind}\"");
            let text = format!("model = \"m\"\nsource = {{ kind = \"{kind}\", bogus = 1 }}");
            assert_eq!(
                known("harvest", "source.", &when),
                listed::<activations::HarvestFile>(&text),
                "{kind}"
            );
        }
    }

    /// The paths of all values in a config, with `N` for numbers.
    fn paths(prefix: &str, value: &Value, paths: &mut BTreeSet<String>) {
        match value {
            Value::Table(table) => {
                for (key, value) in table {
                    let path = format!("{prefix}{key}");
                    self::paths(&format!("{path}."), value, paths);
                    paths.insert(path);
                }
            }
            Value::Array(values) => values
                .iter()
                .for_each(|value| self::paths(&format!("{prefix}N."), value, paths)),
            _ => {}
        }
    }

    #[test]
    fn every_key_of_the_shipped_configs_is_explained() {
        let mut seen = 0;
        for (command, folder, begins) in [
            ("locate", "configs/ioi", "locate"),
            ("harvest", "configs/ioi", "harvest"),
            ("harvest", "configs/quality", "harvest"),
            ("harvest", "configs/agreement", "harvest"),
            ("fit", "configs/ioi", "fit"),
            ("train", "configs/ioi", "train"),
            ("train", "configs/train", ""),
            ("eval", "configs/eval", "ioi"),
            ("splice", "configs/quality", "splice"),
            ("circuit score", "configs/circuits", ""),
            ("phenomena", "configs/phenomena", ""),
            ("pretrain", "configs/pretrain", ""),
            ("sites file", "configs/sites", ""),
            ("task file", "configs/agreement", "task"),
        ] {
            for entry in std::fs::read_dir(root().join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap();
                if !name.starts_with(begins) || !name.ends_with(".toml") {
                    continue;
                }
                let table: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
                let mut found = BTreeSet::new();
                paths("", &Value::Table(table), &mut found);
                for key in &found {
                    // What stands in a table of the user's names is explained with the table.
                    let of_names = key.rsplit_once('.').map(|(table, _)| table);
                    let is_known = config(command)
                        .keys
                        .iter()
                        .any(|known| known.is_meant(key) || (known.value == "table" && Some(known.path) == of_names));
                    assert!(is_known, "{}: `{key}`", path.display());
                }
                seen += found.len();
            }
        }
        assert!(seen > 200, "{seen}");
    }

    #[test]
    fn every_key_says_its_default() {
        for config in CONFIGS {
            for key in config.keys {
                let (meaning, default) = key.parts();
                let place = format!("{}: {}", config.command, key.path);
                assert!(!default.is_empty(), "{place} says no default");
                assert!(!meaning.is_empty() && meaning.ends_with('.'), "{place}: {meaning}");
            }
        }
    }

    /// Every number and word of a value.
    fn atoms(value: &serde_json::Value, atoms: &mut Vec<String>) {
        match value {
            serde_json::Value::Array(values) => values.iter().for_each(|value| self::atoms(value, atoms)),
            serde_json::Value::Object(entries) => entries.values().for_each(|value| self::atoms(value, atoms)),
            serde_json::Value::String(text) => atoms.push(text.clone()),
            serde_json::Value::Number(number) => atoms.push(number.to_string().trim_end_matches(".0").to_owned()),
            _ => {}
        }
    }

    #[test]
    fn the_defaults_that_are_said_are_those_of_the_structs() {
        for (command, defaults) in [
            ("eval", serde_json::to_value(eval::EvalFile::default()).unwrap()),
            ("locate", serde_json::to_value(causal::LocateFile::default()).unwrap()),
        ] {
            for (key, value) in defaults.as_object().unwrap() {
                let said = config(command)
                    .keys
                    .iter()
                    .find(|known| known.path == key)
                    .unwrap()
                    .parts()
                    .1;
                let mut values = Vec::new();
                atoms(value, &mut values);
                let missing = values.iter().find(|value| !said.contains(value.as_str()));
                assert!(
                    missing.is_none() || said.starts_with("Default all"),
                    "{key}: {missing:?} in {said}"
                );
            }
        }
    }

    #[test]
    fn a_key_is_found_by_its_path_its_number_and_its_last_part() {
        for name in ["autoencoder.N.k", "autoencoder.0.k", "k"] {
            let said = explain(name).unwrap();
            assert!(said.contains("autoencoder.N.k  (train:"), "{said}");
        }
        assert_eq!(explain("auxilary_k"), Err("auxiliary_k"));
        assert!(
            explain("train")
                .unwrap()
                .contains("steps  (train: whole number)\n    Optimiser steps")
        );
        assert!(overview().contains("circuit score"));
    }

    #[test]
    fn the_page_is_current() {
        let page = std::fs::read_to_string(root().join("docs/config.md")).unwrap_or_default();
        assert!(page == markdown(), "docs/config.md is old: run `make docs`");
    }
}
