//! Changes of an input that keep its form, so that they reach what lies behind the parser.

mod archive;
mod bytes;
mod json;
mod lines;
mod tensors;

use kernels::random::ChaCha8Rng;
use rand::RngExt;

use json::Donor;

/// What an input looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Bytes of no known form.
    Bytes,
    /// A JSON value.
    Json,
    /// A JSON value on each line.
    JsonLines,
    /// TOML.
    Toml,
    /// A safetensors file.
    Tensors,
    /// A zip archive that holds a pickle, as `torch.save` writes it.
    Archive,
}

/// Changes inputs of one target.
pub struct Mutator {
    form: Form,
    seeds: Vec<Vec<u8>>,
    /// Keys and values of the seeds, which one input takes from another.
    donors: Vec<Donor>,
}

impl Mutator {
    /// Mutations of inputs of this form, with parts of the seeds.
    pub fn new(form: Form, seeds: Vec<Vec<u8>>) -> Self {
        let donors = seeds.iter().flat_map(|seed| json::donors(form, seed)).collect();
        Self { form, seeds, donors }
    }

    /// One of the seeds, changed.
    pub fn fresh(&self, rng: &mut ChaCha8Rng) -> Vec<u8> {
        let seed = &self.seeds[rng.random_range(0..self.seeds.len())];
        self.change(seed, rng)
    }

    /// The input with a few changes. What is not of the form is changed as bytes, and one input in eight so too.
    pub fn change(&self, input: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
        let formed = match self.form {
            _ if rng.random_ratio(1, 8) => None,
            Form::Bytes => None,
            Form::Json => json::change(input, &self.donors, rng),
            Form::JsonLines => lines::change_json(input, &self.donors, rng),
            Form::Toml => lines::change_toml(input, &self.seeds, rng),
            Form::Tensors => tensors::change(input, &self.donors, rng),
            Form::Archive => archive::change(input, rng),
        };
        formed.unwrap_or_else(|| bytes::change(input, &self.seeds, rng))
    }
}

/// One of `items`, which are not empty.
fn one_of<'a, T>(items: &'a [T], rng: &mut ChaCha8Rng) -> &'a T {
    &items[rng.random_range(0..items.len())]
}
