//! Circuits of several tasks on each other's pairs: cross-task faithfulness beside what the circuits have in common.

use circuits::{Circuit, Faithfulness, Graph, Overlap, Pair, agreement, evaluate, forward_flops};
use lm::Model;
use serde::Serialize;
use text::Tokenizer;

use super::compare::{Scored, Settings};
use crate::estimate;
use crate::{Context, Outcome, Result};

/// A circuit on the pairs of a task.
#[derive(Debug, Serialize)]
struct Cell {
    /// The task whose pairs are run.
    task: String,
    /// The task whose circuit is run.
    circuit: String,
    faithfulness: Faithfulness,
    /// Of the circuits of both tasks.
    overlap: Overlap,
}

pub(super) fn run(
    args: &Settings,
    graph: &Graph,
    all: &[Scored],
    model: &Model,
    tokenizer: &Tokenizer,
    context: &Context,
) -> Result<Outcome<()>> {
    let edges = (args.share * graph.n_edges() as f64) as usize;
    let circuits: Vec<Circuit> = all.iter().map(|scored| args.select(graph, scored, edges)).collect();
    let mut cells = Vec::new();
    let sources: Vec<_> = all.iter().map(Scored::sources).collect::<Result<_, _>>()?;
    let names: Vec<String> = sources.iter().map(|sources| sources.score.name()).collect();
    let pairs: Vec<Vec<Pair>> = sources
        .into_iter()
        .map(|sources| {
            Ok(sources
                .check_pairs(args.discovery, tokenizer, "circuit compare", context)?
                .pairs)
        })
        .collect::<Result<_>>()?;
    let flops: f64 = pairs.iter().map(|pairs| forward_flops(model.spec(), pairs)).sum();
    context.note(&format!(
        "circuit compare: {} circuits of {edges} edges before pruning on the pairs of {} tasks, a forward pass each, about {:.0} s",
        circuits.len(),
        all.len(),
        estimate::of_circuits(circuits.len() as f64 * flops, model, context)
    ));
    let bar = context.bar("circuit compare", all.len());
    for (row, (scored, pairs)) in all.iter().zip(&pairs).enumerate() {
        let options = scored.file.options;
        let found = evaluate(model, pairs, &circuits, options.metric, options.batch, &|_| ())?;
        for (column, values) in found.circuits.iter().enumerate() {
            cells.push(Cell {
                task: names[row].clone(),
                circuit: names[column].clone(),
                faithfulness: Faithfulness::of(&found.clean, &found.corrupted, values, args.resamples, 0),
                overlap: Overlap::of(&circuits[row], &circuits[column]),
            });
        }
        bar.set_position(row as u64 + 1);
    }
    bar.finish_and_clear();
    if let Some(path) = &args.out {
        artifacts::write_json(path, &cells)?;
    }
    let remark = args
        .out
        .as_ref()
        .map(|path| format!("circuit compare: {}", path.display()));
    Ok(Outcome::new((), table(&names, &circuits, &cells)).remark(remark))
}

fn table(names: &[String], circuits: &[Circuit], cells: &[Cell]) -> String {
    let n = names.len();
    let width = names.iter().map(String::len).max().unwrap_or(0).max(12) + 2;
    let grid = |title: &str, cell: &dyn Fn(&Cell) -> String| {
        let line = |name: &str, cells: Vec<String>| {
            let cells: Vec<String> = cells.into_iter().map(|cell| format!("{cell:>width$}")).collect();
            format!("{name:<width$}{}\n", cells.concat())
        };
        let rows = cells.chunks(n).zip(names);
        let rows: Vec<String> = rows
            .map(|(cells, name)| line(name, cells.iter().map(cell).collect()))
            .collect();
        format!("{title}\n{}{}\n", line("", names.to_vec()), rows.concat())
    };
    let sizes: Vec<String> = names
        .iter()
        .zip(circuits)
        .map(|(name, circuit)| format!("{name} {} edges of {} nodes", circuit.len(), circuit.sources().len()))
        .collect();
    let mut out = format!("circuits after pruning: {}\n\n", sizes.join(", "));
    out += &grid(
        "faithfulness: row = task that is run, column = circuit that is kept",
        &|cell| {
            let share = cell.faithfulness.faithfulness;
            share.map_or_else(|| "undefined".to_owned(), |share| format!("{share:.2}"))
        },
    );
    out += &grid("intersection over union, nodes | edges", &|cell| {
        format!("{:.2} | {:.2}", cell.overlap.nodes, cell.overlap.edges)
    });
    let others: Vec<&Cell> = cells.iter().filter(|cell| cell.task != cell.circuit).collect();
    let defined = others
        .iter()
        .filter_map(|cell| Some((cell.faithfulness.faithfulness?, cell.overlap)));
    let (shares, overlaps): (Vec<f64>, Vec<Overlap>) = defined.unzip();
    let correlation = |of: fn(&Overlap) -> f64| {
        let overlaps: Vec<f64> = overlaps.iter().map(of).collect();
        let found = agreement::pearson(&shares, &overlaps);
        found.map_or_else(|| "undefined".to_owned(), |found| format!("{found:.3}"))
    };
    out += &format!(
        "Pearson of cross-task faithfulness with overlap, off the diagonal: nodes {}, edges {}\n",
        correlation(|overlap| overlap.nodes),
        correlation(|overlap| overlap.edges)
    );
    out
}
