//! A grid gives each autoencoder what it would have got alone, interrupted or not; transcoders find planted pairs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use dictionaries::{Architecture, Autoencoder};
use kernels::{cpu, random, to_vec};
use lm::HookPoint;
use rand::RngExt;
use sae::{Checkpoints, Finished, Grid, Resumed, Rows, Split, TrainConfig, TrainFile, train};

const HOOK: HookPoint = HookPoint::MlpOut(0);

fn config(extra: serde_json::Value) -> TrainConfig {
    let mut file = serde_json::json!({
        "steps": 60, "batch": 32, "expansion": 3, "dead_after": 200, "checkpoint_every": 7, "learning_rate": 3e-3,
        "autoencoder": [
            {"architecture": "relu", "l1": 0.5},
            {"architecture": "p-anneal", "l1": 0.5},
            {"architecture": "gated", "l1": 0.5},
            {"architecture": "relu", "l1": 0.5, "frozen_decoder": true},
            {"architecture": "jumprelu", "l0": 3},
            {"architecture": "jumprelu-tanh", "weight": 1.0},
            {"architecture": "topk", "k": [2, 3], "seed": [0, 1]},
            {"architecture": "matryoshka", "k": 2, "levels": 2},
            {"architecture": "gated", "l0": 3, "name": "gated-to-3"},
            {"architecture": "topk", "k": 2, "anneal_k": 3, "name": "topk-annealed"},
            {"architecture": "batch-topk", "k": 2, "target": "blocks.0.hook_mlp_out"},
        ],
    });
    file.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    TrainConfig::try_from(serde_json::from_value::<TrainFile>(file).unwrap()).unwrap()
}

fn rows(stream: &str, n: usize, width: usize) -> Rows {
    let mut values = random::normal(&mut random::rng(5, stream), n * width, 0.3);
    for (i, x) in values.iter_mut().enumerate() {
        *x += ((i / width % 4) as f32 - 1.5) * ((i % width) as f32 * 0.1);
    }
    Rows { width, values }
}

fn grid(config: &TrainConfig) -> Grid {
    let targets = BTreeMap::from([(HOOK, rows("targets", 300, 10))]);
    let split = Split::last(rows("inputs", 300, 16), targets, config.held_out);
    Grid::new(split, config.variants.clone(), config, &cpu()).unwrap()
}

/// Checkpoints of a training of that name.
fn checkpoints(dir: &Path, training: &str) -> Checkpoints {
    Checkpoints {
        dir: dir.to_owned(),
        training: training.to_owned(),
        parent: "store".to_owned(),
    }
}

/// Every number of an autoencoder.
fn bytes(model: &Autoencoder) -> Vec<f32> {
    let p = &model.parameters;
    let mut all = [to_vec(p.w_enc.clone()), to_vec(p.w_dec.clone())].concat();
    all.extend([to_vec(p.b_enc.clone()), to_vec(p.b_dec.clone())].concat());
    all.extend(p.extra.iter().flat_map(|extra| to_vec(extra.clone())));
    all
}

fn run(mut grid: Grid, steps: usize) -> Vec<Finished> {
    while grid.steps_done() < steps {
        grid.step(&mut |_, _| ()).unwrap();
    }
    grid.finish().unwrap()
}

#[test]
fn a_last_step_that_breaks_the_weights_is_no_autoencoder() {
    for architecture in [
        serde_json::json!({"architecture": "relu", "l1": 1.0, "learning_rate": 1e19}),
        serde_json::json!({"architecture": "relu", "l1": 1.0, "learning_rate": 1e30}),
        serde_json::json!({"architecture": "batch-topk", "k": 2, "learning_rate": 1e30}),
    ] {
        let config = config(serde_json::json!({"steps": 1, "autoencoder": [architecture]}));
        let mut grid = grid(&config);
        grid.step(&mut |_, _| ()).unwrap();
        let error = grid.finish().unwrap_err().to_string();
        assert!(error.contains("lower `learning_rate`"), "{error}");
    }
}

#[test]
fn a_grid_equals_its_members_alone() {
    let all = config(serde_json::json!({}));
    for together in run(grid(&all), all.steps) {
        let mut alone = all.clone();
        alone.variants = vec![together.variant.clone()];
        let alone = run(grid(&alone), all.steps).remove(0);
        assert!(
            bytes(&together.model) == bytes(&alone.model),
            "{}",
            together.variant.name
        );
        assert_eq!(together.summary, alone.summary);
    }
}

