//! GPT-2's own tokenizer against `fixtures/gpt2-tokenizer/cases.json`, and the word-level one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;

use lm::Tokenizer;

#[derive(serde::Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
}

#[test]
fn gpt2_ids_equal_the_reference() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt2-tokenizer");
    let tokenizer = Tokenizer::from_dir(&dir).unwrap();
    let cases: Vec<Case> = lm::files::read_json(&dir.join("cases.json")).unwrap();
    for case in cases {
        assert_eq!(tokenizer.encode(&case.text).unwrap(), case.ids, "{}", case.text);
        assert_eq!(tokenizer.decode(&case.ids).unwrap(), case.text);
    }
    assert_eq!(tokenizer.bos(), 50256);
    assert_eq!(tokenizer.vocab_size(), 50257);
    assert_eq!(tokenizer.token(" Mary"), Some(5335));
    assert_eq!(tokenizer.token(" Mary John"), None);
}

#[test]
fn word_level_round_trips_through_its_file() {
    let pieces = ["Then", ",", " Mary", " and", " 17", "32", "."].map(str::to_owned);
    let made = Tokenizer::word_level(&pieces).unwrap();
    let folder = tempfile::tempdir().unwrap();
    made.save(folder.path()).unwrap();
    let read = Tokenizer::from_dir(folder.path()).unwrap();
    let text = "Then, Mary and Mary 1732.";
    assert_eq!(made.encode(text).unwrap(), [2, 3, 4, 5, 4, 6, 7, 8]);
    assert_eq!(read.encode(text).unwrap(), made.encode(text).unwrap());
    assert_eq!(read.decode(&read.encode(text).unwrap()).unwrap(), text);
    let error = read.encode("Then, Zoe").unwrap_err().to_string();
    assert!(error.contains("Zoe") && error.contains("tokenizer.json"), "{error}");
}

#[test]
fn a_length_that_its_file_asks_for_does_not_cut_texts() {
    let pieces = ["Then", ",", " Mary", "."].map(str::to_owned);
    let made = Tokenizer::word_level(&pieces).unwrap();
    let folder = tempfile::tempdir().unwrap();
    made.save(folder.path()).unwrap();
    let path = folder.path().join("tokenizer.json");
    let mut json: serde_json::Value = lm::files::read_json(&path).unwrap();
    json["truncation"] =
        serde_json::json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0});
    json["padding"] = serde_json::json!({"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>"});
    std::fs::write(&path, json.to_string()).unwrap();
    let read = Tokenizer::from_dir(folder.path()).unwrap();
    assert_eq!(read.encode("Then, Mary.").unwrap(), [2, 3, 4, 5]);
}
