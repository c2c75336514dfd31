//! The documents of a file of lines, of which one is in memory at a time.

use std::io::{BufRead, Read};
use std::sync::Arc;

use crate::Chat;

use super::{Bad, LONGEST_DOCUMENT, json};

/// The lines of a file.
pub(super) struct Lines {
    reader: Box<dyn BufRead>,
    /// The JSON field of the text, where lines are JSON.
    field: Option<String>,
    /// Renders the field, where it holds the messages of a chat.
    chat: Option<Arc<Chat>>,
    /// Lines read.
    read: u64,
    /// Whether the last line was too long, and its rest is still to be passed over.
    cut: bool,
    /// Most bytes of a line.
    longest: usize,
}

impl Lines {
    pub(super) fn new(reader: Box<dyn BufRead>, field: Option<String>) -> Self {
        Self {
            reader,
            field,
            chat: None,
            read: 0,
            cut: false,
            longest: LONGEST_DOCUMENT,
        }
    }

    /// The same lines, whose field holds chats; `None` where lines are not JSON.
    pub(super) fn of_chats(self, chat: Arc<Chat>) -> Option<Self> {
        self.field.is_some().then_some(Self {
            chat: Some(chat),
            ..self
        })
    }

    /// The text of the next line.
    pub(super) fn next(&mut self) -> Option<Result<String, Bad>> {
        let mut bytes = Vec::new();
        // A line may have as many bytes, and its end two more.
        let most = self.longest as u64 + 2;
        let skipped = if std::mem::take(&mut self.cut) {
            self.reader.skip_until(b'\n').map(drop)
        } else {
            Ok(())
        };
        match skipped.and_then(|()| (&mut self.reader).take(most).read_until(b'\n', &mut bytes)) {
            Ok(0) => return None,
            Ok(found) => {
                self.read += 1;
                self.cut = found as u64 == most && bytes.last() != Some(&b'\n');
            }
            Err(error) => {
                let reason = format!("cannot be read after line {}: {error}", self.read);
                return Some(Err(Bad::File(reason)));
            }
        }
        while matches!(bytes.last(), Some(b'\n' | b'\r')) {
            bytes.pop();
        }
        if self.read == 1 && bytes.starts_with("\u{feff}".as_bytes()) {
            bytes.drain(..3);
        }
        if self.cut || bytes.len() > self.longest {
            let longest = self.longest >> 20;
            return Some(Err(Bad::Document(format!(
                "has more than {longest} MiB, the most of a document; divide it into several lines"
            ))));
        }
        Some(self.document(bytes).map_err(Bad::Document))
    }

    fn document(&self, bytes: Vec<u8>) -> Result<String, String> {
        match &self.field {
            None => String::from_utf8(bytes).map_err(|error| {
                let at = error.utf8_error().valid_up_to() + 1;
                format!("is not UTF-8 (byte {at} of the line); convert the file to UTF-8")
            }),
            Some(_) if bytes.trim_ascii().is_empty() => Ok(String::new()),
            Some(field) if let Some(chat) = &self.chat => match json::messages(&bytes, field)? {
                Some(messages) => chat.render(&messages, false),
                None => Ok(String::new()),
            },
            // No text is an empty one.
            Some(field) => Ok(json::text(&bytes, field)?.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_refused_and_passed_over() {
        for end in ["\n", "\r\n"] {
            let text = format!(
                "12345{end}123456{end}{}{end}1{end}12345\r\r67{end}1234567",
                "1".repeat(100)
            );
            let mut lines = Lines {
                longest: 5,
                ..Lines::new(Box::new(Cursor::new(text)), None)
            };
            let found: Vec<Option<String>> = std::iter::from_fn(|| lines.next()).map(Result::ok).collect();
            let whole = |text: &str| Some(text.to_owned());
            assert_eq!(found, [whole("12345"), None, None, whole("1"), None, None], "{end:?}");
        }
    }
}
