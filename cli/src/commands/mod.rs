//! One file per subcommand.

use burn::tensor::Device;

use crate::args::{Args, Command};
use crate::build;
use crate::config::ConfigError;
use crate::progress::Progress;

mod baselines;
pub(crate) mod behaviours;
pub(crate) mod bench;
mod bench_eval;
mod bench_harvest;
mod bench_scan;
mod bench_store;
pub(crate) mod circuit;
pub(crate) mod compare;
mod compare_spliced;
pub(crate) mod config_explain;
pub(crate) mod convert;
pub(crate) mod coverage;
pub(crate) mod devices;
mod dictionary_sets;
pub(crate) mod encode;
mod estimate;
pub(crate) mod eval;
pub(crate) mod explain;
pub(crate) mod find;
mod finished_notes;
pub(crate) mod fit;
pub(crate) mod harvest;
mod hook_autoencoders;
pub(crate) mod inspect;
pub(crate) mod language_model;
mod left_out;
pub(crate) mod locate;
pub(crate) mod masks;
pub(crate) mod model;
mod opened_run;
pub(crate) mod phenomena;
pub(crate) mod pretrain;
pub(crate) mod probe;
pub(crate) mod quality;
pub(crate) mod report;
pub(crate) mod reproduce;
pub(crate) mod run_folder;
mod same_dictionaries;
pub(crate) mod serve;
mod share;
pub(crate) mod shell;
pub(crate) mod splice;
mod standing_report;
pub(crate) mod status;
pub(crate) mod store;
pub(crate) mod submit;
pub(crate) mod synthetic;
pub(crate) mod trace;
pub(crate) mod train;
mod training_cost;
mod training_folder;
mod training_log;
mod training_rows;
mod training_site;
pub(crate) mod truth;
pub(crate) mod verify_model;

/// What every command gets besides its own arguments.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) device: Device,
    pub(crate) device_name: String,
    pub(crate) progress: Progress,
}

impl Context {
    /// All of program and machine that figures depend on: the sources, the device, and the instruction sets, which change the
    /// last digits.
    pub(crate) fn program(&self) -> String {
        let device = match self.device_name.as_str() {
            "cpu" => format!("{} {}", kernels::instruction_set(), kernels::bf16_instruction_set()),
            other => other.to_owned(),
        };
        format!("{} {device}", build::SOURCES)
    }
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let context = Context {
        device: kernels::open(&args.device)
            .map_err(|error| ConfigError(format!("--device {}: {error}", args.device)))?,
        device_name: args.device,
        progress: Progress::new(args.no_progress),
    };
    match args.command {
        Command::Model(command) => command.run(&context),
        Command::Pretrain(command) => command.run(&context),
        Command::Behaviours(command) => command.run(&context),
        Command::Trace(command) => command.run(&context),
        Command::VerifyModel(command) => command.run(&context),
        Command::Locate(command) => command.run(&context),
        Command::Harvest(command) => command.run(&context),
        Command::Store(command) => command.run(&context),
        Command::Fit(command) => command.run(&context),
        Command::Train(command) => command.run(&context),
        Command::Submit(command) => command.run(&context),
        Command::Status(command) => command.run(),
        Command::Encode(command) => command.run(&context),
        Command::Convert(command) => command.run(&context),
        Command::Inspect(command) => command.run(&context),
        Command::Splice(command) => command.run(&context),
        Command::Truth(command) => command.run(&context),
        Command::Probe(command) => command.run(&context),
        Command::Eval(command) => command.run(&context),
        Command::Masks(command) => command.run(&context),
        Command::Compare(command) => command.run(&context),
        Command::Coverage(command) => command.run(&context),
        Command::Report(command) => command.run(&context),
        Command::Serve(command) => command.run(),
        Command::Circuit(command) => command.run(&context),
        Command::Find(command) => command.run(&context),
        Command::Explain(command) => command.run(&context),
        Command::Phenomena(command) => command.run(&context),
        Command::Synthetic(command) => command.run(&context),
        Command::Quality(command) => command.run(&context),
        Command::Reproduce(command) => command.run(&context),
        Command::Config(command) => command.run(),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
        Command::Devices(command) => command.run(),
        Command::Bench(command) => command.run(&context),
    }
}
