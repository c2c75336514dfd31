//! Words of remarks that several stages make.

/// A number and what it counts: `1 hook`, `2 hooks`.
pub(crate) fn counted(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_no_plural() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "hook")), ["0 hooks", "1 hook", "2 hooks"]);
    }
}
