//! Texts, chats and control tokens of a byte-level vocabulary as `saelab harvest` reads them, and what the store says of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use activations::Store;
use common::{saelab, succeeds};
use serde_json::{Value, json};

const BOS: u32 = 0;
const IM_START: u32 = 1;
const IM_END: u32 = 2;
/// ASCII characters that have no token.
const LACKING: [u8; 2] = [4, 6];

const HARVEST: &str = r#"
model = "MODEL"
hooks = ["blocks.1.hook_resid_pre"]

[source]
kind = "text"
path = "TEXT"
context = 24
"#;

const TEMPLATE: &str =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}";

/// GPT-2's micro model with a vocabulary of ASCII, a token a byte.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(tokenizer_config: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        std::fs::create_dir(&model).unwrap();
        let micro = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lm/tests/fixtures/gpt2-micro");
        for name in ["config.json", "model.safetensors"] {
            std::fs::copy(micro.join(name), model.join(name)).unwrap();
        }
        let mut vocab = json!({"<|endoftext|>": BOS, "<|im_start|>": IM_START, "<|im_end|>": IM_END});
        for byte in (0..128).filter(|byte| !LACKING.contains(byte)) {
            vocab[symbol(byte).to_string()] = id(byte).into();
        }
        let special = |id: u32, content: &str| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        };
        let byte_level =
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": [special(BOS, "<|endoftext|>"), special(IM_START, "<|im_start|>"), special(IM_END, "<|im_end|>")],
            "normalizer": null, "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                      "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": []},
        });
        std::fs::write(model.join("tokenizer.json"), tokenizer.to_string()).unwrap();
        std::fs::write(model.join("tokenizer_config.json"), tokenizer_config.to_string()).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    fn harvest(&self, text: &str, out: &str, sets: &[&str]) -> std::process::Output {
        let config = HARVEST
            .replace("MODEL", &self.path("model"))
            .replace("TEXT", &self.path(text));
        std::fs::write(self.path("harvest.toml"), config).unwrap();
        let (config, out) = (self.path("harvest.toml"), self.path(out));
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        saelab(
            &["harvest", &config, "--out", &out]
                .into_iter()
                .chain(sets)
                .collect::<Vec<_>>(),
        )
        .output()
        .unwrap()
    }

    /// What the harvest prints, the settings in the store, and the tokens of its windows.
    fn stored(&self, text: &str, out: &str, sets: &[&str]) -> (String, Value, Vec<Vec<u32>>) {
        let said = succeeds(self.harvest(text, out, sets));
        let store = Store::open(Path::new(&self.path(out))).unwrap();
        let windows = store.windows().unwrap();
        let ids = windows
            .read(0..windows.len())
            .unwrap()
            .into_iter()
            .map(|window| window.ids);
        (said, store.manifest().provenance.settings.clone(), ids.collect())
    }

    fn refused(&self, text: &str, sets: &[&str]) -> String {
        let output = self.harvest(text, "refused", sets);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && !Path::new(&self.path("refused")).exists(),
            "{said}"
        );
        said.lines().last().unwrap().to_owned()
    }
}

fn id(byte: u8) -> u32 {
    10 + u32::from(byte)
}

fn ids(text: &str) -> Vec<u32> {
    text.bytes().map(id).collect()
}

/// GPT-2's spelling of an ASCII byte.
fn symbol(byte: u8) -> char {
    match byte {
        0..=32 => char::from_u32(256 + u32::from(byte)).unwrap(),
        127 => 'ġ',
        printed => char::from(printed),
    }
}

#[test]
fn what_begins_a_text_and_what_is_lost_of_it_stand_in_the_store() {
    let folder = Folder::new(&json!({}));
    std::fs::write(folder.path("text.txt"), "ab\u{4}c\u{6}\u{4}\nde<|im_end|>f\n").unwrap();
    let (said, settings, windows) = folder.stored("text.txt", "auto", &[]);
    assert!(said.contains("no token for one of their bytes: 3"), "{said}");
    assert!(
        said.contains("spell a special token, which is ordinary text in them: 1"),
        "{said}"
    );
    assert_eq!(
        (&settings["bos"], &settings["read"]["lost_characters"]),
        (&json!(BOS), &json!(3))
    );
    let mut expected = [
        [vec![BOS], ids("abc")].concat(),
        [vec![BOS], ids("de<|im_end|>f")].concat(),
    ];
    let sorted = |mut windows: Vec<Vec<u32>>| {
        windows.sort();
        windows
    };
    expected.sort();
    assert_eq!(sorted(windows), expected);

    let (said, settings, windows) = folder.stored("text.txt", "none", &["bos=none", "source.spelled_special=control"]);
    assert!(said.contains("spell a special token, and give its id: 1"), "{said}");
    assert_eq!(settings["bos"], Value::Null);
    assert_eq!(settings["source"]["spelled_special"], "control");
    let control = [ids("de"), vec![IM_END], ids("f")].concat();
    assert_eq!(sorted(windows), sorted(vec![ids("abc"), control]));
    // Position 0 is left out whatever stands there, and so is the control token.
    let rows = Store::open(Path::new(&folder.path("none")))
        .unwrap()
        .hook("blocks.1.hook_resid_pre".parse().unwrap(), None);
    let mut tokens: Vec<u32> = rows.unwrap().rows.iter().map(|row| row.token).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, ids("bcef"));

    let (_, settings, windows) = folder.stored("text.txt", "id", &["bos=1"]);
    assert_eq!(settings["bos"], 1);
    assert!(windows.iter().all(|window| window[0] == IM_START));
    let message = folder.refused("text.txt", &["bos=9"]);
    assert!(message.contains("has no token 9"), "{message}");
    let message = folder.refused("text.txt", &["bos=first"]);
    assert!(
        message.contains(r#"expected "auto", "none" or the id of a token"#),
        "{message}"
    );
}

