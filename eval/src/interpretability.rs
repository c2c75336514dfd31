//! Axis 3, interpretability: does the activity of a latent coincide with the value of an attribute?
//!
//! Section 4.3 of Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)). A predicate is "the
//! attribute has the value v", say IO = n for each name. A latent is active where its
//! code is above 0. Each predicate gets the latent that agrees with it best, once by F1, once by Matthews' correlation and
//! once by average precision: an always-active latent already reaches F1 = 0.667 on a balanced Pos, the other two correct
//! for chance. Formulas in `agreement`.
//!
//! The best of many latents would look good by luck, so the latent is chosen on the even rows of the sample and scored
//! on the odd rows. Only predicates that hold somewhere in both halves count.
//!
//! Shape legend: `N` prompts, `F` latents, `P` predicates (values of the attribute), `R` resamples.

use crate::agreement::{Agreement, Ranked};
use dictionaries::Codes;
use rayon::prelude::*;

/// By what a latent is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Criterion {
    /// The largest F1.
    F1,
    /// The largest Matthews correlation.
    Mcc,
    /// The largest average precision.
    AveragePrecision,
}

/// The latent that stands for a predicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen {
    /// The predicate: the attribute has this value.
    pub value: usize,
    /// Node of the site, by its place in the list of codes.
    pub node: usize,
    /// The latent that is best on the even rows.
    pub latent: u32,
}

/// Means over predicates.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Means {
    /// Mean F1 of the chosen latents.
    pub f1: f64,
    /// Mean precision; a latent that is never active has precision 0.
    pub precision: f64,
    /// Mean recall.
    pub recall: f64,
    /// Mean Matthews correlation.
    pub mcc: f64,
}

/// How latents of one node agree with the values of an attribute, on the even rows.
#[derive(Debug, Clone)]
pub struct Agreements {
    n: f64,
    n_values: usize,
    active: Vec<u32>, // [F]
    holds: Vec<u32>,  // [P]
    both: Vec<u32>,   // [F, P]
}

impl Agreements {
    /// Counts on the even rows. `values[i]`: the attribute's value in prompt `i`, below `n_values`.
    pub fn new(codes: &Codes, values: &[usize], n_values: usize) -> Self {
        let mut counts = Self {
            n: values.len().div_ceil(2) as f64,
            n_values,
            active: vec![0; codes.n_latents],
            holds: vec![0; n_values],
            both: vec![0; codes.n_latents * n_values],
        };
        for (row, &value) in codes.rows.iter().zip(values).step_by(2) {
            counts.holds[value] += 1;
            for &(latent, _) in row.iter().filter(|entry| entry.1 > 0.0) {
                counts.active[latent as usize] += 1;
                counts.both[latent as usize * n_values + value] += 1;
            }
        }
        counts
    }

    fn of(&self, latent: usize, value: usize) -> Agreement {
        Agreement {
            both: f64::from(self.both[latent * self.n_values + value]),
            active: f64::from(self.active[latent]),
            holds: f64::from(self.holds[value]),
            n: self.n,
        }
    }

    /// Whether each value occurs, `[P]`.
    pub fn seen(&self) -> Vec<bool> {
        self.holds.iter().map(|&holds| holds > 0).collect()
    }

    /// F1 of every latent against every value, `[F, P]`.
    pub fn f1(&self) -> Vec<f32> {
        let places = 0..self.both.len();
        places
            .map(|place| self.of(place / self.n_values, place % self.n_values).f1() as f32)
            .collect()
    }
}

/// For each value that occurs on even and on odd rows, the latent that is best by `criterion` on the even rows.
///
/// `codes`: one per node of the site, `N` rows each; latents of all nodes compete. The lowest (node, latent) wins a
/// tie. `values[i]`: the attribute's value in prompt `i`, below `n_values`.
pub fn choose(codes: &[Codes], values: &[usize], n_values: usize, criterion: Criterion) -> Vec<Chosen> {
    let mut holds = [vec![0u32; n_values], vec![0u32; n_values]];
    for (i, &value) in values.iter().enumerate() {
        holds[i % 2][value] += 1;
    }
    let mut best: Vec<Option<(f64, Chosen)>> = vec![None; n_values];
    for (node, codes) in codes.iter().enumerate() {
        let scores = scores(codes, values, n_values, criterion); // [F, P]
        for (place, &score) in scores.iter().enumerate() {
            let (latent, value) = (place / n_values, place % n_values);
            if holds[0][value] == 0 || holds[1][value] == 0 {
                continue;
            }
            if best[value].is_none_or(|(known, _)| score > known) {
                let latent = latent as u32;
                best[value] = Some((score, Chosen { value, node, latent }));
            }
        }
    }
    best.into_iter().flatten().map(|(_, chosen)| chosen).collect()
}

