//! What came out, in three sentences, and what fell short: both from the values of the report alone.

use std::collections::{BTreeMap, BTreeSet};

use eval::ledger::{Entry, Selection, members};
use eval::metric::{EditMethod, Metric};
use eval::report::{ALWAYS_ON, Comparison, NONE, Report};
use eval::table::columns::{self, Row};
use maud::{Markup, html};
use tasks::Attribute;

use crate::means::{Mean, mean_of};
use crate::number;
use crate::text::shown;

/// Share of silent latents that is worth a word.
const MANY_SILENT: f64 = 0.1;
/// Distance of sufficiency from 1 that is worth a word.
const FAR_FROM_ONE: f64 = 0.1;
/// Edit accuracy behind the reference that is worth a word.
const BEHIND: f64 = 0.05;
/// Items of one kind that are named; the others are counted.
const NAMED: usize = 4;

/// A report ready to be asked for means.
pub(super) struct Asked<'a> {
    pub(super) report: &'a Report,
    pub(super) rows: Vec<Row<'a>>,
    pub(super) entries: &'a [Entry],
}

impl<'a> Asked<'a> {
    pub(super) fn new(report: &'a Report, entries: &'a [Entry]) -> Self {
        Self {
            report,
            rows: columns::rows(report),
            entries,
        }
    }

    /// Families of dictionaries that were trained.
    pub(super) fn learned(&self) -> BTreeSet<&'a str> {
        let trained = self
            .report
            .dictionaries
            .iter()
            .filter(|facts| facts.seeded && !facts.folders.is_empty());
        trained.map(|facts| facts.family.as_str()).collect()
    }

    /// The scores that the mean of a metric is over; of edits those of the first search, with the `k` that is compared.
    fn selection(&self, metric: Metric) -> Selection {
        Selection {
            metric,
            method: self
                .report
                .config
                .edits
                .first()
                .copied()
                .or(Some(EditMethod::Supervised)),
            k: Some(self.report.config.compare_k),
        }
    }

    /// The mean of a metric over sites, attributes and seeds.
    fn mean(&self, family: &str, metric: Metric) -> Option<Mean> {
        let selection = self.selection(metric);
        mean_of(&self.rows, self.entries, |row| {
            row.family == family && selection.takes(row.score)
        })
    }

    /// The learned families and their means, without those that stand at fewer places (sites, or sites and attributes) than another: their
    /// means are of other places.
    fn learned_means(&self, metric: Metric) -> Vec<(&'a str, Mean)> {
        let selection = self.selection(metric);
        let places = |family: &str| {
            let of = self
                .rows
                .iter()
                .filter(|row| row.family == family && row.score.value.is_some() && selection.takes(row.score));
            of.map(|row| (row.score.site.as_str(), row.score.attribute))
                .collect::<BTreeSet<_>>()
                .len()
        };
        let most = self.learned().into_iter().map(places).max().unwrap_or(0);
        let all = self.learned().into_iter().filter(|family| places(family) == most);
        all.filter_map(|family| Some((family, self.mean(family, metric)?)))
            .collect()
    }

    /// The learned family with the largest mean, by name where two are equal.
    fn best(&self, metric: Metric) -> Option<(&'a str, Mean)> {
        let all = self.learned_means(metric).into_iter();
        all.fold(None, |best: Option<(&str, Mean)>, (family, mean)| match &best {
            Some((_, known)) if known.value >= mean.value => best,
            _ => Some((family, mean)),
        })
    }

    fn told(&self, separator: &str, name: &str, family: &str, metric: Metric) -> Markup {
        html! { @if let Some(mean) = self.mean(family, metric) { (separator) (name) " " (value(&mean)) } }
    }
}

/// A mean with its interval.
fn value(mean: &Mean) -> Markup {
    html! {
        (number::of_report(Some(mean.value), &mean.from))
        @if let Some((low, high)) = mean.interval { " [" (number::plain(Some(low))) ", " (number::plain(Some(high))) "]" }
    }
}

