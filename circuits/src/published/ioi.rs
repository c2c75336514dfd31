//! Indirect object identification: two people, one of whom is named again; the other completes the sentence.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use text::Tokenizer;

use super::{DRAWN, Row, one_of, words};

/// Frames: `A` and `B` are the two people in either order, `S` the one who is named again.
const FRAMES: [&str; 7] = [
    "After [A] and [B] went to the [PLACE], [S] gave a [OBJECT] to",
    "Then, [A] and [B] went to the [PLACE]. [S] gave a [OBJECT] to",
    "Then, [A] and [B] had a lot of fun at the [PLACE]. [S] gave a [OBJECT] to",
    "Then, [A] and [B] were working at the [PLACE]. [S] decided to give a [OBJECT] to",
    "Then, [A] and [B] were thinking about going to the [PLACE]. [S] wanted to give a [OBJECT] to",
    "Then, [A] and [B] had a long argument, and afterwards [S] said to",
    "When [A] and [B] got a [OBJECT] at the [PLACE], [S] decided to give it to",
];
const PLACES: [&str; 8] = [
    "store",
    "garden",
    "restaurant",
    "school",
    "hospital",
    "office",
    "house",
    "station",
];
const OBJECTS: [&str; 8] = [
    "ring",
    "kiss",
    "bone",
    "basketball",
    "computer",
    "necklace",
    "drink",
    "snack",
];

pub(super) fn rows(tokenizer: &Tokenizer, rng: &mut ChaCha8Rng) -> Vec<Row> {
    let names: Vec<(&str, u32)> = words(include_str!("words/names.txt"))
        .into_iter()
        .filter_map(|name| Some((name, tokenizer.token(&format!(" {name}"))?)))
        .collect();
    if names.len() < 3 {
        return Vec::new();
    }
    let row = |_| {
        let three = rand::seq::index::sample(rng, names.len(), 3);
        let [(subject, of_subject), (object, of_object), (third, _)] = [0, 1, 2].map(|place| names[three.index(place)]);
        let (first, second) = if rng.random() {
            (subject, object)
        } else {
            (object, subject)
        };
        let frame = one_of(&FRAMES, rng)
            .replace("[PLACE]", one_of(&PLACES, rng))
            .replace("[OBJECT]", one_of(&OBJECTS, rng))
            .replace("[A]", first)
            .replace("[B]", second);
        Row {
            clean: frame.replace("[S]", subject),
            corrupted: frame.replace("[S]", third),
            right: vec![of_object],
            wrong: vec![of_subject],
        }
    };
    (0..DRAWN).map(row).collect()
}
