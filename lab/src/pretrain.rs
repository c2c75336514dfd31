//! `saelab pretrain`: trains tokenizer and language model on the written world.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use lm::Spec;
use lm::interchange::Interchange;
use lm::train::{PretrainConfig, Pretrainer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tasks::world::{World, order_pairs, token_batch};
use text::Tokenizer;

use crate::error::WithContext as _;
use crate::interrupt::Watch;
use crate::metrics::Metrics;
use crate::{ConfigError, ConfigFile, Context, Result};

/// The folder's [`Record`].
const RECORD: &str = "pretrain.json";
const CHECKPOINT: &str = "checkpoint.safetensors";
const METRICS: &str = "metrics.jsonl";
/// The files of the model, which are its result.
const MODEL: [&str; 4] = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
];

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Config, for example configs/pretrain/small-world.toml.
    pub config: ConfigFile,
    /// Folder for the model in Hugging Face layout.
    pub out: PathBuf,
    /// Continue from the last checkpoint in the output folder.
    pub resume: bool,
    /// Begin even where the output folder holds something else; a model there stays until the new one is whole.
    pub replace: bool,
}

/// The most blocks and parameters of a model; one of more could not be trained here, and would end for want of memory.
const MOST_BLOCKS: usize = 1000;
const MOST_PARAMETERS: f64 = 1e10;

/// What the folder says of its training: written when that begins, and again when it is finished.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Record {
    settings: Value,
    /// SHA-256 of each file of the model, once all are whole.
    finished: Option<BTreeMap<String, String>>,
}

/// Where a training is.
enum Stage {
    New,
    Begun,
    Finished,
}

/// Size and training of a small model of the written world; every key but `interchange` is required.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct PretrainFile {
    /// Number of blocks; 4 are enough for every behaviour.
    n_layer: usize,
    /// Number of heads of a block.
    n_head: usize,
    /// Width of the residual stream.
    d_model: usize,
    /// Tokens of a training row, which is also the number of positions of the model.
    context: usize,
    /// Training rows of a batch.
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
    /// Has the model find the indirect object by the order of the names; without, it finds it by name alone.
    /// Default: not trained.
    interchange: Option<InterchangeFile>,
}

/// Interchange intervention training on pairs of indirect-object prompts, which the order of the names is exchanged between.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct InterchangeFile {
    /// The residual stream at the last token before this block says the order and nothing else of the names.
    layer: usize,
    /// The residual stream at the repeated name before this block says the order, on its way to the last token.
    clue_layer: usize,
    /// Pairs of a step from one of the task's templates; as many more are from another frame.
    pairs: usize,
    /// Weight of the two losses of the order along a fixed direction; that of the text is 1. Pairs are few, so that with as much
    /// weight their noise keeps the text from being learned.
    order_weight: f64,
    /// Weight of the loss of the answers after an exchange.
    exchange_weight: f64,
    /// First step at which the exchange counts: when the order is known, or there is nothing to exchange; and before the text has
    /// taught to find the indirect object by name, or there is no need to.
    exchange_from: usize,
}

