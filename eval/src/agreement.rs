//! How well the activity of a latent, or what an explanation says of it, agrees with a predicate.
//!
//! * `F1 = 2 TP / (2 TP + FP + FN)`, which an always-active latent raises with the predicate's share;
//! * Matthews' correlation `MCC = (TP TN - FP FN) / sqrt((TP + FP)(TP + FN)(TN + FP)(TN + FN))`, 0 for such a latent;
//! * average precision of the codes as a ranking: the mean over holding rows of the precision at their place; rows of
//!   equal code share the place of the last of them.

/// Numbers of rows on which a latent is active, a predicate holds, and both; rows may have weights.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Agreement {
    /// Rows on which the latent is active and the predicate holds.
    pub both: f64,
    /// Rows on which the latent is active.
    pub active: f64,
    /// Rows on which the predicate holds.
    pub holds: f64,
    /// All rows.
    pub n: f64,
}

impl Agreement {
    /// Counts one row.
    pub fn add(&mut self, active: bool, holds: bool) {
        self.both += f64::from(u8::from(active && holds));
        self.active += f64::from(u8::from(active));
        self.holds += f64::from(u8::from(holds));
        self.n += 1.0;
    }

    /// Share of the active rows on which the predicate holds; 0 for a latent that is never active.
    pub fn precision(&self) -> f64 {
        share(self.both, self.active)
    }

    /// Share of the holding rows on which the latent is active.
    pub fn recall(&self) -> f64 {
        share(self.both, self.holds)
    }

    /// Harmonic mean of precision and recall.
    pub fn f1(&self) -> f64 {
        share(2.0 * self.both, self.active + self.holds)
    }

    /// Matthews' correlation; 0 where it is undefined.
    pub fn mcc(&self) -> f64 {
        let Self { both, active, holds, n } = *self;
        share(
            both * n - active * holds,
            (active * holds * (n - active) * (n - holds)).sqrt(),
        )
    }

    /// The mean of the shares of holding and of other rows that are told right; `None` where either kind is missing.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        let (holding, others) = (self.holds, self.n - self.holds);
        let silent = others - (self.active - self.both);
        (holding > 0.0 && others > 0.0).then(|| (self.both / holding + silent / others) / 2.0)
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Rows in the order of a latent's codes, for average precision.
#[derive(Debug, Clone)]
pub(crate) struct Ranked {
    /// Rows of positive code, largest first: code, row, whether the predicate holds.
    active: Vec<(f32, u32, bool)>,
    /// Rows on which the predicate holds.
    holding: Vec<u32>,
}

impl Ranked {
    /// `rows`: the code and whether the predicate holds, row by row.
    pub(crate) fn new(rows: impl IntoIterator<Item = (f32, bool)>) -> Self {
        let (mut active, mut holding) = (Vec::new(), Vec::new());
        for (row, (code, holds)) in (0_u32..).zip(rows) {
            if code > 0.0 {
                active.push((code, row, holds));
            }
            if holds {
                holding.push(row);
            }
        }
        active.sort_by(|a, b| b.0.total_cmp(&a.0));
        Self { active, holding }
    }

    /// Average precision with row `i` counted `weight(i)` times, of `total` rows in all; none where no row holds.
    pub(crate) fn average_precision(&self, weight: impl Fn(u32) -> f64, total: f64) -> Option<f64> {
        let holding: f64 = self.holding.iter().map(|&row| weight(row)).sum();
        let (mut seen, mut hits, mut sum) = (0.0, 0.0, 0.0);
        for equal in self.active.chunk_by(|a, b| a.0 == b.0) {
            let mut here = 0.0;
            for &(_, row, holds) in equal {
                seen += weight(row);
                here += if holds { weight(row) } else { 0.0 };
            }
            hits += here;
            sum += here * share(hits, seen);
        }
        // Rows on which the latent is silent come last, all at one place.
        sum += (holding - hits) * share(holding, total);
        (holding > 0.0).then(|| sum / holding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_one_by_one() {
        let mut of = Agreement::default();
        for (active, holds) in [
            (true, true),
            (true, true),
            (true, false),
            (false, true),
            (false, false),
            (false, false),
        ] {
            of.add(active, holds);
        }
        assert_eq!(of.balanced_accuracy(), Some((2.0 / 3.0 + 2.0 / 3.0) / 2.0));
        assert!((of.f1() - 4.0 / 6.0).abs() < 1e-12 && (of.mcc() - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(Agreement::default().balanced_accuracy(), None);
        assert_eq!(Agreement::default().mcc(), 0.0);
    }

    #[test]
    fn scores_are_those_of_a_table_of_four() {
        // TP 30, FP 10, FN 20, TN 40.
        let table = Agreement {
            both: 30.0,
            active: 40.0,
            holds: 50.0,
            n: 100.0,
        };
        assert!((table.f1() - 60.0 / 90.0).abs() < 1e-12);
        assert!((table.precision() - 0.75).abs() < 1e-12 && (table.recall() - 0.6).abs() < 1e-12);
        let expected = (30.0 * 40.0 - 10.0 * 20.0) / (40.0_f64 * 50.0 * 60.0 * 50.0).sqrt();
        assert!((table.mcc() - expected).abs() < 1e-12);
        let constant = Agreement {
            active: 100.0,
            both: 50.0,
            ..table
        };
        assert!((constant.f1() - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(constant.mcc(), 0.0);
        assert_eq!(Agreement::default().f1(), 0.0);
    }

    #[test]
    fn average_precision_of_ties_does_not_depend_on_their_order() {
        let rows = vec![(1.0, true), (1.0, false), (0.5, true), (0.0, false)];
        let mut turned = rows.clone();
        turned.swap(0, 1);
        let score = |rows: Vec<(f32, bool)>| Ranked::new(rows).average_precision(|_| 1.0, 4.0).unwrap();
        assert_eq!(score(rows.clone()), score(turned));
        assert!((score(rows) - (0.5 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        // A silent latent ranks nothing: the share of the predicate.
        assert!((score(vec![(0.0, true), (0.0, false), (0.0, false), (0.0, false)]) - 0.25).abs() < 1e-12);
        assert_eq!(Ranked::new([(1.0, false)]).average_precision(|_| 1.0, 1.0), None);
    }

    #[test]
    fn weights_are_repetitions() {
        let rows = [
            (0.9, true),
            (0.7, false),
            (0.7, true),
            (0.2, false),
            (0.0, true),
            (0.0, false),
        ];
        let weights = [2, 0, 3, 1, 1, 2];
        let repeated = rows
            .iter()
            .zip(weights)
            .flat_map(|(&row, n)| std::iter::repeat_n(row, n));
        let expected = Ranked::new(repeated).average_precision(|_| 1.0, 9.0);
        let found = Ranked::new(rows).average_precision(|row| weights[row as usize] as f64, 9.0);
        assert!((found.unwrap() - expected.unwrap()).abs() < 1e-12);
    }
}
