//! Interventions, the search and the whole evaluation on a small random GPT-2.
//!
//! The model is drawn, not trained: what is tested holds in every model (a perfect dictionary is sufficient, a patch of
//! everything is a run of the counterfactual). Its weights are large, so that predictions vary and patches matter.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use activations::{Dictionary, Node};
use burn::tensor::{Device, Tensor};
use eval::config::Compare;
use eval::interventions::Runner;
use eval::locate::{candidates, estimated_forward_passes};
use eval::rows::Rows;
use eval::{
    DictionarySet, Edit, Error, EvalFile, LocateFile, Metric, RandomDictionary, Report, Site, Sites, evaluate, locate,
};
use lm::train::{TrainConfig, Trainer};
use lm::{Gpt2, Gpt2Config, Tokenizer};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use tasks::{Attribute, IoiTask, Labels, Sample, lists};

struct World {
    model: Gpt2,
    task: IoiTask,
}

/// The first random model whose mean logit difference happens to favour the indirect object.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let template_words = "Then , and had a long really crazy argument . Afterwards said to lots of fun at the gave were \
                              working decided give";
        let mut pieces: BTreeSet<String> = BTreeSet::new();
        for word in template_words.split_whitespace() {
            pieces.extend([word.to_owned(), format!(" {word}")]);
        }
        let words = lists::MALE_NAMES.into_iter().chain(lists::FEMALE_NAMES).chain(lists::OBJECTS).chain(lists::PLACES);
        pieces.extend(words.map(|word| format!(" {word}")));
        let tokenizer = Tokenizer::word_level(&pieces.into_iter().collect::<Vec<_>>()).unwrap();
        let task = IoiTask::new(&tokenizer).unwrap();
        for seed in 0..50 {
            let config = TrainConfig {
                steps: 1,
                learning_rate: 0.0,
                warmup_steps: 0,
                weight_decay: 0.0,
                clip_norm: 1.0,
                init_std: 0.3,
                seed,
            };
            let size = Gpt2Config::new(3, 2, 32, 32, tokenizer.vocab_size());
            let folder = tempfile::tempdir().unwrap();
            Trainer::new(config, size, &kernels::cpu()).export(folder.path(), tokenizer.bos()).unwrap();
            let model = Gpt2::load(folder.path(), &kernels::cpu()).unwrap();
            let favours = |sample, n| {
                let prompts = task.sample(sample, n, 0);
                let clean = Runner::new(&model, 50).clean(&prompts, &BTreeSet::new()).unwrap();
                clean.outcome.mean_logit_diff() > 0.15
            };
            if favours(Sample::Evaluation, 60) && favours(Sample::Locate, 40) {
                return World { model, task };
            }
        }
        panic!("no seed gives a model that favours the indirect object");
    })
}

/// `encode` and `decode` do nothing.
struct Identity(usize);

impl Dictionary for Identity {
    fn d_in(&self) -> usize {
        self.0
    }

    fn n_latents(&self) -> usize {
        self.0
    }

    fn device(&self) -> Device {
        kernels::cpu()
    }

    fn encode(&self, activations: Tensor<2>, _labels: &[Labels]) -> Tensor<2> {
        activations
    }

    fn decode(&self, codes: Tensor<2>) -> Tensor<2> {
        codes
    }
}

fn node(name: &str) -> Node {
    name.parse().unwrap()
}

fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3)
}

