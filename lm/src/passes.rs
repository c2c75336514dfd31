//! Rows of tokens through a model, batch by batch: the one way in which every stage runs a model.
//!
//! Shapes: `B` rows of a batch, `T` tokens of a row.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use rayon::prelude::*;

use crate::{Error, Logits, Model, Past, Request, Spec, Start, TokenBatch, Trace};

/// Operations of one batch up to which batches run side by side ([`Schedule::ByWork`]).
const SMALL: f64 = 1e10;

/// Which rows stand together in a batch; within it they keep their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Grouping {
    /// Neighbours of equal length: batches follow the order of the rows.
    #[default]
    Neighbours,
    /// All rows of equal length, wherever they stand; the shortest come first.
    Length,
}

/// Whether batches share the processor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Schedule {
    /// Side by side where a batch through all blocks takes at most 1e10 operations, otherwise one after the other.
    #[default]
    ByWork,
    /// Side by side, one on each thread. Element-wise operations use one thread, so many small batches are fastest this way. As
    /// many batches as there are threads are in memory.
    SideBySide,
    /// One after the other. Products of large batches use all threads by themselves, and one batch is in memory.
    InTurn,
}

/// Rows that go through the model together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Places of its rows among all rows, rising; `B` of them.
    pub rows: Vec<usize>,
    /// Tokens of each row, `T`.
    pub tokens: usize,
}

/// What rows will take, from their lengths.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PassCost {
    /// Forward passes.
    pub batches: usize,
    /// Tokens that the model reads.
    pub tokens: usize,
    /// Floating-point operations of the linear layers of the blocks that run, and of the logits.
    pub flops: f64,
}

/// Runs a model on rows of tokens.
///
/// Rows of equal length are put together, `size` of them at most; the results are in the order of the batches.
#[derive(Debug, Clone, Copy)]
pub struct Passes<'m> {
    model: &'m Model,
    size: usize,
    grouping: Grouping,
    schedule: Schedule,
}

/// One batch at a model: it may be run several times, with requests that follow from each other.
#[derive(Debug)]
pub struct Pass<'m> {
    model: &'m Model,
    /// Its place among the batches.
    pub number: usize,
    /// Places of its rows among all rows, rising; `B` of them.
    pub rows: Vec<usize>,
    /// Their tokens, `[B, T]`.
    pub tokens: TokenBatch,
}

impl<'m> Passes<'m> {
    /// Passes of at most `size` rows (at least one), of neighbours, scheduled by their work.
    pub fn new(model: &'m Model, size: usize) -> Self {
        Self {
            model,
            size: size.max(1),
            grouping: Grouping::default(),
            schedule: Schedule::default(),
        }
    }

    /// The same with batches put together in another way.
    pub fn grouped(self, grouping: Grouping) -> Self {
        Self { grouping, ..self }
    }

    /// The same with batches side by side or in turn as `schedule` says.
    pub fn scheduled(self, schedule: Schedule) -> Self {
        Self { schedule, ..self }
    }

