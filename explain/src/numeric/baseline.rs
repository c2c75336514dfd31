//! Predictors that know nothing of FIND's atoms: what the share of functions below the threshold has to be read beside. A straight
//! line through nine values reaches what a language model does there.

use super::expression::Expression;
use super::least_squares::least_squares;
use crate::Error;
use crate::black_box::{BlackBox, Input, Output};
use crate::explanation::{Claim, Explanation, Status};

/// A predictor of its own, from evenly spaced values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::VariantArray)]
pub enum Baseline {
    /// Always 0.
    #[strum(serialize = "zero")]
    Zero,
    /// The mean of 9 values.
    #[strum(serialize = "mean of 9")]
    Mean,
    /// A line through 9 values, by least squares.
    #[strum(serialize = "line of 9")]
    Line,
    /// The nearest of 20 values.
    #[strum(serialize = "nearest of 20")]
    Nearest,
    /// Straight lines between 20 values.
    #[strum(serialize = "interpolation of 20")]
    Interpolation,
    /// A polynomial of degree 5 through 65 values, by least squares.
    #[strum(serialize = "quintic of 65")]
    Quintic,
}

/// The largest number that is asked.
const REACH: f64 = 128.0;

impl Baseline {
    fn queries(self) -> usize {
        match self {
            Self::Zero => 0,
            Self::Mean | Self::Line => 9,
            Self::Nearest | Self::Interpolation => 20,
            Self::Quintic => 65,
        }
    }

    /// What the baseline says of a numeric function.
    ///
    /// # Errors
    ///
    /// A black box that answers too few inputs.
    pub fn explain(self, of: &mut BlackBox<'_>) -> Result<Explanation, Error> {
        let n = self.queries();
        let x = |i: usize| -REACH + 2.0 * REACH * i as f64 / (n.saturating_sub(1)).max(1) as f64;
        let inputs: Vec<Input> = (0..n).map(|i| Input::Number(x(i))).collect();
        let outputs = of.call(&inputs)?;
        let points: Vec<(f64, f64)> = inputs.iter().zip(outputs).filter_map(point).collect();
        let expression = self.fit(&points);
        Ok(Explanation {
            text: self.to_string(),
            claim: Some(Claim::Expression(expression)),
            status: Status::Memorised,
        })
    }

    fn fit(self, points: &[(f64, f64)]) -> Expression {
        let polynomial = |degree: i32| {
            let columns: Vec<Vec<f64>> = (0..=degree)
                .map(|power| points.iter().map(|(x, _)| (x / REACH).powi(power)).collect())
                .collect();
            let y: Vec<f64> = points.iter().map(|point| point.1).collect();
            let found = least_squares(&columns, &y)
                .map(|(coefficients, _)| coefficients)
                .unwrap_or_default();
            Expression::sum(
                (0..)
                    .zip(found)
                    .map(|(power, c)| (c / REACH.powi(power), power_of_x(power))),
            )
        };
        match self {
            _ if points.is_empty() => Expression::Number(0.0),
            Self::Zero => Expression::Number(0.0),
            Self::Mean => polynomial(0),
            Self::Line => polynomial(1),
            Self::Quintic => polynomial(5),
            Self::Interpolation => Expression::Interp(points.to_vec()),
            Self::Nearest => {
                // A jump half way between two points.
                let mut steps: Vec<(f64, f64)> = vec![points[0]];
                for pair in points.windows(2) {
                    let middle = (pair[0].0 + pair[1].0) / 2.0;
                    steps.push((middle, pair[0].1));
                    steps.push((middle + 1e-9, pair[1].1));
                }
                Expression::Interp(steps)
            }
        }
    }
}

/// `x ^ power`
pub(super) fn power_of_x(power: i32) -> Expression {
    use super::expression::Operation;
    match power {
        0 => Expression::Number(1.0),
        1 => Expression::X,
        power => Expression::two(Operation::Power, Expression::X, Expression::Number(f64::from(power))),
    }
}

/// What was asked with what was answered, where that is a number.
pub(super) fn point((input, output): (&Input, Output)) -> Option<(f64, f64)> {
    match (input, output) {
        (Input::Number(x), Output::Number(y)) => Some((*x, y)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;
    use crate::numeric::{Atom, Formula, Served, Variant, grid, score};

    #[test]
    fn each_fits_what_it_can() {
        let passes = |baseline: Baseline, atom: Atom| {
            let served = Served {
                formula: Formula::Simple(atom),
                variant: Variant::Clean,
            };
            let mut of = BlackBox::new(&served, "f", 100, 0);
            let Some(Claim::Expression(found)) = baseline.explain(&mut of).unwrap().claim else {
                panic!("a baseline claims a formula")
            };
            score(grid().map(|x| (served.expected(x), found.at(x)))).passes()
        };
        let line = || Atom::Linear { m: 3.0, b: 1.0 };
        let wave = || Atom::Sin {
            a: 3.0,
            p: 2.0,
            c: 0.3,
            b: 0.0,
        };
        assert!(passes(Baseline::Line, line()) && passes(Baseline::Interpolation, line()));
        assert!(passes(
            Baseline::Quintic,
            Atom::Polynomial {
                c: vec![1.0, 0.0, -3.0]
            }
        ));
        assert!(
            passes(Baseline::Mean, Atom::Constant { a: 4.0 }) && passes(Baseline::Nearest, Atom::Constant { a: 4.0 })
        );
        for &baseline in Baseline::VARIANTS {
            assert!(!passes(baseline, wave()), "{baseline:?}");
        }
        assert!(!passes(Baseline::Zero, line()) && !passes(Baseline::Mean, line()));
    }
}
