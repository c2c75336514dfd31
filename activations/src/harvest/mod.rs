//! Running the model over prompts or text and storing what its hooks hold.
//!
//! All hooks are captured in one forward pass per batch. A second run of the same plan keeps the shards that are whole,
//! skips the batches that only they need, and captures only the hooks that still miss rows.
//!
//! Shapes: `B` sequences of a batch, `T` tokens of a sequence, `N` stored vectors of a batch, `W` numbers per stored
//! vector (all heads of a hook side by side), `H` heads, `Dh` d_head.

mod sequence;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::tensor::{Int, Tensor, TensorData};
use lm::{Gpt2, Gpt2Config, HookPoint, Logits, Request, Start, TokenBatch, Tokenizer, Trace};
use serde_json::json;
use tasks::{Prompt, Role};

use sequence::{Sequence, digest, prompt_sequences, text_sequences};
pub use sequence::{read_documents, text_windows};

use crate::node::validate_hook;
use crate::store::{FORMAT_VERSION, HookShape, Layout, Manifest, Provenance, Row, StoreWriter};
use crate::{Error, Node};

/// What to harvest.
#[derive(Debug, Clone)]
pub struct HarvestPlan {
    /// The hooks whose vectors are stored.
    pub hooks: Vec<HookPoint>,
    /// The semantic positions stored of each prompt; must be empty for text, where every position is stored.
    pub roles: Vec<Role>,
    /// What the model reads.
    pub source: Source,
    /// Sequences per forward pass.
    pub batch: usize,
    /// Vectors per Parquet file.
    pub rows_per_shard: usize,
}

/// What the model reads.
#[derive(Debug, Clone)]
pub enum Source {
    /// Prompts of equal length, with roles and labels.
    Prompts(Vec<Prompt>),
    /// Documents, cut into windows that each start with the beginning-of-text token.
    Text {
        /// The documents' text.
        documents: Vec<String>,
        /// Longest window in tokens, beginning-of-text token included; at least 2.
        context: usize,
    },
}

/// How far a harvest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Sequences done, those found on disk included.
    pub done: usize,
    /// Sequences in all.
    pub total: usize,
}

impl HarvestPlan {
    /// A plan for these nodes: all their hooks at all their roles.
    pub fn for_nodes(nodes: &[Node], source: Source, batch: usize, rows_per_shard: usize) -> Self {
        let hooks: BTreeSet<HookPoint> = nodes.iter().map(|node| node.hook).collect();
        let roles: BTreeSet<Role> = nodes.iter().map(|node| node.role).collect();
        Self {
            hooks: hooks.into_iter().collect(),
            roles: roles.into_iter().collect(),
            source,
            batch,
            rows_per_shard,
        }
    }

    /// The hooks and their shapes in this model.
    fn shapes(&self, config: &Gpt2Config) -> Result<BTreeMap<HookPoint, HookShape>, Error> {
        let shape = |&hook: &HookPoint| {
            validate_hook(hook, config)?;
            let heads = hook.has_heads().then_some(config.n_head);
            Ok((
                hook,
                HookShape {
                    width: hook.width(config) * heads.unwrap_or(1),
                    heads,
                },
            ))
        };
        self.hooks.iter().map(shape).collect()
    }

    /// The sequences in the order of the store.
    fn sequences(&self, tokenizer: &Tokenizer, n_ctx: usize) -> Result<Vec<Sequence>, Error> {
        if self.batch == 0 || self.rows_per_shard == 0 {
            let field = if self.batch == 0 { "batch" } else { "rows_per_shard" };
            return Err(Error::Config {
                field,
                reason: "is 0, must be at least 1".to_owned(),
            });
        }
        match &self.source {
            Source::Prompts(prompts) => {
                let roles: BTreeSet<Role> = self.roles.iter().copied().collect();
                prompt_sequences(prompts, &roles)
            }
            Source::Text { .. } if !self.roles.is_empty() => Err(Error::Config {
                field: "roles",
                reason: "must be empty for text, which has no roles".to_owned(),
            }),
            Source::Text { context, .. } if !(2..=n_ctx).contains(context) => {
                let reason = format!("is {context}, must be 2 to {n_ctx} (the model's context)");
                Err(Error::Config {
                    field: "context",
                    reason,
                })
            }
            Source::Text { documents, context } => text_sequences(documents, *context, tokenizer),
        }
    }
}

