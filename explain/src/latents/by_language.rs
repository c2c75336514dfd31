//! A language model explains a latent, and says in which slices it should be active.

use std::collections::BTreeMap;

use eval::agreement::Agreement;

use super::example::{Example, Examples};
use super::explained::{ExplanationMethod, MethodExplained};
use super::fuzzing::marks;
use super::vocabulary::Vocabulary;
use crate::Error;
use crate::agent::{Agent, detect};
use crate::black_box::BlackBox;
use crate::find::Explainer as _;

/// Examples that the model is shown.
const SHOWN: usize = 10;

/// The explanation with its detection score. Answers of the judge that are none count as wrong, and are counted.
///
/// # Errors
///
/// What would stop the whole run.
pub(super) fn by_language(
    agent: &Agent<'_>,
    of: &mut BlackBox<'_>,
    explaining: &Examples,
    scoring: &Examples,
    vocabulary: &Vocabulary,
) -> Result<MethodExplained, Error> {
    let shown: Vec<String> = explaining
        .active
        .iter()
        .take(SHOWN)
        .map(|example| marked(example, vocabulary))
        .collect();
    let explained = agent.explain(of, &shown)?;
    let mut scores = BTreeMap::new();
    let (mut invalid, mut tokens) = (0, explained.tokens);
    let text = explained.explanation.text;
    if !text.is_empty() {
        let (mut all, mut hard, mut random) = (Agreement::default(), Agreement::default(), Agreement::default());
        let lists = [&scoring.active, &scoring.random, &scoring.hard];
        // In turn, so that no question is of one kind.
        let longest = lists.iter().map(|list| list.len()).max().unwrap_or(0);
        let order: Vec<(usize, &Example)> = (0..longest)
            .flat_map(|i| {
                lists
                    .iter()
                    .enumerate()
                    .filter_map(move |(kind, list)| Some((kind, list.get(i)?)))
            })
            .collect();
        let windows: Vec<String> = order.iter().map(|(_, example)| plain(example, vocabulary)).collect();
        let (found, cost) = detect(agent.client, &text, &windows)?;
        tokens += cost;
        for ((kind, _), said) in order.iter().zip(found) {
            let truth = *kind == 0;
            invalid += usize::from(said.is_none());
            let said = said.unwrap_or(!truth);
            all.add(said, truth);
            if *kind != 2 {
                random.add(said, truth);
            }
            if *kind != 1 {
                hard.add(said, truth);
            }
        }
        for (name, confusion) in [("detection", all), ("random", random), ("hard", hard)] {
            scores.extend(confusion.balanced_accuracy().map(|value| (name.to_owned(), value)));
        }
    }
    Ok(MethodExplained {
        method: ExplanationMethod::LanguageModel,
        explanation: text,
        predicate: None,
        status: explained.explanation.status,
        scores,
        queries: of.queries(),
        tokens,
        invalid,
    })
}

fn plain(example: &Example, vocabulary: &Vocabulary) -> String {
    example
        .positions
        .iter()
        .map(|at| vocabulary.text(example.ids[*at]))
        .collect()
}

/// The text up to the last token with a vector, the strongest tokens between `<<` and `>>`.
fn marked(example: &Example, vocabulary: &Vocabulary) -> String {
    let marks = marks(example);
    let first = example
        .positions
        .first()
        .copied()
        .unwrap_or(0)
        .saturating_sub(super::SLICE);
    let last = example.positions.last().map_or(0, |last| last + 1);
    (first..last)
        .map(|at| match (vocabulary.text(example.ids[at]), marks.contains(&at)) {
            (text, true) => format!("<<{text}>>"),
            (text, false) => text.to_owned(),
        })
        .collect()
}