#[test]
fn overwriting_with_clean_values_changes_nothing() {
    let World { model, task } = world();
    let prompts = task.sample(Sample::Evaluation, 30, 1);
    let names = [
        "blocks.0.hook_resid_pre@IO",
        "blocks.1.hook_resid_mid@S1",
        "blocks.1.hook_attn_out@S2",
        "blocks.0.hook_mlp_out@S1+1",
        "blocks.1.attn.hook_q.1@END",
        "blocks.2.attn.hook_k.0@IO",
        "blocks.1.attn.hook_v.0@S2",
        "blocks.2.attn.hook_z.1@END",
        "blocks.1.mlp.hook_post@END",
        "blocks.2.hook_resid_post@END",
    ];
    let nodes: BTreeSet<Node> = names.into_iter().map(node).collect();
    let runner = Runner::new(model, 8);
    let clean = runner.clean(&prompts, &nodes).unwrap();
    for (node, rows) in &clean.nodes {
        assert_eq!((rows.len(), rows.width()), (30, node.width(model.config())), "{node}");
        let outcome = runner
            .intervene(&clean, &BTreeMap::from([(*node, rows.clone())]))
            .unwrap();
        assert_eq!(outcome.prediction, clean.outcome.prediction, "{node}");
        assert!(close(&outcome.logit_diff, &clean.outcome.logit_diff), "{node}");
        let zeros = Rows::repeat(&vec![0.0; rows.width()], 30);
        let other = runner.intervene(&clean, &BTreeMap::from([(*node, zeros)])).unwrap();
        assert!(
            !close(&other.logit_diff, &clean.outcome.logit_diff),
            "{node} is not overwritten at all"
        );
    }
    let all = runner.intervene(&clean, &clean.nodes.clone()).unwrap();
    assert!(close(&all.logit_diff, &clean.outcome.logit_diff));
    assert_eq!(runner.record(&prompts, &nodes).unwrap(), clean.nodes);

    let other = Runner::new(model, 30).clean(&prompts, &nodes).unwrap();
    assert!(
        close(&other.outcome.logit_diff, &clean.outcome.logit_diff),
        "the batch size must not matter"
    );
}

#[test]
fn patching_every_changed_token_at_the_bottom_is_running_the_counterfactual() {
    let World { model, task } = world();
    let prompts = task.sample(Sample::Evaluation, 40, 2);
    let runner = Runner::new(model, 16);
    let cases: [(Attribute, &[&str]); 2] = [
        (Attribute::Io, &["blocks.0.hook_resid_pre@IO"]),
        (
            Attribute::S,
            &["blocks.0.hook_resid_pre@S1", "blocks.0.hook_resid_pre@S2"],
        ),
    ];
    for (attribute, names) in cases {
        let nodes: BTreeSet<Node> = names.iter().map(|name| node(name)).collect();
        let clean = runner.clean(&prompts, &nodes).unwrap();
        let changed = task.counterfactuals(&prompts, attribute, 3);
        let truth = runner.clean(&changed, &nodes).unwrap();
        let patched = runner.intervene(&clean, &truth.nodes).unwrap();
        assert_eq!(patched.prediction, truth.outcome.prediction, "{attribute}");
        assert_ne!(patched.prediction, clean.outcome.prediction, "{attribute}");
    }
    // At the very top, END alone decides, whatever changed.
    let top = BTreeSet::from([node("blocks.2.hook_resid_post@END")]);
    let clean = runner.clean(&prompts, &top).unwrap();
    let changed = task.counterfactuals(&prompts, Attribute::Pos, 3);
    let truth = runner.clean(&changed, &top).unwrap();
    let patched = runner.intervene(&clean, &truth.nodes).unwrap();
    assert_eq!(patched.prediction, truth.outcome.prediction);
    assert!(
        close(&patched.logit_diff, &truth.outcome.logit_diff),
        "Pos keeps both names"
    );
}

#[test]
fn a_node_that_was_not_recorded_is_refused() {
    let World { model, task } = world();
    let prompts = task.sample(Sample::Evaluation, 4, 0);
    let runner = Runner::new(model, 4);
    let (known, other) = (node("blocks.1.hook_resid_pre@END"), node("blocks.1.hook_resid_pre@S2"));
    let clean = runner.clean(&prompts, &BTreeSet::from([known])).unwrap();
    let rows = clean.nodes[&known].clone();
    assert!(matches!(
        runner.intervene(&clean, &BTreeMap::from([(other, rows)])),
        Err(Error::Node { .. })
    ));
    let short = Rows::repeat(&[0.0; 32], 3);
    assert!(matches!(
        runner.intervene(&clean, &BTreeMap::from([(known, short)])),
        Err(Error::Node { .. })
    ));
    assert!(matches!(runner.clean(&[], &BTreeSet::new()), Err(Error::NoPrompts)));
}

fn sites(model: &Gpt2) -> Sites {
    let site = |name: &str, nodes: &[&str], attributes: &[Attribute]| Site {
        name: name.to_owned(),
        nodes: nodes.iter().map(|name| node(name)).collect(),
        attributes: attributes.to_vec(),
        evidence: Vec::new(),
    };
    let sites = vec![
        site(
            "resid",
            &["blocks.1.hook_resid_pre@END"],
            &[Attribute::Io, Attribute::Pos],
        ),
        site(
            "heads",
            &["blocks.0.attn.hook_z.1@S2", "blocks.1.attn.hook_z.0@END"],
            &[Attribute::S],
        ),
    ];
    Sites {
        model_hash: Some(model.hash().to_owned()),
        sites,
    }
}

