//! Memory for tasks: each slot keeps some blocks of tasks that ended on its thread, for tasks that are spawned there.
//!
//! The block of a task lives for a short time and is released where the next one is needed. The general allocator would take a large part of a
//! spawn (14 of 38 ns, measured 2026-11 with that of glibc).

use std::alloc::{self, Layout};
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// The smallest size of a block that is kept. The sizes, or classes, go up from here in steps of [`STEP`], which are finer than those of most
/// allocators. All blocks are aligned to [`ALIGN`].
const SMALLEST: usize = 64;
const STEP: usize = 8;
const CLASSES: usize = 9;
const ALIGN: usize = 16;

const fn size_of_class(class: usize) -> usize {
    SMALLEST + class * STEP
}

/// The most blocks kept of each size, which take up 16 to 32 KiB. A depth-first program needs some dozens.
const KEPT: usize = 256;

/// The free blocks of one thread.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    lists: [List; CLASSES],
}

#[derive(Debug, Default)]
struct List {
    first: Cell<*mut Free>,
    len: Cell<usize>,
}

/// A free block, whose first word links to the next one.
struct Free {
    next: *mut Free,
}

/// The list to which a layout belongs. The result is known at compile time.
#[inline(always)]
const fn class(layout: Layout) -> Option<usize> {
    let class = layout.size().saturating_sub(SMALLEST).div_ceil(STEP);
    if layout.align() <= ALIGN && class < CLASSES {
        Some(class)
    } else {
        None
    }
}

/// The layout that is requested from the allocator for `layout`: the full size of its class.
#[inline(always)]
const fn rounded(layout: Layout) -> Layout {
    match class(layout) {
        Some(class) => match Layout::from_size_align(size_of_class(class), ALIGN) {
            Ok(layout) => layout,
            Err(_) => unreachable!(),
        },
        None => layout,
    }
}

/// Returns memory for `layout`, which is not of size zero, from `blocks` if it has some.
#[inline]
pub(crate) fn allocate(layout: Layout, blocks: Option<&Blocks>) -> NonNull<u8> {
    if let (Some(blocks), Some(class)) = (blocks, class(layout)) {
        let list = &blocks.lists[class];
        if let Some(block) = NonNull::new(list.first.get()) {
            // SAFETY: (1) `release` wrote a `Free` to each block of the list. (2) Nothing else refers to a block of the list.
            list.first.set(unsafe { block.as_ref() }.next);
            list.len.set(list.len.get() - 1);
            return block.cast();
        }
    }
    let layout = rounded(layout);
    // SAFETY: the size is not zero, because each layout is that of a task, which has a header.
    let memory = unsafe { alloc::alloc(layout) };
    NonNull::new(memory).unwrap_or_else(|| alloc::handle_alloc_error(layout))
}

/// Releases memory, to `blocks` if it has room.
///
/// # Safety
/// `memory` was returned by [`allocate`] for this layout, and it is not used any more.
#[inline]
pub(crate) unsafe fn release(memory: NonNull<u8>, layout: Layout, blocks: Option<&Blocks>) {
    if let (Some(blocks), Some(class)) = (blocks, class(layout)) {
        let list = &blocks.lists[class];
        if list.len.get() < KEPT {
            let block = memory.cast::<Free>();
            let next = list.first.get();
            // SAFETY: (1) the caller gives the memory up. (2) The block has the size and alignment of its class, which are those of a `Free`
            // at least.
            unsafe { block.write(Free { next }) };
            list.first.set(block.as_ptr());
            list.len.set(list.len.get() + 1);
            return;
        }
    }
    // SAFETY: `allocate` obtained the memory from the allocator with this layout, as the caller asserts.
    unsafe { alloc::dealloc(memory.as_ptr(), rounded(layout)) };
}

impl Drop for Blocks {
    fn drop(&mut self) {
        for (class, list) in self.lists.iter().enumerate() {
            let layout =
                Layout::from_size_align(size_of_class(class), ALIGN).expect("a valid layout");
            let mut next = list.first.replace(ptr::null_mut());
            while let Some(block) = NonNull::new(next) {
                // SAFETY: `release` wrote a `Free` to each block of the list, which nothing else refers to.
                next = unsafe { block.as_ref() }.next;
                // SAFETY: `allocate` obtained each block of this list from the allocator with the layout of its class. The block is off the list.
                unsafe { alloc::dealloc(block.as_ptr().cast(), layout) };
            }
        }
    }
}
