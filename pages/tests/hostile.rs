//! Names of any content are text on every page.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use causal::{Clean, Site};
use eval::EvalFile;
use eval::compare::{Evaluation, Pairing, compare};
use eval::ledger::Entry;
use eval::metric::{EditMethod, Metric};
use eval::report::{Columns, DictionaryFacts, FORMAT_VERSION, ModelFacts, Report, Score};
use pages::comparison::{self, Side};
use pages::run::{Run, page};
use tasks::{Attribute, TaskName};

const HOSTILE: [&str; 6] = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</script></style></title><svg onload=alert(1)>",
    "\u{202e}gnp.exe\u{2066}",
    "😀 模型 \u{0}\u{7}\u{1b}[2J",
    "{{7*7}} ${7*7} <!-- --> ]]>",
];

fn report() -> Report {
    let facts = |(place, name): (usize, &&str)| DictionaryFacts {
        name: (*name).to_owned(),
        family: (*name).to_owned(),
        identity: format!("{place}"),
        folders: BTreeMap::from([((*name).to_owned(), String::new())]),
        reads: BTreeMap::new(),
        seeded: true,
    };
    let site = Site {
        name: HOSTILE[0].to_owned(),
        nodes: vec!["blocks.0.hook_resid_pre@END".parse().unwrap()],
        attributes: vec![Attribute::IO],
        evidence: Vec::new(),
    };
    let score = |name: &&str, metric: Metric| Score {
        dictionary: (*name).to_owned(),
        site: HOSTILE[0].to_owned(),
        attribute: Some(Attribute::IO),
        test: metric.test(),
        metric,
        method: (metric.test() == eval::metric::Test::Control).then_some(EditMethod::Greedy),
        k: (metric.test() == eval::metric::Test::Control).then_some(4),
        threshold: None,
        verdict: Some(HOSTILE[1].to_owned()),
        sensitivity: std::collections::BTreeMap::new(),
        value: Some(0.5),
        low: Some(0.25),
        high: Some(0.75),
        n: 100,
        raw: BTreeMap::new(),
        latents: Vec::new(),
    };
    let metrics = [
        Metric::Sufficiency,
        Metric::EditAccuracy,
        Metric::EditSuccess,
        Metric::EditExcess,
        Metric::F1,
        Metric::L0,
        Metric::Occlusion,
    ];
    Report {
        format_version: FORMAT_VERSION,
        task: TaskName::IOI,
        config: EvalFile {
            reference: HOSTILE[2].to_owned(),
            matched_to: HOSTILE[1].to_owned(),
            ..EvalFile::default()
        }
        .try_into()
        .unwrap(),
        model: ModelFacts {
            hash: HOSTILE[0].to_owned(),
            n_layer: 1,
            n_head: 1,
            d_model: 8,
            d_vocab: 9,
        },
        prompts: String::new(),
        sites: vec![site],
        clean: Clean {
            logit_diff: 1.0,
            accuracy: 0.5,
            n: 1,
        },
        dictionaries: HOSTILE.iter().enumerate().map(facts).collect(),
        columns: Columns {
            scores: String::new(),
            resamples: String::new(),
        },
        scores: HOSTILE
            .iter()
            .flat_map(|name| metrics.map(|metric| score(name, metric)))
            .collect(),
        comparisons: Vec::new(),
        means: Vec::new(),
        unseen: Vec::new(),
    }
}

/// No tag of a name has become one of the page, and nothing that turns text around is left.
fn check(page: &str) {
    for hostile in [
        "<script>alert",
        "<img src=x",
        "<svg onload",
        "onerror=alert(1)>\"",
        "\u{202e}",
        "\u{2066}",
        "\u{7}",
        "\u{1b}",
    ] {
        assert!(!page.contains(hostile), "{hostile:?}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
}

#[test]
fn names_are_text_on_the_page_of_a_run() {
    let run = Run {
        name: HOSTILE[2].to_owned(),
        report: report(),
        entries: Vec::new(),
        circumstances: Some(serde_json::json!({HOSTILE[0]: HOSTILE[1], "host": HOSTILE[3]})),
        harvest: Some((5, serde_json::json!({"model": HOSTILE[2]}))),
        curves: Vec::new(),
        spliced: Vec::new(),
        phenomena: None,
        circuits: Vec::new(),
        explanations: None,
        latents: vec![(format!("latents/{}", HOSTILE[1]), HOSTILE[0].to_owned())],
        troubles: HOSTILE.map(str::to_owned).to_vec(),
    };
    let page = page(&run).unwrap();
    check(&page);
    // Everything that the page's scripts read is data.
    assert_eq!(
        page.matches("<script").count() - page.matches("<script type=\"application/json\"").count(),
        3
    );
}

#[test]
fn names_are_text_on_the_page_of_a_comparison() {
    let report = report();
    let entries = report.scores.iter().map(|score| Entry {
        score: score.clone(),
        resampled: vec![0.5; 200],
    });
    let evaluation = Evaluation {
        name: HOSTILE[0].to_owned(),
        entries: entries.collect(),
        report: report.clone(),
    };
    let runs = [evaluation];
    let found = compare(&runs, &[Metric::F1], EditMethod::Greedy, 4, Pairing::Each).unwrap();
    let sides = [Side {
        evaluation: &runs[0],
        spliced: Vec::new(),
    }];
    check(&comparison::page(&sides, &found, EditMethod::Greedy, 4).unwrap());
}
