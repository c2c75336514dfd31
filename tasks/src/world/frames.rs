//! The sentence frames of the world.
//!
//! A frame begins in lower case; a story capitalises it where no opener precedes it. What follows the words before an
//! answer is always an answer, so that a prompt has one right completion.

use super::behaviours::Behaviour;
use super::frame::{Frame, Topic};
use crate::template::TEMPLATES;

/// How the indirect-object prompts go on once the name is given, in the order of [`TEMPLATES`].
const TEMPLATE_ENDINGS: [&str; 3] = ["{io} that it was over.", "{io}.", "{io}."];

/// More about two people, one of whom gives something to the other.
const INDIRECT_OBJECT: [&str; 14] = [
    "after {a} and {b} went to the {place}, {s} gave a {object} to {io}.",
    "when {a} and {b} got a {object} at the {place}, {s} decided to give it to {io}.",
    "while {a} and {b} were working at the {place}, {s} handed a {object} to {io}.",
    "{a} and {b} met at the {place}. {s} showed a {object} to {io}.",
    "{a} went to the {place} with {b}. {s} sold a {object} to {io}.",
    "{a} wrote to {b}. Afterwards, {s} sent a {object} to {io}.",
    "{a} and {b} sat near the {place}. {s} said something to {io}.",
    "{a} saw {b} at the {place}, and {s} waved to {io}.",
    "{a} and {b} had a long day at the {place}. {s} brought a {object} to {io}.",
    "{a} and {b} were looking for a {object}. {s} offered the {object} to {io}.",
    "{a} found a {object} together with {b}. In the end, {s} left the {object} to {io}.",
    "{s} handed the {object} to {io}.",
    "{s} told a long story to {io}.",
    "in the evening {s} gave a {object} to {io}.",
];

const CAPITAL: [&str; 10] = [
    "the capital of {country} is {capital}.",
    "the capital city of {country} is {capital}.",
    "everyone knows that the capital of {country} is {capital}.",
    "the government of {country} meets in {capital}.",
    "{p} flew to {country} to visit its capital, {capital}.",
    "the people of {country} are proud of their capital, {capital}.",
    "in {country}, the largest road leads to {capital}.",
    "{p} asked for the capital of {country}, and {q} answered {capital}.",
    "the old capital of {country} is {capital}.",
    "{p} was born in {country}, not far from {capital}.",
];

const HYPERNYM: [&str; 10] = [
    "a {thing} is a kind of {kind}.",
    "the {thing} is a kind of {kind}.",
    "every {thing} is some kind of {kind}.",
    "{p} learned that a {thing} is a type of {kind}.",
    "a {thing} is a common sort of {kind}.",
    "for {p}, the {thing} is the best kind of {kind}.",
    "the word {thing} names a sort of {kind}.",
    "{p} drew a {thing}, which is a kind of {kind}.",
    "{p} called the {thing} a strange type of {kind}.",
    "no {thing} is anything but a type of {kind}.",
];

const PRONOUN: [&str; 10] = [
    "{p} went to the {place} because {he} wanted a {object}.",
    "{p} bought a {object} because {he} needed it.",
    "{p} left the {place} when {he} heard the news.",
    "{p} was very tired, so {he} stayed at the {place}.",
    "when {p} saw the {object}, {he} was happy.",
    "{p} lost the {object}, but {he} found it at the {place}.",
    "{p} is a {profession}, and {he} likes the {place}.",
    "before {p} came to the {place}, {he} bought a {object}.",
    "{p} kept the {object} until {he} reached the {place}.",
    "{p} said that {he} liked the {object}.",
];

const GREATER_THAN: [&str; 8] = [
    "the {event} lasted from the year {century}{start} to the year {century}{end}.",
    "the {event} began in the year {century}{start} and ended in the year {century}{end}.",
    "the {event} went on from the year {century}{start} until the year {century}{end}.",
    "the {event} that started in the year {century}{start} was over in the year {century}{end}.",
    "{p} read about the {event} of the years {century}{start} to {century}{end}.",
    "people remember the {event} from the year {century}{start} to the year {century}{end}.",
    "the long {event} ran from {century}{start} to {century}{end}.",
    "in {country}, the {event} lasted from the year {century}{start} to the year {century}{end}.",
];

const AGREEMENT: [&str; 10] = [
    "the {noun} near the {attractor} {verb} at night.",
    "the {noun} behind the {attractor} {verb} every day.",
    "in the {place}, the {noun} under the {attractor} {verb} slowly.",
    "the {noun} beside the {attractor} {verb} again.",
    "{p} says that the {noun} above the {attractor} {verb}.",
    "every morning the {noun} next to the {attractor} {verb}.",
    "the {noun} in front of the {attractor} {verb} once more.",
    "it seems that the {noun} around the {attractor} {verb} too.",
    "the {noun} from the {attractor} {verb} in the {place}.",
    "people think that the {noun} with the {attractor} {verb} all day.",
];

const LIST: [&str; 3] = [
    "{p} packed a {object}, a {object2} and a {object3}. \
     Later, {p} unpacked the {object}, the {object2} and the {object3}.",
    "{p} and {q} counted the {object}, the {object2} and the {object3}. \
     {q} wrote down the {object}, the {object2} and the {object3}.",
    "{p} wants a {object}, a {object2} and a {object3}. Nobody has a {object}, a {object2} and a {object3}.",
];

const STORY: [&str; 20] = [
    "{p} became a {profession} in {country}.",
    "{p} walked to the {place} with {q}.",
    "{p} met {q} near the {place}.",
    "{p} and {q} talked about the {profession}.",
    "{p} asked {q} for a {object}.",
    "the {profession} thanked {p} for the {object}.",
    "{p} likes {q}, and {q} likes {p}.",
    "{p} thought about {q} all day.",
    "the {object} of {p} was lost at the {place}.",
    "{p} lives near the {place}.",
    "it was a long day at the {place}.",
    "nobody at the {place} knew the {profession}.",
    "{p} dreamed of {country}.",
    "the {noun} {verb} in the {place}.",
    "the {noun} {verb} again.",
    "{p} talked to the {profession} about {country}.",
    "{p} saw {q} with a {object}.",
    "{p} told the {profession} about {q}.",
    "{p} stayed at home.",
    "the {profession} came to the {place} with {p}.",
];

/// All frames. The first three are the templates of the indirect-object task.
pub(crate) fn all() -> Vec<Frame> {
    let templates = TEMPLATES
        .iter()
        .zip(TEMPLATE_ENDINGS)
        .map(|(start, end)| format!("{start} {end}"));
    let indirect_object = templates.chain(INDIRECT_OBJECT.iter().map(|&text| text.to_owned()));
    let mut frames: Vec<(Topic, String)> = indirect_object
        .map(|text| (Topic::Behaviour(Behaviour::IndirectObject), text))
        .collect();
    let tables: [(Topic, &[&str]); 7] = [
        (Topic::Behaviour(Behaviour::Capital), &CAPITAL),
        (Topic::Behaviour(Behaviour::Hypernym), &HYPERNYM),
        (Topic::Behaviour(Behaviour::Pronoun), &PRONOUN),
        (Topic::Behaviour(Behaviour::GreaterThan), &GREATER_THAN),
        (Topic::Behaviour(Behaviour::Agreement), &AGREEMENT),
        (Topic::List, &LIST),
        (Topic::Story, &STORY),
    ];
    for (topic, table) in tables {
        frames.extend(table.iter().map(|&text| (topic, text.to_owned())));
    }
    frames
        .iter()
        .enumerate()
        .map(|(id, (topic, text))| Frame::parse(id, *topic, text))
        .collect()
}
