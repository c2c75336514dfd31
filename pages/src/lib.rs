//! Pages that people look at: a run, a comparison of runs, every latent of a dictionary; and a server of them.
//!
//! | module | owns |
//! | --- | --- |
//! | [`run`] | what a run's folder holds, and the page about it |
//! | [`comparison`] | the page that puts runs side by side |
//! | [`latents`] | one page a dictionary, with a part for each latent; the upload layout of Neuronpedia |
//! | [`serve`] | the same pages over HTTP, read live |
//! | `shell`, `figure`, `table`, `number`, `glossary`, `text` | what pages are made of |
//!
//! A page is one file that needs no network. Everything that comes from models, corpora and configs is text: templates ([`maud`])
//! escape it, data for scripts is JSON in which no tag can end, and a Content-Security-Policy lets no other script run. Numbers carry
//! where in `report.json` they stand (`data-from`), so that a page can be checked against it.

pub mod comparison;
mod error;
mod figure;
mod folders;
mod glossary;
pub mod latents;
mod means;
mod number;
pub mod run;
pub mod serve;
mod shell;
mod table;
mod text;

pub use error::Error;
