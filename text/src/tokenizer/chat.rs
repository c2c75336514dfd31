//! Chats as the text that their model was trained on: the template of its files, a Jinja template, rendered as `transformers`
//! renders it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use artifacts::caught;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind};
use serde::{Deserialize, Serialize};
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use super::bos::Beside;
use crate::Error;

/// Steps of a template for one chat: far more than a chat of thousands of messages takes, and a second or two.
const FUEL: u64 = 20_000_000;
/// Name of the template in its environment.
const NAME: &str = "chat template";
/// The name of the template that is meant where tokenizer_config.json has several.
const DEFAULT: &str = "default";
/// The file of a template that stands beside tokenizer_config.json.
const FILE: &str = "chat_template.jinja";

/// The chat template of a model, as its files have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTemplate {
    path: PathBuf,
    source: String,
    bos_token: Option<String>,
    eos_token: Option<String>,
}

impl ChatTemplate {
    /// The template `source`, which stands in the file `path`, and the tokens that it may name.
    pub fn new(path: &Path, source: String, bos_token: Option<String>, eos_token: Option<String>) -> Self {
        Self {
            path: path.to_owned(),
            source,
            bos_token,
            eos_token,
        }
    }

    /// The template in a folder of a model: `chat_template.jinja`, else `chat_template` of tokenizer_config.json, which is a text or a
    /// list of named ones, of which `default` is meant.
    pub(super) fn of_folder(dir: &Path, beside: &Beside) -> Result<Option<Self>, Error> {
        let (file, config) = (dir.join(FILE), dir.join("tokenizer_config.json"));
        let (path, source) = if file.exists() {
            let reason = |error: std::string::FromUtf8Error| failed(&file, &format!("is not UTF-8 ({error})"));
            let source = String::from_utf8(artifacts::read(&file)?).map_err(reason)?;
            (file, source)
        } else {
            let written = &beside.config["chat_template"];
            let mut named = written.as_array().into_iter().flatten();
            let source = match named.find(|named| named["name"] == DEFAULT) {
                Some(named) => named["template"].as_str(),
                None => written.as_str(),
            };
            match source {
                Some(source) => (config, source.to_owned()),
                None if written.is_null() => return Ok(None),
                None => {
                    let reason =
                        format!("`chat_template` is neither a text nor a list with a template named {DEFAULT}");
                    return Err(failed(&config, &reason));
                }
            }
        };
        let token = |key: &str| beside.named(key).map(str::to_owned);
        Ok(Some(Self::new(&path, source, token("bos_token"), token("eos_token"))))
    }

    /// The template, ready to render chats; `date` is what it is told of the time, if it asks.
    ///
    /// # Errors
    ///
    /// A template that is none.
    pub fn compiled(&self, date: Option<ChatDate>) -> Result<Chat, Error> {
        let mut environment = Environment::new();
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        let syntax = syntax.build().map_err(|error| failed(&self.path, &reason_of(&error)))?;
        environment.set_syntax(syntax);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", tojson);
        environment.add_function(
            "raise_exception",
            |message: String| -> Result<Value, minijinja::Error> {
                Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
            },
        );
        environment.add_function("strftime_now", move |format: String| strftime(date, &format));
        for (name, token) in [("bos_token", &self.bos_token), ("eos_token", &self.eos_token)] {
            if let Some(token) = token {
                environment.add_global(name, token.clone());
            }
        }
        let added = caught(|| {
            let added = environment.add_template_owned(NAME, self.source.clone());
            added.map_err(|error| reason_of(&error))
        });
        match added {
            Ok(Ok(())) => Ok(Chat {
                path: self.path.clone(),
                environment,
            }),
            Ok(Err(reason)) | Err(reason) => Err(failed(&self.path, &reason)),
        }
    }
}

/// A chat template, ready to render chats.
#[derive(Debug)]
pub struct Chat {
    path: PathBuf,
    environment: Environment<'static>,
}

/// The messages of a chat: a list of objects with `role` and `content`, and whatever else the template reads.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct ChatMessages(Value);

