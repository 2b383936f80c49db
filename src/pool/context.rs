//! The member as which the current thread acts, and other thread-locals of the pool.

use super::registry::Registry;
use super::slot::Slot;
use crate::blocks::Blocks;
use crate::counters::{Count, Counters};
use crate::job::ForkHeader;
use crate::lineage::{Origin, Run, Token};
use crate::profile::line::Line;
use crate::ring::Ring;
use crate::sys;
use crate::unwind;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Deref;
use std::{mem, ptr};

/// A thread that takes part in a pool: the registry of the pool and the slot that the thread owns.
///
/// Any thread may look into a [`Slot`]. A member acts as the slot's owner, so that it may also push, share and sleep.
#[derive(Clone, Copy)]
pub(crate) struct Member<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) slot: &'a Slot,
}

impl Deref for Member<'_> {
    type Target = Slot;

    #[inline(always)]
    fn deref(&self) -> &Slot {
        self.slot
    }
}

impl<'a> Member<'a> {
    /// Whether this is a member of the pool.
    #[inline(always)]
    pub(crate) fn is_of(self, registry: &Registry) -> bool {
        self.registry.id == registry.id
    }

    /// Erases the lifetime, for the thread-locals of this module. No caller of [`member`] or [`home`] stores the member, or returns it from a
    /// call during which it could end.
    fn erased(self) -> Member<'static> {
        // SAFETY: (1) the types differ in a lifetime only. (2) The thread-locals hold the member only while its references are valid: until
        // the guard of `enter` is dropped, which the references outlive, or until `leave_home`, which the thread calls before it gives up
        // its registry.
        unsafe { mem::transmute::<Member<'_>, Member<'static>>(self) }
    }

    /// The memory for new tasks.
    pub(crate) fn blocks(self) -> &'a Blocks {
        self.slot.blocks()
    }

    /// Begins a run on the current thread's slot that descends from `origin`. It ends when the guard is dropped, which the token outlives.
    #[inline(always)]
    pub(super) fn begin(self, origin: Origin, token: Token) -> Begun<'a> {
        let run = self.slot.begin(origin, token);
        // This thread may have answered a helper's share request in another run, with work that the helper may not run. So it sends itself a new
        // request, and the first push of this run looks for helpers.
        // ORDERING: Store-load pair: {limit, which was answered; helpers} here, {helpers; heavy fence; limit} in a helper that parks.
        if !origin.is_root() && self.registry.sleep.wants_helpers() {
            self.ring.request();
        }
        Begun {
            _run: run,
            _outer: set_token(token),
        }
    }
}

