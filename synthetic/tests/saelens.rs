//! The generator, the scores and Matching Pursuit against sae-lens, which drew the random numbers (`fixtures/make.py`).
//!
//! Shapes: `N` features, `F` latents, `D` width, `R` factors, `B` rows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::Path;

use artifacts::{HostTensor, read_tensors};
use burn::tensor::Tensor;
use kernels::{cpu, from_vec, to_vec};
use synthetic::{
    Coder, Entry, FeatureDictionary, FeatureDraws, FeatureLaw, FeatureRows, MatchingPursuit, RANK, Truth, score,
};

const N: usize = 256;
const D: usize = 24;
const ROOTS: usize = 2;
const ROWS: usize = 96;
const F: usize = 40;
const K: usize = 4;

fn fixture() -> BTreeMap<String, HostTensor> {
    read_tensors(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/synthetic.safetensors")).unwrap()
}

fn law(fixture: &BTreeMap<String, HostTensor>) -> FeatureLaw {
    let draws = FeatureDraws {
        deviations: fixture["law.deviations"].data.clone(),
        factors: fixture["law.factors"].data.clone(),
    };
    FeatureLaw::from_draws(N, ROOTS, draws)
}

fn dictionary(fixture: &BTreeMap<String, HostTensor>) -> FeatureDictionary {
    FeatureDictionary {
        width: D,
        directions: fixture["dictionary.directions"].data.clone(),
        bias: fixture["dictionary.bias"].data.clone(),
    }
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], most: f32) {
    assert_eq!(found.len(), expected.len());
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        let gap = (found - expected).abs();
        assert!(gap <= most, "{found} at {place}, expected {expected}");
    }
}

/// Entries of a dense row that are not 0.
fn entries(row: &[f32]) -> Vec<Entry> {
    (0_u32..).zip(row.iter().copied()).filter(|(_, x)| *x != 0.0).collect()
}

fn rows(dense: &[f32]) -> FeatureRows {
    let rows: Vec<Vec<Entry>> = dense.chunks_exact(N).map(entries).collect();
    let ends = rows.iter().scan(0, |end, row| {
        *end += row.len();
        Some(*end)
    });
    FeatureRows {
        starts: std::iter::once(0).chain(ends).collect(),
        entries: rows.concat(),
    }
}

#[test]
fn the_law_is_theirs() {
    let fixture = fixture();
    let law = law(&fixture);
    let drawn: Vec<f32> = law.drawn.iter().map(|p| *p as f32).collect();
    assert_close(&drawn, &fixture["law.drawn"].data, 1e-6);
    assert_close(&law.means, &fixture["law.means"].data, 1e-6);
    // A factor of 0.1 leaves every feature enough of its own, so that nothing was shrunk.
    assert_eq!(law.factors, fixture["law.factors"].data);
    let variance: Vec<f32> = law.own.iter().map(|x| x * x).collect();
    let theirs: Vec<f32> = fixture["law.own"].data.iter().map(|x| x * x).collect();
    assert_close(&variance, &theirs, 1e-6);
    // Where the probability is 1 the threshold is endless there and far away here.
    for (found, expected) in law.thresholds.iter().zip(&fixture["law.thresholds"].data) {
        match expected.is_infinite() {
            true => assert!(*found < -30.0),
            // A probability in f32 near 1 says its quantile to a few digits only.
            false => assert!((found - expected).abs() < 2e-5, "{found}, expected {expected}"),
        }
    }
}

#[test]
fn the_dictionary_is_theirs() {
    let fixture = fixture();
    let draws = |name: &str| fixture[&format!("draws.{name}")].data.clone();
    let found = FeatureDictionary::from_draws(D, draws("directions"), draws("bias"), &cpu());
    assert_close(&found.directions, &fixture["dictionary.directions"].data, 5e-6);
    assert_close(&found.bias, &fixture["dictionary.bias"].data, 1e-6);
}

