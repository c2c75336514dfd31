//! Many autoencoders trained on one stream of batches.
//!
//! Activations are read, shuffled and scaled once for all of them; each then takes its own step on the batch, so it ends
//! with the bytes it would have ended with alone. Their steps are in `steps.rs`.
//!
//! Shapes: `B` rows, `D` width, `F` latents.

use std::collections::BTreeMap;
use std::time::Duration;

use activations::{BatchOrder, Stream};
use burn::tensor::Device;
use dictionaries::Variant;
use kernels::{is_cpu, is_gpu};
use lm::HookPoint;

use crate::architecture::Training as _;
use crate::config::refuse;
use crate::rows::{Rows, Scaled, Split};
use crate::trainer::{Start, Trainer};
use crate::workers::Workers;
use crate::{Error, Finished, TrainConfig};

/// Entries of a batch's codes up to which members take their steps side by side: a single step is then too small to keep all
/// cores busy, and what each holds in memory is little. Results are the same either way.
const SMALL: usize = 1 << 20;

/// Where batches come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// The rows that the grid holds.
    Memory(BatchOrder),
    /// The inputs first, then the targets in the order of their hooks. The rows that the grid holds are a sample.
    Stream(Box<Stream>),
}

/// Autoencoders of one site in training.
#[derive(Debug)]
pub struct Grid {
    pub(crate) config: TrainConfig,
    pub(crate) inputs: Scaled,
    pub(crate) targets: BTreeMap<HookPoint, Scaled>,
    pub(crate) source: Source,
    /// Rows that are trained on: the first ones.
    pub(crate) n_train: usize,
    pub(crate) members: Vec<(Variant, Trainer)>,
    /// Where members take their steps side by side.
    pub(crate) workers: Option<Workers>,
    pub(crate) waited: Duration,
    pub(crate) device: Device,
}

impl Grid {
    /// Autoencoders that have taken no step, one for each of `variants`; `config` says all but which. What is held out is said by
    /// `rows`, whatever the config's share.
    ///
    /// # Errors
    ///
    /// Activations that are not finite, or too few for a batch; targets that do not fit; more active latents than there
    /// are; a precision that the device does not have.
    pub fn new(rows: Split, variants: Vec<Variant>, config: &TrainConfig, device: &Device) -> Result<Self, Error> {
        let order = BatchOrder::new(rows.trained, config.batch, config.seed)?;
        Self::ordered(rows, order, variants, config, device)
    }

    /// As [`Grid::new`], with batches in an order of its own of the rows that are trained on.
    ///
    /// # Errors
    ///
    /// As [`Grid::new`]; an order of other rows.
    pub fn ordered(
        rows: Split,
        order: BatchOrder,
        variants: Vec<Variant>,
        config: &TrainConfig,
        device: &Device,
    ) -> Result<Self, Error> {
        if order.rows() != rows.trained {
            let reason = format!("order has {} rows, {} are trained on", order.rows(), rows.trained);
            return refuse("batch", &reason);
        }
        Self::with_source(rows, Source::Memory(order), variants, config, device)
    }

    /// Autoencoders that have taken no step, with batches from a stream, for stores that do not fit into memory: the inputs first, then
    /// the targets in the order of their hooks, in batches of the config's size.
    ///
    /// `sample` holds some of the rows that are trained on: they say mean and scale, and serve where rows are picked by their
    /// loss and to calibrate thresholds.
    ///
    /// # Errors
    ///
    /// As [`Grid::new`].
    pub fn streamed(
        sample: Split,
        stream: Stream,
        variants: Vec<Variant>,
        config: &TrainConfig,
        device: &Device,
    ) -> Result<Self, Error> {
        Self::with_source(sample, Source::Stream(Box::new(stream)), variants, config, device)
    }

