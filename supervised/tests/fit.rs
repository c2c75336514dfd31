//! The fits find what was planted, agree with a brute-force twin, and survive being saved.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use activations::NodeRows;
use dictionaries::{Dictionary, LabelledEncoder};
use rand::RngExt;
use strum::VariantArray;
use supervised::{Columns, Error, FitMethod, Origin, Parametrization, SupervisedDictionary, fit};
use tasks::{Attribute, ByAttribute, Labels, Role};

const N_VALUES: [usize; 3] = [5, 4, 2];
const WIDTH: usize = 6;

/// Labels drawn with a strong dependence between the first two attributes.
fn labels(n: usize, seed: u64) -> Vec<Labels> {
    let mut rng = kernels::random::rng(seed, "labels");
    let mut draw = |n: usize| rng.random_range(0..n);
    (0..n)
        .map(|_| {
            let first = draw(N_VALUES[0]);
            let second = if draw(2) == 0 {
                first % N_VALUES[1]
            } else {
                draw(N_VALUES[1])
            };
            Labels::ioi([first, second, draw(N_VALUES[2])])
        })
        .collect()
}

fn latents(labels: &Labels) -> [usize; 3] {
    let [io, s, pos] = labels.as_ioi().unwrap();
    [io, N_VALUES[0] + s, N_VALUES[0] + N_VALUES[1] + pos]
}

/// The number of values as a fit takes it.
fn n_values() -> ByAttribute {
    ByAttribute::ioi(N_VALUES)
}

/// Activations made of planted features, a mean and noise.
fn planted(n: usize, noise: f32, seed: u64) -> (NodeRows, Vec<f32>) {
    let labels = labels(n, seed);
    let mut rng = kernels::random::rng(seed, "features");
    let features = kernels::random::normal(&mut rng, N_VALUES.iter().sum::<usize>() * WIDTH, 1.0);
    let mut values = kernels::random::normal(&mut rng, n * WIDTH, noise);
    for (vector, labels) in values.chunks_exact_mut(WIDTH).zip(&labels) {
        for (index, value) in vector.iter_mut().enumerate() {
            *value += 3.0
                + latents(labels)
                    .iter()
                    .map(|&latent| features[latent * WIDTH + index])
                    .sum::<f32>();
        }
    }
    (
        NodeRows {
            width: WIDTH,
            values,
            labels,
        },
        features,
    )
}

/// The latents that are on, written out by hand for each parametrization.
fn on(parametrization: Parametrization, labels: &Labels) -> Vec<usize> {
    let [io, s, pos] = labels.as_ioi().unwrap();
    match parametrization {
        Parametrization::Independent => latents(labels).to_vec(),
        Parametrization::Coupled => vec![2 * io + pos, 2 * N_VALUES[0] + 2 * s + pos],
        Parametrization::Names => {
            let (first, second) = if pos == 0 { (io, s) } else { (s, io) };
            vec![first, 5 + second, 10 + s]
        }
    }
}

/// Activations minus their mean, `[N, D]`.
fn centred(rows: &NodeRows) -> Vec<[f64; WIDTH]> {
    let n = rows.labels.len() as f64;
    let mut mean = [0.0f64; WIDTH];
    for vector in rows.values.chunks_exact(WIDTH) {
        (0..WIDTH).for_each(|i| mean[i] += f64::from(vector[i]) / n);
    }
    let minus = |vector: &[f32]| std::array::from_fn(|i| f64::from(vector[i]) - mean[i]);
    rows.values.chunks_exact(WIDTH).map(minus).collect()
}

