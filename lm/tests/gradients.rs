//! Gradients at hooks against PyTorch's (`scripts/gradient_fixtures.py`), of a GPT-2 and of a Llama with shared keys.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use artifacts::HostTensor;
use burn::tensor::Tensor;
use kernels::{cpu, to_vec};
use lm::{Change, Error, Gradients, HookPoint, Logits, Model, Patch, Request, Start, TokenBatch, Trace, Vectors};

/// The models and how many gradients their fixtures hold.
const CASES: [(&str, usize); 2] = [("gpt2-micro", 54), ("families/llama", 42)];

fn fixture(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(case)
}

fn ids(case: &str) -> TokenBatch {
    read_ids(case, "gradients.safetensors")
}

fn read_ids(case: &str, file: &str) -> TokenBatch {
    let (shape, ids) = artifacts::read_integers(&fixture(case).join(file), "ids").unwrap();
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
    let mut tensors = artifacts::read_tensors(&fixture(case).join("gradients.safetensors")).unwrap();
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

/// A model on some tokens, and a hook of it to which vectors are added.
struct Nudged<'a> {
    model: &'a Model,
    tokens: &'a TokenBatch,
    hook: HookPoint,
}

/// Where a number of a gradient stands: row, position (of scores and patterns the query), head, place in the vector.
#[derive(Debug, Clone, Copy)]
struct Entry {
    row: usize,
    position: usize,
    head: Option<usize>,
    place: usize,
}

impl Entry {
    /// Of the number at `flat` of a tensor of this hook.
    fn new(hook: HookPoint, shape: &[usize], flat: usize) -> Self {
        let last = shape.len() - 1;
        let (place, rest) = (flat % shape[last], flat / shape[last]);
        if last == 2 {
            let (position, row) = (rest % shape[1], rest / shape[1]);
            return Self {
                row,
                position,
                head: None,
                place,
            };
        }
        let (inner, rest) = (rest % shape[2], rest / shape[2]);
        let (middle, row) = (rest % shape[1], rest / shape[1]);
        let (position, head) = if hook.is_by_key() {
            (inner, middle)
        } else {
            (middle, inner)
        };
        Self {
            row,
            position,
            head: Some(head),
            place,
        }
    }
}

impl Nudged<'_> {
    /// The scalar with `change` `[numbers of the hook]` added, in f64.
    fn scalar(&self, shape: &[usize], change: &[f32]) -> f64 {
        let width = shape[shape.len() - 1];
        type AtPlaces = BTreeMap<(usize, usize), Vec<f32>>;
        let mut by_head: BTreeMap<Option<usize>, AtPlaces> = BTreeMap::new();
        for (flat, &x) in change.iter().enumerate().filter(|(_, x)| **x != 0.0) {
            let entry = Entry::new(self.hook, shape, flat);
            let vectors = by_head.entry(entry.head).or_default();
            let at = (entry.row, entry.position);
            vectors.entry(at).or_insert_with(|| vec![0.0; width])[entry.place] = x;
        }
        let patches = by_head.into_iter().map(|(head, vectors)| {
            let n = vectors.len();
            let (at, values): (Vec<_>, Vec<_>) = vectors.into_iter().unzip();
            let values = kernels::from_vec(values.concat(), [n, width], &cpu());
            Patch {
                hook: self.hook,
                head,
                change: Change::Add(Vectors { at, values }),
            }
        });
        let request = Request {
            patches: patches.collect(),
            logits: Logits::All,
            ..Request::default()
        };
        let trace = self.model.run(Start::Tokens(self.tokens), &request).unwrap();
        let logits = trace.logits_all().unwrap();
        let [_, len, vocabulary] = logits.dims();
        let logits = to_vec(logits);
        let logit =
            |row: usize, position: usize, token: usize| f64::from(logits[(row * len + position) * vocabulary + token]);
        logit(0, len - 1, 3) - logit(1, len - 1, 5) + logit(0, 4, 7) * 0.5
    }

    /// `(f(x + h d) - f(x - h d)) / 2 h`, of two steps such that the error of the second order falls out.
    fn slope(&self, shape: &[usize], direction: &[f32], step: f32) -> f64 {
        let central = |step: f32| {
            let [up, down] = [step, -step].map(|step| {
                let change: Vec<f32> = direction.iter().map(|x| x * step).collect();
                self.scalar(shape, &change)
            });
            (up - down) / (2.0 * f64::from(step))
        };
        (4.0 * central(step) - central(2.0 * step)) / 3.0
    }
}

