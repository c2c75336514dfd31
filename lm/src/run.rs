//! What a forward pass starts from, what it is asked for, and what it gives back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use burn::tensor::{Int, Tensor, TensorData};

use crate::{Error, HookPoint, Spec};

/// Token ids of rows of equal length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    ids: Vec<u32>,
    rows: usize,
}

impl TokenBatch {
    /// A batch of `rows`, which must be of one length.
    pub fn new<R: AsRef<[u32]>>(rows: &[R]) -> Result<Self, Error> {
        let expected = rows.first().map_or(0, |row| row.as_ref().len());
        if expected == 0 {
            return Err(Error::EmptyBatch);
        }
        let mut ids = Vec::with_capacity(rows.len() * expected);
        for (row, tokens) in rows.iter().enumerate() {
            let found = tokens.as_ref().len();
            if found != expected {
                return Err(Error::UnequalRows { row, expected, found });
            }
            ids.extend_from_slice(tokens.as_ref());
        }
        Ok(Self { ids, rows: rows.len() })
    }

    /// Number of rows, `B`.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Tokens of a row, `T`.
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub fn len(&self) -> usize {
        self.ids.len() / self.rows
    }

    /// Row-major ids, `[B * T]`.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }
}

/// Where a forward pass starts.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one a pass, and a tensor is only a handle")]
pub enum Start<'a> {
    /// At the token embedding.
    Tokens(&'a TokenBatch),
    /// Before block `layer` (`n_layer`: before the last layer norm), from the residual stream that a former pass captured.
    Resid {
        /// The first block to run.
        layer: usize,
        /// `blocks.{layer}.hook_resid_pre`, `[B, T, D]`. With a past, of the positions behind it only: those in the request
        /// count from there.
        resid: Tensor<3>,
        /// The positions before.
        past: Past,
    },
}

/// What positions see of earlier ones that a pass does not run again; nothing by default.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// Keys and values of the same former pass ([`Spec::key_hook`], `hook_v`), one pair for each block from the first that runs,
    /// `[B, P, K, Dh]`.
    pub blocks: Vec<[Tensor<4>; 2]>,
}

impl Past {
    /// Number of earlier positions, `P`.
    pub fn len(&self) -> usize {
        self.blocks.first().map_or(0, |[keys, _]| keys.dims()[1])
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks that every block from `layer` on has keys and values of `rows` rows.
    fn check(&self, layer: usize, rows: usize, spec: &Spec) -> Result<(), Error> {
        let expected = [rows, self.len(), spec.n_kv_head, spec.d_head];
        let fits = self.blocks.iter().flatten().all(|part| part.dims() == expected);
        if self.blocks.is_empty() || (fits && self.blocks.len() == spec.n_layer - layer) {
            return Ok(());
        }
        let reason = format!(
            "the past must be {expected:?} for each of {} blocks",
            spec.n_layer - layer
        );
        Err(wrong(HookPoint::K(layer), &reason))
    }
}

impl Start<'_> {
    /// First block to run if not at the embedding, rows, tokens of a row, and earlier positions.
    ///
    /// # Errors
    ///
    /// A residual stream or a past that does not fit the model.
    pub(crate) fn shape(&self, spec: &Spec) -> Result<(Option<usize>, usize, usize, usize), Error> {
        match self {
            Start::Tokens(batch) => Ok((None, batch.rows(), batch.len(), 0)),
            Start::Resid { layer, resid, past } => {
                let [rows, len, width] = resid.dims();
                if width != spec.d_model || *layer > spec.n_layer {
                    let reason = format!("a residual stream of width {width} cannot enter block {layer} of this model");
                    return Err(wrong(HookPoint::ResidPre(*layer), &reason));
                }
                past.check(*layer, rows, spec)?;
                Ok((Some(*layer), rows, len, past.len()))
            }
        }
    }
}

