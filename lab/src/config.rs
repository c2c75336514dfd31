//! Config files: TOML, overlaid with `--set key=value`, unknown keys refused with the nearest known one.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::misfit;

/// A config or command line that cannot be meant; the program ends with exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// A config file, and keys that are set over it.
#[derive(Debug, Clone, Default)]
pub struct ConfigFile {
    /// A TOML file.
    pub path: PathBuf,
    /// Keys that are set over it: `a.b=value`, or `a.0.b=value` in the first entry of a list.
    pub set: Vec<String>,
}

impl ConfigFile {
    /// Reads and parses it.
    ///
    /// # Errors
    /// The file, the key and what is wrong with it; an unknown key with the nearest known one.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        read(&self.path, &self.set)
    }

    /// An error of this file.
    pub(crate) fn refused(&self, reason: impl Display) -> ConfigError {
        ConfigError(format!("{}: {reason}", self.path.display()))
    }
}

/// Reads `path`, overlays `sets` (`a.b=value`) and parses the result.
///
/// # Errors
/// The file, the key and what is wrong with it; an unknown key with the nearest known one.
pub fn read<T: DeserializeOwned>(path: &Path, sets: &[String]) -> Result<T, ConfigError> {
    let fail = |reason: String| ConfigError(format!("{}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
    let mut table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| fail(one_line(&error, Some(&text))))?;
    for set in sets {
        overlay(&mut table, set)?;
    }
    let mut value = Value::Table(table);
    check_counts("", &value).map_err(fail)?;
    fetch_inputs(&mut value).map_err(|error| fail(error.to_string()))?;
    value.clone().try_into().map_err(|error: toml::de::Error| {
        fail(misfit::describe::<T>(&value, &error).unwrap_or_else(|| one_line(&error, None)))
    })
}

/// Fetches what values name at `s3://` and the like; a local path takes the place of the value.
fn fetch_inputs(value: &mut Value) -> Result<(), storage::Error> {
    match value {
        Value::String(text) => {
            if let Some(local) = storage::process::input(text)? {
                *text = local.to_string_lossy().into_owned();
            }
            Ok(())
        }
        Value::Array(values) => values.iter_mut().try_for_each(fetch_inputs),
        Value::Table(table) => table.iter_mut().try_for_each(|(_, value)| fetch_inputs(value)),
        _ => Ok(()),
    }
}

/// The largest count that any config may ask for. Sizes that are products of two counts cannot
/// run over with it; a piece of memory that the system refuses ends the program with one line.
const MOST: i64 = 1_000_000_000;

/// Refuses integers that no machine could serve, seeds apart; `path` is that of `value`.
fn check_counts(path: &str, value: &Value) -> Result<(), String> {
    let key = path.rsplit('.').next().unwrap_or(path);
    match value {
        Value::Table(table) => table.iter().try_for_each(|(key, value)| {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            check_counts(&path, value)
        }),
        Value::Array(values) => values.iter().try_for_each(|value| check_counts(path, value)),
        Value::Integer(count) if *count > MOST && !key.contains("seed") => {
            Err(format!("`{path}` is {count}, more than {MOST}"))
        }
        _ => Ok(()),
    }
}

/// The most levels of a key: as many as the reader of TOML files takes. What walks through a config recurses.
const DEEPEST: usize = 80;

/// Sets `a.b=value` in `table`, or `a.0.b=value` in the first entry of a list; a value that is not TOML is taken as a string.
fn overlay(table: &mut Table, set: &str) -> Result<(), ConfigError> {
    let fail = |reason: &str| ConfigError(format!("--set {set}: {reason}"));
    let (key, value) = set.split_once('=').ok_or_else(|| fail("expected key=value"))?;
    let value = format!("value = {value}")
        .parse::<Table>()
        .ok()
        .filter(|parsed| parsed.len() == 1)
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| Value::String(value.to_owned()));
    if key.split('.').count() > DEEPEST {
        return Err(fail(&format!("the key has more than {DEEPEST} levels")));
    }
    let (first, rest) = key
        .split_once('.')
        .map_or((key, None), |(first, rest)| (first, Some(rest)));
    let mut place = place_in(table, first);
    let mut above = first;
    for part in rest.into_iter().flat_map(|rest| rest.split('.')) {
        place = match place {
            Value::Table(table) => place_in(table, part),
            Value::Array(entries) => {
                let n = entries.len();
                match part.parse::<usize>() {
                    Ok(at) if at < n => &mut entries[at],
                    _ => {
                        let reason = format!("`{above}` has {n} entries, numbered from 0; `{part}` is none of them");
                        return Err(fail(&reason));
                    }
                }
            }
            _ => return Err(fail(&format!("`{above}` is a value, not a table"))),
        };
        above = part;
    }
    *place = value;
    Ok(())
}

