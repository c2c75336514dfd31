//! Explaining the latents of a dictionary and scoring the explanations.

use std::collections::BTreeMap;

use activations::Store;
use activations::store::Row;
use burn::tensor::{Device, Tensor};
use kernels::random::rng;
use lm::HookPoint;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tasks::Role;

use super::agreement::{Grounding, agreement, behaviour, ground};
use super::by_language::by_language;
use super::detection::detection;
use super::example::{Contexts, Example, Examples, Sizes};
use super::experiment::{QUERIES, order_by_experiment};
use super::explained::{DictionaryExplained, LatentExplained, Method, MethodExplained, Record, Stands};
use super::function::{LatentFunction, Reader};
use super::fuzzing::fuzzing;
use super::generation::{Generated, generate};
use super::predicate::Predicate;
use super::says::Says;
use super::scan::{Half, Scan, ScanConfig, scan};
use super::search::{Candidate, Search};
use super::simulation::simulation;
use super::truth_labels::TruthLabels;
use super::vocabulary::Vocabulary;
use crate::Error;
use crate::agent::Agent;
use crate::black_box::BlackBox;
use crate::explanation::Status;

/// How latents are explained and how the explanations are scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainFile {
    /// Seed of which latents and contexts are taken. Default 0.
    #[serde(default)]
    pub seed: u64,
    /// Latents of each dictionary and site, drawn among those that are active. Required.
    pub latents: usize,
    /// Slices of 32 tokens that are kept of each latent and half of the documents. Default 80.
    #[serde(default = "contexts")]
    pub contexts: usize,
    /// Slices of each half that stand for all of its tokens: negatives, and what agreement is measured on. Default 400.
    #[serde(default = "probes")]
    pub probes: usize,
    /// Active slices, and inactive ones, that an explainer sees. Default 40.
    #[serde(default = "explain_examples")]
    pub explain_examples: usize,
    /// Active slices, and inactive ones, that an explanation is scored on. Default 50.
    #[serde(default = "score_examples")]
    pub score_examples: usize,
    /// Fewest active and inactive slices of either half. Default 10.
    #[serde(default = "fewest")]
    pub fewest: usize,
    /// Whether random directions as sparse as each dictionary stand beside it. Default true.
    #[serde(default = "yes")]
    pub random: bool,
    /// Resamples of an interval. Default 1000.
    #[serde(default = "resamples")]
    pub resamples: usize,
}

fn contexts() -> usize {
    80
}

fn probes() -> usize {
    400
}

fn explain_examples() -> usize {
    40
}

fn score_examples() -> usize {
    50
}

fn fewest() -> usize {
    10
}

fn yes() -> bool {
    true
}

fn resamples() -> usize {
    1000
}

/// Validated settings.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplainConfig(ExplainFile);

impl TryFrom<ExplainFile> for ExplainConfig {
    type Error = Error;

    fn try_from(file: ExplainFile) -> Result<Self, Error> {
        let refuse = |key: &'static str, reason: &str| {
            Err(Error::Config {
                key,
                reason: reason.to_owned(),
            })
        };
        match &file {
            ExplainFile { latents: 0, .. } => refuse("latents", "is 0, there is nothing to explain"),
            ExplainFile { resamples: 0, .. } => refuse("resamples", "is 0, an interval needs some"),
            ExplainFile { fewest: 0..=5, .. } => refuse("fewest", "must be at least 6: a third of them is set aside"),
            ExplainFile { contexts, fewest, .. } if contexts < fewest => refuse("contexts", "is below `fewest`"),
            ExplainFile { probes, fewest, .. } if probes < fewest => refuse("probes", "is below `fewest`"),
            ExplainFile {
                explain_examples,
                score_examples,
                fewest,
                ..
            } if explain_examples.min(score_examples) < fewest => {
                refuse("explain_examples", "or `score_examples` is below `fewest`")
            }
            _ => Ok(Self(file)),
        }
    }
}

impl ExplainConfig {
    /// The settings.
    pub fn get(&self) -> &ExplainFile {
        &self.0
    }
}

