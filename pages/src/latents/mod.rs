//! What every latent of a dictionary does: contexts, logits, predicates, neighbours, and what taking it away does to the answer.
//!
//! `latents/<dictionary>/<site>/` of a run holds `index.html`, `index.js` (a line of every latent) and files of 64 latents each, which
//! the page loads when one of them is opened. The data are calls of one function with JSON, since a page from disk may load scripts
//! and nothing else.
//!
//! Shapes: `N` rows, `F` latents, `D` width of a direction, `V` vocabulary, `P` predicates.

mod coactivation;
pub mod contexts;
mod effects;
mod files;
mod logits;
mod measure;
mod neighbours;
pub mod neuronpedia;
mod predicates;

use std::path::Path;

use maud::html;

use crate::folders::folders;
use crate::glossary::{term, term_as};
use crate::shell::Shell;
use crate::text;

pub use files::{checked_data, write};
pub use measure::{Found, Latent, Place, Source, Subject, measure};

/// Folder of the pages in a run.
pub const FOLDER: &str = "latents";
/// Name of a page.
pub const PAGE: &str = "index.html";
/// Name of the file with a line of every latent; its presence says that the others are there.
pub const INDEX: &str = "index.js";
/// Latents of a file.
pub const CHUNK: usize = 64;

/// The pages in a run's folder: address from there, and what each is of.
pub fn pages(run: &Path) -> Vec<(String, String)> {
    let all = run.join(FOLDER);
    let of_set = |set: String| {
        let sites = folders(&all.join(&set));
        sites.into_iter().map(move |site| (set.clone(), site))
    };
    let found = folders(&all).into_iter().flat_map(of_set);
    let whole = found.filter(|(set, site)| all.join(set).join(site).join(INDEX).is_file());
    whole
        .map(|(set, site)| (format!("{FOLDER}/{set}/{site}/{PAGE}"), format!("{set} at {site}")))
        .collect()
}

/// A page, which finds its data beside it.
pub fn shell_of(set: &str, site: &str) -> String {
    let shell = Shell {
        title: &format!("{} at {}", text::shown(set), text::shown(site)),
        links: vec![
            ("../../../report.html".to_owned(), "Run".to_owned()),
            ("#glossary".to_owned(), "Glossary".to_owned()),
        ],
        latents: true,
        main: html! {
            section id="latents" {
                p id="facts" class="soft" { "Loading" }
                div class="split" {
                    div class="list" {
                        p id="only" hidden { span role="status" {} " " button type="button" { "Show all" } }
                        div class="tools" role="search" {
                            label { "Token or predicate " input type="search" id="search"; }
                            label { "F1 from " input type="number" id="least-f1" min="0" max="1" step="0.05" size="4"; }
                            label { "rate from " input type="number" id="least-rate" min="0" max="1" step="any" size="6"; }
                            label { "to " input type="number" id="most-rate" min="0" max="1" step="any" size="6"; }
                            label { "Latent " input type="number" id="number" min="0" step="1" size="6"; }
                            button type="button" id="random" { "Random" }
                            button type="button" id="save-list" { "CSV" }
                        }
                        div class="scroll" tabindex="0" role="region" aria-label="Latents" {
                            table id="list" {
                                thead { tr {
                                    @for (key, name) in [("number", "latent"), ("rate", "rate"), ("max", "largest"), ("f1", "F1"), ("best", "best predicate")] {
                                        th scope="col" { button type="button" data-key=(key) { (name) } }
                                    }
                                } }
                                tbody {}
                            }
                        }
                        div class="tools" {
                            button type="button" id="previous" { "Previous" }
                            span id="shown" role="status" {}
                            button type="button" id="next" { "Next" }
                        }
                    }
                    div id="one" aria-live="polite" {
                        p { "Choose a " (term("latent")) ". The rate is the share of positions at which it is active; " (term("F1")) ", " (term("precision")) " and " (term("recall"))
                            " are those of its best predicate, chosen on one half of the prompts and scored on the other. Colours say the " (term_as("activation", "activation")) " at each token." }
                    }
                }
            }
        },
    };
    shell.render()
}
