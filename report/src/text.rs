//! Tables for a terminal.

use std::fmt::Write as _;

use crate::{Row, Table};

impl Table {
    /// The table for a terminal: a line of the groups' headings where they have any, a line of the columns' headings, a line a row.
    /// Columns are aligned to the right, with a space before each group.
    pub fn text(&self) -> String {
        self.heading_text() + &self.rows_text()
    }

    /// The lines of headings alone.
    pub fn heading_text(&self) -> String {
        let mut titles = " ".repeat(self.width);
        let mut columns = format!("{:<1$}", self.heading, self.width);
        // Writing to a string cannot fail.
        for group in &self.groups {
            let _ = write!(titles, " {:>1$}", group.title, group.width * group.columns.len());
            columns.push(' ');
            for column in &group.columns {
                let _ = write!(columns, "{column:>0$}", group.width);
            }
        }
        let columns = columns.trim_end();
        match titles.trim_end() {
            "" => format!("{columns}\n"),
            titles => format!("{titles}\n{columns}\n"),
        }
    }

    /// The lines of the rows alone.
    pub fn rows_text(&self) -> String {
        self.rows.iter().map(|row| self.row_text(row)).collect()
    }

    fn row_text(&self, row: &Row) -> String {
        let mut line = format!("{:<1$}", row.name, self.width);
        let mut cells = row.cells.iter();
        for group in &self.groups {
            line.push(' ');
            for cell in cells.by_ref().take(group.columns.len()) {
                // Writing to a string cannot fail.
                let _ = write!(line, "{:>1$}", cell.shown(Some(group.width)), group.width);
            }
        }
        format!("{}\n", line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Cell, Group, Table};

    #[test]
    fn columns_stand_below_their_headings_and_groups_apart() {
        let groups = vec![Group::new("approximation", 6, ["suff", "nec"]), Group::column("F1", 5)];
        let mut table = Table::new("dictionary", 11, groups);
        table.push(
            "random",
            vec![Cell::Fitting(Some(0.5)), Cell::Fitting(None), Cell::number(1.0, 2)],
        );
        table.push_defined(
            "nothing",
            vec![Cell::Fitting(None), Cell::Fitting(None), Cell::number(None, 2)],
        );
        let expected = "            approximation\n\
                        dictionary    suff   nec    F1\n\
                        random        0.50     -  1.00\n";
        assert_eq!(table.text(), expected);
        table.groups[0].title.clear();
        assert_eq!(table.heading_text(), "dictionary    suff   nec    F1\n");
    }
}
