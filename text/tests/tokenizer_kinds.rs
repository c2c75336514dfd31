//! Every kind of `tokenizer.json`, what its folder says of the token that begins a text, and what a text loses in it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;

use serde_json::{Value, json};
use text::Tokenizer;

/// The tokenizer of a folder with these files; those that are null are not there.
fn folder(tokenizer: &Value, tokenizer_config: &Value, config: &Value) -> Result<Tokenizer, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, contents) in [
        ("tokenizer.json", tokenizer),
        ("tokenizer_config.json", tokenizer_config),
        ("config.json", config),
    ] {
        if !contents.is_null() {
            std::fs::write(folder.path().join(name), contents.to_string()).unwrap();
        }
    }
    Tokenizer::open(folder.path()).map_err(|error| error.to_string())
}

fn added(id: u32, content: &str, special: bool) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
           "special": special})
}

/// A post-processor that puts these before and these behind a text.
fn template(before: &[(u32, &str)], behind: &[(u32, &str)]) -> Value {
    let piece = |(_, content): &(u32, &str)| json!({"SpecialToken": {"id": content, "type_id": 0}});
    let text = |id: &str| {
        json!([{"Sequence": {"id": id, "type_id": 0}}])
            .as_array()
            .unwrap()
            .clone()
    };
    let before_pieces: Vec<Value> = before.iter().map(piece).collect();
    let behind_pieces: Vec<Value> = behind.iter().map(piece).collect();
    let tokens: serde_json::Map<String, Value> = before
        .iter()
        .chain(behind)
        .map(|(id, content)| {
            (
                (*content).to_owned(),
                json!({"id": content, "ids": [id], "tokens": [content]}),
            )
        })
        .collect();
    let single = [before_pieces.clone(), text("A"), behind_pieces.clone()].concat();
    let pair = [before_pieces, text("A"), text("B"), behind_pieces].concat();
    json!({"type": "TemplateProcessing", "special_tokens": tokens, "single": single, "pair": pair})
}

/// The characters of GPT-2's byte-level spelling, by byte: printed ones stand for themselves, the others follow from U+0100 on.
fn symbols() -> Vec<char> {
    let printed = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut next = 255;
    (0..256)
        .map(|byte| {
            let code = if printed(byte) {
                byte
            } else {
                next += 1;
                next
            };
            char::from_u32(code).unwrap()
        })
        .collect()
}

/// A byte-level BPE with all bytes but `lacking` (ids from 10 on in their order), then " Mary"'s merges.
fn byte_level(lacking: &[u8], added_tokens: &[Value], post_processor: &Value, pre_tokenizer: &Value) -> Value {
    let mut vocab = serde_json::Map::new();
    let mut add = |piece: String| {
        let id = 10 + vocab.len();
        vocab.insert(piece, json!(id));
    };
    let present = (0..=255_u8).zip(symbols()).filter(|(byte, _)| !lacking.contains(byte));
    present.for_each(|(_, symbol)| add(symbol.to_string()));
    let mut merges = Vec::new();
    for (left, right) in [("Ġ", "M"), ("ĠM", "a"), ("ĠMa", "r"), ("ĠMar", "y")] {
        add(format!("{left}{right}"));
        merges.push(json!([left, right]));
    }
    for token in added_tokens {
        vocab.insert(token["content"].as_str().unwrap().to_owned(), token["id"].clone());
    }
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added_tokens, "normalizer": null,
        "pre_tokenizer": pre_tokenizer, "post_processor": post_processor,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                  "vocab": vocab, "merges": merges},
    })
}

fn gpt2_words() -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true})
}

/// As of Llama 3: the pattern and the post-processor.
fn llama3(behind: &[(u32, &str)]) -> Value {
    let pattern = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let pre_tokenizer = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]});
    let byte_level_too =
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true});
    let processors =
        json!({"type": "Sequence", "processors": [byte_level_too, template(&[(0, "<|begin_of_text|>")], behind)]});
    let special = [added(0, "<|begin_of_text|>", true), added(1, "<|end_of_text|>", true)];
    byte_level(&[], &special, &processors, &pre_tokenizer)
}

