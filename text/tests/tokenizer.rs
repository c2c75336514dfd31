//! GPT-2's own tokenizer against `fixtures/gpt2-tokenizer/cases.json`, and the word-level one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;

use proptest::prelude::*;
use serde_json::json;
use text::Tokenizer;

#[derive(serde::Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
}

#[test]
fn gpt2_ids_equal_the_reference() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt2-tokenizer");
    let tokenizer = Tokenizer::from_dir(&dir).unwrap();
    let cases: Vec<Case> = artifacts::read_json(&dir.join("cases.json")).unwrap();
    for case in cases {
        assert_eq!(tokenizer.encode(&case.text).unwrap(), case.ids, "{}", case.text);
        assert_eq!(tokenizer.decode(&case.ids).unwrap(), case.text);
    }
    assert_eq!(tokenizer.bos(), Some(50256));
    assert_eq!(
        (tokenizer.missing_bytes(), tokenizer.lost_characters("a\u{4}")),
        (&[][..], 0)
    );
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
    let mut json: serde_json::Value = artifacts::read_json(&path).unwrap();
    json["truncation"] =
        serde_json::json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0});
    json["padding"] = serde_json::json!({"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>"});
    std::fs::write(&path, json.to_string()).unwrap();
    let read = Tokenizer::from_dir(folder.path()).unwrap();
    assert_eq!(read.encode("Then, Mary.").unwrap(), [2, 3, 4, 5]);
}

/// The shipped kind of tokenizer with other values at some keys of its file.
fn with(changes: &[(&str, serde_json::Value)]) -> Result<Tokenizer, String> {
    let pieces = ["Then", ",", " Mary", ".", "<"].map(str::to_owned);
    let folder = tempfile::tempdir().unwrap();
    Tokenizer::word_level(&pieces).unwrap().save(folder.path()).unwrap();
    let path = folder.path().join("tokenizer.json");
    let mut json: serde_json::Value = artifacts::read_json(&path).unwrap();
    for (key, value) in changes {
        json[key] = value.clone();
    }
    // Another vocabulary lacks the token of unknown words.
    let vocab = json["model"]["vocab"].as_object().cloned().unwrap_or_default();
    let added = json["added_tokens"].as_array_mut().unwrap();
    added.retain(|token| vocab.is_empty() || vocab.contains_key(token["content"].as_str().unwrap()));
    std::fs::write(&path, json.to_string()).unwrap();
    Tokenizer::from_dir(folder.path()).map_err(|error| error.to_string())
}

/// A byte-level BPE of letters with one merge; `more` are further keys of the model.
fn bpe(more: &serde_json::Value) -> serde_json::Value {
    let mut model = json!({"type": "BPE", "merges": ["a b"], "vocab":
        {"<|endoftext|>": 0, "a": 1, "b": 2, "ab": 3, "<": 4, "|": 5, ">": 6, "e": 7, "n": 8, "d": 9, "o": 10, "f": 11,
         "t": 12, "x": 13}});
    model.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    model
}

const BYTE_LEVEL: &str = r#"{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}"#;

#[test]
fn dropout_of_merges_is_turned_off() {
    let byte_level = serde_json::from_str::<serde_json::Value>(BYTE_LEVEL).unwrap();
    let of = |dropout| {
        with(&[
            ("model", bpe(&json!({ "dropout": dropout }))),
            ("pre_tokenizer", byte_level.clone()),
        ])
        .unwrap()
    };
    for dropout in [json!(0.5), json!(1.0), json!(0.0), json!(null)] {
        let tokenizer = of(dropout);
        for _ in 0..50 {
            assert_eq!(tokenizer.encode("abba").unwrap(), [3, 2, 1]);
        }
        // Written again it is off too.
        let folder = tempfile::tempdir().unwrap();
        tokenizer.save(folder.path()).unwrap();
        assert_eq!(Tokenizer::from_dir(folder.path()).unwrap().encode("ab").unwrap(), [3]);
    }
}

