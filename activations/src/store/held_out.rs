//! Which rows of a store are measured and not trained on.
//!
//! Whole documents are held out, in the order of a hash of their number and a seed, so that the same ones are held out however
//! the rows are read. Of prompts a document is a prompt. A text of few, long documents has no fitting set of whole ones; then
//! windows of tokens take their place.

use std::collections::HashMap;
use std::sync::Arc;

use tasks::stable_hash;

use super::schema::Row;

/// The domain of the hash that orders documents.
const DOMAIN: u64 = 0x4e1d;

/// What is held out as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    /// Documents; of prompts, prompts.
    #[default]
    Document,
    /// The sequences that the model read.
    Window,
}

impl Unit {
    fn of(self, row: &Row) -> u32 {
        match self {
            Self::Document => row.document,
            Self::Window => row.row,
        }
    }
}

/// A set of rows that are held out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeldOut {
    unit: Unit,
    /// Documents or windows, ascending.
    ids: Arc<[u32]>,
    rows: usize,
    of: usize,
}

impl HeldOut {
    /// The fewest rows that are worth measuring on.
    pub const LEAST_ROWS: usize = 16;

    /// About `share` of `rows`, and at least [`HeldOut::LEAST_ROWS`]. Nothing where the share rounds to no row, where the least
    /// number of rows is more than half of them, or where no set of whole documents or windows holds between half and twice of
    /// what was asked for and leaves something to train on.
    pub fn choose<'a>(rows: impl IntoIterator<Item = &'a Row>, share: f64, seed: u64) -> Self {
        let mut counts = Counts::default();
        rows.into_iter().for_each(|row| counts.add(row));
        counts.choose(share, seed)
    }

    /// Whether a row is held out.
    pub fn holds(&self, row: &Row) -> bool {
        self.ids.binary_search(&self.unit.of(row)).is_ok()
    }

    /// Rows that are held out.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Rows that were chosen from.
    pub fn of(&self) -> usize {
        self.of
    }

    /// What is held out as a whole.
    pub fn unit(&self) -> Unit {
        self.unit
    }
}

/// How many rows each document and each window has.
#[derive(Debug, Default)]
pub(super) struct Counts {
    documents: HashMap<u32, usize>,
    windows: HashMap<u32, usize>,
    rows: usize,
}

impl Counts {
    pub(super) fn add(&mut self, row: &Row) {
        *self.documents.entry(row.document).or_default() += 1;
        *self.windows.entry(row.row).or_default() += 1;
        self.rows += 1;
    }

    pub(super) fn choose(self, share: f64, seed: u64) -> HeldOut {
        let asked = share * self.rows as f64;
        let none = HeldOut {
            of: self.rows,
            ..HeldOut::default()
        };
        let wanted = (asked.round() as usize).max(HeldOut::LEAST_ROWS);
        if asked < 0.5 || wanted as f64 > asked.round().max(self.rows as f64 / 2.0) {
            return none;
        }
        for (unit, counts) in [(Unit::Document, self.documents), (Unit::Window, self.windows)] {
            let (ids, rows) = nearest(counts, wanted, self.rows, seed);
            let is_near = 2 * rows >= wanted && rows <= 2 * wanted;
            if rows >= HeldOut::LEAST_ROWS && is_near && rows < self.rows {
                return HeldOut {
                    unit,
                    ids: ids.into(),
                    rows,
                    of: self.rows,
                };
            }
        }
        none
    }
}

