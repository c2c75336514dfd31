//! `saelab pretrain`: trains tokenizer and language model on the written world.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use lm::interchange::Interchange;
use lm::train::{TrainConfig, Trainer};
use lm::{Gpt2Config, Tokenizer};
use serde::Deserialize;
use tasks::world::{World, order_pairs, token_batch};

use super::Context;
use crate::config::{self, ConfigError};
use crate::output;

/// Arguments of `saelab pretrain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Pretrain {
    /// Config, for example configs/pretrain/small-world.toml
    config: PathBuf,
    /// Folder for the model in Hugging Face layout
    #[arg(long)]
    out: PathBuf,
    /// Go on from the last checkpoint in the output folder
    #[arg(long)]
    resume: bool,
    /// Override a config key: key=value
    #[arg(long)]
    set: Vec<String>,
}

/// A pretrain config file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PretrainFile {
    /// Blocks. The issue of circuits asks for at least 3; 4 were enough for every behaviour.
    n_layer: usize,
    /// Heads of a block.
    n_head: usize,
    /// Width of the residual stream.
    d_model: usize,
    /// Tokens of a training row, which is also the number of positions of the model.
    context: usize,
    /// Rows of a batch.
    batch: usize,
    /// Optimiser steps.
    steps: usize,
    /// Peak learning rate of AdamW.
    learning_rate: f64,
    /// Steps of linear warm-up.
    warmup_steps: usize,
    /// AdamW's weight decay, on matrices.
    weight_decay: f64,
    /// Bound on the norm of the whole gradient.
    clip_norm: f64,
    /// Standard deviation of the initial weights; with GPT-2's 0.02 a model this small learns to copy far later.
    init_std: f32,
    /// Seed of weights and documents.
    seed: u64,
    /// Steps between checkpoints.
    checkpoint_every: usize,
    /// Has the model find the indirect object by the order of the names; without, it finds it by name.
    interchange: Option<InterchangeFile>,
}

/// Interchange intervention training on pairs of indirect-object prompts, which the order of the names is exchanged between.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InterchangeFile {
    /// The residual stream at the last token before this block says the order and nothing else of the names.
    layer: usize,
    /// Pairs of a step.
    pairs: usize,
    /// Weight of the loss of the order along a fixed direction; that of the text is 1.
    order_weight: f64,
    /// First step with pairs. From the start: begun when the text is learned, the order was not.
    order_from: usize,
    /// Weight of the loss of the answers after an exchange.
    exchange_weight: f64,
    /// First step at which the exchange counts. Not from the start, or it keeps the model from learning the text; by then the
    /// order should be known, or there is nothing to exchange.
    exchange_from: usize,
}

impl PretrainFile {
    fn validate(self) -> Result<Self, ConfigError> {
        let positive = [
            ("n_layer", self.n_layer),
            ("n_head", self.n_head),
            ("d_model", self.d_model),
            ("context", self.context),
            ("batch", self.batch),
            ("steps", self.steps),
            ("checkpoint_every", self.checkpoint_every),
            (
                "interchange.pairs",
                self.interchange.as_ref().map_or(1, |file| file.pairs),
            ),
        ];
        if let Some((name, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError(format!("`{name}` is 0, must be at least 1")));
        }
        if !self.d_model.is_multiple_of(self.n_head) {
            let (d, h) = (self.d_model, self.n_head);
            return Err(ConfigError(format!(
                "`d_model` ({d}) must be a multiple of `n_head` ({h})"
            )));
        }
        if let Some(file) = self.interchange.as_ref().filter(|file| file.layer >= self.n_layer) {
            return Err(ConfigError(format!(
                "`interchange.layer` is {}, must be below `n_layer` ({})",
                file.layer, self.n_layer
            )));
        }
        Ok(self)
    }

    /// The pairs of a step.
    fn interchange(&self, world: &World, tokenizer: &Tokenizer, step: usize) -> anyhow::Result<Option<Interchange>> {
        let Some(file) = self.interchange.as_ref().filter(|file| step >= file.order_from) else {
            return Ok(None);
        };
        Ok(Some(Interchange {
            layer: file.layer,
            bit_weight: file.order_weight,
            answer_weight: if step < file.exchange_from {
                0.0
            } else {
                file.exchange_weight
            },
            pairs: order_pairs(world, tokenizer, self.seed, step, file.pairs)?,
        }))
    }

    fn train_config(&self) -> TrainConfig {
        TrainConfig {
            steps: self.steps,
            learning_rate: self.learning_rate,
            warmup_steps: self.warmup_steps,
            weight_decay: self.weight_decay,
            clip_norm: self.clip_norm,
            init_std: self.init_std,
            seed: self.seed,
        }
    }
}

impl Pretrain {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let file = config::read::<PretrainFile>(&self.config, &self.set)?.validate()?;
        let world = World::new();
        let tokenizer = Tokenizer::word_level(&world.pieces())?;
        let model = Gpt2Config::new(
            file.n_layer,
            file.n_head,
            file.d_model,
            file.context,
            tokenizer.vocab_size(),
        );
        let checkpoint = self.out.join("checkpoint.safetensors");
        let device = &context.device;
        let mut trainer = if self.resume && checkpoint.exists() {
            Trainer::resume(file.train_config(), model, &checkpoint, device)?
        } else {
            Trainer::new(file.train_config(), model, device)
        };
        let log = self.out.join("metrics.jsonl");
        std::fs::create_dir_all(&self.out).with_context(|| format!("cannot make {}", self.out.display()))?;
        let open = || {
            OpenOptions::new()
                .create(true)
                .append(self.resume)
                .truncate(!self.resume)
                .write(true)
                .open(&log)
        };
        let mut log = open().with_context(|| format!("cannot write {}", log.display()))?;

        let bar = context.progress.bar("pretrain", file.steps);
        bar.set_position(trainer.steps_done() as u64);
        let (start, first) = (Instant::now(), trainer.steps_done());
        while trainer.steps_done() < file.steps {
            let step = trainer.steps_done();
            let batch = token_batch(&world, &tokenizer, file.seed, step, file.batch, file.context + 1)?;
            let interchange = file.interchange(&world, &tokenizer, step)?;
            let losses = trainer.step(&batch, interchange.as_ref())?;
            if step % 20 == 0 || step + 1 == file.steps {
                let mut line = serde_json::json!({"step": step, "loss": losses.text});
                if let Some([order, answer]) = losses.interchange {
                    line["order_loss"] = order.into();
                    line["exchange_loss"] = answer.into();
                }
                writeln!(log, "{line}").context("cannot write metrics.jsonl")?;
            }
            if step == first + 20 {
                let minutes = start.elapsed().as_secs_f64() / 21.0 * (file.steps - first) as f64 / 60.0;
                output::note(&format!(
                    "pretrain: {} steps, about {minutes:.0} minutes",
                    file.steps - first
                ));
            }
            bar.inc(1);
            if trainer.steps_done().is_multiple_of(file.checkpoint_every) {
                trainer.save(&checkpoint)?;
            }
        }
        bar.finish_and_clear();
        tokenizer.save(&self.out)?;
        trainer.export(&self.out, tokenizer.bos())?;
        if checkpoint.exists() {
            std::fs::remove_file(&checkpoint).with_context(|| format!("cannot remove {}", checkpoint.display()))?;
        }
        Ok(())
    }
}
