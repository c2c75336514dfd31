//! What was compared, and what of it differs.

/// One kind of values: how many were compared, how far they lie apart at most, and what is wrong.
#[derive(Debug)]
pub(super) struct Group {
    name: &'static str,
    /// How the deviation is measured, and how large it may be; nothing is tolerated where it is not measured.
    tolerance: Option<(&'static str, f64)>,
    compared: usize,
    largest: f64,
    wrong: usize,
    first: Option<String>,
}

impl Group {
    /// Values of which `measure` ("absolute", "relative") may be at most `tolerance`.
    pub(super) fn measured(name: &'static str, measure: &'static str, tolerance: f64) -> Self {
        Self {
            tolerance: Some((measure, tolerance)),
            ..Self::exact(name)
        }
    }

    /// Things that are the same or not.
    pub(super) fn exact(name: &'static str) -> Self {
        Self {
            name,
            tolerance: None,
            compared: 0,
            largest: 0.0,
            wrong: 0,
            first: None,
        }
    }

    /// Compares a value with the golden one: the deviation is divided by `scale`. `what` names the value.
    pub(super) fn compare(&mut self, found: f64, expected: f64, scale: f64, what: impl FnOnce() -> String) {
        let deviation = (found - expected).abs() / scale;
        self.compared += 1;
        // NaN is the largest of all, and stays.
        if deviation.is_nan() || deviation > self.largest {
            self.largest = deviation;
        }
        let tolerance = self.tolerance.map_or(0.0, |(_, tolerance)| tolerance);
        let is_within = deviation <= tolerance;
        if !is_within {
            self.add_wrong(|| format!("{}: {found:.6}, expected {expected:.6}", what()));
        }
    }

    /// Notes whether something is as it should be; `what` says what is not.
    pub(super) fn check(&mut self, is_right: bool, what: impl FnOnce() -> String) {
        self.compared += 1;
        if !is_right {
            self.add_wrong(what);
        }
    }

    fn add_wrong(&mut self, what: impl FnOnce() -> String) {
        self.wrong += 1;
        self.first.get_or_insert_with(what);
    }

    /// The line of the group; none where nothing was compared.
    pub(super) fn line(&self) -> Option<String> {
        let (name, n) = (self.name, self.compared);
        let measured = match self.tolerance {
            _ if n == 0 => return None,
            None => format!("{} the same", n - self.wrong),
            Some((measure, tolerance)) => format!(
                "largest deviation {:.1e} ({measure}, tolerance {tolerance:.0e}), {} within",
                self.largest,
                n - self.wrong
            ),
        };
        Some(format!("{name:<16} {n:>6} compared, {measured}"))
    }

    /// The line of what is wrong, if something is.
    pub(super) fn failure(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        Some(format!(
            "{}: {} of {} differ, first {first}",
            self.name, self.wrong, self.compared
        ))
    }
}

/// The beginning of a text, for one line.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_too_far_apart_is_counted_and_the_first_is_told() {
        let mut group = Group::measured("logits", "absolute", 2e-3);
        assert_eq!((group.line(), group.failure()), (None, None));
        group.compare(1.001, 1.0, 1.0, || unreachable!());
        assert!(group.failure().is_none());
        for (found, name) in [(1.5, "a"), (f64::NAN, "b"), (0.5, "c")] {
            group.compare(found, 1.0, 1.0, || name.to_owned());
        }
        assert_eq!(
            group.failure().as_deref(),
            Some("logits: 3 of 4 differ, first a: 1.500000, expected 1.000000")
        );
        let line = group.line().unwrap();
        assert!(line.contains("NaN") && line.contains("1 within"), "{line}");
    }

    #[test]
    fn a_deviation_is_relative_to_its_scale() {
        let mut group = Group::measured("norms", "relative", 1e-3);
        group.compare(1000.9, 1000.0, 1000.0, || unreachable!());
        assert!(group.failure().is_none());
        group.compare(1.1, 1.0, 1.0, || "small".to_owned());
        assert!(group.failure().is_some());
    }
}
