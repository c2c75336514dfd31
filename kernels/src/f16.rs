//! Numbers of 16 bits in memory (IEEE 754 binary16, little-endian bytes at any address) from and to `f32`.
//!
//! Whole-number arithmetic that the compiler turns into SIMD instructions: one pass from the bytes of a file to the numbers of
//! a tensor, without a buffer of aligned halves between.

use crate::vector::simd;

/// Exponent bits of a half; all set: infinite or not a number.
const EXPONENT: u32 = 0x7c00;

/// Appends the numbers behind `bytes` to `out`, which is exact.
pub fn widen_f16(bytes: &[u8], out: &mut Vec<f32>) {
    let halves = bytes.as_chunks::<2>().0;
    simd!(|| out.extend(halves.iter().map(|&half| widen(u16::from_le_bytes(half)))));
}

/// Writes `values` as halves, rounded to the nearest (ties to even), and says whether all of them are finite after that.
///
/// # Panics
///
/// When `out` does not hold two bytes for each value, which is an error of the caller.
pub fn narrow_f16(values: &[f32], out: &mut [u8]) -> bool {
    assert_eq!(out.len(), 2 * values.len(), "bytes of halves");
    let halves = out.as_chunks_mut::<2>().0;
    simd!(|| {
        let mut largest = 0;
        for (half, value) in halves.iter_mut().zip(values) {
            let bits = narrow(*value);
            largest = largest.max(bits & 0x7fff);
            *half = (bits as u16).to_le_bytes();
        }
        largest < EXPONENT
    })
}

/// The number of the bits of a half.
#[inline(always)]
pub(crate) fn widen(half: u16) -> f32 {
    /// `2^112`: the exponent of a half counts from 15, that of an `f32` from 127.
    const SCALE: f32 = f32::from_bits((127 + 112) << 23);
    let magnitude = u32::from(half & 0x7fff) << 13;
    // Exact, and brings halves that are subnormal into the range of normal numbers.
    let scaled = f32::from_bits(magnitude) * SCALE;
    let special = if magnitude >= EXPONENT << 13 { 0x7f80_0000 } else { 0 };
    f32::from_bits(scaled.to_bits() | special | (u32::from(half & 0x8000) << 16))
}

/// The bits of the nearest half.
#[inline(always)]
pub(crate) fn narrow(value: f32) -> u32 {
    /// The least `f32` that is a normal half, `2^-14`.
    const NORMAL: u32 = (127 - 14) << 23;
    /// `2^16`: from here on no half is finite.
    const BEYOND: u32 = (127 + 16) << 23;
    /// Added to a number below `2^-14`, it leaves the number in steps of `2^-24`, rounded, in the lowest bits.
    const STEPS: f32 = 0.5;
    let bits = value.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    let subnormal = (f32::from_bits(magnitude) + STEPS)
        .to_bits()
        .wrapping_sub(STEPS.to_bits());
    // A little less than half of the last place is added, and a bit more where the last place is odd.
    let odd = (magnitude >> 13) & 1;
    let normal = magnitude.wrapping_sub((127 - 15) << 23).wrapping_add(0xfff + odd) >> 13;
    let special = if magnitude > 0x7f80_0000 { 0x7e00 } else { EXPONENT };
    let finite = if magnitude < NORMAL { subnormal } else { normal };
    let half = if magnitude < BEYOND { finite } else { special };
    half | ((bits >> 16) & 0x8000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a half by its definition.
    fn value_of(half: u16) -> f64 {
        let (exponent, fraction) = (i32::from(half >> 10 & 31), f64::from(half & 0x3ff));
        let magnitude = match exponent {
            0 => fraction * 2.0_f64.powi(-24),
            31 if fraction == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            _ => (1.0 + fraction / 1024.0) * 2.0_f64.powi(exponent - 15),
        };
        if half & 0x8000 == 0 { magnitude } else { -magnitude }
    }

    fn narrowed(values: &[f32]) -> (Vec<u16>, bool) {
        let mut bytes = vec![0; 2 * values.len()];
        let finite = narrow_f16(values, &mut bytes);
        let halves = bytes.as_chunks::<2>().0.iter().map(|half| u16::from_le_bytes(*half));
        (halves.collect(), finite)
    }

    #[test]
    fn every_half_is_widened_exactly_and_comes_back() {
        let halves: Vec<u16> = (0..=u16::MAX).collect();
        // At an odd address, as in a file.
        let bytes: Vec<u8> = std::iter::once(0)
            .chain(halves.iter().flat_map(|half| half.to_le_bytes()))
            .collect();
        let mut values = vec![9.0];
        widen_f16(&bytes[1..], &mut values);
        assert_eq!((values.len(), values[0]), (halves.len() + 1, 9.0));
        for (half, value) in halves.iter().zip(&values[1..]) {
            let expected = value_of(*half);
            assert!(
                f64::from(*value) == expected || (value.is_nan() && expected.is_nan()),
                "{half:04x}"
            );
            assert_eq!(value.is_sign_negative(), half & 0x8000 != 0, "{half:04x}");
            let (back, finite) = narrowed(&[*value]);
            assert!(back[0] == *half || expected.is_nan(), "{half:04x} {:04x}", back[0]);
            assert_eq!(finite, expected.is_finite(), "{half:04x}");
        }
    }

    #[test]
    fn numbers_between_halves_go_to_the_nearest_and_ties_to_the_even_one() {
        for low in 0..0x7bff_u16 {
            let (a, b) = (value_of(low), value_of(low + 1));
            let middle = ((a + b) / 2.0) as f32; // exact: one bit more than a half has
            let even = low + low % 2;
            let values = [middle.next_down(), middle, middle.next_up(), -middle];
            assert_eq!(
                narrowed(&values),
                (vec![low, even, low + 1, even | 0x8000], true),
                "{low:04x}"
            );
        }
        assert_eq!(
            narrowed(&[65_519.996, 65_520.0, f32::MAX]),
            (vec![0x7bff, 0x7c00, 0x7c00], false)
        );
        assert_eq!(narrowed(&[1e-30, -0.0]), (vec![0, 0x8000], true));
    }
}
