//! Which value of which attribute each latent stands for.
//!
//! A predicate is "the attribute has this value". The best ones are chosen by F1 on the even prompts; what is told is their
//! precision, recall and F1 on the odd ones, as in the evaluation.

use super::contexts::SparseCodes;
use activations::store::Row;
use eval::agreement::Agreement;
use tasks::{Attribute, Task};

use super::neighbours::largest;

/// Predicates of a latent that are kept.
const KEPT: usize = 3;

/// The F1 below which a predicate says nothing of a latent.
const LEAST: f32 = 0.05;

/// Counts of one half of the prompts.
#[derive(Clone)]
struct Counts {
    rows: u32,
    active: Vec<u32>, // [F]
    holds: Vec<u32>,  // [P]
    both: Vec<u32>,   // [F, P]
}

/// Counts of all predicates of a task.
pub(super) struct Predicates {
    /// Each attribute and the number of its first predicate.
    attributes: Vec<(Attribute, usize)>,
    names: Vec<String>,
    halves: [Counts; 2],
}

impl Predicates {
    pub(super) fn new(task: &dyn Task, n_latents: usize) -> Self {
        let mut names = Vec::new();
        let mut attributes = Vec::new();
        for (attribute, n) in task.labelled().iter() {
            attributes.push((attribute, names.len()));
            names.extend((0..n).map(|value| format!("{attribute} = {}", task.value_name(attribute, value))));
        }
        let counts = Counts {
            rows: 0,
            active: vec![0; n_latents],
            holds: vec![0; names.len()],
            both: vec![0; n_latents * names.len()],
        };
        Self {
            attributes,
            names,
            halves: [counts.clone(), counts],
        }
    }

    /// Counts rows and their codes.
    pub(super) fn add(&mut self, rows: &[Row], codes: &[SparseCodes]) {
        let n = self.names.len();
        for (row, active) in rows.iter().zip(codes) {
            let half = &mut self.halves[row.row as usize % 2];
            half.rows += 1;
            let Some(labels) = &row.labels else { continue };
            let value = |&(attribute, first): &(Attribute, usize)| Some(first + labels.get(attribute)?);
            let holding: Vec<usize> = self
                .attributes
                .iter()
                .filter_map(value)
                .filter(|place| *place < n)
                .collect();
            holding.iter().for_each(|&place| half.holds[place] += 1);
            for &(latent, _) in active {
                half.active[latent as usize] += 1;
                holding
                    .iter()
                    .for_each(|&place| half.both[latent as usize * n + place] += 1);
            }
        }
    }

    fn agreement(&self, half: usize, latent: usize, place: usize) -> Agreement {
        let counts = &self.halves[half];
        Agreement {
            both: counts.both[latent * self.names.len() + place].into(),
            active: counts.active[latent].into(),
            holds: counts.holds[place].into(),
            n: counts.rows.into(),
        }
    }

    /// The best predicates of each latent, `F`: name, precision, recall, F1.
    pub(super) fn best(&self) -> Vec<Vec<(String, [f64; 3])>> {
        let of = |latent: usize| {
            let scored =
                (0..self.names.len()).map(|place| (place as u32, self.agreement(0, latent, place).f1() as f32));
            let best = largest(scored.filter(|(_, f1)| *f1 >= LEAST), KEPT);
            let told = |(place, _): (u32, f32)| {
                let on_others = self.agreement(1, latent, place as usize);
                (
                    self.names[place as usize].clone(),
                    [on_others.precision(), on_others.recall(), on_others.f1()],
                )
            };
            best.into_iter().map(told).collect()
        };
        (0..self.halves[0].active.len()).map(of).collect()
    }
}
