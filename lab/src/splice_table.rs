//! What `saelab splice` prints.

use std::fmt::Write as _;

use dictionaries::DENSE;
use report::{Cell, Group, Table};

use crate::finished_notes;
use crate::splice::{Spliced, SplicedTogether};

/// Each dictionary alone, those that write one place in one table.
pub(crate) fn alone(all: &[Spliced]) -> String {
    let mut out = String::new();
    for rows in all.chunk_by(|a, b| (&a.site, &a.writes) == (&b.site, &b.writes)) {
        let row = &rows[0];
        let site = match row.site == row.writes {
            true => row.site.clone(),
            false => format!("from {} to {}", row.site, row.writes),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{site}: cross-entropy {:.3}, with zeros {:.3}, with the mean {:.3}, on {} tokens",
            row.ce_clean, row.zero.ce, row.mean.ce, row.tokens
        );
        out += &of_site(rows).text();
    }
    out + "\n" + &notes(all)
}

/// The dictionaries that read one place and write one.
fn of_site(rows: &[Spliced]) -> Table {
    let columns = [
        ("FVU", 6),
        ("per token", 9),
        ("L0", 6),
        ("dead", 6),
        ("dense", 6),
        ("CE", 7),
        ("KL", 7),
        ("from zero", 9),
        ("from mean", 9),
    ];
    let columns = columns.map(|(heading, width)| Group::column(heading, width));
    let mut table = Table::new("", 28, columns.to_vec());
    for row in rows {
        let found = &row.fidelity;
        let cells = vec![
            Cell::number(found.fvu, 3),
            Cell::number(found.fvu_per_token, 3),
            Cell::number(found.l0, 1),
            Cell::number(found.dead, 3),
            Cell::number(found.dense, 3),
            Cell::number(row.spliced.ce, 3),
            Cell::number(row.spliced.kl, 4),
            Cell::number(row.recovered_from_zero, 3),
            Cell::number(row.recovered_from_mean, 3),
        ];
        table.push(row.dictionary.as_str(), cells);
    }
    table
}

/// What the columns are, and where a few rows decide them.
fn notes(all: &[Spliced]) -> String {
    let mut notes = format!(
        "on this text, special tokens left out; FVU: of all tokens together, and the mean over each token's own\n\
         dead: latents that no token activates; dense: that more than {:.0} % of them activate\n",
        100.0 * DENSE
    );
    let mut site = "";
    for row in all
        .iter()
        .filter(|row| row.summary.as_ref().is_some_and(finished_notes::is_outweighed))
    {
        if row.site != site {
            site = &row.site;
            let share = row.summary.and_then(|summary| summary.largest_variance).unwrap_or(0.0);
            // Writing to a string cannot fail.
            let _ = writeln!(
                notes,
                "{site}: in training, the longest thousandth of the rows carried {:.0} % of the variance; a few tokens may decide FVU, see that \
                 per token",
                100.0 * share
            );
        }
    }
    notes
}

/// Sets of dictionaries in one pass, with the ablations of all that they write.
pub(crate) fn together(sets: &[SplicedTogether]) -> String {
    if sets.is_empty() {
        return String::new();
    }
    let share = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{share:.3}"));
    let mut out = format!(
        "\ntogether in one pass:\n{:>7} {:>7} {:>9} {:>9} {:>9} {:>9}  dictionaries\n",
        "CE", "KL", "from zero", "from mean", "CE zero", "CE mean"
    );
    for set in sets {
        let members = set.dictionaries.iter().map(|member| {
            let error = if member.error_term { " + error" } else { "" };
            match member.site == member.writes {
                true => format!("{} at {}{error}", member.dictionary, member.site),
                false => format!("{} from {} to {}{error}", member.dictionary, member.site, member.writes),
            }
        });
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{:>7.3} {:>7.4} {:>9} {:>9} {:>9.3} {:>9.3}  {}",
            set.spliced.ce,
            set.spliced.kl,
            share(set.recovered_from_zero),
            share(set.recovered_from_mean),
            set.zero.ce,
            set.mean.ce,
            members.collect::<Vec<_>>().join("; ")
        );
    }
    if sets
        .iter()
        .flat_map(|set| &set.dictionaries)
        .any(|member| member.error_term)
    {
        out += "error: what the dictionary gets wrong of the untouched model, token by token, is added\n";
    }
    out
}