/// What `criterion` says of every latent and value on the even rows, `[F, P]`.
fn scores(codes: &Codes, values: &[usize], n_values: usize, criterion: Criterion) -> Vec<f64> {
    let agreements = Agreements::new(codes, values, n_values);
    let by_table = |score: fn(&Agreement) -> f64| {
        let places = 0..agreements.both.len();
        places
            .map(|place| score(&agreements.of(place / n_values, place % n_values)))
            .collect()
    };
    match criterion {
        Criterion::F1 => by_table(Agreement::f1),
        Criterion::Mcc => by_table(Agreement::mcc),
        Criterion::AveragePrecision => average_precisions(codes, values, &agreements),
    }
}

/// Average precision of every latent for every value on the even rows, `[F, P]`; 0 where no row holds.
fn average_precisions(codes: &Codes, values: &[usize], counts: &Agreements) -> Vec<f64> {
    let mut active: Vec<Vec<(f32, usize)>> = vec![Vec::new(); codes.n_latents];
    for (row, &value) in codes.rows.iter().zip(values).step_by(2) {
        for &(latent, code) in row.iter().filter(|entry| entry.1 > 0.0) {
            active[latent as usize].push((code, value));
        }
    }
    let of_latent = |mut rows: Vec<(f32, usize)>| {
        rows.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut hits, mut sums, mut seen) = (vec![0.0; counts.n_values], vec![0.0; counts.n_values], 0.0);
        for equal in rows.chunk_by(|a, b| a.0 == b.0) {
            seen += equal.len() as f64;
            equal.iter().for_each(|&(_, value)| hits[value] += 1.0);
            equal.iter().for_each(|&(_, value)| sums[value] += hits[value] / seen);
        }
        let silent = |(value, (sum, hits)): (usize, (f64, f64))| {
            let holds = f64::from(counts.holds[value]);
            let rest = (holds - hits) * holds / counts.n; // the silent rows, all at the last place
            if holds > 0.0 { (sum + rest) / holds } else { 0.0 }
        };
        sums.into_iter().zip(hits).enumerate().map(silent).collect::<Vec<f64>>()
    };
    let of_latents: Vec<Vec<f64>> = active.into_par_iter().map(of_latent).collect();
    of_latents.concat()
}

/// Which chosen latents are active on the odd rows: for each odd row the places in `chosen`, and its value.
#[derive(Debug, Clone)]
pub struct Activity {
    chosen: Vec<Chosen>,
    place_of: Vec<Option<usize>>, // [P]
    rows: Vec<(usize, Vec<u32>)>,
}

impl Activity {
    /// Reads the odd rows of `codes` (one per node, as for [`choose`]).
    pub fn of_latents(codes: &[Codes], values: &[usize], n_values: usize, chosen: &[Chosen]) -> Self {
        let mut wanted: Vec<Vec<Vec<u32>>> = codes.iter().map(|codes| vec![Vec::new(); codes.n_latents]).collect();
        for (place, chosen) in chosen.iter().enumerate() {
            wanted[chosen.node][chosen.latent as usize].push(place as u32);
        }
        let rows = values.iter().enumerate().skip(1).step_by(2).map(|(i, &value)| {
            let mut places = Vec::new();
            for (codes, wanted) in codes.iter().zip(&wanted) {
                for &(latent, _) in codes.rows[i].iter().filter(|entry| entry.1 > 0.0) {
                    places.extend_from_slice(&wanted[latent as usize]);
                }
            }
            (value, places)
        });
        let rows = rows.collect();
        Self {
            chosen: chosen.to_vec(),
            place_of: places(chosen, n_values),
            rows,
        }
    }

    /// Number of scored predicates.
    pub fn n_predicates(&self) -> usize {
        self.chosen.len()
    }

    /// Number of scored (odd) rows.
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// Mean scores on the odd rows; `None` without predicates.
    pub fn score(&self) -> Option<Means> {
        self.weighted(&vec![1; self.rows.len()])
    }

    /// The same in each resample of the odd rows, `[R]`, the choice of latents held fixed.
    pub fn resampled(&self, counts: &[Vec<u32>]) -> Vec<Option<Means>> {
        counts.par_iter().map(|counts| self.weighted(counts)).collect()
    }

