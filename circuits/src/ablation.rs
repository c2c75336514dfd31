//! What a cut source adds instead, less what it adds in the clean run.

use burn::tensor::Tensor;
use lm::{Grouping, Model, Passes};

use crate::runs::Batch;
use crate::{Ablation, Error, Pair};

/// The difference that cutting each source makes, `[B, S, T D]`.
///
/// # Shapes
///
/// - clean, corrupted: what the sources add in both runs, `[B, S, T D]`
/// - means: `[S, D]`, of mean ablation
pub(crate) fn difference(
    ablation: Ablation,
    clean: &Tensor<3>,
    corrupted: Tensor<3>,
    means: Option<&Tensor<2>>,
) -> Tensor<3> {
    match (ablation, means) {
        (Ablation::Mean, Some(means)) => {
            let [b, s, width] = clean.dims();
            let [_, d] = means.dims();
            let t = width / d;
            let means = means.clone().reshape([1, s, 1, d]).expand([b, s, t, d]); // [B, S, T, D]
            means.reshape([b, s, width]) - clean.clone() // [B, S, T D]
        }
        (Ablation::Zero, _) => clean.clone().neg(),
        (Ablation::Counterfactual | Ablation::Mean, _) => corrupted - clean.clone(),
    }
}

/// What each source adds on average, over all positions of all clean prompts, `[S, D]`.
pub(crate) fn means(model: &Model, pairs: &[Pair], size: usize) -> Result<Tensor<2>, Error> {
    let d = model.spec().d_model;
    let passes = Passes::new(model, size).grouped(Grouping::Length);
    let sums = passes.each(pairs, |pass| -> Result<_, Error> {
        let batch = Batch::new(model, pass.rows.iter().map(|&row| &pairs[row]).collect())?;
        let stack = batch.run(&[])?.stack; // [B, S, T D]
        let [b, s, width] = stack.dims();
        let by_position = stack.reshape([b, s, width / d, d]).swap_dims(0, 1); // [S, B, T, D]
        let sum = by_position.reshape([s, b * width / d, d]).sum_dim(1); // [S, 1, D]
        Ok((kernels::to_vec(sum), b * width / d, s))
    })?;
    let (mut total, mut positions, mut sources) = (Vec::new(), 0, 0);
    for (sum, n, s) in sums {
        total.resize(sum.len(), 0.0_f64);
        for (total, value) in total.iter_mut().zip(sum) {
            *total += f64::from(value);
        }
        (positions, sources) = (positions + n, s);
    }
    let means = total.into_iter().map(|sum| (sum / positions as f64) as f32).collect();
    Ok(kernels::from_vec(means, [sources, d], model.device())) // [S, D]
}
