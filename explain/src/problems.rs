//! Problems of FIND's families, made from seeds.

use kernels::random::{ChaCha8Rng, rng};
use rand::RngExt;
use rayon::prelude::*;

use crate::black_box::Kind;
use crate::explanation::{Claim, Explanation};
use crate::numeric::{self, MlpTraining, Served, Variant, grid};
use crate::planted;
use crate::problem::{Answers, Choice, Problem, UnitTest};
use crate::strings::{self, Program, StringFunction};
use crate::words::{Knowledge, Lexicon, Relation, RelationFunction, exemplars, sample_entities, sample_relation};

/// Unit tests of a function.
pub const TESTS: usize = 10;

fn id(kind: Kind, index: usize) -> String {
    format!("{kind}-{index:04}")
}

/// Numeric functions.
pub fn numeric(n: usize, seed: u64, training: MlpTraining) -> Vec<Problem> {
    let indices = (0..n).into_par_iter();
    indices
        .map(|index| numeric_problem(id(Kind::Numeric, index), numeric::sample(seed, index, training), seed))
        .collect()
}

/// A numeric function with its values on the grid, drawn once.
pub(crate) fn numeric_problem(id: String, served: Served, seed: u64) -> Problem {
    let mut noise = rng(seed, &format!("find/numeric/truth/{id}"));
    let values = grid().map(|x| (x, served.draw(x, &mut noise))).collect();
    let expression = served.expression();
    let truth = Explanation::claiming(served.formula.name(), Claim::Expression(expression));
    let corruption = match &served.variant {
        Variant::Corrupted(corruption) => Some(*corruption),
        Variant::Clean | Variant::Noised(_) | Variant::Mlp(_) => None,
    };
    let variant = served.variant.name();
    Problem {
        answers: Answers::Numbers { values, corruption },
        ..Problem::new(id, variant, Box::new(served), truth)
    }
}

/// A place for the right choice, and the three in order.
fn shuffled(right: Choice, others: [Choice; 2], rng: &mut ChaCha8Rng) -> UnitTest {
    let [one, other] = others;
    let mut choices = [right, one, other];
    let correct = rng.random_range(0..3);
    choices.swap(0, correct);
    UnitTest { choices, correct }
}

/// String functions, with unit tests made of each other's outputs.
pub fn strings(n: usize, seed: u64) -> Vec<Problem> {
    let programs: Vec<Program> = (0..n.max(3)).map(|index| strings::sample(seed, index)).collect();
    let problem = |index: usize| {
        let (program, id) = (&programs[index], id(Kind::Strings, index));
        let mut rng = rng(seed, &format!("find/strings/tests/{id}"));
        let pair = |of: &Program, rng: &mut ChaCha8Rng| {
            let input = strings::inputs(rng, 1).remove(0);
            let output = of.apply(&input, rng);
            (input, output)
        };
        let (mut tests, mut pairs) = (Vec::new(), Vec::new());
        for _ in 0..TESTS {
            let (input, output) = pair(program, &mut rng);
            let other = |rng: &mut ChaCha8Rng| {
                // Of another function, and not what this one gives.
                for _ in 0..100 {
                    let other = rng.random_range(0..programs.len());
                    let (input, output) = pair(&programs[other], rng);
                    if other != index && program.apply(&input, rng) != output {
                        return choice(&input, Some(&output));
                    }
                }
                choice(&input, Some("nothing at all"))
            };
            let others = [other(&mut rng), other(&mut rng)];
            tests.push(shuffled(choice(&input, Some(&output)), others, &mut rng));
            pairs.push((input, output, false));
        }
        let variant = if program.atoms().len() == 1 {
            "simple"
        } else {
            "composed"
        };
        let truth = Explanation::claiming(program.to_string(), Claim::Program(program.clone()));
        Problem {
            tests,
            answers: Answers::Pairs(pairs),
            ..Problem::new(id, variant, Box::new(StringFunction(program.clone())), truth)
        }
    };
    (0..n).map(problem).collect()
}

fn choice(input: &str, output: Option<&str>) -> Choice {
    Choice {
        input: input.to_owned(),
        output: output.map(str::to_owned),
    }
}

