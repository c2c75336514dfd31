//! k-sparse probes and absorption on labels that are known: what a few latents tell of each predicate, beside what the whole vector
//! tells, and how often another latent stands in for the one that should.
//!
//! **Probes** (Gurnee et al. 2023, <https://arxiv.org/abs/2305.01610>; Kantamneni et al. 2025,
//! <https://arxiv.org/abs/2502.16681>). On the even documents latents are divided by their mean active code and ranked by the difference of
//! their means where the predicate holds and where it does not; the first `k` are put together by linear discriminant analysis, and
//! the area under the ROC curve is that on the odd documents. The ceiling is the same analysis of the whole vector.
//!
//! **Absorption** (Chanin et al. 2024, <https://arxiv.org/abs/2409.14507>), in its full form: of the odd rows where the predicate
//! holds and the vector's own probe says so, the share on which the predicate's latents are silent and one other latent contributes at
//! least [`SHARE`] of the projection on the probe, along a direction that agrees with it. The predicate's latents are the first of its
//! sparse probe, as many as each improve the area by [`SPLIT`]. Rows on which neither happens do not count.
//!
//! Shapes: `N` tokens, `D` width, `F` latents, `P` predicates, `k` latents of a probe.

use super::{FEWEST, WorldSample};
use dictionaries::{Rows, dot};
use nalgebra::{Cholesky, DMatrix, DVector, Dyn};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Share of the mean variance that is added to the diagonal of covariances.
const RIDGE: f64 = 1e-3;
/// Share of the projection on the probe that an absorbing latent carries.
const SHARE: f64 = 0.4;
/// Cosine that its direction has with the probe at least.
const LEAST_COSINE: f64 = 0.025;
/// By how much a further latent must raise the area under the curve to be one of the predicate's own.
const SPLIT: f64 = 0.03;

/// What latents tell of the world's predicates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probes {
    /// Predicates that hold often enough in both halves.
    pub predicates: usize,
    /// Mean area under the ROC curve of the probe of so many latents.
    pub areas: Vec<(usize, f64)>,
    /// Mean area of the probe of the whole vector.
    pub ceiling: f64,
    /// Mean share of absorbed rows over predicates that have any to judge; none where no predicate has.
    pub absorption: Option<f64>,
}

/// A factored covariance.
type Factor = Cholesky<f64, Dyn>;

/// The Cholesky factor of a covariance with a share of its mean variance on the diagonal; none where it is not positive definite.
fn ridged(mut covariance: DMatrix<f64>) -> Option<Factor> {
    let ridge = RIDGE * covariance.trace() / covariance.nrows().max(1) as f64 + f64::MIN_POSITIVE;
    (0..covariance.nrows()).for_each(|i| covariance[(i, i)] += ridge);
    Cholesky::new(covariance)
}

/// A probe of the whole vector.
struct Whole {
    direction: Vec<f64>,
    /// Score between the two means.
    middle: f64,
    area: f64,
}

impl WorldSample {
    /// Probes of a dictionary: its sparse codes of all tokens, `N` rows, and its directions, `[F, D]`.
    pub fn probes(&self, codes: &[Vec<(u32, f32)>], directions: &Rows, ks: &[usize]) -> Probes {
        let rows = Rows::from_tensor(self.vectors.clone()); // [N, D]
        let [choosing, scoring] = [false, true].map(|half| self.holding(half));
        let fit = (0..self.predicates.len()).filter(|&p| choosing[p] >= FEWEST as u32 && scoring[p] >= FEWEST as u32);
        let fit: Vec<usize> = fit.collect();
        let Some(covariance) = self.covariance(&rows) else {
            return Probes {
                predicates: 0,
                areas: Vec::new(),
                ceiling: f64::NAN,
                absorption: None,
            };
        };
        let scales = self.scales(codes, directions.len());
        let of_predicate = |&predicate: &usize| {
            let holds: Vec<bool> = self
                .holds
                .iter()
                .map(|holds| holds.contains(&(predicate as u32)))
                .collect();
            let whole = self.whole(&rows, &covariance, &holds);
            let ranked = self.ranked(codes, &scales, &holds);
            let most = ks.last().copied().unwrap_or(1).min(ranked.len());
            let chosen = &ranked[..most];
            let areas: Vec<f64> = ks
                .iter()
                .map(|&k| self.sparse(codes, &chosen[..k.min(most)], &holds))
                .collect();
            let absorption = self.absorption(codes, directions, chosen, &holds, &whole, &rows);
            (areas, whole.area, absorption)
        };
        let found: Vec<(Vec<f64>, f64, Option<f64>)> = fit.par_iter().map(of_predicate).collect();
        let n = found.len().max(1) as f64;
        let area = |place: usize| found.iter().map(|(areas, ..)| areas[place]).sum::<f64>() / n;
        let absorbed: Vec<f64> = found.iter().filter_map(|(.., absorption)| *absorption).collect();
        Probes {
            predicates: found.len(),
            areas: ks.iter().enumerate().map(|(place, &k)| (k, area(place))).collect(),
            ceiling: found.iter().map(|(_, area, _)| area).sum::<f64>() / n,
            absorption: (!absorbed.is_empty()).then(|| absorbed.iter().sum::<f64>() / absorbed.len() as f64),
        }
    }

