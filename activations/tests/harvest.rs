//! A harvest stores what the model's hooks hold.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;

use activations::store::TokenWindow;
use activations::{Error, Event, HarvestPlan, Node, Part, Progress, Source, Store, StoredDtype, harvest};
use lm::{HookPoint, Logits, Model, Request, Start, TokenBatch};
use tasks::{IoiTask, Role, Sample, Task, lists};
use text::{Document, Fill, Packing, Tokenizer};

const HOOKS: [HookPoint; 3] = [HookPoint::ResidPre(1), HookPoint::Z(0), HookPoint::MlpPost(1)];

fn model() -> Model {
    let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../lm/tests/fixtures/gpt2-micro"));
    Model::load(&dir, &kernels::cpu()).unwrap()
}

/// Words of the indirect-object templates.
const WORDS: &str =
    "and had a long really crazy argument Afterwards said to lots of fun at the gave were working decided give";

/// A tokenizer that knows the indirect-object task and has few enough words for the fixture's vocabulary.
fn tokenizer() -> Tokenizer {
    let lists = names().chain(&lists::OBJECTS[..8]).chain(&lists::PLACES[..5]).copied();
    let words = WORDS.split(' ').chain(lists).map(|word| format!(" {word}"));
    let pieces: Vec<String> = ["Then", ",", "."].into_iter().map(str::to_owned).chain(words).collect();
    Tokenizer::word_level(&pieces).unwrap()
}

fn names() -> std::slice::Iter<'static, &'static str> {
    lists::MALE_NAMES[..45].iter()
}

/// A text of one token per number.
fn document(words: std::ops::Range<usize>) -> String {
    let names: Vec<&str> = names().copied().collect();
    words
        .map(|word| format!(" {}", names[word * 7 % names.len()]))
        .collect()
}

fn text_plan(documents: Vec<String>, context: usize) -> HarvestPlan {
    let windows = Packing::documents(context).spooled_windows(
        Document::made(documents).map(Ok),
        &tokenizer(),
        &std::env::temp_dir(),
    );
    HarvestPlan {
        hooks: HOOKS.to_vec(),
        ..HarvestPlan::for_nodes(&[], Source::Text(windows.unwrap()), 2, 7)
    }
}

#[test]
fn text_is_stored_as_the_model_sees_it() {
    let (model, tokenizer, dir) = (model(), tokenizer(), tempfile::tempdir().unwrap());
    let documents = vec![document(0..12), document(3..7), document(20..35), String::new()];
    let mut seen = Vec::new();
    let plan = text_plan(documents.clone(), 6);
    let manifest = harvest(&model, &tokenizer, &plan, dir.path(), &mut |event| seen.push(event))
        .unwrap()
        .unwrap();
    assert_eq!(manifest.rows, 12 + 4 + 15);
    assert_eq!(seen.last(), Some(&Event::Progress(Progress { done: 7, total: 7 })));

    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.manifest(), &manifest);
    let windows = store.windows().unwrap();
    assert_eq!(windows.len(), 7);
    for hook in HOOKS {
        let heads = if hook.has_heads() { model.spec().n_head } else { 1 };
        for head in 0..heads {
            let head = hook.has_heads().then_some(head);
            let stored = store.hook(hook, head).unwrap();
            let mut count = 0;
            for (row, vector) in stored.rows.iter().zip(stored.values.chunks_exact(stored.width)) {
                let ids = tokenizer.encode(&documents[row.document as usize]).unwrap();
                // The window that holds the row: full windows have 5 tokens of the document.
                let before: usize = stored
                    .rows
                    .iter()
                    .filter(|r| r.document == row.document && r.row < row.row)
                    .count();
                let window: Vec<u32> = tokenizer
                    .bos()
                    .into_iter()
                    .chain(ids[before..ids.len().min(before + 5)].to_vec())
                    .collect();
                assert_eq!(window[row.position as usize], row.token);
                let kept = windows.window(row.row as usize).unwrap();
                assert_eq!((&kept.ids, kept.document), (&window, row.document));
                let request = Request {
                    capture: vec![hook],
                    logits: Logits::None,
                    ..Request::default()
                };
                let trace = model
                    .run(Start::Tokens(&TokenBatch::new(&[window]).unwrap()), &request)
                    .unwrap();
                let expected = kernels::to_vec(trace.at(hook, head, &[row.position as usize]).unwrap());
                for (stored, expected) in vector.iter().zip(expected) {
                    assert!(
                        (stored - expected).abs() <= 1e-5 * expected.abs().max(1.0),
                        "{hook} {stored} {expected}"
                    );
                }
                count += 1;
            }
            assert_eq!(count, manifest.rows);
        }
    }
}

