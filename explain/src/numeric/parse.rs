//! Reading formulas. What a language model wrote is read as data; nothing of it is executed but these formulas.

use std::str::FromStr;

use super::expression::{Expression, Operation};
use crate::Error;

/// Most characters of a formula.
const LONGEST: usize = 20_000;
/// Most brackets, signs and functions inside each other.
const DEEPEST: usize = 60;

impl FromStr for Expression {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > LONGEST {
            return Err(Error::Formula {
                reason: format!("it has {} bytes, more than {LONGEST}", text.len()),
            });
        }
        let mut parser = Parser { text, at: 0, depth: 0 };
        let found = parser.comparison()?;
        match parser.peek() {
            None => Ok(found),
            Some(c) => Err(parser.refuse(&format!("{c:?} is not expected"))),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn refuse(&self, reason: &str) -> Error {
        Error::Formula {
            reason: format!("{reason} at character {}", self.text[..self.at].chars().count() + 1),
        }
    }

    /// The next character that is no space.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, wanted: &str) -> bool {
        self.peek();
        let found = self.text[self.at..].starts_with(wanted);
        if found {
            self.at += wanted.len();
        }
        found
    }

    fn expect(&mut self, wanted: &str) -> Result<(), Error> {
        match self.take(wanted) {
            true => Ok(()),
            false => Err(self.refuse(&format!("{wanted:?} is missing"))),
        }
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth == DEEPEST {
            return Err(self.refuse(&format!("it is more than {DEEPEST} levels deep")));
        }
        self.depth += 1;
        let found = parse(self);
        self.depth -= 1;
        found
    }

    /// `a`, `a < b` or `a > b`.
    fn comparison(&mut self) -> Result<Expression, Error> {
        let left = self.sum()?;
        if self.take("<=") || self.take("<") {
            let right = self.sum()?;
            Ok(Expression::two(Operation::Less, left, right))
        } else if self.take(">=") || self.take(">") {
            let right = self.sum()?;
            Ok(Expression::two(Operation::Less, right, left))
        } else {
            Ok(left)
        }
    }

    fn sum(&mut self) -> Result<Expression, Error> {
        let mut left = self.product()?;
        loop {
            let operation = match self.peek() {
                Some('+') => Operation::Add,
                Some('-') => Operation::Subtract,
                _ => return Ok(left),
            };
            self.at += 1;
            left = Expression::two(operation, left, self.product()?);
        }
    }

    fn product(&mut self) -> Result<Expression, Error> {
        let mut left = self.signed()?;
        loop {
            let operation = match self.peek() {
                Some('*') if !self.text[self.at..].starts_with("**") => Operation::Multiply,
                Some('/') => Operation::Divide,
                _ => return Ok(left),
            };
            self.at += 1;
            left = Expression::two(operation, left, self.signed()?);
        }
    }

    fn signed(&mut self) -> Result<Expression, Error> {
        if self.take("-") {
            return Ok(Expression::one(Operation::Negate, self.deeper(Self::signed)?));
        }
        let base = self.atom()?;
        match self.take("**") || self.take("^") {
            true => Ok(Expression::two(Operation::Power, base, self.deeper(Self::signed)?)),
            false => Ok(base),
        }
    }

    fn atom(&mut self) -> Result<Expression, Error> {
        match self.peek() {
            Some('(') => {
                self.at += 1;
                let inner = self.deeper(Self::comparison)?;
                self.expect(")")?;
                Ok(inner)
            }
            Some(c) if c.is_ascii_digit() || c == '.' => Ok(Expression::Number(self.number()?)),
            Some(c) if c.is_ascii_alphabetic() => self.named(),
            Some(c) => Err(self.refuse(&format!("{c:?} is not expected"))),
            None => Err(self.refuse("the formula ends")),
        }
    }

    /// A number without a sign.
    fn number(&mut self) -> Result<f64, Error> {
        let rest = &self.text[self.at..];
        let mut end = 0;
        for (place, c) in rest.char_indices() {
            let is_exponent_sign = matches!(c, '+' | '-') && rest[..place].ends_with(['e', 'E']);
            if !(c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E') || is_exponent_sign) {
                break;
            }
            end = place + c.len_utf8();
        }
        let number = rest[..end].parse::<f64>().ok().filter(|number| number.is_finite());
        let number = number.ok_or_else(|| self.refuse("no number"))?;
        self.at += end;
        Ok(number)
    }

    fn signed_number(&mut self) -> Result<f64, Error> {
        let sign = if self.take("-") { -1.0 } else { 1.0 };
        self.peek();
        Ok(sign * self.number()?)
    }

