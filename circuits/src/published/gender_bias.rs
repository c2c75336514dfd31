//! Gender bias: "he" or "she" behind a profession that has a stereotype.

use text::Tokenizer;

use super::{Row, words};

pub(super) fn rows(tokenizer: &Tokenizer) -> Vec<Row> {
    let list = |name: &str| -> Vec<&'static str> {
        let lines = include_str!("words/professions.txt").lines();
        let line = lines
            .filter_map(|line| line.split_once(": "))
            .find(|(title, _)| *title == name);
        line.map(|(_, line)| words(line)).unwrap_or_default()
    };
    let Some([he, she]) = tokenizer
        .token(" he")
        .zip(tokenizer.token(" she"))
        .map(|(he, she)| [he, she])
    else {
        return Vec::new();
    };
    let frames = list("frames");
    let of = |professions: Vec<&'static str>, other: &str, right: u32, wrong: u32| -> Vec<Row> {
        let rows = professions.into_iter().flat_map(|profession| {
            frames.iter().map(move |frame| Row {
                clean: format!("The {profession} {frame}"),
                corrupted: format!("The {other} {frame}"),
                right: vec![right],
                wrong: vec![wrong],
            })
        });
        let len = |text: &str| tokenizer.encode(text).map_or(0, |ids| ids.len());
        rows.filter(|row| len(&row.clean) == len(&row.corrupted)).collect()
    };
    let (female, male) = (of(list("female"), "man", she, he), of(list("male"), "woman", he, she));
    // As many of the one as of the other, the male ones spread over their list.
    let n = female.len().min(male.len());
    let spread = |rows: Vec<Row>| {
        let len = rows.len();
        let chosen: Vec<Row> = (0..n).map(|place| rows[place * len / n].clone()).collect();
        chosen
    };
    if n == 0 {
        return Vec::new();
    }
    [spread(female), spread(male)].concat()
}
