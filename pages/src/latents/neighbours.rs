//! Directions beside each other: latents of one dictionary, and of a supervised one.

use burn::tensor::Tensor;
use dictionaries::Dictionary;
use supervised::SupervisedDictionary;
use tasks::Task;

/// Rows of cosines that are computed at once.
const BLOCK: usize = 256;
/// Neighbours of a latent that are kept.
const KEPT: usize = 6;

/// The directions of a dictionary.
pub(super) struct Directions {
    /// As they are, `[F, D]`.
    pub(super) raw: Tensor<2>,
    /// Of length 1, `[F, D]`; a direction of length 0 stays.
    unit: Tensor<2>,
}

impl Directions {
    pub(super) fn of(dictionary: &dyn Dictionary) -> Self {
        let raw = dictionary.directions(); // [F, D]
        Self {
            unit: normalised(raw.clone()),
            raw,
        }
    }

    /// Number of latents, `F`.
    pub(super) fn len(&self) -> usize {
        self.raw.dims()[0]
    }
}

fn normalised(rows: Tensor<2>) -> Tensor<2> {
    let norms = rows
        .clone()
        .powf_scalar(2.0)
        .sum_dim(1)
        .sqrt()
        .clamp_min(f32::MIN_POSITIVE); // [F, 1]
    rows / norms // [F, D]
}

/// The `kept` largest, largest first; of equal ones those with the lowest number.
pub(super) fn largest(all: impl Iterator<Item = (u32, f32)>, kept: usize) -> Vec<(u32, f32)> {
    let mut best: Vec<(u32, f32)> = Vec::with_capacity(kept + 1);
    for (number, value) in all {
        let place = best.partition_point(|known| known.1 >= value);
        if place < kept {
            best.insert(place, (number, value));
            best.truncate(kept);
        }
    }
    best
}

/// The nearest of `others` `[G, D]` for each row of `directions`; `but_itself` leaves out the row of the same number.
fn nearest(directions: &Directions, others: Tensor<2>, kept: usize, but_itself: bool) -> Vec<Vec<(u32, f32)>> {
    let ([n, width], n_others) = (directions.unit.dims(), others.dims()[0]);
    let others = others.transpose(); // [D, G]
    let mut found = Vec::with_capacity(n);
    for start in (0..n).step_by(BLOCK) {
        let end = n.min(start + BLOCK);
        let block = directions.unit.clone().slice([start..end, 0..width]); // [B, D]
        let cosines = kernels::to_vec(kernels::matmul(block, others.clone())); // [B * G]
        for (row, cosines) in (start..end).zip(cosines.chunks_exact(n_others.max(1))) {
            let all = (0..).zip(cosines.iter().copied());
            found.push(largest(
                all.filter(|(other, _)| !but_itself || *other as usize != row),
                kept,
            ));
        }
    }
    found
}

/// The latents with the nearest directions for each latent, and the cosines, `F`.
pub(super) fn decoder(directions: &Directions) -> Vec<Vec<(u32, f32)>> {
    nearest(directions, directions.unit.clone(), KEPT, true)
}

/// The nearest feature of a supervised dictionary for each latent, and the cosine, `F`; none where widths differ.
pub(super) fn supervised(
    directions: &Directions,
    supervised: &SupervisedDictionary,
    task: Option<&dyn Task>,
) -> Vec<Option<(String, f32)>> {
    let none = || vec![None; directions.len()];
    let features = supervised.directions(); // [G, D]
    let Some(task) = task.filter(|_| features.dims()[1] == directions.raw.dims()[1]) else {
        return none();
    };
    let mut names = vec![String::new(); features.dims()[0]];
    for attribute in supervised.columns().n_values().attributes() {
        for (value, latent) in supervised.range(attribute).enumerate() {
            names[latent] = format!("{attribute} = {}", task.value_name(attribute, value));
        }
    }
    let found = nearest(directions, normalised(features), 1, false);
    let named = |near: Vec<(u32, f32)>| {
        near.first()
            .map(|&(feature, cosine)| (names[feature as usize].clone(), cosine))
            .filter(|(name, _)| !name.is_empty())
    };
    found.into_iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_those_of_every_pair_of_directions() {
        let device = kernels::cpu();
        let (n, d) = (300, 5);
        let value = |i: usize| (((i * 7919) % 1009) as f32 / 500.0) - 1.0;
        let values: Vec<f32> = (0..n * d).map(value).collect();
        let raw = kernels::from_vec(values.clone(), [n, d], &device);
        let directions = Directions {
            unit: normalised(raw.clone()),
            raw,
        };
        let found = decoder(&directions);
        let row = |i: usize| &values[i * d..(i + 1) * d];
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let cosine = |a: usize, b: usize| dot(row(a), row(b)) / (dot(row(a), row(a)) * dot(row(b), row(b))).sqrt();
        for a in [0, 17, 255, 256, 299] {
            let mut all: Vec<f32> = (0..n).filter(|b| *b != a).map(|b| cosine(a, b)).collect();
            all.sort_by(|a, b| b.total_cmp(a));
            for (place, &(b, found)) in found[a].iter().enumerate() {
                assert!((found - all[place]).abs() < 1e-5 && (found - cosine(a, b as usize)).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn the_largest_are_kept_in_order() {
        let all = [(0, 1.0), (1, 3.0), (2, 3.0), (3, 2.0)];
        assert_eq!(largest(all.into_iter(), 3), [(1, 3.0), (2, 3.0), (3, 2.0)]);
    }
}
