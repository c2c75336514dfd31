//! Scores that set searches, seeds and the published code's behaviours side by side.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use burn::tensor::{Device, Tensor};
use causal::interventions::Runner;
use common::{World, sets, sites, world};
use dictionaries::{Codes, Dictionary, Directions, Encoder, LabelledEncoder, Rows};
use eval::config::Compare;
use eval::control::{Ranking, apply, greedy, guided, mean_per_candidate, with_offsets};
use eval::{
    DictionarySet, Earlier, Edit, EvalFile, Evaluated, Legacy, Method, Metric, Score, TaskDictionary, evaluate, table,
};
use tasks::{Attribute, Labels};

fn settings() -> EvalFile {
    EvalFile {
        prompts: 60,
        interpretability_prompts: 1200,
        ks: vec![2, 4],
        edits: vec![Method::Greedy],
        compare_k: 4,
        thresholds: vec![0.5],
        reference: "everything".to_owned(),
        resamples: 50,
        batch: 25,
        min_denominator: 1e-3,
        compare: Vec::new(),
        max_kept: 1e6,
        ..EvalFile::default()
    }
}

fn run(sets: &[DictionarySet], settings: EvalFile) -> Evaluated {
    let World { model, task } = world();
    let config = settings.try_into().unwrap();
    let runner = Runner::new(model, 25);
    evaluate(
        &runner,
        task,
        &sites(model),
        sets,
        &config,
        &Earlier::default(),
        &mut |_, _| (),
    )
    .unwrap()
}

fn of<'s>(scores: &'s [Score], dictionary: &str, metric: Metric) -> Vec<&'s Score> {
    let fits = |score: &&Score| score.dictionary == dictionary && score.metric == metric;
    scores.iter().filter(fits).collect()
}

#[test]
fn the_greedy_gap_is_what_better_searches_leave_less() {
    let World { model, .. } = world();
    let edits = vec![Method::Greedy, Method::Exhaustive];
    let found = run(&sets(model), EvalFile { edits, ..settings() });
    let scores = &found.report.scores;
    let gaps = of(scores, "random", Metric::GreedyGap);
    // Exhaustive search reaches k = 2 only; IO and Pos at one site, S at the other.
    assert_eq!(gaps.len(), 3);
    for gap in gaps {
        let distance = |method| {
            let fits = |score: &&&Score| {
                (&score.site, score.attribute, score.method, score.k) == (&gap.site, gap.attribute, Some(method), gap.k)
            };
            let distances = of(scores, "random", Metric::EditDistance);
            distances.iter().find(fits).unwrap().value.unwrap()
        };
        let expected = distance(Method::Greedy) - distance(Method::Exhaustive);
        assert_eq!((gap.method, gap.k), (Some(Method::Exhaustive), Some(2)));
        assert!(
            (gap.value.unwrap() - expected).abs() < 1e-5 && expected > -1e-6,
            "{gap:?}"
        );
    }
}

/// Ten latents for each Pos value, each for a tenth of the names in one role.
struct SplitPos {
    by: Attribute,
    width: usize,
}

impl Dictionary for SplitPos {
    fn d_in(&self) -> usize {
        self.width
    }

    fn n_latents(&self) -> usize {
        20
    }

    fn device(&self) -> Device {
        kernels::cpu()
    }

    fn decode(&self, codes: Tensor<2>) -> Tensor<2> {
        let rows = codes.dims()[0];
        kernels::from_vec(vec![0.0; rows * self.width], [rows, self.width], &kernels::cpu()) // [B, D]
    }
}

impl LabelledEncoder<Labels> for SplitPos {
    fn encode_labelled(&self, _activations: Tensor<2>, labels: &[Labels]) -> Tensor<2> {
        let mut codes = vec![0.0; labels.len() * 20];
        for (row, labels) in codes.chunks_exact_mut(20).zip(labels) {
            let [pos, name] = [Attribute::POS, self.by].map(|attribute| labels.get(attribute).unwrap());
            row[pos * 10 + name % 10] = 1.0;
        }
        kernels::from_vec(codes, [labels.len(), 20], &kernels::cpu()) // [B, F]
    }

