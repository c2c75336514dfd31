//! Subject-verb agreement: a verb of the number of its subject, with other nouns between.

use text::Tokenizer;

use super::{Row, words};

const SUBJECTS: [&str; 10] = [
    "author",
    "pilot",
    "surgeon",
    "farmer",
    "manager",
    "customer",
    "officer",
    "teacher",
    "senator",
    "consultant",
];
const ATTRACTORS: [&str; 10] = [
    "guard",
    "chef",
    "architect",
    "skater",
    "dancer",
    "minister",
    "taxi driver",
    "assistant",
    "executive",
    "parent",
];
const THINGS: [&str; 9] = [
    "movie", "book", "game", "song", "picture", "painting", "novel", "poem", "show",
];
const VERBS: [&str; 4] = ["like", "admire", "hate", "love"];
const NEAR: [&str; 6] = [
    "next to",
    "behind",
    "in front of",
    "near",
    "to the side of",
    "across from",
];
const OF_THINGS: [&str; 2] = ["from", "by"];

/// A predicate behind a subject: of one, and of several.
const PREDICATES: [[&str; 2]; 11] = [
    ["laughs", "laugh"],
    ["smiles", "smile"],
    ["is tall", "are tall"],
    ["is old", "are old"],
    ["is young", "are young"],
    ["is short", "are short"],
    [
        "knows many different foreign languages",
        "know many different foreign languages",
    ],
    ["likes to watch television shows", "like to watch television shows"],
    ["is twenty three years old", "are twenty three years old"],
    [
        "enjoys playing tennis with colleagues",
        "enjoy playing tennis with colleagues",
    ],
    ["writes in a journal every day", "write in a journal every day"],
];

/// Who says, thinks or knows something of the subject.
const SPEAKERS: [&str; 4] = ["mechanic", "mechanics", "banker", "bankers"];
const SAYING: [&str; 3] = ["said", "thought", "knew"];

/// A prompt in both numbers of the noun that decides, of one first.
type Both = [String; 2];

/// Both numbers of a noun.
fn numbers(noun: &str) -> [String; 2] {
    [noun.to_owned(), format!("{noun}s")]
}

/// A verb for a subject of one, or of several.
fn agreeing(verb: &str, one: bool) -> String {
    if one { format!("{verb}s") } else { verb.to_owned() }
}

/// All prompts, in both numbers.
fn prompts() -> Vec<Both> {
    let with = |noun: &str, rest: &dyn Fn(usize) -> String| -> Both {
        let forms = numbers(noun);
        [0, 1].map(|number| format!("The {}{}", forms[number], rest(number)))
    };
    let mut all = Vec::new();
    for noun in SUBJECTS {
        all.push(with(noun, &|_| String::new()));
        for predicate in PREDICATES {
            all.push(with(noun, &|number| format!(" {} and", predicate[number])));
        }
        for (speaker, saying) in SPEAKERS
            .iter()
            .flat_map(|speaker| SAYING.map(|saying| (speaker, saying)))
        {
            all.push([0, 1].map(|number| format!("The {speaker} {saying} the {}", numbers(noun)[number])));
        }
    }
    for attractor in ATTRACTORS {
        for (form, one) in numbers(attractor).into_iter().zip([true, false]) {
            for noun in SUBJECTS {
                all.extend(NEAR.map(|near| with(noun, &|_| format!(" {near} the {form}"))));
                // `admire` takes no s in this list of the paper's.
                for verb in VERBS.into_iter().filter(|verb| *verb != "admire") {
                    all.push(with(noun, &|number| {
                        format!(" that {} the {form}", agreeing(verb, number == 0))
                    }));
                }
            }
            for thing in THINGS {
                all.extend(OF_THINGS.map(|by| with(thing, &|_| format!(" {by} the {form}"))));
            }
            // Relative clauses with and without "that": the subject's number decides behind the clause.
            for noun in SUBJECTS.into_iter().chain(THINGS) {
                for that in [" that", ""] {
                    all.extend(VERBS.map(|verb| with(noun, &|_| format!("{that} the {form} {}", agreeing(verb, one)))));
                }
            }
        }
        // Inside the clause the attractor's number decides.
        for noun in SUBJECTS.into_iter().chain(THINGS).flat_map(numbers) {
            for that in [" that", ""] {
                all.push([0, 1].map(|number| format!("The {noun}{that} the {}", numbers(attractor)[number])));
            }
        }
    }
    all
}

pub(super) fn rows(tokenizer: &Tokenizer) -> Vec<Row> {
    let forms = words(include_str!("words/verbs.txt")).into_iter().filter_map(|pair| {
        let (one, several) = pair.split_once(' ')?;
        let token = |verb: &str| tokenizer.token(&format!(" {verb}"));
        token(one).zip(token(several))
    });
    let (singular, plural): (Vec<u32>, Vec<u32>) = forms.unzip();
    let both = |[one, several]: Both| {
        let row = |clean: &str, corrupted: &str, right: &[u32], wrong: &[u32]| Row {
            clean: clean.to_owned(),
            corrupted: corrupted.to_owned(),
            right: right.to_vec(),
            wrong: wrong.to_vec(),
        };
        [
            row(&one, &several, &singular, &plural),
            row(&several, &one, &plural, &singular),
        ]
    };
    prompts().into_iter().flat_map(both).collect()
}
