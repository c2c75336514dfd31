//! The bench: a synthetic model, autoencoders that are trained on its activations, and what they found of its features.
//!
//! Shapes: `N` features, `F` latents, `D` width, `B` rows.

use std::collections::BTreeMap;

use artifacts::{rounded, sha256_hex};
use burn::tensor::Device;
use dictionaries::{Activation, Architecture, Autoencoder, Parameters, Variant};
use kernels::{from_vec, random};
use sae::{Checkpoints, Grid, Rows, Schedule, Split};
use serde_json::json;

use crate::Error;
use crate::config::{ModelSettings, SyntheticConfig};
use crate::dictionary::FeatureDictionary;
use crate::features::{FeatureLaw, FeatureRows};
use crate::matching_pursuit::{MatchingPursuit, MatchingPursuitSettings, MatchingPursuitTrainer};
use crate::metrics::{Truth, chance_mcc, mean, score, variance};
use crate::probe::Probes;
use crate::records::Records;
use crate::report::{Facts, Report, Row};

/// Seconds of a step of one autoencoder on two cores for each entry of a batch's codes and number of a row, where entries are
/// selected and where all of them are computed with; and of what does not grow with them.
const OF_SELECTED: f64 = 2.2e-11;
const OF_DENSE: f64 = 1.1e-10;
const OF_STEP: f64 = 5e-4;
/// Seconds to draw one feature of one row.
const OF_DRAW: f64 = 8e-9;
/// Seconds of an operation in making directions orthogonal.
const OF_OPERATION: f64 = 1.2e-11;
/// Operations for each pair of features and number of an activation: 100 steps of two products.
const ORTHOGONAL: f64 = 400.0;

/// A config and the records of what is finished.
#[derive(Debug)]
pub struct Bench<'a> {
    config: &'a SyntheticConfig,
    records: &'a Records,
}

/// What a run will cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Autoencoders.
    pub autoencoders: usize,
    /// Those that are not finished.
    pub unfinished: usize,
    /// Optimiser steps of those, probes included.
    pub steps: usize,
    /// Seconds on two cores, roughly.
    pub seconds: f64,
    /// Bytes of memory for the rows.
    pub bytes: f64,
}

/// What is not finished.
#[derive(Debug, Default)]
struct Missing {
    facts: bool,
    variants: Vec<Variant>,
    matching_pursuit: Vec<MatchingPursuitSettings>,
}

/// What a model gives.
struct Drawn {
    dictionary: FeatureDictionary,
    pool: FeatureRows,
    /// `[B, D]`
    pool_x: Vec<f32>,
    evaluation: FeatureRows,
    /// `[B, D]`
    evaluation_x: Vec<f32>,
}

impl Drawn {
    fn new(settings: &ModelSettings, device: &Device) -> Self {
        let law = FeatureLaw::new(settings.features, settings.roots, settings.seed);
        let dictionary = FeatureDictionary::new(settings.features, settings.width, settings.seed, device);
        let [pool, evaluation] = [("pool", settings.pool), ("evaluation", settings.evaluation)]
            .map(|(name, rows)| law.sample(rows, settings.seed, name));
        let [pool_x, evaluation_x] = [&pool, &evaluation].map(|rows| dictionary.activations(rows));
        Self {
            dictionary,
            pool,
            pool_x,
            evaluation,
            evaluation_x,
        }
    }

    fn truth(&self) -> Truth<'_> {
        Truth {
            dictionary: &self.dictionary,
            rows: &self.evaluation,
            x: &self.evaluation_x,
        }
    }
}

impl<'a> Bench<'a> {
    /// What `config` asks for, and what of it stands in `records`.
    pub fn new(config: &'a SyntheticConfig, records: &'a Records) -> Self {
        Self { config, records }
    }

    fn of_facts(&self) -> Result<String, Error> {
        let settings = json!({"model": self.config.model, "latents": self.config.n_latents()?, "aims": self.aims()});
        Ok(self.records.identity(&settings))
    }

