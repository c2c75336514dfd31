//! How much each edge matters: the methods, their cost, and the scores of all edges.
//!
//! A score is how much the metric falls when the edge carries what its source adds in the corrupted run: positive where the edge
//! helps. Exact patching measures it; the others reckon it as the difference of the source's outputs times a gradient at the
//! destination, summed over positions and dimensions: one product of matrices for each group of destinations.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Tensor;
use lm::{Grouping, HookPoint, Model, Passes, Patch, Spec};
use serde::{Deserialize, Serialize};

use crate::graph::Graph;
use crate::metric::Bound;
use crate::runs::{Batch, Run, numbers};
use crate::{Error, Metric, Pair, exact, gradients, pairs};

/// How edges are scored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Edge attribution patching: the gradient of the clean run.
    Eap,
    /// Its mean along the straight line between the token embeddings of the corrupted and the clean prompt.
    #[default]
    EapIgInputs,
    /// Its mean over runs in which one group of sources (the input, all heads of a layer, an MLP) is between its corrupted and its
    /// clean output, and everything else is clean; as published, every run counts for every edge.
    EapIgActivations,
    /// The same, where a run counts for the edges out of its own group only.
    EapIgActivationsMended,
    /// The mean of the gradients of the clean and of the corrupted run.
    CleanCorrupted,
    /// Exact patching: one run for each edge.
    Exact,
}

/// Which points of the line are taken; the clean prompt lies at 1, the corrupted one at 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grid {
    /// `k / m` for `k = 1..m`, which ends at the clean prompt: the paper's.
    #[default]
    Paper,
    /// `k / m` for `k = 0..m-1`, which begins at the corrupted one: that of the code published later.
    Later,
}

/// How scores are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreOptions {
    /// The method.
    pub method: Method,
    /// Points of the line, `m`; of the methods that have one.
    pub steps: usize,
    /// Which points, of EAP-IG on inputs.
    pub grid: Grid,
    /// What is measured.
    pub metric: Metric,
    /// Pairs of a batch.
    pub batch: usize,
}

impl Default for ScoreOptions {
    fn default() -> Self {
        Self {
            method: Method::default(),
            steps: 5,
            grid: Grid::default(),
            metric: Metric::default(),
            batch: 16,
        }
    }
}

/// Scores of all edges.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// The graph.
    pub graph: Graph,
    /// Mean over pairs, in the order of the edges.
    pub values: Vec<f64>,
    /// Standard error of each mean; none of a single pair.
    pub errors: Vec<Option<f64>>,
    /// The metric of each pair's clean run.
    pub clean: Vec<f64>,
    /// The metric of each pair's corrupted run, with what is right for the clean one.
    pub corrupted: Vec<f64>,
}

/// What scoring will take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Forward passes of one pair; those that begin at a later block count as their share.
    pub forward: f64,
    /// Backward passes of one pair.
    pub backward: f64,
    /// Floating-point operations of the linear layers, for all pairs. A backward pass counts as a forward pass, since no weight has
    /// a gradient.
    pub flops: f64,
}

/// What scoring `pairs` will take.
pub fn cost(spec: &Spec, pairs: &[Pair], options: &ScoreOptions) -> Cost {
    let (steps, layers) = (options.steps as f64, spec.n_layer as f64);
    let (forward, backward) = match options.method {
        Method::Eap => (3.0, 1.0),
        Method::EapIgInputs => (2.0 + steps, steps),
        Method::EapIgActivations | Method::EapIgActivationsMended => {
            let runs = steps * (1.0 + 2.0 * layers);
            (2.0 + runs, runs)
        }
        Method::CleanCorrupted => (4.0, 2.0),
        Method::Exact => (2.0 + exact::passes(&Graph::new(spec)), 0.0),
    };
    let tokens: usize = pairs.iter().map(|pair| pair.clean.len()).sum();
    let of_all = tokens as f64 * layers * spec.block_flops() + pairs.len() as f64 * spec.unembed_flops();
    Cost {
        forward,
        backward,
        flops: (forward + backward) * of_all,
    }
}

/// The scores of one batch.
struct BatchScores {
    rows: Vec<usize>,
    /// Of each pair all edges, `[B, edges]`.
    values: Vec<f32>,
    clean: Vec<f64>,
    corrupted: Vec<f64>,
}

