//! Circuits: which edges between the components of a model carry a behaviour, and how much of it they carry alone.
//!
//! * [`Graph`]: the sources of a model (embedding, heads, MLPs), the destinations that read them, and the edges between.
//! * [`Pair`], [`PairsFile`]: a clean and a corrupted prompt of one length, and what is to be answered.
//! * [`Metric`]: what is measured of an answer.
//! * [`score`](score()): how much each edge matters, by a [`Method`]; exact patching is one of them.
//! * [`Circuit`]: edges that are kept, chosen from scores by a [`Selection`].
//! * [`evaluate`]: circuits on pairs; [`Faithfulness`]: how much of the behaviour they keep.
//! * [`agreement`]: how well two lists of scores agree.
//! * [`draw`]: a circuit as DOT and SVG.
//! * [`write_graph_json`], [`read_graph_json`]: graphs as EAP-IG's library and MIB write them.
//!
//! An edge that is not in a circuit carries what its source adds in the run on the corrupted prompt.
//!
//! Shapes: `B` pairs of a batch, `T` tokens of a row, `S` sources, `G` destinations of a group, `D` d_model, `H` heads, `K` heads
//! of keys and values, `Dh` d_head, `V` d_vocab.

pub mod agreement;
mod behaviour_pairs;
mod circuit;
mod circuit_file;
pub mod draw;
mod error;
mod evaluate;
mod exact;
mod faithfulness;
mod gradients;
mod graph;
mod interchange;
mod metric;
mod pairs;
mod patched;
mod runs;
mod score;
mod score_file;
mod sources;

pub use behaviour_pairs::behaviour_pairs;
pub use circuit::{Circuit, Ranking, Rule, Selection};
pub use circuit_file::CircuitFile;
pub use error::Error;
pub use evaluate::{Evaluation, evaluate};
pub use faithfulness::{Faithfulness, areas};
pub use graph::{Destination, Edge, Graph, Node, Slot};
pub use interchange::{read_graph_json, write_graph_json};
pub use metric::Metric;
pub use pairs::{Pair, PairsFile, TaskPairs, task_pairs};
pub use score::{Cost, Grid, Method, ScoreOptions, Scores, cost, score};
pub use score_file::ScoreFile;
