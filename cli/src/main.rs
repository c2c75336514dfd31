//! `saelab`: trains sparse autoencoders on language-model activations and says how good they are.

mod args;
mod build;
mod commands;
mod config;
mod config_keys;
mod interrupt;
mod locations;
mod made;
mod memory;
mod metrics;
mod misfit;
mod output;
mod picture;
mod progress;

use std::process::ExitCode;

fn main() -> ExitCode {
    memory::keep_freed_memory();
    storage::process::tell(output::note);
    let args = args::Args::parse_grouped();
    let done = start().and_then(|()| commands::run(args));
    // What was written is put, also where the command failed, as it would stand in a folder here.
    let put = storage::process::finish().map(drop).map_err(anyhow::Error::from);
    if let (Err(_), Err(error)) = (&done, &put) {
        output::error(error);
    }
    match done.and(put) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            if error.is::<config::ConfigError>() {
                ExitCode::from(2)
            } else if error.is::<commands::language_model::EndpointFailed>() {
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
