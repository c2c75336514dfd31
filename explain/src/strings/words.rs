//! Numbers as English words; letters and their places in the alphabet.

const WORDS: [&str; 31] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
    "twenty-one",
    "twenty-two",
    "twenty-three",
    "twenty-four",
    "twenty-five",
    "twenty-six",
    "twenty-seven",
    "twenty-eight",
    "twenty-nine",
    "thirty",
];

/// The word for a number from 0 to 30, else `unknown`.
pub(super) fn word(n: usize) -> &'static str {
    WORDS.get(n).copied().unwrap_or("unknown")
}

pub(super) fn is_vowel(c: char) -> bool {
    matches!(c.to_ascii_lowercase(), 'a' | 'e' | 'i' | 'o' | 'u')
}

/// The place of a letter in the alphabet, from 0.
pub(super) fn place(c: char) -> Option<u8> {
    c.is_ascii_alphabetic().then(|| c.to_ascii_lowercase() as u8 - b'a')
}

/// A letter that moves on by `by` places in its alphabet, of the same case; everything else stays.
pub(super) fn moved(c: char, by: i64) -> char {
    let base = match c {
        'a'..='z' => b'a',
        'A'..='Z' => b'A',
        _ => return c,
    };
    let moved = (i64::from(c as u8 - base) + by).rem_euclid(26);
    (base + moved as u8) as char
}
