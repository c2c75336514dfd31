//! Mean ablation.
//!
//! Shape legend: `N` prompts, `D` width of a node.

use dictionaries::Rows;

/// Mean ablation: every row becomes the mean row, `[N, D]`.
pub fn ablated(clean: &Rows) -> Rows {
    Rows::repeat(&clean.mean(), clean.len())
}

/// What is left without the reconstruction, around the mean: `a- + (a - a^)`, `[N, D]`.
pub fn without(clean: &Rows, reconstruction: &Rows) -> Rows {
    ablated(clean).plus_minus(clean, reconstruction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_reconstruction_leaves_the_mean() {
        let clean = Rows::new(2, vec![1.0, 2.0, 3.0, 6.0]);
        assert_eq!(without(&clean, &clean), ablated(&clean));
        assert_eq!(ablated(&clean).values(), [2.0, 4.0, 2.0, 4.0]);
    }
}
