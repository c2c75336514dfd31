//! The evaluation: every dictionary set at every site, on all three axes.
//!
//! Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)), sections 4.1 to 4.3. Base prompts run
//! once; each intervention restarts at the first overwritten block. Beside the dictionaries stand three baselines:
//! `none` (no edit), `mean-ablation` (sufficiency of the mean activation), `always-on` (F1 of a constant latent).
//!
//! Four disjoint samples of prompts: dictionaries are fitted on training prompts; latents are chosen on the
//! even prompts of the interpretability sample and rated on the odd ones; everything that runs the model is reported on the
//! evaluation sample, on which nothing is chosen; sites were found on a fourth. Prompts that differ can give the same vector at a
//! site, so at each site those are left out whose vector was trained on, and of the interpretability sample those that occur
//! twice ([`crate::measure::held_out`]); the report says how many.
//!
//! Shape legend: `N` prompts, `D` width of a node, `F` latents.

use crate::Error;
use crate::bootstrap::Bootstrap;
use crate::columns::{resamples_parquet, scores_parquet};
use crate::config::{EvalConfig, EvalFile};
use crate::derive::derive;
use crate::dictionary_set::DictionarySet;
use crate::ledger::{Entry, Ledger, Selection};
use crate::measure::held_out::{HeldOut, Samples};
use crate::measure::{Evaluation, Steps, baseline_steps, record, unit_steps};
use crate::metric::{EditMethod, Metric};
use crate::parts::Parts;
use crate::report::{
    ALWAYS_ON, Columns, DictionaryFacts, FORMAT_VERSION, MEAN_ABLATION, ModelFacts, NONE, REPORT, RESAMPLES, Report,
    SCORES,
};
use activations::Node;
use causal::cost::Cost;
use causal::interventions::{CleanRun, Runner, Want};
use causal::site::Sites;
use causal::{cost, counterfactuals, describe};
use dictionaries::{Directions, Rows};
use lm::Model;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;
use tasks::{Prompt, Sample, Task};

/// Most resamples of checks, which count all latents anew in each.
const SAMPLE_RESAMPLES: usize = 500;

/// Who is told how an evaluation goes.
pub trait Observer {
    /// What it will cost; called once, before the first intervention.
    fn cost(&mut self, _cost: &Cost) {}

    /// `done` of `total` interventions, each a pass over all prompts.
    fn step(&mut self, done: usize, total: usize);
}

impl<F: FnMut(usize, usize)> Observer for F {
    fn step(&mut self, done: usize, total: usize) {
        self(done, total);
    }
}

/// What was done before an evaluation.
#[derive(Debug, Default)]
pub struct Earlier<'a> {
    /// The vectors that dictionaries were fitted to or trained on, `[N, D]` at each node, in one order of prompts; of nodes that
    /// are missing nothing is left out.
    pub trained: BTreeMap<Node, Rows>,
    /// What an evaluation that broke off has measured.
    pub parts: Option<&'a Parts>,
}

/// What an evaluation found.
/// What an evaluation found.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    /// The report.
    pub report: Report,
    /// Its scores with their resamples.
    pub entries: Vec<Entry>,
    /// `scores.parquet` and `resamples.parquet`, whose hashes the report holds.
    columns: [Vec<u8>; 2],
}

impl Evaluated {
    /// Writes `resamples.parquet`, `scores.parquet`, `run.json` and `report.json` into `dir`. `circumstances` is what `run.json`
    /// holds, beside the hash of the report.
    ///
    /// The files of an earlier evaluation are replaced only when all of these are whole on the disk. A program that is killed
    /// between the renames that follow leaves files that are not the report's, which [`Report::check_columns`] finds.
    ///
    /// # Errors
    /// [`Error::File`] when a file cannot be written, [`Error::Json`].
    pub fn write(&self, dir: &Path, mut circumstances: serde_json::Value) -> Result<(), Error> {
        let report = self.report.to_json()?.into_bytes();
        circumstances["report_sha256"] = artifacts::sha256_hex(&report).into();
        let run = serde_json::to_string_pretty(&circumstances)? + "\n";
        let [scores, resamples] = &self.columns;
        artifacts::write_together(&[
            (dir.join(RESAMPLES), resamples),
            (dir.join(SCORES), scores),
            (dir.join("run.json"), run.as_bytes()),
            (dir.join(REPORT), &report),
        ])?;
        Ok(())
    }
}

