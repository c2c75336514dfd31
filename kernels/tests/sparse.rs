//! The sparse kernels against scalar and dense twins: values, gradients, ties, and the number of threads.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use burn::tensor::Tensor;
use kernels::{
    ActiveSet, Auxiliary, Encoding, Entries, NotFinite, Precision, Rule, cpu, encode, from_vec, matmul, random,
    sparse_decode, sparse_encode, to_vec,
};
use proptest::prelude::*;

/// Draws with few distinct values, so that scores tie; exact in every order of summation.
fn coarse(seed: u64, stream: &str, n: usize) -> Vec<f32> {
    let draws = random::normal(&mut random::rng(seed, stream), n, 1.5);
    draws.into_iter().map(|x| x.round() + 0.0).collect()
}

fn fine(seed: u64, stream: &str, n: usize) -> Vec<f32> {
    random::normal(&mut random::rng(seed, stream), n, 1.0)
}

struct Case {
    rows: usize,
    d: usize,
    f: usize,
    x: Vec<f32>,
    w_enc: Vec<f32>,
    b_enc: Vec<f32>,
}

impl Case {
    fn draw(seed: u64, rows: usize, d: usize, f: usize, draw: fn(u64, &str, usize) -> Vec<f32>) -> Self {
        Self {
            rows,
            d,
            f,
            x: draw(seed, "x", rows * d),
            w_enc: draw(seed, "w_enc", f * d),
            b_enc: draw(seed, "b_enc", f),
        }
    }

    fn x(&self) -> Tensor<2> {
        from_vec(self.x.clone(), [self.rows, self.d], &cpu())
    }

    fn w_enc(&self) -> Tensor<2> {
        from_vec(self.w_enc.clone(), [self.f, self.d], &cpu())
    }

    fn b_enc(&self) -> Tensor<1> {
        from_vec(self.b_enc.clone(), [self.f], &cpu())
    }

    fn encode(
        &self,
        rule: Rule<'_>,
        scales: Option<&[f32]>,
        auxiliary: Option<Auxiliary<'_>>,
        precision: Precision,
    ) -> Result<Encoding, NotFinite> {
        let (x, w_enc, b_enc) = (self.x(), self.w_enc(), self.b_enc());
        encode(&x, &w_enc, &b_enc, rule, scales, auxiliary, precision)
    }

    /// Pre-activations one by one.
    fn h(&self) -> Vec<f32> {
        let mut h = Vec::new();
        for x in self.x.chunks(self.d) {
            for (w, b) in self.w_enc.chunks(self.d).zip(&self.b_enc) {
                h.push(x.iter().zip(w).map(|(x, w)| x * w).sum::<f32>() + b);
            }
        }
        h
    }
}

/// Of `candidates`, the `k` with the largest positive scores; of equal ones the first. In the order of candidates.
fn largest(candidates: &[usize], scores: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = candidates.iter().copied().filter(|&i| scores[i] > 0.0).collect();
    order.sort_by(|&i, &j| scores[j].total_cmp(&scores[i]).then(i.cmp(&j)));
    order.truncate(k);
    order.sort_unstable();
    order
}