    fn of_variant(&self, variant: &Variant) -> String {
        let settings = json!({"model": self.config.model, "train": self.config.train.settings(variant)});
        self.records.identity(&settings)
    }

    fn of_pursuit(&self, settings: &MatchingPursuitSettings) -> String {
        let train = &self.config.train;
        let of_all = json!([train.expansion, train.batch, train.steps, train.seed, train.held_out]);
        let settings = json!({"model": self.config.model, "train": of_all, "matching_pursuit": settings});
        self.records.identity(&settings)
    }

    /// The numbers of active latents that the config aims at, ascending.
    fn aims(&self) -> Vec<usize> {
        let of_variants = self
            .config
            .train
            .variants
            .iter()
            .filter_map(aim)
            .map(|aim| aim.round() as usize);
        let of_pursuit = self.config.matching_pursuit.iter().map(|settings| settings.k);
        let mut aims: Vec<usize> = of_variants.chain(of_pursuit).collect();
        aims.sort_unstable();
        aims.dedup();
        aims
    }

    fn missing(&self) -> Result<Missing, Error> {
        let mut missing = Missing {
            facts: self.records.read::<Facts>(FACTS, &self.of_facts()?)?.is_none(),
            ..Missing::default()
        };
        for variant in &self.config.train.variants {
            if self
                .records
                .read::<Row>(&variant.name, &self.of_variant(variant))?
                .is_none()
            {
                missing.variants.push(variant.clone());
            }
        }
        for settings in &self.config.matching_pursuit {
            if self
                .records
                .read::<Row>(&name(settings), &self.of_pursuit(settings))?
                .is_none()
            {
                missing.matching_pursuit.push(*settings);
            }
        }
        Ok(missing)
    }

    /// What is left to do, and what it costs.
    ///
    /// # Errors
    ///
    /// Records that cannot be read.
    pub fn cost(&self) -> Result<Cost, Error> {
        let missing = self.missing()?;
        let (model, train) = (&self.config.model, &self.config.train);
        let latents = self.config.n_latents()?;
        let unfinished = missing.variants.len() + missing.matching_pursuit.len();
        let size = (train.batch * latents) as f64 * model.width as f64;
        let step = |selects: bool| OF_STEP + size * if selects { OF_SELECTED } else { OF_DENSE };
        let of_variants: f64 = missing
            .variants
            .iter()
            .map(|variant| step(variant.architecture.k().is_some()))
            .sum();
        let of_pursuits = missing.matching_pursuit.len() as f64 * step(true) * 2.0;
        let probe_steps = if missing.facts { model.probe_steps } else { 0 };
        let (rows, features) = ((model.pool + model.evaluation) as f64, model.features as f64);
        let drawing = match unfinished > 0 || missing.facts {
            true => features * (rows * OF_DRAW + features * model.width as f64 * ORTHOGONAL * OF_OPERATION),
            false => 0.0,
        };
        Ok(Cost {
            autoencoders: train.variants.len() + self.config.matching_pursuit.len(),
            unfinished,
            steps: unfinished * train.steps + probe_steps,
            seconds: (of_variants + of_pursuits) * train.steps as f64 + probe_steps as f64 * step(true) + drawing,
            bytes: rows * (model.width * 4) as f64,
        })
    }

    /// Trains and measures what is not finished, and reports on everything; tells of optimiser steps, several at a time.
    ///
    /// # Errors
    ///
    /// Settings that do not fit the model; a loss that is not finite; files that cannot be read or written.
    pub fn run(&self, device: &Device, on_steps: &mut dyn FnMut(usize)) -> Result<Report, Error> {
        let missing = self.missing()?;
        if missing.facts || missing.variants.len() + missing.matching_pursuit.len() > 0 {
            let mut drawn = Drawn::new(&self.config.model, device);
            let chance = chance_mcc(
                self.config.n_latents()?,
                &drawn.dictionary,
                self.config.model.seed,
                device,
            );
            if missing.facts {
                self.measure_model(&drawn, chance, device, on_steps)?;
            }
            let rows = Rows {
                width: self.config.model.width,
                values: std::mem::take(&mut drawn.pool_x),
            };
            let split = Split::last(rows, BTreeMap::new(), self.config.train.held_out);
            for settings in &missing.matching_pursuit {
                self.pursue(settings, &split, &drawn, chance, device, on_steps)?;
            }
            if !missing.variants.is_empty() {
                self.train(missing.variants, split, &drawn, chance, device, on_steps)?;
            }
        }
        self.report()
    }

