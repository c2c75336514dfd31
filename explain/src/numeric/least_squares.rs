//! Least squares in double precision: Householder's reflections.

/// Coefficients that fit `y` best, and the sum of squares that is left.
///
/// `columns` holds one vector of values for each basis function. A basis function that the others already give has the
/// coefficient 0.
///
/// # Shapes
///
/// - columns: `K` of `[N]`, `N >= K`
/// - y: `[N]`
/// - output: `[K]`
pub(super) fn least_squares(columns: &[Vec<f64>], y: &[f64]) -> Option<(Vec<f64>, f64)> {
    let (n, k) = (y.len(), columns.len());
    if n < k || columns.iter().flatten().chain(y).any(|value| !value.is_finite()) {
        return None;
    }
    let (mut a, mut rest) = (columns.to_vec(), y.to_vec());
    let norms: Vec<f64> = a.iter().map(|column| norm(column)).collect();
    let mut diagonal = vec![0.0; k];
    for i in 0..k {
        let length = norm(&a[i][i..]);
        // What is left of a column that depends on the others is rounding.
        if length <= 1e-11 * norms[i] || length == 0.0 {
            continue;
        }
        let sign = if a[i][i] > 0.0 { -1.0 } else { 1.0 };
        diagonal[i] = sign * length;
        let mut reflector: Vec<f64> = a[i][i..].to_vec();
        reflector[0] -= diagonal[i];
        let scale = 2.0 / reflector.iter().map(|v| v * v).sum::<f64>();
        let reflect = |column: &mut [f64]| {
            let along: f64 = reflector.iter().zip(column.iter()).map(|(v, c)| v * c).sum::<f64>() * scale;
            column.iter_mut().zip(&reflector).for_each(|(c, v)| *c -= along * v);
        };
        a[i + 1..].iter_mut().for_each(|column| reflect(&mut column[i..]));
        reflect(&mut rest[i..]);
    }
    let mut coefficients = vec![0.0; k];
    for i in (0..k).rev().filter(|&i| diagonal[i] != 0.0) {
        let known: f64 = (i + 1..k).map(|j| a[j][i] * coefficients[j]).sum();
        coefficients[i] = (rest[i] - known) / diagonal[i];
    }
    let left = (0..n).map(|row| {
        let found: f64 = columns
            .iter()
            .zip(&coefficients)
            .map(|(column, c)| column[row] * c)
            .sum();
        (found - y[row]).powi(2)
    });
    let left = left.sum();
    Some((coefficients, left))
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_dependent_column_is_left_out() {
        let one: Vec<f64> = vec![1.0; 5];
        let x: Vec<f64> = (0..5).map(f64::from).collect();
        let y: Vec<f64> = x.iter().map(|x| 3.0 * x + 2.0).collect();
        let (found, left) = least_squares(&[one.clone(), x, one], &y).unwrap();
        assert!(
            (found[0] - 2.0).abs() < 1e-9 && (found[1] - 3.0).abs() < 1e-9 && found[2] == 0.0,
            "{found:?}"
        );
        assert!(left < 1e-18);
    }

    proptest! {
        /// The residual of a least-squares fit is orthogonal to every basis function.
        #[test]
        fn what_is_left_is_orthogonal(values in prop::collection::vec(-5.0..5.0_f64, 40)) {
            let columns = [values[..10].to_vec(), values[10..20].to_vec(), values[20..30].to_vec()];
            let y = &values[30..];
            let (found, left) = least_squares(&columns, y).unwrap();
            let rest: Vec<f64> = (0..10).map(|i| y[i] - (0..3).map(|k| found[k] * columns[k][i]).sum::<f64>()).collect();
            prop_assert!((rest.iter().map(|r| r * r).sum::<f64>() - left).abs() < 1e-9);
            for column in &columns {
                let product: f64 = column.iter().zip(&rest).map(|(c, r)| c * r).sum();
                prop_assert!(product.abs() < 1e-8, "{product}");
            }
        }
    }
}
