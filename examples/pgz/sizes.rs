//! How many bytes went in, and how many came out.

use std::fmt;
use std::io::{self, Read, Write};
use std::ops::Add;

use indicatif::HumanBytes;

/// Bytes before and after.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    read: u64,
    written: u64,
    /// Compressed, as part of what it is uncompressed: the same in both directions.
    packed: u64,
    plain: u64,
}

impl Sizes {
    /// Of a compression.
    pub fn packed(read: u64, written: u64) -> Self {
        Sizes {
            read,
            written,
            packed: written,
            plain: read,
        }
    }

    /// Of a decompression.
    pub fn unpacked(read: u64, written: u64) -> Self {
        Sizes {
            read,
            written,
            packed: read,
            plain: written,
        }
    }
}

impl Add for Sizes {
    type Output = Sizes;

    fn add(self, other: Sizes) -> Sizes {
        Sizes {
            read: self.read + other.read,
            written: self.written + other.written,
            packed: self.packed + other.packed,
            plain: self.plain + other.plain,
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [read, written] = [self.read, self.written].map(HumanBytes);
        write!(f, "{read} to {written}")?;
        if self.plain > 0 {
            let percent = 100.0 * self.packed as f64 / self.plain as f64;
            write!(f, ", compressed to {percent:.1} %")?;
        }
        Ok(())
    }
}

/// A reader or writer whose bytes are counted.
pub struct Counted<T> {
    inner: T,
    bytes: u64,
}

impl<T> Counted<T> {
    pub fn new(inner: T) -> Self {
        Counted { inner, bytes: 0 }
    }

    /// How many bytes have passed.
    pub fn count(&self) -> u64 {
        self.bytes
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
