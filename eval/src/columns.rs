//! Scores as columns: `scores.parquet`, and `resamples.parquet`, which adds to each score its bootstrap resamples.
//!
//! Resample `r` shows the same prompts to every score of every evaluation with the same task, seed and number of prompts,
//! so two files can be compared in pairs. One plain column a field; `raw` and `latents` are JSON text.
//!
//! Shape legend: `R` resamples.

use crate::Error;
use crate::ledger::Entry;
use crate::report::Score;
use arrow::array::{
    Array, ArrayRef, Float32Array, Float32Builder, Float64Array, ListArray, ListBuilder, RecordBatch, StringArray,
    UInt64Array,
};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// The scores as a Parquet file.
///
/// # Errors
/// [`Error::Json`], [`Error::Arrow`], [`Error::Parquet`].
pub fn scores_parquet(entries: &[Entry]) -> Result<Vec<u8>, Error> {
    write(&RecordBatch::try_from_iter_with_nullable(fields(entries)?)?)
}

/// The scores with their resamples as a Parquet file: the column `resamples` holds lists of `R` f32, NaN where a number is
/// undefined.
///
/// # Errors
/// As [`scores_parquet`].
pub fn resamples_parquet(entries: &[Entry]) -> Result<Vec<u8>, Error> {
    let mut lists = ListBuilder::new(Float32Builder::new());
    for entry in entries {
        lists.values().append_slice(&entry.resampled);
        lists.append(true);
    }
    let mut all = fields(entries)?;
    all.push(("resamples", Arc::new(lists.finish()), false));
    write(&RecordBatch::try_from_iter_with_nullable(all)?)
}

/// Name, values and whether some may be missing.
type Field = (&'static str, ArrayRef, bool);

fn fields(entries: &[Entry]) -> Result<Vec<Field>, Error> {
    let text = |get: &dyn Fn(&Score) -> Option<String>| -> ArrayRef {
        Arc::new(entries.iter().map(|entry| get(&entry.score)).collect::<StringArray>())
    };
    let number = |get: &dyn Fn(&Score) -> Option<f64>| -> ArrayRef {
        Arc::new(entries.iter().map(|entry| get(&entry.score)).collect::<Float64Array>())
    };
    let count = |get: &dyn Fn(&Score) -> Option<usize>| -> ArrayRef {
        let counts = entries.iter().map(|entry| get(&entry.score).map(|n| n as u64));
        Arc::new(counts.collect::<UInt64Array>())
    };
    let raw = entries.iter().map(|entry| serde_json::to_string(&entry.score.raw));
    let raw = raw.collect::<Result<Vec<_>, _>>()?;
    let latents = entries.iter().map(|entry| serde_json::to_string(&entry.score.latents));
    let latents = latents.collect::<Result<Vec<_>, _>>()?;
    let sensitivity = entries
        .iter()
        .map(|entry| serde_json::to_string(&entry.score.sensitivity));
    let sensitivity = sensitivity.collect::<Result<Vec<_>, _>>()?;
    let name = |attribute: Option<tasks::Attribute>| attribute.map(|attribute| attribute.to_string());
    Ok(vec![
        ("dictionary", text(&|score| Some(score.dictionary.clone())), false),
        ("site", text(&|score| Some(score.site.clone())), false),
        ("attribute", text(&|score| name(score.attribute)), true),
        ("test", text(&|score| Some(score.test.to_string())), false),
        ("metric", text(&|score| Some(score.metric.to_string())), false),
        (
            "method",
            text(&|score| score.method.map(|method| method.to_string())),
            true,
        ),
        ("k", count(&|score| score.k), true),
        ("threshold", number(&|score| score.threshold), true),
        ("verdict", text(&|score| score.verdict.clone()), true),
        ("sensitivity", Arc::new(StringArray::from(sensitivity)), false),
        ("value", number(&|score| score.value), true),
        ("low", number(&|score| score.low), true),
        ("high", number(&|score| score.high), true),
        ("n", count(&|score| Some(score.n)), false),
        ("raw", Arc::new(StringArray::from(raw)), false),
        ("latents", Arc::new(StringArray::from(latents)), false),
    ])
}

fn write(batch: &RecordBatch) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None)?;
    writer.write(batch)?;
    writer.close()?;
    Ok(bytes)
}

/// Reads what [`resamples_parquet`] wrote.
///
/// # Errors
/// [`Error::Read`] when the file cannot be opened; [`Error::Columns`] when a column is missing, of another type, or holds a name that this version does not know;
/// [`Error::Parquet`], [`Error::Arrow`], [`Error::Json`].
pub fn read_resamples(path: &Path) -> Result<Vec<Entry>, Error> {
    let file = File::open(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    entries_of(file).map_err(|source| Error::Scores {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

fn entries_of(file: File) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(file)?.build()? {
        let batch = batch?;
        let column = Columns(&batch);
        let resamples = column.of::<ListArray>("resamples")?;
        for row in 0..batch.num_rows() {
            let text = |name| Ok::<_, Error>(column.text(name, row)?.unwrap_or_default());
            let lists = resamples.value(row);
            let Some(resampled) = lists.as_any().downcast_ref::<Float32Array>() else {
                return Err(column.wrong("resamples"));
            };
            entries.push(Entry {
                score: Score {
                    dictionary: text("dictionary")?.to_owned(),
                    site: text("site")?.to_owned(),
                    attribute: column.parsed("attribute", row)?,
                    test: column.parsed("test", row)?.ok_or_else(|| column.wrong("test"))?,
                    metric: column.parsed("metric", row)?.ok_or_else(|| column.wrong("metric"))?,
                    method: column.parsed("method", row)?,
                    k: column.count("k", row)?,
                    threshold: column.number("threshold", row)?,
                    verdict: column.text("verdict", row)?.map(str::to_owned),
                    sensitivity: serde_json::from_str(text("sensitivity")?)?,
                    value: column.number("value", row)?,
                    low: column.number("low", row)?,
                    high: column.number("high", row)?,
                    n: column.count("n", row)?.unwrap_or_default(),
                    raw: serde_json::from_str(text("raw")?)?,
                    latents: serde_json::from_str(text("latents")?)?,
                },
                resampled: resampled.values().to_vec(),
            });
        }
    }
    Ok(entries)
}

struct Columns<'a>(&'a RecordBatch);

impl<'a> Columns<'a> {
    fn wrong(&self, name: &'static str) -> Error {
        Error::Columns { name }
    }

    fn of<T: 'static>(&self, name: &'static str) -> Result<&'a T, Error> {
        let column = self.0.column_by_name(name);
        let typed = column.and_then(|column| column.as_any().downcast_ref::<T>());
        typed.ok_or_else(|| self.wrong(name))
    }

    fn text(&self, name: &'static str, row: usize) -> Result<Option<&'a str>, Error> {
        let column = self.of::<StringArray>(name)?;
        Ok((!column.is_null(row)).then(|| column.value(row)))
    }

    fn parsed<T: std::str::FromStr>(&self, name: &'static str, row: usize) -> Result<Option<T>, Error> {
        let text = self.text(name, row)?;
        text.map(|text| text.parse().map_err(|_| self.wrong(name))).transpose()
    }

    fn number(&self, name: &'static str, row: usize) -> Result<Option<f64>, Error> {
        let column = self.of::<Float64Array>(name)?;
        Ok((!column.is_null(row)).then(|| column.value(row)))
    }

    fn count(&self, name: &'static str, row: usize) -> Result<Option<usize>, Error> {
        let column = self.of::<UInt64Array>(name)?;
        Ok((!column.is_null(row)).then(|| column.value(row) as usize))
    }
}