/// Of packed and shuffled rows, special ones and separators among them; in parts too.
#[test]
fn every_row_leads_back_to_its_context() {
    let (model, tokenizer, dir) = (model(), tokenizer(), tempfile::tempdir().unwrap());
    let documents: Vec<String> = (0..40).map(|i| document(i..i + 3 + i * 7 % 11)).collect();
    let packing = Packing {
        fill: Fill::Packed,
        ..Packing::documents(8)
    };
    let texts = Document::made(documents.clone()).map(Ok);
    let windows = packing.spooled_windows(texts, &tokenizer, dir.path()).unwrap();
    let mut plan = HarvestPlan {
        hooks: vec![HookPoint::ResidPre(1)],
        shuffle: Some((35, 3)),
        keep_special: true,
        ..HarvestPlan::for_nodes(&[], Source::Text(windows), 4, 7)
    };
    let [whole, parts] = ["whole", "parts"].map(|name| dir.path().join(name));
    harvest(&model, &tokenizer, &plan, &whole, &mut |_| ())
        .unwrap()
        .unwrap();
    for index in [1, 0] {
        plan.part = Part { index, of: 2 };
        harvest(&model, &tokenizer, &plan, &parts, &mut |_| ()).unwrap();
    }
    for name in ["manifest.json", "tokens.parquet"] {
        let [whole, parts] = [&whole, &parts].map(|dir| fs::read(dir.join(name)).unwrap());
        assert!(whole == parts, "{name}");
    }
    let store = Store::open(&whole).unwrap();
    let (windows, rows) = (
        store.windows().unwrap(),
        store.hook(HookPoint::ResidPre(1), None).unwrap().rows,
    );
    // Every token of the documents is in a window, and every position of a window is a row.
    let all = windows.read(0..windows.len()).unwrap();
    assert_eq!(all.iter().map(|window| window.ids.len()).sum::<usize>(), rows.len());
    for row in rows {
        let window = windows.window(row.row as usize).unwrap();
        assert_eq!(window, all[row.row as usize]);
        assert_eq!(window.ids[row.position as usize], row.token);
        if !row.special {
            let ids = tokenizer.encode(&documents[row.document as usize]).unwrap();
            assert!(ids.contains(&row.token), "{row:?}");
        }
    }
    let message = windows.window(windows.len()).unwrap_err().to_string();
    assert!(message.contains(&format!("window {}", windows.len())), "{message}");
    assert!(windows.read(0..windows.len() + 1).is_err());
    // Another file in its place is found.
    let path = whole.join("tokens.parquet");
    let mut bytes = fs::read(&path).unwrap();
    bytes[40] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let message = store.windows().unwrap_err().to_string();
    assert!(message.contains("tokens.parquet: checksum"), "{message}");
    fs::remove_file(&path).unwrap();
    let message = store.windows().unwrap_err().to_string();
    assert!(
        message.contains("tokens.parquet is missing; run `saelab harvest`"),
        "{message}"
    );
    // ... and written again, nothing else.
    plan.part = Part::WHOLE;
    let mut ran = Vec::new();
    harvest(&model, &tokenizer, &plan, &whole, &mut |event| ran.push(event)).unwrap();
    assert!(fs::read(&path).unwrap() == fs::read(parts.join("tokens.parquet")).unwrap());
    assert!(fs::read(whole.join("manifest.json")).unwrap() == fs::read(parts.join("manifest.json")).unwrap());
}