    fn with_source(
        rows: Split,
        source: Source,
        variants: Vec<Variant>,
        config: &TrainConfig,
        device: &Device,
    ) -> Result<Self, Error> {
        if !config.precision.is_supported(device) {
            return refuse("precision", "asks for numbers that this device does not multiply");
        }
        let Split {
            inputs,
            targets,
            trained: n_train,
        } = rows;
        let (rows, n_latents) = (inputs.len(), config.n_latents(inputs.width)?);
        let inputs = Scaled::new(inputs, n_train)?;
        let mut scaled = BTreeMap::new();
        for (hook, target) in targets {
            if target.len() != rows {
                let reason = format!("{hook} has {} rows, the inputs have {rows}", target.len());
                return refuse("target", &reason);
            }
            scaled.insert(hook, Scaled::new(target, n_train)?);
        }
        let mut members = Vec::new();
        for variant in variants {
            if is_gpu(device) && config.batch.saturating_mul(n_latents) > u32::MAX as usize {
                let reason = format!("times {n_latents} latents is more than a GPU's kernels count");
                return refuse("batch", &reason);
            }
            variant.architecture.check_latents(n_latents)?;
            if let Some(l0) = variant.l0.filter(|l0| *l0 > n_latents as f64) {
                return refuse(
                    "l0",
                    &format!("is {l0}, more than the {n_latents} latents of this site"),
                );
            }
            let target_mean = match variant.target {
                None => None,
                Some(hook) => match scaled.get(&hook) {
                    Some(target) => Some(target.mean.clone()),
                    None => return refuse("target", &format!("is {hook}, of which no activations were given")),
                },
            };
            let start = Start {
                n_latents,
                mean: inputs.mean.clone(),
                target_mean,
                seed: variant.seed,
            };
            let trainer = Trainer::new(variant.architecture, config.schedule(&variant), start, device);
            members.push((variant, trainer));
        }
        let side_by_side = members.len() > 1 && are_side_by_side(config, inputs.rows.width, device);
        Ok(Self {
            config: config.clone(),
            workers: side_by_side.then(Workers::new),
            inputs,
            targets: scaled,
            source,
            n_train,
            members,
            waited: Duration::ZERO,
            device: device.clone(),
        })
    }

    /// Steps that every member has taken.
    pub fn steps_done(&self) -> usize {
        self.members
            .iter()
            .map(|(_, trainer)| trainer.steps_done())
            .min()
            .unwrap_or(self.config.steps)
    }

    /// The settings of each member ([`TrainConfig::settings`]), by name.
    pub(crate) fn settings(&self) -> BTreeMap<String, serde_json::Value> {
        let of = |variant: &Variant| (variant.name.clone(), self.config.settings(variant));
        self.members.iter().map(|(variant, _)| of(variant)).collect()
    }

    /// Time that steps have spent on getting their activations.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Refuses members whose parameters are not finite: on a GPU nobody need have read the loss that said so.
    ///
    /// # Errors
    ///
    /// [`Error::Diverged`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        let broken = |(_, trainer): &&(Variant, Trainer)| !trainer.parameters().are_finite();
        match self.members.iter().find(broken) {
            None => Ok(()),
            Some((variant, trainer)) => Err(Error::diverged(&variant.name, trainer.steps_done())),
        }
    }
}

/// Whether autoencoders of inputs of this width take their steps side by side, each on one thread.
pub fn are_side_by_side(config: &TrainConfig, width: usize, device: &Device) -> bool {
    config.batch * width * config.expansion <= SMALL && is_cpu(device)
}

/// Trains to the end, without checkpoints; the last rows are held out, as many as the config's share says.
///
/// ```
/// use sae::{Rows, TrainConfig, TrainFile, train};
///
/// let file = r#"{"steps": 5, "batch": 16, "held_out": 0, "autoencoder": [{"architecture": "topk", "k": 2}]}"#;
/// let config = TrainConfig::try_from(serde_json::from_str::<TrainFile>(file)?)?;
/// let values = kernels::random::normal(&mut kernels::random::rng(0, "example"), 64 * 4, 1.0);
/// let rows = Rows { width: 4, values };
/// let trained = train(rows, Default::default(), &config, &kernels::cpu())?;
/// assert_eq!(trained[0].model.parameters.n_latents(), 8 * 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`Grid::new`] and [`Grid::advance`].
pub fn train(
    inputs: Rows,
    targets: BTreeMap<HookPoint, Rows>,
    config: &TrainConfig,
    device: &Device,
) -> Result<Vec<Finished>, Error> {
    let rows = Split::last(inputs, targets, config.held_out);
    let mut grid = Grid::new(rows, config.variants.clone(), config, device)?;
    while grid.steps_done() < config.steps {
        grid.advance(config.steps, &mut |_, _| ())?;
    }
    grid.finish()
}