/// Scores every edge of a model on `pairs`; `on_progress` hears how many pairs are done.
///
/// Pairs of equal length are run together, so no padding exists, and a pair's scores do not depend on its batch.
///
/// # Errors
///
/// Pairs that the model cannot run; no steps; scores that are not finite.
pub fn score(
    model: &Model,
    pairs: &[Pair],
    options: &ScoreOptions,
    on_progress: &(dyn Fn(usize) + Sync),
) -> Result<Scores, Error> {
    pairs::check(pairs, model.spec())?;
    if options.steps == 0 {
        return Err(Error::Setting("`steps` is 0: take at least one".to_owned()));
    }
    let graph = Graph::new(model.spec());
    let done = AtomicUsize::new(0);
    let passes = Passes::new(model, options.batch).grouped(Grouping::Length);
    let batches = passes.each(pairs, |pass| -> Result<BatchScores, Error> {
        let batch = Batch::new(model, pass.rows.iter().map(|&row| &pairs[row]).collect())?;
        let scores = of_batch(&batch, &graph, options, pass.rows)?;
        on_progress(done.fetch_add(scores.rows.len(), Ordering::Relaxed) + scores.rows.len());
        Ok(scores)
    })?;
    gather(graph, pairs.len(), batches)
}

/// Means and their standard errors over all pairs, in double precision.
fn gather(graph: Graph, pairs: usize, batches: Vec<BatchScores>) -> Result<Scores, Error> {
    let edges = graph.n_edges();
    let (mut sums, mut squares) = (vec![0.0_f64; edges], vec![0.0_f64; edges]);
    let (mut clean, mut corrupted) = (vec![0.0; pairs], vec![0.0; pairs]);
    for batch in batches {
        for (place, &row) in batch.rows.iter().enumerate() {
            (clean[row], corrupted[row]) = (batch.clean[place], batch.corrupted[place]);
            for (edge, &value) in batch.values[place * edges..(place + 1) * edges].iter().enumerate() {
                sums[edge] += f64::from(value);
                squares[edge] += f64::from(value).powi(2);
            }
        }
    }
    let n = pairs as f64;
    let values: Vec<f64> = sums.iter().map(|sum| sum / n).collect();
    if let Some(edge) = values.iter().position(|value| !value.is_finite()) {
        return Err(Error::NotFinite {
            what: graph.name(graph.edge(edge)),
        });
    }
    let error = |(mean, square): (&f64, &f64)| {
        let variance = (square - n * mean * mean).max(0.0) / (n - 1.0);
        (pairs > 1).then(|| (variance / n).sqrt())
    };
    Ok(Scores {
        errors: values.iter().zip(&squares).map(error).collect(),
        graph,
        values,
        clean,
        corrupted,
    })
}

fn of_batch(batch: &Batch<'_>, graph: &Graph, options: &ScoreOptions, rows: Vec<usize>) -> Result<BatchScores, Error> {
    let streams = match options.method {
        Method::Exact => exact::streams(batch.model.spec()),
        Method::EapIgActivations | Method::EapIgActivationsMended => activation_hooks(batch.model.spec()),
        _ => Vec::new(),
    };
    let corrupted = batch.run(&batch.corrupted, &streams)?;
    let clean = batch.run(&batch.clean, &streams)?;
    let metric = batch.metric(options.metric, &clean.logits);
    let [of_clean, of_corrupted] = [&clean, &corrupted].map(|run| numbers(metric.values(run.logits.clone())));
    let difference = corrupted.stack.clone() - clean.stack.clone(); // [B, S, T D]
    let runs = Runs {
        batch,
        graph,
        options,
        clean: Light::of(clean),
        corrupted: Light::of(corrupted),
        difference,
        metric,
    };
    let values = match options.method {
        Method::Exact => exact::score(
            batch,
            graph,
            &runs.clean.streams,
            &runs.difference,
            &runs.metric,
            &of_clean,
        )?,
        _ => runs.by_gradients()?,
    };
    Ok(BatchScores {
        rows,
        values,
        clean: of_clean,
        corrupted: of_corrupted,
    })
}

/// A run without the outputs of all sources, which the difference of two runs stands for.
struct Light {
    embed: Tensor<3>,
    streams: BTreeMap<HookPoint, Tensor<3>>,
}

impl Light {
    fn of(run: Run) -> Self {
        Self {
            embed: run.embed,
            streams: run.streams,
        }
    }
}

/// Both runs of a batch.
struct Runs<'a> {
    batch: &'a Batch<'a>,
    graph: &'a Graph,
    options: &'a ScoreOptions,
    clean: Light,
    corrupted: Light,
    difference: Tensor<3>, // [B, S, T D]
    metric: Bound,
}

/// Scores of a batch, group by group of destinations, `[B, S of the group, G]` each.
type Table = Vec<Option<Tensor<3>>>;

