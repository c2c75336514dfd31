//! Planted occlusion and over-splitting are flagged, the unchanged dictionary is not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use dictionaries::Codes;
use eval::bootstrap::Bootstrap;
use eval::phenomena::occlusion::{self, Carried, Occlusion, StrongBy};
use eval::phenomena::splitting::{self, Question, Splitting};
use kernels::random;
use rand::RngExt;
use rand::seq::SliceRandom;
use tasks::{Attribute, ByAttribute, Labels};

const N: usize = 4000;
const NAMES: usize = 100;
const SIZES: [usize; 3] = [NAMES, NAMES, 2];
/// First latent of S in a dictionary that mirrors the supervised one.
const S: u32 = NAMES as u32;
/// First latent of Pos.
const POS: u32 = 2 * S;
/// Number of its latents.
const WHOLE: u32 = POS + 2;
/// Latents into which a Pos vector falls.
const PARTS: usize = 20;

/// Labels as the indirect-object task draws them: two different names and an order.
fn labels() -> Vec<Labels> {
    let mut rng = random::rng(0, "phenomena/labels");
    (0..N)
        .map(|_| {
            let io = rng.random_range(0..NAMES);
            let s = (io + rng.random_range(1..NAMES)) % NAMES;
            Labels::ioi([io, s, rng.random_range(0..2)])
        })
        .collect()
}

/// The dictionary that gives every IO name, S name and Pos value a latent.
fn supervised(labels: &[Labels]) -> Codes {
    let row = |labels: &Labels| {
        let [io, s, pos] = labels.as_ioi().unwrap();
        vec![(io as u32, 2.44), (S + s as u32, 1.85), (POS + pos as u32, 1.2)]
    };
    Codes {
        n_latents: WHOLE as usize,
        rows: labels.iter().map(row).collect(),
    }
}

/// The dictionary without the vectors of every S name below `names`.
fn without_s(labels: &[Labels], names: usize) -> Codes {
    let mut codes = supervised(labels);
    for row in &mut codes.rows {
        row.retain(|entry| !(S..S + names as u32).contains(&entry.0));
    }
    codes
}

/// The dictionary with each Pos vector replaced by [`PARTS`] that are active on disjoint random parts of the value's
/// prompts; only on a share of them, the vector staying for the rest. `seed` draws the parts.
fn split(labels: &[Labels], share: f64, seed: u64) -> Codes {
    let mut codes = supervised(labels);
    codes.n_latents += 2 * PARTS;
    for value in 0..2 {
        let mut prompts: Vec<usize> = (0..N)
            .filter(|&i| labels[i].get(Attribute::POS) == Some(value))
            .collect();
        prompts.shuffle(&mut random::rng(seed, "phenomena/parts"));
        prompts.truncate((prompts.len() as f64 * share) as usize);
        for (place, &i) in prompts.iter().enumerate() {
            let part = WHOLE + (value * PARTS + place * PARTS / prompts.len()) as u32;
            codes.rows[i].retain(|entry| entry.0 != POS + value as u32);
            codes.rows[i].push((part, 1.2));
        }
    }
    codes
}

/// IO and S with the effects and, if asked for, norms of the paper's node.
fn check_occlusion(labels: &[Labels], checkpoints: &[Codes], effects: [f64; 2], norms: bool) -> Occlusion {
    let values_of = |attribute| {
        labels
            .iter()
            .filter_map(|labels| labels.get(attribute))
            .collect::<Vec<_>>()
    };
    let values = [Attribute::IO, Attribute::S].map(values_of);
    let carried = |place: usize, attribute| Carried {
        attribute,
        values: &values[place],
        n_values: NAMES,
        effect: effects[place],
        norm: norms.then_some([2.44, 1.85][place]),
    };
    let checkpoints: Vec<&[Codes]> = checkpoints.iter().map(std::slice::from_ref).collect();
    occlusion::check(
        &checkpoints,
        [carried(0, Attribute::IO), carried(1, Attribute::S)],
        &occlusion::Thresholds::default(),
        &Bootstrap::new(labels.len(), 200, 0, "occlusion"),
    )
    .unwrap()
}

