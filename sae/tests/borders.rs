//! Every key of a train config at the borders of its range: it does what it says, or is refused by its name.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use kernels::{cpu, random};
use sae::{Finished, Grid, Rows, Split, TrainConfig, TrainFile};
use serde_json::{Value, json};

const ROWS: usize = 120;
const WIDTH: usize = 6;
/// Latents of an autoencoder of the default `expansion` here, 2.
const LATENTS: usize = 12;

fn rows() -> Rows {
    Rows {
        width: WIDTH,
        values: random::normal(&mut random::rng(1, "borders"), ROWS * WIDTH, 1.0),
    }
}

/// Trains with some keys of the file and of its table changed; a refusal as text.
fn train(file: &Value, table: &Value) -> Result<(TrainConfig, Vec<Finished>), String> {
    let mut autoencoder = json!({"architecture": "topk", "k": 2});
    if let Some(architecture) = table.get("architecture") {
        autoencoder = json!({"architecture": architecture});
    }
    let extend =
        |value: &mut Value, with: &Value| value.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    extend(&mut autoencoder, table);
    let mut config =
        json!({"steps": 20, "batch": 10, "expansion": 2, "learning_rate": 1e-2, "autoencoder": [autoencoder]});
    extend(&mut config, file);
    let file: TrainFile = serde_json::from_value(config).map_err(|error| error.to_string())?;
    let config = TrainConfig::try_from(file).map_err(|error| error.to_string())?;
    let all = rows();
    let kept = all.part(config.part);
    let split = Split::last(all.select(&kept), BTreeMap::new(), config.held_out);
    let mut grid = Grid::new(split, config.variants.clone(), &config, &cpu()).map_err(|error| error.to_string())?;
    while grid.steps_done() < config.steps {
        grid.step(&mut |_, _| ()).map_err(|error| error.to_string())?;
    }
    Ok((config, grid.finish().map_err(|error| error.to_string())?))
}

