//! What a latent stands for: the predicate, or union of predicates, that it agrees with best.
//!
//! Section 4.3 of Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)): of every family whose
//! predicates may be joined, predicates are sorted by their own F1 for the latent, and the first one, two, ... up to
//! [`LONGEST`] of them are joined; the description is the best single predicate or union of any family. Descriptions are
//! chosen on the even rows of a sample and scored on the odd ones.
//!
//! Shape legend: `N` prompts, `F` latents, `P` predicates of a family.

use crate::agreement::Agreement;
use dictionaries::Codes;
use rayon::prelude::*;
use std::ops::Range;
use tasks::{Family, Labels};

/// Share of the rows from which on an active latent is described by nothing: at an F1 of 0.6 a constant latent would already
/// stand for Pos.
const MOST_ACTIVE: f64 = 0.9;

/// Most predicates of a union.
pub const LONGEST: usize = 10;

/// The description of one latent, with its agreement on rows that had no part in the choice.
#[derive(Debug, Clone, PartialEq)]
pub struct Interpretation {
    /// Place of the family.
    pub family: usize,
    /// The joined predicates.
    pub values: Vec<usize>,
    /// F1 on the rows it was chosen on.
    pub f1_chosen: f64,
    /// F1 on the others.
    pub f1: f64,
    /// Matthews' correlation on the others.
    pub mcc: f64,
}

/// The best description of each latent, `[F]`; none for a latent that is silent, or active nearly always, on the even rows.
pub fn interpret(codes: &Codes, labels: &[Labels], families: &[Family]) -> Vec<Option<Interpretation>> {
    let held: Vec<Vec<Vec<usize>>> = families
        .iter()
        .map(|family| labels.iter().map(|labels| family.holding(labels).collect()).collect())
        .collect();
    let mut active: Vec<Vec<u32>> = vec![Vec::new(); codes.n_latents];
    for (row, codes) in (0_u32..).zip(&codes.rows) {
        codes
            .iter()
            .filter(|entry| entry.1 > 0.0)
            .for_each(|entry| active[entry.0 as usize].push(row));
    }
    let halves = [0, 1].map(|half| (half..labels.len()).step_by(2));
    let n = halves[0].clone().count() as f64;
    let describe = |rows: &Vec<u32>| {
        // A latent that is nearly always active describes nothing, whatever its F1.
        if rows.iter().filter(|row| *row % 2 == 0).count() as f64 >= MOST_ACTIVE * n {
            return None;
        }
        let mut is_active = vec![false; labels.len()];
        rows.iter().for_each(|&row| is_active[row as usize] = true);
        let of =
            |held: &[Vec<usize>], order: &[usize], half: usize| unions(held, order, &is_active, halves[half].clone());
        let mut best: Option<(f64, usize, Vec<usize>)> = None;
        for (place, (family, held)) in families.iter().zip(&held).enumerate() {
            let order = by_f1(held, family.n, &is_active, halves[0].clone());
            let longest = if family.unions { LONGEST } else { 1 };
            let order = &order[..order.len().min(longest)];
            for (n, table) in of(held, order, 0).iter().enumerate() {
                if best.as_ref().is_none_or(|(known, ..)| table.f1() > *known) {
                    best = Some((table.f1(), place, order[..=n].to_vec()));
                }
            }
        }
        let (f1_chosen, family, values) = best.filter(|(f1, ..)| *f1 > 0.0)?;
        let table = of(&held[family], &values, 1).pop()?;
        Some(Interpretation {
            family,
            values,
            f1_chosen,
            f1: table.f1(),
            mcc: table.mcc(),
        })
    };
    active.par_iter().map(describe).collect()
}

/// The predicates that hold on some active row, best F1 first; the lower one wins a tie.
fn by_f1(held: &[Vec<usize>], n: usize, is_active: &[bool], rows: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut tables = vec![Agreement::default(); n];
    let mut active = 0.0;
    for row in rows {
        active += f64::from(u8::from(is_active[row]));
        for &value in &held[row] {
            tables[value].holds += 1.0;
            tables[value].both += f64::from(u8::from(is_active[row]));
        }
    }
    let f1 = |value: usize| {
        Agreement {
            active,
            ..tables[value]
        }
        .f1()
    };
    let mut order: Vec<usize> = (0..n).filter(|&value| tables[value].both > 0.0).collect();
    order.sort_by(|&a, &b| f1(b).total_cmp(&f1(a)));
    order
}

/// Agreement with the union of the first one, two, ... predicates of `order`. A row on which two of them hold counts once.
fn unions(
    held: &[Vec<usize>],
    order: &[usize],
    is_active: &[bool],
    rows: std::iter::StepBy<Range<usize>>,
) -> Vec<Agreement> {
    let mut tables = vec![Agreement::default(); order.len()];
    let (mut active, mut n) = (0.0, 0.0);
    for row in rows {
        let is_active = f64::from(u8::from(is_active[row]));
        active += is_active;
        n += 1.0;
        let first = held[row]
            .iter()
            .filter_map(|value| order.iter().position(|v| v == value))
            .min();
        if let Some(first) = first {
            tables[first].holds += 1.0;
            tables[first].both += is_active;
        }
    }
    let (mut holds, mut both) = (0.0, 0.0);
    for table in &mut tables {
        holds += table.holds;
        both += table.both;
        *table = Agreement { both, active, holds, n };
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three values; of each row one or two hold.
    fn rows() -> Vec<Vec<usize>> {
        (0..24)
            .map(|i| if i % 4 == 0 { vec![0, 1] } else { vec![i % 3] })
            .collect()
    }

    #[test]
    fn unions_are_those_of_a_row_by_row_count() {
        let held = rows();
        let is_active: Vec<bool> = (0..24).map(|i| i % 5 < 2).collect();
        let order = [2, 0, 1];
        let found = unions(&held, &order, &is_active, (0..24).step_by(2));
        for n in 1..=3 {
            let mut expected = Agreement::default();
            for row in (0..24).step_by(2) {
                let holds = held[row].iter().any(|value| order[..n].contains(value));
                expected.n += 1.0;
                expected.holds += f64::from(u8::from(holds));
                expected.active += f64::from(u8::from(is_active[row]));
                expected.both += f64::from(u8::from(holds && is_active[row]));
            }
            assert_eq!(found[n - 1], expected);
        }
    }
}
