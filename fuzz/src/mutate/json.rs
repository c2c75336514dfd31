//! Changes of a JSON value: keys that are missing, double, of another file; values of another type; numbers at borders.

use std::fmt::Write as _;

use kernels::random::ChaCha8Rng;
use rand::RngExt;
use serde_json::Value;

use super::{Form, one_of};

/// A JSON value whose numbers are text and whose keys may be double.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// What is written as it is: numbers, `true`, `false`, `null`.
    Plain(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// A key of a seed with its value.
pub(super) type Donor = (String, Node);

/// Values that a reader may not expect where they stand.
const PLAIN: [&str; 20] = [
    "null",
    "true",
    "false",
    "0",
    "-0.0",
    "1",
    "-1",
    "2",
    "0.5",
    "7",
    "65536",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "-1e308",
    "5e-324",
    "1e400",
];
const TEXTS: [&str; 10] = [
    "",
    " ",
    "\u{0}",
    "\u{1b}[2J\r\n",
    "../../etc/passwd",
    "a.b.c",
    "\u{1f600}\u{301}",
    "0x10",
    "NaN",
    "float32",
];

impl From<&Value> for Node {
    fn from(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Object(map) => Self::Map(
                map.iter()
                    .map(|(key, value)| (key.clone(), Self::from(value)))
                    .collect(),
            ),
            plain => Self::Plain(plain.to_string()),
        }
    }
}