/// A dictionary that is to be explained.
pub struct Plan<'a> {
    /// Its name.
    pub dictionary: &'a str,
    /// Its family.
    pub family: &'a str,
    /// Where it reads, in words.
    pub site: String,
    /// The hook.
    pub hook: HookPoint,
    /// One head, where it has heads.
    pub head: Option<usize>,
    /// Rows of one role; none: all rows.
    pub role: Option<Role>,
    /// Vectors `[B, D]` and where they came from to codes `[B, F]`.
    pub encode: &'a dyn Fn(Tensor<2>, &[Row]) -> Tensor<2>,
    /// Where the activations come from, for experiments and generation; none for codes that are read from labels.
    pub reader: Option<&'a Reader<'a>>,
    /// The latents; none: some are drawn.
    pub latents: Option<&'a [u32]>,
    /// A language model that explains them, too.
    pub agent: Option<&'a Agent<'a>>,
}

/// Inputs that a language model may ask.
const BUDGET: usize = 400;

/// A latent on its way.
struct Work<'a> {
    latent: u32,
    explaining: Examples,
    scoring: Examples,
    probes: Vec<Example>,
    grounding: Option<Grounding>,
    offline: Predicate,
    token: Predicate,
    queries: usize,
    contexts: &'a Contexts<'a>,
}

/// Explains latents of one dictionary.
///
/// # Errors
///
/// A store that does not fit, a code that is not finite, a latent that there is not.
pub fn explain_dictionary(
    store: &Store,
    plan: &Plan<'_>,
    config: &ExplainConfig,
    labels: Option<&TruthLabels>,
    vocabulary: &Vocabulary,
    device: &Device,
    on_rows: &mut dyn FnMut(usize),
) -> Result<DictionaryExplained, Error> {
    let settings = config.get();
    let scan_config = ScanConfig {
        hook: plan.hook,
        head: plan.head,
        role: plan.role,
        contexts: settings.contexts,
        probes: settings.probes,
        seed: settings.seed,
    };
    let scan = scan(store, &scan_config, labels, plan.encode, device, on_rows)?;
    let contexts = Contexts::new(&scan, &store.windows()?)?;
    let (wanted, mut too_few) = wanted(&scan, plan, settings)?;
    let mut works: Vec<Work<'_>> = Vec::new();
    // Some at a time, until enough have contexts.
    for some in wanted.chunks(settings.latents.max(1)) {
        let left = match plan.latents {
            Some(_) => some.len(),
            None => settings.latents - works.len(),
        };
        let prepared: Vec<Option<Work<'_>>> = some
            .par_iter()
            .map(|latent| prepare(*latent, &contexts, settings))
            .collect();
        too_few += prepared.iter().filter(|work| work.is_none()).count();
        works.extend(prepared.into_iter().flatten().take(left));
        if plan.latents.is_none() && works.len() >= settings.latents {
            break;
        }
    }
    for work in &mut works {
        let counts = scan.counts.as_ref();
        let active = scan.latents[work.latent as usize].active;
        work.grounding = counts.and_then(|counts| ground(counts, active, work.latent as usize));
    }
    let pool = pool(&contexts);
    search(&mut works, plan, settings, vocabulary, &pool)?;
    let latents = score(&works, plan, settings, labels, vocabulary, &pool)?;
    Ok(DictionaryExplained {
        dictionary: plan.dictionary.to_owned(),
        family: plan.family.to_owned(),
        site: plan.site.clone(),
        reads_activations: plan.reader.is_some(),
        n_latents: scan.latents.len(),
        silent: scan.latents.iter().filter(|latent| latent.active == [0, 0]).count(),
        too_few,
        tokens: scan.rows,
        latents,
    })
}

/// The latents that are tried, in order.
fn wanted(scan: &Scan, plan: &Plan<'_>, settings: &ExplainFile) -> Result<(Vec<u32>, usize), Error> {
    let n_latents = scan.latents.len() as u32;
    match plan.latents {
        Some(latents) => match latents.iter().find(|latent| **latent >= n_latents) {
            Some(latent) => Err(Error::Latents {
                reason: format!(
                    "{} has no latent {latent}; it has {n_latents}, counted from 0",
                    plan.dictionary
                ),
            }),
            None => Ok((latents.to_vec(), 0)),
        },
        None => {
            let mut alive: Vec<u32> = (0..n_latents)
                .filter(|latent| scan.latents[*latent as usize].active != [0, 0])
                .collect();
            alive.shuffle(&mut rng(
                settings.seed,
                &format!("explain/latents/{}/{}", plan.dictionary, plan.site),
            ));
            Ok((alive, 0))
        }
    }
}

