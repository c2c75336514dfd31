//! Changes of bytes whose form is not known.

use kernels::random::ChaCha8Rng;
use rand::RngExt;

use super::one_of;

/// Numbers at the borders of their types.
const BORDERS: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_fff0,
    0xffff_ffff_ffff_ffff,
];
/// Inputs do not grow beyond this.
const LARGEST: usize = 1 << 18;

/// One to four changes; `others` are inputs from which a piece may be taken.
pub(super) fn change(input: &[u8], others: &[Vec<u8>], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..rng.random_range(1..=4) {
        once(&mut bytes, others, rng);
    }
    bytes.truncate(LARGEST);
    bytes
}

fn once(bytes: &mut Vec<u8>, others: &[Vec<u8>], rng: &mut ChaCha8Rng) {
    if bytes.is_empty() {
        bytes.push(rng.random());
        return;
    }
    // Half of the places lie near an end, where headers and footers are.
    let near = bytes.len().min(64);
    let at = match rng.random_range(0..4) {
        0 => rng.random_range(0..near),
        1 => bytes.len() - 1 - rng.random_range(0..near),
        _ => rng.random_range(0..bytes.len()),
    };
    let end = (at + rng.random_range(1..=32)).min(bytes.len());
    match rng.random_range(0..8) {
        0 => bytes[at] ^= 1 << rng.random_range(0..8),
        1 => bytes[at] = rng.random(),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let piece = bytes[at..end].to_vec();
            drop(bytes.splice(at..at, piece.repeat(rng.random_range(1..=4))));
        }
        5 => {
            let number = one_of(&BORDERS, rng).to_le_bytes();
            let width = *one_of(&[1, 2, 4, 8], rng);
            let width = width.min(bytes.len() - at);
            bytes[at..at + width].copy_from_slice(&number[..width]);
        }
        6 => bytes[at..end].reverse(),
        _ => {
            let other = one_of(others, rng);
            let from = rng.random_range(0..=other.len());
            let to = (from + rng.random_range(1..=256)).min(other.len());
            drop(bytes.splice(at..end, other[from..to].iter().copied()));
        }
    }
}
