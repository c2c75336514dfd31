//! `saelab harvest`: caches activations in Parquet.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use activations::{
    Cost, Event, HarvestConfig, HarvestFile, HarvestPlan, Node, Part, Selection, Source, SourceConfig, harvest,
};
use anyhow::Context as _;
use artifacts::Locking;
use tasks::{Role, Sample, Schema};

use super::{Context, run_folder};
use crate::config::{self, ConfigError};
use crate::output;

/// Arguments of `saelab harvest`.
#[derive(Debug, clap::Args)]
pub(crate) struct Harvest {
    /// Config, for example configs/ioi/harvest.toml
    config: PathBuf,
    /// Folder for the store, new or empty; a complete store of the same config is reused, an unfinished one completed
    #[arg(long)]
    out: PathBuf,
    /// Do one part of several, for example 1/4: run each part once, in the same folder or in folders that are then merged
    #[arg(long)]
    shard: Option<Share>,
    /// Override a config key: key=value
    #[arg(long)]
    set: Vec<String>,
}

/// A part of a harvest as it is written: `2/4`.
#[derive(Debug, Clone, Copy)]
struct Share(Part);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/');
        let numbers = parts.and_then(|(index, of)| Some((index.parse::<usize>().ok()?, of.parse::<usize>().ok()?)));
        match numbers {
            Some((index, of)) if index >= 1 && index <= of => Ok(Self(Part { index: index - 1, of })),
            _ => Err("expected a part and their number, 1/4 to 4/4".to_owned()),
        }
    }
}

impl Harvest {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let file: HarvestFile = config::read(&self.config, &self.set)?;
        let config = HarvestConfig::try_from(file)
            .map_err(|error| ConfigError(format!("{}: {error}", self.config.display())))?;
        if let (Selection::Hooks { roles: Some(roles), .. }, SourceConfig::Prompts { task, .. }) =
            (&config.selection, &config.source)
        {
            self.check_roles(roles, &task.schema()?)?;
        }
        let (model, tokenizer) = run_folder::load_model(&config.model, config.load, &context.device)?;
        let tokenizer = config.source.tokenizer(config.bos.of(tokenizer)?);
        let (mut skipped, mut schema) = (None, None);
        let source = match (&config.source, config.source.packing()) {
            (SourceConfig::Prompts { task, n, seed }, _) => {
                let task = run_folder::open_task(task, &tokenizer)?;
                run_folder::note_available(task.as_ref(), Sample::Train, *n, "`source.n`");
                schema = Some(task.schema().clone());
                Source::Prompts(task.sample(Sample::Train, *n, *seed))
            }
            (text, Some(packing)) => {
                let mut documents = run_folder::documents(text, &tokenizer)?;
                let windows = packing.spooled_windows(&mut documents, &tokenizer, &self.out);
                skipped = documents.skipped();
                if let (Err(_), Some(skipped)) = (&windows, &skipped) {
                    output::note(&format!("harvest: {skipped}"));
                }
                let windows = windows?;
                if windows.spelled_special() > 0 {
                    let what = match tokenizer.recognises_control_tokens() {
                        true => "and give its id",
                        false => "which is ordinary text in them",
                    };
                    output::note(&format!(
                        "harvest: documents that spell a special token, {what}: {}",
                        windows.spelled_special()
                    ));
                }
                if windows.lost_characters() > 0 {
                    output::note(&format!(
                        "harvest: characters of the documents that the model does not see, since its vocabulary has no token for \
                         one of their bytes: {}",
                        windows.lost_characters()
                    ));
                }
                Source::Text(windows)
            }
            (_, None) => anyhow::bail!("this source holds no text"),
        };
        let asked = config
            .asked(schema.as_ref())
            .context("the settings cannot be written as JSON")?;
        let part = self.shard.map_or(Part::WHOLE, |share| share.0);
        let mut plan = match config.selection {
            Selection::Sites(path) => {
                let (sites, of_sites) = run_folder::read_sites(&path)?;
                sites.check(&of_sites, &model)?;
                if let SourceConfig::Prompts { task, .. } = &config.source {
                    anyhow::ensure!(
                        *task == sites.task,
                        "{}: the sites are those of task {}, the config asks for prompts of task {task}; name the sites file \
                         of the task",
                        path.display(),
                        sites.task
                    );
                }
                let nodes: Vec<Node> = sites.nodes().into_iter().collect();
                let is_text = matches!(source, Source::Text(_));
                let mut plan = HarvestPlan::for_nodes(&nodes, source, config.batch, config.rows_per_shard);
                if is_text {
                    plan.roles.clear();
                }
                plan
            }
            Selection::Hooks { hooks, roles } => HarvestPlan {
                hooks,
                roles: roles.or(schema.map(|schema| schema.roles)).unwrap_or_default(),
                ..HarvestPlan::for_nodes(&[], source, config.batch, config.rows_per_shard)
            },
        };
        (plan.dtype, plan.shuffle, plan.keep_special) = (config.dtype, config.shuffle, config.keep_special);
        (plan.asked, plan.part) = (asked, part);
        describe(&plan.cost(&model, &tokenizer)?, part, context);
        let bar = context.progress.bar("harvest", 0);
        let manifest = harvest(&model, &tokenizer, &plan, &self.out, &mut |event| match event {
            Event::Progress(progress) => {
                bar.set_length(progress.total as u64);
                bar.set_position(progress.done as u64);
            }
            Event::Lock(locking) => note_lock(locking, &self.out),
        })?;
        bar.finish_and_clear();
        if let Some(skipped) = skipped {
            output::note(&format!("harvest: {skipped}"));
        }
        output::note(&match manifest {
            Some(manifest) => format!("harvest: {} hooks in {}", manifest.hooks.len(), self.out.display()),
            None => format!(
                "harvest: part {} of {} is in {}, other parts are not; run them, or the same command without --shard",
                part.index + 1,
                part.of,
                self.out.display()
            ),
        });
        Ok(())
    }

    /// Refuses roles that the task does not have.
    fn check_roles(&self, roles: &[Role], schema: &Schema) -> Result<(), ConfigError> {
        match roles.iter().find(|role| !schema.roles.contains(role)) {
            None => Ok(()),
            Some(unknown) => {
                let known: Vec<&str> = schema.roles.iter().map(|role| role.as_str()).collect();
                Err(ConfigError(format!(
                    "{}: `roles` names {unknown}, task {} has {}",
                    self.config.display(),
                    schema.name,
                    known.join(", ")
                )))
            }
        }
    }
}

