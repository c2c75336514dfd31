//! What a reply says: a call, an answer, or neither.
//!
//! Calls, in the order in which they are looked for: a line of JSON `{"call": [...]}`; `CALL(a, b, "c d")`; `PYTHON(path a b c)`, as FIND's
//! agent writes. Strings may be quoted as in JSON, so empty texts, quotes and spaces can be asked.

use serde_json::Value;

use crate::black_box::{Input, Kind};

/// A description, and what stands in the other sections of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// After `[DESCRIPTION]`.
    pub description: String,
    /// After `[DOMAIN]`.
    pub domain: Option<String>,
    /// After `[CODE]`, without fences.
    pub code: Option<String>,
}

/// A reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Turn {
    /// The function is asked. The answer in the same reply was written before the outputs were seen.
    Call(Vec<Input>, Option<Answer>),
    /// The function is described.
    Answer(Answer),
    /// Something that looks like a call and is none, and why.
    BadCall(String),
    /// Neither.
    Neither,
}

/// Reads a reply about a function of some kind.
pub fn parse(reply: &str, kind: Kind) -> Turn {
    let answer = answer(reply);
    // What stands behind the description is part of it.
    let before = match reply.find(DESCRIPTION) {
        Some(at) => &reply[..at],
        None => reply,
    };
    let after = reply.rfind(DESCRIPTION).map_or("", |at| &reply[at..]);
    for part in [before, after] {
        match call(part, kind) {
            Some(Ok(inputs)) => return Turn::Call(inputs, answer),
            Some(Err(reason)) if answer.is_none() => return Turn::BadCall(reason),
            Some(Err(_)) | None => {}
        }
    }
    match answer {
        Some(answer) => Turn::Answer(answer),
        None => Turn::Neither,
    }
}

const DESCRIPTION: &str = "[DESCRIPTION]";
const SECTIONS: [&str; 3] = [DESCRIPTION, "[DOMAIN]", "[CODE]"];

/// The sections behind the last description.
fn answer(reply: &str) -> Option<Answer> {
    let start = reply.rfind(DESCRIPTION)?;
    let section = |name: &str| {
        let (_, rest) = reply[start..].split_once(name)?;
        let end = SECTIONS
            .iter()
            .filter_map(|other| rest.find(other))
            .min()
            .unwrap_or(rest.len());
        let text = rest[..end].trim().trim_start_matches(':').trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    Some(Answer {
        description: section(DESCRIPTION).unwrap_or_default(),
        domain: section("[DOMAIN]"),
        code: section("[CODE]").map(|code| unfenced(&code)),
    })
}

/// The content of the last block between fences, or all where there is none.
fn unfenced(code: &str) -> String {
    let parts: Vec<&str> = code.split("```").collect();
    match parts.len() {
        0..=2 => code.trim_matches('`').trim().to_owned(),
        n => {
            let block = parts[if n % 2 == 1 { n - 2 } else { n - 3 }];
            // The first line may name a language.
            let body = block
                .split_once('\n')
                .filter(|(first, _)| first.trim().chars().all(char::is_alphanumeric));
            body.map_or(block, |(_, body)| body).trim().to_owned()
        }
    }
}

/// The inputs of the first call.
fn call(text: &str, kind: Kind) -> Option<Result<Vec<Input>, String>> {
    for line in text.lines() {
        let line = line.trim().trim_matches('`');
        if line.starts_with('{')
            && let Ok(Value::Object(object)) = serde_json::from_str::<Value>(line)
            && let Some(call) = object.get("call")
        {
            let Some(list) = call.as_array() else {
                return Some(Err("the value of \"call\" is no list".to_owned()));
            };
            return Some(list.iter().map(|value| of_json(value, kind)).collect());
        }
    }
    if let Some(arguments) = bracketed(text, "CALL(") {
        return Some(
            arguments
                .and_then(|arguments| split(arguments, ','))
                .and_then(|words| inputs(words, kind)),
        );
    }
    let arguments = bracketed(text, "PYTHON(")?;
    // The first word is the path of the script.
    let words = arguments.and_then(|arguments| split(arguments, ' '));
    Some(
        words
            .map(|words| words.into_iter().filter(|(word, _)| !word.is_empty()).skip(1).collect())
            .and_then(|words| inputs(words, kind)),
    )
}

fn of_json(value: &Value, kind: Kind) -> Result<Input, String> {
    match (kind, value) {
        (Kind::Numeric, Value::Number(number)) => number
            .as_f64()
            .map(Input::Number)
            .ok_or_else(|| format!("{number} is too large")),
        (Kind::Numeric, Value::String(text)) => number(text),
        (Kind::Numeric, other) => Err(format!("{other} is no number")),
        (_, Value::String(text)) => Ok(Input::Text(text.clone())),
        (_, Value::Number(number)) => Ok(Input::Text(number.to_string())),
        (_, other) => Err(format!("{other} is no text")),
    }
}

fn number(text: &str) -> Result<Input, String> {
    let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    number
        .map(Input::Number)
        .ok_or_else(|| format!("{text:?} is no number"))
}

/// What stands between `name`, which ends with a bracket, and the bracket that closes it; quoted brackets do not count.
fn bracketed<'a>(text: &'a str, name: &str) -> Option<Result<&'a str, String>> {
    let start = text.find(name)? + name.len();
    let (mut depth, mut quoted, mut escaped) = (1, false, false);
    for (at, c) in text[start..].char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return Some(Ok(&text[start..start + at]));
                }
            }
            _ => {}
        }
    }
    Some(Err(format!("the bracket of {name} is not closed")))
}

