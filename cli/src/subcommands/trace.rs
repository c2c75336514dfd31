//! `saelab trace`: runs a model on token ids and writes the tensors at named hooks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context as _;
use artifacts::HostTensor;
use lm::{HookPoint, Logits, Passes, Request};

use lab::run_folder;

use super::Context;
use super::weights::WeightArgs;

/// Arguments of `saelab trace`.
#[derive(Debug, clap::Args)]
pub(crate) struct Trace {
    /// Model: a folder in Hugging Face layout, a GGUF file, or the name of a model that was pulled
    model: PathBuf,
    #[command(flatten)]
    weights: WeightArgs,
    /// safetensors file with `ids`: I64 [batch, seq]
    #[arg(long)]
    ids: PathBuf,
    /// Hooks, comma-separated, for example blocks.0.hook_resid_pre,logits
    #[arg(long, value_delimiter = ',', required = true)]
    hooks: Vec<Wanted>,
    /// safetensors file to write; tensors are named after the hooks
    #[arg(long)]
    out: PathBuf,
}

/// What is to be written.
#[derive(Debug, Clone)]
enum Wanted {
    Hook(HookPoint),
    Logits,
}

impl FromStr for Wanted {
    type Err = lm::Error;

    fn from_str(name: &str) -> Result<Self, lm::Error> {
        match name {
            "logits" => Ok(Self::Logits),
            name => name.parse().map(Self::Hook),
        }
    }
}

impl Trace {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let model = run_folder::open_model(&run_folder::model_folder(&self.model)?, self.weights.options(), context)?;
        let (shape, ids) = artifacts::read_integers(&self.ids, "ids")?;
        anyhow::ensure!(
            shape.len() == 2 && shape.iter().all(|&n| n > 0),
            "{}: `ids` has shape {shape:?}, expected [batch, seq]",
            self.ids.display()
        );
        let rows = ids
            .chunks(shape[1])
            .map(|row| row.iter().map(|&id| u32::try_from(id)).collect::<Result<Vec<_>, _>>())
            .collect::<Result<Vec<_>, _>>()
            .with_context(|| format!("{}: `ids` holds a number that is no token id", self.ids.display()))?;
        let wants_logits = self.hooks.iter().any(|wanted| matches!(wanted, Wanted::Logits));
        let hooks = self.hooks.iter().filter_map(|wanted| match wanted {
            Wanted::Hook(hook) => Some(*hook),
            Wanted::Logits => None,
        });
        let capture: Vec<HookPoint> = hooks.collect();
        let logits = if wants_logits { Logits::All } else { Logits::None };
        let request = Request {
            capture: capture.clone(),
            logits,
            ..Request::default()
        };
        // All rows in one batch, as they stand in the file.
        let traces: Result<Vec<_>, lm::Error> =
            Passes::new(&model, rows.len()).run(&rows, |_| Ok(request.clone()), |_, trace| Ok(trace));
        let traces = traces.with_context(|| format!("cannot run on {}", self.ids.display()))?;
        let trace = traces.into_iter().next().context("the file holds no rows")?;

        let mut tensors = BTreeMap::new();
        for hook in capture {
            let tensor = match trace.tensor3(hook) {
                Ok(tensor) => HostTensor::new(tensor.dims(), kernels::to_vec(tensor)),
                Err(_) => {
                    let tensor = trace.tensor4(hook)?;
                    HostTensor::new(tensor.dims(), kernels::to_vec(tensor))
                }
            };
            tensors.insert(hook.to_string(), tensor);
        }
        if wants_logits {
            let tensor = trace.logits_all()?;
            tensors.insert(
                "logits".to_owned(),
                HostTensor::new(tensor.dims(), kernels::to_vec(tensor)),
            );
        }
        artifacts::write_tensors(&self.out, &tensors, &BTreeMap::new())?;
        Ok(())
    }
}
