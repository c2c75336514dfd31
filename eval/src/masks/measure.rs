//! Masks of every dictionary set at every site, learned on some prompts and scored on others.
//!
//! Shape legend: `N` prompts, `M` pairs, `D` width of all nodes of the site together.

use super::report::{DAS, EVERYTHING, FORMAT_VERSION, NOTHING};
use super::{Exchange, Kind, LatentMask, LatentPairs, Masks, MasksConfig, Pairs, Rotation, learn};
use crate::Error;
use crate::bootstrap::Bootstrap;
use crate::control::{Swap, apply, differing, greedy};
use crate::dictionary_set::DictionarySet;
use crate::ledger::{Key, Ledger, Selection};
use crate::metric::Metric;
use crate::report::DictionaryFacts;
use activations::Node;
use causal::interventions::{CleanRun, Outcome, Runner, Want, mean};
use causal::site::{Site, Sites};
use causal::{counterfactuals, describe};
use dictionaries::{Codes, Directions, Rows, encode};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use tasks::{Attribute, Labels, Prompt, Sample, Task};

/// Latents of the greedy search that the time of learning is held against.
const GREEDY_K: usize = 8;

/// How long masks took, which is told and not reported.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Told {
    /// Seconds of learning all masks of dictionaries.
    pub learning: f64,
    /// Seconds of greedy edits with eight latents of the same dictionaries on the prompts that masks are scored on.
    pub greedy: f64,
}

/// Activations of one sample, and of its counterfactuals.
struct Recorded {
    prompts: Vec<Prompt>,
    labels: Vec<Labels>,
    /// At each node that is overwritten or read, `[N, D]`.
    nodes: BTreeMap<Node, Rows>,
    /// By changed attribute: labels and activations of the counterfactuals.
    changed: BTreeMap<Attribute, (Vec<Labels>, BTreeMap<Node, Rows>)>,
}

impl Recorded {
    fn new(
        runner: &Runner<'_>,
        task: &dyn Task,
        (sample, n, seed): (Sample, usize, u64),
        nodes: &BTreeSet<Node>,
    ) -> Result<Self, Error> {
        let prompts = task.sample(sample, n, seed);
        let labels = |prompts: &[Prompt]| prompts.iter().map(|prompt| prompt.labels.clone()).collect::<Vec<_>>();
        let mut changed = BTreeMap::new();
        for &attribute in task.attributes() {
            let others = counterfactuals(task, &prompts, attribute, seed)?;
            changed.insert(attribute, (labels(&others), runner.record(&others, nodes)?));
        }
        Ok(Self {
            labels: labels(&prompts),
            nodes: runner.record(&prompts, nodes)?,
            changed,
            prompts,
        })
    }
}

/// Which prompt a pair is of, and which attribute its source changes.
type Origin = (usize, Attribute);

/// The pairs of one attribute at one site, with a clean run of their bases.
struct Prepared {
    origins: Vec<Origin>,
    /// The base prompt of each pair.
    prompts: Vec<Prompt>,
    pairs: Pairs,
}