/// The value at a key, which begins as an empty table where there is none.
fn place_in<'a>(table: &'a mut Table, key: &str) -> &'a mut Value {
    table.entry(key).or_insert_with(|| Value::Table(Table::new()))
}

/// The message on one line, with the line of the file and, for an unknown key, the nearest known one.
fn one_line(error: &toml::de::Error, text: Option<&str>) -> String {
    let message = error.message().replace('\n', " ");
    let place = match (error.span(), text) {
        (Some(span), Some(text)) => format!(
            "line {}: ",
            text[..span.start.min(text.len())].matches('\n').count() + 1
        ),
        _ => String::new(),
    };
    let mut quoted = message.split('`').skip(1).step_by(2);
    let nearest = match (message.contains("unknown field"), quoted.next()) {
        (true, Some(unknown)) => quoted
            .max_by(|a, b| strsim::jaro_winkler(unknown, a).total_cmp(&strsim::jaro_winkler(unknown, b)))
            .map(str::to_owned),
        _ => None,
    };
    // A value has no span; what the error shows of itself ends with its key.
    let keyed = match text {
        Some(_) => message,
        None => error.to_string().trim_end().replace('\n', " "),
    };
    match nearest {
        Some(known) => format!("{place}{keyed}; did you mean `{known}`?"),
        None => format!("{place}{keyed}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the parsing is looked at")]
    struct Example {
        steps: usize,
        batch: Option<usize>,
        learning_rate: Option<f64>,
    }

    fn parse(text: &str, sets: &[&str]) -> Result<Example, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        read(file.path(), &sets).map_err(|error| error.0.split(": ").skip(1).collect::<Vec<_>>().join(": "))
    }

    #[test]
    fn sets_win_over_the_file() {
        let example = parse("steps = 3", &["steps=5", "learning_rate=1e-3"]).unwrap();
        assert_eq!((example.steps, example.learning_rate), (5, Some(1e-3)));
    }

    #[test]
    fn sets_reach_into_lists() {
        let mut table: Table = "[[autoencoder]]\nk = 4\n[[autoencoder]]\nk = [1, 2]".parse().unwrap();
        overlay(&mut table, "autoencoder.0.k=8").unwrap();
        overlay(&mut table, "autoencoder.1.k.1=16").unwrap();
        overlay(&mut table, "autoencoder.1.name=wide").unwrap();
        let expected = "[[autoencoder]]\nk = 8\n[[autoencoder]]\nk = [1, 16]\nname = \"wide\"";
        assert_eq!(table, expected.parse().unwrap());
        for (set, said) in [
            (
                "autoencoder.2.k=1",
                "`autoencoder` has 2 entries, numbered from 0; `2` is none of them",
            ),
            ("autoencoder.k=1", "`k` is none of them"),
            ("autoencoder.0.k.0=1", "`k` is a value, not a table"),
        ] {
            let error = overlay(&mut table, set).unwrap_err();
            assert!(error.0.ends_with(said), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let error = parse("steps = 3\nlearnign_rate = 1.0", &[]).unwrap_err();
        assert!(error.ends_with("did you mean `learning_rate`?"), "{error}");
    }

    #[test]
    fn a_value_of_another_type_names_its_key() {
        let error = parse("steps = 3", &["steps=a"]).unwrap_err();
        assert!(error.contains("`steps`") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn counts_that_no_machine_could_serve_are_named() {
        let error = parse("steps = 3", &["steps=100000000000"]).unwrap_err();
        assert!(error.contains("`steps` is 100000000000"), "{error}");
        let nested = "[a]\nb = [1, 9000000000]\nseeds = [9000000000]"
            .parse::<Table>()
            .unwrap();
        assert_eq!(
            check_counts("", &Value::Table(nested)),
            Err("`a.b` is 9000000000, more than 1000000000".to_owned())
        );
        // One key a `--set`: what follows on another line would be dropped without a word.
        let error = parse("steps = 3", &["steps=1\nbatch=3"]).unwrap_err();
        assert!(error.contains("`steps`"), "{error}");
    }

    #[test]
    fn depth_is_bounded_however_it_is_written() {
        let path = |levels: usize| vec!["a"; levels].join(".");
        // A key, a key beside a table, arrays, inline tables, and the same in a file.
        for (file, set) in [
            (String::new(), format!("{}=1", path(50_000))),
            ("a = 1".to_owned(), format!("{}=1", path(81))),
            (String::new(), format!("steps={}", "[".repeat(50_000))),
            (
                String::new(),
                format!("steps={}{}", "[".repeat(50_000), "]".repeat(50_000)),
            ),
            (
                String::new(),
                format!("steps={}1{}", "{a=".repeat(50_000), "}".repeat(50_000)),
            ),
            (format!("{} = 1", path(50_000)), "steps=1".to_owned()),
            (format!("[{}]", path(50_000)), "steps=1".to_owned()),
            (
                format!("steps = {}1{}", "{a=".repeat(50_000), "}".repeat(50_000)),
                "steps=1".to_owned(),
            ),
        ] {
            assert!(parse(&file, &[&set]).is_err());
        }
        let error = parse("", &[&format!("{}=1", path(81))]).unwrap_err();
        assert!(error.contains("more than 80 levels"), "{error}");
        // As deep as the two ways together go.
        let deep = format!("{}={}1{}", path(80), "{a=".repeat(79), "}".repeat(79));
        assert!(parse("", &[&deep]).unwrap_err().contains("unknown field `a`"));
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        let error = parse("steps = 3\nbatch == 1", &[]).unwrap_err();
        assert!(error.starts_with("line 2"), "{error}");
    }

    /// Pieces of TOML, whole and broken, and of what is none.
    fn piece() -> impl Strategy<Value = String> {
        let known = [
            "steps",
            "batch",
            "learning_rate",
            ".",
            "=",
            " = ",
            "\n",
            "[",
            "]",
            "[[",
            "]]",
            "{",
            "}",
            ",",
            "\"",
            "\"\"\"",
            "'",
            "#",
            "\\",
            "\\u12",
            "-",
            "+",
            "_",
            "0",
            "1",
            "1e",
            "1e-3",
            "nan",
            "inf",
            "0x",
            "9223372036854775808",
            "true",
            "1979-05-27T07:32:00Z",
            "`",
            "\r",
            "\0",
            "\u{feff}",
            "\u{1b}",
            "\u{202e}",
            "ä",
        ];
        prop_oneof![4 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,6}"]
    }

    fn text(longest: usize) -> impl Strategy<Value = String> {
        prop::collection::vec(piece(), 0..longest).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]

        #[test]
        fn no_text_and_no_set_ends_in_a_panic(file in text(20), sets in prop::collection::vec(text(10), 0..3)) {
            let path = tempfile::NamedTempFile::new().unwrap();
            for file in [file.as_str(), "steps = 3"] {
                std::fs::write(path.path(), file).unwrap();
                if let Err(error) = read::<Example>(path.path(), &sets) {
                    prop_assert!(!error.0.is_empty());
                }
            }
        }
    }
}
