//! Activations whose features are known, and how well autoencoders find them: SynthSAEBench
//! (<https://arxiv.org/abs/2602.14687>).
//!
//! * [`FeatureLaw`]: which features are active, and how strongly; [`Hierarchy`]: which feature is a part of which.
//! * [`FeatureDictionary`]: the directions of the features, and the activations that they add up to.
//! * [`score`]: a [`Coder`] against the [`Truth`]; [`Probes`]: the ceiling of supervision.
//! * [`MatchingPursuit`]: the autoencoder that the bench has beside those of `dictionaries`.
//! * [`Bench`]: a [`SyntheticConfig`] from the model to the [`Report`], with [`Records`] of what is finished.
//!
//! Shapes: `N` features, `F` latents, `D` width, `B` rows.

mod bench;
mod config;
mod dictionary;
mod error;
mod features;
mod hierarchy;
mod matching_pursuit;
mod metrics;
mod probe;
mod records;
mod report;

pub use bench::{Bench, Cost};
pub use config::{MatchingPursuitFile, ModelSettings, SyntheticConfig, SyntheticFile};
pub use dictionary::FeatureDictionary;
pub use error::Error;
pub use features::{FeatureDraws, FeatureLaw, FeatureRows, RANK};
pub use hierarchy::{BRANCHING, DEPTH, Entry, Hierarchy};
pub use matching_pursuit::{Gradients, MatchingPursuit, MatchingPursuitSettings, MatchingPursuitTrainer};
pub use metrics::{Alignment, Coder, Scores, Truth, chance_mcc, score};
pub use probe::Probes;
pub use records::Records;
pub use report::{Bar, Facts, Report, Row};
