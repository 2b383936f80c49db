//! The messages between a pool and its workers.
//!
//! A message is its length (32 bits, without these four bytes), a kind (8 bits) and a body; numbers are little-endian. To a worker travel [`RUN`], [`INIT`] and
//! [`EXIT`], back come [`HELLO`], [`READY`], [`INIT_FAILED`] and [`RESULTS`]. Items, arguments or outcomes, have a length of their own, and outcomes a tag.
//!
//! What comes from a worker is not trusted: a task can write anything to any descriptor of its process. Whatever is not as described here is [`Rubbish`], and its
//! worker is killed.

use super::os::{PAGE_BYTES, Page};
use std::io::{self, Read};
use std::ops::Range;
use std::sync::atomic::Ordering;

/// The number of the first item (64 bits), the number of items (32), the name of the task (16 bits of length, text), arguments.
pub(super) const RUN: u8 = 1;
/// The longest message that the pool accepts (64 bits), then the name and the arguments of the task that prepares the worker; the name is empty if there is none.
pub(super) const INIT: u8 = 2;
pub(super) const EXIT: u8 = 3;
/// [`VERSION`] (32 bits).
pub(super) const HELLO: u8 = 10;
pub(super) const READY: u8 = 11;
/// One outcome.
pub(super) const INIT_FAILED: u8 = 12;
/// The number of the first item (64 bits), the number of items (32), nanoseconds that they ran (64), outcomes.
pub(super) const RESULTS: u8 = 13;

pub(super) const VERSION: u32 = 1;

/// The tag of an outcome: a value.
pub(crate) const VALUE: u8 = 0;
/// A panic: [`Panic`](super::call::Panic).
pub(crate) const PANIC: u8 = 1;
/// The arguments could not be read, for the reason that the text gives.
pub(crate) const BAD_ARGS: u8 = 2;
/// The result could not be written, for the reason that the text gives.
pub(crate) const BAD_RESULT: u8 = 3;
/// The worker does not know the task.
pub(crate) const UNKNOWN: u8 = 4;

/// The worker sent something that is not a message, or not one that can come now.
#[derive(Debug)]
pub(super) struct Rubbish;

/// The bytes of the length.
pub(super) const PREFIX: usize = 4;

/// Appends a message whose body `write` appends.
pub(super) fn put(out: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    put_with(out, kind, 0, write);
}

/// Appends a message whose last `rest` bytes follow elsewhere.
pub(super) fn put_with(out: &mut Vec<u8>, kind: u8, rest: usize, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX]);
    out.push(kind);
    write(out);
    let length = out.len() - start - PREFIX + rest;
    let length = u32::try_from(length).expect("heist: lengths are checked before");
    out[start..start + PREFIX].copy_from_slice(&length.to_le_bytes());
}

/// Appends an item: its length, and what `write` appends. Returns what `write` returns.
pub(super) fn put_item<R>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX]);
    let value = write(out);
    // A length that does not fit is refused by the limit of messages.
    let length = u32::try_from(out.len() - start - PREFIX).unwrap_or(u32::MAX);
    out[start..start + PREFIX].copy_from_slice(&length.to_le_bytes());
    value
}

/// Appends a name.
pub(super) fn put_name(out: &mut Vec<u8>, name: &str) {
    let length = u16::try_from(name.len()).expect("heist: names are checked before");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(name.as_bytes());
}

/// Reads the parts of a message.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Rubbish> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Rubbish)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Rubbish> {
        self.bytes(N)?.try_into().map_err(|_| Rubbish)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Rubbish> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Rubbish> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Rubbish> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn name(&mut self) -> Result<&'a str, Rubbish> {
        let length = self.array().map(u16::from_le_bytes)?;
        let name = self.bytes(length.into())?;
        std::str::from_utf8(name).map_err(|_| Rubbish)
    }

    pub(super) fn item(&mut self) -> Result<&'a [u8], Rubbish> {
        let length = self.u32()?;
        self.bytes(length as usize)
    }

    pub(super) fn outcome(&mut self) -> Result<(u8, &'a [u8]), Rubbish> {
        Ok((self.u8()?, self.item()?))
    }
}

