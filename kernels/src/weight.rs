//! Matrices of linear layers and tables of embeddings, in the type that their numbers are kept in.
//!
//! Numbers of 16 bits take half the memory and are kept once: laid out for the product in bf16 where the processor has
//! instructions for it (AMX or AVX512-BF16), otherwise as they are and widened part by part. On other devices they are a tensor of their
//! type.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Bytes, DType, Device, Int, Tensor, TensorData};
use burn_flex::FlexTensor;
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use crate::bf16::LaidOut;
use crate::gemm::{Matrix, gemm_over};
use crate::halves::{Half, Halves};
use crate::host::{contiguous, flex_slice, into_flex};
use crate::{cpu, from_vec, is_cpu, matmul, to_vec};

/// A matrix `[N, P]` of a linear layer, or the table `[V, D]` of an embedding.
#[derive(Debug, Clone)]
pub struct Weight(Kept);

/// Which product a matrix is laid out for; the other one is right, too, but slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsedAs {
    /// A linear layer: `x · W`.
    Layer,
    /// An embedding whose rows are looked up, and that is an unembedding: `x · Wᵀ`.
    Table,
}

#[derive(Debug, Clone)]
enum Kept {
    /// `f32`, on any device.
    Full(Tensor<2>),
    /// 16 bits, on a device that is not the CPU.
    Device(Half, Tensor<2>),
    /// 16 bits, in host memory.
    Host(Arc<Host>),
}

/// A matrix of numbers of 16 bits in host memory.
struct Host {
    shape: [usize; 2],
    layout: Layout,
}

enum Layout {
    Rows(Halves),
    /// The matrix as the right factor of a product in bf16.
    #[cfg(target_arch = "x86_64")]
    LaidOut(LaidOut),
    /// The transposed matrix.
    #[cfg(target_arch = "x86_64")]
    LaidOutTransposed(LaidOut),
}

impl From<Tensor<2>> for Weight {
    fn from(tensor: Tensor<2>) -> Self {
        Self(Kept::Full(tensor))
    }
}

impl Weight {
    /// The matrix of row-major `bits` of numbers of type `half`, on `device`.
    ///
    /// # Panics
    ///
    /// When `bits` does not hold exactly the product of `shape`, which is an error of the caller.
    pub fn of_halves(half: Half, bits: Vec<u16>, shape: [usize; 2], used_as: UsedAs, device: &Device) -> Self {
        assert_eq!(
            bits.len(),
            shape[0] * shape[1],
            "numbers of a matrix of shape {shape:?}"
        );
        if is_cpu(device) {
            return Self(Kept::Host(Arc::new(Host::new(half, bits, shape, used_as))));
        }
        let data = TensorData::from_bytes(Bytes::from_elems(bits), shape, half.dtype());
        Self(Kept::Device(half, Tensor::from_data(data, (device, half.dtype()))))
    }

    /// Rows and columns.
    pub fn dims(&self) -> [usize; 2] {
        match &self.0 {
            Kept::Full(tensor) | Kept::Device(_, tensor) => tensor.dims(),
            Kept::Host(host) => host.shape,
        }
    }

    /// The matrix for writing, where it is kept in `f32`.
    pub fn full_mut(&mut self) -> Option<&mut Tensor<2>> {
        match &mut self.0 {
            Kept::Full(tensor) => Some(tensor),
            Kept::Device(..) | Kept::Host(_) => None,
        }
    }

    /// The matrix in `f32`: the tensor itself, or a wider copy.
    pub fn widened(&self) -> Tensor<2> {
        match &self.0 {
            Kept::Full(tensor) => tensor.clone(),
            Kept::Device(_, tensor) => tensor.clone().cast(DType::F32),
            Kept::Host(host) => from_vec(host.rows(0..host.shape[0]), host.shape, &cpu()),
        }
    }

    /// What a product with this matrix multiplies of `x`: rounded as the kept numbers are, where the product does that.
    pub fn factor<const R: usize>(&self, x: Tensor<R>) -> Tensor<R> {
        match &self.0 {
            Kept::Device(half, _) => x.cast(half.dtype()).cast(DType::F32),
            Kept::Host(host) if host.half() == Half::Bf16 => x.cast(DType::BF16).cast(DType::F32),
            Kept::Full(_) | Kept::Host(_) => x,
        }
    }

