//! Greater-than: a year later than the one that a thing began in.
//!
//! Where the last two digits of a year are one token, as in GPT-2, the answers are all later years of the century and the wrong ones all
//! others. Where every digit is a token, the next token is the tens digit: later ones are right, earlier ones wrong, and the same
//! digit, which the digit behind it decides about, is neither.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use text::Tokenizer;

use super::{DRAWN, Row, one_of, words};

/// Centuries of the paper's years, 1100 to 1799.
const CENTURIES: std::ops::Range<u32> = 11..18;

pub(super) fn rows(tokenizer: &Tokenizer, rng: &mut ChaCha8Rng) -> Vec<Row> {
    let nouns = words(include_str!("words/nouns.txt"));
    let pairs: Option<Vec<u32>> = (0..100).map(|year| tokenizer.token(&format!("{year:02}"))).collect();
    let digits: Option<Vec<u32>> = (0..10).map(|digit| tokenizer.token(&digit.to_string())).collect();
    let mut rows = Vec::new();
    for _ in 0..DRAWN {
        let (noun, century) = (one_of(&nouns, rng), rng.random_range(CENTURIES));
        let year = rng.random_range(2..99_u32);
        let frame = |year: u32| format!("The {noun} lasted from the year {century}{year:02} to the year {century}");
        let is_split = is_split_in_pairs(tokenizer, century, year);
        let answers = match (&pairs, &digits) {
            (Some(pairs), _) if is_split => {
                let (wrong, right) = pairs.split_at(year as usize + 1);
                Some((right.to_vec(), wrong.to_vec()))
            }
            (_, Some(digits)) if is_split_in_digits(tokenizer, century, year) => {
                let tens = (year / 10) as usize;
                Some((digits[tens + 1..].to_vec(), digits[..tens].to_vec()))
            }
            _ => None,
        };
        rows.extend(answers.map(|(right, wrong)| Row {
            clean: frame(year),
            corrupted: frame(1),
            right,
            wrong,
        }));
    }
    rows
}

/// The texts of the tokens of a year in the middle of a sentence.
fn pieces(tokenizer: &Tokenizer, century: u32, year: u32) -> Vec<String> {
    let ids = tokenizer.encode(&format!(" {century}{year:02}")).unwrap_or_default();
    ids.iter().filter_map(|&id| tokenizer.decode(&[id]).ok()).collect()
}

fn is_split_in_pairs(tokenizer: &Tokenizer, century: u32, year: u32) -> bool {
    pieces(tokenizer, century, year) == [format!(" {century}"), format!("{year:02}")]
}

fn is_split_in_digits(tokenizer: &Tokenizer, century: u32, year: u32) -> bool {
    let pieces = pieces(tokenizer, century, year);
    let digits = pieces.iter().rev().take(4).rev().map(|piece| piece.trim().to_owned());
    digits.collect::<Vec<_>>()
        == format!("{century}{year:02}")
            .chars()
            .map(String::from)
            .collect::<Vec<_>>()
}
