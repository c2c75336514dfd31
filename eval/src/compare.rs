//! Dictionaries of several evaluations side by side: which differences are real, and how stable the ranking is.
//!
//! Evaluations of one model at the same sites on the same prompts are paired by prompt: resample `r` of each shows the same
//! prompts. Dictionaries that differ by their seed only are one family. Within each metric all differences are held to
//! Holm's levels together ([`crate::statistics`]).

use crate::Error;
use crate::ledger::{Entry, Selection, members};
use crate::metric::{EditMethod, Metric};
use crate::report::Report;
use crate::statistics::{
    Difference, FEWEST_SEEDS, LEVEL, Measured, Place, Verdict, difference, enough, holm, kendall_tau,
};
use artifacts::rounded;
use serde::Serialize;
use std::collections::BTreeSet;

/// One evaluation.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// What it is called in messages, and before a family's name where two runs have different ones of one name.
    pub name: String,
    /// Its report.
    pub report: Report,
    /// Its scores with their resamples.
    pub entries: Vec<Entry>,
}

/// Which families are compared with which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing<'a> {
    /// Each with each.
    Each,
    /// Each with the family of this name.
    Against(&'a str),
    /// What differs between evaluations: a family with that of its name in another one, and a family that only one evaluation has
    /// with each that only another one has.
    Between,
}

/// Families that several evaluations have with the same contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Identical {
    /// Name.
    pub family: String,
    /// The evaluations.
    pub runs: Vec<String>,
}

/// A family, in the metrics that are compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Family {
    /// Name.
    pub name: String,
    /// Number of seeds.
    pub seeds: usize,
    /// Mean over seeds and places in each metric; none where it was not measured.
    pub means: Vec<Option<f64>>,
}

/// The difference of two families in one metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// What is compared.
    pub metric: Metric,
    /// The family with the larger mean.
    pub left: String,
    /// The other.
    pub right: String,
    /// Mean difference over seeds and the places that both have.
    pub difference: f64,
    /// Whether it is 0 in every resample: both are the same to the last digit.
    pub identical: bool,
    /// Lower end of the 95 % interval.
    pub low: Option<f64>,
    /// Upper end of it.
    pub high: Option<f64>,
    /// Lower end of the interval at the level that Holm's procedure over all differences of the metric allows it.
    pub holm_low: Option<f64>,
    /// Upper end of it.
    pub holm_high: Option<f64>,
    /// Whether all pairs of seeds agree in sign; true of a single pair.
    pub seeds_agree: bool,
    /// Whether either family has a seed and fewer than three of them: then nothing is called real.
    pub too_few_seeds: bool,
    /// Whether the metric has more differences than the resamples can tell apart: then nothing is called real either.
    pub too_few_resamples: bool,
    /// Whether the difference is real: the interval at Holm's level, and those of all stronger differences, exclude zero, and the seeds
    /// agree.
    pub real: bool,
    /// Sites, or (site, attribute) pairs, that are averaged.
    pub places: usize,
}

impl Pair {
    /// What the difference comes to, in words.
    pub fn verdict(&self) -> &'static str {
        match (self.real, self.too_few_seeds, self.too_few_resamples, self.seeds_agree) {
            _ if self.identical => "identical",
            (true, ..) => "real",
            (false, true, ..) => "not settled, fewer than 3 seeds",
            (false, false, true, _) => "not settled, too few resamples",
            (false, false, false, true) => "not real",
            (false, false, false, false) => "not real, no common sign",
        }
    }
}

