//! The fits find what was planted, agree with a brute-force twin, and survive being saved.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use activations::{Dictionary, NodeRows};
use rand::RngExt;
use supervised::{Error, Method, Origin, SupervisedDictionary, fit};
use tasks::{Attribute, Labels};

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
            [first, second, draw(N_VALUES[2])]
        })
        .collect()
}

fn latents(labels: &Labels) -> [usize; 3] {
    [
        labels[0],
        N_VALUES[0] + labels[1],
        N_VALUES[0] + N_VALUES[1] + labels[2],
    ]
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

/// Solves the normal equations of centred data by Gaussian elimination; the freedom to move a constant between
/// attributes is taken away by asking that each attribute's features are zero in the mean over the rows.
fn brute_force(rows: &NodeRows) -> Vec<f64> {
    let (f, n) = (N_VALUES.iter().sum::<usize>(), rows.labels.len());
    let mut mean = [0.0f64; WIDTH];
    for vector in rows.values.chunks_exact(WIDTH) {
        mean.iter_mut()
            .zip(vector)
            .for_each(|(mean, &value)| *mean += f64::from(value) / n as f64);
    }
    let mut system = vec![vec![0.0f64; f + WIDTH]; f]; // [F, F + D]: Gram matrix and right-hand side
    for (vector, labels) in rows.values.chunks_exact(WIDTH).zip(&rows.labels) {
        for row in latents(labels) {
            latents(labels).iter().for_each(|&column| system[row][column] += 1.0);
            (0..WIDTH).for_each(|index| system[row][f + index] += f64::from(vector[index]) - mean[index]);
        }
    }
    let counts: Vec<f64> = (0..f).map(|latent| system[latent][latent]).collect();
    let mut start = 0;
    for size in N_VALUES {
        let own = start..start + size;
        for row in own.clone() {
            own.clone()
                .for_each(|column| system[row][column] += counts[row] * counts[column]);
        }
        start += size;
    }
    for pivot in 0..f {
        let best = (pivot..f)
            .max_by(|&a, &b| system[a][pivot].abs().total_cmp(&system[b][pivot].abs()))
            .unwrap();
        system.swap(pivot, best);
        let line = system[pivot].clone();
        assert!(line[pivot].abs() > 1e-9, "singular");
        for (row, other) in system.iter_mut().enumerate() {
            if row != pivot {
                let factor = other[pivot] / line[pivot];
                other
                    .iter_mut()
                    .zip(&line)
                    .for_each(|(value, pivot)| *value -= factor * pivot);
            }
        }
    }
    (0..f)
        .flat_map(|row| (0..WIDTH).map(move |index| (row, index)))
        .map(|(r, i)| system[r][f + i] / system[r][r])
        .collect()
}

fn features(dictionary: &SupervisedDictionary) -> Vec<f32> {
    kernels::to_vec(dictionary.directions())
}

fn squared_error(dictionary: &SupervisedDictionary, rows: &NodeRows) -> f64 {
    let device = dictionary.device();
    let activations = kernels::from_vec(rows.values.clone(), [rows.labels.len(), WIDTH], &device);
    let rebuilt = kernels::to_vec(dictionary.decode(dictionary.encode(activations, &rows.labels)));
    rebuilt
        .iter()
        .zip(&rows.values)
        .map(|(a, b)| f64::from(a - b).powi(2))
        .sum()
}

#[test]
fn least_squares_agrees_with_brute_force() {
    for seed in 0..5 {
        let (rows, _) = planted(80, 1.0, seed);
        let dictionary = fit(&rows, N_VALUES, Method::LeastSquares, &kernels::cpu()).unwrap();
        for (found, expected) in features(&dictionary).iter().zip(brute_force(&rows)) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-5,
                "seed {seed}: {found} {expected}"
            );
        }
        let mean = fit(&rows, N_VALUES, Method::Mean, &kernels::cpu()).unwrap();
        assert!(squared_error(&dictionary, &rows) < squared_error(&mean, &rows));
    }
}

