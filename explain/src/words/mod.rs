//! Words to numbers, and words to words: FIND's entities and relations (Schwettmann et al.,
//! [arXiv 2309.03886](https://arxiv.org/abs/2309.03886)), without the language model that serves them there.
//!
//! | module | owns |
//! | --- | --- |
//! | `lexicon` | concepts and ten words of each, a list of our own |
//! | `entities` | words of one concept or of either of two, and the offline explainer |
//! | `table` | countries and animals with what is known of them, a table of our own |
//! | `relations` | a column of the table, perhaps with an exception, and the offline explainer |

mod entities;
mod lexicon;
mod relations;
mod table;

pub use entities::{Concepts, Entities, Knowledge, exemplars, explain_entities, sample_entities};
pub use lexicon::Lexicon;
pub use relations::{Exception, Relation, RelationFunction, explain_relation, sample_relation};
pub use table::{Table, Things};
