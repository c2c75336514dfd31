//! What the terms on the pages mean.

use maud::{Markup, html};

/// Name, and meaning in a sentence or two.
const TERMS: &[(&str, &str)] = &[
    (
        "activation",
        "The number by which a latent says how much of its direction is in a vector; 0 where it is not active.",
    ),
    (
        "always-on",
        "A latent that is active on every prompt: the chance level of F1, which rises with the share of prompts on which a predicate holds.",
    ),
    (
        "attribute",
        "What a prompt is labelled with and what an edit exchanges, for example IO, the name that completes the sentence.",
    ),
    (
        "CE recovered",
        "Share of the cross-entropy that replacing a hook by zeros costs and that replacing it by the reconstruction does not: 1 is as good as the model itself.",
    ),
    (
        "chance level",
        "What a dictionary that knows nothing reaches: a latent that is always active, or no edit.",
    ),
    (
        "dictionary",
        "Directions in activation space, the latents, with a way from activations to codes and back. Supervised ones are built from labels, sparse autoencoders are trained without.",
    ),
    (
        "edit accuracy",
        "Share of prompts on which the model predicts after an edit what it predicts when the activation of the true counterfactual prompt is patched in.",
    ),
    (
        "edit excess",
        "Magnitude of an edit, normalised: 0 at the reference dictionary's, 1 when all latents are changed.",
    ),
    (
        "edit success",
        "Edit accuracy, normalised: 0 without an edit, 1 at the reference dictionary's.",
    ),
    (
        "F1",
        "Harmonic mean of precision and recall of the best latent for each value of an attribute, chosen on one half of the prompts and scored on the other.",
    ),
    (
        "faithfulness",
        "Share of a behaviour that a circuit keeps: 1 does as well as the model, 0 as on the corrupted prompt.",
    ),
    ("family", "Dictionaries that differ by their seed only."),
    (
        "FVU",
        "Fraction of variance unexplained: squared error of the reconstruction over the squared distance from the mean.",
    ),
    (
        "interval",
        "95 % bootstrap interval over prompts; of differences, paired, and over seeds where there are several.",
    ),
    ("k", "Number of latents that an edit may exchange at each node."),
    (
        "Kendall's tau",
        "How alike two seeds rank the dictionaries: 1 in the same order, 0 without relation, -1 reversed.",
    ),
    ("L0", "Mean number of active latents."),
    ("latent", "One direction of a dictionary, with its activation."),
    (
        "MCC",
        "Matthews' correlation of the best latent with a value of an attribute; 0 for a latent that is always active.",
    ),
    (
        "necessity",
        "How near the harm done by taking the reconstruction away comes to that of mean ablation; the best is 1.",
    ),
    (
        "node",
        "A hook, perhaps one head of it, at one position of the prompt: one vector a prompt.",
    ),
    (
        "occlusion",
        "A dictionary has latents for the values of one attribute and lacks them for another that the model uses too. The index is 1 - weak / strong coverage.",
    ),
    (
        "over-splitting",
        "One value of an attribute is spread over several latents. Share of its prompts that all of them cover and the best single one misses.",
    ),
    (
        "Pareto plot",
        "Two qualities against each other: a dictionary is better where no other one is better in both.",
    ),
    (
        "precision",
        "Share of the prompts on which a latent is active that have the value.",
    ),
    (
        "recall",
        "Share of the prompts with the value on which a latent is active.",
    ),
    (
        "seed",
        "Start of the random numbers: weights and order of the rows. Another seed gives another dictionary.",
    ),
    (
        "site",
        "One or more nodes that are overwritten together, and the attributes that are edited there.",
    ),
    (
        "sufficiency",
        "Logit difference on reconstructions over that of the undisturbed model; the best is 1, more is not better.",
    ),
    (
        "verdict",
        "What a check says: occludes, late, splits, clear, not-applicable (the attributes do not matter here) or undefined (too few latents or prompts).",
    ),
    (
        "unexplained variance",
        "Squared error over the variance of the batch, while an autoencoder is trained.",
    ),
];

/// The identifier of a term: its letters.
fn id(name: &str) -> String {
    let letters = name.chars().map(|c| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    });
    letters.collect()
}

/// A term with its meaning on hover, focus and touch; text that the glossary does not know as it is.
pub(crate) fn term(name: &str) -> Markup {
    term_as(name, name)
}

/// A term under another name.
pub(crate) fn term_as(name: &str, text: &str) -> Markup {
    html! {
        @if TERMS.iter().any(|known| known.0 == name) {
            button type="button" class="term" data-term=(id(name)) aria-describedby={ "term-" (id(name)) } { (text) }
        } @else { (text) }
    }
}

/// The list of all terms.
pub(crate) fn section() -> Markup {
    html! {
        section id="glossary" {
            h2 { "Glossary" }
            dl {
                @for (name, meaning) in TERMS {
                    dt { (name) }
                    dd id={ "term-" (id(name)) } { (meaning) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_term_has_an_identifier_of_its_own() {
        let mut ids: Vec<String> = TERMS.iter().map(|(name, _)| id(name)).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), TERMS.len());
        assert!(term("F1").into_string().contains("aria-describedby=\"term-f1\""));
        assert_eq!(term("<b>").into_string(), "&lt;b&gt;");
    }
}