/// The least-squares features of least norm: Gauss-Jordan elimination of the normal equations with free unknowns set to
/// 0, minus its projection on the solutions of the homogeneous equations.
fn brute_force(rows: &NodeRows, parametrization: Parametrization, f: usize) -> Vec<f64> {
    let mut system = vec![vec![0.0f64; f + WIDTH]; f]; // [F, F + D]: Gram matrix and right-hand side
    for (vector, labels) in centred(rows).iter().zip(&rows.labels) {
        for row in on(parametrization, labels) {
            for column in on(parametrization, labels) {
                system[row][column] += 1.0;
            }
            (0..WIDTH).for_each(|i| system[row][f + i] += vector[i]);
        }
    }
    let (mut pivots, mut free) = (Vec::new(), Vec::new());
    for column in 0..f {
        let best = (pivots.len()..f).max_by(|&a, &b| system[a][column].abs().total_cmp(&system[b][column].abs()));
        match best {
            Some(best) if system[best][column].abs() > 1e-9 => {
                let place = pivots.len();
                system.swap(place, best);
                let pivot = system[place][column];
                system[place].iter_mut().for_each(|value| *value /= pivot);
                let line = system[place].clone();
                for (row, other) in system.iter_mut().enumerate() {
                    let factor = other[column];
                    if row != place {
                        other
                            .iter_mut()
                            .zip(&line)
                            .for_each(|(value, pivot)| *value -= factor * pivot);
                    }
                }
                pivots.push(column);
            }
            _ => free.push(column),
        }
    }
    let mut solution = vec![0.0; f * WIDTH]; // [F, D]
    for (place, &column) in pivots.iter().enumerate() {
        solution[column * WIDTH..][..WIDTH].copy_from_slice(&system[place][f..]);
    }
    let mut basis: Vec<Vec<f64>> = Vec::new(); // orthonormal, of the null space
    for &column in &free {
        let mut vector = vec![0.0; f];
        vector[column] = 1.0;
        pivots
            .iter()
            .enumerate()
            .for_each(|(place, &pivot)| vector[pivot] = -system[place][column]);
        for known in &basis {
            let along: f64 = known.iter().zip(&vector).map(|(a, b)| a * b).sum();
            vector
                .iter_mut()
                .zip(known)
                .for_each(|(value, known)| *value -= along * known);
        }
        let norm = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
        basis.push(vector.into_iter().map(|value| value / norm).collect());
    }
    for known in &basis {
        for i in 0..WIDTH {
            let along: f64 = (0..f).map(|row| known[row] * solution[row * WIDTH + i]).sum();
            (0..f).for_each(|row| solution[row * WIDTH + i] -= along * known[row]);
        }
    }
    solution
}

/// The conditional means of centred activations.
fn conditional_means(rows: &NodeRows, parametrization: Parametrization, f: usize) -> Vec<f64> {
    let centred = centred(rows);
    let of = |latent: usize| -> [f64; WIDTH] {
        let with = |(_, labels): &(_, &Labels)| on(parametrization, labels).contains(&latent);
        let own: Vec<_> = centred.iter().zip(&rows.labels).filter(with).collect();
        let n = own.len().max(1) as f64;
        std::array::from_fn(|i| own.iter().map(|(vector, _)| vector[i]).sum::<f64>() / n)
    };
    (0..f).flat_map(of).collect()
}

fn features(dictionary: &SupervisedDictionary) -> Vec<f32> {
    kernels::to_vec(dictionary.directions())
}

fn squared_error(dictionary: &SupervisedDictionary, rows: &NodeRows) -> f64 {
    let device = dictionary.device();
    let activations = kernels::from_vec(rows.values.clone(), [rows.labels.len(), WIDTH], &device);
    let rebuilt = kernels::to_vec(dictionary.decode(dictionary.encode_labelled(activations, &rows.labels)));
    rebuilt
        .iter()
        .zip(&rows.values)
        .map(|(a, b)| f64::from(a - b).powi(2))
        .sum()
}

#[test]
fn every_parametrization_agrees_with_brute_force() {
    for &parametrization in Parametrization::VARIANTS {
        let columns = Columns::new(parametrization, n_values(), Role::END).unwrap();
        for seed in 0..5 {
            let (rows, _) = planted(80, 1.0, seed);
            let fitted = |method| fit(&rows, columns.clone(), method, &kernels::cpu()).unwrap();
            let (squares, mean) = (fitted(FitMethod::LeastSquares), fitted(FitMethod::Mean));
            let f = squares.n_latents();
            for (method, found, expected) in [
                ("least squares", &squares, brute_force(&rows, parametrization, f)),
                ("mean", &mean, conditional_means(&rows, parametrization, f)),
            ] {
                let found = features(found);
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(expected) {
                    let gap = (f64::from(*found) - expected).abs();
                    assert!(
                        gap < 1e-5,
                        "{parametrization} {method}, seed {seed}: {found} {expected}"
                    );
                }
            }
            assert!(squared_error(&squares, &rows) < squared_error(&mean, &rows));
        }
    }
}

/// Rows of the independent model: the norm of the difference between the two values of `Pos` in what a dictionary rebuilds,
/// over the same in the activations.
fn share_of_pos(parametrization: Parametrization, method: FitMethod) -> f64 {
    let (rows, planted) = planted(4000, 0.1, 11);
    let columns = Columns::new(parametrization, n_values(), Role::END).unwrap();
    let dictionary = fit(&rows, columns, method, &kernels::cpu()).unwrap();
    let none = kernels::from_vec(vec![0.0; 2 * WIDTH], [2, WIDTH], &kernels::cpu());
    let rebuilt =
        kernels::to_vec(dictionary.decode(dictionary.encode_labelled(none, &[[2, 3, 0], [2, 3, 1]].map(Labels::ioi))));
    let pos = 9 * WIDTH;
    let norm = |a: &[f32], b: &[f32]| {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(a - b).powi(2))
            .sum::<f64>()
            .sqrt()
    };
    norm(&rebuilt[..WIDTH], &rebuilt[WIDTH..])
        / norm(&planted[pos..pos + WIDTH], &planted[pos + WIDTH..pos + 2 * WIDTH])
}

