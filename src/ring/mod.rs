//! The fork ring: the second closures of `join` wait in it until their owner runs them or a thief takes them.
//!
//! # States
//!
//! A ring belongs to one thread at a time, its *owner*. Its entries are numbered: each has an *index*. The owner fills them upwards and
//! empties them downwards, in strict nesting. An entry stays bound to its item until the owner has finished with the item.
//!
//! ```text
//!    0 .......... top .......... split .......... bottom
//!      stolen          public          private
//! ```
//!
//! Thieves take the item at `top`. A *public* item is taken, by the owner or by a thief, by a compare-and-swap on `ts` (top, split, whether a thief
//! claims, and an epoch). The owner takes a *private* item back without any atomic read-modify-write, which makes `join` cheap. A thief can
//! still take it, by force.
//!
//! # Words
//!
//! - `bottom`, on the owner's cache line, is the index that the next push fills. Only the owner writes it.
//! - `guard` and `limit`, on a cache line that is written rarely, are read by the owner at each pop and push. A pop of index `i` takes the fast
//!   path if `guard <= i`, and a push at index `i` takes it if `i < limit`. `guard` changes by read-modify-write only. A thief, or a thread that
//!   goes to sleep, sets `limit` to 0: this is a *share request*.
//! - `ts` changes by read-modify-write only. Its epoch counts the owner's changes, so that no compare-and-swap succeeds on bits that changed and
//!   changed back.
//!
//! # Operations
//!
//! - **push** (owner) at index `i`: fill the entry; `bottom = i + 1`; light fence; read `limit`. If it is at most `i`, the owner must answer: it
//!   restores `limit`, makes items public if none is, and looks for a sleeper to wake ([`Ring::share`]).
//! - **pop** (owner) of index `i`: `bottom = i`; light fence; read `guard`. If it is at most `i`, the item is the owner's. Otherwise the slow path
//!   looks at `ts`: the item is stolen, or it is taken back by [`Ring::set_split`].
//! - **set_split** (owner): swap `guard` to the new split, then CAS `ts`; repeat until the CAS succeeds. The CAS clears any claim, so that
//!   *whenever the owner changes `guard`, every thief that had claimed before loses its claim*.
//! - **steal** (thief): CAS `top + 1`; read the entry after the CAS.
//! - **force** (thief, if no item is public, one is private, and the owner does not answer): claim by CAS; raise `guard` by `fetch_max`; heavy
//!   fence; read `bottom`. If the item is still there, take it by CAS, and make some of its neighbours public; else withdraw the claim.
//!
//! # Why an item is taken once
//!
//! Two takers of a public item CAS the same word. A pop against a force: (pop: `bottom`, light, `guard`) is a store-load pair with (force: `guard`,
//! heavy, `bottom`). If the owner reads the old `guard`, the thief reads the lowered `bottom` and gives up. If the owner reads the raised
//! `guard`, it goes to `set_split`, and there are two cases. If its swap of `guard` comes after the thief's `fetch_max`, its CAS comes after the
//! claim and clears it, so that one of the two CAS fails. If the swap comes before the `fetch_max`, the owner's next pop sees the raised
//! `guard`. Only `set_split` and `reset`, by way of one function, write `guard` for the owner, so that no write lacks its CAS.
//!
//! Without the fence pair both could take the item, and the models whose names contain `force` fail.

use crate::barrier::{self, Flavour, light};
use crate::sync::{AtomicPtr, AtomicU64, AtomicUsize, Ordering, SHORT, fence};
use crate::sys::ticks;
use crossbeam_utils::CachePadded;
use std::ptr::NonNull;
// From std: a hint.
use crate::sync::hint::AtomicU64 as Hint;

mod packed;
use packed::Ts;

#[cfg(all(test, heist_loom))]
mod models;
#[cfg(all(test, not(any(heist_loom, heist_shuttle))))]
mod tests;

/// The number of entries of a ring. A deeper join continues in another ring. The 32 KiB of pointers suffice for any balanced recursion, and are
/// small enough for one ring for each thread.
pub(crate) const CAPACITY: usize = if SHORT { 4 } else { 4096 };