    /// Places of one half of the documents.
    fn half(&self, scored: bool) -> impl Iterator<Item = usize> {
        let places = self.scored.iter().enumerate().filter(move |(_, of)| **of == scored);
        places.map(|(place, _)| place)
    }

    /// The Cholesky factor of the covariance of the even documents, `[D, D]`.
    fn covariance(&self, rows: &Rows) -> Option<Factor> {
        let d = rows.width();
        let even: Vec<usize> = self.half(false).collect();
        let picked = rows.pick(&even);
        let mean = Rows::repeat(&picked.mean(), even.len());
        let centred = picked.minus(&mean);
        let centred = centred.tensor(0..even.len(), &kernels::cpu());
        let products = kernels::to_vec(kernels::matmul(centred.clone().transpose(), centred)); // [D, D]
        let products = products.iter().map(|&c| f64::from(c) / even.len().max(1) as f64);
        ridged(DMatrix::from_iterator(d, d, products))
    }

    /// The probe of the whole vector for one predicate.
    fn whole(&self, rows: &Rows, covariance: &Factor, holds: &[bool]) -> Whole {
        let d = rows.width();
        let mut sums = [vec![0.0_f64; d], vec![0.0_f64; d]];
        let mut counts = [0.0_f64; 2];
        for place in self.half(false) {
            let side = usize::from(holds[place]);
            counts[side] += 1.0;
            sums[side]
                .iter_mut()
                .zip(rows.row(place))
                .for_each(|(sum, &x)| *sum += f64::from(x));
        }
        for (sum, n) in sums.iter_mut().zip(counts) {
            sum.iter_mut().for_each(|sum| *sum /= n.max(1.0));
        }
        let difference = sums[1].iter().zip(&sums[0]).map(|(a, b)| a - b);
        let direction = covariance.solve(&DVector::from_iterator(d, difference));
        let along = |x: &[f64]| direction.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
        let middle = (along(&sums[0]) + along(&sums[1])) / 2.0;
        let scores = self.half(true).map(|place| {
            let score = direction
                .iter()
                .zip(rows.row(place))
                .map(|(w, &x)| w * f64::from(x))
                .sum::<f64>();
            (score, holds[place])
        });
        let area = area_under_curve(scores.collect());
        Whole {
            direction: direction.iter().copied().collect(),
            middle,
            area,
        }
    }

    /// One over the mean active code of each latent on the even documents, `[F]`.
    fn scales(&self, codes: &[Vec<(u32, f32)>], n_latents: usize) -> Vec<f64> {
        let mut sums = vec![(0.0_f64, 0.0_f64); n_latents];
        for place in self.half(false) {
            for &(latent, code) in &codes[place] {
                let (sum, n) = &mut sums[latent as usize];
                *sum += f64::from(code);
                *n += 1.0;
            }
        }
        sums.into_iter()
            .map(|(sum, n)| if sum > 0.0 { n / sum } else { 0.0 })
            .collect()
    }