#[test]
fn redundant_attributes_are_counted_twice_by_means_and_once_by_least_squares() {
    let near = |share: f64, expected: f64| assert!((share - expected).abs() < 0.05, "{share}, not {expected}");
    near(share_of_pos(Parametrization::Independent, FitMethod::Mean), 1.0);
    near(share_of_pos(Parametrization::Independent, FitMethod::LeastSquares), 1.0);
    near(share_of_pos(Parametrization::Coupled, FitMethod::Mean), 2.0);
    near(share_of_pos(Parametrization::Coupled, FitMethod::LeastSquares), 1.0);
}

#[test]
fn coupled_least_squares_shares_pos_out_evenly() {
    let (rows, planted) = planted(4000, 0.0, 12);
    let columns = Columns::new(Parametrization::Coupled, n_values(), Role::END).unwrap();
    let coupled = features(&fit(&rows, columns, FitMethod::LeastSquares, &kernels::cpu()).unwrap());
    // io_(a, ABB) - io_(a, BAB) is the constant that either group may carry; of least norm it is split by the sizes of the
    // groups, here 5 and 4 values, so that IO carries 4 / 9 of it.
    for value in 0..N_VALUES[0] {
        for i in 0..WIDTH {
            let found = coupled[2 * value * WIDTH + i] - coupled[(2 * value + 1) * WIDTH + i];
            let pos = planted[9 * WIDTH + i] - planted[10 * WIDTH + i];
            assert!((found - pos * 4.0 / 9.0).abs() < 1e-4, "{found} {pos}");
        }
    }
}

#[test]
fn least_squares_finds_the_planted_differences() {
    let (rows, planted) = planted(400, 0.0, 9);
    let dictionary = fit(&rows, n_values(), FitMethod::LeastSquares, &kernels::cpu()).unwrap();
    assert!(squared_error(&dictionary, &rows) / (400.0 * WIDTH as f64) < 1e-9);
    for attribute in n_values().attributes() {
        let range = dictionary.range(attribute);
        for value in 1..range.len() {
            let (first, this) = (dictionary.feature(attribute, 0), dictionary.feature(attribute, value));
            for index in 0..WIDTH {
                let expected = planted[(range.start + value) * WIDTH + index] - planted[range.start * WIDTH + index];
                assert!(
                    (this[index] - first[index] - expected).abs() < 1e-4,
                    "{attribute} {value}"
                );
            }
        }
    }
}

#[test]
fn codes_are_the_labels() {
    let (rows, _) = planted(60, 1.0, 3);
    let dictionary = fit(&rows, n_values(), FitMethod::Mean, &kernels::cpu()).unwrap();
    assert_eq!((dictionary.d_in(), dictionary.n_latents()), (WIDTH, 11));
    let activations = kernels::from_vec(vec![0.0; 2 * WIDTH], [2, WIDTH], &kernels::cpu());
    let codes =
        kernels::to_vec(dictionary.encode_labelled(activations.clone(), &[[4, 0, 1], [0, 9, 0]].map(Labels::ioi)));
    let expected = [
        [0., 0., 0., 0., 1., 1., 0., 0., 0., 0., 1.],
        [1., 0., 0., 0., 0., 0., 0., 0., 0., 1., 0.], // value 9 of S does not exist: none of its codes is on
    ];
    assert_eq!(codes, expected.concat());
    assert_eq!(dictionary.range(Attribute::S), 5..9);
    assert_eq!(dictionary.feature(Attribute::S, 9), [0.0; WIDTH]);
    let decoded = kernels::to_vec(
        dictionary.decode(dictionary.encode_labelled(activations, &[[4, 0, 1], [0, 9, 0]].map(Labels::ioi))),
    );
    for (index, decoded) in decoded.into_iter().take(WIDTH).enumerate() {
        let sum = dictionary.mean()[index]
            + dictionary.feature(Attribute::IO, 4)[index]
            + dictionary.feature(Attribute::S, 0)[index]
            + dictionary.feature(Attribute::POS, 1)[index];
        assert!((decoded - sum).abs() < 1e-5);
    }
}

#[test]
fn an_attribute_can_be_left_out() {
    let (rows, _) = planted(60, 1.0, 4);
    let all = fit(&rows, n_values(), FitMethod::Mean, &kernels::cpu()).unwrap();
    let without_s = ByAttribute::from_iter([(Attribute::IO, 5), (Attribute::POS, 2)]);
    let two = fit(&rows, without_s, FitMethod::Mean, &kernels::cpu()).unwrap();
    assert_eq!((two.n_latents(), two.range(Attribute::S).len()), (7, 0));
    // A mean feature does not depend on the other attributes.
    assert_eq!(two.feature(Attribute::POS, 1), all.feature(Attribute::POS, 1));
    assert_eq!(two.feature(Attribute::S, 1), [0.0; WIDTH]);
}