    fn report(&self) -> Result<Report, Error> {
        let facts = self.records.read(FACTS, &self.of_facts()?)?;
        let mut rows = Vec::new();
        for variant in &self.config.train.variants {
            rows.extend(self.records.read::<Row>(&variant.name, &self.of_variant(variant))?);
        }
        for settings in &self.config.matching_pursuit {
            rows.extend(self.records.read::<Row>(&name(settings), &self.of_pursuit(settings))?);
        }
        Ok(Report::new(self.config.model, facts, rows))
    }

    /// What can be said of the model without an autoencoder that was trained.
    fn measure_model(
        &self,
        drawn: &Drawn,
        chance: f64,
        device: &Device,
        on_steps: &mut dyn FnMut(usize),
    ) -> Result<(), Error> {
        let (model, latents) = (&self.config.model, self.config.n_latents()?);
        let truth = drawn.truth();
        let mean = mean(&drawn.pool_x, model.width);
        let random = self.aims().into_iter().map(|k| {
            let coder = random_rows(k.min(latents), latents, mean.clone(), model.seed, device);
            Row {
                kind: "random".to_owned(),
                aim: Some(k as f64),
                seed: model.seed,
                scores: score(&coder, &truth, chance, device),
            }
        });
        let random = random.collect();
        let probe_f1 = match model.probe_steps {
            0 => None,
            steps => {
                let probes = Probes::train(&drawn.pool_x, &drawn.pool, latents, steps, device, &mut || on_steps(1))?;
                Some(rounded(probes.f1(&truth, device)))
            }
        };
        let facts = Facts {
            l0: rounded(drawn.evaluation.l0()),
            closeness: rounded(drawn.dictionary.closeness(device)),
            chance_mcc: chance,
            oracle_variance: rounded(oracle(&truth, latents)),
            probe_f1,
            random,
        };
        self.records.write(FACTS, &self.of_facts()?, &facts)
    }

    fn pursue(
        &self,
        settings: &MatchingPursuitSettings,
        split: &Split,
        drawn: &Drawn,
        chance: f64,
        device: &Device,
        on_steps: &mut dyn FnMut(usize),
    ) -> Result<(), Error> {
        let train = &self.config.train;
        let (d, trained) = (
            split.inputs.width,
            &split.inputs.values[..split.trained * split.inputs.width],
        );
        let norms: f64 = trained
            .chunks_exact(d)
            .map(|row| f64::from(row.iter().map(|x| x * x).sum::<f32>()).sqrt())
            .sum();
        let scale = ((d as f64).sqrt() * split.trained as f64 / norms) as f32;
        let mean: Vec<f32> = mean(trained, d).into_iter().map(|x| x * scale).collect();
        let start = MatchingPursuit::new(settings.k, self.config.n_latents()?, mean, settings.seed, device);
        let mut trainer = MatchingPursuitTrainer::new(start);
        let schedule = Schedule {
            learning_rate: settings.learning_rate,
            ..train.schedule(&train.variants[0])
        };
        let mut order = activations::BatchOrder::new(split.trained, train.batch, train.seed)?;
        for step in 0..train.steps {
            let rows = order.batch(step);
            let of = |&row: &usize| trained[row * d..][..d].iter().map(|x| x * scale);
            let values: Vec<f32> = rows.iter().flat_map(of).collect();
            let loss = trainer.step(&from_vec(values, [rows.len(), d], device), schedule.learning_rate(step));
            if !loss.is_finite() {
                let (name, loss) = (name(settings), loss as f32);
                return Err(sae::Error::Diverged { name, step, loss }.into());
            }
            on_steps(1);
        }
        let model = trainer.model.unscaled(scale);
        let row = Row {
            kind: "matching-pursuit".to_owned(),
            aim: Some(settings.k as f64),
            seed: settings.seed,
            scores: score(&model, &drawn.truth(), chance, device),
        };
        self.records.write(&name(settings), &self.of_pursuit(settings), &row)
    }

