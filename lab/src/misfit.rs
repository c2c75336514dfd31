//! What to say of a config value that has the wrong type. The parser's own words name Rust types, and of a table with a tag
//! only the table; the key is found by leaving out one value after the other.

use serde::de::DeserializeOwned;
use toml::Value;

/// A word that no config means.
const PROBE: &str = "\u{1}";

/// Most values of a config that are left out one after the other: the time grows with the square of their number.
const MOST: usize = 1000;

/// Where a value stands: keys of tables and numbers of list entries.
type Path = Vec<Step>;

#[derive(Debug, Clone)]
enum Step {
    Key(String),
    Entry(usize),
}

/// The message for a value in `table` that cannot be parsed as `T`; `None` where no single value is to blame.
pub(crate) fn describe<T: DeserializeOwned>(table: &Value, error: &toml::de::Error) -> Option<String> {
    let message = error.message();
    if ["unknown field", "missing field"]
        .iter()
        .any(|part| message.starts_with(part))
    {
        return None;
    }
    let path = culprit::<T>(table, error)?;
    let key = name(&path);
    let found = get(table, &path)?;
    let is = match found {
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => format!("is {found}"),
        Value::Datetime(_) => "is a date".to_owned(),
        Value::Array(_) => "is a list".to_owned(),
        Value::Table(_) => "is a table".to_owned(),
    };
    // Only a word that is not known makes the parser list those that are.
    let mut probed = table.clone();
    replace(&mut probed, &path, Some(Value::String(PROBE.to_owned())));
    let listed = error_of::<T>(&probed).and_then(|message| {
        let expected = message.strip_prefix(&format!("unknown variant `{PROBE}`, expected "))?;
        Some(expected.replace('`', "\""))
    });
    if let Some(expected) = listed {
        return Some(format!("`{key}` {is}, expected {expected}"));
    }
    let type_error = ["invalid type", "invalid value"]
        .iter()
        .any(|part| message.starts_with(part));
    Some(match message.rsplit_once(", expected ") {
        Some((_, expected)) if type_error => format!("`{key}` {is}, expected {}", plain(expected)),
        _ => format!("`{key}`: {}", message.replace('\n', " ")),
    })
}

/// What a Rust type is to the reader of a config.
fn plain(expected: &str) -> &str {
    match expected {
        "usize" | "u64" | "u32" | "u16" | "u8" => "a whole number, 0 or more",
        "isize" | "i64" | "i32" | "i16" | "i8" => "a whole number",
        "f64" | "f32" => "a number",
        "a sequence" => "a list",
        "a map" => "a table",
        "a boolean" => "true or false",
        table if table.starts_with("struct ") || table.contains("tagged enum ") => "a table",
        other => other,
    }
}

/// The last value without which the message is another one, among those at and below the key that the error names: values
/// before it may only be missed. The tag of a table is not to blame for what the table holds: of words only one that the
/// message repeats is.
fn culprit<T: DeserializeOwned>(table: &Value, error: &toml::de::Error) -> Option<Path> {
    let mut paths = Vec::new();
    collect(table, &mut Vec::new(), &mut paths);
    if paths.len() > MOST {
        return None;
    }
    // Behind the message stands `in` and the key, which no method gives.
    let shown = error.to_string();
    let shown = shown
        .trim_end()
        .rsplit_once("\nin `")
        .and_then(|(_, key)| key.strip_suffix('`'));
    let named: Vec<&str> = shown.into_iter().flat_map(|key| key.split('.')).collect();
    paths.retain(|path| {
        let mut without = table.clone();
        replace(&mut without, path, None);
        keys(path).take(named.len()).eq(named.iter().copied())
            && error_of::<T>(&without).as_deref() != Some(error.message())
    });
    let repeated = |path: &Path| match get(table, path) {
        Some(Value::String(word)) => error.message().contains(word.as_str()),
        _ => true,
    };
    let last = paths.iter().rposition(repeated).unwrap_or(paths.len().checked_sub(1)?);
    Some(paths.swap_remove(last))
}

fn keys(path: &[Step]) -> impl Iterator<Item = &str> {
    path.iter().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Entry(_) => None,
    })
}

fn error_of<T: DeserializeOwned>(table: &Value) -> Option<String> {
    let parsed: Result<T, toml::de::Error> = table.clone().try_into();
    parsed.err().map(|error| error.message().to_owned())
}

/// The paths of all values below `value`.
fn collect(value: &Value, path: &mut Path, paths: &mut Vec<Path>) {
    let inner: Vec<(Step, &Value)> = match value {
        Value::Table(table) => table
            .iter()
            .map(|(key, value)| (Step::Key(key.clone()), value))
            .collect(),
        Value::Array(entries) => entries
            .iter()
            .enumerate()
            .map(|(i, value)| (Step::Entry(i), value))
            .collect(),
        _ => Vec::new(),
    };
    for (step, value) in inner {
        path.push(step);
        paths.push(path.clone());
        collect(value, path, paths);
        path.pop();
    }
}

fn get<'a>(value: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Entry(entry) => value.get(*entry),
    })
}

