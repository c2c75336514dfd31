//! `saelab bench harvest`: how near a harvest comes to the speed of its matrix products.

use std::time::Instant;

use activations::{Document, HarvestPlan, Packing, Source, harvest};
use kernels::{Matrix, gemm, random};
use lm::{HookPoint, Model, Spec, Tokenizer, files};

use super::Context;
use crate::config::ConfigError;
use crate::output;

/// Arguments of `saelab bench harvest`.
#[derive(Debug, clap::Args)]
pub(crate) struct HarvestBench {
    /// The hook that is stored
    #[arg(long, default_value = "blocks.8.hook_resid_pre")]
    hook: HookPoint,
    /// Sequences of a forward pass
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Tokens of a sequence
    #[arg(long, default_value_t = 128)]
    context: usize,
    /// Forward passes of a harvest
    #[arg(long, default_value_t = 3)]
    batches: usize,
    /// Timed harvests, after one that is not, each followed by as many operations of the product; of both the fastest counts
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Folder for the store, removed in the end
    #[arg(long, default_value = "/dev/shm/saelab-bench-harvest")]
    dir: std::path::PathBuf,
}

impl HarvestBench {
    pub(super) fn measure(&self, context: &Context) -> anyhow::Result<serde_json::Value> {
        if self.batch == 0 || self.batches == 0 || self.repeats == 0 || self.context < 2 {
            return Err(ConfigError(
                "--batch, --batches and --repeats are at least 1, --context at least 2".to_owned(),
            )
            .into());
        }
        anyhow::ensure!(
            !self.dir.exists(),
            "{} exists already; choose another --dir",
            self.dir.display()
        );
        // The sizes of GPT-2 small; weights and words are invented.
        let config = Spec::gpt2(12, 12, 768, 1024, 50_257);
        let model = Model::hashed(config.clone(), &context.device);
        let pieces: Vec<String> = (b'a'..=b'z').map(|letter| format!(" {}", letter as char)).collect();
        let tokenizer = Tokenizer::word_level(&pieces)?;
        let mut rng = random::rng(0, "bench/harvest");
        let mut document = || -> String {
            let letters = random::normal(&mut rng, self.context - 1, 4.0).into_iter();
            letters
                .map(|x| pieces[x.abs() as usize % pieces.len()].as_str())
                .collect()
        };
        let mut run = |batches: usize, dir: &str| -> anyhow::Result<f64> {
            let documents: Vec<_> = (0..batches * self.batch).map(|_| document()).collect();
            let windows = Packing::documents(self.context).spooled_windows(
                Document::made(documents).map(Ok),
                &tokenizer,
                &self.dir,
            )?;
            let plan = HarvestPlan {
                hooks: vec![self.hook],
                shuffle: Some((16_384, 0)),
                ..HarvestPlan::for_nodes(&[], Source::Text(windows), self.batch, 4096)
            };
            let start = Instant::now();
            harvest(&model, &tokenizer, &plan, &self.dir.join(dir), &mut |_| ())?;
            Ok(start.elapsed().as_secs_f64())
        };
        run(1, "warm")?;
        let tokens = (self.batches * self.batch * self.context) as f64;
        let flops_per_token = self.hook.blocks_needed(&config) as f64 * config.block_flops();
        let mut product = Product::new();
        let (mut seconds, mut gemm_rate) = (f64::INFINITY, 0.0_f64);
        for repeat in 0..self.repeats {
            seconds = run(self.batches, &repeat.to_string())?.min(seconds);
            gemm_rate = product.rate(tokens * flops_per_token).max(gemm_rate);
        }
        files::remove_folder(&self.dir)?;
        let rate = tokens / seconds;
        Ok(serde_json::json!({
            "bench": "harvest", "hook": self.hook, "batch": self.batch, "context": self.context,
            "tokens_per_s": rate, "gflops": rate * flops_per_token / 1e9, "gemm_gflops": gemm_rate / 1e9,
            "gemm_fastest_gflops": product.fastest / 1e9,
            "mflop_per_token": flops_per_token / 1e6, "gemm_ratio": rate * flops_per_token / gemm_rate,
            "peak_mb": output::peak_memory_mb(),
        }))
    }
}

/// The product `[2048, 768] [768, 3072]` of `saelab bench gemm`.
struct Product {
    a: Vec<f32>,
    b: Vec<f32>,
    out: Vec<f32>,
    /// Operations a second of the fastest single product so far.
    fastest: f64,
}

impl Product {
    const SHAPE: [usize; 3] = [2048, 768, 3072];

    fn new() -> Self {
        let [m, k, n] = Self::SHAPE;
        let mut rng = random::rng(0, "bench/gemm");
        Self {
            a: random::normal(&mut rng, m * k, 1.0),
            b: random::normal(&mut rng, k * n, 1.0),
            out: vec![0.0; m * n],
            fastest: 0.0,
        }
    }

    /// Operations a second over as many products as make up `flops`: the machine's other users slow them as much as a harvest
    /// of the same length, which the fastest of a few short products escapes.
    fn rate(&mut self, flops: f64) -> f64 {
        let [m, k, n] = Self::SHAPE;
        let each = 2.0 * (m * k * n) as f64;
        let times = (flops / each).ceil();
        let mut total = 0.0;
        for _ in 0..times as usize {
            let start = Instant::now();
            gemm(&mut self.out, Matrix::rows(&self.a, k), Matrix::rows(&self.b, n));
            let seconds = start.elapsed().as_secs_f64();
            self.fastest = self.fastest.max(each / seconds);
            total += seconds;
        }
        times * each / total
    }
}
