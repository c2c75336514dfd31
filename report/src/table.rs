//! The value of a table.

use crate::Cell;

/// Rows with a name, and columns in groups.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What the rows' names are: `dictionary`.
    pub heading: String,
    /// Room for the rows' names in a terminal, in characters.
    pub width: usize,
    /// The columns.
    pub groups: Vec<Group>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// A group of columns under one heading.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The heading of the group; empty where its columns' headings say enough.
    pub title: String,
    /// Width of each column in a terminal, in characters.
    pub width: usize,
    /// The headings of its columns.
    pub columns: Vec<String>,
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// A cell for each column of all groups.
    pub cells: Vec<Cell>,
}

impl Group {
    /// Columns of one width.
    pub fn new<S: Into<String>>(title: impl Into<String>, width: usize, columns: impl IntoIterator<Item = S>) -> Self {
        Self {
            title: title.into(),
            width,
            columns: columns.into_iter().map(Into::into).collect(),
        }
    }

    /// One column that needs no other heading.
    pub fn column(heading: impl Into<String>, width: usize) -> Self {
        Self::new("", width, [heading.into()])
    }
}

impl Table {
    /// A table without rows.
    pub fn new(heading: impl Into<String>, width: usize, groups: Vec<Group>) -> Self {
        Self {
            heading: heading.into(),
            width,
            groups,
            rows: Vec::new(),
        }
    }

    /// Adds a row with a cell for each column.
    ///
    /// # Panics
    /// Another number of cells than of columns.
    pub fn push(&mut self, name: impl Into<String>, cells: Vec<Cell>) {
        let columns: usize = self.groups.iter().map(|group| group.columns.len()).sum();
        assert_eq!(cells.len(), columns, "a cell for each column");
        self.rows.push(Row {
            name: name.into(),
            cells,
        });
    }

    /// Adds a row, unless all of its cells are undefined.
    ///
    /// # Panics
    /// Another number of cells than of columns.
    pub fn push_defined(&mut self, name: impl Into<String>, cells: Vec<Cell>) {
        if cells.iter().any(Cell::is_defined) {
            self.push(name, cells);
        }
    }

    /// The headings of all columns, each with that of its group.
    pub(crate) fn headings(&self) -> impl Iterator<Item = String> {
        self.groups.iter().flat_map(|group| {
            let whole = |column: &String| format!("{} {column}", group.title).trim().to_owned();
            group.columns.iter().map(whole)
        })
    }
}