#[test]
fn measured_in_parts_is_measured_as_a_whole() {
    let config = config(serde_json::json!({}));
    for held_out in [0.1, 0.0] {
        let config = TrainConfig {
            held_out,
            ..config.clone()
        };
        let trained = || {
            let mut grid = grid(&config);
            (0..config.steps).for_each(|_| grid.step(&mut |_, _| ()).unwrap());
            grid
        };
        let whole = trained().finish().unwrap();
        // The last 30 rows of all are held out, in parts of 7, or none.
        let (inputs, targets, n_train) = (
            rows("inputs", 300, 16),
            rows("targets", 300, 10),
            300 - (300.0 * held_out) as usize,
        );
        let mut parts = |number: usize| {
            let first = (n_train + number * 7).min(300);
            let indices: Vec<usize> = (first..(first + 7).min(300)).collect();
            Ok((!indices.is_empty()).then(|| Split {
                inputs: inputs.select(&indices),
                targets: BTreeMap::from([(HOOK, targets.select(&indices))]),
                trained: 0,
            }))
        };
        for (a, b) in whole
            .iter()
            .zip(trained().finish_on(&mut parts, &mut |_| Ok(None)).unwrap())
        {
            assert_eq!(
                (a.summary.rows, a.summary.held_out),
                (if held_out > 0.0 { 30 } else { 300 }, held_out > 0.0)
            );
            let near = |a: f64, b: f64| (a - b).abs() < 1e-5 * a.abs().max(1e-3);
            let pairs = [
                (a.summary.fvu.unwrap(), b.summary.fvu.unwrap()),
                (a.summary.fvu_per_token.unwrap(), b.summary.fvu_per_token.unwrap()),
                (a.summary.cosine, b.summary.cosine),
                (a.summary.largest_error.unwrap(), b.summary.largest_error.unwrap()),
            ];
            assert!(
                pairs.iter().all(|(a, b)| near(*a, *b)),
                "{:?}\n{:?}",
                a.summary,
                b.summary
            );
            assert_eq!(
                (
                    a.summary.l0,
                    a.summary.dead,
                    a.summary.dense,
                    a.summary.rows,
                    a.summary.held_out
                ),
                (
                    b.summary.l0,
                    b.summary.dead,
                    b.summary.dense,
                    b.summary.rows,
                    b.summary.held_out
                )
            );
        }
    }
}

/// Regression: streamed trainings reported 0.36 of the latents as dead where 0.13 were. A latent is alive if a row of any part activates it.
#[test]
fn latents_that_other_parts_activate_are_not_dead() {
    let config = config(serde_json::json!({}));
    let trained = || {
        let mut grid = grid(&config);
        (0..config.steps).for_each(|_| grid.step(&mut |_, _| ()).unwrap());
        grid
    };
    let all = rows("others", 3000, 16);
    let alone = trained().finish_on(&mut |_| Ok(None), &mut |_| Ok(None)).unwrap();
    let mut others = |number: usize| {
        let indices: Vec<usize> = (0..3000).skip(number * 1000).take(1000).collect();
        Ok((!indices.is_empty()).then(|| Split {
            inputs: all.select(&indices),
            targets: BTreeMap::new(),
            trained: indices.len(),
        }))
    };
    let found = trained().finish_on(&mut |_| Ok(None), &mut others).unwrap();
    let mut woken = 0;
    for (alone, found) in alone.iter().zip(found) {
        let n = alone.model.parameters.n_latents();
        let dead = |inputs: &[&Rows]| {
            let codes = inputs.iter().flat_map(|rows| {
                let x = kernels::from_vec(rows.values.clone(), [rows.values.len() / 16, 16], &cpu());
                to_vec(alone.model.codes(x))
                    .chunks_exact(n)
                    .map(<[f32]>::to_vec)
                    .collect::<Vec<_>>()
            });
            let codes: Vec<Vec<f32>> = codes.collect();
            (0..n)
                .filter(|&latent| codes.iter().all(|row| row[latent] <= 0.0))
                .count()
        };
        let inputs = rows("inputs", 300, 16);
        let sample = inputs.select(&(0..270).collect::<Vec<_>>());
        let share = |summary: &dictionaries::Summary| (summary.dead * n as f64).round() as usize;
        assert_eq!(share(&alone.summary), dead(&[&sample]), "{}", alone.variant.name);
        assert_eq!(share(&found.summary), dead(&[&sample, &all]), "{}", alone.variant.name);
        woken += share(&alone.summary) - share(&found.summary);
        assert_eq!(
            (alone.summary.rows, alone.summary.l0),
            (found.summary.rows, found.summary.l0)
        );
    }
    assert!(woken > 0, "the sample activates all latents: the test tests nothing");
}