#[test]
fn rows_are_theirs() {
    let fixture = fixture();
    let law = law(&fixture);
    let of = |name: &str| &fixture[&format!("batch.{name}")].data;
    let mut normals = of("normals").iter().copied();
    let (mut met, mut found_rows) = (0, Vec::new());
    for row in 0..ROWS {
        let part = |name: &str, width: usize| &of(name)[row * width..][..width];
        let factors = part("shared", RANK);
        let shared: Vec<f32> = law
            .factors
            .chunks_exact(RANK)
            .map(|weights| weights.iter().zip(factors).map(|(w, x)| w * x).sum())
            .collect();
        let fires = law.fires(&shared, part("own", N));
        let mut found = law.magnitudes(&fires, &mut || normals.next().unwrap());
        let before: Vec<f32> = dense(&found);
        assert_close(&before, part("before", N), 2e-6);
        // Of siblings the one stays that stayed there.
        let after = part("after", N);
        law.hierarchy.apply(&mut found, &law.means, &mut |siblings| {
            met += 1;
            let stayed = siblings.iter().position(|entry| after[entry.0 as usize] > 0.0);
            stayed.expect("one of the siblings stays")
        });
        assert_close(&dense(&found), after, 5e-6);
        found_rows.extend(dense(&found));
    }
    assert!(normals.next().is_none() && met > 10, "{met}");
    let x = dictionary(&fixture).activations(&rows(&found_rows));
    assert_close(&x, of("x"), 1e-5);
}

fn dense(row: &[Entry]) -> Vec<f32> {
    let mut values = vec![0.0; N];
    row.iter().for_each(|&(feature, x)| values[feature as usize] = x);
    values
}

/// Codes and reconstructions that were made elsewhere.
struct Given<'a>(&'a BTreeMap<String, HostTensor>);

impl Coder for Given<'_> {
    fn decoder(&self) -> Vec<f32> {
        self.0["scores.decoder"].data.clone()
    }

    fn run(&self, _x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let of = |name: &str, width| from_vec(self.0[name].data.clone(), [ROWS, width], &cpu());
        (of("scores.codes", F), of("scores.reconstruction", D))
    }
}

#[test]
fn scores_are_theirs() {
    let fixture = fixture();
    let (dictionary, rows) = (dictionary(&fixture), rows(&fixture["batch.after"].data));
    let truth = Truth {
        dictionary: &dictionary,
        rows: &rows,
        x: &fixture["batch.x"].data,
    };
    let found = score(&Given(&fixture), &truth, 0.0, &cpu());
    let found = [
        found.mcc,
        found.f1,
        found.precision,
        found.recall,
        found.uniqueness,
        found.dead as f64,
        found.l0,
        found.explained_variance,
        found.shrinkage,
    ];
    let found: Vec<f32> = found.into_iter().map(|x| x as f32).collect();
    // Scores have six digits.
    for (found, expected) in found.iter().zip(&fixture["scores.expected"].data) {
        assert!((found / expected - 1.0).abs() < 1e-5, "{found}, expected {expected}");
    }
}

#[test]
fn matching_pursuit_is_theirs() {
    let fixture = fixture();
    let of = |name: &str| fixture[&format!("pursuit.{name}")].data.clone();
    let model = MatchingPursuit::from_rows(K, of("w_dec"), of("b_dec"), &cpu());
    let x: Tensor<2> = from_vec(fixture["batch.x"].data.clone(), [ROWS, D], &cpu());
    let (codes, reconstruction) = model.run(x.clone());
    let found = model.gradients(&x);
    assert_close(&to_vec(codes), &of("codes"), 2e-5);
    assert_close(&to_vec(reconstruction), &of("reconstruction"), 2e-5);
    assert!((found.loss as f32 / of("loss")[0] - 1.0).abs() < 1e-5, "{}", found.loss);
    assert_close(&found.w_dec, &of("w_dec.gradient"), 2e-4);
    assert_close(&found.b_dec, &of("b_dec.gradient"), 2e-5);
    assert!(found.w_dec.iter().any(|g| g.abs() > 0.1));
}
