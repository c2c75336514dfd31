//! Which latents carry an attribute, found by what exchanging them does to the model: learned binary masks.
//!
//! A greedy edit ([`crate::control`]) sees the counterfactual activation and chooses latents anew for every prompt. A mask is chosen
//! once: one set of latents that is exchanged in all prompts, learned by gradients of the model's own loss, as in RAVEL (Huang et
//! al. 2024, <https://arxiv.org/abs/2402.17700>) and MIB's causal-variable track (Mueller et al. 2025,
//! <https://arxiv.org/abs/2504.13151>). Where the attribute differs between base and source, the answer is to become that of the
//! ground-truth patch; where only another attribute differs, it is to stay. With `m_j` the mask, `alpha` and `beta` the codes of
//! base and source,
//!
//! `a_edit = a_s + sum_j m_j (beta_j - alpha_j) u_j`:
//!
//! what the dictionary does not reconstruct stays that of the base, as in all edits of this program. (SAEBench drops it.) The skyline
//! learns the directions, too ([`rotation`]): distributed alignment search (Geiger et al. 2023,
//! <https://arxiv.org/abs/2303.02536>).
//!
//! * **success**: share of prompts whose attribute differs that are predicted as under the ground-truth patch;
//! * **behavioural isolation**: share of prompts, of which another attribute differs, whose prediction stays, the mean over the other
//!   attributes; it is the model's answer, not a read-out's;
//! * **score**: the mean of both. Exchanging nothing isolates wholly and exchanging everything succeeds wholly, so both stand in the
//!   table: between them it says what is there to lose.
//!
//! | file | owns |
//! | --- | --- |
//! | `pairs` | what is exchanged: bases, sources, and what the model should say |
//! | `latents` | a mask over the latents of a dictionary |
//! | `rotation` | a mask over directions that are learned with it |
//! | `learn` | the steps of gradients, from soft to hard |
//! | `config`, `measure`, `report`, `table` | settings, the measurement at sites, what comes out |
//!
//! Shape legend: `M` pairs, `B` pairs of a batch, `D` width of all nodes of a site together, `F` latents, `R` learned directions.

mod config;
mod latents;
mod learn;
mod measure;
mod pairs;
mod report;
mod rotation;
mod table;

pub use self::report::{FILE, Masks};
pub use config::{MasksConfig, MasksFile};
pub use latents::{LatentMask, LatentPairs};
pub use learn::{Exchange, Learning, learn};
pub use measure::{Told, measure};
pub use pairs::{Kind, Pairs};
pub use rotation::Rotation;
pub use table::table;
