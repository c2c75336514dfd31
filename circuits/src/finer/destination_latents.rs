//! Edges into one destination by the latents of a dictionary that is spliced in there, and its error term.
//!
//! With the error term in place, what the destination's node adds is the sum of the latents' codes times their directions, and of what the
//! dictionary leaves over. Along what a source adds, the node follows as a whole (the derivative of the MLP, or of the head by its
//! values), each code follows what the dictionary reads, and the error term follows with what is left of the whole. Each of them times the
//! gradient where the node adds is its score, so latents and error term add up to the edge.

use burn::tensor::Tensor;
use dictionaries::Encoder;
use lm::{HookPoint, Model, Request, Trace};

use super::{Parts, difference_of, doubles, mean_over_pairs};
use crate::attribution::{At, Runs};
use crate::node::Slot;
use crate::{Destination, Error, Graph, Method, Node, Pair, ScoreOptions};

/// Why a model has no parts.
const NORMED: &str = "the model norms what its layers add, so parts do not add up";

/// Where a dictionary is spliced in.
struct Splice<'a> {
    model: &'a Model,
    /// The destination.
    name: Destination,
    dictionary: &'a dyn Encoder,
    place: Place,
    directions: Tensor<2>, // [F, D]
}

/// The node that the dictionary is of, and what the dictionary reads.
#[derive(Clone, Copy)]
enum Place {
    /// An autoencoder of what the MLP of a block adds.
    MlpOut { layer: usize },
    /// A transcoder that stands for the MLP of a block; it reads `hook_mlp_in` or `mlp.hook_in`.
    Mlp { layer: usize, reads: HookPoint },
    /// An autoencoder of the `hook_z` of a head, which follows its values.
    Head { layer: usize, head: usize },
}

/// Of each source the scores of the latents and of the error term, `[sources, F + 1]`.
pub(super) fn latents(
    model: &Model,
    pairs: &[Pair],
    options: &ScoreOptions,
    sources: &[usize],
    destination: usize,
    parts: Parts<'_>,
) -> Result<Vec<f64>, Error> {
    let splice = Splice::new(model, destination, parts)?;
    let is_aligned = pairs.iter().any(|pair| pair.positions.is_some());
    if options.method == Method::CleanCorrupted && is_aligned && matches!(splice.place, Place::Head { .. }) {
        let reason =
            "heads of corrupted prompts attend at other positions than the pairs' `positions`: take another method";
        return Err(Error::Setting(reason.to_owned()));
    }
    let n_sums = splice.dictionary.n_latents() + 1;
    mean_over_pairs(model, pairs, options, &[], |runs, _| {
        let (points, n) = runs.points();
        let mut sums = vec![0.0; sources.len() * n_sums];
        for point in points {
            // Where what the node adds is a constant, nothing follows its latents.
            let is_cut = matches!(point.at, At::Between(cut, _) if cut == splice.place.adds());
            if is_cut || !sources.iter().any(|source| point.sources.contains(source)) {
                continue;
            }
            let run = splice.run(runs, point.at)?;
            for (place, &source) in sources.iter().enumerate() {
                if !point.sources.contains(&source) {
                    continue;
                }
                let scores = splice.scores(&run, difference_of(runs, source), n)?;
                for (sum, value) in sums[place * n_sums..].iter_mut().zip(scores) {
                    *sum += value;
                }
            }
        }
        Ok(sums)
    })
}

/// What is read of one run inside of the node.
enum Inside {
    /// `hook_pre` of the MLP, and `hook_pre_linear` where it is gated, `[B, T, M]`.
    Mlp(Tensor<3>, Option<Tensor<3>>),
    /// The pattern of the head `[B, T, T]`, and what it writes `[Dh, D]`.
    Head(Tensor<3>, Tensor<2>),
}

/// What is read of one run, at the positions of the clean prompts.
struct Read {
    /// The residual stream that the node reads, `[B, T, D]`.
    input: Tensor<3>,
    inside: Inside,
    /// What the dictionary reads, `[B T, width]`.
    encoded: Tensor<2>,
    /// The gradient where the node adds, by each latent's direction, `[B T, F]`.
    along: Tensor<2>,
    /// The gradient where the node adds, `[B T, D]`.
    gradient: Tensor<2>,
}

