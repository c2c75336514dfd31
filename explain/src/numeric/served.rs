//! How a numeric function is served. Each is served in one of four ways.

use kernels::random::ChaCha8Rng;
use rand_distr::{Distribution, Normal, Poisson, Uniform};
use serde::{Deserialize, Serialize};

use super::atom::Formula;
use super::expression::{Expression, Operation};
use super::mlp::Mlp;
use crate::black_box::{Function, Input, Kind, Output};

/// What is added to each value, one draw a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "lowercase")]
pub enum Noise {
    /// Standard normal.
    Normal,
    /// From -1 to 1.
    Uniform,
    /// Poisson of mean 1.
    Poisson,
}

impl Noise {
    #[expect(
        clippy::expect_used,
        reason = "the parameters are constants that the distributions take"
    )]
    fn draw(self, rng: &mut ChaCha8Rng) -> f64 {
        match self {
            Self::Normal => Normal::new(0.0, 1.0)
                .expect("a standard deviation of 1 is finite")
                .sample(rng),
            Self::Uniform => Uniform::new(-1.0, 1.0).expect("the bounds are finite").sample(rng),
            Self::Poisson => Poisson::new(1.0).expect("a mean of 1 is positive").sample(rng),
        }
    }
}

/// An interval in which the value is drawn from a narrow normal distribution instead.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Corruption {
    /// The lower end; none: from minus infinity.
    pub low: Option<f64>,
    /// The upper end; none: to infinity.
    pub high: Option<f64>,
    /// The mean of what is drawn; its standard deviation is 0.1.
    pub mean: f64,
}

/// Standard deviation of the values in a corrupted interval.
const CORRUPTED_STD: f64 = 0.1;

impl Corruption {
    /// Whether a number lies in the interval.
    pub fn holds(&self, x: f64) -> bool {
        self.low.is_none_or(|low| x > low) && self.high.is_none_or(|high| x < high)
    }
}

/// What stands between the formula and what is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "lowercase")]
pub enum Variant {
    /// Nothing.
    Clean,
    /// Noise.
    Noised(Noise),
    /// An interval of other values.
    Corrupted(Corruption),
    /// A small network that was trained on the formula.
    Mlp(Box<Mlp>),
}

impl Variant {
    /// The name in tables.
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

/// A numeric function as it is served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Served {
    /// The formula behind it.
    pub formula: Formula,
    /// What is done to it.
    pub variant: Variant,
}

impl Served {
    /// One value; each call draws its noise anew.
    #[expect(
        clippy::expect_used,
        reason = "a standard deviation of 0.1 is taken whatever the mean"
    )]
    pub fn draw(&self, x: f64, rng: &mut ChaCha8Rng) -> f64 {
        match &self.variant {
            Variant::Clean => self.formula.at(x),
            Variant::Noised(noise) => self.formula.at(x) + noise.draw(rng),
            Variant::Corrupted(corruption) if corruption.holds(x) => Normal::new(corruption.mean, CORRUPTED_STD)
                .expect("a standard deviation of 0.1 is finite")
                .sample(rng),
            Variant::Corrupted(_) => self.formula.at(x),
            Variant::Mlp(mlp) => mlp.at(x),
        }
    }

    /// The value without its noise.
    pub fn expected(&self, x: f64) -> f64 {
        match &self.variant {
            Variant::Corrupted(corruption) if corruption.holds(x) => corruption.mean,
            Variant::Noised(Noise::Poisson) => self.formula.at(x) + 1.0,
            Variant::Clean | Variant::Noised(_) | Variant::Corrupted(_) => self.formula.at(x),
            Variant::Mlp(mlp) => mlp.at(x),
        }
    }
}

impl Function for Served {
    fn kind(&self) -> Kind {
        Kind::Numeric
    }

    fn respond(&self, inputs: &[Input], rng: &mut ChaCha8Rng) -> Vec<Output> {
        let answer = |input: &Input| match input {
            Input::Number(x) => match self.draw(*x, rng) {
                value if value.is_finite() => Output::Number(value),
                _ => Output::Error("undefined".to_owned()),
            },
            Input::Text(_) | Input::Tokens(_) => Output::Error("not a number".to_owned()),
        };
        inputs.iter().map(answer).collect()
    }
}

impl Served {
    /// The function without its noise as an expression; that of an MLP is the formula that it was trained on.
    pub fn expression(&self) -> Expression {
        let formula = self.formula.expression();
        let bound = |a: Expression, b: Expression| Expression::two(Operation::Less, a, b);
        match &self.variant {
            Variant::Clean | Variant::Noised(Noise::Normal | Noise::Uniform) | Variant::Mlp(_) => formula,
            Variant::Noised(Noise::Poisson) => Expression::two(Operation::Add, formula, Expression::Number(1.0)),
            Variant::Corrupted(corruption) => {
                let low = corruption.low.map(|low| bound(Expression::Number(low), Expression::X));
                let high = corruption
                    .high
                    .map(|high| bound(Expression::X, Expression::Number(high)));
                let inside = match (low, high) {
                    (Some(low), Some(high)) => Expression::two(Operation::Multiply, low, high),
                    (Some(one), None) | (None, Some(one)) => one,
                    (None, None) => Expression::Number(1.0),
                };
                Expression::If(
                    Box::new(inside),
                    Box::new(Expression::Number(corruption.mean)),
                    Box::new(formula),
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::{MlpTraining, grid, sample};

    #[test]
    fn the_expression_has_the_values_of_the_function() {
        for index in 0..300 {
            let served = sample(2, index, MlpTraining { epochs: 0, points: 2 });
            if let Variant::Mlp(_) = served.variant {
                continue;
            }
            let expression = served.expression();
            for x in grid() {
                let (found, expected) = (expression.at(x), served.expected(x));
                let near = (found - expected).abs() <= 1e-9 * expected.abs().max(1.0);
                assert!(
                    near || !expected.is_finite() && !found.is_finite(),
                    "{expression} at {x}: {found}, {expected}"
                );
            }
        }
    }
}
