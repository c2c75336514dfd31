//! One atom, or two in a row.

use std::fmt;
use std::str::FromStr;

use kernels::random::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::op::{Args, Atom, Op, Takes};
use crate::Error;
use crate::black_box::{Function, Input, Kind, Output};

/// Atoms in the order in which they are applied, one or two. As text: `reverse | append(xy)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Program(Vec<Atom>);

/// Most characters of a text that is asked or answered.
const LONGEST: usize = 2000;

impl Program {
    /// One atom.
    pub fn simple(atom: Atom) -> Self {
        Self(vec![atom])
    }

    /// `outer` of what `inner` gives.
    pub fn composed(inner: Atom, outer: Atom) -> Self {
        Self(vec![inner, outer])
    }

    /// Its atoms, the first applied first.
    pub fn atoms(&self) -> &[Atom] {
        &self.0
    }

    /// The text that it makes of another.
    pub fn apply(&self, text: &str, rng: &mut ChaCha8Rng) -> String {
        let text: Vec<char> = text.chars().collect();
        let made = self.0.iter().fold(text, |text, atom| atom.apply(&text, rng));
        made.into_iter().collect()
    }

    /// Whether the same text always gives the same.
    pub fn is_deterministic(&self) -> bool {
        self.0.iter().all(|atom| atom.op().is_deterministic())
    }
}

/// A program as a black box holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StringFunction(pub Program);

impl Function for StringFunction {
    fn kind(&self) -> Kind {
        Kind::Strings
    }

    fn respond(&self, inputs: &[Input], rng: &mut ChaCha8Rng) -> Vec<Output> {
        let answer = |input: &Input| match input {
            Input::Text(text) if text.chars().count() > LONGEST => {
                Output::Error(format!("longer than {LONGEST} characters"))
            }
            Input::Text(text) => Output::Text(self.0.apply(text, rng)),
            Input::Number(_) | Input::Tokens(_) => Output::Error("not a text".to_owned()),
        };
        inputs.iter().map(answer).collect()
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.op();
        match self.args() {
            Args::Nothing => write!(formatter, "{name}"),
            Args::Letter(letter) => write!(formatter, "{name}({letter})"),
            Args::Letters(a, b) => write!(formatter, "{name}({a}, {b})"),
            Args::Places(a, b) => write!(formatter, "{name}({a}, {b})"),
            Args::Number(number) => write!(formatter, "{name}({number})"),
            Args::Text(text) => write!(formatter, "{name}({text})"),
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, atom) in self.0.iter().enumerate() {
            let bar = if i > 0 { " | " } else { "" };
            write!(formatter, "{bar}{atom}")?;
        }
        Ok(())
    }
}

impl FromStr for Program {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let atoms: Result<Vec<Atom>, Error> = text.split('|').map(|part| part.trim().parse()).collect();
        let atoms = atoms?;
        match atoms.len() {
            1 | 2 => Ok(Self(atoms)),
            n => Err(Error::Program {
                reason: format!("it has {n} steps, and one or two are known"),
            }),
        }
    }
}

impl FromStr for Atom {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |reason: String| Err(Error::Program { reason });
        let (name, given) = match text.split_once('(') {
            Some((name, rest)) => match rest.trim_end().strip_suffix(')') {
                Some(given) => (name.trim(), given.trim()),
                None => return refuse(format!("{text:?} lacks its closing bracket")),
            },
            None => (text, ""),
        };
        let Ok(op) = name.parse::<Op>() else {
            return refuse(format!("{name:?} is no known step"));
        };
        let bare = |text: &str| text.trim().trim_matches(['"', '\'']).to_owned();
        let letter = |text: &str| {
            let text = bare(text);
            let mut characters = text.chars();
            characters.next().filter(|_| characters.next().is_none())
        };
        let number = |text: &str| text.trim().parse::<usize>().ok();
        let pair = given.split_once(',');
        let args = match op.takes() {
            Takes::Nothing => given.is_empty().then_some(Args::Nothing),
            Takes::Letter | Takes::Digit => letter(given).map(Args::Letter),
            Takes::Letters => pair.and_then(|(a, b)| Some(Args::Letters(letter(a)?, letter(b)?))),
            Takes::Number(..) => number(given).map(Args::Number),
            Takes::Places => pair.and_then(|(a, b)| Some(Args::Places(number(a)?, number(b)?))),
            Takes::Text | Takes::Alphabet => Some(Args::Text(bare(given))),
        };
        match args.and_then(|args| Self::new(op, args)) {
            Some(atom) => Ok(atom),
            None => refuse(format!("{name} does not take ({given})")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strings::sample;
    use proptest::prelude::*;
    use strum::VariantArray;

    #[test]
    fn there_are_67_atoms_of_which_63_may_be_inner() {
        assert_eq!(Op::VARIANTS.len(), 67);
        assert_eq!(Op::VARIANTS.iter().filter(|op| op.may_be_inner()).count(), 63);
        let mut names: Vec<String> = Op::VARIANTS.iter().map(ToString::to_string).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 67);
    }

    #[test]
    fn what_is_no_program_is_refused() {
        for text in [
            "",
            "reverse | reverse | reverse",
            "print",
            "add(99)",
            "add",
            "reverse(3)",
            "swap_at(1, 1)",
            "append(",
            "cipher(abc)",
        ] {
            assert!(text.parse::<Program>().is_err(), "{text}");
        }
        let stored = r#"[{"op":"add","args":{"number":77}}]"#;
        assert!(serde_json::from_str::<Program>(stored).is_err());
    }

    proptest! {
        #[test]
        fn programs_are_read_as_written_and_never_panic(index in 0..5000_usize, text in "\\PC{0,20}") {
            let program = sample(11, index);
            let again: Program = program.to_string().parse().unwrap();
            prop_assert_eq!(&again, &program);
            let stored: Program = serde_json::from_str(&serde_json::to_string(&program).unwrap()).unwrap();
            prop_assert_eq!(&stored, &program);
            let apply = |program: &Program| program.apply(&text, &mut kernels::random::rng(0, "test"));
            prop_assert_eq!(apply(&again), apply(&program));
        }

        #[test]
        fn no_text_ends_in_a_panic(text in "[a-z_(),|0-9 é]{0,40}") {
            let _ = text.parse::<Program>();
        }
    }
}
