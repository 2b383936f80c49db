//! Loom models of the count of a page's blocks.

use super::{Live, OPEN};
use crate::sync::Arc;
use crate::testing::small_model;
use loom::cell::UnsafeCell;
use loom::thread;

/// A page of two blocks, and the number of threads that were told that it belongs to them.
struct Page {
    live: Live,
    blocks: [UnsafeCell<u32>; 2],
}

impl Page {
    /// Uses a block for the last time.
    fn use_block(&self, n: usize) {
        // SAFETY: loom checks that no other thread uses the block at the same time.
        self.blocks[n].with_mut(|block| unsafe { *block += 1 });
    }

    /// Subtracts from the count, and reuses the page if it belongs to this thread.
    fn subtract(&self, n: usize) -> bool {
        let is_ours = self.live.subtract(n);
        if is_ours {
            (0..2).for_each(|block| self.use_block(block));
        }
        is_ours
    }
}

/// Two threads release a block each while the cutter closes the page. One of the three gets the page, after the others have stopped using it.
#[test]
fn a_page_is_closed_while_two_blocks_are_released() {
    small_model(|| {
        let page = Arc::new(Page {
            live: Live::new(),
            blocks: [UnsafeCell::new(0), UnsafeCell::new(0)],
        });
        let releasers = [0, 1].map(|block| {
            let page = Arc::clone(&page);
            thread::spawn(move || {
                page.use_block(block);
                page.subtract(1)
            })
        });
        let closed = page.subtract(OPEN - 2);
        let owners = releasers.map(|releaser| releaser.join().unwrap());
        let owners = owners.into_iter().chain([closed]).filter(|ours| *ours);
        assert_eq!(owners.count(), 1);
    });
}