/// Bytes that were read from a socket and are not yet understood.
#[derive(Default)]
pub(super) struct Inbox {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

/// At least so many bytes are asked of the socket.
const READ_BYTES: usize = 64 << 10;

impl Inbox {
    /// Reads once. Returns the number of bytes, 0 at the end.
    pub(super) fn fill(&mut self, mut source: impl Read) -> io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.buffer.len() - self.end < READ_BYTES {
            self.make_room();
        }
        let count = source.read(&mut self.buffer[self.end..])?;
        self.end += count;
        Ok(count)
    }

    /// Makes room for what is missing of the first message, at most as much as there is already.
    fn make_room(&mut self) {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let missing = self
            .first_length()
            .map_or(0, |length| (length + PREFIX).saturating_sub(self.end));
        let room = missing.min(self.end).max(READ_BYTES);
        if self.buffer.len() < self.end + room {
            self.buffer.resize(self.end + room, 0);
        }
    }

    fn first_length(&self) -> Option<usize> {
        let mut read = Reader(&self.buffer[self.start..self.end]);
        read.u32().ok().map(|length| length as usize)
    }

    /// Takes the next message, if it is complete, as its place in the buffer for [`get`](Self::get).
    pub(super) fn next(&mut self, limit: usize) -> Result<Option<Range<usize>>, Rubbish> {
        let Some(length) = self.first_length() else {
            return Ok(None);
        };
        if length == 0 || length > limit {
            return Err(Rubbish);
        }
        let begin = self.start + PREFIX;
        if self.end - self.start < PREFIX + length {
            return Ok(None);
        }
        self.start = begin + length;
        Ok(Some(begin..self.start))
    }

    /// Returns a message. The place is valid until the next [`fill`](Self::fill).
    pub(super) fn get(&self, place: Range<usize>) -> &[u8] {
        &self.buffer[place]
    }

    /// Gives memory back after a large message.
    pub(super) fn shrink(&mut self) {
        if self.start == self.end && self.buffer.len() > 16 * READ_BYTES {
            *self = Inbox::default();
        }
    }
}

/// The outcomes of a chunk that the worker has not sent yet. They lie in memory that outlives the worker, so that items that have run are not lost with a later one.
pub(super) struct Saved<'a>(pub(super) &'a Page);

/// The most bytes that can be saved.
pub(super) const SAVED_MAX: usize = PAGE_BYTES - 64;

impl Saved<'_> {
    /// Forgets what is saved. The next item is `first`.
    pub(super) fn clear(&self, first: u64) {
        // ORDERING: Release keeps the order of the three words for the parent, whose loads are Acquire.
        self.0.saved_bytes().store(0, Ordering::Release);
        self.0.saved_first().store(first, Ordering::Release);
    }

    /// Adds an outcome behind the `length` bytes that are saved, if there is room.
    pub(super) fn add(&self, length: usize, outcome: &[u8]) -> bool {
        let end = length + outcome.len();
        if end > SAVED_MAX {
            return false;
        }
        for (place, byte) in self.0.bytes()[length..end].iter().zip(outcome) {
            place.store(*byte, Ordering::Relaxed);
        }
        // ORDERING: Release publishes the bytes to the Acquire in `get`.
        self.0.saved_bytes().store(end as u64, Ordering::Release);
        true
    }

    /// Returns the number of the first saved item and the outcomes. Called when the worker has ended, or by the worker itself.
    pub(super) fn get(&self) -> (u64, Vec<u8>) {
        // ORDERING: Acquire pairs with the Release in `add`.
        let length = self.0.saved_bytes().load(Ordering::Acquire);
        let length = usize::try_from(length).unwrap_or(0);
        let first = self.0.saved_first().load(Ordering::Acquire);
        let bytes = self.0.bytes().get(..length).unwrap_or(&[]);
        let bytes = bytes.iter().map(|byte| byte.load(Ordering::Relaxed));
        (first, bytes.collect())
    }
}