#[test]
fn the_post_processor_says_what_begins_a_text_and_adds_nothing_itself() {
    let config = json!({"bos_token": "<|begin_of_text|>"});
    let tokenizer = folder(&llama3(&[]), &config, &json!({"model_type": "llama"})).unwrap();
    assert_eq!(tokenizer.bos(), Some(0));
    let ids = tokenizer.encode("Then Mary").unwrap();
    let letter = |byte: u8| 10 + u32::from(byte);
    assert_eq!(
        ids,
        [letter(b'T'), letter(b'h'), letter(b'e'), letter(b'n'), 10 + 256 + 3]
    );
    assert_eq!(tokenizer.token(" Mary"), Some(10 + 256 + 3));
    // What it puts behind a text is never read.
    let ends = folder(&llama3(&[(1, "<|end_of_text|>")]), &config, &Value::Null).unwrap();
    assert_eq!((ends.bos(), ends.encode("Then Mary").unwrap()), (Some(0), ids));
    // Only what stands before a text begins it.
    let behind_only = byte_level(
        &[],
        &[added(1, "<|end_of_text|>", true)],
        &template(&[], &[(1, "<|end_of_text|>")]),
        &gpt2_words(),
    );
    assert_eq!(folder(&behind_only, &Value::Null, &Value::Null).unwrap().bos(), None);
    let special = [added(0, "[gMASK]", true), added(1, "<sop>", true)];
    let two = byte_level(
        &[],
        &special,
        &template(&[(0, "[gMASK]"), (1, "<sop>")], &[]),
        &gpt2_words(),
    );
    let message = folder(&two, &Value::Null, &Value::Null).unwrap_err();
    assert!(
        message.contains("several tokens before a text") && message.contains("tokenizer.json"),
        "{message}"
    );
}

#[test]
fn the_files_beside_a_tokenizer_say_what_begins_a_text() {
    let special = [
        added(0, "<|endoftext|>", true),
        added(1, "<|im_start|>", true),
        added(2, "<|im_end|>", true),
    ];
    let json = byte_level(&[], &special, &Value::Null, &gpt2_words());
    let im_start = json!({"content": "<|im_start|>", "lstrip": false, "special": true});
    for (what, tokenizer_config, config, expected) in [
        ("nothing", Value::Null, Value::Null, None),
        (
            "SmolLM2",
            json!({"bos_token": "<|im_start|>"}),
            json!({"model_type": "llama"}),
            None,
        ),
        (
            "Qwen",
            json!({"bos_token": null, "add_bos_token": false}),
            json!({"model_type": "qwen2"}),
            None,
        ),
        (
            "Pythia",
            json!({"bos_token": "<|endoftext|>"}),
            json!({"model_type": "gpt_neox"}),
            None,
        ),
        (
            "a string",
            json!({"bos_token": "<|im_start|>", "add_bos_token": true}),
            Value::Null,
            Some(1),
        ),
        (
            "an object",
            json!({"bos_token": im_start, "add_bos_token": true}),
            Value::Null,
            Some(1),
        ),
        (
            "GPT-2 of the hub",
            json!({"model_max_length": 1024}),
            json!({"model_type": "gpt2"}),
            Some(0),
        ),
        (
            "GPT-2 of transformers",
            json!({"add_bos_token": false}),
            json!({"model_type": "gpt2"}),
            Some(0),
        ),
    ] {
        let tokenizer = folder(&json, &tokenizer_config, &config).unwrap();
        assert_eq!(tokenizer.bos(), expected, "{what}");
        assert_eq!(
            tokenizer.special_ids().into_iter().collect::<Vec<_>>(),
            [0, 1, 2],
            "{what}"
        );
    }
    for (tokenizer_config, part) in [
        (json!({"add_bos_token": true}), "`add_bos_token` and no `bos_token`"),
        (
            json!({"add_bos_token": true, "bos_token": "<s>"}),
            "has no token <s>, the `bos_token`",
        ),
    ] {
        let message = folder(&json, &tokenizer_config, &Value::Null).unwrap_err();
        assert!(message.contains(part), "{message}");
    }
    // Another one can be asked for, or none.
    let tokenizer = folder(&json, &Value::Null, &Value::Null).unwrap();
    assert_eq!(tokenizer.clone().with_bos(Some(2)).unwrap().bos(), Some(2));
    let letter = tokenizer.clone().with_bos(Some(75)).unwrap();
    assert_eq!(
        (letter.bos(), letter.special_ids()),
        (Some(75), tokenizer.special_ids())
    );
    assert_eq!(letter.with_bos(None).unwrap().bos(), None);
    let message = tokenizer.with_bos(Some(9999)).unwrap_err().to_string();
    assert!(message.contains("has no token 9999"), "{message}");
}

