//! Invariants of the world, checked over a few thousand documents.

use std::collections::BTreeMap;

use lm::interchange::Pair;
use strum::VariantArray;

use super::frame::{Slot, Topic};
use super::*;

const DOCUMENTS: u64 = 3000;

fn documents(world: &World) -> impl Iterator<Item = Document> + '_ {
    (0..DOCUMENTS).map(|index| world.document(7, index))
}

/// The tokens of each told frame with their labels.
fn told_frames(document: &Document) -> Vec<(usize, Vec<&Piece>)> {
    let mut told: Vec<(usize, Vec<&Piece>)> = Vec::new();
    let mut previous_end = false;
    for piece in &document.pieces {
        let Some(frame) = piece.label.frame else {
            previous_end = true;
            continue;
        };
        match told.last_mut() {
            Some((last, pieces)) if *last == frame && !previous_end => pieces.push(piece),
            _ => told.push((frame, vec![piece])),
        }
        previous_end = false;
    }
    told
}

fn entity_of(pieces: &[&Piece], role: TokenRole) -> Option<Entity> {
    pieces
        .iter()
        .find(|piece| piece.label.role == role)
        .and_then(|piece| piece.label.entity)
}

fn listed_objects(pieces: &[&Piece]) -> [usize; 3] {
    let objects: Vec<usize> = pieces
        .iter()
        .filter_map(|piece| match piece.label.entity {
            Some(Entity::Object(object)) => Some(object),
            _ => None,
        })
        .collect();
    [objects[0], objects[1], objects[2]]
}

#[test]
fn the_world_is_as_large_as_the_issue_asks() {
    let world = World::new();
    let count = |is: fn(&Entity) -> bool| world.entities().iter().filter(|entity| is(entity)).count();
    assert!(count(|entity| matches!(entity, Entity::Person(_))) >= 100);
    assert!(count(|entity| matches!(entity, Entity::Object(_))) >= 40);
    assert!(count(|entity| matches!(entity, Entity::Place(_))) >= 30);
    assert!(count(|entity| matches!(entity, Entity::Profession(_))) >= 40);
    assert!(count(|entity| matches!(entity, Entity::Country(_))) >= 50);
    assert_eq!(count(|entity| matches!(entity, Entity::Thing(_))), 12 * 8);
    assert!(count(|entity| matches!(entity, Entity::Noun(_))) >= 40);
    assert!(count(|entity| matches!(entity, Entity::Verb(_))) >= 30);
    assert!(world.n_frames() >= 60, "{} frames", world.n_frames());
    assert!(world.pieces().len() <= 900, "{} pieces", world.pieces().len());
}

#[test]
fn a_piece_belongs_to_one_category() {
    let world = World::new();
    let mut owner: BTreeMap<String, String> = BTreeMap::new();
    for entity in world.entities() {
        let mut pieces = vec![entity.piece(Number::Singular), entity.piece(Number::Plural)];
        pieces.dedup();
        for piece in pieces {
            if let Some(other) = owner.insert(piece.clone(), format!("{entity:?}")) {
                panic!("{piece:?} is {entity:?} and {other}");
            }
        }
    }
    for frame in world.frames() {
        for part in &frame.parts {
            if let Part::Word(word) = part {
                assert!(
                    !owner.contains_key(&format!(" {word}")),
                    "\"{word}\" of frame {} is also an entity",
                    frame.id
                );
                assert!(
                    word.chars().all(char::is_alphabetic),
                    "\"{word}\" of frame {} is not one word",
                    frame.id
                );
            }
        }
    }
}

