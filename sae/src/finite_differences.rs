//! Every gradient of every architecture against central differences of its loss, written out in f64 one number at a time.
//!
//! What an architecture holds constant (selections, gates, residuals, a frozen decoder) is taken from the point itself and
//! held while a parameter moves. The gradient of JumpReLU's thresholds is an estimate by definition, and is compared with
//! its closed form.

use dictionaries::{Architecture, Parameters};
use kernels::{Precision, cpu, from_vec, random};

use crate::architecture::{Phase, Training as _};
use crate::batch::{Batch, Revival};
use crate::gradients;
use crate::pass::{Path, Plan};
use crate::silence::Dead;

const B: usize = 9;
const D: usize = 5;
const F: usize = 12;
const DEAD: [u32; 4] = [1, 4, 7, 10];
/// AuxK: dead latents of a row, and their weight.
const AUXILIARY: (usize, f64) = (2, 0.3);
const STEP: f64 = 1e-6;
/// Exponent of p-annealing.
const POWER: f64 = 0.6;

/// Parameters in f64: W_enc, b_enc, W_dec, b_dec and what else there is.
#[derive(Clone)]
struct Point(Vec<Vec<f64>>);

impl Point {
    fn of(p: &Parameters) -> Self {
        Self(
            p.to_host()
                .into_iter()
                .map(|v| v.into_iter().map(f64::from).collect())
                .collect(),
        )
    }

    fn h(&self, x: &[f64], subtracts: bool) -> Vec<f64> {
        let [w_enc, b_enc, _, b_dec] = [0, 1, 2, 3].map(|i| &self.0[i]);
        let one = |row: &[f64], latent: usize| -> f64 {
            let centred = row.iter().zip(b_dec).map(|(x, b)| x - if subtracts { *b } else { 0.0 });
            centred.zip(&w_enc[latent * D..]).map(|(x, w)| x * w).sum::<f64>() + b_enc[latent]
        };
        x.chunks(D)
            .flat_map(|row| (0..F).map(move |latent| one(row, latent)))
            .collect()
    }

    /// Codes `[B, F]` times decoder rows of the latents below `end`, plus the bias when asked for.
    fn decode(&self, codes: &[f64], end: usize, with_bias: bool) -> Vec<f64> {
        let mut out = Vec::new();
        for row in codes.chunks(F) {
            for d in 0..D {
                let sum: f64 = (0..end).map(|latent| row[latent] * self.0[2][latent * D + d]).sum();
                out.push(sum + if with_bias { self.0[3][d] } else { 0.0 });
            }
        }
        out
    }

    fn norm(&self, latent: usize) -> f64 {
        self.0[2][latent * D..][..D].iter().map(|w| w * w).sum::<f64>().sqrt()
    }
}

/// Squared distance, summed over dimensions, mean over rows.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / B as f64
}

fn variance(x: &[f64]) -> f64 {
    let mean: Vec<f64> = (0..D)
        .map(|d| x.iter().skip(d).step_by(D).sum::<f64>() / B as f64)
        .collect();
    distance(x, &mean.repeat(B))
}

/// Of each row's (or of all) `allowed` entries, the `k` largest positive ones.
fn largest(h: &[f64], width: usize, k: usize, allowed: impl Fn(usize) -> bool) -> Vec<bool> {
    let mut mask = vec![false; h.len()];
    for first in (0..h.len()).step_by(width) {
        let mut order: Vec<usize> = (first..first + width)
            .filter(|&i| h[i] > 0.0 && allowed(i % F))
            .collect();
        order.sort_by(|&i, &j| h[j].total_cmp(&h[i]));
        order.into_iter().take(k).for_each(|i| mask[i] = true);
    }
    mask
}

/// Rows, and what is to be reconstructed when it is not the rows.
#[derive(Clone, Copy)]
struct Data<'a> {
    x: &'a [f64],
    target: Option<&'a [f64]>,
}

