//! `saelab submit`: a harvest and a training grid as Slurm job arrays.

mod slurm;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use activations::Part;
use sae::TrainConfig;
use work::{Share, deal};

use super::harvest::{self, Prepared};
use super::run_folder::{self, RunFolder};
use super::training_cost::{self, TrainingCost};
use super::{estimate, train, training_rows};
use crate::error::WithContext as _;
use crate::{ConfigError, ConfigFile, Context, Outcome, Result, usage};
use slurm::{Array, Script};

/// Seconds that every task may take beyond its work: to start, to load, to wait for a slow disk.
const START: f64 = 300.0;
/// Times the estimate: nodes differ, and a task that meets its limit begins again where its last checkpoint was.
const SLACK: f64 = 2.0;
/// Memory beyond what is reckoned: the program, its threads, a batch.
const BASE_MB: f64 = 512.0;

/// Settings of the stage.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Config of the harvest, for example configs/quality/harvest-text.toml.
    pub config: ConfigFile,
    /// Folder of the experiment, on a disk that all nodes share: activations/ and sae/ come to stand there.
    pub run: PathBuf,
    /// Tasks of the harvest's array.
    pub array: u32,
    /// Config of a training grid on these activations, whose array begins when that of the harvest has succeeded.
    pub train: Option<PathBuf>,
    /// Tasks of the training's array [default: as many as the harvest's, at most one for each autoencoder].
    pub train_array: Option<u32>,
    /// Sites file of the training.
    pub sites: Option<PathBuf>,
    /// Train from disk batch by batch (`saelab train --stream`).
    pub stream: bool,
    /// Cores of a task [default: those of this machine].
    pub cores: Option<u32>,
    /// An option of sbatch for all jobs, for example --sbatch=--partition=gpu.
    pub sbatch: Vec<String>,
    /// Submit the jobs with sbatch instead of printing the script.
    pub submit: bool,
    /// Override a key of the training's config: key=value.
    pub train_set: Vec<String>,
}

impl Settings {
    /// Runs the stage.
    ///
    /// # Errors
    /// Settings that cannot be meant; files that cannot be read or written; what stands in the way.
    pub fn run(self, context: &Context) -> Result<Outcome<()>> {
        if let Some(option) = self.sbatch.iter().find(|option| option.contains(['\n', '\r'])) {
            return Err(ConfigError(format!("--sbatch {option}: an option is one line")).into());
        }
        if storage::process::is_remote(&self.run) {
            let reason = "the logs of jobs and what they wait for are files on a disk that all machines see; name a folder there (the \
                          tasks' own commands, `harvest` and `train --shard`, take locations)";
            return Err(ConfigError(format!("--run {}: {reason}", self.run.display())).into());
        }
        let here = std::thread::available_parallelism().map_or(1, usize::from);
        let cores = self.cores.map_or(here, |cores| cores as usize);
        let start = Instant::now();
        let harvest = harvest::Settings {
            config: self.config.clone(),
            out: RunFolder(self.run.clone()).activations(),
            shard: None,
        };
        let mut prepared = harvest.prepare(context)?;
        prepared.plan.part = Part {
            index: 0,
            of: self.array as usize,
        };
        // What every task does before its share: load the model, read the text, make windows of it.
        let (before, loaded) = (
            start.elapsed().as_secs_f64(),
            usage::peak_memory_mb().map_or(0.0, |mb| mb as f64),
        );
        let slower = here as f64 / cores as f64;
        let cost = estimate::of_harvest(&prepared.plan, &prepared.model, &prepared.tokenizer, context)?;
        context.note(&format!("submit: harvest: {cost}"));
        let mut arrays = vec![Array {
            name: "harvest",
            tasks: self.array as usize,
            minutes: minutes(before + cost.seconds * slower),
            // A window is held as numbers and once more as the bytes of its shards.
            memory_mb: memory(loaded + 2.0 * cost.memory / 1e6),
            cores,
            before: None,
            command: self.harvest_command(&harvest.out, context),
        }];
        if let Some(path) = &self.train {
            let config = train::read_config(
                &ConfigFile {
                    path: path.clone(),
                    set: self.train_set.clone(),
                },
                self.stream,
            )?;
            arrays.push(self.training(path, &config, &prepared, slower, cores, context)?);
        }
        let script = Script {
            folder: std::env::current_dir().context("the current folder has no name")?,
            logs: self.run.join("logs"),
            options: self.sbatch.clone(),
            arrays,
        };
        let text = script.render();
        match self.submit {
            true => Ok(Outcome::new((), submit(&text)?)),
            false => Ok(Outcome::new((), text)),
        }
    }

