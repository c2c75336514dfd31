//! Detection: is the latent active in this slice?
//!
//! As delphi asks it of a language model, over plain windows; a window is predicted active where any of its tokens is. Balanced accuracy
//! is the mean of the shares of active and of inactive windows told right: 0.5 for whoever always says the same.

use eval::agreement::Agreement;

use super::example::Examples;
use super::says::Says;
use crate::statistic::auroc;

/// How well a latent's active slices are told from others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Balanced accuracy over all inactive slices.
    pub balanced_accuracy: f64,
    /// Over those that were drawn at random; none where there are none.
    pub random: Option<f64>,
    /// Over hard ones, which hold a token of active slices.
    pub hard: Option<f64>,
    /// Area under the curve of the predicted strengths.
    pub auroc: f64,
}

/// Asks of every example; `None` without active or without inactive ones.
pub fn detection(says: &Says<'_>, examples: &Examples) -> Option<Detection> {
    let mut scored = Vec::new();
    let (mut all, mut random, mut hard) = (Agreement::default(), Agreement::default(), Agreement::default());
    for example in &examples.active {
        let grade = says.of_example(example);
        scored.push((f64::from(grade), true));
        for confusion in [&mut all, &mut random, &mut hard] {
            confusion.add(grade > 0, true);
        }
    }
    for (list, confusion) in [(&examples.random, &mut random), (&examples.hard, &mut hard)] {
        for example in list {
            let grade = says.of_example(example);
            scored.push((f64::from(grade), false));
            confusion.add(grade > 0, false);
            all.add(grade > 0, false);
        }
    }
    Some(Detection {
        balanced_accuracy: all.balanced_accuracy()?,
        random: random.balanced_accuracy(),
        hard: hard.balanced_accuracy(),
        auroc: auroc(&scored)?,
    })
}
