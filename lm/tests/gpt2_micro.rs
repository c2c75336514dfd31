//! The forward pass against TransformerLens and transformers (`fixtures/gpt2-micro/make.py`), both key styles.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use kernels::{cpu, to_vec};
use lm::{Error, HookPoint, Logits, Model, Past, Patch, Request, Start, TokenBatch};

fn fixture(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/gpt2-micro")
        .join(part)
}

fn ids() -> TokenBatch {
    let (shape, ids) = artifacts::read_integers(&fixture("expected.safetensors"), "ids").unwrap();
    let rows: Vec<Vec<u32>> = ids
        .chunks(shape[1])
        .map(|row| row.iter().map(|&id| id as u32).collect())
        .collect();
    TokenBatch::new(&rows).unwrap()
}

fn load() -> Model {
    Model::load(&fixture(""), &cpu()).unwrap()
}

/// The model folder of the published checkpoint's key style.
fn hub_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("config.json"), folder.path().join("config.json")).unwrap();
    std::fs::copy(
        fixture("hub/model.safetensors"),
        folder.path().join("model.safetensors"),
    )
    .unwrap();
    folder
}

fn captured(trace: &lm::Trace, hook: HookPoint) -> Vec<f32> {
    match trace.tensor3(hook) {
        Ok(tensor) => to_vec(tensor),
        Err(_) => to_vec(trace.tensor4(hook).unwrap()),
    }
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn every_tensor_equals_transformer_lens_in_both_key_styles() {
    let expected = artifacts::read_tensors(&fixture("expected.safetensors")).unwrap();
    let hub = hub_folder();
    for model in [load(), Model::load(hub.path(), &cpu()).unwrap()] {
        let hooks: Vec<HookPoint> = expected.keys().filter_map(|name| name.parse().ok()).collect();
        assert_eq!(hooks.len(), 36);
        let request = Request {
            capture: hooks.clone(),
            logits: Logits::All,
            ..Request::default()
        };
        let trace = model.run(Start::Tokens(&ids()), &request).unwrap();
        for hook in hooks {
            let difference = largest_difference(&captured(&trace, hook), &expected[&hook.to_string()].data);
            assert!(difference < 1e-4, "{hook}: {difference}");
        }
        let logits = to_vec(trace.logits_all().unwrap());
        let difference = largest_difference(&logits, &expected["logits"].data);
        assert!(difference < 1e-4, "logits: {difference}");
    }
}

#[test]
fn logits_at_one_position_equal_the_full_ones() {
    let model = load();
    let positions = vec![16, 3, 0, 9];
    let at = Request {
        logits: Logits::At(positions.clone()),
        ..Request::default()
    };
    let all = Request {
        logits: Logits::All,
        ..Request::default()
    };
    let at = to_vec(model.run(Start::Tokens(&ids()), &at).unwrap().logits_at().unwrap());
    let all = to_vec(model.run(Start::Tokens(&ids()), &all).unwrap().logits_all().unwrap());
    for (row, position) in positions.into_iter().enumerate() {
        let start = (row * 17 + position) * 211;
        assert!(largest_difference(&at[row * 211..(row + 1) * 211], &all[start..start + 211]) < 1e-5);
    }
}

#[test]
fn a_pass_restarted_from_the_residual_stream_equals_the_whole_pass() {
    let model = load();
    let capture = vec![HookPoint::ResidPre(2)];
    let request = Request {
        capture,
        logits: Logits::All,
        ..Request::default()
    };
    let whole = model.run(Start::Tokens(&ids()), &request).unwrap();
    let resid = whole.tensor3(HookPoint::ResidPre(2)).unwrap();
    let request = Request {
        logits: Logits::All,
        ..Request::default()
    };
    let past = Past::default();
    let rest = model.run(Start::Resid { layer: 2, resid, past }, &request).unwrap();
    assert_eq!(to_vec(rest.logits_all().unwrap()), to_vec(whole.logits_all().unwrap()));
}

#[test]
fn later_positions_alone_see_the_earlier_ones_through_their_keys_and_values() {
    let model = load();
    let z = HookPoint::Z(1);
    let [rows, len, from] = [ids().rows(), ids().len(), 9];
    let overwrite = |position| {
        Patch::set(
            z,
            Some(0),
            vec![(1, position)],
            kernels::from_vec((0..12).map(|i| i as f32).collect(), [1, 12], &cpu()),
        )
    };
    let keys_values: Vec<[HookPoint; 2]> = (1..3).map(|l| [HookPoint::K(l), HookPoint::V(l)]).collect();
    let request = Request {
        capture: keys_values
            .iter()
            .flatten()
            .copied()
            .chain([HookPoint::ResidPre(1)])
            .collect(),
        logits: Logits::None,
        ..Request::default()
    };
    let clean = model.run(Start::Tokens(&ids()), &request).unwrap();
    let whole = Request {
        patches: vec![overwrite(12)],
        logits: Logits::At(vec![len - 1; rows]),
        ..Request::default()
    };
    let whole = model.run(Start::Tokens(&ids()), &whole).unwrap().logits_at().unwrap();
    let before = |hook: HookPoint| clean.tensor4(hook).unwrap().narrow(1, 0, from);
    let start = |blocks: Vec<[Tensor<4>; 2]>| Start::Resid {
        layer: 1,
        resid: clean
            .tensor3(HookPoint::ResidPre(1))
            .unwrap()
            .narrow(1, from, len - from),
        past: Past { blocks },
    };
    let rest = Request {
        patches: vec![overwrite(12 - from)],
        logits: Logits::At(vec![len - 1 - from; rows]),
        ..Request::default()
    };
    let blocks: Vec<[Tensor<4>; 2]> = keys_values.iter().map(|pair| pair.map(before)).collect();
    let found = model.run(start(blocks.clone()), &rest).unwrap().logits_at().unwrap();
    let gap = to_vec((found - whole.clone()).abs().max())[0];
    let most = to_vec(whole.abs().max())[0];
    assert!(gap <= 1e-5 * (1.0 + most), "{gap}");
    // A past of too few blocks is refused.
    assert!(model.run(start(blocks[..1].to_vec()), &rest).is_err());
}

#[test]
fn overwriting_reaches_exactly_the_named_place() {
    let model = load();
    let z = HookPoint::Z(1);
    let clean = model
        .run(
            Start::Tokens(&ids()),
            &Request {
                capture: vec![z],
                ..Request::default()
            },
        )
        .unwrap();
    let values = kernels::from_vec((0..24).map(|i| i as f32).collect(), [2, 12], &cpu());
    let overwrite = vec![Patch::set(z, Some(2), vec![(3, 16), (0, 5)], values)];
    let request = Request {
        capture: vec![z, HookPoint::ResidPost(2)],
        patches: overwrite,
        ..Request::default()
    };
    let edited = model.run(Start::Tokens(&ids()), &request).unwrap();
    let (clean, edited) = (captured(&clean, z), captured(&edited, z));
    for (i, (a, b)) in clean.chunks(12).zip(edited.chunks(12)).enumerate() {
        let (row, position, head) = (i / 68, i / 4 % 17, i % 4);
        match (row, position, head) {
            (3, 16, 2) => assert_eq!(b, (0..12).map(|x| x as f32).collect::<Vec<_>>()),
            (0, 5, 2) => assert_eq!(b, (12..24).map(|x| x as f32).collect::<Vec<_>>()),
            _ => assert_eq!(a, b, "row {row}, position {position}, head {head}"),
        }
    }
}

#[test]
fn every_hook_is_overwritten_at_its_place_and_nowhere_else() {
    use HookPoint::*;
    let model = load();
    let run = |hook, overwrite| {
        let request = Request {
            capture: vec![hook],
            patches: overwrite,
            logits: Logits::All,
            ..Request::default()
        };
        model.run(Start::Tokens(&ids()), &request).unwrap()
    };
    let of_stream = [
        Embed,
        PosEmbed,
        ResidPre(1),
        ResidMid(1),
        ResidPost(1),
        AttnOut(1),
        MlpOut(1),
        MlpPost(1),
        Normalized(lm::NormAt::Final),
    ];
    let of_heads = [Q(1), K(1), V(1), Z(1), Pattern(1)];
    let stream = of_stream.into_iter().map(|hook| (hook, None));
    for (hook, head) in stream.chain(of_heads.into_iter().map(|hook| (hook, Some(3)))) {
        let clean = run(hook, Vec::new());
        let here = match hook {
            Pattern(_) => clean.tensor4(hook).unwrap().slice([2..3, 3..4, 7..8]).reshape([1, 17]),
            _ => clean.at(hook, head, &[7; 4]).unwrap().narrow(0, 2, 1), // [1, width]
        };
        let with = |values| {
            let at = vec![(2, 7)];
            run(hook, vec![Patch::set(hook, head, at, values)])
        };
        // What was there changes nothing.
        let same = with(here.clone());
        let [a, b] = [&clean, &same].map(|trace| to_vec(trace.logits_all().unwrap()));
        assert!(largest_difference(&a, &b) < 1e-5, "{hook}");
        // Anything else changes that place, all of it and nothing else, and what is computed from it.
        let width = here.dims()[1];
        // Not a sum: layer norms take a constant away.
        let other = with(here.neg() + 0.5);
        let dims = match head {
            None => vec![4, 17, width],
            Some(_) => clean.tensor4(hook).unwrap().dims().to_vec(),
        };
        let [a, b] = [&clean, &other].map(|trace| captured(trace, hook));
        for (place, (a, b)) in a.iter().zip(&b).enumerate() {
            let mut rest = place;
            let mut index: Vec<usize> = dims.iter().rev().map(|n| (rest % n, rest /= n).0).collect();
            index.reverse();
            let expected = match (hook, head) {
                (Pattern(_), _) => index[..3] == [2, 3, 7],
                (_, Some(head)) => index[..3] == [2, 7, head],
                (_, None) => index[..2] == [2, 7],
            };
            assert_eq!(a != b, expected, "{hook} at {index:?}");
        }
        let [a, b] = [&clean, &other].map(|trace| to_vec(trace.logits_all().unwrap()));
        assert!(largest_difference(&a, &b) > 1e-3, "{hook}");
    }
}

#[test]
fn overwriting_a_pattern_moves_attention() {
    let model = load();
    let pattern = HookPoint::Pattern(0);
    let one_hot = kernels::from_vec((0..17).map(|i| f32::from(u8::from(i == 4))).collect(), [1, 17], &cpu());
    let overwrite = vec![Patch::set(pattern, Some(1), vec![(2, 8)], one_hot)];
    let request = Request {
        capture: vec![HookPoint::V(0), HookPoint::Z(0)],
        patches: overwrite,
        ..Request::default()
    };
    let trace = model.run(Start::Tokens(&ids()), &request).unwrap();
    let z = to_vec(trace.at(HookPoint::Z(0), Some(1), &[8; 4]).unwrap());
    let v = to_vec(trace.at(HookPoint::V(0), Some(1), &[4; 4]).unwrap());
    assert!(largest_difference(&z[24..36], &v[24..36]) < 1e-6);
}

#[test]
fn requests_that_do_not_fit_are_named() {
    let model = load();
    let capture = |hook| Request {
        capture: vec![hook],
        ..Request::default()
    };
    let error = model.run(Start::Tokens(&ids()), &capture(HookPoint::Z(3))).unwrap_err();
    assert!(matches!(error, Error::Hook { .. }), "{error}");
    let long = TokenBatch::new(&[vec![0; 33]]).unwrap();
    assert!(matches!(
        model.run(Start::Tokens(&long), &Request::default()),
        Err(Error::TooLong { .. })
    ));
    let foreign = TokenBatch::new(&[vec![211]]).unwrap();
    assert!(matches!(
        model.run(Start::Tokens(&foreign), &Request::default()),
        Err(Error::UnknownToken { .. })
    ));
    assert!(matches!(
        TokenBatch::new(&[vec![1, 2], vec![3]]),
        Err(Error::UnequalRows { row: 1, .. })
    ));
}

#[test]
fn damaged_weights_are_named() {
    let folder = hub_folder();
    let path = folder.path().join("model.safetensors");
    let whole = artifacts::read_tensors(&path).unwrap();
    let none = std::collections::BTreeMap::new();

    let mut tensors = whole.clone();
    tensors.remove("h.1.mlp.c_fc.bias");
    artifacts::write_tensors(&path, &tensors, &none).unwrap();
    let error = Model::load(folder.path(), &cpu()).unwrap_err();
    assert!(
        matches!(&error, Error::MissingTensors { names, .. } if names == &["h.1.mlp.c_fc.bias"]),
        "{error}"
    );

    let mut tensors = whole.clone();
    tensors.insert("h.0.extra".to_owned(), artifacts::HostTensor::new([1], vec![0.0]));
    artifacts::write_tensors(&path, &tensors, &none).unwrap();
    assert!(matches!(
        Model::load(folder.path(), &cpu()),
        Err(Error::UnexpectedTensors { .. })
    ));

    let mut tensors = whole;
    tensors.insert("ln_f.bias".to_owned(), artifacts::HostTensor::new([2], vec![0.0; 2]));
    artifacts::write_tensors(&path, &tensors, &none).unwrap();
    assert!(matches!(Model::load(folder.path(), &cpu()), Err(Error::Shape { .. })));

    let config = std::fs::read_to_string(fixture("config.json"))
        .unwrap()
        .replace("gelu_new", "mish");
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let error = Model::load(folder.path(), &cpu()).unwrap_err();
    assert!(error.to_string().contains("activation_function"), "{error}");
}
