//! Parts give the ids of the whole text, for every kind of tokenizer that has places, on texts made to break that.

use proptest::prelude::*;
use serde_json::json;
use tokenizers::models::bpe::BPE;
use tokenizers::{AddedToken, NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

use super::*;

fn gpt2() -> Tokenizer {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gpt2-tokenizer");
    let bpe = BPE::from_file(&format!("{dir}/vocab.json"), &format!("{dir}/merges.txt"));
    Tokenizer::new(bpe.build().unwrap())
}

/// GPT-2's vocabulary behind other steps.
fn with(normalizer: &Value, pre_tokenizer: &Value) -> Tokenizer {
    let mut tokenizer = gpt2();
    let normalizer: Option<NormalizerWrapper> = serde_json::from_value(normalizer.clone()).unwrap();
    let pre_tokenizer: Option<PreTokenizerWrapper> = serde_json::from_value(pre_tokenizer.clone()).unwrap();
    tokenizer.with_normalizer(normalizer).unwrap();
    tokenizer.with_pre_tokenizer(pre_tokenizer);
    tokenizer.set_encode_special_tokens(true);
    tokenizer
}

fn byte_level(prefix: bool, regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": regex})
}

fn sequence(steps: &[Value]) -> Value {
    json!({"type": "Sequence", "pretokenizers": steps})
}

fn split(pattern: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
}

/// Tokenizers of all kinds that have places, and the places they have.
fn tokenizers() -> Vec<(&'static str, Places, Tokenizer)> {
    let none = Value::Null;
    let form = |name: &str| json!({ "type": name });
    let both = json!({"type": "Sequence", "normalizers": [form("NFKC"), form("Lowercase")]});
    let digits = json!({"type": "Digits", "individual_digits": true});
    let punctuation = json!({"type": "Punctuation", "behavior": "MergedWithNext"});
    let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true});
    let patterns = PATTERNS.map(|pattern| sequence(&[split(pattern), byte_level(false, false)]));
    let (spaces, letters) = (Places::BeforeSpaces, Places::BehindLetters);
    let mut all = vec![
        ("GPT-2", letters, with(&none, &byte_level(false, true))),
        ("prefix", spaces, with(&none, &byte_level(true, true))),
        ("NFC", letters, with(&form("NFC"), &byte_level(false, true))),
        ("NFD", letters, with(&form("NFD"), &byte_level(false, true))),
        ("NFKC", letters, with(&form("NFKC"), &byte_level(false, true))),
        ("NFKD", letters, with(&form("NFKD"), &byte_level(false, true))),
        ("NFKC, lower case", letters, with(&both, &byte_level(false, true))),
        (
            "digits",
            letters,
            with(&none, &sequence(&[digits, byte_level(false, true)])),
        ),
        (
            "punctuation",
            letters,
            with(&none, &sequence(&[punctuation, byte_level(false, true)])),
        ),
        ("GPT-2's pattern", letters, with(&none, &patterns[0])),
        ("Llama 3's", letters, with(&none, &patterns[1])),
        ("Llama 3's, NFC", letters, with(&form("NFC"), &patterns[1])),
        ("Qwen 2's", letters, with(&none, &patterns[2])),
        (
            "white space",
            spaces,
            with(&none, &sequence(&[form("WhitespaceSplit"), byte_level(true, false)])),
        ),
        ("metaspace", spaces, with(&none, &metaspace)),
    ];
    // GPT-NeoX has runs of spaces as added tokens.
    let mut runs = with(&form("NFC"), &byte_level(false, true));
    let run = |spaces: usize| AddedToken::from(" ".repeat(spaces), false).normalized(false);
    runs.add_tokens((2..6).map(run)).unwrap();
    runs.add_special_tokens([AddedToken::from("<|endoftext|>", true)])
        .unwrap();
    all.push(("runs of spaces", letters, runs));
    let pieces: Vec<String> = ["a", " a", " foo", "foo", ",", "12", " 12", "\n"]
        .map(str::to_owned)
        .to_vec();
    let mut words = crate::Tokenizer::word_level(&pieces).unwrap().inner;
    words.set_encode_special_tokens(true);
    all.push(("word level", letters, words));
    all
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode_fast(text, false).unwrap().get_ids().to_vec()
}

