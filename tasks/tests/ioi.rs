//! The indirect-object task with GPT-2's tokenizer, with the world's, and with one that knows too little.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::path::Path;

use tasks::world::World;
use tasks::{Attribute, IoiTask, Prompt, Role, Sample, Task};
use text::Tokenizer;

fn gpt2() -> Result<Tokenizer, text::Error> {
    Tokenizer::from_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../text/tests/fixtures/gpt2-tokenizer"))
}

fn world() -> Result<Tokenizer, text::Error> {
    Tokenizer::word_level(&World::new().pieces())
}

fn at(prompt: &Prompt, role: Role) -> usize {
    prompt.position(role).unwrap()
}

fn differing(left: &Prompt, right: &Prompt) -> Vec<usize> {
    assert_eq!(left.ids.len(), right.ids.len());
    (0..left.ids.len())
        .filter(|&position| left.ids[position] != right.ids[position])
        .collect()
}

#[test]
fn every_word_of_the_lists_is_one_token_of_gpt2() {
    let tokenizer = gpt2().unwrap();
    let names = tasks::lists::MALE_NAMES.iter().chain(&tasks::lists::FEMALE_NAMES);
    for word in names.chain(&tasks::lists::OBJECTS).chain(&tasks::lists::PLACES) {
        assert!(tokenizer.token(&format!(" {word}")).is_some(), "{word}");
    }
}

#[test]
fn gpt2_prompts_have_the_positions_of_the_paper() {
    let tokenizer = gpt2().unwrap();
    let task = IoiTask::new(&tokenizer).unwrap();
    let prompts = task.sample(Sample::Evaluation, 300, 1);
    assert_eq!(prompts.len(), 300);
    for prompt in &prompts {
        let [io, s, pos] =
            [Attribute::IO, Attribute::S, Attribute::POS].map(|attribute| prompt.labels.get(attribute).unwrap());
        assert_eq!(prompt.ids.len(), 19);
        assert_eq!(Some(prompt.ids[0]), tokenizer.bos());
        let abb = pos == 0;
        assert_eq!(at(prompt, Role::IO), if abb { 3 } else { 5 });
        assert_eq!(at(prompt, Role::S1), if abb { 5 } else { 3 });
        assert_eq!(at(prompt, Role::S1_PLUS_1), at(prompt, Role::S1) + 1);
        assert_eq!(at(prompt, Role::S2), [16, 14, 12][prompt.template().unwrap()]);
        assert_eq!(at(prompt, Role::END), 18);
        assert_eq!(tokenizer.decode(&prompt.ids[18..]).unwrap(), " to");
        for (role, attribute, value) in [
            (Role::IO, Attribute::IO, io),
            (Role::S1, Attribute::S, s),
            (Role::S2, Attribute::S, s),
        ] {
            let text = tokenizer.decode(&prompt.ids[at(prompt, role)..][..1]).unwrap();
            assert_eq!(text, format!(" {}", task.value_name(attribute, value)));
        }
        assert_eq!(prompt.right_token(), prompt.ids[at(prompt, Role::IO)]);
        assert_eq!(prompt.wrong_token(), prompt.ids[at(prompt, Role::S2)]);
        let whole = tokenizer.decode(&prompt.ids[1..]).unwrap();
        assert_eq!(tokenizer.encode(&whole).unwrap(), prompt.ids[1..], "{whole}");
    }
}

#[test]
fn the_worlds_tokenizer_keeps_all_words_and_makes_prompts_of_one_length() {
    let task = IoiTask::new(&world().unwrap()).unwrap();
    assert_eq!(
        task.n_values(Attribute::IO),
        tasks::lists::MALE_NAMES.len() + tasks::lists::FEMALE_NAMES.len()
    );
    assert!(
        task.sample(Sample::Train, 500, 0)
            .iter()
            .all(|prompt| prompt.ids.len() == 19)
    );
}

/// They once came in two halves, and autoencoders were measured on held-out prompts of one pattern only.
#[test]
fn patterns_are_equally_frequent_in_every_part_of_a_sample() {
    let task = IoiTask::new(&world().unwrap()).unwrap();
    let orders: Vec<usize> = task
        .sample(Sample::Train, 2001, 0)
        .iter()
        .map(|prompt| prompt.labels.get(Attribute::POS).unwrap())
        .collect();
    assert_eq!(orders.iter().sum::<usize>(), 1000);
    let share = |part: &mut dyn Iterator<Item = usize>| {
        let part: Vec<usize> = part.collect();
        part.iter().sum::<usize>() as f64 / part.len() as f64
    };
    for tenth in orders.chunks(200) {
        let found = share(&mut tenth.iter().copied());
        assert!(tenth.len() < 200 || (found - 0.5).abs() < 0.15, "{found}");
    }
    for first in 0..2 {
        let found = share(&mut orders.iter().skip(first).step_by(2).copied());
        assert!((found - 0.5).abs() < 0.07, "{found}");
    }
}

