//! Tokenizers of GGUF files, as the tokenizers crate reads them.

use std::collections::HashMap;

use gguf::GgufTokenizer;
use proptest::prelude::*;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _, Tokenizer};

use crate::writer::{Meta, Writer, text, texts};
use crate::{line, opened};

pub(crate) fn loaded(tokenizer: &GgufTokenizer) -> Tokenizer {
    Tokenizer::from_bytes(&tokenizer.json).unwrap()
}

pub(crate) fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text, false).unwrap().get_ids().to_vec()
}

/// The spelling of a byte in byte-level vocabularies.
fn spelled(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    match printable(byte) {
        true => char::from(byte),
        false => char::from_u32(256 + (0..byte).filter(|&byte| !printable(byte)).count() as u32).unwrap(),
    }
}

/// Byte-level BPE: all bytes, " a" (256), "bc" (257), a control token (258) and one of a user (259).
fn byte_level(architecture: &str, pre: &str) -> Writer {
    let mut tokens: Vec<String> = (0..=255).map(|byte| spelled(byte).to_string()).collect();
    tokens.extend(["\u{120}a", "bc", "<|end|>", "<tool>"].map(str::to_owned));
    let mut types = vec![1; 258];
    types.extend([3, 4]);
    let mut writer = Writer::new(architecture);
    writer.set("tokenizer.ggml.model", text("gpt2"));
    writer.set("tokenizer.ggml.pre", text(pre));
    writer.set("tokenizer.ggml.tokens", Meta::Texts(tokens));
    writer.set("tokenizer.ggml.token_type", Meta::I32s(types));
    writer.set("tokenizer.ggml.merges", texts(&["\u{120} a", "b c"]));
    writer
}

/// Words that a text is divided into, with the bytes spelled as characters again.
fn words(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
    let mut divided = PreTokenizedString::from(text);
    tokenizer
        .get_pre_tokenizer()
        .unwrap()
        .pre_tokenize(&mut divided)
        .unwrap();
    let splits = divided.get_splits(OffsetReferential::Original, OffsetType::Byte);
    splits
        .into_iter()
        .map(|(_, (from, to), _)| text[from..to].to_owned())
        .collect()
}