    /// The model.
    pub fn model(&self) -> &'m Model {
        self.model
    }

    /// The batches of rows of these lengths.
    pub fn batches(&self, lengths: impl IntoIterator<Item = usize>) -> Vec<Batch> {
        let mut done: Vec<Batch> = Vec::new();
        let mut open: BTreeMap<usize, Batch> = BTreeMap::new();
        for (row, tokens) in lengths.into_iter().enumerate() {
            if self.grouping == Grouping::Neighbours && !open.contains_key(&tokens) {
                done.extend(std::mem::take(&mut open).into_values());
            }
            let of_length = open.entry(tokens).or_insert_with(|| Batch {
                rows: Vec::new(),
                tokens,
            });
            of_length.rows.push(row);
            if of_length.rows.len() == self.size {
                done.extend(open.remove(&tokens));
            }
        }
        done.extend(open.into_values());
        if self.grouping == Grouping::Length {
            done.sort_by_key(|batch| (batch.tokens, batch.rows.first().copied()));
        }
        done
    }

    /// What rows of these lengths will take when each batch is asked for what `request` asks.
    pub fn cost(&self, lengths: impl IntoIterator<Item = usize>, request: &Request) -> PassCost {
        let spec = self.model.spec();
        let blocks = request.blocks_needed(spec) as f64 * spec.block_flops();
        let mut cost = PassCost::default();
        for batch in self.batches(lengths) {
            let (rows, tokens) = (batch.rows.len(), batch.rows.len() * batch.tokens);
            let predicting = match request.logits {
                Logits::None => 0,
                Logits::All => tokens,
                Logits::At(_) => rows,
            };
            cost.batches += 1;
            cost.tokens += tokens;
            cost.flops += tokens as f64 * blocks + predicting as f64 * spec.unembed_flops();
        }
        cost
    }

    /// Asks the model of each batch what `request` says, and hands what it answers to `read`.
    ///
    /// # Errors
    ///
    /// Those of [`Model::run`], and the first of either function.
    pub fn run<R, T, E>(
        &self,
        rows: &[R],
        request: impl Fn(&Pass<'m>) -> Result<Request, E> + Sync + Send,
        read: impl Fn(&Pass<'m>, Trace) -> Result<T, E> + Sync + Send,
    ) -> Result<Vec<T>, E>
    where
        R: AsRef<[u32]> + Sync,
        T: Send,
        E: From<Error> + Send,
    {
        self.each(rows, |pass| {
            let trace = pass.run(&request(&pass)?)?;
            read(&pass, trace)
        })
    }

    /// Does `work` with each batch.
    ///
    /// # Errors
    ///
    /// A row without tokens, and the first of `work`.
    pub fn each<R, T, E>(&self, rows: &[R], work: impl Fn(Pass<'m>) -> Result<T, E> + Sync + Send) -> Result<Vec<T>, E>
    where
        R: AsRef<[u32]> + Sync,
        T: Send,
        E: From<Error> + Send,
    {
        let batches = self.batches(rows.iter().map(|row| row.as_ref().len()));
        let side_by_side = self.runs_side_by_side(&batches);
        let one = |(number, batch): (usize, Batch)| {
            let ids: Vec<&[u32]> = batch.rows.iter().map(|&row| rows[row].as_ref()).collect();
            work(self.pass(number, batch, &ids)?)
        };
        match side_by_side {
            true => batches.into_par_iter().enumerate().map(one).collect(),
            false => batches.into_iter().enumerate().map(one).collect(),
        }
    }

    /// One of the batches, whose tokens are `ids`; for rows that are not all in memory.
    ///
    /// # Errors
    ///
    /// Rows without tokens, or of several lengths.
    pub fn pass<R: AsRef<[u32]>>(&self, number: usize, batch: Batch, ids: &[R]) -> Result<Pass<'m>, Error> {
        Ok(Pass {
            model: self.model,
            number,
            tokens: TokenBatch::new(ids)?,
            rows: batch.rows,
        })
    }

    fn runs_side_by_side(&self, batches: &[Batch]) -> bool {
        match self.schedule {
            Schedule::SideBySide => true,
            Schedule::InTurn => false,
            Schedule::ByWork => {
                let spec = self.model.spec();
                let tokens = batches.iter().map(|batch| batch.rows.len() * batch.tokens).max();
                tokens.unwrap_or(0) as f64 * work_of_a_token(spec) <= SMALL
            }
        }
    }
}

/// Operations of a token through all blocks, and of its logits.
fn work_of_a_token(spec: &Spec) -> f64 {
    spec.n_layer as f64 * spec.block_flops() + spec.unembed_flops()
}

impl Pass<'_> {
    /// Runs the batch from the embedding.
    ///
    /// # Errors
    ///
    /// Those of [`Model::run`].
    pub fn run(&self, request: &Request) -> Result<Trace, Error> {
        self.model.run(Start::Tokens(&self.tokens), request)
    }

    /// Runs the batch from before block `layer` on, where a former pass left `resid` ([`Start::Resid`]).
    ///
    /// # Errors
    ///
    /// Those of [`Model::run`].
    pub fn resume(&self, layer: usize, resid: Tensor<3>, past: Past, request: &Request) -> Result<Trace, Error> {
        self.model.run(Start::Resid { layer, resid, past }, request)
    }
}

/// Values of rows in the order of batches, back in the order of the rows; `places` are those of [`Batch::rows`], in a line.
pub fn in_order_of_rows<T>(values: Vec<T>, places: &[usize]) -> Vec<T> {
    let mut numbered: Vec<(usize, T)> = places.iter().copied().zip(values).collect();
    numbered.sort_by_key(|(place, _)| *place);
    numbered.into_iter().map(|(_, value)| value).collect()
}
