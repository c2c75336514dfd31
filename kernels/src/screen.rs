//! A search for active entries that multiplies all of them in bf16 and only those in `f32` that may be active.
//!
//! Where the processor multiplies bf16 several times as fast as `f32`, the product of rounded factors, with a bound of what rounding
//! can have changed, rules out nearly all entries of a row. Those that are left are multiplied in `f32`, and the rule is applied to
//! these products; so what is found, and its values, are those of a search in `f32` alone.
//!
//! The bound is by Cauchy and Schwarz: with a row `x`, a latent's `w` and their rounded forms `x'` and `w'`,
//! `|x w - x' w'| <= |x - x'| |w| + |x'| |w - w'|`, and sums of `D` products in `f32` are off by at most `D 2^-24 |x| |w|` each.
//!
//! Shapes: `B` rows, `D` width, `F` latents.

use rayon::prelude::*;

use crate::bf16::{Packed, are_much_faster, nearest};
use crate::gemm::Matrix;
use crate::scan::{self, Scratch};
use crate::search::{ROWS_PER_TASK, Rule, Search};
use crate::vector::{dot, simd};
use crate::{ActiveSet, sparse};

/// Share of all entries that may be left, at most: products of single entries run at a tenth of the rate of a whole product.
const MOST_LEFT: f64 = 1.0 / 16.0;
/// Numbers of an encoder from which on a search is worth its preparation.
const LEAST_NUMBERS: usize = 1 << 18;
/// Least width of an encoder; below it the search costs as much as the product.
const LEAST_WIDTH: usize = 128;
/// Fewest rows of a batch that is screened: the encoder is rounded once a batch, which does not pay for few rows.
const LEAST_ROWS: usize = 512;
/// Norms below this count as this much, far above what is lost where squares or bf16 underflow.
const LEAST_NORM: f32 = 1e-10;
/// What rounding to 8 bits changes of a number at most, as a share of it, where nothing underflows.
const ROUNDING: f32 = 1.0 / 256.0;
/// Makes up for the rounding of the bound's own arithmetic.
const SLACK: f32 = 1.001;

/// An encoder, prepared for the search.
pub(crate) struct Screen<'a> {
    w_enc: &'a [f32],
    b_enc: &'a [f32],
    /// The encoder, transposed: `[D, F]`.
    rounded: Packed,
    /// A bound of the norm of each latent's row, `[F]`.
    norms: Vec<f32>,
    /// Bounds of the biases with what adding them can lose, `[F]`.
    biases_below: Vec<f32>,
    biases_above: Vec<f32>,
    /// What rounding changes of a latent's row, as a share of its norm, at most.
    rounding: f32,
}

impl<'a> Screen<'a> {
    /// Prepares `w_enc` `[F, D]` and `b_enc` `[F]` for `n_rows` rows, where the search is faster than the whole product.
    pub(crate) fn new(w_enc: &'a [f32], b_enc: &'a [f32], n_rows: usize) -> Option<Self> {
        let d = w_enc.len() / b_enc.len().max(1);
        if d < LEAST_WIDTH || w_enc.len() < LEAST_NUMBERS || n_rows < LEAST_ROWS {
            return None;
        }
        Self::of(w_enc, b_enc, d)
    }

    /// As [`Screen::new`], for encoders and batches of any size.
    fn of(w_enc: &'a [f32], b_enc: &'a [f32], d: usize) -> Option<Self> {
        if !are_much_faster() {
            return None;
        }
        let rounded = Packed::new(Matrix::rows(w_enc, d).transposed()); // [D, F]
        let lengths: Vec<Length> = w_enc.par_chunks(d).map(Length::of).collect();
        let biases = |sign: f32| {
            let lost = sign * 2.0_f32.powi(-20);
            b_enc.iter().map(|bias| bias + lost * bias.abs()).collect()
        };
        Some(Self {
            w_enc,
            b_enc,
            rounded,
            norms: lengths.iter().map(|length| length.norm).collect(),
            biases_below: biases(-1.0),
            biases_above: biases(1.0),
            // A row that is not finite is always left over: its norm is infinite or NaN.
            rounding: lengths.iter().map(Length::share).fold(0.0, f32::max),
        })
    }

    fn d(&self) -> usize {
        self.w_enc.len() / self.b_enc.len()
    }

    /// Replaces what `block` holds with the products of rounded factors, `[rows, F]`; `x` is `[rows, D]`.
    pub(crate) fn multiply_over(&self, block: &mut Vec<f32>, x: &[f32]) {
        self.rounded.multiply_over(block, Matrix::rows(x, self.d()));
    }