/// Declares thread-local cells: with constant initial values, or under loom, which has none of these, with ordinary ones.
macro_rules! thread_local_cells {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $initial:expr;)*) => {
        #[cfg(not(heist_loom))]
        crate::sync::thread_local! {
            $($(#[$doc])* static $name: Cell<$type> = const { Cell::new($initial) };)*
        }
        #[cfg(heist_loom)]
        loom::thread_local! { $(static $name: Cell<$type> = Cell::new($initial);)* }
    };
}

thread_local_cells! {
    /// The ring of the slot from which this thread acts. It is null while joins of the thread are measured, so that they take the path of a thread that takes part
    /// in no pool.
    RING: *const Ring<ForkHeader> = ptr::null();
    /// The ring of the slot from which this thread acts, for the end of a `join`. With one variable for both uses the compiler would keep its address in a register across
    /// the first closure. Every call of a recursion would have to save and restore that register, even a call that forks nothing.
    RING_AFTER: *const Ring<ForkHeader> = ptr::null();
    /// The member as which this thread acts at the moment. `RING` is the ring of its slot, and all that an undisturbed `join` reads.
    HERE: Option<Member<'static>> = None;
    /// The member as which this thread was started, whatever it acts as at the moment.
    HOME: Option<Member<'static>> = None;
    /// The number of a pool whose end waits for this thread although the thread is no member of it, or 0: the thread has left the pool and is about to
    /// end ([`leave_home`]), or it runs something for the pool ([`with_left`]).
    LEFT: u64 = 0;
    /// The number of the pool for whose new thread this thread asks for a name, or 0. See [`naming`].
    NAMING: u64 = 0;
    /// The address below which too little stack is left to begin a task.
    FLOOR: usize = 0;
    /// The number of a pool, one of whose threads had little stack left, has started this thread to run a task, and waits for it; or 0.
    STANDS_IN: u64 = 0;
    /// The token of what runs on this thread.
    TOKEN: Token = Token::NONE;
    /// Whether this thread has left its pool, so that another one may own its slot. See [`is_gone`].
    GONE: bool = false;
    /// The line by which a profile measures what runs on this thread, or null.
    LINE: *const Line<'static> = ptr::null();
}

/// The ring into which this thread pushes the forks of a `join`, if it takes part in a pool and its joins are not measured.
#[inline(always)]
pub(crate) fn ring<'a>() -> Option<&'a Ring<ForkHeader>> {
    let ring = RING.with(Cell::get);
    // SAFETY: the pointer is null, or `enter` derived it from a reference that outlives the guard. No caller stores the returned reference
    // or returns it from a call during which the context could change.
    unsafe { ring.as_ref() }
}

/// The ring that this thread owns, if it takes part in a pool, whether its joins are measured or not.
#[inline(always)]
pub(crate) fn ring_in_use<'a>() -> Option<&'a Ring<ForkHeader>> {
    let ring = RING_AFTER.with(Cell::get);
    // SAFETY: the pointer is null, or `enter` derived it from a reference that outlives the guard. No caller stores the returned reference
    // or returns it from a call during which the context could change.
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
    // SAFETY: (1) the pointer is not null, as the caller asserts. (2) `enter` derived it from a reference that outlives the guard, and no
    // caller keeps the returned reference longer than the guard.
    unsafe { &*ring }
}

/// The member as which this thread acts, if it takes part in a pool.
#[inline]
pub(crate) fn member<'a>() -> Option<Member<'a>> {
    HERE.with(Cell::get)
}

/// The member as which this thread acts, if it takes part in this pool.
#[inline]
pub(crate) fn member_of<'a>(registry: &Registry) -> Option<Member<'a>> {
    member().filter(|member| member.is_of(registry))
}

/// The slot that this thread owns, if it takes part in a pool.
#[inline]
pub(crate) fn slot<'a>() -> Option<&'a Slot> {
    member().map(|member| member.slot)
}

/// Declares that the current thread was started as this member. Slot and registry outlive the thread, or [`leave_home`] is called first.
pub(super) fn set_home(member: Member<'_>) {
    HOME.with(|cell| cell.set(Some(member.erased())));
}

/// Declares that the current thread is about to end, so that its slot can be freed before the thread ends.
pub(super) fn leave_home() {
    if let Some(home) = home() {
        LEFT.with(|cell| cell.set(home.registry.id));
    }
    HOME.with(|cell| cell.set(None));
}

/// Declares whether the current thread has left its pool.
pub(super) fn set_gone(is_gone: bool) {
    GONE.with(|cell| cell.set(is_gone));
}

/// Whether the current thread, which still acts as a member of its pool, has left it, so that another one may own its slot. It must not record there.
pub(super) fn is_gone() -> bool {
    GONE.with(Cell::get)
}

/// The number of a pool whose end waits for the current thread although the thread is no member of it, or 0. See [`leave_home`] and [`with_left`].
pub(super) fn left() -> u64 {
    LEFT.with(Cell::get)
}

/// Runs `name`, the closure that names a new thread, which may use the pool. Others rely on the new thread, which starts only afterwards: so
/// the closure must wait for no thread.
pub(super) fn naming<R>(registry: &Registry, name: impl FnOnce() -> R) -> R {
    let outer = NAMING.with(|pool| pool.replace(registry.id));
    let result = unwind::catch(name);
    NAMING.with(|pool| pool.set(outer));
    result.unwrap_or_else(|payload| unwind::resume(payload))
}

/// Whether this thread is inside [`naming`] for this pool.
pub(super) fn is_naming(registry: &Registry) -> bool {
    NAMING.with(Cell::get) == registry.id
}

/// Runs `f`, for which the end of the pool with this number waits. Meanwhile [`left`] returns that number, so that `f` does not wait for the pool.
/// `f` does not unwind.
pub(crate) fn with_left<R>(pool: u64, f: impl FnOnce() -> R) -> R {
    let before = LEFT.with(|cell| cell.replace(pool));
    let result = f();
    LEFT.with(|cell| cell.set(before));
    result
}

/// Declares that the current thread was started to run one piece of work, which may use `stack` bytes of its stack. `pool` is what
/// [`stands_in`] returns from now on.
pub(crate) fn begin_fresh_stack(stack: usize, pool: u64) {
    set_floor(stack);
    STANDS_IN.with(|cell| cell.set(pool));
}

/// The number of a pool, one of whose threads has started the current thread and waits for it; or 0. See [`begin_fresh_stack`].
pub(crate) fn stands_in() -> u64 {
    STANDS_IN.with(Cell::get)
}

/// Lets the thread use `stack` more bytes of its stack before [`is_deep`] returns true. Returns the previous limit.
pub(crate) fn set_floor(stack: usize) -> usize {
    FLOOR.with(|floor| floor.replace(stack_address().saturating_sub(stack)))
}

/// Whether so little stack is left that no further task should begin on top of the running ones. Where the size of the stack is known, that is
/// less than half of it.
pub(crate) fn is_deep() -> bool {
    if FLOOR.with(Cell::get) == 0 {
        find_floor();
    }
    stack_address() < FLOOR.with(Cell::get)
}

/// Finds out where the thread's stack ends. Guesses if the system does not tell, or if the thread runs on a stack that it made itself.
#[cold]
fn find_floor() {
    match sys::stack() {
        Some(stack) if stack.contains(&stack_address()) => {
            FLOOR.with(|floor| floor.set(stack.start.midpoint(stack.end)));
        }
        _ => {
            set_floor(UNKNOWN_STACK);
        }
    }
}

/// The number of bytes that a stack of unknown size is assumed to have left when its thread first joins a task.
const UNKNOWN_STACK: usize = 512 << 10;

/// The approximate address of the top of the stack, which grows downwards on all platforms of Rust.
#[inline(never)]
fn stack_address() -> usize {
    let here = 0_u8;
    ptr::from_ref(&here).addr()
}

/// The member as which the current thread was started, if it is a thread of a pool.
pub(crate) fn home<'a>() -> Option<Member<'a>> {
    HOME.with(Cell::get)
}

/// The member as which the current thread was started, if it is a thread of this pool.
pub(crate) fn home_in<'a>(registry: &Registry) -> Option<Member<'a>> {
    home().filter(|home| home.is_of(registry))
}

/// Makes the thread act as `member` until the guard is dropped, and then as it did before. If what runs on the thread is measured, so are its joins from there.
pub(super) fn enter(member: Member<'_>) -> Entered {
    let outer = Entered {
        ring: RING.with(Cell::get),
        ring_after: RING_AFTER.with(Cell::get),
        here: HERE.with(Cell::get),
    };
    let ring = &raw const *member.ring;
    let is_measured = !LINE.with(Cell::get).is_null();
    RING.with(|cell| cell.set(if is_measured { ptr::null() } else { ring }));
    RING_AFTER.with(|cell| cell.set(ring));
    HERE.with(|cell| cell.set(Some(member.erased())));
    outer
}

/// The line by which what runs on this thread is measured.
#[inline]
pub(crate) fn line<'a>() -> Option<&'a Line<'a>> {
    let line = LINE.with(Cell::get);
    // SAFETY: the pointer is null, or `follow` derived it from a reference that outlives the guard. No caller stores the returned reference or returns it from a
    // call during which the line could end.
    unsafe { line.as_ref() }
}

