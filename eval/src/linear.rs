//! Symmetric linear systems in f64, small enough to be solved at once.

/// Replaces the lower triangle of a symmetric `[D, D]` matrix by its Cholesky factor; `None` where it is not positive definite.
pub(crate) fn cholesky(a: &mut [f64], d: usize) -> Option<()> {
    for j in 0..d {
        for i in j..d {
            let sum: f64 = (0..j).map(|k| a[i * d + k] * a[j * d + k]).sum();
            let rest = a[i * d + j] - sum;
            if i > j {
                a[i * d + j] = rest / a[j * d + j];
            } else if rest > 0.0 && rest.is_finite() {
                a[j * d + j] = rest.sqrt();
            } else {
                return None;
            }
        }
    }
    Some(())
}

/// Solves `L L' x = b`.
pub(crate) fn solve(l: &[f64], b: &[f64]) -> Vec<f64> {
    let d = b.len();
    let mut x = b.to_vec();
    for i in 0..d {
        let sum: f64 = (0..i).map(|k| l[i * d + k] * x[k]).sum();
        x[i] = (x[i] - sum) / l[i * d + i];
    }
    for i in (0..d).rev() {
        let sum: f64 = (i + 1..d).map(|k| l[k * d + i] * x[k]).sum();
        x[i] = (x[i] - sum) / l[i * d + i];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::random;

    #[test]
    fn the_factor_solves() {
        let (d, draws) = (5, random::normal(&mut random::rng(1, "cholesky"), 35, 1.0));
        let entry = |i: usize, j: usize| -> f64 {
            let dot: f64 = (0..7)
                .map(|k| f64::from(draws[i * 7 + k]) * f64::from(draws[j * 7 + k]))
                .sum();
            dot + if i == j { 0.5 } else { 0.0 }
        };
        let a: Vec<f64> = (0..25).map(|place| entry(place / d, place % d)).collect();
        let b = [1.0, -2.0, 0.5, 3.0, 0.0];
        let mut factor = a.clone();
        cholesky(&mut factor, d).unwrap();
        let x = solve(&factor, &b);
        for i in 0..d {
            let product: f64 = (0..d).map(|j| a[i * d + j] * x[j]).sum();
            assert!((product - b[i]).abs() < 1e-9, "{product}");
        }
        assert!(cholesky(&mut [1.0, 2.0, 2.0, 1.0], 2).is_none());
    }
}