fn check_splitting(labels: &[Labels], codes: &Codes) -> Splitting {
    splitting::check(
        std::slice::from_ref(codes),
        &of_pos(labels),
        &splitting::Thresholds::default(),
    )
    .unwrap()
}

fn of_pos(labels: &[Labels]) -> Question<'_> {
    Question {
        labels,
        n_values: ByAttribute::ioi(SIZES),
        attribute: Attribute::POS,
    }
}

#[test]
fn a_dictionary_without_the_weak_attribute_occludes() {
    let labels = labels();
    let found = check_occlusion(&labels, &[without_s(&labels, NAMES)], [-0.5, -0.5], true);
    assert_eq!(found.verdict, occlusion::Verdict::Occludes);
    assert_eq!(
        (found.strong, found.weak, found.strong_by),
        (Attribute::IO, Attribute::S, StrongBy::Norm)
    );
    assert_eq!((found.end.value, found.end.interval), (Some(1.0), Some((1.0, 1.0))));
    assert_eq!(
        check_splitting(&labels, &without_s(&labels, NAMES)).verdict,
        splitting::Verdict::Clear
    );
}

#[test]
fn a_dictionary_with_half_of_the_weak_attribute_scores_half() {
    let labels = labels();
    let found = check_occlusion(&labels, &[without_s(&labels, NAMES / 2)], [-0.5, -0.5], true);
    let (low, high) = found.end.interval.unwrap();
    assert!((0.4..0.6).contains(&found.end.value.unwrap()), "{found:?}");
    assert!(low > 0.3 && high < 0.7, "{found:?}");
    // Half of the weak values missing is not above the threshold of a half.
    assert_eq!(found.verdict, occlusion::Verdict::Clear);
}

#[test]
fn the_unchanged_dictionary_is_clear() {
    let labels = labels();
    let codes = supervised(&labels);
    for norms in [true, false] {
        let found = check_occlusion(&labels, std::slice::from_ref(&codes), [0.5, -0.3], norms);
        assert_eq!(found.verdict, occlusion::Verdict::Clear);
        assert_eq!(found.end.value, Some(0.0));
    }
    let found = check_splitting(&labels, &codes);
    assert_eq!((found.verdict, found.fragments), (splitting::Verdict::Clear, 0));
    assert_eq!(found.score, Some(0.0));
}

#[test]
fn the_training_time_of_occlusion_is_told() {
    let labels = labels();
    let (none, early, full) = (without_latents(&labels), without_s(&labels, NAMES), supervised(&labels));
    let verdict = |checkpoints: &[Codes], effects| check_occlusion(&labels, checkpoints, effects, true).verdict;
    let strong = [-0.5, -0.5];
    assert_eq!(
        verdict(&[none.clone(), early.clone(), full.clone()], strong),
        occlusion::Verdict::Late
    );
    assert_eq!(
        verdict(&[none.clone(), early.clone()], strong),
        occlusion::Verdict::Occludes
    );
    assert_eq!(
        verdict(&[full.clone(), early.clone()], strong),
        occlusion::Verdict::Clear
    );
    assert_eq!(
        verdict(std::slice::from_ref(&none), strong),
        occlusion::Verdict::Undefined
    );
    assert_eq!(
        verdict(std::slice::from_ref(&early), [-0.5, 0.2]),
        occlusion::Verdict::NotApplicable
    );
    assert_eq!(
        verdict(std::slice::from_ref(&early), [f64::NAN, 0.5]),
        occlusion::Verdict::NotApplicable
    );
    let found = check_occlusion(&labels, &[none, early, full], strong, true);
    assert_eq!(found.first.map(|first| first.checkpoint), Some(1));
    assert_eq!(found.coverages.len(), 3);
}

/// A dictionary whose latents have nothing to do with the labels.
fn without_latents(labels: &[Labels]) -> Codes {
    let mut rng = random::rng(4, "phenomena/noise");
    let row = |_: &Labels| {
        (0..WHOLE)
            .filter(|_| rng.random_bool(0.05))
            .map(|latent| (latent, 1.0))
            .collect()
    };
    Codes {
        n_latents: WHOLE as usize,
        rows: labels.iter().map(row).collect(),
    }
}

