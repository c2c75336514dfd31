//! Progress bars on stderr; silent when stderr is no terminal or with `--no-progress`.

use std::io::IsTerminal;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

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

    /// A bar of `total` steps, and below it room for one line a member.
    pub(crate) fn group(self, what: &str, total: usize) -> Group {
        let bars = self.visible.then(MultiProgress::new);
        let main = self.bar(what, total);
        Group {
            main: match &bars {
                Some(bars) => bars.add(main),
                None => main,
            },
            bars,
        }
    }
}

/// A bar with lines below it.
#[derive(Debug)]
pub(crate) struct Group {
    bars: Option<MultiProgress>,
    /// The bar of the whole.
    pub(crate) main: ProgressBar,
}

impl Group {
    /// One more line; it shows its message.
    pub(crate) fn line(&self) -> ProgressBar {
        let Some(bars) = &self.bars else {
            return ProgressBar::hidden();
        };
        let line = bars.add(ProgressBar::new_spinner());
        match ProgressStyle::with_template("  {msg}") {
            Ok(style) => line.with_style(style),
            Err(_) => line,
        }
    }
}