    /// Some rows, in `f32`, `[rows.len(), P]`.
    pub fn select(&self, rows: &[usize]) -> Tensor<2> {
        let n = rows.len();
        let select = |tensor: &Tensor<2>| {
            let rows: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
            let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [n]), &tensor.device());
            tensor.clone().select(0, rows) // [n, P]
        };
        match &self.0 {
            Kept::Full(tensor) => select(tensor),
            Kept::Device(_, tensor) => select(tensor).cast(DType::F32),
            Kept::Host(host) => from_vec(host.rows(rows.iter().copied()), [n, host.shape[1]], &cpu()),
        }
    }

    /// The rows of `range`, in `f32`.
    pub fn slice(&self, range: Range<usize>) -> Tensor<2> {
        match &self.0 {
            Kept::Full(tensor) => tensor.clone().slice([range, 0..tensor.dims()[1]]), // [n, P]
            Kept::Device(_, tensor) => tensor.clone().slice([range, 0..tensor.dims()[1]]).cast(DType::F32), // [n, P]
            Kept::Host(host) => from_vec(host.rows(range.clone()), [range.len(), host.shape[1]], &cpu()),
        }
    }

    /// `x · W`, differentiable in `x`.
    ///
    /// # Shapes
    ///
    /// - x: `[M, N]`
    /// - output: `[M, P]`
    pub fn multiply(&self, x: Tensor<2>) -> Tensor<2> {
        let [rows, columns] = [x.dims()[0], self.dims()[1]];
        if let (Kept::Host(host), Some(flex)) = (&self.0, plain(&x)) {
            let mut product = Vec::new();
            host.multiply_over(&mut product, Matrix::rows(flex_slice(&flex), host.shape[0]), 0..columns);
            return from_vec(product, [rows, columns], &cpu());
        }
        self.by_tensors(x, |w| w)
    }

    /// `x · Wᵀ`, differentiable in `x`: the logits of an unembedding.
    ///
    /// # Shapes
    ///
    /// - x: `[M, P]`
    /// - output: `[M, N]`
    pub fn multiply_transposed(&self, x: Tensor<2>) -> Tensor<2> {
        let [rows, columns] = [x.dims()[0], self.dims()[0]];
        if let (Kept::Host(host), Some(flex)) = (&self.0, plain(&x)) {
            let mut product = Vec::new();
            host.multiply_transposed_over(&mut product, Matrix::rows(flex_slice(&flex), host.shape[1]));
            return from_vec(product, [rows, columns], &cpu());
        }
        self.by_tensors(x, Tensor::transpose)
    }

    /// The product of `x` with what `form` makes of the matrix, in burn's operations.
    fn by_tensors(&self, x: Tensor<2>, form: impl Fn(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
        match &self.0 {
            Kept::Full(tensor) => matmul(x, form(tensor.clone())),
            Kept::Device(half, tensor) => {
                let product = x.cast(half.dtype()).matmul(form(tensor.clone()));
                product.cast(DType::F32)
            }
            Kept::Host(_) => {
                // Where `x` is no plain tensor of the CPU, such as one that is recorded for a backward pass.
                let device = x.device();
                let wide = from_vec(to_vec(self.widened()), self.dims(), &device);
                matmul(self.factor(x), form(wide))
            }
        }
    }

    /// Replaces what `out` holds with `x W`, row by row; says whether the matrix lies in host memory, without which nothing is done.
    ///
    /// # Panics
    ///
    /// When the inner dimensions differ, which is an error of the caller.
    pub fn multiply_over(&self, out: &mut Vec<f32>, x: Matrix<'_>) -> bool {
        let host = self.host();
        if let Some(host) = &host {
            host.multiply_over(out, x, 0..self.dims()[1]);
        }
        host.is_some()
    }

    /// The matrix in host memory, where it lies there.
    pub(crate) fn host(&self) -> Option<HostWeight<'_>> {
        match &self.0 {
            Kept::Full(tensor) => Some(HostWeight(Numbers::Full(plain(tensor)?, tensor.dims()[1]))),
            Kept::Device(..) => None,
            Kept::Host(host) => Some(HostWeight(Numbers::Half(host))),
        }
    }
}

