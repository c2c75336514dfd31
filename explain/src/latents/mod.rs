//! Latents of a dictionary as black boxes: their contexts, explanations of them, and how good these are.
//!
//! | module | owns |
//! | --- | --- |
//! | `scan` | contexts of all latents in one pass over a store |
//! | `example` | slices in which a latent is active, and slices in which it is not |
//! | `vocabulary`, `predicate` | what explanations claim of tokens in their contexts |
//! | `literals`, `points`, `search`, `experiment` | the offline explainer |
//! | `planted_codes` | planted predicates as latents of a store |
//! | `function` | a latent that reads text, as a black box |
//! | `says` | what is judged: an explanation, the true label, or nothing |
//! | `detection`, `fuzzing`, `simulation`, `generation` | scores of an explanation against the latent |
//! | `truth_labels`, `agreement` | what is true of the tokens, and whether an explanation is |
//! | `config`, `explained`, `explain` | all of it for the latents of a dictionary |
//! | `by_language` | a language model as explainer and judge of a latent |
//! | `predicts` | how well each score predicts whether an explanation is true |
//! | `table` | what is printed |
//! | `neuronpedia`, `delphi` | exports |
//!
//! Shapes: `N` rows, `D` width of a vector, `F` latents, `P` labels.

mod agreement;
mod by_language;
mod class;
mod config;
mod delphi;
mod detection;
mod example;
mod experiment;
mod explain;
mod explained;
mod function;
mod fuzzing;
mod generation;
mod literals;
mod neuronpedia;
mod planted_codes;
mod points;
mod predicate;
mod predicts;
mod says;
mod scan;
mod search;
mod simulation;
mod table;
mod truth_labels;
mod vocabulary;

pub use agreement::{GROUNDED, Grounding, TRUE, agreement, behaviour, ground};
pub use class::Class;
pub use config::{ExplainConfig, ExplainFile};
pub use delphi::write as write_delphi;
pub use detection::{Detection, detection};
pub use example::{Contexts, Example, Examples, Sizes};
pub use experiment::{QUERIES, order_by_experiment};
pub use explain::{Plan, explain_dictionary};
pub use explained::{DictionaryExplained, ExplanationMethod, LatentExplained, Rung};
pub use function::{LatentFunction, Reader};
pub use fuzzing::{Fuzzing, fuzzing, marks};
pub use generation::{Generated, TEXTS, generate};
pub use neuronpedia::write as write_neuronpedia;
pub use planted_codes::PlantedCodes;
pub use predicate::{Conjunction, Literal, MOST, MOST_TOKENS, Predicate};
pub use predicts::{Predicts, Whose, predicts};
pub use says::{PromptLabels, Says};
pub use scan::{Active, Half, LabelCounts, LatentScan, ROWS, SLICE, Scan, ScanConfig, ScanTime, Slice, scan};
pub use search::{Candidate, Search};
pub use simulation::simulation;
pub use table::{Edits, predicts_table, table};
pub use truth_labels::{TruthLabel, TruthLabels};
pub use vocabulary::Vocabulary;
