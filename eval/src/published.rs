//! What Makelov, Lange and Nanda ([arXiv 2405.08366](https://arxiv.org/abs/2405.08366), v3) report of GPT-2 small, to stand beside what is
//! measured here.
//!
//! Accuracies and ratios are read off the vector graphics of figures 2, 3 and 24, to about 0.002. Task autoencoders are their ReLU ones with
//! an L1 penalty, edits greedy with 2, 4 and 6 latents.

use crate::metric::{EditMethod, Metric};
use crate::report::{MEAN_ABLATION, NONE, Report, Score};
use artifacts::rounded;
use std::fmt::Write;
use tasks::Attribute;

/// Distance within which the row without a dictionary counts as reproduced: it depends on model, prompts and patching alone.
pub const WITHIN: f64 = 0.015;

/// Edits of one attribute at one cross-section.
struct Edit {
    site: &'static str,
    attribute: Attribute,
    none: f64,
    supervised: f64,
    /// With 2, 4 and 6 latents of a task autoencoder.
    sae: [f64; 3],
    /// The same of one with a frozen random decoder.
    frozen: [f64; 3],
}

const fn edit(
    site: &'static str,
    attribute: Attribute,
    none: f64,
    supervised: f64,
    sae: [f64; 3],
    frozen: [f64; 3],
) -> Edit {
    Edit {
        site,
        attribute,
        none,
        supervised,
        sae,
        frozen,
    }
}

const EDITS: [Edit; 11] = [
    edit(
        "(B)NM out",
        Attribute::IO,
        0.020,
        0.959,
        [0.040, 0.091, 0.148],
        [0.024, 0.026, 0.027],
    ),
    edit(
        "(B)NM q",
        Attribute::POS,
        0.155,
        0.850,
        [0.207, 0.311, 0.416],
        [0.168, 0.178, 0.192],
    ),
    edit(
        "(B)NM qk",
        Attribute::POS,
        0.934,
        0.881,
        [0.677, 0.618, 0.622],
        [0.924, 0.890, 0.853],
    ),
    edit(
        "Ind+DT out",
        Attribute::POS,
        0.327,
        0.898,
        [0.395, 0.516, 0.600],
        [0.340, 0.357, 0.382],
    ),
    edit(
        "S-I out",
        Attribute::POS,
        0.271,
        0.804,
        [0.430, 0.577, 0.677],
        [0.280, 0.290, 0.305],
    ),
    edit(
        "S-I v",
        Attribute::POS,
        0.328,
        0.892,
        [0.578, 0.707, 0.776],
        [0.337, 0.350, 0.368],
    ),
    edit(
        "(B)NM q",
        Attribute::S,
        0.798,
        0.881,
        [0.803, 0.804, 0.808],
        [0.800, 0.802, 0.805],
    ),
    edit(
        "(B)NM qk",
        Attribute::S,
        0.960,
        0.946,
        [0.916, 0.919, 0.918],
        [0.962, 0.964, 0.966],
    ),
    edit(
        "Ind+DT out",
        Attribute::S,
        0.984,
        0.984,
        [0.988, 0.991, 0.992],
        [0.985, 0.988, 0.989],
    ),
    edit(
        "S-I out",
        Attribute::S,
        0.929,
        0.952,
        [0.955, 0.971, 0.973],
        [0.932, 0.933, 0.935],
    ),
    edit(
        "S-I v",
        Attribute::S,
        0.950,
        0.967,
        [0.963, 0.982, 0.986],
        [0.954, 0.955, 0.956],
    ),
];

/// Cross-section; sufficiency of supervised dictionaries and of task autoencoders; necessity of both.
const RATIOS: [(&str, [f64; 2], [f64; 2]); 6] = [
    ("Ind+DT out", [0.997, 0.891], [0.990, 0.817]),
    ("S-I v", [0.988, 0.900], [0.994, 0.913]),
    ("S-I out", [0.987, 0.883], [0.989, 0.906]),
    ("(B)NM q", [1.010, 0.887], [0.987, 0.880]),
    ("(B)NM qk", [1.016, 0.753], [0.980, 0.915]),
    ("(B)NM out", [0.968, 1.032], [0.779, 0.749]),
];

/// One number beside its published value.
#[derive(Debug, Clone, PartialEq)]
pub struct Beside {
    /// What it is of.
    pub dictionary: String,
    /// Cross-section.
    pub site: String,
    /// Attribute, and latents, of an edit.
    pub edit: Option<(Attribute, Option<usize>)>,
    /// What is measured.
    pub metric: Metric,
    /// Measured here.
    pub value: Option<f64>,
    /// Published, where it is.
    pub published: Option<f64>,
}

/// Every sufficiency, necessity and greedy or supervised edit of a report beside what is published of its like.
pub fn beside(report: &Report) -> Vec<Beside> {
    let family = |name: &str| {
        let facts = report.dictionaries.iter().find(|facts| facts.name == name);
        facts.map_or(name.to_owned(), |facts| facts.family.clone())
    };
    let of = |score: &Score| {
        let greedy = score
            .method
            .is_none_or(|method| matches!(method, EditMethod::Greedy | EditMethod::Supervised));
        let wanted = match score.metric {
            Metric::EditAccuracy => greedy,
            Metric::Sufficiency | Metric::Necessity => score.dictionary != MEAN_ABLATION,
            _ => false,
        };
        wanted.then(|| Beside {
            dictionary: score.dictionary.clone(),
            site: score.site.clone(),
            edit: score.attribute.map(|attribute| (attribute, score.k)),
            metric: score.metric,
            value: score.value,
            published: published(&family(&score.dictionary), score),
        })
    };
    report.scores.iter().filter_map(of).collect()
}

