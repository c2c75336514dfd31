//! The offline explainer of string functions: all programs of one or two atoms are tried on a few probes. It knows the class of
//! functions that it is asked about, so it is an oracle of that class, and no figure of it stands beside a language model's.
//!
//! What the outer atom appends, replaces or enciphers is read off its output instead of being enumerated.

use std::collections::HashMap;

use kernels::random::{ChaCha8Rng, rng};
use rayon::prelude::*;
use strum::VariantArray;

use super::op::{Args, Atom, Op, Takes};
use super::program::Program;
use super::words::place;
use crate::Error;
use crate::black_box::{BlackBox, Input, Output};
use crate::explanation::{Claim, Explanation, Status};

/// The texts that are asked: every letter in either case, digits, marks, spaces at the ends, short and long texts.
pub const PROBES: [&str; 20] = [
    "The quick Brown fox Jumps over 13 Lazy dogs",
    "PACK my BOX with five dozen LIQUOR jugs 7",
    "sphinx of black quartz",
    "VEXINGLY Daft Zebras Jump",
    "abcdefghijklmnopqrstuvwxyz",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "Mississippi",
    "  padded text  ",
    "x",
    "Ab",
    "aEiOu",
    "banana2",
    "12 apples, 345!",
    "zoo",
    "Az",
    "hello world",
    "KWJHGFD",
    "umbrella quiz",
    "Yes",
    "",
];

/// A probe and what the function gave.
struct Probe {
    input: Vec<char>,
    output: Vec<char>,
}

/// The program that gives what the function gave, simple ones first.
///
/// # Errors
///
/// A black box that answers fewer inputs than there are probes.
pub fn explain(of: &mut BlackBox<'_>) -> Result<Explanation, Error> {
    let inputs: Vec<Input> = PROBES.iter().map(|text| Input::Text((*text).to_owned())).collect();
    let outputs = of.call(&inputs)?;
    let probes: Vec<Probe> = PROBES.iter().zip(outputs).filter_map(probe).collect();
    Ok(match find(&probes) {
        Some(program) => Explanation::claiming(sentence(&program), Claim::Program(program)),
        None => Explanation::without(Status::NotFound),
    })
}

fn probe((input, output): (&&str, Output)) -> Option<Probe> {
    match output {
        Output::Text(output) => Some(Probe {
            input: input.chars().collect(),
            output: output.chars().collect(),
        }),
        _ => None,
    }
}

fn sentence(program: &Program) -> String {
    match program.atoms() {
        [atom] => format!("applies {atom}"),
        atoms => format!("applies {} and then {}", atoms[0], atoms[1]),
    }
}

fn find(probes: &[Probe]) -> Option<Program> {
    // Deterministic atoms draw nothing.
    let nothing = rng(0, "find/strings/search");
    let goal: Vec<&[char]> = probes.iter().map(|probe| probe.output.as_slice()).collect();
    let first: Vec<&[char]> = probes.iter().map(|probe| probe.input.as_slice()).collect();
    if let Some(atom) = outer(&first, &goal, &nothing) {
        return Some(Program::simple(atom));
    }
    // Inner atoms that give the same on all probes are one.
    let mut seen: HashMap<Vec<Vec<char>>, Atom> = HashMap::new();
    let mut inner: Vec<(Atom, Vec<Vec<char>>)> = Vec::new();
    for atom in all(|op| op.may_be_inner()) {
        let made: Vec<Vec<char>> = first
            .iter()
            .map(|text| atom.apply(text, &mut nothing.clone()))
            .collect();
        if !seen.contains_key(&made) {
            seen.insert(made.clone(), atom.clone());
            inner.push((atom, made));
        }
    }
    inner.into_par_iter().find_map_first(|(atom, made)| {
        let made: Vec<&[char]> = made.iter().map(Vec::as_slice).collect();
        outer(&made, &goal, &nothing).map(|outer| Program::composed(atom, outer))
    })
}

/// The first atom that makes each goal of each text.
fn outer(texts: &[&[char]], goals: &[&[char]], nothing: &ChaCha8Rng) -> Option<Atom> {
    let fits = |atom: &Atom| {
        let mut pairs = texts.iter().zip(goals);
        pairs.all(|(text, goal)| atom.apply(text, &mut nothing.clone()) == **goal)
    };
    let simple = Op::VARIANTS.iter().copied().filter(|op| op.is_deterministic());
    simple.flat_map(|op| instances(op, texts, goals)).find(fits)
}

