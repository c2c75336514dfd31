//! The supervised dictionary and its fit.
//!
//! Shapes: `B` rows of a batch, `D` width, `F` latents.

use std::ops::Range;

use activations::NodeRows;
use burn::tensor::{Device, Tensor};
use dictionaries::{Dictionary, Encoder, LabelledEncoder};
use tasks::{Attribute, Labels};

use crate::columns::Columns;
use crate::moments::Moments;
use crate::{Error, FitMethod, least_squares, mean};

/// One feature per value of what its parametrization tells apart, and the mean activation.
///
/// Codes are 0 or 1 and come from the labels; decoding adds the features of the values that are on to the mean. To exchange
/// the value of an attribute is to exchange all codes that the labels switch: with coupled attributes that is one pair of
/// codes for `IO` or `S`, and both pairs for `Pos`.
#[derive(Debug, Clone)]
pub struct SupervisedDictionary {
    method: FitMethod,
    columns: Columns,
    /// `[F, D]`
    features: Tensor<2>,
    /// `[1, D]`
    mean: Tensor<2>,
    /// The features on the host, `[F, D]`, and one row of zeros behind them for values without a feature.
    rows: Vec<f32>,
    width: usize,
}

/// Fits the features of one node.
///
/// `columns` says what the features stand for; the number of values of each attribute
/// ([`ByAttribute`](tasks::ByAttribute)) stands for the independent parametrization of them. A value that no row has gets
/// the zero vector.
pub fn fit(
    rows: &NodeRows,
    columns: impl Into<Columns>,
    method: FitMethod,
    device: &Device,
) -> Result<SupervisedDictionary, Error> {
    let moments = Moments::new(rows, columns.into())?;
    let features = match method {
        FitMethod::Mean => mean::features(&moments),
        FitMethod::LeastSquares => least_squares::features(&moments, &rows.labels)?,
    };
    let narrow = |values: &[f64]| values.iter().map(|&value| value as f32).collect();
    Ok(SupervisedDictionary::new(
        method,
        moments.columns,
        narrow(&features),
        narrow(&moments.mean),
        device,
    ))
}

impl SupervisedDictionary {
    /// A dictionary of features `[F, D]` and mean `[D]`, whose sizes the caller has checked.
    pub(crate) fn new(
        method: FitMethod,
        columns: Columns,
        features: Vec<f32>,
        mean: Vec<f32>,
        device: &Device,
    ) -> Self {
        let width = mean.len();
        let mut rows = features.clone();
        rows.extend(std::iter::repeat_n(0.0, width));
        let features = kernels::from_vec(features, [columns.len(), width], device); // [F, D]
        let mean = kernels::from_vec(mean, [1, width], device); // [1, D]
        Self {
            method,
            columns,
            features,
            mean,
            rows,
            width,
        }
    }

    /// How the features were found.
    pub fn method(&self) -> FitMethod {
        self.method
    }

    /// What the latents stand for.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// The latents of an attribute: latent `range.start + v` is its value `v`. None in parametrizations other than the
    /// independent one.
    pub fn range(&self, attribute: Attribute) -> Range<usize> {
        self.columns.range(attribute)
    }

    /// The feature of a value, `[D]`: an edit from `v` to `w` is `a - feature(v) + feature(w)`.
    ///
    /// Zero for a value that was not seen in the fit or does not exist, so that an edit of it changes nothing.
    pub fn feature(&self, attribute: Attribute, value: usize) -> &[f32] {
        let row = self.range(attribute).nth(value).unwrap_or(self.columns.len());
        &self.rows[row * self.width..(row + 1) * self.width]
    }

    /// All features, `[F, D]`.
    pub(crate) fn features(&self) -> &[f32] {
        &self.rows[..self.columns.len() * self.width]
    }

    /// The mean activation, `[D]`.
    pub fn mean(&self) -> Vec<f32> {
        kernels::to_vec(self.mean.clone())
    }
}

impl Dictionary for SupervisedDictionary {
    fn d_in(&self) -> usize {
        self.width
    }

    fn n_latents(&self) -> usize {
        self.columns.len()
    }

    fn device(&self) -> Device {
        self.features.device()
    }

    fn decode(&self, codes: Tensor<2>) -> Tensor<2> {
        kernels::matmul(codes, self.features.clone()) + self.mean.clone() // [B, D]
    }

    fn directions(&self) -> Tensor<2> {
        self.features.clone() // [F, D]
    }
}

impl LabelledEncoder<Labels> for SupervisedDictionary {
    fn encode_labelled(&self, activations: Tensor<2>, labels: &[Labels]) -> Tensor<2> {
        let mut codes = vec![0.0; labels.len() * self.columns.len()];
        for (row, labels) in codes.chunks_exact_mut(self.columns.len().max(1)).zip(labels) {
            self.columns.active(labels).for_each(|column| row[column] = 1.0);
        }
        kernels::from_vec(codes, [labels.len(), self.columns.len()], &activations.device()) // [B, F]
    }

    fn as_encoder(&self) -> Option<&dyn Encoder> {
        None
    }
}