/// Runs `plan` and stores the vectors in the folder `out`; finishes a harvest of the same plan that was interrupted.
///
/// Rows of prompts stand in the order of the prompts, within a prompt in the order of the roles. Rows of text hold every
/// position but that of the beginning-of-text token, whose vector is the same in every window; windows of full length
/// come first, in the order of the documents, then shorter ones by falling length.
pub fn harvest(
    model: &Gpt2,
    tokenizer: &Tokenizer,
    plan: &HarvestPlan,
    out: &Path,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Manifest, Error> {
    let hooks = plan.shapes(model.config())?;
    let sequences = plan.sequences(tokenizer, model.config().n_ctx)?;
    let roles: BTreeSet<Role> = plan.roles.iter().copied().collect();
    let config = json!({
        "format_version": FORMAT_VERSION,
        "model": model.hash(),
        "tokenizer": tokenizer.hash(),
        "hooks": hooks.keys().map(HookPoint::to_string).collect::<Vec<_>>(),
        "roles": roles.iter().map(Role::to_string).collect::<Vec<_>>(),
        "source": digest(&sequences),
        "batch": plan.batch, // the shape of a matrix product may change its last bits
        "rows_per_shard": plan.rows_per_shard,
    });
    let provenance = Provenance {
        model_hash: model.hash().to_owned(),
        tokenizer_hash: tokenizer.hash().to_owned(),
        config_hash: lm::files::sha256_hex(config.to_string().as_bytes()),
    };
    let layout = Layout {
        provenance,
        rows: sequences.iter().map(Sequence::count).sum(),
        hooks,
        rows_per_shard: plan.rows_per_shard,
        roles: roles.into_iter().collect(),
    };
    let shapes = layout.hooks.clone();
    let mut writer = StoreWriter::create(out, layout)?;

    let (mut done, mut start) = (0, 0);
    let batches = sequences
        .chunk_by(|a, b| a.ids.len() == b.ids.len())
        .flat_map(|equal| equal.chunks(plan.batch));
    for batch in batches {
        let rows: Vec<Row> = batch.iter().flat_map(Sequence::rows).collect();
        let range = start..start + rows.len();
        let capture: Vec<HookPoint> = shapes
            .keys()
            .copied()
            .filter(|&hook| writer.wants(hook, range.clone()))
            .collect();
        if !capture.is_empty() {
            let ids: Vec<&[u32]> = batch.iter().map(|sequence| sequence.ids.as_slice()).collect();
            let tokens = TokenBatch::new(&ids)?;
            let request = Request {
                capture: capture.clone(),
                overwrite: Vec::new(),
                logits: Logits::None,
            };
            let trace = model.run(Start::Tokens(&tokens), &request)?;
            let places = flat_places(batch);
            for hook in capture {
                writer.push(hook, start, &rows, &vectors(&trace, hook, &places)?)?;
            }
        }
        start = range.end;
        done += batch.len();
        on_progress(Progress {
            done,
            total: sequences.len(),
        });
    }
    writer.finish()
}

/// Index of each stored vector of a batch in its `[B * T]` positions, `N`.
fn flat_places(batch: &[Sequence]) -> Vec<i64> {
    let places = batch.iter().enumerate().flat_map(|(index, sequence)| {
        let first = index * sequence.ids.len();
        sequence
            .rows()
            .into_iter()
            .map(move |row| (first + row.position as usize) as i64)
    });
    places.collect()
}

/// The vectors of a hook at the given places, `[N, W]`.
fn vectors(trace: &Trace, hook: HookPoint, places: &[i64]) -> Result<Vec<f32>, Error> {
    let flat = if hook.has_heads() {
        let heads = trace.tensor4(hook)?; // [B, T, H, Dh]
        let [batch, tokens, n_head, d_head] = heads.dims();
        heads.reshape([batch * tokens, n_head * d_head]) // [B * T, W]
    } else {
        let whole = trace.tensor3(hook)?; // [B, T, W]
        let [batch, tokens, width] = whole.dims();
        whole.reshape([batch * tokens, width]) // [B * T, W]
    };
    let places = TensorData::new(places.to_vec(), [places.len()]);
    let places = Tensor::<1, Int>::from_data(places, &flat.device());
    Ok(kernels::to_vec(flat.select(0, places))) // [N, W]
}
