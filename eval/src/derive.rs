//! Scores that relate others to each other: edits rated by those of the reference dictionary, the area under edit accuracy
//! against the number of exchanged latents, and what the greedy search misses.
//!
//! Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)), figure 4: success
//! `(acc - acc_none) / (acc_ref - acc_none)`, 1 for an edit as good as the reference's; excess magnitude
//! `(w - w_ref) / (1 - w_ref)`, 0 for an edit as large as the reference's and 1 when everything is thrown away.
//!
//! Shape legend: `R` resamples.

use crate::bootstrap::paired;
use crate::config::EvalConfig;
use crate::ledger::{Entry, Key, Ledger};
use crate::metric::{EditMethod, Metric};
use crate::report::{DictionaryFacts, NONE};
use causal::site::Site;
use tasks::Attribute;

/// Smallest share of the reconstruction that the reference may leave unchanged for magnitudes to be rated by it.
const SMALLEST_REST: f64 = 0.05;

/// Enters the derived scores of every dictionary at every site.
pub(crate) fn derive(ledger: &mut Ledger, sites: &[Site], dictionaries: &[DictionaryFacts], config: &EvalConfig) {
    let mut derived = Ledger::default();
    let reference = dictionaries.iter().find(|facts| facts.family == config.reference);
    for site in sites {
        for &attribute in &site.attributes {
            let here = Here {
                entries: ledger.entries(),
                site,
                attribute,
            };
            let none = here.find(NONE, Metric::EditAccuracy, None, None);
            for facts in dictionaries {
                if let (Some(none), Some(reference)) = (none, reference) {
                    here.rate(&mut derived, &facts.name, none, &reference.name, config);
                }
                here.gaps(&mut derived, &facts.name, config);
                if let Some(none) = none {
                    here.areas(&mut derived, &facts.name, none, config);
                }
            }
        }
    }
    ledger.extend(derived.into_entries());
}

/// The scores of one attribute at one site.
struct Here<'a> {
    entries: &'a [Entry],
    site: &'a Site,
    attribute: Attribute,
}

impl<'a> Here<'a> {
    fn find(
        &self,
        dictionary: &str,
        metric: Metric,
        method: Option<EditMethod>,
        k: Option<usize>,
    ) -> Option<&'a Entry> {
        self.entries.iter().find(|Entry { score, .. }| {
            score.dictionary == dictionary
                && score.site == self.site.name
                && score.attribute == Some(self.attribute)
                && (score.metric, score.method, score.k) == (metric, method, k)
        })
    }

    fn key<'k>(&'k self, dictionary: &'k str, metric: Metric) -> Key<'k> {
        Key::new(dictionary, &self.site.name, metric).of(self.attribute)
    }

    /// Success and excess magnitude of each edit of a dictionary.
    fn rate(&self, into: &mut Ledger, dictionary: &str, none: &Entry, reference: &str, config: &EvalConfig) {
        let of_reference = |metric| self.find(reference, metric, Some(EditMethod::Supervised), None);
        let edits = self.entries.iter().filter(|Entry { score, .. }| {
            score.dictionary == dictionary && score.site == self.site.name && score.attribute == Some(self.attribute)
        });
        for edit in edits {
            let (metric, floor) = match edit.score.metric {
                Metric::EditAccuracy => (Metric::EditSuccess, config.min_effect),
                Metric::EditMagnitude => (Metric::EditExcess, SMALLEST_REST),
                _ => continue,
            };
            let (Some(method), Some(best)) = (edit.score.method, of_reference(edit.score.metric)) else {
                continue;
            };
            let (n, key) = (edit.score.n, self.key(dictionary, metric).by(method, edit.score.k));
            let rate = |value: f64, from: f64, to: f64| (to - from >= floor).then(|| (value - from) / (to - from));
            let (from, to) = match metric {
                Metric::EditSuccess => (none, best),
                _ => (best, &one(best)),
            };
            let value = match (edit.score.value, from.score.value, to.score.value) {
                (Some(value), Some(from), Some(to)) => rate(value, from, to),
                _ => None,
            };
            let (values, froms, tos) = (in_f64(edit), in_f64(from), in_f64(to));
            let spans: Vec<f64> = paired(&froms, &tos, |from, to| Some(to - from));
            let gains: Vec<f64> = paired(&values, &froms, |value, from| Some(value - from));
            let rated = paired(&gains, &spans, |gain, span| (span >= floor).then(|| gain / span));
            let raw = [
                ("from", from.score.value.unwrap_or(f64::NAN)),
                ("to", to.score.value.unwrap_or(f64::NAN)),
            ];
            into.enter(&key, value, rated, n, &raw);
        }
    }

    /// Area under accuracy against k, from no edit to the most latents, trapezoids, over the most.
    fn areas(&self, into: &mut Ledger, dictionary: &str, none: &Entry, config: &EvalConfig) {
        for &method in &config.edits {
            let at = |k: &usize| {
                Some((
                    *k as f64,
                    self.find(dictionary, Metric::EditAccuracy, Some(method), Some(*k))?,
                ))
            };
            let mut points = vec![(0.0, none)];
            points.extend(config.ks.iter().filter_map(at));
            let reached = points
                .last()
                .is_some_and(|last| Some(last.0) == config.ks.last().map(|&k| k as f64));
            let values: Option<Vec<f64>> = points.iter().map(|point| point.1.score.value).collect();
            let (Some(values), true) = (values, reached) else {
                continue;
            };
            let area = |values: &[f64]| {
                let pairs = points.windows(2).zip(values.windows(2));
                let sum: f64 = pairs.map(|(k, v)| (k[1].0 - k[0].0) * (v[0] + v[1]) / 2.0).sum();
                sum / points[points.len() - 1].0
            };
            let resamples = points.iter().map(|point| point.1.resampled.len()).min().unwrap_or(0);
            let of_resample = |r: usize| {
                area(
                    &points
                        .iter()
                        .map(|point| f64::from(point.1.resampled[r]))
                        .collect::<Vec<_>>(),
                )
            };
            let resampled = (0..resamples).map(of_resample).collect();
            let key = self.key(dictionary, Metric::EditArea).by(method, None);
            into.enter(&key, Some(area(&values)), resampled, none.score.n, &[]);
        }
    }
}

impl Here<'_> {
    /// Distance that greedy edits leave minus that of searches that see further, with as many latents.
    fn gaps(&self, into: &mut Ledger, dictionary: &str, config: &EvalConfig) {
        for &k in &config.ks {
            let of = |method| self.find(dictionary, Metric::EditDistance, Some(method), Some(k));
            for method in [EditMethod::Beam, EditMethod::Exhaustive] {
                let (Some(greedy), Some(better)) = (of(EditMethod::Greedy), of(method)) else {
                    continue;
                };
                let value = greedy
                    .score
                    .value
                    .zip(better.score.value)
                    .map(|(greedy, better)| greedy - better);
                let resampled = paired(&in_f64(greedy), &in_f64(better), |greedy, better| Some(greedy - better));
                let key = self.key(dictionary, Metric::GreedyGap).by(method, Some(k));
                into.enter(&key, value, resampled, greedy.score.n, &[]);
            }
        }
    }
}

fn in_f64(entry: &Entry) -> Vec<f64> {
    entry.resampled.iter().map(|&value| f64::from(value)).collect()
}

/// The same score with the value 1: all of the reconstruction.
fn one(entry: &Entry) -> Entry {
    let mut one = entry.clone();
    one.score.value = Some(1.0);
    one.resampled.fill(1.0);
    one
}
