//! Gradients at hooks against PyTorch's (`scripts/gradient_fixtures.py`), of a GPT-2 and of a Llama with shared keys.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use kernels::{cpu, to_vec};
use lm::{Error, Gradients, HookPoint, HostTensor, Logits, Model, Request, Start, TokenBatch, Trace, files};

/// The models and how many gradients their fixtures hold.
const CASES: [(&str, usize); 2] = [("gpt2-micro", 54), ("families/llama", 42)];

fn fixture(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(case)
}

fn ids(case: &str) -> TokenBatch {
    let (shape, ids) = files::read_integers(&fixture(case).join("gradients.safetensors"), "ids").unwrap();
    let rows: Vec<Vec<u32>> = ids
        .chunks(shape[1])
        .map(|row| row.iter().map(|&id| u32::try_from(id).unwrap()).collect())
        .collect();
    TokenBatch::new(&rows).unwrap()
}

fn load(case: &str) -> Model {
    Model::load(&fixture(case), &cpu()).unwrap()
}

fn expected(case: &str) -> BTreeMap<String, HostTensor> {
    let mut tensors = files::read_tensors(&fixture(case).join("gradients.safetensors")).unwrap();
    tensors.remove("ids");
    tensors
}

fn hooks(expected: &BTreeMap<String, HostTensor>) -> Vec<HookPoint> {
    let names = expected.keys().filter(|name| *name != "scalar");
    names.map(|name| name.parse().unwrap()).collect()
}

fn watched(model: &Model, case: &str, watch: Vec<HookPoint>) -> Trace {
    let request = Request {
        watch,
        logits: Logits::All,
        ..Request::default()
    };
    model.run(Start::Tokens(&ids(case)), &request).unwrap()
}

/// The scalar whose gradients the fixtures hold.
fn scalar(trace: &Trace) -> Tensor<1> {
    let logits = trace.logits_all().unwrap(); // [B, T, V]
    let last = logits.dims()[1] - 1;
    let logit = |row: usize, position: usize, token: usize| -> Tensor<1> {
        let place = [row..row + 1, position..position + 1, token..token + 1];
        logits.clone().slice(place).reshape([1])
    };
    logit(0, last, 3) - logit(1, last, 5) + logit(0, 4, 7) * 0.5
}

fn gradient(gradients: &Gradients, hook: HookPoint) -> HostTensor {
    match gradients.tensor3(hook) {
        Ok(tensor) => HostTensor::new(tensor.dims(), to_vec(tensor)),
        Err(_) => {
            let tensor = gradients.tensor4(hook).unwrap();
            HostTensor::new(tensor.dims(), to_vec(tensor))
        }
    }
}

/// Whether an element is of a key that its query does not see; what a gradient is there is not compared.
fn is_masked(hook: HookPoint, shape: &[usize], place: usize) -> bool {
    let name = hook.to_string();
    let by_key = name.ends_with("hook_pattern") || name.ends_with("hook_attn_scores");
    by_key && place % shape[3] > place / shape[3] % shape[2]
}

/// Fails unless `found` is `expected`, by a share of the largest number of `expected`.
fn check(what: &str, hook: HookPoint, found: &HostTensor, expected: &HostTensor) {
    assert_eq!(found.shape, expected.shape, "{what}: {hook}");
    let (mut error, mut size) = (0.0_f32, 0.0_f32);
    for (place, (a, b)) in found.data.iter().zip(&expected.data).enumerate() {
        if !is_masked(hook, &expected.shape, place) {
            assert!(a.is_finite(), "{what}: {hook} at {place}: {a}");
            error = error.max((a - b).abs());
            size = size.max(b.abs());
        }
    }
    assert!(
        error <= 3e-5 * size,
        "{what}: {hook}: off by {error}, its largest is {size}"
    );
}

#[test]
fn gradients_at_every_hook_equal_pytorchs() {
    for (case, n_hooks) in CASES {
        let (model, expected) = (load(case), expected(case));
        let hooks = hooks(&expected);
        assert_eq!(hooks.len(), n_hooks, "{case}");
        let trace = watched(&model, case, hooks.clone());
        let scalar = scalar(&trace);
        let [found, right] = [to_vec(scalar.clone())[0], expected["scalar"].data[0]];
        assert!((found - right).abs() < 1e-4, "{case}: {found}, expected {right}");
        let gradients = trace.gradients(scalar).unwrap();
        for hook in hooks {
            check(case, hook, &gradient(&gradients, hook), &expected[&hook.to_string()]);
        }
    }
}

#[test]
fn a_hook_watched_alone_has_the_gradient_it_has_among_others() {
    for (case, _) in CASES {
        let (model, expected) = (load(case), expected(case));
        for hook in hooks(&expected) {
            let trace = watched(&model, case, vec![hook]);
            let gradients = trace.gradients(scalar(&trace)).unwrap();
            let what = format!("{case}, alone");
            check(&what, hook, &gradient(&gradients, hook), &expected[&hook.to_string()]);
        }
    }
}

#[test]
fn watching_changes_no_number() {
    for (case, _) in CASES {
        let model = load(case);
        let every = hooks(&expected(case));
        let [without, with] =
            [Vec::new(), every].map(|watch| to_vec(watched(&model, case, watch).logits_all().unwrap()));
        let difference = without.iter().zip(&with).map(|(a, b)| (a - b).abs());
        assert!(difference.fold(0.0, f32::max) < 2e-5, "{case}");
    }
}

#[test]
fn later_tokens_have_no_gradient() {
    let case = "families/llama";
    let trace = watched(&load(case), case, vec![HookPoint::ResidPre(0), HookPoint::K(1)]);
    let early: Tensor<1> = trace.logits_all().unwrap().slice([0..1, 4..5, 7..8]).reshape([1]);
    let gradients = trace.gradients(early).unwrap();
    for hook in [HookPoint::ResidPre(0), HookPoint::K(1)] {
        let found = gradient(&gradients, hook);
        let of_token = found.data.len() / 16;
        for (token, values) in found.data.chunks(of_token).enumerate() {
            let earlier = token <= 4; // of row 0; all of row 1 counts for nothing
            assert_eq!(values.iter().any(|&x| x != 0.0), earlier, "{hook}, token {token}");
        }
    }
}

#[test]
fn what_was_not_watched_is_named() {
    let case = "families/llama";
    let model = load(case);
    let trace = watched(&model, case, vec![HookPoint::ResidPre(0)]);
    let gradients = trace.gradients(scalar(&trace)).unwrap();
    let error = gradients.tensor3(HookPoint::ResidPre(1)).unwrap_err();
    assert!(error.to_string().contains("blocks.1.hook_resid_pre"), "{error}");
    // A value from a pass that watched nothing depends on no hook.
    let other = watched(&model, case, Vec::new());
    assert!(other.gradients(scalar(&other)).is_err());
    let request = Request {
        watch: vec![HookPoint::ResidPre(7)],
        ..Request::default()
    };
    let error = model.run(Start::Tokens(&ids(case)), &request).err();
    assert!(matches!(error, Some(Error::Hook { .. })), "{error:?}");
}
