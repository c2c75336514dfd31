//! Feature dictionaries built from known attributes: one vector per value of each attribute, and a mean.
//!
//! The model of an activation is `a^ = mean + sum_i u_(i, value of attribute i)` (Makelov, Lange, Nanda, "Towards
//! Principled Evaluations of Sparse Autoencoders", [arXiv 2405.08366](https://arxiv.org/abs/2405.08366)). What counts as an
//! attribute is the [`Parametrization`]. Two ways to find the vectors: conditional means ([`FitMethod::Mean`]) and least squares
//! ([`FitMethod::LeastSquares`]). The result is a [`SupervisedDictionary`].

mod columns;
pub mod config;
mod dictionary;
mod error;
mod least_squares;
mod mean;
mod moments;
mod parametrization;
mod saved;

pub use columns::Columns;
pub use config::{FitConfig, FitFile, FitMethod};
pub use dictionary::{SupervisedDictionary, fit};
pub use error::Error;
pub use parametrization::Parametrization;
pub use saved::Origin;
