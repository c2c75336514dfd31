//! What the program says: results on stdout, everything else on stderr.

use std::io::{self, Write};

use anyhow::Context;
use lab::Outcome;
use storage::process::shown;

/// The longest line of an error or remark, in characters. What stands in a file may be of any length.
const LONGEST: usize = 2000;

/// Writes a result to stdout.
pub(crate) fn result(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{}", printable(&shown(text.trim_end()), "\n\t")) {
        // The reader (`head`, say) has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}

/// Writes what a stage found: its results to stdout, then its remarks to stderr.
pub(crate) fn outcome<T>(outcome: &Outcome<T>) -> anyhow::Result<()> {
    outcome.results.iter().try_for_each(|text| result(text))?;
    outcome.remarks.iter().for_each(|remark| note(remark));
    Ok(())
}

/// Writes a remark to stderr, on one line: the cost of what begins, where something was written.
pub(crate) fn note(text: &str) {
    // Nobody may be listening; a remark is not worth failing for.
    let _ = writeln!(io::stderr().lock(), "{}", shortened(&printable(&shown(text), "")));
}

/// Writes the one line of an error.
pub(crate) fn error(error: &anyhow::Error) {
    note(&format!("error: {}", format!("{error:#}").replace('\n', " ")));
}

/// `text` with what a terminal would act on, or would show in another order, spelled out: names and values come from files of
/// any origin. What is in `kept` stays.
fn printable(text: &str, kept: &str) -> String {
    let is_acted_on = |c: char| {
        c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match is_acted_on(c) && !kept.contains(c) {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out
}

/// `text` without its middle where it is too long: the beginning says what and where, the end what to do.
fn shortened(text: &str) -> String {
    let length = text.chars().count();
    if length <= LONGEST {
        return text.to_owned();
    }
    let end = LONGEST / 4;
    let left_out = format!(" [... {} characters ...] ", length - LONGEST);
    let start: String = text.chars().take(LONGEST - end - left_out.len()).collect();
    let end: String = text.chars().skip(length - end).collect();
    format!("{start}{left_out}{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_spelled_out() {
        for (text, expected) in [
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("\u{9b}2J\r\u{7}\u{7f}", "\\u{9b}2J\\r\\u{7}\\u{7f}"),
            ("a\nerror: b", "a\\nerror: b"),
            ("\u{202e}txt.\u{2066}", "\\u{202e}txt.\\u{2066}"),
            ("Ä\u{301} 模型 \\n", "Ä\u{301} 模型 \\n"),
        ] {
            assert_eq!(printable(text, ""), expected);
        }
        assert_eq!(printable("a\tb\n\u{1b}c", "\n\t"), "a\tb\n\\u{1b}c");
    }

    #[test]
    fn a_line_has_a_bounded_length_and_keeps_both_ends() {
        let text = format!("error: {} choose another folder", "ä".repeat(1_000_000));
        let line = shortened(&text);
        assert_eq!(line.chars().count(), LONGEST);
        assert!(
            line.starts_with("error: ä") && line.ends_with("ä choose another folder") && line.contains(" characters")
        );
        assert_eq!(shortened(&text[..2001]), text[..2001]);
    }
}
