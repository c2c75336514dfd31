//! What the rows that an autoencoder is measured on look like, whatever the autoencoder: their mean, how long they are, and
//! whether a few rows or one dimension outweigh all others.
//!
//! Lengths are counted in a histogram whose bins are the leading bits of a float, so they lie within 0.2 % and take the same
//! memory for any number of rows.
//!
//! Shapes: `N` rows, `D` width.

use dictionaries::Dominant;

use crate::rows::Rows;

/// Bits of an `f32` that do not tell bins apart: 9 of the mantissa do.
const DROPPED_BITS: u32 = 14;
/// A row is long from so many times the median length on.
const LONG: f32 = 10.0;
/// The largest rows are one in so many.
const LARGEST: usize = 1000;
/// Standard deviations from which on the mean of a dimension is far from 0.
const FAR: f64 = 10.0;

/// What is told of the rows.
#[derive(Debug, Clone)]
pub(crate) struct Surveyed {
    /// Whether the measured rows were held out; else they were trained on.
    pub(crate) held_out: bool,
    /// Number of measured rows.
    pub(crate) rows: usize,
    /// Mean of the measured rows, `[D]`.
    pub(crate) mean: Vec<f32>,
    /// Rows, measured or not, that are more than ten times as long as the median.
    pub(crate) long_rows: usize,
    /// All rows.
    pub(crate) all_rows: usize,
    pub(crate) dominant: Option<Dominant>,
    /// The bin of the shortest of the largest rows.
    bin: usize,
    /// Share of the rows in that bin that are among the largest.
    part_of_bin: f64,
}

impl Surveyed {
    /// How much of a row of this length counts as one of the largest: 0, 1, or a share where rows are equally long.
    pub(crate) fn among_largest(&self, squared_length: f64) -> f64 {
        match bin(squared_length.sqrt() as f32).cmp(&self.bin) {
            std::cmp::Ordering::Less => 0.0,
            std::cmp::Ordering::Equal => self.part_of_bin,
            std::cmp::Ordering::Greater => 1.0,
        }
    }
}

/// Rows as they come.
#[derive(Debug)]
pub(crate) struct Survey {
    trained: Moments,
    held_out: Moments,
}

#[derive(Debug)]
struct Moments {
    rows: usize,
    /// Of each dimension, `[D]`.
    sums: Vec<f64>,
    squares: Vec<f64>,
    /// Rows of each length.
    lengths: Vec<u64>,
}

impl Survey {
    pub(crate) fn new(width: usize) -> Self {
        Self {
            trained: Moments::new(width),
            held_out: Moments::new(width),
        }
    }

    /// Rows of which the first `trained` are trained on and the others held out.
    pub(crate) fn add(&mut self, rows: &Rows, trained: usize) {
        for (i, row) in rows.values.chunks_exact(rows.width.max(1)).enumerate() {
            match i < trained {
                true => self.trained.add(row),
                false => self.held_out.add(row),
            }
        }
    }

    pub(crate) fn finish(self) -> Surveyed {
        let all: Vec<u64> = self
            .trained
            .lengths
            .iter()
            .zip(&self.held_out.lengths)
            .map(|(a, b)| a + b)
            .collect();
        let all_rows = self.trained.rows + self.held_out.rows;
        let long = LONG * length(quantile(&all, all_rows.div_ceil(2)).0);
        let long_rows = all
            .iter()
            .enumerate()
            .filter(|(bin, _)| length(*bin) > long)
            .map(|(_, n)| *n as usize)
            .sum();
        let held_out = self.held_out.rows > 0;
        let measured = if held_out { self.held_out } else { self.trained };
        let largest = measured.rows.div_ceil(LARGEST);
        let (bin, missing) = quantile(&measured.lengths, measured.rows - largest + usize::from(largest > 0));
        Surveyed {
            held_out,
            rows: measured.rows,
            mean: measured.mean().map(|mean| mean as f32).collect(),
            long_rows,
            all_rows,
            dominant: measured.dominant(),
            bin,
            part_of_bin: missing,
        }
    }
}

impl Moments {
    fn new(width: usize) -> Self {
        Self {
            rows: 0,
            sums: vec![0.0; width],
            squares: vec![0.0; width],
            lengths: vec![0; bin(f32::INFINITY) + 1],
        }
    }

