//! Literals that might tell a latent's active tokens from others.

use std::collections::BTreeMap;

use strum::VariantArray;

use super::class::Class;
use super::points::{Bits, Points};
use super::predicate::{FURTHEST, Literal, MOST_TOKENS};
use super::vocabulary::Vocabulary;

/// Literals that are kept.
const KEPT: usize = 50;
/// Single tokens that are tried at a place.
const SINGLE: usize = 8;
/// Share of a token's weight that must be of active points for it to belong to a set.
const PURE: f64 = 0.5;

/// The literals of highest F1, with the points on which each holds.
pub(super) fn candidates(points: &Points<'_>, vocabulary: &Vocabulary) -> Vec<(Literal, Bits)> {
    let mut found: Vec<(f64, Literal, Bits)> = Vec::new();
    for literal in listed(points, vocabulary) {
        let bits = points.of_literal(&literal, vocabulary);
        found.push((points.f1(&bits), literal, bits));
    }
    let simpler = |a: &Literal, b: &Literal| a.tokens().cmp(&b.tokens()).then_with(|| a.cmp(b));
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| simpler(&a.1, &b.1)));
    // Of literals that hold on the same points the simplest is enough: a set of all names that came up beside the right one does not
    // stand for it.
    let mut kept: Vec<(Literal, Bits)> = Vec::new();
    for (_, literal, bits) in found {
        if kept.len() < KEPT && bits.iter().any(|word| *word != 0) && kept.iter().all(|(_, other)| *other != bits) {
            kept.push((literal, bits));
        }
    }
    kept
}

fn listed(points: &Points<'_>, vocabulary: &Vocabulary) -> Vec<Literal> {
    let mut all = vec![Literal::Repeat];
    all.extend(Class::VARIANTS.iter().copied().map(Literal::Class));
    all.extend(sets(points, &|ids, at| vec![ids[at]], &Literal::Token));
    for back in 1..=4 {
        let tokens = move |ids: &[u32], at: usize| at.checked_sub(back).map(|at| ids[at]).into_iter().collect();
        all.extend(sets(points, &tokens, &move |tokens| Literal::Previous { back, tokens }));
    }
    for back in [4, FURTHEST] {
        let tokens = move |ids: &[u32], at: usize| distinct(&ids[at.saturating_sub(back)..at]);
        all.extend(sets(points, &tokens, &move |tokens| Literal::Within { back, tokens }));
    }
    for times in [1, 2] {
        let tokens = move |ids: &[u32], at: usize| {
            let seen = &ids[..=at];
            let counted = distinct(seen).into_iter();
            counted
                .filter(|token| seen.iter().filter(|id| *id == token).count() == times)
                .collect()
        };
        let single = |tokens: Vec<u32>| Literal::Seen {
            token: tokens[0],
            times,
        };
        all.extend(
            ranked(points, &tokens)
                .into_iter()
                .take(2 * SINGLE)
                .map(|(token, _)| single(vec![token])),
        );
    }
    let mut suffixes: BTreeMap<String, f64> = BTreeMap::new();
    let mut places: BTreeMap<usize, f64> = BTreeMap::new();
    for point in points.all.iter().filter(|point| point.value > 0.0) {
        let characters: Vec<char> = vocabulary.text(point.example.ids[point.at]).trim().chars().collect();
        for length in [2, 3].into_iter().filter(|length| *length < characters.len()) {
            *suffixes
                .entry(characters[characters.len() - length..].iter().collect())
                .or_default() += point.weight;
        }
        *places.entry(point.at).or_default() += point.weight;
    }
    all.extend(heaviest(suffixes, SINGLE).into_iter().map(Literal::Suffix));
    all.extend(heaviest(places, 2).into_iter().map(Literal::Position));
    all
}

fn distinct(ids: &[u32]) -> Vec<u32> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn heaviest<T: Ord>(weights: BTreeMap<T, f64>, n: usize) -> Vec<T> {
    let mut weights: Vec<(T, f64)> = weights.into_iter().collect();
    weights.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    weights.into_iter().take(n).map(|(of, _)| of).collect()
}

/// Tokens at a place by how much they tell: smoothed log-odds times the active weight; with the share of their weight that is active.
fn ranked(points: &Points<'_>, tokens: &dyn Fn(&[u32], usize) -> Vec<u32>) -> Vec<(u32, f64)> {
    let mut weights: BTreeMap<u32, [f64; 2]> = BTreeMap::new();
    for point in &points.all {
        for token in tokens(&point.example.ids, point.at) {
            weights.entry(token).or_default()[usize::from(point.value > 0.0)] += point.weight;
        }
    }
    let odds = |[inactive, active]: [f64; 2]| ((active + 0.5) / (inactive + 0.5)).ln();
    let mut all: Vec<(u32, [f64; 2])> = weights.into_iter().filter(|(_, weight)| weight[1] > 0.0).collect();
    let score = |weight: [f64; 2]| odds(weight) * weight[1];
    all.sort_by(|a, b| score(b.1).total_cmp(&score(a.1)).then(a.0.cmp(&b.0)));
    all.into_iter()
        .map(|(token, [inactive, active])| (token, active / (active + inactive)))
        .collect()
}

/// Single tokens at a place, and the set of those that are mostly active there.
fn sets(
    points: &Points<'_>,
    tokens: &dyn Fn(&[u32], usize) -> Vec<u32>,
    literal: &dyn Fn(Vec<u32>) -> Literal,
) -> Vec<Literal> {
    let ranked = ranked(points, tokens);
    let mut all: Vec<Literal> = ranked
        .iter()
        .take(SINGLE)
        .map(|(token, _)| literal(vec![*token]))
        .collect();
    // Sets of several purities: a conjunction may make up for what is less pure.
    for purity in [PURE, 0.2, 0.8] {
        let pure = ranked.iter().filter(|(_, share)| *share >= purity).take(MOST_TOKENS);
        let mut set: Vec<u32> = pure.map(|(token, _)| *token).collect();
        if set.len() > 1 {
            set.sort_unstable();
            all.push(literal(set));
        }
    }
    all
}