fn sets(model: &Gpt2) -> Vec<DictionarySet> {
    let nodes = sites(model).nodes();
    let identity = |node: &Node| -> Box<dyn Dictionary> { Box::new(Identity(node.width(model.config()))) };
    let random = |node: &Node| -> Box<dyn Dictionary> {
        let mean = vec![0.0; node.width(model.config())];
        Box::new(RandomDictionary::new(&mean, 64, 4, 0, node, &kernels::cpu()))
    };
    let set = |name: &str, edit, make: &dyn Fn(&Node) -> Box<dyn Dictionary>| DictionarySet {
        name: name.to_owned(),
        edit,
        by_node: nodes.iter().map(|node| (*node, make(node))).collect(),
    };
    vec![
        set("everything", Edit::Supervised, &identity),
        set("identity", Edit::Greedy, &identity),
        set("random", Edit::Greedy, &random),
    ]
}

fn settings() -> EvalFile {
    EvalFile {
        prompts: 60,
        interpretability_prompts: 200,
        resamples: 50,
        batch: 25,
        min_denominator: 1e-3,
        compare: vec![Compare {
            left: "identity".to_owned(),
            right: "random".to_owned(),
        }],
        ..EvalFile::default()
    }
}

fn run(sites: &Sites, sets: &[DictionarySet], settings: EvalFile) -> Result<Report, Error> {
    let World { model, task } = world();
    evaluate(model, task, sites, sets, &settings.try_into().unwrap(), &mut |_, _| ())
}

#[test]
fn a_perfect_dictionary_scores_one_and_the_report_is_stable() {
    let World { model, task } = world();
    let (sites, sets) = (sites(model), sets(model));
    let mut steps = Vec::new();
    let config = settings().try_into().unwrap();
    let report = evaluate(model, task, &sites, &sets, &config, &mut |done, total| {
        steps.push((done, total))
    })
    .unwrap();
    let total = steps[0].1;
    assert_eq!(steps, (1..=total).map(|done| (done, total)).collect::<Vec<_>>());

    let scores = |dictionary: &str, metric: Metric| -> Vec<f64> {
        let fits = |score: &&eval::Score| score.dictionary == dictionary && score.metric == metric;
        report
            .scores
            .iter()
            .filter(fits)
            .map(|score| score.value.unwrap())
            .collect()
    };
    for metric in [Metric::Sufficiency, Metric::Necessity] {
        for value in scores("identity", metric) {
            assert!((value - 1.0).abs() < 1e-2, "{metric} {value}");
        }
    }
    // Exchanging every code of a perfect dictionary is the ground-truth patch.
    assert_eq!(scores("everything", Metric::EditAccuracy), [1.0; 3]);
    let magnitudes = scores("everything", Metric::EditMagnitude);
    assert!(
        magnitudes.iter().all(|size| (size - 1.0).abs() < 1e-4),
        "{magnitudes:?}"
    );
    assert_eq!(scores("none", Metric::EditAccuracy).len(), 3);
    assert_eq!(scores("random", Metric::L0), [4.0; 2]);
    assert_eq!(scores("mean-ablation", Metric::Sufficiency).len(), 2);
    assert!(scores("always-on", Metric::Recall).iter().all(|recall| *recall == 1.0));
    for score in &report.scores {
        assert!(
            score.low <= score.high && score.low.is_some() && score.n > 0,
            "{score:?}"
        );
    }
    assert_eq!(report.comparisons.len(), 3);
    assert_eq!(
        report
            .comparisons
            .iter()
            .map(|comparison| comparison.pairs)
            .collect::<Vec<_>>(),
        [2, 3, 3]
    );

    let again = run(&sites, &sets, settings()).unwrap();
    assert_eq!(again.to_json().unwrap(), report.to_json().unwrap());
    let folder = tempfile::tempdir().unwrap();
    report.write(folder.path()).unwrap();
    assert_eq!(
        std::fs::read_to_string(folder.path().join("report.json")).unwrap(),
        report.to_json().unwrap()
    );
    assert!(folder.path().join("scores.parquet").exists());
}

