//! Templates: text with `{slots}`, the form of prompts and of the world's sentence frames.

/// How every prompt begins.
pub(crate) const PREFIX: &str = "Then,";

/// The indirect-object prompts: `{a}` and `{b}` are the two names, `{s}` is the repeated one.
pub(crate) const TEMPLATES: [&str; 3] = [
    "{a} and {b} had a long and really crazy argument. Afterwards, {s} said to",
    "{a} and {b} had lots of fun at the {place}. {s} gave a {object} to",
    "{a} and {b} were working at the {place}. {s} decided to give a {object} to",
];

/// A piece of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Segment<'a> {
    /// Text without slots and without a space at its end; the slot that follows brings its own.
    Text(&'a str),
    /// The name of a slot.
    Slot(&'a str),
}

/// Cuts a template into text and slots. A brace that is not closed is text.
pub(crate) fn segments(template: &str) -> Vec<Segment<'_>> {
    let mut segments = Vec::new();
    let mut rest = template;
    while let Some((text, after)) = rest.split_once('{') {
        let Some((slot, tail)) = after.split_once('}') else {
            break;
        };
        if !text.trim_end().is_empty() {
            segments.push(Segment::Text(text.trim_end()));
        }
        segments.push(Segment::Slot(slot));
        rest = tail;
    }
    if !rest.is_empty() {
        segments.push(Segment::Text(rest));
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_go_with_the_slot_that_follows() {
        use Segment::{Slot, Text};
        assert_eq!(
            segments("{a} and {b} slept. {s} woke"),
            [
                Slot("a"),
                Text(" and"),
                Slot("b"),
                Text(" slept."),
                Slot("s"),
                Text(" woke")
            ]
        );
    }
}
