//! Cross-entropy with a reconstruction in place, on the shipped model.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use activations::{Document, Fill, Packing};
use burn::tensor::Tensor;
use eval::{Change, Insert, Place, SpliceTask, SpliceText};
use kernels::{cpu, to_vec};
use lm::{HookPoint, Logits, Model, Patch, Request, Start, TokenBatch, Tokenizer};
use tasks::world::World;

const HOOK: HookPoint = HookPoint::ResidPre(2);

struct World12 {
    model: Model,
    special: BTreeSet<u32>,
    windows: Vec<Vec<u32>>,
}

/// The shipped model and twelve documents, cut or packed into windows of 40 tokens.
fn world(fill: Fill) -> World12 {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/small-world");
    let tokenizer = Tokenizer::from_dir(&dir).unwrap();
    let world = World::new();
    let documents: Vec<String> = (0..12).map(|index| world.document(3, index).text()).collect();
    let packing = Packing {
        fill,
        ..Packing::documents(40)
    };
    let windows = packing.windows(Document::made(documents).map(Ok), &tokenizer);
    World12 {
        model: Model::load(&dir, &cpu()).unwrap(),
        special: tokenizer.special_ids(),
        windows: windows.unwrap().into_iter().map(|window| window.ids).collect(),
    }
}

#[test]
fn nothing_changed_costs_nothing_and_ablations_cost() {
    let World12 {
        model,
        special,
        windows,
    } = world(Fill::Documents);
    let task = SpliceText::new(&model, &special, &windows).unwrap();
    let same = task.change(&|x| x).unwrap();
    assert!(
        same.kl.abs() < 1e-6 && (same.ce - task.ce_clean).abs() < 1e-6,
        "{same:?}"
    );
    assert!((task.recovered(same, task.zero).unwrap() - 1.0).abs() < 1e-6);
    assert_eq!(task.recovered(task.zero, task.zero), Some(0.0));
    assert_eq!(task.change(&|x| x.zeros_like()).unwrap(), task.zero);
    assert!(
        task.zero.ce > task.ce_clean + 0.5 && task.zero.kl > 0.5,
        "{:?}",
        task.zero
    );
    assert!(task.mean.kl > 0.5 && task.mean != task.zero, "{:?}", task.mean);
    // Half way between the vectors and zero costs less than zero.
    let half: Change = task.change(&|x| x * 0.5).unwrap();
    assert!(half.kl > same.kl && half.kl < task.zero.kl, "{half:?}");
}

#[test]
fn cross_entropy_is_that_of_a_softmax_in_f64() {
    let World12 {
        model,
        special,
        windows,
    } = world(Fill::Documents);
    let task = SpliceText::new(&model, &special, &windows).unwrap();
    let (ce, n) = cross_entropy(&model, &windows, |_| Vec::new());
    assert_eq!(task.tokens, n);
    assert!((task.ce_clean - ce).abs() < 1e-5, "{} {ce}", task.ce_clean);
}

/// Mean of `-ln q(next token)` over all tokens but the first and the last of each window and their number, in f64, with zeros
/// at the positions that `zeros` names.
fn cross_entropy(model: &Model, windows: &[Vec<u32>], zeros: impl Fn(&[u32]) -> Vec<usize>) -> (f64, usize) {
    let (mut sum, mut n) = (0.0, 0);
    for window in windows.iter().filter(|window| window.len() >= 3) {
        let at: Vec<(usize, usize)> = zeros(window).into_iter().map(|position| (0, position)).collect();
        let values = Tensor::zeros([at.len(), model.spec().d_model], &cpu());
        let patch = (!at.is_empty()).then(|| Patch::set(HOOK, None, at, values));
        let request = Request {
            patches: patch.into_iter().collect(),
            logits: Logits::All,
            ..Request::default()
        };
        let batch = TokenBatch::new(&[window]).unwrap();
        let logits = model
            .run(Start::Tokens(&batch), &request)
            .unwrap()
            .logits_all()
            .unwrap();
        let vocabulary = logits.dims()[2];
        let logits = to_vec(logits);
        for position in 1..window.len() - 1 {
            let row = &logits[position * vocabulary..][..vocabulary];
            let most = f64::from(row.iter().copied().fold(f32::MIN, f32::max));
            let total: f64 = row.iter().map(|x| (f64::from(*x) - most).exp()).sum();
            sum += most + total.ln() - f64::from(row[window[position + 1] as usize]);
            n += 1;
        }
    }
    (sum / n as f64, n)
}

