//! Chat templates: what `transformers` makes of a chat, and templates and messages that are none.
//!
//! `fixtures/chat/smollm2.jinja` is `tokenizer.chat_template` of SmolLM2-135M-Instruct's GGUF (Apache-2.0). The expected texts of the other
//! templates were made by `jinja2` with the settings of `transformers` (`fixtures/chat/make.py`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;

use serde_json::json;
use text::{Chat, ChatMessages, ChatTemplate, Tokenizer};

fn chat(source: &str, date: Option<&str>) -> Result<Chat, String> {
    let token = |text: &str| Some(text.to_owned());
    let template = ChatTemplate::new(Path::new("a.json"), source.to_owned(), token("<s>"), token("</s>"));
    let compiled = template.compiled(date.map(|date| date.parse().unwrap()));
    compiled.map_err(|error| error.to_string())
}

fn messages(json: &str) -> ChatMessages {
    serde_json::from_str(json).unwrap()
}

fn rendered(source: &str, json: &str) -> Result<String, String> {
    chat(source, Some("2024-07-26"))?.render(&messages(json), false)
}

#[test]
fn smollm2_is_told_who_it_is() {
    let source = include_str!("fixtures/chat/smollm2.jinja");
    let chat = chat(source, None).unwrap();
    let hi = messages(r#"[{"role": "user", "content": "Hi"}]"#);
    let head = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n";
    let text = format!("{head}<|im_start|>user\nHi<|im_end|>\n");
    assert_eq!(chat.render(&hi, false).unwrap(), text);
    // As `smollm2-golden.json` has it.
    assert_eq!(
        chat.render(&hi, true).unwrap(),
        format!("{text}<|im_start|>assistant\n")
    );
    let system =
        messages(r#"[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "<b>\"1 & 2\"</b>"}]"#);
    assert_eq!(
        chat.render(&system, false).unwrap(),
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n<b>\"1 & 2\"</b><|im_end|>\n"
    );
}

/// What the templates of the hub use, as Python renders it.
#[test]
fn templates_give_what_jinja2_gives() {
    #[derive(serde::Deserialize)]
    struct Case {
        template: String,
        messages: ChatMessages,
        text: String,
    }
    let cases: Vec<Case> = serde_json::from_str(include_str!("fixtures/chat/cases.json")).unwrap();
    assert_eq!(cases.len(), 9);
    for case in cases {
        let found = chat(&case.template, Some("2024-07-26"))
            .unwrap()
            .render(&case.messages, false);
        assert_eq!(found, Ok(case.text), "{}", case.template);
    }
}

/// Python's dictionaries keep the order in which a file has their keys.
#[test]
fn json_keeps_the_order_of_its_keys() {
    let written = r#"[{"role": "user", "content": {"b": 1, "a": {"z": null, "é<": [true, 0.5, "&"]}}}]"#;
    let text = rendered("{{ messages[0].content | tojson }}", written).unwrap();
    assert_eq!(text, r#"{"b": 1, "a": {"z": null, "é<": [true, 0.5, "&"]}}"#);
}

#[test]
fn templates_and_messages_that_are_none_are_refused() {
    let user = r#"[{"role": "user", "content": "Hi"}]"#;
    for (source, json, part) in [
        ("a\n{% for m in messages %}", user, "line 2"),
        (
            "{{ 1 }}\n\n{{ raise_exception('Only users may speak.') }}",
            user,
            "a.json: line 3: Only users may speak.",
        ),
        ("{{ messages[0].content | nofilter }}", user, "nofilter"),
        (
            "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
            user,
            "fuel",
        ),
        (
            "{{ messages }}",
            r#"[{"content": "Hi"}]"#,
            "without a `role` (message 1)",
        ),
        (
            "{{ messages }}",
            r#"[{"role": "user", "content": ""}, {"role": "user"}]"#,
            "without `content` (message 2)",
        ),
        (
            "{{ messages }}",
            r#"[{"role": 3, "content": "Hi"}]"#,
            "without a `role` (message 1)",
        ),
        ("{{ messages }}", r#"["Hi"]"#, "without a `role` (message 1)"),
        ("{{ messages }}", r#""Hi""#, "no list of objects"),
        (
            "{{ messages }}",
            r#"{"role": "user", "content": "Hi"}"#,
            "no list of objects",
        ),
        ("{{ messages }}", "[]", "no message"),
    ] {
        let message = rendered(source, json).unwrap_err();
        assert!(message.contains(part) && !message.contains('\n'), "{source}: {message}");
    }
    // The day is given by whoever renders.
    let dated = "{{ strftime_now('%d %b %Y') }}";
    assert_eq!(rendered(dated, user).unwrap(), "26 Jul 2024");
    let message = chat(dated, None).unwrap().render(&messages(user), false).unwrap_err();
    assert!(message.contains("set `chat_date`"), "{message}");
}

#[test]
fn a_folder_has_its_template_in_one_of_three_places() {
    let user = messages(r#"[{"role": "user", "content": "Hi"}]"#);
    let list = json!([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "{{ bos_token }}d"}]);
    for (config, file, expected) in [
        (json!({}), None, Ok(None)),
        (
            json!({"chat_template": "{{ bos_token }}s", "bos_token": {"content": "<b>"}}),
            None,
            Ok(Some("<b>s")),
        ),
        (
            json!({"chat_template": list, "bos_token": "<b>"}),
            None,
            Ok(Some("<b>d")),
        ),
        (json!({"chat_template": "s"}), Some("f{{ eos_token }}"), Ok(Some("f"))),
        (
            json!({"chat_template": [{"name": "tool_use", "template": "t"}]}),
            None,
            Err("a template named default"),
        ),
        (json!({"chat_template": 3}), None, Err("neither a text nor a list")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        Tokenizer::word_level(&["a".to_owned()])
            .unwrap()
            .save(folder.path())
            .unwrap();
        std::fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
        if let Some(file) = file {
            std::fs::write(folder.path().join("chat_template.jinja"), file).unwrap();
        }
        let found = Tokenizer::from_dir(folder.path()).map_err(|error| error.to_string());
        match expected {
            Err(part) => assert!(found.unwrap_err().contains(part), "{config}"),
            Ok(expected) => {
                let tokenizer = found.unwrap();
                let chat = tokenizer
                    .chat_template()
                    .map(|template| template.compiled(None).unwrap());
                let text = chat.map(|chat| chat.render(&user, false).unwrap());
                assert_eq!(text.as_deref(), expected, "{config}");
            }
        }
    }
}
