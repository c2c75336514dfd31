//! Changes of a file of `torch.save`: its entries, and the pickle that says what they are, under checksums that fit.

use std::io::{Cursor, Read as _, Write as _};

use kernels::random::ChaCha8Rng;
use rand::RngExt;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::{bytes, one_of};

/// Opcodes of the pickle protocol with the bytes of their number: BININT1, BININT2, BININT, BINPUT, BINGET, LONG1, PROTO.
const NUMBERS: [(u8, usize); 7] = [
    (b'K', 1),
    (b'M', 2),
    (b'J', 4),
    (b'q', 1),
    (b'h', 1),
    (0x8a, 1),
    (0x80, 1),
];
/// Opcodes that may stand anywhere.
const OPCODES: &[u8] = b"().0123NQRVXabcdeghjlopqrstu}]\x80\x81\x85\x86\x87\x88\x89\x8a\x8c\x93\x94\x95";
/// The largest archive that is taken apart.
const LARGEST: u64 = 1 << 20;

/// One to three changes; none of what is no archive.
pub(super) fn change(input: &[u8], rng: &mut ChaCha8Rng) -> Option<Vec<u8>> {
    let mut entries = parse(input)?;
    for _ in 0..rng.random_range(1..=3) {
        if entries.is_empty() {
            break;
        }
        let pickle = entries.iter().position(|(name, _)| name.ends_with(".pkl"));
        let at = match pickle {
            Some(at) if rng.random_ratio(3, 4) => at,
            _ => rng.random_range(0..entries.len()),
        };
        match rng.random_range(0..8) {
            0 => drop(entries.remove(at)),
            1 => {
                let name = format!("{}x", entries[at].0);
                let bytes = entries[at].1.clone();
                entries.push((name, bytes));
            }
            2 => entries[at].1 = bytes::change(&entries[at].1, std::slice::from_ref(&input.to_vec()), rng),
            3 => {
                let length = entries[at].1.len();
                entries[at].1.truncate(rng.random_range(0..=length));
            }
            _ => change_pickle(&mut entries[at].1, rng),
        }
    }
    write(&entries)
}

fn parse(input: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut archive = ZipArchive::new(Cursor::new(input)).ok()?;
    let mut entries = Vec::new();
    for index in 0..archive.len() {
        let file = archive.by_index(index).ok()?;
        let name = file.name().ok()?.into_owned();
        let mut bytes = Vec::new();
        file.take(LARGEST).read_to_end(&mut bytes).ok()?;
        entries.push((name, bytes));
    }
    Some(entries)
}

fn write(entries: &[(String, Vec<u8>)]) -> Option<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in entries {
        archive.start_file(name.as_str(), options).ok()?;
        archive.write_all(bytes).ok()?;
    }
    Some(archive.finish().ok()?.into_inner())
}

/// A number of the pickle, an opcode more, or a piece of it again.
fn change_pickle(pickle: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    if pickle.is_empty() {
        return;
    }
    let places: Vec<(usize, usize)> = (0..pickle.len())
        .filter_map(|at| {
            let (_, width) = NUMBERS.iter().find(|(opcode, _)| *opcode == pickle[at])?;
            (at + width < pickle.len()).then_some((at + 1, *width))
        })
        .collect();
    let at = rng.random_range(0..pickle.len());
    match rng.random_range(0..4) {
        0 => pickle.insert(at, *one_of(OPCODES, rng)),
        1 => {
            let end = (at + rng.random_range(1..=40)).min(pickle.len());
            let piece = pickle[at..end].to_vec();
            drop(pickle.splice(at..at, piece.repeat(*one_of(&[1, 2, 500], rng))));
        }
        _ if places.is_empty() => pickle[at] = rng.random(),
        _ => {
            let (at, width) = *one_of(&places, rng);
            let number: u32 = *one_of(
                &[0, 1, 2, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x1000_0000],
                rng,
            );
            pickle[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
        }
    }
}
