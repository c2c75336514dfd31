//! What never occurs in training: a pure function of what a sentence says.
//!
//! One combination in five is held out: pairs of people, (year, event) and (noun, attractor) pairs, and triples of
//! listed objects in any sentence; facts (capital, kind, gender) in some of their frames.

use super::behaviours::Behaviour;
use super::frame::{Bindings, Frame, Topic};
use crate::partition::stable_hash;

/// One combination in this many is held out.
const HELD_OUT_ONE_IN: u64 = 5;

/// Whether two people never occur in one document. The order does not matter.
pub(crate) fn people(first: usize, second: usize) -> bool {
    is_held_out(0x201, &[first.min(second), first.max(second)])
}

/// Whether a frame filled in this way never occurs in a document.
pub(crate) fn sentence(frame: &Frame, bindings: &Bindings) -> bool {
    match frame.topic {
        Topic::Behaviour(Behaviour::IndirectObject) => people(bindings.subject, bindings.other),
        Topic::Behaviour(Behaviour::Capital) => is_held_out(0x202, &[bindings.country, frame.id]),
        Topic::Behaviour(Behaviour::Hypernym) => is_held_out(0x203, &[bindings.thing, frame.id]),
        Topic::Behaviour(Behaviour::Pronoun) => is_held_out(0x204, &[bindings.subject, frame.id]),
        Topic::Behaviour(Behaviour::GreaterThan) => is_held_out(0x205, &[bindings.start_year, bindings.event]),
        Topic::Behaviour(Behaviour::Agreement) => is_held_out(0x206, &[bindings.noun, bindings.attractor]),
        Topic::List => {
            let mut objects = bindings.objects;
            objects.sort_unstable();
            is_held_out(0x207, &objects)
        }
        Topic::Story => false,
    }
}

fn is_held_out(domain: u64, ids: &[usize]) -> bool {
    stable_hash(domain, ids).is_multiple_of(HELD_OUT_ONE_IN)
}