#[test]
fn texts_are_divided_as_the_file_says() {
    let sample = "don't DON'T HelloWorld 12345 a  b\n\n x/\n\u{661}\u{bd}";
    let gpt_2 = vec![
        "don",
        "'t",
        " DON",
        "'",
        "T",
        " HelloWorld",
        " 12345",
        " a",
        " ",
        " b",
        "\n\n",
        " x",
        "/",
        "\n",
        "\u{661}\u{bd}",
    ];
    let digits = vec![
        "don",
        "'t",
        " DON",
        "'",
        "T",
        " HelloWorld",
        " ",
        "1",
        "2",
        "3",
        "4",
        "5",
        " a",
        " ",
        " b",
        "\n\n",
        " x",
        "/",
        "\n",
        "\u{661}",
        "\u{bd}",
    ];
    let llama_3 = vec![
        "don",
        "'t",
        " DON",
        "'T",
        " HelloWorld",
        " ",
        "123",
        "45",
        " a",
        " ",
        " b",
        "\n\n",
        " x",
        "/\n",
        "\u{661}\u{bd}",
    ];
    let qwen_2 = vec![
        "don",
        "'t",
        " DON",
        "'T",
        " HelloWorld",
        " ",
        "1",
        "2",
        "3",
        "4",
        "5",
        " a",
        " ",
        " b",
        "\n\n",
        " x",
        "/\n",
        "\u{661}",
        "\u{bd}",
    ];
    let tekken = vec![
        "don", "'t", " DON", "'T", " Hello", "World", " ", "1", "2", "3", "4", "5", " a", " ", " b", "\n\n", " x",
        "/\n", "\u{661}", "\u{bd}",
    ];
    let kinds = [
        ("gpt-2", &gpt_2, false),
        ("olmo", &gpt_2, false),
        ("smollm", &digits, false),
        ("starcoder", &digits, false),
        ("refact", &digits, false),
        ("llama-bpe", &llama_3, true),
        ("llama3", &llama_3, true),
        ("qwen2", &qwen_2, false),
        ("tekken", &tekken, true),
    ];
    for (pre, expected, begins) in kinds {
        let mut writer = byte_level("llama", pre);
        writer.set("tokenizer.ggml.bos_token_id", Meta::U32(258));
        writer.set("tokenizer.chat_template", text("{{ messages }}"));
        let tokenizer = opened(&writer).tokenizer().unwrap();
        assert_eq!(
            (tokenizer.add_bos, tokenizer.bos, tokenizer.eos),
            (begins, Some(258), None),
            "{pre}"
        );
        assert_eq!(tokenizer.chat_template.as_deref(), Some("{{ messages }}"));
        let inner = loaded(&tokenizer);
        assert_eq!(&words(&inner, sample), expected, "{pre}");
        assert_eq!(
            ids(&inner, " abc<tool>\u{4}<|end|>c"),
            [256, 257, 259, 4, 258, 99],
            "{pre}"
        );
        assert_eq!(
            inner.decode(&[256, 257, 259, 4, 258, 99], false).unwrap(),
            " abc<tool>\u{4}<|end|>c"
        );
        assert_eq!(
            inner.decode(&[256, 257, 259, 4, 258, 99], true).unwrap(),
            " abc<tool>\u{4}c"
        );
        let with_special = inner.encode("bc", true).unwrap().get_ids().to_vec();
        assert_eq!(with_special, if begins { vec![258, 257] } else { vec![257] }, "{pre}");
        writer.set("tokenizer.ggml.add_bos_token", Meta::Bool(!begins));
        assert_eq!(opened(&writer).tokenizer().unwrap().add_bos, !begins);
    }
    assert!(line(opened(&byte_level("llama", "poro-chat")).tokenizer()).contains("`poro-chat`"));
}

#[test]
fn characters_are_composed_where_the_family_does_so() {
    for (architecture, pre, composed) in [
        ("qwen2", "qwen2", true),
        ("gptneox", "olmo", true),
        ("llama", "olmo", false),
    ] {
        let inner = loaded(&opened(&byte_level(architecture, pre)).tokenizer().unwrap());
        assert_eq!(
            ids(&inner, "e\u{301}").len(),
            if composed { 2 } else { 3 },
            "{architecture}"
        );
    }
}

/// Joined pieces are in the vocabulary without a merge that makes them.
#[test]
fn whole_words_of_llama_3_need_no_merges() {
    for (pre, expected) in [("llama-bpe", vec![257]), ("qwen2", vec![98, 99])] {
        let mut writer = byte_level("llama", pre);
        writer.set("tokenizer.ggml.merges", texts(&["\u{120} a"]));
        writer.set("tokenizer.ggml.add_bos_token", Meta::Bool(false));
        assert_eq!(ids(&loaded(&opened(&writer).tokenizer().unwrap()), "bc"), expected);
    }
}

/// SentencePiece with these pieces beside `<unk>` 0, `<s>` 1, `</s>` 2 and all bytes (3 to 258).
fn sentence_piece(architecture: &str, pieces: &[(&str, f32, i32)]) -> Writer {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    tokens.extend(pieces.iter().map(|(piece, ..)| (*piece).to_owned()));
    let mut scores = vec![0.0; 259];
    scores.extend(pieces.iter().map(|(_, score, _)| score));
    let mut types = vec![6; 259];
    types[..3].copy_from_slice(&[2, 3, 3]);
    types.extend(pieces.iter().map(|(.., kind)| kind));
    let mut writer = Writer::new(architecture);
    writer.set("tokenizer.ggml.model", text("llama"));
    writer.set("tokenizer.ggml.tokens", Meta::Texts(tokens));
    writer.set("tokenizer.ggml.scores", Meta::F32s(scores));
    writer.set("tokenizer.ggml.token_type", Meta::I32s(types));
    writer
}