impl Prepared {
    /// Pairs of a sample; what the model should answer comes from a run with each ground truth patched in.
    fn new(
        runner: &Runner<'_>,
        recorded: &Recorded,
        site: &Site,
        attribute: Attribute,
        origins: Vec<Origin>,
    ) -> Result<Self, Error> {
        let nodes: BTreeSet<Node> = site.nodes.iter().copied().collect();
        let clean = runner.clean(&recorded.prompts, &nodes)?;
        let (_, changed) = &recorded.changed[&attribute];
        let patch = site.nodes.iter().map(|node| (*node, changed[node].clone())).collect();
        let patched = runner.intervene(&clean, &patch, Want::Prediction)?;
        let side = |of: &dyn Fn(Node, Origin) -> Vec<f32>| {
            let row = |origin: &Origin| {
                site.nodes
                    .iter()
                    .flat_map(|node| of(*node, *origin))
                    .collect::<Vec<f32>>()
            };
            let width = site.nodes.iter().map(|node| recorded.nodes[node].width()).sum();
            Rows::new(width, origins.iter().flat_map(row).collect())
        };
        let kind = |other: Attribute| {
            if other == attribute {
                Kind::Cause
            } else {
                Kind::Isolation(other)
            }
        };
        let token = |&(prompt, other): &Origin| match kind(other) {
            Kind::Cause => patched.prediction[prompt],
            Kind::Isolation(_) => clean.outcome.prediction[prompt],
        };
        let pairs = Pairs {
            base: side(&|node, (prompt, _)| recorded.nodes[&node].row(prompt).to_vec()),
            source: side(&|node, (prompt, other)| recorded.changed[&other].1[&node].row(prompt).to_vec()),
            tokens: origins.iter().map(token).collect(),
            kinds: origins.iter().map(|(_, other)| kind(*other)).collect(),
        };
        Ok(Self {
            prompts: origins
                .iter()
                .map(|(prompt, _)| recorded.prompts[*prompt].clone())
                .collect(),
            origins,
            pairs,
        })
    }

    /// What each pair exchanges in a dictionary set, with the latents of later nodes numbered on.
    fn swaps(&self, set: &DictionarySet, site: &Site, recorded: &Recorded) -> Vec<Vec<Swap>> {
        let mut swaps = vec![Vec::new(); self.origins.len()];
        let mut first = 0;
        for node in &site.nodes {
            let (dictionary, input) = (set.by_node[node].as_ref(), set.reads(*node));
            let codes = |rows: &Rows, labels: &[Labels]| -> Codes {
                let codes = encode(dictionary, rows, labels);
                if dictionary.is_signed_basis() {
                    codes.coordinates()
                } else {
                    codes
                }
            };
            let base = codes(&recorded.nodes[&input], &recorded.labels);
            let sources: BTreeMap<Attribute, Codes> = recorded
                .changed
                .iter()
                .map(|(attribute, (labels, nodes))| (*attribute, codes(&nodes[&input], labels)))
                .collect();
            for (swaps, &(prompt, other)) in swaps.iter_mut().zip(&self.origins) {
                let differ = differing(&base.rows[prompt], &sources[&other].rows[prompt]);
                swaps.extend(differ.into_iter().map(|swap| Swap {
                    latent: swap.latent + first,
                    ..swap
                }));
            }
            first += dictionary.n_latents() as u32;
        }
        swaps
    }
}

