//! Memory for tasks: each slot keeps some blocks of tasks that have ended on its thread, for those that are spawned there.
//!
//! A task's block lives for a short time and is given back where the next one is needed: the allocator's general
//! answer costs more than the rest of a spawn (14 of 38 ns, measured 2026-11 with glibc's).

use std::alloc::{self, Layout};
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// Sizes of blocks that are kept: from this one, in these steps; all are aligned to [`ALIGN`]. Finer than most allocators' own.
const SMALLEST: usize = 64;
const STEP: usize = 8;
const CLASSES: usize = 9;
const ALIGN: usize = 16;

const fn size_of_class(class: usize) -> usize {
    SMALLEST + class * STEP
}

/// Blocks kept of each size, 16 to 32 KiB. A depth-first program needs some dozens.
const KEPT: usize = 256;

/// Free blocks of one thread.
#[derive(Debug)]
pub(crate) struct Blocks {
    lists: [List; CLASSES],
}

#[derive(Debug)]
struct List {
    first: Cell<*mut Free>,
    len: Cell<usize>,
}

/// A free block: its first word links to the next.
struct Free {
    next: *mut Free,
}

impl Default for Blocks {
    fn default() -> Self {
        Blocks {
            lists: std::array::from_fn(|_| List {
                first: Cell::new(ptr::null_mut()),
                len: Cell::new(0),
            }),
        }
    }
}

/// Which list a layout goes to. Known when the code is compiled.
#[inline(always)]
const fn class(layout: Layout) -> Option<usize> {
    let class = layout.size().saturating_sub(SMALLEST).div_ceil(STEP);
    if layout.align() <= ALIGN && class < CLASSES {
        Some(class)
    } else {
        None
    }
}

/// What is asked of the allocator for a layout: the whole size of its class.
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

/// Memory for `layout`, from `blocks` if there is some.
#[inline]
pub(crate) fn allocate(layout: Layout, blocks: Option<&Blocks>) -> NonNull<u8> {
    if let (Some(blocks), Some(class)) = (blocks, class(layout)) {
        let list = &blocks.lists[class];
        if let Some(block) = NonNull::new(list.first.get()) {
            // SAFETY: a block in the list is a `Free`, and nobody else's.
            list.first.set(unsafe { block.as_ref() }.next);
            list.len.set(list.len.get() - 1);
            return block.cast();
        }
    }
    let layout = rounded(layout);
    // SAFETY: not of size zero: a task has a header.
    let memory = unsafe { alloc::alloc(layout) };
    NonNull::new(memory).unwrap_or_else(|| alloc::handle_alloc_error(layout))
}

/// Gives memory back, to `blocks` if there is room.
///
/// # Safety
/// `memory` came from [`allocate`] with this layout, and nothing in it is used any more.
#[inline]
pub(crate) unsafe fn release(memory: NonNull<u8>, layout: Layout, blocks: Option<&Blocks>) {
    if let (Some(blocks), Some(class)) = (blocks, class(layout)) {
        let list = &blocks.lists[class];
        if list.len.get() < KEPT {
            let block = memory.cast::<Free>();
            let next = list.first.get();
            // SAFETY: the block is ours, large enough and aligned.
            unsafe { block.write(Free { next }) };
            list.first.set(block.as_ptr());
            list.len.set(list.len.get() + 1);
            return;
        }
    }
    // SAFETY: allocated with the rounded layout.
    unsafe { alloc::dealloc(memory.as_ptr(), rounded(layout)) };
}

impl Drop for Blocks {
    fn drop(&mut self) {
        for (class, list) in self.lists.iter().enumerate() {
            let layout =
                Layout::from_size_align(size_of_class(class), ALIGN).expect("a valid layout");
            let mut next = list.first.replace(ptr::null_mut());
            while let Some(block) = NonNull::new(next) {
                // SAFETY: a block in the list is a `Free`.
                next = unsafe { block.as_ref() }.next;
                // SAFETY: allocated with this layout.
                unsafe { alloc::dealloc(block.as_ptr().cast(), layout) };
            }
        }
    }
}
