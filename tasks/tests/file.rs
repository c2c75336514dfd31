//! A task that is read from files: what it makes of them, and what it refuses.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tasks::world::World;
use tasks::{Attribute, Role, Sample, Schema, Task, TaskSource};
use text::Tokenizer;

const TASK: &str = r#"
name = "verbs"
prompts = "lines.jsonl"
edited = ["Number"]
roles = ["Noun"]

[attributes.Number]
values = ["one", "many"]

[attributes.Id]

[told]
Noun = ["Number"]
"#;

fn world() -> Tokenizer {
    Tokenizer::word_level(&World::new().pieces()).unwrap()
}

/// A folder with a task file and a file of prompts.
struct Files(tempfile::TempDir);

impl Files {
    fn new(task: &str, lines: &[Value]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("task.toml"), task).unwrap();
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        std::fs::write(folder.path().join("lines.jsonl"), lines.join("\n")).unwrap();
        Self(folder)
    }

    fn source(&self) -> TaskSource {
        self.0.path().join("task.toml").to_str().unwrap().parse().unwrap()
    }

    fn open(&self) -> Result<Box<dyn Task>, tasks::Error> {
        self.source().open(&world())
    }

    fn refusal(&self) -> String {
        let message = self.open().expect_err("refused").to_string();
        assert!(!message.contains('\n'), "{message}");
        message
    }
}

fn line(noun: &str, split: Option<&str>, id: usize) -> Value {
    let mut line = json!({
        "prompt": format!("Then, the {noun}s near the door"),
        "labels": {"Number": "many", "Id": id},
        "positions": {"Noun": {"text": format!(" {noun}s")}},
        "right": " run",
        "wrong": " runs",
        "counterfactuals": {"Number": {
            "prompt": format!("Then, the {noun} near the door"),
            "labels": {"Number": "one"},
            "right": " runs",
            "wrong": " run",
        }},
    });
    if let Some(split) = split {
        line["split"] = json!(split);
    }
    line
}

const NOUNS: [&str; 8] = ["key", "table", "boat", "cat", "horse", "king", "robot", "lion"];
const SPLITS: [&str; 4] = ["train", "evaluation", "interpretability", "locate"];

/// Two prompts for each sample.
fn lines() -> Vec<Value> {
    let noun = |(place, noun): (usize, &&str)| line(noun, Some(SPLITS[place % 4]), place + 4);
    NOUNS.iter().enumerate().map(noun).collect()
}

#[test]
fn prompts_are_what_the_lines_say() {
    let tokenizer = world();
    let files = Files::new(TASK, &lines());
    let task = files.open().unwrap();
    let [number, id]: [Attribute; 2] = ["Number", "Id"].map(|name| name.parse().unwrap());
    let noun: Role = "Noun".parse().unwrap();
    let Schema {
        edited,
        labelled,
        roles,
        ..
    } = task.schema();
    assert_eq!(
        (edited, labelled, roles),
        (&vec![number], &vec![id], &vec![noun, Role::END])
    );
    assert_eq!(files.source().schema().unwrap(), *task.schema());
    assert_eq!((task.name().as_str(), task.binary_attribute()), ("verbs", Some(number)));
    assert_eq!(
        (task.told_by_token(noun), task.told_by_token(Role::END)),
        (&[number][..], &[][..])
    );
    // Values in the order of the task file; numbers by size.
    assert_eq!(task.value_name(number, 1), "many");
    let ids: Vec<&str> = (0..task.n_values(id)).map(|value| task.value_name(id, value)).collect();
    assert_eq!(ids, ["4", "5", "6", "7", "8", "9", "10", "11"]);
    assert_eq!(
        task.families()
            .iter()
            .map(|family| family.name.as_str())
            .collect::<Vec<_>>(),
        ["Number", "Id"]
    );

    for (place, sample) in Sample::ALL.into_iter().enumerate() {
        assert_eq!(task.available(sample), Some(2));
        let prompts = task.sample(sample, 50, 0);
        let found: BTreeSet<String> = prompts
            .iter()
            .map(|prompt| tokenizer.decode(&prompt.ids[1..]).unwrap())
            .collect();
        let expected = [NOUNS[place], NOUNS[place + 4]].map(|noun| format!("Then, the {noun}s near the door"));
        assert_eq!(found, expected.into());
        assert_eq!(task.sample(sample, 1, 3), task.sample(sample, 1, 3));
        let others = task.counterfactuals(&prompts, number, 0);
        for (prompt, other) in prompts.iter().zip(&others) {
            assert_eq!((Some(prompt.ids[0]), prompt.ids.len()), (tokenizer.bos(), 8));
            assert_eq!((prompt.position(noun), prompt.position(Role::END)), (Some(4), Some(7)));
            assert_eq!(other.position(noun), Some(4));
            assert_eq!(
                (prompt.labels.get(number), other.labels.get(number)),
                (Some(1), Some(0))
            );
            assert_eq!(prompt.labels.get(id), other.labels.get(id));
            let differing: Vec<usize> = (0..8).filter(|&at| prompt.ids[at] != other.ids[at]).collect();
            assert_eq!(differing, [4]);
            let answers = [" run", " runs"].map(|text| tokenizer.token(text).unwrap());
            assert_eq!([prompt.right_token(), prompt.wrong_token()], answers);
            assert_eq!([other.wrong_token(), other.right_token()], answers);
        }
        // What is not edited has no counterfactual.
        assert_eq!(task.counterfactuals(&prompts, id, 0), prompts);
    }
}

