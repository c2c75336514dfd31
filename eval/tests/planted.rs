//! Planted dictionaries on synthetic activations: what the measures must find is known exactly.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use activations::Node;
use dictionaries::{Codes, Dictionary, Directions, RandomDictionary, Rows, dot, encode, reconstruct};
use eval::control::{
    Ranking, Swap, apply, beam, differing, exhaustive, greedy, greedy_row, guided, magnitude, supervised,
};
use eval::interpretability::{Activity, Criterion, always_on, choose};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Random directions `[f, d]` of uneven lengths.
fn directions(f: usize, d: usize, seed: u64) -> Directions {
    let mut rng = kernels::random::rng(seed, "planted");
    Directions::new(
        Rows::new(d, kernels::random::normal(&mut rng, f * d, 0.7)),
        vec![0.0; d],
    )
}

/// `sum of code_j u_j`, one row for each list of codes.
fn compose(codes: &Codes, directions: &Directions) -> Rows {
    let d = directions.rows.width();
    let mut values = Vec::new();
    for row in &codes.rows {
        let mut sum = vec![0f32; d];
        for &(latent, code) in row {
            sum.iter_mut()
                .zip(directions.rows.row(latent as usize))
                .for_each(|(x, u)| *x += code * u);
        }
        values.extend(sum);
    }
    Rows::new(d, values)
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let difference: Vec<f32> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    dot(&difference, &difference).sqrt()
}

#[test]
fn greedy_finds_the_exact_swap() {
    let n = 40;
    let directions = directions(60, 128, 1);
    // Latents 40.. are shared; latent i % 20 is the old value, 20 + i % 20 the new one.
    let row = |value: usize, i: usize| vec![(value as u32, 1.5), (40 + (i % 20) as u32, 2.0)];
    let alpha = Codes {
        n_latents: 60,
        rows: (0..n).map(|i| row(i % 20, i)).collect(),
    };
    let beta = Codes {
        n_latents: 60,
        rows: (0..n).map(|i| row(20 + i % 20, i)).collect(),
    };
    let (source, target) = (compose(&alpha, &directions), compose(&beta, &directions));

    let swaps = greedy((&source, &alpha), (&target, &beta), &directions, 6);
    let edited = apply(&source, &swaps, &directions);
    for (i, swaps) in swaps.iter().enumerate() {
        let found: BTreeSet<u32> = swaps.iter().map(|swap| swap.latent).collect();
        assert_eq!(
            found,
            BTreeSet::from([(i % 20) as u32, (20 + i % 20) as u32]),
            "prompt {i}"
        );
        assert!(distance(edited.row(i), target.row(i)) < 1e-4);
    }
    assert_eq!(supervised(&alpha, &beta).iter().map(Vec::len).max(), Some(2));
    assert_eq!(apply(&source, &vec![Vec::new(); n], &directions), source);
}

#[test]
fn guided_edits_take_active_latents_by_their_rank_for_the_two_values() {
    // Two values, four latents; F1 against value 0 falls with the latent, against value 1 it rises. Latent 3 has none for 0.
    let ranking = Ranking::new(2, vec![0.9, 0.1, 0.8, 0.2, 0.5, 0.7, 0.0, 0.9], vec![true, false]);
    assert!(ranking.knows(&[0, 0]) && !ranking.knows(&[0, 1]));
    let codes = |row: Vec<(u32, f32)>| Codes {
        n_latents: 4,
        rows: vec![row],
    };
    let (alpha, beta) = (
        codes(vec![(1, 2.0), (2, 1.0), (3, 1.0)]),
        codes(vec![(0, 1.0), (2, 3.0), (3, 4.0)]),
    );
    let swap = |latent, from, to| Swap { latent, from, to };
    let edit = |m| guided((&alpha, &[0]), (&beta, &[1]), &ranking, m).remove(0);
    assert_eq!(edit(1), [swap(1, 2.0, 0.0), swap(3, 0.0, 4.0)]);
    // Latent 2 is removed for the old value and added for the new one; latent 3 means nothing for the old value.
    assert_eq!(edit(2), [swap(1, 2.0, 0.0), swap(2, 1.0, 3.0), swap(3, 0.0, 4.0)]);
}

#[test]
fn greedy_stops_when_nothing_improves() {
    let directions = directions(5, 16, 2);
    let alpha = Codes {
        n_latents: 5,
        rows: vec![vec![(0, 1.0)]],
    };
    let beta = Codes {
        n_latents: 5,
        rows: vec![vec![(0, 2.0), (3, 1.0)]],
    };
    let source = compose(&alpha, &directions);
    // The activation did not move, so every exchange would only do harm.
    let swaps = greedy((&source, &alpha), (&source, &beta), &directions, 4);
    assert_eq!(swaps, [vec![]]);
}