/// Words between separators, and whether each was quoted.
fn split(text: &str, separator: char) -> Result<Vec<(String, bool)>, String> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if rest.starts_with('"') {
            let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            let word = match stream.next() {
                Some(Ok(word)) => word,
                _ => return Err(format!("a quoted text is not closed: {rest}")),
            };
            rest = rest[stream.byte_offset()..].trim_start();
            words.push((word, true));
            match rest.strip_prefix(separator) {
                Some(behind) => rest = behind,
                None if rest.is_empty() => return Ok(words),
                None if separator == ' ' => {}
                None => return Err(format!("a {separator:?} is missing before {rest}")),
            }
        } else {
            let (word, behind) = match rest.split_once(separator) {
                Some((word, behind)) => (word, Some(behind)),
                None => (rest, None),
            };
            words.push((word.trim().to_owned(), false));
            match behind {
                Some(behind) => rest = behind,
                None => return Ok(words),
            }
        }
    }
}

fn inputs(words: Vec<(String, bool)>, kind: Kind) -> Result<Vec<Input>, String> {
    let words = words.into_iter().filter(|(word, quoted)| *quoted || !word.is_empty());
    let input = |(word, _): (String, bool)| match kind {
        Kind::Numeric => number(&word),
        _ => Ok(Input::Text(word)),
    };
    let inputs: Vec<Input> = words.map(input).collect::<Result<_, _>>()?;
    match inputs.is_empty() {
        true => Err("it asks nothing".to_owned()),
        false => Ok(inputs),
    }
}

/// Which of three choices a judge names, from 0: after `[ANSWER]`, or the only digit from 1 to 3 in the reply.
pub fn choice(reply: &str) -> Option<usize> {
    let word = |text: &str| text.chars().take_while(char::is_ascii_alphanumeric).collect::<String>();
    let in_range = |number: &str| match number {
        "1" => Some(0),
        "2" => Some(1),
        "3" => Some(2),
        _ => None,
    };
    if let Some(at) = reply.rfind("[ANSWER]") {
        let rest = reply[at + "[ANSWER]".len()..]
            .trim_start()
            .trim_start_matches(':')
            .trim_start();
        return in_range(&word(rest));
    }
    let numbers: Vec<&str> = reply
        .split(|c: char| !c.is_ascii_digit())
        .filter(|number| !number.is_empty())
        .collect();
    match numbers.as_slice() {
        [number] => in_range(number),
        _ => None,
    }
}