/// Learns and scores masks at all sites.
///
/// # Errors
/// Those of [`crate::evaluate()`] for sites that do not fit; [`Error::Model`].
pub fn measure(
    runner: &Runner<'_>,
    task: &dyn Task,
    sites: &Sites,
    sets: &[DictionarySet],
    config: &MasksConfig,
    on_site: &mut dyn FnMut(&Site, Told),
) -> Result<Masks, Error> {
    let model = runner.model();
    sites.check(task.schema(), model)?;
    let mut names = BTreeSet::from([NOTHING, EVERYTHING, DAS]);
    if let Some(set) = sets.iter().find(|set| !names.insert(&set.name)) {
        return Err(Error::DuplicateSet(set.name.clone()));
    }
    let read: BTreeSet<Node> = sites
        .nodes()
        .into_iter()
        .chain(sets.iter().flat_map(|set| set.reads.values().copied()))
        .collect();
    let learned = Recorded::new(
        runner,
        task,
        (Sample::Interpretability, config.learned_on, config.seed),
        &read,
    )?;
    let scored = Recorded::new(runner, task, (Sample::Evaluation, config.prompts, config.seed), &read)?;
    let clean = describe(&runner.clean(&scored.prompts, &sites.nodes())?);
    let mut ledger = Ledger::default();
    for site in &sites.sites {
        let mut told = Told::default();
        for &attribute in &site.attributes {
            let of = OfAttribute {
                runner,
                task,
                config,
                site,
                attribute,
                learned: &learned,
                scored: &scored,
            };
            of.measure(sets, &mut ledger, &mut told)?;
        }
        on_site(site, told);
    }
    let dictionaries: Vec<DictionaryFacts> = sets
        .iter()
        .map(DictionaryFacts::from)
        .chain((0..config.das_seeds).map(das_facts))
        .collect();
    let selection = |metric| Selection {
        metric,
        method: None,
        k: None,
    };
    let pairs: Vec<_> = config
        .compare
        .iter()
        .map(|pair| (pair, selection(Metric::MaskScore)))
        .collect();
    let selections = [Metric::MaskSuccess, Metric::MaskIsolation, Metric::MaskScore].map(selection);
    let known: BTreeSet<&str> = dictionaries.iter().map(|facts| facts.family.as_str()).collect();
    for name in config.compare.iter().flat_map(|pair| [&pair.left, &pair.right]) {
        if !known.contains(name.as_str()) {
            return Err(Error::UnknownSet {
                found: name.clone(),
                known: known.into_iter().collect::<Vec<_>>().join(", "),
            });
        }
    }
    Ok(Masks {
        format_version: FORMAT_VERSION,
        task: task.name(),
        config: config.clone(),
        model: model.hash().to_owned(),
        sites: sites.sites.clone(),
        clean,
        comparisons: ledger.compare(&dictionaries, &pairs),
        means: ledger.means(&dictionaries, &selections),
        dictionaries,
        scores: ledger.into_entries().into_iter().map(|entry| entry.score).collect(),
    })
}

fn das_name(seed: usize) -> String {
    format!("{DAS}-seed{seed}")
}

fn das_facts(seed: usize) -> DictionaryFacts {
    let name = das_name(seed);
    DictionaryFacts {
        identity: artifacts::sha256_hex(name.as_bytes()),
        name,
        family: DAS.to_owned(),
        folders: BTreeMap::new(),
        reads: BTreeMap::new(),
        seeded: true,
    }
}

/// One attribute at one site.
struct OfAttribute<'a> {
    runner: &'a Runner<'a>,
    task: &'a dyn Task,
    config: &'a MasksConfig,
    site: &'a Site,
    attribute: Attribute,
    learned: &'a Recorded,
    scored: &'a Recorded,
}

/// What a dictionary set makes of the pairs.
struct OfSet {
    name: String,
    /// The directions of each node, and its first column.
    directions: Vec<(Directions, usize)>,
    /// What each pair exchanges.
    learned: Vec<Vec<Swap>>,
    scored: Vec<Vec<Swap>>,
}

/// A mask as it was learned: the exchanged activations of the scored pairs, `[M, D]`, and how many latents.
type Found = (String, Rows, usize);