#[test]
fn ids_are_taken_as_they_are() {
    let tokenizer = world();
    let id = |text: &str| tokenizer.token(text).unwrap();
    let mut lines = lines();
    for line in &mut lines {
        for part in ["", "/counterfactuals/Number"] {
            let part = line.pointer_mut(part).unwrap();
            let text = part["prompt"].as_str().unwrap().to_owned();
            let object = part.as_object_mut().unwrap();
            object.remove("prompt");
            object.insert("ids".to_owned(), json!(tokenizer.encode(&text).unwrap()));
        }
        line["positions"]["Noun"] = json!(3);
        line["right"] = json!(id(" sleep"));
    }
    let task = Files::new(TASK, &lines).open().unwrap();
    let noun: Role = "Noun".parse().unwrap();
    for prompt in task.sample(Sample::Train, 2, 0) {
        assert_eq!(
            (prompt.ids[0], prompt.ids.len(), prompt.position(noun)),
            (id("Then"), 7, Some(3))
        );
        assert_eq!(
            (prompt.right_token(), prompt.wrong_token()),
            (id(" sleep"), id(" runs"))
        );
    }
}

#[test]
fn prompts_without_a_split_are_dealt_by_their_tokens() {
    let nouns: Vec<String> = lines_of_world();
    let lines: Vec<Value> = nouns
        .iter()
        .enumerate()
        .map(|(place, noun)| line(noun, None, place))
        .collect();
    let samples = |task: &str, lines: &[Value]| {
        let task = Files::new(task, lines).open().unwrap();
        Sample::ALL.map(|sample| {
            task.sample(sample, 1000, 0)
                .into_iter()
                .map(|prompt| prompt.ids)
                .collect::<BTreeSet<_>>()
        })
    };
    let dealt = samples(TASK, &lines);
    assert_eq!(dealt.iter().map(BTreeSet::len).sum::<usize>(), lines.len());
    assert!(dealt[0].len() > dealt[1].len());
    let reversed: Vec<Value> = lines.iter().rev().cloned().collect();
    assert_eq!(samples(TASK, &reversed), dealt);
    assert_ne!(samples(&format!("seed = 1\n{TASK}"), &lines), dealt);
}

/// The nouns that stand in the world's vocabulary with and without an s.
fn lines_of_world() -> Vec<String> {
    let pieces: BTreeSet<String> = World::new().pieces().into_iter().collect();
    let nouns = pieces.iter().filter_map(|piece| piece.strip_prefix(' '));
    let nouns = nouns.filter(|noun| noun.len() > 2 && pieces.contains(&format!(" {noun}s")));
    nouns.map(str::to_owned).collect()
}

/// A way to spoil a line, and what the message says.
type Fault<'a> = (&'a str, Value, &'a str);

