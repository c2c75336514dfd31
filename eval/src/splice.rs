//! What is lost when a dictionary's reconstruction takes the place of a hook on running text.
//!
//! For every token but special ones, the vector at the hook is replaced by its reconstruction, by zeros, or by the mean of
//! the hook over the replaced tokens. Special are the first position of a window and the tokenizer's special tokens, such as
//! the separators inside packed windows: a harvest leaves them out, so no autoencoder has been trained on them. With `p` the
//! next-token distribution of the untouched model and `q` that of the changed one, in nats, over all tokens behind the first
//! and before the last of each window (what follows a separator is predicted too):
//!
//! * cross-entropy: mean of `-ln q(next token)`; `kl`: mean of `sum p ln(p / q)`;
//! * recovered against an ablation: `(ce_ablated - ce_spliced) / (ce_ablated - ce_clean)`.
//!
//! Shapes: `B` windows, `T` tokens, `V` vocabulary, `D` width, `n` replaced tokens, `m` predicting ones.

use burn::tensor::{Int, Tensor, TensorData, activation::log_softmax};
use kernels::to_vec;
use lm::{HookPoint, Logits, Model, Patch, Request, Start, TokenBatch};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use crate::Error;

/// Windows of one forward pass.
const BATCH: usize = 32;

/// A change of what the model computes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Cross-entropy of the next token, in nats.
    pub ce: f64,
    /// Kullback-Leibler divergence of the changed model from the untouched one, in nats.
    pub kl: f64,
}

/// A hook of a model on some text, and what two ablations do there.
#[derive(Debug, Clone)]
pub struct SpliceTask<'a> {
    model: &'a Model,
    hook: HookPoint,
    head: Option<usize>,
    /// Tokens that are never replaced.
    special: &'a BTreeSet<u32>,
    batches: Vec<TokenBatch>,
    /// Tokens that are predicted.
    pub tokens: usize,
    /// Cross-entropy of the untouched model, in nats.
    pub ce_clean: f64,
    /// With zeros in place of the hook.
    pub zero: Change,
    /// With the mean of the hook over the replaced tokens.
    pub mean: Change,
}

/// The untouched model on one batch.
struct Clean {
    /// Row and position of each token that may be replaced, `n`.
    at: Vec<(usize, usize)>,
    /// The hook's vectors there, `[n, D]`; none where every token of the batch is special.
    vectors: Option<Tensor<2>>,
    /// Log-probabilities at every predicting position, `[m, V]`.
    log_p: Tensor<2>,
    /// The tokens that come next there, `[m, 1]`.
    next: Tensor<2, Int>,
}

impl<'a> SpliceTask<'a> {
    /// Runs the untouched model and both ablations on `windows`, which begin with the beginning-of-text token; windows of
    /// equal length stand together. Tokens in `special` ([`lm::Tokenizer::special_ids`]) are never replaced.
    ///
    /// # Errors
    ///
    /// A hook that the model does not have, or that is no vector at a position; no window of three tokens; nothing but special
    /// tokens; [`Error::NotANumber`] when the model or an ablated one gives no finite cross-entropy.
    pub fn new(
        model: &'a Model,
        hook: HookPoint,
        head: Option<usize>,
        special: &'a BTreeSet<u32>,
        windows: &[Vec<u32>],
    ) -> Result<Self, Error> {
        let long_enough: Vec<&Vec<u32>> = windows.iter().filter(|window| window.len() >= 3).collect();
        let equal = long_enough.chunk_by(|a, b| a.len() == b.len());
        let batches = equal.flat_map(|windows| windows.chunks(BATCH));
        let nothing = Change { ce: 0.0, kl: 0.0 };
        let mut task = Self {
            model,
            hook,
            head,
            special,
            batches: batches.map(TokenBatch::new).collect::<Result<_, _>>()?,
            tokens: 0,
            ce_clean: 0.0,
            zero: nothing,
            mean: nothing,
        };
        let (mut sum, mut n) = (None::<Tensor<2>>, 0);
        for batch in &task.batches {
            let clean = task.clean(batch)?;
            n += clean.at.len();
            if let Some(vectors) = clean.vectors {
                let total = vectors.sum_dim(0); // [1, D]
                sum = Some(match sum {
                    Some(sum) => sum + total,
                    None => total,
                });
            }
            task.tokens += clean.next.dims()[0];
            task.ce_clean -= f64::from(to_vec(clean.log_p.gather(1, clean.next).sum())[0]);
        }
        let Some(sum) = sum else {
            return Err(match task.tokens {
                0 => Error::NoText,
                _ => Error::SpecialOnly,
            });
        };
        task.ce_clean = finite("cross-entropy of the model", task.ce_clean / task.tokens as f64)?;
        let mean = sum / n as f64; // [1, D]
        task.zero = task.change(&|x| x.zeros_like())?;
        task.mean = task.change(&|x| x.zeros_like() + mean.clone())?;
        Ok(task)
    }

