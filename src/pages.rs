//! Memory for the tasks of threads without a slot: *pages*, from which such a thread cuts one block after the other.
//!
//! A thread from outside submits many tasks before the first of them ends, and other threads release their blocks, in any order. So the blocks are not
//! reused one by one. A page is, once all of its blocks have been released. A block that lives on keeps its page, which is less than 4 KiB.
//!
//! # Protocol
//!
//! [`Live`], a word of the page, counts the blocks that were not released. It begins at [`OPEN`], above every possible number of blocks, so that it
//! does not reach zero while the page is *open*, that is while its thread cuts blocks from it. A thread that has released n blocks subtracts n. The
//! thread that closes the page subtracts `OPEN` and adds the number of blocks that it has cut. The thread whose step ends at zero owns the page.
//!
//! A thread counts the blocks that it releases one after the other from the same page, and subtracts their number when it releases one of another page,
//! or ends. So it delays the reuse of at most one page.

use crate::blocks::{self, Blocks};
use crate::sync::{AtomicUsize, MODEL, Ordering};
use std::alloc::{self, Layout};
use std::cell::Cell;
use std::ptr::{self, NonNull};

#[cfg(all(test, heist_loom))]
mod models;

/// The size of a page in bytes. With what an allocator adds and aligns it is at most 4 KiB.
const SIZE: usize = 4096 - 2 * ALIGN;

/// The alignment of a page, that of a cache line: blocks of this size share no line.
const ALIGN: usize = 64;

/// The place of the first block, behind the head.
const FIRST: usize = ALIGN;

/// The size of the largest block that is cut from a page.
const LARGEST: usize = 256;

/// The most free pages that a thread keeps.
const KEPT: usize = 8;

const LAYOUT: Layout = match Layout::from_size_align(SIZE, ALIGN) {
    Ok(layout) => layout,
    Err(_) => unreachable!(),
};

const _: () = assert!(MODEL || size_of::<Head>() <= FIRST);

/// The head of a page.
struct Head {
    live: Live,
    /// The next page in the list of free pages.
    next: Cell<*mut Head>,
}

/// The count of the blocks of a page that were not released, plus [`OPEN`] while the page is open.
struct Live(AtomicUsize);

const OPEN: usize = 1 << 32;

impl Live {
    fn new() -> Self {
        Live(AtomicUsize::new(OPEN))
    }

    /// Subtracts from the count. Returns whether it is zero, so that the page belongs to the caller.
    #[must_use]
    fn subtract(&self, n: usize) -> bool {
        // ORDERING: AcqRel pairs with itself: each thread stops using its blocks before another one reuses the page.
        self.0.fetch_sub(n, Ordering::AcqRel) == n
    }
}

/// The pages of one thread.
struct Pages {
    /// The page from which blocks are cut, or null.
    open: Cell<*mut Head>,
    /// Where the next block can begin, in bytes from the beginning of the open page.
    end: Cell<usize>,
    /// The number of blocks that were cut from the open page.
    cut: Cell<usize>,
    /// The page of the block that was released last, or null.
    released: Cell<*mut Head>,
    /// The number of released blocks of that page that were not subtracted yet.
    uncounted: Cell<usize>,
    /// The first of the free pages.
    free: Cell<*mut Head>,
    /// The number of free pages.
    kept: Cell<usize>,
}

impl Pages {
    const fn new() -> Self {
        Pages {
            open: Cell::new(ptr::null_mut()),
            end: Cell::new(SIZE),
            cut: Cell::new(0),
            released: Cell::new(ptr::null_mut()),
            uncounted: Cell::new(0),
            free: Cell::new(ptr::null_mut()),
            kept: Cell::new(0),
        }
    }

    /// Cuts a block, whose layout [`fits`]. Returns it and its place, in bytes from the beginning of its page.
    #[inline]
    fn cut(&self, layout: Layout) -> (NonNull<u8>, usize) {
        let mut place = self.end.get().next_multiple_of(layout.align());
        if place + layout.size() > SIZE {
            self.turn_page();
            place = FIRST;
        }
        self.end.set(place + layout.size());
        self.cut.set(self.cut.get() + 1);
        // SAFETY: the block lies in the open page, which has `SIZE` bytes.
        let block = unsafe { self.open.get().cast::<u8>().add(place) };
        (NonNull::new(block).expect("a page has an address"), place)
    }