const PIECES: [(&str, f32, i32); 8] = [
    ("\u{2581}", -10.0, 1),       // 259
    ("a", -11.0, 1),              // 260
    ("b", -12.0, 1),              // 261
    ("ab", -2.0, 1),              // 262
    ("ba", -1.0, 1),              // 263
    ("\u{2581}a", -3.0, 1),       // 264
    ("\u{2581}\u{2581}", 0.0, 4), // 265
    ("<tag>", 0.0, 4),            // 266
];

#[test]
fn pieces_join_by_score_and_what_has_none_becomes_bytes() {
    let tokenizer = opened(&sentence_piece("llama", &PIECES)).tokenizer().unwrap();
    assert_eq!(
        (tokenizer.bos, tokenizer.add_bos, tokenizer.eos),
        (Some(1), true, Some(2))
    );
    let inner = loaded(&tokenizer);
    // "ba" is better than "ab" and "▁a".
    assert_eq!(ids(&inner, "aba"), [264, 263]);
    assert_eq!(ids(&inner, "ab"), [259, 262]);
    assert_eq!(ids(&inner, ""), [0_u32; 0]);
    // The first space is put before the text, whatever it begins with.
    assert_eq!(ids(&inner, " a"), [259, 264]);
    assert_eq!(ids(&inner, "b\u{e9}\n"), [259, 261, 3 + 0xc3, 3 + 0xa9, 3 + 10]);
    // What a user defined is matched in the text; what comes behind it begins as a text does.
    assert_eq!(ids(&inner, "b  <tag>b</s>"), [259, 261, 265, 266, 259, 261, 2]);
    for text in ["aba", " a", "b\u{e9}\n", "ab <0x0A> ba", "\u{1f600} b"] {
        assert_eq!(inner.decode(&ids(&inner, text), false).unwrap(), text);
    }
    assert_eq!(inner.encode("ab", true).unwrap().get_ids(), [1, 259, 262]);

    let mut writer = sentence_piece("llama", &PIECES);
    writer.set("tokenizer.ggml.add_space_prefix", Meta::Bool(false));
    let inner = loaded(&opened(&writer).tokenizer().unwrap());
    assert_eq!(ids(&inner, "aba a"), [260, 263, 264]);
    assert_eq!(inner.decode(&ids(&inner, " a"), false).unwrap(), " a");

    // Gemma's order is that of the ids: "ab" before "ba".
    let mut writer = sentence_piece("gemma2", &PIECES);
    writer.set("tokenizer.ggml.add_space_prefix", Meta::Bool(false));
    let inner = loaded(&opened(&writer).tokenizer().unwrap());
    assert_eq!(ids(&inner, "aba"), [262, 260]);
}

#[test]
fn without_bytes_what_has_no_piece_is_unknown() {
    let mut writer = Writer::new("llama");
    writer.set("tokenizer.ggml.model", text("llama"));
    writer.set("tokenizer.ggml.tokens", texts(&["<unk>", "<s>", "a", "\u{2581}"]));
    writer.set("tokenizer.ggml.scores", Meta::F32s(vec![0.0; 4]));
    writer.set("tokenizer.ggml.token_type", Meta::I32s(vec![2, 3, 1, 1]));
    let tokenizer = opened(&writer).tokenizer().unwrap();
    assert_eq!((tokenizer.bos, tokenizer.eos), (Some(1), None));
    assert_eq!(ids(&loaded(&tokenizer), "axya"), [3, 2, 0, 2]);
}