/// What came out: a sentence for each axis.
pub(super) fn sentences(asked: &Asked<'_>) -> Markup {
    let report = asked.report;
    let k = report.config.compare_k;
    let nearest = || {
        let all = asked.learned_means(Metric::Sufficiency).into_iter();
        all.min_by(|a, b| (a.1.value - 1.0).abs().total_cmp(&(b.1.value - 1.0).abs()))
    };
    html! {
        p class="lead" {
            @match nearest() {
                Some((family, mean)) => {
                    "On reconstructions by " bdi { (shown(family)) } " the model keeps " (value(&mean)) " of its logit difference, the nearest to 1 of the trained dictionaries"
                    (asked.told("; with ", "the supervised reference", &report.config.reference, Metric::Sufficiency))
                    (asked.told(", with ", "random directions", "random", Metric::Sufficiency)) "."
                },
                None => { "Approximation: not measured for a trained dictionary." },
            }
        }
        p class="lead" {
            @match asked.best(Metric::EditAccuracy) {
                Some((family, mean)) => {
                    "Exchanging " (k) " latents of " bdi { (shown(family)) } " changes the answer as the true counterfactual does on " (value(&mean)) " of the prompts, the most of the trained dictionaries"
                    (asked.told("; ", "supervised edits", &report.config.reference, Metric::EditAccuracy))
                    (asked.told(", ", "no edit", NONE, Metric::EditAccuracy)) "."
                },
                None => { "Control: not measured for a trained dictionary." },
            }
        }
        p class="lead" {
            @match asked.best(Metric::F1) {
                Some((family, mean)) => {
                    "The best latents of " bdi { (shown(family)) } " stand for values of the attributes with an F1 of " (value(&mean)) ", the most of the trained dictionaries"
                    (asked.told("; ", "supervised features", &report.config.reference, Metric::F1))
                    (asked.told(", ", "a latent that is always active", ALWAYS_ON, Metric::F1)) "."
                },
                None => { "Interpretability: not measured for a trained dictionary." },
            }
        }
        p class="soft" { "Means over sites, attributes and seeds; intervals: 95 % over prompts, seeds and sites taken as given." }
    }
}

/// What fell short, an item each; none where nothing did.
pub(super) fn shortcomings(asked: &Asked<'_>, troubles: &[String]) -> Vec<Markup> {
    let report = asked.report;
    let mut items: Vec<Markup> = troubles.iter().map(|trouble| html! { (shown(trouble)) }).collect();
    if report.clean.accuracy < 0.9 {
        let accuracy = number::of_report(Some(report.clean.accuracy), &["/clean/accuracy".to_owned()]);
        items.push(html! { "The undisturbed model itself is right on " (accuracy) " of the prompts only." });
    }
    items.extend(differences(&report.comparisons));
    items.extend(few_seeds(report));
    items.extend(places(asked));
    items.extend(far_from_one(asked));
    items.extend(behind(asked));
    items.extend(below_chance(asked));
    items.extend(verdicts(asked));
    items.extend(silent(asked));
    items.extend(undefined(asked));
    items
}

fn list(items: impl Iterator<Item = impl std::fmt::Display>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// Differences that the data do not settle.
fn differences(comparisons: &[Comparison]) -> Vec<Markup> {
    let open = |comparison: &Comparison| comparison.difference.is_some() && !comparison.real;
    let excludes_zero = |comparison: &Comparison| match (comparison.low, comparison.high) {
        (Some(low), Some(high)) => low > 0.0 || high < 0.0,
        _ => false,
    };
    let item = |(place, comparison): (usize, &Comparison)| {
        let at = |field: &str| [format!("/comparisons/{place}/{field}")];
        let why = match (excludes_zero(comparison), comparison.seeds_agree) {
            (false, true) => "",
            (true, true) => ", which does not hold among all comparisons (Holm)",
            (_, false) if comparison.low.is_none() => "",
            (_, false) => ", and seeds disagree",
        };
        html! {
            "Not told apart: " bdi { (shown(&comparison.left)) } " and " bdi { (shown(&comparison.right)) } " in " (comparison.metric) ", difference "
            (number::of_report(comparison.difference, &at("difference")))
            @if comparison.low.is_some() {
                " [" (number::of_report(comparison.low, &at("low"))) ", " (number::of_report(comparison.high, &at("high"))) "]"
            }
            (why) "."
        }
    };
    comparisons
        .iter()
        .enumerate()
        .filter(|(_, comparison)| open(comparison))
        .map(item)
        .collect()
}

fn few_seeds(report: &Report) -> Option<Markup> {
    let families: BTreeSet<&str> = report
        .dictionaries
        .iter()
        .filter(|facts| facts.seeded)
        .map(|facts| facts.family.as_str())
        .collect();
    let few: Vec<&str> = families
        .into_iter()
        .filter(|family| members(&report.dictionaries, family).len() < 3)
        .collect();
    (!few.is_empty())
        .then(|| html! { "Fewer than three seeds, so their spread is not known: " bdi { (list(few.iter().map(|name| shown(name)))) } "." })
}

/// Families that were not scored at every site.
fn places(asked: &Asked<'_>) -> Option<Markup> {
    let mut at: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in asked.rows.iter().filter(|row| row.score.metric == Metric::Sufficiency) {
        at.entry(row.family).or_default().insert(&row.score.site);
    }
    let sites = asked.report.sites.len();
    let few: Vec<&str> = at
        .iter()
        .filter(|(_, at)| at.len() < sites)
        .map(|(family, _)| *family)
        .collect();
    (!few.is_empty()).then(|| html! { "Not at every one of the " (sites) " sites, so their means are of other places: " bdi { (list(few.iter().map(|name| shown(name)))) } "." })
}

/// The scores of trained dictionaries that `wanted` wants, by how bad they are, in one item.
fn worst(asked: &Asked<'_>, wanted: impl Fn(&Row<'_>) -> Option<f64>, what: &str) -> Option<Markup> {
    let learned = asked.learned();
    let mut found: Vec<(f64, usize)> = (asked.rows.iter().enumerate())
        .filter(|(_, row)| learned.contains(row.family))
        .filter_map(|(place, row)| Some((wanted(row)?, place)))
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let more = found.len().saturating_sub(NAMED);
    (!found.is_empty()).then(|| {
        html! {
            (what) " "
            @for (number, (_, place)) in found.iter().take(NAMED).enumerate() {
                @let score = asked.rows[*place].score;
                @if number > 0 { "; " }
                bdi { (shown(&score.dictionary)) } " at " bdi { (shown(&score.site)) } @if let Some(attribute) = score.attribute { " for " (attribute) }
                " " (number::of_report(score.value, &[number::pointer(*place, "value")]))
            }
            @if more > 0 { "; and " (more) " more" } "."
        }
    })
}