const _: () = assert!(CAPACITY < packed::MAX_INDEX);

/// A bit of `guard` that is always set under [`Flavour::Strict`]. It sends each pop to the slow path, which fences.
const STRICT: usize = 1 << (usize::BITS - 1);

/// A split stack of pointers with one owner and many thieves. See the module.
///
/// The ring never follows its pointers to `T`.
#[repr(C)]
pub(crate) struct Ring<T> {
    owner: CachePadded<OwnerLine>,
    bounds: CachePadded<Bounds>,
    ts: CachePadded<AtomicU64>,
    /// One entry more than [`CAPACITY`], because a push finds out after its store that the ring was full.
    entries: [AtomicPtr<T>; CAPACITY + 1],
}

struct OwnerLine {
    /// The index that the owner fills next. Written by the owner only, read by thieves.
    bottom: AtomicUsize,
}

struct Bounds {
    /// The owner pops entries from this index upwards without a read-modify-write.
    guard: AtomicUsize,
    /// The owner pushes below this index without a further check. 0 is a share request.
    limit: AtomicUsize,
    /// The number of share requests that the owners of this ring have answered.
    answers: AtomicUsize,
    /// The time of the last share request, in [`ticks`].
    requested: Hint,
}

/// The result of a pop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Popped {
    /// The item is the owner's again.
    Ours,
    /// A thief has it. The entry stays bound until [`Ring::reset`].
    Stolen,
}

/// The result of an attempt to steal.
#[derive(Debug)]
pub(crate) enum Steal<T> {
    /// There is no item that this thief may take.
    Empty,
    /// The thief lost a race. There may be another item.
    Retry,
    /// The item, which is now the thief's, and the index of the entry that stays bound to it.
    Item(NonNull<T>, usize),
}

/// The announcements of a pool's sleepers. Each sends a share request to every ring in use.
///
/// An announcement needs no heavy fence if every ring still has a request from before an earlier heavy fence: what was pushed before that fence is
/// visible, and an owner that pushes after it finds the request, answers it, and then reads the sleep word.
#[derive(Debug, Default)]
pub(crate) struct Announcements {
    /// What the last announcement with a heavy fence has seen: the version of the set of rings (upper half), and the number of requests that all rings
    /// together had answered.
    ordered: AtomicU64,
}

impl Announcements {
    /// Sends share requests to all rings, after a change of the sleep word which the owners must see when they answer. What was pushed before is
    /// visible when this returns. Calls `heavy` if a heavy fence is needed for that, and returns `false` if `heavy` does.
    ///
    /// `version` is a number that changes with the set of rings, or `None` while the set changes.
    pub(crate) fn announce<'a, T: 'a, R: Iterator<Item = &'a Ring<T>>>(
        &self,
        version: impl Fn() -> Option<usize>,
        rings: impl FnOnce() -> R,
        heavy: impl FnOnce() -> bool,
    ) -> bool {
        // ORDERING: Acquire pairs with the Release store at the end: the version and the counts are at least as new as those that it has summed up. So if
        // the version and the sum are equal, no ring has answered in between.
        let ordered = self.ordered.load(Ordering::Acquire);
        let before = version();
        let (answers, is_new) = request_all(rings);
        let set = before.filter(|_| version() == before);
        let seen = set.map(|version| (version as u64) << 32 | answers as u64 & u64::from(u32::MAX));
        if !is_new && seen == Some(ordered) {
            return true;
        }
        let in_force = heavy();
        if in_force && let Some(seen) = seen {
            self.ordered.store(seen, Ordering::Release);
        }
        in_force
    }
}

