//! What a dictionary makes of a sample of activations: sparse codes, directions and reconstructions, on the host.
//!
//! Shape legend: `N` rows, `D` width of an activation, `F` latents.

use burn::tensor::{Device, Tensor};

use crate::{Dictionary, LabelledEncoder, Rows};

/// Rows that are encoded at once: bounds the dense codes to `CHUNK * F` floats.
const CHUNK: usize = 512;

/// Codes of `N` activations, sparse: the non-zero entries of each row by rising latent.
#[derive(Debug, Clone, PartialEq)]
pub struct Codes {
    /// Number of latents `F`.
    pub n_latents: usize,
    /// `(latent, code)` of each row, `N` rows.
    pub rows: Vec<Vec<(u32, f32)>>,
}

impl Codes {
    /// Keeps the non-zero entries of dense codes `[N, F]`.
    ///
    /// ```
    /// use dictionaries::{Codes, Rows};
    ///
    /// let codes = Codes::from_dense(&Rows::new(3, vec![0.0, 2.0, 0.0, 1.0, 0.0, 3.0]));
    /// assert_eq!(codes.rows, [vec![(1, 2.0)], vec![(0, 1.0), (2, 3.0)]]);
    /// ```
    pub fn from_dense(dense: &Rows) -> Self {
        let mut codes = Self {
            n_latents: dense.width(),
            rows: Vec::new(),
        };
        codes.extend(dense);
        codes
    }

    /// The coordinates along the axes of a signed basis ([`Dictionary::is_signed_basis`]), which its codes hold as two latents an
    /// axis: `F / 2` latents whose codes may be negative.
    pub fn coordinates(&self) -> Self {
        let axes = self.n_latents / 2;
        let coordinate = |&(latent, code): &(u32, f32)| match (latent as usize) < axes {
            true => (latent, code),
            false => (latent - axes as u32, -code),
        };
        let of_row = |row: &Vec<(u32, f32)>| {
            let mut row: Vec<(u32, f32)> = row.iter().map(coordinate).collect();
            row.sort_by_key(|entry| entry.0);
            row
        };
        Self {
            n_latents: axes,
            rows: self.rows.iter().map(of_row).collect(),
        }
    }

    /// Mean number of non-zero codes of a row.
    pub fn mean_active(&self) -> f64 {
        self.rows.iter().map(Vec::len).sum::<usize>() as f64 / self.rows.len().max(1) as f64
    }

    /// Number of latents whose code is above 0 in some row.
    pub fn n_alive(&self) -> usize {
        let mut alive = vec![false; self.n_latents];
        let active = self.rows.iter().flatten().filter(|entry| entry.1 > 0.0);
        active.for_each(|entry| alive[entry.0 as usize] = true);
        alive.into_iter().filter(|alive| *alive).count()
    }

    fn extend(&mut self, dense: &Rows) {
        for i in 0..dense.len() {
            let active = dense.row(i).iter().enumerate().filter(|(_, code)| **code != 0.0);
            self.rows
                .push(active.map(|(latent, &code)| (latent as u32, code)).collect());
        }
    }
}

/// The directions `u_j` of a dictionary, with the squared lengths that edits need (decoder rows need not be unit).
#[derive(Debug, Clone, PartialEq)]
pub struct Directions {
    /// `u_j`, `[F, D]`.
    pub rows: Rows,
    /// `||u_j||^2`, `[F]`.
    pub squared: Vec<f64>,
    /// `decode(0)`, `[D]`.
    pub offset: Vec<f32>,
}

impl Directions {
    /// Measures `rows`, `[F, D]`, around `offset`, `[D]`.
    pub fn new(rows: Rows, offset: Vec<f32>) -> Self {
        let squared = (0..rows.len()).map(|j| dot(rows.row(j), rows.row(j))).collect();
        Self { rows, squared, offset }
    }

    /// The directions and the offset of a dictionary.
    pub fn of(dictionary: &dyn Dictionary) -> Self {
        let zeros = Tensor::<2>::zeros([1, dictionary.n_latents()], &dictionary.device()); // [1, F]
        let offset = kernels::to_vec(dictionary.decode(zeros)); // [D]
        Self::new(Rows::from_tensor(dictionary.directions()), offset)
    }
}

/// Scalar product in f64, in order.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// Sparse codes of activations `[N, D]` with one label per row.
pub fn encode<L>(dictionary: &dyn LabelledEncoder<L>, activations: &Rows, labels: &[L]) -> Codes {
    let mut codes = Codes {
        n_latents: dictionary.n_latents(),
        rows: Vec::with_capacity(activations.len()),
    };
    in_chunks(dictionary, activations, labels, |_, dense| {
        codes.extend(&Rows::from_tensor(dense))
    });
    codes
}

/// Sparse codes of activations `[N, D]`, the reconstructions `[N, D]` decoded from them, and what the dictionary passes on
/// directly, where it does, which is part of the reconstructions.
pub fn reconstruct<L>(
    dictionary: &dyn LabelledEncoder<L>,
    activations: &Rows,
    labels: &[L],
) -> (Codes, Rows, Option<Rows>) {
    let mut codes = Codes {
        n_latents: dictionary.n_latents(),
        rows: Vec::with_capacity(activations.len()),
    };
    let mut rebuilt = Rows::empty(dictionary.d_out());
    let mut direct: Option<Rows> = None;
    in_chunks(dictionary, activations, labels, |rows, dense| {
        let decoded = dictionary.decode(dense.clone()); // [B, D]
        let whole = match dictionary.direct(rows) {
            Some(passed_on) => {
                let all = direct.get_or_insert_with(|| Rows::empty(dictionary.d_out()));
                all.extend(&Rows::from_tensor(passed_on.clone()));
                decoded + passed_on
            }
            None => decoded,
        };
        rebuilt.extend(&Rows::from_tensor(whole));
        codes.extend(&Rows::from_tensor(dense));
    });
    (codes, rebuilt, direct)
}

/// Encodes at most [`CHUNK`] rows at a time; `each` is given them, `[B, D]`, and their codes, `[B, F]`.
fn in_chunks<L>(
    dictionary: &dyn LabelledEncoder<L>,
    activations: &Rows,
    labels: &[L],
    mut each: impl FnMut(Tensor<2>, Tensor<2>),
) {
    let device: Device = dictionary.device();
    for start in (0..activations.len()).step_by(CHUNK) {
        let range = start..(start + CHUNK).min(activations.len());
        let rows = activations.tensor(range.clone(), &device); // [B, D]
        let codes = dictionary.encode_labelled(rows.clone(), &labels[range]); // [B, F]
        each(rows, codes);
    }
}

/// Mean number of active latents, and squared error of the reconstruction over the squared distance from the mean, on
/// activations `[N, D]` with one label per row; `targets` are what is to be reconstructed, the activations themselves but for
/// a transcoder.
pub fn sparsity_and_error<L>(
    dictionary: &dyn LabelledEncoder<L>,
    activations: &Rows,
    targets: &Rows,
    labels: &[L],
) -> (f64, f64) {
    let (codes, rebuilt, _) = reconstruct(dictionary, activations, labels);
    let mean = Rows::repeat(&targets.mean(), targets.len());
    let square = |other: &Rows| {
        targets
            .distances(other)
            .iter()
            .map(|d| f64::from(*d).powi(2))
            .sum::<f64>()
    };
    let whole = square(&mean);
    let fvu = if whole > 0.0 { square(&rebuilt) / whole } else { 0.0 };
    (codes.mean_active(), fvu)
}