#[test]
fn least_squares_finds_the_planted_differences() {
    let (rows, planted) = planted(400, 0.0, 9);
    let dictionary = fit(&rows, N_VALUES, Method::LeastSquares, &kernels::cpu()).unwrap();
    assert!(squared_error(&dictionary, &rows) / (400.0 * WIDTH as f64) < 1e-9);
    for attribute in Attribute::ALL {
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
    let dictionary = fit(&rows, N_VALUES, Method::Mean, &kernels::cpu()).unwrap();
    assert_eq!((dictionary.d_in(), dictionary.n_latents()), (WIDTH, 11));
    let activations = kernels::from_vec(vec![0.0; 2 * WIDTH], [2, WIDTH], &kernels::cpu());
    let codes = kernels::to_vec(dictionary.encode(activations.clone(), &[[4, 0, 1], [0, 9, 0]]));
    let expected = [
        [0., 0., 0., 0., 1., 1., 0., 0., 0., 0., 1.],
        [1., 0., 0., 0., 0., 0., 0., 0., 0., 1., 0.], // value 9 of S does not exist: none of its codes is on
    ];
    assert_eq!(codes, expected.concat());
    assert_eq!(dictionary.range(Attribute::S), 5..9);
    assert_eq!(dictionary.feature(Attribute::S, 9), [0.0; WIDTH]);
    let decoded = kernels::to_vec(dictionary.decode(dictionary.encode(activations, &[[4, 0, 1], [0, 9, 0]])));
    for (index, decoded) in decoded.into_iter().take(WIDTH).enumerate() {
        let sum = dictionary.mean()[index]
            + dictionary.feature(Attribute::Io, 4)[index]
            + dictionary.feature(Attribute::S, 0)[index]
            + dictionary.feature(Attribute::Pos, 1)[index];
        assert!((decoded - sum).abs() < 1e-5);
    }
}

#[test]
fn an_attribute_can_be_left_out() {
    let (rows, _) = planted(60, 1.0, 4);
    let all = fit(&rows, N_VALUES, Method::Mean, &kernels::cpu()).unwrap();
    let two = fit(&rows, [5, 0, 2], Method::Mean, &kernels::cpu()).unwrap();
    assert_eq!((two.n_latents(), two.range(Attribute::S).len()), (7, 0));
    // A mean feature does not depend on the other attributes.
    assert_eq!(two.feature(Attribute::Pos, 1), all.feature(Attribute::Pos, 1));
    assert_eq!(two.feature(Attribute::S, 1), [0.0; WIDTH]);
}

#[test]
fn wrong_rows_are_refused() {
    let (mut rows, _) = planted(10, 1.0, 5);
    rows.labels[7] = [0, 4, 0];
    let error = fit(&rows, N_VALUES, Method::Mean, &kernels::cpu()).unwrap_err();
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
        fit(&rows, N_VALUES, Method::Mean, &kernels::cpu()),
        Err(Error::Rows { .. })
    ));
    let empty = NodeRows {
        width: WIDTH,
        values: Vec::new(),
        labels: Vec::new(),
    };
    assert!(matches!(
        fit(&empty, N_VALUES, Method::LeastSquares, &kernels::cpu()),
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
    let dictionary = fit(&rows, [5, 4, 0], Method::LeastSquares, &device).unwrap();
    dictionary.save(dir.path(), &origin).unwrap();
    let (loaded, from) = SupervisedDictionary::load(dir.path(), &device).unwrap();
    assert_eq!(from, origin);
    assert_eq!(features(&loaded), features(&dictionary));
    assert_eq!((loaded.mean(), loaded.n_values()), (dictionary.mean(), [5, 4, 0]));
    assert_eq!(loaded.method(), Method::LeastSquares);

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
        ("\"format_version\": 1", "\"format_version\": 2", "format version 1"),
        ("\"Pos\"", "\"Place\"", "attribute Pos"),
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