#[test]
fn what_is_refused_is_named() {
    let refused: &[(&str, Value, Value)] = &[
        ("expansion", json!({"expansion": 0}), json!({})),
        ("expansion", json!({"expansion": u64::MAX}), json!({})),
        ("expansion", json!({"expansion": 1_u64 << 30}), json!({})),
        ("batch", json!({"batch": 0}), json!({})),
        ("batch", json!({"batch": ROWS + 1}), json!({})),
        // 12 rows are held out.
        ("batch", json!({"batch": 109}), json!({})),
        ("batch", json!({"held_out": 0.95}), json!({})),
        ("no row is left", json!({"held_out": 0.999}), json!({})),
        ("steps", json!({"steps": 0}), json!({})),
        ("steps", json!({"steps": u64::MAX}), json!({})),
        ("steps", json!({"steps": 1_u64 << 31}), json!({})),
        ("learning_rate", json!({"learning_rate": 0.0}), json!({})),
        ("learning_rate", json!({"learning_rate": -1.0}), json!({})),
        ("learning_rate", json!({"learning_rate": 1e-60}), json!({})),
        ("learning_rate", json!({"learning_rate": 1e60}), json!({})),
        (
            "learning_rate",
            json!({"learning_rate": 0.0}),
            json!({"learning_rate": 1e-3}),
        ),
        ("learning_rate", json!({}), json!({"learning_rate": 0.0})),
        (
            "learning_rate",
            json!({"learning_rate": 1e38}),
            json!({"architecture": "relu", "l1": 1}),
        ),
        ("dead_after", json!({"dead_after": 0}), json!({})),
        ("auxiliary_k", json!({"auxiliary_k": 0}), json!({})),
        ("auxiliary_weight", json!({"auxiliary_weight": -0.1}), json!({})),
        ("auxiliary_weight", json!({"auxiliary_weight": 1e60}), json!({})),
        (
            "resamples",
            json!({"resamples": 11}),
            json!({"architecture": "relu", "l1": 1}),
        ),
        ("part", json!({"part": [0, 0]}), json!({})),
        ("part", json!({"part": [2, 2]}), json!({})),
        ("batch", json!({"part": [0, 60]}), json!({})),
        ("held_out", json!({"held_out": 1.0}), json!({})),
        ("held_out", json!({"held_out": -0.1}), json!({})),
        ("checkpoint_every", json!({"checkpoint_every": 0}), json!({})),
        ("autoencoder", json!({"autoencoder": []}), json!({})),
        ("architecture", json!({}), json!({"architecture": "", "k": 2})),
        ("name", json!({}), json!({"name": ""})),
        ("name", json!({}), json!({"name": "..", "k": 2})),
        ("name", json!({}), json!({"name": "a".repeat(101)})),
        ("k", json!({}), json!({"k": 0})),
        ("k", json!({}), json!({"k": LATENTS + 1})),
        ("k", json!({}), json!({"k": []})),
        (
            "k",
            json!({}),
            json!({"architecture": "matryoshka", "k": LATENTS + 1, "levels": 1}),
        ),
        // The default has more levels than so few latents can have.
        ("levels", json!({}), json!({"architecture": "matryoshka", "k": 1})),
        ("twice", json!({}), json!({"k": [2, 2]})),
        ("seed", json!({}), json!({"seed": []})),
        ("l1", json!({}), json!({"architecture": "relu", "l1": -1})),
        ("l1", json!({}), json!({"architecture": "gated", "l1": 1e60})),
        (
            "p_end",
            json!({}),
            json!({"architecture": "p-anneal", "l1": 1, "p_end": 0}),
        ),
        (
            "p_end",
            json!({}),
            json!({"architecture": "p-anneal", "l1": 1, "p_end": 1.1}),
        ),
        ("l0", json!({}), json!({"architecture": "jumprelu", "l0": 0})),
        ("l0", json!({}), json!({"architecture": "jumprelu", "l0": 12.5})),
        ("l0", json!({}), json!({"architecture": "jumprelu", "l0": 100_000})),
        (
            "weight",
            json!({}),
            json!({"architecture": "jumprelu-l0", "weight": -1}),
        ),
        (
            "bandwidth",
            json!({}),
            json!({"architecture": "jumprelu", "l0": 2, "bandwidth": 0}),
        ),
        (
            "bandwidth",
            json!({}),
            json!({"architecture": "jumprelu", "l0": 2, "bandwidth": 1e-60}),
        ),
        (
            "levels",
            json!({}),
            json!({"architecture": "matryoshka", "k": 2, "levels": 0}),
        ),
        (
            "levels",
            json!({}),
            json!({"architecture": "matryoshka", "k": 2, "levels": 9}),
        ),
        // The smallest of five levels would have 12 / 16 latents.
        (
            "levels",
            json!({}),
            json!({"architecture": "matryoshka", "k": 2, "levels": 5}),
        ),
        ("target", json!({}), json!({"target": "blocks.0.hook_mlp_out"})),
    ];
    for (key, file, table) in refused {
        let error = train(file, table).map(|_| ()).unwrap_err();
        assert!(
            error.contains(key) && !error.contains('\n'),
            "{key}, {file} {table}: {error}"
        );
    }
}

