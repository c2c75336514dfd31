//! Corpora of all forms, whole and damaged.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, DictionaryArray, Int32Array, StringArray};
use arrow::datatypes::Int32Type;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;

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

/// Number and text of each document, and what was skipped.
fn numbered(patterns: &[&str], field: &str, on_bad_line: OnBadLine) -> Result<(Vec<(u32, String)>, Skipped), Error> {
    let mut documents = Corpus::open(patterns, field, on_bad_line)?.into_documents();
    let all = documents
        .by_ref()
        .map(|document| document.map(|document| (document.number, document.text)));
    let all = all.collect::<Result<_, _>>()?;
    Ok((all, documents.skipped().clone()))
}

fn read(pattern: &str, field: &str) -> Result<Vec<String>, String> {
    let found = numbered(&[pattern], field, OnBadLine::Error).map_err(|error| error.to_string())?;
    Ok(found.0.into_iter().map(|(_, text)| text).collect())
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
            "cannot be read",
        ),
        (
            "cut.txt.zst",
            zstd::encode_all(&b"line\n".repeat(1000)[..], 1).unwrap()[..20].to_vec(),
            "cannot be read",
        ),
        (
            "none.txt.zst",
            b"no zstd at all".to_vec(),
            "has the name of a compressed file and is none",
        ),
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

#[test]
fn a_document_has_the_number_of_its_line_or_row() {
    let dir = tempfile::tempdir().unwrap();
    let of = |numbers: [u32; 3]| -> Vec<(u32, String)> { numbers.into_iter().zip(TEXTS.map(str::to_owned)).collect() };
    let text = |text: &str| serde_json::json!({ "text": text }).to_string();
    let lines = format!("\n{}\n \t\n{}\n{}", TEXTS[0], TEXTS[1], TEXTS[2]);
    let json = [
        "{\"text\":null}",
        &text(TEXTS[0]),
        &text("  "),
        &text(TEXTS[1]),
        &text(TEXTS[2]),
        "",
    ]
    .join("\r\n");
    let a = write(dir.path(), "a.txt", lines.as_bytes());
    let b = write(dir.path(), "b.jsonl", json.as_bytes());
    let c = write(dir.path(), "c.parquet", &parquet("text"));
    let documents = |paths: &[&str]| numbered(paths, "text", OnBadLine::Error).unwrap().0;
    assert_eq!(documents(&[&a]), of([1, 3, 4]));
    assert_eq!(documents(&[&b]), of([1, 3, 4]));
    assert_eq!(documents(&[&c]), of([0, 2, 3]));
    // Files go on counting: the first has 5 lines, the second 4 rows.
    let all = documents(&[&a, &c, &b]);
    assert_eq!(all, [of([1, 3, 4]), of([5, 7, 8]), of([10, 12, 13])].concat());
}

#[test]
fn bad_lines_are_skipped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let bytes =
        b"{\"text\": \"a\"}\nno\n[]\n{\"text\": 3}\n\xff\n{\"text\": \"\xff\"}\n{\"body\": \"x\"}\n{\"text\": \"b\"}\n";
    let path = write(dir.path(), "a.jsonl", bytes);
    let (found, skipped) = numbered(&[&path], "text", OnBadLine::Skip).unwrap();
    assert_eq!(found, [(0, "a".to_owned()), (7, "b".to_owned())]);
    assert_eq!(skipped.count, 6);
    let first = skipped.first.unwrap();
    assert!(first.contains("a.jsonl: line 2 is not JSON"), "{first}");
    let latin = write(dir.path(), "latin.txt", b"one\nM\xfcller\nthree");
    let (found, skipped) = numbered(&[&latin], "text", OnBadLine::Skip).unwrap();
    assert_eq!((found.len(), skipped.count), (2, 1));
    // A file of which the rest cannot be read is no line.
    let cut = write(dir.path(), "cut.txt.gz", &gzip(&b"line\n".repeat(100_000))[..400]);
    assert!(numbered(&[&cut], "text", OnBadLine::Skip).is_err());
}

