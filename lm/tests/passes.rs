//! Rows in batches: who stands with whom, what comes back in which order, and what it costs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;

use kernels::{cpu, to_vec};
use lm::{
    Error, Grouping, HookPoint, Logits, Model, Passes, Past, Request, Schedule, Start, TokenBatch, in_order_of_rows,
};
use proptest::prelude::*;

fn model() -> Model {
    Model::load(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt2-micro"),
        &cpu(),
    )
    .unwrap()
}

fn rows(lengths: &[usize]) -> Vec<Vec<u32>> {
    let id = |row: usize, place: usize| ((row * 37 + place * 11) % 211) as u32;
    let row = |(row, &length): (usize, &usize)| (0..length).map(|place| id(row, place)).collect();
    lengths.iter().enumerate().map(row).collect()
}

#[test]
fn rows_of_equal_length_stand_together() {
    let model = model();
    let passes = Passes::new(&model, 2);
    let of = |passes: Passes<'_>, lengths: &[usize]| -> Vec<(Vec<usize>, usize)> {
        let batches = passes.batches(lengths.iter().copied());
        batches.into_iter().map(|batch| (batch.rows, batch.tokens)).collect()
    };
    let lengths = [5, 5, 5, 3, 5, 3, 3, 3];
    let neighbours = of(passes, &lengths);
    let expected: [(&[usize], usize); 6] = [(&[0, 1], 5), (&[2], 5), (&[3], 3), (&[4], 5), (&[5, 6], 3), (&[7], 3)];
    assert_eq!(neighbours, expected.map(|(rows, tokens)| (rows.to_vec(), tokens)));
    let by_length = of(passes.grouped(Grouping::Length), &lengths);
    let expected: [(&[usize], usize); 4] = [(&[3, 5], 3), (&[6, 7], 3), (&[0, 1], 5), (&[2, 4], 5)];
    assert_eq!(by_length, expected.map(|(rows, tokens)| (rows.to_vec(), tokens)));
    assert!(of(passes, &[]).is_empty());
    assert_eq!(
        of(Passes::new(&model, 0), &[4, 4]).len(),
        2,
        "a batch has a row at least"
    );
    assert_eq!(in_order_of_rows(vec!['c', 'a', 'b'], &[2, 0, 1]), ['a', 'b', 'c']);
}

proptest! {
    #[test]
    fn every_row_stands_in_one_batch(lengths in prop::collection::vec(1_usize..5, 0..40), size in 1_usize..6, by_length: bool) {
        let model = model();
        let grouping = if by_length { Grouping::Length } else { Grouping::Neighbours };
        let batches = Passes::new(&model, size).grouped(grouping).batches(lengths.iter().copied());
        for batch in &batches {
            prop_assert!((1..=size).contains(&batch.rows.len()) && batch.rows.is_sorted());
            prop_assert!(batch.rows.iter().all(|&row| lengths[row] == batch.tokens));
        }
        let mut all: Vec<usize> = batches.iter().flat_map(|batch| batch.rows.clone()).collect();
        if !by_length {
            prop_assert!(all.is_sorted());
        }
        all.sort_unstable();
        prop_assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
    }
}

