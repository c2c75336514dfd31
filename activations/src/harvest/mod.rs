//! Running the model over prompts or text and storing what its hooks hold.
//!
//! All hooks are captured in one forward pass per batch; blocks after the last hook and logits are never computed. Vectors are
//! written by a second thread while the model reads the next batch. A second run of the same plan keeps the shards that are
//! whole, skips the batches that only they need, and captures only the hooks that still miss rows.
//!
//! Shapes: `B` sequences of a batch, `T` tokens of a sequence, `N` stored vectors of a batch, `W` numbers per stored
//! vector (all heads of a hook side by side), `H` heads, `Dh` d_head.

mod live;
mod sequence;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};

use burn::tensor::{Int, Tensor, TensorData};
use lm::{Batch, HookPoint, Model, Passes, Request, Spec, Trace};
use serde_json::{Map, Value, json};
use tasks::{Prompt, Role};
use text::Tokenizer;

pub use live::Kept;
use sequence::{Sequence, Sequences, prompt_sequences};

use crate::node::validate_hook;
use crate::store::{FORMAT_VERSION, HookShape, Layout, Manifest, Part, Provenance, Row, Shuffle, StoreWriter, Wanted};
use crate::{Error, Node, StoredDtype};

/// Batches whose vectors may wait for the writing thread.
const AHEAD: usize = 1;

/// What to harvest.
#[derive(Debug, Clone)]
pub struct HarvestPlan {
    /// The hooks whose vectors are stored.
    pub hooks: Vec<HookPoint>,
    /// The semantic positions stored of each prompt; must be empty for text.
    pub roles: Vec<Role>,
    /// What the model reads.
    pub source: Source,
    /// Sequences per forward pass.
    pub batch: usize,
    /// Vectors per Parquet file.
    pub rows_per_shard: usize,
    /// Type of the stored numbers.
    pub dtype: StoredDtype,
    /// Vectors that are shuffled together, and the seed; `None` keeps the order of the source.
    pub shuffle: Option<(usize, u64)>,
    /// Whether position 0 and special tokens of a text are stored.
    pub keep_special: bool,
    /// Settings that the other fields do not show, by the config's key: they stand in the store beside the others, and two
    /// harvests that differ in them are two harvests.
    pub asked: Map<String, Value>,
    /// The share of this process.
    pub part: Part,
}

/// What the model reads.
#[derive(Debug, Clone)]
pub enum Source {
    /// Prompts of equal length, with roles and labels.
    Prompts(Vec<Prompt>),
    /// Windows of text ([`text::Packing::spooled_windows`]).
    Text(text::Windows),
}

/// What a harvest tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// How far it is.
    Progress(Progress),
    /// Something about the lock of the store's folder.
    Lock(artifacts::Locking),
}

/// How far a harvest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Sequences done, those found on disk included.
    pub done: usize,
    /// Sequences in all.
    pub total: usize,
}

