//! How near a prediction comes to a numeric function, on FIND's grid.
//!
//! The grid is `i + 0.5` for `i` from -128 to 127. Points where the function has no finite value are left out. The error is
//! `sum |y - p|^2 / sum |y|^2`, not normalised by the variance: predicting 0 gives exactly 1. FIND's figure is the share of
//! functions with an error below 0.1.

use serde::{Deserialize, Serialize};

/// The points at which functions are compared.
pub fn grid() -> impl Iterator<Item = f64> {
    (-128..128).map(|i| f64::from(i) + 0.5)
}

/// Errors of a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NumericScore {
    /// `sum |y - p|^2 / sum |y|^2`; infinite where a prediction is missing or not finite.
    pub nmse: f64,
    /// The same with the mean of `y` taken away below the line: one minus R squared; none where `y` is constant.
    pub by_variance: Option<f64>,
}

impl NumericScore {
    /// Whether the error is below FIND's threshold.
    pub fn passes(&self) -> bool {
        self.nmse < 0.1
    }
}

/// Compares predictions with values, point by point; points without a finite value are left out.
pub fn score(points: impl Iterator<Item = (f64, f64)>) -> NumericScore {
    let points: Vec<(f64, f64)> = points.filter(|(y, _)| y.is_finite()).collect();
    let mean = points.iter().map(|(y, _)| y).sum::<f64>() / points.len().max(1) as f64;
    let error: f64 = points.iter().map(|(y, p)| (y - p).powi(2)).sum();
    let (of_zero, of_mean): (f64, f64) = (
        points.iter().map(|(y, _)| y * y).sum(),
        points.iter().map(|(y, _)| (y - mean).powi(2)).sum(),
    );
    let ratio = |whole: f64| match error {
        error if !error.is_finite() => f64::INFINITY,
        error if whole > 0.0 => error / whole,
        0.0 => 0.0,
        _ => f64::INFINITY,
    };
    NumericScore {
        nmse: ratio(of_zero),
        by_variance: (of_mean > 0.0).then(|| ratio(of_mean)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_scores_one_and_the_truth_scores_nothing() {
        let line = |x: f64| 2.0 * x - 3.0;
        let zero = score(grid().map(|x| (line(x), 0.0)));
        assert_eq!(zero.nmse, 1.0);
        assert!(!zero.passes());
        assert_eq!(score(grid().map(|x| (line(x), line(x)))).nmse, 0.0);
        let mean = score(grid().map(|x| (line(x), -3.0)));
        assert!((mean.by_variance.unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_compared_is_no_success() {
        assert_eq!(score([(1.0, f64::NAN)].into_iter()).nmse, f64::INFINITY);
        assert_eq!(score([(f64::NAN, 1.0), (2.0, 2.0)].into_iter()).nmse, 0.0);
        assert_eq!(score([(0.0, 0.0)].into_iter()).nmse, 0.0);
        assert_eq!(score([(0.0, 1.0)].into_iter()).nmse, f64::INFINITY);
    }
}