/// Measures what runs on this thread by this line until the guard is dropped.
pub(crate) fn follow<'a>(line: &'a Line<'_>) -> Followed<'a> {
    let address = ptr::from_ref(line).cast();
    Followed {
        ring: RING.with(|cell| cell.replace(ptr::null())),
        line: LINE.with(|cell| cell.replace(address)),
        marker: PhantomData,
    }
}

/// Lets the thread run something that is not a part of what the line measures, such as a wait, until the guard is dropped.
#[inline]
pub(crate) fn pause_line<'a>() -> Option<Paused<'a>> {
    let line = line()?;
    Some(pause(line))
}

#[cold]
fn pause<'a>(line: &'a Line<'_>) -> Paused<'a> {
    line.pause();
    let ring = RING_AFTER.with(Cell::get);
    Paused(Followed {
        ring: RING.with(|cell| cell.replace(ring)),
        line: LINE.with(|cell| cell.replace(ptr::null())),
        marker: PhantomData,
    })
}

/// Lets the joins of this thread run at full speed, as parts of one strand, until the guard is dropped.
#[inline]
pub(crate) fn skip_joins<'a>() -> Followed<'a> {
    let ring = RING_AFTER.with(Cell::get);
    Followed {
        ring: RING.with(|cell| cell.replace(ring)),
        line: LINE.with(Cell::get),
        marker: PhantomData,
    }
}

