//! `saelab bench`: what the kernels reach on this machine, as JSON lines.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use dictionaries::Architecture;
use kernels::{
    Matrix, Precision, bf16_instruction_set, from_vec, gemm, instruction_set, is_cpu, matmul, random, to_vec,
};
use sae::{Batch, Grid, Outcome, Rows, Schedule, Split, Start, TrainConfig, TrainFile, Trainer};

use super::Context;
use super::bench_eval::BenchEval;
use super::bench_harvest::HarvestBench;
use super::bench_scan::ScanBench;
use super::bench_store::StoreBench;
use lab::ConfigError;
use lab::usage;

use crate::output;

/// Arguments of `saelab bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Dense matrix products: GFLOP/s of the kernel, of burn's own kernel, and in bf16
    Gemm {
        /// Timed repetitions; the fastest counts
        #[arg(long, default_value_t = 8)]
        repeats: usize,
    },
    /// The store: bytes per second and core, written to a folder in memory and read back as shuffled batches
    Store(StoreBench),
    /// The language model in a harvest: tokens per second, compared with its matrix products alone
    Harvest(HarvestBench),
    /// Contexts of all latents of a dictionary in one pass over a store: rows per second, and the share of each part
    Scan(ScanBench),
    /// Training steps: tokens per second and where the time goes, with AuxK idle
    Train(TrainBench),
    /// An evaluation, with forward passes that start at the intervention and with whole ones
    Eval(BenchEval),
    /// Steps of a grid of TopK autoencoders on one stream, compared with as many steps of a single one
    Grid {
        /// Autoencoders in the grid
        #[arg(long, default_value_t = 8)]
        members: usize,
        /// Timed steps of the grid
        #[arg(long, default_value_t = 5)]
        steps: usize,
    },
}

#[derive(Debug, clap::Args)]
struct TrainBench {
    /// relu, relu-april, p-anneal, gated, jumprelu, jumprelu-l0, jumprelu-tanh, topk, batch-topk or matryoshka
    #[arg(long)]
    arch: String,
    /// Width of an activation
    #[arg(long, default_value_t = 768)]
    d_in: usize,
    /// Number of latents; a list prints one line for each
    #[arg(long, default_value = "6144", value_delimiter = ',')]
    d_sae: Vec<usize>,
    /// Active latents per row; where the architecture does not select them, biases are set so that this is the mean
    #[arg(long, default_value = "32", value_delimiter = ',')]
    k: Vec<usize>,
    /// Activations per step
    #[arg(long, default_value_t = 4096)]
    batch: usize,
    /// Timed steps, after an untimed one
    #[arg(long, default_value_t = 20)]
    steps: usize,
    /// Type to which the factors of dense products are rounded: f32, bf16 or f16
    #[arg(long, default_value = "f32", value_parser = precision)]
    precision: Precision,
}

/// Shapes `[M, K] [K, N]` that are timed: encoder, decoder of a small dictionary, a layer of GPT-2 small.
const SHAPES: [[usize; 3]; 3] = [[1024, 768, 6144], [4096, 6144, 768], [2048, 768, 3072]];

impl Bench {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self.what {
            What::Gemm { repeats } => {
                for shape in SHAPES {
                    output::result(&bench_gemm(shape, repeats.max(1), context).to_string())?;
                }
                Ok(())
            }
            What::Grid { members, steps } => output::result(&bench_grid(members, steps, context)?.to_string()),
            What::Eval(bench) => output::result(&bench.measure(context)?.to_string()),
            What::Store(bench) => output::result(&bench.measure()?.to_string()),
            What::Scan(bench) => output::result(&bench.measure(context)?.to_string()),
            What::Harvest(bench) => output::result(&bench.measure(context)?.to_string()),
            What::Train(bench) => {
                for &d_sae in &bench.d_sae {
                    for &k in &bench.k {
                        output::result(&bench.measure(d_sae, k, context)?.to_string())?;
                    }
                }
                Ok(())
            }
        }
    }
}