    /// Latents that are ever active on the even documents by falling difference of their scaled means.
    fn ranked(&self, codes: &[Vec<(u32, f32)>], scales: &[f64], holds: &[bool]) -> Vec<u32> {
        let (mut sums, mut counts) = (vec![[0.0_f64; 2]; scales.len()], [0.0_f64; 2]);
        for place in self.half(false) {
            let side = usize::from(holds[place]);
            counts[side] += 1.0;
            for &(latent, code) in &codes[place] {
                sums[latent as usize][side] += f64::from(code) * scales[latent as usize];
            }
        }
        let gap = |latent: u32| {
            let [without, with] = sums[latent as usize];
            (with / counts[1].max(1.0) - without / counts[0].max(1.0)).abs()
        };
        let mut ranked: Vec<u32> = (0..scales.len() as u32)
            .filter(|&latent| scales[latent as usize] > 0.0)
            .collect();
        ranked.sort_by(|&a, &b| gap(b).total_cmp(&gap(a)).then(a.cmp(&b)));
        ranked
    }

    /// Area under the curve of the discriminant of some latents on the odd documents; one half of none.
    fn sparse(&self, codes: &[Vec<(u32, f32)>], latents: &[u32], holds: &[bool]) -> f64 {
        let k = latents.len();
        let values = |place: usize| -> Vec<f64> {
            let of = |latent: &u32| {
                let found = codes[place].binary_search_by_key(latent, |entry| entry.0);
                found.map_or(0.0, |at| f64::from(codes[place][at].1))
            };
            latents.iter().map(of).collect()
        };
        let (mut sums, mut counts) = ([vec![0.0_f64; k], vec![0.0_f64; k]], [0.0_f64; 2]);
        let mut products = vec![0.0_f64; k * k];
        for place in self.half(false) {
            let (x, side) = (values(place), usize::from(holds[place]));
            counts[side] += 1.0;
            sums[side].iter_mut().zip(&x).for_each(|(sum, x)| *sum += x);
            for i in (0..k).filter(|&i| x[i] != 0.0) {
                products[i * k..(i + 1) * k]
                    .iter_mut()
                    .zip(&x)
                    .for_each(|(sum, y)| *sum += x[i] * y);
            }
        }
        let n = (counts[0] + counts[1]).max(1.0);
        let mean: Vec<f64> = (0..k).map(|i| (sums[0][i] + sums[1][i]) / n).collect();
        let covariance = DMatrix::from_fn(k, k, |i, j| products[i * k + j] / n - mean[i] * mean[j]);
        let Some(covariance) = ridged(covariance) else {
            return 0.5;
        };
        let difference = (0..k).map(|i| sums[1][i] / counts[1].max(1.0) - sums[0][i] / counts[0].max(1.0));
        let direction = covariance.solve(&DVector::from_iterator(k, difference));
        let score = |place: usize| values(place).iter().zip(&direction).map(|(x, w)| x * w).sum::<f64>();
        area_under_curve(self.half(true).map(|place| (score(place), holds[place])).collect())
    }

    /// Share of the judged rows on which another latent stands in for the predicate's own.
    fn absorption(
        &self,
        codes: &[Vec<(u32, f32)>],
        directions: &Rows,
        ranked: &[u32],
        holds: &[bool],
        whole: &Whole,
        rows: &Rows,
    ) -> Option<f64> {
        let mut own = 1.min(ranked.len());
        let mut area = self.sparse(codes, &ranked[..own], holds);
        while own < ranked.len() {
            let next = self.sparse(codes, &ranked[..=own], holds);
            if next - area < SPLIT {
                break;
            }
            (own, area) = (own + 1, next);
        }
        let own = &ranked[..own];
        let probe: Vec<f32> = whole.direction.iter().map(|&w| w as f32).collect();
        let length = dot(&probe, &probe).sqrt();
        let (mut present, mut absorbed) = (0.0, 0.0);
        for place in self.half(true).filter(|&place| holds[place]) {
            let projection = dot(rows.row(place), &probe) - whole.middle;
            if projection <= 0.0 {
                continue;
            }
            let active = &codes[place];
            if active.iter().any(|(latent, _)| own.contains(latent)) {
                present += 1.0;
                continue;
            }
            let contribution =
                |&(latent, code): &(u32, f32)| (latent, f64::from(code) * dot(directions.row(latent as usize), &probe));
            let top = active.iter().map(contribution).max_by(|a, b| a.1.total_cmp(&b.1));
            let Some((latent, part)) = top else { continue };
            let direction = directions.row(latent as usize);
            let cosine = dot(direction, &probe) / (length * dot(direction, direction).sqrt()).max(f64::MIN_POSITIVE);
            if cosine >= LEAST_COSINE && part >= SHARE * projection {
                absorbed += 1.0;
            }
        }
        (present + absorbed >= FEWEST as f64).then(|| absorbed / (present + absorbed))
    }
}