    fn clean(&self, tokens: &TokenBatch) -> Result<Clean, Error> {
        let (rows, len) = (tokens.rows(), tokens.len());
        let request = Request {
            capture: vec![self.hook],
            logits: Logits::All,
            ..Request::default()
        };
        let trace = self.model.run(Start::Tokens(tokens), &request)?;
        let columns: Vec<Tensor<2>> = (1..len)
            .map(|position| trace.at(self.hook, self.head, &vec![position; rows]))
            .collect::<Result<_, _>>()?;
        let all = Tensor::cat(columns, 0); // [(T - 1) B, D]
        let places = (1..len).flat_map(|position| (0..rows).map(move |row| (row, position)));
        let is_replaced = |(row, position): (usize, usize)| !self.special.contains(&tokens.ids()[row * len + position]);
        let replaced = (0_i32..).zip(places).filter(|(_, place)| is_replaced(*place));
        let (kept, at): (Vec<i32>, Vec<(usize, usize)>) = replaced.unzip();
        let n = kept.len();
        let vectors = match n {
            0 => None,
            _ if n == all.dims()[0] => Some(all),
            _ => {
                let kept = Tensor::<1, Int>::from_data(TensorData::new(kept, [n]), self.model.device());
                Some(all.select(0, kept)) // [n, D]
            }
        };
        let ids = tokens.ids().chunks_exact(len);
        let next: Vec<i32> = ids.flat_map(|row| row[2..].iter().map(|&id| id as i32)).collect();
        let m = next.len();
        Ok(Clean {
            at,
            vectors,
            log_p: log_probabilities(trace.logits_all()?),
            next: Tensor::from_data(TensorData::new(next, [m, 1]), self.model.device()),
        })
    }

    /// What becomes of the model when `replace` takes the vectors of the hook, `[n, D]`, to others.
    ///
    /// # Errors
    ///
    /// Vectors of another width; [`Error::NotANumber`] when the changed model gives no finite cross-entropy.
    pub fn change(&self, replace: &dyn Fn(Tensor<2>) -> Tensor<2>) -> Result<Change, Error> {
        let (mut ce, mut kl) = (0.0, 0.0);
        for batch in &self.batches {
            let clean = self.clean(batch)?;
            let overwrite = clean
                .vectors
                .map(|vectors| Patch::set(self.hook, self.head, clean.at, replace(vectors)));
            let request = Request {
                capture: Vec::new(),
                patches: overwrite.into_iter().collect(),
                logits: Logits::All,
                ..Request::default()
            };
            let trace = self.model.run(Start::Tokens(batch), &request)?;
            let log_q = log_probabilities(trace.logits_all()?); // [m, V]
            ce -= f64::from(to_vec(log_q.clone().gather(1, clean.next).sum())[0]);
            let difference = clean.log_p.clone() - log_q;
            kl += f64::from(to_vec((clean.log_p.exp() * difference).sum())[0]);
        }
        let m = self.tokens as f64;
        Ok(Change {
            ce: finite("cross-entropy with the hook replaced", ce / m)?,
            kl: finite("divergence with the hook replaced", kl / m)?,
        })
    }

    /// Share of the cross-entropy that an ablation costs and a change does not; none when the ablation costs less than a
    /// hundredth of a nat.
    pub fn recovered(&self, change: Change, ablated: Change) -> Option<f64> {
        let cost = ablated.ce - self.ce_clean;
        (cost > 0.01).then(|| (ablated.ce - change.ce) / cost)
    }
}

/// A figure, which must be a number.
fn finite(what: &'static str, value: f64) -> Result<f64, Error> {
    match value.is_finite() {
        true => Ok(value),
        false => Err(Error::NotANumber { what, value }),
    }
}

/// Log-probabilities at every position that predicts a token behind the first, `[B (T - 2), V]`.
fn log_probabilities(logits: Tensor<3>) -> Tensor<2> {
    let [rows, len, vocabulary] = logits.dims();
    let predicting = logits.slice([0..rows, 1..len - 1, 0..vocabulary]);
    log_softmax(predicting.reshape([rows * (len - 2), vocabulary]), 1)
}