#[test]
fn separators_of_packed_windows_are_left_alone() {
    let World12 {
        model,
        special,
        windows,
    } = world(Fill::Packed);
    let separators = windows
        .iter()
        .flat_map(|window| &window[1..])
        .filter(|id| special.contains(id));
    assert!(separators.count() >= 5, "there is something to leave alone");
    let task = SpliceText::new(&model, &special, &windows).unwrap();
    let plain = |window: &[u32]| {
        (1..window.len())
            .filter(|&place| !special.contains(&window[place]))
            .collect()
    };
    let (expected, n) = cross_entropy(&model, &windows, plain);
    assert_eq!(task.tokens, n, "what follows a separator is predicted");
    assert!((task.zero.ce - expected).abs() < 1e-4, "{:?} {expected}", task.zero);
    let all = |window: &[u32]| (1..window.len()).collect();
    let (with_separators, _) = cross_entropy(&model, &windows, all);
    assert!(
        (with_separators - expected).abs() > 0.01,
        "the test tells the two apart"
    );

    // The vectors that are handed on are those of the other tokens, and the mean is theirs.
    let (mut sum, mut rows) = (0.0, 0);
    for window in windows.iter().filter(|window| window.len() >= 3) {
        let request = Request {
            capture: vec![HOOK],
            ..Request::default()
        };
        let trace = model
            .run(Start::Tokens(&TokenBatch::new(&[window]).unwrap()), &request)
            .unwrap();
        for position in plain(window) {
            sum += f64::from(to_vec(trace.at(HOOK, None, &[position]).unwrap())[0]);
            rows += 1;
        }
    }
    let seen = std::cell::RefCell::new((0.0, 0));
    task.change(&|x| {
        let first = x.clone().slice([0..x.dims()[0], 0..1]);
        let mut seen = seen.borrow_mut();
        seen.0 += to_vec(first).iter().map(|x| f64::from(*x)).sum::<f64>();
        seen.1 += x.dims()[0];
        x
    })
    .unwrap();
    let (seen_sum, seen_rows) = seen.into_inner();
    assert_eq!(seen_rows, rows);
    assert!((seen_sum - sum).abs() < 1e-2, "{seen_sum} {sum}");

    // A batch of nothing else is predicted and not replaced; a text of nothing else is refused.
    let bos = windows[0][0];
    let more = [&windows[..], &[vec![bos; 5]]].concat();
    let with_more = SpliceText::new(&model, &special, &more).unwrap();
    assert_eq!(with_more.tokens, n + 3);
    let error = SpliceTask::new(&model, HOOK, None, &special, &[vec![bos; 5]])
        .unwrap_err()
        .to_string();
    assert!(error.contains("nothing but special tokens"), "{error}");
}

#[test]
fn a_figure_that_is_no_number_is_an_error() {
    let World12 {
        model,
        special,
        windows,
    } = world(Fill::Documents);
    let task = SpliceText::new(&model, &special, &windows).unwrap();
    for value in [f32::NAN, f32::INFINITY] {
        let error = task.change(&|x| x.zeros_like() + value).unwrap_err().to_string();
        assert!(
            error.contains("cross-entropy") && error.contains("no figure"),
            "{error}"
        );
    }
}

#[test]
fn text_without_a_prediction_is_refused() {
    let World12 { model, special, .. } = world(Fill::Documents);
    let error = SpliceTask::new(&model, HOOK, None, &special, &[vec![0, 1]])
        .unwrap_err()
        .to_string();
    assert!(error.contains("three tokens"), "{error}");
}