/// What texts are made of: everything at which words may end or go on, spelled special tokens, marks, half-wide forms.
const BITS: &[&str] = &[
    "a",
    "foo",
    "Don",
    "'s",
    "'",
    "'ll",
    "’re",
    "12",
    "3",
    "٣",
    "½",
    "²",
    "㎡",
    " ",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\n\n",
    "\u{a0}",
    "\u{3000}",
    "\u{2028}",
    "\u{85}",
    ".",
    ",",
    "。",
    "，",
    "、",
    "漢",
    "す",
    "が",
    "é",
    "e\u{301}",
    "\u{301}",
    "\u{345}",
    "´",
    "¨",
    "İ",
    "Σ",
    "ς",
    "ﷺ",
    "ﬁ",
    "가",
    "\u{1100}\u{1161}",
    "🙂",
    "👩‍🔬",
    "<|endoftext|>",
    "▁",
    "Ġ",
    "-",
    "--",
    "क्षि",
    "ไทย",
    "\u{200b}",
    "\u{0}",
    "foo bar",
    " foo, 12 a.",
    "a 5 b",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn parts_give_the_ids_of_the_whole(bits in prop::collection::vec(prop::sample::select(BITS), 0..40)) {
        thread_local! { static ALL: Vec<(&'static str, Places, Tokenizer)> = tokenizers(); }
        let text = bits.concat();
        ALL.with(|all| {
            for (name, places, tokenizer) in all {
                prop_assert_eq!(Places::of(tokenizer), *places, "{}", name);
                let whole = ids(tokenizer, &text);
                for size in [1, 5, 17] {
                    let parts: Vec<&str> = Parts::of_size(&text, *places, size, 1000).map(Result::unwrap).collect();
                    prop_assert_eq!(parts.concat(), text.as_str());
                    let found: Vec<u32> = parts.iter().flat_map(|part| ids(tokenizer, part)).collect();
                    prop_assert_eq!(&found, &whole, "{}: {:?}", name, parts);
                }
            }
            Ok(())
        })?;
    }
}

#[test]
fn other_tokenizers_have_no_places() {
    let (none, gpt2) = (Value::Null, byte_level(false, true));
    let unknown = sequence(&[split(r"\s*foo bar|."), byte_level(false, false)]);
    let late = sequence(&[byte_level(false, false), gpt2.clone()]);
    let replace = json!({"type": "Replace", "pattern": {"String": "a b"}, "content": "c"});
    for (normalizer, pre_tokenizer) in [
        (&none, &none),
        (&none, &byte_level(false, false)),
        (&none, &unknown),
        (&none, &late),
        (&replace, &gpt2),
        (&json!({"type": "Prepend", "prepend": "▁"}), &gpt2),
        (&json!({"type": "StripAccents"}), &gpt2),
        (&json!({"type": "NFC"}), &split(WORD_LEVEL_PATTERN)),
    ] {
        assert_eq!(
            Places::of(&with(normalizer, pre_tokenizer)),
            Places::None,
            "{normalizer} {pre_tokenizer}"
        );
    }
    for token in [
        AddedToken::from("a b", false),
        AddedToken::from("a", false).rstrip(true),
        AddedToken::from(" a", false).single_word(true),
    ] {
        let mut tokenizer = with(&none, &gpt2);
        tokenizer.add_tokens([token]).unwrap();
        assert_eq!(Places::of(&tokenizer), Places::None);
        let text = "x a b a b x";
        assert_eq!(
            Parts::of_size(text, Places::None, 3, 20).collect::<Vec<_>>(),
            [Ok(text)]
        );
    }
}

#[test]
fn a_text_without_a_place_is_refused_beyond_the_longest_part() {
    let text = format!("one two, {} three", "-".repeat(50));
    let parts = |longest| Parts::of_size(&text, Places::BehindLetters, 6, longest).collect::<Vec<_>>();
    let runs = format!(" {}", "-".repeat(50));
    assert_eq!(parts(100), [Ok("one"), Ok(" two,"), Ok(&runs), Ok(" three")]);
    assert_eq!(parts(40).last(), Some(&Err(40)));
    assert_eq!(
        Parts::of_size("abcdefgh", Places::None, 3, 7).collect::<Vec<_>>(),
        [Err(7)]
    );
}

/// What the two rules take of Unicode's normal forms and of lower case, for every character.
#[test]
fn normal_forms_keep_places() {
    let normalized = |form: &NormalizerWrapper, c: char| {
        let mut string = NormalizedString::from(c.to_string());
        form.normalize(&mut string).unwrap();
        string.get().to_owned()
    };
    for name in ["NFC", "NFD", "NFKC", "NFKD", "Lowercase"] {
        let form: NormalizerWrapper = serde_json::from_value(json!({ "type": name })).unwrap();
        for c in ('\0'..'\u{30000}').filter(|c| !c.is_whitespace()) {
            let after = normalized(&form, c);
            assert!(!after.ends_with(char::is_whitespace), "{name} {c:?}");
            if is_letter(c) {
                assert!(
                    after.chars().count() == 1 && is_letter(after.chars().next().unwrap()),
                    "{name} {c:?}"
                );
            }
        }
    }
}