    /// Closes the open page and opens another one.
    #[cold]
    fn turn_page(&self) {
        self.close();
        let page = match NonNull::new(self.free.get()) {
            Some(page) => {
                // SAFETY: the pages of the list are alive, and belong to this thread.
                self.free.set(unsafe { page.as_ref() }.next.get());
                self.kept.set(self.kept.get() - 1);
                page
            }
            None => {
                // SAFETY: the size is not zero.
                let memory = unsafe { alloc::alloc(LAYOUT) };
                NonNull::new(memory.cast()).unwrap_or_else(|| alloc::handle_alloc_error(LAYOUT))
            }
        };
        let head = Head {
            live: Live::new(),
            next: Cell::new(ptr::null_mut()),
        };
        // SAFETY: the page belongs to this thread, and is aligned and large enough for a head.
        unsafe { page.write(head) };
        self.open.set(page.as_ptr());
    }

    /// Closes the open page, if there is one.
    fn close(&self) {
        self.end.set(SIZE);
        let cut = self.cut.replace(0);
        if let Some(page) = NonNull::new(self.open.replace(ptr::null_mut())) {
            // SAFETY: the page is alive while it is open.
            if unsafe { page.as_ref() }.live.subtract(OPEN - cut) {
                self.keep(page);
            }
        }
    }

    /// Releases a block of this page.
    ///
    /// # Safety
    /// The block was cut from the page, is released once, and is not used any more.
    #[inline]
    unsafe fn release(&self, page: NonNull<Head>) {
        if self.released.get() != page.as_ptr() {
            self.flush();
            self.released.set(page.as_ptr());
        }
        self.uncounted.set(self.uncounted.get() + 1);
    }

    /// Subtracts what was released from the page of the block that was released last.
    fn flush(&self) {
        let released = self.uncounted.replace(0);
        if let Some(page) = NonNull::new(self.released.replace(ptr::null_mut())) {
            // SAFETY: the page is alive, because blocks of it were not subtracted yet.
            if unsafe { page.as_ref() }.live.subtract(released) {
                self.keep(page);
            }
        }
    }

