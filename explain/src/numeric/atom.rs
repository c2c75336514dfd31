//! The atoms of the numeric family, as FIND writes them out to its function files: the behaviour that is tested there.
//!
//! Two of them differ from their own names in the published data, and do so here: `absolute` has lost its bias, and `root` with
//! `n = 1` is a line. A power of a negative number is undefined (NaN); the published files give complex numbers there.

use std::f64::consts::TAU;

use serde::{Deserialize, Serialize};

/// A function of one number.
#[expect(missing_docs, reason = "fields are named as in the formulas")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Atom {
    /// `m x + b`
    Linear { m: f64, b: f64 },
    /// `sum c_i x^(d - i)`, highest power first.
    Polynomial { c: Vec<f64> },
    /// `(sum a_i x^i) / (sum b_i x^i)`, lowest power first.
    Rational { a: Vec<f64>, b: Vec<f64> },
    /// `s |x|`
    Absolute { s: f64 },
    /// `s x^(1/n) + b`
    Root { s: f64, b: f64, n: f64 },
    /// `1 / (a x)`
    Reciprocal { a: f64 },
    /// `s ln(x) / ln(base) + b`
    Logarithm { s: f64, b: f64, base: f64 },
    /// `s H(x) + b` with `H(0) = a`
    Step { s: f64, b: f64, a: f64 },
    /// 1 where `|x| <= w / 2`, else 0.
    Rectangle { w: f64 },
    /// `s (x if x > 0 else l x) + b`
    Relu { s: f64, b: f64, l: f64 },
    /// `A tanh((2 pi / p) (x - c)) + b`
    Tanh { a: f64, p: f64, c: f64, b: f64 },
    /// `A sin((2 pi / p) (x - c)) + b`
    Sin { a: f64, p: f64, c: f64, b: f64 },
    /// `A cos((2 pi / p) (x - c)) + b`
    Cos { a: f64, p: f64, c: f64, b: f64 },
    /// The density of a normal distribution.
    Gaussian { mean: f64, std: f64 },
    /// +1 where `sin((x - shift) 2 pi / period) > 0`, else -1.
    SquareWave { period: f64, shift: f64 },
    /// `a`
    Constant { a: f64 },
    /// The next integer above.
    Ceil,
    /// The next integer below.
    Floor,
}

impl Atom {
    /// FIND's name.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// The value at `x`; not finite where there is none.
    pub fn at(&self, x: f64) -> f64 {
        let power_series = |lowest_first: &[f64]| lowest_first.iter().rev().fold(0.0, |sum, c| sum * x + c);
        let phase = |p: f64, c: f64| TAU / p * (x - c);
        match self {
            Self::Linear { m, b } => m * x + b,
            Self::Polynomial { c } => c.iter().fold(0.0, |sum, c| sum * x + c),
            Self::Rational { a, b } => power_series(a) / power_series(b),
            Self::Absolute { s } => s * x.abs(),
            Self::Root { s, b, n } if *n == 1.0 => s * x + b,
            Self::Root { s, b, n } => s * x.powf(1.0 / n) + b,
            Self::Reciprocal { a } => 1.0 / (a * x),
            Self::Logarithm { s, b, base } => s * x.ln() / base.ln() + b,
            Self::Step { s, b, a } => {
                let step = match x {
                    x if x > 0.0 => 1.0,
                    x if x < 0.0 => 0.0,
                    _ => *a,
                };
                s * step + b
            }
            Self::Rectangle { w } => f64::from(u8::from(x.abs() <= w / 2.0)),
            Self::Relu { s, b, l } => s * if x > 0.0 { x } else { l * x } + b,
            Self::Tanh { a, p, c, b } => a * phase(*p, *c).tanh() + b,
            Self::Sin { a, p, c, b } => a * phase(*p, *c).sin() + b,
            Self::Cos { a, p, c, b } => a * phase(*p, *c).cos() + b,
            Self::Gaussian { mean, std } => (-0.5 * ((x - mean) / std).powi(2)).exp() / (std * TAU.sqrt()),
            Self::SquareWave { period, shift } => match ((x - shift) * TAU / period).sin() > 0.0 {
                true => 1.0,
                false => -1.0,
            },
            Self::Constant { a } => *a,
            Self::Ceil => x.ceil(),
            Self::Floor => x.floor(),
        }
    }

