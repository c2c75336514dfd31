//! Loops over rows of `f32` that the compiler turns into SIMD instructions.
//!
//! Call them inside [`simd!`]. The order of every sum is fixed, so results depend on neither threads nor timing, nor on the
//! instruction set: no product is fused with a sum.

/// Runs a closure without arguments compiled for the best instruction set of this machine, chosen at run time.
///
/// What it calls must be `inline(always)`, as the closure itself is: a function that stays a call is compiled for the least
/// instruction set of all.
macro_rules! simd {
    (|| $body:expr) => {
        pulp::Arch::new().dispatch($crate::vector::Inlined(
            #[inline(always)]
            || $body,
        ))
    };
}
pub(crate) use simd;

/// The instruction set that the loops of [`simd!`] and the matrix products run with on this machine.
pub fn instruction_set() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    match pulp::Arch::new() {
        pulp::Arch::V4(_) => return "AVX-512",
        pulp::Arch::V3(_) => return "AVX2",
        _ => {}
    }
    std::env::consts::ARCH
}

/// A closure for [`simd!`], called by reference: calling it by value goes through a function that the compiler makes, which is
/// not inlined however the closure is marked.
pub(crate) struct Inlined<F>(pub(crate) F);

impl<T, F: FnMut() -> T> pulp::NullaryFnOnce for Inlined<F> {
    type Output = T;

    #[inline(always)]
    fn call(mut self) -> T {
        (self.0)()
    }
}

/// Lanes that a sum is dealt to.
const LANES: usize = 32;

/// Sum of products.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    total(sums) + rest
}

/// Sum of all lanes, halves upon halves: one after the other, each would wait for the last.
#[inline(always)]
fn total(lanes: [f32; LANES]) -> f32 {
    let mut half = [0.0_f32; LANES / 2];
    for lane in 0..LANES / 2 {
        half[lane] = lanes[lane] + lanes[lane + LANES / 2];
    }
    // Seen through, the sums below would make the compiler cut the loops of the callers into pieces of two lanes: a third of the speed.
    let mut lanes = std::hint::black_box(half);
    let mut width = LANES / 4;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Adds `factor * x` to `y`.
#[inline(always)]
pub(crate) fn add_scaled(y: &mut [f32], factor: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}

/// Sum.
#[inline(always)]
pub(crate) fn sum(x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            sums[lane] += chunk[lane];
        }
    }
    total(sums) + rest.iter().sum::<f32>()
}

/// The greatest number; minus infinity where there is none.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut most = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            most[lane] = greater(most[lane], chunk[lane]);
        }
    }
    // Halves upon halves: one after the other, each would wait for the last.
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            most[lane] = greater(most[lane], most[lane + width]);
        }
        width /= 2;
    }
    rest.iter().fold(most[0], |most, &x| greater(most, x))
}

/// The greater of two numbers, the first where the second is NaN: one instruction, which `f32::max` is not.
#[inline(always)]
fn greater(most: f32, x: f32) -> f32 {
    if x > most { x } else { most }
}

/// `e^x`, to one part in 5 million for `|x| <= 1` and `|x|` times that beyond; 2^-126 where it would be smaller, 2^127 where it would be greater.
///
/// `x = n ln 2 + r` with a whole `n` and `|r| <= ln 2 / 2`; `e^r` is its Taylor polynomial, and `2^n` is written as bits.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Added to a number below 2^22, it leaves the nearest whole number in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let scaled = (x * std::f32::consts::LOG2_E).clamp(-126.0, 127.0);
    let rounded = scaled + ROUND;
    // Both parts are exact: `scaled - n` is at most a half.
    let r = (scaled - (rounded - ROUND)) * std::f32::consts::LN_2;
    let power = f32::from_bits(rounded.to_bits().wrapping_add(127) << 23);
    let series = 1.0 / 5040.0;
    let series = series * r + 1.0 / 720.0;
    let series = series * r + 1.0 / 120.0;
    let series = series * r + 1.0 / 24.0;
    let series = series * r + 1.0 / 6.0;
    let series = series * r + 0.5;
    let series = series * r + 1.0;
    (series * r + 1.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_include_the_rest_after_the_last_full_chunk() {
        for n in [0, 1, 31, 32, 33, 100] {
            let a: Vec<f32> = (0..n).map(|i| (i % 7) as f32).collect();
            let b: Vec<f32> = (0..n).map(|i| (i % 5) as f32 - 2.0).collect();
            let expected: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert_eq!(dot(&a, &b), expected);
            assert_eq!(sum(&b), b.iter().sum::<f32>());
            assert_eq!(max(&b), b.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let mut y = b.clone();
            add_scaled(&mut y, 2.0, &a);
            assert!(y.iter().zip(&b).zip(&a).all(|((y, b), a)| *y == b + 2.0 * a));
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn loops_and_products_are_compiled_for_the_instruction_set_of_this_machine() {
        // That the products have their AVX-512 kernels is a matter of the crate's features: without them this does not compile.
        // The kernels are chosen when the program runs, by what is asked for here.
        assert_eq!(gemm_f32::microkernel::avx512f::f32::UKR.len(), 4);
        let v4 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512cd")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        let v3 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let expected = match (v4, v3) {
            (true, _) => "AVX-512",
            (false, true) => "AVX2",
            (false, false) => "x86_64",
        };
        assert_eq!(instruction_set(), expected, "a feature of pulp is not switched on");
    }

    #[test]
    fn exponentials_are_right() {
        let mut x = -87.0_f32;
        while x < 87.0 {
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            // The product x log2(e) is rounded once, which costs as much as x is long.
            assert!(error < 2e-7 * f64::from(x.abs()).max(1.0), "{x}: {error}");
            x += 0.0137;
        }
        assert!(exp(-1e9) < 1.2e-38 && exp(1e9) > 1e38 && exp(f32::NEG_INFINITY) < 1.2e-38);
        assert_eq!(exp(0.0), 1.0);
    }
}