/// The examples of a latent; `None` where there are too few of either kind in either half.
fn prepare<'a>(latent: u32, contexts: &'a Contexts<'a>, settings: &ExplainFile) -> Option<Work<'a>> {
    let of = |half, n| contexts.examples(latent, half, Sizes { active: n, inactive: n });
    let explaining = of(Half::Explain, settings.explain_examples);
    let scoring = of(Half::Score, settings.score_examples);
    let enough = |examples: &Examples| {
        let inactive = examples.random.len() + examples.hard.len();
        examples.active.len() >= settings.fewest && inactive >= settings.fewest
    };
    (enough(&explaining) && enough(&scoring)).then(|| Work {
        latent,
        explaining,
        scoring,
        probes: contexts.probes(latent, Half::Score),
        grounding: None,
        offline: Predicate::default(),
        token: Predicate::default(),
        queries: 0,
        contexts,
    })
}

/// Tokens that are put in the place of others: those of the explaining half's probes, as often as they occur.
fn pool(contexts: &Contexts<'_>) -> Vec<u32> {
    let mut pool = Vec::new();
    for slice in contexts.scan.probes(Half::Explain) {
        if let Some(ids) = contexts.ids(slice.window) {
            pool.extend(contexts.scan.positions(slice).filter_map(|at| ids.get(at)));
        }
    }
    pool
}

