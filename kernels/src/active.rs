//! Which latents of which rows are active, in the two orders that a training step needs.
//!
//! Shapes: `B` rows, `F` latents, `N` active entries.

/// The active (row, latent) entries of a batch, numbered row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveSet {
    n_latents: usize,
    /// Where each row's entries begin; `[B + 1]`.
    row_starts: Vec<usize>,
    /// Latent of each entry; `[N]`.
    latents: Vec<u32>,
    /// Row of each entry; `[N]`.
    rows: Vec<u32>,
    /// Where each latent's entries begin in `by_latent`; `[F + 1]`.
    latent_starts: Vec<usize>,
    /// Entries by latent, those of one latent by row; `[N]`.
    by_latent: Vec<u32>,
}

impl ActiveSet {
    /// From the latents of each row, in any order within it.
    ///
    /// # Panics
    ///
    /// When a latent is not below `n_latents`.
    pub fn from_rows<R: AsRef<[u32]>>(n_latents: usize, rows_of_latents: &[R]) -> Self {
        let (mut latents, mut ends) = (Vec::new(), Vec::with_capacity(rows_of_latents.len()));
        for row in rows_of_latents {
            latents.extend_from_slice(row.as_ref());
            ends.push(latents.len());
        }
        Self::new(n_latents, latents, &ends)
    }

    /// From the latent of each entry, row by row, and where the entries of each row end.
    ///
    /// # Panics
    ///
    /// When a latent is not below `n_latents`.
    pub(crate) fn new(n_latents: usize, latents: Vec<u32>, row_ends: &[usize]) -> Self {
        let n = latents.len();
        assert_eq!(row_ends.last().copied().unwrap_or(0), n, "rows of entries");
        let row_starts: Vec<usize> = std::iter::once(0).chain(row_ends.iter().copied()).collect();
        let mut rows = vec![0_u32; n];
        for (row, bounds) in row_starts.windows(2).enumerate() {
            rows[bounds[0]..bounds[1]].fill(row as u32);
        }
        // A counting sort by latent; entries come in the order of rows, and stay in it.
        let mut latent_starts = vec![0_usize; n_latents + 1];
        for &latent in &latents {
            latent_starts[latent as usize + 1] += 1;
        }
        for latent in 0..n_latents {
            latent_starts[latent + 1] += latent_starts[latent];
        }
        let mut next = latent_starts.clone();
        let mut by_latent = vec![0_u32; n];
        for (entry, &latent) in latents.iter().enumerate() {
            by_latent[next[latent as usize]] = entry as u32;
            next[latent as usize] += 1;
        }
        Self {
            n_latents,
            row_starts,
            latents,
            rows,
            latent_starts,
            by_latent,
        }
    }

    /// Number of entries, `N`.
    pub fn len(&self) -> usize {
        self.latents.len()
    }

    /// Whether no latent of any row is active.
    pub fn is_empty(&self) -> bool {
        self.latents.is_empty()
    }

    /// Number of rows, `B`.
    pub fn n_rows(&self) -> usize {
        self.row_starts.len() - 1
    }

    /// Number of latents, `F`.
    pub fn n_latents(&self) -> usize {
        self.n_latents
    }

    /// Latent of each entry, `[N]`.
    pub fn latents(&self) -> &[u32] {
        &self.latents
    }

    /// The numbers of a row's entries.
    pub fn row(&self, row: usize) -> std::ops::Range<usize> {
        self.row_starts[row]..self.row_starts[row + 1]
    }

    /// The entries of a latent, by row.
    pub fn of_latent(&self, latent: usize) -> &[u32] {
        &self.by_latent[self.range_of_latent(latent)]
    }

    /// Where a latent's entries stand among all entries by latent.
    pub(crate) fn range_of_latent(&self, latent: usize) -> std::ops::Range<usize> {
        self.latent_starts[latent]..self.latent_starts[latent + 1]
    }

    /// Row of an entry.
    pub(crate) fn row_of(&self, entry: u32) -> usize {
        self.rows[entry as usize] as usize
    }

    /// All entries by latent, those of one latent by row; `[N]`.
    pub(crate) fn by_latent(&self) -> &[u32] {
        &self.by_latent
    }

    /// One number an entry, given by latent, in the order of the rows; `[N]`.
    pub(crate) fn in_row_order(&self, numbers: impl IntoIterator<Item = f32>) -> Vec<f32> {
        let mut by_row = vec![0.0; self.len()];
        for (&entry, number) in self.by_latent.iter().zip(numbers) {
            by_row[entry as usize] = number;
        }
        by_row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_row_and_by_latent() {
        let set = ActiveSet::from_rows(4, &[vec![3, 0], vec![], vec![0]]);
        assert_eq!((set.len(), set.n_rows(), set.n_latents()), (3, 3, 4));
        assert_eq!((set.row(0), set.row(1), set.row(2)), (0..2, 2..2, 2..3));
        assert_eq!(set.of_latent(0), [1, 2]);
        assert_eq!(set.of_latent(3), [0]);
        assert!(set.of_latent(1).is_empty());
        assert_eq!((set.row_of(1), set.row_of(2)), (0, 2));
        // The first row lists latent 3 before latent 0.
        assert_eq!(set.in_row_order([1.0, 2.0, 3.0]), [3.0, 1.0, 2.0]);
    }
}
