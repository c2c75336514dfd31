//! The types of the numbers of a GGUF file, and their values in single precision.
//!
//! A type with blocks keeps some numbers as small integers with a scale, and perhaps an offset, in common. `K` types have
//! blocks of 256 numbers, of which 16 or 32 at a time have a scale, an integer itself.

use half::{bf16, f16};
use rayon::prelude::*;

/// Numbers that one thread takes at once; a multiple of every block.
const CHUNK: usize = 1 << 15;
/// Numbers of a block of the K types.
const K: usize = 256;

/// A type of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

impl Kind {
    /// Names of all types.
    pub(crate) const NAMES: &'static str = "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K";

    /// The type of a number in the file, or the name of one that is not read.
    pub(crate) fn of(id: u32) -> Result<Self, String> {
        let unread = match id {
            0 => return Ok(Self::F32),
            1 => return Ok(Self::F16),
            2 => return Ok(Self::Q4_0),
            3 => return Ok(Self::Q4_1),
            6 => return Ok(Self::Q5_0),
            7 => return Ok(Self::Q5_1),
            8 => return Ok(Self::Q8_0),
            12 => return Ok(Self::Q4K),
            13 => return Ok(Self::Q5K),
            14 => return Ok(Self::Q6K),
            30 => return Ok(Self::Bf16),
            9 => "Q8_1",
            10 => "Q2_K",
            11 => "Q3_K",
            15 => "Q8_K",
            16..=23 | 29 => "a type of the IQ family",
            24..=27 => "integers",
            28 => "F64",
            34 | 35 => "a type of the TQ family",
            39 => "MXFP4",
            _ => return Err(format!("unknown type {id}")),
        };
        Err(format!("{unread} (type {id})"))
    }

    /// Numbers and bytes of a block.
    pub(crate) fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q4K => (K, 144),
            Self::Q5K => (K, 176),
            Self::Q6K => (K, 210),
        }
    }

    /// The values of whole blocks, of which `values` are as many as `bytes` hold.
    pub(crate) fn dequantise(self, bytes: &[u8], values: &mut [f32]) {
        let (n, size) = self.block();
        values
            .par_chunks_mut(CHUNK)
            .zip(bytes.par_chunks(CHUNK / n * size))
            .for_each(|(values, bytes)| self.serially(bytes, values));
    }

    fn serially(self, bytes: &[u8], values: &mut [f32]) {
        match self {
            Self::F32 => blocks(bytes, values, |block, [value]| *value = f32::from_le_bytes(*block)),
            Self::F16 => blocks(bytes, values, |block, [value]| {
                *value = f16::from_le_bytes(*block).to_f32()
            }),
            Self::Bf16 => blocks(bytes, values, |block, [value]| {
                *value = bf16::from_le_bytes(*block).to_f32()
            }),
            Self::Q4_0 => blocks(bytes, values, q4_0),
            Self::Q4_1 => blocks(bytes, values, q4_1),
            Self::Q5_0 => blocks(bytes, values, q5_0),
            Self::Q5_1 => blocks(bytes, values, q5_1),
            Self::Q8_0 => blocks(bytes, values, q8_0),
            Self::Q4K => blocks(bytes, values, q4_k),
            Self::Q5K => blocks(bytes, values, q5_k),
            Self::Q6K => blocks(bytes, values, q6_k),
        }
    }
}

/// Decodes `BYTES` bytes into `N` numbers at a time.
fn blocks<const BYTES: usize, const N: usize>(
    bytes: &[u8],
    values: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; N]),
) {
    let (bytes, values) = (bytes.as_chunks().0, values.as_chunks_mut().0);
    for (block, values) in bytes.iter().zip(values) {
        decode(block, values);
    }
}

/// The half-precision number at `at`.
fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// The first 16 of 32 numbers lie in the low halves of 16 bytes, the others in the high halves.
fn halves(nibbles: &[u8], values: &mut [f32; 32], value: impl Fn(usize, u8) -> f32) {
    for (i, byte) in nibbles.iter().enumerate() {
        values[i] = value(i, byte & 15);
        values[i + 16] = value(i + 16, byte >> 4);
    }
}

