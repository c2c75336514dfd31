//! What is lost when dictionaries' reconstructions take the place of hooks on running text.
//!
//! An autoencoder reconstructs what stands at its hook; a transcoder reads one hook and writes another. Both read and write in
//! the *changed* pass: several dictionaries stand in one pass together, and one that lies downstream reads what another wrote.
//!
//! For every token but special ones, the vector at the written hook is replaced by the reconstruction, by zeros, or by the mean
//! of the hook over the replaced tokens. Special are the first position of a window and the tokenizer's special tokens, such as
//! the separators inside packed windows: a harvest leaves them out, so no dictionary has been trained on them. With `p` the
//! next-token distribution of the untouched model and `q` that of the changed one, in nats, over all tokens behind the first
//! and before the last of each window (what follows a separator is predicted too):
//!
//! * cross-entropy: mean of `-ln q(next token)`; `kl`: mean of `sum p ln(p / q)`;
//! * recovered against an ablation: `(ce_ablated - ce_spliced) / (ce_ablated - ce_clean)`.
//!
//! The **error term** of a dictionary `f` that reads `x` and writes `y` is `y - f(x)` in the untouched pass, token by token. With
//! it the dictionary writes `f(x') + y - f(x)`, where `x'` is what it reads in the changed pass: what it got wrong of the untouched
//! model is put right, and what others changed before it goes through it.
//!
//! Shapes: `B` windows, `T` tokens, `V` vocabulary, `D` width, `n` replaced tokens, `m` predicting ones.

mod fidelity;
mod patches;

use burn::tensor::{Int, Tensor, TensorData, activation::log_softmax};
use kernels::to_vec;
use lm::{HookPoint, Logits, Model, Pass, PassCost, Passes, Request, Spec, Trace};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::Error;
pub use fidelity::Fidelity;
use patches::Spliced;

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

/// One vector a token: a hook, or one head of it; of a hook with heads and no head named, all heads side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The hook.
    pub hook: HookPoint,
    /// The head.
    pub head: Option<usize>,
}

impl Place {
    /// A place without a head.
    pub fn new(hook: HookPoint) -> Self {
        Self { hook, head: None }
    }

    /// Numbers of a vector there.
    pub fn width(&self, spec: &Spec) -> usize {
        match (self.head, self.hook.heads(spec)) {
            (None, Some(heads)) => heads * self.hook.width(spec),
            _ => self.hook.width(spec),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.head {
            Some(head) => write!(out, "{}.{head}", self.hook),
            None => write!(out, "{}", self.hook),
        }
    }
}

/// What takes the vectors that a dictionary reads, `[n, D]`, to those that it writes, `[n, D_out]`.
pub type Function = Arc<dyn Fn(Tensor<2>) -> Tensor<2> + Send + Sync>;

/// One dictionary in the place of what a model computes.
#[derive(Clone)]
pub struct Insert {
    /// What it reads.
    pub reads: Place,
    /// What it writes; of an autoencoder the same.
    pub writes: Place,
    /// The dictionary.
    pub function: Function,
    /// Whether its error term is added.
    pub error_term: bool,
}

impl fmt::Debug for Insert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            reads,
            writes,
            error_term,
            ..
        } = self;
        write!(f, "Insert {{ {reads} -> {writes}, error_term: {error_term} }}")
    }
}

impl Insert {
    /// A function of the vectors of one place, without an error term.
    pub fn at(place: Place, function: impl Fn(Tensor<2>) -> Tensor<2> + Send + Sync + 'static) -> Self {
        Self::between(place, place, function)
    }

    /// A function of the vectors of one place that gives those of another, without an error term.
    pub fn between(
        reads: Place,
        writes: Place,
        function: impl Fn(Tensor<2>) -> Tensor<2> + Send + Sync + 'static,
    ) -> Self {
        Self {
            reads,
            writes,
            function: Arc::new(function),
            error_term: false,
        }
    }
}

/// A model and the text on which dictionaries are put into it.
#[derive(Debug, Clone)]
pub struct SpliceText<'a> {
    passes: Passes<'a>,
    /// Tokens that are never replaced.
    special: &'a BTreeSet<u32>,
    windows: Vec<&'a [u32]>,
    /// Tokens that are predicted.
    pub tokens: usize,
    /// Cross-entropy of the untouched model, in nats.
    pub ce_clean: f64,
}

/// Places of a model that are written together, and what two ablations do there.
#[derive(Debug, Clone)]
pub struct SpliceTask<'t, 'a> {
    text: &'t SpliceText<'a>,
    writes: Vec<Place>,
    /// The mean of each over the replaced tokens, `[1, D]`.
    means: Vec<Tensor<2>>,
    /// With zeros in these places.
    pub zero: Change,
    /// With the mean over the replaced tokens in each of these places.
    pub mean: Change,
}

/// The untouched model on one batch.
struct Clean {
    trace: Trace,
    /// Log-probabilities at every predicting position, `[m, V]`.
    log_p: Tensor<2>,
    /// The tokens that come next there, `[m, 1]`.
    next: Tensor<2, Int>,
}