/// What a harvest will take, from its sizes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Tokens that the model reads.
    pub tokens: usize,
    /// Vectors stored of each hook.
    pub rows: usize,
    /// Bytes of the vectors on disk.
    pub disk: usize,
    /// Bytes of the window that is shuffled.
    pub window: usize,
    /// Floating-point operations in the matrix products of the blocks that run.
    pub flops: f64,
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
            dtype: StoredDtype::F32,
            shuffle: None,
            keep_special: false,
            asked: Map::new(),
            part: Part::WHOLE,
        }
    }

    /// What all parts of the harvest will take together.
    ///
    /// # Errors
    ///
    /// A plan that does not fit this model.
    pub fn cost(&self, model: &Model, tokenizer: &Tokenizer) -> Result<Cost, Error> {
        let config = model.spec();
        let sequences = self.sequences(tokenizer, config.n_ctx)?;
        let rows = sequences.rows();
        let row_bytes = self
            .shapes(config)?
            .values()
            .map(|shape| shape.width * self.dtype.size())
            .sum::<usize>();
        let request = Request {
            capture: self.hooks.clone(),
            ..Request::default()
        };
        let passes = Passes::new(model, self.batch).cost(sequences.lengths(), &request);
        Ok(Cost {
            tokens: passes.tokens,
            rows,
            disk: rows * row_bytes,
            window: self.layout_window().0.min(rows) * row_bytes,
            flops: passes.flops,
        })
    }

    /// Rows of a window, and how they are shuffled.
    fn layout_window(&self) -> (usize, Option<Shuffle>) {
        let shuffle = self.shuffle.map(|(window, seed)| Shuffle {
            shards: window.div_ceil(self.rows_per_shard.max(1)).max(1),
            seed,
        });
        (
            self.rows_per_shard * shuffle.map_or(1, |shuffle| shuffle.shards),
            shuffle,
        )
    }

    /// All settings that the stored bytes depend on.
    fn settings(&self, model: &Model, tokenizer: &Tokenizer, sequences: &Sequences<'_>) -> Result<Value, Error> {
        let (hooks, roles): (BTreeSet<_>, BTreeSet<_>) = (self.hooks.iter().collect(), self.roles.iter().collect());
        let (window, shuffle) = self.layout_window();
        let special = match (&self.source, self.keep_special) {
            (Source::Prompts(_), _) => None,
            (Source::Text(_), false) => Some("exclude"),
            (Source::Text(_), true) => Some("mark"),
        };
        let tokens = (0..sequences.len()).map(|index| sequences.tokens(index)).sum::<usize>();
        let lost = match &self.source {
            Source::Prompts(_) => None,
            Source::Text(windows) => Some(windows.lost_characters()),
        };
        let own = json!({
            "format_version": FORMAT_VERSION,
            "model": model.hash(),
            "tokenizer": tokenizer.hash(),
            "hooks": hooks,
            "roles": roles,
            "bos": tokenizer.bos(),
            "read": { "sequences": sequences.len(), "tokens": tokens, "lost_characters": lost, "sha256": sequences.digest()? },
            "batch": self.batch, // the shape of a matrix product may change its last bits
            "rows_per_shard": self.rows_per_shard,
            "dtype": self.dtype,
            "shuffle_window": shuffle.map_or(0, |_| window),
            "shuffle_seed": shuffle.map(|shuffle| shuffle.seed),
            "special_tokens": special,
        });
        let mut settings = self.asked.clone();
        settings.extend(own.as_object().cloned().unwrap_or_default());
        Ok(Value::Object(settings))
    }

    /// What the store will hold, and where each row goes.
    fn layout(&self, model: &Model, tokenizer: &Tokenizer, sequences: &Sequences<'_>) -> Result<Layout, Error> {
        let roles: BTreeSet<Role> = self.roles.iter().copied().collect();
        let provenance = Provenance {
            model_hash: model.hash().to_owned(),
            tokenizer_hash: tokenizer.hash().to_owned(),
            settings: self.settings(model, tokenizer, sequences)?,
        };
        Ok(Layout {
            provenance,
            rows: sequences.rows(),
            hooks: self.shapes(model.spec())?,
            dtype: self.dtype,
            rows_per_shard: self.rows_per_shard,
            shuffle: self.layout_window().1,
            roles: roles.into_iter().collect(),
        })
    }

    /// The hooks and their shapes in this model.
    fn shapes(&self, config: &Spec) -> Result<BTreeMap<HookPoint, HookShape>, Error> {
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
    fn sequences(&self, tokenizer: &Tokenizer, n_ctx: usize) -> Result<Sequences<'_>, Error> {
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
                Ok(Sequences::Prompts(prompt_sequences(prompts, &roles, n_ctx)?))
            }
            Source::Text(_) if !self.roles.is_empty() => Err(Error::Config {
                field: "roles",
                reason: "must be empty for text, which has no roles".to_owned(),
            }),
            Source::Text(windows) => {
                let longest = (0..windows.len()).map(|index| windows.tokens(index)).max().unwrap_or(0);
                if longest > n_ctx {
                    let reason = format!("gives windows of {longest} tokens, the model's context has {n_ctx}");
                    return Err(Error::Config {
                        field: "context",
                        reason,
                    });
                }
                Sequences::of_text(windows, tokenizer.special_ids(), self.keep_special)
            }
        }
    }
}