fn q4_0(block: &[u8; 18], values: &mut [f32; 32]) {
    let scale = half(block, 0);
    halves(&block[2..], values, |_, q| scale * (f32::from(q) - 8.0));
}

fn q4_1(block: &[u8; 20], values: &mut [f32; 32]) {
    let (scale, least) = (half(block, 0), half(block, 2));
    halves(&block[4..], values, |_, q| scale * f32::from(q) + least);
}

/// The fifth bits of 32 numbers, from the four bytes at `at`.
fn fifth(block: &[u8], at: usize) -> impl Fn(usize) -> u8 {
    let bits = u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
    move |i| ((bits >> i & 1) << 4) as u8
}

fn q5_0(block: &[u8; 22], values: &mut [f32; 32]) {
    let (scale, fifth) = (half(block, 0), fifth(block, 2));
    halves(&block[6..], values, |i, q| scale * (f32::from(q | fifth(i)) - 16.0));
}

fn q5_1(block: &[u8; 24], values: &mut [f32; 32]) {
    let (scale, least, fifth) = (half(block, 0), half(block, 2), fifth(block, 4));
    halves(&block[8..], values, |i, q| scale * f32::from(q | fifth(i)) + least);
}

fn q8_0(block: &[u8; 34], values: &mut [f32; 32]) {
    let scale = half(block, 0);
    for (value, &q) in values.iter_mut().zip(&block[2..]) {
        *value = scale * f32::from(q.cast_signed());
    }
}

/// Scale and offset of each 32 numbers of a block of Q4_K or Q5_K: six-bit numbers in 12 bytes from byte 4 on, times the two
/// half-precision numbers before them.
fn scales(block: &[u8]) -> [(f32, f32); 8] {
    let (scale, least, packed) = (half(block, 0), half(block, 2), &block[4..16]);
    std::array::from_fn(|j| {
        let (s, m) = match j {
            0..4 => (packed[j] & 63, packed[j + 4] & 63),
            _ => (
                packed[j + 4] & 15 | packed[j - 4] >> 6 << 4,
                packed[j + 4] >> 4 | packed[j] >> 6 << 4,
            ),
        };
        (scale * f32::from(s), least * f32::from(m))
    })
}

/// 64 numbers at a time: the low halves of 32 bytes, then their high halves, each with its scale and offset.
fn k_halves(nibbles: &[u8], scales: &[(f32, f32); 8], values: &mut [f32; K], high: impl Fn(usize, usize) -> u8) {
    for (c, bytes) in nibbles.chunks_exact(32).enumerate() {
        for (j, shift) in [(2 * c, 0), (2 * c + 1, 4)] {
            let (scale, least) = scales[j];
            for (l, (value, byte)) in values[32 * j..].iter_mut().zip(bytes).enumerate() {
                let q = byte >> shift & 15 | high(j, l);
                *value = scale * f32::from(q) - least;
            }
        }
    }
}

fn q4_k(block: &[u8; 144], values: &mut [f32; K]) {
    k_halves(&block[16..], &scales(block), values, |_, _| 0);
}

fn q5_k(block: &[u8; 176], values: &mut [f32; K]) {
    let high = &block[16..48];
    k_halves(&block[48..], &scales(block), values, |j, l| (high[l] >> j & 1) << 4);
}