    fn add(&mut self, row: &[f32]) {
        self.rows += 1;
        let mut square = 0.0;
        for ((x, sum), squares) in row.iter().zip(&mut self.sums).zip(&mut self.squares) {
            let x = f64::from(*x);
            *sum += x;
            *squares += x * x;
            square += x * x;
        }
        self.lengths[bin(square.sqrt() as f32)] += 1;
    }

    fn mean(&self) -> impl Iterator<Item = f64> {
        let n = self.rows.max(1) as f64;
        self.sums.iter().map(move |sum| sum / n)
    }

    fn dominant(&self) -> Option<Dominant> {
        let n = self.rows.max(1) as f64;
        let squares: Vec<f64> = self.mean().map(|mean| mean * mean).collect();
        let (dimension, largest) = squares.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
        let total: f64 = squares.iter().sum();
        let variances = self
            .squares
            .iter()
            .zip(&squares)
            .map(|(square, mean)| (square / n - mean).max(0.0));
        let deviation = (variances.sum::<f64>() / squares.len() as f64).sqrt();
        let found = Dominant {
            dimension,
            share: largest / total,
            deviations: largest.sqrt() / deviation,
        };
        // Rows that are all the same have no deviation.
        (2.0 * largest > total && found.deviations.is_finite() && found.deviations > FAR && squares.len() > 1)
            .then_some(found)
    }
}

/// The bin of a length; longer ones have larger bins.
fn bin(length: f32) -> usize {
    (length.max(0.0).to_bits() >> DROPPED_BITS) as usize
}

/// The least length of a bin.
fn length(bin: usize) -> f32 {
    f32::from_bits((bin as u32) << DROPPED_BITS)
}

/// The bin of the row of this rank, from 1 for the shortest, and the share of its rows that have this rank or a higher one.
fn quantile(lengths: &[u64], rank: usize) -> (usize, f64) {
    let mut below = 0;
    for (bin, &n) in lengths.iter().enumerate() {
        let n = n as usize;
        if n > 0 && below + n >= rank {
            return (bin, (below + n - rank + 1) as f64 / n as f64);
        }
        below += n;
    }
    (lengths.len() - 1, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(values: Vec<f32>, width: usize, trained: usize) -> Surveyed {
        let mut survey = Survey::new(width);
        survey.add(&Rows { width, values }, trained);
        survey.finish()
    }

    #[test]
    fn long_rows_are_counted_and_the_largest_thousandth_is_told_apart() {
        // 3,000 rows of length 1 to 2, then two of length 50, then one of 60.
        let mut values: Vec<f32> = (0..3000).map(|row| 1.0 + (row % 100) as f32 / 100.0).collect();
        values.extend([50.0, 50.0, 60.0]);
        let found = survey(values.clone(), 1, 0);
        assert_eq!(
            (found.rows, found.all_rows, found.long_rows, found.held_out),
            (3003, 3003, 3, true)
        );
        // 4 of 3,003 are the largest: the three, and one of the thirty that are 1.99 long.
        assert_eq!(
            [50.0, 60.0, 1.5].map(|x: f64| found.among_largest(x * x)),
            [1.0, 1.0, 0.0]
        );
        assert!((found.among_largest(1.99 * 1.99) - 1.0 / 30.0).abs() < 1e-9);
        // Where nothing is held out, the rows that were trained on are measured.
        let found = survey(values, 1, 3003);
        assert_eq!((found.rows, found.held_out, found.long_rows), (3003, false, 3));
    }

    #[test]
    fn means_are_those_of_the_measured_rows() {
        let found = survey(vec![9.0, 9.0, 1.0, 2.0, 3.0, 6.0], 2, 1);
        assert_eq!((found.mean, found.rows, found.all_rows), (vec![2.0, 4.0], 2, 3));
    }

    #[test]
    fn a_dimension_that_is_far_from_nought_is_named() {
        let rows = |offset: f32| {
            (0..400).flat_map(move |i| [(i % 7) as f32 - 3.0, (i % 5) as f32 - 2.0 + offset, (i % 3) as f32])
        };
        assert_eq!(survey(rows(5.0).collect(), 3, 0).dominant, None);
        let found = survey(rows(170.0).collect(), 3, 0).dominant.unwrap();
        assert!(
            found.dimension == 1 && found.share > 0.99 && (80.0..130.0).contains(&found.deviations),
            "{found:?}"
        );
        // Rows that are all the same, and rows of nothing but zeros.
        assert_eq!(survey(vec![1.0, 2.0, 1.0, 2.0], 2, 0).dominant, None);
        assert_eq!(survey(vec![0.0; 4], 2, 0).dominant, None);
    }
}
