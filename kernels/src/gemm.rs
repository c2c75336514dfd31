//! The dense product on host slices: the `gemm` crate, the one burn's CPU backend uses, without burn's output allocation.
//!
//! A block of rows is multiplied into a buffer that the caller keeps, so a `[B, F]` matrix of pre-activations never has to
//! exist as a whole.

use std::mem::MaybeUninit;

use gemm::Parallelism;

/// Products of fewer multiply-adds than this run on one thread.
pub(crate) const PARALLEL_FROM: usize = 1 << 21;

/// A dense matrix in host memory.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T = f32> {
    pub(crate) values: &'a [T],
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Of rows and of columns; one of them is 1.
    pub(crate) strides: (isize, isize),
}

impl<'a, T> Matrix<'a, T> {
    /// `values` row by row, each of `columns`.
    pub fn rows(values: &'a [T], columns: usize) -> Self {
        Self {
            values,
            rows: values.len() / columns.max(1),
            columns,
            strides: (columns as isize, 1),
        }
    }

    /// Rows of `columns` numbers, of which the next begins `stride` numbers after the last.
    pub(crate) fn strided(values: &'a [T], rows: usize, columns: usize, stride: usize) -> Self {
        let last = rows.saturating_sub(1) * stride + columns;
        assert!(
            columns <= stride && (rows == 0 || values.len() >= last),
            "rows of a matrix"
        );
        Self {
            values,
            rows,
            columns,
            strides: (stride as isize, 1),
        }
    }

    /// The same numbers with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            strides: (self.strides.1, self.strides.0),
            ..self
        }
    }
}

/// Writes `a b` to `out`, row by row.
///
/// # Panics
///
/// When the shapes do not fit, which is an error of the caller.
pub fn gemm(out: &mut [f32], a: Matrix<'_>, b: Matrix<'_>) {
    assert_eq!(out.len(), a.rows * b.columns, "output of a product");
    gemm_strided(out, b.columns, a, b);
}

/// Writes `a b` to the rows of `out`, of which the next begins `stride` numbers after the last; what lies between them stays.
///
/// # Panics
///
/// As [`gemm`].
#[allow(unsafe_code, reason = "numbers are a kind of memory that may hold numbers")]
pub(crate) fn gemm_strided(out: &mut [f32], stride: usize, a: Matrix<'_>, b: Matrix<'_>) {
    // SAFETY: both types have one layout, and nothing but numbers is written through the new reference.
    product(
        unsafe { &mut *(std::ptr::from_mut(out) as *mut [MaybeUninit<f32>]) },
        stride,
        a,
        b,
    );
}

/// Replaces what `out` holds with `a b`, row by row, in memory that nobody has filled before.
///
/// # Panics
///
/// As [`gemm`].
#[allow(
    unsafe_code,
    reason = "a buffer of zeros would be one more pass over memory, on one thread"
)]
pub(crate) fn gemm_over(out: &mut Vec<f32>, a: Matrix<'_>, b: Matrix<'_>) {
    let len = a.rows * b.columns;
    out.clear();
    out.reserve(len);
    product(&mut out.spare_capacity_mut()[..len], b.columns, a, b);
    // SAFETY: the product has written the first `len` numbers, and there is room for them.
    unsafe { out.set_len(len) };
}

/// Writes every number of the rows of `out`, which begin `stride` numbers after one another, and reads none.
#[allow(
    unsafe_code,
    reason = "the gemm crate takes pointers and strides; both are checked against the slices here"
)]
fn product(out: &mut [MaybeUninit<f32>], stride: usize, a: Matrix<'_>, b: Matrix<'_>) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    assert_eq!(k, b.rows, "inner dimensions of a product");
    assert!(
        n <= stride && (m == 0 || out.len() >= (m - 1) * stride + n),
        "output of a product"
    );
    assert!(
        a.values.len() >= m * k && b.values.len() >= k * n,
        "operands of a product"
    );
    let parallelism = if m * n * k < PARALLEL_FROM {
        Parallelism::None
    } else {
        Parallelism::Rayon(0)
    };
    // SAFETY: `out` holds m rows of n with its stride, `a` m*k and `b` k*n numbers, and both stride pairs stay within them: each constructor of `Matrix`
    // has checked that.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr().cast::<f32>(),
            1,
            stride as isize,
            false,
            a.values.as_ptr(),
            a.strides.1,
            a.strides.0,
            b.values.as_ptr(),
            b.strides.1,
            b.strides.0,
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_storage_orders_give_the_textbook_product() {
        for (m, k, n) in [(1, 1, 1), (3, 5, 7), (33, 17, 65), (130, 257, 129)] {
            let a: Vec<f32> = (0..m * k).map(|i| ((i * 7) % 11) as f32 - 5.0).collect();
            let b: Vec<f32> = (0..k * n).map(|i| ((i * 5) % 13) as f32 - 6.0).collect();
            let flipped: Vec<f32> = (0..n * k).map(|i| b[(i % k) * n + i / k]).collect();
            let (mut plain, mut turned) = (vec![0.0; m * n], vec![0.0; m * n]);
            gemm(&mut plain, Matrix::rows(&a, k), Matrix::rows(&b, n));
            gemm(&mut turned, Matrix::rows(&a, k), Matrix::rows(&flipped, k).transposed());
            for row in 0..m {
                for column in 0..n {
                    // Small whole numbers: every order of summation is exact.
                    let expected: f32 = (0..k).map(|i| a[row * k + i] * b[i * n + column]).sum();
                    assert_eq!(plain[row * n + column], expected);
                    assert_eq!(turned[row * n + column], expected);
                }
            }
        }
    }
}