/// A matrix in host memory, in whatever type.
pub(crate) struct HostWeight<'a>(Numbers<'a>);

enum Numbers<'a> {
    /// Row by row, and the numbers of a row.
    Full(FlexTensor, usize),
    Half(&'a Host),
}

impl HostWeight<'_> {
    /// `a` times some columns of the matrix as new memory, row by row.
    ///
    /// # Panics
    ///
    /// When the inner dimensions differ, which is an error of the caller.
    pub(crate) fn multiply(&self, a: Matrix<'_>, columns: Range<usize>) -> Vec<f32> {
        let mut out = Vec::new();
        self.multiply_over(&mut out, a, columns);
        out
    }

    /// The same in the memory of `out`.
    fn multiply_over(&self, out: &mut Vec<f32>, a: Matrix<'_>, columns: Range<usize>) {
        match &self.0 {
            Numbers::Full(tensor, width) => {
                let values = &flex_slice(tensor)[columns.start..];
                gemm_over(out, a, Matrix::strided(values, a.columns, columns.len(), *width));
            }
            Numbers::Half(host) => host.multiply_over(out, a, columns),
        }
    }
}

impl Host {
    #[cfg_attr(
        not(target_arch = "x86_64"),
        allow(unused_variables, reason = "there is one layout without instructions for bf16")
    )]
    fn new(half: Half, bits: Vec<u16>, shape: [usize; 2], used_as: UsedAs) -> Self {
        #[cfg(target_arch = "x86_64")]
        if half == Half::Bf16 {
            let matrix = Matrix::rows(bits.as_slice(), shape[1]);
            let layout = match used_as {
                UsedAs::Layer => LaidOut::new(matrix).map(Layout::LaidOut),
                UsedAs::Table => LaidOut::new(matrix.transposed()).map(Layout::LaidOutTransposed),
            };
            if let Some(layout) = layout {
                return Self { shape, layout };
            }
        }
        Self::row_by_row(half, bits, shape)
    }

    fn row_by_row(half: Half, bits: Vec<u16>, shape: [usize; 2]) -> Self {
        let width = shape[1];
        Self {
            shape,
            layout: Layout::Rows(Halves { half, bits, width }),
        }
    }

    fn half(&self) -> Half {
        match &self.layout {
            Layout::Rows(halves) => halves.half,
            #[cfg(target_arch = "x86_64")]
            Layout::LaidOut(_) | Layout::LaidOutTransposed(_) => Half::Bf16,
        }
    }

    /// Some rows in `f32`, one after the other.
    fn rows(&self, rows: impl IntoIterator<Item = usize>) -> Vec<f32> {
        let rows: Vec<usize> = rows.into_iter().collect();
        let width = self.shape[1];
        let mut out = vec![0.0; rows.len() * width];
        let pairs = out.par_chunks_mut(width.max(1)).zip(rows);
        pairs.for_each(|(out, row)| match &self.layout {
            Layout::Rows(halves) => halves.row(row, out),
            #[cfg(target_arch = "x86_64")]
            Layout::LaidOut(matrix) => matrix.row(row, out),
            #[cfg(target_arch = "x86_64")]
            Layout::LaidOutTransposed(matrix) => matrix.column(row, out),
        });
        out
    }

    /// Replaces what `out` holds with `a` times some columns of the matrix, row by row.
    fn multiply_over(&self, out: &mut Vec<f32>, a: Matrix<'_>, columns: Range<usize>) {
        match &self.layout {
            Layout::Rows(halves) => halves.multiply_over(out, a, columns),
            #[cfg(target_arch = "x86_64")]
            Layout::LaidOut(matrix) => matrix.multiply_columns_over(out, a, columns),
            #[cfg(target_arch = "x86_64")]
            Layout::LaidOutTransposed(_) => self.in_rows().multiply_over(out, a, columns),
        }
    }

    /// Replaces what `out` holds with `a` times the transposed matrix, row by row.
    fn multiply_transposed_over(&self, out: &mut Vec<f32>, a: Matrix<'_>) {
        match &self.layout {
            Layout::Rows(halves) => halves.multiply_transposed_over(out, a),
            #[cfg(target_arch = "x86_64")]
            Layout::LaidOutTransposed(matrix) => matrix.multiply_over(out, a),
            #[cfg(target_arch = "x86_64")]
            Layout::LaidOut(_) => self.in_rows().multiply_transposed_over(out, a),
        }
    }

    /// The same matrix row by row, for the product that it is not laid out for.
    #[cfg(target_arch = "x86_64")]
    fn in_rows(&self) -> Self {
        let bits = self
            .rows(0..self.shape[0])
            .into_iter()
            .map(|number| Half::Bf16.narrow(number));
        Self::row_by_row(Half::Bf16, bits.collect(), self.shape)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("shape", &self.shape)
            .field("half", &self.half())
            .finish_non_exhaustive()
    }
}