/// How far the ranking of families depends on the seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stability {
    /// By what families are ranked.
    pub metric: Metric,
    /// Mean of Kendall's tau over all pairs of seeds; none with fewer than two seeds or families.
    pub tau: Option<f64>,
    /// Families with as many seeds as the most.
    pub families: usize,
    /// Seeds of each.
    pub seeds: usize,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// The metrics.
    pub metrics: Vec<Metric>,
    /// The evaluations.
    pub runs: Vec<String>,
    /// The families, by name; of those that are identical in several evaluations the first.
    pub families: Vec<Family>,
    /// The families that several evaluations have with the same contents.
    pub identical: Vec<Identical>,
    /// All differences, largest of each metric first.
    pub pairs: Vec<Pair>,
    /// One for each metric.
    pub stability: Vec<Stability>,
}

/// A family of one evaluation.
struct Source<'a> {
    name: String,
    /// The evaluations that have it, by their places.
    runs: Vec<usize>,
    family: &'a str,
    identities: Vec<&'a str>,
    members: Vec<&'a str>,
    /// Whether it has fewer seeds than can speak for others.
    too_few_seeds: bool,
    entries: &'a [Entry],
}

/// Compares families of evaluations.
///
/// # Errors
/// [`Error::Unpaired`] when the evaluations differ in model, sites or prompts; [`Error::UnknownSet`] when
/// [`Pairing::Against`] names no family.
pub fn compare(
    runs: &[Evaluation],
    metrics: &[Metric],
    method: EditMethod,
    k: usize,
    pairing: Pairing<'_>,
) -> Result<Compared, Error> {
    check_paired(runs)?;
    let sources = sources(runs);
    let known = || {
        sources
            .iter()
            .map(|source| source.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    if let Pairing::Against(name) = pairing
        && sources.iter().all(|source| source.name != name)
    {
        return Err(Error::UnknownSet {
            found: name.to_owned(),
            known: known(),
        });
    }
    let select = |metric: Metric| Selection {
        metric,
        method: Some(method),
        k: Some(k),
    };
    let means = |source: &Source<'_>| metrics.iter().map(|&metric| mean(source, select(metric))).collect();
    let families = sources.iter().map(|source| Family {
        name: source.name.clone(),
        seeds: source.members.len(),
        means: means(source),
    });
    let mut pairs = Vec::new();
    for &metric in metrics {
        let mut of_metric = of_metric(&sources, select(metric), pairing);
        of_metric.sort_by(|a, b| b.difference.total_cmp(&a.difference));
        pairs.extend(of_metric);
    }
    Ok(Compared {
        metrics: metrics.to_vec(),
        runs: runs.iter().map(|run| run.name.clone()).collect(),
        families: families.collect(),
        identical: identical(runs, &sources),
        pairs,
        stability: metrics
            .iter()
            .map(|&metric| stability(&sources, select(metric)))
            .collect(),
    })
}

/// Resamples can be paired when they were drawn for the same prompts.
fn check_paired(runs: &[Evaluation]) -> Result<(), Error> {
    let Some((first, others)) = runs.split_first() else {
        return Ok(());
    };
    for other in others {
        let (a, b) = (&first.report, &other.report);
        let (c, d) = (&a.config, &b.config);
        let nodes = |report: &Report| {
            let site = |site: &causal::Site| (site.name.clone(), site.nodes.clone());
            report.sites.iter().map(site).collect::<Vec<_>>()
        };
        let [first_sites, other_sites] = [nodes(a), nodes(b)];
        let same_name = |site: &(String, _)| other_sites.iter().any(|other| other.0 == site.0);
        let shared = first_sites.iter().any(|site| other_sites.contains(site));
        let named_alike = first_sites
            .iter()
            .any(|site| same_name(site) && !other_sites.contains(site));
        let differs = [
            ("their tasks", a.task != b.task),
            ("their models", a.model.hash != b.model.hash),
            ("all their sites", !shared),
            ("the nodes of sites of one name", named_alike),
            ("`reference`", c.reference != d.reference),
            ("`prompts`", c.prompts != d.prompts),
            ("`seed`", c.seed != d.seed),
            ("`resamples`", c.resamples != d.resamples),
            (
                "`interpretability_prompts`",
                c.interpretability_prompts != d.interpretability_prompts,
            ),
            ("the prompts that were not trained on", kept(a) != kept(b)),
            // Last: where a setting explains it, that is named.
            ("their prompts", a.prompts != b.prompts),
        ];
        if let Some((what, _)) = differs.into_iter().find(|(_, differs)| *differs) {
            return Err(Error::Unpaired {
                left: first.name.clone(),
                right: other.name.clone(),
                reason: format!("{what} differ"),
            });
        }
    }
    Ok(())
}

/// The families that several evaluations have with the same contents.
fn identical(runs: &[Evaluation], sources: &[Source<'_>]) -> Vec<Identical> {
    let shared = sources.iter().filter(|source| source.runs.len() > 1);
    shared
        .map(|source| Identical {
            family: source.family.to_owned(),
            runs: source.runs.iter().map(|&run| runs[run].name.clone()).collect(),
        })
        .collect()
}

/// Whether two families are compared.
fn are_paired(left: &Source<'_>, right: &Source<'_>, sources: &[Source<'_>], pairing: Pairing<'_>) -> bool {
    let is_elsewhere = |source: &Source<'_>| {
        let is_other = |other: &&Source<'_>| other.family == source.family && other.runs != source.runs;
        sources.iter().any(|other| is_other(&other))
    };
    match pairing {
        Pairing::Each => true,
        Pairing::Against(name) => left.name == name || right.name == name,
        Pairing::Between if left.family == right.family => true,
        Pairing::Between => {
            let apart = left.runs.iter().all(|run| !right.runs.contains(run));
            apart && !is_elsewhere(left) && !is_elsewhere(right)
        }
    }
}

/// Whether two evaluations are of the same model at the same sites, whatever their prompts.
pub(crate) fn check_paired_but_for_prompts(one: &Evaluation, other: &Evaluation) -> Result<(), Error> {
    let (a, b) = (&one.report, &other.report);
    let nodes = |report: &Report| report.sites.iter().map(|site| site.nodes.clone()).collect::<Vec<_>>();
    let differs = [
        ("their tasks", a.task != b.task),
        ("their models", a.model.hash != b.model.hash),
        ("their sites", nodes(a) != nodes(b)),
    ];
    match differs.into_iter().find(|(_, differs)| *differs) {
        None => Ok(()),
        Some((what, _)) => Err(Error::Unpaired {
            left: one.name.clone(),
            right: other.name.clone(),
            reason: format!("{what} differ"),
        }),
    }
}

/// What was kept of the samples at each site.
fn kept(report: &Report) -> Vec<(&str, &str)> {
    report
        .unseen
        .iter()
        .map(|unseen| (unseen.site.as_str(), unseen.kept.as_str()))
        .collect()
}

/// Every family once; of one that two runs have with the same contents the first, of others of one name both. Of several
/// evaluations a family's name says which one it is of, unless all of them have it with the same contents.
fn sources(runs: &[Evaluation]) -> Vec<Source<'_>> {
    let mut sources: Vec<Source<'_>> = Vec::new();
    for (number, run) in runs.iter().enumerate() {
        let known = &run.report.dictionaries;
        let families: BTreeSet<&str> = known.iter().map(|facts| facts.family.as_str()).collect();
        for family in families {
            let of: Vec<_> = known.iter().filter(|facts| facts.family == family).collect();
            let identities: Vec<&str> = of.iter().map(|facts| facts.identity.as_str()).collect();
            let same = |source: &Source<'_>| source.family == family && source.identities == identities;
            if let Some(place) = sources.iter().position(same) {
                sources[place].runs.push(number);
                continue;
            }
            sources.push(Source {
                name: family.to_owned(),
                runs: vec![number],
                family,
                identities,
                members: members(known, family),
                too_few_seeds: of.len() < FEWEST_SEEDS && of.iter().any(|facts| facts.seeded),
                entries: &run.entries,
            });
        }
    }
    for source in sources.iter_mut().filter(|source| source.runs.len() < runs.len()) {
        source.name = format!("{}:{}", runs[source.runs[0]].name, source.family);
    }
    sources
}

/// Mean over seeds and places.
fn mean(source: &Source<'_>, selection: Selection) -> Option<f64> {
    let of_seed = selection.of_family(source.entries, &source.members);
    let values: Vec<f64> = of_seed
        .iter()
        .flat_map(|measured| measured.values().map(|reached| reached.value))
        .collect();
    (!values.is_empty()).then(|| rounded(values.iter().sum::<f64>() / values.len() as f64))
}

/// All differences in one metric, each with the larger family first.
fn of_metric(sources: &[Source<'_>], selection: Selection, pairing: Pairing<'_>) -> Vec<Pair> {
    let measured: Vec<_> = sources
        .iter()
        .map(|source| selection.of_family(source.entries, &source.members))
        .collect();
    let (mut names, mut differences) = (Vec::new(), Vec::new());
    for i in 0..sources.len() {
        for j in i + 1..sources.len() {
            if !are_paired(&sources[i], &sources[j], sources, pairing) {
                continue;
            }
            let Some(found) = difference(&measured[i], &measured[j], selection.metric) else {
                continue;
            };
            if found.value() >= 0.0 {
                names.push((i, j));
                differences.push(found);
            } else {
                names.push((j, i));
                differences.push(found.reversed());
            }
        }
    }
    let verdicts = holm(&differences);
    let pair = |(((left, right), found), verdict): (((usize, usize), &Difference), Verdict)| {
        let (left, right) = (&sources[left], &sources[right]);
        let too_few_seeds = left.too_few_seeds || right.too_few_seeds;
        let too_few_resamples = !enough(found.resamples, differences.len());
        let ends = found.interval(LEVEL);
        Pair {
            metric: selection.metric,
            left: left.name.clone(),
            right: right.name.clone(),
            difference: rounded(found.value()),
            identical: found.is_nothing(),
            low: ends.map(|(low, _)| rounded(low)),
            high: ends.map(|(_, high)| rounded(high)),
            holm_low: verdict.interval.map(|(low, _)| rounded(low)),
            holm_high: verdict.interval.map(|(_, high)| rounded(high)),
            seeds_agree: found.seeds_agree,
            too_few_seeds,
            too_few_resamples,
            real: verdict.real && !too_few_seeds,
            places: found.places,
        }
    };
    names.into_iter().zip(&differences).zip(verdicts).map(pair).collect()
}

/// Ranks the families that have the most seeds, seed by seed, by their means over the places that all of them have.
fn stability(sources: &[Source<'_>], selection: Selection) -> Stability {
    let seeds = sources.iter().map(|source| source.members.len()).max().unwrap_or(0);
    let measured: Vec<Vec<Measured<'_>>> = sources
        .iter()
        .filter(|source| source.members.len() == seeds)
        .map(|source| selection.of_family(source.entries, &source.members))
        .filter(|of_seed| of_seed.iter().all(|places| !places.is_empty()))
        .collect();
    let mut all = measured.iter().flatten();
    let shared: Vec<Place> = all.next().map_or_else(Vec::new, |first| {
        let everywhere = |place: &&Place| measured.iter().flatten().all(|places| places.contains_key(*place));
        first.keys().filter(everywhere).cloned().collect()
    });
    let mean = |places: &Measured<'_>| {
        let sum: f64 = shared
            .iter()
            .filter_map(|place| places.get(place))
            .map(|reached| reached.value)
            .sum();
        sum / shared.len() as f64
    };
    let of_family = |of_seed: &Vec<Measured<'_>>| of_seed.iter().map(mean).collect();
    let full: Vec<Vec<f64>> = match shared.is_empty() {
        true => Vec::new(),
        false => measured.iter().map(of_family).collect(),
    };
    let of_seed = |seed: usize| full.iter().map(|family| family[seed]).collect::<Vec<f64>>();
    let pairs = (0..seeds).flat_map(|a| (0..a).map(move |b| (a, b)));
    let taus: Vec<f64> = pairs
        .filter_map(|(a, b)| kendall_tau(&of_seed(a), &of_seed(b)))
        .collect();
    Stability {
        metric: selection.metric,
        tau: (!taus.is_empty()).then(|| rounded(taus.iter().sum::<f64>() / taus.len() as f64)),
        families: full.len(),
        seeds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_of_two_runs_are_kept_apart_by_what_they_hold() {
        let facts = |name: &str, identity: &str| crate::report::DictionaryFacts {
            name: name.to_owned(),
            family: "sae".to_owned(),
            identity: identity.to_owned(),
            folders: std::collections::BTreeMap::new(),
            reads: std::collections::BTreeMap::new(),
            seeded: true,
        };
        let run = |name: &str, identity: &str| Evaluation {
            name: name.to_owned(),
            report: crate::report::tests::empty(vec![facts("sae-seed0", identity)]),
            entries: Vec::new(),
        };
        let runs = [run("a", "1"), run("b", "1"), run("c", "2")];
        let names: Vec<String> = sources(&runs).into_iter().map(|source| source.name).collect();
        assert_eq!(names, ["a:sae", "c:sae"]);
        let found = compare(&runs, &[Metric::F1], EditMethod::Greedy, 4, Pairing::Between).unwrap();
        assert_eq!(found.runs, ["a", "b", "c"]);
        let expected = Identical {
            family: "sae".to_owned(),
            runs: vec!["a".to_owned(), "b".to_owned()],
        };
        assert_eq!(found.identical, [expected]);
        let mut other = run("d", "1");
        other.report.model.hash = "another".to_owned();
        let found = compare(
            &[run("a", "1"), other],
            &[Metric::F1],
            EditMethod::Greedy,
            4,
            Pairing::Each,
        );
        assert!(found.unwrap_err().to_string().contains("models differ"));
        let mut other = run("d", "1");
        other.report.prompts = "others".to_owned();
        let found = compare(
            &[run("a", "1"), other],
            &[Metric::F1],
            EditMethod::Greedy,
            4,
            Pairing::Each,
        );
        assert!(found.unwrap_err().to_string().contains("their prompts differ"));
        let unknown = compare(&runs, &[Metric::F1], EditMethod::Greedy, 4, Pairing::Against("nobody"));
        assert!(unknown.unwrap_err().to_string().contains("a:sae, c:sae"));
    }

    #[test]
    fn between_evaluations_what_differs_is_compared_and_nothing_else() {
        let facts = |family: &str, identity: &str| crate::report::DictionaryFacts {
            name: family.to_owned(),
            family: family.to_owned(),
            identity: identity.to_owned(),
            folders: std::collections::BTreeMap::new(),
            reads: std::collections::BTreeMap::new(),
            seeded: false,
        };
        let run = |name: &str, families: &[(&str, &str)]| Evaluation {
            name: name.to_owned(),
            report: crate::report::tests::empty(
                families
                    .iter()
                    .map(|(family, identity)| facts(family, identity))
                    .collect(),
            ),
            entries: Vec::new(),
        };
        let runs = [
            run("a", &[("neurons", "1"), ("sae", "2"), ("relu", "3")]),
            run("b", &[("neurons", "1"), ("sae", "4"), ("gated", "5")]),
        ];
        let sources = sources(&runs);
        let mut paired = Vec::new();
        for (i, left) in sources.iter().enumerate() {
            for right in &sources[i + 1..] {
                if are_paired(left, right, &sources, Pairing::Between) {
                    paired.push(format!("{} {}", left.name, right.name));
                }
            }
        }
        assert_eq!(paired, ["a:relu b:gated", "a:sae b:sae"]);
    }
}
