//! The report's three forms: stable JSON, Parquet that reads back, tables that fit the terminal.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use arrow::array::{Array, Float64Array, StringArray, UInt64Array};
use causal::locate::{Candidate, Located};
use causal::{Clean, Evidence, Site, Sites};
use eval::bootstrap::Bootstrap;
use eval::columns::scores_parquet;
use eval::config::Compare;
use eval::ledger::{Entry, Key, Ledger, Selection};
use eval::report::{Columns, DictionaryFacts, FORMAT_VERSION, ModelFacts, Unseen};
use eval::{EditMethod, EvalFile, Metric, Report, table};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::data_type::AsBytes;
use std::collections::BTreeMap;
use tasks::{Attribute, TaskName, TaskSource};

fn sites() -> Vec<Site> {
    let site = |name: &str, attributes: &[Attribute]| Site {
        name: name.to_owned(),
        nodes: vec![name.parse().unwrap()],
        attributes: attributes.to_vec(),
        evidence: attributes
            .iter()
            .map(|&attribute| Evidence {
                attribute,
                changed: 0.625,
                removed: 0.5,
                n: 200,
            })
            .collect(),
    };
    vec![
        site("blocks.2.hook_resid_pre@S2", &[Attribute::POS]),
        site(
            "blocks.3.attn.hook_z.1@END",
            &[Attribute::IO, Attribute::S, Attribute::POS],
        ),
    ]
}

/// A small report with made-up numbers.
fn report() -> (Report, Vec<Entry>) {
    let bootstrap = Bootstrap::new(8, 50, 0, "report");
    let mut ledger = Ledger::default();
    for (s, site) in sites().iter().enumerate() {
        for (d, dictionary) in ["supervised-lstsq", "sae-topk-seed0", "sae-topk-seed1", "random"]
            .into_iter()
            .enumerate()
        {
            let mut enter = |attribute, metric, k, value: Option<f64>| {
                let spread: Vec<f32> = (0..8)
                    .map(|i| value.unwrap_or(0.0) as f32 + (i as f32 - 3.5) / 50.0)
                    .collect();
                let mut key = Key::new(dictionary, &site.name, metric);
                key.attribute = attribute;
                if metric == Metric::EditAccuracy {
                    key = key.by(
                        if d == 0 {
                            EditMethod::Supervised
                        } else {
                            EditMethod::Greedy
                        },
                        k,
                    );
                }
                if metric == Metric::Interpreted {
                    key = key.at(0.8);
                }
                ledger.enter(
                    &key,
                    value,
                    bootstrap.means(&spread),
                    20,
                    &[("ld_clean", 7.812_345_67), ("ld_intervened", 2.0)],
                );
            };
            let base = 0.9 - 0.3 * d as f64 - 0.1 * s as f64;
            enter(None, Metric::Sufficiency, None, Some(base));
            enter(None, Metric::Necessity, None, (s == 0).then_some(base));
            enter(None, Metric::L0, None, Some(12.0 * base));
            enter(None, Metric::Interpreted, None, Some(base));
            for &attribute in &site.attributes {
                let ks = if d == 0 {
                    vec![None]
                } else {
                    vec![Some(2), Some(4), Some(6)]
                };
                for k in ks {
                    enter(
                        Some(attribute),
                        Metric::EditAccuracy,
                        k,
                        Some(base + 0.01 * k.unwrap_or(0) as f64),
                    );
                }
                enter(Some(attribute), Metric::F1, None, Some(base));
                enter(Some(attribute), Metric::Mcc, None, Some(base - 0.5));
            }
        }
    }
    let facts = |(name, family): (&str, &str)| DictionaryFacts {
        name: name.to_owned(),
        family: family.to_owned(),
        identity: "1234".to_owned(),
        folders: BTreeMap::new(),
        reads: std::collections::BTreeMap::new(),
        seeded: true,
    };
    let dictionaries = [
        ("supervised-lstsq", "supervised-lstsq"),
        ("sae-topk-seed0", "sae-topk"),
        ("sae-topk-seed1", "sae-topk"),
        ("random", "random"),
    ];
    let dictionaries = dictionaries.map(facts).to_vec();
    let metrics = [
        (Metric::Sufficiency, None, None),
        (Metric::EditAccuracy, Some(EditMethod::Greedy), Some(4)),
        (Metric::F1, None, None),
    ];
    let selections = metrics.map(|(metric, method, k)| Selection { metric, method, k });
    let pair = Compare {
        left: "sae-topk".to_owned(),
        right: "random".to_owned(),
    };
    let comparisons = ledger.compare(&dictionaries, &selections.map(|selection| (&pair, selection)));
    let means = ledger.means(&dictionaries, &selections);
    let entries = ledger.into_entries();
    let report = Report {
        format_version: FORMAT_VERSION,
        task: TaskName::IOI,
        config: EvalFile::default().try_into().unwrap(),
        model: ModelFacts {
            hash: "cafe".to_owned(),
            n_layer: 4,
            n_head: 4,
            d_model: 128,
            d_vocab: 900,
        },
        prompts: "f00d".to_owned(),
        sites: sites(),
        unseen: vec![Unseen {
            site: "blocks.2.hook_resid_pre@S2".to_owned(),
            seen: 3,
            evaluation: 5,
            seen_interpretability: 40,
            interpretability: 100,
            everything_seen: false,
            kept: "beef".to_owned(),
        }],
        clean: Clean {
            logit_diff: 7.8123,
            accuracy: 0.998,
            n: 8,
        },
        dictionaries,
        columns: Columns {
            scores: "5c0e".to_owned(),
            resamples: "4e5a".to_owned(),
        },
        scores: entries.iter().map(|entry| entry.score.clone()).collect(),
        comparisons,
        means,
    };
    (report, entries)
}

