//! One file per subcommand: its arguments become the settings of a stage of `lab`, and what the stage found is printed.

use lab::{ConfigError, Context};

use crate::args::{Args, Command};
use crate::build;

use crate::progress::Terminal;

pub(crate) mod behaviours;
pub(crate) mod bench;
mod bench_eval;
mod bench_harvest;
mod bench_scan;
mod bench_store;
pub(crate) mod circuit;
pub(crate) mod compare;
pub(crate) mod config_explain;
pub(crate) mod convert;
pub(crate) mod coverage;
pub(crate) mod devices;
pub(crate) mod encode;
pub(crate) mod eval;
pub(crate) mod explain;
pub(crate) mod find;
pub(crate) mod fit;
pub(crate) mod harvest;
pub(crate) mod inspect;
mod language_model;
pub(crate) mod locate;
pub(crate) mod masks;
pub(crate) mod model;
mod overrides;
pub(crate) mod phenomena;
pub(crate) mod pretrain;
pub(crate) mod probe;
pub(crate) mod quality;
pub(crate) mod report;
pub(crate) mod reproduce;
pub(crate) mod serve;
pub(crate) mod shell;
pub(crate) mod splice;
pub(crate) mod status;
pub(crate) mod store;
pub(crate) mod submit;
pub(crate) mod synthetic;
mod text;
pub(crate) mod trace;
pub(crate) mod train;
pub(crate) mod truth;
pub(crate) mod verify_model;
mod weights;

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let device =
        kernels::open(&args.device).map_err(|error| ConfigError(format!("--device {}: {error}", args.device)))?;
    let terminal = Terminal::new(args.no_progress);
    let context = Context::new(device, args.device, build::program(), Box::new(terminal));
    storage::process::open_named().map_err(|error| match error {
        storage::Error::BadLocation { .. } | storage::Error::ReadOnly { .. } => {
            anyhow::Error::from(ConfigError(error.to_string()))
        }
        error => error.into(),
    })?;
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