/// Area under the ROC curve of scores; equal ones count half. One half where only one side occurs.
fn area_under_curve(mut scores: Vec<(f64, bool)>) -> f64 {
    scores.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut area, mut holding) = (0.0, 0.0, 0.0);
    for equal in scores.chunk_by(|a, b| a.0 == b.0) {
        let with = equal.iter().filter(|(_, holds)| *holds).count() as f64;
        let without = equal.len() as f64 - with;
        area += with * (below + without / 2.0);
        below += without;
        holding += with;
    }
    if below * holding > 0.0 {
        area / (below * holding)
    } else {
        0.5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_is_that_of_counting_pairs() {
        let scores: Vec<(f64, bool)> = (0..40).map(|i| (f64::from(i * 7 % 11), i % 3 == 0)).collect();
        let (mut right, mut pairs) = (0.0, 0.0);
        for (a, _) in scores.iter().filter(|(_, holds)| *holds) {
            for (b, _) in scores.iter().filter(|(_, holds)| !*holds) {
                pairs += 1.0;
                right += if a > b {
                    1.0
                } else if a == b {
                    0.5
                } else {
                    0.0
                };
            }
        }
        assert!((area_under_curve(scores) - right / pairs).abs() < 1e-12);
        assert_eq!(area_under_curve(vec![(1.0, true)]), 0.5);
    }

    /// Two predicates of 200 rows: the first holds on a third, the second on half of those of the first. Latents: one for each, or,
    /// with absorption, one for the first that is silent where the second's speaks for both.
    fn planted(absorbs: bool) -> Probes {
        let (n, d) = (600, 4);
        let (mut values, mut holds, mut codes) = (Vec::new(), Vec::new(), Vec::new());
        let noise = kernels::random::normal(&mut kernels::random::rng(1, "probes"), n * d, 0.05);
        for i in 0..n {
            let (first, second) = (i % 3 == 0, i % 6 == 0);
            let both = [f32::from(u8::from(first)), f32::from(u8::from(second)), 0.0, 0.0];
            values.extend(both.iter().zip(&noise[i * d..]).map(|(x, e)| x + e));
            let mut held: Vec<u32> = Vec::new();
            held.extend(first.then_some(0));
            held.extend(second.then_some(1));
            holds.push(held);
            let mut row: Vec<(u32, f32)> = Vec::new();
            row.extend((first && !(absorbs && second)).then_some((0, 1.0)));
            row.extend(second.then_some((1, 1.0)));
            codes.push(row);
        }
        let sample = WorldSample {
            vectors: kernels::from_vec(values, [n, d], &kernels::cpu()),
            holds,
            // Both halves have both: they alternate every twelve rows.
            scored: (0..n).map(|i| i / 12 % 2 == 1).collect(),
            predicates: vec![("first", "yes".to_owned()), ("second", "yes".to_owned())],
        };
        let second = if absorbs {
            [1.0, 1.0, 0.0, 0.0]
        } else {
            [0.0, 1.0, 0.0, 0.0]
        };
        let mut directions = vec![1.0, 0.0, 0.0, 0.0];
        directions.extend(second);
        sample.probes(&codes, &Rows::new(d, directions), &[1, 2])
    }

    #[test]
    fn absorption_is_found_where_it_was_planted() {
        let plain = planted(false);
        assert_eq!(plain.predicates, 2);
        assert!(plain.ceiling > 0.99 && plain.areas[0].1 > 0.99, "{plain:?}");
        assert_eq!(plain.absorption, Some(0.0));
        let absorbing = planted(true);
        // Half of the first predicate's rows have only the second's latent; with both latents a probe knows it.
        assert!(
            absorbing.areas[0].1 < 0.95 && absorbing.areas[1].1 > 0.97,
            "{absorbing:?}"
        );
        assert!(absorbing.ceiling > 0.99);
    }
}