impl PretrainFile {
    /// Reads and checks a config.
    fn read(file: &ConfigFile) -> Result<Self, ConfigError> {
        file.read::<Self>()?.validate().map_err(|reason| file.refused(reason))
    }

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
        // Of the blocks alone; a model of text of the written world needs a millionth of it.
        let parameters = 12.0 * self.n_layer as f64 * (self.d_model as f64).powi(2);
        if self.n_layer > MOST_BLOCKS || parameters > MOST_PARAMETERS {
            return Err(ConfigError(format!(
                "`n_layer` ({}) and `d_model` ({}) ask for a model of more than {MOST_BLOCKS} blocks or {MOST_PARAMETERS:e} parameters",
                self.n_layer, self.d_model
            )));
        }
        let weights = self.interchange.as_ref();
        let weights = weights.map_or([0.0; 2], |file| [file.order_weight, file.exchange_weight]);
        for (name, value, least) in [
            ("learning_rate", self.learning_rate, f64::MIN_POSITIVE),
            ("clip_norm", self.clip_norm, f64::MIN_POSITIVE),
            ("init_std", f64::from(self.init_std), f64::MIN_POSITIVE),
            ("weight_decay", self.weight_decay, 0.0),
            ("interchange.order_weight", weights[0], 0.0),
            ("interchange.exchange_weight", weights[1], 0.0),
        ] {
            if !(value.is_finite() && value >= least) {
                let bound = if least > 0.0 { "above 0" } else { "at least 0" };
                return Err(ConfigError(format!("`{name}` is {value}, must be {bound}")));
            }
        }
        if !self.d_model.is_multiple_of(self.n_head) {
            let (d, h) = (self.d_model, self.n_head);
            return Err(ConfigError(format!(
                "`d_model` ({d}) must be a multiple of `n_head` ({h})"
            )));
        }
        if let Some(file) = &self.interchange {
            for (name, layer) in [("layer", file.layer), ("clue_layer", file.clue_layer)] {
                if layer >= self.n_layer {
                    return Err(ConfigError(format!(
                        "`interchange.{name}` is {layer}, must be below `n_layer` ({})",
                        self.n_layer
                    )));
                }
            }
        }
        Ok(self)
    }

    /// The pairs of a step.
    fn interchange(&self, world: &World, tokenizer: &Tokenizer, step: usize) -> Result<Option<Interchange>> {
        let Some(file) = &self.interchange else {
            return Ok(None);
        };
        Ok(Some(Interchange {
            layer: file.layer,
            clue_layer: file.clue_layer,
            bit_weight: file.order_weight,
            answer_weight: if step < file.exchange_from {
                0.0
            } else {
                file.exchange_weight
            },
            groups: order_pairs(world, tokenizer, self.seed, step, file.pairs)?,
        }))
    }

    fn train_config(&self) -> PretrainConfig {
        PretrainConfig {
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

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<()> {
        let file = PretrainFile::read(&self.config)?;
        let world = World::new();
        let tokenizer = Tokenizer::word_level(&world.pieces())?;
        if file.interchange.is_some() {
            let longest = longest_pair(&world, &tokenizer)?;
            if longest > file.context {
                let reason = format!(
                    "`context` is {}, but prompts of `[interchange]` have up to {longest} tokens",
                    file.context
                );
                return Err(self.config.refused(reason).into());
            }
        }
        let model = Spec::gpt2(
            file.n_layer,
            file.n_head,
            file.d_model,
            file.context,
            tokenizer.vocab_size(),
        );
        let checkpoint = self.out.join(CHECKPOINT);
        let device = &context.device;
        // Through text, as those of a record: reading a number may move its last bit.
        let settings: Value = serde_json::from_str(&serde_json::to_string(&file)?)?;
        let identity = artifacts::sha256_hex(settings.to_string().as_bytes());
        let mut record = Record {
            settings,
            finished: None,
        };
        let mut trainer = match self.stage(&record.settings)? {
            Stage::Finished => {
                let out = self.out.display();
                context.note(&format!("pretrain: {out} is finished; --replace trains it again"));
                return Ok(());
            }
            Stage::Begun => Pretrainer::resume(file.train_config(), model, &checkpoint, &identity, device)?,
            Stage::New => {
                artifacts::remove_file(&checkpoint)?;
                artifacts::write_json(&self.out.join(RECORD), &record)?;
                Pretrainer::new(file.train_config(), model, device)
            }
        };
        let cannot_write = || format!("cannot write {}", self.out.join(METRICS).display());
        let mut metrics = Metrics::open(&self.out, trainer.steps_done()).with_context(cannot_write)?;

        let bar = context.bar("pretrain", file.steps);
        bar.set_position(trainer.steps_done() as u64);
        let (start, first) = (Instant::now(), trainer.steps_done());
        let watch = Watch::new();
        while trainer.steps_done() < file.steps {
            let step = trainer.steps_done();
            let batch = token_batch(&world, &tokenizer, file.seed, step, file.batch, file.context + 1)?;
            let interchange = file.interchange(&world, &tokenizer, step)?;
            let losses = trainer.step(&batch, interchange.as_ref())?;
            if step % 20 == 0 || step + 1 == file.steps {
                let mut numbers = Map::new();
                numbers.insert("step".to_owned(), step.into());
                numbers.insert("loss".to_owned(), losses.text.into());
                if let Some([clue, order, answer]) = losses.interchange {
                    numbers.insert("clue_loss".to_owned(), clue.into());
                    numbers.insert("order_loss".to_owned(), order.into());
                    numbers.insert("exchange_loss".to_owned(), answer.into());
                }
                metrics.write(step, &numbers).with_context(cannot_write)?;
                self.is_still_there(&record)?;
            }
            if step == first + 20 {
                let minutes = start.elapsed().as_secs_f64() / 21.0 * (file.steps - first) as f64 / 60.0;
                context.note(&format!(
                    "pretrain: {} steps, about {minutes:.0} minutes",
                    file.steps - first
                ));
            }
            bar.inc(1);
            if trainer.steps_done().is_multiple_of(file.checkpoint_every) {
                trainer.save(&checkpoint, &identity)?;
                self.is_still_there(&record)?;
            }
            if watch.is_requested() {
                trainer.save(&checkpoint, &identity)?;
                bar.finish_and_clear();
                bail!(
                    "interrupted; the checkpoint of step {} is in {}, run the same command again with --resume",
                    trainer.steps_done(),
                    self.out.display()
                );
            }
        }
        drop(watch);
        bar.finish_and_clear();
        self.is_still_there(&record)?;
        tokenizer.save(&self.out)?;
        let bos = tokenizer
            .bos()
            .context("the tokenizer of the world has no token that begins a text")?;
        trainer.export(&self.out, bos)?;
        self.is_still_there(&record)?;
        let hash = |name: &str| Ok((name.to_owned(), artifacts::sha256_file(&self.out.join(name))?));
        record.finished = Some(MODEL.into_iter().map(hash).collect::<Result<_, artifacts::Error>>()?);
        artifacts::write_json(&self.out.join(RECORD), &record)?;
        self.is_still_there(&record)?;
        Ok(artifacts::remove_file(&checkpoint)?)
    }

    /// Finds out where the training of these settings is. What they did not make is neither continued nor replaced.
    fn stage(&self, settings: &Value) -> Result<Stage> {
        let (path, out) = (self.out.join(RECORD), self.out.display());
        if self.replace {
            return Ok(Stage::New);
        }
        if !path
            .try_exists()
            .with_context(|| format!("cannot look for {}", path.display()))?
        {
            let files = [CHECKPOINT, METRICS, "model.safetensors.index.json"];
            let other = MODEL.into_iter().chain(files).find(|name| self.out.join(name).exists());
            return match other {
                None => Ok(Stage::New),
                Some(name) => bail!(
                    "{out}: {name} is there, and no {RECORD} that says how it was made; name another folder with --out, or \
                     --replace it when the new model is whole"
                ),
            };
        }
        let record: Record = artifacts::read_json(&path).context("--replace begins the training again")?;
        let differences = artifacts::json_differences(&record.settings, settings);
        ensure!(
            differences.is_empty(),
            "{}: the model there is of other settings ({}); name another folder with --out, or --replace it when the new \
             model is whole",
            path.display(),
            differences.join("; ")
        );
        if let Some(files) = record.finished {
            for (name, expected) in &files {
                let path = self.out.join(name);
                let found = path.exists().then(|| artifacts::sha256_file(&path)).transpose()?;
                ensure!(
                    found.as_ref() == Some(expected),
                    "{}: it is not the file that this training ended with (missing, cut or changed); copy it back, or \
                     --replace trains the model again",
                    path.display()
                );
            }
            return Ok(Stage::Finished);
        }
        if !self.out.join(CHECKPOINT).exists() {
            return Ok(Stage::New);
        }
        ensure!(
            self.resume,
            "{out}: this training is begun there; --resume continues from its checkpoint, --replace begins it again"
        );
        Ok(Stage::Begun)
    }

    /// Refuses to go on when the folder was removed, or is another's now: what is written after that belongs to nothing.
    fn is_still_there(&self, record: &Record) -> Result<()> {
        let found: Option<Record> = artifacts::read_json(&self.out.join(RECORD)).ok();
        ensure!(
            found.is_some_and(|found| found.settings == record.settings) && self.out.join(METRICS).exists(),
            "{}: the folder or files in it were removed or replaced while the training ran, so its result would not be whole; \
             run it again with --replace",
            self.out.display()
        );
        Ok(())
    }
}

/// Tokens of the longest prompt whose order of names is exchanged; so many draws show every frame with every opener.
fn longest_pair(world: &World, tokenizer: &Tokenizer) -> Result<usize> {
    let mut longest = 0;
    for step in 0..500 {
        let pairs = order_pairs(world, tokenizer, 0, step, 1)?;
        let lengths = pairs
            .iter()
            .flatten()
            .flat_map(|pair| [pair.source.len(), pair.base.len()]);
        longest = lengths.fold(longest, usize::max);
    }
    Ok(longest)
}