    fn as_encoder(&self) -> Option<&dyn Encoder> {
        None
    }
}

#[test]
fn seeds_that_split_alike_agree_and_others_do_not() {
    let World { model, .. } = world();
    let set = |name: &str, family: &str, by| DictionarySet {
        name: name.to_owned(),
        family: family.to_owned(),
        identity: name.to_owned(),
        folders: std::collections::BTreeMap::new(),
        reads: std::collections::BTreeMap::new(),
        seeded: true,
        edit: Edit::Greedy,
        by_node: sites(model)
            .nodes()
            .into_iter()
            .map(|node| {
                let width = node.width(model.spec());
                (node, Box::new(SplitPos { by, width }) as Box<TaskDictionary>)
            })
            .collect(),
    };
    let mut sets = sets(model);
    sets.extend([
        set("alike-seed0", "alike", Attribute::IO),
        set("alike-seed1", "alike", Attribute::IO),
        set("other-seed0", "other", Attribute::IO),
        set("other-seed1", "other", Attribute::S),
    ]);
    let split_alike = vec![Compare {
        left: "other".to_owned(),
        right: "alike".to_owned(),
    }];
    let found = run(
        &sets,
        EvalFile {
            split_alike,
            ..settings()
        },
    );
    let verdicts = |metric, name: &str| -> Vec<(Option<String>, Option<f64>)> {
        let agreements = of(&found.report.scores, name, metric);
        agreements
            .iter()
            .map(|score| (score.verdict.clone(), score.value))
            .collect()
    };
    // Judged where Pos is edited: at one of the two sites.
    let agrees = [(Some("agrees".to_owned()), Some(1.0))];
    assert_eq!(verdicts(Metric::SplittingAgreement, "alike-seed1"), agrees);
    assert_eq!(verdicts(Metric::SplittingAcross, "alike-seed0"), agrees);
    for (verdict, value) in verdicts(Metric::SplittingAgreement, "other-seed1") {
        assert_eq!(verdict.as_deref(), Some("by_chance"));
        assert!(value.unwrap() < 0.2, "{value:?}");
    }
    assert_eq!(
        verdicts(Metric::SplittingAgreement, "random").len(),
        0,
        "one seed has nothing to agree with"
    );
}