#[test]
fn without_norms_the_strong_attribute_is_the_covered_one() {
    let labels = labels();
    let swapped: Vec<Labels> = labels
        .iter()
        .map(|labels| labels.as_ioi().map(|[io, s, pos]| Labels::ioi([s, io, pos])).unwrap())
        .collect();
    // In the swapped labels the latents of S names answer to IO.
    let found = check_occlusion(&swapped, &[without_s(&labels, NAMES)], [0.5, 0.5], false);
    assert_eq!((found.strong, found.strong_by), (Attribute::S, StrongBy::Coverage));
    let found = check_occlusion(&swapped, &[without_s(&labels, NAMES)], [0.5, 0.5], true);
    assert_eq!(
        (found.strong, found.verdict),
        (Attribute::IO, occlusion::Verdict::Undefined)
    );
}

#[test]
fn values_with_too_few_prompts_do_not_count() {
    let labels: Vec<Labels> = labels().into_iter().take(60).collect();
    let found = check_occlusion(&labels, &[supervised(&labels)], [0.5, 0.5], true);
    assert_eq!((found.verdict, found.end.value), (occlusion::Verdict::Undefined, None));
    assert_eq!(
        check_splitting(&labels, &supervised(&labels)).verdict,
        splitting::Verdict::Undefined
    );
}

#[test]
fn codes_of_other_prompts_are_refused() {
    let labels = labels();
    let codes = supervised(&labels[..N - 1]);
    let values = vec![0; N];
    let carried = |attribute| Carried {
        attribute,
        values: &values,
        n_values: 1,
        effect: 1.0,
        norm: None,
    };
    let bootstrap = Bootstrap::new(N, 3, 0, "x");
    let pair = [carried(Attribute::IO), carried(Attribute::S)];
    let nodes = [codes];
    let error = |checkpoints: &[&[Codes]], pair, bootstrap: &Bootstrap| {
        occlusion::check(checkpoints, pair, &occlusion::Thresholds::default(), bootstrap)
            .unwrap_err()
            .to_string()
    };
    assert!(error(&[&nodes], pair, &bootstrap).contains("3999 rows of codes, expected 4000"));
    assert!(error(&[], pair, &bootstrap).contains("no checkpoint"));
    let short = Carried {
        values: &values[..5],
        ..pair[1]
    };
    assert!(error(&[], [pair[0], short], &bootstrap).contains("S has 5 values"));
    assert!(error(&[], pair, &Bootstrap::new(7, 3, 0, "x")).contains("7 prompts"));
    let missing = Carried { n_values: 0, ..pair[1] };
    assert!(error(&[], [pair[0], missing], &bootstrap).contains("the value 0 of 0"));
}

#[test]
fn a_dictionary_with_split_pos_vectors_splits() {
    let labels = labels();
    let codes = split(&labels, 1.0, 0);
    let found = check_splitting(&labels, &codes);
    assert_eq!(found.verdict, splitting::Verdict::Splits);
    assert_eq!(found.fragments, 2 * PARTS);
    assert!((found.score.unwrap() - 0.95).abs() < 0.01, "{found:?}");
    assert_eq!(found.jaccard, Some(0.0));
    let occluding = check_occlusion(&labels, &[codes], [0.5, 0.5], true);
    assert_eq!(occluding.verdict, occlusion::Verdict::Clear);
}

#[test]
fn a_dictionary_with_half_split_pos_vectors_scores_half() {
    let labels = labels();
    let found = check_splitting(&labels, &split(&labels, 0.5, 0));
    assert!((found.score.unwrap() - 0.5).abs() < 0.01, "{found:?}");
    // Each vector that stays is active on a quarter of all prompts, hence a part itself.
    assert_eq!(found.fragments, 2 * PARTS + 2);
    assert_eq!(found.verdict, splitting::Verdict::Splits);
}

