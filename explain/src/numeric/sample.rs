//! Numeric functions from seeds, with the distributions of FIND's generator and the shares of its data.

use std::f64::consts::TAU;

use kernels::random::{ChaCha8Rng, rng};
use rand::RngExt;

use super::atom::{Atom, Formula};
use super::mlp::{Mlp, MlpTraining};
use super::served::{Corruption, Noise, Served, Variant};

/// Share of functions that join two atoms.
const COMPOSED: f64 = 0.15;
/// Of 1000 published functions: clean, noised, corrupted; the others are networks.
const SHARES: [f64; 3] = [0.483, 0.176, 0.191];

/// The function with this number, the same whatever other functions are asked for.
pub fn sample(seed: u64, index: usize, training: MlpTraining) -> Served {
    let mut rng = rng(seed, &format!("find/numeric/{index}"));
    let formula = formula(&mut rng);
    let draw: f64 = rng.random();
    let variant = match draw {
        draw if draw < SHARES[0] => Variant::Clean,
        draw if draw < SHARES[0] + SHARES[1] => Variant::Noised(noise(&mut rng)),
        draw if draw < SHARES.iter().sum() => Variant::Corrupted(corruption(&formula, &mut rng)),
        _ => Variant::Mlp(Box::new(Mlp::train(&formula, training, &mut rng))),
    };
    Served { formula, variant }
}

/// Two draws one after the other, as in FIND's generator: about 34, 44 and 22 %.
fn noise(rng: &mut ChaCha8Rng) -> Noise {
    match rng.random::<f64>() < 0.33 {
        true => Noise::Normal,
        false if rng.random::<f64>() < 0.66 => Noise::Uniform,
        false => Noise::Poisson,
    }
}

/// Half of them inside two bounds, the others below or above one.
fn corruption(formula: &Formula, rng: &mut ChaCha8Rng) -> Corruption {
    let bound = tenths(rng, -100.0, 100.0);
    let (low, high) = match rng.random::<f64>() {
        draw if draw < 0.5 => (Some(bound), Some(bound + rng.random_range(5.0..25.0))),
        draw if draw < 0.75 => (None, Some(bound)),
        _ => (Some(bound), None),
    };
    let mean = formula.mean();
    Corruption { low, high, mean }
}

fn formula(rng: &mut ChaCha8Rng) -> Formula {
    if rng.random::<f64>() >= COMPOSED {
        return Formula::Simple(simple(rng));
    }
    let (one, other) = (joined(rng), joined(rng));
    match rng.random() {
        true => Formula::Sum(one, other),
        false => Formula::Product(one, other),
    }
}

/// A number with one decimal.
fn tenths(rng: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    (rng.random_range(low..high) * 10.0).round() / 10.0
}

/// One of a hundred even steps between two numbers, with one decimal.
fn step_of(rng: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    let at = low + (high - low) * f64::from(rng.random_range(0..100_u32)) / 99.0;
    (at * 10.0).round() / 10.0
}

/// One of the 16 atoms that stand alone.
fn simple(rng: &mut ChaCha8Rng) -> Atom {
    match rng.random_range(0..16) {
        0 => linear(rng),
        1 => polynomial(rng),
        2 => {
            let numerator = rng.random_range(0..=4_usize);
            let denominator = rng.random_range(numerator + 1..=5);
            let mut draw = |n: usize| (0..=n).map(|_| tenths(rng, -10.0, 10.0)).collect();
            Atom::Rational {
                a: draw(numerator),
                b: draw(denominator),
            }
        }
        3 => Atom::Absolute {
            s: tenths(rng, -30.0, 30.0),
        },
        4 => Atom::Root {
            s: tenths(rng, -30.0, 30.0),
            b: tenths(rng, -30.0, 30.0),
            n: f64::from(rng.random_range(1..=2_u8)),
        },
        // A factor of 0 has no reciprocal anywhere.
        5 => Atom::Reciprocal {
            a: [tenths(rng, 0.1, 10.0), tenths(rng, -10.0, -0.1)][usize::from(rng.random::<bool>())],
        },
        6 => Atom::Logarithm {
            s: tenths(rng, -10.0, 10.0),
            b: tenths(rng, -10.0, 10.0),
            base: tenths(rng, 1.1, 10.0),
        },
        7 => step(rng),
        8 => rectangle(rng),
        9 => relu(rng),
        10 => {
            let [a, p, c, b] = wave(rng);
            Atom::Tanh { a, p, c, b }
        }
        11 => {
            let [a, p, c, b] = wave(rng);
            Atom::Sin { a, p, c, b }
        }
        12 => {
            let [a, p, c, b] = wave(rng);
            Atom::Cos { a, p, c, b }
        }
        13 => Atom::Gaussian {
            mean: tenths(rng, -50.0, 50.0),
            std: tenths(rng, 1.0, 10.0),
        },
        14 => square_wave(rng),
        _ => constant(rng),
    }
}

