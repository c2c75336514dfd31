//! What the published code does wrong, and this one must not: the numbered traps of section 11 of the project's specification
//! (Makelov, Lange, Nanda, [arXiv 2405.08366](https://arxiv.org/abs/2405.08366)). Each test fails on the published behaviour.
//! Traps 6 and 7 are tests of `sae`'s schedule and resampling.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{World, node, world};
use dictionaries::{Codes, Dictionary, Directions, RandomDictionary, Rows, encode};
use eval::approximation::{necessity, sufficiency};
use eval::control::{apply, greedy};
use eval::interpretability::{Activity, Criterion, always_on, choose};
use std::collections::BTreeSet;
use tasks::{Attribute, Labels, Sample, Task};

/// Trap 1: each candidate was turned back to raw units with the data's mean, so every one of them, also the inactive ones,
/// dragged the mean in.
#[test]
fn an_edit_does_not_depend_on_the_decoders_offset() {
    let rows = Rows::new(2, vec![1.0, 0.0, 0.0, 1.0]);
    let [near, far] = [[0.0, 0.0], [50.0, -30.0]].map(|offset| Directions::new(rows.clone(), offset.to_vec()));
    let codes = |row: Vec<(u32, f32)>| Codes {
        n_latents: 2,
        rows: vec![row],
    };
    let (alpha, beta) = (codes(vec![(0, 1.0)]), codes(vec![(0, 1.0), (1, 2.0)]));
    let (source, target) = (Rows::new(2, vec![51.0, -30.0]), Rows::new(2, vec![51.0, -28.0]));
    let edit = |directions: &Directions| {
        let swaps = greedy((&source, &alpha), (&target, &beta), directions, 4);
        assert_eq!(swaps[0].len(), 1, "a latent that does not change is no candidate");
        apply(&source, &swaps, directions)
    };
    assert_eq!(edit(&near), target);
    assert_eq!(edit(&far), target);
}

/// Trap 2: latents were ranked on prompts of the first half of the names, and then asked for names of the other half.
#[test]
fn latents_are_ranked_on_prompts_that_hold_every_counterfactual_name() {
    let World { task, .. } = world();
    let ranked = task.sample(Sample::Interpretability, 4000, 0);
    let edited = task.sample(Sample::Evaluation, 400, 0);
    for attribute in [Attribute::IO, Attribute::S] {
        let of = |prompt: &tasks::Prompt| prompt.labels.get(attribute).unwrap();
        // The even rows are those on which latents are ranked.
        let known: BTreeSet<usize> = ranked.iter().step_by(2).map(of).collect();
        let wanted: BTreeSet<usize> = task.counterfactuals(&edited, attribute, 0).iter().map(of).collect();
        let seen: BTreeSet<usize> = edited.iter().map(of).collect();
        assert!(
            wanted.is_disjoint(&seen),
            "{attribute}: the counterfactual names are new"
        );
        assert!(wanted.is_subset(&known), "{attribute}");
    }
}

/// Trap 3: a latent that is always active has an F1 of two thirds on a balanced predicate.
#[test]
fn an_always_active_latent_has_no_correlation() {
    let values: Vec<usize> = (0..400).map(|i| (i / 2) % 2).collect();
    let codes = [always_on(400)];
    let chosen = choose(&codes, &values, 2, Criterion::F1);
    let means = Activity::of_latents(&codes, &values, 2, &chosen).score().unwrap();
    assert!(means.f1 > 0.66 && means.mcc == 0.0, "{means:?}");
}

/// Trap 8: TopK without a ReLU counted negative codes as active.
#[test]
fn selected_codes_are_positive() {
    // Few latents, so that the k largest scores of a row include negative ones.
    let node = node("blocks.1.hook_resid_pre@END");
    let dictionary = RandomDictionary::new(&[0.0; 16], 8, 6, 0, &node, &kernels::cpu());
    let draws = kernels::random::normal(&mut kernels::random::rng(5, "rows"), 100 * 16, 1.0);
    let codes = encode(&dictionary, &Rows::new(16, draws), &vec![Labels::default(); 100]);
    assert!(codes.rows.iter().any(|row| row.len() < 6));
    assert!(codes.rows.iter().flatten().all(|entry| entry.1 > 0.0));
    assert_eq!(dictionary.n_latents(), 8);
}

/// Trap 9: absolute values rewarded overshoot and hid the sign, and small denominators exploded.
#[test]
fn ratios_keep_their_sign_and_small_denominators_are_undefined() {
    assert_eq!(sufficiency(4.0, -3.0, 0.1), Some(-0.75));
    assert_eq!(sufficiency(4.0, 6.0, 0.1), Some(1.5));
    assert_eq!(sufficiency(0.05, 3.0, 0.1), None);
    assert_eq!(necessity(4.0, 3.95, 0.0, 0.1), None);
}

/// Trap 10: the autoencoder was chosen by its edits on the prompts that it was reported on.
#[test]
fn nothing_is_chosen_on_the_prompts_that_are_reported() {
    let World { task, .. } = world();
    let of = |sample| -> BTreeSet<Vec<u32>> {
        let prompts = task.sample(sample, 2000, 0);
        prompts.into_iter().map(|prompt| prompt.ids).collect()
    };
    let reported = of(Sample::Evaluation);
    for sample in [Sample::Train, Sample::Interpretability, Sample::Locate] {
        assert!(of(sample).is_disjoint(&reported), "{sample:?}");
    }
}