/// Sends share requests to all rings. Returns how many requests they have answered, and whether any ring had no pending one.
pub(crate) fn request_all<'a, T: 'a, R: Iterator<Item = &'a Ring<T>>>(
    rings: impl FnOnce() -> R,
) -> (usize, bool) {
    // ORDERING: a ring with an unanswered request gets no second one, because its owner reads the sleep word when it answers. So a request that
    // was answered before the word changed must not be seen as unanswered here. Store-load pair: {word; fence; limit, answers} here, {limit,
    // answers; fence; word} in `share` and after it.
    fence(Ordering::SeqCst);
    rings().fold((0, false), |(answers, is_new), ring| {
        // ORDERING: Acquire pairs with the Release in `share`: the limit is read as that answer has left it, or later.
        let answered = ring.bounds.answers.load(Ordering::Acquire);
        (answers + answered, is_new | ring.request())
    })
}

impl<T> Ring<T> {
    /// Creates an empty ring on the heap.
    ///
    /// Its limit is 0 at first, so that the first push looks for sleepers.
    pub(crate) fn boxed() -> Box<Self> {
        let ring = Self::zeroed();
        if barrier::flavour() == Flavour::Strict {
            ring.bounds.guard.fetch_or(STRICT, Ordering::Relaxed);
        }
        ring
    }

    #[cfg(not(any(heist_loom, heist_shuttle)))]
    fn zeroed() -> Box<Self> {
        let layout = std::alloc::Layout::new::<Self>();
        // SAFETY: the size of the layout is not zero.
        let memory = unsafe { std::alloc::alloc_zeroed(layout) };
        if memory.is_null() {
            std::alloc::handle_alloc_error(layout);
        }
        // The ring is built in place, so that the entries never cross the stack, and the system provides their pages on first use.
        // SAFETY: (1) the global allocator returned the memory for this layout. (2) All zeros are a valid ring: it consists of integers and null
        // pointers, and `Ts::default()` is packed as 0.
        unsafe { Box::from_raw(memory.cast::<Self>()) }
    }

    #[cfg(any(heist_loom, heist_shuttle))]
    fn zeroed() -> Box<Self> {
        Box::new(Ring {
            owner: CachePadded::new(OwnerLine {
                bottom: AtomicUsize::new(0),
            }),
            bounds: CachePadded::new(Bounds {
                guard: AtomicUsize::new(0),
                limit: AtomicUsize::new(0),
                answers: AtomicUsize::new(0),
                requested: Hint::new(0),
            }),
            ts: CachePadded::new(AtomicU64::new(Ts::default().pack())),
            entries: std::array::from_fn(|_| AtomicPtr::new(std::ptr::null_mut())),
        })
    }

    // ---- the owner ----

    /// Owner: fills the next entry and returns its index. The owner must call [`Ring::must_answer`] next.
    #[inline(always)]
    pub(crate) fn push(&self, item: *mut T) -> usize {
        // ORDERING: Relaxed: the owner reads its own word.
        let index = self.owner.bottom.load(Ordering::Relaxed);
        // SAFETY: index <= CAPACITY, and there are CAPACITY + 1 entries: `must_answer` reports a push at CAPACITY, and its caller undoes that push
        // before it pushes again, so that `bottom` never exceeds CAPACITY here.
        let entry = unsafe { self.entries.get_unchecked(index) };
        // ORDERING: Relaxed: the next store publishes the entry to `force`, and the CAS in `set_split` publishes it to `steal`.
        entry.store(item, Ordering::Relaxed);
        // ORDERING: Release pairs with the Acquire of `bottom` in `force` (F3): a thief that sees the index sees the entry.
        self.owner.bottom.store(index + 1, Ordering::Release);
        index
    }

    /// Owner, right after a push that returned `index`: whether it must call [`Ring::share`], because there is a share request, the ring is full, or
    /// the ring is strict.
    #[inline(always)]
    pub(crate) fn must_answer(&self, index: usize) -> bool {
        // Store-load pair: {bottom; light; limit} here, {sleep word, limit = 0; heavy; bottom} in a thread that goes to sleep.
        light();
        // ORDERING: Relaxed: `light` orders it.
        self.bounds.limit.load(Ordering::Relaxed) <= index
    }

