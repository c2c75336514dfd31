//! Numbers to numbers: FIND's numeric family (Schwettmann et al., [arXiv 2309.03886](https://arxiv.org/abs/2309.03886)).
//!
//! | module | owns |
//! | --- | --- |
//! | `atom` | the 18 atoms, their sums and products |
//! | `as_expression` | atoms as formulas |
//! | `sample` | functions from seeds |
//! | `served` | how a function is served: clean, noised, corrupted in an interval, or through an MLP |
//! | `mlp` | the MLP of 64 units and its training |
//! | `expression`, `parse` | the formulas that explanations are made of |
//! | `least_squares`, `fit` | the offline explainer |
//! | `baseline` | predictors that know nothing of atoms |
//! | `score` | the normalised error on FIND's grid |

mod as_expression;
mod atom;
mod baseline;
mod expression;
mod fit;
mod least_squares;
mod mlp;
mod parse;
mod sample;
mod score;
mod served;

pub use atom::{Atom, Formula};
pub use baseline::Baseline;
pub use expression::{Expression, Operation};
pub use fit::explain;
pub use mlp::{Mlp, MlpTraining};
pub use sample::sample;
pub use score::{NumericScore, grid, score};
pub use served::{Corruption, Noise, Served, Variant};
