//! Atoms as formulas.

use std::f64::consts::TAU;

use super::atom::{Atom, Formula};
use super::baseline::power_of_x;
use super::expression::{Expression, Operation};

use Expression::{Number, X};
use Operation::{Abs, Add, Ceil, Cos, Divide, Exp, Floor, Less, Ln, Multiply, Power, Rect, Sin, Subtract, Tanh};

impl Formula {
    /// The formula as an expression.
    pub fn expression(&self) -> Expression {
        match self {
            Self::Simple(atom) => atom.expression(),
            Self::Sum(one, other) => Expression::two(Add, one.expression(), other.expression()),
            Self::Product(one, other) => Expression::two(Multiply, one.expression(), other.expression()),
        }
    }
}

fn if_then(condition: Expression, then: Expression, otherwise: Expression) -> Expression {
    Expression::If(Box::new(condition), Box::new(then), Box::new(otherwise))
}

/// `s e + b`
fn affine(s: f64, of: Expression, b: f64) -> Expression {
    Expression::two(Add, Expression::two(Multiply, Number(s), of), Number(b))
}

/// `x - c`
fn minus(c: f64) -> Expression {
    Expression::two(Subtract, X, Number(c))
}

fn above(bound: f64) -> Expression {
    Expression::two(Less, Number(bound), X)
}

impl Atom {
    /// The atom as an expression.
    pub fn expression(&self) -> Expression {
        let phase = |p: f64, c: f64| Expression::two(Multiply, Number(TAU / p), minus(c));
        let series = |lowest_first: &[f64]| Expression::sum((0..).zip(lowest_first).map(|(i, c)| (*c, power_of_x(i))));
        match self {
            Self::Linear { m, b } => affine(*m, X, *b),
            Self::Polynomial { c } => series(&c.iter().rev().copied().collect::<Vec<_>>()),
            Self::Rational { a, b } => Expression::two(Divide, series(a), series(b)),
            Self::Absolute { s } => Expression::two(Multiply, Number(*s), Expression::one(Abs, X)),
            Self::Root { s, b, n } if *n == 1.0 => affine(*s, X, *b),
            Self::Root { s, b, n } => affine(*s, Expression::two(Power, X, Number(1.0 / n)), *b),
            Self::Reciprocal { a } => Expression::two(Divide, Number(1.0), Expression::two(Multiply, Number(*a), X)),
            Self::Logarithm { s, b, base } => affine(s / base.ln(), Expression::one(Ln, X), *b),
            Self::Step { s, b, a } => {
                let at_zero = if_then(Expression::two(Less, X, Number(0.0)), Number(*b), Number(s * a + b));
                if_then(above(0.0), Number(s + b), at_zero)
            }
            Self::Rectangle { w } => Expression::two(Rect, X, Number(*w)),
            Self::Relu { s, b, l } => if_then(above(0.0), affine(*s, X, *b), affine(s * l, X, *b)),
            Self::Tanh { a, p, c, b } => affine(*a, Expression::one(Tanh, phase(*p, *c)), *b),
            Self::Sin { a, p, c, b } => affine(*a, Expression::one(Sin, phase(*p, *c)), *b),
            Self::Cos { a, p, c, b } => affine(*a, Expression::one(Cos, phase(*p, *c)), *b),
            Self::Gaussian { mean, std } => {
                let from = Expression::two(Divide, minus(*mean), Number(*std));
                let square = Expression::two(Power, from, Number(2.0));
                let bell = Expression::one(Exp, Expression::two(Multiply, Number(-0.5), square));
                Expression::two(Multiply, Number(1.0 / (std * TAU.sqrt())), bell)
            }
            Self::SquareWave { period, shift } => {
                // In the order of the formula: where the sine is nearly 0, rounding decides.
                let turns = Expression::two(Multiply, minus(*shift), Number(TAU));
                let wave = Expression::one(Sin, Expression::two(Divide, turns, Number(*period)));
                if_then(Expression::two(Less, Number(0.0), wave), Number(1.0), Number(-1.0))
            }
            Self::Constant { a } => Number(*a),
            Self::Ceil => Expression::one(Ceil, X),
            Self::Floor => Expression::one(Floor, X),
        }
    }
}