impl Place {
    /// The hook where the node adds.
    fn adds(self) -> HookPoint {
        match self {
            Self::MlpOut { layer } | Self::Mlp { layer, .. } => HookPoint::MlpOut(layer),
            Self::Head { layer, .. } => HookPoint::AttnOut(layer),
        }
    }

    /// The hook of the residual stream that the node reads.
    fn input(self) -> HookPoint {
        match self {
            Self::MlpOut { layer } | Self::Mlp { layer, .. } => HookPoint::MlpIn(layer),
            Self::Head { layer, .. } => HookPoint::ResidPre(layer),
        }
    }

    /// The hook that the dictionary reads.
    fn encoded(self) -> HookPoint {
        match self {
            Self::MlpOut { layer } => HookPoint::MlpOut(layer),
            Self::Mlp { reads, .. } => reads,
            Self::Head { layer, .. } => HookPoint::Z(layer),
        }
    }
}

impl<'a> Splice<'a> {
    fn new(model: &'a Model, destination: usize, parts: Parts<'a>) -> Result<Self, Error> {
        let spec = model.spec();
        let graph = Graph::new(spec);
        let name = graph.destination(destination);
        let refused = |reason: &str| Error::Setting(format!("{name} has no such parts: {reason}"));
        let (place, dictionary, d_in, writes) = match (name.node, name.slot, parts) {
            (Node::Mlp { layer }, _, Parts::Latents(dictionary)) => {
                (Place::MlpOut { layer }, dictionary, spec.d_model, None)
            }
            (Node::Mlp { layer }, _, Parts::Transcoder(dictionary, reads)) => {
                if ![HookPoint::MlpIn(layer), HookPoint::MlpNormed(layer)].contains(&reads) {
                    let reason = "a transcoder that stands for an MLP reads its hook_mlp_in or mlp.hook_in";
                    return Err(refused(reason));
                }
                (Place::Mlp { layer, reads }, dictionary, spec.d_model, None)
            }
            (Node::Head { layer, head }, Some(Slot::V), Parts::Latents(dictionary)) => {
                let writes = model.head_directions(layer, head).ok_or_else(|| refused(NORMED))?; // [Dh, D]
                (Place::Head { layer, head }, dictionary, spec.d_head, Some(writes))
            }
            (Node::KeyValue { .. }, Some(Slot::V), _) => {
                return Err(refused("several heads read it, and a dictionary of hook_z is of one"));
            }
            _ => {
                return Err(refused(
                    "MLPs have latents, and heads by their values, with a dictionary of hook_z",
                ));
            }
        };
        if spec.post_norms {
            return Err(refused(NORMED));
        }
        let d_out = if writes.is_some() { spec.d_head } else { spec.d_model };
        if [dictionary.d_in(), dictionary.d_out()] != [d_in, d_out] {
            return Err(refused(&format!(
                "the dictionary reads width {} and gives width {}, not {d_in} and {d_out}",
                dictionary.d_in(),
                dictionary.d_out()
            )));
        }
        let directions = dictionary.directions();
        Ok(Self {
            model,
            name,
            dictionary,
            place,
            directions: match writes {
                Some(writes) => directions.matmul(writes), // [F, D]
                None => directions,
            },
        })
    }

