//! Words are one token or not where prompts have them, whatever the tokenizer does with a word alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;

use serde_json::{Map, Value, json};
use tasks::world::World;
use tasks::{IoiTask, PronounTask, Sample, Task, WordList};
use text::Tokenizer;

/// A word-level tokenizer that puts a space before every text, as those of the first Llama models do, and joins `joined`, a
/// word and what follows it, into one token.
fn prepending(joined: Option<&str>) -> Tokenizer {
    let marked = |piece: &str| piece.replace(' ', "▁");
    let mut vocab = Map::new();
    let mut add = |piece: String| {
        let id = vocab.len();
        vocab.entry(piece).or_insert(json!(id));
    };
    for piece in ["<|endoftext|>", "<|unknown|>", "▁"] {
        add(piece.to_owned());
    }
    for piece in World::new().pieces() {
        add(marked(&piece));
        add(format!("▁{}", piece.trim()));
    }
    let joined = joined.map(marked);
    joined.iter().for_each(|piece| add(piece.clone()));
    let first = joined.map(|piece| format!("{piece}|")).unwrap_or_default();
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
               "special": true})
    };
    let file: Value = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [special(0, "<|endoftext|>"), special(1, "<|unknown|>")],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": format!("{first}▁?[^▁.,]+|[.,]|▁")},
                          "behavior": "Isolated", "invert": false},
        "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<|unknown|>"},
    });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), file.to_string()).unwrap();
    Tokenizer::from_dir(folder.path()).unwrap()
}

fn kept(task: &dyn Task) -> Vec<(&'static str, usize, usize)> {
    let counts = |WordList { list, kept, of }| (list, kept, of);
    task.word_lists().into_iter().map(counts).collect()
}

#[test]
fn a_space_that_is_put_before_every_text_costs_no_words() {
    let tokenizer = prepending(None);
    // Nothing says that texts begin with a token, so prompts begin with a word.
    assert_eq!((tokenizer.token(" Mary"), tokenizer.bos()), (None, None));
    let all = [("names", 120, 120), ("objects", 40, 40), ("places", 32, 32)];
    let tasks: [Box<dyn Task>; 2] = [
        Box::new(IoiTask::new(&tokenizer).unwrap()),
        Box::new(PronounTask::new(&tokenizer).unwrap()),
    ];
    for task in tasks {
        assert_eq!(kept(task.as_ref()), all);
        for prompt in task.sample(Sample::Train, 200, 0) {
            let text = tokenizer.decode(&prompt.ids).unwrap();
            assert_eq!(tokenizer.encode(&text).unwrap(), prompt.ids, "{text}");
            let answered = [prompt.ids.as_slice(), &[prompt.right_token()]].concat();
            let text = tokenizer.decode(&answered).unwrap();
            assert_eq!(tokenizer.encode(&text).unwrap(), answered, "{text}");
        }
    }
}

#[test]
fn a_word_that_joins_what_follows_it_is_left_out() {
    let tokenizer = prepending(Some(" Mary gave"));
    let task = IoiTask::new(&tokenizer).unwrap();
    assert_eq!(kept(&task)[0], ("names", 119, 120));
    let names: Vec<&str> = (0..119)
        .map(|value| task.value_name(tasks::Attribute::IO, value))
        .collect();
    assert!(names.contains(&"John") && !names.contains(&"Mary"));
    // No prompt of the pronoun task says that somebody gave something.
    assert_eq!(kept(&PronounTask::new(&tokenizer).unwrap())[0], ("names", 120, 120));
}

#[test]
fn gpt2_keeps_all_words() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../text/tests/fixtures/gpt2-tokenizer");
    let task = IoiTask::new(&Tokenizer::from_dir(&folder).unwrap()).unwrap();
    assert_eq!(
        kept(&task),
        [("names", 120, 120), ("objects", 40, 40), ("places", 32, 32)]
    );
}