#[test]
fn byte_order_marks() {
    let dir = tempfile::tempdir().unwrap();
    let json = write(
        dir.path(),
        "a.jsonl",
        "\u{feff}{\"text\": \"x\"}\r\n{\"text\": \"\u{feff}y\"}".as_bytes(),
    );
    assert_eq!(read(&json, "text").unwrap(), ["x", "\u{feff}y"]);
    let text = write(dir.path(), "a.txt.gz", &gzip("\u{feff}x\n\u{feff}y".as_bytes()));
    assert_eq!(read(&text, "text").unwrap(), ["x", "\u{feff}y"]);
    assert_eq!(
        read(&write(dir.path(), "only.txt", "\u{feff}\n".as_bytes()), "text").unwrap(),
        [""; 0]
    );
    assert_eq!(read(&write(dir.path(), "empty.jsonl", b""), "text").unwrap(), [""; 0]);
    for (little, bytes) in [
        (true, u16::to_le_bytes as fn(u16) -> [u8; 2]),
        (false, u16::to_be_bytes),
    ] {
        for mark in ["\u{feff}", ""] {
            let bytes: Vec<u8> = format!("{mark}a text").encode_utf16().flat_map(bytes).collect();
            let message = read(&write(dir.path(), "wide.txt", &bytes), "text").unwrap_err();
            assert!(
                message.contains("is UTF-16 text") && message.contains("iconv"),
                "{little} {message}"
            );
        }
    }
}

#[test]
fn compression_is_known_by_the_first_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let text = TEXTS.join("\n");
    let zstd = zstd::encode_all(text.as_bytes(), 1).unwrap();
    let skipped_frame = [&b"\x50\x2a\x4d\x18\x03\0\0\0abc"[..], &zstd].concat();
    for (name, bytes) in [
        ("a.txt.zstd", zstd.clone()),
        ("a.txt.gzip", gzip(text.as_bytes())),
        ("a.txt", zstd.clone()),
        ("a", gzip(text.as_bytes())),
        (
            "two.zst",
            [
                zstd::encode_all(&text.as_bytes()[..4], 1).unwrap(),
                zstd::encode_all(&text.as_bytes()[4..], 1).unwrap(),
            ]
            .concat(),
        ),
        ("pzstd.zst", skipped_frame),
        ("parquet.bin", parquet("text")),
    ] {
        assert_eq!(read(&write(dir.path(), name, &bytes), "text").unwrap(), TEXTS, "{name}");
    }
    let empty = gzip(b"");
    assert_eq!(
        read(&write(dir.path(), "empty.txt.gz", &empty), "text").unwrap(),
        [""; 0]
    );
    assert_eq!(
        read(&write(dir.path(), "nothing.txt.zst", b""), "text").unwrap(),
        [""; 0]
    );
    for (name, bytes, part) in [
        (
            "a.txt.xz",
            b"\xfd7zXZ\0\0\x04".to_vec(),
            "is an xz file, which is not read; decompress it",
        ),
        (
            "a.bz2",
            b"BZh91AY&SY\x01".to_vec(),
            "is a bzip2 file, which is not read",
        ),
        ("a.lz4", b"\x04\x22\x4d\x18d".to_vec(), "is an lz4 file"),
        ("a.txt.br", b"\x0b\x02\x80".to_vec(), "is a brotli file"),
        ("a.zip", b"PK\x03\x04\x14\0".to_vec(), "is a zip archive"),
        ("twice.gz", gzip(&gzip(b"a")), "compressed twice"),
        ("a.parquet.gz", gzip(&parquet("text")), "a compressed Parquet file"),
        ("zip.gz", gzip(b"PK\x03\x04\x14\0"), "is a zip archive"),
        (
            "text.gz",
            b"plain".to_vec(),
            "has the name of a compressed file and is none",
        ),
    ] {
        let message = read(&write(dir.path(), name, &bytes), "text").unwrap_err();
        assert!(message.contains(name) && message.contains(part), "{message}");
    }
}

/// As `zstd --long=31` makes it.
#[test]
fn zstd_with_the_longest_window_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder
        .set_parameter(zstd::zstd_safe::CParameter::WindowLog(31))
        .unwrap();
    encoder.write_all(TEXTS.join("\n").as_bytes()).unwrap();
    let bytes = encoder.finish().unwrap();
    assert_eq!(read(&write(dir.path(), "long.zst", &bytes), "text").unwrap(), TEXTS);
}

#[test]
fn parquet_of_other_compressions_is_refused_by_name() {
    for codec in ["gzip", "brotli", "lz4"] {
        let path = format!("{}/tests/fixtures/codecs/{codec}.parquet", env!("CARGO_MANIFEST_DIR"));
        let message = read(&path, "text").unwrap_err();
        assert!(
            message.contains(&format!("is compressed with {codec}")) && message.contains("zstd"),
            "{message}"
        );
    }
}

