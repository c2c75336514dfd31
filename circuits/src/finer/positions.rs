//! Edges by position.

use lm::Model;

use super::{EdgeParts, difference_of, doubles, edge_gradients, mean_over_pairs};
use crate::{Edge, Error, Pair, ScoreOptions};

/// The scores of edges by position, counted from the end: the first part is that of the last position, which all prompts have. Prompts
/// that are shorter than the longest add nothing at the positions that they do not have.
///
/// # Errors
///
/// Pairs that the model cannot run; a method without gradients.
pub fn positions(
    model: &Model,
    pairs: &[Pair],
    options: &ScoreOptions,
    edges: &[Edge],
) -> Result<Vec<EdgeParts>, Error> {
    let longest = pairs.iter().map(|pair| pair.clean.len()).max().unwrap_or(0);
    let found = mean_over_pairs(model, pairs, options, &[], |runs, _| {
        let gradients = edge_gradients(runs, edges)?;
        let t = runs.batch.clean.len();
        let mut sums = vec![0.0; edges.len() * longest];
        for (place, edge) in edges.iter().enumerate() {
            let Some(gradient) = gradients.get(edge) else { continue };
            let by_position = (difference_of(runs, edge.source) * gradient.clone())
                .sum_dim(2)
                .sum_dim(0); // [1, T, 1]
            for (position, value) in doubles(by_position).into_iter().enumerate() {
                sums[place * longest + t - 1 - position] += value;
            }
        }
        Ok(sums)
    })?;
    let of_edge = |(place, &edge): (usize, &Edge)| EdgeParts {
        edge,
        parts: found[place * longest..(place + 1) * longest].to_vec(),
        rest: 0.0,
    };
    Ok(edges.iter().enumerate().map(of_edge).collect())
}