/// What is published of the like of a score.
fn published(family: &str, score: &Score) -> Option<f64> {
    let is_supervised = family.starts_with("supervised");
    let of_site = RATIOS.iter().find(|(site, ..)| *site == score.site);
    match (score.metric, score.attribute) {
        (Metric::Sufficiency, _) if family != NONE => {
            of_site.map(|(_, [sup, sae], _)| if is_supervised { *sup } else { *sae })
        }
        (Metric::Necessity, _) => of_site.map(|(_, _, [sup, sae])| if is_supervised { *sup } else { *sae }),
        (_, Some(attribute)) => {
            let edit = EDITS
                .iter()
                .find(|edit| edit.site == score.site && edit.attribute == attribute)?;
            let of_sae = if family.ends_with("frozen") {
                edit.frozen
            } else {
                edit.sae
            };
            match (family, score.k) {
                (NONE, _) => Some(edit.none),
                (_, None) if is_supervised => Some(edit.supervised),
                (_, Some(k)) => [2, 4, 6]
                    .iter()
                    .position(|known| *known == k)
                    .map(|place| of_sae[place]),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The numbers beside the published ones, and whether the row without a dictionary is reproduced.
pub fn table(report: &Report, all: &[Beside]) -> String {
    let mut out = String::new();
    let clean = &report.clean;
    let _ = writeln!(
        out,
        "clean model: logit difference {:.2} (published, on another partition of the prompts: 3.3), accuracy {:.3} (0.91) on {} prompts\n",
        clean.logit_diff, clean.accuracy, clean.n
    );
    let width = all.iter().map(|of| of.site.len()).max().unwrap_or(0).max(12) + 2;
    let _ = writeln!(
        out,
        "{:<22}{:<width$}{:<24}{:>9}{:>11}{:>10}",
        "dictionary", "site", "score", "here", "published", "distance"
    );
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    for of in all {
        let mut name = of.metric.to_string();
        if let Some((attribute, k)) = of.edit {
            name += &format!(" {attribute}{}", k.map_or(String::new(), |k| format!(" k={k}")));
        }
        let distance = of
            .value
            .zip(of.published)
            .map(|(value, published)| rounded(value - published));
        let _ = writeln!(
            out,
            "{:<22}{:<width$}{name:<24}{:>9}{:>11}{:>10}",
            of.dictionary,
            of.site,
            number(of.value),
            number(of.published),
            distance.map_or("-".to_owned(), |distance| format!("{distance:+.3}"))
        );
    }
    let none: Vec<f64> = all
        .iter()
        .filter(|of| of.dictionary == NONE)
        .filter_map(|of| Some((of.value? - of.published?).abs()))
        .collect();
    if !none.is_empty() {
        let within = none.iter().filter(|distance| **distance <= WITHIN).count();
        let verdict = if within == none.len() { "PASS" } else { "FAIL" };
        let _ = writeln!(
            out,
            "\n{verdict}: without an edit {within} of {} accuracies are within {WITHIN} of the published ones: model, prompts and patching",
            none.len()
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Key, Ledger};

    #[test]
    fn scores_find_their_published_likes() {
        let mut report = crate::report::tests::empty(Vec::new());
        let mut ledger = Ledger::default();
        let mut enter =
            |dictionary: &str, metric, attribute: Option<Attribute>, by: Option<(EditMethod, Option<usize>)>, value| {
                let mut key = Key::new(dictionary, "S-I v", metric);
                key.attribute = attribute;
                if let Some((method, k)) = by {
                    key = key.by(method, k);
                }
                ledger.enter(&key, Some(value), Vec::new(), 100, &[]);
            };
        enter(NONE, Metric::EditAccuracy, Some(Attribute::POS), None, 0.33);
        enter(
            "supervised-mean",
            Metric::EditAccuracy,
            Some(Attribute::POS),
            Some((EditMethod::Supervised, None)),
            0.9,
        );
        enter("supervised-mean", Metric::Sufficiency, None, None, 0.98);
        enter(
            "sae-relu",
            Metric::EditAccuracy,
            Some(Attribute::POS),
            Some((EditMethod::Greedy, Some(4))),
            0.7,
        );
        enter(
            "sae-topk-frozen",
            Metric::EditAccuracy,
            Some(Attribute::POS),
            Some((EditMethod::Greedy, Some(4))),
            0.3,
        );
        enter(
            "sae-relu",
            Metric::EditAccuracy,
            Some(Attribute::POS),
            Some((EditMethod::Greedy, Some(8))),
            0.8,
        );
        enter(
            "sae-relu",
            Metric::EditAccuracy,
            Some(Attribute::POS),
            Some((EditMethod::Guided, Some(4))),
            0.8,
        );
        enter(MEAN_ABLATION, Metric::Sufficiency, None, None, 0.1);
        report.scores = ledger.into_entries().into_iter().map(|entry| entry.score).collect();
        let all = beside(&report);
        let published: Vec<Option<f64>> = all.iter().map(|of| of.published).collect();
        assert_eq!(
            published,
            [Some(0.328), Some(0.892), Some(0.988), Some(0.707), Some(0.350), None]
        );
        let text = table(&report, &all);
        assert!(
            text.contains("PASS: without an edit 1 of 1") && text.contains("-0.007"),
            "{text}"
        );
    }
}
