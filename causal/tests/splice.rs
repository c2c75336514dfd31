//! Cross-entropy with a reconstruction in place, on the shipped model.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use burn::tensor::Tensor;
use causal::{Change, Insert, Place, SpliceText};
use dictionaries::{Activation, Autoencoder, Normalisation, Parameters};
use kernels::from_vec;
use kernels::{cpu, to_vec};
use lm::{HookPoint, Logits, Model, NormAt, Patch, Request, Start, TokenBatch, Trace};
use tasks::world::World;
use text::{Document, Fill, Packing, Tokenizer};

const HOOK: HookPoint = HookPoint::ResidPre(2);
const HERE: Place = Place { hook: HOOK, head: None };

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

/// The positions of a window that are replaced.
fn plain(window: &[u32], special: &BTreeSet<u32>) -> Vec<usize> {
    (1..window.len())
        .filter(|&place| !special.contains(&window[place]))
        .collect()
}

#[test]
fn nothing_changed_costs_nothing_and_ablations_cost() {
    let World12 {
        model,
        special,
        windows,
    } = world(Fill::Documents);
    let text = SpliceText::new(&model, &special, &windows).unwrap();
    let task = text.task(&[HERE]).unwrap();
    let change = |function: fn(Tensor<2>) -> Tensor<2>| task.change(&[Insert::at(HERE, function)]).unwrap();
    let same = change(|x| x);
    assert!(
        same.kl.abs() < 1e-6 && (same.ce - text.ce_clean).abs() < 1e-6,
        "{same:?}"
    );
    assert!((text.recovered(same, task.zero).unwrap() - 1.0).abs() < 1e-6);
    assert_eq!(text.recovered(task.zero, task.zero), Some(0.0));
    assert_eq!(change(|x| x.zeros_like()), task.zero);
    assert!(
        task.zero.ce > text.ce_clean + 0.5 && task.zero.kl > 0.5,
        "{:?}",
        task.zero
    );
    assert!(task.mean.kl > 0.5 && task.mean != task.zero, "{:?}", task.mean);
    // Half way between the vectors and zero costs less than zero.
    let half: Change = change(|x| x * 0.5);
    assert!(half.kl > same.kl && half.kl < task.zero.kl, "{half:?}");
    // What a task does not ablate is not compared with its ablations.
    let elsewhere = Insert::at(Place::new(HookPoint::ResidPre(1)), |x| x);
    assert!(task.change(&[elsewhere]).is_err());
}

#[test]
fn cross_entropy_is_that_of_a_softmax_in_f64() {
    let World12 {
        model,
        special,
        windows,
    } = world(Fill::Documents);
    let text = SpliceText::new(&model, &special, &windows).unwrap();
    let (ce, n) = cross_entropy(&model, &windows, |_| Vec::new());
    assert_eq!(text.tokens, n);
    assert!((text.ce_clean - ce).abs() < 1e-5, "{} {ce}", text.ce_clean);
}

/// Mean of `-ln q(next token)` over all tokens but the first and the last of each window and their number, in f64, with zeros
/// at the positions that `zeros` names.
fn cross_entropy(model: &Model, windows: &[Vec<u32>], zeros: impl Fn(&[u32]) -> Vec<usize>) -> (f64, usize) {
    patched_cross_entropy(model, windows, |window| {
        let at: Vec<(usize, usize)> = zeros(window).into_iter().map(|position| (0, position)).collect();
        let values = Tensor::zeros([at.len(), model.spec().d_model], &cpu());
        let patch = (!at.is_empty()).then(|| Patch::set(HOOK, None, at, values));
        patch.into_iter().collect()
    })
}

