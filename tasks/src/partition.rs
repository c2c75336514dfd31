//! A stable hash of small tuples, by which prompts are dealt to samples and facts are held out of training.

/// Hashes `ids` (FNV-1a over their bytes, then the finaliser of splitmix64).
///
/// Part of the format of every sample and of the shipped model's training text: changing it changes them all.
pub fn stable_hash(domain: u64, ids: &[usize]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for word in std::iter::once(domain).chain(ids.iter().map(|&id| id as u64)) {
        for byte in word.to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn residues_are_about_equally_frequent() {
        let mut counts = [0_usize; 5];
        for first in 0..100 {
            for second in 0..100 {
                counts[(stable_hash(1, &[first, second]) % 5) as usize] += 1;
            }
        }
        assert!(counts.iter().all(|&count| (1800..2200).contains(&count)), "{counts:?}");
    }
}
