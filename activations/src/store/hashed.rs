//! Hashes of a shard's bytes, taken while they are written.

use std::io::{self, Write};

use lm::files::Sha256Hex;

use super::manifest::ShardEntry;

/// Passes bytes on and hashes them on the way, while the cache holds them.
pub(super) struct Hashed<W> {
    out: W,
    sha256: Sha256Hex,
    crc32c: u32,
}

impl<W: Write> Hashed<W> {
    /// A way to `out`.
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            sha256: Sha256Hex::default(),
            crc32c: 0,
        }
    }

    /// The entry of a file that holds what was written.
    pub(super) fn entry(self, file: String, rows: usize) -> ShardEntry {
        ShardEntry {
            file,
            rows,
            sha256: self.sha256.finish(),
            crc32c: self.crc32c,
        }
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.sha256.update(&bytes[..written]);
        self.crc32c = crc32c::crc32c_append(self.crc32c, &bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