/// The same with patches that follow from the window.
fn patched_cross_entropy(model: &Model, windows: &[Vec<u32>], patches: impl Fn(&[u32]) -> Vec<Patch>) -> (f64, usize) {
    let (mut sum, mut n) = (0.0, 0);
    for window in windows.iter().filter(|window| window.len() >= 3) {
        let request = Request {
            patches: patches(window),
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
    let text = SpliceText::new(&model, &special, &windows).unwrap();
    let task = text.task(&[HERE]).unwrap();
    let plain = |window: &[u32]| plain(window, &special);
    let (expected, n) = cross_entropy(&model, &windows, plain);
    assert_eq!(text.tokens, n, "what follows a separator is predicted");
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
    let seen = Arc::new(Mutex::new((0.0, 0)));
    let sink = seen.clone();
    let look = Insert::at(HERE, move |x| {
        let first = to_vec(x.clone().slice([0..x.dims()[0], 0..1]));
        let mut sink = sink.lock().unwrap();
        sink.0 += first.iter().map(|x| f64::from(*x)).sum::<f64>();
        sink.1 += x.dims()[0];
        x
    });
    task.change(&[look]).unwrap();
    let (seen_sum, seen_rows) = *seen.lock().unwrap();
    assert_eq!(seen_rows, rows);
    assert!((seen_sum - sum).abs() < 1e-2, "{seen_sum} {sum}");

    // A batch of nothing else is predicted and not replaced; a text of nothing else is refused.
    let bos = windows[0][0];
    let more = [&windows[..], &[vec![bos; 5]]].concat();
    let with_more = SpliceText::new(&model, &special, &more).unwrap();
    assert_eq!(with_more.tokens, n + 3);
    let error = SpliceText::new(&model, &special, &[vec![bos; 5]])
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
    let text = SpliceText::new(&model, &special, &windows).unwrap();
    for value in [f32::NAN, f32::INFINITY] {
        let insert = Insert::at(HERE, move |x| x.zeros_like() + value);
        let error = text.change(&[insert]).unwrap_err().to_string();
        assert!(
            error.contains("cross-entropy") && error.contains("no figure"),
            "{error}"
        );
    }
}

#[test]
fn text_without_a_prediction_is_refused() {
    let World12 { model, special, .. } = world(Fill::Documents);
    let error = SpliceText::new(&model, &special, &[vec![0, 1]])
        .unwrap_err()
        .to_string();
    assert!(error.contains("three tokens"), "{error}");
}

/// Some vectors of a place in a pass over one window with `patches`, `[n, D]`.
fn read(model: &Model, window: &[u32], place: Place, patches: Vec<Patch>, positions: &[usize]) -> Tensor<2> {
    let request = Request {
        capture: vec![place.hook],
        patches,
        ..Request::default()
    };
    let batch = TokenBatch::new(&[window]).unwrap();
    let trace: Trace = model.run(Start::Tokens(&batch), &request).unwrap();
    let rows = positions
        .iter()
        .map(|&position| trace.at(place.hook, place.head, &[position]).unwrap());
    Tensor::cat(rows.collect(), 0)
}

fn set(place: Place, positions: &[usize], values: Tensor<2>) -> Patch {
    let at = positions.iter().map(|&position| (0, position)).collect();
    Patch::set(place.hook, place.head, at, values)
}

/// What a dictionary makes of vectors: something that is not linear, so that it matters what it reads.
fn bent(x: Tensor<2>) -> Tensor<2> {
    x.tanh() * 1.5
}

#[test]
fn a_dictionary_reads_what_another_wrote() {
    let World12 {
        model,
        special,
        windows,
    } = world(Fill::Packed);
    let text = SpliceText::new(&model, &special, &windows).unwrap();
    let [up, mid, out, head] = [
        Place::new(HookPoint::ResidPre(1)),
        Place::new(HookPoint::ResidMid(1)),
        Place::new(HookPoint::MlpOut(1)),
        Place {
            hook: HookPoint::Z(2),
            head: Some(1),
        },
    ];
    let positions = |window: &[u32]| plain(window, &special);
    // Of each pair: the upstream one halves, the other reads what is left; the last two read and write other hooks. An upstream one
    // at the very hook that is read is seen too.
    for (upstream, reads, writes) in [(up, HERE, HERE), (up, mid, out), (mid, mid, out), (up, head, head)] {
        for error_term in [false, true] {
            let brute = |in_order: bool| {
                patched_cross_entropy(&model, &windows, |window| {
                    let at = positions(window);
                    let halved = read(&model, window, upstream, Vec::new(), &at) * 0.5;
                    let first = set(upstream, &at, halved);
                    let seen = if in_order { vec![first.clone()] } else { Vec::new() };
                    let mut written = bent(read(&model, window, reads, seen, &at));
                    if error_term {
                        let clean = read(&model, window, writes, Vec::new(), &at);
                        written = written + clean - bent(read(&model, window, reads, Vec::new(), &at));
                    }
                    vec![first, set(writes, &at, written)]
                })
                .0
            };
            let downstream = Insert {
                error_term,
                ..Insert::between(reads, writes, bent)
            };
            let inserts = [downstream, Insert::at(upstream, |x| x * 0.5)];
            let found = text.change(&inserts).unwrap();
            let (expected, wrong) = (brute(true), brute(false));
            let what = format!("{upstream}, {reads} to {writes}, error term {error_term}");
            assert!(
                (found.ce - expected).abs() < 1e-4,
                "{what}: {found:?}, expected {expected}"
            );
            assert!(
                (wrong - expected).abs() > 1e-3,
                "{what}: the test tells the order: {wrong} {expected}"
            );
        }
    }
}

#[test]
fn fidelity_is_that_of_the_untouched_model_in_f64() {
    let World12 {
        model,
        special,
        windows,
    } = world(Fill::Packed);
    let text = SpliceText::new(&model, &special, &windows).unwrap();
    let (mid, out) = (Place::new(HookPoint::ResidMid(1)), Place::new(HookPoint::MlpOut(1)));
    for (reads, writes) in [(HERE, HERE), (mid, out)] {
        let dictionary = top_four();
        let found = text
            .task(&[writes])
            .unwrap()
            .fidelity(reads, writes, &dictionary)
            .unwrap();
        // All vectors first, then each sum as it is written.
        let (mut targets, mut residuals, mut codes) = (Vec::new(), Vec::new(), Vec::new());
        for window in windows.iter().filter(|window| window.len() >= 3) {
            let at = plain(window, &special);
            let [x, y] = [reads, writes].map(|place| read(&model, window, place, Vec::new(), &at));
            let of = dictionary.codes(x.clone());
            residuals.extend(to_f64(y.clone() - dictionary.reconstruct_from(x, of.clone())));
            targets.extend(to_f64(y));
            codes.extend(to_f64(of));
        }
        let n = targets.len() as f64;
        let width = targets[0].len();
        let mean: Vec<f64> = (0..width)
            .map(|d| targets.iter().map(|y| y[d]).sum::<f64>() / n)
            .collect();
        let square = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>();
        let apart = |y: &[f64]| square(&y.iter().zip(&mean).map(|(y, m)| y - m).collect::<Vec<_>>());
        let pairs = || residuals.iter().zip(&targets).map(|(e, y)| (square(e), apart(y)));
        let (error, variance) = pairs().fold((0.0, 0.0), |sums, (e, v)| (sums.0 + e, sums.1 + v));
        let per_token = pairs().map(|(e, v)| e / v).sum::<f64>() / n;
        let counts: Vec<f64> = (0..codes[0].len())
            .map(|latent| codes.iter().filter(|row| row[latent] > 0.0).count() as f64)
            .collect();
        let share =
            |is: &dyn Fn(f64) -> bool| counts.iter().filter(|count| is(**count)).count() as f64 / counts.len() as f64;
        let near = |found: f64, expected: f64| (found - expected).abs() < 1e-5 * expected.abs().max(1.0);
        assert!(
            near(found.fvu.unwrap(), error / variance),
            "{found:?} {}",
            error / variance
        );
        assert!(near(found.fvu_per_token.unwrap(), per_token), "{found:?} {per_token}");
        assert!(near(found.l0, counts.iter().sum::<f64>() / n), "{found:?}");
        assert_eq!(found.dead, share(&|count| count == 0.0));
        assert_eq!(found.dense, share(&|count| count > 0.1 * n));
        assert!(
            found.dead > 0.0 && found.dense > 0.0 && found.l0 > 0.0,
            "the test sees all three: {found:?}"
        );
    }
    let elsewhere = text.task(&[out]).unwrap().fidelity(HERE, HERE, &top_four());
    assert!(elsewhere.is_err());
}

/// A dictionary of random directions with four active latents, among them one that is always and eight that never are.
fn top_four() -> Autoencoder {
    let (d, f) = (128, 64);
    let draw = |stream: &str| kernels::random::normal(&mut kernels::random::rng(5, stream), f * d, 0.2);
    let mut b_enc = vec![0.0; f];
    b_enc[0] = 1e3;
    b_enc[f - 8..].fill(-1e3);
    Autoencoder {
        normalisation: Normalisation::None,
        activation: Activation::Topk { k: 4 },
        subtracts_b_dec: false,
        parameters: Parameters {
            w_enc: from_vec(draw("encoder"), [f, d], &cpu()),
            b_enc: from_vec(b_enc, [f], &cpu()),
            w_dec: from_vec(draw("decoder"), [f, d], &cpu()),
            b_dec: from_vec(vec![0.1; d], [d], &cpu()),
            extra: Vec::new(),
        },
        transcodes: false,
        skip: None,
    }
}

/// The vectors of a tensor `[n, D]` in f64.
fn to_f64(rows: Tensor<2>) -> Vec<Vec<f64>> {
    let width = rows.dims()[1];
    let values = to_vec(rows);
    let of_row = |row: &[f32]| row.iter().map(|x| f64::from(*x)).collect();
    values.chunks_exact(width).map(of_row).collect()
}

#[test]
fn identities_and_error_terms_change_nothing() {
    let World12 {
        model,
        special,
        windows,
    } = world(Fill::Packed);
    let text = SpliceText::new(&model, &special, &windows).unwrap();
    let places = [HookPoint::ResidPre(1), HookPoint::Z(2), HookPoint::MlpOut(3)].map(Place::new);
    let same = text.change(&places.map(|place| Insert::at(place, |x| x))).unwrap();
    assert!(
        same.kl.abs() < 1e-6 && (same.ce - text.ce_clean).abs() < 1e-6,
        "{same:?}"
    );
    // With its error term everything is right, however wrong it is.
    let (mid, out) = (Place::new(HookPoint::ResidMid(1)), Place::new(HookPoint::MlpOut(1)));
    let wrong = |error_term| Insert {
        error_term,
        ..Insert::between(mid, out, bent)
    };
    let righted = text.change(&[wrong(true), Insert::at(HERE, |x| x)]).unwrap();
    assert!(
        righted.kl.abs() < 1e-6 && (righted.ce - text.ce_clean).abs() < 1e-5,
        "{righted:?}"
    );
    assert!(text.change(&[wrong(false)]).unwrap().kl > 0.1);
    let both = text.task(&[out, HERE]).unwrap();
    let alone = text.task(&[out]).unwrap();
    assert!(both.zero.kl > alone.zero.kl && both.mean.kl > alone.mean.kl, "{both:?}");
}

#[test]
fn what_cannot_stand_in_one_pass_is_named() {
    let World12 {
        model,
        special,
        windows,
    } = world(Fill::Packed);
    let text = SpliceText::new(&model, &special, &windows).unwrap();
    let place = Place::new;
    let (mid, out) = (place(HookPoint::ResidMid(1)), place(HookPoint::MlpOut(1)));
    let head = |head| Place {
        hook: HookPoint::Z(1),
        head,
    };
    let same = |place| Insert::at(place, |x| x);
    let refused = [
        (
            vec![Insert::between(out, mid, |x| x)],
            "comes before blocks.1.hook_mlp_out",
        ),
        (vec![same(mid), Insert::between(HERE, mid, |x| x)], "two dictionaries"),
        (vec![same(head(None)), same(head(Some(1)))], "two dictionaries"),
        (vec![same(head(Some(99)))], "does not exist"),
        (vec![same(Place { head: Some(0), ..mid })], "no heads"),
        (vec![same(place(HookPoint::Pattern(1)))], "not one vector"),
        (vec![Insert::at(mid, |x| x.narrow(1, 0, 3))], "shape"),
        (
            vec![Insert {
                error_term: true,
                ..Insert::at(mid, |x| x.narrow(1, 0, 3))
            }],
            "shape",
        ),
    ];
    for (inserts, part) in refused {
        let error = text.change(&inserts).unwrap_err();
        assert!(matches!(error, causal::Error::Splice { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(
        text.change(&[same(head(Some(0))), same(head(Some(1)))])
            .unwrap()
            .kl
            .abs()
            < 1e-6
    );
    assert!(text.change(&[same(place(HookPoint::ResidPre(99)))]).is_err());
}

/// A model whose MLPs are ReLU, and its weights.
fn relu_model() -> (Model, std::collections::BTreeMap<String, artifacts::HostTensor>) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lm/tests/fixtures/gpt2-micro");
    let folder = tempfile::tempdir().unwrap();
    let config = std::fs::read_to_string(from.join("config.json")).unwrap();
    let config = config.replace("\"gelu_new\"", "\"relu\"");
    assert!(config.contains("\"relu\""));
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let weights = from.join("model.safetensors");
    std::fs::copy(&weights, folder.path().join("model.safetensors")).unwrap();
    let model = Model::load(folder.path(), &cpu()).unwrap();
    (model, artifacts::read_tensors(&weights).unwrap())
}

/// The MLP of a block as a transcoder of what it reads, or, `folded`, of the norm before that, with its scale and shift folded in.
/// With a skip connection, the skip adds a linear map of the inputs that more latents take away.
fn mlp_as_transcoder(
    weights: &std::collections::BTreeMap<String, artifacts::HostTensor>,
    l: usize,
    folded: bool,
    skips: bool,
) -> Autoencoder {
    let of = |name: &str| {
        let (_, tensor) = weights
            .iter()
            .find(|(key, _)| key.ends_with(&format!("h.{l}.{name}")))
            .unwrap();
        tensor.data.clone()
    };
    let (w_in, b_in, w_out, b_out) = (
        of("mlp.c_fc.weight"),
        of("mlp.c_fc.bias"),
        of("mlp.c_proj.weight"),
        of("mlp.c_proj.bias"),
    );
    let (mut scale, mut shift) = (of("ln_2.weight"), of("ln_2.bias"));
    if !folded {
        scale.fill(1.0);
        shift.fill(0.0);
    }
    let (d, m) = (scale.len(), b_in.len());
    let mut w_enc: Vec<f32> = (0..m)
        .flat_map(|j| (0..d).map(move |i| (i, j)))
        .map(|(i, j)| w_in[i * m + j] * scale[i])
        .collect();
    let mut b_enc: Vec<f32> = (0..m)
        .map(|j| b_in[j] + (0..d).map(|i| shift[i] * w_in[i * m + j]).sum::<f32>())
        .collect();
    let mut w_dec = w_out;
    let skip = skips.then(|| {
        let skip: Vec<f32> = (0..d * d).map(|i| ((i * 7) % 11) as f32 / 11.0 - 0.4).collect(); // [D_out, D]
        for (sign, i) in [1.0, -1.0].into_iter().flat_map(|sign| (0..d).map(move |i| (sign, i))) {
            w_enc.extend((0..d).map(|other| if other == i { sign } else { 0.0 }));
            b_enc.push(0.0);
            w_dec.extend((0..d).map(|out| -sign * skip[out * d + i]));
        }
        from_vec(skip, [d, d], &cpu())
    });
    let f = b_enc.len();
    Autoencoder {
        normalisation: Normalisation::None,
        activation: Activation::Relu,
        subtracts_b_dec: false,
        parameters: Parameters {
            w_enc: from_vec(w_enc, [f, d], &cpu()),
            b_enc: from_vec(b_enc, [f], &cpu()),
            w_dec: from_vec(w_dec, [f, d], &cpu()),
            b_dec: from_vec(b_out, [d], &cpu()),
            extra: Vec::new(),
        },
        transcodes: true,
        skip,
    }
}

#[test]
fn transcoders_that_are_the_mlps_cost_nothing() {
    let (model, weights) = relu_model();
    let windows: Vec<Vec<u32>> = (0..6_u32)
        .map(|row| {
            (0..12 + row % 2)
                .map(|place| (row * 31 + place * 17 + place * place * 5) % 211)
                .collect()
        })
        .collect();
    let special = BTreeSet::from([0]);
    let text = SpliceText::new(&model, &special, &windows).unwrap();
    let layers = model.spec().n_layer;
    let written = |l| Place::new(HookPoint::MlpOut(l));
    for (folded, skips) in [(true, false), (true, true), (false, false)] {
        let insert = |l: usize, change: fn(&mut Autoencoder)| {
            let mut transcoder = mlp_as_transcoder(&weights, l, folded, skips);
            change(&mut transcoder);
            let reads = match folded {
                true => HookPoint::Normalized(NormAt::Ln2(l)),
                false => HookPoint::MlpNormed(l),
            };
            Insert::between(Place::new(reads), written(l), move |x| transcoder.reconstruct(x))
        };
        let one = text.change(&[insert(1, |_| ())]).unwrap();
        let all = (0..layers).map(|l| Insert {
            error_term: l == 1,
            ..insert(l, |_| ())
        });
        let all = text.change(&all.collect::<Vec<_>>()).unwrap();
        for same in [one, all] {
            assert!(
                same.kl.abs() < 1e-6 && (same.ce - text.ce_clean).abs() < 1e-5,
                "folded {folded}, skips {skips}: {same:?}, untouched {}",
                text.ce_clean
            );
        }
        // Without the skip, or without a bias, it is another function.
        let cut = text.change(&[insert(1, |transcoder| transcoder.skip = None)]).unwrap();
        assert_eq!(cut.kl > 1e-3, skips, "{cut:?}");
        let cut = text.change(&[insert(1, |transcoder| {
            transcoder.parameters.b_enc = transcoder.parameters.b_enc.zeros_like()
        })]);
        assert!(cut.unwrap().kl > 1e-6);
    }
    let zero = text.task(&[written(1)]).unwrap().zero;
    assert!(zero.kl > 1e-3, "the MLP matters: {zero:?}");
}
