//! Vectors that occur twice: what was trained on must not be what is measured on, under another prompt.
//!
//! Prompts that differ can give the same vector at a node that sees little of them: a head in the first block at the repeated name
//! knows the name and where it stood, and of that there are few cases. Two vectors are the same when they are no further apart than
//! [`TOLERANCE`] of the mean distance of the known vectors from their mean, which is what rounding in another batch comes to.
//!
//! Vectors are sorted by their product with one random unit direction. Two that are near have products as near, so each is
//! compared with its few neighbours only.
//!
//! Shape legend: `N` vectors, `D` width.

/// Distance, relative to that of the vectors from their mean, within which two are the same.
pub const TOLERANCE: f64 = 1e-4;

/// Vectors that are known.
#[derive(Debug)]
pub struct KnownVectors<'a> {
    width: usize,
    values: &'a [f32],
    direction: Vec<f32>,
    /// Products with the direction, rising, and the place of each vector.
    sorted: Vec<(f64, u32)>,
    /// Distance within which two vectors are the same.
    within: f64,
}

impl<'a> KnownVectors<'a> {
    /// Takes `[N, D]` values in row-major order.
    pub fn new(width: usize, values: &'a [f32]) -> Self {
        let direction = kernels::random::unit_rows(&mut kernels::random::rng(0, "duplicates"), 1, width);
        let rows = || values.chunks_exact(width.max(1));
        let n = rows().len().max(1) as f64;
        let mut mean = vec![0.0_f64; width];
        rows().for_each(|row| mean.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x)));
        mean.iter_mut().for_each(|sum| *sum /= n);
        let from_mean = |row: &[f32]| {
            row.iter()
                .zip(&mean)
                .map(|(&x, m)| (f64::from(x) - m).powi(2))
                .sum::<f64>()
                .sqrt()
        };
        let within = TOLERANCE * rows().map(from_mean).sum::<f64>() / n;
        let mut sorted: Vec<(f64, u32)> = (0_u32..)
            .zip(rows())
            .map(|(place, row)| (product(&direction, row), place))
            .collect();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        Self {
            width,
            values,
            direction,
            sorted,
            within,
        }
    }

    /// Whether a vector, `[D]`, is one of them.
    pub fn holds(&self, row: &[f32]) -> bool {
        self.same(row).next().is_some()
    }

    /// Whether each of them is the same as one before it, `[N]`.
    pub fn repeated(&self) -> Vec<bool> {
        let rows = self.values.chunks_exact(self.width.max(1));
        let repeats = |(place, row): (usize, &[f32])| self.same(row).any(|other| (other as usize) < place);
        rows.enumerate().map(repeats).collect()
    }

    /// The places of those that are the same as a vector.
    fn same<'s>(&'s self, row: &'s [f32]) -> impl Iterator<Item = u32> + 's {
        let at = product(&self.direction, row);
        // Products of f32 are rounded; a little more than the tolerance is looked at.
        let reach = self.within + 1e-6 * at.abs();
        let start = self.sorted.partition_point(|known| known.0 < at - reach);
        let near = self.sorted[start..]
            .iter()
            .take_while(move |known| known.0 <= at + reach);
        let is_same = move |place: &u32| {
            let start = *place as usize * self.width;
            let other = &self.values[start..start + self.width];
            let squares = row.iter().zip(other).map(|(a, b)| f64::from(a - b).powi(2));
            squares.sum::<f64>().sqrt() <= self.within
        };
        near.map(|known| known.1).filter(is_same)
    }
}

fn product(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_vectors_are_found_as_by_comparing_all() {
        let (n, d) = (300, 16);
        let mut rng = kernels::random::rng(1, "vectors");
        let mut values = kernels::random::normal(&mut rng, n * d, 1.0);
        // Every third vector is another one again, moved by less or by more than the tolerance.
        for i in (0..n).step_by(3).skip(10) {
            let from: Vec<f32> = values[(i / 2) * d..(i / 2 + 1) * d].to_vec();
            let by = if i % 2 == 0 { 1e-5 } else { 1e-3 };
            values[i * d..(i + 1) * d]
                .iter_mut()
                .zip(from)
                .for_each(|(x, y)| *x = y + by);
        }
        let known = KnownVectors::new(d, &values);
        let row = |i: usize| &values[i * d..(i + 1) * d];
        let same = |a: &[f32], b: &[f32]| {
            let squares = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2));
            squares.sum::<f64>().sqrt() <= known.within
        };
        let expected: Vec<bool> = (0..n).map(|i| (0..i).any(|j| same(row(i), row(j)))).collect();
        assert_eq!(known.repeated(), expected);
        assert!((20..80).contains(&expected.iter().filter(|is| **is).count()));
        let others = kernels::random::normal(&mut rng, 20 * d, 1.0);
        assert!(others.chunks_exact(d).all(|row| !known.holds(row)));
        assert!((0..n).all(|i| known.holds(row(i))));
        assert!(!KnownVectors::new(d, &[]).holds(row(0)));
    }
}