#[test]
fn documents_use_the_vocabulary_and_have_3_to_12_sentences() {
    let world = World::new();
    let pieces: BTreeSet<String> = world.pieces().into_iter().collect();
    let mut used = BTreeSet::new();
    for document in documents(&world) {
        let sentences = document.pieces.iter().filter(|piece| piece.text == ".").count();
        assert!((3..=12).contains(&sentences), "{}", document.text());
        assert!(document.text().starts_with(|letter: char| letter.is_uppercase()));
        used.extend(document.pieces.into_iter().map(|piece| piece.text));
    }
    assert!(
        used.is_subset(&pieces),
        "{:?}",
        used.difference(&pieces).collect::<Vec<_>>()
    );
    let unused: Vec<&String> = pieces
        .difference(&used)
        .filter(|piece| !["00", "01", "02"].contains(&piece.as_str()))
        .collect();
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn a_document_depends_on_its_seed_and_index_only() {
    let world = World::new();
    assert_eq!(world.document(1, 5), World::new().document(1, 5));
    assert_ne!(world.document(1, 5), world.document(1, 6));
    assert_ne!(world.document(1, 5), world.document(2, 5));
}

#[test]
fn held_out_combinations_never_occur_in_documents() {
    let world = World::new();
    let mut taught: BTreeSet<(TokenRole, Entity, usize)> = BTreeSet::new();
    for document in documents(&world) {
        let people: BTreeSet<usize> = document
            .pieces
            .iter()
            .filter_map(|piece| match piece.label.entity {
                Some(Entity::Person(person)) => Some(person),
                _ => None,
            })
            .collect();
        for &first in &people {
            assert!(
                people
                    .range(first + 1..)
                    .all(|&second| !held_out::people(first, second)),
                "{}",
                document.text()
            );
        }
        for (frame, pieces) in told_frames(&document) {
            let mut bindings = frame::Bindings::draw(&[0, 1], &mut ChaCha8Rng::seed_from_u64(0));
            let topic = world.frames()[frame].topic;
            let fact = match topic {
                Topic::Behaviour(Behaviour::Capital) => TokenRole::Country,
                Topic::Behaviour(Behaviour::Hypernym) => TokenRole::Thing,
                Topic::Behaviour(Behaviour::Pronoun) => TokenRole::Person,
                Topic::Behaviour(Behaviour::GreaterThan) => TokenRole::StartYear,
                Topic::Behaviour(Behaviour::Agreement) => TokenRole::Noun,
                Topic::List => TokenRole::Object,
                Topic::Behaviour(Behaviour::IndirectObject) | Topic::Story => continue,
            };
            let entity = entity_of(&pieces, fact).unwrap();
            match entity {
                Entity::Country(country) => bindings.country = country,
                Entity::Thing(thing) => bindings.thing = thing,
                Entity::Person(person) => bindings.subject = person,
                Entity::Year(year) => bindings.start_year = year,
                Entity::Noun(noun) => bindings.noun = noun,
                Entity::Object(_) => bindings.objects = listed_objects(&pieces),
                _ => unreachable!(),
            }
            if let Some(Entity::Event(event)) = entity_of(&pieces, TokenRole::Event) {
                bindings.event = event;
            }
            if let Some(Entity::Noun(attractor)) = entity_of(&pieces, TokenRole::Attractor) {
                bindings.attractor = attractor;
            }
            assert!(
                !held_out::sentence(&world.frames()[frame], &bindings),
                "{}",
                document.text()
            );
            taught.insert((fact, entity, frame));
        }
    }
    for (n, role, entity) in [
        (
            lexicon::CAPITALS.len(),
            TokenRole::Country,
            Entity::Country as fn(usize) -> Entity,
        ),
        (96, TokenRole::Thing, Entity::Thing),
    ] {
        for index in 0..n {
            let frames = taught
                .iter()
                .filter(|fact| (fact.0, fact.1) == (role, entity(index)))
                .count();
            assert!(frames >= 3, "{:?} is taught in {frames} frames", entity(index));
        }
    }
}

#[test]
fn labels_say_what_the_text_says() {
    let world = World::new();
    for document in documents(&world).take(300) {
        let mut seen = BTreeSet::new();
        for piece in &document.pieces {
            let Some(entity) = piece.label.entity else { continue };
            assert_eq!(
                piece.label.mentioned_before,
                seen.contains(&entity),
                "{}",
                document.text()
            );
            seen.insert(entity);
            if piece.label.role != TokenRole::Pronoun {
                assert_eq!(piece.text, entity.piece(piece.label.number.unwrap_or(Number::Singular)));
            }
        }
        for (frame, pieces) in told_frames(&document) {
            let is_pair = world.frames()[frame].topic == Topic::Behaviour(Behaviour::IndirectObject);
            if is_pair && world.frames()[frame].parts.contains(&Part::Slot(Slot::First)) {
                assert_eq!(
                    entity_of(&pieces, TokenRole::Subject),
                    entity_of(&pieces, TokenRole::RepeatedSubject)
                );
                assert_eq!(
                    entity_of(&pieces, TokenRole::IndirectObject),
                    entity_of(&pieces, TokenRole::Recipient)
                );
            }
        }
    }
}

#[test]
fn pairs_of_prompts_ask_for_the_order_of_the_names() {
    let world = World::new();
    let tokenizer = text::Tokenizer::word_level(&world.pieces()).unwrap();
    let of_steps = || {
        (0..40)
            .flat_map(|step| order_pairs(&world, &tokenizer, 3, step, 5).unwrap())
            .flatten()
    };
    let pairs: Vec<Pair> = of_steps().collect();
    assert!(pairs.iter().cloned().eq(of_steps()));
    let people: Vec<String> = (0..World::n_people())
        .map(|person| Entity::Person(person).piece(Number::Singular))
        .collect();
    let names = |ids: &[u32]| -> Vec<usize> {
        let person = |&id: &u32| people.iter().position(|name| tokenizer.token(name) == Some(id));
        ids.iter().filter_map(person).collect()
    };
    let mut seen = BTreeMap::new();
    for pair in &pairs {
        let (source, base) = (names(&pair.source), names(&pair.base));
        assert_eq!(pair.source.len(), pair.base.len());
        for named in [&source, &base] {
            assert!(
                named.len() == 3 && named[0] != named[1] && named[..2].contains(&named[2]),
                "{named:?}"
            );
            assert!(!held_out::people(named[0], named[1]), "{named:?}");
        }
        assert_eq!(pair.bit, source[0] == source[2]);
        // Where the source names its subject first, the second of the base's names is asked for.
        assert_eq!(names(&[pair.answer]), [base[usize::from(pair.bit)]]);
        let same_order = pair.bit == (base[0] == base[2]);
        let same_people = base[0].min(base[1]) == source[0].min(source[1]);
        *seen.entry((same_order, same_people)).or_insert(0) += 1;
        // Nothing else differs.
        let differing = pair.source.iter().zip(&pair.base).filter(|(a, b)| a != b).count();
        assert!(differing <= 3);
    }
    assert!(seen.len() == 4 && seen.values().all(|&n| n > 60), "{seen:?}");
}

#[test]
fn behaviours_take_their_share_of_the_text() {
    let world = World::new();
    let mut tokens = 0;
    let mut frames: BTreeMap<String, usize> = BTreeMap::new();
    for document in documents(&world) {
        tokens += document.pieces.len();
        for piece in document.pieces.iter().filter(|piece| piece.text == ".") {
            let name = piece
                .label
                .behaviour
                .map_or("none".to_owned(), |behaviour| behaviour.to_string());
            *frames.entry(name).or_default() += 1;
        }
    }
    let total: usize = frames.values().sum();
    let mean = tokens as f64 / DOCUMENTS as f64;
    assert!((55.0..120.0).contains(&mean), "{mean} tokens in a document");
    for &behaviour in Behaviour::VARIANTS {
        let share = frames[&behaviour.to_string()] as f64 / total as f64;
        let expected = if behaviour == Behaviour::IndirectObject {
            0.28..0.5
        } else {
            0.07..0.2
        };
        assert!(expected.contains(&share), "{behaviour}: {share}, {frames:?}");
    }
}

#[test]
fn prompts_are_held_out_beginnings_of_documents() {
    let world = World::new();
    let corpus: Vec<String> = documents(&world).map(|document| document.text()).collect();
    let pieces: BTreeSet<String> = world.pieces().into_iter().collect();
    for &behaviour in Behaviour::VARIANTS {
        let prompts = world.behaviour_prompts(behaviour, 200, 3);
        assert_eq!(prompts, world.behaviour_prompts(behaviour, 200, 3));
        for prompt in &prompts {
            assert!(
                !corpus.iter().any(|text| text.starts_with(&prompt.text)),
                "{}",
                prompt.text
            );
            assert!(!prompt.right.is_empty() && prompt.right.iter().all(|piece| pieces.contains(piece)));
            assert!(
                prompt
                    .wrong
                    .iter()
                    .all(|piece| pieces.contains(piece) && !prompt.right.contains(piece))
            );
        }
    }
}

#[test]
fn indirect_object_prompts_include_the_templates_of_the_task() {
    let prompts = World::new().behaviour_prompts(Behaviour::IndirectObject, 100, 3);
    for words in [
        "really crazy argument. Afterwards,",
        "had lots of fun at the",
        "decided to give a",
    ] {
        assert!(
            prompts
                .iter()
                .any(|prompt| prompt.text.starts_with("Then, ") && prompt.text.contains(words)),
            "{words}"
        );
    }
    assert!(
        prompts
            .iter()
            .all(|prompt| prompt.text.contains(&prompt.wrong[0]) && prompt.text.contains(&prompt.right[0]))
    );
}
