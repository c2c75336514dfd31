//! Scores by gradients: which runs have their gradients taken, and the product of gradients and differences.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::tensor::Tensor;
use lm::{HookPoint, Patch, Spec};

use crate::graph::{Graph, Group};
use crate::metric::Bound;
use crate::runs::Batch;
use crate::{Error, Grid, Method, ScoreOptions, gradients, relp};

/// A batch whose gradients are taken.
pub(crate) struct Runs<'a> {
    pub(crate) batch: &'a Batch<'a>,
    pub(crate) graph: &'a Graph,
    pub(crate) options: &'a ScoreOptions,
    /// Token embedding of the clean run, `[B, T, D]`.
    pub(crate) embed: Tensor<3>,
    /// Of the clean run what [`Runs::streams`] names, `[B, T, D]` each.
    pub(crate) streams: BTreeMap<HookPoint, Tensor<3>>,
    /// What cutting each source changes, `[B, S, T D]`.
    pub(crate) difference: Tensor<3>,
    pub(crate) metric: Bound,
}

/// Where between cut and clean a run is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At {
    Clean,
    Corrupted,
    /// The sources that are added at a hook at step `k`, the rest clean.
    Between(HookPoint, usize),
}

/// A run, and the sources whose edges its gradient counts for.
pub(crate) struct Point {
    pub(crate) at: At,
    pub(crate) sources: Range<usize>,
}

/// Scores of a batch, group by group of destinations, `[B, S of the group, G]` each.
type Table = Vec<Option<Tensor<3>>>;

