//! The text, or the messages of a chat, of a line of JSON, of which nothing but that one field is looked at.
//!
//! The other fields may hold whatever the grammar of JSON allows: half a surrogate pair, a number beyond all types, any
//! depth of brackets. `NaN` and `Infinity`, which the grammar does not have and Python's `json` writes, pass there too.

use std::borrow::Cow;
use std::fmt;

use std::marker::PhantomData;

use crate::ChatMessages;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

/// The text of the field `field` in a line; `None` is null. A name that stands there several times counts where it stands
/// last, as in Python.
pub(super) fn text(line: &[u8], field: &str) -> Result<Option<String>, String> {
    let (line, count) = counted(line, field, "text_field")?;
    let object = Object::new(field, count, Text);
    // The line is JSON, so that only the value of the field can be refused.
    let taken = object
        .deserialize(&mut serde_json::Deserializer::from_slice(&line))
        .map_err(|_| format!("has a field `{field}` that is not text; set `text_field`"))?;
    taken.value.flatten().map(|bytes| unicode(bytes, &line)).transpose()
}

/// The messages in the field `field` in a line; `None` is null. A name that stands there several times counts as in [`text`].
pub(super) fn messages(line: &[u8], field: &str) -> Result<Option<ChatMessages>, String> {
    let (line, count) = counted(line, field, "text_field")?;
    let object = Object::new(field, count, PhantomData::<Option<ChatMessages>>);
    let taken = object
        .deserialize(&mut serde_json::Deserializer::from_slice(&line))
        .map_err(|error| {
            format!(
                "has a field `{field}` that cannot be read as messages ({})",
                cause(&error)
            )
        })?;
    Ok(taken.value.flatten())
}

/// The line as plain JSON, and how often the field stands in it.
fn counted<'a>(line: &'a [u8], field: &str, key: &str) -> Result<(Cow<'a, [u8]>, usize), String> {
    match line.trim_ascii_start().first() {
        Some(b'{') => {}
        Some(b'[') => return Err("is an array; one object a line is expected".to_owned()),
        _ => return Err("is not JSON (it does not begin with `{`); one object a line is expected".to_owned()),
    }
    let (line, count) = match occurrences(line, field) {
        Ok(count) => (Cow::Borrowed(line), count),
        Err(error) => {
            let replaced = without_nan(line).ok_or_else(|| not_json(&error))?;
            let count = occurrences(&replaced, field).map_err(|_| not_json(&error))?;
            (replaced.into(), count)
        }
    };
    match count {
        0 => Err(format!("has no field `{field}`; set `{key}`")),
        count => Ok((line, count)),
    }
}

/// How often the field stands in the line, all of which is checked.
fn occurrences(line: &[u8], field: &str) -> serde_json::Result<usize> {
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let taken = Object::new(field, 0, PhantomData::<IgnoredAny>).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(taken.count)
}

fn not_json(error: &serde_json::Error) -> String {
    format!("is not JSON ({}); one object a line is expected", cause(error))
}

fn cause(error: &serde_json::Error) -> String {
    // The library counts lines too; there is but one.
    let text = error.to_string();
    let cause = text.rsplit_once(" at line ").map_or(text.as_str(), |(cause, _)| cause);
    format!("{cause}, byte {}", error.column())
}

/// The string whose bytes these are; an unpaired surrogate becomes U+FFFD.
fn unicode(mut bytes: Vec<u8>, line: &[u8]) -> Result<String, String> {
    // The library gives such a surrogate in three bytes that no character has in UTF-8. In a line that is not UTF-8 they
    // may stand as they are, and are not ours to replace.
    let is_surrogate = |bytes: &[u8]| bytes[0] == 0xED && (0xA0..=0xBF).contains(&bytes[1]);
    if bytes.windows(3).any(is_surrogate) && str::from_utf8(line).is_ok() {
        for at in 0..bytes.len() - 2 {
            if is_surrogate(&bytes[at..at + 3]) {
                bytes[at..at + 3].copy_from_slice("\u{FFFD}".as_bytes());
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8; convert the file to UTF-8".to_owned())
}

/// An object, of which the field is taken where it stands for the `take`th time, as `value` reads it.
#[derive(Clone, Copy)]
struct Object<'a, V> {
    field: &'a str,
    take: usize,
    value: V,
}

impl<'a, V> Object<'a, V> {
    fn new(field: &'a str, take: usize, value: V) -> Self {
        Self { field, take, value }
    }
}

struct Taken<T> {
    /// How often the field stands there.
    count: usize,
    value: Option<T>,
}

impl<'de, V: DeserializeSeed<'de>> DeserializeSeed<'de> for Object<'_, V> {
    type Value = Taken<V::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, V: DeserializeSeed<'de>> Visitor<'de> for Object<'_, V> {
    type Value = Taken<V::Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut count, mut value, mut wanted) = (0, None, Some(self.value));
        while let Some(is_field) = map.next_key_seed(Name(self.field))? {
            count += usize::from(is_field);
            match wanted.take_if(|_| is_field && count == self.take) {
                Some(seed) => value = Some(map.next_value_seed(seed)?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Taken { count, value })
    }
}

/// Whether a name is this one. As bytes, since a name too may hold half a surrogate pair.
struct Name<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<bool, E> {
        Ok(bytes == self.0.as_bytes())
    }
}

/// The bytes of a string, or `None` for null.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Option<Vec<u8>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Option<Vec<u8>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text")
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(Some(bytes.to_vec()))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(A::Error::custom("an array"))
    }
}