#[test]
fn a_dictionary_of_texts_is_text() {
    let dir = tempfile::tempdir().unwrap();
    let texts: DictionaryArray<Int32Type> = [Some("a"), None, Some("b"), Some("a")].into_iter().collect();
    let batch = RecordBatch::try_from_iter([("text", Arc::new(texts) as Arc<dyn Array>)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    assert_eq!(
        read(&write(dir.path(), "a.parquet", &bytes), "text").unwrap(),
        ["a", "b", "a"]
    );
}

#[test]
fn a_file_is_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (write(dir.path(), "a.txt", b"a"), write(dir.path(), "b.txt", b"b"));
    let glob = dir.path().join("*.txt").to_string_lossy().into_owned();
    let spelled = dir.path().join("./x/../a.txt").to_string_lossy().into_owned();
    std::fs::create_dir(dir.path().join("x")).unwrap();
    let mut patterns = vec![a.as_str(), &glob, &spelled, &b];
    let links = ["soft", "hard"].map(|name| dir.path().join(name).to_string_lossy().into_owned());
    std::fs::hard_link(&a, &links[1]).unwrap();
    let mut repeats = 4;
    patterns.push(&links[1]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&b, &links[0]).unwrap();
        patterns.push(&links[0]);
        repeats += 1;
    }
    let corpus = Corpus::open(&patterns, "text", OnBadLine::Error).unwrap();
    assert_eq!(corpus.files(), [Path::new(&a), Path::new(&b)]);
    // `a` by the glob, spelled otherwise and by a link, and so `b`.
    assert_eq!(corpus.repeated().len(), repeats);
    let message = Corpus::open(&[dir.path().to_string_lossy()], "text", OnBadLine::Error)
        .unwrap_err()
        .to_string();
    assert!(message.contains("is a folder"), "{message}");
    for blank in ["", "  "] {
        let message = Corpus::open(&[blank], "text", OnBadLine::Error)
            .unwrap_err()
            .to_string();
        assert_eq!(message, "harvest: `path` is empty, a file or glob is needed");
    }
}

#[cfg(unix)]
#[test]
fn pipes_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let json = serde_json::json!({"text": TEXTS[0]}).to_string();
    for (bytes, expected) in [
        (TEXTS.join("\n").into_bytes(), Ok(TEXTS.as_slice())),
        (gzip(TEXTS.join("\n").as_bytes()), Ok(TEXTS.as_slice())),
        (json.clone().into_bytes(), Ok(&TEXTS[..1])),
        (zstd::encode_all(json.as_bytes(), 1).unwrap(), Ok(&TEXTS[..1])),
        (parquet("text"), Err("is Parquet from a pipe")),
    ] {
        let path = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let to = path.clone();
        let writing = std::thread::spawn(move || std::fs::write(to, bytes));
        let found = read(&path.to_string_lossy(), "text");
        // A reader that has seen enough goes away.
        let _ = writing.join().unwrap();
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
            (found, expected) => panic!("{found:?} {expected:?}"),
        }
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_document_of_any_length_is_bounded() {
    // 300 MiB of one letter, and a line behind it, in some kilobytes.
    let dir = tempfile::tempdir().unwrap();
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    let mebibyte = vec![b'a'; 1 << 20];
    (0..300).for_each(|_| encoder.write_all(&mebibyte).unwrap());
    encoder.write_all(b"\nlast\n").unwrap();
    let path = write(dir.path(), "bomb.txt.zst", &encoder.finish().unwrap());
    let message = read(&path, "text").unwrap_err();
    assert!(
        message.contains("bomb.txt.zst: line 1 has more than 256 MiB"),
        "{message}"
    );
    let (found, skipped) = numbered(&[&path], "text", OnBadLine::Skip).unwrap();
    assert_eq!((found, skipped.count), (vec![(1, "last".to_owned())], 1));
}

proptest! {
    /// Bytes of all forms, changed at random, are read or refused.
    #[test]
    fn no_bytes_panic(
        name in prop::sample::select(&["a.txt", "a.jsonl", "a.parquet", "a.txt.gz", "a.jsonl.zst", "a"][..]),
        form in 0..6_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        skip in any::<bool>(),
    ) {
        let json = format!("{{\"id\": [1, {{}}], \"text\": \"{}\\ud83d\"}}\n\n{{}}", TEXTS[0]).into_bytes();
        let forms = [TEXTS.join("\n").into_bytes(), json.clone(), parquet("text"), gzip(&json), zstd::encode_all(&json[..], 1).unwrap(), Vec::new()];
        let mut bytes = forms[form].clone();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes.truncate(cut.index(2 * bytes.len() + 1));
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), name, &bytes);
        let on_bad_line = if skip { OnBadLine::Skip } else { OnBadLine::Error };
        if let Err(error) = numbered(&[&path], "text", on_bad_line) {
            prop_assert!(!error.to_string().contains('\n'), "{}", error);
        }
    }
}
