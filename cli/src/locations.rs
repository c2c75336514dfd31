//! Locations (`s3://`, `gs://`, `az://`, `https://`) wherever the command line takes a path.
//!
//! A command gets the local path of a copy in place of a location, and what it says is translated back where it is written
//! ([`crate::output`]), so commands know local paths only. Values of configs are looked at where configs are read.

use std::any::TypeId;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::Duration;

use clap::builder::{PathBufValueParser, TypedValueParser};
use storage::{Use, process};

use crate::output;

/// How long an interrupted process may still upload what it has written.
const LAST_WORDS: Duration = Duration::from_secs(45);

/// The command line with locations wherever it takes paths.
pub(crate) fn anywhere(command: clap::Command) -> clap::Command {
    let purpose = match command.get_name() {
        "status" => Use::Status,
        _ => Use::Work,
    };
    let with_locations = command.mut_args(|arg| {
        if arg.get_value_parser().type_id() != TypeId::of::<PathBuf>() {
            return arg;
        }
        let is_output = arg.get_id() == "out";
        arg.value_parser(PathBufValueParser::new().map(move |path| process::named(path, purpose, is_output)))
    });
    with_locations.mut_subcommands(anywhere)
}

/// Puts what was written, for a process that was asked to end: not for longer than [`LAST_WORDS`].
pub(crate) fn finish_in_time() {
    let (done, ended) = channel();
    let thread = std::thread::Builder::new().spawn(move || done.send(process::finish()));
    if let (Ok(_), Ok(Err(error))) = (thread, ended.recv_timeout(LAST_WORDS)) {
        output::note(&error.to_string());
    }
}
