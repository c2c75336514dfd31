//! The documents of a text corpus: plain text, JSON lines or Parquet, as they come or compressed with gzip or zstd.
//!
//! | name ends in | a document is |
//! | --- | --- |
//! | `.jsonl`, `.ndjson`, `.json` | a line: an object with the text in one field |
//! | `.parquet` | a row: the text in one column |
//! | anything else | a line |
//!
//! `.gz` or `.zst` may follow the first and the last; Parquet may be compressed with snappy or zstd. Blank documents are passed over. Files are read one after the other, in
//! the order of their patterns and, within a pattern, of their names; of a file only a line is in memory.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::Error;

/// Rows of a Parquet file that are decoded at a time: documents may be long.
const PARQUET_ROWS: usize = 256;

/// The files of a corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corpus {
    files: Vec<PathBuf>,
    /// The JSON field or Parquet column of the text.
    field: String,
}

impl Corpus {
    /// The files that the patterns name: paths, or globs such as `data/**/*.jsonl.zst`.
    ///
    /// # Errors
    ///
    /// A pattern that is none, or that no file matches.
    pub fn open<P: AsRef<str>>(patterns: &[P], field: &str) -> Result<Self, Error> {
        let mut files = Vec::new();
        for pattern in patterns {
            let pattern = pattern.as_ref();
            let fail = |reason: String| Error::Corpus {
                path: pattern.into(),
                reason,
            };
            // A file whose name holds a bracket is that file.
            if Path::new(pattern).is_file() {
                files.push(pattern.into());
                continue;
            }
            let found = glob::glob(pattern).map_err(|error| fail(format!("is no path or glob: {error}")))?;
            let before = files.len();
            for path in found {
                let path = path.map_err(|error| Error::io(error.path(), std::io::Error::from(error.error().kind())))?;
                if path.is_file() {
                    files.push(path);
                }
            }
            if files.len() == before {
                return Err(fail("matches no file; check `path` in the config".to_owned()));
            }
        }
        Ok(Self {
            files,
            field: field.to_owned(),
        })
    }

    /// The files, in the order in which they are read.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The documents one after the other; after an error there is nothing more.
    pub fn into_documents(self) -> impl Iterator<Item = Result<String, Error>> {
        let (mut failed, field) = (false, self.field);
        self.files
            .into_iter()
            .flat_map(move |path| match Documents::open(&path, &field) {
                Ok(documents) => documents,
                Err(error) => Documents::Failed(Some(error)),
            })
            .filter(|document| !document.as_ref().is_ok_and(|text| text.trim().is_empty()))
            .take_while(move |document| !std::mem::replace(&mut failed, document.is_err()))
    }
}

/// The documents of one file.
enum Documents {
    Lines {
        path: PathBuf,
        reader: Box<dyn BufRead>,
        /// Lines read.
        line: usize,
        /// The JSON field, where lines are JSON.
        field: Option<String>,
    },
    Parquet {
        path: PathBuf,
        reader: ParquetRecordBatchReader,
        ready: std::vec::IntoIter<String>,
    },
    Failed(Option<Error>),
}