    /// The scores with row `i` counted `counts[i]` times. A predicate without a holding row is left out.
    fn weighted(&self, counts: &[u32]) -> Option<Means> {
        let mut tables = vec![Agreement::default(); self.chosen.len()];
        let mut total = 0.0;
        for ((value, active), &count) in self.rows.iter().zip(counts).filter(|(_, count)| **count > 0) {
            let (own, count) = (self.place_of[*value], f64::from(count));
            total += count;
            if let Some(own) = own {
                tables[own].holds += count;
            }
            for &place in active {
                let table = &mut tables[place as usize];
                table.active += count;
                table.both += if own == Some(place as usize) { count } else { 0.0 };
            }
        }
        let (mut sums, mut n) = (Means::default(), 0.0);
        for table in tables.iter_mut().filter(|table| table.holds > 0.0) {
            table.n = total;
            sums.f1 += table.f1();
            sums.precision += table.precision();
            sums.recall += table.recall();
            sums.mcc += table.mcc();
            n += 1.0;
        }
        (n > 0.0).then(|| Means {
            f1: sums.f1 / n,
            precision: sums.precision / n,
            recall: sums.recall / n,
            mcc: sums.mcc / n,
        })
    }
}

/// Average precision of chosen latents on the odd rows: the mean over predicates, and the same in each resample `[R]`.
///
/// Arguments as for [`Activity::of_latents`].
pub fn average_precision(
    codes: &[Codes],
    values: &[usize],
    chosen: &[Chosen],
    counts: &[Vec<u32>],
) -> (Option<f64>, Vec<f64>) {
    let ranked: Vec<Ranked> = chosen
        .par_iter()
        .map(|chosen| {
            let rows = codes[chosen.node].rows.iter().zip(values).skip(1).step_by(2);
            Ranked::new(rows.map(|(row, value)| (code_of(row, chosen.latent), *value == chosen.value)))
        })
        .collect();
    let mean = |weight: &dyn Fn(u32) -> f64, total: f64| {
        let scores = ranked
            .iter()
            .filter_map(|ranked| ranked.average_precision(weight, total));
        let (sum, n) = scores.fold((0.0, 0.0), |(sum, n), score| (sum + score, n + 1.0));
        (n > 0.0).then(|| sum / n)
    };
    let resampled = counts.par_iter().map(|counts| {
        let total: u32 = counts.iter().sum();
        mean(&|row| f64::from(counts[row as usize]), f64::from(total)).unwrap_or(f64::NAN)
    });
    (mean(&|_| 1.0, (values.len() / 2) as f64), resampled.collect())
}

/// The code of a latent in a row of sparse codes.
fn code_of(row: &[(u32, f32)], latent: u32) -> f32 {
    row.binary_search_by_key(&latent, |entry| entry.0)
        .map_or(0.0, |place| row[place].1)
}

/// Where each value stands in the list of chosen predicates, `[P]`.
fn places(chosen: &[Chosen], n_values: usize) -> Vec<Option<usize>> {
    let mut places = vec![None; n_values];
    for (place, chosen) in chosen.iter().enumerate() {
        places[chosen.value] = Some(place);
    }
    places
}

/// One latent that is active on each of `n` rows.
pub fn always_on(n: usize) -> Codes {
    Codes {
        n_latents: 1,
        rows: vec![vec![(0, 1.0)]; n],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn average_precision_of_all_latents_equals_that_of_one() {
        let values: Vec<usize> = (0..60).map(|i| (i / 2) % 3).collect();
        let code = |i: usize, latent: usize| ((i * 7 + latent * 5) % 11) as f32 - 4.0;
        let row = |i: usize| {
            (0..4)
                .filter(|&l| code(i, l) > 0.0)
                .map(|l| (l as u32, code(i, l)))
                .collect()
        };
        let codes = Codes {
            n_latents: 4,
            rows: (0..60).map(row).collect(),
        };
        let found = scores(&codes, &values, 3, Criterion::AveragePrecision);
        for latent in 0..4 {
            for value in 0..3 {
                let rows = codes.rows.iter().zip(&values).step_by(2);
                let ranked = Ranked::new(rows.map(|(row, v)| (code_of(row, latent as u32), *v == value)));
                let expected = ranked.average_precision(|_| 1.0, 30.0).unwrap();
                assert!((found[latent * 3 + value] - expected).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn a_constant_latent_has_no_correlation() {
        let values: Vec<usize> = (0..40).map(|i| (i / 2) % 2).collect();
        let codes = [always_on(40)];
        let chosen = choose(&codes, &values, 2, Criterion::F1);
        let means = Activity::of_latents(&codes, &values, 2, &chosen).score().unwrap();
        assert!((means.f1 - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!((means.recall, means.mcc), (1.0, 0.0));
        let (precision, resampled) = average_precision(&codes, &values, &chosen, &[vec![1; 20]]);
        assert_eq!((precision, resampled), (Some(0.5), vec![0.5]));
    }
}