#[test]
fn wrong_rows_are_refused() {
    let (mut rows, _) = planted(10, 1.0, 5);
    rows.labels[7] = Labels::ioi([0, 4, 0]);
    let error = fit(&rows, n_values(), FitMethod::Mean, &kernels::cpu()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Label {
                row: 7,
                attribute: Attribute::S,
                value: 4,
                n_values: 4
            }
        ),
        "{error}"
    );
    rows.labels.pop();
    assert!(matches!(
        fit(&rows, n_values(), FitMethod::Mean, &kernels::cpu()),
        Err(Error::Rows { .. })
    ));
    let empty = NodeRows {
        width: WIDTH,
        values: Vec::new(),
        labels: Vec::new(),
    };
    assert!(matches!(
        fit(&empty, n_values(), FitMethod::LeastSquares, &kernels::cpu()),
        Err(Error::Rows { .. })
    ));
}

#[test]
fn saved_and_loaded_it_is_the_same() {
    let (rows, _) = planted(60, 1.0, 6);
    let (dir, device) = (tempfile::tempdir().unwrap(), kernels::cpu());
    let origin = Origin {
        node: "blocks.0.attn.hook_z.1@END".parse().unwrap(),
        parent: "abc".into(),
    };
    let without_pos = ByAttribute::from_iter([(Attribute::IO, 5), (Attribute::S, 4)]);
    let dictionary = fit(&rows, without_pos, FitMethod::LeastSquares, &device).unwrap();
    dictionary.save(dir.path(), &origin).unwrap();
    let (loaded, from) = SupervisedDictionary::load(dir.path(), &device).unwrap();
    assert_eq!(from, origin);
    assert_eq!(features(&loaded), features(&dictionary));
    assert_eq!(
        (loaded.mean(), loaded.columns()),
        (dictionary.mean(), dictionary.columns())
    );
    assert_eq!(loaded.method(), FitMethod::LeastSquares);

    // Weights that are not those of the config, and configs of something else, are refused by name.
    let (weights, config) = (
        dir.path().join("dictionary.safetensors"),
        dir.path().join("config.json"),
    );
    let load = || {
        SupervisedDictionary::load(dir.path(), &device)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() - 8]).unwrap();
    assert!(load().contains("sha256"), "{}", load());
    std::fs::write(&weights, bytes).unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    for (from, to, part) in [
        ("\"supervised\"", "\"sae\"", "kind"),
        ("\"format_version\": 2", "\"format_version\": 1", "format version 2"),
        ("\"independent\"", "\"coupled\"", "is made of Pos"),
        ("\"IO\"", "\"a place\"", "a place"),
        ("\"parent\"", "\"parents\"", "parents"),
        ("\"d_in\": 6", "\"d_in\": 5", "shape"),
    ] {
        std::fs::write(&config, text.replacen(from, to, 1)).unwrap();
        assert!(
            load().contains(part) && load().contains("config.json") | load().contains("safetensors"),
            "{}",
            load()
        );
    }
    std::fs::remove_file(&config).unwrap();
    assert!(load().contains("config.json"), "{}", load());
}

#[test]
fn the_parametrization_is_saved() {
    let (rows, _) = planted(60, 1.0, 7);
    let (dir, device) = (tempfile::tempdir().unwrap(), kernels::cpu());
    let origin = |node: &str| Origin {
        node: node.parse().unwrap(),
        parent: "abc".into(),
    };
    for (parametrization, node) in [
        (Parametrization::Coupled, "blocks.0.attn.hook_z.1@END"),
        (Parametrization::Names, "blocks.0.attn.hook_z.1@END"),
        (Parametrization::Names, "blocks.0.attn.hook_k.1@IO"),
    ] {
        let origin = origin(node);
        let columns = Columns::new(parametrization, n_values(), origin.node.role).unwrap();
        let dictionary = fit(&rows, columns.clone(), FitMethod::Mean, &device).unwrap();
        dictionary.save(dir.path(), &origin).unwrap();
        let (loaded, _) = SupervisedDictionary::load(dir.path(), &device).unwrap();
        assert_eq!((loaded.columns(), features(&loaded)), (&columns, features(&dictionary)));
    }
    // A dictionary of two names is not one for the end of the prompt.
    let columns = Columns::new(Parametrization::Names, n_values(), Role::S1).unwrap();
    let two = fit(&rows, columns, FitMethod::Mean, &device).unwrap();
    let error = two.save(dir.path(), &origin("blocks.0.attn.hook_z.1@END")).unwrap_err();
    assert!(error.to_string().contains("another role"), "{error}");
}