    /// The entries of a block of products of rounded factors that may be active; none where they are too many to be multiplied one
    /// by one. `block` is `[rows, F]`, `x` is `[rows, D]`.
    pub(crate) fn candidates(&self, block: &[f32], x: &[f32], search: &Search<'_>) -> Option<ActiveSet> {
        let n_latents = self.b_enc.len();
        let most = (MOST_LEFT * block.len() as f64) as usize;
        let tasks: Vec<(Vec<u32>, Vec<usize>)> = block
            .par_chunks(ROWS_PER_TASK * n_latents)
            .zip(x.par_chunks(ROWS_PER_TASK * self.d()))
            .map(|(block, x)| self.candidates_of_rows(block, x, search))
            .collect();
        let n = tasks.iter().map(|(latents, _)| latents.len()).sum();
        if n > most {
            return None;
        }
        let (mut latents, mut ends) = (Vec::with_capacity(n), Vec::new());
        for (of_task, ends_of_task) in tasks {
            ends.extend(ends_of_task.iter().map(|end| latents.len() + end));
            latents.extend(of_task);
        }
        Some(ActiveSet::new(n_latents, latents, &ends))
    }

    /// The latents of the entries of some rows that may be active, and where those of each row end.
    fn candidates_of_rows(&self, block: &[f32], x: &[f32], search: &Search<'_>) -> (Vec<u32>, Vec<usize>) {
        let d = self.d();
        let (mut latents, mut ends, mut memory) = (Vec::new(), Vec::new(), Memory::default());
        for (row, x) in block.chunks_exact(self.b_enc.len()).zip(x.chunks_exact(d)) {
            let Length { norm, error } = Length::of(x);
            // The rounded row is longer than the row by its error at most, and two sums of D + 16 products are off.
            let share = self.rounding * (1.0 + ROUNDING) + (d + 16) as f32 * f32::EPSILON;
            let reach = (error + norm * share) * SLACK;
            let found = simd!(|| self.search_row(row, reach, search, &mut memory));
            latents.extend_from_slice(&memory.scratch.candidates[..found]);
            ends.push(latents.len());
        }
        (latents, ends)
    }

    /// Writes the latents of a row that may be active to the memory's candidates, and returns their number; to be called inside [`simd!`].
    /// The pre-activation of a latent is within `reach` times its norm of its number in `row`.
    #[inline(always)]
    fn search_row(&self, row: &[f32], reach: f32, search: &Search<'_>, memory: &mut Memory) -> usize {
        let Memory {
            lower,
            upper,
            scratch: Scratch { maxima, candidates, .. },
        } = memory;
        scan::make_room(candidates, row.len());
        let scales = match search.rule {
            Rule::Above(_) => None,
            Rule::PerRow(_) | Rule::PerBatch(_) => search.scales,
        };
        bound(row, &self.biases_above, &self.norms, reach, scales, upper);
        match search.rule {
            Rule::PerRow(0) => 0,
            Rule::PerRow(k) => {
                bound(row, &self.biases_below, &self.norms, -reach, scales, lower);
                scan::at_least(upper, scan::lower_bound(lower, k, maxima), candidates)
            }
            Rule::PerBatch(_) => scan::at_least(upper, search.bound.next_up(), candidates),
            Rule::Above(bounds) => scan::greater(upper, bounds, candidates),
        }
    }

    /// Pre-activations of some entries in `f32`, `[N]`; `x` is `[rows, D]`.
    pub(crate) fn pre_activations(&self, x: &[f32], entries: &ActiveSet) -> Vec<f32> {
        let mut values = sparse::products(x, self.w_enc, self.d(), entries);
        for (value, &latent) in values.iter_mut().zip(entries.latents()) {
            *value += self.b_enc[latent as usize];
        }
        values
    }
}

/// The greatest number of active entries of a row of `n_latents`, on average, with which a search is worth trying.
pub(crate) fn most_left(n_latents: usize) -> f64 {
    MOST_LEFT * n_latents as f64
}

/// Replaces what `out` holds with the numbers of a row, to which a bias and `reach` times a norm are added, times the scales.
#[inline(always)]
fn bound(row: &[f32], biases: &[f32], norms: &[f32], reach: f32, scales: Option<&[f32]>, out: &mut Vec<f32>) {
    let bounds = row
        .iter()
        .zip(biases)
        .zip(norms)
        .map(|((h, bias), norm)| (h + bias) + reach * norm);
    out.clear();
    match scales {
        Some(scales) => out.extend(bounds.zip(scales).map(|(bound, scale)| bound * scale)),
        None => out.extend(bounds),
    }
}