#[test]
fn a_text_that_spells_a_special_token_is_text() {
    let byte_level = serde_json::from_str::<serde_json::Value>(BYTE_LEVEL).unwrap();
    let tokenizer = with(&[("model", bpe(&json!({}))), ("pre_tokenizer", byte_level)]).unwrap();
    let text = "ab<|endoftext|>";
    let ids = tokenizer.encode(text).unwrap();
    assert_eq!(ids, [3, 4, 5, 7, 8, 9, 10, 11, 12, 7, 13, 12, 5, 6]);
    assert_eq!(tokenizer.decode(&ids).unwrap(), text);
    assert_eq!(tokenizer.spelled_special(text).unwrap().content, "<|endoftext|>");
    assert_eq!(tokenizer.spelled_special("<|endoftext|"), None);
    assert!(tokenizer.special_ids().contains(&tokenizer.bos().unwrap()));
    // GPT-2's own.
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt2-tokenizer");
    let gpt2 = Tokenizer::from_dir(&dir).unwrap();
    assert_eq!(
        gpt2.encode(" <|endoftext|>").unwrap(),
        [1279, 91, 437, 1659, 5239, 91, 29]
    );
    // A word-level tokenizer knows no such words.
    let words = with(&[]).unwrap();
    assert!(
        words
            .encode("Then<|endoftext|>")
            .unwrap_err()
            .to_string()
            .contains("`|` is not in its vocabulary")
    );
}

#[test]
fn files_that_the_library_panics_on_are_errors() {
    let key = |key: &'static str, value: serde_json::Value| vec![(key, value)];
    let empty_match = json!({"type": "Replace", "pattern": {"String": ""}, "content": "b"});
    for changes in [
        key("normalizer", json!({"type": "Precompiled", "precompiled_charsmap": ""})),
        key(
            "normalizer",
            json!({"type": "Precompiled", "precompiled_charsmap": "BAAAAP////8="}),
        ),
        key("normalizer", empty_match.clone()),
        key("normalizer", json!({"type": "Sequence", "normalizers": [empty_match]})),
        key(
            "normalizer",
            json!({"type": "Replace", "pattern": {"Regex": "x*"}, "content": "b"}),
        ),
        key("pre_tokenizer", json!({"type": "FixedLength", "length": 0})),
        key(
            "pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": ""}, "behavior": "Isolated", "invert": false}),
        ),
        key(
            "pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Removed", "invert": true}),
        ),
        key("model", bpe(&json!({"continuing_subword_prefix": "##########"}))),
        key("model", bpe(&json!({"merges": ["a"]}))),
        key("model", bpe(&json!({"dropout": 7}))),
        key("model", json!({"type": "Unigram", "vocab": [], "unk_id": 3})),
        key(
            "truncation",
            json!({"direction": "Right", "max_length": 0, "strategy": "OnlySecond", "stride": 9}),
        ),
        key("version", json!("2.0")),
    ] {
        let result = with(&changes).and_then(|tokenizer| {
            let texts = [
                "Then, Mary.",
                "Paul",
                "",
                " ",
                "ab",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
            ];
            texts
                .iter()
                .try_for_each(|text| tokenizer.encode(text).map(drop).map_err(|error| error.to_string()))
        });
        // Not all of these are refused by every text; none may panic, and what is refused names the file in one line.
        if let Err(message) = result {
            assert!(
                message.starts_with("tokenizer ") && message.contains("tokenizer.json"),
                "{message}"
            );
            assert!(!message.contains('\n') && message.len() < 600, "{message}");
        }
    }
    let panics = with(&[("pre_tokenizer", json!({"type": "FixedLength", "length": 0}))]).unwrap();
    let message = panics.encode("Then").unwrap_err().to_string();
    assert!(
        message.contains("the tokenizers library cannot work with it"),
        "{message}"
    );
    let message = with(&[("model", bpe(&json!({"continuing_subword_prefix": "##########"})))]).unwrap_err();
    assert!(
        message.contains("the tokenizers library cannot work with it"),
        "{message}"
    );
}

#[test]
fn an_unknown_word_of_any_length_gives_a_line_that_can_be_read() {
    let message = with(&[]).unwrap().encode(&"x".repeat(100_000)).unwrap_err().to_string();
    assert!(
        message.contains("is not in its vocabulary") && message.len() < 400,
        "{}",
        message.len()
    );
    let message = with(&[("model", json!({ "type": "x".repeat(100_000) }))]).unwrap_err();
    assert!(message.len() < 600, "{}", message.len());
}

