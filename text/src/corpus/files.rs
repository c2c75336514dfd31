//! Which files a corpus has, and what each of them holds.

use std::collections::HashSet;
use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::{Content, Lines, Rows};
use crate::Error;

/// Bytes at the beginning of a file that say what it is.
const HEAD: u64 = 512;
/// Bytes of text that are read at a time.
const BUFFER: usize = 1 << 20;
/// The longest window of the zstd format, as of `zstd --long=31`; it is held in memory as far as the file fills it.
const ZSTD_WINDOW_LOG: u32 = 31;

/// The files that `patterns` name, in order, and the names under which files among them are named again.
pub(super) fn named_by<P: AsRef<str>>(patterns: &[P]) -> Result<(Vec<PathBuf>, Vec<PathBuf>), Error> {
    let (mut files, mut repeated, mut known) = (Vec::new(), Vec::new(), HashSet::new());
    for pattern in patterns {
        for path in matches(pattern.as_ref())? {
            match known.insert(identity(&path).map_err(|cause| artifacts::Error::read(&path, cause))?) {
                true => files.push(path),
                false => repeated.push(path),
            }
        }
    }
    Ok((files, repeated))
}

/// The files of one pattern.
fn matches(pattern: &str) -> Result<Vec<PathBuf>, Error> {
    let fail = |reason: String| Error::Corpus {
        path: pattern.into(),
        reason,
    };
    if pattern.trim().is_empty() {
        let reason = "is empty, a file or glob is needed".to_owned();
        return Err(Error::Config { field: "path", reason });
    }
    let is_glob = pattern.contains(['*', '?', '[']);
    // A file whose name holds a bracket is that file. Pipes and devices count where they are named.
    match fs::metadata(pattern) {
        Ok(metadata) if metadata.is_dir() => {
            return Err(fail(
                "is a folder; name the files in it, for example with /*.jsonl behind it".to_owned(),
            ));
        }
        Ok(_) => return Ok(vec![pattern.into()]),
        Err(error) if error.kind() == ErrorKind::NotFound || is_glob => {}
        Err(cause) => return Err(artifacts::Error::read(Path::new(pattern), cause).into()),
    }
    let found = glob::glob(pattern).map_err(|error| fail(format!("is no path or glob: {error}")))?;
    let mut files = Vec::new();
    for path in found {
        let path = path.map_err(|error| artifacts::Error::read(error.path(), error.error().kind().into()))?;
        if path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(fail("matches no file; check `path` in the config".to_owned()));
    }
    Ok(files)
}

/// What two names of one file have in common, links included.
#[cfg(unix)]
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> io::Result<PathBuf> {
    path.canonicalize()
}

/// What the bytes of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Gzip,
    Zstd,
    Parquet,
    /// Not read, with its name.
    Other(&'static str),
}

/// Opens a file of a corpus.
pub(super) fn open(path: &Path, field: &str) -> Result<Content, Error> {
    let fail = |reason: String| Error::Corpus {
        path: path.to_owned(),
        reason,
    };
    let unreadable = |source| Error::from(artifacts::Error::read(path, source));
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let name = path.to_string_lossy().to_lowercase();
    let (head, file) = split_head(file).map_err(unreadable)?;
    let form = form(&head);
    if form == Form::Parquet || name.ends_with(".parquet") {
        return parquet(path, &metadata, field).map_err(fail);
    }
    let (plain, named) = without_compression(&name);
    // Files of these have no first bytes of their own.
    let nameless = [
        (".br", "a brotli file"),
        (".lzo", "an lzo file"),
        (".lz4", "an lz4 file"),
    ];
    if let Some((_, other)) = nameless
        .iter()
        .find(|(end, _)| form == Form::Plain && name.ends_with(end))
    {
        return Err(fail(not_read(other)));
    }
    let reader: Box<dyn Read> = match form {
        Form::Gzip => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file))),
        Form::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(file).map_err(unreadable)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(unreadable)?;
            Box::new(decoder)
        }
        Form::Plain | Form::Parquet if named && !head.is_empty() => {
            return Err(fail(
                "has the name of a compressed file and is none; rename it".to_owned(),
            ));
        }
        Form::Plain | Form::Parquet => Box::new(file),
        Form::Other(other) => return Err(fail(not_read(other))),
    };
    let (inner, reader) = match form {
        Form::Plain => (head, reader),
        _ => {
            let (head, reader) = split_head(reader).map_err(|error| fail(not_decompressed(&error)))?;
            (head, Box::new(reader) as Box<dyn Read>)
        }
    };
    if form != Form::Plain {
        match self::form(&inner) {
            Form::Plain => {}
            Form::Gzip | Form::Zstd => return Err(fail("is compressed twice; decompress it once".to_owned())),
            Form::Parquet => return Err(fail("is a compressed Parquet file; decompress it".to_owned())),
            Form::Other(other) => return Err(fail(not_read(other))),
        }
    }
    let has_ending = Path::new(plain).extension().is_some();
    // Standard input may be a file that keeps its name to itself.
    let is_pipe = !metadata.is_file() || path.starts_with("/dev");
    let is_json = [".jsonl", ".ndjson", ".json"].iter().any(|end| plain.ends_with(end))
        || (is_pipe && !has_ending && inner.trim_ascii_start().starts_with(b"{"));
    let reader: Box<dyn BufRead> = Box::new(BufReader::with_capacity(BUFFER, reader));
    Ok(Content::Lines(Lines::new(reader, is_json.then(|| field.to_owned()))))
}