fn bench_gemm([m, k, n]: [usize; 3], repeats: usize, context: &Context) -> serde_json::Value {
    let mut rng = random::rng(0, "bench/gemm");
    let (a, b) = (
        random::normal(&mut rng, m * k, 1.0),
        random::normal(&mut rng, k * n, 1.0),
    );
    let mut out = vec![0.0; m * n];
    let kernel = fastest(repeats, || gemm(&mut out, Matrix::rows(&a, k), Matrix::rows(&b, n)));
    let (a, b) = (
        from_vec(a, [m, k], &context.device),
        from_vec(b, [k, n], &context.device),
    );
    let burn = fastest(repeats, || drop(matmul(a.clone(), b.clone())));
    // Where the device has no numbers of bf16 there is nothing to time.
    let bf16 = Precision::Bf16
        .is_supported(&context.device)
        .then(|| fastest(repeats, || drop(Precision::Bf16.matmul(a.clone(), b.clone()))));
    let gflops = |seconds: f64| 2.0 * (m * k * n) as f64 / seconds / 1e9;
    serde_json::json!({
        "bench": "gemm", "instruction_set": instruction_set(), "m": m, "k": k, "n": n,
        "kernel_gflops": gflops(kernel), "burn_gflops": gflops(burn), "ratio": burn / kernel,
        "bf16_instruction_set": bf16_instruction_set(), "bf16_gflops": bf16.map(gflops), "bf16_ratio": bf16.map(|bf16| kernel / bf16),
    })
}

fn bench_grid(members: usize, steps: usize, context: &Context) -> anyhow::Result<serde_json::Value> {
    if members == 0 || steps == 0 {
        return Err(ConfigError("--members and --steps are at least 1".to_owned()).into());
    }
    let (width, rows, k) = (768, 16_384, 32);
    let file = serde_json::json!({
        "steps": 1000, "batch": 4096, "held_out": 0.0,
        "autoencoder": [{"architecture": "topk", "k": k, "seed": (0..members).collect::<Vec<_>>()}],
    });
    let config = TrainConfig::try_from(serde_json::from_value::<TrainFile>(file)?)?;
    let values = random::normal(&mut random::rng(0, "bench/grid"), rows * width, 1.0);
    let grid = |n: usize, values: Vec<f32>| {
        let variants = config.variants[..n].to_vec();
        let rows = Split::last(Rows { width, values }, BTreeMap::new(), config.held_out);
        Grid::new(rows, variants, &config, &context.device)
    };
    // Seconds of a step, the reading of its batch included, and the share of reading.
    let time = |mut grid: Grid, steps: usize| -> anyhow::Result<(f64, f64)> {
        // A GPU may still be at it when a step returns.
        let mut last: Option<Outcome> = None;
        let wait = |last: &Option<Outcome>| last.as_ref().map(Outcome::read).transpose();
        let step =
            |grid: &mut Grid, last: &mut Option<Outcome>| grid.step(&mut |_, outcome| *last = Some(outcome.clone()));
        step(&mut grid, &mut last)?;
        wait(&last)?;
        let (start, waited) = (Instant::now(), grid.waited());
        for _ in 0..steps {
            step(&mut grid, &mut last)?;
        }
        wait(&last)?;
        let seconds = start.elapsed().as_secs_f64();
        Ok((seconds / steps as f64, (grid.waited() - waited).as_secs_f64() / seconds))
    };
    let (single, _) = time(grid(1, values.clone())?, steps * members)?;
    let (together, waiting) = time(grid(members, values)?, steps)?;
    Ok(serde_json::json!({
        "bench": "grid", "members": members, "d_in": width, "d_sae": 8 * width, "k": k, "batch": config.batch,
        "single_step_s": single, "grid_step_s": together, "ratio": together / (single * members as f64),
        "waiting": waiting, "peak_mb": usage::peak_memory_mb(),
    }))
}

fn precision(name: &str) -> Result<Precision, serde_json::Error> {
    serde_json::from_value(name.into())
}

/// Seconds of the fastest of some runs.
fn fastest(repeats: usize, mut work: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..repeats).map(time).fold(f64::INFINITY, f64::min)
}