/// Scores dictionary sets at the sites of the runner's model that they have dictionaries for; what an earlier run has measured is not measured again.
///
/// # Errors
/// [`causal::Error::ModelMismatch`], [`causal::Error::TaskMismatch`], [`causal::Error::Site`] or [`causal::Error::Node`] when the sites do not fit the model;
/// [`Error::NoSite`] and [`Error::Width`] when a set does not fit the sites; [`Error::DuplicateSet`] and
/// [`Error::UnknownSet`] for names; [`causal::Error::NoBehaviour`] when the model does not do the task; [`Error::NotFinite`] for a
/// dictionary whose numbers, codes or reconstructions are not finite; [`Error::Model`].
pub fn evaluate(
    runner: &Runner<'_>,
    task: &dyn Task,
    sites: &Sites,
    dictionaries: &[DictionarySet],
    config: &EvalConfig,
    earlier: &Earlier<'_>,
    observer: &mut dyn Observer,
) -> Result<Evaluated, Error> {
    let model = runner.model();
    sites.check(task.schema(), model)?;
    check_sets(model, sites, dictionaries, config)?;
    let nodes = sites.nodes();
    // What transcoders read is recorded, not overwritten.
    let inputs: BTreeSet<Node> = dictionaries
        .iter()
        .flat_map(|set| set.reads.values().copied())
        .collect();
    let read: BTreeSet<Node> = &nodes | &inputs;

    let prompts = task.sample(Sample::Evaluation, config.prompts, config.seed);
    let clean = runner.clean_with(&prompts, &nodes, &inputs)?;
    let facts = describe(&clean);
    if facts.logit_diff.is_nan() || facts.logit_diff < config.min_denominator {
        let (logit_diff, n, floor) = (facts.logit_diff, facts.n, config.min_denominator);
        return Err(causal::Error::NoBehaviour { logit_diff, n, floor }.into());
    }
    let expected = expected(runner, task, &clean, sites, dictionaries, config)?;
    observer.cost(&expected);
    let sample = task.sample(Sample::Interpretability, config.interpretability_prompts, config.seed);
    let mut changed = BTreeMap::new();
    for &attribute in task.attributes() {
        changed.insert(attribute, counterfactuals(task, &prompts, attribute, config.seed)?);
    }
    let all = [&prompts, &sample].into_iter().chain(changed.values());
    let prompts_hash = hash(all)?;
    let mut targets = BTreeMap::new();
    for (attribute, changed) in changed {
        targets.insert(attribute, record(runner, &changed, &read)?);
    }
    let sample = record(runner, &sample, &read)?;

    let all = Samples { clean, targets, sample };
    let mut ledger = Ledger::default();
    let (mut done, mut unseen) = (0, Vec::new());
    let total = expected.interventions;
    for site in &sites.sites {
        let (held, found) = HeldOut::new(&all, site, &earlier.trained);
        unseen.push(found.clone());
        let here = held.as_ref().map(|held| (held.prompts(&prompts), held));
        let own = match &here {
            None => None,
            Some((prompts, held)) => Some(held.samples(&all, runner.clean_with(prompts, &nodes, &inputs)?)),
        };
        let samples = own.as_ref().unwrap_or(&all);
        let (n, n_sample) = (samples.clean.prompts.len(), samples.sample.labels.len());
        let bootstrap = |n, resamples, stream| Bootstrap::new(n, resamples, config.seed, stream);
        let mut evaluation = Evaluation {
            runner,
            task,
            config,
            model: model.hash(),
            prompts: artifacts::sha256_hex(format!("{prompts_hash} {}", found.kept).as_bytes()),
            labels: samples
                .clean
                .prompts
                .iter()
                .map(|prompt| prompt.labels.clone())
                .collect(),
            bootstrap: bootstrap(n, config.resamples, "evaluation"),
            bootstrap_f1: bootstrap(n_sample / 2, config.resamples, "interpretability"),
            bootstrap_sample: bootstrap(n_sample, config.resamples.min(SAMPLE_RESAMPLES), "sample"),
            samples,
            families: task.families(),
            parts: earlier.parts,
            ledger,
            steps: Steps {
                done,
                total,
                progress: &mut |done, total| observer.step(done, total),
            },
        };
        evaluation.site(site, dictionaries)?;
        done = evaluation.steps.done;
        ledger = evaluation.ledger;
    }
    let known: Vec<DictionaryFacts> = dictionaries.iter().map(DictionaryFacts::from).collect();
    derive(&mut ledger, &sites.sites, &known, config);
    let pairs: Vec<_> = config
        .compare
        .iter()
        .flat_map(|pair| compared(config).into_iter().map(move |selection| (pair, selection)))
        .collect();
    let comparisons = ledger.compare(&known, &pairs);
    let means = ledger.means(&known, &compared(config));
    let size = model.spec();
    let entries = ledger.into_entries();
    let columns = [scores_parquet(&entries)?, resamples_parquet(&entries)?];
    let [scores, resamples] = columns.each_ref().map(|bytes| artifacts::sha256_hex(bytes));
    let report = Report {
        format_version: FORMAT_VERSION,
        task: task.name(),
        config: config.clone(),
        model: ModelFacts {
            hash: model.hash().to_owned(),
            n_layer: size.n_layer,
            n_head: size.n_head,
            d_model: size.d_model,
            d_vocab: size.d_vocab,
        },
        prompts: prompts_hash,
        sites: sites.sites.clone(),
        unseen,
        clean: facts,
        dictionaries: known,
        columns: Columns { scores, resamples },
        scores: entries.iter().map(|entry| entry.score.clone()).collect(),
        comparisons,
        means,
    };
    Ok(Evaluated {
        report,
        entries,
        columns,
    })
}