impl Chat {
    /// The text of a chat, control tokens spelled; with `add_generation_prompt` the beginning of the model's answer is at its end.
    ///
    /// # Errors
    ///
    /// What is wrong, without a place: messages that are none, or that the template refuses.
    pub fn render(&self, messages: &ChatMessages, add_generation_prompt: bool) -> Result<String, String> {
        check(&messages.0)?;
        let context = minijinja::context! {
            messages => messages.0.clone(),
            add_generation_prompt => add_generation_prompt,
        };
        let render = || self.environment.get_template(NAME)?.render(context);
        let reason = match caught(render) {
            Ok(Ok(text)) => return Ok(text),
            Ok(Err(error)) => reason_of(&error),
            Err(panic) => panic,
        };
        Err(format!(
            "is refused by the chat template in {}: {reason}",
            self.path.display()
        ))
    }
}

/// Refuses messages without a role or content.
fn check(messages: &Value) -> Result<(), String> {
    let list = (messages.kind() == ValueKind::Seq)
        .then(|| messages.try_iter().ok())
        .flatten();
    let Some(list) = list else {
        return Err("holds messages that are no list of objects with `role` and `content`".to_owned());
    };
    let mut count = 0;
    for (number, message) in (1..).zip(list) {
        let kind_of = |key: &str| message.get_attr(key).map_or(ValueKind::Undefined, |value| value.kind());
        if message.kind() != ValueKind::Map || kind_of("role") != ValueKind::String {
            return Err(format!(
                "holds a message without a `role` (message {number}); give every message `role` and `content`"
            ));
        }
        if kind_of("content") == ValueKind::Undefined {
            return Err(format!(
                "holds a message without `content` (message {number}); give every message `role` and `content`"
            ));
        }
        count = number;
    }
    match count {
        0 => Err("holds no message, at least one is needed".to_owned()),
        _ => Ok(()),
    }
}

/// What went wrong and in which line of the template.
fn reason_of(error: &minijinja::Error) -> String {
    let line = error.line().map_or_else(String::new, |line| format!("line {line}: "));
    let mut reason = format!("{line}{}", error.kind());
    if let Some(detail) = error.detail() {
        reason = format!("{line}{detail}");
    }
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        reason = format!("{reason}: {error}");
        source = error.source();
    }
    reason
}

fn failed(path: &Path, reason: &str) -> Error {
    super::failed(path, format!("the chat template cannot be used: {reason}").into())
}

/// JSON as Python's `json.dumps(value, ensure_ascii=False)` writes it, with no character escaped for HTML.
fn tojson(value: &Value, arguments: Kwargs) -> Result<Value, minijinja::Error> {
    let indent: Option<usize> = arguments.get("indent")?;
    let escaped: Option<bool> = arguments.get("ensure_ascii")?;
    arguments.assert_all_used()?;
    if escaped == Some(true) {
        return Err(minijinja::Error::new(
            ErrorKind::InvalidOperation,
            "tojson with ensure_ascii=true is not known",
        ));
    }
    let mut bytes = Vec::new();
    let value = Serde(value.clone());
    let written = match indent {
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Spaced)),
        Some(spaces) => {
            let spaces = " ".repeat(spaces.min(80));
            let pretty = PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, pretty))
        }
    };
    let failed = |reason: String| minijinja::Error::new(ErrorKind::InvalidOperation, format!("tojson: {reason}"));
    written.map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| failed(error.to_string()))?;
    Ok(Value::from(text))
}

/// One line, a space behind every comma and colon.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
        CompactFormatter.begin_object_value(writer)?;
        writer.write_all(b" ")
    }
}

/// The day that a template is told: a chat gives the same text on every day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChatDate {
    year: u16,
    month: u8,
    day: u8,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

impl ChatDate {
    fn days_of(year: u16, month: u8) -> u8 {
        match month {
            4 | 6 | 9 | 11 => 30,
            2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
            2 => 28,
            _ => 31,
        }
    }

    /// Days of the year before it.
    fn passed(self) -> usize {
        let months = (1..self.month).map(|month| usize::from(Self::days_of(self.year, month)));
        months.sum::<usize>() + usize::from(self.day) - 1
    }