/// In the order of their hashes, every id that still fits into `wanted` of `all` rows; then one that brings the sum nearer, and where too few
/// rows are left to measure, the first ones that make up for it. Gives the ids ascending, and their rows.
fn nearest(counts: HashMap<u32, usize>, wanted: usize, all: usize, seed: u64) -> (Vec<u32>, usize) {
    let mut order: Vec<(u64, u32, usize)> = counts
        .into_iter()
        .map(|(id, rows)| (stable_hash(DOMAIN, &[seed as usize, id as usize]), id, rows))
        .collect();
    order.sort_unstable();
    let (mut ids, mut sum) = (Vec::new(), 0_usize);
    let mut take = |order: Vec<(u64, u32, usize)>, fits: &dyn Fn(usize, usize) -> bool| {
        let mut others = Vec::new();
        for (hash, id, rows) in order {
            match fits(sum, rows) {
                true => {
                    ids.push(id);
                    sum += rows;
                }
                false => others.push((hash, id, rows)),
            }
        }
        others
    };
    let others = take(order, &|sum, rows| sum + rows <= wanted);
    let others = take(others, &|sum, rows| {
        sum + rows < all && (sum + rows).abs_diff(wanted) < sum.abs_diff(wanted)
    });
    take(others, &|sum, _| sum < HeldOut::LEAST_ROWS);
    ids.sort_unstable();
    (ids, sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of documents of the given lengths, in windows of up to `context` tokens of one document.
    fn rows(lengths: &[usize], context: usize) -> Vec<Row> {
        let (mut rows, mut window) = (Vec::new(), 0);
        for (document, &length) in lengths.iter().enumerate() {
            for token in 0..length {
                rows.push(Row {
                    document: document as u32,
                    row: window,
                    position: (token % context) as u32,
                    ..Row::default()
                });
                window += u32::from(token % context == context - 1 || token == length - 1);
            }
        }
        rows
    }

    #[test]
    fn whole_documents_of_about_the_share_whatever_the_order() {
        let lengths: Vec<usize> = (0..500).map(|i| 3 + i * 7 % 41).collect();
        let rows = rows(&lengths, 32);
        for share in [0.01, 0.1, 0.5, 0.9, 0.999] {
            let held = HeldOut::choose(&rows, share, 3);
            let found = rows.iter().filter(|row| held.holds(row)).count();
            assert_eq!(
                (found, held.unit(), held.of()),
                (held.rows(), Unit::Document, rows.len())
            );
            // The last document that fits is at most 43 rows long.
            let gap = (found as f64 - share * rows.len() as f64).abs();
            assert!(gap <= 22.0, "{share}: {found}");
            assert_eq!(held, HeldOut::choose(rows.iter().rev(), share, 3));
            assert_ne!(held.ids, HeldOut::choose(&rows, share, 4).ids);
        }
    }

    #[test]
    fn what_cannot_be_measured_is_not_held_out() {
        let many = rows(&[20; 100], 32);
        for share in [0.0, 0.0001] {
            assert_eq!(HeldOut::choose(&many, share, 0).rows(), 0, "{share}");
        }
        // One row is asked for.
        assert_eq!(HeldOut::choose(&many, 0.0005, 0).rows(), 20);
        assert_eq!(HeldOut::choose(&rows(&[1; 9], 8), 0.1, 0).rows(), 0);
        assert_eq!(HeldOut::choose(&rows(&[1; 31], 8), 0.1, 0).rows(), 0);
        assert_eq!(HeldOut::choose(&rows(&[1; 32], 8), 0.1, 0).rows(), HeldOut::LEAST_ROWS);
        assert_eq!(HeldOut::choose(&[], 0.1, 0).rows(), 0);
    }

    #[test]
    fn windows_take_the_place_of_documents_that_are_too_long() {
        for lengths in [&[10_000][..], &[5_000, 5_000], &[9_800, 100, 100]] {
            let rows = rows(lengths, 64);
            let held = HeldOut::choose(&rows, 0.1, 0);
            assert_eq!(held.unit(), Unit::Window);
            assert!((900..1100).contains(&held.rows()), "{}", held.rows());
            let found = rows.iter().filter(|row| held.holds(row)).count();
            assert_eq!(found, held.rows());
        }
        // Something is left to train on, even if all would come nearer.
        assert_eq!(HeldOut::choose(&rows(&[50; 3], 64), 0.9, 0).rows(), 100);
        // A single window cannot be divided.
        assert_eq!(HeldOut::choose(&rows(&[1000], 1000), 0.1, 0).rows(), 0);
    }
}
