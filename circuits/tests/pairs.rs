//! Files of pairs, good and bad, and pairs of a task.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

use std::path::PathBuf;

use circuits::{Metric, Pair, PairsFile, TaskPairs, behaviour_pairs, evaluate, task_pairs};
use strum::VariantArray;
use tasks::world::Behaviour;
use tasks::{Attribute, Role, Sample, TaskSource};
use text::Tokenizer;

fn tokenizer() -> Tokenizer {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models/small-world");
    Tokenizer::from_dir(&folder).unwrap()
}

fn read(text: &str) -> Result<Vec<Pair>, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let pairs = PairsFile::read(file.path(), &tokenizer()).map_err(|error| error.to_string())?;
    Ok(pairs.pairs)
}

#[test]
fn texts_and_ids_are_read() {
    let tokenizer = tokenizer();
    let names: Vec<u32> = [" Mary", " John"].map(|name| tokenizer.token(name).unwrap()).to_vec();
    let pairs = read(
        "{\"clean_ids\": [0, 5, 9], \"corrupted_ids\": [0, 6, 9], \"answer\": 17, \"wrong\": [3, \" Mary\"]}\n\n\
         {\"clean\": \" Mary John\", \"corrupted\": \" John John\", \"answer\": \" Mary\", \"wrong\": [\" John\"]}\n",
    )
    .unwrap();
    assert_eq!(pairs[0].clean, [0, 5, 9]);
    assert_eq!(
        (pairs[0].answer.clone(), pairs[0].wrong.clone()),
        (vec![17], vec![3, names[0]])
    );
    let bos = tokenizer.bos().unwrap();
    assert_eq!(pairs[1].clean, [bos, names[0], names[1]]);
    assert_eq!(
        (pairs[1].answer.clone(), pairs[1].wrong.clone()),
        (vec![names[0]], vec![names[1]])
    );
}

#[test]
fn bad_lines_are_refused_by_number() {
    let good = "{\"clean_ids\": [0, 5], \"corrupted_ids\": [0, 6], \"answer\": 17, \"wrong\": 3}\n";
    for (line, reason) in [
        (
            "{\"clean_ids\": [0, 5], \"corrupted_ids\": [0], \"answer\": 17, \"wrong\": 3}",
            "2 tokens and the corrupted one 1",
        ),
        (
            "{\"clean_ids\": [], \"corrupted_ids\": [], \"answer\": 17, \"wrong\": 3}",
            "no tokens",
        ),
        (
            "{\"clean_ids\": [0], \"corrupted_ids\": [0], \"answer\": [], \"wrong\": 3}",
            "`answer` is empty",
        ),
        (
            "{\"clean_ids\": [0], \"corrupted_ids\": [0], \"answer\": 3, \"wrong\": 3}",
            "both in",
        ),
        (
            "{\"clean_ids\": [0], \"corrupted_ids\": [0], \"answer\": \" Mary John\", \"wrong\": 3}",
            "not one token",
        ),
        (
            "{\"clean_ids\": [0], \"clean\": \" Mary\", \"corrupted_ids\": [0], \"answer\": 4, \"wrong\": 3}",
            "one of the two",
        ),
        ("{\"corrupted_ids\": [0], \"answer\": 4, \"wrong\": 3}", "give `clean`"),
        (
            "{\"clean_ids\": [0], \"corrupted_ids\": [0], \"answer\": 4, \"wrong\": 3, \"positions\": []}",
            "positions",
        ),
        (
            "{\"clean_ids\": [-1], \"corrupted_ids\": [0], \"answer\": 4, \"wrong\": 3}",
            "is no pair",
        ),
        ("nothing", "is no pair"),
    ] {
        let error = read(&format!("{good}{line}\n")).unwrap_err();
        assert!(error.contains("line 2") && error.contains(reason), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    assert!(read("\n").unwrap_err().contains("no pairs"));
}

#[test]
fn a_task_gives_pairs_that_differ_where_it_is_said() {
    let task = TaskSource::Ioi.open(&tokenizer()).unwrap();
    let of = |attribute, at| TaskPairs {
        attribute,
        at,
        sample: Sample::Evaluation,
        n: 20,
        seed: 3,
    };
    let differ = |pair: &Pair| pair.clean.iter().zip(&pair.corrupted).filter(|(a, b)| a != b).count();
    let pairs = task_pairs(task.as_ref(), &of(Attribute::S, vec![Role::S2])).unwrap();
    assert!(pairs.len() == 20 && pairs.iter().all(|pair| differ(pair) == 1));
    for pair in &pairs {
        let named = |ids: &[u32]| ids.iter().filter(|id| pair.wrong.contains(id)).count();
        assert_eq!((named(&pair.clean), named(&pair.corrupted)), (2, 1));
    }
    let both = task_pairs(task.as_ref(), &of(Attribute::S, vec![])).unwrap();
    assert!(both.iter().all(|pair| differ(pair) == 2));
    let unknown = task_pairs(task.as_ref(), &of(Attribute::GENDER, vec![])).unwrap_err();
    assert!(unknown.to_string().contains("IO, S, Pos"), "{unknown}");
    let role = task_pairs(task.as_ref(), &of(Attribute::S, vec!["Nobody".parse().unwrap()])).unwrap_err();
    assert!(role.to_string().contains("Nobody"), "{role}");
}

#[test]
fn a_corrupted_prompt_of_the_world_has_another_answer() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models/small-world");
    let model = lm::Model::load(&folder, &kernels::cpu()).unwrap();
    for &behaviour in Behaviour::VARIANTS {
        let pairs = behaviour_pairs(&tokenizer(), behaviour, 40, 0).unwrap();
        assert_eq!(pairs.len(), 40);
        let differ: usize = pairs
            .iter()
            .map(|pair| pair.clean.iter().zip(&pair.corrupted).filter(|(a, b)| a != b).count())
            .sum();
        let found = evaluate(&model, &pairs, &[], Metric::ProbDiff, 16, &|_| ()).unwrap();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let (clean, corrupted) = (mean(&found.clean), mean(&found.corrupted));
        println!(
            "{behaviour}: {:.1} tokens differ, {clean:.3} and {corrupted:.3}",
            differ as f64 / 40.0
        );
        assert!(clean > corrupted + 0.3, "{behaviour}: {clean}, {corrupted}");
    }
}
