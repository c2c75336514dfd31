//! `saelab bench harvest`: how near a harvest comes to the speed of its matrix products.

use std::path::PathBuf;
use std::time::Instant;

use activations::{HarvestPlan, Source, harvest};
use kernels::{Half, Matrix, UsedAs, Weight, random};
use lm::{Dtype, HookPoint, Model, Spec};
use text::{Document, Packing, Tokenizer};

use lab::run_folder;

use super::Context;
use super::weights::WeightArgs;
use lab::ConfigError;
use lab::usage;

/// Arguments of `saelab bench harvest`.
#[derive(Debug, clap::Args)]
pub(crate) struct HarvestBench {
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled; by default random weights at GPT-2 small's sizes
    #[arg(long)]
    model: Option<PathBuf>,
    #[command(flatten)]
    weights: WeightArgs,
    /// The hook that is stored; by default the residual stream before the middle block, for GPT-2 small before block 8
    #[arg(long)]
    hook: Option<HookPoint>,
    /// Sequences per forward pass
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Tokens per sequence
    #[arg(long, default_value_t = 128)]
    context: usize,
    /// Forward passes per harvest
    #[arg(long, default_value_t = 3)]
    batches: usize,
    /// Timed harvests, after an untimed one, each followed by as many operations of the product; the fastest of each counts
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Folder for the store, removed at the end
    #[arg(long, default_value = "/dev/shm/saelab-bench-harvest")]
    dir: PathBuf,
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
        let start = Instant::now();
        let (model, middle) = self.model(context)?;
        let (load_seconds, load_peak_mb) = (start.elapsed().as_secs_f64(), usage::peak_memory_mb());
        let spec = model.spec().clone();
        let hook = self.hook.unwrap_or(HookPoint::ResidPre(middle));
        hook.check(&spec)?;
        anyhow::ensure!(
            hook.blocks_needed(&spec) > 0,
            "--hook {hook}: no block runs before it, so there are no products to compare with"
        );
        anyhow::ensure!(
            self.context <= spec.n_ctx,
            "--context {}: the model has {} positions",
            self.context,
            spec.n_ctx
        );
        // Words are invented: what they are makes no difference to the time.
        let pieces: Vec<String> = (b'a'..=b'z').map(|letter| format!(" {}", letter as char)).collect();
        let tokenizer = Tokenizer::word_level(&pieces)?;
        anyhow::ensure!(
            tokenizer.vocab_size() <= spec.d_vocab,
            "a vocabulary of {} tokens is too small for this measurement, which needs {}",
            spec.d_vocab,
            tokenizer.vocab_size()
        );
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
                hooks: vec![hook],
                shuffle: Some((16_384, 0)),
                ..HarvestPlan::for_nodes(&[], Source::Text(windows), self.batch, 4096)
            };
            let start = Instant::now();
            harvest(&model, &tokenizer, &plan, &self.dir.join(dir), &mut |_| ())?;
            Ok(start.elapsed().as_secs_f64())
        };
        run(1, "warm")?;
        let tokens = (self.batches * self.batch * self.context) as f64;
        let flops_per_token = hook.blocks_needed(&spec) as f64 * spec.block_flops();
        let mut product = Product::new([self.batch * self.context, spec.d_model, spec.d_mlp], model.dtype());
        let (mut seconds, mut gemm_rate) = (f64::INFINITY, 0.0_f64);
        for repeat in 0..self.repeats {
            seconds = run(self.batches, &repeat.to_string())?.min(seconds);
            gemm_rate = product.rate(tokens * flops_per_token).max(gemm_rate);
        }
        artifacts::remove_folder(&self.dir)?;
        let rate = tokens / seconds;
        Ok(serde_json::json!({
            "bench": "harvest", "model": self.model, "dtype": model.dtype(), "hook": hook, "batch": self.batch, "context": self.context,
            "tokens_per_s": rate, "gflops": rate * flops_per_token / 1e9, "gemm_gflops": gemm_rate / 1e9,
            "gemm_fastest_gflops": product.fastest / 1e9,
            "mflop_per_token": flops_per_token / 1e6, "gemm_ratio": rate * flops_per_token / gemm_rate,
            "product": product.shape, "load_s": load_seconds, "load_peak_mb": load_peak_mb,
            "peak_mb": usage::peak_memory_mb(),
        }))
    }

    /// The model, and the block before which it is read unless a hook is given.
    fn model(&self, context: &Context) -> anyhow::Result<(Model, usize)> {
        let Some(path) = &self.model else {
            let spec = Spec::gpt2(12, 12, 768, 1024, 50_257);
            return Ok((Model::hashed_in(spec, self.weights.dtype, &context.device), 8));
        };
        let model = run_folder::open_model(&run_folder::model_folder(path)?, self.weights.options(), context)?;
        let middle = model.spec().n_layer / 2;
        Ok((model, middle))
    }
}

/// The product of a batch with a matrix of the model's MLP, `[B T, D] [D, M]`, in the type of the model and in host memory.
struct Product {
    shape: [usize; 3],
    a: Vec<f32>,
    b: Weight,
    out: Vec<f32>,
    /// Operations a second of the fastest single product so far.
    fastest: f64,
}

impl Product {
    fn new(shape: [usize; 3], dtype: Dtype) -> Self {
        let [m, k, n] = shape;
        let mut rng = random::rng(0, "bench/gemm");
        let (a, b) = (
            random::normal(&mut rng, m * k, 1.0),
            random::normal(&mut rng, k * n, 1.0),
        );
        let in_halves = |half: Half| {
            let bits = b.iter().map(|number| half.narrow(*number)).collect();
            Weight::of_halves(half, bits, [k, n], UsedAs::Layer, &kernels::cpu())
        };
        let b = match dtype {
            Dtype::F32 => kernels::from_vec::<2>(b, [k, n], &kernels::cpu()).into(),
            Dtype::Bf16 => in_halves(Half::Bf16),
            Dtype::F16 => in_halves(Half::F16),
        };
        Self {
            shape,
            a,
            b,
            out: Vec::new(),
            fastest: 0.0,
        }
    }

    /// Operations a second over as many products as make up `flops`: the machine's other users slow them as much as a harvest
    /// of the same length, which the fastest of a few short products escapes.
    fn rate(&mut self, flops: f64) -> f64 {
        let [m, k, n] = self.shape;
        let each = 2.0 * (m * k * n) as f64;
        let times = (flops / each).ceil();
        let mut total = 0.0;
        for _ in 0..times as usize {
            let start = Instant::now();
            self.b.multiply_over(&mut self.out, Matrix::rows(&self.a, k));
            let seconds = start.elapsed().as_secs_f64();
            self.fastest = self.fastest.max(each / seconds);
            total += seconds;
        }
        times * each / total
    }
}
