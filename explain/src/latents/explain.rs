//! Explaining the latents of a dictionary and scoring the explanations.

use std::collections::{BTreeMap, BTreeSet};

use activations::Store;
use activations::store::Row;
use burn::tensor::{Device, Tensor};
use kernels::random::rng;
use lm::HookPoint;
use rand::seq::SliceRandom;
use rayon::prelude::*;
use tasks::Role;

use super::agreement::{Grounding, agreement, behaviour, ground, with_activity};
use super::by_language::by_language;
use super::config::{ExplainConfig, ExplainFile};
use super::detection::detection;
use super::example::{Contexts, Example, Examples, Sizes};
use super::experiment::{QUERIES, order_by_experiment};
use super::explained::{
    DictionaryExplained, ExplanationMethod, LatentExplained, MethodExplained, Record, Rung, Stands,
};
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
    pub encode: &'a (dyn Fn(Tensor<2>, &[Row]) -> Tensor<2> + Sync),
    /// Where the activations come from, for experiments and generation; none for codes that are read from labels.
    pub reader: Option<&'a Reader<'a>>,
    /// The latents; none: some are drawn.
    pub latents: Option<&'a [u32]>,
    /// A language model that explains them, too.
    pub agent: Option<&'a Agent<'a>>,
    /// What is known of its latents.
    pub rung: Rung,
    /// Of planted predicates: each latent's.
    pub planted: Option<&'a [Predicate]>,
}

/// Inputs that a language model may ask.
const BUDGET: usize = 400;

/// A latent on its way.
struct Work<'a> {
    latent: u32,
    /// Whether it was drawn among all latents, or because it stands for a label.
    drawn: bool,
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
    let groundings = groundings(&scan);
    // Where latents do not read activations, each is what its label or predicate says.
    let is_standing = |latent: &u32| {
        plan.rung != Rung::Latents || groundings[*latent as usize].is_some_and(|found| found.is_grounded())
    };
    let (mut works, mut too_few) = match plan.latents {
        Some(latents) => take(&named(latents, &scan, plan)?, latents.len(), &contexts, settings),
        None => take(&drawn(&scan, plan, settings), settings.latents, &contexts, settings),
    };
    if plan.latents.is_none() {
        let known: BTreeSet<u32> = works.iter().map(|work| work.latent).collect();
        let others: Vec<u32> = drawn(&scan, plan, settings)
            .into_iter()
            .filter(|latent| is_standing(latent) && !known.contains(latent))
            .collect();
        let (more, few) = take(&others, settings.standing, &contexts, settings);
        works.extend(more.into_iter().map(|work| Work { drawn: false, ..work }));
        too_few += few;
    }
    for work in &mut works {
        work.grounding = groundings[work.latent as usize];
    }
    let pool = pool(&contexts);
    search(&mut works, plan, settings, vocabulary, &pool)?;
    let latents = score(&works, plan, settings, labels, vocabulary, &pool)?;
    Ok(DictionaryExplained {
        dictionary: plan.dictionary.to_owned(),
        family: plan.family.to_owned(),
        site: plan.site.clone(),
        rung: plan.rung,
        n_latents: scan.latents.len(),
        standing: groundings.iter().flatten().filter(|found| found.is_grounded()).count(),
        silent: scan.latents.iter().filter(|latent| latent.active == [0, 0]).count(),
        too_few,
        tokens: scan.rows,
        latents,
    })
}

/// What each latent stands for.
fn groundings(scan: &Scan) -> Vec<Option<Grounding>> {
    let of = |latent: usize| {
        let counts = scan.counts.as_ref()?;
        ground(counts, scan.latents[latent].active, latent)
    };
    (0..scan.latents.len()).into_par_iter().map(of).collect()
}

/// Named latents, if the dictionary has them.
fn named(latents: &[u32], scan: &Scan, plan: &Plan<'_>) -> Result<Vec<u32>, Error> {
    let n_latents = scan.latents.len();
    match latents.iter().find(|latent| **latent as usize >= n_latents) {
        Some(latent) => Err(Error::Latents {
            reason: format!(
                "{} has no latent {latent}; it has {n_latents}, counted from 0",
                plan.dictionary
            ),
        }),
        None => Ok(latents.to_vec()),
    }
}

/// The latents that are active anywhere, in a random order.
fn drawn(scan: &Scan, plan: &Plan<'_>, settings: &ExplainFile) -> Vec<u32> {
    let mut alive: Vec<u32> = (0..scan.latents.len() as u32)
        .filter(|latent| scan.latents[*latent as usize].active != [0, 0])
        .collect();
    alive.shuffle(&mut rng(
        settings.seed,
        &format!("explain/latents/{}/{}", plan.dictionary, plan.site),
    ));
    alive
}

/// The first `most` of some latents that have enough contexts, and how many before them have too few.
fn take<'a>(
    latents: &[u32],
    most: usize,
    contexts: &'a Contexts<'a>,
    settings: &ExplainFile,
) -> (Vec<Work<'a>>, usize) {
    let (mut works, mut too_few) = (Vec::new(), 0);
    // Some at a time, until there are enough.
    for some in latents.chunks(most.max(1)) {
        let left = most - works.len();
        if left == 0 {
            break;
        }
        let prepared: Vec<Option<Work<'_>>> = some
            .par_iter()
            .map(|latent| prepare(*latent, contexts, settings))
            .collect();
        too_few += prepared.iter().filter(|work| work.is_none()).count();
        works.extend(prepared.into_iter().flatten().take(left));
    }
    (works, too_few)
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
        drawn: true,
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
    let (dictionary, site, planted) = (plan.dictionary, plan.site.as_str(), plan.planted);
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
                (ExplanationMethod::Offline, &work.offline),
                (ExplanationMethod::Token, &work.token),
                (ExplanationMethod::Shuffled, other(i)),
                (ExplanationMethod::Null, &nothing),
            ];
            let planted = planted.map(|planted| &planted[work.latent as usize]);
            let truth = match (planted, labels.zip(work.grounding)) {
                (Some(planted), _) => Some(Says::Predicate(planted, vocabulary)),
                (None, Some((labels, grounding))) => Some(Says::Label(labels, grounding.label, work.contexts)),
                (None, None) => None,
            };
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
                    queries: if *method == ExplanationMethod::Offline {
                        work.queries
                    } else {
                        0
                    },
                    tokens: 0,
                    invalid: 0,
                })
                .collect();
            let stands = match planted {
                Some(planted) => {
                    let found = with_activity(&Says::Predicate(planted, vocabulary), &work.probes);
                    Some(Stands {
                        label: planted.sentence(vocabulary),
                        f1: found.f1(),
                        mcc: found.mcc(),
                    })
                }
                None => stands(work.grounding, labels),
            };
            if let (Some(truth), Some(stands)) = (truth, &stands) {
                methods.push(MethodExplained {
                    method: ExplanationMethod::Truth,
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
                drawn: work.drawn,
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
                    let mut rng = rng(settings.seed, &format!("explain/generation/{id}/{}", method.method));
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

/// The label of a latent, in words.
fn stands(grounding: Option<Grounding>, labels: Option<&TruthLabels>) -> Option<Stands> {
    let grounding = grounding?;
    let label = labels?.labels().get(grounding.label as usize)?;
    Some(Stands {
        label: label.to_string(),
        f1: grounding.f1,
        mcc: grounding.mcc,
    })
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