/// A step that changes the scalar by about 0.02, far above rounding in f32, and stays small beside the numbers of the hook.
fn step(slope: f64, rms: f32) -> f32 {
    (0.02 / slope as f32).min(0.2 * rms)
}

/// The hooks that are nudged, of block 1.
fn nudged_hooks(model: &Model) -> Vec<HookPoint> {
    use HookPoint::{
        AttnOut, AttnScores, K, KInput, KNormed, MlpIn, MlpNormed, MlpOut, MlpPost, MlpPreLinear, Pattern, Q, QInput,
        QNormed, ResidMid, ResidPre, RotK, RotQ, V, VInput, Z,
    };
    let every = [
        ResidPre,
        Q,
        K,
        V,
        Z,
        Pattern,
        MlpPost,
        QInput,
        KInput,
        VInput,
        MlpIn,
        ResidMid,
        AttnOut,
        MlpOut,
        AttnScores,
        QNormed,
        KNormed,
        RotQ,
        RotK,
        MlpPreLinear,
        MlpNormed,
    ];
    let hooks = every.into_iter().map(|hook| hook(1));
    hooks.filter(|hook| hook.check(model.spec()).is_ok()).collect()
}

#[test]
fn gradients_equal_central_differences() {
    // Caps of scores and logits; windows and norms of queries and keys.
    let cases = [
        ("gpt2-micro", "gradients.safetensors"),
        ("families/llama", "gradients.safetensors"),
        ("families/gemma2", "expected.safetensors"),
        ("families/gemma3", "expected.safetensors"),
    ];
    for (case, file) in cases {
        let (model, tokens) = (load(case), read_ids(case, file));
        let hooks = nudged_hooks(&model);
        assert!(hooks.len() >= 15, "{case}: {}", hooks.len());
        let request = Request {
            capture: hooks.clone(),
            watch: hooks.clone(),
            logits: Logits::All,
            ..Request::default()
        };
        let trace = model.run(Start::Tokens(&tokens), &request).unwrap();
        let gradients = trace.gradients(scalar(&trace)).unwrap();
        for hook in hooks {
            let gradient = gradient(&gradients, hook);
            let nudged = Nudged {
                model: &model,
                tokens: &tokens,
                hook,
            };
            let size = match trace.tensor3(hook) {
                Ok(x) => to_vec(x.inner()),
                Err(_) => to_vec(trace.tensor4(hook).unwrap().inner()),
            };
            let size: Vec<f32> = size.into_iter().filter(|x| x.abs() < 1e6).collect(); // no masked scores
            let rms = (size.iter().map(|x| x * x).sum::<f32>() / size.len() as f32).sqrt();
            let norm = gradient.data.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            assert!(norm > 1e-3, "{case}: {hook}: a gradient of norm {norm} shows nothing");
            // The way up, and every fifth number of it with its sign changed: the sum over all numbers.
            let n = gradient.data.len();
            for flipped in [false, true] {
                let turn = |(place, x): (usize, &f32)| {
                    let sign = if flipped && place % 5 == 0 { -1.0 } else { 1.0 };
                    sign * x / norm as f32
                };
                let direction: Vec<f32> = gradient.data.iter().enumerate().map(turn).collect();
                let expected: f64 = direction
                    .iter()
                    .zip(&gradient.data)
                    .map(|(d, g)| f64::from(d * g))
                    .sum();
                let found = nudged.slope(&gradient.shape, &direction, step(norm, rms));
                assert!(
                    (found - expected).abs() < 2e-3 * norm,
                    "{case}: {hook}, flipped {flipped}: {found}, expected {expected}"
                );
            }
            // Single numbers: the largest, and two in the middle.
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|a, b| gradient.data[*b].abs().total_cmp(&gradient.data[*a].abs()));
            let steepest = gradient.data[order[0]].abs();
            for flat in [order[0], order[1], order[n / 8], order[n / 4]] {
                let mut direction = vec![0.0; n];
                direction[flat] = 1.0;
                let expected = f64::from(gradient.data[flat]);
                let found = nudged.slope(&gradient.shape, &direction, step(f64::from(steepest), rms));
                assert!(
                    (found - expected).abs() < 2e-3 * f64::from(steepest),
                    "{case}: {hook} at {:?}: {found}, expected {expected}",
                    Entry::new(hook, &gradient.shape, flat)
                );
            }
        }
    }
}
