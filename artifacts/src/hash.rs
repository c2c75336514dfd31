//! Hashes of bytes and files, in lower-case hexadecimal.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::Error;

/// SHA-256 of `bytes` in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of bytes that come in parts.
#[derive(Debug, Clone, Default)]
pub struct Sha256Hex(Sha256);

impl Sha256Hex {
    /// The next part.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all parts in lower-case hexadecimal.
    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// SHA-256 of a file in lower-case hexadecimal.
pub fn sha256_file(path: &Path) -> Result<String, Error> {
    digest_file(Sha256::new(), path)
}

/// What `digest` makes of the bytes of a file, in lower-case hexadecimal; the file is not held in memory.
pub fn digest_file<D: Digest>(mut digest: D, path: &Path) -> Result<String, Error> {
    let mut go = || {
        let mut file = fs::File::open(path)?;
        let mut piece = vec![0; 1 << 20];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(()),
                read => digest.update(&piece[..read]),
            }
        }
    };
    go().map_err(|cause| Error::read(path, cause))?;
    Ok(hex(&digest.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
