//! Edges by parts of their source: neurons of an MLP, latents of a dictionary.

use burn::tensor::Tensor;
use dictionaries::Encoder;
use lm::{HookPoint, Model};

use super::{EdgeParts, difference_of, doubles, edge_gradients, mean_over_pairs};
use crate::attribution::Runs;
use crate::runs::Run;
use crate::{Ablation, Edge, Error, Graph, Node, Pair, ScoreOptions};

/// What a source or a destination is taken apart into.
#[derive(Clone, Copy)]
pub enum Parts<'a> {
    /// The neurons of an MLP.
    Neurons,
    /// The latents of an autoencoder of `hook_mlp_out` for an MLP, or of the head's `hook_z` for a head.
    Latents(&'a dyn Encoder),
    /// The latents of a transcoder that reads this hook and stands for an MLP. What it passes on directly belongs to the rest.
    Transcoder(&'a dyn Encoder, HookPoint),
}

/// A part `p` adds `change[p]` times `directions[p]`; what the parts leave over is `rest`.
struct Decomposition {
    change: Tensor<3>,     // [B, T, P]
    directions: Tensor<2>, // [P, D]
    rest: Tensor<3>,       // [B, T, D]
}

/// The scores of edges out of `source` by its parts.
///
/// # Errors
///
/// Pairs that the model cannot run; a method without gradients, or an ablation other than the corrupted prompt; a source that does not
/// have such parts; a dictionary of another width.
pub fn source_parts(
    model: &Model,
    pairs: &[Pair],
    options: &ScoreOptions,
    source: usize,
    destinations: &[usize],
    parts: Parts<'_>,
) -> Result<Vec<EdgeParts>, Error> {
    if options.ablation != Ablation::Counterfactual {
        let reason = "parts of sources are of the difference to the corrupted prompt: take `ablation` counterfactual";
        return Err(Error::Setting(reason.to_owned()));
    }
    let node = Graph::new(model.spec()).source(source);
    let split = Split::new(model, node, parts)?;
    let edges: Vec<Edge> = destinations
        .iter()
        .map(|&destination| Edge { source, destination })
        .collect();
    let n = split.n_parts + 1;
    let found = mean_over_pairs(model, pairs, options, &split.hooks, |runs, both| {
        let gradients = edge_gradients(runs, &edges)?;
        let decomposition = split.decompose(runs, both, source);
        let mut sums = vec![0.0; edges.len() * n];
        for (place, edge) in edges.iter().enumerate() {
            let Some(gradient) = gradients.get(edge) else { continue };
            let [b, t, d] = gradient.dims();
            let along = gradient
                .clone()
                .reshape([b * t, d])
                .matmul(decomposition.directions.clone().transpose()); // [B T, P]
            let change = decomposition.change.clone().reshape([b * t, split.n_parts]); // [B T, P]
            let of_parts = doubles((along * change).sum_dim(0)); // [1, P]
            let of_rest = doubles((decomposition.rest.clone() * gradient.clone()).sum()); // [1]
            for (sum, value) in sums[place * n..].iter_mut().zip(of_parts.into_iter().chain(of_rest)) {
                *sum += value;
            }
        }
        Ok(sums)
    })?;
    let of_edge = |(place, &edge): (usize, &Edge)| EdgeParts {
        edge,
        parts: found[place * n..(place + 1) * n - 1].to_vec(),
        rest: found[(place + 1) * n - 1],
    };
    Ok(edges.iter().enumerate().map(of_edge).collect())
}

/// How a source is taken apart.
struct Split<'a> {
    parts: Parts<'a>,
    /// Hooks of both runs that are read.
    hooks: Vec<HookPoint>,
    /// The head, where it is one.
    head: Option<usize>,
    directions: Tensor<2>, // [P, D]
    n_parts: usize,
}

impl<'a> Split<'a> {
    fn new(model: &Model, node: Node, parts: Parts<'a>) -> Result<Self, Error> {
        let refused = |reason: &str| Error::Setting(format!("{node} has no such parts: {reason}"));
        let normed = "the model norms what its layers add, so parts do not add up";
        let fits = |dictionary: &dyn Encoder, width: usize| match dictionary.d_out() == width {
            true => Ok(()),
            false => Err(refused(&format!(
                "the dictionary gives vectors of width {}, not {width}",
                dictionary.d_out()
            ))),
        };
        let (hooks, head, directions) = match (node, parts) {
            (Node::Mlp { layer }, Parts::Neurons) => {
                let directions = model.neuron_directions(layer).ok_or_else(|| refused(normed))?; // [M, D]
                (vec![HookPoint::MlpPost(layer)], None, directions)
            }
            (Node::Mlp { layer }, Parts::Latents(dictionary)) => {
                fits(dictionary, model.spec().d_model)?;
                (vec![HookPoint::MlpOut(layer)], None, dictionary.directions())
            }
            (Node::Mlp { layer: _ }, Parts::Transcoder(dictionary, reads)) => {
                fits(dictionary, model.spec().d_model)?;
                reads.check(model.spec())?;
                if reads.width(model.spec()) != dictionary.d_in() || reads.has_heads() {
                    return Err(refused(&format!("the transcoder does not read {reads}")));
                }
                (vec![reads], None, dictionary.directions())
            }
            (Node::Head { layer, head }, Parts::Latents(dictionary)) => {
                fits(dictionary, model.spec().d_head)?;
                let writes = model.head_directions(layer, head).ok_or_else(|| refused(normed))?; // [Dh, D]
                (
                    vec![HookPoint::Z(layer)],
                    Some(head),
                    dictionary.directions().matmul(writes),
                )
            }
            (Node::Head { .. }, _) => return Err(refused("a head has latents of a dictionary of hook_z, no neurons")),
            (Node::Input | Node::KeyValue { .. } | Node::Logits, _) => {
                return Err(refused("MLPs have neurons, MLPs and heads have latents"));
            }
        };
        let n_parts = directions.dims()[0];
        Ok(Self {
            parts,
            hooks,
            head,
            directions,
            n_parts,
        })
    }

    /// The parts of a batch.
    fn decompose(&self, runs: &Runs<'_>, both: [&Run; 2], source: usize) -> Decomposition {
        let [clean, corrupted] = both.map(|run| self.read(run)); // [B T, width]
        let (b, t) = (runs.batch.rows(), runs.batch.clean.len());
        let change = match self.parts {
            Parts::Neurons => corrupted - clean, // [B T, M]
            Parts::Latents(dictionary) | Parts::Transcoder(dictionary, _) => {
                dictionary.encode(corrupted) - dictionary.encode(clean) // [B T, F]
            }
        };
        let of_parts = change.clone().matmul(self.directions.clone()); // [B T, D]
        let whole = difference_of(runs, source); // [B, T, D]
        let [_, _, d] = whole.dims();
        Decomposition {
            change: change.reshape([b, t, self.n_parts]),
            directions: self.directions.clone(),
            rest: whole - of_parts.reshape([b, t, d]),
        }
    }

    /// What is encoded of a run, or what the neurons are, `[B T, width]`.
    fn read(&self, run: &Run) -> Tensor<2> {
        let x = run.streams[&self.hooks[0]].clone(); // [B, T, width], heads side by side
        let [b, t, width] = x.dims();
        let rows = x.reshape([b * t, width]);
        match (self.head, self.parts) {
            (Some(head), Parts::Latents(dictionary)) => {
                let d_head = dictionary.d_in();
                rows.narrow(1, head * d_head, d_head)
            }
            _ => rows,
        }
    }
}