/// The tokens of a batch that may be replaced: position by position, the rows of each.
#[derive(Debug, Clone)]
pub(crate) struct Replaced {
    /// Place of each in `[B * T]`, `n`.
    pub(crate) at: Vec<usize>,
}

impl Replaced {
    fn new(pass: &Pass<'_>, special: &BTreeSet<u32>) -> Self {
        let (rows, len) = (pass.tokens.rows(), pass.tokens.len());
        let places = (1..len).flat_map(|position| (0..rows).map(move |row| row * len + position));
        Self {
            at: places.filter(|&at| !special.contains(&pass.tokens.ids()[at])).collect(),
        }
    }

    /// The vectors of a place among those of its whole hook, `[B, T, H D]` to `[n, D]`; `n` is not 0.
    pub(crate) fn pick(&self, hook: Tensor<3>, columns: (usize, usize)) -> Tensor<2> {
        let [b, t, width] = hook.dims();
        let at: Vec<i32> = self.at.iter().map(|&at| at as i32).collect();
        let at = Tensor::<1, Int>::from_data(TensorData::new(at, [self.at.len()]), &hook.device());
        let rows = hook.reshape([b * t, width]).select(0, at); // [n, H D]
        match columns {
            (0, all) if all == width => rows,
            (first, width) => rows.narrow(1, first, width), // [n, D]
        }
    }
}

impl<'a> SpliceText<'a> {
    /// Runs the untouched model on `windows`, which begin with the beginning-of-text token; those of less than three tokens are
    /// left out, and windows of equal length stand together. Tokens in `special` ([`text::Tokenizer::special_ids`]) are never
    /// replaced.
    ///
    /// # Errors
    ///
    /// No window of three tokens; nothing but special tokens; [`Error::NotANumber`] when the model gives no finite cross-entropy.
    pub fn new(model: &'a Model, special: &'a BTreeSet<u32>, windows: &'a [Vec<u32>]) -> Result<Self, Error> {
        let windows = windows.iter().filter(|window| window.len() >= 3).map(Vec::as_slice);
        let mut text = Self {
            passes: Passes::new(model, BATCH),
            special,
            windows: windows.collect(),
            tokens: 0,
            ce_clean: 0.0,
        };
        let batches = text.passes.each(&text.windows, |pass| {
            let clean = text.clean(&pass, Vec::new())?;
            let m = clean.next.dims()[0];
            Ok::<_, Error>((clean.cross_entropy(), m, Replaced::new(&pass, special).at.len()))
        })?;
        let mut replaced = 0;
        for (ce, m, n) in batches {
            text.ce_clean += ce;
            text.tokens += m;
            replaced += n;
        }
        match (text.tokens, replaced) {
            (0, _) => return Err(Error::NoText),
            (_, 0) => return Err(Error::SpecialOnly),
            _ => {}
        }
        text.ce_clean = finite("cross-entropy of the model", text.ce_clean / text.tokens as f64)?;
        Ok(text)
    }

    /// What one pass over all windows with all logits takes, untouched or changed. A text takes one, a [task](Self::task) five, each
    /// [change](Self::change) two, and a [fidelity](SpliceTask::fidelity) at most one.
    pub fn pass_cost(model: &Model, windows: &[Vec<u32>]) -> PassCost {
        let request = Request {
            logits: Logits::All,
            ..Request::default()
        };
        let lengths = windows.iter().map(Vec::len).filter(|length| *length >= 3);
        Passes::new(model, BATCH).cost(lengths, &request)
    }

    fn clean(&self, pass: &Pass<'_>, capture: Vec<HookPoint>) -> Result<Clean, Error> {
        let request = Request {
            capture,
            logits: Logits::All,
            ..Request::default()
        };
        let trace = pass.run(&request)?;
        let ids = pass.tokens.ids().chunks_exact(pass.tokens.len());
        let next: Vec<i32> = ids.flat_map(|row| row[2..].iter().map(|&id| id as i32)).collect();
        let m = next.len();
        Ok(Clean {
            log_p: log_probabilities(trace.logits_all()?),
            next: Tensor::from_data(TensorData::new(next, [m, 1]), self.passes.model().device()),
            trace,
        })
    }

