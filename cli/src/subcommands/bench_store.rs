//! `saelab bench store`: how fast the store is written and read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use activations::store::{HookShape, Layout, Provenance, Row, Shuffle};
use activations::{Part, Store, StoreWriter, StoredDtype, Stream, StreamConfig};
use anyhow::Context as _;
use kernels::random;
use lm::HookPoint;

use lab::ConfigError;
use lab::usage;

/// Rows of a push: what a forward pass of 16 sequences of 128 tokens gives.
const PUSH: usize = 2048;

/// Arguments of `saelab bench store`.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreBench {
    /// Megabytes of vectors
    #[arg(long, default_value_t = 2000)]
    megabytes: usize,
    /// Width of a vector
    #[arg(long, default_value_t = 768)]
    width: usize,
    /// Type of the stored numbers
    #[arg(long, value_enum, default_value = "f16")]
    dtype: Type,
    /// Rows per batch that is read
    #[arg(long, default_value_t = 4096)]
    batch: usize,
    /// Folder for the store, removed at the end; one in memory measures the program rather than the disk
    #[arg(long, default_value = "/dev/shm/saelab-bench-store")]
    dir: PathBuf,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Type {
    F32,
    F16,
    Bf16,
}

impl StoreBench {
    pub(super) fn measure(&self) -> anyhow::Result<serde_json::Value> {
        let dtype = match self.dtype {
            Type::F32 => StoredDtype::F32,
            Type::F16 => StoredDtype::F16,
            Type::Bf16 => StoredDtype::Bf16,
        };
        let row_bytes = self.width * dtype.size();
        let rows = (self.megabytes * 1_000_000).checked_div(row_bytes).unwrap_or(0);
        if rows < self.batch.max(1) {
            return Err(ConfigError("--megabytes: less than one batch; raise it, or --width is 0".to_owned()).into());
        }
        anyhow::ensure!(
            !self.dir.exists(),
            "{} exists already; choose another --dir",
            self.dir.display()
        );
        let hook = HookPoint::ResidPre(8);
        let shape = HookShape {
            width: self.width,
            heads: None,
        };
        let layout = Layout {
            provenance: Provenance {
                model_hash: "bench".to_owned(),
                tokenizer_hash: "bench".to_owned(),
                settings: serde_json::json!("bench"),
            },
            hooks: BTreeMap::from([(hook, shape)]),
            dtype,
            rows,
            rows_per_shard: 16_384,
            shuffle: Some(Shuffle { shards: 4, seed: 0 }),
            roles: Vec::new(),
        };
        let values = random::normal(&mut random::rng(0, "bench/store"), PUSH * self.width, 1.0);
        let mut writer = StoreWriter::create(&self.dir, layout, &Vec::new(), Part::WHOLE, &mut |_| ())?;
        let clock = Clock::start()?;
        for start in (0..rows).step_by(PUSH) {
            let n = PUSH.min(rows - start);
            let row = |index: usize| Row {
                row: (index / 127) as u32,
                document: (index / 500) as u32,
                position: (index % 127) as u32 + 1,
                token: (index * 7919 % 50_257) as u32,
                ..Row::default()
            };
            let origins: Vec<Row> = (start..start + n).map(row).collect();
            writer.push(hook, start, &origins, &values[..n * self.width])?;
        }
        writer.finish()?;
        let (write_wall, write_core) = clock.seconds()?;

        let store = Store::open(&self.dir)?;
        let mut stream = Stream::new(&store, StreamConfig::of(hook, None, self.batch, 0))?;
        let (clock, mut sum) = (Clock::start()?, 0.0_f64);
        for _ in 0..rows / self.batch {
            sum += f64::from(stream.next_batch()?.values[0][0]);
        }
        let (read_wall, read_core) = clock.seconds()?;
        let throughput = stream.throughput();
        drop(stream);
        artifacts::remove_folder(&self.dir)?;
        let bytes = (rows * row_bytes) as f64;
        Ok(serde_json::json!({
            "bench": "store", "dtype": dtype, "width": self.width, "rows": rows, "batch": self.batch, "bytes": bytes,
            "write_bytes_per_s": bytes / write_core, "write_wall_s": write_wall,
            "read_bytes_per_s": throughput.stored as f64 / read_core, "read_wall_s": read_wall,
            "reader_busy_s": throughput.busy.as_secs_f64(), "reader_waited_s": throughput.waited.as_secs_f64(),
            "peak_mb": usage::peak_memory_mb(), "sum": sum,
        }))
    }
}

/// Seconds by the wall and by the processor.
struct Clock {
    start: Instant,
    processor: f64,
}

impl Clock {
    fn start() -> anyhow::Result<Self> {
        let processor = usage::processor_seconds().context("the system does not tell processor time")?;
        Ok(Self {
            start: Instant::now(),
            processor,
        })
    }

    fn seconds(&self) -> anyhow::Result<(f64, f64)> {
        let processor = usage::processor_seconds().context("the system does not tell processor time")?;
        Ok((
            self.start.elapsed().as_secs_f64(),
            (processor - self.processor).max(0.01),
        ))
    }
}