    /// The array of the training: what a task takes at most.
    fn training(
        &self,
        path: &Path,
        config: &TrainConfig,
        prepared: &Prepared,
        slower: f64,
        cores: usize,
        context: &Context,
    ) -> Result<Array> {
        let places = self.places(prepared)?;
        let shard = prepared.plan.rows_per_shard;
        // Rows that a training keeps in memory.
        let most_rows = match self.stream {
            true => training_rows::sampled_shards(shard) * shard,
            false => usize::MAX,
        };
        let (grid, mut costs) = (config.variants.len(), Vec::new());
        let (mut seconds, mut largest) = (0.0, 0.0_f64);
        let units = places.len() * grid;
        let tasks = self.train_array.map_or(self.array as usize, |tasks| tasks as usize);
        let tasks = match self.train_array {
            Some(_) => tasks,
            None => tasks.min(units).max(1),
        };
        // Neighbours of one site are trained together.
        let together = units.div_ceil(tasks).min(grid);
        for &(rows, width) in &places {
            let rows = rows.min(most_rows);
            let sizes = TrainingCost {
                rows,
                store_rows: rows,
                measured: rows,
                width,
                hooks: 1,
                pool: None,
            };
            let cost = sizes.estimate(&config.variants, config, context);
            context.note(&format!("submit: train: {cost}"));
            seconds += cost.seconds;
            largest = largest.max(sizes.memory(&config.variants[..together], config) as f64);
            let products = config.variants.iter().map(training_cost::products);
            costs.extend(products.map(|products| products * (width * width) as f64));
        }
        let of_share = |index| costs[deal(&costs, Share { index, of: tasks })].iter().sum::<f64>();
        let (most, all) = ((0..tasks).map(of_share).fold(0.0, f64::max), costs.iter().sum::<f64>());
        Ok(Array {
            name: "train",
            tasks,
            minutes: minutes(seconds * most / all * slower),
            memory_mb: memory(largest / 1e6),
            cores,
            // The last two parts of a harvest may each have looked before they could see the other's last shard.
            before: Some(format!(
                "[ -e {} ] || {}",
                slurm::quoted(&self.run.join("activations/manifest.json").to_string_lossy()),
                self.harvest_command(&self.run.join("activations"), context)
                    .replace(&format!("{}{}", slurm::SHARE, self.array), &format!("1/{}", self.array))
            )),
            command: self.train_command(path, tasks, context),
        })
    }

    /// Rows and width of every site that the training will find in the store.
    fn places(&self, prepared: &Prepared) -> Result<Vec<(usize, usize)>> {
        let (plan, spec) = (&prepared.plan, prepared.model.spec());
        let rows = plan.cost(&prepared.model, &prepared.tokenizer)?.rows;
        let is_text = plan.roles.is_empty();
        Ok(match &self.sites {
            Some(path) => {
                let nodes = run_folder::read_sites(path)?.0.nodes();
                match is_text {
                    true => {
                        let places: BTreeSet<_> = nodes.into_iter().map(|node| (node.hook, node.head)).collect();
                        places.into_iter().map(|(hook, _)| (rows, hook.width(spec))).collect()
                    }
                    false => {
                        let rows = rows / plan.roles.len();
                        nodes.into_iter().map(|node| (rows, node.hook.width(spec))).collect()
                    }
                }
            }
            None if is_text => {
                let heads = |hook: &lm::HookPoint| if hook.has_heads() { spec.n_head } else { 1 };
                let hooks: BTreeSet<_> = plan.hooks.iter().collect();
                let of_hook = hooks
                    .into_iter()
                    .map(|hook| vec![(rows, hook.width(spec)); heads(hook)]);
                of_hook.flatten().collect()
            }
            None => return Err(ConfigError("--sites is missing: the harvest is one of prompts".to_owned()).into()),
        })
    }

    fn harvest_command(&self, out: &Path, context: &Context) -> String {
        let mut words = program(context);
        words.extend(["harvest".to_owned(), text(&self.config.path)]);
        words.extend(self.config.set.iter().flat_map(|set| ["--set".to_owned(), set.clone()]));
        words.extend(["--out".to_owned(), text(out)]);
        slurm::command(&words, self.array as usize)
    }

    fn train_command(&self, path: &Path, tasks: usize, context: &Context) -> String {
        let mut words = program(context);
        words.extend(["train".to_owned(), text(path)]);
        words.extend(self.train_set.iter().flat_map(|set| ["--set".to_owned(), set.clone()]));
        words.extend(["--run".to_owned(), text(&self.run)]);
        if let Some(sites) = &self.sites {
            words.extend(["--sites".to_owned(), text(sites)]);
        }
        if self.stream {
            words.push("--stream".to_owned());
        }
        slurm::command(&words, tasks)
    }
}

/// This program, with the options that all commands have.
fn program(context: &Context) -> Vec<String> {
    let path = std::env::current_exe().map_or_else(|_| "saelab".to_owned(), |path| text(&path));
    match context.device_name.as_str() {
        "cpu" => vec![path],
        device => vec![path, "--device".to_owned(), device.to_owned()],
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The limit of a task that is reckoned to take so many seconds, in minutes.
fn minutes(seconds: f64) -> usize {
    ((SLACK * seconds + START) / 60.0).ceil() as usize
}

/// The memory to ask for where so many MB are reckoned.
fn memory(mb: f64) -> usize {
    (1.5 * mb + BASE_MB).ceil() as usize
}

/// Runs the script; gives what it prints, a line for each job.
fn submit(script: &str) -> Result<String> {
    let mut child = Command::new("bash")
        .arg("-s")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("bash, which submits the jobs, could not be started")?;
    let mut input = child.stdin.take().context("bash takes no script")?;
    input
        .write_all(script.as_bytes())
        .context("bash does not take the script")?;
    drop(input);
    let output = child.wait_with_output().context("bash did not end")?;
    ensure!(
        output.status.success(),
        "the jobs could not be submitted: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