/// The loss at `p`, with what is constant taken from `base`.
fn loss(architecture: Architecture, p: &Point, base: &Point, data: Data<'_>) -> f64 {
    let subtracts = architecture.subtracts_b_dec() && data.target.is_none();
    let (inputs, x) = (data.x, data.target.unwrap_or(data.x));
    let (h, h_base) = (p.h(inputs, subtracts), base.h(inputs, subtracts));
    let masked = |h: &[f64], mask: &[bool]| -> Vec<f64> {
        h.iter()
            .zip(mask)
            .map(|(h, keep)| if *keep { *h } else { 0.0 })
            .collect()
    };
    let positive: Vec<bool> = h_base.iter().map(|h| *h > 0.0).collect();
    let error = |codes: &[f64]| distance(x, &p.decode(codes, F, true));
    match architecture {
        Architecture::Relu { l1 } | Architecture::ReluApril { l1 } => {
            let codes = masked(&h, &positive);
            let by_norm = !architecture.has_unit_decoder();
            let weight = |i: usize| if by_norm { p.norm(i % F) } else { 1.0 };
            let sum: f64 = codes.iter().enumerate().map(|(i, f)| f * weight(i)).sum();
            error(&codes) + l1 * sum / B as f64
        }
        Architecture::PAnneal { l1, .. } => {
            let codes = masked(&h, &positive);
            let sum: f64 = codes.iter().filter(|f| **f > 0.0).map(|f| f.powf(POWER)).sum();
            error(&codes) + l1 * sum / B as f64
        }
        Architecture::Gated { l1 } => {
            let magnitude = |(i, h): (usize, &f64)| {
                let u = h - p.0[1][i % F];
                if positive[i] {
                    (p.0[4][i % F].exp() * u + p.0[5][i % F]).max(0.0)
                } else {
                    0.0
                }
            };
            let codes: Vec<f64> = h.iter().enumerate().map(magnitude).collect();
            let open = masked(&h, &positive);
            let by_gate = distance(x, &base.decode(&open, F, true));
            error(&codes) + l1 * open.iter().sum::<f64>() / B as f64 + by_gate
        }
        Architecture::Jumprelu { l0, .. } => {
            let above: Vec<bool> = (0..B * F).map(|i| h_base[i] > base.0[4][i % F]).collect();
            let active = above.iter().filter(|above| **above).count() as f64 / B as f64;
            error(&masked(&h, &above)) + D as f64 * (active / l0 - 1.0).powi(2)
        }
        Architecture::JumpreluL0 { weight, .. } => {
            let above: Vec<bool> = (0..B * F).map(|i| h_base[i] > base.0[4][i % F]).collect();
            let active = above.iter().filter(|above| **above).count() as f64 / B as f64;
            error(&masked(&h, &above)) + weight * active
        }
        Architecture::JumpreluTanh { weight, bandwidth } => {
            // The estimator is what the gradient would be if codes were this function, linear around the point.
            let code = |i: usize| {
                let (threshold, constant) = (p.0[4][i % F], base.0[4][i % F]);
                let distance = h_base[i] - constant;
                let gate = if distance > 0.0 { h[i] } else { 0.0 };
                let window = if distance.abs() <= bandwidth / 2.0 {
                    constant / bandwidth
                } else {
                    0.0
                };
                gate + window * (h[i] - threshold - distance)
            };
            let codes: Vec<f64> = (0..B * F).map(code).collect();
            let price: f64 = (0..B * F).map(|i| (4.0 * codes[i] * p.norm(i % F)).tanh()).sum();
            let below = |i: usize| (p.0[4][i % F] - h[i]).max(0.0) * p.norm(i % F);
            let dead: f64 = (0..B * F).filter(|i| DEAD.contains(&((i % F) as u32))).map(below).sum();
            error(&codes) + (weight * price + 3e-6 * dead) / B as f64
        }
        Architecture::Topk { k } => {
            let mask = largest(&h_base, F, k, |_| true);
            error(&masked(&h, &mask)) + auxiliary(p, base, x, &h, &h_base, &mask)
        }
        Architecture::BatchTopk { k } => {
            let mask = largest(&h_base, B * F, k * B, |_| true);
            error(&masked(&h, &mask)) + auxiliary(p, base, x, &h, &h_base, &mask)
        }
        Architecture::Matryoshka { k, levels } => {
            let mask = largest(&h_base, B * F, k * B, |_| true);
            let codes = masked(&h, &mask);
            let ends = (0..levels).map(|level| F >> level);
            let errors = ends.map(|end| distance(x, &p.decode(&codes, end, true)));
            errors.sum::<f64>() / levels as f64 + auxiliary(p, base, x, &h, &h_base, &mask)
        }
    }
}

