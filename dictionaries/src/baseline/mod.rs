//! Dictionaries that nobody trained: what makes the scores of the others mean something.
//!
//! Not in the paper (Makelov, Lange, Nanda, [arXiv 2405.08366](https://arxiv.org/abs/2405.08366)), which compares with no
//! edit and with frozen random decoders (`sae`'s `frozen_decoder`); its reviewers asked for these.
//!
//! | file | baseline |
//! | --- | --- |
//! | `neurons` | the dimensions of the activation as they are |
//! | `pca` | the principal components of the activations |
//! | `random` | random directions, as sparse or as exact as what they stand beside; codes by `pursuit` |
//!
//! Shape legend: `N` rows of activations, `D` width of a node, `F` latents.

mod basis;
mod neurons;
mod pca;
mod pursuit;
mod random;

use crate::{Error, Rows};

pub use basis::SignedBasis;
pub use neurons::neurons;
pub use pca::pca;
pub use random::{Matched, RandomDictionary, RandomSize};

/// The activations `[N, D]` that a baseline is made from.
///
/// # Errors
/// [`Error::Baseline`] for no rows, and for a number that is not finite: the row is named.
fn checked(baseline: &'static str, values: &[f32], width: usize) -> Result<Rows, Error> {
    let refuse = |reason: String| Err(Error::Baseline { baseline, reason });
    if width == 0 || values.is_empty() || !values.len().is_multiple_of(width) {
        let reason = format!("{} numbers are no rows of width {width}; harvest again", values.len());
        return refuse(reason);
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => refuse(format!(
            "row {} of the activations holds {}; harvest again",
            at / width,
            values[at]
        )),
        None => Ok(Rows::new(width, values.to_vec())),
    }
}
