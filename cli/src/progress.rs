//! Progress bars on stderr; silent when stderr is no terminal or with `--no-progress`.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// Whether bars are drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    visible: bool,
}

impl Progress {
    /// Bars unless `hidden` or stderr is no terminal.
    pub(crate) fn new(hidden: bool) -> Self {
        Self {
            visible: !hidden && std::io::stderr().is_terminal(),
        }
    }

    /// A bar of `total` steps named `what`.
    pub(crate) fn bar(self, what: &str, total: usize) -> ProgressBar {
        if !self.visible {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(total as u64).with_message(what.to_owned());
        match ProgressStyle::with_template("{msg:<28} {bar:30} {pos}/{len} {elapsed} (left {eta})") {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }
}
