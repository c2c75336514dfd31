//! Simulation: how strongly is the latent active on each token?
//!
//! Predicted strengths from 0 to 10 stand by the index of the token, so nothing has to be copied token by token. The score is Pearson's
//! correlation with the activations over all tokens of active and of randomly drawn slices together, as in Bills et al., "Language
//! models can explain neurons in language models" (2023).

use circuits::agreement::pearson;

use super::example::Examples;
use super::says::Says;

/// The correlation; 0 where the prediction is the same everywhere, which explains nothing.
pub fn simulation(says: &Says<'_>, examples: &Examples) -> f64 {
    let (mut predicted, mut found) = (Vec::new(), Vec::new());
    for example in examples.active.iter().chain(&examples.random) {
        for (at, value) in example.positions.iter().zip(&example.values) {
            predicted.push(f64::from(says.grade(example, *at)));
            found.push(f64::from(*value));
        }
    }
    pearson(&predicted, &found).unwrap_or(0.0)
}