    fn train(
        &self,
        variants: Vec<Variant>,
        split: Split,
        drawn: &Drawn,
        chance: f64,
        device: &Device,
        on_steps: &mut dyn FnMut(usize),
    ) -> Result<(), Error> {
        let train = &self.config.train;
        let members = variants.len();
        let identities: Vec<String> = variants.iter().map(|variant| self.of_variant(variant)).collect();
        let checkpoints = Checkpoints {
            dir: self.records.folder().join("checkpoints"),
            training: sha256_hex(identities.join(" ").as_bytes()),
            parent: self.of_facts()?,
        };
        let mut grid = Grid::new(split, variants, train, device)?;
        grid.resume(&checkpoints)?;
        on_steps(grid.steps_done() * members);
        while grid.steps_done() < train.steps {
            let before = grid.steps_done();
            grid.advance(train.steps, &mut |_, _| ())?;
            let done = grid.steps_done();
            on_steps((done - before) * members);
            if done.is_multiple_of(train.checkpoint_every) && done < train.steps {
                grid.save(&checkpoints)?;
            }
        }
        for finished in grid.finish()? {
            let variant = &finished.variant;
            let row = Row {
                kind: kind(variant),
                aim: aim(variant),
                seed: variant.seed,
                scores: score(&finished.model, &drawn.truth(), chance, device),
            };
            self.records.write(&variant.name, &self.of_variant(variant), &row)?;
        }
        Ok(checkpoints.remove()?)
    }
}

/// Name of the record of the model.
const FACTS: &str = "model";

/// Name of the record of a Matching Pursuit autoencoder.
fn name(settings: &MatchingPursuitSettings) -> String {
    format!("matching-pursuit-k{}-seed{}", settings.k, settings.seed)
}

/// The number of active latents that a variant aims at, where its settings say one.
fn aim(variant: &Variant) -> Option<f64> {
    match variant.architecture {
        Architecture::Jumprelu { l0, .. } => Some(l0),
        other => other.k().map(|k| k as f64).or(variant.l0),
    }
}

/// What all seeds and sparsities of a table of the config share: the name up to the first number that was appended to it.
fn kind(variant: &Variant) -> String {
    let name = variant.name.as_str();
    let name = name.strip_prefix("sae-").unwrap_or(name);
    let seed = format!("-seed{}", variant.seed);
    let name = name.strip_suffix(&seed).unwrap_or(name);
    match aim(variant) {
        Some(aim) => [format!("-k{aim}"), format!("-l0_{aim}")]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix.as_str()))
            .unwrap_or(name)
            .to_owned(),
        None => name.to_owned(),
    }
}

/// TopK of random rows: what an autoencoder is before it is trained.
fn random_rows(k: usize, latents: usize, mean: Vec<f32>, seed: u64, device: &Device) -> Autoencoder {
    let d = mean.len();
    let rows = random::unit_rows(&mut random::rng(seed, "synthetic/random"), latents, d);
    let parameters = Parameters {
        w_enc: from_vec(rows.clone(), [latents, d], device),
        b_enc: from_vec(vec![0.0; latents], [latents], device),
        w_dec: from_vec(rows, [latents, d], device),
        b_dec: from_vec(mean, [d], device),
        extra: Vec::new(),
    };
    Autoencoder::plain(Activation::Topk { k }, true, parameters)
}

/// Explained variance of the true activations of the `latents` most frequent features and the best constant.
fn oracle(truth: &Truth<'_>, latents: usize) -> f64 {
    let (rest, d) = (truth.rows.from_feature(latents as u32), truth.dictionary.width);
    1.0 - variance(&truth.dictionary.activations(&rest), d) / variance(truth.x, d)
}