/// The active entries as places in the `[B, F]` matrix.
fn places(set: &ActiveSet) -> Vec<usize> {
    let in_row = |row: usize| {
        set.row(row)
            .map(move |entry| row * set.n_latents() + set.latents()[entry] as usize)
    };
    (0..set.n_rows()).flat_map(in_row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn selection_equals_a_full_sort(
        rows in 1_usize..70,
        d in 1_usize..5,
        // Rows from 128 on are searched in groups.
        f in prop_oneof![2 => 1_usize..90, 1 => 128_usize..900],
        k in 0_usize..100,
        seed in 0_u64..1000,
        scaled: bool,
        bf16: bool,
    ) {
        // Of these numbers products and sums are exact in bf16, too.
        let precision = if bf16 { Precision::Bf16 } else { Precision::F32 };
        let case = Case::draw(seed, rows, d, f, coarse);
        let h = case.h();
        let scales: Vec<f32> = (0..f).map(|i| [0.5, 1.0, 2.0][i % 3]).collect();
        let scales = scaled.then_some(scales);
        let score = |place: usize| h[place] * scales.as_ref().map_or(1.0, |scales| scales[place % f]);
        let scores: Vec<f32> = (0..rows * f).map(score).collect();
        let find = |rule, auxiliary| {
            case.encode(rule, scales.as_deref(), auxiliary, precision).unwrap()
        };

        let of_row = |row: usize, k: usize| largest(&(row * f..(row + 1) * f).collect::<Vec<_>>(), &scores, k);
        let by_row = find(Rule::PerRow(k), None);
        prop_assert_eq!(places(&by_row.active.set), (0..rows).flat_map(|row| of_row(row, k)).collect::<Vec<_>>());

        let by_batch = find(Rule::PerBatch(k * rows / 2), None);
        let all: Vec<usize> = (0..rows * f).collect();
        prop_assert_eq!(places(&by_batch.active.set), largest(&all, &scores, k * rows / 2));

        let dead: Vec<u32> = (0..f as u32).filter(|latent| latent % 3 == 1).collect();
        let with_dead = find(Rule::PerRow(1), Some(Auxiliary { latents: &dead, k }));
        let of_dead = |row: usize| {
            let places: Vec<usize> = dead.iter().map(|&latent| row * f + latent as usize).collect();
            largest(&places, &scores, k)
        };
        let found = with_dead.auxiliary.unwrap();
        prop_assert_eq!(places(&found.set), (0..rows).flat_map(of_dead).collect::<Vec<_>>());
        for encoded in [&by_row.active, &by_batch.active, &found] {
            let values: Vec<f32> = places(&encoded.set).into_iter().map(|place| h[place]).collect();
            prop_assert_eq!(&encoded.values, &values);
        }
    }

    #[test]
    fn bounds_keep_what_is_above_them(
        rows in 1_usize..20, d in 1_usize..5, f in 1_usize..60, seed in 0_u64..1000,
    ) {
        let case = Case::draw(seed, rows, d, f, coarse);
        let bounds = coarse(seed, "bounds", f);
        let found = case.encode(Rule::Above(&bounds), None, None, Precision::F32).unwrap();
        let h = case.h();
        let expected: Vec<usize> = (0..rows * f).filter(|&place| h[place] > bounds[place % f]).collect();
        prop_assert_eq!(places(&found.active.set), expected);
    }

    /// Loss and every gradient of a small autoencoder, against burn's autodiff on dense matrices.
    #[test]
    fn gradients_equal_the_dense_ones(
        rows in 1_usize..40, d in 1_usize..70, f in 1_usize..90, k in 0_usize..20, seed in 0_u64..1000,
    ) {
        let case = Case::draw(seed, rows, d, f, fine);
        let b_dec: Tensor<1> = from_vec(fine(seed, "b_dec", d), [d], &cpu());
        let w_dec: Tensor<2> = from_vec(fine(seed, "w_dec", f * d), [f, d], &cpu());
        let centred = case.x() - b_dec.clone().unsqueeze();
        let found = encode(&centred, &case.w_enc(), &case.b_enc(), Rule::PerRow(k), None, None, Precision::F32).unwrap();
        let mut mask = vec![0.0_f32; rows * f];
        places(&found.active.set).into_iter().for_each(|place| mask[place] = 1.0);
        let values = from_vec::<1>(found.active.values.clone(), [found.active.set.len()], &cpu());
        let entries = Entries::from(found.active.set);
        let mask: Tensor<2> = from_vec(mask, [rows, f], &cpu());
        let weights: Tensor<2> = from_vec(fine(seed, "weights", rows * d), [rows, d], &cpu());

        let run = |sparse: bool| {
            let w_enc = case.w_enc().autodiff().require_grad();
            let b_enc = case.b_enc().autodiff().require_grad();
            let w_dec = w_dec.clone().autodiff().require_grad();
            let b_dec = b_dec.clone().autodiff().require_grad();
            let out = if sparse {
                let values = sparse_encode(
                    values.clone().autodiff(), centred.clone().autodiff(), w_enc.clone(), b_enc.clone(), b_dec.clone(), &entries,
                );
                sparse_decode(values.clone() * values, w_dec.clone(), &entries)
            } else {
                let centred = case.x().autodiff() - b_dec.clone().unsqueeze();
                let h = matmul(centred, w_enc.clone().transpose()) + b_enc.clone().unsqueeze();
                matmul(h.square() * mask.clone().autodiff(), w_dec.clone())
            };
            let loss = (out.clone() * weights.clone().autodiff()).sum();
            let grads = loss.backward();
            let flat = |tensor: Option<Tensor<2>>, n: usize| tensor.map_or(vec![0.0; n], to_vec);
            let flat_1 = |tensor: Option<Tensor<1>>, n: usize| tensor.map_or(vec![0.0; n], to_vec);
            [
                to_vec(out.inner()),
                flat(w_enc.grad(&grads), f * d),
                flat_1(b_enc.grad(&grads), f),
                flat(w_dec.grad(&grads), f * d),
                flat_1(b_dec.grad(&grads), d),
            ]
        };
        for (which, (found, expected)) in run(true).into_iter().zip(run(false)).enumerate() {
            let size = expected.iter().fold(1.0_f32, |most, x| most.max(x.abs()));
            let gap = found.iter().zip(&expected).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
            prop_assert!(gap <= 1e-4 * size, "tensor {}: {} of {}", which, gap, size);
        }
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let case = Case::draw(5, 700, 33, 500, fine);
    let w_dec: Tensor<2> = from_vec(fine(5, "w_dec", 500 * 33), [500, 33], &cpu());
    let run = |threads: usize, precision: Precision| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let found = case.encode(Rule::PerBatch(7000), None, None, precision).unwrap();
            let places = places(&found.active.set);
            let values = from_vec::<1>(found.active.values, [found.active.set.len()], &cpu()).autodiff();
            let entries = Entries::from(found.active.set);
            let w_enc = case.w_enc().autodiff().require_grad();
            let w_dec = w_dec.clone().autodiff().require_grad();
            let b_enc = case.b_enc().autodiff().require_grad();
            let b_dec = Tensor::zeros([33], &cpu()).autodiff().require_grad();
            let values = sparse_encode(
                values,
                case.x().autodiff(),
                w_enc.clone(),
                b_enc,
                b_dec.clone(),
                &entries,
            );
            let grads = sparse_decode(values, w_dec.clone(), &entries).square().sum().backward();
            let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            (
                places,
                bits(to_vec(w_enc.grad(&grads).unwrap())),
                bits(to_vec(w_dec.grad(&grads).unwrap())),
                bits(to_vec(b_dec.grad(&grads).unwrap())),
            )
        })
    };
    let [f32, bf16] = [Precision::F32, Precision::Bf16].map(|precision| {
        let one = run(1, precision);
        assert!(one == run(2, precision) && one == run(3, precision));
        one
    });
    assert!(
        f32 != bf16,
        "the encoder's product is in the precision that is asked for"
    );
}

