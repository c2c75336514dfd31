//! Tables in Markdown.

use crate::Table;

impl Table {
    /// The table in Markdown.
    pub fn markdown(&self) -> String {
        let names = std::iter::once(self.heading.clone());
        let headings: Vec<String> = names.chain(self.headings()).map(|text| escaped(&text)).collect();
        let mut out = format!("| {} |\n|{}\n", headings.join(" | "), " --- |".repeat(headings.len()));
        for row in &self.rows {
            let cells = row.cells.iter().map(|cell| cell.shown(None));
            let cells: Vec<String> = std::iter::once(row.name.clone())
                .chain(cells)
                .map(|text| escaped(&text))
                .collect();
            out += &format!("| {} |\n", cells.join(" | "));
        }
        out
    }
}

/// Text that ends no cell.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use crate::{Cell, Group, Table};

    #[test]
    fn a_bar_in_a_heading_ends_no_cell() {
        let mut table = Table::new("a", 3, vec![Group::new("", 6, ["|1-s|"])]);
        table.push("b", vec![Cell::Count(2)]);
        assert_eq!(table.markdown(), "| a | \\|1-s\\| |\n| --- | --- |\n| b | 2 |\n");
    }
}