impl OfAttribute<'_> {
    fn measure(&self, sets: &[DictionarySet], ledger: &mut Ledger, told: &mut Told) -> Result<(), Error> {
        let nodes: BTreeSet<Node> = self.site.nodes.iter().copied().collect();
        let others: Vec<Attribute> = self
            .task
            .attributes()
            .iter()
            .copied()
            .filter(|other| *other != self.attribute)
            .collect();
        // Half of the pairs of each batch are of either kind; the other attributes take turns.
        let mut origins: Vec<Origin> = Vec::new();
        for prompt in 0..self.learned.prompts.len() {
            origins.push((prompt, self.attribute));
            origins.extend(others.get(prompt % others.len().max(1)).map(|&other| (prompt, other)));
        }
        let learned = Prepared::new(self.runner, self.learned, self.site, self.attribute, origins)?;
        let everyone = 0..self.scored.prompts.len();
        let origins = std::iter::once(self.attribute)
            .chain(others)
            .flat_map(|other| everyone.clone().map(move |i| (i, other)));
        let scored = Prepared::new(self.runner, self.scored, self.site, self.attribute, origins.collect())?;
        let batched = Runner::new(self.runner.model(), self.config.batch);
        let on_learned = batched.clean(&learned.prompts, &nodes)?;
        let here: Vec<&DictionarySet> = sets.iter().filter(|set| set.covers(self.site)).collect();

        // Dictionaries encode in turn; what is learned of their codes is learned side by side.
        let prepared: Vec<OfSet> = here.iter().map(|set| self.prepare(set, &learned, &scored)).collect();
        let start = Instant::now();
        let of_set = |of: &OfSet| self.of_set(of, (&learned, &on_learned), &scored);
        let mut found: Vec<Found> = prepared.par_iter().map(of_set).collect::<Result<_, Error>>()?;
        told.learning += start.elapsed().as_secs_f64();
        let seeds = 0..self.config.das_seeds;
        let das = seeds
            .into_par_iter()
            .map(|seed| self.das(seed, (&learned, &on_learned), &scored));
        found.extend(das.collect::<Result<Vec<_>, Error>>()?);
        found.push((NOTHING.to_owned(), scored.pairs.base.clone(), 0));
        found.push((
            EVERYTHING.to_owned(),
            scored.pairs.source.clone(),
            scored.pairs.base.width(),
        ));

        let on_scored = self.runner.clean(&scored.prompts, &nodes)?;
        let n = self.scored.prompts.len();
        let bootstrap = Bootstrap::new(n, self.config.resamples, self.config.seed, "masks");
        for (name, edited, latents) in found {
            let outcome =
                self.runner
                    .intervene(&on_scored, &split(self.site, &edited, &on_scored), Want::Prediction)?;
            self.enter(ledger, &bootstrap, &scored.pairs, (&name, latents), &outcome);
        }

        let start = Instant::now();
        let clean = self.runner.clean(&self.scored.prompts, &nodes)?;
        for set in here {
            self.greedy(set, &clean)?;
        }
        told.greedy += start.elapsed().as_secs_f64();
        Ok(())
    }

    /// What a dictionary set exchanges in the pairs of both samples.
    fn prepare(&self, set: &DictionarySet, learned: &Prepared, scored: &Prepared) -> OfSet {
        let mut directions = Vec::new();
        let mut column = 0;
        for node in &self.site.nodes {
            let of_node = Directions::of(set.by_node[node].as_ref());
            let width = of_node.rows.width();
            directions.push((of_node, column));
            column += width;
        }
        OfSet {
            name: set.name.clone(),
            directions,
            learned: learned.swaps(set, self.site, self.learned),
            scored: scored.swaps(set, self.site, self.scored),
        }
    }

    /// Learns the mask of one dictionary set.
    fn of_set(
        &self,
        of: &OfSet,
        (learned, clean): (&Prepared, &CleanRun<'_>),
        scored: &Prepared,
    ) -> Result<Found, Error> {
        let mut mask = LatentMask::new(LatentPairs {
            base: &learned.pairs.base,
            swaps: of.learned.clone(),
            directions: &of.directions,
        });
        self.learn(&mut mask, learned, clean)?;
        let latents = mask.latents();
        let edited = LatentPairs {
            base: &scored.pairs.base,
            swaps: of.scored.clone(),
            directions: &of.directions,
        }
        .with(&latents);
        Ok((of.name.clone(), edited, latents.len()))
    }

    /// Learns directions and their mask.
    fn das(
        &self,
        seed: usize,
        (learned, clean): (&Prepared, &CleanRun<'_>),
        scored: &Prepared,
    ) -> Result<Found, Error> {
        let stream = format!("{seed}/{}/{}", self.site.name, self.attribute);
        let mut rotation = Rotation::new(&learned.pairs, self.config.das_dims, self.config.seed, &stream);
        self.learn(&mut rotation, learned, clean)?;
        Ok((das_name(seed), rotation.with(&scored.pairs), rotation.n_on()))
    }

    fn learn(&self, exchange: &mut dyn Exchange, learned: &Prepared, clean: &CleanRun<'_>) -> Result<(), Error> {
        let batches = self.runner.batches(clean);
        let places: Vec<Vec<usize>> = batches.iter().map(|batch| batch.rows.clone()).collect();
        learn(exchange, &places, &self.config.learning(), &mut |number, edited| {
            let batch = &batches[number];
            let tokens: Vec<u32> = batch.rows.iter().map(|&row| learned.pairs.tokens[row]).collect();
            let overwrites = split(self.site, edited, clean);
            let found = self
                .runner
                .loss_gradients(clean, (number, batch), &overwrites, &tokens)?;
            let parts: Vec<&Rows> = self.site.nodes.iter().map(|node| &found.gradients[node]).collect();
            Ok(Rows::beside(&parts)) // [B, D]
        })
    }

    fn enter(
        &self,
        ledger: &mut Ledger,
        bootstrap: &Bootstrap,
        pairs: &Pairs,
        (name, latents): (&str, usize),
        outcome: &Outcome,
    ) {
        let key = |metric| Key::new(name, &self.site.name, metric).of(self.attribute);
        let success = pairs.right(Kind::Cause, &outcome.prediction); // [N]
        let n = success.len();
        let mut isolation = vec![0.0_f32; n];
        let mut raw = Vec::new();
        let others = pairs.others();
        for &other in &others {
            let stays = pairs.right(other, &outcome.prediction); // [N]
            if let Kind::Isolation(attribute) = other {
                raw.push((format!("stays_{attribute}"), mean(&stays)));
            }
            isolation
                .iter_mut()
                .zip(stays)
                .for_each(|(sum, stays)| *sum += stays / others.len() as f32);
        }
        let raw: Vec<(&str, f64)> = raw.iter().map(|(name, share)| (name.as_str(), *share)).collect();
        let mut enter = |metric, by_prompt: &[f32]| {
            ledger.enter(&key(metric), Some(mean(by_prompt)), bootstrap.means(by_prompt), n, &raw);
        };
        enter(Metric::MaskSuccess, &success);
        // A task of one attribute has nothing to leave alone.
        if !others.is_empty() {
            let score: Vec<f32> = success.iter().zip(&isolation).map(|(a, b)| (a + b) / 2.0).collect();
            enter(Metric::MaskIsolation, &isolation);
            enter(Metric::MaskScore, &score);
        }
        ledger.enter(&key(Metric::MaskLatents), Some(latents as f64), Vec::new(), n, &[]);
    }

    /// What the masks' time is held against: greedy edits of the scored prompts and their run.
    fn greedy(&self, set: &DictionarySet, clean: &CleanRun<'_>) -> Result<(), Error> {
        let (labels, changed) = &self.scored.changed[&self.attribute];
        let mut edited = BTreeMap::new();
        for node in &self.site.nodes {
            let (dictionary, input) = (set.by_node[node].as_ref(), set.reads(*node));
            let directions = Directions::of(dictionary);
            let source = encode(dictionary, &self.scored.nodes[&input], &self.scored.labels);
            let target = encode(dictionary, &changed[&input], labels);
            let swaps = greedy(
                (&clean.nodes[node], &source),
                (&changed[node], &target),
                &directions,
                GREEDY_K,
            );
            edited.insert(*node, apply(&clean.nodes[node], &swaps, &directions));
        }
        self.runner.intervene(clean, &edited, Want::Prediction)?;
        Ok(())
    }
}

/// The columns of each node of a site, `[M, D]` -> one matrix a node.
fn split(site: &Site, rows: &Rows, clean: &CleanRun<'_>) -> BTreeMap<Node, Rows> {
    let mut column = 0;
    let of_node = |node: &Node| {
        let width = clean.nodes[node].width();
        let range = column..column + width;
        column += width;
        let values = (0..rows.len()).flat_map(|row| rows.row(row)[range.clone()].iter().copied());
        (*node, Rows::new(width, values.collect()))
    };
    site.nodes.iter().map(of_node).collect()
}
