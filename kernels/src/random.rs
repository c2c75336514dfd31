//! Seeded randomness on the host.
//!
//! Every stage draws from a [`ChaCha8Rng`] made from a seed and the name of its purpose, so that two purposes never share
//! a stream and the same configuration gives the same numbers on every backend and for any number of threads.

use rand::SeedableRng;
pub use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// A generator for one purpose: equal `seed` and `stream` give equal numbers, different streams are independent.
pub fn rng(seed: u64, stream: &str) -> ChaCha8Rng {
    // FNV-1a of the name picks the ChaCha stream; the seed picks the key.
    let hash = stream.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(hash);
    rng
}

/// `n` draws from a normal distribution with mean 0 and standard deviation `std`.
pub fn normal(rng: &mut ChaCha8Rng, n: usize, std: f32) -> Vec<f32> {
    (0..n)
        .map(|_| {
            let x: f32 = StandardNormal.sample(rng);
            x * std
        })
        .collect()
}

/// `rows` random directions of length 1, row after row of `width` numbers.
pub fn unit_rows(rng: &mut ChaCha8Rng, rows: usize, width: usize) -> Vec<f32> {
    let mut values = normal(rng, rows * width, 1.0);
    for row in values.chunks_mut(width) {
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        row.iter_mut().for_each(|x| *x /= norm);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ() {
        let draw = |seed, stream| normal(&mut rng(seed, stream), 8, 1.0);
        assert_eq!(draw(3, "init"), draw(3, "init"));
        assert_ne!(draw(3, "init"), draw(3, "shuffle"));
        assert_ne!(draw(3, "init"), draw(4, "init"));
    }

    #[test]
    fn normal_has_the_asked_spread() {
        let values = normal(&mut rng(0, "spread"), 20_000, 0.5);
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 0.015, "mean {mean}");
        assert!(
            (variance.sqrt() - 0.5).abs() < 0.01,
            "standard deviation {}",
            variance.sqrt()
        );
    }
}
