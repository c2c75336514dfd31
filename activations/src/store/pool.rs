//! Some shards of a store in memory, as they are on disk: what a stream draws its batches from.
//!
//! Shapes: `N` rows of the pool, `B` of a batch, `D` numbers of a vector that is returned.

use std::ops::Range;

use bytes::Bytes;
use lm::HookPoint;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics as ColumnStatistics;
use tasks::Role;

use super::held_out::HeldOut;
use super::live::Feed;
use super::open_shard::OpenShard;
use super::reader::{Cut, Store};
use super::schema::Row;
use crate::Error;

/// Which rows of a store are read; row groups that hold none of the wanted ids and roles are not read at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Documents.
    pub documents: Option<Range<u32>>,
    /// Positions in the sequence.
    pub positions: Option<Range<u32>>,
    /// Token ids.
    pub tokens: Option<Range<u32>>,
    /// The semantic position.
    pub role: Option<Role>,
    /// Only rows that are not marked as special.
    pub without_special: bool,
    /// Only rows that are not held out.
    pub without_held_out: HeldOut,
}

impl Filter {
    /// Whether every row is wanted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether some row groups need not be read.
    fn skips_groups(&self) -> bool {
        self.documents.is_some() || self.positions.is_some() || self.tokens.is_some() || self.role.is_some()
    }

    fn holds(&self, row: &Row) -> bool {
        let within = |range: &Option<Range<u32>>, id: u32| range.as_ref().is_none_or(|range| range.contains(&id));
        within(&self.documents, row.document)
            && within(&self.positions, row.position)
            && within(&self.tokens, row.token)
            && (self.role.is_none() || self.role == row.role)
            && !(self.without_special && row.special)
            && !self.without_held_out.holds(row)
    }

    /// Whether a row group may hold a wanted row, by the least and greatest values in the footer.
    fn may_hold(&self, group: &RowGroupMetaData) -> bool {
        let statistics = |name: &str| {
            let column = group
                .columns()
                .iter()
                .find(|column| column.column_path().string() == name);
            column.and_then(|column| column.statistics())
        };
        let ids = [
            ("document", &self.documents),
            ("position", &self.positions),
            ("token", &self.tokens),
        ];
        let ranges = ids.into_iter().all(|(name, range)| match (range, statistics(name)) {
            // Unsigned numbers stand in signed columns, ordered as unsigned.
            (Some(range), Some(ColumnStatistics::Int32(found))) => match (found.min_opt(), found.max_opt()) {
                (Some(&least), Some(&most)) => range.start <= most as u32 && range.end > least as u32,
                _ => true,
            },
            _ => true,
        });
        let role = match (self.role, statistics("role")) {
            (Some(role), Some(ColumnStatistics::ByteArray(found))) => {
                let name = role.to_string();
                let (least, most) = (found.min_bytes_opt(), found.max_bytes_opt());
                least.is_none_or(|least| least <= name.as_bytes()) && most.is_none_or(|most| most >= name.as_bytes())
            }
            _ => true,
        };
        ranges && role
    }
}

/// What is read of a store.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    /// The hooks, and what of their vectors.
    pub(super) hooks: Vec<(HookPoint, Cut)>,
    pub(super) filter: Filter,
    /// Whether the origin of each row is wanted.
    pub(super) rows: bool,
}

/// The vectors of one hook.
#[derive(Debug, Clone, Default)]
struct Held {
    pages: Vec<Bytes>,
    /// For each row its page, and the place in it.
    places: Vec<(u32, u32)>,
}

/// Rows of some shards.
#[derive(Debug, Default)]
pub(super) struct Pool {
    hooks: Vec<Held>,
    /// Origin of each row, `N`; empty unless it is wanted.
    pub(super) rows: Vec<Row>,
    /// Bytes of the shards that were read.
    pub(super) stored: u64,
    /// Row groups that were passed over.
    pub(super) skipped: u64,
}

