//! `saelab`: trains sparse autoencoders on language-model activations and says how good they are.

mod args;
mod build;
mod config_keys;
mod interrupt;
mod locations;
mod memory;
mod output;
mod progress;
mod subcommands;

use std::process::ExitCode;

use lab::ConfigError;
use lab::language_model::EndpointFailed;

fn main() -> ExitCode {
    memory::keep_freed_memory();
    storage::process::tell(output::note);
    let args = args::Args::parse_grouped();
    let done = start().and_then(|()| subcommands::run(args));
    // What was written is put, also where the command failed, as it would stand in a folder here.
    let put = storage::process::finish().map(drop).map_err(anyhow::Error::from);
    if let (Err(_), Err(error)) = (&done, &put) {
        output::error(error);
    }
    match done.and(put) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            let of_stage = error.downcast_ref::<lab::Error>();
            if error.is::<ConfigError>() || of_stage.is_some_and(lab::Error::is_config) {
                ExitCode::from(2)
            } else if error.is::<EndpointFailed>() {
                ExitCode::from(3)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// What has to be there before any work begins.
fn start() -> anyhow::Result<()> {
    // Made by its first user, the pool would end the program with a panic where the system gives no threads.
    rayon::ThreadPoolBuilder::new().build_global().map_err(|error| {
        anyhow::anyhow!(
            "no thread could be started to compute with ({error}); raise the limits of processes and memory (ulimit -u, \
             ulimit -v), or ask for fewer threads with RAYON_NUM_THREADS"
        )
    })?;
    interrupt::listen()
}
