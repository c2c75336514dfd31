//! Hashes of a shard's bytes, taken while they are written, and of its footer, taken from the file.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::Path;

use artifacts::Sha256Hex;

use super::manifest::ShardEntry;
use super::tokens::TokensEntry;

/// Passes bytes on and hashes them on the way, while the cache holds them.
pub(super) struct Hashed<W> {
    out: W,
    sha256: Sha256Hex,
    crc32c: u32,
    bytes: u64,
}

impl<W: Write> Hashed<W> {
    /// A way to `out`.
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            sha256: Sha256Hex::default(),
            crc32c: 0,
            bytes: 0,
        }
    }

    /// The hashes of what was written.
    pub(super) fn finish(self) -> Hashes {
        Hashes {
            bytes: self.bytes,
            sha256: self.sha256.finish(),
            crc32c: self.crc32c,
        }
    }
}

/// Hashes of a file's bytes.
pub(super) struct Hashes {
    bytes: u64,
    sha256: String,
    crc32c: u32,
}

impl Hashes {
    /// Whether they are those of the file that an entry names.
    pub(super) fn is_of(&self, entry: &ShardEntry) -> bool {
        (self.bytes, &self.sha256) == (entry.bytes, &entry.sha256)
    }

    /// The entry of a file of so many windows.
    pub(super) fn tokens(self, windows: usize) -> TokensEntry {
        TokensEntry {
            windows,
            bytes: self.bytes,
            sha256: self.sha256,
            crc32c: self.crc32c,
        }
    }

    /// The entry of a shard of so many rows, with the checksum of its footer.
    pub(super) fn entry(self, file: String, rows: usize, footer_crc32c: u32) -> ShardEntry {
        ShardEntry {
            file,
            rows,
            bytes: self.bytes,
            sha256: self.sha256,
            crc32c: self.crc32c,
            footer_crc32c,
        }
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.sha256.update(&bytes[..written]);
        self.crc32c = crc32c::crc32c_append(self.crc32c, &bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// CRC-32C of a Parquet file's footer, from its first byte to the end of the file. The file ends with the footer's length in
/// four bytes and a mark of four.
pub(super) fn footer_crc32c(file: &mut File) -> io::Result<u32> {
    const END: u64 = 8;
    let size = file.metadata()?.len();
    if size < END {
        return Ok(0);
    }
    let mut end = [0; END as usize];
    file.seek(SeekFrom::Start(size - END))?;
    file.read_exact(&mut end)?;
    let length = u64::from(u32::from_le_bytes([end[0], end[1], end[2], end[3]])).min(size - END);
    file.seek(SeekFrom::Start(size - END - length))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(crc32c::crc32c(&bytes))
}

/// [`footer_crc32c`] of the file at `path`.
pub(super) fn footer_crc32c_at(path: &Path) -> io::Result<u32> {
    footer_crc32c(&mut File::open(path)?)
}
