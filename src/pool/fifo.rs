//! A first-in, first-out queue of pointers that any thread uses at both ends. Tasks from outside wait in such queues.
//!
//! The items lie in *segments* of [`PLACES`] places, each linked to the next one. Each end of the queue has an index, which counts places, and the segment
//! of that index. A push or pop claims a place by a compare-and-swap (CAS) of its end's index. That is its only read-modify-write:
//!
//! | place | written by | next |
//! |---|---|---|
//! | null | the pusher that has claimed it | the item |
//! | the item | the taker that has claimed it, which waits for the item if need be | [`taken`] |
//!
//! **Ends.** In each *lap* of [`LAP`] indices, one more than a segment has places, the last index stands for no place. An end is there while the
//! thread that has claimed the last place moves the end to the next segment; the others wait. So index and segment agree whenever a CAS succeeds, although
//! they are two words.
//!
//! **Empty.** The queue is empty if both indices are equal. A taker that had to look at the tail's index keeps it beside the head's
//! (`seen`): while the head is below, takers do not access the line that pushers write.
//!
//! **Memory.** A segment is used by the threads that have claimed a place in it and by no other. The taker of the last place looks whether all places are
//! `taken`. If so, it keeps the segment for the next push that needs one, or frees it. If not, it puts the segment on the list `unfinished`, at
//! which the taker of the last place of another segment looks again. So a taker that is delayed holds up nobody, and keeps one segment.

use crate::sync::{AtomicPtr, AtomicUsize, MODEL, Ordering, SHORT, turn, yield_thread};
use crossbeam_utils::CachePadded;
use std::array;
use std::ptr::{self, NonNull};

#[cfg(all(test, heist_loom))]
mod models;
#[cfg(all(test, not(any(heist_loom, heist_shuttle))))]
mod tests;

/// The number of indices in a lap.
const LAP: usize = if SHORT { 4 } else { 64 };

/// The number of places in a segment.
const PLACES: usize = LAP - 1;

const _: () = assert!(LAP.is_power_of_two());

/// A queue of pointers. They are not used here. Those that are in the queue when it is dropped are forgotten.
pub(super) struct Fifo<T> {
    head: CachePadded<Head<T>>,
    tail: CachePadded<End<T>>,
    /// A segment for the next push that needs one, or null.
    spare: AtomicPtr<Segment<T>>,
    /// The segments of which not all places were taken when the last one was, linked by `next`.
    unfinished: AtomicPtr<Segment<T>>,
}

struct End<T> {
    index: AtomicUsize,
    segment: AtomicPtr<Segment<T>>,
}

/// The end at which items are taken.
struct Head<T> {
    end: End<T>,
    /// What the tail's index was at least, written by takers.
    seen: AtomicUsize,
}

struct Segment<T> {
    places: [AtomicPtr<T>; PLACES],
    next: AtomicPtr<Segment<T>>,
}

/// What is in a place whose item was taken: no item's address.
fn taken<T>() -> *mut T {
    ptr::without_provenance_mut(1)
}

/// The number of places before an index.
fn position(index: usize) -> usize {
    index - index / LAP
}

impl<T> End<T> {
    fn new(segment: *mut Segment<T>) -> Self {
        End {
            index: AtomicUsize::new(0),
            segment: AtomicPtr::new(segment),
        }
    }