#[test]
fn chats_are_what_the_template_of_the_model_makes_of_them() {
    let chats = concat!(
        r#"{"messages": [{"role": "user", "content": "Hi"}, {"role": "bot", "content": "<b>"}], "id": NaN}"#,
        "\n\n",
        r#"{"id": 1, "messages": [{"role": "user", "content": "12345678"}]}"#,
        "\n",
    );
    let folder = Folder::new(&json!({"chat_template": TEMPLATE}));
    std::fs::write(folder.path("chats.jsonl"), chats).unwrap();
    let sets = ["source.chat=true", "source.context=64"];
    let (_, settings, windows) = folder.stored("chats.jsonl", "chats", &sets);
    assert_eq!(
        (&settings["source"]["chat"], &settings["bos"]),
        (&json!(true), &json!(BOS))
    );
    let message = |role: &str, content: &str| {
        let text = ids(&format!("{role}\n{content}"));
        [vec![IM_START], text, vec![IM_END], ids("\n")].concat()
    };
    // The template writes no token that begins a text, so none is there.
    let first = [message("user", "Hi"), message("bot", "<b>")].concat();
    let second = message("user", "12345678");
    let sorted = |mut windows: Vec<Vec<u32>>| {
        windows.sort();
        windows
    };
    assert_eq!(sorted(windows), sorted(vec![first.clone(), second.clone()]));

    // One that it writes is there once, and begins every window of a chat that is cut.
    let config = json!({"chat_template": format!("{{{{ bos_token }}}}{TEMPLATE}"), "bos_token": "<|endoftext|>"});
    let writes = Folder::new(&config);
    std::fs::write(writes.path("chats.jsonl"), chats).unwrap();
    let (_, _, windows) = writes.stored("chats.jsonl", "chats", &["source.chat=true", "source.context=12"]);
    let cut = |ids: &[u32]| ids.chunks(11).map(|ids| [&[BOS], ids].concat()).collect::<Vec<_>>();
    assert_eq!(sorted(windows), sorted([cut(&first), cut(&second)].concat()));

    // Faults are named with their line.
    std::fs::write(folder.path("bad.jsonl"), "\n{\"messages\": [{\"role\": \"user\"}]}\n").unwrap();
    let message = folder.refused("bad.jsonl", &["source.chat=true"]);
    assert!(
        message.contains("bad.jsonl: line 2 holds a message without `content` (message 1)"),
        "{message}"
    );
    std::fs::write(folder.path("bad.jsonl"), "{\"messages\": [{\"content\": \"Hi\"}]}\n").unwrap();
    let message = folder.refused("bad.jsonl", &["source.chat=true"]);
    assert!(
        message.contains("bad.jsonl: line 1 holds a message without a `role` (message 1)"),
        "{message}"
    );
    let message = folder.refused("chats.jsonl", &["source.chat=true", "source.text_field=chat"]);
    assert!(message.contains("has no field `chat`; set `text_field`"), "{message}");
    std::fs::write(folder.path("bad.txt"), chats).unwrap();
    let message = folder.refused("bad.txt", &["source.chat=true"]);
    assert!(message.contains("bad.txt: is not JSON lines"), "{message}");
    let message = Folder::new(&json!({})).refused("chats.jsonl", &["source.chat=true"]);
    assert!(
        message.contains("`chat` asks for the chat template of the model, which has none"),
        "{message}"
    );
    let raises = Folder::new(&json!({"chat_template": "{{ 1 }}\n{{ raise_exception('no') }}"}));
    std::fs::write(raises.path("chats.jsonl"), chats).unwrap();
    let message = raises.refused("chats.jsonl", &["source.chat=true"]);
    assert!(
        message.contains("chats.jsonl: line 1 is refused by the chat template") && message.contains("line 2: no"),
        "{message}"
    );
    let dated = Folder::new(&json!({"chat_template": "{{ strftime_now('%Y') }}"}));
    std::fs::write(dated.path("chats.jsonl"), chats).unwrap();
    let message = dated.refused("chats.jsonl", &["source.chat=true"]);
    assert!(message.contains("set `chat_date`"), "{message}");
    let sets = ["source.chat=true", "source.chat_date=2024-07-26"];
    let (_, settings, windows) = dated.stored("chats.jsonl", "dated", &sets);
    assert_eq!(
        (&settings["source"]["chat_date"], &windows[0]),
        (&json!("2024-07-26"), &ids("2024"))
    );
}