#[test]
fn an_interrupted_run_ends_with_the_same_bytes() {
    let config = config(serde_json::json!({}));
    let whole = run(grid(&config), config.steps);
    for stop in [1, 8, 29, 30, 31, 59] {
        let folder = tempfile::tempdir().unwrap();
        let mut first = grid(&config);
        for _ in 0..stop {
            first.step(&mut |_, _| ()).unwrap();
        }
        let checkpoints = checkpoints(folder.path(), "this");
        first.save(&checkpoints).unwrap();
        let mut second = grid(&config);
        assert_eq!(second.resume(&checkpoints).unwrap(), Resumed::At(stop));
        for (a, b) in whole.iter().zip(run(second, config.steps)) {
            assert!(bytes(&a.model) == bytes(&b.model), "{} after {stop}", a.variant.name);
        }
    }
}

#[test]
fn the_last_two_checkpoints_stay_and_damage_names_the_one_before() {
    let config = config(serde_json::json!({}));
    let folder = tempfile::tempdir().unwrap();
    let mut grid_in_training = grid(&config);
    let this = checkpoints(folder.path(), "this");
    assert_eq!(grid_in_training.resume(&this).unwrap(), Resumed::Nothing);
    for _ in 0..3 {
        grid_in_training.step(&mut |_, _| ()).unwrap();
        grid_in_training.save(&this).unwrap();
    }
    let names = |path: &Path| {
        let mut names: Vec<String> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(folder.path()), ["step-00000002-this", "step-00000003-this"]);

    // What a kill during writing leaves behind is not looked at.
    fs::create_dir(folder.path().join(".partial-this")).unwrap();
    fs::write(folder.path().join(".partial-this/state.json"), "{").unwrap();
    assert_eq!(grid(&config).resume(&this).unwrap(), Resumed::At(3));

    let newest = folder.path().join("step-00000003-this");
    // The sums are as `sha256sum -c` reads them.
    let sums = fs::read_to_string(newest.join("SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), 1 + 3 * config.variants.len());
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").unwrap();
        assert_eq!(artifacts::sha256_file(&newest.join(name)).unwrap(), sum);
    }
    for file in [
        "sae-relu/first.safetensors",
        "sae-gated/parameters.safetensors",
        "state.json",
        "SHA256SUMS",
    ] {
        let path = newest.join(file);
        let whole = fs::read(&path).unwrap();
        for damage in [&whole[..whole.len() / 2], &[&whole[..whole.len() - 1], b"x"].concat()] {
            fs::write(&path, damage).unwrap();
            let error = grid(&config).resume(&this).unwrap_err().to_string();
            // Of sums that are cut off it is not known which of the files are right.
            let named = if file == "SHA256SUMS" {
                "step-00000003-this"
            } else {
                file
            };
            assert!(error.contains(named) && error.contains(" is damaged: "), "{error}");
            assert!(
                error.contains("delete ") && error.contains("to resume from") && error.contains("step-00000002"),
                "{error}"
            );
            assert!(!error.contains('\n'), "{error}");
        }
        fs::write(&path, whole).unwrap();
    }
    fs::remove_dir_all(&newest).unwrap();
    assert_eq!(grid(&config).resume(&this).unwrap(), Resumed::At(2));
}

#[test]
fn a_state_that_contradicts_itself_is_damaged_even_under_the_right_checksum() {
    let config = config(serde_json::json!({}));
    let folder = tempfile::tempdir().unwrap();
    let this = checkpoints(folder.path(), "this");
    let mut first = grid(&config);
    for _ in 0..5 {
        first.step(&mut |_, _| ()).unwrap();
    }
    first.save(&this).unwrap();
    let path = folder.path().join("step-00000005-this");
    let (state, sums) = (path.join("state.json"), path.join("SHA256SUMS"));
    let whole: serde_json::Value = artifacts::read_json(&state).unwrap();
    let before = fs::read_to_string(&sums).unwrap();
    let with = |edit: &dyn Fn(&mut serde_json::Value), sum: bool| {
        let mut value = whole.clone();
        edit(&mut value);
        fs::write(&state, value.to_string()).unwrap();
        let hash = artifacts::sha256_file(&state).unwrap();
        let line = |line: &str| match line.split_once("  ") {
            Some((_, "state.json")) if sum => format!("{hash}  state.json\n"),
            _ => format!("{line}\n"),
        };
        fs::write(&sums, before.lines().map(line).collect::<String>()).unwrap();
        let mut second = grid(&config);
        let found = second.resume(&this).map_err(|error| error.to_string());
        // Nothing was restored in part.
        assert_eq!(second.steps_done(), if found.is_ok() { 5 } else { 0 });
        found
    };
    assert_eq!(with(&|_| (), true), Ok(Resumed::At(5)));
    let member = "/members/sae-relu/counters";
    for (edit, reason) in [
        (
            &(|value: &mut serde_json::Value| value["step"] = 60.into()) as &dyn Fn(&mut serde_json::Value),
            "step 60",
        ),
        (&|value| value["step"] = 4.into(), "step 4"),
        (
            &|value| value.pointer_mut(member).unwrap()["step"] = 6.into(),
            "counts 6 steps",
        ),
        (
            &|value| {
                drop(
                    value.pointer_mut(member).unwrap()["silent"]
                        .as_array_mut()
                        .unwrap()
                        .pop(),
                )
            },
            "47 latents of 48",
        ),
        (&|value| value["format_version"] = 1.into(), "version 1"),
        (&|value| value["more"] = 1.into(), "unknown field"),
    ] {
        for sum in [true, false] {
            let error = with(edit, sum).unwrap_err();
            let reason = if sum { reason } else { "its hash is not" };
            assert!(
                error.contains("state.json is damaged") && error.contains(reason),
                "{error}"
            );
            assert!(!error.contains('\n'), "{error}");
        }
    }
}

#[test]
fn checkpoints_of_several_trainings_stand_side_by_side() {
    let both = config(serde_json::json!({"autoencoder": [
        {"architecture": "topk", "k": 2}, {"architecture": "relu", "l1": 0.5},
    ]}));
    let folder = tempfile::tempdir().unwrap();
    let (this, other) = (checkpoints(folder.path(), "this"), checkpoints(folder.path(), "other"));
    let step = |grid: &mut Grid, n: usize| (0..n).for_each(|_| grid.step(&mut |_, _| ()).unwrap());
    let mut first = grid(&both);
    step(&mut first, 3);
    first.save(&this).unwrap();
    // Another training of other settings, further on.
    let longer = TrainConfig {
        steps: 61,
        ..both.clone()
    };
    let mut second = grid(&longer);
    assert!(matches!(second.resume(&other).unwrap(), Resumed::Other { .. }));
    for _ in 0..4 {
        step(&mut second, 2);
        second.save(&other).unwrap();
    }
    assert_eq!(grid(&both).resume(&this).unwrap(), Resumed::At(3));
    assert_eq!(grid(&longer).resume(&other).unwrap(), Resumed::At(8));
    // One of the two alone: its autoencoder is the same, whichever training began it.
    let mut alone = both.clone();
    alone.variants.pop();
    assert_eq!(
        grid(&alone).resume(&checkpoints(folder.path(), "alone")).unwrap(),
        Resumed::At(3)
    );
    // A damaged checkpoint of another training does not stop this one.
    fs::write(folder.path().join("step-00000008-other/state.json"), "{").unwrap();
    assert_eq!(grid(&both).resume(&this).unwrap(), Resumed::At(3));
    assert!(grid(&longer).resume(&other).is_err());
    this.remove().unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    other.remove().unwrap();
    assert!(!folder.path().exists());
}

#[test]
fn other_settings_are_listed() {
    let config_before = config(serde_json::json!({}));
    let folder = tempfile::tempdir().unwrap();
    grid(&config_before)
        .save(&checkpoints(folder.path(), "before"))
        .unwrap();
    let after = config(serde_json::json!({"steps": 61, "batch": 16}));
    let another = Checkpoints {
        parent: "another".to_owned(),
        ..checkpoints(folder.path(), "after")
    };
    let Resumed::Other { path, differences } = grid(&after).resume(&another).unwrap() else {
        panic!("it was resumed");
    };
    assert!(path.ends_with("step-00000000-before"), "{}", path.display());
    for part in ["activations: store -> another", "batch: 32 -> 16", "steps: 60 -> 61"] {
        assert!(differences.contains(part), "{differences}");
    }
    // Autoencoders of other names are none of its business.
    let named = config(serde_json::json!({"autoencoder": [{"architecture": "topk", "k": 2, "name": "mine"}]}));
    assert_eq!(grid(&named).resume(&another).unwrap(), Resumed::Nothing);
}

#[test]
fn impossible_grids_are_refused() {
    let refusal = |extra, targets: BTreeMap<HookPoint, Rows>, inputs: Rows| {
        let config = config(extra);
        let split = Split::last(inputs, targets, config.held_out);
        Grid::new(split, config.variants.clone(), &config, &cpu())
            .unwrap_err()
            .to_string()
    };
    let ok = || BTreeMap::from([(HOOK, rows("targets", 300, 10))]);
    let inputs = || rows("inputs", 300, 16);
    let none = serde_json::json!({});
    let large = serde_json::json!({"autoencoder": [{"architecture": "topk", "k": 49}]});
    assert!(refusal(large, ok(), inputs()).contains("49, more than the 48 latents"));
    assert!(refusal(none.clone(), BTreeMap::new(), inputs()).contains("blocks.0.hook_mlp_out"));
    let short = BTreeMap::from([(HOOK, rows("targets", 299, 10))]);
    assert!(refusal(none.clone(), short, inputs()).contains("299 rows"));
    assert!(refusal(serde_json::json!({"batch": 271}), ok(), inputs()).contains("271"));
    let mut broken = inputs();
    broken.values[16 * 7 + 3] = f32::NAN;
    assert!(refusal(none, ok(), broken).contains("row 7"));
}

#[test]
fn a_loss_that_is_not_finite_names_step_and_autoencoder() {
    for (architecture, field) in [("relu-april", "l1"), ("topk", "k")] {
        let config = config(serde_json::json!({
            "learning_rate": 1e30, "autoencoder": [{"architecture": architecture, field: 1}],
        }));
        let mut grid = grid(&config);
        let error = (0..60)
            .find_map(|_| grid.step(&mut |_, _| ()).err())
            .unwrap()
            .to_string();
        assert!(
            error.contains(&format!("sae-{architecture}")) && error.contains("step"),
            "{error}"
        );
    }
}

#[test]
fn transcoders_find_planted_pairs() {
    const D_IN: usize = 32;
    const D_OUT: usize = 24;
    const PAIRS: usize = 48;
    let mut rng = random::rng(2, "pairs");
    let from = random::unit_rows(&mut rng, PAIRS, D_IN);
    let to = random::unit_rows(&mut rng, PAIRS, D_OUT);
    let n = 30_000;
    let mut inputs = random::normal(&mut rng, n * D_IN, 0.01);
    let mut outputs = vec![0.0; n * D_OUT];
    for (x, y) in inputs.chunks_mut(D_IN).zip(outputs.chunks_mut(D_OUT)) {
        for pair in 0..PAIRS {
            if rng.random_bool(0.04) {
                let amplitude = rng.random_range(0.5..1.5_f32);
                x.iter_mut()
                    .zip(&from[pair * D_IN..])
                    .for_each(|(x, f)| *x += f * amplitude);
                y.iter_mut()
                    .zip(&to[pair * D_OUT..])
                    .for_each(|(y, f)| *y += f * amplitude * 3.0);
            }
        }
    }
    let config = config(serde_json::json!({
        "steps": 3000, "batch": 256, "expansion": 4, "dead_after": 20_000,
        "autoencoder": [
            {"architecture": "topk", "k": 3, "target": "blocks.0.hook_mlp_out"},
            {"architecture": "relu-april", "l1": 0.5, "target": "blocks.0.hook_mlp_out"},
            {"architecture": "jumprelu", "l0": 2.5, "target": "blocks.0.hook_mlp_out"},
        ],
    }));
    let inputs = Rows {
        width: D_IN,
        values: inputs,
    };
    let outputs = Rows {
        width: D_OUT,
        values: outputs,
    };
    let cosine = |a: &[f32], b: &[f32]| {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-9)
    };
    for found in train(inputs, BTreeMap::from([(HOOK, outputs)]), &config, &cpu()).unwrap() {
        let p = &found.model.parameters;
        let (w_enc, w_dec) = (to_vec(p.w_enc.clone()), to_vec(p.w_dec.clone()));
        // A latent is a pair's when it writes the pair's output; then it must read the pair's input.
        let (mut writes, mut reads) = (0.0, 0.0);
        for (from, to) in from.chunks(D_IN).zip(to.chunks(D_OUT)) {
            let best = w_dec
                .chunks(D_OUT)
                .enumerate()
                .map(|(latent, row)| (latent, cosine(row, to)))
                .max_by(|a, b| a.1.total_cmp(&b.1))
                .unwrap();
            writes += best.1 / PAIRS as f32;
            reads += cosine(&w_enc[best.0 * D_IN..][..D_IN], from) / PAIRS as f32;
        }
        println!(
            "{}: writes {writes:.3}, reads {reads:.3}, {:?}",
            found.variant.name, found.summary
        );
        assert!(writes > 0.95, "{}: {writes}", found.variant.name);
        // Inputs overlap, so the best encoder is not the planted direction itself; chance is 0.
        assert!(reads > 0.5, "{}: {reads}", found.variant.name);
        assert!(found.summary.fvu.unwrap() < 0.2, "{:?}", found.summary);
        assert!(matches!(found.variant.architecture, Architecture::Topk { .. }) || found.summary.l0 < 12.0);
    }
}