#[test]
fn answers_are_those_of_each_row_alone_whatever_the_schedule() {
    let model = model();
    let rows = rows(&[6, 6, 4, 6, 4, 9, 6]);
    let hook = HookPoint::ResidPost(1);
    let alone: Vec<Vec<f32>> = rows
        .iter()
        .map(|row| {
            let request = Request {
                capture: vec![hook],
                logits: Logits::At(vec![row.len() - 1]),
                ..Request::default()
            };
            let trace = model
                .run(Start::Tokens(&TokenBatch::new(&[row]).unwrap()), &request)
                .unwrap();
            let values = to_vec(trace.at(hook, None, &[2]).unwrap());
            values.into_iter().chain(to_vec(trace.logits_at().unwrap())).collect()
        })
        .collect();
    for schedule in [Schedule::ByWork, Schedule::SideBySide, Schedule::InTurn] {
        for grouping in [Grouping::Neighbours, Grouping::Length] {
            let passes = Passes::new(&model, 3).grouped(grouping).scheduled(schedule);
            let found = passes.run(
                &rows,
                |pass| {
                    Ok::<_, Error>(Request {
                        capture: vec![hook],
                        logits: Logits::At(vec![pass.tokens.len() - 1; pass.rows.len()]),
                        ..Request::default()
                    })
                },
                |pass, trace| {
                    let b = pass.rows.len();
                    let (values, logits) = (trace.at(hook, None, &vec![2; b])?, trace.logits_at()?);
                    let [values, logits] = [values, logits].map(|tensor| (tensor.dims()[1], to_vec(tensor)));
                    let row = |i: usize| -> Vec<f32> {
                        let of = |(width, data): &(usize, Vec<f32>)| data[i * width..(i + 1) * width].to_vec();
                        [of(&values), of(&logits)].concat()
                    };
                    Ok((pass.number, pass.rows.clone(), (0..b).map(row).collect::<Vec<_>>()))
                },
            );
            let found = found.unwrap();
            assert!(found.iter().enumerate().all(|(place, (number, ..))| place == *number));
            let places: Vec<usize> = found.iter().flat_map(|(_, rows, _)| rows.clone()).collect();
            let values = in_order_of_rows(found.into_iter().flat_map(|(.., values)| values).collect(), &places);
            for (found, expected) in values.iter().zip(&alone) {
                let gap = found
                    .iter()
                    .zip(expected)
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f32::max);
                assert!(gap < 1e-4, "{schedule:?} {grouping:?}: {gap}");
            }
        }
    }
}

#[test]
fn a_pass_goes_on_where_a_former_one_was() {
    let model = model();
    let rows = rows(&[7, 7]);
    let gaps = Passes::new(&model, 2).each(&rows, |pass| {
        let request = Request {
            capture: vec![HookPoint::ResidPre(2)],
            logits: Logits::All,
            ..Request::default()
        };
        let whole = pass.run(&request)?;
        let resid = whole.tensor3(HookPoint::ResidPre(2))?;
        let request = Request {
            capture: Vec::new(),
            ..request
        };
        let rest = pass.resume(2, resid, Past::default(), &request)?;
        let gap = (whole.logits_all()? - rest.logits_all()?).abs().max();
        Ok::<_, Error>(to_vec(gap)[0])
    });
    assert!(gaps.unwrap() == [0.0]);
}

#[test]
fn costs_and_errors() {
    let model = model();
    let spec = model.spec();
    let passes = Passes::new(&model, 2);
    let request = |capture: &[HookPoint], logits| Request {
        capture: capture.to_vec(),
        logits,
        ..Request::default()
    };
    let lengths = [5, 5, 5, 3];
    let cost = |request| passes.cost(lengths, &request);
    let (block, unembed) = (spec.block_flops(), spec.unembed_flops());
    let first = cost(request(&[HookPoint::ResidPre(1)], Logits::None));
    assert_eq!((first.batches, first.tokens, first.flops), (3, 18, 18.0 * block));
    let blocks = spec.n_layer as f64;
    assert_eq!(cost(request(&[], Logits::All)).flops, 18.0 * (blocks * block + unembed));
    assert_eq!(
        cost(request(&[], Logits::At(vec![0]))).flops,
        18.0 * blocks * block + 4.0 * unembed
    );

    // The first error in the order of the batches, from either function or the model.
    let rows = rows(&[5, 5, 5, 3]);
    let ask = |_: &lm::Pass<'_>| Ok::<_, Error>(Request::default());
    for schedule in [Schedule::SideBySide, Schedule::InTurn] {
        let passes = passes.scheduled(schedule);
        let failed = passes.run(&rows, ask, |pass, trace| match pass.number {
            2 => trace.logits_all().map(|_| ()),
            _ => Ok(()),
        });
        assert!(matches!(failed, Err(Error::Hook { .. })));
    }
    let empty: [&[u32]; 1] = [&[]];
    assert!(matches!(passes.run(&empty, ask, |_, _| Ok(())), Err(Error::EmptyBatch)));
    let foreign = [[9999_u32]];
    assert!(matches!(
        passes.run(&foreign, ask, |_, _| Ok(())),
        Err(Error::UnknownToken { .. })
    ));
}
