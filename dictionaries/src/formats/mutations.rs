//! Changed bytes in any file of a folder end in an autoencoder or in one line that names the folder, never in a panic.

use kernels::cpu;
use proptest::prelude::*;

use super::Format;
use super::hostile::Folder;
use crate::Autoencoder;

#[derive(Debug, Clone)]
enum Mutation {
    Set(u8),
    Flip(u8),
    Cut,
    Remove(usize),
    Repeat(usize),
    Insert(Vec<u8>),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        any::<u8>().prop_map(Mutation::Set),
        (0..8_u8).prop_map(Mutation::Flip),
        Just(Mutation::Cut),
        (1..20_usize).prop_map(Mutation::Remove),
        (1..20_usize).prop_map(Mutation::Repeat),
        prop::sample::select(vec![
            b"-1".to_vec(),
            b"0".to_vec(),
            b"1e400".to_vec(),
            b"99999999999999999999".to_vec(),
            b"null".to_vec(),
            b"[]".to_vec(),
            b"\xff\xff\xff\xff".to_vec(),
            b"\xff\xff\xff\x7f".to_vec(),
            b"\x00\x00\x00\x00".to_vec(),
        ])
        .prop_map(Mutation::Insert),
    ]
}

fn apply(bytes: &mut Vec<u8>, place: usize, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    let at = place % bytes.len();
    let end = |n: usize| (at + n).min(bytes.len());
    match mutation {
        Mutation::Set(byte) => bytes[at] = *byte,
        Mutation::Flip(bit) => bytes[at] ^= 1 << bit,
        Mutation::Cut => bytes.truncate(at),
        Mutation::Remove(n) => drop(bytes.drain(at..end(*n))),
        Mutation::Repeat(n) => {
            let part = bytes[at..end(*n)].to_vec();
            bytes.splice(at..at, part);
        }
        // Over what stands there, as a field of a binary file is.
        Mutation::Insert(part) => {
            let end = end(part.len());
            bytes.splice(at..end, part.iter().copied());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_reader_panic(
        format in prop::sample::select(vec![Format::Saelens, Format::Sparsify, Format::DictionaryLearning]),
        which in 0..2_usize,
        changes in prop::collection::vec((any::<usize>(), mutation()), 1..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        for (i, (name, mut bytes)) in Folder::of(format).files(dir.path()).into_iter().enumerate() {
            if i == which {
                changes.iter().for_each(|(place, mutation)| apply(&mut bytes, *place, mutation));
            }
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        if let Err(error) = Autoencoder::open(dir.path(), &cpu()) {
            let line = error.to_string();
            prop_assert!(!line.contains('\n') && line.len() < 2000, "{line}");
        }
    }
}