#[test]
fn a_frozen_decoder_keeps_every_bit_while_the_loss_falls() {
    let table = |name: &str, field: &str, value: f64| serde_json::json!({"architecture": name, field: value, "frozen_decoder": true, "seed": 7});
    let autoencoders = serde_json::json!([
        table("relu", "l1", 0.1), // with resampling, which must leave it alone
        table("p-anneal", "l1", 0.1),
        table("gated", "l1", 0.1),
        table("jumprelu", "l0", 6.0),
        table("jumprelu-l0", "weight", 0.05),
        {"architecture": "topk", "k": 6, "frozen_decoder": true, "seed": 7},
        {"architecture": "batch-topk", "k": 6, "frozen_decoder": true, "seed": 7},
        {"architecture": "matryoshka", "k": 6, "levels": 2, "frozen_decoder": true, "seed": 7},
        {"architecture": "topk", "k": 6, "seed": 7},
    ]);
    let config = config(serde_json::json!({"steps": 200, "autoencoder": autoencoders}));
    let split = Split::last(rows("inputs", 300, 16), BTreeMap::new(), config.held_out);
    let mut grid = Grid::new(split, config.variants.clone(), &config, &cpu()).unwrap();
    let mut errors: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    while grid.steps_done() < config.steps {
        grid.step(&mut |variant, outcome| {
            let errors = errors.entry(variant.name.clone()).or_default();
            errors.push(outcome.read().unwrap().squared_error);
        })
        .unwrap();
    }
    let drawn = random::unit_rows(&mut random::rng(7, "sae/init"), 48, 16);
    for Finished { variant, model, .. } in grid.finish().unwrap() {
        let name = &variant.name;
        assert_eq!(name.contains("-frozen"), variant.frozen_decoder);
        let rows = to_vec(model.parameters.w_dec.clone());
        assert_eq!(rows == drawn, variant.frozen_decoder, "{name}");
        let mean = |errors: &[f32]| errors.iter().sum::<f32>() / errors.len() as f32;
        let errors = &errors[name];
        let (first, last) = (mean(&errors[..10]), mean(&errors[190..]));
        println!("{name}: {first} -> {last}");
        assert!(last < 0.8 * first, "{name}: {first} -> {last}");
    }
}
