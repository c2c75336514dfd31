//! Edits with latents that stand for a value: the interpretation-aware edit of Makelov, Lange, Nanda
//! ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366), section 4.2).
//!
//! Latents are ordered by their F1 against "the attribute has the value v" on a sample that no edit is measured on and in
//! which every name occurs. Of those active in the clean activation the first `m` for the old value are removed, of those
//! active in the counterfactual activation the first `m` for the new value are added:
//! `a_edit = a_s - sum alpha_j u_j + sum beta_j u_j`.
//!
//! Shape legend: `N` prompts, `F` latents, `P` values.

use dictionaries::Codes;

use super::Swap;

/// F1 of every latent against every value.
#[derive(Debug, Clone)]
pub struct Ranking {
    n_values: usize,
    /// `[F, P]`
    f1: Vec<f32>,
    /// Whether each value occurred where latents were rated, `[P]`.
    seen: Vec<bool>,
}

impl Ranking {
    /// Takes `[F, P]` scores in row-major order, and whether each value occurred in their sample, `[P]`.
    pub fn new(n_values: usize, f1: Vec<f32>, seen: Vec<bool>) -> Self {
        Self { n_values, f1, seen }
    }

    /// Whether it has an order for all these values.
    pub fn knows(&self, values: &[usize]) -> bool {
        values.iter().all(|&value| self.seen[value])
    }

    /// The first `m` of the active latents with an F1 above 0 against `value`; the lower latent wins a tie.
    fn first(&self, active: &[(u32, f32)], value: usize, m: usize) -> Vec<(u32, f32)> {
        let f1 = |latent: u32| self.f1[latent as usize * self.n_values + value];
        let mut standing: Vec<_> = active
            .iter()
            .copied()
            .filter(|&(latent, code)| code > 0.0 && f1(latent) > 0.0)
            .collect();
        standing.sort_by(|a, b| f1(b.0).total_cmp(&f1(a.0)).then(a.0.cmp(&b.0)));
        standing.truncate(m);
        standing
    }
}

/// The edit of every prompt from value `from[i]` to `to[i]`: at most `m` latents removed and as many added.
pub fn guided(
    (alpha, from): (&Codes, &[usize]),
    (beta, to): (&Codes, &[usize]),
    ranking: &Ranking,
    m: usize,
) -> Vec<Vec<Swap>> {
    let edit = |i: usize| {
        let mut swaps: Vec<Swap> = ranking
            .first(&alpha.rows[i], from[i], m)
            .into_iter()
            .map(|(latent, code)| Swap {
                latent,
                from: code,
                to: 0.0,
            })
            .collect();
        for (latent, code) in ranking.first(&beta.rows[i], to[i], m) {
            match swaps.iter_mut().find(|swap| swap.latent == latent) {
                Some(swap) => swap.to = code,
                None => swaps.push(Swap {
                    latent,
                    from: 0.0,
                    to: code,
                }),
            }
        }
        swaps
    };
    (0..alpha.rows.len()).map(edit).collect()
}