#[test]
fn tokenizers_that_do_not_fit_are_refused() {
    let refused = |change: &dyn Fn(&mut Writer)| {
        let mut writer = sentence_piece("llama", &PIECES);
        change(&mut writer);
        line(opened(&writer).tokenizer())
    };
    let cases: [(&str, Meta, &str); 8] = [
        ("model", text("t5"), "`t5`"),
        ("scores", Meta::F32s(vec![0.0]), "1 entries"),
        ("scores", text("x"), "`tokenizer.ggml.scores` is a text"),
        ("token_type", Meta::I32s(vec![1]), "1 entries"),
        ("bos_token_id", Meta::U32(1000), "1000"),
        ("tokens", texts(&["a", "a"]), "2 tokens"),
        ("tokens", Meta::U32(3), "is 3, expected a list of texts"),
        ("model", text("gpt2"), "`tokenizer.ggml.pre`"),
    ];
    for (key, value, expected) in cases {
        let line = refused(&|writer| {
            writer.set(&format!("tokenizer.ggml.{key}"), value.clone());
        });
        assert!(line.contains(expected), "{line}");
    }
    let missing = |key: &str| {
        refused(&|writer| {
            writer
                .pairs
                .retain(|(known, _)| known != &format!("tokenizer.ggml.{key}"))
        })
    };
    assert!(missing("model").contains("`tokenizer.ggml.model`"));
    assert!(missing("tokens").contains("`tokenizer.ggml.tokens`"));
    assert!(missing("scores").contains("`tokenizer.ggml.scores`"));
    let mut pieces = PIECES;
    pieces[3].0 = "a";
    assert!(line(opened(&sentence_piece("llama", &pieces)).tokenizer()).contains("twice"));
    let long = "a".repeat(2000);
    pieces[3].0 = &long;
    assert!(line(opened(&sentence_piece("llama", &pieces)).tokenizer()).contains("2000 bytes"));
    let mut writer = byte_level("llama", "gpt-2");
    writer.set("tokenizer.ggml.merges", texts(&["bc"]));
    assert!(line(opened(&writer).tokenizer()).contains("\"bc\""));
    assert!(line(opened(&byte_level("llama", "llama3")).tokenizer()).contains("bos_token_id"));
}

/// What SentencePiece does: joins the neighbours whose joined piece has the highest score, the leftmost of equals.
fn joined(pieces: &HashMap<String, (u32, f32)>, text: &str) -> Vec<u32> {
    let mut symbols: Vec<String> = text.chars().map(String::from).collect();
    loop {
        let mut best: Option<(usize, f32)> = None;
        for i in 1..symbols.len() {
            if let Some((_, score)) = pieces.get(&symbols[i - 1..=i].concat())
                && best.is_none_or(|(_, known)| *score > known)
            {
                best = Some((i, *score));
            }
        }
        let Some((i, _)) = best else { break };
        let right = symbols.remove(i);
        symbols[i - 1].push_str(&right);
    }
    symbols.iter().map(|symbol| pieces[symbol].0).collect()
}

/// Whether a piece begins as it ends; then it can be made at two places that overlap.
fn overlaps_itself(piece: &str) -> bool {
    (1..piece.len()).any(|n| piece.is_char_boundary(n) && piece.ends_with(&piece[..n]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn merges_give_what_sentence_piece_gives(
        longer in prop::collection::vec("[abc\u{2581}]{2,5}", 0..40),
        order in any::<u64>(),
        texts in prop::collection::vec("[abc ]{0,24}", 8),
    ) {
        let mut names: Vec<String> = ["a", "b", "c", "\u{2581}"].map(str::to_owned).to_vec();
        for piece in longer {
            if !overlaps_itself(&piece) && !names.contains(&piece) {
                names.push(piece);
            }
        }
        // Scores in an order of their own, none twice.
        let score = |i: usize| -((order.rotate_left(7 * i as u32 % 64) % 1009) as f32) - i as f32 / 64.0;
        let pieces: Vec<(&str, f32, i32)> = names.iter().enumerate().map(|(i, name)| (name.as_str(), score(i), 1)).collect();
        let known = pieces.iter().zip(259..).map(|((name, score, _), id)| ((*name).to_owned(), (id, *score))).collect();
        let mut writer = sentence_piece("llama", &pieces);
        writer.set("tokenizer.ggml.add_space_prefix", Meta::Bool(false));
        let inner = loaded(&opened(&writer).tokenizer().unwrap());
        for text in texts {
            prop_assert_eq!(ids(&inner, &text), joined(&known, &text.replace(' ', "\u{2581}")), "{}", text);
        }
    }
}
