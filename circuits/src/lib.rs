//! Circuits: which edges between the components of a model carry a behaviour, and how much of it they carry alone.
//!
//! * [`Graph`]: the sources of a model (embedding, heads, MLPs), the destinations that read them, and the edges between.
//! * [`Pair`], [`PairsFile`]: a clean and a corrupted prompt, and what is to be answered; [`published_pairs`]: those of the paper's tasks.
//! * [`Metric`]: what is measured of an answer.
//! * [`score`](score()): how much each edge matters, by a [`Method`]; exact patching is one of them. [`Intervals`]: how much of that is the pairs.
//! * [`Circuit`]: edges that are kept, chosen from scores by a [`Selection`].
//! * [`evaluate`]: circuits on pairs; [`Faithfulness`]: how much of the behaviour they keep.
//! * [`agreement`]: how well two lists of scores agree.
//! * [`finer`]: edges by positions, neurons and latents of dictionaries.
//! * [`draw`]: a circuit as DOT and SVG.
//! * [`write_graph_json`], [`read_graph_json`], [`read_graph_pt`]: graphs as EAP-IG's library and MIB write them. [`write_attribution_graph`]: a circuit for the
//!   page of circuit-tracer.
//!
//! An edge that is not in a circuit carries what its source adds in the run on the corrupted prompt.
//!
//! Shapes: `B` pairs of a batch, `T` tokens of a row, `S` sources, `G` destinations of a group, `D` d_model, `H` heads, `K` heads
//! of keys and values, `Dh` d_head, `V` d_vocab.

mod ablation;
pub mod agreement;
mod attribution;
mod attribution_graph;
mod behaviour_pairs;
mod bootstrap;
mod circuit;
mod circuit_file;
mod cost;
pub mod draw;
mod error;
mod evaluate;
mod exact;
mod faithfulness;
pub mod finer;
mod flow;
mod gradients;
mod graph;
mod interchange;
mod kept;
mod method;
mod metric;
mod node;
mod overlap;
mod pairs;
mod patched;
mod published;
mod relp;
mod runs;
mod score;
mod score_file;
mod selection;
mod sources;
mod weight_norm;

pub use attribution_graph::{ShownPrompt, write_attribution_graph};
pub use behaviour_pairs::behaviour_pairs;
pub use bootstrap::{Intervals, ranks};
pub use circuit::Circuit;
pub use circuit_file::CircuitFile;
pub use cost::{Cost, cost, forward_flops};
pub use error::Error;
pub use evaluate::{Evaluation, evaluate};
pub use faithfulness::{Faithfulness, areas};
pub use graph::{Edge, Graph};
pub use interchange::{read_graph_json, read_graph_pt, write_graph_json};
pub use method::{Ablation, Grid, Method, ScoreOptions};
pub use metric::Metric;
pub use node::{Destination, Node, Slot};
pub use overlap::Overlap;
pub use pairs::{Pair, PairsFile, TaskPairs, task_pairs};
pub use published::{Half, Published, published_pairs};
pub use score::{Scores, score};
pub use score_file::ScoreFile;
pub use selection::{Ranking, Rule, Selection};
pub use weight_norm::weight_norm_scores;
