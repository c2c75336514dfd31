//! Scores that set searches and seeds side by side.

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
use dictionaries::{Dictionary, Encoder, LabelledEncoder};
use eval::config::Compare;
use eval::{DictionarySet, Earlier, Edit, EditMethod, EvalFile, Evaluated, Metric, Score, TaskDictionary, evaluate};
use tasks::{Attribute, Labels};

fn settings() -> EvalFile {
    EvalFile {
        prompts: 60,
        interpretability_prompts: 1200,
        ks: vec![2, 4],
        edits: vec![EditMethod::Greedy],
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
    let edits = vec![EditMethod::Greedy, EditMethod::Exhaustive];
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
        let expected = distance(EditMethod::Greedy) - distance(EditMethod::Exhaustive);
        assert_eq!((gap.method, gap.k), (Some(EditMethod::Exhaustive), Some(2)));
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