    /// `x`, a function, `if` or `interp`.
    fn named(&mut self) -> Result<Expression, Error> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let name = &rest[..end];
        let known = Operation::NAMED.iter().find(|(known, ..)| *known == name);
        if known.is_none() && !matches!(name, "x" | "pi" | "if" | "interp") {
            return Err(self.refuse(&format!("{name:?} is not known")));
        }
        self.at += end;
        match (name, known) {
            ("x", _) => Ok(Expression::X),
            ("pi", _) => Ok(Expression::Number(std::f64::consts::PI)),
            ("interp", _) => self.points(),
            ("if", _) => {
                let [condition, a, b] = self.arguments()?;
                Ok(Expression::If(Box::new(condition), Box::new(a), Box::new(b)))
            }
            (_, Some((_, operation, 1))) => {
                let [a] = self.arguments()?;
                Ok(Expression::one(*operation, a))
            }
            (_, Some((_, operation, _))) => {
                let [a, b] = self.arguments()?;
                Ok(Expression::two(*operation, a, b))
            }
            (_, None) => Err(self.refuse("a function is missing")),
        }
    }

    fn arguments<const N: usize>(&mut self) -> Result<[Expression; N], Error> {
        self.expect("(")?;
        let mut found = Vec::with_capacity(N);
        for i in 0..N {
            if i > 0 {
                self.expect(",")?;
            }
            found.push(self.deeper(Self::comparison)?);
        }
        self.expect(")")?;
        found.try_into().map_err(|_| self.refuse("another number of arguments"))
    }

    /// `((x, y), ...)`, with square brackets around them or not.
    fn points(&mut self) -> Result<Expression, Error> {
        self.expect("(")?;
        let bracket = self.take("[");
        let mut points: Vec<(f64, f64)> = Vec::new();
        while self.take("(") {
            let x = self.signed_number()?;
            self.expect(",")?;
            let y = self.signed_number()?;
            self.expect(")")?;
            points.push((x, y));
            if !self.take(",") {
                break;
            }
        }
        if bracket {
            self.expect("]")?;
        }
        self.expect(")")?;
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points.dedup_by(|a, b| a.0 == b.0);
        match points.is_empty() {
            true => Err(self.refuse("interp has no points")),
            false => Ok(Expression::Interp(points)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str, x: f64) -> f64 {
        text.parse::<Expression>().unwrap().at(x)
    }

    #[test]
    fn formulas_have_the_usual_order_of_operations() {
        assert_eq!(at("2 + 3 * x ^ 2", 2.0), 14.0);
        assert_eq!(at("-x^2", 3.0), -9.0);
        assert_eq!(at("2^3^2", 0.0), 512.0);
        assert_eq!(at("8 / 2 / 2 - 1 - 1", 0.0), 0.0);
        assert_eq!(at("x**2 - 1.5e1", 4.0), 1.0);
        assert_eq!(at("if(x < 0, -1, if(x>2, 7, 1))", -3.0), -1.0);
        assert_eq!(at("if(x < 0, -1, if(x>2, 7, 1))", 3.0), 7.0);
        assert_eq!(at("max(abs(x), rect(x, 4)) * step(x)", 1.0), 1.0);
        assert_eq!(at("interp([(0, 1), (2, -5)])", 1.0), -2.0);
        assert_eq!(at("interp((2, -5), (0, 1))", 9.0), -5.0);
    }

    #[test]
    fn what_is_no_formula_is_refused_and_said_why() {
        for text in [
            "",
            "x +",
            "import os",
            "f(x)",
            "(x",
            "x x",
            "1e999",
            "interp()",
            "min(x)",
            "x @ 2",
            "__x",
            "1..2",
        ] {
            let error = text.parse::<Expression>().unwrap_err();
            assert!(matches!(error, Error::Formula { .. }), "{text}");
        }
        let deep = "(".repeat(1000) + "x" + &")".repeat(1000);
        assert!(
            deep.parse::<Expression>()
                .unwrap_err()
                .to_string()
                .contains("levels deep")
        );
        assert!("-".repeat(5000).parse::<Expression>().is_err());
        assert!("1+".repeat(20_000).parse::<Expression>().is_err());
    }

    fn expressions() -> impl Strategy<Value = Expression> {
        let leaf = prop_oneof![(-9.0..9.0_f64).prop_map(Expression::Number), Just(Expression::X)];
        leaf.prop_recursive(4, 24, 3, |inner| {
            let two = (0..Operation::NAMED.len(), inner.clone(), inner.clone());
            prop_oneof![
                two.prop_map(|(i, a, b)| match Operation::NAMED[i] {
                    (_, operation, 1) => Expression::one(operation, a),
                    (_, operation, _) => Expression::two(operation, a, b),
                }),
                (inner.clone(), inner.clone(), inner).prop_map(|(c, a, b)| Expression::If(
                    Box::new(c),
                    Box::new(a),
                    Box::new(b)
                )),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_formula_that_is_written_is_read_again(expression in expressions(), x in -9.0..9.0_f64) {
            let again: Expression = expression.to_string().parse().unwrap();
            prop_assert_eq!(again.at(x).to_bits(), expression.at(x).to_bits());
        }

        #[test]
        fn no_text_ends_in_a_panic(text in "[-x0-9a-z().,<>*/^ +é]{0,60}") {
            let _ = text.parse::<Expression>();
        }
    }
}
