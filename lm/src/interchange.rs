//! Teaches a model to compute an answer by way of a known bit of the prompt, carried at a known place.
//!
//! Two prompts of one shape differ in what they say. The residual stream at the end of the one (the *source*) replaces that of
//! the other (the *base*), and the base must then be answered as the bit of the source demands: interchange intervention
//! training (Geiger et al., arXiv 2112.00826; for models with a known circuit, InterpBench, arXiv 2407.14494). By itself this
//! is learned late, since neither half of such a circuit is of use without the other; so the bit is also asked for along a
//! fixed random direction of the same place.
//!
//! Shapes: `n` pairs of prompts, `T` tokens of a prompt, `D` d_model, `V` d_vocab.

use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use kernels::{from_vec, random};

use crate::{Error, Gpt2, HookPoint, Logits, Overwrite, Request, Start, TokenBatch};

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
    /// What follows the base, were the bit that of the source.
    pub answer: u32,
}

/// Pairs of one step and how much they count.
#[derive(Debug, Clone, PartialEq)]
pub struct Interchange {
    /// The residual stream before this block is exchanged.
    pub layer: usize,
    /// Factor of the loss of the bits, a mean over pairs in nats; that of the text has factor 1.
    pub bit_weight: f64,
    /// Factor of the loss of the answers, the same.
    pub answer_weight: f64,
    /// The pairs.
    pub pairs: Vec<Pair>,
}

/// The direction along which the bit is asked for, of norm 1, `[D]`.
pub(crate) fn direction(seed: u64, d_model: usize) -> Vec<f32> {
    random::unit_rows(&mut random::rng(seed, "interchange.direction"), 1, d_model)
}

/// Mean losses of `pairs`, `[1]` each: of the bit along `direction`, and of the answers after the exchange.
pub(crate) fn losses(
    model: &Gpt2,
    layer: usize,
    pairs: &[Pair],
    direction: &[f32],
    device: &Device,
) -> Result<[Tensor<1>; 2], Error> {
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
    let hook = HookPoint::ResidPre(layer);
    let request = Request {
        capture: vec![hook],
        ..Request::default()
    };
    let ends = model
        .run(Start::Tokens(&sources), &request)?
        .at(hook, None, &vec![last; n])?; // [n, D]
    let request = Request {
        overwrite: vec![Overwrite {
            hook,
            head: None,
            at: (0..n).map(|row| (row, last)).collect(),
            values: ends.clone(),
        }],
        logits: Logits::At(vec![last; n]),
        ..Request::default()
    };
    let logits = model.run(Start::Tokens(&bases), &request)?.logits_at()?; // [n, V]
    let answers: Vec<i32> = pairs.iter().map(|pair| pair.answer as i32).collect();
    let answers = Tensor::<2, Int>::from_data(TensorData::new(answers, [n, 1]), device);
    let of_answers = activation::log_softmax(logits, 1).gather(1, answers).mean().neg(); // [1]

    let centred = ends.clone() - ends.mean_dim(1); // [n, D]
    let scale = (centred.clone().square().mean_dim(1) + SMALLEST_VARIANCE).sqrt(); // [n, 1]
    let direction = from_vec(direction.to_vec(), [direction.len(), 1], device);
    let along = (centred / scale).matmul(direction); // [n, 1]
    let signs = pairs.iter().map(|pair| if pair.bit { 1.0 } else { -1.0 }).collect();
    let of_bits = activation::log_sigmoid(along * from_vec(signs, [n, 1], device))
        .mean()
        .neg(); // [1]
    Ok([of_bits, of_answers])
}