#[test]
fn every_fault_is_refused_by_its_line() {
    let faults: &[Fault<'_>] = &[
        (
            "/prompt",
            json!("Then, the horses near the dragon"),
            "dragon` is not in its vocabulary",
        ),
        ("/prompt", json!(""), "the prompt is empty"),
        ("/prompt", Value::Null, "needs either `prompt` or `ids`"),
        ("/prompt", json!(3), "invalid type"),
        ("/ids", json!([1, 2]), "needs either `prompt` or `ids`"),
        ("/ids", json!([-1]), "invalid value"),
        ("/labels", json!({"Number": "many"}), "label Id is missing"),
        ("/labels/Number", json!("two"), "none of its values one, many"),
        (
            "/labels/Number",
            json!("one"),
            "the counterfactual of Number: label Number must differ",
        ),
        (
            "/labels/Colour",
            json!("red"),
            "label \"Colour\" is no attribute of the task; use Number, Id",
        ),
        ("/labels/Id", json!(1.5), "a label is text"),
        ("/positions", json!({}), "position Noun is missing"),
        (
            "/positions/Noun",
            json!(7),
            "position Noun is 7, the prompt has 7 tokens",
        ),
        ("/positions/Noun", json!(-1), "a position is the number"),
        ("/positions/Noun", json!({"text": " lock"}), "does not contain"),
        ("/positions/Noun", json!({"text": " hor"}), "ends within a token"),
        ("/positions/Noun", json!({"text": ""}), "is an empty text"),
        ("/positions/Noun", json!({"text": "r"}), "contains 3 times; say which"),
        (
            "/positions/Noun",
            json!({"text": "r", "occurrence": 4}),
            "has occurrence 4, there are 1 to 3",
        ),
        (
            "/positions/Noun",
            json!({"text": "r", "occurrence": 0}),
            "has occurrence 0, there are 1 to 3",
        ),
        ("/positions/Noun", json!({"txt": "r"}), "a position is the number"),
        ("/positions/END", json!(1), "position END is always the last token"),
        (
            "/positions/Verb",
            json!(1),
            "position \"Verb\" is no role of the task; use Noun",
        ),
        (
            "/right",
            json!(" run runs"),
            "`right`: \" run runs\" is not one token but \" run\"",
        ),
        ("/right", json!(""), "`right`: \"\" is not one token but none"),
        ("/right", json!(" runs"), "`right` and `wrong` are the same token"),
        ("/right", json!([" run"]), "an answer is one token"),
        ("/wrong", json!(100_000), "`wrong`: id 100000 is none of the tokenizer"),
        ("/split", json!("test"), "unknown variant `test`"),
        ("/extra", json!(1), "unknown field `extra`"),
        ("/counterfactuals", json!({}), "the counterfactual of Number is missing"),
        (
            "/counterfactuals/Id",
            line("cat", None, 1),
            "counterfactual \"Id\" is of no attribute that is edited",
        ),
        (
            "/counterfactuals/Number/prompt",
            json!("Then, the horse near the old door"),
            "the counterfactual of Number: has 9 tokens, its prompt 8",
        ),
        (
            "/counterfactuals/Number/split",
            json!("train"),
            "`split` and `counterfactuals` are the prompt's",
        ),
    ];
    for (pointer, value, expected) in faults {
        let mut lines = lines();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = lines[4].pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Value::Null => drop(parent.remove(key)),
            value => drop(parent.insert((*key).to_owned(), value.clone())),
        }
        let message = Files::new(TASK, &lines).refusal();
        assert!(
            message.contains("lines.jsonl, line 5: ") && message.contains(expected),
            "{pointer}: {message}"
        );
    }
}

#[test]
fn prompts_have_one_length_and_stand_once() {
    let mut longer = lines();
    for part in ["", "/counterfactuals/Number"] {
        let part = longer[4].pointer_mut(part).unwrap();
        part["prompt"] = json!(format!("{} of", part["prompt"].as_str().unwrap()));
    }
    let message = Files::new(TASK, &longer).refusal();
    assert!(
        message.contains("line 5: has 9 tokens, the first prompt 8"),
        "{message}"
    );
    let mut twice = lines();
    twice.push(line(NOUNS[2], Some("train"), 40));
    let message = Files::new(TASK, &twice).refusal();
    assert!(
        message.contains("line 9: has the tokens of the prompt on line 3"),
        "{message}"
    );
}