/// Puts another value at `path`, or none.
fn replace(value: &mut Value, path: &[Step], new: Option<Value>) {
    let Some((last, path)) = path.split_last() else {
        return;
    };
    let parent = path.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Entry(entry) => value.get_mut(*entry),
    });
    match (parent, last, new) {
        (Some(Value::Table(table)), Step::Key(key), Some(new)) => drop(table.insert(key.clone(), new)),
        (Some(Value::Table(table)), Step::Key(key), None) => drop(table.remove(key)),
        (Some(Value::Array(entries)), Step::Entry(entry), Some(new)) => entries[*entry] = new,
        (Some(Value::Array(entries)), Step::Entry(entry), None) => drop(entries.remove(*entry)),
        _ => {}
    }
}

/// The path as a reader of the config writes it; an entry of a list of plain values goes by the list's name.
fn name(path: &[Step]) -> String {
    let entry_last = matches!(path.last(), Some(Step::Entry(_)));
    let mut name = String::new();
    for step in &path[..path.len() - usize::from(entry_last)] {
        match step {
            Step::Key(key) if name.is_empty() => name.push_str(key),
            Step::Key(key) => name.push_str(&format!(".{key}")),
            Step::Entry(entry) => name.push_str(&format!("[{entry}]")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a harvest config with these lines.
    fn said(lines: &str) -> String {
        let text = format!("model = \"m\"\n{lines}");
        let table = Value::Table(text.parse().unwrap());
        let parsed: Result<activations::HarvestFile, toml::de::Error> = table.clone().try_into();
        describe::<activations::HarvestFile>(&table, &parsed.unwrap_err()).unwrap()
    }

    #[test]
    fn values_of_the_wrong_type_name_their_key_and_what_is_expected() {
        let source = "source = { kind = \"prompts\", task = \"ioi\", n = 3 }\n";
        let text = "source = { context = 3, kind = \"text\", path = \"p\"";
        for (lines, expected) in [
            (
                format!("{text} }}\nspecial_tokens = true"),
                "`special_tokens` is true, expected \"exclude\" or \"mark\"",
            ),
            (
                format!("{source}special_tokens = true"),
                "`special_tokens` is true, expected \"exclude\" or \"mark\"",
            ),
            (
                format!("{source}special_tokens = [\"mark\"]"),
                "`special_tokens` is a list, expected \"exclude\" or \"mark\"",
            ),
            (
                format!("{source}dtype = 16"),
                "`dtype` is 16, expected one of \"f32\", \"f16\", \"bf16\"",
            ),
            (
                format!("{source}dtype = \"f8\""),
                "`dtype` is \"f8\", expected one of \"f32\", \"f16\", \"bf16\"",
            ),
            (
                format!("{source}batch = -1"),
                "`batch` is -1, expected a whole number, 0 or more",
            ),
            (
                format!("{source}batch = 1.5"),
                "`batch` is 1.5, expected a whole number, 0 or more",
            ),
            (format!("{source}hooks = \"x\""), "`hooks` is \"x\", expected a list"),
            (format!("{source}hooks = [3]"), "`hooks` is 3, expected a string"),
            (
                format!("{source}refactor_attention = 1"),
                "`refactor_attention` is 1, expected true or false",
            ),
            (
                format!("{source}roles = [\"END\", false]"),
                "`roles` is false, expected a string",
            ),
            (
                "source = { kind = \"prompts\", task = true, n = 3 }".to_owned(),
                "`source.task` is true, expected a string",
            ),
            (
                "source = { kind = \"prompts\", task = \"ioi\", n = \"many\" }".to_owned(),
                "`source.n` is \"many\", expected a whole number, 0 or more",
            ),
            (
                "source = { kind = true, n = 3 }".to_owned(),
                "`source.kind` is true, expected one of \"prompts\", \"world\", \"text\"",
            ),
            (
                format!("{text}, fill = false }}"),
                "`source.fill` is false, expected \"documents\" or \"packed\"",
            ),
            (
                "source = { kind = \"text\", path = 3 }".to_owned(),
                "`source.path`: expected a path or a list of paths",
            ),
            ("source = 3".to_owned(), "`source` is 3, expected a table"),
        ] {
            let said = said(&lines);
            assert!(said.starts_with(expected), "{lines}\n{said}");
        }
    }

    #[test]
    fn the_entry_of_a_list_of_tables_is_named() {
        let table = "sites = [{ name = \"a\", n = 1 }, { name = \"b\", n = \"x\" }]"
            .parse()
            .unwrap();
        #[derive(Debug, serde::Deserialize)]
        #[expect(dead_code, reason = "only the parsing is looked at")]
        struct Site {
            name: String,
            n: usize,
        }
        #[derive(Debug, serde::Deserialize)]
        #[expect(dead_code, reason = "only the parsing is looked at")]
        struct File {
            sites: Vec<Site>,
        }
        let table = Value::Table(table);
        let error = table.clone().try_into::<File>().unwrap_err();
        let said = describe::<File>(&table, &error).unwrap();
        assert_eq!(said, "`sites[1].n` is \"x\", expected a whole number, 0 or more");
    }
}
