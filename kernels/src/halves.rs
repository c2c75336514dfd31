//! Matrices whose numbers are kept in 16 bits and multiplied as `f32`, a part of the columns at a time, so that no whole matrix of
//! `f32` exists.

use std::ops::Range;

use burn::tensor::{DType, Device};
use rayon::prelude::*;

use crate::gemm::{Matrix, gemm_strided};
use crate::{bf16, f16};

/// Numbers that are widened for one part of a product: 4 MB as `f32`.
const WIDENED: usize = 1 << 20;
/// The least columns of a part, whatever their length: fewer make the product slow.
const LEAST_COLUMNS: usize = 64;

/// A type of 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// 8 significant bits, the range of `f32`. What a product multiplies with such numbers is rounded to the same type; sums are `f32`.
    Bf16,
    /// 11 significant bits, nothing above 65,504. In host memory they are multiplied as `f32`; on a GPU what a product multiplies
    /// with them is rounded to the same type.
    F16,
}

impl Half {
    /// The bits of the nearest number, ties to even; zero of bf16 below 2^-126.
    #[inline(always)]
    pub fn narrow(self, value: f32) -> u16 {
        match self {
            Self::Bf16 => bf16::round(value) as u16,
            Self::F16 => f16::narrow(value) as u16,
        }
    }

    /// The number of some bits, which is exact.
    #[inline(always)]
    pub fn widen(self, bits: u16) -> f32 {
        match self {
            Self::Bf16 => f32::from_bits(u32::from(bits) << 16),
            Self::F16 => f16::widen(bits),
        }
    }

    /// Whether the number is finite in this type.
    #[inline(always)]
    pub fn holds(self, value: f32) -> bool {
        self.widen(self.narrow(value)).is_finite()
    }

    /// Whether `device` multiplies such numbers.
    pub fn is_supported(self, device: &Device) -> bool {
        device.supports_dtype(self.dtype())
    }

    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}

/// A matrix of numbers of 16 bits, row by row.
pub(crate) struct Halves {
    pub(crate) half: Half,
    pub(crate) bits: Vec<u16>,
    /// Numbers of a row.
    pub(crate) width: usize,
}

impl Halves {
    /// Writes the numbers of a row to `out`.
    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        widen(self.half, &self.bits[row * self.width..][..self.width], out);
    }

    /// Replaces what `out` holds with `a` times some columns of the matrix, row by row.
    ///
    /// # Panics
    ///
    /// When the inner dimensions differ, which is an error of the caller.
    pub(crate) fn multiply_over(&self, out: &mut Vec<f32>, a: Matrix<'_>, columns: Range<usize>) {
        let inner = self.bits.len() / self.width.max(1);
        self.by_parts(out, a, columns, inner, |part, widened| {
            let rows = widened.par_chunks_mut(part.len()).enumerate();
            rows.for_each(|(row, out)| widen(self.half, &self.bits[row * self.width..][part.clone()], out));
            Matrix::rows(widened, part.len())
        })
    }

    /// Replaces what `out` holds with `a` times the transposed matrix, row by row.
    ///
    /// # Panics
    ///
    /// When the inner dimensions differ, which is an error of the caller.
    pub(crate) fn multiply_transposed_over(&self, out: &mut Vec<f32>, a: Matrix<'_>) {
        let columns = self.bits.len() / self.width.max(1);
        self.by_parts(out, a, 0..columns, self.width, |part, widened| {
            let rows = widened.par_chunks_mut(self.width.max(1)).zip(part);
            rows.for_each(|(out, row)| self.row(row, out));
            Matrix::rows(widened, self.width).transposed()
        })
    }

    /// `a` times the columns of a factor of `inner` rows, of which `part` widens some.
    fn by_parts(
        &self,
        out: &mut Vec<f32>,
        a: Matrix<'_>,
        columns: Range<usize>,
        inner: usize,
        part: impl for<'w> Fn(Range<usize>, &'w mut [f32]) -> Matrix<'w>,
    ) {
        let rounded = (self.half == Half::Bf16).then(|| bf16::rounded(a.values));
        let a = Matrix {
            values: rounded.as_deref().unwrap_or(a.values),
            ..a
        };
        let n = columns.len();
        let most = (WIDENED / inner.max(1)).max(LEAST_COLUMNS).min(n);
        out.clear();
        out.resize(a.rows * n, 0.0);
        let mut widened = vec![0.0; most * inner];
        for first in columns.clone().step_by(most.max(1)) {
            let columns_of_part = first..(first + most).min(columns.end);
            let widened = &mut widened[..inner * columns_of_part.len()];
            let factor = part(columns_of_part, widened);
            let at = (first - columns.start).min(out.len());
            gemm_strided(&mut out[at..], n, a, factor);
        }
    }
}

/// Writes numbers of 16 bits as `f32`.
fn widen(half: Half, bits: &[u16], out: &mut [f32]) {
    crate::vector::simd!(|| {
        // One loop for each type: the choice is not made anew for each number.
        match half {
            Half::Bf16 => out
                .iter_mut()
                .zip(bits)
                .for_each(|(out, bits)| *out = Half::Bf16.widen(*bits)),
            Half::F16 => out
                .iter_mut()
                .zip(bits)
                .for_each(|(out, bits)| *out = Half::F16.widen(*bits)),
        }
    });
}