/// The numbers of a plain CPU tensor, row by row.
fn plain(tensor: &Tensor<2>) -> Option<FlexTensor> {
    into_flex(tensor.clone()).ok().map(contiguous)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    /// Rows of `x`, and rows and columns of the matrix: rests of tiles, panels and pairs, and several parts that are widened.
    const SIZES: [[usize; 3]; 6] = [
        [1, 1, 1],
        [5, 7, 9],
        [17, 33, 130],
        [9, 257, 99],
        [3, 2000, 1500],
        [2, 70, 40_000],
    ];

    /// A matrix in every layout that there is for its type: on the CPU, and on what stands in for another device.
    fn kept(half: Half, values: &[f32], shape: [usize; 2]) -> Vec<Weight> {
        let bits = || values.iter().map(|value| half.narrow(*value)).collect::<Vec<u16>>();
        let of = |used_as, device| Weight::of_halves(half, bits(), shape, used_as, &device);
        vec![
            of(UsedAs::Layer, cpu()),
            of(UsedAs::Table, cpu()),
            Weight(Kept::Host(Arc::new(Host::row_by_row(half, bits(), shape)))),
            of(UsedAs::Table, cpu().autodiff()),
        ]
    }

    fn whole(len: usize, factor: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * factor) % 13) as f32 - 6.0).collect()
    }

    /// `a b` of matrices row by row, `b` of `n` columns, in f64; and the sums of magnitudes.
    fn textbook(a: &[f32], b: &[f32], k: usize, n: usize) -> (Vec<f64>, Vec<f64>) {
        let sums = |magnitude: bool| {
            a.chunks(k)
                .flat_map(|row| {
                    (0..n).map(move |column| {
                        let products = row
                            .iter()
                            .enumerate()
                            .map(|(i, a)| f64::from(*a) * f64::from(b[i * n + column]));
                        products.map(|x| if magnitude { x.abs() } else { x }).sum()
                    })
                })
                .collect()
        };
        (sums(false), sums(true))
    }

    fn turned(values: &[f32], columns: usize) -> Vec<f32> {
        let rows = values.len() / columns;
        (0..values.len())
            .map(|i| values[i % rows * columns + i / rows])
            .collect()
    }

    #[test]
    fn small_whole_numbers_are_multiplied_looked_up_and_widened_exactly() {
        for [m, n, p] in SIZES {
            let (x, w) = (whole(m * n, 7), whole(n * p, 5));
            let tall = whole(m * p, 3);
            let product: Vec<f32> = textbook(&x, &w, n, p).0.iter().map(|x| *x as f32).collect();
            let transposed = textbook(&tall, &turned(&w, p), p, n).0;
            let transposed: Vec<f32> = transposed.iter().map(|x| *x as f32).collect();
            for half in [Half::Bf16, Half::F16] {
                for weight in kept(half, &w, [n, p]) {
                    let device = match &weight.0 {
                        Kept::Device(..) => cpu().autodiff(),
                        _ => cpu(),
                    };
                    // burn's own product rounds its output.
                    let fits = |numbers: &[f32]| numbers.iter().all(|x| half.widen(half.narrow(*x)) == *x);
                    let exact = |numbers: &[f32]| matches!(&weight.0, Kept::Host(_)) || fits(numbers);
                    let name = format!("{m} {n} {p} {weight:?}");
                    assert_eq!(weight.dims(), [n, p]);
                    if exact(&product) {
                        let found = weight.multiply(from_vec(x.clone(), [m, n], &device));
                        assert!(to_vec(found) == product, "{name}");
                    }
                    if exact(&transposed) {
                        let found = weight.multiply_transposed(from_vec(tall.clone(), [m, p], &device));
                        assert!(to_vec(found) == transposed, "{name}");
                    }
                    assert!(to_vec(weight.widened()) == w, "{name}");
                    let rows = [n - 1, 0, n / 2];
                    let expected: Vec<f32> = rows.iter().flat_map(|row| &w[row * p..][..p]).copied().collect();
                    assert!(to_vec(weight.select(&rows)) == expected, "{name}");
                    assert!(to_vec(weight.slice(n / 2..n)) == w[n / 2 * p..], "{name}");
                    let Some(host) = weight.host() else { continue };
                    for columns in [0..p / 2, p / 2..p, p / 3..p / 3 + 1, 0..0] {
                        let expected: Vec<f32> = product
                            .chunks(p)
                            .flat_map(|row| &row[columns.clone()])
                            .copied()
                            .collect();
                        assert!(
                            host.multiply(Matrix::rows(&x, n), columns.clone()) == expected,
                            "{name} {columns:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn products_are_those_of_the_rounded_numbers() {
        let [m, n, p] = [9, 257, 99];
        let mut rng = random::rng(0, "weight");
        let (x, w) = (
            random::normal(&mut rng, m * n, 1.0),
            random::normal(&mut rng, n * p, 1.0),
        );
        let rounded = |values: &[f32], half: Half| -> Vec<f32> {
            values.iter().map(|value| half.widen(half.narrow(*value))).collect()
        };
        for half in [Half::Bf16, Half::F16] {
            let factor = if half == Half::Bf16 {
                rounded(&x, half)
            } else {
                x.clone()
            };
            let (expected, magnitudes) = textbook(&factor, &rounded(&w, half), n, p);
            let (unrounded, _) = textbook(&x, &w, n, p);
            for weight in kept(half, &w, [n, p]).into_iter().take(3) {
                let found = to_vec(weight.multiply(from_vec(x.clone(), [m, n], &cpu())));
                let gap = |expected: &[f64]| {
                    let gaps = found.iter().zip(expected).zip(&magnitudes);
                    gaps.map(|((a, b), size)| (f64::from(*a) - b).abs() / size)
                        .fold(0.0, f64::max)
                };
                assert!(gap(&expected) < 1e-6, "{weight:?}: {}", gap(&expected));
                // The numbers have been rounded at all.
                assert!(gap(&unrounded) > 3e-5, "{weight:?}: {}", gap(&unrounded));
                let seen = to_vec(weight.factor(from_vec::<2>(x.clone(), [m, n], &cpu())));
                assert!(seen == factor, "{weight:?}");
            }
        }
    }

    #[test]
    fn gradients_flow_through_a_product_with_halves() {
        let device = cpu().autodiff();
        for weight in kept(Half::Bf16, &[1.0, 2.0, 3.0, 4.0], [2, 2]) {
            let x = from_vec::<2>(vec![5.0, 7.0], [1, 2], &device).require_grad();
            let y = weight.multiply(x.clone()) + weight.multiply_transposed(x.clone());
            assert_eq!(to_vec(y.clone().inner()), [26.0 + 19.0, 38.0 + 43.0]);
            let grads = y.sum().backward();
            assert_eq!(to_vec(x.grad(&grads).unwrap()), [3.0 + 4.0, 7.0 + 6.0]);
        }
    }

    #[test]
    fn what_a_type_cannot_hold_is_known() {
        for (half, value, holds) in [
            (Half::F16, 65_504.0, true),
            (Half::F16, -65_520.0, false),
            (Half::Bf16, 3.38e38, true),
            (Half::Bf16, f32::MAX, false),
        ] {
            assert_eq!(half.holds(value), holds, "{half:?} {value}");
        }
    }
}
