//! Axis 1, approximation: does the model work on reconstructions, and does it fail without them?
//!
//! Section 4.1 of Makelov, Lange, Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366)). `a` is the clean value
//! of a node, `a^` its reconstruction, `a-` its mean over the evaluated prompts; `LD` is the mean logit difference over the
//! prompts, right answer minus wrong one (`IO - S`):
//!
//! * **sufficiency** `= LD(a <- a^) / LD_clean`, a ratio of means;
//! * **necessity** `= 1 - |LD_abl - LD(a <- a- + a - a^)| / |LD_abl - LD_clean|`, with `LD_abl = LD(a <- a-)`: 1 when
//!   taking the reconstruction away does as much harm as taking everything away, less when it does less or more. Undefined where mean ablation hardly
//!   moves the logit difference: the denominator would be noise.
//!
//! Shape legend: `N` prompts, `D` width of a node.

/// `LD_intervened / LD_clean`; `None` when `|LD_clean|` (in logits) is under `floor`.
pub fn sufficiency(clean: f64, intervened: f64, floor: f64) -> Option<f64> {
    (clean.abs() >= floor).then(|| intervened / clean)
}

/// `1 - |LD_ablated - LD_intervened| / |LD_ablated - LD_clean|`; `None` when the denominator (in logits) is under
/// `floor`.
pub fn necessity(clean: f64, ablated: f64, intervened: f64, floor: f64) -> Option<f64> {
    let whole = (ablated - clean).abs();
    (whole >= floor).then(|| 1.0 - (ablated - intervened).abs() / whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_denominators_are_undefined() {
        assert_eq!(sufficiency(4.0, 3.0, 0.05), Some(0.75));
        assert_eq!(sufficiency(0.01, 3.0, 0.05), None);
        assert_eq!(necessity(4.0, 2.0, 2.5, 0.05), Some(0.75));
        assert_eq!(necessity(4.0, 3.99, 2.5, 0.05), None);
        assert_eq!(necessity(4.0, 2.0, 2.0, 0.05), Some(1.0));
    }
}
