//! The acceptance tests of the generator and of the scores (SynthSAEBench; section A6 of the reference).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use burn::tensor::Tensor;
use kernels::{cpu, from_vec, to_vec};
use proptest::prelude::*;
use synthetic::{Alignment, Coder, FeatureDictionary, FeatureLaw, FeatureRows, Truth, score};

/// Every rule of the forest, the rates of what is in no tree, and the number of active features.
fn check(law: &FeatureLaw, rows: &FeatureRows, l0: f64, within: f64) {
    assert!((rows.l0() - l0).abs() < within, "L0 {}", rows.l0());
    let mut fired = vec![0_usize; law.len()];
    for row in 0..rows.len() {
        let mut families = Vec::new();
        let entries = rows.row(row);
        for &(feature, activation) in entries {
            assert!(activation > 0.0);
            fired[feature as usize] += 1;
            if let Some(parent) = law.hierarchy.parent(feature as usize) {
                let active = entries.binary_search_by_key(&(parent as u32), |entry| entry.0).is_ok();
                assert!(active, "row {row}: {feature} without its parent {parent}");
                families.push(parent);
            }
        }
        let n = families.len();
        families.dedup();
        assert_eq!(families.len(), n, "row {row}: siblings together");
    }
    // Roots and free features fire as drawn. Their draws are nearly independent from row to row.
    let n = rows.len() as f64;
    let alone: Vec<usize> = (0..law.len())
        .filter(|&feature| law.hierarchy.parent(feature).is_none())
        .collect();
    let mut far = 0;
    for &feature in &alone {
        let p = law.rates[feature];
        let deviations = (fired[feature] as f64 - n * p) / (n * p * (1.0 - p)).sqrt();
        assert!(
            deviations.abs() < 5.5,
            "feature {feature}: {deviations} standard deviations"
        );
        far += usize::from(deviations.abs() > 3.0);
    }
    // 0.27 % of normal numbers are further than 3 standard deviations.
    assert!(
        far as f64 <= 3.0 + alone.len() as f64 * 0.006,
        "{far} of {}",
        alone.len()
    );
}

#[test]
fn the_small_model() {
    let law = FeatureLaw::new(1024, 8, 42);
    check(&law, &law.sample(40_000, 42, "test"), 7.25, 0.15);
    // Children fire, and less often than compensation is meant to bring about.
    let rows = law.sample(20_000, 1, "test");
    let in_trees = |entry: &&(u32, f32)| law.hierarchy.parent(entry.0 as usize).is_some();
    let children = rows.entries.iter().filter(in_trees).count() as f64 / rows.len() as f64;
    let meant: f64 = (0..1024)
        .filter(|&i| law.hierarchy.parent(i).is_some())
        .map(|i| law.rates[i])
        .sum();
    assert!(children > 0.2 * meant && children < meant, "{children} of {meant}");
}

#[test]
fn the_16k_model() {
    let law = FeatureLaw::new(16_384, 128, 42);
    let rows = law.sample(3_000, 42, "test");
    check(&law, &rows, 34.5, 0.5);
    let first = rows.entries.iter().filter(|entry| entry.0 < 4096).count() as f64 / rows.len() as f64;
    assert!((first - 25.2).abs() < 0.5, "{first} of the first 4,096 features");
}

#[test]
fn directions_come_apart() {
    let found = FeatureDictionary::new(1024, 128, 42, &cpu());
    let closeness = found.closeness(&cpu());
    assert!((closeness - 0.281).abs() < 0.006, "{closeness}");
    let mut norms = found
        .directions
        .chunks_exact(128)
        .map(|u| u.iter().map(|x| x * x).sum::<f32>());
    assert!(norms.all(|square| (square - 1.0).abs() < 1e-5));
    assert!((found.bias.iter().map(|x| x * x).sum::<f32>().sqrt() - 0.5).abs() < 1e-5);
}

/// A coder that knows the answer: rows are recognised by their order.
struct Oracle<'a> {
    truth: &'a Truth<'a>,
    /// Feature and sign of each latent.
    latents: Vec<(usize, f32)>,
}

