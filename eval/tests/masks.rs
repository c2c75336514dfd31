//! Learned masks: on a planted answer whose latents are known, and their gradients in a real model.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use causal::interventions::Runner;
use common::{World, node, sets, sites, world};
use dictionaries::{Directions, RandomDictionary, Rows, dot, encode};
use eval::control::{Swap, differing};
use eval::masks::{
    Exchange, Kind, LatentMask, LatentPairs, Learning, MasksFile, Pairs, Rotation, Told, learn, measure,
};
use eval::{Metric, Score};
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use tasks::{Attribute, Labels, Sample, Task};

const D: usize = 64;
const VALUES: usize = 8;
const OTHERS: usize = 40;

/// Activations `2 a_i + 2 b_j +` five of forty other directions, which nothing depends on, and a model that answers with one token for
/// each `(i, j)`. Latents 0..8 carry the first attribute, 8..16 the second.
struct Planted {
    directions: Directions,
}

/// Values of both attributes, and the codes of all latents.
type Row = (usize, usize, Vec<(u32, f32)>);

impl Planted {
    fn new(seed: u64) -> Self {
        let n = 2 * VALUES + OTHERS;
        let rows = kernels::random::unit_rows(&mut kernels::random::rng(seed, "planted/directions"), n, D);
        Self {
            directions: Directions::new(Rows::new(D, rows), vec![0.0; D]),
        }
    }

    fn row(&self, rng: &mut kernels::random::ChaCha8Rng, a: usize, b: usize) -> Row {
        let mut codes = vec![(a as u32, 2.0), ((VALUES + b) as u32, 2.0)];
        let mut others = BTreeSet::new();
        while others.len() < 5 {
            others.insert((2 * VALUES + rng.random_range(0..OTHERS)) as u32);
        }
        codes.extend(others.into_iter().map(|latent| (latent, rng.random_range(0.5..1.5))));
        (a, b, codes)
    }

    fn activations<'r>(&self, rows: impl IntoIterator<Item = &'r Row>) -> Rows {
        let mut values = Vec::new();
        for (_, _, codes) in rows {
            let mut x = vec![0.0_f32; D];
            for &(latent, code) in codes {
                x.iter_mut()
                    .zip(self.directions.rows.row(latent as usize))
                    .for_each(|(x, u)| *x += code * u);
            }
            values.extend(x);
        }
        Rows::new(D, values)
    }

    /// Pairs of which the first attribute differs, and as many of which the second does; the other directions always do.
    fn pairs(&self, n: usize, seed: u64) -> (Pairs, Vec<(Row, Row)>) {
        let mut rng = kernels::random::rng(seed, "planted/pairs");
        let (mut rows, mut tokens, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..n {
            let [a, b] = [0, 1].map(|_| rng.random_range(0..VALUES));
            let [other_a, other_b] = [a, b].map(|value| (value + rng.random_range(1..VALUES)) % VALUES);
            let base = self.row(&mut rng, a, b);
            rows.push((base.clone(), self.row(&mut rng, other_a, b)));
            rows.push((base, self.row(&mut rng, a, other_b)));
            tokens.extend([other_a * VALUES + b, a * VALUES + b].map(|token| token as u32));
            kinds.extend([Kind::Cause, Kind::Isolation(Attribute::S)]);
        }
        let pairs = Pairs {
            base: self.activations(rows.iter().map(|(base, _)| base)),
            source: self.activations(rows.iter().map(|(_, source)| source)),
            tokens,
            kinds,
        };
        (pairs, rows)
    }

    fn logits(&self, x: &[f32]) -> Vec<f64> {
        let along: Vec<f64> = (0..2 * VALUES)
            .map(|latent| 4.0 * dot(self.directions.rows.row(latent), x))
            .collect();
        (0..VALUES * VALUES)
            .map(|token| along[token / VALUES] + along[VALUES + token % VALUES])
            .collect()
    }

    fn answers(&self, rows: &Rows) -> Vec<u32> {
        let answer = |row: usize| {
            let logits = self.logits(rows.row(row));
            (0..logits.len())
                .reduce(|best, next| if logits[next] > logits[best] { next } else { best })
                .unwrap() as u32
        };
        (0..rows.len()).map(answer).collect()
    }

    /// Gradients of the cross-entropy of the wanted tokens, `[B, D]`.
    fn gradients(&self, rows: &Rows, tokens: &[u32]) -> Rows {
        let mut values = Vec::new();
        for (row, &token) in tokens.iter().enumerate() {
            let logits = self.logits(rows.row(row));
            let most = logits.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = logits.iter().map(|logit| (logit - most).exp()).sum();
            let mut gradient = vec![0.0_f32; D];
            for (other, logit) in logits.iter().enumerate() {
                let by = 4.0 * ((logit - most).exp() / sum - f64::from(u8::from(other == token as usize)));
                for latent in [other / VALUES, VALUES + other % VALUES] {
                    let direction = self.directions.rows.row(latent);
                    gradient
                        .iter_mut()
                        .zip(direction)
                        .for_each(|(g, u)| *g += by as f32 * u);
                }
            }
            values.extend(gradient);
        }
        Rows::new(D, values)
    }

    fn learn(&self, exchange: &mut dyn Exchange, pairs: &Pairs) {
        let batches: Vec<Vec<usize>> = (0..pairs.tokens.len())
            .collect::<Vec<_>>()
            .chunks(24)
            .map(<[usize]>::to_vec)
            .collect();
        let done: Result<(), Infallible> = learn(exchange, &batches, &learning(), &mut |number, edited| {
            let tokens: Vec<u32> = batches[number].iter().map(|&place| pairs.tokens[place]).collect();
            Ok(self.gradients(edited, &tokens))
        });
        done.unwrap();
    }

    /// Success, isolation and their mean.
    fn score(&self, pairs: &Pairs, edited: &Rows) -> [f64; 3] {
        let answers = self.answers(edited);
        let mean = |kind| {
            let right = pairs.right(kind, &answers);
            right.iter().map(|&x| f64::from(x)).sum::<f64>() / right.len() as f64
        };
        let (success, isolation) = (mean(Kind::Cause), mean(Kind::Isolation(Attribute::S)));
        [success, isolation, (success + isolation) / 2.0]
    }
}

