//! Text corpora: JSON lines, plain text, both compressed, and Parquet.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use text::{Corpus, OnBadLine};

use super::message;
use crate::scratch::{Scratch, bytes, repository};
use crate::{Form, Reader, Target};

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "corpus-jsonl",
            form: Form::JsonLines,
            seeds: || vec![jsonl()],
            reader: || documents("x.jsonl"),
        },
        Target {
            name: "corpus-text",
            form: Form::Bytes,
            seeds: || vec![b"a document\n\nanother, \xc3\xa9\r\n\xef\xbb\xbflast".to_vec()],
            reader: || documents("x.txt"),
        },
        Target {
            name: "corpus-gzip",
            form: Form::Bytes,
            seeds: || vec![gzip(&jsonl())],
            reader: || documents("x.jsonl.gz"),
        },
        Target {
            name: "corpus-zstd",
            form: Form::Bytes,
            seeds: || vec![zstd::encode_all(jsonl().as_slice(), 3).expect("memory does not fail")],
            reader: || documents("x.jsonl.zst"),
        },
        Target {
            name: "corpus-parquet",
            form: Form::Bytes,
            seeds: || vec![bytes(&repository("text/tests/fixtures/snappy/corpus.parquet"))],
            reader: || documents("x.parquet"),
        },
    ]
}

/// Reads all documents of a file of this name.
fn documents(name: &'static str) -> Reader {
    let scratch = Scratch::new();
    Box::new(move |input| {
        let path = scratch.put(name, input);
        // Where bad lines are skipped, what comes after them is read too.
        let skipping = message(Corpus::open(&[path.to_string_lossy()], "text", OnBadLine::Skip))?;
        let _ = skipping.into_documents().filter(Result::is_ok).count();
        let corpus = message(Corpus::open(&[path.to_string_lossy()], "text", OnBadLine::Error))?;
        corpus
            .into_documents()
            .try_for_each(|document| message(document).map(drop))
    })
}

fn jsonl() -> Vec<u8> {
    let lines = [
        r#"{"text": "a document", "id": 1}"#,
        r#"{"meta": {"source": ["a", null, 1e3]}, "text": "zw\u00f6lf \ud83d\ude00"}"#,
        "",
        r#"{"text": "", "url": "https://example.org"}"#,
    ];
    lines.join("\n").into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory does not fail");
    encoder.finish().expect("memory does not fail")
}