/// The sum of each pick as the published code made it, written out: `sum (c_j + b)`.
#[test]
fn with_the_mean_in_every_candidate_edits_drag_it_along() {
    let draw = |n: usize, stream: &str| kernels::random::normal(&mut kernels::random::rng(3, stream), n, 1.0);
    let (d, f) = (4, 6);
    let rows = Rows::new(d, draw(f * d, "directions"));
    let codes = |salt: u32| Codes {
        n_latents: f,
        rows: (0..20_u32).map(|i| vec![((i + salt) % 5, 1.5), (5, 1.0)]).collect(),
    };
    let (alpha, beta) = (codes(0), codes(2));
    let (source, target) = (
        Rows::new(d, draw(20 * d, "source")),
        Rows::new(d, draw(20 * d, "target")),
    );
    let pairs = ((&source, &alpha), (&target, &beta));

    let offset = vec![3.0, -2.0, 1.0, 0.5];
    let directions = Directions::new(rows.clone(), offset.clone());
    let swaps = mean_per_candidate(pairs.0, pairs.1, &directions, 3);
    let edited = with_offsets(&apply(&source, &swaps, &directions), &swaps, &directions);
    for (i, picks) in swaps.iter().enumerate() {
        assert!((1..=3).contains(&picks.len()));
        for (column, b) in offset.iter().enumerate() {
            let dragged: f32 = picks
                .iter()
                .map(|swap| swap.delta() * rows.row(swap.latent as usize)[column] + b)
                .sum();
            assert!((edited.row(i)[column] - source.row(i)[column] - dragged).abs() < 1e-4);
        }
        // The first pick is the best there is, however bad: tried one by one, latent 5 standing for those without a change.
        let after = |latent: usize| -> f32 {
            let code = |codes: &Codes| {
                codes.rows[i]
                    .iter()
                    .find(|entry| entry.0 as usize == latent)
                    .map_or(0.0, |e| e.1)
            };
            let delta = code(&beta) - code(&alpha);
            let parts = (0..d).map(|c| target.row(i)[c] - source.row(i)[c] - delta * rows.row(latent)[c] - offset[c]);
            parts.map(|x| x * x).sum()
        };
        let best = (0..f).map(after).fold(f32::INFINITY, f32::min);
        assert!((after(picks[0].latent as usize) - best).abs() < 1e-3);
    }

    // Without an offset the slip does nothing but force a first pick.
    let directions = Directions::new(rows, vec![0.0; d]);
    let (slip, right) = (
        mean_per_candidate(pairs.0, pairs.1, &directions, 3),
        greedy(pairs.0, pairs.1, &directions, 3),
    );
    let changing = slip
        .iter()
        .map(|picks| picks.iter().copied().filter(|swap| swap.delta() != 0.0));
    assert_eq!(changing.map(Iterator::collect::<Vec<_>>).collect::<Vec<_>>(), right);
}

#[test]
fn ranked_on_the_edited_prompts_unknown_names_get_any_latents() {
    let codes = |row: Vec<(u32, f32)>| Codes {
        n_latents: 3,
        rows: vec![row],
    };
    let (alpha, beta) = (codes(vec![(0, 1.0)]), codes(vec![(1, 1.0), (2, 1.0)]));
    // Value 1 never occurred where latents were ranked.
    let ranking = Ranking::new(2, vec![1.0, 0.0, 0.0, 0.0, 0.0, 0.0], vec![true, false]);
    assert!(!ranking.knows(&[1]));
    let guessing = ranking.guessing();
    assert!(guessing.knows(&[1]));
    let swaps = guided((&alpha, &[0]), (&beta, &[1]), &guessing, 1);
    let latents: Vec<u32> = swaps[0].iter().map(|swap| swap.latent).collect();
    assert_eq!(latents, [0, 1], "the lowest active latent stands for the name");
}

#[test]
fn published_behaviour_is_measured_when_asked_for_and_named() {
    let World { model, .. } = world();
    let edits = vec![Method::Greedy, Method::Guided];
    let legacy = vec![Legacy::MeanPerCandidate, Legacy::RankOnEdited, Legacy::AbsoluteRatios];
    let plain = run(
        &sets(model),
        EvalFile {
            edits: edits.clone(),
            ..settings()
        },
    );
    let as_published = run(
        &sets(model),
        EvalFile {
            edits,
            legacy,
            ..settings()
        },
    );
    let values = |found: &Evaluated, metric, method| -> Vec<Option<f64>> {
        let scores = of(&found.report.scores, "random", metric);
        let by = scores.into_iter().filter(|score| score.method == method);
        by.map(|score| score.value).collect()
    };
    for metric in [Metric::EditDistance, Metric::EditAccuracy] {
        let of_guided = |found| values(found, metric, Some(Method::Guided));
        assert_ne!(of_guided(&plain), of_guided(&as_published), "{metric}");
    }
    let sufficiencies = values(&as_published, Metric::Sufficiency, None);
    assert!(sufficiencies.iter().all(|value| value.unwrap() >= 0.0));
    let text = table::tables(&as_published.report);
    assert!(
        text.contains("MADE AS BY PUBLISHED CODE") && text.contains("mean-per-candidate"),
        "{text}"
    );
    assert!(!table::tables(&plain.report).contains("PUBLISHED"));
}
