//! What the program says: results on stdout, everything else on stderr.

use std::io::{self, Write};

use anyhow::Context;

/// Writes a result to stdout.
pub(crate) fn result(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{}", text.trim_end()) {
        // The reader (`head`, say) has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}

/// Writes a remark to stderr: the cost of what begins, where something was written.
pub(crate) fn note(text: &str) {
    // Nobody may be listening; a remark is not worth failing for.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes the one line of an error.
pub(crate) fn error(error: &anyhow::Error) {
    note(&format!("error: {}", format!("{error:#}").replace('\n', " ")));
}

/// Ctrl-C ends the program with one line; every artefact is written under a temporary name first, so what stands under
/// its own name is whole.
pub(crate) fn exit_on_interrupt() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        note("error: interrupted; what was finished is kept, run the same command again to go on");
        std::process::exit(1);
    })
    .context("cannot listen for Ctrl-C")
}
