//! Baselines on planted activations: exact where they must be, sorted, sparse as asked, matched as told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use activations::Node;
use burn::tensor::Device;
use dictionaries::baseline::{Matched, RandomSize, neurons, pca};
use dictionaries::{Dictionary, Directions, RandomDictionary, Rows, encode, reconstruct};
use eval::TaskDictionary;
use eval::control::{apply, greedy};
use tasks::Labels;

const WIDTH: usize = 12;

/// `n` rows of independent coordinates of falling spread along fixed oblique axes, around a mean.
fn activations(n: usize, seed: u64) -> Rows {
    let mut rng = kernels::random::rng(seed, "baselines");
    let axes = kernels::random::unit_rows(&mut kernels::random::rng(0, "axes"), WIDTH, WIDTH);
    let mut values = Vec::new();
    for _ in 0..n {
        let mut row = vec![2.0_f32; WIDTH];
        let coordinates = kernels::random::normal(&mut rng, WIDTH, 1.0);
        for (i, (x, axis)) in coordinates.iter().zip(axes.chunks_exact(WIDTH)).enumerate() {
            let x = x * 4.0 * 0.6_f32.powi(i as i32);
            row.iter_mut().zip(axis).for_each(|(value, a)| *value += x * a);
        }
        values.extend(row);
    }
    Rows::new(WIDTH, values)
}

fn labels(rows: &Rows) -> Vec<Labels> {
    vec![Labels::default(); rows.len()]
}

fn node() -> Node {
    "blocks.0.attn.hook_z.1@END".parse().unwrap()
}

/// Squared error over the squared distance from the mean, written out.
fn fvu(dictionary: &TaskDictionary, rows: &Rows) -> (f64, f64) {
    let (codes, rebuilt, _) = reconstruct(dictionary, rows, &labels(rows));
    let mean = rows.mean();
    let (mut error, mut variance) = (0.0, 0.0);
    for i in 0..rows.len() {
        for (d, (a, r)) in rows.row(i).iter().zip(rebuilt.row(i)).enumerate() {
            error += f64::from(a - r).powi(2);
            variance += f64::from(a - mean[d]).powi(2);
        }
    }
    (error / variance, codes.mean_active())
}

#[test]
fn whole_bases_reconstruct_exactly_with_non_negative_codes() {
    let (fitted, rows, device) = (activations(3000, 1), activations(200, 2), kernels::cpu());
    for basis in [
        neurons(fitted.values(), WIDTH, &device).unwrap(),
        pca(fitted.values(), WIDTH, &device).unwrap(),
    ] {
        assert_eq!((basis.d_in(), basis.n_latents()), (WIDTH, 2 * WIDTH));
        let (codes, rebuilt, _) = reconstruct(&basis, &rows, &labels(&rows));
        let gaps = rebuilt.values().iter().zip(rows.values()).map(|(a, b)| (a - b).abs());
        assert!(gaps.fold(0.0, f32::max) < 1e-4);
        for row in &codes.rows {
            assert!(row.iter().all(|(_, code)| *code > 0.0));
            // One direction of each axis.
            let mut axes: Vec<u32> = row.iter().map(|(latent, _)| latent % WIDTH as u32).collect();
            axes.sort_unstable();
            assert_eq!(axes, (0..WIDTH as u32).collect::<Vec<_>>());
        }
    }
}

#[test]
fn neurons_are_the_dimensions() {
    let (fitted, device) = (activations(500, 3), kernels::cpu());
    let basis = neurons(fitted.values(), WIDTH, &device).unwrap();
    let mut row = fitted.mean();
    row[3] += 2.0;
    row[7] -= 5.0;
    let codes = encode(&basis, &Rows::new(WIDTH, row), &[Labels::default()]);
    let large: Vec<(u32, f32)> = codes.rows[0].iter().copied().filter(|(_, code)| *code > 1e-3).collect();
    assert_eq!(
        large.iter().map(|(latent, _)| *latent).collect::<Vec<_>>(),
        [3, 7 + WIDTH as u32]
    );
    assert!((large[0].1 - 2.0).abs() < 1e-4 && (large[1].1 - 5.0).abs() < 1e-4);
}

