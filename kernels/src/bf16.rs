//! The dense product of `f32` matrices whose numbers are rounded to bf16 (8 bits, to the nearest, ties to even), summed in `f32`.
//!
//! Processors with AVX512-BF16 multiply two pairs of such numbers in the time of one `f32` product, those with AMX sixteen. The right
//! factor is rounded and laid out once ([`LaidOut`]), the left one by the tasks that multiply rows of it; a tile of the output stays
//! in registers while both are read in order (Goto and van de Geijn 2008, <https://doi.org/10.1145/1356052.1356053>). Other
//! processors multiply the same rounded numbers as `f32`. Sums differ in their last bits between the three.
//!
//! Numbers below 2^-126 count as zero, as factors and, with AMX and AVX512-BF16, as sums. NaN and infinities give what they give in
//! `f32`; numbers above the largest bf16, 3.39e38, are rounded to infinity.
//!
//! The order of every sum is fixed by the inner dimension alone, so results depend neither on the number of threads nor on the
//! shape of the tasks.

#[cfg(target_arch = "x86_64")]
use std::ops::Range;

use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use crate::bf16_amx::Tiles;
#[cfg(target_arch = "x86_64")]
use crate::bf16_avx512::Panels;
#[cfg(target_arch = "x86_64")]
use crate::bf16_tiles::Lines;
use crate::gemm::{Matrix, gemm_over};

/// The least magnitude that is not taken as zero, 2^-126, as bits.
const LEAST_NORMAL: u32 = 0x0080_0000;
const INFINITY: u32 = 0x7f80_0000;

/// The right factor of products, `[K, N]`, rounded and laid out.
pub(crate) enum Packed {
    #[cfg(target_arch = "x86_64")]
    LaidOut(LaidOut),
    Rounded(Rounded),
}

/// The right factor of products, `[K, N]`, laid out for the best instructions for bf16 of this processor.
#[cfg(target_arch = "x86_64")]
pub(crate) enum LaidOut {
    /// For AMX.
    Tiles(Tiles),
    /// For AVX512-BF16.
    Panels(Panels),
}

/// A matrix of rounded numbers, as `f32`.
pub(crate) struct Rounded {
    values: Vec<f32>,
    rows: usize,
    columns: usize,
    strides: (isize, isize),
}

/// The instruction set that products in bf16 run with on this machine; that of products in `f32` where there is none for bf16.
pub fn bf16_instruction_set() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if Tiles::are_supported() {
        return "AMX-BF16";
    } else if Panels::are_supported() {
        return "AVX512-BF16";
    }
    crate::instruction_set()
}

