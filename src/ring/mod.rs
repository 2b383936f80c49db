//! The fork ring: where the second halves of `join` wait to be run by their owner or stolen.
//!
//! # States
//!
//! A ring belongs to one thread at a time, its *owner*. Its places are numbered; the owner fills them upwards and
//! empties them downwards, in strict nesting, and place `i` stays bound to its item until the owner is done with it.
//!
//! ```text
//!    0 .......... top .......... split .......... bottom
//!      stolen          public          private
//! ```
//!
//! Thieves take the item at `top`. A *public* item changes hands by a compare-and-swap on `ts` (top, split, whether
//! a thief claims, an epoch), whoever wants it. A *private* item is taken back by the owner without any atomic
//! read-modify-write, which is what makes `join` cheap; a thief can still have it, by force.
//!
//! # Words
//!
//! - `bottom`, on the owner's line: written by the owner only.
//! - `guard` and `limit`, on a line that is written rarely and which the owner reads at each pop and push. The owner
//!   pops `i` without ceremony if `guard <= i`, and pushes `b` without ceremony if `b < limit`. `guard` changes by
//!   read-modify-write only. Thieves lower `limit` to 0 to be noticed.
//! - `ts`: read-modify-write only. Its epoch counts the owner's changes, so that no compare-and-swap succeeds on
//!   bits that went away and came back.
//!
//! # Operations
//!
//! - **push** (owner): fill the place; `bottom = b + 1`; light fence; read `limit`: at most `b` asks for attention.
//! - **pop** (owner): `bottom = i`; light fence; read `guard`: at most `i` means the item is ours. Otherwise the slow
//!   path looks at `ts`: the item is stolen, or it is taken back by [`Ring::set_split`].
//! - **set_split** (owner): swap `guard` to the new split, then CAS `ts`, again until it succeeds. The CAS clears any
//!   claim, hence *whenever the owner touches `guard`, every thief that had claimed before loses its claim*.
//! - **steal** (thief): CAS `top + 1`; read the place after the CAS.
//! - **force** (thief; public part empty, private part not, the owner does not react): claim by CAS; raise `guard` by
//!   `fetch_max`; heavy fence; read `bottom`; if the item is still there, CAS it away (and publish some of its
//!   neighbours); else give the claim back.
//!
//! # Why an item is taken once
//!
//! Public against public: both CAS the same word. Pop against force: (pop: `bottom`, light, `guard`) is a Dekker pair
//! with (force: `guard`, heavy, `bottom`). If the owner read the old `guard`, the thief reads the lowered `bottom`
//! and gives up. If it read the raised one, it goes to `set_split`, and one of two holds. Its swap of `guard` comes
//! after the thief's `fetch_max`: then its CAS comes after the claim and clears it, so one CAS of the two
//! fails. Or the swap comes before the `fetch_max`: then the owner's next pop sees the raised `guard`. `set_split` is the
//! only code of the owner that writes `guard`, so it cannot be left without its CAS.
//!
//! Without the fence pair both could take the item; `models::force_*` fail then.

use crate::barrier::{self, Flavour, light};
use crate::sync::{AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};
use crossbeam_utils::CachePadded;
use std::ptr::NonNull;

mod packed;
use packed::Ts;

#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;

/// Places of a ring. A deeper join goes on in another ring. 32 KiB of pointers: deeper than any balanced recursion, small
/// enough for one per thread.
#[cfg(not(any(loom, shuttle)))]
pub(crate) const CAPACITY: usize = 4096;
#[cfg(any(loom, shuttle))]
pub(crate) const CAPACITY: usize = 4;

const _: () = assert!(CAPACITY < packed::MAX_INDEX);

/// Set in `guard`, always, where [`Flavour::Strict`]: sends each pop to the slow path, which fences.
const STRICT: usize = 1 << (usize::BITS - 1);

/// A split stack of pointers with one owner and many thieves. See the module.
///
/// `T` is never touched: what the pointers mean is the users' affair.
#[repr(C)]
pub(crate) struct Ring<T> {
    owner: CachePadded<OwnerLine>,
    bounds: CachePadded<Bounds>,
    ts: CachePadded<AtomicU64>,
    /// One place more than CAPACITY: a push finds out after its store that the ring was full.
    places: [AtomicPtr<T>; CAPACITY + 1],
}

struct OwnerLine {
    /// Next place that the owner fills. Written by the owner only; read by thieves.
    bottom: AtomicUsize,
}