/// Says what the lock of the store's folder means for this harvest.
fn note_lock(locking: Locking, out: &Path) {
    let out = out.display();
    output::note(&match locking {
        Locking::Waits => format!("harvest: another harvest is writing {out}; waiting until it has ended"),
        Locking::Unsupported { cause } => format!(
            "harvest: the disk of {out} has no file locks ({cause}); start no other harvest in this folder meanwhile"
        ),
    });
}

/// Says what a harvest will cost: the time from one product of this machine, the rest from the sizes.
fn describe(cost: &Cost, part: Part, context: &Context) {
    let (m, k, n) = (1024, 256, 1024);
    let matrix = |rows, columns| kernels::from_vec::<2>(vec![1.0; rows * columns], [rows, columns], &context.device);
    let (a, b) = (matrix(m, k), matrix(k, n));
    let product = |_| {
        let start = Instant::now();
        kernels::to_vec(kernels::matmul(a.clone(), b.clone()));
        start.elapsed().as_secs_f64()
    };
    let seconds = (0..3).map(product).fold(f64::INFINITY, f64::min) / (2 * m * k * n) as f64;
    let share = 1.0 / part.of as f64;
    output::note(&format!(
        "harvest: {} tokens, {} vectors a hook, about {:.0} s, {:.0} MB of disk and {:.0} MB of memory to shuffle in",
        cost.tokens,
        cost.rows,
        (cost.flops * seconds * share).ceil(),
        cost.disk as f64 * share / 1e6,
        cost.window as f64 / 1e6
    ));
}