impl Coder for Oracle<'_> {
    fn decoder(&self) -> Vec<f32> {
        let d = self.truth.dictionary.width;
        let row = |&(feature, sign): &(usize, f32)| {
            let direction = &self.truth.dictionary.directions[feature * d..][..d];
            direction.iter().map(|x| x * sign).collect::<Vec<_>>()
        };
        self.latents.iter().flat_map(row).collect()
    }

    fn run(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let rows = self.truth.rows;
        let mut codes = Vec::new();
        for row in 0..rows.len() {
            let code = |&(feature, sign): &(usize, f32)| {
                let entry = rows.row(row).iter().find(|entry| entry.0 as usize == feature);
                entry.map_or(0.0, |entry| entry.1 * sign)
            };
            codes.extend(self.latents.iter().map(code));
        }
        (from_vec(codes, [rows.len(), self.latents.len()], &cpu()), x)
    }
}

fn small() -> (FeatureDictionary, FeatureRows, Vec<f32>) {
    let law = FeatureLaw::new(48, 2, 3);
    let dictionary = FeatureDictionary::new(48, 16, 3, &cpu());
    let rows = law.sample(3000, 3, "test");
    let x = dictionary.activations(&rows);
    (dictionary, rows, x)
}

#[test]
fn scores_of_known_coders() {
    let (dictionary, rows, x) = small();
    let truth = Truth {
        dictionary: &dictionary,
        rows: &rows,
        x: &x,
    };
    let of = |latents: Vec<(usize, f32)>| score(&Oracle { truth: &truth, latents }, &truth, 0.0, &cpu());
    // The truth itself.
    let found = of((0..48).map(|feature| (feature, 1.0)).collect());
    assert!((found.mcc - 1.0).abs() < 1e-6, "{found:?}");
    assert_eq!(
        (found.f1, found.precision, found.recall, found.uniqueness),
        (1.0, 1.0, 1.0, 1.0)
    );
    assert_eq!((found.dead, found.explained_variance, found.shrinkage), (0, 1.0, 1.0));
    // Scores have six digits.
    assert!((found.l0 / rows.l0() - 1.0).abs() < 1e-5);
    // Every row twice.
    let twice = of((0..48).map(|latent| (latent / 2, 1.0)).collect());
    assert_eq!((twice.uniqueness, twice.f1), (0.5, 1.0));
    // No code at all.
    let none = of((0..48).map(|feature| (feature, 0.0)).collect());
    assert_eq!((none.f1, none.dead, none.l0), (0.0, 48, 0.0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn mcc_knows_neither_order_nor_sign_nor_length(order in Just((0..20).collect::<Vec<usize>>()).prop_shuffle(), signs in prop::collection::vec(any::<bool>(), 20)) {
        let dictionary = FeatureDictionary::new(48, 16, 3, &cpu());
        let rows = kernels::random::unit_rows(&mut kernels::random::rng(5, "rows"), 20, 16);
        let moved: Vec<f32> = order
            .iter()
            .zip(&signs)
            .flat_map(|(&row, &sign)| rows[row * 16..][..16].iter().map(move |x| x * if sign { 3.0 } else { -0.5 }))
            .collect();
        let mcc = |rows: Vec<f32>| Alignment::new(rows, &dictionary, &cpu()).mcc();
        prop_assert!((mcc(rows.clone()) - mcc(moved)).abs() < 1e-6);
    }
}

#[test]
fn a_row_of_many_numbers_is_the_sum_of_its_features() {
    let (dictionary, rows, x) = small();
    let dense: Vec<f32> = (0..rows.len())
        .flat_map(|row| {
            let mut values = vec![0.0; 48];
            rows.row(row)
                .iter()
                .for_each(|&(feature, a)| values[feature as usize] = a);
            values
        })
        .collect();
    let directions: Tensor<2> = from_vec(dictionary.directions.clone(), [48, 16], &cpu());
    let bias: Tensor<2> = from_vec(dictionary.bias.clone(), [1, 16], &cpu());
    let expected = to_vec(from_vec::<2>(dense, [rows.len(), 48], &cpu()).matmul(directions) + bias);
    assert!(x.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4));
}