fn far_from_one(asked: &Asked<'_>) -> Option<Markup> {
    let far = |row: &Row<'_>| {
        let far = (row.score.value? - 1.0).abs();
        (row.score.metric == Metric::Sufficiency && far > FAR_FROM_ONE).then_some(far)
    };
    worst(asked, far, "Sufficiency far from 1:")
}

/// Edits that stay behind those of the reference at the same place.
fn behind(asked: &Asked<'_>) -> Option<Markup> {
    let config = &asked.report.config;
    let (k, method) = (Some(config.compare_k), config.edits.first().copied());
    let reference = |site: &str, attribute: Option<Attribute>| {
        let fits = |row: &&Row<'_>| {
            let score = row.score;
            row.family == config.reference
                && score.metric == Metric::EditAccuracy
                && score.site == site
                && score.attribute == attribute
        };
        asked.rows.iter().find(fits).and_then(|row| row.score.value)
    };
    let gap = |row: &Row<'_>| {
        let score = row.score;
        (score.metric == Metric::EditAccuracy && score.k == k && score.method == method).then_some(())?;
        let gap = reference(&score.site, score.attribute)? - score.value?;
        (gap > BEHIND).then_some(gap)
    };
    worst(
        asked,
        gap,
        &format!(
            "Edit accuracy (k = {}) behind {}, furthest first:",
            config.compare_k,
            shown(&config.reference)
        ),
    )
}

/// F1 that a latent which is always active would have too.
fn below_chance(asked: &Asked<'_>) -> Option<Markup> {
    let chance = |site: &str, attribute: Option<Attribute>| {
        let fits = |row: &&Row<'_>| {
            let score = row.score;
            row.family == ALWAYS_ON && score.metric == Metric::F1 && score.site == site && score.attribute == attribute
        };
        asked.rows.iter().find(fits).and_then(|row| row.score.value)
    };
    let below = |row: &Row<'_>| {
        let score = row.score;
        (score.metric == Metric::F1).then_some(())?;
        let below = chance(&score.site, score.attribute)? - score.value?;
        (below >= 0.0).then_some(below)
    };
    worst(
        asked,
        below,
        "F1 no better than that of a latent which is always active:",
    )
}

/// Checks that found something.
fn verdicts(asked: &Asked<'_>) -> Vec<Markup> {
    let named = [("occludes", "Occlusion found:"), ("splits", "Over-splitting found:")];
    let of = |(verdict, what): &(&str, &str)| {
        let found = |row: &Row<'_>| {
            let is = row.score.verdict.as_deref() == Some(*verdict);
            is.then(|| row.score.value.unwrap_or(0.0))
        };
        worst(asked, found, what)
    };
    named.iter().filter_map(of).collect()
}

fn silent(asked: &Asked<'_>) -> Option<Markup> {
    let silent = |row: &Row<'_>| {
        row.score
            .value
            .filter(|value| row.score.metric == Metric::Silent && *value > MANY_SILENT)
    };
    worst(asked, silent, "Share of latents that are silent on every prompt:")
}

fn undefined(asked: &Asked<'_>) -> Option<Markup> {
    let mut by_metric: BTreeMap<Metric, usize> = BTreeMap::new();
    for row in asked
        .rows
        .iter()
        .filter(|row| row.score.value.is_none() && row.score.verdict.is_none())
    {
        *by_metric.entry(row.score.metric).or_default() += 1;
    }
    let named = by_metric.iter().map(|(metric, n)| format!("{metric} {n}"));
    (!by_metric.is_empty()).then(|| html! { "Undefined numbers, which stand as -: " (list(named)) "." })
}