impl Documents {
    fn open(path: &Path, field: &str) -> Result<Self, Error> {
        let file = File::open(path).map_err(|source| Error::io(path, source))?;
        let name = path.to_string_lossy().to_lowercase();
        if name.ends_with(".parquet") {
            return Self::parquet(path, file, field);
        }
        let reader: Box<dyn Read> = if name.ends_with(".gz") {
            Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file)))
        } else if name.ends_with(".zst") {
            Box::new(zstd::stream::read::Decoder::new(file).map_err(|source| Error::io(path, source))?)
        } else {
            Box::new(file)
        };
        let plain = name.trim_end_matches(".gz").trim_end_matches(".zst");
        let json = [".jsonl", ".ndjson", ".json"].iter().any(|end| plain.ends_with(end));
        Ok(Self::Lines {
            path: path.to_owned(),
            reader: Box::new(BufReader::with_capacity(1 << 20, reader)),
            line: 0,
            field: json.then(|| field.to_owned()),
        })
    }

    fn parquet(path: &Path, file: File, field: &str) -> Result<Self, Error> {
        let fail = |reason: String| Error::Corpus {
            path: path.to_owned(),
            reason,
        };
        let not_parquet = |error: parquet::errors::ParquetError| fail(format!("is no whole Parquet file ({error})"));
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(not_parquet)?;
        let names: Vec<&str> = builder
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        let Some(column) = names.iter().position(|name| *name == field) else {
            return Err(fail(format!(
                "has no column `{field}`, its columns are {}; set `text_field`",
                names.join(", ")
            )));
        };
        let projection = ProjectionMask::roots(builder.parquet_schema(), [column]);
        let reader = builder
            .with_projection(projection)
            .with_batch_size(PARQUET_ROWS)
            .build();
        Ok(Self::Parquet {
            path: path.to_owned(),
            reader: reader.map_err(not_parquet)?,
            ready: Vec::new().into_iter(),
        })
    }
}

impl Iterator for Documents {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Failed(error) => error.take().map(Err),
            Self::Lines {
                path,
                reader,
                line,
                field,
            } => {
                let mut bytes = Vec::new();
                *line += 1;
                match reader.read_until(b'\n', &mut bytes) {
                    Ok(0) => return None,
                    Ok(_) => {}
                    Err(error) => {
                        let reason = format!("cannot be read after line {}: {error}", *line - 1);
                        return Some(Err(Error::Corpus {
                            path: path.clone(),
                            reason,
                        }));
                    }
                }
                let document = document(bytes, field.as_deref());
                Some(document.map_err(|reason| Error::Corpus {
                    path: path.clone(),
                    reason: format!("line {line} {reason}"),
                }))
            }
            Self::Parquet { path, reader, ready } => loop {
                if let Some(text) = ready.next() {
                    return Some(Ok(text));
                }
                let texts = reader.next()?.map_err(|error| error.to_string()).and_then(|batch| {
                    let column = batch.column(0);
                    if !matches!(
                        column.data_type(),
                        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..)
                    ) {
                        return Err(format!("its column is {}, not text", column.data_type()));
                    }
                    let column = cast(column, &DataType::LargeUtf8).map_err(|error| error.to_string())?;
                    let texts = column.as_string::<i64>();
                    Ok(texts.iter().flatten().map(str::to_owned).collect::<Vec<_>>())
                });
                match texts {
                    Ok(texts) => *ready = texts.into_iter(),
                    Err(reason) => {
                        let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
                        return Some(Err(Error::Corpus {
                            path: path.clone(),
                            reason: format!("cannot be read: {reason}"),
                        }));
                    }
                }
            },
        }
    }
}