    /// The day of the week, from Sunday.
    fn weekday(self) -> usize {
        let before = usize::from(self.year) - 1; // whole years since January 1 of year 1, a Monday
        (1 + 365 * before + before / 4 - before / 100 + before / 400 + self.passed()) % 7
    }
}

impl FromStr for ChatDate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected a day as YYYY-MM-DD, found \"{text}\"");
        let parts: Vec<&str> = text.split('-').collect();
        let [year, month, day] = parts[..] else {
            return Err(expected());
        };
        let is_number = |part: &str, digits: usize| part.len() == digits && part.bytes().all(|c| c.is_ascii_digit());
        if !(is_number(year, 4) && is_number(month, 2) && is_number(day, 2)) {
            return Err(expected());
        }
        let (Ok(year), Ok(month), Ok(day)) = (year.parse(), month.parse(), day.parse()) else {
            return Err(expected());
        };
        let exists = year >= 1 && (1..=12).contains(&month) && (1..=Self::days_of(year, month)).contains(&day);
        match exists {
            true => Ok(Self { year, month, day }),
            false => Err(expected()),
        }
    }
}

impl TryFrom<String> for ChatDate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for ChatDate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl From<ChatDate> for String {
    fn from(date: ChatDate) -> Self {
        date.to_string()
    }
}

/// The day as Python's `strftime` writes it; the time is midnight.
fn strftime(date: Option<ChatDate>, format: &str) -> Result<String, minijinja::Error> {
    let failed = |reason: String| minijinja::Error::new(ErrorKind::InvalidOperation, reason);
    let Some(date) = date else {
        return Err(failed(
            "the template asks for the date; set `chat_date`, so that the text is the same on every day".to_owned(),
        ));
    };
    let (month, weekday) = (MONTHS[usize::from(date.month) - 1], DAYS[date.weekday()]);
    let mut text = String::new();
    let mut characters = format.chars();
    while let Some(c) = characters.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        match characters.next() {
            Some('Y') => text.push_str(&format!("{:04}", date.year)),
            Some('y') => text.push_str(&format!("{:02}", date.year % 100)),
            Some('m') => text.push_str(&format!("{:02}", date.month)),
            Some('d') => text.push_str(&format!("{:02}", date.day)),
            Some('j') => text.push_str(&format!("{:03}", date.passed() + 1)),
            Some('B') => text.push_str(month),
            Some('b') => text.push_str(&month[..3]),
            Some('A') => text.push_str(weekday),
            Some('a') => text.push_str(&weekday[..3]),
            Some('H' | 'M' | 'S') => text.push_str("00"),
            Some('%') => text.push('%'),
            other => {
                let other = other.map_or_else(String::new, String::from);
                return Err(failed(format!("strftime_now: %{other} is not known")));
            }
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (day, expected) in [
            ("2024-07-26", "26 Jul 2024, Fri Friday July 208 07 24 %"),
            ("2000-02-29", "29 Feb 2000, Tue Tuesday February 060 02 00 %"),
            ("1999-12-31", "31 Dec 1999, Fri Friday December 365 12 99 %"),
            ("2100-03-01", "01 Mar 2100, Mon Monday March 060 03 00 %"),
        ] {
            let date: ChatDate = day.parse().unwrap();
            assert_eq!(date.to_string(), day);
            assert_eq!(
                strftime(Some(date), "%d %b %Y, %a %A %B %j %m %y %%").unwrap(),
                expected
            );
        }
        for odd in [
            "",
            "2024-7-26",
            "2023-02-29",
            "2024-13-01",
            "2024-00-01",
            "0000-01-01",
            "26.07.2024",
            "2024-07-+1",
        ] {
            assert!(odd.parse::<ChatDate>().unwrap_err().contains("YYYY-MM-DD"), "{odd}");
        }
        assert!(
            strftime(None, "%Y")
                .unwrap_err()
                .to_string()
                .contains("set `chat_date`")
        );
        assert!(
            strftime("2024-07-26".parse().ok(), "%Q")
                .unwrap_err()
                .to_string()
                .contains("%Q")
        );
    }
}
