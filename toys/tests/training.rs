//! Checks of the toys on real training.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use toys::{occlusion, splitting};

/// O3 and O4 on one run: 1,024 latents, lambda 1, the paper's norms; 30 epochs instead of 1,000, with the largest learning
/// rate and the smallest batch of the paper's grid.
#[test]
fn weak_vectors_are_found_later_than_strong_ones() {
    let settings = occlusion::Settings {
        ratio: 1.319,
        latents: 1024,
        lambda: 1.0,
        epochs: 30,
        samples: 20_000,
        batch: 256,
        learning_rate: 3e-3,
        seed: 0,
    };
    let outcome = settings.run(&kernels::cpu(), &mut || ()).unwrap();
    assert!(outcome.worst_order.unwrap() <= 0.01, "{outcome:?}");
    assert!(outcome.first_index.unwrap() >= 0.5, "{outcome:?}");
    let [low, high] = outcome.gaps.unwrap();
    assert!(low < high, "{outcome:?}");
}

/// P4, reduced: 1,500 steps with 2 latents from a seed whose latents begin on either side, 300 with 1,000.
#[test]
fn two_latents_find_the_clusters_and_many_split_them() {
    let run = |latents, lambda, steps| {
        let settings = splitting::Settings {
            latents,
            lambda,
            steps,
            batch: 256,
            learning_rate: 1e-3,
            seed: 1,
        };
        settings.run(&kernels::cpu(), &mut || ()).unwrap()
    };
    let two = run(2, 2.0, 1500);
    assert!(two.cosines.len() == 2 && two.cosines[1] >= 0.95, "{two:?}");
    assert!((two.loss - two.ideal_loss).abs() < 0.1, "{two:?}");
    let many = run(1000, 1.0, 300);
    assert!(
        many.alive >= 20 && many.l0 > 2.0 && many.loss < many.ideal_loss,
        "{many:?}"
    );
}