#[test]
fn the_number_of_a_line_counts_blank_ones_and_a_key_stands_once() {
    let files = Files::new(TASK, &lines());
    let path = files.0.path().join("lines.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("\n\r\n{text}\n")).unwrap();
    assert!(files.open().is_ok());
    std::fs::write(&path, format!("\n{text}\n{{\"prompt\": 1")).unwrap();
    assert!(files.refusal().contains("line 10: "), "{}", files.refusal());
    std::fs::write(
        &path,
        text.replacen("\"Number\":\"many\"", "\"Number\":\"one\",\"Number\":\"many\"", 1),
    )
    .unwrap();
    assert!(
        files.refusal().contains("line 1: duplicate key `Number`"),
        "{}",
        files.refusal()
    );
    std::fs::write(&path, [b"\n\xff".as_slice(), text.as_bytes()].concat()).unwrap();
    assert!(files.refusal().contains("line 2: "), "{}", files.refusal());
    let deep = "{\"counterfactuals\":{\"a\":".repeat(100_000);
    std::fs::write(&path, deep).unwrap();
    assert!(files.refusal().contains("recursion limit"), "{}", files.refusal());
}

#[test]
fn a_sample_without_prompts_is_an_error() {
    let few: Vec<Value> = lines().into_iter().take(3).collect();
    let message = Files::new(TASK, &few).refusal();
    assert!(
        message.contains("lines.jsonl: has 3 prompts, none of them for the sample \"locate\""),
        "{message}"
    );
    let message = Files::new(TASK, &[]).refusal();
    assert!(message.contains("has 0 prompts"), "{message}");
}

#[test]
fn a_task_file_that_does_not_fit_is_refused_by_its_key() {
    for (from, to, expected) in [
        (
            "name = \"verbs\"",
            "name = \"ioi\"",
            "`name` is ioi, which is a task of the program",
        ),
        ("name = \"verbs\"", "name = \"my task\"", "task \"my task\" is no name"),
        ("name = \"verbs\"", "", "missing field `name`"),
        (
            "name = \"verbs\"",
            "name = \"verbs\"\nn = 1",
            "line 3: unknown field `n`",
        ),
        ("edited = [\"Number\"]", "edited = []", "`edited` is empty"),
        (
            "edited = [\"Number\"]",
            "edited = [\"Number\", \"Number\"]",
            "names Number twice",
        ),
        (
            "edited = [\"Number\"]",
            "edited = [\"Number\", \"number\"]",
            "second column of that name",
        ),
        ("attributes.Id", "attributes.Token", "second column of that name"),
        ("roles = [\"Noun\"]", "roles = [\"Noun\", \"Noun\"]", "names Noun twice"),
        (
            "roles = [\"Noun\"]",
            "roles = [\"Noun\", \"a+\", \"ap\"]",
            "role ap differs from another only",
        ),
        (
            "roles = [\"Noun\"]",
            "binary = \"Id\"\nroles = [\"Noun\"]",
            "`binary` names Id, which has 8 values",
        ),
        (
            "roles = [\"Noun\"]",
            "binary = \"Size\"\nroles = [\"Noun\"]",
            "`binary` names Size, which is no attribute",
        ),
        (
            "[\"one\", \"many\"]",
            "[\"one\"]",
            "`attributes.Number.values` has 1 values",
        ),
        ("[\"one\", \"many\"]", "[\"one\", \"one\"]", "names one twice"),
        ("Noun = [\"Number\"]", "Verb = [\"Number\"]", "`told` names role Verb"),
        ("Noun = [\"Number\"]", "Noun = [\"Size\"]", "`told.Noun` names Size"),
        ("lines.jsonl", "none.jsonl", "none.jsonl: cannot be read"),
    ] {
        assert!(TASK.contains(from), "{from}");
        let message = Files::new(&TASK.replacen(from, to, 1), &lines()).refusal();
        assert!(message.contains(expected), "{to}: {message}");
    }
    let nowhere: TaskSource = "/nowhere/task.toml".parse().unwrap();
    let message = nowhere.schema().unwrap_err().to_string();
    assert!(message.starts_with("/nowhere/task.toml: cannot be read"), "{message}");
}

#[test]
fn sources_are_named_as_configs_name_them() {
    for text in ["ioi", "pronoun", "configs/agreement/task.toml"] {
        let source: TaskSource = text.parse().unwrap();
        assert_eq!(source.to_string(), text);
    }
    let source: TaskSource = "./a//b.toml".parse().unwrap();
    assert_eq!(source, TaskSource::File(PathBuf::from("a/b.toml")));
    let message = "greater-than".parse::<TaskSource>().unwrap_err().to_string();
    assert!(
        message.contains("ioi, pronoun, or the path of a task file"),
        "{message}"
    );
}

#[test]
fn the_example_fits_the_shipped_model_and_gpt2() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let source = TaskSource::File(root.join("configs/agreement/task.toml"));
    for folder in ["models/small-world", "text/tests/fixtures/gpt2-tokenizer"] {
        let task = source.open(&Tokenizer::from_dir(&root.join(folder)).unwrap()).unwrap();
        assert_eq!(
            Sample::ALL.map(|sample| task.available(sample).unwrap()),
            [600, 200, 400, 200]
        );
        assert_eq!(task.sample(Sample::Train, 1, 0)[0].ids.len(), 8);
    }
}