#[test]
fn weights_of_all_latents_sum_to_one() {
    let directions = directions(30, 24, 3);
    let alpha = Codes {
        n_latents: 30,
        rows: vec![vec![(2, 1.0), (7, 0.5), (20, 2.0)], vec![]],
    };
    let none = Codes {
        n_latents: 30,
        rows: vec![vec![], vec![(4, 1.0)]],
    };
    let rebuilt = compose(&alpha, &directions);
    let everything_out = supervised(&alpha, &none);
    let weights = magnitude(&rebuilt, &everything_out, &directions);
    assert!((weights[0] - 1.0).abs() < 1e-5, "{weights:?}");
    assert_eq!(weights[1], 0.0, "added latents do not count");
}

#[test]
fn f1_of_a_planted_latent_is_one() {
    let n = 400;
    let values: Vec<usize> = (0..n).map(|i| (i / 2) % 10).collect();
    // Latent 3 v + 1 is active exactly where the value is v; the others fire everywhere, or negatively.
    let rows = values
        .iter()
        .map(|&value| vec![(0, 1.0), (3 * value as u32 + 1, 0.2), (32, -1.0)]);
    let mut rows: Vec<Vec<(u32, f32)>> = rows.collect();
    rows.iter_mut().for_each(|row| row.sort_by_key(|entry| entry.0));
    let codes = [Codes { n_latents: 33, rows }];
    let chosen = choose(&codes, &values, 12, Criterion::F1);
    assert_eq!(chosen.len(), 10, "values 10 and 11 never occur");
    assert!(
        chosen
            .iter()
            .all(|chosen| chosen.latent as usize == 3 * chosen.value + 1)
    );
    let score = Activity::of_latents(&codes, &values, 12, &chosen).score().unwrap();
    assert_eq!((score.f1, score.precision, score.recall), (1.0, 1.0, 1.0));
}

#[test]
fn an_always_active_latent_reaches_two_thirds_on_a_balanced_predicate() {
    let values: Vec<usize> = (0..1000).map(|i| (i / 2) % 2).collect();
    let codes = [always_on(1000)];
    let chosen = choose(&codes, &values, 2, Criterion::F1);
    let activity = Activity::of_latents(&codes, &values, 2, &chosen);
    let score = activity.score().unwrap();
    assert!((score.f1 - 2.0 / 3.0).abs() < 1e-9 && score.recall == 1.0 && (score.precision - 0.5).abs() < 1e-9);
    let resampled = activity.resampled(&[vec![1; 500], vec![0; 500]]);
    assert_eq!(resampled, [Some(score), None]);
}

#[test]
fn choice_and_score_use_different_halves() {
    // Latent 0 fits the even rows only, latent 1 fits every row but two even ones.
    let values: Vec<usize> = (0..200).map(|i| usize::from(i / 2 % 2 == 0)).collect();
    let row = |(i, &value): (usize, &usize)| {
        let mut row = Vec::new();
        if i % 2 == 0 && value == 1 {
            row.push((0, 1.0));
        }
        if value == 1 && i > 3 {
            row.push((1, 1.0));
        }
        row
    };
    let codes = [Codes {
        n_latents: 2,
        rows: values.iter().enumerate().map(row).collect(),
    }];
    let chosen = choose(&codes, &values, 2, Criterion::F1);
    let of_one = chosen.iter().find(|chosen| chosen.value == 1).unwrap();
    assert_eq!(of_one.latent, 0);
    let only = [*of_one];
    assert_eq!(
        Activity::of_latents(&codes, &values, 2, &only).score().unwrap().recall,
        0.0
    );
}

#[test]
fn random_dictionary_is_seeded_by_node_and_unit() {
    let node = |name: &str| name.parse::<Node>().unwrap();
    let make = |name: &str, seed| RandomDictionary::new(&[1.0; 16], 64, 4, seed, &node(name), &kernels::cpu());
    let a = make("blocks.1.hook_resid_pre@END", 5);
    let rows = Rows::from_tensor(a.directions());
    assert!((0..rows.len()).all(|j| (dot(rows.row(j), rows.row(j)) - 1.0).abs() < 1e-5));
    assert_eq!(
        rows,
        Rows::from_tensor(make("blocks.1.hook_resid_pre@END", 5).directions())
    );
    assert_ne!(
        rows,
        Rows::from_tensor(make("blocks.1.hook_resid_pre@S2", 5).directions())
    );
    assert_ne!(
        rows,
        Rows::from_tensor(make("blocks.1.hook_resid_pre@END", 6).directions())
    );

    let mut rng = kernels::random::rng(0, "activations");
    let sample = Rows::new(16, kernels::random::normal(&mut rng, 700 * 16, 1.0));
    let labels = vec![tasks::Labels::default(); 700];
    let (codes, rebuilt, _) = reconstruct(&a, &sample, &labels);
    assert_eq!(codes, encode(&a, &sample, &labels));
    assert!(
        codes
            .rows
            .iter()
            .all(|row| (1..=4).contains(&row.len()) && row.iter().all(|entry| entry.1 > 0.0))
    );
    assert!(codes.rows.iter().all(|row| row.is_sorted_by_key(|entry| entry.0)));
    let around_mean = Directions::of(&a);
    assert_eq!(around_mean.offset, [1.0; 16]);
    let by_hand = compose(&codes, &around_mean);
    for i in 0..700 {
        let expected: Vec<f32> = by_hand.row(i).iter().map(|x| x + 1.0).collect();
        assert!(distance(rebuilt.row(i), &expected) < 1e-4);
    }
    assert_eq!(RandomDictionary::mean(&[1.0, 2.0, 3.0, 6.0], 2), [2.0, 4.0]);
}

