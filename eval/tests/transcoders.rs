//! Transcoders on the three axes: what they write is measured, what they read is encoded.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use activations::Node;
use burn::tensor::{Device, Tensor};
use causal::interventions::{Runner, Want, mean};
use causal::{Site, Sites};
use common::{World, node, world};
use dictionaries::{Dictionary, Encoder, Rows};
use eval::{DictionarySet, Earlier, Edit, EditMethod, EvalFile, Metric, Report, TaskDictionary, evaluate};
use kernels::cpu;
use lm::{HookPoint, Model, Patch, Request, Start, TokenBatch};
use tasks::{Attribute, Sample, Task, TaskSource};

const READS: &str = "blocks.1.mlp.hook_post@END";
const WRITES: &str = "blocks.1.hook_mlp_out@END";

/// The second layer of an MLP as a transcoder: its hidden layer are the codes. A share of it is a skip connection.
struct SecondLayer {
    /// `[M, D]`
    weight: Tensor<2>,
    /// `[1, D]`
    bias: Tensor<2>,
    skip: f32,
}

impl SecondLayer {
    /// Found out from what the model makes of each hidden number alone.
    fn of(model: &Model, skip: f32) -> Self {
        let m = model.spec().d_mlp;
        let [units, nothing] = [Tensor::eye(m, &cpu()), Tensor::zeros([m, m], &cpu())].map(|hidden: Tensor<2>| {
            let at = (0..m).map(|row| (row, 0)).collect();
            let request = Request {
                capture: vec![HookPoint::MlpOut(1)],
                patches: vec![Patch::set(HookPoint::MlpPost(1), None, at, hidden)],
                ..Request::default()
            };
            let tokens = TokenBatch::new(&vec![[0_u32]; m]).unwrap();
            let trace = model.run(Start::Tokens(&tokens), &request).unwrap();
            trace.at(HookPoint::MlpOut(1), None, &vec![0; m]).unwrap() // [M, D]
        });
        Self {
            weight: units - nothing.clone(),
            bias: nothing.narrow(0, 0, 1),
            skip,
        }
    }
}

impl Dictionary for SecondLayer {
    fn d_in(&self) -> usize {
        self.weight.dims()[0]
    }

    fn d_out(&self) -> usize {
        self.weight.dims()[1]
    }

    fn n_latents(&self) -> usize {
        self.weight.dims()[0]
    }

    fn device(&self) -> Device {
        cpu()
    }

    fn decode(&self, codes: Tensor<2>) -> Tensor<2> {
        codes.matmul(self.weight.clone() * (1.0 - self.skip)) + self.bias.clone()
    }

    fn direct(&self, activations: Tensor<2>) -> Option<Tensor<2>> {
        (self.skip != 0.0).then(|| activations.matmul(self.weight.clone() * self.skip))
    }
}

impl Encoder for SecondLayer {
    fn encode(&self, activations: Tensor<2>) -> Tensor<2> {
        activations
    }
}

fn set(name: &str, edit: Edit, dictionary: SecondLayer, reads: Node) -> DictionarySet {
    DictionarySet {
        name: name.to_owned(),
        family: name.to_owned(),
        identity: name.to_owned(),
        folders: BTreeMap::new(),
        seeded: false,
        edit,
        by_node: BTreeMap::from([(node(WRITES), Box::new(dictionary) as Box<TaskDictionary>)]),
        reads: BTreeMap::from([(node(WRITES), reads)]),
    }
}

fn run(sets: &[DictionarySet]) -> Result<Report, eval::Error> {
    let World { model, task } = world();
    let sites = Sites {
        task: TaskSource::Ioi,
        model_hash: None,
        sites: vec![Site {
            name: "mlp".to_owned(),
            nodes: vec![node(WRITES)],
            attributes: vec![Attribute::IO, Attribute::POS],
            evidence: Vec::new(),
        }],
    };
    let settings = EvalFile {
        prompts: 60,
        interpretability_prompts: 200,
        ks: vec![2, 4],
        edits: vec![EditMethod::Greedy],
        thresholds: vec![0.5],
        resamples: 50,
        min_denominator: 1e-3,
        compare: Vec::new(),
        max_kept: 1e6,
        ..EvalFile::default()
    };
    let config = settings.try_into().unwrap();
    let runner = Runner::new(model, 25);
    Ok(evaluate(
        &runner,
        task,
        &sites,
        sets,
        &config,
        &Earlier::default(),
        &mut |_, _| (),
    )?
    .report)
}