#[test]
fn fragments_beside_a_whole_latent_are_no_splitting() {
    let labels = labels();
    let mut codes = split(&labels, 1.0, 0);
    let first = codes.n_latents as u32;
    codes.n_latents += 2;
    for (row, labels) in codes.rows.iter_mut().zip(&labels) {
        row.push((first + labels.get(Attribute::POS).unwrap() as u32, 1.0));
    }
    let found = check_splitting(&labels, &codes);
    assert_eq!((found.fragments, found.score), (2 * PARTS, Some(0.0)));
    assert_eq!(found.verdict, splitting::Verdict::Clear);
}

#[test]
fn one_value_that_is_split_is_enough() {
    let labels = labels();
    let mut codes = split(&labels, 1.0, 0);
    for (row, labels) in codes.rows.iter_mut().zip(&labels) {
        if labels.get(Attribute::POS) == Some(1) {
            row.clear();
        }
    }
    let found = check_splitting(&labels, &codes);
    assert_eq!((found.fragments, found.score), (PARTS, None));
    assert_eq!(found.verdict, splitting::Verdict::Splits);
}

#[test]
fn latents_of_names_and_overlapping_latents_are_no_fragments() {
    let labels = labels();
    // One latent for every pair of a name and a Pos value, and none for Pos.
    let row = |labels: &Labels| {
        let [io, s, pos] = labels.as_ioi().unwrap();
        vec![((2 * io + pos) as u32, 1.0), ((2 * (NAMES + s) + pos) as u32, 1.0)]
    };
    let coupled = Codes {
        n_latents: 4 * NAMES,
        rows: labels.iter().map(row).collect(),
    };
    let found = check_splitting(&labels, &coupled);
    assert_eq!(
        (found.fragments, found.verdict, found.score),
        (0, splitting::Verdict::Undefined, None)
    );

    // Thirty copies of a latent on 70 % of each value's prompts are no partition.
    let row = |(i, labels): (usize, &Labels)| {
        let pos = labels.get(Attribute::POS).unwrap() as u32;
        let copies = (0..30).map(|copy| (30 * pos + copy, 1.0));
        copies.filter(|_| i % 10 < 7).collect()
    };
    let copies = Codes {
        n_latents: 60,
        rows: labels.iter().enumerate().map(row).collect(),
    };
    let found = check_splitting(&labels, &copies);
    assert_eq!((found.fragments, found.jaccard), (60, Some(1.0)));
    assert_eq!((found.verdict, found.score), (splitting::Verdict::Clear, Some(0.0)));
}

/// The latents of a dictionary in another order.
fn reordered(codes: &Codes) -> Codes {
    let mut to: Vec<u32> = (0..codes.n_latents as u32).collect();
    to.shuffle(&mut random::rng(9, "phenomena/order"));
    let mut rows = codes.rows.clone();
    for row in &mut rows {
        row.iter_mut().for_each(|entry| entry.0 = to[entry.0 as usize]);
        row.sort_by_key(|entry| entry.0);
    }
    Codes { rows, ..*codes }
}

#[test]
fn fragments_of_two_seeds_agree_only_if_they_share_prompts() {
    let labels = labels();
    let codes = |share, seed| [split(&labels, share, seed)];
    let a = codes(1.0, 0);
    let agreement = |b: &[Codes]| splitting::agreement(&a, b, &of_pos(&labels), 100, 0).unwrap();

    let same = agreement(&[reordered(&a[0])]);
    assert_eq!((same.jaccard, same.above_chance), (Some(1.0), Some(true)));
    assert_eq!((same.pairs, same.fragments), (2 * PARTS, [2 * PARTS; 2]));
    assert!(same.chance.unwrap() < 0.2, "{same:?}");
    assert_eq!(agreement(&[reordered(&a[0])]), same);

    // A tenth of the prompts in other parts.
    let mut near = reordered(&a[0]);
    let other = split(&labels, 1.0, 5);
    (0..N).step_by(10).for_each(|i| near.rows[i].clone_from(&other.rows[i]));
    assert_eq!(agreement(&[near]).above_chance, Some(true));

    let independent = agreement(&codes(1.0, 1));
    assert_eq!(independent.above_chance, Some(false), "{independent:?}");
    let none = agreement(&[supervised(&labels)]);
    assert_eq!((none.pairs, none.jaccard, none.above_chance), (0, None, None));
}