impl Runs<'_> {
    /// The hooks of the clean run that EAP-IG on activations goes away from, besides the embedding.
    pub(crate) fn streams(spec: &Spec) -> Vec<HookPoint> {
        let of_layer = |l| [HookPoint::AttnOut(l), HookPoint::MlpOut(l)];
        (0..spec.n_layer).flat_map(of_layer).collect()
    }

    /// The runs of the method, and how many gradients an edge gets: its score is their sum over that.
    pub(crate) fn points(&self) -> (Vec<Point>, usize) {
        let (steps, every) = (self.options.steps, 0..self.graph.n_sources());
        let point = |at| Point {
            at,
            sources: every.clone(),
        };
        match self.options.method {
            Method::Eap | Method::Relp | Method::RelpFrozenPatterns => (vec![point(At::Clean)], 1),
            Method::CleanCorrupted => (vec![point(At::Clean), point(At::Corrupted)], 2),
            Method::EapIgInputs => {
                let ks = match self.options.grid {
                    Grid::Paper => 1..steps + 1,
                    Grid::Later => 0..steps,
                };
                (ks.map(|k| point(At::Between(HookPoint::Embed, k))).collect(), steps)
            }
            Method::EapIgActivations | Method::EapIgActivationsMended => {
                let mends = self.options.method == Method::EapIgActivationsMended;
                let of_group = |(hook, sources): (HookPoint, Range<usize>)| {
                    let sources = if mends { sources } else { every.clone() };
                    (1..=steps).map(move |k| Point {
                        at: At::Between(hook, k),
                        sources: sources.clone(),
                    })
                };
                let points: Vec<Point> = self.source_groups().into_iter().flat_map(of_group).collect();
                let n = if mends { steps } else { points.len() };
                (points, n)
            }
            Method::InformationFlow | Method::Exact => unreachable!("{} takes no gradients", self.options.method),
        }
    }

    /// Every group of sources that is moved together: the hook where it is added, and its sources.
    fn source_groups(&self) -> Vec<(HookPoint, Range<usize>)> {
        let spec = self.batch.model.spec();
        let width = spec.n_head + 1;
        let of_layer = |l: usize| {
            let first = 1 + l * width;
            [
                (HookPoint::AttnOut(l), first..first + spec.n_head),
                (HookPoint::MlpOut(l), first + spec.n_head..first + width),
            ]
        };
        let input = (HookPoint::Embed, 0..1);
        [input]
            .into_iter()
            .chain((0..spec.n_layer).flat_map(of_layer))
            .collect()
    }

    /// What is changed in the run of a point.
    pub(crate) fn patches(&self, at: At) -> Vec<Patch> {
        let spec = self.batch.model.spec();
        let mut patches = match self.options.method {
            Method::Relp => relp::patches(spec, false),
            Method::RelpFrozenPatterns => relp::patches(spec, true),
            _ => Vec::new(),
        };
        if let At::Between(hook, k) = at {
            patches.extend(self.between(hook, k));
        }
        patches
    }

    /// A hook that becomes the point `k / steps` of the line from where its sources are cut to the clean run. The point is a constant, at the
    /// clean end too: as published, no gradient goes on to what the sources are computed from.
    fn between(&self, hook: HookPoint, k: usize) -> Option<Patch> {
        let sources = self.source_groups().into_iter().find(|(group, _)| *group == hook)?.1;
        let clean = match hook {
            HookPoint::Embed => self.embed.clone(),
            _ => self.streams[&hook].clone(),
        };
        let [b, t, d] = clean.dims();
        let of_group = self.difference.clone().narrow(1, sources.start, sources.len()); // [B, sources, T D]
        let change = of_group.sum_dim(1).reshape([b, t, d]); // [B, T, D]
        let share = 1.0 - k as f32 / self.options.steps as f32;
        let value = clean + change * share; // [B, T, D]
        Some(Patch::map(hook, move |x| {
            if x.is_autodiff() {
                value.clone().autodiff()
            } else {
                value.clone()
            }
        }))
    }

    /// Hands the gradient of a point's run at each group of destinations to `each`, `[B, G, T D]`.
    pub(crate) fn gradients(&self, at: At, mut each: impl FnMut(Group, Tensor<3>)) -> Result<(), Error> {
        let relp = self.options.method.is_relp();
        let run = gradients::Recorded::new(
            self.batch,
            matches!(at, At::Corrupted),
            self.patches(at),
            relp,
            &self.metric,
        )?;
        for group in self.graph.groups() {
            let gradient = run.at(group)?; // [B, G, T D]
            let is_frozen = self.options.method == Method::RelpFrozenPatterns && group.is_of_pattern();
            each(group, if is_frozen { gradient.zeros_like() } else { gradient });
        }
        Ok(())
    }

    /// The scores of all edges, of each pair, `[B, edges]`.
    pub(crate) fn score(&self) -> Result<Vec<f32>, Error> {
        let (points, n) = self.points();
        let mut table: Table = vec![None; self.graph.groups().len()];
        for point in points {
            let mut places = table.iter_mut();
            self.gradients(point.at, |group, gradient| {
                if let Some(sum) = places.next() {
                    self.add(sum, group, gradient, &point.sources);
                }
            })?;
        }
        Ok(self.to_host(table, n))
    }

    /// Adds what a gradient says of the edges out of `sources`.
    fn add(&self, sum: &mut Option<Tensor<3>>, group: Group, gradient: Tensor<3>, sources: &Range<usize>) {
        let seen = self.graph.sources_of_group(group);
        let (from, to) = (sources.start.min(seen), sources.end.min(seen));
        let [b, g, _] = gradient.dims();
        let all = sum
            .take()
            .unwrap_or_else(|| Tensor::zeros([b, seen, g], &gradient.device()));
        if from == to {
            *sum = Some(all);
            return;
        }
        let difference = self.difference.clone().narrow(1, from, to - from); // [B, sources, T D]
        let scores = difference.matmul(gradient.swap_dims(1, 2)); // [B, sources, G]
        *sum = Some(match to - from == seen {
            true => all + scores,
            false => {
                let before = all.clone().narrow(1, from, to - from);
                all.slice_assign([0..b, from..to, 0..g], before + scores)
            }
        });
    }

    /// The table divided by `n`, of each pair in the order of the edges.
    fn to_host(&self, table: Table, n: usize) -> Vec<f32> {
        let (rows, edges) = (self.batch.rows(), self.graph.n_edges());
        let mut values = vec![0.0_f32; rows * edges];
        for (group, scores) in self.graph.groups().into_iter().zip(table) {
            let Some(scores) = scores else { continue };
            let [_, seen, g] = scores.dims();
            let first = self.graph.edges_into(self.graph.group(group).start).start;
            let scores = kernels::to_vec(scores.swap_dims(1, 2) / n as f32); // [B, G, S of the group]
            for (row, scores) in scores.chunks(seen * g).enumerate() {
                let from = row * edges + first;
                values[from..from + seen * g].copy_from_slice(scores);
            }
        }
        values
    }
}