impl Pool {
    /// Reads shards.
    pub(super) fn read(store: &Store, shards: &[usize], selection: &Selection) -> Result<Self, Error> {
        let mut pool = Self {
            hooks: vec![Held::default(); selection.hooks.len()],
            ..Self::default()
        };
        let filter = (!selection.filter.is_empty()).then_some(&selection.filter);
        for (index, (hook, _)) in selection.hooks.iter().enumerate() {
            let all = store.shards(*hook)?;
            for &shard in shards {
                let Some((path, expected)) = all.get(shard) else {
                    continue;
                };
                if !selection.filter.skips_groups() {
                    let open = OpenShard::in_memory(path, *expected, store.crc32c(*hook, shard))?;
                    pool.stored += open.size();
                    for group in 0..open.groups().len() {
                        let rows = match filter.is_some() || (selection.rows && index == 0) {
                            true => open.rows(group)?,
                            false => Vec::new(),
                        };
                        pool.add(index, expected.bytes(), &rows, open.pages(group)?, filter);
                    }
                } else {
                    let open = OpenShard::on_disk(path, *expected)?;
                    for group in 0..open.groups().len() {
                        if !selection.filter.may_hold(&open.groups()[group]) {
                            pool.skipped += 1;
                            continue;
                        }
                        let (rows, pages) = open.checked(group)?;
                        pool.stored += pages.iter().map(|page| page.len() as u64).sum::<u64>();
                        pool.add(index, expected.bytes(), &rows, pages, filter);
                    }
                }
            }
        }
        Ok(pool)
    }

    /// As [`Pool::read`], from shards that are being made; `None` where that was told to stop.
    pub(super) fn made(feed: &Feed, shards: usize, selection: &Selection) -> Result<Option<Self>, Error> {
        let mut pool = Self {
            hooks: vec![Held::default(); selection.hooks.len()],
            ..Self::default()
        };
        let filter = (!selection.filter.is_empty()).then_some(&selection.filter);
        for _ in 0..shards {
            let Some(made) = feed.next()? else { return Ok(None) };
            for (index, data) in made.into_iter().enumerate() {
                let bytes = data.vectors.len() / data.rows.len().max(1);
                let rows = match filter.is_some() || selection.rows {
                    true => data.rows,
                    false => Vec::new(),
                };
                pool.add(index, bytes, &rows, vec![data.vectors.into()], filter);
            }
        }
        Ok(Some(pool))
    }

    /// Adds a row group of the hook at `index`.
    fn add(&mut self, index: usize, bytes: usize, rows: &[Row], pages: Vec<Bytes>, filter: Option<&Filter>) {
        let held = &mut self.hooks[index];
        let mut row = 0;
        for page in pages {
            let count = page.len() / bytes.max(1);
            for inside in 0..count {
                if filter.is_none_or(|filter| rows.get(row + inside).is_some_and(|row| filter.holds(row))) {
                    held.places.push((held.pages.len() as u32, inside as u32));
                    if let Some(row) = rows.get(row + inside).filter(|_| index == 0) {
                        self.rows.push(row.clone());
                    }
                }
            }
            row += count;
            held.pages.push(page);
        }
    }

    /// Number of rows, `N`.
    pub(super) fn len(&self) -> usize {
        self.hooks.first().map_or(0, |held| held.places.len())
    }

    /// Appends rows of the hook at `index` to `out`, `[B, D]`.
    pub(super) fn gather(&self, store: &Store, index: usize, selection: &Selection, rows: &[u32], out: &mut Vec<f32>) {
        let manifest = store.manifest();
        let (hook, cut) = &selection.hooks[index];
        let bytes = manifest.hooks.get(hook).map_or(0, |entry| entry.width) * manifest.dtype.size();
        let Held { pages, places } = &self.hooks[index];
        out.reserve(rows.len() * cut.width);
        for &row in rows {
            let (page, inside) = places[row as usize];
            let start = inside as usize * bytes;
            let vector = &pages[page as usize][start..start + bytes];
            manifest.dtype.decode(&vector[cut.bytes.clone()], out); // [D]
        }
    }
}

/// Number of rows of each shard that a filter lets through.
pub(super) fn counts(store: &Store, hook: HookPoint, filter: &Filter) -> Result<Vec<usize>, Error> {
    let count = |path: &std::path::Path, expected| -> Result<usize, Error> {
        let open = OpenShard::on_disk(path, expected)?;
        let mut count = 0;
        for group in (0..open.groups().len()).filter(|&group| filter.may_hold(&open.groups()[group])) {
            count += open.rows(group)?.iter().filter(|row| filter.holds(row)).count();
        }
        Ok(count)
    };
    let shards = store.shards(hook)?;
    if filter.is_empty() {
        return Ok(shards.iter().map(|(_, expected)| expected.rows).collect());
    }
    if let Some(source) = store.source() {
        let count = |shard| Ok(source.rows(shard)?.iter().filter(|row| filter.holds(row)).count());
        return (0..shards.len()).map(count).collect();
    }
    shards.iter().map(|(path, expected)| count(path, *expected)).collect()
}
