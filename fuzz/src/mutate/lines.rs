//! Changes of files that are read line by line: TOML, and JSON lines.

use kernels::random::ChaCha8Rng;
use rand::RngExt;

use super::json::{self, Donor};
use super::one_of;

/// Values that a key of a config may not expect.
const VALUES: [&str; 24] = [
    "0",
    "1",
    "-1",
    "2",
    "1000000000",
    "1000000001",
    "9223372036854775807",
    "-9223372036854775808",
    "0.0",
    "-0.0",
    "1.0",
    "1e308",
    "5e-324",
    "nan",
    "-inf",
    "true",
    "\"\"",
    "\"a\"",
    "\"\\u001B[2J\"",
    "[]",
    "[[]]",
    "{}",
    "1979-05-27T07:32:00Z",
    "[0, 0, 1]",
];

/// One to three changes of lines; none of what is not UTF-8.
pub(super) fn change_toml(input: &[u8], others: &[Vec<u8>], rng: &mut ChaCha8Rng) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(input).ok()?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..rng.random_range(1..=3) {
        change_line(&mut lines, others, rng);
    }
    Some(lines.join("\n").into_bytes())
}

fn change_line(lines: &mut Vec<String>, others: &[Vec<u8>], rng: &mut ChaCha8Rng) {
    let told: Vec<usize> = (0..lines.len())
        .filter(|&line| !lines[line].trim_start().starts_with('#') && !lines[line].trim().is_empty())
        .collect();
    if told.is_empty() {
        lines.push("a = 1".to_owned());
        return;
    }
    let at = *one_of(&told, rng);
    match rng.random_range(0..10) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, lines[at].clone()),
        2 => lines.swap(at, *one_of(&told, rng)),
        3 => {
            let other: &Vec<u8> = one_of(others, rng);
            let other = String::from_utf8_lossy(other).into_owned();
            let other: Vec<&str> = other.lines().collect();
            if !other.is_empty() {
                let from = rng.random_range(0..other.len());
                let to = (from + rng.random_range(1..=4)).min(other.len());
                drop(lines.splice(at..at, other[from..to].iter().map(|&line| line.to_owned())));
            }
        }
        4 => {
            let deep = *one_of(&[10, 79, 81, 3000], rng);
            lines.insert(at, format!("{}a = 1", "a.".repeat(deep)));
        }
        5 => {
            let deep = *one_of(&[2, 79, 81, 3000], rng);
            if let Some((key, value)) = lines[at].split_once('=') {
                lines[at] = format!("{key}= {}{value}{}", "[".repeat(deep), "]".repeat(deep));
            }
        }
        _ => {
            if let Some((key, _)) = lines[at].split_once('=') {
                lines[at] = format!("{key}= {}", one_of(&VALUES, rng));
            }
        }
    }
}

/// A change of one line of JSON, or of the lines themselves.
pub(super) fn change_json(input: &[u8], donors: &[Donor], rng: &mut ChaCha8Rng) -> Option<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = input.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    let at = rng.random_range(0..lines.len());
    match rng.random_range(0..8) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, lines[at].clone()),
        2 => lines[at].push(b'\r'),
        3 => drop(lines[at].splice(0..0, *b"\xef\xbb\xbf")),
        _ => lines[at] = json::change(&lines[at], donors, rng)?,
    }
    Some(lines.join(&b'\n'))
}