    /// Owner: takes back the item at `index`, the last one.
    #[inline(always)]
    pub(crate) fn pop(&self, index: usize) -> Popped {
        // ORDERING: Release pairs with the Acquire of `bottom` in `force` (F3): a thief that reads this index sees what came before.
        self.owner.bottom.store(index, Ordering::Release);
        // Store-load pair: {bottom; light; guard} here, {guard; heavy; bottom} in `force`.
        light();
        // ORDERING: Relaxed: `light` orders it, and a private item needs nothing from a thief.
        if self.bounds.guard.load(Ordering::Relaxed) <= index {
            Popped::Ours
        } else {
            self.pop_slow(index)
        }
    }

    /// Owner: pops the item at `index`, which is public, stolen or claimed, or in a strict ring.
    #[cold]
    #[inline(never)]
    fn pop_slow(&self, index: usize) -> Popped {
        // ORDERING: in strict rings, where `light` orders nothing, this is the fence of the store-load pair.
        fence(Ordering::SeqCst);
        if self.bounds.guard.load(Ordering::Relaxed) & !STRICT <= index {
            return Popped::Ours;
        }
        // ORDERING: Relaxed: the owner synchronises with the thief of a stolen item through the item's own word, and `change` looks again.
        let seen = Ts::unpack(self.ts.load(Ordering::Relaxed));
        let before = if seen.top > index {
            seen
        } else {
            self.set_split(|ts| {
                if ts.top > index {
                    ts.split
                } else {
                    // Half of the public items below stay public. The others become private again.
                    let public = ts.split.min(index) - ts.top;
                    ts.top + public / 2
                }
            })
        };
        if before.top > index {
            // While the owner waits, nested pushes must not overwrite the bound entry.
            // ORDERING: Relaxed: a thief that reads this index in `force` finds no item to take, because all entries below the index are stolen.
            self.owner.bottom.store(index + 1, Ordering::Relaxed);
            Popped::Stolen
        } else {
            Popped::Ours
        }
    }

    /// Owner: unbinds the stolen entry at `index`, whose item is finished.
    pub(crate) fn reset(&self, index: usize) {
        // Stored first, so that no thief sees the finished entry between `split` and `bottom`.
        // ORDERING: Relaxed: a thief that has read the new `ts`, and `guard`, reads this `bottom` or a later one after its fence, because `change`
        // releases both words.
        self.owner.bottom.store(index, Ordering::Relaxed);
        self.change(|ts| Ts {
            top: index,
            split: index,
            ..ts
        });
    }

    /// Owner: answers a share request: restores the limit, and makes half of the private items public if no item is.
    ///
    /// The caller looks for sleepers next. The swap and the fence order that look after the restored limit.
    pub(crate) fn share(&self) {
        // In a strict ring the limit stays 0, so that each push comes here and executes the fence below.
        if barrier::flavour() == Flavour::Paired {
            // ORDERING: AcqRel: a swap that reads the 0 of a thread that goes to sleep acquires that thread's change of the sleep word. A thread
            // that finds the 0 of an earlier request stores none. Then the fence in `request_all` makes its change visible: together with the fence
            // below, or with the one in `Sleep::published`.
            self.bounds.limit.swap(CAPACITY, Ordering::AcqRel);
        }
        // ORDERING: Relaxed: the owner reads its own word. Release: see `request_all`.
        let answers = self.bounds.answers.load(Ordering::Relaxed) + 1;
        self.bounds.answers.store(answers, Ordering::Release);
        fence(Ordering::SeqCst);
        let ts = Ts::unpack(self.ts.load(Ordering::Relaxed));
        let bottom = self.owner.bottom.load(Ordering::Relaxed).min(CAPACITY);
        if ts.top == ts.split && bottom > ts.split {
            self.set_split(|ts| {
                if ts.top < ts.split {
                    ts.split
                } else {
                    ts.split + (bottom.saturating_sub(ts.split)).div_ceil(2)
                }
            });
        }
    }

    /// Owner: whether there is a share request now. In a strict ring, where `limit` is always 0, it returns `false`.
    #[inline]
    pub(crate) fn owner_sees_request(&self) -> bool {
        self.bounds.limit.load(Ordering::Relaxed) == 0
            && self.bounds.guard.load(Ordering::Relaxed) & STRICT == 0
    }

