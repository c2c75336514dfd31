//! Singular value decomposition in f64 on the host, for matrices of at most a few hundred columns.
//!
//! One-sided Jacobi (Hestenes 1958): plane rotations make the columns orthogonal to each other, pair by pair, until all
//! are. It is accurate for small singular values too, and its `V` is orthonormal whatever the rank. A symmetric matrix
//! without negative eigenvalues has its eigenvectors in `V` and its eigenvalues in `s`.
//!
//! A matrix is the list of its columns. Shapes: `M` rows, `N` columns, `M >= N`.

/// A matrix as the list of its columns.
pub type Columns = Vec<Vec<f64>>;

/// Sweeps over all pairs of columns; about ten do.
const MAX_SWEEPS: usize = 60;
/// Cosine of two columns, and norm relative to the largest one, that count as zero.
const EPSILON: f64 = 1e-15;

/// `A = U diag(s) V^T`, by falling singular value.
#[derive(Debug, Clone)]
pub struct Svd {
    /// `N` columns of `M`: orthonormal, zero where the singular value is zero.
    pub u: Columns,
    /// `N` singular values, falling.
    pub s: Vec<f64>,
    /// `N` orthonormal columns of `N`.
    pub v: Columns,
}

/// Decomposes a matrix of finite numbers.
pub fn svd(mut a: Columns) -> Svd {
    let n = a.len();
    let unit = |i: usize| (0..n).map(|j| f64::from(u8::from(i == j))).collect();
    let mut v: Columns = (0..n).map(unit).collect();
    for _ in 0..MAX_SWEEPS {
        let largest = a.iter().map(|column| dot(column, column)).fold(0.0, f64::max);
        let floor = largest * (EPSILON * n as f64).powi(2);
        let mut rotated = false;
        for p in 0..n {
            for q in p + 1..n {
                let (left, right) = a.split_at_mut(q);
                let (x, y) = (&mut left[p], &mut right[0]);
                let (xx, yy, xy) = (dot(x, x), dot(y, y), dot(x, y));
                if xy.abs() <= EPSILON * (xx * yy).sqrt() || xx.max(yy) <= floor {
                    continue;
                }
                rotated = true;
                // The smaller root of t^2 + 2 zeta t - 1 = 0: a rotation by at most 45 degrees.
                let zeta = (yy - xx) / (2.0 * xy);
                let t = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
                let cosine = 1.0 / t.hypot(1.0);
                rotate(x, y, cosine, cosine * t);
                let (left, right) = v.split_at_mut(q);
                rotate(&mut left[p], &mut right[0], cosine, cosine * t);
            }
        }
        if !rotated {
            break;
        }
    }
    let mut triples: Vec<(f64, Vec<f64>, Vec<f64>)> = a
        .into_iter()
        .zip(v)
        .map(|(mut column, v)| {
            let s = dot(&column, &column).sqrt();
            if s > 0.0 {
                column.iter_mut().for_each(|value| *value /= s);
            }
            (s, column, v)
        })
        .collect();
    triples.sort_by(|a, b| b.0.total_cmp(&a.0)); // stable: the result depends on the matrix alone
    let mut found = Svd {
        u: Vec::with_capacity(n),
        s: Vec::with_capacity(n),
        v: Vec::with_capacity(n),
    };
    for (s, u, v) in triples {
        found.s.push(s);
        found.u.push(u);
        found.v.push(v);
    }
    found
}

/// `A = Q R` by Householder reflections: `Q` has `N` orthonormal columns of `M` whatever the rank of `A`, `R` is upper
/// triangular, `N` columns of `N`.
pub fn qr(mut a: Columns) -> (Columns, Columns) {
    let (n, m) = (a.len(), a.first().map_or(0, Vec::len));
    let mut mirrors: Columns = Vec::with_capacity(n); // unit vectors, zero where there is nothing to reflect
    for k in 0..n {
        let mut mirror = vec![0.0; m];
        mirror[k..].copy_from_slice(&a[k][k..]);
        let norm = dot(&mirror, &mirror).sqrt();
        mirror[k] += norm.copysign(mirror[k]);
        let length = dot(&mirror, &mirror).sqrt();
        if length > 0.0 {
            mirror.iter_mut().for_each(|value| *value /= length);
        }
        a[k..]
            .iter_mut()
            .for_each(|column| reflect(&mut column[k..], &mirror[k..]));
        mirrors.push(mirror);
    }
    let of_q = |k: usize| {
        let mut column = vec![0.0; m];
        column[k] = 1.0;
        for (j, mirror) in mirrors.iter().enumerate().rev() {
            reflect(&mut column[j..], &mirror[j..]);
        }
        column
    };
    let q = (0..n).map(of_q).collect();
    for (k, column) in a.iter_mut().enumerate() {
        column.truncate(n);
        column[k + 1..].fill(0.0); // zero but for rounding
    }
    (q, a)
}

