//! Hashes the content of files, through one buffer that is used again and again.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A BLAKE3 hash.
pub type Hash = [u8; 32];

/// So many bytes tell most files apart (16 KiB: four pages, one read-ahead).
pub const PREFIX_BYTES: u64 = 16 * 1024;

/// Large enough for BLAKE3's widest vectors and few system calls, small enough for the second-level cache.
const BUFFER_BYTES: usize = 128 * 1024;

/// Reads files piece by piece; each thread has one.
pub struct Reader {
    buffer: Box<[u8]>,
}

impl Reader {
    /// A reader with the large buffer, for [`Reader::whole`].
    pub fn large() -> Self {
        Self::with_capacity(BUFFER_BYTES)
    }

    /// A reader for [`Reader::prefix`] alone.
    pub fn small() -> Self {
        // One more byte than a prefix: a file that has grown shows in the first read.
        Self::with_capacity(PREFIX_BYTES as usize + 1)
    }

    fn with_capacity(bytes: usize) -> Self {
        Reader {
            buffer: vec![0; bytes].into_boxed_slice(),
        }
    }

    /// Hashes the first [`PREFIX_BYTES`] of a file of `size` bytes, or all if it has no more.
    ///
    /// # Errors
    ///
    /// What the system says, or that a file of at most [`PREFIX_BYTES`] no longer has `size` bytes.
    pub fn prefix(&mut self, path: &Path, size: u64) -> io::Result<Hash> {
        let expected = size.min(PREFIX_BYTES);
        let limit = if size > PREFIX_BYTES {
            PREFIX_BYTES
        } else {
            size + 1
        };
        self.digest(path, limit, expected, |_| {})
    }

    /// Hashes a file of `size` bytes and tells `on_bytes` about each piece.
    ///
    /// # Errors
    ///
    /// What the system says, or that the file no longer has `size` bytes.
    pub fn whole(&mut self, path: &Path, size: u64, on_bytes: impl Fn(u64)) -> io::Result<Hash> {
        self.digest(path, size.saturating_add(1), size, on_bytes)
    }

    /// Hashes up to `limit` bytes, so that a file which grows all the time has an end, and checks their number.
    fn digest(
        &mut self,
        path: &Path,
        limit: u64,
        expected: u64,
        on_bytes: impl Fn(u64),
    ) -> io::Result<Hash> {
        let mut content = File::open(path)?.take(limit);
        let mut hasher = blake3::Hasher::new();
        let mut total = 0;
        loop {
            match content.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hasher.update(&self.buffer[..count]);
                    total += count as u64;
                    on_bytes(count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if total == expected {
            Ok(*hasher.finalize().as_bytes())
        } else {
            Err(io::Error::other(
                "its size changed while it was read; run again when nobody writes to it",
            ))
        }
    }
}
