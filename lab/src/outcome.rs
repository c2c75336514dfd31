//! What a stage found.

/// What a stage found: values, and what is to be shown of them.
#[derive(Debug, Clone)]
pub struct Outcome<T> {
    /// The values.
    pub found: T,
    /// Tables and other results as text, in order.
    pub results: Vec<String>,
    /// Remarks that belong below the results: where they are, what they lack.
    pub remarks: Vec<String>,
}

impl<T> Outcome<T> {
    /// Values with one text that shows them.
    pub fn new(found: T, result: String) -> Self {
        Self {
            found,
            results: vec![result],
            remarks: Vec::new(),
        }
    }

    /// Adds a remark to be shown below the results, if there is one.
    #[must_use]
    pub fn remark(mut self, remark: impl Into<Option<String>>) -> Self {
        self.remarks.extend(remark.into());
        self
    }
}
