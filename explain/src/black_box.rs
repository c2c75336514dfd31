//! Black boxes: functions that may be asked and not looked into.
//!
//! An explainer gets a [`BlackBox`] and nothing else. What the function truly is stands in a [`crate::problem::Problem`], which no
//! explainer ever holds, so the truth cannot leak into an explanation.

use kernels::random::{ChaCha8Rng, rng};
use serde::{Deserialize, Serialize};

use crate::Error;

/// What a function is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// Token ids, with the beginning-of-text token where the model has one.
    Tokens(Vec<u32>),
}

/// What a function answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// The activation at each token, in the order of the input.
    Activations(Vec<f32>),
    /// The function has no value there.
    Error(String),
}

/// What a function takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(strum::Display, strum::VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Kind {
    /// Numbers to numbers.
    Numeric,
    /// Texts to texts.
    Strings,
    /// Words to numbers from 0 to 1.
    Entities,
    /// Words to words.
    Relations,
    /// Texts to activations, one a token.
    Text,
}

/// A function that a black box can hold: one of FIND's, a planted predicate, a latent, a supervised feature.
pub trait Function {
    /// What it takes.
    fn kind(&self) -> Kind;

    /// One output for each input, in their order. `rng` serves functions that are noisy.
    fn respond(&self, inputs: &[Input], rng: &mut ChaCha8Rng) -> Vec<Output>;
}

/// One question and its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// Number of the call, from 0.
    pub call: u64,
    /// What was asked.
    pub input: Input,
    /// What was answered.
    pub output: Output,
}

/// A function that can only be asked, a limited number of times. Everything asked is kept.
pub struct BlackBox<'a> {
    function: &'a dyn Function,
    id: String,
    seed: u64,
    remaining: usize,
    calls: u64,
    transcript: Vec<Exchange>,
}

impl std::fmt::Debug for BlackBox<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("BlackBox")
            .field("id", &self.id)
            .field("remaining", &self.remaining)
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}

impl<'a> BlackBox<'a> {
    /// A black box named `id` that answers `budget` inputs. Its noise depends on `seed`, `id` and the number of the call alone.
    pub fn new(function: &'a dyn Function, id: &str, budget: usize, seed: u64) -> Self {
        Self {
            function,
            id: id.to_owned(),
            seed,
            remaining: budget,
            calls: 0,
            transcript: Vec::new(),
        }
    }

    /// The name of the function, which says nothing about it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it takes.
    pub fn kind(&self) -> Kind {
        self.function.kind()
    }

    /// How many inputs it still answers.
    pub fn remaining(&self) -> usize {
        self.remaining
    }

    /// How many inputs it has answered.
    pub fn queries(&self) -> usize {
        self.transcript.len()
    }

    /// All that was asked, in order.
    pub fn transcript(&self) -> &[Exchange] {
        &self.transcript
    }

    /// One output for each input.
    ///
    /// # Errors
    ///
    /// [`Error::Budget`] when more is asked than it still answers; nothing is then answered.
    pub fn call(&mut self, inputs: &[Input]) -> Result<Vec<Output>, Error> {
        if inputs.len() > self.remaining {
            return Err(Error::Budget {
                asked: inputs.len(),
                remaining: self.remaining,
            });
        }
        let mut noise = rng(self.seed, &format!("black-box/{}/{}", self.id, self.calls));
        let outputs = self.function.respond(inputs, &mut noise);
        assert_eq!(
            outputs.len(),
            inputs.len(),
            "a function gives one output for each input"
        );
        self.remaining -= inputs.len();
        for (input, output) in inputs.iter().zip(&outputs) {
            self.transcript.push(Exchange {
                call: self.calls,
                input: input.clone(),
                output: output.clone(),
            });
        }
        self.calls += 1;
        Ok(outputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;

    struct Noisy;

    impl Function for Noisy {
        fn kind(&self) -> Kind {
            Kind::Numeric
        }

        fn respond(&self, inputs: &[Input], rng: &mut ChaCha8Rng) -> Vec<Output> {
            inputs.iter().map(|_| Output::Number(rng.random::<f64>())).collect()
        }
    }

    #[test]
    fn a_budget_is_kept_and_everything_is_written_down() {
        let mut box_ = BlackBox::new(&Noisy, "f", 3, 0);
        let asked = [Input::Number(1.0), Input::Number(2.0)];
        let first = box_.call(&asked).unwrap();
        assert_eq!((box_.remaining(), box_.queries()), (1, 2));
        let error = box_.call(&asked).unwrap_err();
        assert!(matches!(error, Error::Budget { asked: 2, remaining: 1 }), "{error}");
        let second = box_.call(&asked[..1]).unwrap();
        assert_eq!(box_.remaining(), 0);
        let outputs: Vec<&Output> = box_.transcript().iter().map(|exchange| &exchange.output).collect();
        assert_eq!(outputs, [&first[0], &first[1], &second[0]]);
        assert_eq!(box_.transcript()[2].call, 1);
    }

    #[test]
    fn noise_depends_on_seed_name_and_call() {
        let ask = |id: &str, seed: u64| {
            let mut box_ = BlackBox::new(&Noisy, id, 9, seed);
            [
                box_.call(&[Input::Number(0.0)]).unwrap(),
                box_.call(&[Input::Number(0.0)]).unwrap(),
            ]
        };
        assert_eq!(ask("f", 1), ask("f", 1));
        assert_ne!(ask("f", 1), ask("f", 2));
        assert_ne!(ask("f", 1), ask("g", 1));
        let [first, second] = ask("f", 1);
        assert_ne!(first, second);
    }
}