/// Whether products in bf16 take a fraction of the time of those in `f32` on this machine: with AMX they do.
pub(crate) fn are_much_faster() -> bool {
    #[cfg(target_arch = "x86_64")]
    return Tiles::are_supported();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// `a b`, row by row.
///
/// # Panics
///
/// When the inner dimensions differ, which is an error of the caller.
pub(crate) fn product(a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    let mut out = Vec::new();
    Packed::new(b).multiply_over(&mut out, a);
    out
}

impl Packed {
    pub(crate) fn new(b: Matrix<'_>) -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(laid_out) = LaidOut::new(b) {
            return Self::LaidOut(laid_out);
        }
        Self::Rounded(Rounded::new(b))
    }

    /// Replaces what `out` holds with the product of `a` and this factor, row by row, in memory that nobody has filled before.
    ///
    /// # Panics
    ///
    /// When the inner dimensions differ, which is an error of the caller.
    pub(crate) fn multiply_over(&self, out: &mut Vec<f32>, a: Matrix<'_>) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::LaidOut(b) => b.multiply_over(out, a),
            Self::Rounded(b) => gemm_over(out, Rounded::new(a).matrix(), b.matrix()),
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl LaidOut {
    /// Rounds and lays out `b`, where this processor has instructions for bf16.
    pub(crate) fn new<T: Lines>(b: Matrix<'_, T>) -> Option<Self> {
        Tiles::new(b)
            .map(Self::Tiles)
            .or_else(|| Panels::new(b).map(Self::Panels))
    }

    /// Writes the numbers of a row to `out`.
    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        match self {
            Self::Tiles(tiles) => tiles.row(row, out),
            Self::Panels(panels) => panels.row(row, out),
        }
    }

    /// Writes the numbers of a column to `out`.
    pub(crate) fn column(&self, column: usize, out: &mut [f32]) {
        match self {
            Self::Tiles(tiles) => tiles.column(column, out),
            Self::Panels(panels) => panels.column(column, out),
        }
    }

    /// Replaces what `out` holds with the product of `a` and this factor, row by row.
    ///
    /// # Panics
    ///
    /// When the inner dimensions differ, which is an error of the caller.
    pub(crate) fn multiply_over(&self, out: &mut Vec<f32>, a: Matrix<'_>) {
        match self {
            Self::Tiles(b) => b.multiply_over(out, a),
            Self::Panels(b) => b.multiply_over(out, a),
        }
    }

    /// Multiplies by some columns of this factor, over what `out` held.
    ///
    /// # Panics
    ///
    /// When the inner dimensions differ, which is an error of the caller.
    pub(crate) fn multiply_columns_over(&self, out: &mut Vec<f32>, a: Matrix<'_>, columns: Range<usize>) {
        match self {
            Self::Tiles(b) => b.multiply_columns_over(out, a, columns),
            Self::Panels(b) => b.multiply_columns_over(out, a, columns),
        }
    }
}

impl Rounded {
    fn new(m: Matrix<'_>) -> Self {
        Self {
            values: rounded(m.values),
            rows: m.rows,
            columns: m.columns,
            strides: m.strides,
        }
    }

    fn matrix(&self) -> Matrix<'_> {
        Matrix {
            values: &self.values,
            rows: self.rows,
            columns: self.columns,
            strides: self.strides,
        }
    }
}

/// `values` rounded to bf16, as f32.
pub(crate) fn rounded(values: &[f32]) -> Vec<f32> {
    values.par_iter().map(|value| nearest(*value)).collect()
}

/// The nearest bf16, as f32.
#[inline(always)]
pub(crate) fn nearest(value: f32) -> f32 {
    f32::from_bits(round(value) << 16)
}

/// The bits of the nearest bf16; zero for what is below 2^-126.
#[inline(always)]
pub(crate) fn round(value: f32) -> u32 {
    let bits = value.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    // A little less than half of the last place is added, and a bit more where the last place is odd.
    let nearest = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    let number = if magnitude < LEAST_NORMAL {
        (bits >> 16) & 0x8000
    } else {
        nearest
    };
    // Cut off, the bits of a NaN could be those of infinity.
    if magnitude > INFINITY {
        (bits >> 16) | 0x40
    } else {
        number
    }
}

/// The number of an even or of an odd row of a word that holds both, the even one in the lower half.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn widened(word: u32, row: usize) -> f32 {
    let odd = row % 2 == 1;
    f32::from_bits(if odd { word & 0xffff_0000 } else { word << 16 })
}

/// What becomes a factor of a product in bf16.
pub(crate) trait Rounds: Copy + Sync {
    /// The bits of the number in bf16.
    fn bf16(self) -> u32;
}

impl Rounds for f32 {
    #[inline(always)]
    fn bf16(self) -> u32 {
        round(self)
    }
}

/// The bits of a bf16.
impl Rounds for u16 {
    #[inline(always)]
    fn bf16(self) -> u32 {
        u32::from(self)
    }
}

#[cfg(test)]
#[allow(clippy::print_stdout, reason = "a test that is skipped says so")]
mod tests {
    use super::*;
    use crate::random;

    /// Sizes that fill tiles, panels and blocks of pairs, and that leave rests of each.
    const SIZES: [[usize; 3]; 10] = [
        [1, 1, 1],
        [1, 2, 1],
        [17, 33, 65],
        [8, 256, 48],
        [9, 257, 49],
        [130, 515, 129],
        [3, 700, 97],
        [200, 64, 512],
        [33, 1100, 47],
        [300, 31, 1030],
    ];