#[test]
fn principal_components_are_uncorrelated_and_sorted() {
    let (fitted, device) = (activations(5000, 4), kernels::cpu());
    let basis = pca(fitted.values(), WIDTH, &device).unwrap();
    let codes = encode(&basis, &fitted, &labels(&fitted));
    let mut covariance = vec![vec![0.0_f64; WIDTH]; WIDTH];
    for row in &codes.rows {
        let mut coordinates = [0.0_f64; WIDTH];
        for &(latent, code) in row {
            let sign = if (latent as usize) < WIDTH { 1.0 } else { -1.0 };
            coordinates[latent as usize % WIDTH] += sign * f64::from(code);
        }
        for (i, line) in covariance.iter_mut().enumerate() {
            line.iter_mut()
                .zip(&coordinates)
                .for_each(|(sum, x)| *sum += coordinates[i] * x / codes.rows.len() as f64);
        }
    }
    let variances: Vec<f64> = (0..WIDTH).map(|i| covariance[i][i]).collect();
    assert!(variances.is_sorted_by(|a, b| a >= b), "{variances:?}");
    for i in 0..WIDTH {
        for j in (0..WIDTH).filter(|&j| j != i) {
            let correlation = covariance[i][j] / (variances[i] * variances[j]).sqrt();
            assert!(correlation.abs() < 1e-3, "{i} {j}: {correlation}");
        }
    }
    // The sum of the variances is what there is to explain.
    let mean = fitted.mean();
    let spread = |row: &[f32]| {
        row.iter()
            .zip(&mean)
            .map(|(a, b)| f64::from(a - b).powi(2))
            .sum::<f64>()
    };
    let total = (0..fitted.len()).map(|i| spread(fitted.row(i))).sum::<f64>() / fitted.len() as f64;
    assert!((variances.iter().sum::<f64>() / total - 1.0).abs() < 1e-4);
}

#[test]
fn an_edit_exchanges_a_coordinate() {
    let (fitted, device) = (activations(500, 5), kernels::cpu());
    let basis = pca(fitted.values(), WIDTH, &device).unwrap();
    let directions = Directions::of(&basis);
    // Source and target differ along axis 2 alone, on both sides of the mean.
    let at = |x: f32| {
        let axis = directions.rows.row(2);
        Rows::new(WIDTH, fitted.mean().iter().zip(axis).map(|(m, u)| m + x * u).collect())
    };
    let (source, target) = (at(3.0), at(-1.5));
    let codes = |rows: &Rows| encode(&basis, rows, &[Labels::default()]);
    let swaps = greedy((&source, &codes(&source)), (&target, &codes(&target)), &directions, 2);
    let edited = apply(&source, &swaps, &directions);
    let gap = edited.values().iter().zip(target.values()).map(|(a, b)| (a - b).abs());
    assert!(gap.fold(0.0, f32::max) < 1e-4);
    assert_eq!(
        swaps[0]
            .iter()
            .map(|swap| swap.latent as usize % WIDTH)
            .collect::<Vec<_>>(),
        [2, 2]
    );
    // As a coordinate, the change of sign is one exchange.
    let along = |rows: &Rows| codes(rows).coordinates();
    let swaps = greedy((&source, &along(&source)), (&target, &along(&target)), &directions, 1);
    let edited = apply(&source, &swaps, &directions);
    let gap = edited.values().iter().zip(target.values()).map(|(a, b)| (a - b).abs());
    assert!(gap.fold(0.0, f32::max) < 1e-4 && swaps[0].len() == 1, "{swaps:?}");
    assert!((swaps[0][0].from - 3.0).abs() < 1e-4 && (swaps[0][0].to + 1.5).abs() < 1e-4);
}

