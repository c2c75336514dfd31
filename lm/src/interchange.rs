//! Teaches a model to compute an answer by way of a known bit of the prompt, carried at a known place.
//!
//! Two prompts of one shape differ in what they say. The residual stream at the end of the one (the *source*) replaces that of
//! the other (the *base*), and the base must then be answered as the bit of the source demands: interchange intervention
//! training (Geiger et al., arXiv 2112.00826; for models with a known circuit, InterpBench, arXiv 2407.14494). By itself this
//! is learned late or never, since neither half of such a circuit is of use without the other; so the bit is also asked for
//! along a fixed random direction, at the same place and, as a step to it, at the token from which on it can be told (the
//! *clue*).
//!
//! Shapes: `n` pairs of prompts of a group, `T` tokens of a prompt, `D` d_model, `V` d_vocab.

use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use kernels::{from_vec, random};

use crate::{Error, HookPoint, Logits, Model, Patch, Request, Start, TokenBatch};

/// Keeps the scale of a residual stream without variance finite.
const SMALLEST_VARIANCE: f64 = 1e-5;

/// Two prompts of as many tokens, whose last positions are exchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The prompt whose end is taken.
    pub source: Vec<u32>,
    /// The prompt whose end is replaced.
    pub base: Vec<u32>,
    /// The bit of the source.
    pub bit: bool,
    /// Position of the token of the source from which on the bit can be told.
    pub clue: usize,
    /// What follows the base, were the bit that of the source.
    pub answer: u32,
}

/// Pairs of one step and how much they count.
#[derive(Debug, Clone, PartialEq)]
pub struct Interchange {
    /// The residual stream before this block is exchanged, and asked for the bit.
    pub layer: usize,
    /// Before this block the clue is asked for the bit.
    pub clue_layer: usize,
    /// Factor of the losses of the bits, means over pairs in nats; that of the text has factor 1.
    pub bit_weight: f64,
    /// Factor of the loss of the answers, the same.
    pub answer_weight: f64,
    /// The pairs; the prompts of a group have one length.
    pub groups: Vec<Vec<Pair>>,
}

impl Interchange {
    /// Number of pairs of all groups.
    pub fn n_pairs(&self) -> usize {
        self.groups.iter().map(Vec::len).sum()
    }
}

/// The direction along which the bit is asked for, of norm 1, `[D]`.
pub(crate) fn direction(seed: u64, d_model: usize) -> Vec<f32> {
    random::unit_rows(&mut random::rng(seed, "interchange.direction"), 1, d_model)
}

/// Losses of pairs: of the bit at the clue and at the last position, and of the answer after the exchange.
pub(crate) const N_LOSSES: usize = 3;

/// Mean losses of `pairs`, a group of `interchange`, `[1]` each; the bits are asked for along `direction`.
pub(crate) fn losses(
    model: &Model,
    interchange: &Interchange,
    pairs: &[Pair],
    direction: &[f32],
    device: &Device,
) -> Result<[Tensor<1>; N_LOSSES], Error> {
    let prompts = |part: fn(&Pair) -> &Vec<u32>| TokenBatch::new(&pairs.iter().map(part).collect::<Vec<_>>());
    let (sources, bases) = (prompts(|pair| &pair.source)?, prompts(|pair| &pair.base)?);
    if sources.len() != bases.len() {
        return Err(Error::UnequalRows {
            row: 0,
            expected: sources.len(),
            found: bases.len(),
        });
    }
    let (n, last) = (pairs.len(), sources.len() - 1);
    let (hook, clue_hook) = (
        HookPoint::ResidPre(interchange.layer),
        HookPoint::ResidPre(interchange.clue_layer),
    );
    let request = Request {
        capture: vec![clue_hook, hook],
        ..Request::default()
    };
    let source = model.run(Start::Tokens(&sources), &request)?;
    let ends = source.at(hook, None, &vec![last; n])?; // [n, D]
    let clues = source.at(clue_hook, None, &pairs.iter().map(|pair| pair.clue).collect::<Vec<_>>())?; // [n, D]
    let request = Request {
        patches: vec![Patch::set(
            hook,
            None,
            (0..n).map(|row| (row, last)).collect(),
            ends.clone(),
        )],
        logits: Logits::At(vec![last; n]),
        ..Request::default()
    };
    let logits = model.run(Start::Tokens(&bases), &request)?.logits_at()?; // [n, V]
    let answers: Vec<i32> = pairs.iter().map(|pair| pair.answer as i32).collect();
    let answers = Tensor::<2, Int>::from_data(TensorData::new(answers, [n, 1]), device);
    let of_answers = activation::log_softmax(logits, 1).gather(1, answers).mean().neg(); // [1]

    let direction = from_vec(direction.to_vec(), [direction.len(), 1], device);
    let signs: Vec<f32> = pairs.iter().map(|pair| if pair.bit { 1.0 } else { -1.0 }).collect();
    let signs = from_vec(signs, [n, 1], device);
    let [of_clues, of_ends] = [clues, ends].map(|stream| {
        let centred = stream.clone() - stream.mean_dim(1); // [n, D]
        let scale = (centred.clone().square().mean_dim(1) + SMALLEST_VARIANCE).sqrt(); // [n, 1]
        let along = (centred / scale).matmul(direction.clone()); // [n, 1]
        activation::log_sigmoid(along * signs.clone()).mean().neg() // [1]
    });
    Ok([of_clues, of_ends, of_answers])
}