#[test]
fn what_is_accepted_trains_to_something_finite() {
    let accepted = [
        (json!({"expansion": 1}), json!({})),
        (json!({"batch": 1}), json!({})),
        (json!({"batch": 108}), json!({})),
        (json!({"batch": ROWS, "held_out": 0}), json!({})),
        (json!({"steps": 1}), json!({})),
        (json!({"steps": 1}), json!({"architecture": "relu", "l1": 1})),
        (json!({"steps": 2}), json!({"architecture": "p-anneal", "l1": 1})),
        (json!({"steps": 1}), json!({"architecture": "jumprelu", "l0": 2})),
        (json!({"learning_rate": 1e-30}), json!({})),
        (json!({"seed": u64::MAX}), json!({"seed": [0, 7]})),
        (json!({"dead_after": 1}), json!({})),
        (json!({"dead_after": u64::MAX}), json!({})),
        (json!({"dead_after": 1, "auxiliary_k": 1}), json!({})),
        (json!({"dead_after": 1, "auxiliary_k": 1000}), json!({})),
        (
            json!({"dead_after": 1, "auxiliary_k": 1000}),
            json!({"architecture": "batch-topk", "k": 1}),
        ),
        (
            json!({"dead_after": 1, "auxiliary_k": u64::MAX}),
            json!({"architecture": "matryoshka", "k": 1, "levels": 4}),
        ),
        (json!({"dead_after": 1, "auxiliary_weight": 0}), json!({})),
        (json!({"resamples": 0}), json!({"architecture": "relu", "l1": 1})),
        (json!({"resamples": 10}), json!({"architecture": "relu", "l1": 100})),
        (json!({"part": [0, 1]}), json!({})),
        (json!({"part": [1, 2]}), json!({})),
        (json!({"held_out": 0}), json!({})),
        (json!({"held_out": 1e-9}), json!({})),
        (json!({"held_out": 0.9}), json!({})),
        (json!({"checkpoint_every": u64::MAX}), json!({})),
        (json!({}), json!({"k": 1})),
        (json!({}), json!({"k": LATENTS})),
        (json!({}), json!({"architecture": "batch-topk", "k": LATENTS})),
        (
            json!({}),
            json!({"architecture": "matryoshka", "k": LATENTS, "levels": 4}),
        ),
        (json!({}), json!({"architecture": "matryoshka", "k": 2, "levels": 1})),
        (json!({}), json!({"architecture": "relu", "l1": 0})),
        (json!({}), json!({"architecture": "relu", "l1": 1e6})),
        (json!({}), json!({"architecture": "relu-april", "l1": 0})),
        (json!({}), json!({"architecture": "gated", "l1": 0})),
        (json!({}), json!({"architecture": "p-anneal", "l1": 1, "p_end": 1})),
        (json!({}), json!({"architecture": "p-anneal", "l1": 1, "p_end": 1e-6})),
        (json!({}), json!({"architecture": "jumprelu", "l0": LATENTS})),
        (json!({}), json!({"architecture": "jumprelu", "l0": 1e-3})),
        (json!({}), json!({"architecture": "jumprelu-l0", "weight": 0})),
        (json!({}), json!({"architecture": "jumprelu-tanh", "weight": 0})),
        (
            json!({}),
            json!({"architecture": "jumprelu", "l0": 2, "bandwidth": 1e-6}),
        ),
        (
            json!({}),
            json!({"architecture": "jumprelu-tanh", "weight": 1, "bandwidth": 1e6}),
        ),
        (json!({}), json!({"name": "a".repeat(100)})),
        (json!({}), json!({"frozen_decoder": true})),
    ];
    for (file, table) in accepted {
        let (config, finished) = train(&file, &table).unwrap_or_else(|error| panic!("{file} {table}: {error}"));
        let kept = rows().part(config.part).len();
        let held_out = (kept as f64 * config.held_out).round() as usize;
        for Finished {
            variant,
            summary,
            model,
        } in finished
        {
            let told = format!("{file} {table}: {summary:?}");
            assert!(
                summary.fvu.is_some_and(f64::is_finite) && summary.l0.is_finite(),
                "{told}"
            );
            // What is held out is said, and where nothing is, that is said.
            assert_eq!(summary.held_out, held_out > 0, "{told}");
            assert_eq!(summary.rows, if held_out > 0 { held_out } else { kept }, "{told}");
            let n_latents = model.parameters.n_latents();
            assert_eq!(n_latents, WIDTH * config.expansion, "{told}");
            if let Some(k) = variant
                .architecture
                .k()
                .filter(|_| variant.architecture.name() == "topk")
            {
                // Pre-activations below 0 are no codes.
                assert!(summary.l0 <= k as f64, "{told}");
            }
        }
    }
}