fn learning() -> Learning {
    Learning {
        steps: 40,
        learning_rate: 0.15,
        rotation_rate: 0.02,
        last_temperature: 0.05,
        price: 0.01,
    }
}

fn swaps_of(rows: &[(Row, Row)]) -> Vec<Vec<Swap>> {
    let sorted = |row: &Row| {
        let mut codes = row.2.clone();
        codes.sort_by_key(|entry| entry.0);
        codes
    };
    rows.iter()
        .map(|(base, source)| differing(&sorted(base), &sorted(source)))
        .collect()
}

#[test]
fn masks_find_the_latents_that_carry_the_attribute() {
    for seed in 0..3 {
        let planted = Planted::new(seed);
        let (pairs, rows) = planted.pairs(256, seed);
        let (unseen, unseen_rows) = planted.pairs(256, seed + 100);
        let directions = [(planted.directions.clone(), 0)];
        let of = |pairs: &'_ Pairs, rows: &[(Row, Row)]| (pairs.base.clone(), swaps_of(rows));
        let (base, swaps) = of(&pairs, &rows);
        let mut mask = LatentMask::new(LatentPairs {
            base: &base,
            swaps,
            directions: &directions,
        });
        planted.learn(&mut mask, &pairs);
        let found: BTreeSet<u32> = mask.latents().into_iter().collect();
        let wanted: BTreeSet<u32> = (0..VALUES as u32).collect();
        let both = found.intersection(&wanted).count() as f64;
        let (precision, recall) = (both / found.len() as f64, both / wanted.len() as f64);
        assert!(precision >= 0.95 && recall >= 0.95, "seed {seed}: {found:?}");
        let (base, swaps) = of(&unseen, &unseen_rows);
        let edited = LatentPairs {
            base: &base,
            swaps,
            directions: &directions,
        }
        .with(&mask.latents());
        let [success, isolation, _] = planted.score(&unseen, &edited);
        assert!(success > 0.97 && isolation > 0.97, "{success} {isolation}");
        // Nothing exchanged, and everything: one of the two is whole, and the other nothing.
        let [success, isolation, _] = planted.score(&unseen, &unseen.base);
        assert!(success < 0.02 && isolation > 0.97);
        let [success, isolation, _] = planted.score(&unseen, &unseen.source);
        assert!(success > 0.97 && isolation < 0.02);

        let mut rotation = Rotation::new(&pairs, 16, seed, "test");
        planted.learn(&mut rotation, &pairs);
        let [success, isolation, score] = planted.score(&unseen, &rotation.with(&unseen));
        assert!(score > 0.95, "das: {success} {isolation}");
    }
}

#[test]
fn random_rows_do_not_beat_chance() {
    // Exchanging nothing scores a half, and so does exchanging everything: that is chance.
    let mut scores = Vec::new();
    for seed in 0..3 {
        let planted = Planted::new(seed);
        let (pairs, _) = planted.pairs(256, seed);
        let (unseen, _) = planted.pairs(256, seed + 100);
        let random = RandomDictionary::new(
            &pairs.base.mean(),
            256,
            7,
            seed,
            &node("blocks.0.hook_resid_pre@END"),
            &kernels::cpu(),
        );
        let directions = [(Directions::of(&random), 0)];
        let swaps = |pairs: &Pairs| -> Vec<Vec<Swap>> {
            let codes = |rows: &Rows| encode(&random, rows, &vec![Labels::default(); rows.len()]).rows;
            codes(&pairs.base)
                .iter()
                .zip(&codes(&pairs.source))
                .map(|(a, b)| differing(a, b))
                .collect()
        };
        let mut mask = LatentMask::new(LatentPairs {
            base: &pairs.base,
            swaps: swaps(&pairs),
            directions: &directions,
        });
        planted.learn(&mut mask, &pairs);
        let edited = LatentPairs {
            base: &unseen.base,
            swaps: swaps(&unseen),
            directions: &directions,
        }
        .with(&mask.latents());
        let [.., score] = planted.score(&unseen, &edited);
        scores.push(score);
    }
    let mean = scores.iter().sum::<f64>() / 3.0;
    assert!(mean < 0.55, "{scores:?}");
}

