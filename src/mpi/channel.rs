//! Messages of any length to and from one peer.
//!
//! A message is its length (64 bits) and its bytes. The first [`FIRST`] bytes travel together, the rest in pieces: MPI keeps the order of messages between two processes.

use super::sys::{Dead, Library, Request};
use std::collections::VecDeque;
use std::ffi::c_int;

/// Short messages, and the beginnings of long ones, have so much room.
const FIRST: usize = 4 << 10;
const HEAD: usize = 8;

/// The most bytes of the other pieces: MPI counts in 32 bits.
const PIECE: usize = 1 << 28;

/// Bytes that MPI reads or writes.
struct Post {
    request: Request,
    bytes: Vec<u8>,
    /// Whether MPI does not use the bytes any more.
    is_over: bool,
}

// SAFETY: the request is a handle of the library, which any thread may use: see the invariant of `sys`.
unsafe impl Send for Post {}

impl Post {
    fn send(library: &Library, bytes: Vec<u8>, to: c_int) -> Result<Self, Dead> {
        // SAFETY: the bytes are in the heap, belong to the post, and are freed only when the request has ended: see `drop`.
        let request = unsafe { library.send(&bytes, to)? };
        Ok(Post {
            request,
            bytes,
            is_over: false,
        })
    }

    fn receive(library: &Library, length: usize, from: c_int) -> Result<Self, Dead> {
        let mut bytes = vec![0; length];
        // SAFETY: the bytes are in the heap, belong to the post, which does not look at them before the request has ended, and are freed only then: see `drop`.
        let request = unsafe { library.receive(&mut bytes, from)? };
        Ok(Post {
            request,
            bytes,
            is_over: false,
        })
    }

    fn test(&mut self, library: &Library) -> Result<bool, Dead> {
        if !self.is_over {
            self.is_over = library.test(&mut self.request)?;
        }
        Ok(self.is_over)
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        if !self.is_over {
            // MPI may still use the bytes. This happens only to those that concern a peer that has ended.
            std::mem::forget(std::mem::take(&mut self.bytes));
        }
    }
}

/// The connection to one peer.
pub(super) struct Channel {
    peer: c_int,
    /// What is expected next.
    incoming: Option<Post>,
    /// What has come of a long message, and how long it will be.
    part: Vec<u8>,
    length: usize,
    outgoing: VecDeque<Post>,
}

impl Channel {
    pub(super) fn new(peer: u32) -> Self {
        Channel {
            peer: c_int::try_from(peer).expect("heist: MPI's ranks are of this type"),
            incoming: None,
            part: Vec::new(),
            length: 0,
            outgoing: VecDeque::new(),
        }
    }

    /// Sends a message. It is on its way when [`flush`](Self::flush) returns true.
    pub(super) fn send(&mut self, library: &Library, message: &[u8]) -> Result<(), Dead> {
        let (first, rest) = message.split_at(message.len().min(FIRST - HEAD));
        let mut bytes = Vec::with_capacity(HEAD + first.len());
        bytes.extend_from_slice(&(message.len() as u64).to_le_bytes());
        bytes.extend_from_slice(first);
        self.outgoing
            .push_back(Post::send(library, bytes, self.peer)?);
        for piece in rest.chunks(PIECE) {
            let post = Post::send(library, piece.to_vec(), self.peer)?;
            self.outgoing.push_back(post);
        }
        self.flush(library).map(drop)
    }

    /// Whether MPI has taken over all that was sent.
    pub(super) fn flush(&mut self, library: &Library) -> Result<bool, Dead> {
        while let Some(post) = self.outgoing.front_mut() {
            if !post.test(library)? {
                return Ok(false);
            }
            self.outgoing.pop_front();
        }
        Ok(true)
    }

    /// Returns the next message, if it is there.
    pub(super) fn receive(&mut self, library: &Library) -> Result<Option<Vec<u8>>, Dead> {
        self.flush(library)?;
        loop {
            if self.incoming.is_none() {
                let room = match self.length - self.part.len() {
                    0 => FIRST,
                    rest => rest.min(PIECE),
                };
                self.incoming = Some(Post::receive(library, room, self.peer)?);
            }
            let Some(post) = &mut self.incoming else {
                return Ok(None);
            };
            if !post.test(library)? {
                return Ok(None);
            }
            let bytes = std::mem::take(&mut post.bytes);
            self.incoming = None;
            self.take(&bytes)?;
            if self.part.len() == self.length {
                self.length = 0;
                return Ok(Some(std::mem::take(&mut self.part)));
            }
        }
    }

    /// Adds a piece to the message.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Dead> {
        if self.length > 0 {
            self.part.extend_from_slice(bytes);
            return Ok(());
        }
        let (head, bytes) = bytes.split_at(HEAD);
        let length = u64::from_le_bytes(head.try_into().map_err(|_| Dead)?);
        self.length = usize::try_from(length).map_err(|_| Dead)?;
        let first = self.length.min(bytes.len());
        self.part.extend_from_slice(&bytes[..first]);
        Ok(())
    }
}
