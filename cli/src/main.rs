//! `saelab`: trains sparse autoencoders on language-model activations and says how good they are.

mod args;
mod commands;
mod config;
mod memory;
mod metrics;
mod output;
mod picture;
mod progress;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    memory::keep_freed_memory();
    let args = args::Args::parse();
    if let Err(error) = output::exit_on_interrupt() {
        output::error(&error);
        return ExitCode::FAILURE;
    }
    match commands::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            if error.is::<config::ConfigError>() {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
