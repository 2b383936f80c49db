//! Compression to gzip's format, the blocks of a piece in parallel.
//!
//! Each block is a deflate stream that a sync flush ends at a byte, so that the blocks can be concatenated to one member.
//! `examples/pgz` does the same for whole files.

use std::cell::RefCell;
use std::io;

use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress, Status};
use heist::{Priority, ThreadPool};
use hyper::body::Bytes;

use super::body::{Source, check_cancelled};
use super::files::{Content, PIECE};

/// The number of bytes that are compressed one after the other: about 1 ms of work.
const BLOCK: usize = 64 * 1024;

/// The distance in bytes to which deflate can refer back.
const DICTIONARY: usize = 32 * 1024;

/// The beginning of a member without a name and a time.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// An empty last block of a deflate stream.
const END: [u8; 2] = [3, 0];

thread_local! {
    /// The compressor of this thread. Its tables are large, so each thread makes them once.
    static DEFLATER: RefCell<Compress> =
        RefCell::new(Compress::new(Compression::default(), false));
}

/// A compressed file.
pub struct Gzip {
    pool: ThreadPool,
    content: Content,
    crc: Hasher,
    length: u32, // modulo 2^32, as the format wants it
    has_begun: bool,
}

impl Gzip {
    pub fn new(pool: &ThreadPool, content: Content) -> Self {
        Gzip {
            pool: pool.clone(),
            content,
            crc: Hasher::new(),
            length: 0,
            has_begun: false,
        }
    }
}

impl Source for Gzip {
    fn next(&mut self) -> io::Result<Bytes> {
        let mut output = Vec::new();
        if !std::mem::replace(&mut self.has_begun, true) {
            output.extend(HEADER);
        }
        let input = self.content.read(PIECE)?;
        let starts: Vec<usize> = (0..input.len()).step_by(BLOCK).collect();
        let blocks = self.pool.try_map(&starts, |&start| {
            check_cancelled()?;
            deflate(&input, start)
        })?;
        for block in blocks {
            output.extend(block.bytes);
            self.crc.combine(&block.crc);
            self.length = self.length.wrapping_add(block.length);
        }
        if self.content.left() == 0 {
            output.extend(END);
            output.extend(self.crc.clone().finalize().to_le_bytes());
            output.extend(self.length.to_le_bytes());
        }
        Ok(output.into())
    }

    fn is_at_end(&self) -> bool {
        self.content.left() == 0
    }

    fn priority(&self) -> Priority {
        Priority::Low
    }

    fn length(&self) -> Option<u64> {
        None
    }
}

/// A compressed block.
struct Packed {
    bytes: Vec<u8>,
    /// The checksum of the input.
    crc: Hasher,
    length: u32,
}

/// Compresses the block of `input` that begins at `start`. It may refer to the input before it.
fn deflate(input: &[u8], start: usize) -> io::Result<Packed> {
    let dictionary = &input[start.saturating_sub(DICTIONARY)..start];
    let mut rest = &input[start..input.len().min(start + BLOCK)];
    let mut crc = Hasher::new();
    crc.update(rest);
    let length = rest.len() as u32;
    let mut bytes = Vec::with_capacity(rest.len() + rest.len() / 8 + 64);
    DEFLATER
        .with_borrow_mut(|deflater| {
            deflater.reset();
            if !dictionary.is_empty() {
                deflater.set_dictionary(dictionary)?;
            }
            loop {
                let before = deflater.total_in();
                let status = deflater.compress_vec(rest, &mut bytes, FlushCompress::Sync)?;
                rest = &rest[(deflater.total_in() - before) as usize..];
                // There is room left, so the output is complete.
                if rest.is_empty() && (bytes.len() < bytes.capacity() || status == Status::BufError)
                {
                    return Ok(());
                }
                bytes.reserve(rest.len() + 64);
            }
        })
        .map_err(|error: flate2::CompressError| io::Error::other(error))?;
    Ok(Packed { bytes, crc, length })
}