/// The document of a line.
fn document(mut bytes: Vec<u8>, field: Option<&str>) -> Result<String, String> {
    while matches!(bytes.last(), Some(b'\n' | b'\r')) {
        bytes.pop();
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to() + 1;
        format!("is not UTF-8 (byte {at} of the line); convert the file to UTF-8")
    })?;
    let Some(field) = field else {
        return Ok(text);
    };
    if text.trim().is_empty() {
        return Ok(String::new());
    }
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| format!("is not JSON ({error}); one object a line is expected"))?;
    match value.get(field) {
        Some(serde_json::Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(format!("has a field `{field}` that is not text; set `text_field`")),
        None => Err(format!("has no field `{field}`; set `text_field`")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use arrow::array::{Int32Array, StringArray};
    use arrow::record_batch::RecordBatch;
    use parquet::arrow::ArrowWriter;

    use super::*;

    const TEXTS: [&str; 3] = ["the first", "zwölf \"Boxkämpfer\"", "last"];

    fn write(dir: &Path, name: &str, bytes: &[u8]) -> String {
        let path = dir.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_string_lossy().into_owned()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn parquet(field: &str) -> Vec<u8> {
        let texts = StringArray::from(vec![Some(TEXTS[0]), None, Some(TEXTS[1]), Some(TEXTS[2])]);
        let numbers = Int32Array::from(vec![1, 2, 3, 4]);
        let batch = RecordBatch::try_from_iter([
            ("number", Arc::new(numbers) as Arc<dyn Array>),
            (field, Arc::new(texts) as Arc<dyn Array>),
        ])
        .unwrap();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        bytes
    }

    fn read(pattern: &str, field: &str) -> Result<Vec<String>, String> {
        let corpus = Corpus::open(&[pattern], field).map_err(|error| error.to_string())?;
        corpus
            .into_documents()
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_form_gives_the_same_documents() {
        let dir = tempfile::tempdir().unwrap();
        let lines = format!("{}\r\n\n{}\n   \n{}", TEXTS[0], TEXTS[1], TEXTS[2]);
        let json: Vec<String> = TEXTS
            .iter()
            .map(|text| serde_json::json!({"id": 1, "text": text}).to_string())
            .collect();
        let json = json.join("\n\n");
        let parts = [gzip(&lines.as_bytes()[..7]), gzip(&lines.as_bytes()[7..])].concat();
        for (name, bytes) in [
            ("a.txt", lines.clone().into_bytes()),
            ("noending", lines.clone().into_bytes()),
            ("parts.txt.gz", parts),
            ("a.txt.zst", zstd::encode_all(lines.as_bytes(), 1).unwrap()),
            ("a.jsonl", json.clone().into_bytes()),
            ("a.jsonl.gz", gzip(json.as_bytes())),
            ("A.NDJSON.ZST", zstd::encode_all(json.as_bytes(), 1).unwrap()),
            ("a.parquet", parquet("text")),
        ] {
            let path = write(dir.path(), name, &bytes);
            assert_eq!(read(&path, "text").unwrap(), TEXTS, "{name}");
        }
        let all = read(&dir.path().join("a*").to_string_lossy(), "text").unwrap();
        assert_eq!(all.len(), 5 * 3);
    }

    #[test]
    fn parquet_compressed_with_snappy_is_read() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/snappy/corpus.parquet");
        // As make.py beside it writes them.
        let expected = (0..500)
            .filter(|i| i % 7 != 3)
            .map(|i| format!("document {i}{}", " zwölf Boxkämpfer".repeat(i % 5)));
        assert_eq!(read(path, "text").unwrap(), expected.collect::<Vec<_>>());
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes, part) in [
            (
                "latin.txt",
                b"fine\nM\xfcller\n".to_vec(),
                "line 2 is not UTF-8 (byte 2",
            ),
            (
                "a.jsonl",
                b"{\"text\": \"x\"}\n{\"text\": 3}\n".to_vec(),
                "line 2 has a field `text` that is not text",
            ),
            ("b.jsonl", b"{\"body\": \"x\"}\n".to_vec(), "line 1 has no field `text`"),
            ("c.jsonl", b"nothing\n".to_vec(), "line 1 is not JSON"),
            (
                "cut.txt.gz",
                gzip(&b"line\n".repeat(1000))[..20].to_vec(),
                "cannot be read after line",
            ),
            ("cut.txt.zst", b"no zstd at all".to_vec(), "cannot be read after line 0"),
            (
                "a.parquet",
                parquet("body"),
                "has no column `text`, its columns are number, body",
            ),
            ("b.parquet", parquet("text")[..50].to_vec(), "is no whole Parquet file"),
        ] {
            let path = write(dir.path(), name, &bytes);
            let message = read(&path, "text").unwrap_err();
            assert!(
                message.contains(name) && message.contains(part) && !message.contains('\n'),
                "{message}"
            );
        }
        let number = write(dir.path(), "number.parquet", &parquet("text"));
        assert!(read(&number, "number").unwrap_err().contains("not text"));
        let nothing = dir.path().join("*.nothing").to_string_lossy().into_owned();
        assert!(read(&nothing, "text").unwrap_err().contains("matches no file"));
    }
}
