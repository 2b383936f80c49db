//! A reduction whose grouping depends only on the length of the input.

use super::Source;
use crate::fork::join;

/// The greatest number of blocks: enough for a few hundred threads, and few compared with the cost of a large input.
const BLOCKS: usize = 1024;

/// A source whose items are the blocks of another source. All blocks but the last are of equal length.
pub(super) struct Blocks<S> {
    source: S,
    block: usize,
}

impl<S: Source> Blocks<S> {
    pub(super) fn new(source: S) -> Self {
        let even = source.len().div_ceil(BLOCKS);
        let block = even.max(source.min_len()).min(source.max_len()).max(1);
        Blocks { source, block }
    }
}

impl<S: Source> Source for Blocks<S> {
    type Item = S;
    type Iter = BlockIter<S>;

    fn len(&self) -> usize {
        self.source.len().div_ceil(self.block)
    }

    fn split_at(self, index: usize) -> (Self, Self) {
        let Blocks { source, block } = self;
        // The last block can be shorter.
        let middle = index.saturating_mul(block).min(source.len());
        let (left, right) = source.split_at(middle);
        let blocks = |source| Blocks { source, block };
        (blocks(left), blocks(right))
    }

    fn into_seq(self) -> BlockIter<S> {
        BlockIter {
            rest: Some(self.source),
            block: self.block,
        }
    }
}

/// An iterator over the blocks of [`Blocks`].
pub(super) struct BlockIter<S> {
    rest: Option<S>,
    block: usize,
}

impl<S: Source> Iterator for BlockIter<S> {
    type Item = S;

    fn next(&mut self) -> Option<S> {
        let rest = self.rest.take()?;
        let len = rest.len();
        if len <= self.block {
            return (len > 0).then_some(rest);
        }
        let (first, rest) = rest.split_at(self.block);
        self.rest = Some(rest);
        Some(first)
    }
}

/// Takes the results and combines them as the leaves of a balanced tree. Returns `None` if there are none.
pub(super) fn tree_reduce<R: Send>(
    results: &mut [Option<R>],
    reduce: &(impl Fn(R, R) -> R + Sync),
) -> Option<R> {
    match results {
        [] => None,
        [result] => result.take(),
        _ => {
            let (left, right) = results.split_at_mut(results.len() / 2);
            let (left, right) = join(|| tree_reduce(left, reduce), || tree_reduce(right, reduce));
            match (left, right) {
                (Some(left), Some(right)) => Some(reduce(left, right)),
                (left, right) => left.or(right),
            }
        }
    }
}