fn q6_k(block: &[u8; 210], values: &mut [f32; K]) {
    let (low, high, scales, scale) = (&block[..128], &block[128..192], &block[192..208], half(block, 208));
    for (part, values) in values.chunks_exact_mut(32).enumerate() {
        let (h, g) = (part / 4, part % 4);
        let (low, high) = (&low[64 * h + 32 * (g % 2)..], &high[32 * h..]);
        for (l, value) in values.iter_mut().enumerate() {
            let q = low[l] >> (4 * (g / 2)) & 15 | (high[l] >> (2 * g) & 3) << 4;
            let scale = scale * f32::from(scales[2 * part + l / 16].cast_signed());
            *value = scale * (f32::from(q) - 32.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 11] = [
        Kind::F32,
        Kind::F16,
        Kind::Bf16,
        Kind::Q4_0,
        Kind::Q4_1,
        Kind::Q5_0,
        Kind::Q5_1,
        Kind::Q8_0,
        Kind::Q4K,
        Kind::Q5K,
        Kind::Q6K,
    ];

    /// Number `i` of a block, straight from the table of `models.md`.
    fn value(kind: Kind, b: &[u8], i: usize) -> f32 {
        let d = |at: usize| f16::from_bits(u16::from(b[at]) + 256 * u16::from(b[at + 1])).to_f32();
        let nibble = |from: usize| match i {
            0..16 => b[from + i] % 16,
            _ => b[from + i - 16] / 16,
        };
        let bit = |from: usize| b[from + i / 8] / (1 << (i % 8)) % 2;
        let (j, l) = (i / 32, i % 32);
        let affine = |fifth: u8, from: usize| {
            let s = &b[4..16];
            let (sc, m) = if j < 4 {
                (s[j] % 64, s[j + 4] % 64)
            } else {
                (s[j + 4] % 16 + 16 * (s[j - 4] / 64), s[j + 4] / 16 + 16 * (s[j] / 64))
            };
            let byte = b[from + 32 * (j / 2) + l];
            let q = if j % 2 == 0 { byte % 16 } else { byte / 16 } + 16 * fifth;
            d(0) * f32::from(sc) * f32::from(q) - d(2) * f32::from(m)
        };
        match kind {
            Kind::F32 => {
                f32::from_bits(u32::from(b[0]) | u32::from(b[1]) << 8 | u32::from(b[2]) << 16 | u32::from(b[3]) << 24)
            }
            Kind::F16 => d(0),
            Kind::Bf16 => f32::from_bits((u32::from(b[0]) + 256 * u32::from(b[1])) << 16),
            Kind::Q4_0 => d(0) * (i16::from(nibble(2)) - 8) as f32,
            Kind::Q4_1 => d(0) * f32::from(nibble(4)) + d(2),
            Kind::Q5_0 => d(0) * (i16::from(nibble(6) + 16 * bit(2)) - 16) as f32,
            Kind::Q5_1 => d(0) * f32::from(nibble(8) + 16 * bit(4)) + d(2),
            Kind::Q8_0 => d(0) * f32::from(b[2 + i] as i8),
            Kind::Q4K => affine(0, 16),
            Kind::Q5K => affine(b[16 + l] / (1 << j) % 2, 48),
            Kind::Q6K => {
                let (h, g) = (i / 128, i % 128 / 32);
                let byte = b[64 * h + 32 * (g % 2) + l];
                let low = if g < 2 { byte % 16 } else { byte / 16 };
                let q = low + 16 * (b[128 + 32 * h + l] / (1 << (2 * g)) % 4);
                let sc = b[192 + 8 * h + 2 * g + l / 16] as i8;
                d(208) * f32::from(sc) * (i16::from(q) - 32) as f32
            }
        }
    }

    #[test]
    fn every_type_is_what_its_table_says_on_random_blocks() {
        let mut state = 1_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        for kind in KINDS {
            let (n, size) = kind.block();
            // More than one thread takes.
            let count = 2 * CHUNK / n + 3;
            let bytes: Vec<u8> = (0..count * size).map(|_| random()).collect();
            let mut values = vec![f32::NAN; count * n];
            kind.dequantise(&bytes, &mut values);
            for (place, found) in values.iter().enumerate() {
                let expected = value(kind, &bytes[place / n * size..], place % n);
                let equal = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
                assert!(equal, "{kind:?} {place}: {found} is not {expected}");
            }
        }
    }

    #[test]
    fn types_that_are_not_read_are_named() {
        assert_eq!(Kind::of(10).unwrap_err(), "Q2_K (type 10)");
        assert_eq!(Kind::of(77).unwrap_err(), "unknown type 77");
        assert_eq!((0..100).filter_map(|id| Kind::of(id).ok()).count(), KINDS.len());
    }
}