    /// The run of a point.
    fn run(&self, runs: &Runs<'_>, at: At) -> Result<Read, Error> {
        let on_corrupted = matches!(at, At::Corrupted);
        let mut capture = vec![self.place.input(), self.place.encoded()];
        match self.place {
            Place::Head { layer, .. } => capture.push(HookPoint::Pattern(layer)),
            Place::MlpOut { layer } | Place::Mlp { layer, .. } => {
                capture.push(HookPoint::MlpPre(layer));
                if self.model.spec().gated {
                    capture.push(HookPoint::MlpPreLinear(layer));
                }
            }
        }
        let request = Request {
            capture,
            watch: vec![self.place.adds()],
            patches: runs.patches(at),
            ..Request::default()
        };
        let trace = runs.batch.plain(on_corrupted, request)?;
        let gradients = trace.gradients(runs.metric.values(trace.logits_at()?).sum().neg())?;
        let aligned = |x| if on_corrupted { runs.batch.aligned(x) } else { x };
        let of = |hook| -> Result<Tensor<3>, Error> { Ok(aligned(trace.tensor3(hook)?.inner())) };
        let gradient = flat(aligned(gradients.tensor3(self.place.adds())?)); // [B T, D]
        Ok(Read {
            input: of(self.place.input())?,
            inside: match self.place {
                Place::Head { layer, head } => {
                    let writes = self
                        .model
                        .head_directions(layer, head)
                        .ok_or_else(|| self.refused(NORMED))?; // [Dh, D]
                    Inside::Head(of_head(&trace, HookPoint::Pattern(layer), (1, head))?, writes)
                }
                Place::MlpOut { layer } | Place::Mlp { layer, .. } => {
                    let gated = self.model.spec().gated;
                    let linear = gated.then(|| of(HookPoint::MlpPreLinear(layer))).transpose()?;
                    Inside::Mlp(of(HookPoint::MlpPre(layer))?, linear)
                }
            },
            encoded: match self.place {
                Place::Head { layer, head } => flat(of_head(&trace, HookPoint::Z(layer), (2, head))?),
                place => flat(of(place.encoded())?),
            },
            along: gradient.clone().matmul(self.directions.clone().transpose()), // [B T, F]
            gradient,
        })
    }

    /// The scores of all latents and of the error term for a source that changes by `difference` `[B, T, D]`, divided by `n`.
    fn scores(&self, run: &Read, difference: Tensor<3>, n: usize) -> Result<Vec<f64>, Error> {
        let (whole, change) = self.changes(run, difference).ok_or_else(|| self.refused(NORMED))?;
        let codes = self.dictionary.code_change(run.encoded.clone(), change); // [B T, F]
        let codes =
            codes.ok_or_else(|| self.refused("the codes of this dictionary have no derivative that is known"))?;
        let rest = whole - codes.clone().matmul(self.directions.clone()); // [B T, D]
        let mut scores = doubles((codes * run.along.clone()).sum_dim(0) / n as f32); // [1, F]
        scores.extend(doubles((rest * run.gradient.clone()).sum() / n as f32)); // [1]
        Ok(scores)
    }

    /// How what the node adds `[B T, D]`, and what the dictionary reads `[B T, width]`, follow a `difference` of what the node reads.
    fn changes(&self, run: &Read, difference: Tensor<3>) -> Option<(Tensor<2>, Tensor<2>)> {
        let input = || run.input.clone();
        match (self.place, &run.inside) {
            (Place::Head { layer, head }, Inside::Head(pattern, writes)) => {
                let of_values = self.model.value_change(layer, head, input(), difference); // [B, T, Dh]
                let of_z = flat(pattern.clone().matmul(of_values)); // [B T, Dh]
                Some((of_z.clone().matmul(writes.clone()), of_z))
            }
            (Place::MlpOut { layer } | Place::Mlp { layer, .. }, Inside::Mlp(pre, linear)) => {
                let pre = (pre.clone(), linear.clone());
                let whole = self.model.mlp_out_change(layer, input(), pre, difference.clone())?; // [B, T, D]
                let whole = flat(whole);
                let change = match self.place {
                    Place::Mlp { reads, .. } if reads == HookPoint::MlpIn(layer) => flat(difference),
                    Place::Mlp { .. } => flat(self.model.mlp_normed_change(layer, input(), difference)),
                    _ => whole.clone(),
                };
                Some((whole, change))
            }
            _ => unreachable!("a run is read as its place is"),
        }
    }

    fn refused(&self, reason: &str) -> Error {
        Error::Setting(format!("{} has no such parts: {reason}", self.name))
    }
}

/// Rows of all positions, `[B T, width]`.
fn flat(x: Tensor<3>) -> Tensor<2> {
    let [b, t, width] = x.dims();
    x.reshape([b * t, width])
}

/// The part of one head of a hook that has heads on an axis, `[B, T, width]` or `[B, T, T]`.
fn of_head(trace: &Trace, hook: HookPoint, (axis, head): (usize, usize)) -> Result<Tensor<3>, Error> {
    let one = trace.tensor4(hook)?.inner().narrow(axis, head, 1);
    Ok(one.squeeze_dim(axis))
}
