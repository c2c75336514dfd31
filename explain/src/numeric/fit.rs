//! The offline explainer of numeric functions: every atom family is fitted by a grid over what is not linear in it and least squares
//! over what is; the family of the lowest Bayesian information criterion on values that were set aside is the explanation. Each is
//! tried with and without an interval in which the values are those of a plateau. Where none fits, the values themselves are given,
//! and called memorised.

use std::f64::consts::TAU;

use kernels::random::rng;
use rand::RngExt;

use super::baseline::{point, power_of_x};
use super::expression::{Expression, Operation};
use super::least_squares::least_squares;
use crate::Error;
use crate::black_box::{BlackBox, Input};
use crate::explanation::{Claim, Explanation, Status};

/// Inputs that are asked.
const QUERIES: usize = 120;
const REACH: f64 = 128.0;
/// The error on values set aside, against their sum of squares, beyond which nothing fits.
const WORST: f64 = 0.05;
/// Values of a plateau lie this near to their median; those of a corrupted interval have a standard deviation of 0.1.
const PLATEAU: f64 = 0.45;
/// Least number of values of a plateau.
const SHORTEST: usize = 4;

/// A family: the functions whose weighted sum is fitted, and how many other parameters were chosen from a grid.
struct Family {
    name: String,
    basis: Vec<Expression>,
    chosen: usize,
}

/// A fitted family.
struct Fit {
    name: String,
    expression: Expression,
    /// On all values that it should give.
    criterion: f64,
    /// On the values set aside: error against sum of squares.
    error: f64,
}

/// What the function is, as far as it is one of the known families.
///
/// # Errors
///
/// A black box that answers fewer than 120 inputs.
pub fn explain(of: &mut BlackBox<'_>, seed: u64) -> Result<Explanation, Error> {
    let mut rng = rng(seed, &format!("find/numeric/fit/{}", of.id()));
    // One in each of equal intervals; integers are passed over, where some functions have spikes.
    let width = 2.0 * REACH / QUERIES as f64;
    let x = |i: usize, draw: f64| ((-REACH + width * (i as f64 + draw)) * 100.0).floor() / 100.0 + 0.005;
    let inputs: Vec<Input> = (0..QUERIES).map(|i| Input::Number(x(i, rng.random()))).collect();
    let outputs = of.call(&inputs)?;
    let points: Vec<(f64, f64)> = inputs.iter().zip(outputs).filter_map(point).collect();
    Ok(match best(&points) {
        Some(fit) => Explanation::claiming(fit.name, Claim::Expression(fit.expression)),
        None if points.is_empty() => Explanation::without(Status::NotFound),
        None => Explanation {
            text: "no known family; the values that were seen, with straight lines between them".to_owned(),
            claim: Some(Claim::Expression(Expression::Interp(points))),
            status: Status::Memorised,
        },
    })
}

fn best(points: &[(f64, f64)]) -> Option<Fit> {
    let whole = families().into_iter().filter_map(|family| fit(&family, points, None));
    let plateau = plateau(points);
    let broken = plateau.into_iter().flat_map(|plateau| {
        let around = families().into_iter();
        around.filter_map(move |family| fit(&family, points, Some(plateau)))
    });
    let fits = whole.chain(broken).filter(|fit| fit.error <= WORST);
    fits.min_by(|a, b| a.criterion.total_cmp(&b.criterion))
}

/// Between two values of x, the values are near to `mean`.
#[derive(Clone, Copy)]
struct Plateau {
    low: f64,
    high: f64,
    mean: f64,
}

impl Plateau {
    fn holds(&self, x: f64) -> bool {
        self.low <= x && x <= self.high
    }

    /// What holds inside of the interval, and `otherwise` outside.
    fn around(&self, otherwise: Expression) -> Expression {
        let bound = |a: Expression, b: Expression| Expression::two(Operation::Less, a, b);
        let low = bound(Expression::Number(self.low), Expression::X);
        let high = bound(Expression::X, Expression::Number(self.high));
        let inside = Expression::two(Operation::Multiply, low, high);
        let mean = Expression::Number(self.mean);
        Expression::If(Box::new(inside), Box::new(mean), Box::new(otherwise))
    }
}