fn size<'a>(n_latents: usize, node: &'a Node, device: &'a Device) -> RandomSize<'a> {
    RandomSize {
        width: WIDTH,
        n_latents,
        seed: 9,
        draw: 0,
        node,
        device,
    }
}

#[test]
fn random_directions_are_as_sparse_as_asked_and_say_their_error() {
    let (rows, node, device) = (activations(500, 6), node(), kernels::cpu());
    let size = size(96, &node, &device);
    for wanted in [1.0, 5.8, 9.0] {
        let Matched {
            dictionary,
            l0,
            fvu: told,
        } = RandomDictionary::matched_l0(rows.values(), wanted, &size).unwrap();
        let (found, active) = fvu(&dictionary, &rows);
        assert!(
            l0 <= wanted.round() && l0 > 0.9 * wanted.round() - 1.0 && (active - l0).abs() < 0.1,
            "{l0} {active}"
        );
        assert!((told - found).abs() < 1e-4, "{told} {found}");
        assert!(
            kernels::to_vec(dictionary.directions())
                .iter()
                .all(|value| value.is_finite())
        );
    }
}

#[test]
fn draws_differ_and_say_their_number() {
    let (rows, node, device) = (activations(500, 6), node(), kernels::cpu());
    let directions = |draw| {
        let size = RandomSize {
            draw,
            ..size(96, &node, &device)
        };
        let matched = RandomDictionary::matched_l0(rows.values(), 4.0, &size).unwrap();
        kernels::to_vec(matched.dictionary.directions())
    };
    assert_eq!(directions(3), directions(3));
    assert_ne!(directions(0), directions(1));
}

#[test]
fn random_directions_reach_the_error_they_can() {
    let (rows, node, device) = (activations(800, 7), node(), kernels::cpu());
    let size = size(96, &node, &device);
    let at = |l0: f64| RandomDictionary::matched_l0(rows.values(), l0, &size).unwrap().fvu;
    let errors: Vec<f64> = [1.0, 2.0, 4.0, 8.0, 16.0].into_iter().map(at).collect();
    assert!(errors.is_sorted_by(|a, b| a > b), "{errors:?}");
    for k in [1.0, 7.0, 16.0] {
        let found = RandomDictionary::matched_fvu(rows.values(), at(k), &size).unwrap();
        assert!(
            (found.fvu - at(k)).abs() < 1e-9 && found.l0 <= k,
            "{k}: {} {}",
            found.l0,
            found.fvu
        );
    }
    // Between two the nearer one is taken; what cannot be reached is told as it is.
    let between = RandomDictionary::matched_fvu(rows.values(), 0.6 * at(3.0) + 0.4 * at(4.0), &size).unwrap();
    assert!((between.fvu - at(3.0)).abs() < 1e-9);
    let least = RandomDictionary::matched_fvu(rows.values(), 0.0, &size).unwrap();
    assert!(least.fvu < 1e-3 && least.l0 > 4.0, "{} {}", least.fvu, least.l0);
    let few = RandomDictionary::matched_fvu(
        rows.values(),
        0.0,
        &RandomSize {
            n_latents: WIDTH,
            ..size
        },
    );
    assert!(few.unwrap().fvu > 0.01, "half the directions of space are missing");
    let most = RandomDictionary::matched_fvu(rows.values(), 1.0, &size).unwrap();
    assert_eq!(most.l0, 1.0);
}

#[test]
fn bad_activations_are_named() {
    let device = kernels::cpu();
    let mut values = activations(10, 8).values().to_vec();
    values[5 * WIDTH + 2] = f32::NAN;
    for error in [
        neurons(&values, WIDTH, &device).err(),
        pca(&values, WIDTH, &device).err(),
    ] {
        let message = error.unwrap().to_string();
        assert!(message.contains("row 5") && message.contains("NaN"), "{message}");
    }
    assert!(pca(&[], WIDTH, &device).is_err() && neurons(&values[1..], WIDTH, &device).is_err());
}
