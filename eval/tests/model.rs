//! Interventions and the search for sites on a small random GPT-2.
//!
//! The model is drawn, not trained: what is tested holds in every model (a patch of everything is a run of the
//! counterfactual). Its weights are large, so that predictions vary and patches matter.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use activations::Node;
use causal::interventions::{Runner, Want};
use causal::locate::{candidates, estimated_forward_passes};
use causal::{LocateFile, locate};
use common::{World, node, world};
use dictionaries::Rows;
use std::collections::{BTreeMap, BTreeSet};
use tasks::{Attribute, Sample, Task};

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
        assert_eq!((rows.len(), rows.width()), (30, node.width(model.spec())), "{node}");
        let outcome = runner
            .intervene(&clean, &BTreeMap::from([(*node, rows.clone())]), Want::Prediction)
            .unwrap();
        assert_eq!(outcome.prediction, clean.outcome.prediction, "{node}");
        assert!(close(&outcome.logit_diff, &clean.outcome.logit_diff), "{node}");
        let zeros = Rows::repeat(&vec![0.0; rows.width()], 30);
        let other = runner
            .intervene(&clean, &BTreeMap::from([(*node, zeros)]), Want::Prediction)
            .unwrap();
        assert!(
            !close(&other.logit_diff, &clean.outcome.logit_diff),
            "{node} is not overwritten at all"
        );
    }
    let all = runner
        .intervene(&clean, &clean.nodes.clone(), Want::Prediction)
        .unwrap();
    assert!(close(&all.logit_diff, &clean.outcome.logit_diff));
    // Attention is computed in another way where keys are kept; the values are the same to the last bits.
    for (node, rows) in runner.record(&prompts, &nodes).unwrap() {
        assert!(close(rows.values(), clean.nodes[&node].values()), "{node}");
    }

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
        (Attribute::IO, &["blocks.0.hook_resid_pre@IO"]),
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
        let patched = runner.intervene(&clean, &truth.nodes, Want::Prediction).unwrap();
        assert_eq!(patched.prediction, truth.outcome.prediction, "{attribute}");
        assert_ne!(patched.prediction, clean.outcome.prediction, "{attribute}");
    }
    // At the very top, END alone decides, whatever changed.
    let top = BTreeSet::from([node("blocks.2.hook_resid_post@END")]);
    let clean = runner.clean(&prompts, &top).unwrap();
    let changed = task.counterfactuals(&prompts, Attribute::POS, 3);
    let truth = runner.clean(&changed, &top).unwrap();
    let patched = runner.intervene(&clean, &truth.nodes, Want::Prediction).unwrap();
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
        runner.intervene(&clean, &BTreeMap::from([(other, rows)]), Want::Prediction),
        Err(causal::Error::Node { .. })
    ));
    let short = Rows::repeat(&[0.0; 32], 3);
    assert!(matches!(
        runner.intervene(&clean, &BTreeMap::from([(known, short)]), Want::Prediction),
        Err(causal::Error::Node { .. })
    ));
    assert!(matches!(
        runner.clean(&[], &BTreeSet::new()),
        Err(causal::Error::NoPrompts)
    ));
}

#[test]
fn restarting_from_a_layer_equals_the_full_run() {
    let World { model, task } = world();
    let prompts = task.sample(Sample::Evaluation, 40, 4);
    let nodes = BTreeSet::from([node("blocks.2.attn.hook_z.1@END"), node("blocks.1.hook_resid_pre@S2")]);
    let outcome = |runner: Runner<'_>| {
        let clean = runner.clean(&prompts, &nodes).unwrap();
        let changed = task.counterfactuals(&prompts, Attribute::S, 3);
        let values = runner.record(&changed, &nodes).unwrap();
        runner.intervene(&clean, &values, Want::LogProbs).unwrap()
    };
    let (restarted, whole) = (
        outcome(Runner::new(model, 16)),
        outcome(Runner::new(model, 16).without_restarts()),
    );
    assert_eq!(restarted.prediction, whole.prediction);
    let (a, b) = (restarted.log_probs.unwrap(), whole.log_probs.unwrap());
    let most = b.values().iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let gaps = a.values().iter().zip(b.values()).map(|(a, b)| (a - b).abs());
    let gap = gaps.fold(0.0_f32, f32::max);
    assert!(gap <= 1e-5 * (1.0 + most), "{gap}");
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
    assert_eq!(
        found.candidates.len(),
        candidates(model.spec(), &task.schema().roles).len()
    );
    let cost = estimated_forward_passes(model.spec(), task, &config);
    assert_eq!(cost.interventions, 45 * 4);
    assert!(cost.forward_passes < 45.0 * 4.0 * 40.0);
    for candidate in &found.candidates {
        for attribute in &candidate.kept {
            assert!(candidate.changed[attribute] >= 0.05 && candidate.removed.unwrap() >= 0.0);
            assert!(!candidate.trivial.contains(attribute));
        }
    }
    assert!(!found.sites.sites.is_empty() && found.sites.sites.len() <= file.max_sites);
    found.sites.check(task.schema(), model).unwrap();
    assert_eq!(locate(model, task, &config, &mut |_, _| ()).unwrap(), found);
    let strict = LocateFile {
        min_removed: 1.0,
        min_changed: 1.0,
        prompts: 40,
        ..LocateFile::default()
    };
    let strict = locate(model, task, &strict.try_into().unwrap(), &mut |_, _| ());
    assert!(matches!(strict, Err(causal::Error::NoSites { .. })));
}
