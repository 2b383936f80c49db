//! Hashes the content of files through a buffer that is reused.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A BLAKE3 hash.
pub type Hash = [u8; 32];

/// The length of a prefix that tells most files apart: 16 KiB, which is four pages and one read-ahead.
pub const PREFIX_BYTES: u64 = 16 * 1024;

/// The size of the large buffer: enough for BLAKE3's widest vectors and few system calls, and less than the second-level cache.
const BUFFER_BYTES: usize = 128 * 1024;

/// Reads files piece by piece. Each thread has one.
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
        // One byte more than a prefix, so that the first read shows whether a file has grown.
        Self::with_capacity(PREFIX_BYTES as usize + 1)
    }

    fn with_capacity(bytes: usize) -> Self {
        Reader {
            buffer: vec![0; bytes].into_boxed_slice(),
        }
    }

    /// Hashes the first [`PREFIX_BYTES`] of a file of `size` bytes, or the whole file if it is shorter.
    ///
    /// # Errors
    ///
    /// Returns the system's error, or an error if a file of at most [`PREFIX_BYTES`] no longer has `size` bytes.
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
    /// Returns the system's error, or an error if the file no longer has `size` bytes.
    pub fn whole(&mut self, path: &Path, size: u64, on_bytes: impl Fn(u64)) -> io::Result<Hash> {
        self.digest(path, size.saturating_add(1), size, on_bytes)
    }

    /// Hashes up to `limit` bytes and checks their number. The limit gives a file that grows all the time an end.
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