/// Runs `plan` and stores the vectors in the folder `out`; finishes a harvest of the same plan that was interrupted.
///
/// Rows of prompts stand in the order of the prompts, within a prompt in the order of the roles. Rows of text come window by
/// window, in the order of [`text::Windows`], and are shuffled as the plan says. The tokens of prompts and windows are kept beside them.
/// There is no manifest yet when other parts still owe
/// shards. Where another process writes the store, this one waits until it has ended.
///
/// # Errors
///
/// A plan that does not fit the model, a folder of other settings or other contents, numbers that are not finite, a folder
/// that was removed meanwhile, and whatever the disk says; shards that were finished stay.
pub fn harvest(
    model: &Model,
    tokenizer: &Tokenizer,
    plan: &HarvestPlan,
    out: &Path,
    on_event: &mut dyn FnMut(Event),
) -> Result<Option<Manifest>, Error> {
    let sequences = plan.sequences(tokenizer, model.spec().n_ctx)?;
    let layout = plan.layout(model, tokenizer, &sequences)?;
    let hooks: Vec<HookPoint> = layout.hooks.keys().copied().collect();
    let mut writer = StoreWriter::create(out, layout, &sequences, plan.part, &mut |locking| {
        on_event(Event::Lock(locking));
    })?;
    let wanted = hooks.iter().map(|&hook| (hook, writer.wanted(hook))).collect();
    let (sender, receiver) = sync_channel::<Pushed>(AHEAD);
    let (ran, written) = std::thread::scope(|scope| -> Result<_, Error> {
        let writing = std::thread::Builder::new().name("store".to_owned());
        let writing = writing.spawn_scoped(scope, move || {
            for Pushed { start, rows, vectors } in receiver {
                for (hook, values) in vectors {
                    writer.push(hook, start, &rows, &values)?;
                }
            }
            Ok(writer)
        });
        let writing = writing.map_err(|error| Error::Stream {
            reason: format!(
                "no thread could be started to write with ({error}); raise the limit of processes (ulimit -u)"
            ),
        })?;
        let ran = forward(model, &sequences, plan.batch, &wanted, &sender, on_event);
        drop(sender);
        Ok((ran, writing.join()))
    })?;
    // An error of the writing thread has ended the other, so it comes first.
    let writer = written.unwrap_or_else(|_| {
        let reason = "the writing thread ended without a result".to_owned();
        Err(Error::Stream { reason })
    })?;
    ran?;
    writer.finish()
}

/// Vectors on their way to the writing thread.
struct Pushed {
    /// The first row's place in the source.
    start: usize,
    rows: Vec<Row>,
    /// Of each hook, `[N, W]`.
    vectors: Vec<(HookPoint, Vec<f32>)>,
}

/// Runs the model over the batches of which anything is wanted; ends early when nobody takes the vectors any more.
fn forward(
    model: &Model,
    sequences: &Sequences<'_>,
    batch: usize,
    wanted: &BTreeMap<HookPoint, Wanted>,
    sender: &SyncSender<Pushed>,
    on_event: &mut dyn FnMut(Event),
) -> Result<(), Error> {
    let (mut start, total) = (0, sequences.len());
    let passes = Passes::new(model, batch);
    for (number, of_batch) in passes.batches(sequences.lengths()).into_iter().enumerate() {
        // Neighbours, so all from the first to the last.
        let (Some(&first), Some(&last)) = (of_batch.rows.first(), of_batch.rows.last()) else {
            continue;
        };
        let places = first..last + 1;
        let end = start + places.clone().map(|index| sequences.count(index)).sum::<usize>();
        let missing = wanted.iter().filter(|(_, wanted)| wanted.any(start..end));
        let capture: Vec<HookPoint> = missing.map(|(hook, _)| *hook).collect();
        if !capture.is_empty() {
            let batch = sequences.read(places.clone())?;
            let rows: Vec<Row> = batch.iter().flat_map(Sequence::rows).collect();
            let vectors = read_batch(&passes, number, of_batch, &batch, &capture)?;
            if sender.send(Pushed { start, rows, vectors }).is_err() {
                return Ok(());
            }
        }
        start = end;
        on_event(Event::Progress(Progress {
            done: places.end,
            total,
        }));
    }
    Ok(())
}

/// Runs the model over one batch; gives the vectors of each hook, `[N, W]`.
fn read_batch(
    passes: &Passes<'_>,
    number: usize,
    of_batch: Batch,
    batch: &[Sequence],
    hooks: &[HookPoint],
) -> Result<Vec<(HookPoint, Vec<f32>)>, Error> {
    let ids: Vec<&[u32]> = batch.iter().map(Sequence::ids).collect();
    let request = Request {
        capture: hooks.to_vec(),
        ..Request::default()
    };
    let trace = passes.pass(number, of_batch, &ids)?.run(&request)?;
    let flat = flat_places(batch);
    let vectors = hooks.iter().map(|&hook| Ok((hook, vectors(&trace, hook, &flat)?)));
    vectors.collect()
}

/// Index of each stored vector of a batch in its `[B * T]` positions, `N`.
fn flat_places(batch: &[Sequence]) -> Vec<i64> {
    let places = batch.iter().enumerate().flat_map(|(index, sequence)| {
        let first = index * sequence.ids().len();
        sequence.rows().map(move |row| (first + row.position as usize) as i64)
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
