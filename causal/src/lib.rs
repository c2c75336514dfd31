//! A language model with something overwritten: sites, interventions, splices, and the search for sites.
//!
//! | module | owns |
//! | --- | --- |
//! | [`site`] | sites, where attributes are read and edited, and their file |
//! | [`interventions`] | clean runs on prompts, and runs with the nodes of a site overwritten |
//! | [`splice`] | running text with dictionaries' reconstructions in the place of hooks |
//! | [`mod@locate`] | the search for sites, which consults no dictionary |
//! | [`mod@clean`], [`mod@ablation`] | how the undisturbed model does; mean ablation |
//! | [`cost`] | what interventions cost |
//!
//! Shape legend: `N` prompts, `D` width of a node, `T` tokens of a prompt, `V` vocabulary.

pub mod ablation;
pub mod clean;
pub mod cost;
mod error;
pub mod interventions;
pub mod locate;
pub mod site;
pub mod splice;

pub use ablation::{ablated, without};
pub use clean::{Clean, counterfactuals, describe};
pub use cost::Cost;
pub use error::Error;
pub use interventions::{CleanRun, Outcome, Runner, Want};
pub use locate::{LocateConfig, LocateFile, Located, locate};
pub use site::{Evidence, Site, Sites};
pub use splice::{Change, Fidelity, Function, Insert, Place, SpliceTask, SpliceText};