/// AuxK: dead latents against the constant residual.
fn auxiliary(p: &Point, base: &Point, x: &[f64], h: &[f64], h_base: &[f64], active: &[bool]) -> f64 {
    let keep = |h: &[f64], mask: &[bool]| -> Vec<f64> {
        h.iter()
            .zip(mask)
            .map(|(h, keep)| if *keep { *h } else { 0.0 })
            .collect()
    };
    let reconstruction = base.decode(&keep(h_base, active), F, true);
    let residual: Vec<f64> = x.iter().zip(&reconstruction).map(|(x, r)| x - r).collect();
    let dead = largest(h_base, F, AUXILIARY.0, |latent| DEAD.contains(&(latent as u32)));
    let guess = p.decode(&keep(h, &dead), F, false);
    AUXILIARY.1 * variance(x) / variance(&residual) * distance(&guess, &residual)
}

/// Gradients through the pass, in the order of [`Point`].
fn gradients(
    architecture: Architecture,
    parameters: &Parameters,
    batch: Batch<'_>,
    path: Path,
    slice_rows: usize,
) -> (f64, Vec<Vec<f64>>) {
    let phase = Phase {
        sparsity: 1.0,
        p: match architecture {
            Architecture::PAnneal { .. } => POWER,
            _ => 1.0,
        },
        next_p: None,
        batch_l0: None,
    };
    let mut mask = vec![0.0; F];
    DEAD.iter().for_each(|&latent| mask[latent as usize] = 1.0);
    let dead = Dead {
        mask: from_vec(mask, [F], &cpu()),
        at_most: DEAD.len(),
    };
    let (k, weight) = AUXILIARY;
    let plan = Plan {
        architecture,
        path,
        precision: Precision::F32,
        phase,
        revival: Some(Revival { dead: &dead, k, weight }),
    };
    let found = gradients::gradients(plan, parameters, batch, slice_rows).unwrap();
    let in_f64 = |v: Vec<f32>| v.into_iter().map(f64::from).collect();
    (found.loss.read(), found.of.to_host().into_iter().map(in_f64).collect())
}

/// The straight-through estimate for the thresholds of the penalties that count: `-θ/ε` of the codes' gradient and `-1/ε`
/// of the penalty's, summed over pre-activations within half a bandwidth.
fn threshold_gradient(architecture: Architecture, p: &Point, data: Data<'_>) -> Option<Vec<f64>> {
    let bandwidth = architecture.bandwidth()?;
    let (x, target) = (data.x, data.target.unwrap_or(data.x));
    let h = p.h(x, false);
    let above = |i: usize| h[i] > p.0[4][i % F];
    let codes: Vec<f64> = (0..B * F).map(|i| if above(i) { h[i] } else { 0.0 }).collect();
    let reconstruction = p.decode(&codes, F, true);
    let active = codes.iter().filter(|f| **f != 0.0).count() as f64 / B as f64;
    let of_l0 = match architecture {
        Architecture::Jumprelu { l0, .. } => D as f64 * 2.0 * (active / l0 - 1.0) / l0 / B as f64,
        Architecture::JumpreluL0 { weight, .. } => weight / B as f64,
        _ => return None,
    };
    let mut gradient = vec![0.0; F];
    for i in (0..B * F).filter(|&i| (h[i] - p.0[4][i % F]).abs() <= bandwidth / 2.0) {
        let (row, latent) = (i / F, i % F);
        let error = |d: usize| reconstruction[row * D + d] - target[row * D + d];
        let of_code: f64 = (0..D).map(|d| 2.0 / B as f64 * error(d) * p.0[2][latent * D + d]).sum();
        gradient[latent] -= (of_code * p.0[4][latent] + of_l0) / bandwidth;
    }
    Some(gradient)
}