struct Bounds {
    /// The owner pops places from here upwards without a read-modify-write.
    guard: AtomicUsize,
    /// The owner pushes below this place without looking up. 0: somebody asks for attention.
    limit: AtomicUsize,
}

/// What a pop found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Popped {
    /// The item is the owner's again.
    Ours,
    /// A thief has it. The place stays bound until [`Ring::reset`].
    Stolen,
}

/// What a thief found.
#[derive(Debug)]
pub(crate) enum Steal<T> {
    /// Nothing that this thief may have.
    Empty,
    /// Lost a race; there may be more.
    Retry,
    /// The item, now the thief's, and the place that stays bound to it.
    Item(NonNull<T>, usize),
}

/// Asks all owners to look up at their next push, after a change of the sleep word that they must then see.
pub(crate) fn announce<'a, T: 'a>(rings: impl Iterator<Item = &'a Ring<T>>) {
    // ORDERING: a request that is still there need not be made again, but one that was answered before the word changed must not
    // pass for one. Dekker: {word; fence; limit} here, {limit; fence; word} in `attend` and after it.
    fence(Ordering::SeqCst);
    for ring in rings {
        ring.request();
    }
}

impl<T> Ring<T> {
    /// An empty ring on the heap.
    ///
    /// It starts with a limit of 0, so that its first push looks whether somebody sleeps.
    pub(crate) fn boxed() -> Box<Self> {
        let ring = Self::zeroed();
        if barrier::flavour() == Flavour::Strict {
            ring.bounds.guard.fetch_or(STRICT, Ordering::Relaxed);
        }
        ring
    }

    #[cfg(not(any(loom, shuttle)))]
    fn zeroed() -> Box<Self> {
        let layout = std::alloc::Layout::new::<Self>();
        // SAFETY: the layout is not of size zero.
        let memory = unsafe { std::alloc::alloc_zeroed(layout) };
        if memory.is_null() {
            std::alloc::handle_alloc_error(layout);
        }
        // SAFETY: allocated by the global allocator with this layout, and all zeros are a valid ring: integers, null
        // pointers, and `Ts::default()` is packed as 0. Built in place, the places never cross the stack, and
        // the system gives their pages on first use.
        unsafe { Box::from_raw(memory.cast::<Self>()) }
    }

    #[cfg(any(loom, shuttle))]
    fn zeroed() -> Box<Self> {
        Box::new(Ring {
            owner: CachePadded::new(OwnerLine {
                bottom: AtomicUsize::new(0),
            }),
            bounds: CachePadded::new(Bounds {
                guard: AtomicUsize::new(0),
                limit: AtomicUsize::new(0),
            }),
            ts: CachePadded::new(AtomicU64::new(Ts::default().pack())),
            places: std::array::from_fn(|_| AtomicPtr::new(std::ptr::null_mut())),
        })
    }

    // ---- the owner ----

    /// Owner: fills the next place and returns its index. [`Ring::attention_due`] must be asked next.
    #[inline(always)]
    pub(crate) fn push(&self, item: *mut T) -> usize {
        // ORDERING: Relaxed, the owner reads its own word.
        let index = self.owner.bottom.load(Ordering::Relaxed);
        // SAFETY: index <= CAPACITY: `attention_due` reports a push at CAPACITY, and its caller undoes that push
        // before it pushes again, so bottom never exceeds CAPACITY here.
        let place = unsafe { self.places.get_unchecked(index) };
        // ORDERING: Relaxed; published to `force` by the next store, to `steal` by the CAS in `set_split`.
        place.store(item, Ordering::Relaxed);
        // ORDERING: Release pairs with the Acquire of `bottom` in `force` (F3): who sees the index sees the place.
        self.owner.bottom.store(index + 1, Ordering::Release);
        index
    }

    /// Owner, right after a push that returned `index`: whether to call [`Ring::attend`].
    #[inline(always)]
    pub(crate) fn attention_due(&self, index: usize) -> bool {
        // Dekker: {bottom; light; limit} here, {announce; limit = 0; heavy; look at bottom} in a parking worker.
        light();
        // ORDERING: Relaxed, ordered by `light`.
        self.bounds.limit.load(Ordering::Relaxed) <= index
    }

