//! Circuits on pairs: the metric of the clean run, of the corrupted run and of the run of each circuit.

use std::sync::atomic::{AtomicUsize, Ordering};

use lm::{Grouping, Model, Passes};

use crate::runs::{Batch, numbers};
use crate::{Circuit, Error, Graph, Metric, Pair, pairs, patched};

/// The metric of every pair, in the order of the pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Of the clean run.
    pub clean: Vec<f64>,
    /// Of the corrupted run, with what is right for the clean one.
    pub corrupted: Vec<f64>,
    /// Of each circuit's run.
    pub circuits: Vec<Vec<f64>>,
}

/// Runs `circuits` on `pairs`, `size` of them at a time; `on_progress` hears how many runs of pairs are done, of pairs times
/// circuits.
///
/// # Errors
///
/// Pairs that the model cannot run; a circuit of a graph that is not the model's.
pub fn evaluate(
    model: &Model,
    pairs: &[Pair],
    circuits: &[Circuit],
    metric: Metric,
    size: usize,
    on_progress: &(dyn Fn(usize) + Sync),
) -> Result<Evaluation, Error> {
    pairs::check(pairs, model.spec())?;
    let graph = Graph::new(model.spec());
    if circuits.iter().any(|circuit| *circuit.graph() != graph) {
        let reason = "the circuit is of a model of another geometry: give the model that its scores were made with";
        return Err(Error::Setting(reason.to_owned()));
    }
    let done = AtomicUsize::new(0);
    let passes = Passes::new(model, size).grouped(Grouping::Length);
    let batches = passes.each(pairs, |pass| -> Result<_, Error> {
        let batch = Batch::new(model, pass.rows.iter().map(|&row| &pairs[row]).collect())?;
        let corrupted = batch.run_corrupted(&patched::streams(model.spec()))?;
        let clean = batch.plain(false, lm::Request::default())?.logits_at()?;
        let metric = batch.metric(metric, &clean);
        let of = |logits| numbers(metric.values(logits));
        let mut columns = vec![of(clean), of(corrupted.logits.clone())];
        for circuit in circuits {
            columns.push(of(patched::logits(&batch, circuit, &corrupted)?));
            let runs = batch.rows();
            on_progress(done.fetch_add(runs, Ordering::Relaxed) + runs);
        }
        Ok((pass.rows, columns))
    })?;
    let mut all = vec![vec![0.0; pairs.len()]; 2 + circuits.len()];
    for (rows, columns) in batches {
        for (column, values) in all.iter_mut().zip(columns) {
            for (&row, value) in rows.iter().zip(values) {
                column[row] = value;
            }
        }
    }
    if let Some(row) = all.iter().flatten().position(|value| !value.is_finite()) {
        return Err(Error::NotFinite {
            what: format!("pair {}", row % pairs.len() + 1),
        });
    }
    let circuits = all.split_off(2);
    let corrupted = all.pop().unwrap_or_default();
    let clean = all.pop().unwrap_or_default();
    Ok(Evaluation {
        clean,
        corrupted,
        circuits,
    })
}
