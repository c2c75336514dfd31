//! `saelab behaviours`: measures the six behaviours of a model of the written world.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use strum::VariantArray;
use tasks::world::{Behaviour, World, measure};

use lab::run_folder;

use super::Context;
use super::weights::WeightArgs;
use crate::output;

/// Arguments of `saelab behaviours`.
#[derive(Debug, clap::Args)]
pub(crate) struct Behaviours {
    /// Model folder made by `saelab pretrain`
    model: PathBuf,
    #[command(flatten)]
    weights: WeightArgs,
    /// Held-out prompts of each behaviour
    #[arg(long, default_value_t = 500, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    prompts: usize,
    /// Seed of the prompts
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Behaviours {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<()> {
        let (model, tokenizer) = run_folder::load_model(&self.model, self.weights.options(), context)?;
        let world = World::new();
        output::result(&format!(
            "{:<16} {:>5}  {:<15} {:>7} {:>5}  {:>10}",
            "behaviour", "n", "judged by", "value", "bar", "logit diff"
        ))?;
        for &behaviour in Behaviour::VARIANTS {
            let score = measure(&model, &tokenizer, &world, behaviour, self.prompts, self.seed)?;
            let (metric, value, bar) = score.gate();
            let logit_diff = score
                .logit_diff
                .map_or_else(|| "-".to_owned(), |diff| format!("{diff:.2}"));
            let verdict = if score.passes() { "" } else { "  FAILS" };
            output::result(&format!(
                "{behaviour:<16} {:>5}  {metric:<15} {value:>7.3} {bar:>5.2}  {logit_diff:>10}{verdict}",
                score.n
            ))?;
        }
        Ok(())
    }
}