#[test]
fn prompts_are_stored_in_their_order_with_their_labels() {
    let (model, tokenizer, dir) = (model(), tokenizer(), tempfile::tempdir().unwrap());
    let prompts = IoiTask::new(&tokenizer).unwrap().sample(Sample::Train, 11, 0);
    let nodes: Vec<Node> = [
        "blocks.0.attn.hook_z.1@END",
        "blocks.1.hook_resid_pre@S1+1",
        "blocks.1.hook_resid_pre@IO",
    ]
    .map(|name| name.parse().unwrap())
    .to_vec();
    let plan = HarvestPlan::for_nodes(&nodes, Source::Prompts(prompts.clone()), 4, 10);
    let manifest = harvest(&model, &tokenizer, &plan, dir.path(), &mut |_| ())
        .unwrap()
        .unwrap();
    assert_eq!(manifest.roles, [Role::IO, Role::S1_PLUS_1, Role::END]);
    assert_eq!(manifest.rows, 33);

    let store = Store::open(dir.path()).unwrap();
    let windows = store.windows().unwrap().read(0..11).unwrap();
    let ids = |windows: Vec<TokenWindow>| windows.into_iter().map(|window| window.ids).collect::<Vec<_>>();
    assert_eq!(
        ids(windows),
        prompts.iter().map(|prompt| prompt.ids.clone()).collect::<Vec<_>>()
    );
    let tokens = TokenBatch::new(&prompts.iter().map(|prompt| &prompt.ids[..]).collect::<Vec<_>>()).unwrap();
    for node in nodes {
        node.validate(model.spec()).unwrap();
        let stored = store.node(&node).unwrap();
        assert_eq!(stored.width, node.width(model.spec()));
        assert_eq!(
            stored.labels,
            prompts.iter().map(|prompt| prompt.labels.clone()).collect::<Vec<_>>()
        );
        let request = Request {
            capture: vec![node.hook],
            logits: Logits::None,
            ..Request::default()
        };
        let trace = model.run(Start::Tokens(&tokens), &request).unwrap();
        let positions: Vec<usize> = prompts.iter().filter_map(|prompt| prompt.position(node.role)).collect();
        let expected = kernels::to_vec(trace.at(node.hook, node.head, &positions).unwrap());
        assert_eq!(stored.values.len(), expected.len());
        for (stored, expected) in stored.values.iter().zip(expected) {
            assert!(
                (stored - expected).abs() <= 1e-5 * expected.abs().max(1.0),
                "{node} {stored} {expected}"
            );
        }
    }
    let io = store.hook(HookPoint::ResidPre(1), None).unwrap();
    for row in io.rows.iter().filter(|row| row.role == Some(Role::IO)) {
        assert_eq!(row.token, prompts[row.row as usize].right_token());
    }

    // Prompts of two lengths have no common positions.
    let mut unequal = prompts;
    unequal[6].ids.push(1);
    let plan = HarvestPlan {
        source: Source::Prompts(unequal),
        ..plan
    };
    let error = harvest(&model, &tokenizer, &plan, &dir.path().join("other"), &mut |_| ()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::UnequalLength {
                row: 6,
                expected: 19,
                found: 20
            }
        ),
        "{error}"
    );
    assert!(!dir.path().join("other").exists());
}

#[test]
fn nodes_outside_the_model_are_named() {
    let model = model();
    for (name, part) in [
        (
            "blocks.50.hook_resid_pre@S2",
            "layer 50 asked for, the model has layers 0 to",
        ),
        (
            "blocks.0.attn.hook_z.77@END",
            "head 77 asked for, the model has heads 0 to",
        ),
    ] {
        let message = name
            .parse::<Node>()
            .unwrap()
            .validate(model.spec())
            .unwrap_err()
            .to_string();
        assert!(message.contains(name) && message.contains(part), "{message}");
    }
}

