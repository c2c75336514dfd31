//! Text of any origin, as it is shown.

/// Characters of a piece of text that are shown; the rest is counted.
const LONGEST: usize = 120;

/// `text` with control characters and marks of another direction spelled out, and cut where it is longer than a page can hold.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::new();
    for (place, c) in text.chars().enumerate() {
        if place == LONGEST {
            out += &format!("… ({} characters)", text.chars().count());
            break;
        }
        match is_acted_on(c) {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out
}

/// Whether a browser would act on the character, or show what follows in another order.
fn is_acted_on(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
}

/// A token as it is shown: the space that begins most of them stays, a line's end and a tab are marked.
pub(crate) fn token(text: &str) -> String {
    shown(&text.replace('\n', "↵").replace('\t', "⇥"))
}

/// JSON that can stand in a script element, and in a script: no tag, comment or line ends in it.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string(value)?;
    // These stand in strings only, where an escape means the same.
    let escaped = text
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026");
    Ok(escaped.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_would_act_on_is_spelled_out() {
        assert_eq!(shown("a\u{202e}b\u{0}\u{7}"), "a\\u{202e}b\\u{0}\\u{7}");
        assert_eq!(shown("模型 😀 <b>"), "模型 😀 <b>");
        assert_eq!(token(" new\nline"), " new↵line");
        let long = shown(&"x".repeat(1 << 20));
        assert!(long.len() < 200 && long.ends_with("(1048576 characters)"), "{long}");
    }

    #[test]
    fn json_ends_no_script() {
        let hostile = "</script><!--\u{2028}&";
        let text = json(&hostile).unwrap();
        assert!(!text.contains(['<', '>', '&', '\u{2028}']), "{text}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), hostile);
    }
}