    /// A factor in every form that this processor multiplies, the best first.
    fn packed(b: Matrix<'_>) -> Vec<Packed> {
        let mut forms = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            forms.extend(Tiles::new(b).map(|tiles| Packed::LaidOut(LaidOut::Tiles(tiles))));
            forms.extend(Panels::new(b).map(|panels| Packed::LaidOut(LaidOut::Panels(panels))));
        }
        forms.push(Packed::Rounded(Rounded::new(b)));
        forms
    }

    fn multiplied(b: &Packed, a: Matrix<'_>) -> Vec<f32> {
        let mut out = vec![7.0];
        b.multiply_over(&mut out, a);
        out
    }

    /// A matrix given row by row, stored column by column.
    fn turned(values: &[f32], columns: usize) -> Vec<f32> {
        let rows = values.len() / columns;
        (0..values.len())
            .map(|i| values[i % rows * columns + i / rows])
            .collect()
    }

    #[test]
    fn small_whole_numbers_are_multiplied_exactly_in_every_storage_order() {
        for [m, k, n] in SIZES {
            let a: Vec<f32> = (0..m * k).map(|i| ((i * 7) % 11) as f32 - 5.0).collect();
            let b: Vec<f32> = (0..k * n).map(|i| ((i * 5) % 13) as f32 - 6.0).collect();
            let mut expected = Vec::new();
            for row in a.chunks(k) {
                for column in 0..n {
                    let sum: f64 = (0..k).map(|i| f64::from(row[i]) * f64::from(b[i * n + column])).sum();
                    expected.push(sum as f32);
                }
            }
            let (a_turned, b_turned) = (turned(&a, k), turned(&b, n));
            for a in [Matrix::rows(&a, k), Matrix::rows(&a_turned, m).transposed()] {
                for b in [Matrix::rows(&b, n), Matrix::rows(&b_turned, k).transposed()] {
                    for b in packed(b) {
                        assert_eq!(multiplied(&b, a), expected, "{m} {k} {n}");
                    }
                }
            }
        }
    }

    #[test]
    fn products_lie_within_the_rounding_of_their_factors_and_not_nearer() {
        let mut worst = 0.0_f64;
        for [m, k, n] in SIZES {
            let mut rng = random::rng(3, "bf16");
            let (a, b) = (
                random::normal(&mut rng, m * k, 1.0),
                random::normal(&mut rng, k * n, 1.0),
            );
            for packed in packed(Matrix::rows(&b, n)) {
                let found = multiplied(&packed, Matrix::rows(&a, k));
                for (place, found) in found.iter().enumerate() {
                    let (row, column) = (place / n, place % n);
                    let product = |i: usize| f64::from(a[row * k + i]) * f64::from(b[i * n + column]);
                    let exact: f64 = (0..k).map(product).sum();
                    let magnitude: f64 = (0..k).map(|i| product(i).abs()).sum();
                    // Each factor moves by 2^-8 of itself at most, and a product by about 2^-7; of these draws none by more than half of it.
                    let gap = (f64::from(*found) - exact).abs() / magnitude;
                    assert!(gap <= 2.0_f64.powi(-8) * 1.001 + 1e-5, "{m} {k} {n}, {place}: {gap}");
                    worst = worst.max(gap);
                }
            }
        }
        // The numbers have been rounded at all.
        assert!(worst > 2.0_f64.powi(-11), "{worst}");
    }

    #[test]
    fn all_ways_round_alike_and_sum_in_f32() {
        let [m, k, n] = [37, 1001, 83];
        let mut rng = random::rng(4, "bf16");
        let (a, b) = (
            random::normal(&mut rng, m * k, 1.0),
            random::normal(&mut rng, k * n, 1.0),
        );
        let products: Vec<Vec<f32>> = packed(Matrix::rows(&b, n))
            .iter()
            .map(|b| multiplied(b, Matrix::rows(&a, k)))
            .collect();
        for product in &products {
            for (one, other) in product.iter().zip(&products[0]) {
                // Sums of a thousand products of about 1.
                assert!((one - other).abs() < 1e-3, "{one} and {other}");
            }
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads_or_the_rows_beside() {
        let [m, k, n] = [331, 515, 203];
        let mut rng = random::rng(5, "bf16");
        let (a, b) = (
            random::normal(&mut rng, m * k, 1.0),
            random::normal(&mut rng, k * n, 1.0),
        );
        let run = |threads: usize| -> Vec<Vec<f32>> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let b = Matrix::rows(&b, n);
            pool.install(|| packed(b).iter().map(|b| multiplied(b, Matrix::rows(&a, k))).collect())
        };
        let one = run(1);
        assert!(one == run(2) && one == run(3));
        for (b, product) in packed(Matrix::rows(&b, n)).iter().zip(&one) {
            let row = multiplied(b, Matrix::rows(&a[100 * k..][..k], k));
            // The gemm crate's order of sums depends on the shape.
            if !matches!(b, Packed::Rounded(_)) {
                assert_eq!(row, product[100 * n..][..n]);
            }
        }
    }

    #[test]
    fn numbers_are_rounded_as_ieee_754_says_but_for_the_smallest() {
        let largest = f32::from_bits(0x7f7f_0000);
        for (value, expected) in [
            (1.0, 1.0),
            (257.0, 256.0),
            (259.0, 260.0),
            (257.0_f32.next_up(), 258.0),
            (-259.0, -260.0),
            (-0.0, -0.0),
            (f32::MIN_POSITIVE, f32::MIN_POSITIVE),
            (-f32::MIN_POSITIVE.next_down(), -0.0),
            (f32::from_bits(1), 0.0),
            (largest, largest),
            (f32::MAX, f32::INFINITY),
            (f32::NEG_INFINITY, f32::NEG_INFINITY),
        ] {
            assert_eq!(rounded(&[value])[0].to_bits(), expected.to_bits(), "{value:e}");
        }
        assert!(
            rounded(&[f32::NAN, f32::from_bits(0x7f80_0001)])
                .iter()
                .all(|x| x.is_nan())
        );
    }

    #[test]
    fn what_is_not_finite_stays_in_its_rows_and_what_is_below_all_normal_numbers_is_zero() {
        // A row each: a NaN, an infinity, an infinity that meets a zero, and a denormal that would give 1.
        let a = [
            [f32::NAN, 1.0, 1.0],
            [f32::INFINITY, 1.0, 1.0],
            [1.0, f32::INFINITY, 1.0],
            [1.0, 1.0, 1e-39],
        ];
        let b = [2.0, 0.0, 1e38];
        for b in packed(Matrix::rows(&b, 1)) {
            let found = multiplied(&b, Matrix::rows(a.as_flattened(), 3));
            assert!(found[0].is_nan() && found[2].is_nan(), "{found:?}");
            assert_eq!([found[1], found[3]], [f32::INFINITY, 2.0]);
        }
        // Sums of nothing.
        for b in packed(Matrix::rows(&[], 4)) {
            assert_eq!(multiplied(&b, Matrix::rows(&[], 3).transposed()), [0.0; 12]);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn processors_with_instructions_for_bf16_use_the_best() {
        // Linux lists AMX where it lets processes have its registers; that is asked here in another way than in the program.
        let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let has_amx = ["amx_tile", "amx_bf16"].map(|flag| flags.split_whitespace().any(|listed| listed == flag));
        let expected = match (has_amx, is_x86_feature_detected!("avx512bf16")) {
            ([true, true], _) => "AMX-BF16",
            (_, true) => "AVX512-BF16",
            (_, false) => crate::instruction_set(),
        };
        if expected != "AMX-BF16" {
            println!("skipped: the product with AMX, which this processor does not have");
        }
        assert_eq!(bf16_instruction_set(), expected);
        let used = match Packed::new(Matrix::rows(&[1.0; 6], 2)) {
            Packed::LaidOut(LaidOut::Tiles(_)) => "AMX-BF16",
            Packed::LaidOut(LaidOut::Panels(_)) => "AVX512-BF16",
            Packed::Rounded(_) => crate::instruction_set(),
        };
        assert_eq!(used, expected);
    }
}
