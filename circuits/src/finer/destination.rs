//! Edges into one destination by parts of it: the neurons of an MLP, or the latents of a dictionary of what an MLP or a head adds.
//!
//! A part's score is how it follows what the source adds, to first order, times the gradient at the part.

use lm::{HookPoint, Model, Request};

use super::{EdgeParts, Parts, destination_latents, difference_of, doubles, mean_over_pairs};
use crate::attribution::At;
use crate::{Edge, Error, Graph, Node, Pair, ScoreOptions};

/// The scores of the edges from `sources` into `destination` by its parts.
///
/// Latents are those of an autoencoder of the `hook_mlp_out` of an MLP, of a transcoder that stands for an MLP and reads its
/// `hook_mlp_in` or `mlp.hook_in`, or of an autoencoder of the `hook_z` of a head, of edges into its values. What the dictionary leaves
/// over, its error term, is the rest.
///
/// # Errors
///
/// Pairs that the model cannot run; a method without gradients or with rules of relevance; a source that the destination does not see;
/// a destination that does not have such parts; a dictionary of another width.
pub fn destination_parts(
    model: &Model,
    pairs: &[Pair],
    options: &ScoreOptions,
    sources: &[usize],
    destination: usize,
    parts: Parts<'_>,
) -> Result<Vec<EdgeParts>, Error> {
    if options.method.is_relp() {
        let reason = "parts of destinations have no gradients under the rules of relevance: take another method";
        return Err(Error::Setting(reason.to_owned()));
    }
    let graph = Graph::new(model.spec());
    if let Some(source) = sources.iter().find(|&&source| source >= graph.sources_of(destination)) {
        return Err(Error::UnknownName {
            what: "edge",
            found: format!("source {source} into {}", graph.destination(destination)),
            known: format!("this model has {} blocks, and edges lead forward only", graph.n_layer()),
        });
    }
    let node = graph.destination(destination).node;
    let (n, found) = match (parts, node) {
        (Parts::Neurons, Node::Mlp { layer }) => (model.spec().d_mlp, neurons(model, pairs, options, sources, layer)?),
        (Parts::Neurons, _) => {
            return Err(Error::Setting(format!(
                "{node} has no neurons; only MLPs, such as m3, have them"
            )));
        }
        (Parts::Latents(dictionary) | Parts::Transcoder(dictionary, _), _) => (
            dictionary.n_latents(),
            destination_latents::latents(model, pairs, options, sources, destination, parts)?,
        ),
    };
    // Of each source its parts, and what they leave over.
    let of_edge = |(&source, found): (&usize, &[f64])| EdgeParts {
        edge: Edge { source, destination },
        parts: found[..n].to_vec(),
        rest: found[n],
    };
    Ok(sources.iter().zip(found.chunks(n + 1)).map(of_edge).collect())
}

/// Of each source the scores of the neurons of the MLP of block `layer`, and 0 for what they leave over, `[sources, M + 1]`.
fn neurons(
    model: &Model,
    pairs: &[Pair],
    options: &ScoreOptions,
    sources: &[usize],
    layer: usize,
) -> Result<Vec<f64>, Error> {
    let n_sums = model.spec().d_mlp + 1;
    mean_over_pairs(model, pairs, options, &[], |runs, _| {
        let (points, n) = runs.points();
        let mut sums = vec![0.0; sources.len() * n_sums];
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
                    for (sum, value) in sums[place * n_sums..].iter_mut().zip(of_neurons) {
                        *sum += value;
                    }
                }
            }
        }
        Ok(sums)
    })
}