impl Runs<'_> {
    /// The scores of all edges as gradients have them, of each pair.
    fn by_gradients(&self) -> Result<Vec<f32>, Error> {
        let (steps, every) = (self.options.steps, (0, self.graph.n_sources()));
        let mut table: Table = vec![None; self.graph.groups().len()];
        let n = match self.options.method {
            Method::Eap => self.add(&mut table, true, Vec::new(), every)?,
            Method::CleanCorrupted => {
                self.add(&mut table, true, Vec::new(), every)? + self.add(&mut table, false, Vec::new(), every)?
            }
            Method::EapIgInputs => {
                let mut n = 0;
                for k in 0..steps {
                    let k = match self.options.grid {
                        Grid::Paper => k + 1,
                        Grid::Later => k,
                    };
                    let patch = between(HookPoint::Embed, &self.clean.embed, &self.corrupted.embed, k, steps);
                    n += self.add(&mut table, true, vec![patch], every)?;
                }
                n
            }
            Method::EapIgActivations => {
                let mut n = 0;
                for (patch, _) in self.source_groups() {
                    for k in 1..=steps {
                        n += self.add(&mut table, true, vec![patch(k)], every)?;
                    }
                }
                n
            }
            Method::EapIgActivationsMended => {
                for (patch, sources) in self.source_groups() {
                    for k in 1..=steps {
                        self.add(&mut table, true, vec![patch(k)], sources)?;
                    }
                }
                steps
            }
            Method::Exact => unreachable!("exact patching takes no gradients"),
        };
        Ok(self.to_host(table, n))
    }

    /// Every group of sources that is put between its corrupted and its clean output: how at step `k`, and which sources it has.
    fn source_groups(&self) -> Vec<(impl Fn(usize) -> Patch + '_, (usize, usize))> {
        let spec = self.batch.model.spec();
        let width = spec.n_head + 1;
        let of_layer = |l: usize| {
            let first = 1 + l * width;
            [
                (HookPoint::AttnOut(l), (first, first + spec.n_head)),
                (HookPoint::MlpOut(l), (first + spec.n_head, first + width)),
            ]
        };
        let hooks = [(HookPoint::Embed, (0, 1))]
            .into_iter()
            .chain((0..spec.n_layer).flat_map(of_layer));
        hooks
            .map(|(hook, sources)| {
                let of = |light: &Light| match hook {
                    HookPoint::Embed => light.embed.clone(),
                    _ => light.streams[&hook].clone(),
                };
                let (clean, corrupted, steps) = (of(&self.clean), of(&self.corrupted), self.options.steps);
                (move |k| between(hook, &clean, &corrupted, k, steps), sources)
            })
            .collect()
    }

    /// Adds the scores of one backward pass for the edges out of `sources` (from, to) to the table; returns that it was one.
    fn add(
        &self,
        table: &mut Table,
        clean: bool,
        patches: Vec<Patch>,
        sources: (usize, usize),
    ) -> Result<usize, Error> {
        let tokens = if clean {
            &self.batch.clean
        } else {
            &self.batch.corrupted
        };
        let mut places = table.iter_mut();
        gradients::each_group(
            self.batch,
            self.graph,
            tokens,
            patches,
            &self.metric,
            |group, gradient| {
                let Some(sum) = places.next() else { return };
                let seen = self.graph.sources_of_group(group);
                let (from, to) = (sources.0.min(seen), sources.1.min(seen));
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
            },
        )?;
        Ok(1)
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

/// The hooks whose values EAP-IG on activations puts in place, besides the embedding.
fn activation_hooks(spec: &Spec) -> Vec<HookPoint> {
    let of_layer = |l| [HookPoint::AttnOut(l), HookPoint::MlpOut(l)];
    (0..spec.n_layer).flat_map(of_layer).collect()
}

/// A hook that becomes the point `k / steps` of the line from the corrupted to the clean values, `[B, T, D]`.
fn between(hook: HookPoint, clean: &Tensor<3>, corrupted: &Tensor<3>, k: usize, steps: usize) -> Patch {
    let value = if k == steps {
        clean.clone()
    } else {
        let share = k as f32 / steps as f32;
        clean.clone() * share + corrupted.clone() * (1.0 - share)
    };
    Patch::map(hook, move |x| {
        if x.is_autodiff() {
            value.clone().autodiff()
        } else {
            value.clone()
        }
    })
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 6] = [
        Self::Eap,
        Self::EapIgInputs,
        Self::EapIgActivations,
        Self::EapIgActivationsMended,
        Self::CleanCorrupted,
        Self::Exact,
    ];
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eap => "eap",
            Self::EapIgInputs => "eap-ig-inputs",
            Self::EapIgActivations => "eap-ig-activations",
            Self::EapIgActivationsMended => "eap-ig-activations-mended",
            Self::CleanCorrupted => "clean-corrupted",
            Self::Exact => "exact",
        })
    }
}

impl FromStr for Method {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|method| method.to_string() == name);
        found.ok_or_else(|| Error::UnknownName {
            what: "method",
            found: name.to_owned(),
            known: format!("use one of {}", Self::ALL.map(|method| method.to_string()).join(", ")),
        })
    }
}
