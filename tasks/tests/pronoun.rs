//! The gendered-pronoun task with GPT-2's tokenizer and with the world's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tasks::world::World;
use tasks::{Attribute, Prompt, PronounTask, Role, Sample, Task, lists};
use text::Tokenizer;

fn gpt2() -> Tokenizer {
    Tokenizer::from_dir(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../text/tests/fixtures/gpt2-tokenizer")).unwrap()
}

fn world() -> Tokenizer {
    Tokenizer::word_level(&World::new().pieces()).unwrap()
}

/// The gender of the name at a role, from the text alone.
fn gender_at(tokenizer: &Tokenizer, prompt: &Prompt, role: Role) -> usize {
    let name = tokenizer
        .decode(&prompt.ids[prompt.position(role).unwrap()..][..1])
        .unwrap();
    match lists::FEMALE_NAMES.contains(&name.trim()) {
        true => 1,
        false => usize::from(!lists::MALE_NAMES.contains(&name.trim())) * 2,
    }
}

#[test]
fn labels_and_answers_follow_from_the_text() {
    for tokenizer in [gpt2(), world()] {
        let task = PronounTask::new(&tokenizer).unwrap();
        for prompt in task.sample(Sample::Train, 300, 1) {
            assert_eq!((prompt.ids.len(), prompt.ids[0]), (13, tokenizer.bos().unwrap()));
            let [gender, other] = [Attribute::GENDER, Attribute::OTHER_GENDER].map(|a| prompt.labels.get(a).unwrap());
            assert_eq!(gender_at(&tokenizer, &prompt, Role::NAME), gender);
            assert_eq!(gender_at(&tokenizer, &prompt, Role::OTHER), other);
            let name = task.value_name(Attribute::NAME, prompt.labels.get(Attribute::NAME).unwrap());
            assert_eq!(
                tokenizer.token(&format!(" {name}")),
                prompt.position(Role::NAME).map(|at| prompt.ids[at])
            );
            let pronouns = [" he", " she"].map(|text| tokenizer.token(text).unwrap());
            assert_eq!(
                (prompt.right_token(), prompt.wrong_token()),
                (pronouns[gender], pronouns[1 - gender])
            );
            assert_eq!(
                prompt.position(Role::NAME_PLUS_1),
                prompt.position(Role::NAME).map(|at| at + 1)
            );
            assert_eq!(prompt.position(Role::END), Some(prompt.end()));
            assert_eq!(
                (prompt.position(Role::S2), prompt.labels.get(Attribute::IO)),
                (None, None)
            );
            let whole = tokenizer.decode(&prompt.ids[1..]).unwrap();
            assert_eq!(tokenizer.encode(&whole).unwrap(), prompt.ids[1..], "{whole}");
        }
    }
}

#[test]
fn samples_have_no_prompt_in_common() {
    let task = PronounTask::new(&world()).unwrap();
    let mut owner = BTreeMap::new();
    for sample in Sample::ALL {
        for prompt in task.sample(sample, 4000, 0) {
            assert_eq!(*owner.entry(prompt.ids).or_insert(sample), sample);
        }
    }
}

#[test]
fn a_counterfactual_changes_one_persons_gender_by_a_name_that_is_new() {
    let task = PronounTask::new(&world()).unwrap();
    let prompts = task.sample(Sample::Evaluation, 400, 2);
    let known: BTreeSet<u32> = prompts
        .iter()
        .flat_map(|prompt| [Role::NAME, Role::OTHER].map(|role| prompt.ids[prompt.position(role).unwrap()]))
        .collect();
    for (attribute, role) in [(Attribute::GENDER, Role::NAME), (Attribute::OTHER_GENDER, Role::OTHER)] {
        let changed = task.counterfactuals(&prompts, attribute, 9);
        assert_eq!(changed, task.counterfactuals(&prompts, attribute, 9));
        for (prompt, other) in prompts.iter().zip(&changed) {
            let at = prompt.position(role).unwrap();
            let differing: Vec<usize> = (0..prompt.ids.len())
                .filter(|&i| prompt.ids[i] != other.ids[i])
                .collect();
            assert_eq!(differing, [at]);
            assert!(!known.contains(&other.ids[at]));
            for &one in task.attributes() {
                assert_eq!(prompt.labels.get(one) == other.labels.get(one), one != attribute);
            }
        }
    }
    assert_eq!(task.counterfactuals(&prompts, Attribute::POS, 0), prompts);
}
