//! Formulas of `x`: what explanations of numeric functions are made of. They are total and have no loops.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A function of one or two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// `a + b`
    Add,
    /// `a - b`
    Subtract,
    /// `a * b`
    Multiply,
    /// `a / b`
    Divide,
    /// `a ^ b`
    Power,
    /// `-a`
    Negate,
    /// `abs(a)`
    Abs,
    /// `sqrt(a)`
    Sqrt,
    /// `exp(a)`
    Exp,
    /// `ln(a)`
    Ln,
    /// `sin(a)`
    Sin,
    /// `cos(a)`
    Cos,
    /// `tan(a)`
    Tan,
    /// `tanh(a)`
    Tanh,
    /// `floor(a)`
    Floor,
    /// `ceil(a)`
    Ceil,
    /// `sign(a)`: 1, -1, or 0 for 0.
    Sign,
    /// `step(a)`: 1 above 0, 0 below, one half at 0.
    Step,
    /// `min(a, b)`
    Min,
    /// `max(a, b)`
    Max,
    /// `rect(a, w)`: 1 where `|a| <= w / 2`, else 0.
    Rect,
    /// `less(a, b)`: 1 where `a < b`, else 0.
    Less,
}

impl Operation {
    /// The functions that are written with their names, and how many numbers they take.
    pub(super) const NAMED: [(&'static str, Self, usize); 16] = [
        ("abs", Self::Abs, 1),
        ("sqrt", Self::Sqrt, 1),
        ("exp", Self::Exp, 1),
        ("ln", Self::Ln, 1),
        ("sin", Self::Sin, 1),
        ("cos", Self::Cos, 1),
        ("tan", Self::Tan, 1),
        ("tanh", Self::Tanh, 1),
        ("floor", Self::Floor, 1),
        ("ceil", Self::Ceil, 1),
        ("sign", Self::Sign, 1),
        ("step", Self::Step, 1),
        ("min", Self::Min, 2),
        ("max", Self::Max, 2),
        ("rect", Self::Rect, 2),
        ("less", Self::Less, 2),
    ];

    /// The names of the functions.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::NAMED.iter().map(|(name, ..)| *name)
    }

    fn of(self, a: f64, b: f64) -> f64 {
        let flag = |holds: bool| if holds { 1.0 } else { 0.0 };
        match self {
            Self::Add => a + b,
            Self::Subtract => a - b,
            Self::Multiply => a * b,
            Self::Divide => a / b,
            Self::Power => a.powf(b),
            Self::Negate => -a,
            Self::Abs => a.abs(),
            Self::Sqrt => a.sqrt(),
            Self::Exp => a.exp(),
            Self::Ln => a.ln(),
            Self::Sin => a.sin(),
            Self::Cos => a.cos(),
            Self::Tan => a.tan(),
            Self::Tanh => a.tanh(),
            Self::Floor => a.floor(),
            Self::Ceil => a.ceil(),
            Self::Sign => match a {
                0.0 => 0.0,
                a => a.signum(),
            },
            Self::Step => match a {
                0.0 => 0.5,
                a => flag(a > 0.0),
            },
            Self::Min => a.min(b),
            Self::Max => a.max(b),
            Self::Rect => flag(a.abs() <= b / 2.0),
            Self::Less => flag(a < b),
        }
    }
}

/// A formula.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expression {
    /// A number.
    Number(f64),
    /// The variable.
    X,
    /// A function of one formula.
    One(Operation, Box<Expression>),
    /// A function of two formulas.
    Two(Operation, Box<Expression>, Box<Expression>),
    /// `if(c, a, b)`: `a` where `c` is not 0, else `b`.
    If(Box<Expression>, Box<Expression>, Box<Expression>),
    /// `interp((x, y), ...)`: straight lines between points in the order of `x`, constant outside of them.
    Interp(Vec<(f64, f64)>),
}

impl Expression {
    /// The value at `x`; not finite where there is none.
    pub fn at(&self, x: f64) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::X => x,
            Self::One(operation, a) => operation.of(a.at(x), 0.0),
            Self::Two(operation, a, b) => operation.of(a.at(x), b.at(x)),
            Self::If(condition, a, b) => match condition.at(x) {
                condition if condition.is_nan() => f64::NAN,
                0.0 => b.at(x),
                _ => a.at(x),
            },
            Self::Interp(points) => interpolate(points, x),
        }
    }

    pub(super) fn one(operation: Operation, a: Self) -> Self {
        Self::One(operation, Box::new(a))
    }

    pub(super) fn two(operation: Operation, a: Self, b: Self) -> Self {
        Self::Two(operation, Box::new(a), Box::new(b))
    }

    /// A weighted sum of formulas; terms of weight 0 are left out.
    pub(super) fn sum(terms: impl IntoIterator<Item = (f64, Self)>) -> Self {
        let term = |(weight, of): (f64, Self)| match of {
            Self::Number(number) => Self::Number(weight * number),
            of => Self::two(Operation::Multiply, Self::Number(weight), of),
        };
        let terms = terms.into_iter().filter(|(weight, _)| *weight != 0.0).map(term);
        terms
            .reduce(|a, b| Self::two(Operation::Add, a, b))
            .unwrap_or(Self::Number(0.0))
    }
}

/// Between the two points beside `x`; the value of the outer points beyond them.
fn interpolate(points: &[(f64, f64)], x: f64) -> f64 {
    let after = points.partition_point(|point| point.0 < x);
    match (
        after.checked_sub(1).and_then(|before| points.get(before)),
        points.get(after),
    ) {
        (Some(&(x0, y0)), Some(&(x1, y1))) => y0 + (y1 - y0) * (x - x0) / (x1 - x0),
        (Some(&(_, y)), None) | (None, Some(&(_, y))) => y,
        (None, None) => f64::NAN,
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) if *number < 0.0 => write!(formatter, "({number})"),
            Self::Number(number) => write!(formatter, "{number}"),
            Self::X => write!(formatter, "x"),
            Self::One(Operation::Negate, a) => write!(formatter, "(-{a})"),
            Self::One(operation, a) => write!(formatter, "{}({a})", name(*operation)),
            Self::Two(operation, a, b) => {
                let sign = match operation {
                    Operation::Add => "+",
                    Operation::Subtract => "-",
                    Operation::Multiply => "*",
                    Operation::Divide => "/",
                    Operation::Power => "^",
                    other => return write!(formatter, "{}({a}, {b})", name(*other)),
                };
                write!(formatter, "({a} {sign} {b})")
            }
            Self::If(condition, a, b) => write!(formatter, "if({condition}, {a}, {b})"),
            Self::Interp(points) => {
                write!(formatter, "interp(")?;
                for (i, (x, y)) in points.iter().enumerate() {
                    let comma = if i > 0 { ", " } else { "" };
                    write!(formatter, "{comma}({x}, {y})")?;
                }
                write!(formatter, ")")
            }
        }
    }
}

#[expect(
    clippy::expect_used,
    reason = "the list of names is complete, and a test writes and reads all of them"
)]
fn name(operation: Operation) -> &'static str {
    let named = Operation::NAMED.iter().find(|(_, of, _)| *of == operation);
    named
        .map(|(name, ..)| *name)
        .expect("every operation that is no sign has a name")
}