    /// What becomes of the model with all of `inserts` in their places at once. One reads what another wrote where it lies
    /// behind it, and at one hook all that write come before all that read.
    ///
    /// # Errors
    ///
    /// A hook that the model does not have, or that is no vector at a position; two that write one place; one that writes before
    /// it reads, or vectors of another width; [`Error::NotANumber`] when the changed model gives no finite cross-entropy.
    pub fn change(&self, inserts: &[Insert]) -> Result<Change, Error> {
        let spec = self.passes.model().spec();
        patches::check(inserts, spec)?;
        let with_errors = inserts.iter().filter(|insert| insert.error_term);
        let compared = with_errors.flat_map(|insert| [insert.reads.hook, insert.writes.hook]);
        let compared: BTreeSet<HookPoint> = compared.collect();
        let batches = self.passes.each(&self.windows, |pass| {
            let clean = self.clean(&pass, compared.iter().copied().collect())?;
            let spliced = Spliced::new(inserts, Replaced::new(&pass, self.special), &clean.trace, spec)?;
            let request = Request {
                patches: spliced.patches(),
                logits: Logits::All,
                ..Request::default()
            };
            let trace = pass.run(&request)?;
            spliced.check()?;
            let log_q = log_probabilities(trace.logits_all()?); // [m, V]
            let ce = -f64::from(to_vec(log_q.clone().gather(1, clean.next).sum())[0]);
            let difference = clean.log_p.clone() - log_q;
            let kl = f64::from(to_vec((clean.log_p.exp() * difference).sum())[0]);
            Ok::<_, Error>((ce, kl))
        })?;
        let (mut ce, mut kl) = (0.0, 0.0);
        for of_batch in batches {
            ce += of_batch.0;
            kl += of_batch.1;
        }
        let m = self.tokens as f64;
        Ok(Change {
            ce: finite("cross-entropy with the hook replaced", ce / m)?,
            kl: finite("divergence with the hook replaced", kl / m)?,
        })
    }

    /// Measures both ablations of places that are written together.
    ///
    /// # Errors
    ///
    /// Those of [`SpliceText::change`].
    pub fn task(&self, writes: &[Place]) -> Result<SpliceTask<'_, 'a>, Error> {
        let means = self.means(writes)?;
        let zeros = writes.iter().map(|&place| Insert::at(place, |x| x.zeros_like()));
        let zeros: Vec<Insert> = zeros.collect();
        let constant = writes.iter().zip(means.clone()).map(|(&place, mean)| {
            Insert::at(place, move |x| x.zeros_like() + mean.clone()) // [n, D]
        });
        Ok(SpliceTask {
            text: self,
            writes: writes.to_vec(),
            zero: self.change(&zeros)?,
            mean: self.change(&constant.collect::<Vec<_>>())?,
            means,
        })
    }

    /// Mean of each place over the replaced tokens, `[1, D]`.
    fn means(&self, places: &[Place]) -> Result<Vec<Tensor<2>>, Error> {
        let batches = self.read(places, |vectors| {
            let n = vectors.first().map_or(0, |rows| rows.dims()[0]);
            let totals = vectors.into_iter().map(|rows| rows.sum_dim(0)); // [1, D]
            (n, totals.collect::<Vec<_>>())
        })?;
        let n: usize = batches.iter().map(|(n, _)| n).sum();
        let sums = batches
            .into_iter()
            .map(|(_, totals)| totals)
            .reduce(|sums, totals| sums.into_iter().zip(totals).map(|(sum, total)| sum + total).collect());
        let sums = sums.ok_or(Error::SpecialOnly)?;
        Ok(sums.into_iter().map(|sum| sum / n as f64).collect())
    }

    /// What `work` makes of the vectors of the replaced tokens at each of some places of the untouched model, `[n, D]`, batch by batch.
    /// Batches in which nothing is replaced are left out.
    fn read<T: Send>(&self, places: &[Place], work: impl Fn(Vec<Tensor<2>>) -> T + Sync) -> Result<Vec<T>, Error> {
        let spec = self.passes.model().spec();
        let hooks: BTreeSet<HookPoint> = places.iter().map(|place| place.hook).collect();
        let request = Request {
            capture: hooks.into_iter().collect(),
            ..Request::default()
        };
        let batches = self.passes.run(
            &self.windows,
            |_| Ok::<_, Error>(request.clone()),
            |pass, trace| {
                let replaced = Replaced::new(pass, self.special);
                let vectors = places
                    .iter()
                    .map(|place| patches::vectors(&trace, *place, &replaced, spec));
                let vectors = vectors.collect::<Result<Option<Vec<_>>, Error>>()?;
                Ok(vectors.map(&work))
            },
        )?;
        Ok(batches.into_iter().flatten().collect())
    }

    /// Share of the cross-entropy that an ablation costs and a change does not; none when the ablation costs less than a
    /// hundredth of a nat.
    pub fn recovered(&self, change: Change, ablated: Change) -> Option<f64> {
        let cost = ablated.ce - self.ce_clean;
        (cost > 0.01).then(|| (ablated.ce - change.ce) / cost)
    }
}

impl SpliceTask<'_, '_> {
    /// What becomes of the model with `inserts`, which write the places of this task and no others.
    ///
    /// # Errors
    ///
    /// Those of [`SpliceText::change`]; dictionaries of other places.
    pub fn change(&self, inserts: &[Insert]) -> Result<Change, Error> {
        let written: BTreeSet<Place> = inserts.iter().map(|insert| insert.writes).collect();
        if let Some(other) = written
            .symmetric_difference(&self.writes.iter().copied().collect())
            .next()
        {
            return Err(Error::Splice {
                place: *other,
                reason: "is written by the dictionaries or ablated, but not both".to_owned(),
            });
        }
        self.text.change(inserts)
    }
}

impl Clean {
    /// Sum over the predicted tokens of `-ln p(next token)`.
    fn cross_entropy(self) -> f64 {
        -f64::from(to_vec(self.log_p.gather(1, self.next).sum())[0])
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