/// One of the 9 atoms that are joined with another.
fn joined(rng: &mut ChaCha8Rng) -> Atom {
    match rng.random_range(0..9) {
        0 => linear(rng),
        1 => polynomial(rng),
        2 => step(rng),
        3 => relu(rng),
        4 => constant(rng),
        5 => Atom::Ceil,
        6 => Atom::Floor,
        7 => rectangle(rng),
        _ => square_wave(rng),
    }
}

fn linear(rng: &mut ChaCha8Rng) -> Atom {
    Atom::Linear {
        m: tenths(rng, -10.0, 10.0),
        b: tenths(rng, -10.0, 10.0),
    }
}

fn polynomial(rng: &mut ChaCha8Rng) -> Atom {
    let degree = rng.random_range(2..=5);
    Atom::Polynomial {
        c: (0..=degree).map(|_| tenths(rng, -5.0, 5.0)).collect(),
    }
}

fn step(rng: &mut ChaCha8Rng) -> Atom {
    Atom::Step {
        s: tenths(rng, -30.0, 30.0),
        b: tenths(rng, -30.0, 30.0),
        a: tenths(rng, -100.0, 100.0),
    }
}

fn rectangle(rng: &mut ChaCha8Rng) -> Atom {
    Atom::Rectangle {
        w: tenths(rng, 1.0, 10.0),
    }
}

fn relu(rng: &mut ChaCha8Rng) -> Atom {
    Atom::Relu {
        s: tenths(rng, -30.0, 30.0),
        b: tenths(rng, -10.0, 10.0),
        l: tenths(rng, 0.0, 1.0),
    }
}

/// Amplitude, period, shift and bias.
fn wave(rng: &mut ChaCha8Rng) -> [f64; 4] {
    [
        step_of(rng, -10.0, 10.0),
        step_of(rng, 0.1, TAU),
        step_of(rng, 0.1, TAU),
        step_of(rng, -10.0, 10.0),
    ]
}

fn square_wave(rng: &mut ChaCha8Rng) -> Atom {
    Atom::SquareWave {
        period: tenths(rng, 1.0, 10.0),
        shift: tenths(rng, -5.0, 5.0),
    }
}

fn constant(rng: &mut ChaCha8Rng) -> Atom {
    Atom::Constant {
        a: f64::from(rng.random_range(-100..100_i32)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const QUICK: MlpTraining = MlpTraining { epochs: 0, points: 2 };

    #[test]
    fn functions_have_the_shares_of_the_published_ones() {
        let (mut variants, mut atoms, mut composed) = (BTreeMap::new(), BTreeMap::new(), 0);
        for index in 0..2000 {
            let served = sample(7, index, QUICK);
            *variants.entry(served.variant.name()).or_insert(0) += 1;
            match &served.formula {
                Formula::Simple(atom) => *atoms.entry(atom.name()).or_insert(0) += 1,
                Formula::Sum(..) | Formula::Product(..) => composed += 1,
            }
        }
        let near = |found: i32, share: f64| {
            let expected = 2000.0 * share;
            assert!(
                (f64::from(found) - expected).abs() < 4.0 * expected.sqrt(),
                "{found}, about {expected} expected"
            );
        };
        near(variants["clean"], 0.483);
        near(variants["noised"], 0.176);
        near(variants["corrupted"], 0.191);
        near(variants["mlp"], 0.15);
        near(composed, 0.15);
        assert_eq!(atoms.len(), 16);
        atoms.values().for_each(|&n| near(n, 0.85 / 16.0));
    }

    #[test]
    fn a_function_depends_on_seed_and_number_alone() {
        assert_eq!(sample(1, 5, QUICK), sample(1, 5, QUICK));
        assert_ne!(sample(1, 5, QUICK), sample(2, 5, QUICK));
    }
}
