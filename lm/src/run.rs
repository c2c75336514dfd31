//! What a forward pass starts from, what it is asked for, and what it gives back.

use std::collections::BTreeMap;

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
    /// Keys and values of the same former pass (`hook_k`, `hook_v`), one pair for each block from the first that runs,
    /// `[B, P, H, Dh]`.
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
    fn check(&self, layer: usize, rows: usize, config: &Spec) -> Result<(), Error> {
        let expected = [rows, self.len(), config.n_head, config.d_head];
        let fits = self.blocks.iter().flatten().all(|part| part.dims() == expected);
        if self.blocks.is_empty() || (fits && self.blocks.len() == config.n_layer - layer) {
            return Ok(());
        }
        let reason = format!(
            "the past must be {expected:?} for each of {} blocks",
            config.n_layer - layer
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
    pub(crate) fn shape(&self, config: &Spec) -> Result<(Option<usize>, usize, usize, usize), Error> {
        match self {
            Start::Tokens(batch) => Ok((None, batch.rows(), batch.len(), 0)),
            Start::Resid { layer, resid, past } => {
                let [rows, len, width] = resid.dims();
                if width != config.d_model || *layer > config.n_layer {
                    let reason = format!("a residual stream of width {width} cannot enter block {layer} of this model");
                    return Err(wrong(HookPoint::ResidPre(*layer), &reason));
                }
                past.check(*layer, rows, config)?;
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

/// Replaces vectors of one hook while the pass runs; later layers see the new values.
#[derive(Debug, Clone)]
pub struct Overwrite {
    /// The hook.
    pub hook: HookPoint,
    /// One head of a hook that has heads, or all of them side by side.
    pub head: Option<usize>,
    /// `(row, position)` of each vector; for `hook_pattern` the position is the query's.
    pub at: Vec<(usize, usize)>,
    /// The new vectors, `[at.len(), width]`.
    pub values: Tensor<2>,
}

/// What a forward pass is asked for; it stops after the last block that anything here needs.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Hooks to return.
    pub capture: Vec<HookPoint>,
    /// Values to overwrite, in this order when they overlap.
    pub overwrite: Vec<Overwrite>,
    /// Where logits are computed.
    pub logits: Logits,
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
}

impl Trace {
    fn captured(&self, hook: HookPoint) -> Result<&Captured, Error> {
        self.captured
            .get(&hook)
            .ok_or_else(|| wrong(hook, "was not asked for in this pass"))
    }

    /// A captured hook of shape `[B, T, width]`.
    pub fn tensor3(&self, hook: HookPoint) -> Result<Tensor<3>, Error> {
        match self.captured(hook)? {
            Captured::Three(tensor) => Ok(tensor.clone()),
            Captured::Four(_) => Err(wrong(hook, "has four dimensions")),
        }
    }

    /// A captured hook of shape `[B, T, H, Dh]`, or the pattern `[B, H, T, T]`.
    pub fn tensor4(&self, hook: HookPoint) -> Result<Tensor<4>, Error> {
        match self.captured(hook)? {
            Captured::Four(tensor) => Ok(tensor.clone()),
            Captured::Three(_) => Err(wrong(hook, "has three dimensions")),
        }
    }

    /// A captured hook's vector at one position of each row: of one head, or of all heads side by side.
    ///
    /// # Shapes
    ///
    /// - positions: one per row, `[B]`
    /// - output: `[B, width]`
    pub fn at(&self, hook: HookPoint, head: Option<usize>, positions: &[usize]) -> Result<Tensor<2>, Error> {
        let (rows, width) = match self.captured(hook)? {
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
        debug_assert_eq!(output.dims(), [positions.len(), width]);
        Ok(output)
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