/// The longest run of values that are alike, where not all are. An end that no value lies beyond has no bound.
fn plateau(points: &[(f64, f64)]) -> Option<Plateau> {
    let (mut first, mut longest) = (0, 0..0);
    for last in 0..points.len() {
        let span = |first: usize| {
            let values = points[first..=last].iter().map(|point| point.1);
            let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), y| (a.min(y), b.max(y)));
            high - low
        };
        while span(first) > 2.0 * PLATEAU {
            first += 1;
        }
        if last + 1 - first > longest.len() {
            longest = first..last + 1;
        }
    }
    if longest.len() < SHORTEST || longest.len() + SHORTEST > points.len() {
        return None;
    }
    let values: f64 = points[longest.clone()].iter().map(|point| point.1).sum();
    let beside = |inside: usize, outside: Option<&(f64, f64)>, without: f64| {
        outside.map_or(without, |outside| (points[inside].0 + outside.0) / 2.0)
    };
    let before = longest.start.checked_sub(1).and_then(|i| points.get(i));
    Some(Plateau {
        low: beside(longest.start, before, -1e9),
        high: beside(longest.end - 1, points.get(longest.end), 1e9),
        mean: values / longest.len() as f64,
    })
}

/// Fits a family on two thirds of the values; the criterion is that of the others.
fn fit(family: &Family, points: &[(f64, f64)], plateau: Option<Plateau>) -> Option<Fit> {
    let is_outside = |point: &&(f64, f64)| plateau.is_none_or(|plateau| !plateau.holds(point.0));
    let value = |basis: &Expression, x: f64| basis.at(x);
    let (mut learnt, mut held) = (Vec::new(), Vec::new());
    for (i, point) in points.iter().filter(is_outside).enumerate() {
        match i % 3 {
            2 => held.push(*point),
            _ => learnt.push(*point),
        }
    }
    if held.len() < SHORTEST {
        return None;
    }
    let columns: Vec<Vec<f64>> = (family.basis.iter())
        .map(|basis| learnt.iter().map(|(x, _)| value(basis, *x)).collect())
        .collect();
    let y: Vec<f64> = learnt.iter().map(|point| point.1).collect();
    let (coefficients, _) = least_squares(&columns, &y)?;
    let fitted = Expression::sum(coefficients.iter().copied().zip(family.basis.iter().cloned()));
    let (expression, chosen) = match plateau {
        Some(plateau) => (plateau.around(fitted.clone()), family.chosen + 3),
        None => (fitted.clone(), family.chosen),
    };
    let parameters = (coefficients.len() + chosen) as f64;
    let square =
        |points: &[(f64, f64)], of: &Expression| points.iter().map(|(x, y)| (of.at(*x) - y).powi(2)).sum::<f64>();
    let of_zero: f64 = held.iter().map(|point| point.1.powi(2)).sum();
    let error = match square(&held, &fitted) {
        error if error.is_finite() => error / of_zero.max(1e-12),
        _ => return None,
    };
    // All families are compared on the same values: inside of the plateau, too.
    let all: Vec<(f64, f64)> = points
        .iter()
        .enumerate()
        .filter(|(i, _)| i % 3 == 2)
        .map(|(_, point)| *point)
        .collect();
    let n = all.len() as f64;
    let scale: f64 = all.iter().map(|point| point.1.powi(2)).sum::<f64>() / n;
    let mean_square = match square(&all, &expression) / n {
        square if square.is_finite() => square,
        _ => return None,
    };
    // Below this the values are exact, and simpler is better.
    let floor = 1e-8 * scale + 1e-12;
    Some(Fit {
        name: family.name.clone(),
        expression,
        criterion: n * (mean_square + floor).ln() + parameters * n.ln(),
        error,
    })
}

