//! Tokenizers: any `tokenizer.json`, GPT-2's `vocab.json` with `merges.txt`, what tokenizer_config.json says, and chat templates.

use std::path::Path;

use serde_json::{Value, json};
use text::{ChatMessages, ChatTemplate, Tokenizer};

use super::message;
use crate::scratch::{Scratch, bytes};
use crate::{Form, Reader, Target};

/// Stands between the two files of the older form.
const SEPARATOR: &[u8] = b"\n---\n";
const BOS: &str = "<|endoftext|>";
const TEXTS: [&str; 5] = [
    "",
    "The cats sat on 12 mats.",
    " a\u{0}b <|endoftext|>\r\n\u{e9}\u{301}\u{1f600}",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab!",
    "\u{202e}\u{ad}\u{3000}\u{4e2d}\u{6587}",
];

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "tokenizer",
            form: Form::Json,
            seeds: jsons,
            reader: json_reader,
        },
        Target {
            name: "tokenizer-merges",
            form: Form::Bytes,
            seeds: || vec![merges()],
            reader: merges_reader,
        },
        Target {
            name: "tokenizer-config",
            form: Form::Json,
            seeds: configs,
            reader: config_reader,
        },
        Target {
            name: "chat-template",
            form: Form::Bytes,
            seeds: templates,
            reader: template_reader,
        },
    ]
}

fn json_reader() -> Reader {
    let scratch = Scratch::new();
    Box::new(move |input| {
        scratch.put("tokenizer.json", input);
        used(&scratch)
    })
}

fn merges_reader() -> Reader {
    let scratch = Scratch::new();
    Box::new(move |input| {
        let at = input.windows(SEPARATOR.len()).position(|part| part == SEPARATOR);
        let (vocab, merges) = match at {
            Some(at) => (&input[..at], &input[at + SEPARATOR.len()..]),
            None => (input, &[][..]),
        };
        scratch.put("vocab.json", vocab);
        scratch.put("merges.txt", merges);
        used(&scratch)
    })
}

fn config_reader() -> Reader {
    let scratch = Scratch::new();
    let pieces = ["The", " cats", "."].map(str::to_owned);
    let tokenizer = Tokenizer::word_level(&pieces).expect("the pieces are words");
    tokenizer.save(scratch.path()).expect("the tokenizer can be written");
    Box::new(move |input| {
        scratch.put("tokenizer_config.json", input);
        let tokenizer = message(Tokenizer::from_dir(scratch.path()))?;
        match tokenizer.chat_template() {
            Some(template) => rendered(template),
            None => Ok(()),
        }
    })
}

fn template_reader() -> Reader {
    Box::new(move |input| {
        let source = String::from_utf8_lossy(input).into_owned();
        let bos = Some("<s>".to_owned());
        rendered(&ChatTemplate::new(Path::new("chat_template.jinja"), source, bos, None))
    })
}

fn rendered(template: &ChatTemplate) -> Result<(), String> {
    let messages = json!([{ "role": "user", "content": "Hi" }, { "role": "assistant", "content": " 1</think>\n" }]);
    let messages: ChatMessages = serde_json::from_value(messages).expect("they are messages");
    let chat = message(template.compiled("2024-07-26".parse().ok()))?;
    chat.render(&messages, true).map(|_| ())
}

fn configs() -> Vec<Vec<u8>> {
    let template = "{% for m in messages %}{{ bos_token + m.role }}{% endfor %}";
    let named = json!([{ "name": "default", "template": template }]);
    let token = json!({ "content": BOS, "special": true });
    [
        json!({ "bos_token": BOS, "eos_token": null, "add_bos_token": true, "chat_template": template }),
        json!({ "bos_token": token, "add_bos_token": true, "chat_template": named }),
        json!({ "add_bos_token": false }),
    ]
    .map(|config| config.to_string().into_bytes())
    .to_vec()
}

fn templates() -> Vec<Vec<u8>> {
    [
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}{% if loop.last %}{% break %}{% endif %}{% endfor %}",
        "{%- set ns = namespace(last=-1) -%}{% for m in messages[::-1] %}{% set ns.last = loop.index0 %}{% endfor %}{{ ns.last }}",
        "{% macro f(x, y='!') %}{{ x * 3 }}{{ y }}{% endmacro %}{{ f(messages | tojson(indent=2)) }}{{ strftime_now('%d %b %Y') }}",
        "{{ messages[0].content.split('</think>')[-1].strip() | trim }}{{ range(3) | list }}{% if not messages %}{{ raise_exception('no') }}{% endif %}",
    ]
    .map(|template| template.as_bytes().to_vec())
    .to_vec()
}

/// Loads the tokenizer of a folder and calls all that it offers.
fn used(scratch: &Scratch) -> Result<(), String> {
    let tokenizer = message(Tokenizer::from_dir(scratch.path()))?;
    for text in TEXTS {
        // A word that it does not know is no fault of the file.
        if let Ok(ids) = tokenizer.encode(text) {
            let _ = tokenizer.decode(&ids);
        }
        let _ = tokenizer.encode_parts(text).filter(Result::is_ok).count();
        let _ = (
            tokenizer.token(text),
            tokenizer.spelled_special(text),
            tokenizer.lost_characters(text),
        );
    }
    let _ = tokenizer.decode(&[0, 1, tokenizer.bos().unwrap_or_default(), u32::MAX]);
    let _ = (tokenizer.special_ids(), tokenizer.vocab_size(), tokenizer.largest_id());
    message(tokenizer.save(&scratch.path().join("saved")))
}

