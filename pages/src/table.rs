//! Tables that sort, filter and copy.

use maud::{Markup, html};

use crate::glossary::term;

/// A table with what can be done with it.
pub(crate) struct Table {
    /// Its identifier on the page.
    pub(crate) id: String,
    /// What it shows, for those who do not see it.
    pub(crate) caption: String,
    /// The headings; terms of the glossary are explained.
    pub(crate) headings: Vec<String>,
    /// Rows of cells.
    pub(crate) rows: Vec<Row>,
    /// Filters besides that of text: a key of the rows' data, its name, its values, and whether the first one is chosen.
    pub(crate) filters: Vec<Filter>,
}

/// A row, with the data that filters look at.
#[derive(Default)]
pub(crate) struct Row {
    pub(crate) cells: Vec<Markup>,
    /// The value for each filter, in their order.
    pub(crate) keys: Vec<String>,
    /// Whether it shows a real difference, where that is a question.
    pub(crate) real: Option<bool>,
}

impl Row {
    pub(crate) fn of(cells: Vec<Markup>) -> Self {
        Self {
            cells,
            ..Self::default()
        }
    }
}

/// A choice of rows.
pub(crate) struct Filter {
    /// What is chosen.
    pub(crate) label: String,
    /// The values.
    pub(crate) values: Vec<String>,
    /// Whether the first value is chosen where the page opens; otherwise all rows are shown.
    pub(crate) first: bool,
}

impl Table {
    pub(crate) fn render(&self) -> Markup {
        let has_real = self.rows.iter().any(|row| row.real.is_some());
        html! {
            div class="tools" data-table=(self.id) {
                label { "Filter " input type="search" data-filter="text" placeholder="text of a row"; }
                @for (place, filter) in self.filters.iter().enumerate() {
                    label {
                        (filter.label) " "
                        select data-filter={ "key" (place) } {
                            option value="" selected[!filter.first] { "all" }
                            @for (number, value) in filter.values.iter().enumerate() {
                                option value=(value) selected[filter.first && number == 0] { (value) }
                            }
                        }
                    }
                }
                @if has_real { label { input type="checkbox" data-filter="real"; " real differences only" } }
                button type="button" data-act="copy-csv" { "Copy CSV" }
                button type="button" data-act="copy-markdown" { "Copy Markdown" }
                button type="button" data-act="save-csv" { "Save CSV" }
            }
            div class="scroll" tabindex="0" role="region" aria-label=(self.caption) {
                table class="sortable" id=(self.id) {
                    thead { tr { @for heading in &self.headings { th scope="col" data-name=(heading) { (term(heading)) } } } }
                    tbody {
                        @for row in &self.rows {
                            tr data-key0=[row.keys.first()] data-key1=[row.keys.get(1)] data-real=[row.real] {
                                @for cell in &row.cells { td { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