/// Memory that the searches of many rows share.
#[derive(Debug, Default)]
struct Memory {
    /// Bounds of the scores of a row, `[F]`.
    lower: Vec<f32>,
    upper: Vec<f32>,
    scratch: Scratch,
}

/// Bounds of the norm of a row of numbers, and of the norm of what rounding to bf16 changes.
#[derive(Debug, Clone, Copy)]
struct Length {
    norm: f32,
    error: f32,
}

impl Length {
    fn of(row: &[f32]) -> Self {
        let mut errors = Vec::with_capacity(row.len());
        let (squares, of_errors) = simd!(|| {
            errors.extend(row.iter().map(|&x| x - nearest(x)));
            (dot(row, row), dot(&errors, &errors))
        });
        let norm = squares.sqrt() * SLACK;
        if norm < LEAST_NORM {
            // Squares and numbers in bf16 may have underflowed.
            return Self {
                norm: LEAST_NORM,
                error: LEAST_NORM * ROUNDING,
            };
        }
        Self {
            norm,
            error: of_errors.sqrt() * SLACK,
        }
    }

    fn share(&self) -> f32 {
        self.error / self.norm
    }
}

#[cfg(test)]
#[allow(clippy::print_stdout, reason = "a test that is skipped says so")]
mod tests {
    use super::*;
    use crate::random;
    use crate::search::{Among, Auxiliary, Encoded, Found, FoundInRows};
    use proptest::prelude::*;

    const ROWS: usize = 40;

    struct Case {
        d: usize,
        x: Vec<f32>,
        w_enc: Vec<f32>,
        b_enc: Vec<f32>,
    }

    impl Case {
        /// Rows with a large common part and latents of many lengths, in pairs that only the last bits tell apart; one latent is zero,
        /// one as small as numbers get, one has a large bias.
        fn draw(seed: u64, d: usize, f: usize, offset: f32) -> Self {
            let draw = |name: &str, n: usize| random::normal(&mut random::rng(seed, name), n, 1.0);
            let common = draw("common", d);
            let mut x = draw("x", ROWS * d);
            for row in x.chunks_mut(d) {
                row.iter_mut()
                    .zip(&common)
                    .for_each(|(x, common)| *x += offset * common);
            }
            let (mut w_enc, mut b_enc) = (draw("w", f * d), draw("b", f));
            for (latent, w) in w_enc.chunks_mut(d).enumerate() {
                let length = [0.02, 0.1, 0.3, 1.0][latent / 2 % 4];
                w.iter_mut().for_each(|w| *w *= length);
                b_enc[latent] = length * (0.5 * b_enc[latent] - 1.5 * (d as f32).sqrt());
            }
            for pair in 0..f / 2 {
                let (first, second) = w_enc[2 * pair * d..][..2 * d].split_at_mut(d);
                second.copy_from_slice(first);
                second[pair % d] *= 1.0 + 1e-6;
                b_enc[2 * pair + 1] = b_enc[2 * pair];
            }
            w_enc[..d].fill(0.0);
            w_enc[d..2 * d].iter_mut().for_each(|w| *w *= 1e-30);
            b_enc[..3].copy_from_slice(&[0.5, 0.5, -3e4]);
            Self { d, x, w_enc, b_enc }
        }