#[test]
fn an_added_token_of_another_id_than_the_file_says_is_refused() {
    let mut json = byte_level(&[], &[], &Value::Null, &gpt2_words());
    // Behind the vocabulary, which has 260 tokens, the library counts on.
    for (id, refused) in [(260, false), (270, true)] {
        json["added_tokens"] = json!([added(id, "<|im_end|>", true)]);
        match folder(&json, &Value::Null, &Value::Null) {
            Ok(tokenizer) => assert!(!refused && tokenizer.special_ids().contains(&id), "{id}"),
            Err(message) => assert!(
                refused && message.contains("<|im_end|>") && message.contains("270"),
                "{message}"
            ),
        }
    }
}

#[test]
fn files_of_another_family_without_a_tokenizer_json_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let gpt2 = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt2-tokenizer");
    for name in ["vocab.json", "merges.txt"] {
        std::fs::copy(gpt2.join(name), folder.path().join(name)).unwrap();
    }
    for (kind, accepted) in [("gpt2", true), ("qwen2", false)] {
        std::fs::write(
            folder.path().join("config.json"),
            json!({"model_type": kind}).to_string(),
        )
        .unwrap();
        match (Tokenizer::from_dir(folder.path()), accepted) {
            (Ok(tokenizer), true) => assert_eq!(tokenizer.bos(), Some(50256)),
            (Err(error), false) => assert!(
                error.to_string().contains("says qwen2; add the tokenizer.json"),
                "{error}"
            ),
            (result, _) => panic!("{kind}: {result:?}"),
        }
    }
}

/// As of Llama 2 and Mistral.
fn sentence_piece() -> Value {
    let mut vocab = json!({"<unk>": 0, "<s>": 1, "</s>": 2}).as_object().unwrap().clone();
    for byte in 0..256 {
        vocab.insert(format!("<0x{byte:02X}>"), json!(3 + byte));
    }
    for piece in ["▁", "a", "b", "M", "r", "y", "▁M", "ar", "▁Mar", "▁Mary"] {
        let id = vocab.len();
        vocab.insert(piece.to_owned(), json!(id));
    }
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [added(0, "<unk>", true), added(1, "<s>", true), added(2, "</s>", true)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": null,
        "post_processor": template(&[(1, "<s>")], &[]),
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "vocab": vocab,
                  "merges": ["▁ M", "a r", "▁M ar", "▁Mar y"]},
    })
}

#[test]
fn a_sentence_piece_falls_back_to_bytes() {
    let tokenizer = folder(&sentence_piece(), &Value::Null, &json!({"model_type": "llama"})).unwrap();
    let piece = |place: u32| 3 + 256 + place;
    assert_eq!((tokenizer.bos(), tokenizer.unknown()), (Some(1), Some(0)));
    assert_eq!(tokenizer.encode("Mary").unwrap(), [piece(9)]);
    // The prefix that the normalizer adds makes a token of its own before a space.
    assert_eq!(tokenizer.encode(" Mary").unwrap(), [piece(0), piece(9)]);
    let ids = tokenizer.encode("aé€").unwrap();
    let bytes = "é€".bytes().map(|byte| 3 + u32::from(byte));
    assert_eq!(ids, [piece(0), piece(1)].into_iter().chain(bytes).collect::<Vec<_>>());
    assert_eq!(tokenizer.decode(&ids).unwrap(), "aé€");
    // A character comes in bytes of which no single one is text.
    assert_eq!(tokenizer.decode(&ids[2..3]).unwrap(), "\u{FFFD}");
    assert_eq!(
        (tokenizer.missing_bytes(), tokenizer.lost_characters("a\u{4}")),
        (&[][..], 0)
    );
    // The same with `<s>` spelled.
    let spelled = tokenizer.encode("<s>a").unwrap();
    assert!(!spelled.contains(&1) && spelled.len() > 2, "{spelled:?}");
    assert_eq!(tokenizer.with_control_tokens().encode("<s>a").unwrap()[0], 1);
}

