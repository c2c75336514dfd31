//! What is known of countries and animals: a table of our own. FIND's 25 relations come from a language model; these come from it.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// Which table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Things {
    /// Countries.
    Countries,
    /// Animals.
    Animals,
}

/// Rows of things, with one thing in the first column and something known of it in each other.
#[derive(Debug)]
pub struct Table {
    columns: &'static [&'static str],
    rows: Vec<Vec<&'static str>>,
}

static COUNTRIES: LazyLock<Table> = LazyLock::new(|| Table {
    columns: &[
        "a country",
        "its capital",
        "its continent",
        "its language",
        "its currency",
    ],
    rows: rows(include_str!("countries.csv")),
});
static ANIMALS: LazyLock<Table> = LazyLock::new(|| Table {
    columns: &[
        "an animal",
        "its young",
        "its class",
        "what it does to be heard",
        "where it lives",
    ],
    rows: rows(include_str!("animals.csv")),
});

fn rows(text: &'static str) -> Vec<Vec<&'static str>> {
    text.lines().map(|line| line.split(',').collect()).collect()
}

impl Table {
    /// The table of some things.
    pub fn of(things: Things) -> &'static Self {
        match things {
            Things::Countries => &COUNTRIES,
            Things::Animals => &ANIMALS,
        }
    }

    /// What each column holds, in English.
    pub fn columns(&self) -> &'static [&'static str] {
        self.columns
    }

    /// The rows.
    pub fn rows(&self) -> &[Vec<&'static str>] {
        &self.rows
    }

    /// The row with this word in a column; the first of several.
    pub fn row(&self, column: usize, word: &str) -> Option<&[&'static str]> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.get(column) == Some(&word)).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn rows_are_as_wide_as_their_table_and_begin_differently() {
        for things in [Things::Countries, Things::Animals] {
            let table = Table::of(things);
            assert!(table.rows().iter().all(|row| row.len() == table.columns().len()));
            let first: BTreeSet<&str> = table.rows().iter().map(|row| row[0]).collect();
            assert_eq!(first.len(), table.rows().len());
        }
        assert_eq!(Table::of(Things::Countries).rows().len(), 40);
        assert_eq!(Table::of(Things::Animals).rows().len(), 30);
    }
}