#[test]
fn json_round_trips_and_is_stable() {
    let (report, _) = report();
    let text = report.to_json().unwrap();
    let again: Report = serde_json::from_str(&text).unwrap();
    assert_eq!(again, report);
    assert_eq!(again.to_json().unwrap(), text);
    assert!(
        text.contains("\"attribute\": \"IO\"") && text.contains("\"metric\": \"edit_accuracy\""),
        "{text}"
    );
    assert!(text.contains("\"ld_clean\": 7.81235"), "six digits");
}

#[test]
fn parquet_reads_back() {
    let (report, entries) = report();
    let bytes = scores_parquet(&entries).unwrap();
    assert_eq!(bytes, scores_parquet(&entries).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scores.parquet");
    std::fs::write(&path, bytes.as_bytes()).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let batches: Vec<_> = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        batches.iter().map(|batch| batch.num_rows()).sum::<usize>(),
        report.scores.len()
    );
    let batch = &batches[0];
    let fields: Vec<_> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let expected = [
        "dictionary",
        "site",
        "attribute",
        "test",
        "metric",
        "method",
        "k",
        "threshold",
        "verdict",
        "sensitivity",
        "value",
        "low",
        "high",
        "n",
        "raw",
        "latents",
    ];
    assert_eq!(fields, expected);
    let column = |name: &str| batch.column_by_name(name).unwrap().clone();
    let (value, k, raw) = (column("value"), column("k"), column("raw"));
    let value = value.as_any().downcast_ref::<Float64Array>().unwrap();
    let k = k.as_any().downcast_ref::<UInt64Array>().unwrap();
    let raw = raw.as_any().downcast_ref::<StringArray>().unwrap();
    for (i, score) in report.scores.iter().take(batch.num_rows()).enumerate() {
        assert_eq!((!value.is_null(i)).then(|| value.value(i)), score.value);
        assert_eq!((!k.is_null(i)).then(|| k.value(i) as usize), score.k);
        assert_eq!(
            serde_json::from_str::<BTreeMap<String, f64>>(raw.value(i)).unwrap(),
            score.raw
        );
    }
}

#[test]
fn tables_fit_the_terminal() {
    let text = table::tables(&report().0);
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn located_table() {
    let candidate = |name: &str, changed: [f64; 3], removed, kept: &[Attribute]| Candidate {
        node: name.parse().unwrap(),
        changed: [Attribute::IO, Attribute::S, Attribute::POS]
            .into_iter()
            .zip(changed)
            .collect(),
        removed,
        trivial: Vec::new(),
        kept: kept.to_vec(),
    };
    let located = Located {
        task: TaskName::IOI,
        clean: Clean {
            logit_diff: 7.8123,
            accuracy: 0.998,
            n: 200,
        },
        candidates: vec![
            candidate(
                "blocks.2.hook_resid_pre@S2",
                [0.0, 0.0, 0.5],
                Some(0.4),
                &[Attribute::POS],
            ),
            candidate(
                "blocks.3.attn.hook_z.0@END",
                [0.2, 0.0, 0.0],
                Some(0.3),
                &[Attribute::IO],
            ),
            candidate(
                "blocks.3.attn.hook_z.1@END",
                [0.7, 0.0, 0.3],
                Some(0.6),
                &[Attribute::IO, Attribute::POS],
            ),
            candidate("blocks.3.attn.hook_z.2@END", [0.0, 0.0, 0.0], None, &[]),
        ],
        sites: Sites {
            task: TaskSource::Ioi,
            model_hash: Some("cafe".to_owned()),
            sites: sites(),
        },
    };
    insta::assert_snapshot!(table::located(&located));
}