/// The numbers by which dictionaries are compared: of approximation, of control at every number of latents, and of
/// interpretability.
pub fn compared(config: &EvalConfig) -> Vec<Selection> {
    let method = config.edits.first().copied().unwrap_or(EditMethod::Supervised);
    let of = |metric, k| Selection {
        metric,
        method: Some(method),
        k,
    };
    let mut all = vec![of(Metric::SufficiencyGap, None)];
    let ks = config.ks.iter().filter(|&&k| method.exchanges(k));
    all.extend(ks.map(|&k| of(Metric::EditAccuracy, Some(k))));
    if config.edits.contains(&EditMethod::Greedy) {
        let method = Some(EditMethod::Greedy);
        all.push(Selection {
            method,
            ..of(Metric::EditHalf, None)
        });
    }
    all.extend([Metric::EditArea, Metric::F1, Metric::Mcc].map(|metric| of(metric, None)));
    all
}

/// What the evaluation costs; one intervention at each site, which changes nothing, is timed for it.
fn expected(
    runner: &Runner<'_>,
    task: &dyn Task,
    clean: &CleanRun<'_>,
    sites: &Sites,
    sets: &[DictionarySet],
    config: &EvalConfig,
) -> Result<Cost, Error> {
    let (size, prompts) = (runner.model().spec(), clean.prompts);
    let n = prompts.len();
    let tokens = prompts.first().map_or(0, |prompt| prompt.ids.len());
    let mut cost = Cost::default();
    let mut layers = BTreeSet::new();
    for site in &sites.sites {
        let here = sets.iter().filter(|set| set.covers(site));
        let steps = baseline_steps(site, task) + here.map(|set| unit_steps(site, set, config)).sum::<usize>();
        let layer = cost::first_layer(site);
        cost.interventions += steps;
        cost.flop += (steps * n) as f64 * cost::flop(size, layer, tokens, cost::positions(site, prompts));
        layers.insert(layer);
        let same = site.nodes.iter().map(|node| (*node, clean.nodes[node].clone()));
        let start = Instant::now();
        runner.intervene(clean, &same.collect(), Want::Prediction)?;
        cost.seconds += steps as f64 * start.elapsed().as_secs_f64();
    }
    cost.passes = cost.interventions * n;
    let kept = layers.first().map_or(0, |first| size.n_layer.saturating_sub(*first));
    cost.bytes = ((layers.len() + 2 * kept) * n * tokens * size.d_model * 4) as f64;
    Ok(cost)
}

