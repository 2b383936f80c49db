//! The numbers of bytes of input and output.

use std::fmt;
use std::io::{self, Read, Write};
use std::ops::Add;

use indicatif::HumanBytes;

/// The numbers of bytes before and after.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    read: u64,
    written: u64,
    /// The compressed size divided by the uncompressed size, in both directions.
    packed: u64,
    plain: u64,
}

impl Sizes {
    /// The line that reports a compression.
    pub fn packed(read: u64, written: u64) -> Self {
        Sizes {
            read,
            written,
            packed: written,
            plain: read,
        }
    }

    /// The line that reports a decompression.
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

    /// The number of bytes that have passed.
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
