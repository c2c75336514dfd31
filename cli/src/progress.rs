//! What stages say while they run: remarks on stderr, and progress bars there, which are silent when stderr is no terminal or with
//! `--no-progress`.

use std::io::IsTerminal;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use lab::{Bar, Reporter};

use crate::output;

/// The terminal, and whether bars are drawn there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    draws_bars: bool,
}

impl Terminal {
    /// Bars unless `hidden` or stderr is no terminal.
    pub(crate) fn new(hidden: bool) -> Self {
        Self {
            draws_bars: !hidden && std::io::stderr().is_terminal(),
        }
    }

    fn progress_bar(self, what: &str, total: usize) -> ProgressBar {
        if !self.draws_bars {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(total as u64).with_message(what.to_owned());
        styled(bar, "{msg:<28} {bar:30} {pos}/{len} {elapsed} (left {eta})")
    }
}

impl Reporter for Terminal {
    fn note(&self, text: &str) {
        output::note(text);
    }

    fn bar(&self, what: &str, total: usize) -> Box<dyn Bar> {
        Box::new(Drawn {
            bar: self.progress_bar(what, total),
            group: None,
        })
    }

    fn group(&self, what: &str, total: usize) -> Box<dyn Bar> {
        let group = self.draws_bars.then(MultiProgress::new);
        let bar = self.progress_bar(what, total);
        Box::new(Drawn {
            bar: match &group {
                Some(group) => group.add(bar),
                None => bar,
            },
            group,
        })
    }
}

/// A bar, and the bars that stand with it.
struct Drawn {
    bar: ProgressBar,
    group: Option<MultiProgress>,
}

impl Bar for Drawn {
    fn set_length(&self, total: u64) {
        self.bar.set_length(total);
    }

    fn set_position(&self, done: u64) {
        self.bar.set_position(done);
    }

    fn inc(&self, steps: u64) {
        self.bar.inc(steps);
    }

    fn set_message(&self, text: String) {
        self.bar.set_message(text);
    }

    fn line(&self) -> Box<dyn Bar> {
        let bar = match &self.group {
            Some(group) => styled(group.add(ProgressBar::new_spinner()), "  {msg}"),
            None => ProgressBar::hidden(),
        };
        Box::new(Self { bar, group: None })
    }

    fn finish_and_clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