/// Restores how the thread was measured before. See [`follow`].
pub(crate) struct Followed<'a> {
    ring: *const Ring<ForkHeader>,
    line: *const Line<'static>,
    marker: PhantomData<&'a ()>,
}

impl Drop for Followed<'_> {
    #[inline]
    fn drop(&mut self) {
        RING.with(|cell| cell.set(self.ring));
        LINE.with(|cell| cell.set(self.line));
    }
}

/// Lets a line go on. See [`pause_line`].
pub(crate) struct Paused<'a>(Followed<'a>);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        // SAFETY: the line was current when it was paused, and outlives the guard.
        let line = unsafe { self.0.line.as_ref() };
        if let Some(line) = line {
            line.resume();
        }
    }
}

/// The token of what runs on this thread.
#[inline]
pub(crate) fn token() -> Token {
    TOKEN.with(Cell::get)
}

/// Sets the token of what runs on this thread until the guard is dropped.
#[inline]
fn set_token(token: Token) -> OuterToken {
    OuterToken(TOKEN.with(|current| current.replace(token)))
}

/// Restores the previous token. See [`set_token`].
struct OuterToken(Token);

impl Drop for OuterToken {
    #[inline]
    fn drop(&mut self) {
        TOKEN.with(|current| current.set(self.0));
    }
}

/// Gives what runs on the current thread's slot another token until the guard is dropped, on whichever threads its parts run. The token
/// outlives the guard.
#[inline]
pub(crate) fn change_token(slot: &Slot, token: Token) -> Option<Begun<'_>> {
    (token != self::token()).then(|| Begun {
        _run: slot.change_token(token),
        _outer: set_token(token),
    })
}

/// Runs `f` as a piece of work that has this token. The current thread takes part in a pool.
pub(crate) fn with_token<R>(token: Token, f: impl FnOnce() -> R) -> R {
    let _begun = slot().and_then(|slot| change_token(slot, token));
    f()
}

/// Runs `f` as a piece of work that has this token, on a thread that takes part in no pool.
#[cfg(all(feature = "process", target_os = "linux"))]
pub(crate) fn with_token_outside<R>(token: Token, f: impl FnOnce() -> R) -> R {
    let _outer = set_token(token);
    f()
}

/// A run that has begun, or gone on with another token. See [`Member::begin`] and [`change_token`].
pub(crate) struct Begun<'a> {
    _run: Run<'a>,
    _outer: OuterToken,
}

/// Restores the previous context. See [`enter`].
pub(crate) struct Entered {
    ring: *const Ring<ForkHeader>,
    ring_after: *const Ring<ForkHeader>,
    here: Option<Member<'static>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        RING.with(|cell| cell.set(self.ring));
        RING_AFTER.with(|cell| cell.set(self.ring_after));
        HERE.with(|cell| cell.set(self.here));
    }
}

impl Registry {
    /// Adds to a count of the current thread's slot in this pool, or to the shared count of threads outside.
    pub(crate) fn count(&self, which: impl Fn(&Counters) -> &Count, n: u64) {
        self.count_as(member_of(self), which, n);
    }

    /// Adds to a count like [`count`](Self::count). `here` is the member of this pool as which the current thread acts.
    #[inline]
    pub(crate) fn count_as(
        &self,
        here: Option<Member<'_>>,
        which: impl Fn(&Counters) -> &Count,
        n: u64,
    ) {
        match here {
            Some(member) => which(&member.counters).add(n),
            None => which(self.outside.own()).add_shared(n),
        }
    }

    /// Reports a panic that no handle and no scope observes.
    pub(crate) fn report_lost_panic(&self, payload: unwind::Payload) {
        self.count(|counters| &counters.lost_panics, 1);
        match &self.config.panic_handler {
            Some(handler) => unwind::drop_quietly(unwind::catch(|| handler(payload))),
            None => unwind::drop_quietly(payload),
        }
    }
}
