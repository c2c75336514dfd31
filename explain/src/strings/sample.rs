//! String functions and their inputs from seeds.

use kernels::random::{ChaCha8Rng, rng};
use rand::RngExt;
use strum::VariantArray;

use super::op::{Args, Atom, Op, Takes};
use super::program::Program;

/// Share of functions of one atom, the default of FIND's generator.
const SIMPLE: f64 = 0.3;
/// Random names among inputs and appended texts have letters of either case.
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The function with this number, the same whatever other functions are asked for. It is deterministic, and gives not the same for
/// all of a set of inputs.
pub fn sample(seed: u64, index: usize) -> Program {
    let mut rng = rng(seed, &format!("find/strings/{index}"));
    loop {
        let program = match rng.random::<f64>() < SIMPLE {
            true => Program::simple(atom(&mut rng, |_| true)),
            false => {
                let inner = atom(&mut rng, Op::may_be_inner);
                Program::composed(inner, atom(&mut rng, |_| true))
            }
        };
        let mut outputs: Vec<String> = inputs(&mut rng, 12)
            .iter()
            .map(|text| program.apply(text, &mut rng))
            .collect();
        outputs.sort();
        outputs.dedup();
        if outputs.len() > 1 {
            return program;
        }
    }
}

fn letter(rng: &mut ChaCha8Rng) -> char {
    LETTERS[rng.random_range(0..LETTERS.len())] as char
}

#[expect(clippy::expect_used, reason = "the arguments are drawn as the atom takes them")]
fn atom(rng: &mut ChaCha8Rng, fits: impl Fn(Op) -> bool) -> Atom {
    let pool: Vec<Op> = Op::VARIANTS
        .iter()
        .copied()
        .filter(|op| op.is_deterministic() && fits(*op))
        .collect();
    let op = pool[rng.random_range(0..pool.len())];
    let args = match op.takes() {
        Takes::Nothing => Args::Nothing,
        Takes::Letter => Args::Letter(letter(rng)),
        Takes::Digit => Args::Letter((b'0' + rng.random_range(0..10_u8)) as char),
        Takes::Letters => Args::Letters(letter(rng), letter(rng)),
        Takes::Number(low, high) => Args::Number(rng.random_range(low..=high)),
        Takes::Places => {
            let (a, b) = (rng.random_range(0..10_usize), rng.random_range(0..9_usize));
            Args::Places(a, if b < a { b } else { b + 1 })
        }
        Takes::Text => Args::Text((0..rng.random_range(1..=5)).map(|_| letter(rng)).collect()),
        Takes::Alphabet => {
            let mut letters: Vec<char> = ('a'..='z').collect();
            for i in (1..letters.len()).rev() {
                letters.swap(i, rng.random_range(0..=i));
            }
            Args::Text(letters.into_iter().collect())
        }
    };
    Atom::new(op, args).expect("the arguments are drawn as the atom takes them")
}

const WORDS: [&str; 40] = [
    "apple",
    "banana",
    "River",
    "mountain",
    "Zebra",
    "quiet",
    "window",
    "Jazz",
    "pixel",
    "velvet",
    "Orange",
    "cloud",
    "kitchen",
    "yellow",
    "Hammer",
    "bottle",
    "garden",
    "Fox",
    "lazy",
    "dog",
    "jumps",
    "over",
    "quick",
    "brown",
    "message",
    "ocean",
    "Violin",
    "sixteen",
    "umbrella",
    "echo",
    "Ivory",
    "north",
    "under",
    "winter",
    "x",
    "to",
    "I",
    "a",
    "Paper",
    "Mississippi",
];

/// Texts of one to four words, some with digits, marks, spaces at the ends or random letters.
pub fn inputs(rng: &mut ChaCha8Rng, n: usize) -> Vec<String> {
    let mut input = || {
        let mut text = match rng.random_range(0..10) {
            0 => (0..rng.random_range(3..9)).map(|_| letter(rng)).collect(),
            1 => format!(
                "{}{}",
                WORDS[rng.random_range(0..WORDS.len())],
                rng.random_range(0..1000)
            ),
            _ => {
                let words = rng.random_range(1..=4);
                let words: Vec<&str> = (0..words).map(|_| WORDS[rng.random_range(0..WORDS.len())]).collect();
                words.join(" ")
            }
        };
        match rng.random_range(0..12) {
            0 => text = format!(" {text}"),
            1 => text += " ",
            2 => text += "!",
            3 => text = text.to_uppercase(),
            _ => {}
        }
        text
    };
    (0..n).map(|_| input()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_atom_but_the_random_ones_is_drawn() {
        let programs: Vec<Program> = (0..3000).map(|index| sample(5, index)).collect();
        let drawn: BTreeSet<String> = programs
            .iter()
            .flat_map(Program::atoms)
            .map(|atom| atom.op().to_string())
            .collect();
        assert_eq!(drawn.len(), 65);
        assert!(programs.iter().all(Program::is_deterministic));
        let simple = programs.iter().filter(|program| program.atoms().len() == 1).count();
        assert!((700..1100).contains(&simple), "{simple} of 3000 are simple");
        assert!(
            programs
                .iter()
                .all(|program| program.atoms().len() == 1 || program.atoms()[0].op().may_be_inner())
        );
    }
}