/// All families that are tried, simple ones first.
fn families() -> Vec<Family> {
    use Operation::{Abs, Ceil, Cos, Floor, Ln, Max, Min, Multiply, Rect, Sign, Sin, Sqrt, Step, Tanh};
    let x = || Expression::X;
    let number = Expression::Number;
    let one = || Expression::Number(1.0);
    let times = |a: Expression, b: Expression| Expression::two(Multiply, a, b);
    let mut all = Vec::new();
    let mut add = |name: String, basis: Vec<Expression>, chosen: usize| all.push(Family { name, basis, chosen });
    for degree in 0..=7 {
        let name = match degree {
            0 => "a constant".to_owned(),
            1 => "a line".to_owned(),
            degree => format!("a polynomial of degree {degree}"),
        };
        add(name, (0..=degree).map(power_of_x).collect(), 0);
    }
    let step = || Expression::one(Step, x());
    add("a multiple of |x|".to_owned(), vec![Expression::one(Abs, x())], 0);
    add("a step at 0".to_owned(), vec![step(), one()], 0);
    let (above, below) = (
        Expression::two(Max, x(), number(0.0)),
        Expression::two(Min, x(), number(0.0)),
    );
    add("two lines that meet at 0".to_owned(), vec![above, below, one()], 0);
    add("a multiple of 1/x".to_owned(), vec![reciprocal(x())], 0);
    add(
        "a multiple of the square root".to_owned(),
        vec![Expression::one(Sqrt, x()), one()],
        0,
    );
    add("a logarithm".to_owned(), vec![Expression::one(Ln, x()), one()], 0);
    for rounded in [Floor, Ceil] {
        let whole = Expression::one(rounded, x());
        add("a multiple of x rounded".to_owned(), vec![whole.clone(), one()], 0);
        add(
            "x rounded, and a square".to_owned(),
            vec![whole.clone(), times(whole.clone(), whole.clone()), one()],
            0,
        );
        for degree in 1..=5 {
            let basis = (0..=degree).map(|power| times(whole.clone(), power_of_x(power)));
            add("x rounded, times a polynomial".to_owned(), basis.collect(), 0);
            let basis = (0..=degree).map(power_of_x).chain([whole.clone()]);
            add("x rounded, and a polynomial".to_owned(), basis.collect(), 0);
        }
    }
    for degree in 1..=6 {
        let both = (0..=degree).flat_map(|power| [power_of_x(power), times(step(), power_of_x(power))]);
        add(
            format!("a polynomial of degree {degree} on either side of 0"),
            both.collect(),
            0,
        );
    }
    for period in (1..=63).map(|tenths| f64::from(tenths) / 10.0) {
        let phase = || times(number(TAU / period), x());
        let wave = vec![Expression::one(Sin, phase()), Expression::one(Cos, phase()), one()];
        add(format!("a wave of period {period}"), wave, 1);
        for centre in (1..=63).step_by(2).map(|tenths| f64::from(tenths) / 10.0) {
            let from = Expression::two(Operation::Subtract, x(), number(centre));
            let curve = Expression::one(Tanh, times(number(TAU / period), from));
            add(format!("a tanh around {centre}"), vec![curve, one()], 2);
        }
    }
    for width in (10..=100).map(|tenths| f64::from(tenths) / 10.0) {
        let inside = Expression::two(Rect, x(), number(width));
        add(
            format!("a rectangle of width {width} around 0"),
            vec![inside.clone(), one()],
            1,
        );
        let basis = (0..=1).map(power_of_x).chain([inside]);
        add(
            format!("a line, and a rectangle of width {width} around 0"),
            basis.collect(),
            1,
        );
    }
    for mean in -50..=50 {
        for std in 1..=10 {
            let from = Expression::two(Operation::Subtract, x(), number(f64::from(mean)));
            let square = times(times(number(-0.5 / f64::from(std * std)), from.clone()), from);
            let density = Expression::one(Operation::Exp, square);
            add(format!("a bell around {mean} of width {std}"), vec![density], 2);
        }
    }
    for period in (10..=100).step_by(2).map(|tenths| f64::from(tenths) / 10.0) {
        for shift in (-50..=50).step_by(4).map(|tenths| f64::from(tenths) / 10.0) {
            let from = Expression::two(Operation::Subtract, x(), number(shift));
            let wave = Expression::one(Sin, times(number(TAU / period), from));
            let square = Expression::one(Sign, wave);
            add(format!("a square wave of period {period}"), vec![square, one()], 2);
        }
    }
    all
}

