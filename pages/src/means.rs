//! Means of a family over sites, attributes and seeds, with an interval over prompts.

use eval::bootstrap;
use eval::ledger::{Entry, FEWEST};
use eval::table::columns::{Column, Row};

use crate::number::pointer;

/// A mean of scores.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mean {
    pub(crate) value: f64,
    /// The middle 95 % of the same mean over the resamples of prompts, sites and seeds taken as given.
    pub(crate) interval: Option<(f64, f64)>,
    /// Pointers to the scores in `report.json`.
    pub(crate) from: Vec<String>,
}

/// The mean of what `column` takes of a family; none where it takes nothing that is defined.
///
/// `rows` and `entries` are those of one report, in its order; without entries there is no interval.
pub(crate) fn mean(rows: &[Row<'_>], entries: &[Entry], column: &Column, family: &str) -> Option<Mean> {
    mean_of(rows, entries, |row| column.takes(row, family))
}

/// The mean of all scores that `takes` takes.
pub(crate) fn mean_of(rows: &[Row<'_>], entries: &[Entry], takes: impl Fn(&Row<'_>) -> bool) -> Option<Mean> {
    let taken: Vec<usize> = (0..rows.len())
        .filter(|&place| takes(&rows[place]) && rows[place].score.value.is_some())
        .collect();
    let values: Vec<f64> = taken.iter().filter_map(|&place| rows[place].score.value).collect();
    if values.is_empty() {
        return None;
    }
    Some(Mean {
        value: values.iter().sum::<f64>() / values.len() as f64,
        interval: interval(rows, entries, &taken),
        from: taken.iter().map(|&place| pointer(place, "value")).collect(),
    })
}

/// Resample `r` shows the same prompts to every score, so the mean can be taken in each. Scores of too few prompts have no interval,
/// and their mean has none either.
fn interval(rows: &[Row<'_>], entries: &[Entry], taken: &[usize]) -> Option<(f64, f64)> {
    let of = |&place: &usize| {
        let entry = entries.get(place)?;
        (entry.score == *rows[place].score && entry.score.n >= FEWEST).then_some(entry.resampled.as_slice())
    };
    let all = taken.iter().map(of).collect::<Option<Vec<&[f32]>>>()?;
    let resamples = all.first()?.len();
    if resamples == 0 || all.iter().any(|one| one.len() != resamples) {
        return None;
    }
    let in_resample = |r: usize| all.iter().map(|one| f64::from(one[r])).sum::<f64>() / all.len() as f64;
    bootstrap::interval(&(0..resamples).map(in_resample).collect::<Vec<f64>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use eval::metric::Metric;
    use eval::report::Score;

    fn score(site: &str, value: f64) -> Score {
        Score {
            dictionary: "a".to_owned(),
            site: site.to_owned(),
            attribute: None,
            test: Metric::Sufficiency.test(),
            metric: Metric::Sufficiency,
            method: None,
            k: None,
            threshold: None,
            verdict: None,
            sensitivity: std::collections::BTreeMap::new(),
            value: Some(value),
            low: None,
            high: None,
            n: 100,
            raw: Default::default(),
            latents: Vec::new(),
        }
    }

    #[test]
    fn a_mean_is_taken_in_every_resample() {
        let scores = [score("x", 0.2), score("y", 0.6)];
        let rows: Vec<Row<'_>> = scores.iter().map(|score| Row { family: "a", score }).collect();
        // Both move together: the mean spreads as much as each.
        let resampled = |middle: f32| (0..1000).map(|r| middle + (r as f32 - 499.5) / 1000.0).collect();
        let entries = [0, 1].map(|place| Entry {
            score: scores[place].clone(),
            resampled: resampled([0.2, 0.6][place]),
        });
        let found = mean_of(&rows, &entries, |_| true).unwrap();
        let (low, high) = found.interval.unwrap();
        assert!(
            (found.value - 0.4).abs() < 1e-12 && (low + 0.075).abs() < 2e-3 && (high - 0.875).abs() < 2e-3,
            "{found:?}"
        );
        assert_eq!(found.from, ["/scores/0/value", "/scores/1/value"]);
        // Entries of another report give no interval.
        let mut foreign = entries.clone();
        foreign[1].score.n = 5;
        assert_eq!(mean_of(&rows, &foreign, |_| true).unwrap().interval, None);
        assert_eq!(mean_of(&rows, &entries, |row| row.score.site == "z"), None);
    }
}