#[test]
fn gradients_of_the_loss_are_those_of_central_differences() {
    let World { model, task } = world();
    let prompts = task.sample(Sample::Evaluation, 6, 0);
    let tokens: Vec<u32> = prompts.iter().map(|prompt| prompt.wrong_token()).collect();
    let nodes: BTreeSet<_> = ["blocks.1.hook_resid_pre@END", "blocks.0.attn.hook_z.1@S2"]
        .map(node)
        .into();
    for runner in [Runner::new(model, 6), Runner::new(model, 6).without_restarts()] {
        let clean = runner.clean(&prompts, &nodes).unwrap();
        let batches = runner.batches(&clean);
        assert_eq!(batches.len(), 1);
        let losses = |overwrites: &BTreeMap<_, Rows>| {
            let found = runner
                .loss_gradients(&clean, (0, &batches[0]), overwrites, &tokens)
                .unwrap();
            (found.losses, found.gradients)
        };
        let (_, gradients) = losses(&clean.nodes);
        for &place in &nodes {
            for (row, column) in [(0, 1), (3, 4), (5, 7)] {
                let moved = |by: f32| {
                    let mut overwrites = clean.nodes.clone();
                    let rows = &clean.nodes[&place];
                    let mut values = rows.values().to_vec();
                    values[row * rows.width() + column] += by;
                    overwrites.insert(place, Rows::new(rows.width(), values));
                    f64::from(losses(&overwrites).0[row])
                };
                let by = 2e-2_f32;
                let expected = (moved(by) - moved(-by)) / (2.0 * f64::from(by));
                let found = f64::from(gradients[&place].row(row)[column]);
                assert!(
                    (found - expected).abs() < 2e-3 + 0.02 * expected.abs(),
                    "{place} {row} {column}: {found} {expected}"
                );
            }
        }
    }
}

#[test]
fn masks_at_sites_are_scored_and_repeat() {
    let World { model, task } = world();
    let (sites, sets) = (sites(model), sets(model));
    let file = MasksFile {
        prompts: 40,
        learned_on: 48,
        steps: 10,
        batch: 24,
        das_dims: 4,
        das_seeds: 2,
        baselines: Vec::new(),
        resamples: 50,
        compare: vec![eval::config::Compare {
            left: "das".to_owned(),
            right: "random".to_owned(),
        }],
        ..MasksFile::default()
    };
    let config = file.try_into().unwrap();
    let run = || {
        let mut told = Vec::new();
        let mut note = |site: &causal::Site, of_site: Told| told.push((site.name.clone(), of_site.learning > 0.0));
        let masks = measure(&Runner::new(model, 25), task, &sites, &sets, &config, &mut note).unwrap();
        assert_eq!(told, [("resid".to_owned(), true), ("heads".to_owned(), true)]);
        masks
    };
    let masks = run();
    let of = |name: &str, metric: Metric| -> Vec<f64> {
        let fits = |score: &&Score| score.dictionary == name && score.metric == metric;
        masks
            .scores
            .iter()
            .filter(fits)
            .map(|score| score.value.unwrap())
            .collect()
    };
    // Three attributes at two sites. The whole activation is the ground truth; nothing changes nothing.
    assert_eq!(of("whole-activation", Metric::MaskSuccess), [1.0; 3]);
    assert_eq!(of("none", Metric::MaskIsolation), [1.0; 3]);
    assert_eq!(of("none", Metric::MaskLatents), [0.0; 3]);
    for name in [
        "whole-activation",
        "everything",
        "identity",
        "random",
        "das-seed0",
        "das-seed1",
    ] {
        for metric in [Metric::MaskSuccess, Metric::MaskIsolation, Metric::MaskScore] {
            assert_eq!(of(name, metric).len(), 3, "{name} {metric}");
        }
        let pairs = of(name, Metric::MaskSuccess)
            .into_iter()
            .zip(of(name, Metric::MaskIsolation));
        for ((a, b), score) in pairs.zip(of(name, Metric::MaskScore)) {
            assert!((score - (a + b) / 2.0).abs() < 1e-4);
        }
    }
    assert_eq!(masks.comparisons.len(), 1);
    let table = eval::masks::table(&masks);
    assert!(table.contains("das - random") && table.contains("heads S"), "{table}");
    assert_eq!(
        serde_json::to_string(&run()).unwrap(),
        serde_json::to_string(&masks).unwrap()
    );
}