    /// Claims the place of this index. Returns `false` if another thread was faster.
    fn claim(&self, index: usize) -> bool {
        // ORDERING: Release pairs with the Acquire of those who look at both ends: one who sees this claim sees the tail as far as the claimant did, so that
        // a queue that is never empty does not look so. A swap continues the release sequence of `turn`.
        self.index
            .compare_exchange(index, index + 1, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// Moves the end to the next segment. `index` is that of the last place, which the caller has claimed.
    fn turn(&self, index: usize, next: *mut Segment<T>) {
        self.segment.store(next, Ordering::Relaxed);
        // ORDERING: Release pairs with the Acquire in `place`: the segment is that of the lap.
        self.index.store(index + 2, Ordering::Release);
    }

    /// The index and its place in the segment, or `None` while a thread moves the end.
    fn place(&self) -> Option<(usize, usize)> {
        // ORDERING: Acquire pairs with the Release in `turn`, and in `claim`.
        let index = self.index.load(Ordering::Acquire);
        let place = index % LAP;
        (place < PLACES).then_some((index, place))
    }
}

impl<T> Segment<T> {
    fn boxed() -> Box<Self> {
        Box::new(Segment {
            places: array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            next: AtomicPtr::new(ptr::null_mut()),
        })
    }

    /// Whether all items were taken, so that no thread uses the segment.
    fn is_finished(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `Fifo::pop`: the taker has read the place, and no longer uses the segment.
        let is_taken = |place: &AtomicPtr<T>| place.load(Ordering::Acquire) == taken();
        self.places.iter().all(is_taken)
    }

    fn clear(&self) {
        // ORDERING: Relaxed: `spare` publishes the segment.
        for place in &self.places {
            place.store(ptr::null_mut(), Ordering::Relaxed);
        }
        self.next.store(ptr::null_mut(), Ordering::Relaxed);
    }
}

impl<T> Fifo<T> {
    pub(super) fn new() -> Self {
        let first = Box::into_raw(Segment::boxed());
        Fifo {
            head: CachePadded::new(Head {
                end: End::new(first),
                seen: AtomicUsize::new(0),
            }),
            tail: CachePadded::new(End::new(first)),
            spare: AtomicPtr::new(ptr::null_mut()),
            unfinished: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Adds an item, which is aligned to more than one byte.
    #[inline]
    pub(super) fn push(&self, item: NonNull<T>) {
        let tail = &*self.tail;
        let mut next = None;
        let mut pause = Pause::default();
        loop {
            let Some((index, place)) = tail.place() else {
                pause.pause();
                continue;
            };
            let segment = tail.segment.load(Ordering::Relaxed);
            if place + 1 == PLACES && next.is_none() {
                // Made before the place is claimed, because others wait from then on.
                next = Some(self.take_spare());
            }
            if !tail.claim(index) {
                continue;
            }
            turn();
            // SAFETY: the segment is that of the claimed place, and is not freed before the item was taken.
            let segment = unsafe { &*segment };
            if place + 1 == PLACES
                && let Some(next) = next.take()
            {
                let next = Box::into_raw(next);
                tail.turn(index, next);
                segment.next.store(next, Ordering::Relaxed);
            }
            // ORDERING: Release pairs with the Acquire in `wait_for`: the taker sees what the item points at, and the next segment. This is the pusher's last
            // access to the segment.
            segment.places[place].store(item.as_ptr(), Ordering::Release);
            if let Some(unused) = next {
                self.keep(unused);
            }
            return;
        }
    }

    /// Takes the item that was added first.
    #[inline]
    pub(super) fn pop(&self) -> Option<NonNull<T>> {
        let head = &self.head.end;
        let mut pause = Pause::default();
        loop {
            let Some((index, place)) = head.place() else {
                pause.pause();
                continue;
            };
            if !self.is_below_tail(index) {
                return None;
            }
            let segment = head.segment.load(Ordering::Relaxed);
            if !head.claim(index) {
                continue;
            }
            turn();
            // SAFETY: the segment is that of the claimed place, and is not freed before the place is `taken`.
            let used = unsafe { &*segment };
            let item = wait_for(&used.places[place], &mut pause);
            if place + 1 == PLACES {
                // The pusher of the last item has set it before.
                head.turn(index, used.next.load(Ordering::Relaxed));
            }
            // ORDERING: Release pairs with the Acquire in `is_finished`.
            used.places[place].store(taken(), Ordering::Release);
            if place + 1 == PLACES {
                // SAFETY: this thread has taken the segment's last place and does not use the segment any more.
                unsafe { self.finish(segment) };
            }
            return Some(item);
        }
    }

    /// Whether there is an item at this index of the head.
    fn is_below_tail(&self, index: usize) -> bool {
        // ORDERING: Relaxed: that a place was claimed says nothing about other words. An older value is a lower bound too.
        if index < self.head.seen.load(Ordering::Relaxed) {
            return true;
        }
        let tail = self.tail.index.load(Ordering::Relaxed);
        let is_below = index < tail;
        if is_below {
            self.head.seen.store(tail, Ordering::Relaxed);
        }
        is_below
    }

    /// The number of items.
    pub(super) fn len(&self) -> usize {
        // ORDERING: Acquire pairs with the Release in `claim`. The tail is read later, so that it is not below.
        let head = self.head.end.index.load(Ordering::Acquire);
        let tail = self.tail.index.load(Ordering::Relaxed);
        position(tail).saturating_sub(position(head))
    }

    /// Whether there is no item. Reads no line that pushers write while takers know of more items.
    pub(super) fn is_empty(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `claim`.
        !self.is_below_tail(self.head.end.index.load(Ordering::Acquire))
    }

    // ---- segments ----

    #[cold]
    fn take_spare(&self) -> Box<Segment<T>> {
        // ORDERING: Acquire pairs with the Release in `keep`: the segment was cleared.
        match NonNull::new(self.spare.swap(ptr::null_mut(), Ordering::Acquire)) {
            // SAFETY: the pointer comes from a box, and was taken out by this thread.
            Some(spare) => unsafe { Box::from_raw(spare.as_ptr()) },
            None => Segment::boxed(),
        }
    }

    /// Keeps a clear segment, unless one is kept already.
    fn keep(&self, segment: Box<Segment<T>>) {
        let segment = Box::into_raw(segment);
        let kept = self.spare.compare_exchange(
            ptr::null_mut(),
            segment,
            // ORDERING: Release pairs with the Acquire in `take_spare`.
            Ordering::Release,
            Ordering::Relaxed,
        );
        if kept.is_err() {
            // SAFETY: the pointer comes from the box that was given, and no other thread knows it.
            drop(unsafe { Box::from_raw(segment) });
        }
    }

    /// Frees or keeps those segments all of whose items were taken: this one, and those left over from earlier calls.
    ///
    /// # Safety
    /// The caller has taken the last place of the segment, and no longer uses it.
    #[cold]
    unsafe fn finish(&self, segment: *mut Segment<T>) {
        let earlier = match self.unfinished.load(Ordering::Relaxed).is_null() {
            true => ptr::null_mut(),
            // ORDERING: Acquire pairs with the Release in `leave`: the links are visible.
            false => self.unfinished.swap(ptr::null_mut(), Ordering::Acquire),
        };
        // SAFETY: the segment is alive, because only the taker of its last place, or a thread that takes it off the list `unfinished`, frees it.
        unsafe { &*segment }.next.store(earlier, Ordering::Relaxed);
        let mut list = segment;
        while let Some(first) = NonNull::new(list) {
            // SAFETY: the segment is alive, because this thread has taken the whole list, and only a thread that has taken a segment off the list frees it.
            let segment = unsafe { first.as_ref() };
            list = segment.next.load(Ordering::Relaxed);
            if segment.is_finished() {
                segment.clear();
                // SAFETY: the pointer comes from a box. No thread uses the segment, and it is in no list.
                self.keep(unsafe { Box::from_raw(first.as_ptr()) });
            } else {
                self.leave(first, segment);
            }
        }
    }

    /// Puts a segment on the list of those that are unfinished.
    fn leave(&self, pointer: NonNull<Segment<T>>, segment: &Segment<T>) {
        let mut first = self.unfinished.load(Ordering::Relaxed);
        loop {
            segment.next.store(first, Ordering::Relaxed);
            let left = self.unfinished.compare_exchange(
                first,
                pointer.as_ptr(),
                // ORDERING: Release pairs with the Acquire in `finish`.
                Ordering::Release,
                Ordering::Relaxed,
            );
            match left {
                Ok(_) => return,
                Err(other) => first = other,
            }
        }
    }
}

impl<T> Drop for Fifo<T> {
    fn drop(&mut self) {
        let first = &self.head.end.segment;
        for start in [first, &self.spare, &self.unfinished] {
            let mut next = start.load(Ordering::Relaxed);
            while !next.is_null() {
                // SAFETY: the pointer comes from a box, and the segment is in one list.
                let segment = unsafe { Box::from_raw(next) };
                next = segment.next.load(Ordering::Relaxed);
            }
        }
    }
}

/// Waits for the item of a place that was claimed for it.
#[inline]
fn wait_for<T>(place: &AtomicPtr<T>, pause: &mut Pause) -> NonNull<T> {
    loop {
        // ORDERING: Acquire pairs with the Release in `push`.
        match NonNull::new(place.load(Ordering::Acquire)) {
            Some(pointer) => return pointer,
            None => pause.pause(),
        }
    }
}

/// The pauses of one wait for a thread that is between two steps.
#[derive(Default)]
struct Pause(u32);

/// A wait yields its core after this many pauses, because the other thread may need it.
const SPINS: u32 = 64;

impl Pause {
    #[cold]
    fn pause(&mut self) {
        self.0 += 1;
        if MODEL || self.0 > SPINS {
            yield_thread();
        } else {
            std::hint::spin_loop();
        }
    }
}