#[test]
fn what_does_not_fit_is_named() {
    let World { model, .. } = world();
    let good = sites(model);
    let message = |sites: &Sites, sets: &[DictionarySet], settings| match run(sites, sets, settings) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };

    let foreign = Sites {
        model_hash: Some("0123".to_owned()),
        ..good.clone()
    };
    let text = message(&foreign, &sets(model), settings());
    assert!(text.contains("0123") && text.contains(model.hash()), "{text}");

    let mut lacking = sets(model);
    lacking[1].by_node.remove(&node("blocks.0.attn.hook_z.1@S2"));
    let text = message(&good, &lacking, settings());
    assert!(
        text.contains("identity") && text.contains("blocks.0.attn.hook_z.1@S2"),
        "{text}"
    );

    let mut wide = sets(model);
    wide[0]
        .by_node
        .insert(node("blocks.1.hook_resid_pre@END"), Box::new(Identity(7)));
    assert!(message(&good, &wide, settings()).contains("width 7"));

    let mut twice = sets(model);
    twice[0].name = "random".to_owned();
    assert!(message(&good, &twice, settings()).contains("random"));

    let unknown = EvalFile {
        compare: EvalFile::default().compare,
        ..settings()
    };
    let text = message(&good, &sets(model), unknown);
    assert!(
        text.contains("sae-topk") && text.contains("everything, identity, random"),
        "{text}"
    );

    let hopeless = EvalFile {
        min_denominator: 1e6,
        ..settings()
    };
    assert!(message(&good, &sets(model), hopeless).contains("does not do the task"));

    for (change, part) in [
        (
            Box::new(|sites: &mut Sites| sites.sites.clear()) as Box<dyn Fn(&mut Sites)>,
            "no sites",
        ),
        (Box::new(|sites| sites.sites[1].name = "resid".to_owned()), "twice"),
        (Box::new(|sites| sites.sites[0].nodes.clear()), "no nodes"),
        (Box::new(|sites| sites.sites[0].attributes.clear()), "no attributes"),
        (
            Box::new(|sites| sites.sites[0].nodes.push(node("blocks.1.hook_resid_pre@END"))),
            "a node twice",
        ),
        (
            Box::new(|sites| sites.sites[0].nodes.push(node("blocks.9.hook_resid_pre@END"))),
            "layer",
        ),
        (
            Box::new(|sites| sites.sites[0].nodes.push(node("ln_final.hook_normalized@END"))),
            "inside a block",
        ),
    ] {
        let mut sites = good.clone();
        change(&mut sites);
        let text = sites.check(model).unwrap_err().to_string();
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn locate_measures_every_candidate_and_keeps_by_threshold() {
    let World { model, task } = world();
    let file = LocateFile {
        prompts: 40,
        batch: 20,
        min_changed: 0.05,
        min_removed: 0.0,
        ..LocateFile::default()
    };
    let config = file.clone().try_into().unwrap();
    let found = locate(model, task, &config, &mut |_, _| ()).unwrap();
    // Residual stream before blocks 1 and 2 and after block 2, two heads in three blocks, each at five roles.
    assert_eq!(found.candidates.len(), (3 + 6) * 5);
    assert_eq!(found.candidates.len(), candidates(model.config()).len());
    let cost = estimated_forward_passes(model.config(), &config);
    assert_eq!(cost.interventions, 45 * 4);
    assert!(cost.forward_passes < 45.0 * 4.0 * 40.0);
    for candidate in &found.candidates {
        for attribute in &candidate.kept {
            assert!(candidate.changed[attribute] >= 0.05 && candidate.removed.unwrap() >= 0.0);
            assert!(!candidate.trivial.contains(attribute));
        }
    }
    assert!(!found.sites.sites.is_empty() && found.sites.sites.len() <= file.max_sites);
    found.sites.check(model).unwrap();
    assert_eq!(locate(model, task, &config, &mut |_, _| ()).unwrap(), found);
    let strict = LocateFile {
        min_removed: 1.0,
        min_changed: 1.0,
        prompts: 40,
        ..LocateFile::default()
    };
    let strict = locate(model, task, &strict.try_into().unwrap(), &mut |_, _| ());
    assert!(matches!(strict, Err(Error::NoSites { .. })));
}
