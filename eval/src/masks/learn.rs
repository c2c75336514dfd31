//! The steps of gradients that make a mask, from soft to hard.
//!
//! An entry of a mask is a logit `l`; while it is learned it is `sigmoid(l / t)` with a temperature `t` that falls from 1, so that at the
//! end it is nearly 0 or 1. A small price on every entry turns off those that do nothing, which no gradient would move.
//!
//! Shape legend: `B` pairs of a batch, `D` width, `F` entries of the mask.

use burn::tensor::Tensor;
use dictionaries::Rows;
use kernels::{Adam, AdamConfig, Update};

/// How masks are learned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Learning {
    /// Steps, each on one batch.
    pub steps: usize,
    /// Step size of the logits of a mask.
    pub learning_rate: f64,
    /// Step size of learned directions.
    pub rotation_rate: f64,
    /// Temperature of the last step; that of the first is 1.
    pub last_temperature: f64,
    /// Price of an entry of the mask, in nats of the mean loss of a pair.
    pub price: f64,
}

impl Learning {
    fn temperature(&self, step: usize) -> f64 {
        let through = step as f64 / (self.steps.max(2) - 1) as f64;
        self.last_temperature.powf(through)
    }
}

/// What is exchanged between bases and sources, in the making.
pub trait Exchange {
    /// The bases of a batch with the exchange as it is, `[B, D]`; `places` are those of its pairs.
    fn edited(&self, places: &[usize], temperature: f64) -> Rows;

    /// Moves against the gradients of each pair's loss at what [`Exchange::edited`] gave, `[B, D]`.
    fn step(&mut self, places: &[usize], gradients: &Rows, temperature: f64, learning: &Learning);
}

/// Learns an exchange on `batches`, one after the other and round again; `gradients` gives those of each pair's loss, `[B, D]`, of the
/// batch of that number.
///
/// # Errors
/// Those of `gradients`.
pub fn learn<E>(
    exchange: &mut dyn Exchange,
    batches: &[Vec<usize>],
    learning: &Learning,
    gradients: &mut dyn FnMut(usize, &Rows) -> Result<Rows, E>,
) -> Result<(), E> {
    for step in 0..learning.steps {
        let (number, temperature) = (step % batches.len().max(1), learning.temperature(step));
        let Some(places) = batches.get(number) else { break };
        let edited = exchange.edited(places, temperature); // [B, D]
        let gradients = gradients(number, &edited)?; // [B, D]
        exchange.step(places, &gradients, temperature, learning);
    }
    Ok(())
}

/// The logits of a mask, with their optimiser.
#[derive(Debug, Clone)]
pub(super) struct Logits {
    values: Vec<f32>,
    adam: Adam,
}

impl Logits {
    /// A mask that is half open everywhere.
    pub(super) fn new(n: usize) -> Self {
        Self {
            values: vec![0.0; n],
            adam: Adam::new(AdamConfig::default(), 1),
        }
    }

    /// The soft mask, `[F]`.
    pub(super) fn soft(&self, temperature: f64) -> Vec<f64> {
        let soft = |&logit: &f32| 1.0 / (1.0 + (-f64::from(logit) / temperature).exp());
        self.values.iter().map(soft).collect()
    }

    /// The entries that are on, rising.
    pub(super) fn on(&self) -> Vec<u32> {
        let on = (0_u32..).zip(&self.values).filter(|(_, logit)| **logit > 0.0);
        on.map(|(entry, _)| entry).collect()
    }

    /// Moves against the gradient at the soft mask, `[F]`, and the price.
    pub(super) fn step(&mut self, soft: &[f64], gradient: &[f64], temperature: f64, learning: &Learning) {
        let slopes = soft.iter().zip(gradient);
        let slopes = slopes.map(|(m, g)| ((g + learning.price) * m * (1.0 - m) / temperature) as f32);
        let n = self.values.len();
        let mut values: Tensor<1> = kernels::from_vec(std::mem::take(&mut self.values), [n], &kernels::cpu()); // [F]
        let gradient: Tensor<1> = kernels::from_vec(slopes.collect(), [n], &kernels::cpu()); // [F]
        self.adam.begin_step();
        self.adam
            .update(0, &mut values, gradient, &Update::plain(learning.learning_rate));
        self.values = kernels::to_vec(values);
    }
}
