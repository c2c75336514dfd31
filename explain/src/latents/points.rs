//! The tokens of some examples as points, and sets of them as bits.

use super::example::{Example, Examples};
use super::predicate::{Conjunction, Literal};
use super::vocabulary::Vocabulary;

/// Most that an inactive slice counts for, where the latent is seldom active.
const HEAVIEST: f64 = 20.0;

/// A set of points.
pub(super) type Bits = Vec<u64>;

/// One token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point<'a> {
    pub(super) example: &'a Example,
    pub(super) at: usize,
    /// Activation over the largest one.
    pub(super) value: f64,
    /// What it counts for.
    pub(super) weight: f64,
}

/// Tokens with weights: of active tokens from one half to one, by their activation; of inactive slices as much as makes them stand for
/// all that there are.
#[derive(Debug)]
pub(super) struct Points<'a> {
    pub(super) all: Vec<Point<'a>>,
    positive: f64,
}

impl<'a> Points<'a> {
    pub(super) fn new(active: &[&'a Example], of: &'a Examples, inactive: impl Fn(usize) -> bool) -> Self {
        let largest = f64::from(
            active
                .iter()
                .map(|example| example.maximum())
                .fold(f32::MIN_POSITIVE, f32::max),
        );
        let (random, hard) = (of.random.iter().enumerate(), of.hard.iter().enumerate());
        let silent: Vec<(&Example, bool)> = (random.map(|(i, example)| (i, example, true)))
            .chain(hard.map(|(i, example)| (i, example, false)))
            .filter(|(i, ..)| inactive(*i))
            .map(|(_, example, is_random)| (example, is_random))
            .collect();
        let n_random = silent.iter().filter(|(_, is_random)| *is_random).count().max(1) as f64;
        let share = of.share.clamp(1e-6, 1.0);
        let heavy = ((1.0 - share) / share * active.len() as f64 / n_random).clamp(1.0, HEAVIEST);
        let examples = active.iter().map(|example| (*example, 1.0));
        let examples = examples.chain(
            silent
                .into_iter()
                .map(|(example, is_random)| (example, if is_random { heavy } else { 1.0 })),
        );
        let mut all = Vec::new();
        for (example, slice_weight) in examples {
            for (at, value) in example.positions.iter().zip(&example.values) {
                let value = f64::from(*value) / largest;
                let weight = if value > 0.0 { 0.5 + 0.5 * value } else { slice_weight };
                all.push(Point {
                    example,
                    at: *at,
                    value,
                    weight,
                });
            }
        }
        let positive = all
            .iter()
            .filter(|point| point.value > 0.0)
            .map(|point| point.weight)
            .sum();
        Self { all, positive }
    }

    pub(super) fn bits(&self, holds: impl Fn(&Point<'_>) -> bool) -> Bits {
        let mut bits = vec![0; self.all.len().div_ceil(64)];
        for (i, point) in self.all.iter().enumerate() {
            if holds(point) {
                bits[i / 64] |= 1 << (i % 64);
            }
        }
        bits
    }

    pub(super) fn of_literal(&self, literal: &Literal, vocabulary: &Vocabulary) -> Bits {
        self.bits(|point| literal.holds(&point.example.ids, point.at, vocabulary))
    }

    pub(super) fn of_conjunction(&self, conjunction: &Conjunction, vocabulary: &Vocabulary) -> Bits {
        self.bits(|point| conjunction.holds(&point.example.ids, point.at, vocabulary))
    }

    /// Weights of the active and of the inactive points in a set.
    fn weights(&self, bits: &[u64]) -> (f64, f64) {
        let (mut active, mut inactive) = (0.0, 0.0);
        for (word, mut set) in bits.iter().copied().enumerate() {
            while set != 0 {
                let point = &self.all[word * 64 + set.trailing_zeros() as usize];
                match point.value > 0.0 {
                    true => active += point.weight,
                    false => inactive += point.weight,
                }
                set &= set - 1;
            }
        }
        (active, inactive)
    }

    /// F1 of a set as a statement that the latent is active.
    pub(super) fn f1(&self, bits: &[u64]) -> f64 {
        let (active, inactive) = self.weights(bits);
        match self.positive + active + inactive {
            0.0 => 0.0,
            whole => 2.0 * active / whole,
        }
    }

    /// Mean activation in a set, as a grade from 1 to 10.
    pub(super) fn grade(&self, bits: &[u64]) -> u8 {
        let (mut sum, mut n) = (0.0, 0.0);
        for (i, point) in self.all.iter().enumerate() {
            if bits[i / 64] & (1 << (i % 64)) != 0 {
                sum += point.value * point.weight;
                n += point.weight;
            }
        }
        let mean = if n > 0.0 { sum / n } else { 0.0 };
        (mean * 10.0).ceil().clamp(1.0, 10.0) as u8
    }
}