/// Positions at which logits are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Logits {
    /// Nowhere: the unembedding is skipped.
    #[default]
    None,
    /// Everywhere, `[B, T, V]`.
    All,
    /// At one position of each row, `[B, V]`.
    At(Vec<usize>),
}

/// Changes one hook while the pass runs; later layers see the new values.
#[derive(Debug, Clone)]
pub struct Patch {
    /// The hook.
    pub hook: HookPoint,
    /// One head of a hook that has heads, or all of them side by side.
    pub head: Option<usize>,
    /// What is done there.
    pub change: Change,
}

/// What a [`Patch`] does to its hook.
#[derive(Clone)]
pub enum Change {
    /// Vectors become others.
    Set(Vectors),
    /// Vectors are added to those that are there.
    Add(Vectors),
    /// The whole tensor becomes a function of it.
    Map(Map),
}

/// A function of a hook's tensor, `[B, T, width]`, all heads side by side; not of scores and patterns.
///
/// What it keeps of one hook it can use at a later one of the same pass: so a transcoder reads where the MLP reads and writes where
/// it writes, and several dictionaries stand in one pass, one reading what another wrote.
pub type Map = Arc<dyn Fn(Tensor<3>) -> Tensor<3> + Send + Sync>;

/// Vectors of some rows and positions.
#[derive(Debug, Clone)]
pub struct Vectors {
    /// `(row, position)` of each vector; for scores and patterns the position is the query's.
    pub at: Vec<(usize, usize)>,
    /// The vectors, `[at.len(), width]`.
    pub values: Tensor<2>,
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(vectors) => f.debug_tuple("Set").field(vectors).finish(),
            Self::Add(vectors) => f.debug_tuple("Add").field(vectors).finish(),
            Self::Map(_) => f.write_str("Map"),
        }
    }
}

impl Patch {
    /// Vectors of a hook become others.
    pub fn set(hook: HookPoint, head: Option<usize>, at: Vec<(usize, usize)>, values: Tensor<2>) -> Self {
        Self {
            hook,
            head,
            change: Change::Set(Vectors { at, values }),
        }
    }

    /// The whole tensor of a hook becomes a function of it.
    pub fn map(hook: HookPoint, function: impl Fn(Tensor<3>) -> Tensor<3> + Send + Sync + 'static) -> Self {
        Self {
            hook,
            head: None,
            change: Change::Map(Arc::new(function)),
        }
    }
}

/// What a forward pass is asked for; it stops after the last block that anything here needs.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Hooks to return.
    pub capture: Vec<HookPoint>,
    /// Hooks to change, in this order where they overlap.
    pub patches: Vec<Patch>,
    /// Hooks whose gradients [`Trace::gradients`] is to give.
    pub watch: Vec<HookPoint>,
    /// Where logits are computed.
    pub logits: Logits,
}

