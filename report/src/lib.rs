//! Tables as values: what was found once, shown in a terminal or in Markdown.
//!
//! * [`Table`]: groups of columns under headings, rows with a name and a [`Cell`] for each column.
//! * [`Table::text`], [`Table::markdown`]: the same values, rendered.
//!
//! ```
//! use report::{Cell, Group, Table};
//!
//! let mut table = Table::new("dictionary", 12, vec![Group::new("edit IO", 6, ["k=2", "k=4"])]);
//! table.push("sae-topk", vec![Cell::number(0.5, 2), Cell::number(None, 2)]);
//! assert_eq!(table.text(), "                  edit IO\ndictionary      k=2   k=4\nsae-topk       0.50     -\n");
//! assert_eq!(table.markdown(), "| dictionary | edit IO k=2 | edit IO k=4 |\n| --- | --- | --- |\n| sae-topk | 0.50 | - |\n");
//! ```

mod cell;
mod markdown;
mod table;
mod text;

pub use cell::Cell;
pub use table::{Group, Row, Table};
