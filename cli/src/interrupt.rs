//! Ctrl-C and the signals that ask a process to end.
//!
//! Every artefact is written under a temporary name first, so what stands under its own name is whole: the process may end at any
//! time. A training first writes a checkpoint ([`lab::interrupt`]): the first signal is a request, and the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{locations, output};

/// Whether the command answers until it is ended.
static ANSWERING: AtomicBool = AtomicBool::new(false);

/// Held by a command that answers until it is ended: a signal is then its ordinary end.
#[derive(Debug)]
pub(crate) struct Answering(());

impl Answering {
    pub(crate) fn new() -> Self {
        ANSWERING.store(true, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        ANSWERING.store(false, Ordering::SeqCst);
    }
}

/// Has a signal end the process with one line and without temporary files, or, where a training watches, ask it to end.
pub(crate) fn listen() -> anyhow::Result<()> {
    let hang_up_is_ignored = signals::hang_up_is_ignored();
    ctrlc::set_handler(|| {
        if lab::interrupt::request() {
            output::note("interrupted: a checkpoint is written after this step; once more ends at once");
            return;
        }
        artifacts::end_temporaries();
        if ANSWERING.load(Ordering::SeqCst) {
            output::note("ended");
            std::process::exit(0);
        }
        locations::finish_in_time();
        output::note("error: interrupted; what was finished is kept, run the same command again to resume (`saelab pretrain` with --resume)");
        std::process::exit(1);
    })
    .map_err(|error| {
        let error = match error {
            ctrlc::Error::System(cause) => cause.to_string(),
            other => other.to_string(),
        };
        anyhow::anyhow!(
            "no thread could be started to listen for Ctrl-C ({error}); raise the limits of processes and memory (ulimit -u, \
             ulimit -v)"
        )
    })?;
    if hang_up_is_ignored {
        // As `nohup` has it.
        signals::ignore_hang_up();
    }
    signals::ignore_size_limit();
    Ok(())
}

#[cfg(unix)]
#[allow(unsafe_code, reason = "the dispositions of two signals, before any work begins")]
mod signals {
    pub(super) fn hang_up_is_ignored() -> bool {
        // SAFETY: zeroes are a valid `sigaction`, and asking for the present one changes nothing.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(libc::SIGHUP, std::ptr::null(), &raw mut action) == 0
                && action.sa_sigaction == libc::SIG_IGN
        }
    }

    pub(super) fn ignore_hang_up() {
        // SAFETY: to ignore a signal runs no code.
        unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    }

    /// A write beyond the limit of a file's size then fails, and is told as any other failure to write.
    pub(super) fn ignore_size_limit() {
        // SAFETY: to ignore a signal runs no code.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    }
}

#[cfg(not(unix))]
mod signals {
    pub(super) fn hang_up_is_ignored() -> bool {
        false
    }
    pub(super) fn ignore_hang_up() {}
    pub(super) fn ignore_size_limit() {}
}