#[test]
fn a_second_harvest_completes_the_first() {
    let (model, tokenizer, dir) = (model(), tokenizer(), tempfile::tempdir().unwrap());
    let plan = text_plan(vec![document(0..40)], 9);
    let shard = dir.path().join("blocks.0.attn.hook_z/00002.parquet");
    harvest(&model, &tokenizer, &plan, dir.path(), &mut |_| ()).unwrap();
    let (manifest, bytes) = (
        std::fs::read(dir.path().join("manifest.json")).unwrap(),
        std::fs::read(&shard).unwrap(),
    );
    std::fs::remove_file(&shard).unwrap();
    std::fs::remove_file(dir.path().join("manifest.json")).unwrap();
    harvest(&model, &tokenizer, &plan, dir.path(), &mut |_| ()).unwrap();
    assert_eq!(std::fs::read(&shard).unwrap(), bytes);
    assert_eq!(std::fs::read(dir.path().join("manifest.json")).unwrap(), manifest);

    // Other text is another config: the folder is not mixed.
    let other = text_plan(vec![document(1..41)], 9);
    let error = harvest(&model, &tokenizer, &other, dir.path(), &mut |_| ()).unwrap_err();
    assert!(
        matches!(&error, Error::OtherConfig { differences, .. } if differences[0].starts_with("read.sha256: ")),
        "{error}"
    );

    // Settings that differ are named by their keys.
    let others = HarvestPlan {
        dtype: StoredDtype::F16,
        hooks: vec![HookPoint::ResidPre(1)],
        shuffle: Some((10, 3)),
        keep_special: true,
        batch: 5,
        ..plan
    };
    let message = harvest(&model, &tokenizer, &others, dir.path(), &mut |_| ())
        .unwrap_err()
        .to_string();
    for difference in [
        "batch: 2 -> 5",
        "dtype: f32 -> f16",
        r#"hooks: ["blocks.1.hook_resid_pre","blocks.0.attn.hook_z","blocks.1.mlp.hook_post"] -> ["blocks.1.hook_resid_pre"]"#,
        "shuffle_seed: null -> 3",
        "shuffle_window: 0 -> 14",
        "special_tokens: exclude -> mark",
    ] {
        assert!(message.contains(difference), "{difference}: {message}");
    }
}

#[test]
fn what_was_asked_for_is_kept_and_compared() {
    let (model, tokenizer, dir) = (model(), tokenizer(), tempfile::tempdir().unwrap());
    let mut plan = text_plan(vec![document(0..40)], 9);
    let asked = |context: usize| serde_json::json!({ "source": { "context": context } });
    plan.asked = asked(9).as_object().unwrap().clone();
    let manifest = harvest(&model, &tokenizer, &plan, dir.path(), &mut |_| ())
        .unwrap()
        .unwrap();
    let settings = &manifest.provenance.settings;
    assert_eq!(settings["source"], serde_json::json!({ "context": 9 }));
    assert_eq!(settings["read"]["sequences"], 5);
    plan.asked = asked(10).as_object().unwrap().clone();
    let error = harvest(&model, &tokenizer, &plan, dir.path(), &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("(source.context: 9 -> 10)"), "{error}");
}

#[test]
fn impossible_plans_are_refused() {
    let (model, tokenizer, dir) = (model(), tokenizer(), tempfile::tempdir().unwrap());
    let plan = text_plan(vec![document(0..9)], 5);
    let refused = |plan: &HarvestPlan| {
        harvest(&model, &tokenizer, plan, dir.path(), &mut |_| ())
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    let context = text_plan(vec![document(0..50)], 45);
    assert!(refused(&context).contains("`context`"));
    let nothing = Packing::documents(5).windows(Document::made([String::new()]).map(Ok), &tokenizer);
    assert!(nothing.unwrap_err().to_string().contains("`path`"));
    let batch = HarvestPlan {
        batch: 0,
        ..plan.clone()
    };
    assert!(refused(&batch).contains("`batch`"));
    let layer = HarvestPlan {
        hooks: vec![HookPoint::ResidPre(99)],
        ..plan.clone()
    };
    assert!(refused(&layer).contains("layer 99"));
    let pattern = HarvestPlan {
        hooks: vec![HookPoint::Pattern(0)],
        ..plan.clone()
    };
    assert!(refused(&pattern).contains("patterns"));
    let prompts = HarvestPlan {
        source: Source::Prompts(Vec::new()),
        ..plan
    };
    assert!(refused(&prompts).contains("`n`"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
