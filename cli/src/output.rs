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
        note("error: interrupted; what was finished is kept, run the same command again (with --resume, if it has it) to go on");
        std::process::exit(1);
    })
    .context("cannot listen for Ctrl-C")
}

/// The most memory the process has held, in MB, where the system tells.
pub(crate) fn peak_memory_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kb| kb / 1024)
}

/// Seconds of processor time that all threads of the process have had, where the system tells.
pub(crate) fn processor_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which may hold anything but ends with the last bracket: user and system time are numbers 12 and 13.
    let (_, fields) = text.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11);
    let (user, system) = (ticks.next()?.parse::<f64>().ok()?, ticks.next()?.parse::<f64>().ok()?);
    Some((user + system) / 100.0)
}