/// Why the first bytes of a compressed file cannot be had.
fn not_decompressed(error: &io::Error) -> String {
    // As zstd calls it, to which no more memory than for the longest window is given.
    let advice = if error.to_string().contains("too much memory") {
        "compress it again with a window of 2 GiB at most (zstd --long=31)"
    } else {
        "it is damaged or cut short"
    };
    format!("cannot be read: {error}; {advice}")
}

/// The first bytes, and all bytes again.
fn split_head<R: Read>(mut reader: R) -> io::Result<(Vec<u8>, impl Read + use<R>)> {
    let mut head = Vec::new();
    reader.by_ref().take(HEAD).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}

/// A lower-case name without the ending of a compressed file, and whether it has one.
fn without_compression(name: &str) -> (&str, bool) {
    let ends = [".gz", ".gzip", ".zst", ".zstd"];
    match ends.iter().find_map(|end| name.strip_suffix(end)) {
        Some(plain) => (plain, true),
        None => (name, false),
    }
}

/// What the first bytes of a file say it is.
fn form(head: &[u8]) -> Form {
    const GZIP: &[u8] = b"\x1f\x8b";
    const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
    /// A frame without content, with which files of several threads begin; the first byte has 16 values.
    const ZSTD_SKIPPED: &[u8] = b"\x2a\x4d\x18";
    const PARQUET: &[u8] = b"PAR1\x15";
    const OTHERS: [(&[u8], &str); 13] = [
        (b"\xfd7zXZ\0", "an xz file"),
        (b"\x5d\0\0", "an lzma file"),
        (b"LZIP\x01", "an lzip file"),
        (b"\x04\x22\x4d\x18", "an lz4 file"),
        (b"\xff\x06\0\0sNaPpY", "a snappy file"),
        (b"\x1f\x9d", "a file of `compress`"),
        (b"PK\x03\x04", "a zip archive"),
        (b"PK\x05\x06", "a zip archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
        (b"Rar!\x1a", "a rar archive"),
        (b"ARROW1\0", "an Arrow file"),
        (b"\xff\xff\xff\xff", "an Arrow stream"),
        (b"\x89HDF", "an HDF5 file"),
    ];
    let bzip2 = head.starts_with(b"BZh") && matches!(head.get(4..6), Some(b"1A" | b"\x17\x72"));
    let ascii_in =
        |low: usize, high: usize| head.get(low).is_some_and(u8::is_ascii_graphic) && head.get(high) == Some(&0);
    if head.starts_with(GZIP) {
        Form::Gzip
    } else if head.starts_with(ZSTD) || (head.get(1..4) == Some(ZSTD_SKIPPED) && head[0] >> 4 == 5) {
        Form::Zstd
    } else if head.starts_with(PARQUET) {
        Form::Parquet
    } else if bzip2 {
        Form::Other("a bzip2 file")
    } else if let Some((_, name)) = OTHERS.iter().find(|(start, _)| head.starts_with(start)) {
        Form::Other(name)
    } else if head.get(257..262) == Some(b"ustar") {
        Form::Other("a tar archive")
    } else if head.starts_with(b"\xff\xfe\0\0") || head.starts_with(b"\0\0\xfe\xff") {
        Form::Other("UTF-32 text")
    } else if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") || ascii_in(0, 1) || ascii_in(1, 0) {
        Form::Other("UTF-16 text")
    } else {
        Form::Plain
    }
}

/// Why a file of another form is refused, and what to do.
fn not_read(form: &str) -> String {
    let advice = if form.starts_with("UTF") {
        let name = form.split(' ').next().unwrap_or(form);
        format!("convert it to UTF-8 (iconv -f {name} -t UTF-8)")
    } else if form.ends_with("archive") {
        "unpack it, and compress its files with gzip or zstd if at all".to_owned()
    } else if form.contains("Arrow") || form.contains("HDF") {
        "write it as Parquet or JSON lines".to_owned()
    } else {
        "decompress it, or compress it with gzip (.gz) or zstd (.zst)".to_owned()
    };
    format!("is {form}, which is not read; {advice}")
}

/// A Parquet file, which is opened again since it is read from its end.
fn parquet(path: &Path, metadata: &Metadata, field: &str) -> Result<Content, String> {
    if !metadata.is_file() {
        return Err("is Parquet from a pipe, which cannot be read from its end; name the file itself".to_owned());
    }
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    Rows::open(file, field).map(Content::Rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_first_bytes() {
        assert_eq!(without_compression("a.jsonl.zstd"), ("a.jsonl", true));
        assert_eq!(without_compression("a.jsonl"), ("a.jsonl", false));
        for (head, expected) in [
            (&b"plain text"[..], Form::Plain),
            (b"", Form::Plain),
            (b"B", Form::Plain),
            (b"BZhang wrote", Form::Plain),
            (b"PAR1S", Form::Plain),
            (b"PKs", Form::Plain),
            (b"\xef\xbb\xbftext", Form::Plain),
            (b"\x1f\x8b\x08", Form::Gzip),
            (b"\x50\x2a\x4d\x18\x04", Form::Zstd),
            (b"BZh91AY&SY", Form::Other("a bzip2 file")),
            (b"BZh9\x17\x72\x45\x38\x50\x90", Form::Other("a bzip2 file")),
            (b"PAR1\x15\x04", Form::Parquet),
            (b"\xff\xfea\0", Form::Other("UTF-16 text")),
            (b"{\0\"\0", Form::Other("UTF-16 text")),
            (b"\0{\0\"", Form::Other("UTF-16 text")),
            (b"\xff\xfe\0\0", Form::Other("UTF-32 text")),
        ] {
            assert_eq!(form(head), expected, "{}", head.escape_ascii());
        }
        let mut tar = vec![b'a'; 400];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(form(&tar), Form::Other("a tar archive"));
    }
}