impl Request {
    /// How many blocks of a model must run for it.
    pub fn blocks_needed(&self, spec: &Spec) -> usize {
        match self.logits {
            Logits::None => {
                let hooks = self.capture.iter().chain(&self.watch);
                hooks.map(|hook| hook.blocks_needed(spec)).max().unwrap_or(0)
            }
            Logits::All | Logits::At(_) => spec.n_layer,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Captured {
    Three(Tensor<3>), // [B, T, width]
    Four(Tensor<4>),  // [B, T, H, Dh] or [B, H, T, T]
}

/// What a forward pass returned.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    pub(crate) captured: BTreeMap<HookPoint, Captured>,
    pub(crate) logits_all: Option<Tensor<3>>,
    pub(crate) logits_at: Option<Tensor<2>>,
    /// What was added to each watched hook: zeros, whose gradient is that of the hook.
    pub(crate) watched: BTreeMap<HookPoint, Captured>,
}

/// Gradients of a scalar at the hooks that were watched.
#[derive(Debug, Clone)]
pub struct Gradients {
    by_hook: BTreeMap<HookPoint, Captured>,
}

impl Gradients {
    /// The gradient at a hook of shape `[B, T, width]`.
    ///
    /// # Errors
    ///
    /// A hook that was not watched, or that has four dimensions.
    pub fn tensor3(&self, hook: HookPoint) -> Result<Tensor<3>, Error> {
        three(&self.by_hook, hook)
    }

    /// The gradient at a hook of shape `[B, T, H, width]`, or of scores and patterns `[B, H, T, T]`.
    ///
    /// # Errors
    ///
    /// A hook that was not watched, or that has three dimensions.
    pub fn tensor4(&self, hook: HookPoint) -> Result<Tensor<4>, Error> {
        four(&self.by_hook, hook)
    }

    /// The gradient at a hook's vector at one position of each row, `[B, width]`: of one head, or of all heads side by side.
    ///
    /// # Errors
    ///
    /// A hook that was not watched, a head that it does not have, positions that are not one for each row.
    pub fn at(&self, hook: HookPoint, head: Option<usize>, positions: &[usize]) -> Result<Tensor<2>, Error> {
        at(&self.by_hook, hook, head, positions)
    }
}

fn three(tensors: &BTreeMap<HookPoint, Captured>, hook: HookPoint) -> Result<Tensor<3>, Error> {
    match tensors.get(&hook).ok_or_else(|| not_asked_for(hook))? {
        Captured::Three(tensor) => Ok(tensor.clone()),
        Captured::Four(_) => Err(wrong(hook, "has four dimensions")),
    }
}

fn four(tensors: &BTreeMap<HookPoint, Captured>, hook: HookPoint) -> Result<Tensor<4>, Error> {
    match tensors.get(&hook).ok_or_else(|| not_asked_for(hook))? {
        Captured::Four(tensor) => Ok(tensor.clone()),
        Captured::Three(_) => Err(wrong(hook, "has three dimensions")),
    }
}

/// The vector of a hook at one position of each row, `[B, width]`.
fn at(
    tensors: &BTreeMap<HookPoint, Captured>,
    hook: HookPoint,
    head: Option<usize>,
    positions: &[usize],
) -> Result<Tensor<2>, Error> {
    let (rows, width) = match tensors.get(&hook).ok_or_else(|| not_asked_for(hook))? {
        Captured::Three(tensor) => {
            if head.is_some() {
                return Err(wrong(hook, "has no heads"));
            }
            let [b, t, width] = tensor.dims();
            check_positions(hook, positions, b, t)?;
            (tensor.clone().reshape([b * t, width]), width) // [B T, width]
        }
        Captured::Four(_) if !hook.has_heads() => return Err(wrong(hook, "is not one vector a token")),
        Captured::Four(tensor) => {
            let [b, t, heads, d_head] = tensor.dims();
            check_positions(hook, positions, b, t)?;
            match head {
                Some(head) if head >= heads => {
                    return Err(wrong(hook, &format!("has {heads} heads, head {head} does not exist")));
                }
                Some(head) => {
                    let one = tensor.clone().slice([0..b, 0..t, head..head + 1, 0..d_head]); // [B, T, 1, Dh]
                    (one.reshape([b * t, d_head]), d_head)
                }
                None => (tensor.clone().reshape([b * t, heads * d_head]), heads * d_head),
            }
        }
    };
    let device = rows.device();
    let stride = rows.dims()[0] / positions.len();
    let flat: Vec<usize> = positions
        .iter()
        .enumerate()
        .map(|(row, position)| row * stride + position)
        .collect();
    let output = rows.select(0, indices(&flat, &device)); // [B, width]
    assert_eq!(output.dims(), [positions.len(), width]);
    Ok(output)
}

fn not_asked_for(hook: HookPoint) -> Error {
    wrong(hook, "was not asked for in this pass")
}

impl Trace {
    /// A captured hook of shape `[B, T, width]`.
    ///
    /// # Errors
    ///
    /// A hook that was not captured, or that has four dimensions.
    pub fn tensor3(&self, hook: HookPoint) -> Result<Tensor<3>, Error> {
        three(&self.captured, hook)
    }

    /// A captured hook of shape `[B, T, H, width]`, or scores and patterns `[B, H, T, T]`.
    ///
    /// # Errors
    ///
    /// A hook that was not captured, or that has three dimensions.
    pub fn tensor4(&self, hook: HookPoint) -> Result<Tensor<4>, Error> {
        four(&self.captured, hook)
    }

    /// The gradients of a scalar of this pass, such as a difference of logits, at every watched hook, from one backward pass. They
    /// are on the device of the model. Where the scalar does not depend on a hook, they are zero.
    ///
    /// # Errors
    ///
    /// A scalar that is not of a pass with watched hooks.
    pub fn gradients(&self, of: Tensor<1>) -> Result<Gradients, Error> {
        if !of.is_autodiff() || self.watched.is_empty() {
            let reason = "have no gradients: the pass watched no hook, or the scalar does not come from it";
            return Err(Error::Hook {
                hook: "logits".to_owned(),
                reason: reason.to_owned(),
            });
        }
        let mut gradients = of.backward();
        let mut gradient = |(&hook, added): (&HookPoint, &Captured)| {
            let tensor = match added {
                Captured::Three(added) => {
                    let zeros = || added.clone().inner().zeros_like();
                    Captured::Three(added.grad_remove(&mut gradients).unwrap_or_else(zeros))
                }
                Captured::Four(added) => {
                    let zeros = || added.clone().inner().zeros_like();
                    Captured::Four(added.grad_remove(&mut gradients).unwrap_or_else(zeros))
                }
            };
            (hook, tensor)
        };
        Ok(Gradients {
            by_hook: self.watched.iter().map(&mut gradient).collect(),
        })
    }

    /// A captured hook's vector at one position of each row: of one head, or of all heads side by side.
    ///
    /// # Errors
    ///
    /// A hook that was not captured, a head that it does not have, positions that are not one for each row.
    ///
    /// # Shapes
    ///
    /// - positions: one per row, `[B]`
    /// - output: `[B, width]`
    pub fn at(&self, hook: HookPoint, head: Option<usize>, positions: &[usize]) -> Result<Tensor<2>, Error> {
        at(&self.captured, hook, head, positions)
    }

    /// Logits of every position, `[B, T, V]`; asked for by [`Logits::All`].
    pub fn logits_all(&self) -> Result<Tensor<3>, Error> {
        self.logits_all.clone().ok_or_else(no_logits)
    }

    /// Logits of one position a row, `[B, V]`; asked for by [`Logits::At`].
    pub fn logits_at(&self) -> Result<Tensor<2>, Error> {
        self.logits_at.clone().ok_or_else(no_logits)
    }
}

fn no_logits() -> Error {
    Error::Hook {
        hook: "logits".to_owned(),
        reason: "were not asked for in this form in this pass".to_owned(),
    }
}

pub(crate) fn wrong(hook: HookPoint, reason: &str) -> Error {
    Error::Hook {
        hook: hook.to_string(),
        reason: reason.to_owned(),
    }
}

fn check_positions(hook: HookPoint, positions: &[usize], rows: usize, len: usize) -> Result<(), Error> {
    if positions.len() != rows {
        return Err(wrong(
            hook,
            &format!("{} positions were given for {rows} rows", positions.len()),
        ));
    }
    match positions.iter().find(|&&position| position >= len) {
        Some(position) => Err(wrong(
            hook,
            &format!("position {position} is outside a row of {len} tokens"),
        )),
        None => Ok(()),
    }
}

/// An index tensor, `[n]`.
pub(crate) fn indices(values: &[usize], device: &burn::tensor::Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.iter().map(|&value| value as i32).collect();
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}
