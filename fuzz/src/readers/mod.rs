//! The targets: every reader of a file that this program did not write itself, or that may have changed since.

mod autoencoders;
mod circuits;
mod configs;
mod corpus;
mod explanations;
mod gguf;
mod model;
mod store;
mod tasks;
mod tokenizer;

use crate::Target;

/// All targets, in the order in which they are run.
pub fn all() -> Vec<Target> {
    [
        model::targets(),
        gguf::targets(),
        tokenizer::targets(),
        autoencoders::targets(),
        store::targets(),
        configs::targets(),
        tasks::targets(),
        corpus::targets(),
        circuits::targets(),
        explanations::targets(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The message of an error, as the program would show it.
fn message<T, E: std::fmt::Display>(outcome: Result<T, E>) -> Result<T, String> {
    outcome.map_err(|error| error.to_string())
}

/// Whether one of them is accepted; all are tried. Else the last error.
fn any(outcomes: impl IntoIterator<Item = Result<(), String>>) -> Result<(), String> {
    let mut found = Err("nothing was tried".to_owned());
    for outcome in outcomes {
        found = found.or(outcome);
    }
    found
}