    /// Where FIND trains an MLP on the atom and takes the mean that replaces a corrupted interval.
    pub fn domain(&self) -> (f64, f64) {
        match self {
            Self::Root { .. } => (0.0, 100.0),
            Self::Logarithm { .. } => (1.0, 100.0),
            _ => (-100.0, 100.0),
        }
    }
}

/// One atom, or two joined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Formula {
    /// One.
    Simple(Atom),
    /// The sum of two.
    Sum(Atom, Atom),
    /// The product of two.
    Product(Atom, Atom),
}

impl Formula {
    /// The value at `x`; not finite where there is none.
    pub fn at(&self, x: f64) -> f64 {
        match self {
            Self::Simple(atom) => atom.at(x),
            Self::Sum(one, other) => one.at(x) + other.at(x),
            Self::Product(one, other) => one.at(x) * other.at(x),
        }
    }

    /// The atoms' names, joined as in FIND's files.
    pub fn name(&self) -> String {
        match self {
            Self::Simple(atom) => atom.name().to_owned(),
            Self::Sum(one, other) => format!("{};{};sum_two", one.name(), other.name()),
            Self::Product(one, other) => format!("{};{};multiply_two", one.name(), other.name()),
        }
    }

    /// Where FIND trains an MLP on it.
    pub fn domain(&self) -> (f64, f64) {
        match self {
            Self::Simple(atom) => atom.domain(),
            Self::Sum(..) | Self::Product(..) => (-100.0, 100.0),
        }
    }

    /// The mean over 100 even points of the domain.
    pub fn mean(&self) -> f64 {
        let (low, high) = self.domain();
        let at = |i: usize| self.at(low + (high - low) * i as f64 / 99.0);
        let values: Vec<f64> = (0..100).map(at).filter(|value| value.is_finite()).collect();
        values.iter().sum::<f64>() / values.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn atoms_have_the_values_of_their_formulas() {
        let near = |atom: Atom, x: f64, expected: f64| {
            let found = atom.at(x);
            assert!(
                (found - expected).abs() < 1e-12,
                "{atom:?} at {x}: {found}, not {expected}"
            );
        };
        near(
            Atom::Polynomial {
                c: vec![2.0, -1.0, 3.0],
            },
            2.0,
            9.0,
        );
        near(
            Atom::Rational {
                a: vec![1.0, 2.0],
                b: vec![1.0, 0.0, 1.0],
            },
            3.0,
            0.7,
        );
        near(
            Atom::Step {
                s: 2.0,
                b: 1.0,
                a: -9.0,
            },
            0.0,
            -17.0,
        );
        near(Atom::Relu { s: 2.0, b: 1.0, l: 0.5 }, -3.0, -2.0);
        near(
            Atom::Logarithm {
                s: 3.0,
                b: 1.0,
                base: 10.0,
            },
            100.0,
            7.0,
        );
        near(
            Atom::SquareWave {
                period: 4.0,
                shift: 1.0,
            },
            2.0,
            1.0,
        );
        near(
            Atom::SquareWave {
                period: 4.0,
                shift: 1.0,
            },
            4.0,
            -1.0,
        );
        near(Atom::Rectangle { w: 3.0 }, 1.5, 1.0);
        let quarter = Atom::Sin {
            a: 2.0,
            p: 4.0,
            c: 1.0,
            b: 0.5,
        };
        near(quarter, 2.0, 2.5);
        assert!(Atom::Root { s: 1.0, b: 0.0, n: 2.0 }.at(-1.0).is_nan());
        assert!(!Atom::Reciprocal { a: 2.0 }.at(0.0).is_finite());
    }

    #[test]
    fn the_density_of_a_gaussian_sums_to_one() {
        let gaussian = Atom::Gaussian { mean: 3.0, std: 2.0 };
        let sum: f64 = (-4000..4000).map(|i| gaussian.at(f64::from(i) / 100.0) / 100.0).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
    }
}
