//! How close another device must come to the CPU, and the comparison.

use burn::tensor::Device;
use kernels::{from_vec, matmul, to_vec};

/// What a case computed: tensors by name.
pub(crate) type Numbers = Vec<(String, Vec<f32>)>;

/// A computation that any device can do.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) closeness: Closeness,
    pub(crate) run: Box<dyn Fn(&Device) -> Numbers>,
}

impl Case {
    pub(crate) fn new(
        name: impl Into<String>,
        closeness: Closeness,
        run: impl Fn(&Device) -> Numbers + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            closeness,
            run: Box::new(run),
        }
    }
}

/// What lies between a case's inputs and its outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closeness {
    /// A selection, or sums of whole numbers: the same numbers.
    Exact,
    /// One operation; the largest difference, relative to the largest number of the tensor.
    Operation,
    /// A whole pass, forward or back; measured as an operation is.
    Pass,
    /// Several optimiser steps. Adam divides by the root of the squared gradient, so where that is rounding alone a parameter
    /// moves as far as any other, in any direction: the norm of the difference, relative to the norm of the numbers.
    Steps,
}

/// How a device multiplies matrices of f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precision {
    /// 24 bits.
    F32,
    /// 11 bits of each factor, on NVIDIA's tensor cores.
    Tf32,
}

impl Precision {
    /// Finds out: 2,049 has 12 bits.
    pub(crate) fn of(device: &Device) -> Self {
        const N: usize = 128;
        let identity = (0..N * N).map(|i| if i % (N + 1) == 0 { 1.0 } else { 0.0 });
        let product = matmul(
            from_vec(vec![2049.0; N * N], [N, N], device),
            from_vec(identity.collect(), [N, N], device),
        );
        match to_vec(product).iter().all(|x| *x == 2049.0) {
            true => Self::F32,
            false => Self::Tf32,
        }
    }

    /// The largest difference that is none: the one place that says so.
    pub(crate) fn tolerance(self, closeness: Closeness) -> f32 {
        match (self, closeness) {
            (_, Closeness::Exact) => 0.0,
            (Self::F32, Closeness::Operation) => 1e-5,
            (Self::F32, Closeness::Pass) => 1e-4,
            (Self::F32, Closeness::Steps) => 1e-2,
            (Self::Tf32, Closeness::Operation) => 2e-3,
            (Self::Tf32, Closeness::Pass) => 1e-2,
            (Self::Tf32, Closeness::Steps) => 1e-1,
        }
    }
}

/// The tensors that differ by more than the tolerance, in words.
pub(crate) fn gaps(expected: &Numbers, found: &Numbers, closeness: Closeness, precision: Precision) -> Vec<String> {
    let tolerance = precision.tolerance(closeness);
    let names = |numbers: &Numbers| numbers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(expected), names(found), "tensors of one case");
    let pairs = expected.iter().zip(found);
    pairs
        .filter_map(|((name, expected), (_, found))| {
            if expected.len() != found.len() {
                return Some(format!(
                    "{name} has {} numbers, expected {}",
                    found.len(),
                    expected.len()
                ));
            }
            let gap = gap(expected, found, closeness);
            // NaN must count as a difference.
            let close = gap <= tolerance;
            (!close).then(|| {
                let first = expected.iter().zip(found).enumerate();
                let worst = first.max_by(|(_, (a, b)), (_, (c, d))| (*a - *b).abs().total_cmp(&(*c - *d).abs()));
                let (i, (a, b)) = worst.unwrap_or((0, (&f32::NAN, &f32::NAN)));
                format!("{name} differs by {gap:.1e}, {tolerance:.0e} is allowed; number {i} is {b}, expected {a}")
            })
        })
        .collect()
}

fn gap(expected: &[f32], found: &[f32], closeness: Closeness) -> f32 {
    let differences = || expected.iter().zip(found).map(|(a, b)| (a - b).abs());
    if differences().any(f32::is_nan) {
        return f32::NAN;
    }
    let norm = |numbers: &mut dyn Iterator<Item = f32>| numbers.map(|x| x * x).sum::<f32>().sqrt();
    let (difference, size) = match closeness {
        Closeness::Steps => (norm(&mut differences()), norm(&mut expected.iter().copied())),
        _ => (
            differences().fold(0.0, f32::max),
            expected.iter().fold(0.0, |most: f32, x| most.max(x.abs())),
        ),
    };
    match difference {
        0.0 => 0.0,
        difference => difference / size.max(1e-6),
    }
}

#[test]
fn what_differs_is_seen() {
    let numbers = |values: &[f32]| vec![("x".to_owned(), values.to_vec())];
    let expected = numbers(&[100.0, 0.0, -3.0]);
    let differ = |found: &[f32], closeness| !gaps(&expected, &numbers(found), closeness, Precision::F32).is_empty();
    for closeness in [
        Closeness::Exact,
        Closeness::Operation,
        Closeness::Pass,
        Closeness::Steps,
    ] {
        assert!(!differ(&[100.0, 0.0, -3.0], closeness));
        assert!(differ(&[100.0, f32::NAN, -3.0], closeness));
        assert!(differ(&[100.0, 0.0], closeness));
        assert!(differ(&[100.0, 0.0, 3.0], closeness));
    }
    assert!(differ(&[100.0, 1e-30, -3.0], Closeness::Exact));
    assert!(!differ(&[100.0, 5e-4, -3.0], Closeness::Operation));
    assert!(differ(&[100.0, 2e-3, -3.0], Closeness::Operation));
}
