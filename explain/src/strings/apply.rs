//! What each atom does to a text.

use kernels::random::ChaCha8Rng;
use rand::RngExt;

use super::op::{Args, Atom, Op};
use super::words::{is_vowel, moved, place, word};

impl Atom {
    /// The text that the atom makes of another. `rng` is drawn from by the two random atoms alone.
    pub fn apply(&self, s: &[char], rng: &mut ChaCha8Rng) -> Vec<char> {
        match self.args() {
            Args::Nothing => without_arguments(self.op(), s, rng),
            Args::Letter(c) => with_letter(self.op(), s, *c),
            Args::Letters(from, to) => each(s, |c| if c == *from { *to } else { c }),
            Args::Number(k) => with_number(self.op(), s, *k),
            Args::Places(a, b) => with_places(self.op(), s, *a, *b),
            Args::Text(text) => with_text(self.op(), s, text),
        }
    }
}

fn each(s: &[char], change: impl Fn(char) -> char) -> Vec<char> {
    s.iter().map(|&c| change(c)).collect()
}

fn kept(s: &[char], keep: impl Fn(char) -> bool) -> Vec<char> {
    s.iter().copied().filter(|&c| keep(c)).collect()
}

fn spelled(n: usize) -> Vec<char> {
    word(n).chars().collect()
}

fn counted(s: &[char], holds: impl Fn(char) -> bool) -> Vec<char> {
    spelled(s.iter().filter(|&&c| holds(c)).count())
}

/// Words joined by spaces.
fn joined<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<char> {
    words.into_iter().collect::<Vec<_>>().join(" ").chars().collect()
}

/// Every vowel becomes `to`; nothing changes where there is none.
fn vowels_to(s: &[char], to: Option<&char>) -> Vec<char> {
    match to {
        Some(&to) => each(s, |c| if is_vowel(c) { to } else { c }),
        None => s.to_vec(),
    }
}

/// The text with the character at a place changed, where there is one.
fn changed_at(s: &[char], at: usize, change: impl Fn(char) -> char) -> Vec<char> {
    let mut s = s.to_vec();
    if let Some(c) = s.get_mut(at) {
        *c = change(*c);
    }
    s
}

/// The middle character of an odd number of at least 3 moves on by `by`.
fn middle_moved(s: &[char], by: i64) -> Vec<char> {
    match s.len() >= 3 && s.len() % 2 == 1 {
        true => changed_at(s, s.len() / 2, |c| moved(c, by)),
        false => s.to_vec(),
    }
}

fn alphabet_place(c: Option<&char>) -> Vec<char> {
    spelled(c.and_then(|&c| place(c)).map_or(0, |place| usize::from(place) + 1))
}

