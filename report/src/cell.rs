//! What stands at a row and a column.

/// What stands at a row and a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// A number with so many decimals; none where it is undefined or was not measured, shown as `-`.
    Number {
        /// The number.
        value: Option<f64>,
        /// Decimals that are shown.
        decimals: usize,
    },
    /// A number with two decimals, or as many as its column leaves a space before.
    Fitting(Option<f64>),
    /// A number of things.
    Count(usize),
    /// Words, or numbers that are put together: `0.600 ± 0.100`.
    Text(String),
}

impl Cell {
    /// A number with so many decimals.
    pub fn number(value: impl Into<Option<f64>>, decimals: usize) -> Self {
        Self::Number {
            value: value.into(),
            decimals,
        }
    }

    /// Words.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Whether it says something: a number that is defined, or words.
    pub fn is_defined(&self) -> bool {
        match self {
            Self::Number { value, .. } | Self::Fitting(value) => value.is_some(),
            Self::Count(_) => true,
            Self::Text(text) => !text.is_empty() && text != "-",
        }
    }

    /// The cell in a column of so many characters; as it is where there is no such bound.
    pub fn shown(&self, width: Option<usize>) -> String {
        match self {
            Self::Number { value: None, .. } | Self::Fitting(None) => "-".to_owned(),
            Self::Number {
                value: Some(value),
                decimals,
            } => format!("{value:.decimals$}"),
            Self::Fitting(Some(value)) => fitting(*value, width.unwrap_or(usize::MAX)),
            Self::Count(count) => count.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// Two decimals; where they would leave no space in a column of this width, without the zero before the point or with one.
fn fitting(value: f64, width: usize) -> String {
    let text = format!("{value:.2}");
    match (text.len() < width, text.strip_prefix("-0")) {
        (true, _) => text,
        (false, Some(fraction)) => format!("-{fraction}"),
        (false, None) => format!("{value:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_column_costs_a_zero_or_a_decimal() {
        assert_eq!(fitting(0.5, 5), "0.50");
        assert_eq!(fitting(-0.5, 5), "-.50");
        assert_eq!(fitting(12.34, 5), "12.3");
        assert_eq!(fitting(12.34, 6), "12.34");
        assert_eq!(Cell::Fitting(None).shown(Some(5)), "-");
    }

    #[test]
    fn what_is_undefined_says_nothing() {
        assert!(Cell::number(0.0, 2).is_defined() && Cell::Count(0).is_defined() && Cell::text("a").is_defined());
        assert!(
            !Cell::number(None, 2).is_defined() && !Cell::Fitting(None).is_defined() && !Cell::text("-").is_defined()
        );
    }
}
