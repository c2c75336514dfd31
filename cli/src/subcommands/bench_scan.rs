//! `saelab bench scan`: contexts of all latents of a dictionary in one pass over a store, and where the time goes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use activations::store::{HookShape, Layout, Provenance, Row, Shuffle};
use activations::{Part, Store, StoreWriter, StoredDtype};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use explain::latents::{ROWS, ScanConfig, scan};
use kernels::{from_vec, look_at, matmul, random, to_vec};
use lm::HookPoint;

use super::Context;
use lab::ConfigError;
use lab::usage;

/// Rows of a push.
const PUSH: usize = 2048;

/// Arguments of `saelab bench scan`.
#[derive(Debug, clap::Args)]
pub(crate) struct ScanBench {
    /// Vectors in the store
    #[arg(long, default_value_t = 500_000)]
    rows: usize,
    /// Width of a vector
    #[arg(long, default_value_t = 128)]
    width: usize,
    /// Latents of the dictionary
    #[arg(long, default_value_t = 10_000)]
    latents: usize,
    /// Active latents per row, on average
    #[arg(long, default_value_t = 32)]
    k: usize,
    /// Folder for the store, removed at the end
    #[arg(long, default_value = "/dev/shm/saelab-bench-scan")]
    dir: PathBuf,
}

impl ScanBench {
    pub(super) fn measure(&self, context: &Context) -> anyhow::Result<serde_json::Value> {
        if self.rows < PUSH || self.width == 0 || self.k == 0 || self.k > self.latents {
            return Err(ConfigError(format!(
                "--rows must be at least {PUSH}, --width at least 1, --k from 1 to --latents"
            ))
            .into());
        }
        anyhow::ensure!(
            !self.dir.exists(),
            "{} exists already; choose another --dir",
            self.dir.display()
        );
        let hook = HookPoint::ResidPre(0);
        self.write(hook)?;
        let store = Store::open(&self.dir)?;
        let mut rng = random::rng(0, "bench/scan/encoder");
        let encoder = random::unit_rows(&mut rng, self.latents, self.width);
        let encoder = from_vec(encoder, [self.latents, self.width], &context.device).transpose(); // [D, F]
        let threshold = self.threshold(&encoder, context);
        let encode = |vectors: Tensor<2>, _: &[Row]| relu(matmul(vectors, encoder.clone()).sub_scalar(threshold)); // [B, F]
        let config = ScanConfig {
            hook,
            head: None,
            role: None,
            contexts: 80,
            probes: 400,
            seed: 0,
        };
        let alone = read_and_encode(&store, hook, &encode, context)?;
        let bar = context.bar("scan", self.rows);
        let begun = Instant::now();
        let found = scan(&store, &config, None, &encode, &context.device, &mut |rows| {
            bar.inc(rows as u64)
        })?;
        let wall = begun.elapsed().as_secs_f64();
        bar.finish_and_clear();
        artifacts::remove_folder(&self.dir)?;
        let active: u64 = found.latents.iter().flat_map(|latent| latent.active).sum();
        let time = found.time;
        let (read, encode, keep) = (
            time.read.as_secs_f64(),
            time.encode.as_secs_f64(),
            time.keep.as_secs_f64(),
        );
        Ok(serde_json::json!({
            "bench": "scan", "rows": found.rows, "width": self.width, "latents": self.latents, "active_per_row": active as f64 / found.rows as f64,
            "wall_s": wall, "read_s": read, "encode_s": encode, "keep_s": keep, "read_and_encode_alone_s": alone, "of_alone": wall / alone,
            "rows_per_s": found.rows as f64 / wall, "peak_mb": usage::peak_memory_mb(),
        }))
    }

    fn write(&self, hook: HookPoint) -> anyhow::Result<()> {
        let layout = Layout {
            provenance: Provenance {
                model_hash: "bench".to_owned(),
                tokenizer_hash: "bench".to_owned(),
                settings: serde_json::json!("bench"),
            },
            hooks: BTreeMap::from([(
                hook,
                HookShape {
                    width: self.width,
                    heads: None,
                },
            )]),
            dtype: StoredDtype::F32,
            rows: self.rows,
            rows_per_shard: 65_536,
            shuffle: Some(Shuffle { shards: 4, seed: 0 }),
            roles: Vec::new(),
        };
        let mut rng = random::rng(0, "bench/scan/vectors");
        let mut writer = StoreWriter::create(&self.dir, layout, &Vec::new(), Part::WHOLE, &mut |_| ())?;
        for start in (0..self.rows).step_by(PUSH) {
            let n = PUSH.min(self.rows - start);
            let row = |index: usize| Row {
                row: (index / 127) as u32,
                document: (index / 500) as u32,
                position: (index % 127) as u32 + 1,
                ..Row::default()
            };
            let origins: Vec<Row> = (start..start + n).map(row).collect();
            writer.push(hook, start, &origins, &random::normal(&mut rng, n * self.width, 1.0))?;
        }
        writer.finish()?;
        Ok(())
    }

    /// What is taken off the scores so that `k` are left of a row in the mean.
    fn threshold(&self, encoder: &Tensor<2>, context: &Context) -> f32 {
        let rows = 64;
        let vectors = random::normal(&mut random::rng(1, "bench/scan/vectors"), rows * self.width, 1.0);
        let mut scores = to_vec(matmul(
            from_vec(vectors, [rows, self.width], &context.device),
            encoder.clone(),
        )); // [B * F]
        scores.sort_by(|a, b| b.total_cmp(a));
        scores[rows * self.k - 1]
    }
}

/// Seconds of reading a store and encoding it, without looking at the codes.
fn read_and_encode(
    store: &Store,
    hook: HookPoint,
    encode: &dyn Fn(Tensor<2>, &[Row]) -> Tensor<2>,
    context: &Context,
) -> anyhow::Result<f64> {
    let begun = Instant::now();
    for shard in 0..store.manifest().hooks[&hook].shards.len() {
        let found = store.shards_of(hook, None, &BTreeSet::from([shard]))?;
        for (rows, values) in found.rows.chunks(ROWS).zip(found.values.chunks(ROWS * found.width)) {
            let vectors = from_vec(values.to_vec(), [rows.len(), found.width], &context.device); // [B, D]
            look_at(&encode(vectors, rows), |_| ()); // [B, F]
        }
    }
    Ok(begun.elapsed().as_secs_f64())
}