impl TrainBench {
    fn measure(&self, d_sae: usize, k: usize, context: &Context) -> anyhow::Result<serde_json::Value> {
        let architecture = self.architecture(k)?;
        if k > d_sae || self.batch == 0 || self.d_in == 0 || self.steps == 0 {
            return Err(
                ConfigError("--k is at most --d-sae; --batch, --d-in and --steps are at least 1".to_owned()).into(),
            );
        }
        if !self.precision.is_supported(&context.device) {
            let device = &context.device_name;
            return Err(ConfigError(format!("--precision: {device} does not multiply such numbers")).into());
        }
        let schedule = Schedule {
            steps: self.steps + 1,
            learning_rate: 1e-5,
            dead_after: usize::MAX,
            auxiliary_k: 0,
            auxiliary_weight: 0.0,
            resamples: 0,
            frozen_decoder: false,
            l0: None,
            anneal_k: 1.0,
            precision: self.precision,
        };
        let mut rng = random::rng(0, "bench/train");
        // Rows of mean norm root(d_in), as training scales them.
        let batches: Vec<Tensor<2>> = (0..4)
            .map(|_| random::normal(&mut rng, self.batch * self.d_in, 1.0))
            .map(|values| from_vec(values, [self.batch, self.d_in], &context.device))
            .collect();
        let start = Start {
            n_latents: d_sae,
            mean: vec![0.0; self.d_in],
            target_mean: None,
            seed: 0,
        };
        let mut trainer = Trainer::new(architecture, schedule, start, &context.device);
        if architecture.k().is_none() {
            let parameters = trainer.parameters_mut();
            let h = matmul(batches[0].clone(), parameters.w_enc.clone().transpose()); // [B, F]
            let threshold = match architecture {
                Architecture::Jumprelu { .. } | Architecture::JumpreluTanh { .. } => {
                    to_vec(parameters.extra[0].clone())[0]
                }
                _ => 0.0,
            };
            let bias = biases(&to_vec(h.transpose()), self.batch, k as f64 / d_sae as f64, threshold);
            parameters.b_enc = from_vec(bias, [d_sae], &context.device);
        }
        let batch = |step: usize| Batch {
            x: &batches[step % batches.len()],
            target: None,
        };
        trainer.step(batch(0))?.read()?;
        let (before, start, mut outcomes) = (trainer.times(), Instant::now(), Vec::new());
        for step in 0..self.steps {
            outcomes.push(trainer.step(batch(step))?);
        }
        // A GPU may still be at it.
        outcomes.last().map(Outcome::read).transpose()?;
        let (seconds, times) = (start.elapsed().as_secs_f64(), trainer.times());
        let reports = outcomes.iter().map(Outcome::read).collect::<Result<Vec<_>, _>>()?;
        let active: f64 = reports.iter().map(|report| f64::from(report.l0)).sum();
        // A GPU is only told what to do, so its parts of a step are not timed.
        let on_cpu = is_cpu(&context.device);
        let per_step =
            |now: Duration, before: Duration| on_cpu.then(|| (now - before).as_secs_f64() / self.steps as f64);
        Ok(serde_json::json!({
            "bench": "train", "device": context.device_name, "instruction_set": instruction_set(), "arch": architecture.name(), "d_in": self.d_in, "d_sae": d_sae, "k": k,
            "batch": self.batch, "steps": self.steps, "precision": self.precision, "l0": active / self.steps as f64,
            "tokens_per_s": (self.batch * self.steps) as f64 / seconds,
            "step_s": seconds / self.steps as f64,
            "encode_s": per_step(times.encode, before.encode),
            "select_s": per_step(times.select, before.select),
            "decode_s": per_step(times.decode, before.decode),
            "backward_s": per_step(times.backward, before.backward),
            "optimiser_s": per_step(times.optimiser, before.optimiser),
            "peak_mb": usage::peak_memory_mb(),
        }))
    }

    fn architecture(&self, k: usize) -> Result<Architecture, ConfigError> {
        let l0 = k as f64;
        Ok(match self.arch.as_str() {
            "relu" => Architecture::Relu { l1: 1.0 },
            "relu-april" => Architecture::ReluApril { l1: 1.0 },
            "p-anneal" => Architecture::PAnneal { l1: 1.0, p_end: 0.2 },
            "gated" => Architecture::Gated { l1: 1.0 },
            "jumprelu" => Architecture::Jumprelu { l0, bandwidth: 0.1 },
            "jumprelu-l0" => Architecture::JumpreluL0 {
                weight: 1.0,
                bandwidth: 0.1,
            },
            "jumprelu-tanh" => Architecture::JumpreluTanh {
                weight: 1.0,
                bandwidth: 0.1,
            },
            "topk" => Architecture::Topk { k },
            "batch-topk" => Architecture::BatchTopk { k },
            "matryoshka" => Architecture::Matryoshka { k, levels: 4 },
            other => {
                return Err(ConfigError(format!(
                    "--arch {other}: expected relu, relu-april, p-anneal, gated, jumprelu, jumprelu-l0, jumprelu-tanh, topk, batch-topk or \
                     matryoshka"
                )));
            }
        })
    }
}

/// Biases with which each latent exceeds `threshold` on a share `active` of the rows; `h` is `[F, B]` row by row.
fn biases(h: &[f32], rows: usize, active: f64, threshold: f32) -> Vec<f32> {
    let rank = ((rows as f64 * active).round() as usize).clamp(1, rows) - 1;
    h.chunks(rows)
        .map(|latent| {
            let mut sorted = latent.to_vec();
            let (_, quantile, _) = sorted.select_nth_unstable_by(rank, |a, b| b.total_cmp(a));
            threshold - quantile.next_down()
        })
        .collect()
}