    /// How many entries are in use, stolen ones included. A hint to all but the owner.
    pub(crate) fn depth(&self) -> usize {
        self.owner.bottom.load(Ordering::Relaxed)
    }

    /// Owner: moves `split`, and `guard` with it. Returns the previous `ts`.
    fn set_split(&self, split: impl Fn(Ts) -> usize) -> Ts {
        self.change(|ts| Ts {
            split: split(ts),
            ..ts
        })
    }

    /// Owner: swaps `guard` and then changes `ts` by CAS, until the CAS succeeds. No other code of the owner writes `guard`.
    fn change(&self, update: impl Fn(Ts) -> Ts) -> Ts {
        loop {
            // ORDERING: Relaxed: the CAS fails if the value is old, and nothing is read through it.
            let seen = self.ts.load(Ordering::Relaxed);
            let before = Ts::unpack(seen);
            let after = Ts {
                claimed: false,
                epoch: before.epoch.wrapping_add(1),
                ..update(before)
            };
            let strict = self.bounds.guard.load(Ordering::Relaxed) & STRICT;
            // ORDERING: AcqRel: the swap reads any `fetch_max` that came before, so that the claim of that thief happens before the CAS, which
            // clears it. The AcqRel of the CAS and of the claim ensure the same: with both Relaxed an item is taken twice.
            self.bounds
                .guard
                .swap(after.split | strict, Ordering::AcqRel);
            // ORDERING: AcqRel: Release publishes entries to the Acquire in `steal`. Acquire orders the claim before this, as the swap does.
            let changed =
                self.ts
                    .compare_exchange(seen, after.pack(), Ordering::AcqRel, Ordering::Relaxed);
            if changed.is_ok() {
                return before;
            }
        }
    }

    // ---- thieves ----

    /// Takes the oldest public item, if its index is `allowed`.
    ///
    /// `allowed` is called before the item is taken. If this call returns the item, the item was in the ring all the while, so that what `allowed`
    /// read about the entry concerns this item and no other.
    pub(crate) fn steal(&self, allowed: impl Fn(usize) -> bool) -> Steal<T> {
        // ORDERING: Acquire pairs with the Release of the CAS that published the item.
        let seen = self.ts.load(Ordering::Acquire);
        let ts = Ts::unpack(seen);
        // `bottom` is not read, since reading the cache line that the owner writes at each push and pop would slow the owner down.
        if ts.top == ts.split || !allowed(ts.top) {
            return Steal::Empty;
        }
        let after = Ts {
            top: ts.top + 1,
            ..ts
        };
        // ORDERING: Relaxed: the load has acquired the item, and a read-modify-write continues the release sequence of the publisher for the next
        // thief.
        let taken =
            self.ts
                .compare_exchange(seen, after.pack(), Ordering::Relaxed, Ordering::Relaxed);
        match taken {
            Ok(_) => self.item(ts.top),
            Err(_) => Steal::Retry,
        }
    }

    /// Whether the ring has no item that a thief could take.
    pub(crate) fn is_empty(&self) -> bool {
        self.oldest().is_none()
    }

    /// The index of the item that a thief would take, if there is one.
    pub(crate) fn oldest(&self) -> Option<usize> {
        // ORDERING: the result is a hint, except in a final re-check, which has fenced, so that Relaxed would do for the ring. Acquire pairs with
        // the Release that made the item visible, so that a thread which looks up the item's lineage reads no words from before the push.
        let ts = Ts::unpack(self.ts.load(Ordering::Acquire));
        (ts.top < ts.split || self.owner.bottom.load(Ordering::Acquire) > ts.split)
            .then_some(ts.top)
    }

    /// The index above the stolen entries, where the oldest item is if there is any. Unlike [`Ring::oldest`], it does not read the owner's cache line,
    /// and so cannot tell whether there is one.
    pub(crate) fn top(&self) -> usize {
        Ts::unpack(self.ts.load(Ordering::Acquire)).top
    }