/// Of the size at which, with AMX, most entries are ruled out by a product in bf16.
#[test]
fn large_batches_are_searched_exactly_too_and_alike_by_any_number_of_threads() {
    let [rows, d, f, k] = [1100, 128, 2048, 6];
    let mut case = Case::draw(8, rows, d, f, coarse);
    // So that about one entry in a hundred is positive.
    case.b_enc.iter_mut().for_each(|b| *b -= 60.0);
    let h = case.h();
    let dead: Vec<u32> = (0..f as u32).step_by(9).collect();
    let bounds: Vec<f32> = (0..f).map(|latent| (latent % 3) as f32).collect();
    let of_rows = |latents: &[usize], k: usize| -> Vec<usize> {
        let of_row = |row: usize| {
            let places: Vec<usize> = latents.iter().map(|latent| row * f + latent).collect();
            largest(&places, &h, k)
        };
        (0..rows).flat_map(of_row).collect()
    };
    let every: Vec<usize> = (0..f).collect();
    let all: Vec<usize> = (0..rows * f).collect();
    let above: Vec<usize> = all
        .iter()
        .copied()
        .filter(|&place| h[place] > bounds[place % f])
        .collect();
    for (rule, expected) in [
        (Rule::PerRow(k), of_rows(&every, k)),
        (Rule::PerBatch(k * rows), largest(&all, &h, k * rows)),
        (Rule::Above(&bounds), above),
    ] {
        let run = |threads: usize| {
            let auxiliary = Some(Auxiliary { latents: &dead, k });
            let find = || case.encode(rule, None, auxiliary, Precision::F32);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let found = pool.install(find).unwrap();
            [found.active, found.auxiliary.unwrap()]
        };
        let [active, auxiliary] = run(1);
        assert_eq!(places(&active.set), expected, "{rule:?}");
        let dead: Vec<usize> = dead.iter().map(|&latent| latent as usize).collect();
        assert_eq!(places(&auxiliary.set), of_rows(&dead, k));
        for encoded in [&active, &auxiliary] {
            let values: Vec<f32> = places(&encoded.set).into_iter().map(|place| h[place]).collect();
            assert_eq!(encoded.values, values);
        }
        let of_none = Some(Auxiliary { latents: &[], k });
        let found = case.encode(rule, None, of_none, Precision::F32).unwrap();
        assert!(found.active.set == active.set && found.auxiliary.unwrap().set.is_empty());
        let [in_three, _] = run(3);
        assert!(in_three.set == active.set && in_three.values == active.values);
    }
}