#[test]
fn a_unigram_takes_the_likeliest_pieces() {
    let pieces = [
        ("<unk>", 0.0),
        ("▁", -3.0),
        ("a", -2.0),
        ("b", -2.5),
        ("▁a", -2.6),
        ("ab", -3.5),
        ("▁ab", -7.0),
        ("ba", -3.9),
        ("abb", -8.0),
    ];
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [added(0, "<unk>", true)], "normalizer": null,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "post_processor": null,
        "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "model": {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": false},
    });
    let tokenizer = folder(&json, &Value::Null, &json!({"model_type": "llama"})).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.unknown()), (None, Some(0)));
    for word in ["a", "ab", "abb", "abba", "babab", "aabbaabb"] {
        // All ways to cut the word, the slow way; its scores have no ties.
        let whole: Vec<char> = format!("▁{word}").chars().collect();
        let mut best: (f64, Vec<u32>) = (f64::NEG_INFINITY, Vec::new());
        for cuts in 0..1_u32 << (whole.len() - 1) {
            let (mut score, mut ids, mut piece) = (0.0, Vec::new(), String::new());
            for (place, c) in whole.iter().enumerate() {
                piece.push(*c);
                if place + 1 == whole.len() || cuts >> place & 1 == 1 {
                    let found = pieces.iter().position(|(text, _)| *text == piece);
                    score += found.map_or(f64::NEG_INFINITY, |id| pieces[id].1);
                    ids.extend(found.map(|id| id as u32));
                    piece.clear();
                }
            }
            if score > best.0 {
                best = (score, ids);
            }
        }
        let ids = tokenizer.encode(word).unwrap();
        assert_eq!(ids, best.1, "{word}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), word);
    }
    assert!(tokenizer.encode("aXb").unwrap().contains(&0));
}

#[test]
fn characters_whose_bytes_have_no_token_are_counted() {
    // Those of SmolLM2, and one that begins every character of four bytes.
    let lacking = [4, 6, 19, 20, 22, 29, 0xF0];
    let tokenizer = folder(
        &byte_level(&lacking, &[], &Value::Null, &gpt2_words()),
        &Value::Null,
        &Value::Null,
    )
    .unwrap();
    assert_eq!(tokenizer.missing_bytes(), lacking);
    for (text, lost) in [("plain", 0), ("\u{4}end\u{4}\u{1d}", 3), ("🙂 é", 1), ("\u{5}\u{7}", 0)] {
        assert_eq!(tokenizer.lost_characters(text), lost, "{text:?}");
        let decoded = tokenizer.decode(&tokenizer.encode(text).unwrap()).unwrap();
        assert_eq!(decoded == text, lost == 0, "{text:?} {decoded:?}");
    }
}

#[test]
fn a_text_that_spells_a_control_token_gives_it_where_that_is_asked_for() {
    let tokens = [
        added(0, "<|endoftext|>", true),
        added(1, "<|im_end|>", true),
        added(2, "<think>", false),
    ];
    let json = byte_level(&[], &tokens, &Value::Null, &gpt2_words());
    let as_text = folder(&json, &Value::Null, &Value::Null).unwrap();
    let as_control = as_text.clone().with_control_tokens();
    assert!(as_control.recognises_control_tokens() && !as_text.recognises_control_tokens());
    let text = "a<|im_end|>b<think>";
    let letter = |byte: u8| 10 + u32::from(byte);
    assert_eq!(as_control.encode(text).unwrap(), [letter(b'a'), 1, letter(b'b'), 2]);
    let ids = as_text.encode(text).unwrap();
    // What a user has added is matched in both.
    assert!(!ids.contains(&1) && ids.ends_with(&[letter(b'b'), 2]), "{ids:?}");
    assert_eq!(as_text.spelled_special(text).unwrap().id, 1);
    // Texts that are encoded part by part are the same.
    let long = format!("{}<|im_end|> Mary, ", "a word, ".repeat(10_000)).repeat(3);
    let parts: Vec<Vec<u32>> = as_control.encode_parts(&long).map(Result::unwrap).collect();
    assert!(parts.len() > 2 && parts.iter().flatten().filter(|&&id| id == 1).count() == 3);
}