fn without_arguments(op: Op, s: &[char], rng: &mut ChaCha8Rng) -> Vec<char> {
    let n = s.len();
    match op {
        Op::Lowercase => each(s, |c| c.to_ascii_lowercase()),
        Op::Uppercase => each(s, |c| c.to_ascii_uppercase()),
        Op::Capitalize => changed_at(&each(s, |c| c.to_ascii_lowercase()), 0, |c| c.to_ascii_uppercase()),
        Op::Reverse => s.iter().rev().copied().collect(),
        Op::ReverseFirstHalf => s[..n / 2].iter().rev().chain(&s[n / 2..]).copied().collect(),
        Op::ReverseLastHalf => s[..n / 2].iter().chain(s[n / 2..].iter().rev()).copied().collect(),
        Op::ReverseWords => {
            let text: String = s.iter().collect();
            let words: Vec<String> = text
                .split_whitespace()
                .map(|word| word.chars().rev().collect())
                .collect();
            joined(words.iter().map(String::as_str))
        }
        Op::AlternateCase => {
            let cased = |(i, c): (usize, &char)| match i % 2 {
                0 => c.to_ascii_uppercase(),
                _ => c.to_ascii_lowercase(),
            };
            s.iter().enumerate().map(cased).collect()
        }
        Op::ReverseVowels => {
            let mut vowels = kept(s, is_vowel).into_iter().rev();
            let change = |&c: &char| match is_vowel(c) {
                true => vowels.next().unwrap_or(c),
                false => c,
            };
            s.iter().map(change).collect()
        }
        Op::DigitsAsWords => joined(
            s.iter()
                .filter_map(|c| c.to_digit(10))
                .map(|digit| word(digit as usize)),
        ),
        Op::RemoveDigits => kept(s, |c| !c.is_ascii_digit()),
        Op::KeepUppercase => kept(s, |c| c.is_ascii_uppercase()),
        Op::RemoveWhitespace => kept(s, |c| !c.is_whitespace()),
        Op::FirstChar => s.iter().take(1).copied().collect(),
        Op::LastChar => s.last().copied().into_iter().collect(),
        Op::MiddleChar if n % 2 == 1 => vec![s[n / 2]],
        Op::MiddleChar => s[(n / 2).saturating_sub(1)..(n / 2 + 1).min(n)].to_vec(),
        Op::RemoveDuplicates => {
            let first = |(i, c): (usize, &char)| (!s[..i].contains(c)).then_some(*c);
            s.iter().enumerate().filter_map(first).collect()
        }
        Op::Strip => stripped(s, true, true),
        Op::LeftStrip => stripped(s, true, false),
        Op::RightStrip => stripped(s, false, true),
        Op::Length => spelled(n),
        Op::CountVowels => counted(s, is_vowel),
        Op::CountConsonants => counted(s, |c| c == 'a' || (c.is_ascii_alphabetic() && !is_vowel(c))),
        Op::CountUppercase => counted(s, |c| c.is_ascii_uppercase()),
        Op::CountLowercase => counted(s, |c| c.is_ascii_lowercase()),
        Op::IndexOfLetters => {
            let first = |c: &&char| c.is_ascii_alphabetic();
            let places = s
                .iter()
                .filter(first)
                .map(|c| s.iter().position(|other| other == c).unwrap_or(0));
            joined(places.map(word))
        }
        Op::IndexOfDigits => match s.last() {
            Some(c) if c.is_ascii_digit() => spelled(n - 1),
            _ => Vec::new(),
        },
        Op::AlphabetFirst => alphabet_place(s.first()),
        Op::AlphabetLast => alphabet_place(s.last()),
        Op::AlphabetMiddle => alphabet_place(s.get(n / 2)),
        Op::VowelsToFirst => vowels_to(s, s.first()),
        Op::VowelsToLast => vowels_to(s, s.last()),
        Op::VowelsToMiddle => vowels_to(s, s.get(n / 2).filter(|_| n >= 2)),
        Op::VowelsToCount => match s.iter().filter(|&&c| is_vowel(c)).count() {
            0 => vowels_to(s, s.last()),
            vowels => vowels_to(s, s.get(vowels - 1)),
        },
        Op::AddLength => each(s, |c| moved(c, n as i64)),
        Op::AddLengthToMiddle => middle_moved(s, n as i64),
        Op::AddAtRandom | Op::SubtractAtRandom if n == 0 => Vec::new(),
        Op::AddAtRandom | Op::SubtractAtRandom => {
            let at = rng.random_range(0..n);
            let by = if op == Op::AddAtRandom { at as i64 } else { -(at as i64) };
            changed_at(s, at, |c| moved(c, by))
        }
        Op::AppendFirst => s.iter().chain(s.first()).copied().collect(),
        Op::AppendLast => s.iter().chain(s.last()).copied().collect(),
        Op::AppendMiddle => s.iter().chain(s.get(n / 2)).copied().collect(),
        Op::SwapEnds => {
            let mut s = s.to_vec();
            if n > 1 {
                s.swap(0, n - 1);
            }
            s
        }
        _ => unreachable!("{op} takes arguments"),
    }
}

fn stripped(s: &[char], left: bool, right: bool) -> Vec<char> {
    let is_space = |c: &char| c.is_whitespace();
    let start = if left {
        s.iter().take_while(|c| is_space(c)).count()
    } else {
        0
    };
    let rest = &s[start..];
    let end = if right {
        rest.iter().rev().take_while(|c| is_space(c)).count()
    } else {
        0
    };
    rest[..rest.len() - end].to_vec()
}

fn with_letter(op: Op, s: &[char], letter: char) -> Vec<char> {
    let inserted = || {
        let (left, right) = s.split_at(s.len() / 2);
        left.iter().chain([&letter]).chain(right).copied().collect()
    };
    match op {
        Op::CountLetter | Op::CountSubstring => counted(s, |c| c == letter),
        Op::IndexOfLetter => match s.iter().position(|&c| c == letter) {
            Some(at) => spelled(at),
            None => "none".chars().collect(),
        },
        Op::VowelsTo => vowels_to(s, Some(&letter)),
        Op::AppendUnlessEnding if s.last() == Some(&letter) => s.to_vec(),
        Op::AppendUnlessEnding => s.iter().chain([&letter]).copied().collect(),
        Op::InsertLetter | Op::InsertDigit => inserted(),
        Op::SplitOn => each(s, |c| if c == letter { ' ' } else { c }),
        Op::RemoveLetter => kept(s, |c| c != letter),
        _ => unreachable!("{op} takes no letter"),
    }
}