proptest! {
    /// With one exchange greedy is exact: it equals the best over all candidates, and over doing nothing.
    #[test]
    fn greedy_equals_brute_force_at_one(seed in 0u64..500, n_alpha in 0usize..5, n_beta in 0usize..5) {
        let directions = directions(8, 6, seed);
        let mut rng = kernels::random::rng(seed, "case");
        let mut sparse = |n: usize| {
            let codes = kernels::random::normal(&mut rng, 8, 1.0);
            (0..n).map(|j| ((j * 8 / n.max(1)) as u32, codes[j].abs())).collect::<Vec<_>>()
        };
        let (alpha, beta) = (sparse(n_alpha), sparse(n_beta));
        let values = kernels::random::normal(&mut rng, 12, 1.0);
        let (source, target) = values.split_at(6);
        let found = greedy_row(source, target, differing(&alpha, &beta), &directions, 1);
        let reached = |swaps: &[eval::control::Swap]| {
            let edited = apply(&Rows::new(6, source.to_vec()), &[swaps.to_vec()], &directions);
            distance(edited.row(0), target)
        };
        let tries = differing(&alpha, &beta);
        let best = tries.iter().map(|swap| reached(&[*swap])).fold(reached(&[]), f64::min);
        prop_assert!((reached(&found) - best).abs() < 1e-5);
    }

    /// All choices of two or three are tried; a beam is at least as good as greedy and at most as good as the best.
    #[test]
    fn searches_are_ordered_and_the_best_is_that_of_brute_force(seed in 0u64..150, k in 1usize..4) {
        let directions = directions(12, 6, seed);
        let mut rng = kernels::random::rng(seed, "searches");
        let codes = kernels::random::normal(&mut rng, 24, 1.0);
        let sparse = |from: usize| Codes {
            n_latents: 12,
            rows: vec![(0..12).filter(|j| codes[from + j] > 0.2).map(|j| (j as u32, codes[from + j])).collect()],
        };
        let (alpha, beta) = (sparse(0), sparse(12));
        let values = kernels::random::normal(&mut rng, 12, 1.5);
        let (source, target) = (Rows::new(6, values[..6].to_vec()), Rows::new(6, values[6..].to_vec()));
        let left = |swaps: &[Swap]| distance(apply(&source, &[swaps.to_vec()], &directions).row(0), target.row(0));
        let tries = differing(&alpha.rows[0], &beta.rows[0]);
        let brute = (0..1_u32 << tries.len())
            .filter(|mask| mask.count_ones() as usize <= k)
            .map(|mask| left(&(0..tries.len()).filter(|j| mask >> j & 1 == 1).map(|j| tries[j]).collect::<Vec<_>>()))
            .fold(f64::INFINITY, f64::min);
        let pairs = ((&source, &alpha), (&target, &beta));
        let best = left(&exhaustive(pairs.0, pairs.1, &directions, k).unwrap()[0]);
        let by_beam = left(&beam(pairs.0, pairs.1, &directions, k)[0]);
        let by_greed = left(&greedy(pairs.0, pairs.1, &directions, k)[0]);
        prop_assert!((best - brute).abs() < 1e-4, "{best} {brute}");
        prop_assert!(best <= by_beam + 1e-5 && by_beam <= by_greed + 1e-5, "{best} {by_beam} {by_greed}");
        prop_assert!(exhaustive(pairs.0, pairs.1, &directions, 4).is_none());
    }

    /// More exchanges never end further from the target, and the first ones are those of a smaller budget.
    #[test]
    fn budgets_are_nested_and_monotone(seed in 0u64..200) {
        let directions = directions(20, 10, seed);
        let mut rng = kernels::random::rng(seed, "nested");
        let codes = kernels::random::normal(&mut rng, 40, 1.0);
        let alpha: Vec<(u32, f32)> = (0..20).filter(|j| codes[*j] > 0.5).map(|j| (j as u32, codes[j])).collect();
        let beta: Vec<(u32, f32)> = (0..20).filter(|j| codes[20 + j] > 0.5).map(|j| (j as u32, codes[20 + j])).collect();
        let values = kernels::random::normal(&mut rng, 20, 2.0);
        let (source, target) = values.split_at(10);
        let whole = greedy_row(source, target, differing(&alpha, &beta), &directions, 6);
        let mut last = distance(source, target);
        for k in 1..=6 {
            let part = greedy_row(source, target, differing(&alpha, &beta), &directions, k);
            prop_assert_eq!(&part[..], &whole[..k.min(whole.len())]);
            let edited = apply(&Rows::new(10, source.to_vec()), std::slice::from_ref(&part), &directions);
            let now = distance(edited.row(0), target);
            prop_assert!(now <= last + 1e-5);
            last = now;
        }
        let used: BTreeSet<u32> = whole.iter().map(|swap| swap.latent).collect();
        prop_assert_eq!(used.len(), whole.len());
    }
}
