//! Pairs of prompts that teach a model to find the indirect object by the order of the names.
//!
//! A model of the world finds it by name when nothing else is asked for: it copies whichever name is not the subject's. In
//! GPT-2 small that information travels by the order of the names as well (`Pos`), which is what dictionaries are tested on.

use lm::interchange::Pair;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use strum::VariantArray;
use text::Tokenizer;

use super::frame::{Bindings, Frame, Slot};
use super::story::Story;
use super::{Behaviour, World, lexicon};
use crate::Error;
use crate::template::TEMPLATES;

/// Share of pairs that differ in nothing but, perhaps, the order of the names; in the others the people differ as well.
const SAME_PEOPLE_SHARE: f64 = 0.5;
/// The prompts of behaviours use the last random streams, pairs those before.
const LAST_STREAM: u64 = u64::MAX - Behaviour::VARIANTS.len() as u64;

/// The pairs of step `step` of a run in two groups, `n` from one of the templates of the indirect-object task and `n` from one
/// other frame that names both people; none of people who are held out. The bit says whether the subject comes first,
/// which its second mention, the clue, can tell.
///
/// # Errors
///
/// When the tokenizer does not know a word of the world, or splits names that stand in a text otherwise than alone.
pub fn order_pairs(
    world: &World,
    tokenizer: &Tokenizer,
    seed: u64,
    step: usize,
    n: usize,
) -> Result<Vec<Vec<Pair>>, Error> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(LAST_STREAM - step as u64);
    let names_both =
        |frame: &&Frame| frame.behaviour() == Some(Behaviour::IndirectObject) && !frame.relies_on_document();
    let frames: Vec<&Frame> = world.frames().iter().filter(names_both).collect();
    let (templates, others) = frames.split_at(TEMPLATES.len());
    [templates, others]
        .into_iter()
        .map(|frames| {
            let frame = frames[rng.random_range(0..frames.len())];
            (0..n).map(|_| pair(world, frame, tokenizer, &mut rng)).collect()
        })
        .collect()
}

fn pair(world: &World, frame: &Frame, tokenizer: &Tokenizer, rng: &mut ChaCha8Rng) -> Result<Pair, Error> {
    let opener = match frame.id < TEMPLATES.len() {
        true => 0,
        false => rng.random_range(0..lexicon::OPENERS.len()),
    };
    let base = Bindings::draw(&Story::draw_cast(2, rng), rng);
    let mut source = base.clone();
    if !rng.random_bool(SAME_PEOPLE_SHARE) {
        let other = Bindings::draw(&Story::draw_cast(2, rng), rng);
        (source.subject, source.other) = (other.subject, other.other);
    }
    source.subject_first = rng.random_bool(0.5);
    let answer = match source.subject_first == base.subject_first {
        true => Slot::Recipient,
        false => Slot::RepeatedSubject,
    };
    let prompt = |bindings: &Bindings| {
        let mut story = Story::new(world, vec![bindings.subject, bindings.other]);
        story.open_with(opener);
        story.tell(frame, bindings, Some(Slot::Recipient));
        let words = tokenizer.encode(&story.into_document().text())?;
        Ok::<Vec<u32>, Error>(tokenizer.bos().into_iter().chain(words).collect())
    };
    let name = |bindings: &Bindings, slot| Ok::<_, Error>(tokenizer.encode(&bindings.fill(slot).text)?[0]);
    let repeated = name(&source, Slot::RepeatedSubject)?;
    let ids = prompt(&source)?;
    // The name stands there twice.
    let clue = ids.iter().rposition(|&id| id == repeated);
    Ok(Pair {
        clue: clue.ok_or(Error::NoRepeatedName { frame: frame.id })?,
        source: ids,
        base: prompt(&base)?,
        bit: source.subject_first,
        answer: name(&base, answer)?,
    })
}