        fn search<'a>(&'a self, rule: Rule<'a>, scales: Option<&'a [f32]>, among: Option<&'a Among<'a>>) -> Search<'a> {
            Search {
                b_enc: &self.b_enc,
                rule,
                bound: 3.0,
                scales,
                among,
            }
        }

        /// Products with some rows of the encoder one by one, as the screen forms them.
        fn products(&self, w_enc: &[f32]) -> Vec<f32> {
            let of_row = |x| w_enc.chunks(self.d).map(move |w| simd!(|| dot(x, w)));
            self.x.chunks(self.d).flat_map(of_row).collect()
        }
    }

    fn encoded(found: &[FoundInRows], f: usize) -> [Encoded; 2] {
        let mut all = Found::new(Rule::PerRow(0));
        all.extend(found);
        [all.rows.encoded(f), all.auxiliary.encoded(f)]
    }

    fn bits(encoded: &Encoded) -> (ActiveSet, Vec<u32>) {
        let bits = encoded.values.iter().map(|value| value.to_bits()).collect();
        (encoded.set.clone(), bits)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn what_is_found_is_what_a_search_of_all_products_finds(
            seed in 0_u64..10_000,
            d in prop_oneof![Just(64_usize), 129_usize..300],
            f in 300_usize..900,
            k in 0_usize..30,
            scaled: bool,
            offset in prop_oneof![Just(0.0_f32), Just(1.0), Just(30.0)],
        ) {
            let case = Case::draw(seed, d, f, offset);
            let Some(screen) = Screen::of(&case.w_enc, &case.b_enc, d) else {
                println!("no AMX on this processor: skipped");
                return Ok(());
            };
            let scales: Vec<f32> = (0..f).map(|latent| [0.5, 1.0, 3.0][latent % 3]).collect();
            let scales = scaled.then_some(&scales[..]);
            let bounds: Vec<f32> = (0..f).map(|latent| latent as f32 / f as f32).collect();
            let dead: Vec<u32> = (0..f as u32).filter(|latent| latent % 7 == 1).collect();
            let among = Among::new(Auxiliary { latents: &dead, k }, &case.b_enc, scales);
            for rule in [Rule::PerRow(k), Rule::PerBatch(5), Rule::Above(&bounds)] {
                let search = case.search(rule, scales, Some(&among));
                let all = search.block(0, &mut case.products(&case.w_enc)).unwrap();
                let mut block = Vec::new();
                screen.multiply_over(&mut block, &case.x);
                // Where too many are left, the screen says so.
                if let Some(candidates) = screen.candidates(&block, &case.x, &search) {
                    let values = screen.pre_activations(&case.x, &candidates);
                    let of_dead = case.products(&among.encoder(&case.w_enc, d));
                    let found = search.candidates(0, &candidates, &values, &of_dead).unwrap();
                    let (expected, found) = (encoded(&all, f), encoded(&found, f));
                    prop_assert_eq!(found.each_ref().map(bits), expected.each_ref().map(bits));
                }
            }
        }
    }

    #[test]
    fn about_twice_as_many_entries_are_left_as_are_active() {
        let [d, f, k] = [768, 6144, 32];
        let draw = |name: &str, n: usize| random::normal(&mut random::rng(1, name), n, 1.0);
        let (x, w_enc, b_enc) = (draw("x", ROWS * d), draw("w", f * d), vec![0.0; f]);
        let case = Case { d, x, w_enc, b_enc };
        let Some(screen) = Screen::of(&case.w_enc, &case.b_enc, d) else {
            println!("no AMX on this processor: skipped");
            return;
        };
        let mut block = Vec::new();
        screen.multiply_over(&mut block, &case.x);
        let search = case.search(Rule::PerRow(k), None, None);
        let left = screen.candidates(&block, &case.x, &search).unwrap().len();
        assert!((ROWS * k..9 * ROWS * k / 4).contains(&left), "{left} for {}", ROWS * k);
    }

    #[test]
    fn numbers_that_are_not_finite_are_left_over() {
        let [d, f] = [128, 400];
        for (place, value) in [(3, f32::NAN), (3, f32::INFINITY), (5, 3.4e38)] {
            let mut case = Case::draw(2, d, f, 0.0);
            case.w_enc[10 * d + place] = value;
            let Some(screen) = Screen::of(&case.w_enc, &case.b_enc, d) else {
                println!("no AMX on this processor: skipped");
                return;
            };
            let search = case.search(Rule::PerRow(1), None, None);
            let mut block = Vec::new();
            screen.multiply_over(&mut block, &case.x);
            let candidates = screen.candidates(&block, &case.x, &search).unwrap();
            assert_eq!(candidates.of_latent(10).len(), ROWS);
            // A row that is not finite leaves everything.
            let mut x = case.x[..d].to_vec();
            x[place] = value;
            screen.multiply_over(&mut block, &x);
            assert!(screen.candidates(&block, &x, &search).is_none());
        }
    }

    #[test]
    fn bounds_of_norms_are_not_below_the_norms() {
        for factor in [1e-42_f32, 1e-30, 1e-12, 1e-8, 1.0, 1e15] {
            let row = random::normal(&mut random::rng(3, "row"), 301, factor);
            let Length { norm, error } = Length::of(&row);
            let length = |of: &dyn Fn(f32) -> f64| row.iter().map(|&x| of(x).powi(2)).sum::<f64>().sqrt();
            assert!(f64::from(norm) >= length(&f64::from), "{factor}");
            let changed = |x: f32| f64::from(x) - f64::from(nearest(x));
            assert!(f64::from(error) >= length(&changed), "{factor}");
        }
    }
}