    /// Owner: takes back the item at `index`, the last one.
    #[inline(always)]
    pub(crate) fn pop(&self, index: usize) -> Popped {
        // ORDERING: Release keeps the place's former life before the index, as in `push`.
        self.owner.bottom.store(index, Ordering::Release);
        // Dekker: {bottom; light; guard} here, {guard; heavy; bottom} in `force`.
        light();
        // ORDERING: Relaxed, ordered by `light`; a private item needs nothing from any thief.
        if self.bounds.guard.load(Ordering::Relaxed) <= index {
            Popped::Ours
        } else {
            self.pop_slow(index)
        }
    }

    /// Owner: the item at `index` is public, stolen or claimed, or the ring is strict.
    #[cold]
    #[inline(never)]
    fn pop_slow(&self, index: usize) -> Popped {
        // ORDERING: for strict rings this is the fence that `light` is not.
        fence(Ordering::SeqCst);
        if self.bounds.guard.load(Ordering::Relaxed) & !STRICT <= index {
            return Popped::Ours;
        }
        // ORDERING: Relaxed: a stolen item's thief is met through the item's own word, and `change` looks again.
        let seen = Ts::unpack(self.ts.load(Ordering::Relaxed));
        let before = if seen.top > index {
            seen
        } else {
            self.set_split(|ts| {
                if ts.top > index {
                    ts.split
                } else {
                    // Half of what is below stays public, the rest comes back with this item.
                    let public = ts.split.min(index) - ts.top;
                    ts.top + public / 2
                }
            })
        };
        if before.top > index {
            // Nested pushes while the owner waits must not overwrite the bound place.
            // ORDERING: Relaxed: all places below are stolen, so `force` pins nothing by it.
            self.owner.bottom.store(index + 1, Ordering::Relaxed);
            Popped::Stolen
        } else {
            Popped::Ours
        }
    }

    /// Owner: unbinds the stolen place `index`, whose item is finished.
    pub(crate) fn reset(&self, index: usize) {
        // First, so that no thief sees the finished place between `split` and `bottom`. ORDERING: Relaxed; a thief that
        // has read the new `ts`, and `guard`, reads this `bottom` or a later one after its fence: either is released in `change`.
        self.owner.bottom.store(index, Ordering::Relaxed);
        self.change(|ts| Ts {
            top: index,
            split: index,
            ..ts
        });
    }