fn reciprocal(of: Expression) -> Expression {
    Expression::two(Operation::Divide, Expression::Number(1.0), of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::{Atom, Corruption, Formula, Noise, Served, Variant, grid, score};

    fn explained(formula: Formula, variant: Variant) -> (f64, Explanation) {
        let served = Served { formula, variant };
        let mut of = BlackBox::new(&served, "f", QUERIES, 3);
        let explanation = explain(&mut of, 3).unwrap();
        assert_eq!(of.queries(), QUERIES);
        let Some(Claim::Expression(found)) = &explanation.claim else {
            panic!("no formula: {explanation:?}")
        };
        let error = score(grid().map(|x| (served.expected(x), found.at(x)))).nmse;
        (error, explanation)
    }

    #[test]
    fn planted_families_are_found() {
        let simple = [
            Atom::Linear { m: -3.2, b: 7.0 },
            Atom::Polynomial {
                c: vec![0.4, -1.0, 2.0, 5.0],
            },
            Atom::Absolute { s: -4.0 },
            Atom::Relu {
                s: 3.0,
                b: -2.0,
                l: 0.3,
            },
            Atom::Step {
                s: 9.0,
                b: 2.0,
                a: 50.0,
            },
            Atom::Sin {
                a: 4.0,
                p: 3.1,
                c: 0.7,
                b: -2.0,
            },
            Atom::Reciprocal { a: 3.0 },
            Atom::Root { s: 3.0, b: 1.0, n: 2.0 },
            Atom::Logarithm {
                s: 3.0,
                b: 1.0,
                base: 2.0,
            },
            Atom::Constant { a: -12.0 },
        ];
        for atom in simple {
            let name = atom.name();
            let (error, explanation) = explained(Formula::Simple(atom), Variant::Clean);
            assert!(error < 1e-3, "{name}: {error}, {}", explanation.text);
            assert_eq!(explanation.status, Status::Done, "{name}");
        }
        let product = Formula::Product(Atom::Relu { s: 2.0, b: 1.0, l: 0.2 }, Atom::Linear { m: 3.0, b: -1.0 });
        assert!(explained(product, Variant::Clean).0 < 1e-3);
    }

    #[test]
    fn a_corrupted_interval_is_found() {
        let corruption = Corruption {
            low: Some(20.0),
            high: Some(42.0),
            mean: -3.0,
        };
        let line = Formula::Simple(Atom::Linear { m: 4.0, b: 30.0 });
        let (error, explanation) = explained(line, Variant::Corrupted(corruption));
        assert!(error < 0.01, "{error}: {}", explanation.text);
        let Some(Claim::Expression(found)) = &explanation.claim else {
            unreachable!()
        };
        assert!((found.at(31.0) + 3.0).abs() < 0.2);
    }

    #[test]
    fn noise_does_not_make_a_function_complicated() {
        let line = Formula::Simple(Atom::Linear { m: 4.0, b: 30.0 });
        let (error, explanation) = explained(line, Variant::Noised(Noise::Normal));
        assert!(
            error < 1e-3 && explanation.text == "a line",
            "{error}: {}",
            explanation.text
        );
    }

    #[test]
    fn what_is_of_no_family_is_memorised() {
        let wave = Formula::Product(
            Atom::SquareWave {
                period: 9.3,
                shift: 0.3,
            },
            Atom::Polynomial { c: vec![1.0, 3.0, 2.0] },
        );
        let (_, explanation) = explained(wave, Variant::Clean);
        assert_eq!(explanation.status, Status::Memorised);
    }
}
