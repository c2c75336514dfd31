//! Edges into an MLP by its neurons: how each neuron's pre-activation follows what the source adds, times its gradient.

use lm::{HookPoint, Model, Request};

use super::{EdgeParts, difference_of, doubles, mean_over_pairs};
use crate::attribution::At;
use crate::{Edge, Error, Graph, Node, Pair, ScoreOptions};

/// The scores of the edges from `sources` into the MLP of block `layer` by its neurons.
///
/// # Errors
///
/// Pairs that the model cannot run; a method without gradients or with rules of relevance; a source that the MLP does not see.
pub fn destination_neurons(
    model: &Model,
    pairs: &[Pair],
    options: &ScoreOptions,
    sources: &[usize],
    layer: usize,
) -> Result<Vec<EdgeParts>, Error> {
    if options.method.is_relp() {
        let reason = "neurons have no gradients under the rules of relevance: take another method";
        return Err(Error::Setting(reason.to_owned()));
    }
    let graph = Graph::new(model.spec());
    let known = || {
        format!(
            "this model has {} blocks, and edges lead forward only",
            model.spec().n_layer
        )
    };
    let destination = graph.destination_number(crate::Destination {
        node: Node::Mlp { layer },
        slot: None,
    });
    let destination = destination.ok_or_else(|| Error::UnknownName {
        what: "node",
        found: Node::Mlp { layer }.to_string(),
        known: known(),
    })?;
    let seen = graph.sources_of(destination);
    if let Some(source) = sources.iter().find(|&&source| source >= seen) {
        return Err(Error::UnknownName {
            what: "edge",
            found: format!("source {source} into {}", Node::Mlp { layer }),
            known: known(),
        });
    }
    let m = model.spec().d_mlp;
    let found = mean_over_pairs(model, pairs, options, &[], |runs, _| {
        let (points, n) = runs.points();
        let mut sums = vec![0.0; sources.len() * m];
        for point in points {
            // Where what the MLP adds is a constant, nothing follows its neurons.
            let is_cut = matches!(point.at, At::Between(HookPoint::MlpOut(cut), _) if cut == layer);
            if is_cut || !sources.iter().any(|source| point.sources.contains(source)) {
                continue;
            }
            let mut watch = vec![HookPoint::MlpPre(layer)];
            if model.spec().gated {
                watch.push(HookPoint::MlpPreLinear(layer));
            }
            let request = Request {
                capture: vec![HookPoint::MlpIn(layer)],
                watch,
                patches: runs.patches(point.at),
                ..Request::default()
            };
            let on_corrupted = matches!(point.at, At::Corrupted);
            let trace = runs.batch.plain(on_corrupted, request)?;
            let gradients = trace.gradients(runs.metric.values(trace.logits_at()?).sum().neg())?;
            let aligned = |x| if on_corrupted { runs.batch.aligned(x) } else { x };
            let read = aligned(trace.tensor3(HookPoint::MlpIn(layer))?.inner()); // [B, T, D]
            for (place, &source) in sources.iter().enumerate() {
                if !point.sources.contains(&source) {
                    continue;
                }
                for (hook, change) in model.neuron_changes(layer, read.clone(), difference_of(runs, source)) {
                    let gradient = aligned(gradients.tensor3(hook)?); // [B, T, M]
                    let of_neurons = doubles((gradient * change).sum_dim(1).sum_dim(0) / n as f32); // [1, 1, M]
                    for (sum, value) in sums[place * m..].iter_mut().zip(of_neurons) {
                        *sum += value;
                    }
                }
            }
        }
        Ok(sums)
    })?;
    let of_edge = |(place, &source): (usize, &usize)| EdgeParts {
        edge: Edge { source, destination },
        parts: found[place * m..(place + 1) * m].to_vec(),
        rest: 0.0,
    };
    Ok(sources.iter().enumerate().map(of_edge).collect())
}