    /// Keeps or frees a page that belongs to this thread.
    fn keep(&self, page: NonNull<Head>) {
        if self.kept.get() < KEPT {
            // SAFETY: the page is alive, and belongs to this thread.
            unsafe { page.as_ref() }.next.set(self.free.get());
            self.free.set(page.as_ptr());
            self.kept.set(self.kept.get() + 1);
        } else {
            // SAFETY: the page belongs to this thread, which does not use it any more.
            unsafe { free(page) };
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.flush();
        self.close();
        while let Some(page) = NonNull::new(self.free.get()) {
            // SAFETY: the pages of the list are alive, and belong to this thread.
            self.free.set(unsafe { page.as_ref() }.next.get());
            // SAFETY: the page is off the list, and not used any more.
            unsafe { free(page) };
        }
    }
}

/// Frees a page.
///
/// # Safety
/// The page belongs to the caller and is not used any more.
unsafe fn free(page: NonNull<Head>) {
    // SAFETY: all pages were allocated with this layout.
    unsafe { alloc::dealloc(page.as_ptr().cast(), LAYOUT) };
}

// From std: models use no pages. Loom's threads are one thread of the system.
std::thread_local! {
    static PAGES: Pages = const { Pages::new() };
}

/// Whether blocks of this layout are cut from pages.
const fn fits(layout: Layout) -> bool {
    !MODEL && layout.size() <= LARGEST && layout.align() <= ALIGN
}

/// Returns memory for `layout`, which is not of size zero: from `blocks` if that is given, else from a page of the current thread. The second result is
/// the block's place in its page, or 0 if it lies in none.
#[inline]
pub(crate) fn allocate(layout: Layout, blocks: Option<&Blocks>) -> (NonNull<u8>, usize) {
    // A thread that is ending has no pages any more.
    if blocks.is_none()
        && fits(layout)
        && let Ok(cut) = PAGES.try_with(|pages| pages.cut(layout))
    {
        return cut;
    }
    (blocks::allocate(layout, blocks), 0)
}

/// Releases memory, to its page if it lies in one, else to `blocks` if that has room.
///
/// # Safety
/// `memory` and `place` were returned by [`allocate`] for this layout, and the memory is not used any more.
#[inline]
pub(crate) unsafe fn release(
    memory: NonNull<u8>,
    place: usize,
    layout: Layout,
    blocks: Option<&Blocks>,
) {
    if place == 0 {
        // SAFETY: the memory lies in no page, so `blocks::allocate` has returned it for this layout. It is not used any more, as the caller asserts.
        return unsafe { blocks::release(memory, layout, blocks) };
    }
    // SAFETY: the block begins `place` bytes behind the beginning of its page, as the caller asserts.
    let page = unsafe { memory.sub(place) }.cast::<Head>();
    // SAFETY: the block was cut from the page and is not used any more, as the caller asserts.
    let released = PAGES.try_with(|pages| unsafe { pages.release(page) });
    // SAFETY: the page is alive, because this block was not subtracted yet.
    if released.is_err() && unsafe { page.as_ref() }.live.subtract(1) {
        // SAFETY: all blocks of the page were released, and its thread has closed it.
        unsafe { free(page) };
    }
}

#[cfg(all(test, not(any(heist_loom, heist_shuttle))))]
mod tests {
    use super::{FIRST, KEPT, Pages, SIZE};
    use std::alloc::Layout;
    use std::cell::Cell;
    use std::collections::HashSet;
    use std::thread;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).unwrap()
    }

    fn release(block: super::NonNull<u8>, place: usize, layout: Layout) {
        // SAFETY: the tests release what they have allocated, once.
        unsafe { super::release(block, place, layout, None) };
    }

    #[test]
    fn a_page_is_reused_once_all_blocks_are_released() {
        let (pages, layout) = (Pages::new(), layout(64));
        let per_page = (SIZE - FIRST) / 64;
        let mut addresses = HashSet::new();
        for _ in 0..100 {
            let blocks: Vec<_> = (0..per_page).map(|_| pages.cut(layout)).collect();
            for (block, place) in blocks {
                // SAFETY: the block lies `place` bytes behind the head of its page.
                let page = unsafe { block.sub(place) }.cast();
                addresses.insert(page);
                // SAFETY: the block is released once.
                unsafe { pages.release(page) };
            }
        }
        assert!(addresses.len() <= 3, "{} pages", addresses.len());
    }

    #[test]
    fn blocks_are_aligned_and_apart() {
        let pages = Pages::new();
        let mut ends = Vec::new();
        for n in 0..1_000 {
            let layout = Layout::from_size_align(1 + n % 256, 1 << (n % 7)).unwrap();
            let (block, place) = pages.cut(layout);
            assert!(place >= FIRST && place + layout.size() <= SIZE);
            assert_eq!(block.addr().get() % layout.align(), 0);
            // SAFETY: the block has this many bytes.
            unsafe { block.write_bytes(n as u8, layout.size()) };
            ends.push((block, place, layout, n as u8));
        }
        for (block, place, layout, byte) in ends {
            // SAFETY: the block was filled with initialised bytes.
            let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), layout.size()) };
            assert!(bytes.iter().all(|other| *other == byte));
            release(block, place, layout);
        }
    }

    #[test]
    fn threads_release_the_blocks_of_a_thread_that_has_ended() {
        struct Block(super::NonNull<u8>, usize);
        // SAFETY: a block is memory that one thread uses at a time.
        unsafe impl Send for Block {}

        let cutter = thread::spawn(|| -> Vec<_> {
            let cut = |_| super::allocate(layout(72), None);
            let blocks = (0..10_000).map(cut);
            blocks.map(|(block, place)| Block(block, place)).collect()
        });
        let mut parts = [const { Vec::new() }; 3];
        for (n, block) in cutter.join().unwrap().into_iter().enumerate() {
            assert_ne!(block.1, 0);
            parts[n % 3].push(block);
        }
        let releasers = parts.map(|part| {
            thread::spawn(move || {
                for Block(block, place) in part {
                    release(block, place, layout(72));
                }
            })
        });
        for releaser in releasers {
            releaser.join().unwrap();
        }
    }

    #[test]
    fn a_thread_that_is_ending_allocates_and_releases() {
        struct Late(Cell<Option<(super::NonNull<u8>, usize)>>);
        impl Drop for Late {
            fn drop(&mut self) {
                for _ in 0..2 {
                    if let Some((block, place)) = self.0.take() {
                        release(block, place, layout(72));
                    }
                    self.0.set(Some(super::allocate(layout(72), None)));
                }
                let (block, place) = self.0.take().unwrap();
                release(block, place, layout(72));
            }
        }
        std::thread_local! {
            static LATE: Late = const { Late(Cell::new(None)) };
        }
        // Destroyed before the thread's pages in one thread, after them in the other.
        for late_first in [false, true] {
            let thread = thread::spawn(move || {
                if late_first {
                    LATE.with(|late| late.0.set(None));
                }
                let kept = super::allocate(layout(72), None);
                LATE.with(|late| late.0.set(Some(kept)));
            });
            thread.join().unwrap();
        }
    }

    #[test]
    fn few_free_pages_are_kept() {
        let (pages, layout) = (Pages::new(), layout(256));
        let blocks: Vec<_> = (0..1_000).map(|_| pages.cut(layout)).collect();
        for (block, place) in blocks {
            // SAFETY: the block lies `place` bytes behind the head of its page.
            let page = unsafe { block.sub(place) }.cast();
            // SAFETY: the block is released once.
            unsafe { pages.release(page) };
        }
        assert_eq!(pages.kept.get(), KEPT);
    }
}