/// Hash of the tokens of all prompts of several samples.
fn hash<'p>(samples: impl Iterator<Item = &'p Vec<Prompt>>) -> Result<String, Error> {
    let ids = |prompts: &'p Vec<Prompt>| prompts.iter().map(|prompt| prompt.ids.as_slice()).collect::<Vec<_>>();
    Ok(artifacts::sha256_hex(&serde_json::to_vec(
        &samples.map(ids).collect::<Vec<_>>(),
    )?))
}

/// Checks names, nodes and widths of the sets before anything runs.
fn check_sets(model: &Model, sites: &Sites, sets: &[DictionarySet], config: &EvalConfig) -> Result<(), Error> {
    let mut names = BTreeSet::from([NONE, MEAN_ABLATION, ALWAYS_ON]);
    for set in sets {
        if !names.insert(&set.name) {
            return Err(Error::DuplicateSet(set.name.clone()));
        }
        for (node, dictionary) in &set.by_node {
            let directions = Directions::of(dictionary.as_ref());
            let numbers = directions.rows.values().iter().chain(&directions.offset);
            if !numbers.into_iter().all(|x| x.is_finite()) {
                return Err(Error::NotFinite {
                    set: set.name.clone(),
                    node: *node,
                });
            }
        }
        for (node, dictionary) in &set.by_node {
            let input = set.reads(*node);
            input.validate(model.spec())?;
            if input.role != node.role {
                let reason = format!("a transcoder of it reads {input}, which is another position");
                return Err(causal::Error::Node { node: *node, reason }.into());
            }
            for (node, found) in [(input, dictionary.d_in()), (*node, dictionary.d_out())] {
                let expected = node.width(model.spec());
                if expected != found {
                    return Err(Error::Width {
                        set: set.name.clone(),
                        node,
                        expected,
                        found,
                    });
                }
            }
        }
        if !sites.sites.iter().any(|site| set.covers(site)) {
            return Err(Error::NoSite { set: set.name.clone() });
        }
    }
    for pair in &config.split_alike {
        let [left, right] = [&pair.left, &pair.right].map(|family| {
            let of = |set: &&DictionarySet| set.family == *family && set.seeded;
            sets.iter().filter(of).collect::<Vec<_>>()
        });
        let has = |sets: &[&DictionarySet], site| sets.iter().any(|set| set.covers(site));
        if !sites.sites.iter().any(|site| has(&left, site) && has(&right, site)) {
            let reason = format!(
                "pairs {} and {}, which are not two families of trained dictionaries with a site in common",
                pair.left, pair.right
            );
            return Err(Error::Config {
                field: "split_alike",
                reason,
            });
        }
    }
    // The default's family need not be there; then nothing is rated by it.
    let reference = Some(&config.reference).filter(|name| **name != EvalFile::default().reference);
    let compared = config.compare.iter().flat_map(|pair| [&pair.left, &pair.right]);
    for name in compared.chain(reference) {
        if !sets.iter().any(|set| set.family == *name) {
            let known: BTreeSet<&str> = sets.iter().map(|set| set.family.as_str()).collect();
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
            return Err(Error::UnknownSet {
                found: name.clone(),
                known,
            });
        }
    }
    Ok(())
}