#[test]
fn a_transcoder_that_is_the_model_scores_one() {
    let World { model, task } = world();
    let of = |name, edit, skip| set(name, edit, SecondLayer::of(model, skip), node(READS));
    let sets = [
        of("plain", Edit::Supervised, 0.0),
        of("half", Edit::Supervised, 0.5),
        of("greedy", Edit::Greedy, 0.0),
    ];
    let report = run(&sets).unwrap();
    let scores = |dictionary: &str, metric: Metric| -> BTreeMap<String, f64> {
        let fits = |score: &&eval::Score| score.dictionary == dictionary && score.metric == metric;
        let values = report.scores.iter().filter(fits);
        values
            .filter_map(|score| Some((score.attribute.map_or(String::new(), |a| a.to_string()), score.value?)))
            .collect()
    };
    let all_near = |name: &str, metric: Metric, expected: f64, tolerance: f64| {
        let found = scores(name, metric);
        assert!(!found.is_empty(), "{name} {metric}");
        let near = found.values().all(|value| (value - expected).abs() < tolerance);
        assert!(near, "{name} {metric}: {found:?}, expected {expected}");
    };
    for name in ["plain", "half", "greedy"] {
        all_near(name, Metric::Fvu, 0.0, 1e-6);
        all_near(name, Metric::Sufficiency, 1.0, 1e-3);
        all_near(name, Metric::Necessity, 1.0, 1e-2);
    }
    // Exchanging every code is the ground-truth patch; with half of it in the skip, half of the way.
    all_near("plain", Metric::EditAccuracy, 1.0, 1e-9);
    all_near("plain", Metric::EditDistance, 0.0, 1e-3);
    all_near("half", Metric::EditDistance, 0.5, 1e-3);
    for name in ["plain", "half"] {
        all_near(name, Metric::EditMagnitude, 1.0, 1e-3); // of all that codes stand for
    }
    assert!(scores("greedy", Metric::EditDistance).values().all(|left| *left < 1.0));
    assert_eq!(
        report.dictionaries[0].reads,
        BTreeMap::from([(node(WRITES), node(READS))])
    );

    // Half of the way, by hand.
    let runner = Runner::new(model, 25);
    let nodes = BTreeSet::from([node(WRITES)]);
    let prompts = task.sample(Sample::Evaluation, 60, report.config.seed);
    let clean = runner.clean(&prompts, &nodes).unwrap();
    for attribute in [Attribute::IO, Attribute::POS] {
        let changed = task.counterfactuals(&prompts, attribute, report.config.seed);
        let target = &runner.record(&changed, &nodes).unwrap()[&node(WRITES)];
        let source = &clean.nodes[&node(WRITES)];
        let middle = source.values().iter().zip(target.values()).map(|(a, b)| (a + b) / 2.0);
        let middle = Rows::new(source.width(), middle.collect());
        let run = |rows: Rows| {
            let at = BTreeMap::from([(node(WRITES), rows)]);
            runner.intervene(&clean, &at, Want::Prediction).unwrap()
        };
        let expected = f64::from(mean(&run(middle).agreement(&run(target.clone()))) as f32);
        let found = scores("half", Metric::EditAccuracy)[&attribute.to_string()];
        assert!(
            (found - expected).abs() < 1e-6,
            "{attribute}: {found}, expected {expected}"
        );
    }
}

#[test]
fn a_transcoder_that_does_not_fit_is_named() {
    let World { model, .. } = world();
    let error = |reads: &str| {
        let sets = [set("odd", Edit::Greedy, SecondLayer::of(model, 0.0), node(reads))];
        run(&sets).unwrap_err().to_string()
    };
    let said = error("blocks.1.hook_resid_mid@END");
    assert!(
        said.contains("odd") && said.contains("blocks.1.hook_resid_mid@END"),
        "{said}"
    );
    assert!(error("blocks.1.mlp.hook_post@S2").contains("another position"));
    assert!(error("blocks.9.mlp.hook_post@END").contains("blocks.9"));
}