#[test]
fn a_text_of_some_megabytes_has_the_ids_of_its_words() {
    let tokenizer = with(&[]).unwrap();
    let text = "Then, Mary.".repeat(300_000);
    let ids = tokenizer.encode(&text).unwrap();
    assert_eq!(ids, [2, 3, 4, 5].repeat(300_000));
    let parts: Vec<usize> = tokenizer.encode_parts(&text).map(|part| part.unwrap().len()).collect();
    assert!(parts.len() > 40 && parts.iter().all(|&part| part < 70_000), "{parts:?}");
    // Without an end of a word it is refused.
    let message = tokenizer.encode(&"x".repeat(2 << 20)).unwrap_err().to_string();
    assert!(message.contains("no end of a word in 256 KiB"), "{message}");
    let whole = with(&[("normalizer", json!({"type": "StripAccents"}))]).unwrap();
    let message = whole.encode(&text).unwrap_err().to_string();
    assert!(message.contains("in one call only"), "{message}");
    assert_eq!(whole.encode(&text[..11 * 1000]).unwrap(), [2, 3, 4, 5].repeat(1000));
}

/// Values put at random places of a tokenizer's file.
fn odd_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        Just(json!(-1)),
        Just(json!(4_294_967_295_u32)),
        Just(json!(0.5)),
        Just(json!("")),
        Just(json!("<|endoftext|>")),
        Just(json!(" a")),
        Just(json!("\\s*(?=a)")),
        Just(json!("é\u{301}")),
        Just(json!([])),
        Just(json!({})),
        prop::sample::select(&["NFC", "Strip", "Lowercase", "Nmt", "StripAccents", "BertNormalizer"][..])
            .prop_map(|name| json!({"type": name, "strip_left": true, "strip_right": true})),
        prop::sample::select(
            &[
                "Whitespace",
                "Digits",
                "Punctuation",
                "Metaspace",
                "ByteLevel",
                "UnicodeScripts"
            ][..]
        )
        .prop_map(|name| json!({ "type": name })),
    ];
    leaf.boxed()
}

/// All places of a JSON value that hold something, as pointers.
fn places(value: &serde_json::Value, at: &str, into: &mut Vec<String>) {
    into.push(at.to_owned());
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        serde_json::Value::Array(values) => {
            values
                .iter()
                .enumerate()
                .for_each(|(index, value)| places(value, &format!("{at}/{index}"), into));
        }
        serde_json::Value::Object(values) => {
            values
                .iter()
                .for_each(|(key, value)| places(value, &format!("{at}/{}", escaped(key)), into));
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A tokenizer's file with changed values gives a tokenizer or an error, and so does each text.
    #[test]
    fn no_file_panics(
        byte_pairs in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), odd_value()), 1..4),
        text in "[a-f <|>A,é\u{301}\n0-9]{0,30}",
    ) {
        let folder = tempfile::tempdir().unwrap();
        let pieces = ["a", " a", "b", ","].map(str::to_owned);
        Tokenizer::word_level(&pieces).unwrap().save(folder.path()).unwrap();
        let path = folder.path().join("tokenizer.json");
        let mut json: serde_json::Value = artifacts::read_json(&path).unwrap();
        if byte_pairs {
            json["model"] = bpe(&json!({"unk_token": "a", "end_of_word_suffix": "", "fuse_unk": true, "ignore_merges": true}));
            json["normalizer"] = json!({"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"Regex": "a"}, "content": "b"}]});
            json["pre_tokenizer"] = serde_json::from_str(BYTE_LEVEL).unwrap();
        }
        for (at, value) in changes {
            let mut all = Vec::new();
            places(&json, "", &mut all);
            let at: &String = at.get(&all[..]);
            *json.pointer_mut(at).unwrap() = value;
        }
        std::fs::write(&path, json.to_string()).unwrap();
        if let Ok(tokenizer) = Tokenizer::from_dir(folder.path()) {
            if let Ok(ids) = tokenizer.encode(&text) {
                // What is done twice gives the same.
                prop_assert_eq!(&tokenizer.encode(&text).unwrap(), &ids);
                let _ = tokenizer.decode(&ids);
            }
            let _ = (tokenizer.largest_id(), tokenizer.spelled_special(&text), tokenizer.unknown());
        }
    }
}