fn merges() -> Vec<u8> {
    let vocab = json!({ BOS: 0, "a": 1, "b": 2, "c": 3, "ab": 4, "abc": 5, "\u{120}": 6, "\u{120}a": 7 });
    [
        vocab.to_string().as_bytes(),
        SEPARATOR,
        b"#version: 0.2\na b\nab c\n\xc4\xa0 a\n",
    ]
    .concat()
}

/// Files of every model of the library, each with other parts around it.
fn jsons() -> Vec<Vec<u8>> {
    let word_level = {
        let scratch = Scratch::new();
        let pieces = ["The", " cats", " sat", " 12", "."].map(str::to_owned);
        let tokenizer = Tokenizer::word_level(&pieces).expect("the pieces are words");
        tokenizer.save(scratch.path()).expect("the tokenizer can be written");
        bytes(&scratch.path().join("tokenizer.json"))
    };
    let vocab = json!({ BOS: 0, "a": 1, "b": 2, "ab": 3, "\u{120}": 4, "T": 5, "h": 6, "Th": 7, "<0x00>": 8 });
    let bpe = json!({
        "type": "BPE", "dropout": null, "unk_token": BOS, "continuing_subword_prefix": null, "end_of_word_suffix": null,
        "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocab,
        "merges": [["a", "b"], ["T", "h"]],
    });
    let old_bpe = json!({
        "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "##", "end_of_word_suffix": "</w>",
        "fuse_unk": true, "byte_fallback": true, "merges": ["a ##b", "T ##h"],
        "vocab": { BOS: 0, "a": 1, "##b": 2, "ab": 3, "##a": 4, "T": 5, "##h": 6, "Th": 7, "<0x00>": 8, "b</w>": 9 },
    });
    let word_piece = json!({
        "type": "WordPiece", "unk_token": BOS, "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
        "vocab": { BOS: 0, "the": 1, "cat": 2, "##s": 3, "a": 4, "##a": 5 },
    });
    let unigram = json!({
        "type": "Unigram", "unk_id": 0, "byte_fallback": true,
        "vocab": [[BOS, 0.0], ["\u{2581}", -2.0], ["a", -2.5], ["b", -3.0], ["<0x00>", -9.0], ["\u{2581}The", -1.5]],
    });
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true });
    let split =
        |pattern: Value| json!({ "type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false });
    let template = json!({
        "type": "TemplateProcessing",
        "single": [{ "SpecialToken": { "id": BOS, "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
        "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
        "special_tokens": { BOS: { "id": BOS, "ids": [0], "tokens": [BOS] } },
    });
    let normalizers = json!({ "type": "Sequence", "normalizers": [
        { "type": "NFKC" }, { "type": "Lowercase" }, { "type": "StripAccents" }, { "type": "Prepend", "prepend": "_" },
        { "type": "Replace", "pattern": { "Regex": "[ab]+" }, "content": "a" },
        { "type": "Strip", "strip_left": true, "strip_right": false },
    ] });
    let bert = json!({
        "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true,
    });
    let pieces = json!({ "type": "Sequence", "pretokenizers": [
        split(json!({ "Regex": " ?[0-9]{2}|\\p{L}+|(?=x)" })), split(json!({ "String": " " })),
        { "type": "Digits", "individual_digits": true }, { "type": "Punctuation", "behavior": "Contiguous" },
        { "type": "WhitespaceSplit" }, { "type": "CharDelimiterSplit", "delimiter": "," }, { "type": "UnicodeScripts" },
    ] });
    let metaspace =
        json!({ "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true });
    let decoders = json!({ "type": "Sequence", "decoders": [
        { "type": "Replace", "pattern": { "String": "_" }, "content": " " }, { "type": "ByteFallback" }, { "type": "Fuse" },
        { "type": "Strip", "content": " ", "start": 1, "stop": 0 },
    ] });
    let word_decoder = json!({ "type": "WordPiece", "prefix": "##", "cleanup": true });
    let truncation = json!({ "direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 1 });
    let padding = json!({
        "strategy": { "Fixed": 8 }, "direction": "Left", "pad_to_multiple_of": 4, "pad_id": 0, "pad_type_id": 0, "pad_token": BOS,
    });
    let null = Value::Null;
    let whole = |model: &Value, parts: [&Value; 4], cut: [&Value; 2]| {
        let [normalizer, pre_tokenizer, post_processor, decoder] = parts;
        let added = json!({
            "id": 0, "content": BOS, "single_word": false, "lstrip": false, "rstrip": true, "normalized": false, "special": true,
        });
        let json = json!({
            "version": "1.0", "truncation": cut[0], "padding": cut[1], "added_tokens": [added], "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer, "post_processor": post_processor, "decoder": decoder, "model": model,
        });
        json.to_string().into_bytes()
    };
    vec![
        word_level,
        whole(&bpe, [&null, &byte_level, &byte_level, &byte_level], [&null, &null]),
        whole(
            &old_bpe,
            [&normalizers, &pieces, &template, &decoders],
            [&truncation, &padding],
        ),
        whole(
            &word_piece,
            [&bert, &json!({ "type": "BertPreTokenizer" }), &template, &word_decoder],
            [&null, &null],
        ),
        whole(
            &unigram,
            [&json!({ "type": "NFC" }), &metaspace, &template, &metaspace],
            [&null, &padding],
        ),
    ]
}