#[test]
fn samples_have_no_prompt_in_common() {
    let task = IoiTask::new(&world().unwrap()).unwrap();
    let mut owner = std::collections::BTreeMap::new();
    for sample in Sample::ALL {
        for prompt in task.sample(sample, 4000, 0) {
            assert_eq!(*owner.entry(prompt.ids).or_insert(sample), sample);
        }
    }
}

#[test]
fn samples_use_the_names_they_should() {
    let task = IoiTask::new(&world().unwrap()).unwrap();
    let n = task.n_values(Attribute::IO);
    for (sample, limit) in [
        (Sample::Train, n),
        (Sample::Evaluation, n / 2),
        (Sample::Interpretability, n),
        (Sample::Locate, n / 2),
    ] {
        let prompts = task.sample(sample, 4000, 5);
        for attribute in [Attribute::IO, Attribute::S] {
            let names: BTreeSet<usize> = prompts
                .iter()
                .filter_map(|prompt| prompt.labels.get(attribute))
                .collect();
            assert_eq!(names, (0..limit).collect(), "{sample:?}");
        }
        assert!(
            prompts
                .iter()
                .all(|prompt| prompt.right_token() != prompt.wrong_token())
        );
        assert_eq!(prompts, task.sample(sample, 4000, 5));
        assert_ne!(prompts, task.sample(sample, 4000, 6));
    }
}

#[test]
fn a_counterfactual_changes_one_attribute_only() {
    let task = IoiTask::new(&world().unwrap()).unwrap();
    let n = task.n_values(Attribute::IO);
    for sample in Sample::ALL {
        let prompts = task.sample(sample, 400, 2);
        for &attribute in task.attributes() {
            let changed = task.counterfactuals(&prompts, attribute, 9);
            assert_eq!(changed, task.counterfactuals(&prompts, attribute, 9));
            for (prompt, other) in prompts.iter().zip(&changed) {
                for &unchanged in task.attributes().iter().filter(|unchanged| **unchanged != attribute) {
                    assert_eq!(prompt.labels.get(unchanged), other.labels.get(unchanged));
                }
                let value = other.labels.get(attribute).unwrap();
                assert_ne!(prompt.labels.get(attribute), Some(value));
                let roles: &[Role] = match attribute {
                    Attribute::IO => &[Role::IO],
                    Attribute::S => &[Role::S1, Role::S2],
                    _ => &[Role::IO, Role::S1],
                };
                let mut expected: Vec<usize> = roles.iter().map(|&role| at(prompt, role)).collect();
                expected.sort_unstable();
                assert_eq!(differing(prompt, other), expected);
                match attribute {
                    Attribute::IO => assert!((n / 2..n - n / 4).contains(&value)),
                    Attribute::S => assert!((n - n / 4..n).contains(&value)),
                    _ => assert_eq!(at(prompt, Role::IO), at(other, Role::S1)),
                }
                assert_ne!(other.right_token(), other.wrong_token());
            }
        }
    }
}

#[test]
fn too_few_names_are_an_error_that_says_how_many() {
    let few: Vec<String> = World::new()
        .pieces()
        .into_iter()
        .filter(|piece| !tasks::lists::MALE_NAMES[..56].contains(&piece.trim()))
        .filter(|piece| !tasks::lists::FEMALE_NAMES[..56].contains(&piece.trim()))
        .collect();
    let message = IoiTask::new(&Tokenizer::word_level(&few).unwrap())
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("only 8 of the 120 names in tasks::lists are single tokens"),
        "{message}"
    );
    assert!(message.contains("40 are needed"), "{message}");
}

#[test]
fn an_unknown_word_of_a_template_is_an_error_that_quotes_it() {
    let pieces: Vec<String> = World::new()
        .pieces()
        .into_iter()
        .filter(|piece| piece != " crazy")
        .collect();
    let message = IoiTask::new(&Tokenizer::word_level(&pieces).unwrap())
        .unwrap_err()
        .to_string();
    assert!(message.contains("crazy") && !message.contains('\n'), "{message}");
}