#[test]
fn what_is_not_a_number_is_refused_with_its_row() {
    for [rows, d, f] in [[9, 4, 40], [600, 128, 2048]] {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut case = Case::draw(1, rows, d, f, fine);
            case.x[6 * d + 1] = bad;
            let bounds = vec![0.0; f];
            for rule in [Rule::PerRow(3), Rule::PerBatch(20), Rule::Above(&bounds)] {
                for precision in [Precision::F32, Precision::Bf16] {
                    let found = case.encode(rule, None, None, precision);
                    assert_eq!(found.unwrap_err(), NotFinite { row: 6 });
                }
            }
        }
    }
}

#[test]
fn more_latents_than_there_are_may_be_asked_for() {
    let case = Case::draw(1, 5, 4, 300, fine);
    let find = |k| {
        let rule = Rule::PerRow(k);
        case.encode(rule, None, None, Precision::F32).unwrap()
    };
    assert_eq!(places(&find(usize::MAX).active.set), places(&find(300).active.set));
}

#[test]
fn denormals_and_rows_without_positive_entries_are_selected_exactly() {
    let tiny = f32::from_bits(1);
    let x: Tensor<2> = from_vec(vec![1.0, 0.0, -1.0], [3, 1], &cpu());
    let w_enc: Tensor<2> = from_vec(vec![tiny, 2.0 * tiny, -tiny], [3, 1], &cpu());
    let found = encode(
        &x,
        &w_enc,
        &Tensor::zeros([3], &cpu()),
        Rule::PerRow(1),
        None,
        None,
        Precision::F32,
    )
    .unwrap();
    // Rows with no positive entry select none.
    assert_eq!(places(&found.active.set), [1, 8]);
    assert_eq!(found.active.values, [2.0 * tiny, tiny]);
}