fn with_number(op: Op, s: &[char], k: usize) -> Vec<char> {
    let by = k as i64;
    // Small letters that move by the place in the alphabet of the character at `k`.
    let by_char = |sign: i64| match s.get(k).and_then(|&c| place(c)) {
        Some(place) => each(s, |c| moved(c.to_ascii_lowercase(), sign * i64::from(place))),
        None => s.to_vec(),
    };
    let shifted = |at: usize, forward: bool| {
        changed_at(s, at, |c| match (c, forward) {
            (c, _) if !c.is_ascii_alphabetic() => c,
            (_, _) if k == 0 => c,
            // As published: from the end of the alphabet to its beginning takes one step, whatever the number.
            ('z', true) => 'a',
            ('a', false) => 'z',
            (c, true) => char::from_u32(c as u32 + k as u32).unwrap_or(c),
            (c, false) => char::from_u32((c as u32).saturating_sub(k as u32)).unwrap_or(c),
        })
    };
    let last = s.len().saturating_sub(1);
    match op {
        Op::Add => each(s, |c| moved(c, by)),
        Op::Subtract => each(s, |c| moved(c, -by)),
        Op::AdvanceByChar => by_char(1),
        Op::RetreatByChar => by_char(-1),
        Op::AddToMiddle => middle_moved(s, by),
        Op::SubtractFromMiddle => middle_moved(s, -by),
        Op::ShiftFirst => shifted(0, true),
        Op::ShiftLast => shifted(last, true),
        Op::UnshiftFirst => shifted(0, false),
        Op::UnshiftLast => shifted(last, false),
        _ => unreachable!("{op} takes no number"),
    }
}

fn with_places(op: Op, s: &[char], a: usize, b: usize) -> Vec<char> {
    match op {
        // Said to subtract, it adds: a published defect.
        Op::AddAt | Op::SubtractAt => changed_at(s, b, |c| moved(c, a as i64)),
        Op::SwapAt => {
            let mut s = s.to_vec();
            if a.max(b) < s.len() {
                s.swap(a, b);
            }
            s
        }
        _ => unreachable!("{op} takes no places"),
    }
}

fn with_text(op: Op, s: &[char], text: &str) -> Vec<char> {
    match op {
        Op::Append => s.iter().copied().chain(text.chars()).collect(),
        Op::Cipher => {
            let to: Vec<char> = text.chars().collect();
            each(s, |c| place(c).map_or(c, |place| to[usize::from(place)]))
        }
        _ => unreachable!("{op} takes no text"),
    }
}

#[cfg(test)]
mod tests {
    use crate::strings::Program;
    use kernels::random::rng;

    fn run(program: &str, text: &str) -> String {
        let program: Program = program.parse().unwrap();
        program.apply(text, &mut rng(0, "test"))
    }

    #[test]
    fn atoms_do_what_is_published() {
        for (program, text, expected) in [
            ("capitalize", "hELLO World", "Hello world"),
            ("reverse_first_half", "abcde", "bacde"),
            ("reverse_last_half", "abcde", "abedc"),
            ("reverse_words", "ab  cd e", "ba dc e"),
            ("alternate_case", "abCD", "AbCd"),
            ("reverse_vowels", "hello aU", "hUlla oe"),
            ("digits_as_words", "a1b20", "one two zero"),
            ("middle_char", "abcd", "bc"),
            ("middle_char", "abc", "b"),
            ("middle_char", "", ""),
            ("remove_duplicates", "banana", "ban"),
            ("length", "abcdefghijklmnopqrstuvwxyz", "twenty-six"),
            ("length", "0123456789012345678901234567890", "unknown"),
            ("count_consonants", "banana", "six"),
            ("index_of_letter(n)", "banana", "two"),
            ("index_of_letter(z)", "banana", "none"),
            ("index_of_letters", "aba1", "zero one zero"),
            ("index_of_digits", "1a2", "two"),
            ("index_of_digits", "1a2b", ""),
            ("alphabet_middle", "abc", "two"),
            ("alphabet_first", "?", "zero"),
            // Two vowels: the character at place 1.
            ("vowels_to_count", "hello", "helle"),
            ("vowels_to_middle", "a", "a"),
            ("add(3)", "xyz XYZ!", "abc ABC!"),
            ("subtract(3)", "abc", "xyz"),
            ("length | advance_by_char(5)", "abcdefghijk", "ryrira"),
            ("length | advance_by_char(5)", "abcdef", "six"),
            ("add_to_middle(2)", "abc", "adc"),
            ("add_to_middle(2)", "abcd", "abcd"),
            ("shift_first(25)", "hello", "\u{81}ello"),
            ("shift_first(3)", "zoo", "aoo"),
            ("add_at(4, 0)", "abc", "ebc"),
            ("subtract_at(4, 0)", "abc", "ebc"),
            ("append_unless_ending(c)", "abc", "abc"),
            ("insert_letter(X)", "abcd", "abXcd"),
            ("insert_digit(7)", "abc", "a7bc"),
            ("append(lvmBi)", "World", "WorldlvmBi"),
            ("split_on(l)", "hello", "he  o"),
            ("swap_ends", "abc", "cba"),
            ("swap_at(0, 2)", "abc", "cba"),
            ("swap_at(0, 5)", "abc", "abc"),
            ("cipher(zyxwvutsrqponmlkjihgfedcba)", "aBc!", "zyx!"),
        ] {
            assert_eq!(run(program, text), expected, "{program} of {text:?}");
        }
    }
}
