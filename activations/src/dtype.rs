//! The types that stored numbers may have, and the way between them and `f32`.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// Numbers converted at a time: a buffer of this many stays in the first-level cache.
const BLOCK: usize = 1024;

/// Type of the stored numbers; all are little-endian.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, strum::Display, strum::IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum StoredDtype {
    /// 32 bits: what the model computes.
    #[default]
    F32,
    /// 16 bits, 11 of them significant; nothing above 65,504.
    F16,
    /// 16 bits, 8 of them significant, the range of `f32`.
    Bf16,
}

impl StoredDtype {
    /// Bytes of a number.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Writes `values` as bytes, rounded to the nearest (ties to even). `out` holds exactly their bytes.
    ///
    /// # Errors
    ///
    /// The index of the first number that is not finite, or not after rounding; what stands in `out` is then unspecified.
    pub fn encode(self, values: &[f32], out: &mut [u8]) -> Result<(), usize> {
        assert_eq!(out.len(), values.len() * self.size());
        let blocks = values.chunks(BLOCK).zip(out.chunks_mut(BLOCK * self.size()));
        for (block, (values, out)) in blocks.enumerate() {
            let bad = match self {
                Self::F32 => {
                    for (out, value) in out.chunks_exact_mut(4).zip(values) {
                        out.copy_from_slice(&value.to_le_bytes());
                    }
                    not_finite(values.iter().map(|value| value.to_bits()), 0x7f80_0000)
                }
                Self::F16 => match kernels::narrow_f16(values, out) {
                    true => None,
                    false => values.iter().position(|&value| !f16::from_f32(value).is_finite()),
                },
                Self::Bf16 => {
                    let mut buffer = [bf16::ZERO; BLOCK];
                    let buffer = &mut buffer[..values.len()];
                    buffer.convert_from_f32_slice(values);
                    for (out, value) in out.chunks_exact_mut(2).zip(buffer.iter()) {
                        out.copy_from_slice(&value.to_le_bytes());
                    }
                    not_finite(buffer.iter().map(|value| u32::from(value.to_bits())), 0x7f80)
                }
            };
            if let Some(place) = bad {
                return Err(block * BLOCK + place);
            }
        }
        Ok(())
    }

    /// Appends the numbers behind `bytes` as `f32`, which is exact.
    pub fn decode(self, bytes: &[u8], out: &mut Vec<f32>) {
        match self {
            Self::F32 => out.extend(
                bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&number: &[u8; 4]| f32::from_le_bytes(number)),
            ),
            Self::F16 => kernels::widen_f16(bytes, out),
            // The upper half of an f32.
            Self::Bf16 => out.extend(
                bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&[low, high]: &[u8; 2]| f32::from_le_bytes([0, 0, low, high])),
            ),
        }
    }
}

/// The place of the first number whose bits of the exponent (`mask`) are all set.
fn not_finite(bits: impl Iterator<Item = u32> + Clone, mask: u32) -> Option<usize> {
    // Without an early end the loop is vectorised; the place is looked for only when there is one.
    let any = bits.clone().fold(false, |any, bits| any | (bits & mask == mask));
    any.then(|| bits.into_iter().position(|bits| bits & mask == mask))
        .flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(dtype: StoredDtype, values: &[f32]) -> Result<Vec<f32>, usize> {
        let mut bytes = vec![0; values.len() * dtype.size()];
        dtype.encode(values, &mut bytes)?;
        let mut out = Vec::new();
        dtype.decode(&bytes, &mut out);
        Ok(out)
    }

    proptest! {
        #[test]
        fn rounding_is_that_of_the_half_crate(values in proptest::collection::vec(-7e4_f32..7e4, 0..3000)) {
            prop_assert_eq!(&there_and_back(StoredDtype::F32, &values).unwrap(), &values);
            let expected: Vec<f32> = values.iter().map(|&x| bf16::from_f32(x).to_f32()).collect();
            prop_assert_eq!(there_and_back(StoredDtype::Bf16, &values).unwrap(), expected);
            let expected: Vec<f32> = values.iter().map(|&x| f16::from_f32(x).to_f32()).collect();
            let bad = expected.iter().position(|x| !x.is_finite());
            match there_and_back(StoredDtype::F16, &values) {
                Ok(found) => prop_assert_eq!(found, expected),
                Err(place) => prop_assert_eq!(Some(place), bad),
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_found() {
        for (dtype, bad) in [
            (StoredDtype::F32, f32::NAN),
            (StoredDtype::F32, f32::NEG_INFINITY),
            (StoredDtype::F16, 65_520.0),
            (StoredDtype::F16, f32::NAN),
            (StoredDtype::Bf16, f32::MAX),
            (StoredDtype::Bf16, f32::INFINITY),
        ] {
            let mut values = vec![1.5; 2500];
            values[2100] = bad;
            assert_eq!(there_and_back(dtype, &values), Err(2100), "{dtype:?} {bad}");
        }
        assert_eq!(there_and_back(StoredDtype::F16, &[65_504.0]), Ok(vec![65_504.0]));
    }
}