/// `A B` for the columns of `A` and of `B`.
pub fn product(a: &Columns, b: &Columns) -> Columns {
    let m = a.first().map_or(0, Vec::len);
    let column = |b: &Vec<f64>| {
        let mut sum = vec![0.0; m];
        for (a, &factor) in a.iter().zip(b) {
            sum.iter_mut().zip(a).for_each(|(sum, a)| *sum += factor * a);
        }
        sum
    };
    b.iter().map(column).collect()
}

/// The rows of a matrix as columns.
pub fn transposed(a: &Columns) -> Columns {
    let m = a.first().map_or(0, Vec::len);
    (0..m).map(|row| a.iter().map(|column| column[row]).collect()).collect()
}

fn reflect(column: &mut [f64], mirror: &[f64]) {
    let twice = 2.0 * dot(column, mirror);
    column.iter_mut().zip(mirror).for_each(|(value, m)| *value -= twice * m);
}

fn rotate(x: &mut [f64], y: &mut [f64], cosine: f64, sine: f64) {
    for (x, y) in x.iter_mut().zip(y) {
        (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
    }
}

/// Scalar product in eight partial sums, which the compiler keeps in registers; their order is fixed.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0; 8];
    for (a, b) in a.zip(b) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    fn normal(m: usize, n: usize, seed: u64) -> Columns {
        let values = random::normal(&mut random::rng(seed, "svd"), m * n, 1.0);
        values
            .chunks_exact(m)
            .map(|column| column.iter().map(|&value| f64::from(value)).collect())
            .collect()
    }

    fn largest_gap(a: &Columns, b: &Columns) -> f64 {
        let pairs = a.iter().flatten().zip(b.iter().flatten());
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    fn orthonormal(a: &Columns) -> bool {
        let unit = |i: usize| (0..a.len()).map(|j| f64::from(u8::from(i == j))).collect();
        let identity: Columns = (0..a.len()).map(unit).collect();
        largest_gap(&product(&transposed(a), a), &identity) < 1e-12
    }

    fn scaled(a: &Columns, s: &[f64]) -> Columns {
        let times = |(column, s): (&Vec<f64>, &f64)| column.iter().map(|value| value * s).collect();
        a.iter().zip(s).map(times).collect()
    }

    #[test]
    fn the_factors_multiply_to_the_matrix() {
        for (m, n) in [(1, 1), (7, 3), (20, 20), (65, 33)] {
            let a = normal(m, n, 1);
            let Svd { u, s, v } = svd(a.clone());
            assert!(
                largest_gap(&product(&scaled(&u, &s), &transposed(&v)), &a) < 1e-12,
                "{m} {n}"
            );
            assert!(orthonormal(&u) && orthonormal(&v) && s.is_sorted_by(|a, b| a >= b));
            let (q, r) = qr(a.clone());
            assert!(largest_gap(&product(&q, &r), &a) < 1e-12 && orthonormal(&q), "{m} {n}");
        }
    }

    #[test]
    fn known_values_are_found() {
        // [[3, 0], [4, 5]] has singular values 3 root 5 and root 5.
        let found = svd(vec![vec![3.0, 4.0], vec![0.0, 5.0]]);
        let root = 5.0_f64.sqrt();
        assert!((found.s[0] - 3.0 * root).abs() < 1e-12 && (found.s[1] - root).abs() < 1e-12);
    }

    #[test]
    fn deficient_matrices_have_whole_bases() {
        let (a, b) = (normal(12, 3, 2), normal(8, 3, 3));
        let low = product(&a, &transposed(&b)); // [12, 8] of rank 3
        let Svd { u, s, v } = svd(low.clone());
        assert!(s[2] > 0.1 && s[3..].iter().all(|s| *s < 1e-12), "{s:?}");
        assert!(orthonormal(&v) && largest_gap(&product(&scaled(&u, &s), &transposed(&v)), &low) < 1e-12);
        let (q, r) = qr(low.clone());
        assert!(orthonormal(&q) && largest_gap(&product(&q, &r), &low) < 1e-12);
        let zero = svd(vec![vec![0.0; 4]; 2]);
        assert!(zero.s == [0.0, 0.0] && orthonormal(&zero.v) && orthonormal(&qr(vec![vec![0.0; 4]; 2]).0));
    }
}
