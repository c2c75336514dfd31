//! Mean features: the mean activation of a value's rows, minus the mean of all rows.
//!
//! `u_(i,v) = mean{a : a_i = v} - mean(a)`; a value that no row has gets the zero vector. A mean feature does not depend
//! on which other attributes the dictionary has, so redundant attributes are counted as often as they occur.
//!
//! Shapes: `D` width, `F` latents.

use crate::moments::Moments;

/// The features, `[F, D]`.
pub(crate) fn features(moments: &Moments) -> Vec<f64> {
    let counts = moments.counts.iter().map(|&count| count.max(1) as f64);
    let rows = moments.sums.chunks_exact(moments.width).zip(counts);
    rows.flat_map(|(sum, count)| sum.iter().map(move |value| value / count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use activations::NodeRows;
    use tasks::{Attribute, ByAttribute, Labels};

    #[test]
    fn conditional_means_minus_the_mean() {
        let rows = NodeRows {
            width: 2,
            values: vec![1.0, 0.0, 3.0, 0.0, 5.0, 6.0, 7.0, 2.0],
            labels: [[0, 0, 0], [0, 1, 0], [2, 0, 0], [2, 1, 0]].map(Labels::ioi).to_vec(),
        };
        let two = ByAttribute::from_iter([(Attribute::IO, 3), (Attribute::S, 2)]);
        let moments = Moments::new(&rows, two.into()).unwrap();
        assert_eq!(moments.mean, [4.0, 2.0]);
        let expected = [-2.0, -2.0, 0.0, 0.0, 2.0, 2.0, -1.0, 1.0, 1.0, -1.0]; // value 1 of the first is never seen
        assert_eq!(features(&moments), expected);
    }
}