/// Functions of concepts; tests are made of the words that explainers do not know.
pub fn entities(n: usize, seed: u64) -> Vec<Problem> {
    let all = Lexicon::get().all();
    let problem = |index: usize| {
        let (function, id) = (sample_entities(seed, index), id(Kind::Entities, index));
        let mut rng = rng(seed, &format!("find/entities/tests/{id}"));
        let concepts = &function.0.0;
        let mut tests = Vec::new();
        for test in 0..TESTS {
            let words = Knowledge::Tests.of(&concepts[test % concepts.len()]);
            let right = words[(test / concepts.len()) % words.len()];
            let mut other = || loop {
                let word = all[rng.random_range(0..all.len())];
                if !function.0.hold(word) {
                    return choice(word, None);
                }
            };
            let others = [other(), other()];
            tests.push(shuffled(choice(right, None), others, &mut rng));
        }
        let variant = if concepts.len() == 1 {
            "one concept"
        } else {
            "two concepts"
        };
        let text = format!("words that have to do with {}", concepts.join(" or with "));
        let truth = Explanation::claiming(text, Claim::Concepts(function.0.clone()));
        let words = exemplars(&function, seed, &id);
        Problem {
            tests,
            exemplars: words,
            ..Problem::new(id, variant, Box::new(function), truth)
        }
    };
    (0..n).map(problem).collect()
}

/// Relations; of those with an exception two tests of ten are about it. Tests are made of the rows that explainers do not ask about.
pub fn relations(n: usize, seed: u64) -> Vec<Problem> {
    let all: Vec<Relation> = (0..n.max(6)).map(|index| sample_relation(seed, index)).collect();
    let problem = |index: usize| {
        let (relation, id) = (&all[index], id(Kind::Relations, index));
        let mut rng = rng(seed, &format!("find/relations/tests/{id}"));
        let inputs = |wanted: bool, parity: usize| -> Vec<&'static str> {
            let inputs = relation.inputs().into_iter().enumerate();
            let fit = inputs.filter(|(i, (_, exception))| i % 2 == parity && *exception == wanted);
            fit.map(|(_, (input, _))| input).collect()
        };
        let (rule, mut exceptions) = (inputs(false, 1), inputs(true, 1));
        if exceptions.is_empty() {
            exceptions = inputs(true, 0);
        }
        let mut tests = Vec::new();
        for test in 0..TESTS {
            let from = if test < 2 && !exceptions.is_empty() {
                &exceptions
            } else {
                &rule
            };
            let input = from[rng.random_range(0..from.len())];
            let mut other = || loop {
                let other = &all[rng.random_range(0..all.len())];
                let inputs = other.inputs();
                let (input, _) = inputs[rng.random_range(0..inputs.len())];
                if other.at(input) != relation.at(input) {
                    return choice(input, Some(other.at(input)));
                }
            };
            let others = [other(), other()];
            tests.push(shuffled(choice(input, Some(relation.at(input))), others, &mut rng));
        }
        let of = |input: &&'static str, exception| ((*input).to_owned(), relation.at(input).to_owned(), exception);
        let pairs = rule
            .iter()
            .map(|input| of(input, false))
            .chain(exceptions.iter().map(|input| of(input, true)));
        let variant = if relation.exception.is_some() {
            "exception"
        } else {
            "clean"
        };
        let mut known: Vec<String> = inputs(false, 0).into_iter().map(str::to_owned).collect();
        known.truncate(8);
        let truth = Explanation::claiming(relation.sentence(), Claim::Relation(relation.clone()));
        Problem {
            tests,
            exemplars: known,
            answers: Answers::Pairs(pairs.collect()),
            ..Problem::new(id, variant, Box::new(RelationFunction(relation.clone())), truth)
        }
    };
    (0..n).map(problem).collect()
}

/// Planted predicates on tokens of the written world.
pub fn text(n: usize, seed: u64) -> Vec<Problem> {
    (0..n)
        .into_par_iter()
        .map(|index| planted::problem(id(Kind::Text, index), seed, index))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::decide;

    #[test]
    fn the_truth_passes_every_test_and_nothing_comes_to_chance() {
        for problems in [strings(12, 4), entities(12, 4), relations(12, 4)] {
            for problem in problems {
                assert_eq!(problem.tests.len(), TESTS);
                let claim = problem.truth.claim.as_ref();
                let right: f64 = problem.tests.iter().map(|test| decide(claim, test)).sum();
                assert!(right > 9.0, "{}: {right}", problem.id);
                let chance: f64 = problem.tests.iter().map(|test| decide(None, test)).sum();
                assert!((chance - 10.0 / 3.0).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn a_problem_depends_on_its_seed_and_number_alone() {
        let (few, many) = (entities(3, 1), entities(9, 1));
        for (a, b) in few.iter().zip(&many) {
            assert_eq!((&a.tests, &a.truth, &a.exemplars), (&b.tests, &b.truth, &b.exemplars));
        }
    }
}