/// The atoms of a name that might make the goals.
fn instances(op: Op, texts: &[&[char]], goals: &[&[char]]) -> Vec<Atom> {
    let atoms = |args: Vec<Args>| args.into_iter().filter_map(|args| Atom::new(op, args)).collect();
    match op.takes() {
        Takes::Text => {
            let appended = texts
                .iter()
                .zip(goals)
                .find_map(|(text, goal)| goal.strip_prefix(*text));
            atoms(
                appended
                    .map(|rest| Args::Text(rest.iter().collect()))
                    .into_iter()
                    .collect(),
            )
        }
        Takes::Alphabet => cipher(texts, goals)
            .map(Args::Text)
            .map_or_else(Vec::new, |args| atoms(vec![args])),
        Takes::Letters => {
            // The first character that differs is the letter that is replaced.
            let differing = texts.iter().zip(goals).filter(|(text, goal)| text.len() == goal.len());
            let mut differing = differing.flat_map(|(text, goal)| text.iter().zip(goal.iter()).filter(|(a, b)| a != b));
            atoms(
                differing
                    .next()
                    .map(|(&a, &b)| Args::Letters(a, b))
                    .into_iter()
                    .collect(),
            )
        }
        _ => enumerated(op),
    }
}

/// All atoms with the arguments that can be listed.
fn enumerated(op: Op) -> Vec<Atom> {
    let letters = || ('a'..='z').chain('A'..='Z');
    let args: Vec<Args> = match op.takes() {
        Takes::Nothing => vec![Args::Nothing],
        Takes::Letter => letters().map(Args::Letter).collect(),
        Takes::Digit => ('0'..='9').map(Args::Letter).collect(),
        Takes::Letters => letters()
            .flat_map(|a| letters().map(move |b| Args::Letters(a, b)))
            .collect(),
        Takes::Number(low, high) => (low..=high).map(Args::Number).collect(),
        Takes::Places => (0..10).flat_map(|a| (0..10).map(move |b| Args::Places(a, b))).collect(),
        Takes::Text | Takes::Alphabet => Vec::new(),
    };
    args.into_iter().filter_map(|args| Atom::new(op, args)).collect()
}

/// All atoms that can be listed, those without arguments first.
fn all(fits: impl Fn(Op) -> bool) -> Vec<Atom> {
    let ops = Op::VARIANTS
        .iter()
        .copied()
        .filter(|op| op.is_deterministic() && fits(*op));
    let mut lists: Vec<Vec<Atom>> = ops.map(enumerated).collect();
    lists.sort_by_key(Vec::len);
    lists.into_iter().flatten().collect()
}

/// The cipher that makes the goals; letters that never occur keep an order of their own.
fn cipher(texts: &[&[char]], goals: &[&[char]]) -> Option<String> {
    let mut to: [Option<char>; 26] = [None; 26];
    for (text, goal) in texts.iter().zip(goals) {
        if text.len() != goal.len() {
            return None;
        }
        for (&from, &found) in text.iter().zip(goal.iter()) {
            if let Some(place) = place(from) {
                to[usize::from(place)] = Some(found);
            }
        }
    }
    let mut left: Vec<char> = ('a'..='z').filter(|c| !to.contains(&Some(*c))).collect();
    left.reverse();
    to.into_iter().map(|c| c.or_else(|| left.pop())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strings::{StringFunction, inputs, sample};

    #[test]
    fn sampled_programs_are_found_or_their_equals() {
        let (mut found, mut right) = (0, 0);
        for index in 0..12 {
            let program = sample(21, index);
            let function = StringFunction(program.clone());
            let mut of = BlackBox::new(&function, "f", 25, 0);
            let explanation = explain(&mut of).unwrap();
            let Some(Claim::Program(claimed)) = explanation.claim else {
                continue;
            };
            found += 1;
            let mut rng = rng(4, "unseen");
            let texts = inputs(&mut rng, 30);
            right += usize::from(
                texts
                    .iter()
                    .all(|text| claimed.apply(text, &mut rng) == program.apply(text, &mut rng)),
            );
        }
        assert!(found >= 10 && right >= 9, "found {found}, right {right} of 12");
    }

    #[test]
    fn what_is_appended_replaced_or_enciphered_is_read_off() {
        for text in [
            "append(QxZ)",
            "replace_letter(a, Q)",
            "cipher(qwertyuiopasdfghjklzxcvbnm)",
            "reverse | append(ab)",
        ] {
            let program: Program = text.parse().unwrap();
            let function = StringFunction(program.clone());
            let explanation = explain(&mut BlackBox::new(&function, "f", 25, 0)).unwrap();
            assert_eq!(explanation.claim, Some(Claim::Program(program)), "{text}");
        }
    }
}