    /// Owner: answers a request: gives half of the private part to thieves if they have nothing, and restores the limit.
    ///
    /// The caller looks for sleepers next; the swap and the fence order that look after the restored limit.
    pub(crate) fn attend(&self) {
        if barrier::flavour() == Flavour::Paired {
            // ORDERING: AcqRel: reading a parker's 0 acquires its announcement. That it is not there to be read, having been made
            // for an earlier request, is what the fence in `announce` is for, with the one here or the one in `published`.
            self.bounds.limit.swap(CAPACITY, Ordering::AcqRel);
        }
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

    /// Owner: whether somebody asks for attention now. A strict ring cannot tell.
    #[inline]
    pub(crate) fn is_asked(&self) -> bool {
        self.bounds.limit.load(Ordering::Relaxed) == 0
            && self.bounds.guard.load(Ordering::Relaxed) & STRICT == 0
    }

    /// Owner: how many places are in use, stolen ones included.
    pub(crate) fn depth(&self) -> usize {
        self.owner.bottom.load(Ordering::Relaxed)
    }

    /// Owner: moves `split`, and `guard` with it. Returns the `ts` that it replaced.
    fn set_split(&self, split: impl Fn(Ts) -> usize) -> Ts {
        self.change(|ts| Ts {
            split: split(ts),
            ..ts
        })
    }

    /// Owner: the only code of the owner that writes `guard`: swap it, then CAS `ts`, until the CAS succeeds.
    fn change(&self, change: impl Fn(Ts) -> Ts) -> Ts {
        loop {
            // ORDERING: Relaxed: the CAS below fails if it is old; nothing is read through it.
            let seen = self.ts.load(Ordering::Relaxed);
            let before = Ts::unpack(seen);
            let after = Ts {
                claimed: false,
                epoch: before.epoch.wrapping_add(1),
                ..change(before)
            };
            let strict = self.bounds.guard.load(Ordering::Relaxed) & STRICT;
            // ORDERING: AcqRel swap: a `fetch_max` that came before is read, so its claim happens before the CAS below, which
            // clears it. The AcqRel of that CAS and of the claim say the same: with both Relaxed an item is taken twice.
            self.bounds
                .guard
                .swap(after.split | strict, Ordering::AcqRel);
            // ORDERING: AcqRel: Release publishes places to the Acquire in `steal`; Acquire as above.
            let changed =
                self.ts
                    .compare_exchange(seen, after.pack(), Ordering::AcqRel, Ordering::Relaxed);
            if changed.is_ok() {
                return before;
            }
        }
    }

    // ---- thieves ----

    /// Takes the oldest public item. `allowed` is asked about its place before it is taken; what that reads meanwhile belongs to this item
    /// unless the call fails.
    pub(crate) fn steal(&self, allowed: impl Fn(usize) -> bool) -> Steal<T> {
        // ORDERING: Acquire pairs with the Release of the CAS that published the item.
        let seen = self.ts.load(Ordering::Acquire);
        let ts = Ts::unpack(seen);
        // `bottom` is left alone: reading the line that the owner writes at each push and pop would slow it down.
        if ts.top == ts.split || !allowed(ts.top) {
            return Steal::Empty;
        }
        let after = Ts {
            top: ts.top + 1,
            ..ts
        };
        // ORDERING: Relaxed: what it takes was acquired above, and a read-modify-write continues the publisher's release for
        // the next thief.
        let taken =
            self.ts
                .compare_exchange(seen, after.pack(), Ordering::Relaxed, Ordering::Relaxed);
        match taken {
            Ok(_) => self.item(ts.top),
            Err(_) => Steal::Retry,
        }
    }

    /// Whether a free thief could find nothing here.
    pub(crate) fn is_empty(&self) -> bool {
        self.oldest().is_none()
    }

    /// The place of the item that a thief would get, if there is one.
    pub(crate) fn oldest(&self) -> Option<usize> {
        // ORDERING: a hint, but for a last look, which has fenced: Relaxed would do for the ring. Acquire pairs with the Releases that made
        // the item visible, so that who looks whose it is reads no words from before it was pushed.
        let ts = Ts::unpack(self.ts.load(Ordering::Acquire));
        (ts.top < ts.split || self.owner.bottom.load(Ordering::Acquire) > ts.split)
            .then_some(ts.top)
    }

    /// The place of the oldest item, if there is any: unlike [`Ring::oldest`] it leaves the owner's line alone.
    pub(crate) fn top(&self) -> usize {
        Ts::unpack(self.ts.load(Ordering::Acquire)).top
    }

    /// Whether somebody has asked the owner to look up, and it has not pushed since.
    pub(crate) fn is_requested(&self) -> bool {
        self.bounds.limit.load(Ordering::Relaxed) == 0
    }

    /// Asks the owner to look up at its next push. False: it was asked before and has not pushed since.
    pub(crate) fn request(&self) -> bool {
        let fresh = self.bounds.limit.load(Ordering::Relaxed) != 0;
        if fresh {
            // ORDERING: Release pairs with the Acquire of the swap in `attend`: who answers sees what came before.
            self.bounds.limit.store(0, Ordering::Release);
        }
        fresh
    }

    /// Takes the oldest private item from an owner that does not react.
    ///
    /// `allowed` is asked about its place when the item is pinned: neither popped nor stolen unless this call fails.
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
        // ORDERING (F1): AcqRel: the owner's CAS that follows its swap of `guard` is ordered with this one.
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
        // Dekker: {guard; heavy; bottom} here, {bottom; light; guard} in `pop`.
        let ordered = barrier::heavy();
        // ORDERING (F3): Acquire pairs with the Release in `push`: the place is filled if the index says so.
        let bottom = self.owner.bottom.load(Ordering::Acquire);
        let pinned = wanted.min(bottom.min(CAPACITY).saturating_sub(free.split));
        if !ordered || pinned == 0 || !allowed(free.top) {
            // The owner may have taken the claim away; then there is nothing to give back. ORDERING: Relaxed: nothing is
            // published, and the owner's release goes on.
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
        // ORDERING (F4): AcqRel: Release publishes the neighbours, whose places F3 has acquired.
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

    /// Thief: reads the place that its CAS has just made its own.
    fn item(&self, index: usize) -> Steal<T> {
        // ORDERING: Relaxed, after the CAS: the place is bound until the item's thief is done with it.
        let item = self.places[index].load(Ordering::Relaxed);
        let item = NonNull::new(item).expect("heist: a stolen place held no item");
        Steal::Item(item, index)
    }
}