/// Finds explanations: searches side by side, experiments one after the other.
fn search(
    works: &mut [Work<'_>],
    plan: &Plan<'_>,
    settings: &ExplainFile,
    vocabulary: &Vocabulary,
    pool: &[u32],
) -> Result<(), Error> {
    let mut candidates: Vec<Vec<Candidate>> = works
        .par_iter()
        .map(|work| Search::new(&work.explaining, vocabulary).candidates())
        .collect();
    if let Some(reader) = plan.reader {
        for (work, candidates) in works.iter_mut().zip(&mut candidates) {
            let id = format!("{}/{}/{}", plan.dictionary, plan.site, work.latent);
            let function = LatentFunction {
                reader,
                latent: work.latent as usize,
            };
            let mut of = BlackBox::new(&function, &id, QUERIES, settings.seed);
            let mut rng = rng(settings.seed, &format!("explain/experiments/{id}"));
            let active = &work.explaining.active;
            *candidates = order_by_experiment(std::mem::take(candidates), active, pool, vocabulary, &mut of, &mut rng)?;
            work.queries = of.queries();
        }
    }
    let found: Vec<(Predicate, Predicate)> = works
        .par_iter()
        .zip(&candidates)
        .map(|(work, candidates)| {
            let search = Search::new(&work.explaining, vocabulary);
            (search.select(candidates), search.single_token())
        })
        .collect();
    for (work, (offline, token)) in works.iter_mut().zip(found) {
        (work.offline, work.token) = (offline, token);
    }
    Ok(())
}

/// Scores explanations and controls.
fn score(
    works: &[Work<'_>],
    plan: &Plan<'_>,
    settings: &ExplainFile,
    labels: Option<&TruthLabels>,
    vocabulary: &Vocabulary,
    pool: &[u32],
) -> Result<Vec<LatentExplained>, Error> {
    let nothing = Predicate::default();
    let (dictionary, site) = (plan.dictionary, plan.site.as_str());
    let other = |i: usize| {
        works
            .get((i + 1) % works.len())
            .filter(|_| works.len() > 1)
            .map_or(&nothing, |work| &work.offline)
    };
    let mut all: Vec<LatentExplained> = works
        .par_iter()
        .enumerate()
        .map(|(i, work)| {
            let predicates = [
                (Method::Offline, &work.offline),
                (Method::Token, &work.token),
                (Method::Shuffled, other(i)),
                (Method::Null, &nothing),
            ];
            let truth = labels
                .zip(work.grounding)
                .map(|(labels, grounding)| Says::Label(labels, grounding.label, work.contexts));
            let id = format!("{dictionary}/{site}/{}", work.latent);
            let scored = |says: Says<'_>| scores(&says, truth.as_ref(), work, settings.seed, &id);
            let mut methods: Vec<MethodExplained> = predicates
                .iter()
                .map(|(method, predicate)| MethodExplained {
                    method: *method,
                    explanation: predicate.sentence(vocabulary),
                    status: if predicate.any.is_empty() {
                        Status::NotFound
                    } else {
                        Status::Done
                    },
                    scores: scored(Says::Predicate(predicate, vocabulary)),
                    predicate: Some((*predicate).clone()),
                    queries: if *method == Method::Offline { work.queries } else { 0 },
                    tokens: 0,
                    invalid: 0,
                })
                .collect();
            let label = |grounding: &Grounding| labels.and_then(|labels| labels.labels().get(grounding.label as usize));
            let stands = work.grounding.and_then(|grounding| {
                Some(Stands {
                    label: label(&grounding)?.to_string(),
                    f1: grounding.f1,
                    mcc: grounding.mcc,
                })
            });
            if let (Some(truth), Some(stands)) = (truth, &stands) {
                methods.push(MethodExplained {
                    method: Method::Truth,
                    explanation: stands.label.clone(),
                    predicate: None,
                    status: Status::Done,
                    scores: scored(truth),
                    queries: 0,
                    tokens: 0,
                    invalid: 0,
                });
            }
            let latent = &work.contexts.scan.latents[work.latent as usize];
            LatentExplained {
                latent: work.latent,
                active: latent.active,
                maximum: latent.maximum,
                stands,
                methods,
                records: records(&work.offline, &work.scoring, vocabulary),
            }
        })
        .collect();
    if let Some(reader) = plan.reader {
        for (found, work) in all.iter_mut().zip(works) {
            let id = format!("{}/{}/{}", plan.dictionary, plan.site, work.latent);
            for method in &mut found.methods {
                if let Some(predicate) = &method.predicate {
                    let mut rng = rng(
                        settings.seed,
                        &format!("explain/generation/{id}/{}", method.method.name()),
                    );
                    let texts = generate(predicate, &work.scoring.random, pool, vocabulary, &mut rng);
                    method
                        .scores
                        .insert("generation".to_owned(), generation(reader, work.latent, &texts)?);
                }
            }
            if let Some(agent) = plan.agent {
                let function = LatentFunction {
                    reader,
                    latent: work.latent as usize,
                };
                let mut of = BlackBox::new(&function, &id, BUDGET, settings.seed);
                found.methods.push(by_language(
                    agent,
                    &mut of,
                    &work.explaining,
                    &work.scoring,
                    vocabulary,
                )?);
            }
        }
    }
    Ok(all)
}

/// The share of texts in which the latent is active; 0 where no text could be made.
fn generation(reader: &Reader<'_>, latent: u32, texts: &[Generated]) -> Result<f64, Error> {
    let rows: Vec<Vec<u32>> = texts.iter().map(|text| text.ids.clone()).collect();
    if rows.is_empty() {
        return Ok(0.0);
    }
    let found = reader.activations(&rows, latent as usize)?;
    let fires = |(text, values): (&Generated, &Vec<f32>)| {
        text.positions
            .iter()
            .any(|at| values.get(*at).is_some_and(|value| *value > 0.0))
    };
    let fired = texts.iter().zip(&found).filter(|pair| fires(*pair)).count();
    Ok(fired as f64 / rows.len() as f64)
}

fn scores(says: &Says<'_>, truth: Option<&Says<'_>>, work: &Work<'_>, seed: u64, id: &str) -> BTreeMap<String, f64> {
    let mut scores = BTreeMap::new();
    let mut add = |name: &str, value: Option<f64>| scores.extend(value.map(|value| (name.to_owned(), value)));
    let detected = detection(says, &work.scoring);
    add("detection", detected.map(|found| found.balanced_accuracy));
    add("random", detected.and_then(|found| found.random));
    add("hard", detected.and_then(|found| found.hard));
    add("auroc", detected.map(|found| found.auroc));
    // Every explanation is asked about the same marks.
    let fuzzed = fuzzing(says, &work.scoring, &mut rng(seed, &format!("explain/fuzzing/{id}")));
    add("fuzzing", fuzzed.inactive);
    add("fuzzing active", fuzzed.active);
    add("simulation", Some(simulation(says, &work.scoring)));
    add("behaviour", behaviour(says, &work.probes));
    add("agree", truth.and_then(|truth| agreement(says, truth, &work.probes)));
    scores
}

fn records(predicate: &Predicate, scoring: &Examples, vocabulary: &Vocabulary) -> Vec<Record> {
    let says = Says::Predicate(predicate, vocabulary);
    let record = |example: &Example| Record {
        tokens: example
            .positions
            .iter()
            .map(|at| vocabulary.text(example.ids[*at]).to_owned())
            .collect(),
        activations: example.values.clone(),
        activating: example.is_active(),
        probability: f64::from(says.of_example(example)) / 10.0,
    };
    scoring
        .active
        .iter()
        .chain(&scoring.random)
        .chain(&scoring.hard)
        .map(record)
        .collect()
}