    /// The age of the share request that the owner has not answered, in [`ticks`]. `None` if there is none.
    pub(crate) fn unanswered(&self) -> Option<u64> {
        (self.bounds.limit.load(Ordering::Relaxed) == 0).then(|| {
            // ORDERING: Relaxed, a hint. If this is the time of an earlier request, the request seems older than it is.
            let since = self.bounds.requested.load(Ordering::Relaxed);
            ticks().wrapping_sub(since)
        })
    }

    /// Sends a share request, which the owner answers at its next push. Returns `false` if there was an unanswered one already.
    pub(crate) fn request(&self) -> bool {
        let fresh = self.bounds.limit.load(Ordering::Relaxed) != 0;
        if fresh {
            self.bounds.requested.store(ticks(), Ordering::Relaxed);
            // ORDERING: Release pairs with the Acquire of the swap in `share`: the owner that answers sees what came before.
            self.bounds.limit.store(0, Ordering::Release);
        }
        fresh
    }

    /// Takes the oldest private item, if its index is `allowed`, from an owner that does not answer share requests.
    ///
    /// `allowed` is called after the claim and the heavy fence. If the owner or another thief takes the item after that, this call fails. So what
    /// `allowed` read about the entry concerns the item that this call returns.
    pub(crate) fn force(&self, allowed: impl Fn(usize) -> bool) -> Steal<T> {
        let seen = self.ts.load(Ordering::Acquire);
        let free = Ts::unpack(seen);
        let visible = self.owner.bottom.load(Ordering::Relaxed);
        if free.top < free.split || free.claimed {
            return Steal::Retry;
        }
        if visible <= free.split {
            return Steal::Empty;
        }
        let claimed = Ts {
            claimed: true,
            ..free
        };
        // ORDERING (F1): AcqRel: it is ordered with the owner's CAS that follows a swap of `guard`.
        if self
            .ts
            .compare_exchange(seen, claimed.pack(), Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
        {
            return Steal::Retry;
        }
        let wanted = (visible - free.split).div_ceil(2);
        let strict = self.bounds.guard.load(Ordering::Relaxed) & STRICT;
        // ORDERING (F2): AcqRel: Release hands the claim to the owner's swap.
        self.bounds
            .guard
            .fetch_max((free.split + wanted) | strict, Ordering::AcqRel);
        // Store-load pair: {guard; heavy; bottom} here, {bottom; light; guard} in `pop`.
        let ordered = barrier::heavy();
        // ORDERING (F3): Acquire pairs with the Release in `push`: all entries below the index are filled.
        let bottom = self.owner.bottom.load(Ordering::Acquire);
        // The number of items, from `split` upwards, that the owner can take back only by clearing the claim.
        let pinned = wanted.min(bottom.min(CAPACITY).saturating_sub(free.split));
        if !ordered || pinned == 0 || !allowed(free.top) {
            // Withdraws the claim, unless the owner has cleared it.
            // ORDERING: Relaxed: nothing is published, and the release sequence of the owner continues.
            let _ = self.ts.compare_exchange(
                claimed.pack(),
                seen,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            return Steal::Empty;
        }
        let after = Ts {
            top: free.top + 1,
            split: free.split + pinned,
            claimed: false,
            ..free
        };
        // ORDERING (F4): AcqRel: Release publishes the neighbours, whose entries F3 has acquired, to the Acquire in `steal`.
        let taken = self.ts.compare_exchange(
            claimed.pack(),
            after.pack(),
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        match taken {
            Ok(_) => self.item(free.top),
            Err(_) => Steal::Retry,
        }
    }

    /// Thief: reads the entry that its CAS has just taken.
    fn item(&self, index: usize) -> Steal<T> {
        // ORDERING: Relaxed: this comes after the CAS, and the entry stays bound until the thief has finished with the item.
        let item = self.entries[index].load(Ordering::Relaxed);
        let item = NonNull::new(item).expect("heist: a stolen place held no item");
        Steal::Item(item, index)
    }
}
