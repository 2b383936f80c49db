//! A reduction whose grouping depends on the length of the input alone.

use super::Source;
use crate::fork::join;

/// The most blocks that an input is cut into: enough for a few hundred threads, and few beside what a large input costs.
const BLOCKS: usize = 1024;

/// A source whose items are the blocks of another one, of the same length each but for the last.
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
        // The last block may be shorter.
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

/// Goes through the blocks of [`Blocks`].
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

/// Puts the results together as the leaves of a balanced tree, and leaves nothing behind. `None`: there are none.
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
