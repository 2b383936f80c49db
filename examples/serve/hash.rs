//! BLAKE3 hashes, forked along the tree that the hash is.

use std::io;
use std::mem;

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};
use blake3::{Hash, Hasher};

use super::body::check_cancelled;
use super::files::{Content, PIECE};

/// The largest part that is not forked further: 10 to 50 us of work.
const LEAF: usize = 64 * 1024;

/// A hash under way.
pub struct Digest {
    content: Content,
    /// The next piece, which has been read except at the beginning, and the number of bytes before it.
    piece: Vec<u8>,
    offset: u64,
    /// The memory for the piece after that.
    after: Vec<u8>,
    /// The values of the pieces so far, merged to trees of 2^k pieces, the largest first.
    trees: Vec<ChainingValue>,
}

impl Digest {
    pub fn new(content: Content) -> Self {
        Digest {
            content,
            piece: Vec::new(),
            offset: 0,
            after: Vec::new(),
            trees: Vec::new(),
        }
    }

    /// Hashes the next piece and reads the one after it. Returns the hash of the file after the last piece.
    pub fn step(&mut self) -> io::Result<Option<Hash>> {
        if self.piece.is_empty() {
            self.content.read_into(&mut self.piece, PIECE)?;
        }
        if self.content.left() == 0 {
            return self.end().map(Some);
        }
        let (read, value) = heist::join(
            || self.content.read_into(&mut self.after, PIECE),
            || subtree(&self.piece, self.offset),
        );
        let mut value = value?;
        read?;
        // As a carry in a binary number of pieces.
        let pieces = self.offset / PIECE as u64;
        for _ in 0..pieces.trailing_ones() {
            let left = self.trees.pop().expect("there is a tree for each one");
            value = merge_subtrees_non_root(&left, &value, Mode::Hash);
        }
        self.trees.push(value);
        self.offset += self.piece.len() as u64;
        mem::swap(&mut self.piece, &mut self.after);
        Ok(None)
    }

    /// Hashes the last piece and merges all trees.
    fn end(&mut self) -> io::Result<Hash> {
        if self.trees.is_empty() {
            return root(&self.piece);
        }
        let mut value = subtree(&self.piece, self.offset)?;
        let first = self.trees.remove(0);
        while let Some(left) = self.trees.pop() {
            value = merge_subtrees_non_root(&left, &value, Mode::Hash);
        }
        Ok(merge_subtrees_root(&first, &value, Mode::Hash))
    }
}

/// The hash of a file that is one piece.
fn root(bytes: &[u8]) -> io::Result<Hash> {
    if bytes.len() <= LEAF {
        return Ok(blake3::hash(bytes));
    }
    let (left, right) = halves(bytes, 0)?;
    Ok(merge_subtrees_root(&left, &right, Mode::Hash))
}

/// The value of a part of a file that begins at `offset`.
fn subtree(bytes: &[u8], offset: u64) -> io::Result<ChainingValue> {
    check_cancelled()?;
    if bytes.len() <= LEAF {
        let mut hasher = Hasher::new();
        return Ok(hasher
            .set_input_offset(offset)
            .update(bytes)
            .finalize_non_root());
    }
    let (left, right) = halves(bytes, offset)?;
    Ok(merge_subtrees_non_root(&left, &right, Mode::Hash))
}

fn halves(bytes: &[u8], offset: u64) -> io::Result<(ChainingValue, ChainingValue)> {
    let middle = left_subtree_len(bytes.len() as u64);
    let (left, right) = bytes.split_at(middle as usize);
    let (left, right) = heist::join(|| subtree(left, offset), || subtree(right, offset + middle));
    Ok((left?, right?))
}
