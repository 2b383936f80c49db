//! Which slot the current thread acts from.

use super::registry::Registry;
use super::slot::Slot;
use crate::job::ForkHeader;
use crate::ring::Ring;
use std::cell::Cell;
use std::ptr;

/// The current thread's slot, and its ring once more, which is all that an undisturbed `join` reads.
#[derive(Clone, Copy)]
struct Context {
    ring: *const Ring<ForkHeader>,
    slot: *const Slot,
}

const NOWHERE: Context = Context {
    ring: ptr::null(),
    slot: ptr::null(),
};

#[cfg(not(loom))]
crate::sync::thread_local! {
    static RING: Cell<*const Ring<ForkHeader>> = const { Cell::new(NOWHERE.ring) };
    /// The same, for the end of a `join`. A variable of its own, or the compiler keeps the address of the one above in a
    /// register across the first closure, to be saved and restored by every call of a recursion, leaves included.
    static RING_AFTER: Cell<*const Ring<ForkHeader>> = const { Cell::new(NOWHERE.ring) };
    static SLOT: Cell<*const Slot> = const { Cell::new(NOWHERE.slot) };
    /// The slot that this thread was started for, from wherever it acts at the moment.
    static HOME: Cell<*const Slot> = const { Cell::new(ptr::null()) };
    /// The number of the pool whose thread this was, once that thread is about to end.
    static LEFT: Cell<u64> = const { Cell::new(0) };
    /// Below this address the stack is used up too far to begin a task there.
    static FLOOR: Cell<usize> = const { Cell::new(0) };
    /// This thread has woken or started another one since it was last asked.
    static WOKE: Cell<bool> = const { Cell::new(false) };
    /// The token of the task that runs here, whatever that is; null: it has none.
    static TOKEN: Cell<*const ()> = const { Cell::new(ptr::null()) };
}

#[cfg(loom)]
loom::thread_local! {
    static RING: Cell<*const Ring<ForkHeader>> = Cell::new(NOWHERE.ring);
    static RING_AFTER: Cell<*const Ring<ForkHeader>> = Cell::new(NOWHERE.ring);
    static SLOT: Cell<*const Slot> = Cell::new(NOWHERE.slot);
    static HOME: Cell<*const Slot> = Cell::new(ptr::null());
    static LEFT: Cell<u64> = Cell::new(0);
    static FLOOR: Cell<usize> = Cell::new(0);
    static WOKE: Cell<bool> = Cell::new(false);
    static TOKEN: Cell<*const ()> = Cell::new(ptr::null());
}

/// The ring that this thread owns, if it takes part in a pool.
#[inline(always)]
pub(crate) fn ring<'a>() -> Option<&'a Ring<ForkHeader>> {
    let ring = RING.with(Cell::get);
    // SAFETY: set by `enter` from a reference that outlives its guard. The lifetime is the caller's to
    // keep: no caller stores the reference or returns it from a call during which the context could change.
    unsafe { ring.as_ref() }
}

/// The ring that this thread owns, at the end of a `join`.
///
/// # Safety
/// The thread takes part in a pool.
#[inline(always)]
pub(crate) unsafe fn own_ring<'a>() -> &'a Ring<ForkHeader> {
    let ring = RING_AFTER.with(Cell::get);
    debug_assert!(!ring.is_null());
    // SAFETY: not null, by the caller; for the rest as in `ring`.
    unsafe { &*ring }
}

/// The slot that this thread owns, if it takes part in a pool.
#[inline]
pub(crate) fn slot<'a>() -> Option<&'a Slot> {
    let slot = SLOT.with(Cell::get);
    // SAFETY: as in `ring`.
    unsafe { slot.as_ref() }
}

/// The current thread is a pool's, started for this slot; the slot outlives it. `stack`: how much of its stack may be used up before
/// [`is_deep`], in bytes.
pub(super) fn set_home(slot: &Slot, stack: usize) {
    HOME.with(|cell| cell.set(slot));
    set_floor(stack);
}

/// The current thread acts from `slot` for the rest of its life. The slot outlives it.
pub(super) fn settle(slot: &Slot) {
    set_home(slot, GUEST_STACK);
    std::mem::forget(enter(slot));
}

/// The current thread is about to end: its slot may go before it does.
pub(super) fn leave_home() {
    if let Some(home) = home() {
        LEFT.with(|cell| cell.set(home.registry().id));
    }
    HOME.with(|cell| cell.set(ptr::null()));
}

/// The number of the pool that the current thread was one of, at its very end. 0: none.
pub(super) fn left() -> u64 {
    LEFT.with(Cell::get)
}

/// The thread has woken or started another one.
pub(super) fn note_wake() {
    WOKE.with(|woke| woke.set(true));
}

/// Whether it has, since this was last asked.
pub(super) fn has_woken() -> bool {
    WOKE.with(Cell::take)
}

/// From here on the thread may use this much stack before [`is_deep`]. Returns the limit before.
pub(crate) fn set_floor(stack: usize) -> usize {
    FLOOR.with(|floor| floor.replace(stack_address().saturating_sub(stack)))
}

/// Whether so little stack is left that no further task should begin on top of the running ones.
pub(crate) fn is_deep() -> bool {
    if FLOOR.with(Cell::get) == 0 {
        // A thread from outside, of which nothing is known.
        set_floor(GUEST_STACK);
    }
    stack_address() < FLOOR.with(Cell::get)
}

/// What a guest's stack is trusted to have left when it first joins a task.
const GUEST_STACK: usize = 512 << 10;

/// Roughly where the stack stands. It grows downwards wherever Rust runs.
#[inline(never)]
fn stack_address() -> usize {
    let here = 0_u8;
    ptr::from_ref(&here).addr()
}

/// The slot that the current thread was started for, if it is a pool's.
pub(crate) fn home<'a>() -> Option<&'a Slot> {
    let home = HOME.with(Cell::get);
    // SAFETY: set by `set_home`; the thread holds the slot's registry until it ends.
    unsafe { home.as_ref() }
}

/// The same, if it is this pool's.
pub(crate) fn home_in<'a>(registry: &Registry) -> Option<&'a Slot> {
    home().filter(|home| ptr::eq(home.registry(), registry))
}

/// The thread acts from `slot` until the guard is dropped, then from where it acted before.
pub(crate) fn enter(slot: &Slot) -> Entered {
    let outer = Context {
        ring: RING.with(Cell::get),
        slot: SLOT.with(Cell::get),
    };
    set(Context {
        ring: &*slot.ring,
        slot,
    });
    Entered { outer }
}

fn set(context: Context) {
    RING.with(|cell| cell.set(context.ring));
    RING_AFTER.with(|cell| cell.set(context.ring));
    SLOT.with(|cell| cell.set(context.slot));
}

/// Whether the current thread takes part in a pool.
#[inline(always)]
pub(crate) fn is_inside() -> bool {
    ring().is_some()
}

/// What the layer above knows the current task's token by.
#[inline]
pub(crate) fn token() -> *const () {
    TOKEN.with(Cell::get)
}

/// Another task begins or goes on. Returns the token before.
#[inline]
pub(crate) fn replace_token(token: *const ()) -> *const () {
    TOKEN.with(|current| current.replace(token))
}

/// Runs what does not belong to the current task: it has none of its token. `f` does not unwind.
pub(super) fn as_stranger<R>(f: impl FnOnce() -> R) -> R {
    let token = replace_token(ptr::null());
    let result = f();
    replace_token(token);
    result
}

/// See [`enter`].
pub(crate) struct Entered {
    outer: Context,
}

impl Drop for Entered {
    fn drop(&mut self) {
        set(self.outer);
    }
}
