//! The evaluation: every dictionary set at every site, on all three axes.
//!
//! Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)), sections 4.1 to 4.3. Base prompts run
//! once; each intervention restarts at the first overwritten block. Beside the dictionaries stand three baselines:
//! `none` (no edit), `mean-ablation` (sufficiency of the mean activation), `always-on` (F1 of a constant latent).
//!
//! Shape legend: `N` prompts, `D` width of a node, `F` latents.

use crate::Error;
use crate::bootstrap::Bootstrap;
use crate::config::EvalConfig;
use crate::dictionaries::DictionarySet;
use crate::interventions::{CleanRun, Runner};
use crate::ledger::{Ledger, rounded};
use crate::measure::{Evaluation, Steps, edits_of, record};
use crate::report::{ALWAYS_ON, Clean, FORMAT_VERSION, MEAN_ABLATION, Metric, ModelFacts, NONE, Report};
use crate::site::Sites;
use lm::Gpt2;
use std::collections::{BTreeMap, BTreeSet};
use tasks::{Attribute, IoiTask, Prompt, Sample};

/// Scores dictionary sets at sites.
///
/// `progress(done, total)` is called after every step; a step is one pass of an intervention over all prompts.
///
/// # Errors
/// [`Error::ModelMismatch`], [`Error::Site`] or [`Error::Node`] when the sites do not fit the model;
/// [`Error::MissingNode`] and [`Error::Width`] when a set does not fit the sites; [`Error::DuplicateSet`] and
/// [`Error::UnknownSet`] for names; [`Error::NoBehaviour`] when the model does not do the task; [`Error::Model`].
pub fn evaluate(
    model: &Gpt2,
    task: &IoiTask,
    sites: &Sites,
    dictionaries: &[DictionarySet],
    config: &EvalConfig,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Report, Error> {
    sites.check(model)?;
    check_sets(model, sites, dictionaries, config)?;
    let runner = Runner::new(model, config.batch);
    let nodes = sites.nodes();

    let prompts = task.sample(Sample::Evaluation, config.prompts, config.seed);
    let clean = runner.clean(&prompts, &nodes)?;
    let facts = describe(&clean);
    if facts.logit_diff < config.min_denominator {
        let (logit_diff, n, floor) = (facts.logit_diff, facts.n, config.min_denominator);
        return Err(Error::NoBehaviour { logit_diff, n, floor });
    }
    let mut targets = BTreeMap::new();
    for attribute in sites.attributes() {
        let changed = counterfactuals(task, &prompts, attribute, config.seed)?;
        targets.insert(attribute, record(&runner, &changed, &nodes)?);
    }
    let sample = task.sample(Sample::Interpretability, config.interpretability_prompts, config.seed);
    let sample = record(&runner, &sample, &nodes)?;

    let mut evaluation = Evaluation {
        runner: &runner,
        task,
        config,
        labels: prompts.iter().map(|prompt| prompt.labels).collect(),
        bootstrap: Bootstrap::new(prompts.len(), config.resamples, config.seed, "evaluation"),
        bootstrap_f1: Bootstrap::new(
            sample.labels.len() / 2,
            config.resamples,
            config.seed,
            "interpretability",
        ),
        clean,
        targets,
        sample,
        ledger: Ledger::default(),
        steps: Steps {
            done: 0,
            total: count_steps(sites, dictionaries, config),
            progress,
        },
    };
    for site in &sites.sites {
        evaluation.site(site, dictionaries)?;
    }
    let ledger = evaluation.ledger;
    let metrics = [
        (Metric::Sufficiency, None),
        (Metric::EditAccuracy, Some(config.compare_k)),
        (Metric::F1, None),
    ];
    let pairs = config
        .compare
        .iter()
        .flat_map(|pair| metrics.map(|(metric, k)| (pair, metric, k)));
    let comparisons = pairs
        .map(|(pair, metric, k)| ledger.compare(&pair.left, &pair.right, metric, k))
        .collect();
    let size = model.config();
    Ok(Report {
        format_version: FORMAT_VERSION,
        config: config.clone(),
        model: ModelFacts {
            hash: model.hash().to_owned(),
            n_layer: size.n_layer,
            n_head: size.n_head,
            d_model: size.d_model,
            d_vocab: size.d_vocab,
        },
        sites: sites.sites.clone(),
        clean: facts,
        scores: ledger.into_scores(),
        comparisons,
    })
}

/// The counterfactual prompts that change `attribute`, one for each prompt.
///
/// # Errors
/// [`Error::Counterfactuals`] when they do not pair up with the prompts.
pub(crate) fn counterfactuals(
    task: &IoiTask,
    prompts: &[Prompt],
    attribute: Attribute,
    seed: u64,
) -> Result<Vec<Prompt>, Error> {
    let changed = task.counterfactuals(prompts, attribute, seed);
    if changed.len() != prompts.len() {
        return Err(Error::Counterfactuals {
            attribute,
            expected: prompts.len(),
            found: changed.len(),
        });
    }
    Ok(changed)
}

/// How well the undisturbed model does.
pub(crate) fn describe(clean: &CleanRun<'_>) -> Clean {
    let right = clean
        .prompts
        .iter()
        .zip(&clean.outcome.prediction)
        .filter(|(prompt, token)| prompt.io_token() == **token);
    let n = clean.prompts.len();
    Clean {
        logit_diff: rounded(clean.outcome.mean_logit_diff()),
        accuracy: rounded(right.count() as f64 / n.max(1) as f64),
        n,
    }
}

/// Checks names, nodes and widths of the sets before anything runs.
fn check_sets(model: &Gpt2, sites: &Sites, sets: &[DictionarySet], config: &EvalConfig) -> Result<(), Error> {
    let mut names = BTreeSet::from([NONE, MEAN_ABLATION, ALWAYS_ON]);
    for set in sets {
        if !names.insert(&set.name) {
            return Err(Error::DuplicateSet(set.name.clone()));
        }
        for node in sites.nodes() {
            set.at(&node, model.config())?;
        }
    }
    for name in config.compare.iter().flat_map(|pair| [&pair.left, &pair.right]) {
        if !sets.iter().any(|set| set.name == *name) {
            let known = sets.iter().map(|set| set.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Error::UnknownSet {
                found: name.clone(),
                known,
            });
        }
    }
    Ok(())
}

/// Interventions of the whole evaluation: ablation, two per set, and ground truth and edits for each attribute.
fn count_steps(sites: &Sites, sets: &[DictionarySet], config: &EvalConfig) -> usize {
    let edits: usize = sets.iter().map(|set| edits_of(set, config).len()).sum();
    sites
        .sites
        .iter()
        .map(|site| 1 + 2 * sets.len() + site.attributes.len() * (1 + edits))
        .sum()
}