/// A list of `n` zeroes and ones: the first between square brackets.
pub fn flags(reply: &str, n: usize) -> Option<Vec<bool>> {
    let list = reply.split_once('[')?.1.split_once(']')?.0;
    let flags: Option<Vec<bool>> = list
        .split(',')
        .map(|flag| match flag.trim() {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        })
        .collect();
    flags.filter(|flags| flags.len() == n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(reply: &str) -> Vec<String> {
        let Turn::Call(inputs, _) = parse(reply, Kind::Strings) else {
            panic!("no call: {:?}", parse(reply, Kind::Strings))
        };
        inputs
            .into_iter()
            .map(|input| match input {
                Input::Text(text) => text,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn calls_are_read_in_three_ways() {
        assert_eq!(texts("I ask.\n{\"call\": [\"a b\", \"\", \" c\"]}"), ["a b", "", " c"]);
        assert_eq!(texts("CALL(a, \"b, (c)\", d e, \"\")"), ["a", "b, (c)", "d e", ""]);
        assert_eq!(texts(r#"CALL("say \"hi\"")"#), ["say \"hi\""]);
        assert_eq!(
            texts("COMMAND: PYTHON(f.py one \"two words\" three)"),
            ["one", "two words", "three"]
        );
        let numbers = parse("CALL(1, -2.5, 1e3)", Kind::Numeric);
        assert_eq!(
            numbers,
            Turn::Call([1.0, -2.5, 1000.0].map(Input::Number).to_vec(), None)
        );
    }

    #[test]
    fn what_looks_like_a_call_is_refused_with_a_reason() {
        for reply in ["CALL(1", "CALL()", "CALL(\"a\" b)", "{\"call\": 3}", "CALL(\"a)"] {
            assert!(matches!(parse(reply, Kind::Strings), Turn::BadCall(_)), "{reply}");
        }
        assert!(matches!(parse("CALL(x)", Kind::Numeric), Turn::BadCall(_)));
        assert!(matches!(parse("CALL(inf)", Kind::Numeric), Turn::BadCall(_)));
        assert_eq!(parse("I think about it", Kind::Strings), Turn::Neither);
    }

    #[test]
    fn answers_have_sections() {
        let Turn::Answer(answer) = parse(
            "[DESCRIPTION]:adds one\n[DOMAIN]: above 3\n[CODE]:\n```python\nx + 1\n```\n",
            Kind::Numeric,
        ) else {
            panic!()
        };
        assert_eq!(answer.description, "adds one");
        assert_eq!(answer.domain.as_deref(), Some("above 3"));
        assert_eq!(answer.code.as_deref(), Some("x + 1"));
        let Turn::Call(_, Some(answer)) = parse("CALL(1)\n[DESCRIPTION]: a line", Kind::Numeric) else {
            panic!()
        };
        assert_eq!(answer.description, "a line");
    }

    #[test]
    fn a_judge_names_one_of_three_or_nothing() {
        for (reply, expected) in [
            ("[ANSWER]: 2", Some(1)),
            ("[ANSWER] 3.", Some(2)),
            ("The second: 2", Some(1)),
            ("[ANSWER]: 12", None),
            ("1 or 2", None),
            ("none", None),
            ("[ANSWER]: 4", None),
            ("0", None),
            ("3", Some(2)),
        ] {
            assert_eq!(choice(reply), expected, "{reply}");
        }
    }

    #[test]
    fn a_list_of_flags_has_its_length() {
        assert_eq!(flags("so: [1, 0,1]", 3), Some(vec![true, false, true]));
        assert_eq!(flags("[1, 0]", 3), None);
        assert_eq!(flags("[1, 0, 2]", 3), None);
        assert_eq!(flags("1, 0, 1", 3), None);
    }

    proptest! {
        #[test]
        fn no_reply_ends_in_a_panic(reply in "(CALL\\(|PYTHON\\(|\\{\"call\": \\[|\\[DESCRIPTION\\]|\\[CODE\\]|```|\"|\\\\|[,a1 é\\n)\\]}]){0,14}") {
            let _ = (parse(&reply, Kind::Numeric), parse(&reply, Kind::Strings), choice(&reply), flags(&reply, 2));
        }
    }
}