fn draw(stream: &str, n: usize, size: f32) -> Vec<f32> {
    random::normal(&mut random::rng(11, stream), n, size)
}

#[test]
fn gradients_equal_finite_differences() {
    for architecture in crate::architecture::EXAMPLES {
        check(architecture, false);
    }
}

#[test]
fn gradients_of_transcoders_do_too() {
    for architecture in crate::architecture::EXAMPLES {
        check(architecture, true);
    }
}

fn check(architecture: Architecture, transcodes: bool) {
    let [x32, target32] = ["x", "target"].map(|stream| draw(stream, B * D, 1.5));
    let [x, target]: [Vec<f64>; 2] = [&x32, &target32].map(|v| v.iter().copied().map(f64::from).collect());
    let data = Data {
        x: &x,
        target: transcodes.then_some(&target),
    };
    let n_extra = architecture.initial_extra().len();
    let parameters = Parameters {
        w_enc: from_vec(draw("w_enc", F * D, 0.6), [F, D], &cpu()),
        b_enc: from_vec(draw("b_enc", F, 0.3), [F], &cpu()),
        w_dec: from_vec(draw("w_dec", F * D, 0.6), [F, D], &cpu()),
        b_dec: from_vec(draw("b_dec", D, 0.3), [D], &cpu()),
        // Thresholds must be positive; the parameters of a gate may be.
        extra: (0..n_extra)
            .map(|i| from_vec::<1>(draw(&format!("extra {i}"), F, 0.3), [F], &cpu()).abs() + 0.1)
            .collect(),
    };
    let base = Point::of(&parameters);
    let value = loss(architecture, &base, &base, data);
    let closed = threshold_gradient(architecture, &base, data);
    for (path, slice_rows) in [(Path::Dense, B), (Path::Sparse, B), (Path::Dense, 4)] {
        if slice_rows < B && architecture.k().is_some() {
            continue; // a selection over the batch is never cut
        }
        let [x, target] = [&x32, &target32].map(|v| from_vec(v.clone(), [B, D], &cpu()));
        let batch = Batch {
            x: &x,
            target: transcodes.then_some(&target),
        };
        let (found_value, found) = gradients(architecture, &parameters, batch, path, slice_rows);
        let name = architecture.name();
        assert!(
            (found_value / value - 1.0).abs() < 1e-5,
            "{name}, {path:?} by {slice_rows} rows: {found_value}, expected {value}"
        );
        for (slot, found) in found.iter().enumerate() {
            let by_differences = || -> Vec<f64> {
                let at = |i: usize, shift: f64| {
                    let mut moved = base.clone();
                    moved.0[slot][i] += shift;
                    loss(architecture, &moved, &base, data)
                };
                let places = 0..found.len();
                places.map(|i| (at(i, STEP) - at(i, -STEP)) / (2.0 * STEP)).collect()
            };
            let expected = match &closed {
                Some(closed) if slot == 4 => closed.clone(),
                _ => by_differences(),
            };
            let size = expected.iter().fold(1e-3_f64, |most, g| most.max(g.abs()));
            let gaps = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
            let gap = gaps.fold(0.0_f64, f64::max);
            assert!(
                gap < 1e-4 * size,
                "{name}, {path:?} by {slice_rows} rows, transcodes {transcodes}, slot {slot}: {gap:.2e} of {size:.2e}"
            );
        }
    }
}