/// The line with 0 for `NaN`, `Infinity` and `-Infinity` outside strings, each as long as before; `None` where none stands.
fn without_nan(line: &[u8]) -> Option<Vec<u8>> {
    let mut replaced = line.to_vec();
    let (mut at, mut in_string, mut any) = (0, false, false);
    while at < line.len() {
        let words = ["NaN", "Infinity", "-Infinity"];
        let word = words
            .iter()
            .find(|word| !in_string && line[at..].starts_with(word.as_bytes()));
        at += match (line[at], word) {
            (_, Some(word)) => {
                replaced[at..at + word.len()].fill(b' ');
                replaced[at] = b'0';
                any = true;
                word.len()
            }
            (b'\\', _) => 2,
            (b'"', _) => {
                in_string = !in_string;
                1
            }
            _ => 1,
        };
    }
    any.then_some(replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Option<String>, String> {
        text(line.as_bytes(), "text")
    }

    #[test]
    fn other_fields_are_passed_over() {
        for other in [
            r#""\ud83d""#.to_owned(),
            r#""\udc00 \uD800\u0041""#.to_owned(),
            "1e999".to_owned(),
            "-1e400".to_owned(),
            "123456789".repeat(100),
            format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
            format!("{}1{}", r#"{"text":"#.repeat(50_000), "}".repeat(50_000)),
            "NaN".to_owned(),
            "[-Infinity, Infinity, \"NaN \\\" NaN\", NaN]".to_owned(),
            "null".to_owned(),
            r#""\u0000\/""#.to_owned(),
        ] {
            for line in [
                format!(r#"{{"text": "it's", "other": {other}}}"#),
                format!(r#" {{"other": {other}, "\ud800": 1, "text":"it's" }} "#),
            ] {
                assert_eq!(
                    of(&line),
                    Ok(Some("it's".to_owned())),
                    "{}",
                    &line[..line.len().min(90)]
                );
            }
        }
        // A field that is not UTF-8 is none of ours either.
        let latin = b"{\"title\": \"M\xfcller\", \"text\": \"x\"}";
        assert_eq!(text(latin, "text"), Ok(Some("x".to_owned())));
    }

    #[test]
    fn the_text_is_unescaped_and_an_unpaired_surrogate_replaced() {
        for (written, expected) in [
            (r#"zw\u00f6lf\n\"\\\/\u20ac\ud83d\ude42"#, "zwölf\n\"\\/€🙂"),
            (r"a\ud83d b", "a\u{fffd} b"),
            (r"\ude42\ud83d", "\u{fffd}\u{fffd}"),
            (r"\ud83d\ud83d\ude42", "\u{fffd}🙂"),
            (r"\ud83d\u0041", "\u{fffd}A"),
            ("\u{d7ff}\u{e000} í", "\u{d7ff}\u{e000} í"),
            ("NaN", "NaN"),
        ] {
            let line = format!(r#"{{"text": "{written}"}}"#);
            assert_eq!(of(&line), Ok(Some(expected.to_owned())), "{written}");
        }
    }

    #[test]
    fn a_name_that_stands_twice_counts_where_it_stands_last() {
        assert_eq!(
            of(r#"{"text": 3, "text": "b", "a": {"text": "c"}}"#),
            Ok(Some("b".to_owned()))
        );
        assert_eq!(of(r#"{"text": "b", "\u0074ext": null}"#), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_said_once() {
        for (line, part) in [
            (r#"[{"text": "a"}]"#, "is an array; one object a line"),
            ("[", "is an array"),
            (r#""text""#, "does not begin with `{`"),
            ("{", "is not JSON (EOF while parsing an object, byte 1)"),
            (
                r#"{"text": "a"} {"text": "b"}"#,
                "is not JSON (trailing characters, byte 15)",
            ),
            (r#"{"text": "a", "b": tru}"#, "is not JSON (expected ident"),
            (
                r#"{"text": "a", "b": NaN, "c"}"#,
                "is not JSON (expected value, byte 20)",
            ),
            (r#"{"text": "a" "b": 1}"#, "is not JSON"),
            (r#"{"text": ["a"]}"#, "a field `text` that is not text"),
            (r#"{"text": {"a": 1}}"#, "that is not text"),
            (r#"{"text": 1e999}"#, "that is not text"),
            (r#"{"text": true}"#, "that is not text"),
            (r#"{"body": "a"}"#, "has no field `text`"),
            (r#"{}"#, "has no field `text`"),
            (r#"{"text": "\x"}"#, "is not JSON (invalid escape, byte"),
        ] {
            let reason = of(line).unwrap_err();
            assert!(reason.contains(part) && !reason.contains("at line"), "{line}: {reason}");
        }
        let latin = b"{\"text\": \"M\xfcller\"}";
        assert!(text(latin, "text").unwrap_err().contains("is not UTF-8"));
    }
}