impl Node {
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        Some(Self::from(&serde_json::from_slice::<Value>(text).ok()?))
    }

    /// Writes it as compact JSON.
    pub(super) fn write(&self, out: &mut String) {
        // Writing to a string does not fail.
        let quoted = |text: &str| Value::String(text.to_owned()).to_string();
        match self {
            Self::Plain(text) => out.push_str(text),
            Self::Text(text) => out.push_str(&quoted(text)),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    item.write(out);
                }
                out.push(']');
            }
            Self::Map(pairs) => {
                out.push('{');
                for (index, (key, value)) in pairs.iter().enumerate() {
                    let _ = write!(out, "{}{}:", if index == 0 { "" } else { "," }, quoted(key));
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// The number of values in it, itself among them.
    fn count(&self) -> usize {
        1 + match self {
            Self::List(items) => items.iter().map(Self::count).sum(),
            Self::Map(pairs) => pairs.iter().map(|(_, value)| value.count()).sum(),
            Self::Plain(_) | Self::Text(_) => 0,
        }
    }

    /// The value of this number in the order in which they are written.
    fn at(&mut self, mut place: usize) -> &mut Self {
        if place == 0 || matches!(self, Self::Plain(_) | Self::Text(_)) {
            return self;
        }
        place -= 1;
        let inner: Vec<&mut Self> = match self {
            Self::List(items) => items.iter_mut().collect(),
            Self::Map(pairs) => pairs.iter_mut().map(|(_, value)| value).collect(),
            Self::Plain(_) | Self::Text(_) => Vec::new(),
        };
        for value in inner {
            let count = value.count();
            if place < count {
                return value.at(place);
            }
            place -= count;
        }
        unreachable!("the place is below the count")
    }

    fn pairs(&self, found: &mut Vec<Donor>) {
        match self {
            Self::List(items) => items.iter().for_each(|item| item.pairs(found)),
            Self::Map(pairs) => {
                for (key, value) in pairs {
                    // A vocabulary is no set of keys.
                    if pairs.len() < 100 && value.count() < 200 {
                        found.push((key.clone(), value.clone()));
                    }
                    value.pairs(found);
                }
            }
            Self::Plain(_) | Self::Text(_) => {}
        }
    }
}

/// The keys and values of a seed.
pub(super) fn donors(form: Form, seed: &[u8]) -> Vec<Donor> {
    let mut found = Vec::new();
    let parts: Vec<&[u8]> = match form {
        Form::Json => vec![seed],
        Form::JsonLines => seed.split(|&byte| byte == b'\n').collect(),
        Form::Tensors => super::tensors::header(seed).into_iter().collect(),
        Form::Bytes | Form::Toml | Form::Archive => Vec::new(),
    };
    for part in parts {
        if let Some(node) = Node::parse(part) {
            node.pairs(&mut found);
        }
    }
    found
}

/// One to three changes; none of what is no JSON.
pub(super) fn change(input: &[u8], donors: &[Donor], rng: &mut ChaCha8Rng) -> Option<Vec<u8>> {
    let mut node = Node::parse(input)?;
    for _ in 0..rng.random_range(1..=3) {
        let place = rng.random_range(0..node.count());
        once(node.at(place), donors, rng);
    }
    let mut text = String::new();
    node.write(&mut text);
    Some(text.into_bytes())
}

fn once(node: &mut Node, donors: &[Donor], rng: &mut ChaCha8Rng) {
    if rng.random_ratio(1, 2) {
        match node {
            Node::Map(pairs) => return change_map(pairs, donors, rng),
            Node::List(items) => return change_list(items, rng),
            Node::Plain(_) | Node::Text(_) => {}
        }
    }
    *node = match rng.random_range(0..8) {
        0..=2 => Node::Plain((*one_of(&PLAIN, rng)).to_owned()),
        3 => Node::Text((*one_of(&TEXTS, rng)).to_owned()),
        4 if !donors.is_empty() => one_of(donors, rng).1.clone(),
        5 => nested(node.clone(), rng),
        6 => Node::Text("long ".repeat(*one_of(&[10, 300, 20_000], rng))),
        _ => near(node, rng),
    };
}

/// The value inside many lists or maps. Some are deeper than a parser follows.
fn nested(mut node: Node, rng: &mut ChaCha8Rng) -> Node {
    for _ in 0..*one_of(&[1, 2, 100, 3000], rng) {
        node = match rng.random_ratio(1, 2) {
            true => Node::List(vec![node]),
            false => Node::Map(vec![("a".to_owned(), node)]),
        };
    }
    node
}

/// A value of the same type.
fn near(node: &Node, rng: &mut ChaCha8Rng) -> Node {
    match node {
        Node::Plain(text) => match text.parse::<i64>() {
            Ok(number) => {
                let changed = *one_of(
                    &[
                        number.wrapping_add(1),
                        number.wrapping_sub(1),
                        number.wrapping_mul(2),
                        number / 2,
                        number.wrapping_neg(),
                        number.wrapping_mul(1 << 20),
                    ],
                    rng,
                );
                Node::Plain(changed.to_string())
            }
            Err(_) => Node::Plain(if text == "true" { "false" } else { "true" }.to_owned()),
        },
        Node::Text(text) => {
            let mut text: Vec<char> = text.chars().collect();
            let at = rng.random_range(0..=text.len());
            match rng.random_range(0..3) {
                0 => text.truncate(at),
                1 => text.insert(
                    at,
                    *one_of(&['\u{0}', '\u{1b}', ' ', '.', '/', 'A', '\u{e9}', '\u{202e}'], rng),
                ),
                _ => text.reverse(),
            }
            Node::Text(text.into_iter().collect())
        }
        Node::List(_) => Node::List(Vec::new()),
        Node::Map(_) => Node::Map(Vec::new()),
    }
}

fn change_map(pairs: &mut Vec<(String, Node)>, donors: &[Donor], rng: &mut ChaCha8Rng) {
    let given = match donors.is_empty() {
        true => ("a".to_owned(), Node::Plain("1".to_owned())),
        false => one_of(donors, rng).clone(),
    };
    if pairs.is_empty() || rng.random_ratio(1, 4) {
        pairs.push(given);
        return;
    }
    let at = rng.random_range(0..pairs.len());
    match rng.random_range(0..5) {
        0 => drop(pairs.remove(at)),
        1 => pairs.push(pairs[at].clone()),
        2 => pairs[at].0 = given.0,
        3 => pairs.push((pairs[at].0.clone(), given.1)),
        _ => {
            // The value of another key of this map.
            let other = rng.random_range(0..pairs.len());
            pairs[at].1 = pairs[other].1.clone();
        }
    }
}

fn change_list(items: &mut Vec<Node>, rng: &mut ChaCha8Rng) {
    if items.is_empty() {
        items.push(Node::Plain((*one_of(&PLAIN, rng)).to_owned()));
        return;
    }
    let at = rng.random_range(0..items.len());
    match rng.random_range(0..4) {
        0 => drop(items.remove(at)),
        1 => items.push(items[at].clone()),
        2 => {
            let item = items[at].clone();
            if item.count() < 50 {
                items.extend(std::iter::repeat_n(item, *one_of(&[1, 8, 1000], rng)));
            }
        }
        _ => {
            let other = rng.random_range(0..items.len());
            items.swap(at, other);
        }
    }
}
