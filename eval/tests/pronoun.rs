//! The second task through the same code, on the shipped model.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use activations::NodeRows;
use causal::interventions::Runner;
use causal::{LocateFile, Sites, locate};
use eval::{DictionarySet, Earlier, Edit, EvalFile, Metric, TaskDictionary, evaluate};
use lm::Model;
use supervised::{FitMethod, fit};
use tasks::{Attribute, Labels, Role, Sample, Task, TaskName, TaskSource};
use text::Tokenizer;

fn shipped() -> (Model, Box<dyn Task>) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/small-world");
    let model = Model::load(&folder, &kernels::cpu()).unwrap();
    let task = TaskSource::Pronoun
        .open(&Tokenizer::from_dir(&folder).unwrap())
        .unwrap();
    (model, task)
}

/// One supervised dictionary a node.
fn supervised(model: &Model, task: &dyn Task, sites: &Sites) -> DictionarySet {
    let prompts = task.sample(Sample::Train, 1000, 0);
    let labels: Vec<Labels> = prompts.iter().map(|prompt| prompt.labels.clone()).collect();
    let recorded = Runner::new(model, 50).record(&prompts, &sites.nodes()).unwrap();
    let by_node = recorded.into_iter().map(|(node, rows)| {
        let rows = NodeRows {
            width: rows.width(),
            values: rows.values().to_vec(),
            labels: labels.clone(),
        };
        let dictionary = fit(&rows, task.sizes(), FitMethod::Mean, &kernels::cpu()).unwrap();
        (node, Box::new(dictionary) as Box<TaskDictionary>)
    });
    DictionarySet {
        name: "supervised-mean".to_owned(),
        family: "supervised-mean".to_owned(),
        identity: "means".to_owned(),
        folders: std::collections::BTreeMap::new(),
        reads: std::collections::BTreeMap::new(),
        seeded: false,
        edit: Edit::Supervised,
        by_node: by_node.collect(),
    }
}

#[test]
fn the_pronoun_is_located_and_edited_like_the_indirect_object() {
    let (model, task) = shipped();
    let settings = LocateFile {
        task: TaskSource::Pronoun,
        prompts: 60,
        ..LocateFile::default()
    };
    let located = locate(
        &model,
        task.as_ref(),
        &settings.clone().try_into().unwrap(),
        &mut |_, _| (),
    )
    .unwrap();
    assert_eq!(
        (&located.sites.task, located.task),
        (&TaskSource::Pronoun, TaskName::PRONOUN)
    );
    assert!(located.clean.accuracy > 0.95, "{:?}", located.clean);
    // The person's gender is a finding at END, and none where the name stands.
    assert!(located.sites.sites.iter().all(|site| site.nodes[0].role == Role::END));
    let at_name = located.candidates.iter().filter(|found| found.node.role == Role::NAME);
    let trivial = at_name
        .filter(|found| found.node.head.is_none())
        .map(|found| found.trivial.clone());
    assert!(
        trivial
            .collect::<Vec<_>>()
            .iter()
            .all(|trivial| *trivial == [Attribute::GENDER])
    );

    let sets = [supervised(&model, task.as_ref(), &located.sites)];
    let settings = EvalFile {
        prompts: 100,
        interpretability_prompts: 400,
        resamples: 50,
        compare: Vec::new(),
        max_kept: 1e6,
        ..EvalFile::default()
    };
    let config = settings.try_into().unwrap();
    let runner = Runner::new(&model, 50);
    let found = evaluate(
        &runner,
        task.as_ref(),
        &located.sites,
        &sets,
        &config,
        &Earlier::default(),
        &mut |_, _| (),
    )
    .unwrap();
    assert_eq!(found.report.task, TaskName::PRONOUN);
    let best = |metric| {
        let of = found
            .report
            .scores
            .iter()
            .filter(|score| score.metric == metric && score.dictionary == sets[0].name);
        of.filter_map(|score| score.value).fold(f64::NEG_INFINITY, f64::max)
    };
    assert!(best(Metric::EditAccuracy) > 0.9 && best(Metric::Sufficiency) > 0.9);
    assert_eq!(best(Metric::F1), 1.0);

    // Sites of another task are refused, and so are its attributes and roles.
    let ioi = Sites {
        task: TaskSource::Ioi,
        ..located.sites.clone()
    };
    let refused = |sites: &Sites| {
        evaluate(
            &runner,
            task.as_ref(),
            sites,
            &sets,
            &config,
            &Earlier::default(),
            &mut |_, _| (),
        )
    };
    let message = refused(&ioi).unwrap_err().to_string();
    assert!(message.contains("the sites are those of task ioi"), "{message}");
    let mut foreign = located.sites.clone();
    foreign.sites[0].attributes.push(Attribute::POS);
    let message = refused(&foreign).unwrap_err().to_string();
    assert!(message.contains("task pronoun has no attribute Pos"), "{message}");
    let mut elsewhere = located.sites.clone();
    elsewhere.sites[0].nodes[0].role = Role::S2;
    let message = refused(&elsewhere).unwrap_err().to_string();
    assert!(message.contains("task pronoun has no role S2"), "{message}");
    let config = LocateFile::default().try_into().unwrap();
    let mismatch = locate(&model, task.as_ref(), &config, &mut |_, _| ());
    assert!(matches!(mismatch, Err(causal::Error::TaskMismatch { .. })));
}
