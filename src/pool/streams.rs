//! The queues of streams: items that were submitted and have not begun.
//!
//! The consumer of a stream runs the item that it needs next, unless a worker has begun it. If both took items from one end, they would soon run the last two
//! items that are there, and the consumer would have to wait for one of them each time. So the consumer takes the first item, and the workers *keep* it for the
//! consumer and take the second one.
//!
//! What is kept, and when, is a matter of speed:
//!
//! | the consumer | kept |
//! |---|---|
//! | was in `next` a moment ago, and the items take less time than it takes to share them | all items |
//! | was in `next` a moment ago | the first item |
//! | runs or awaits an item, possibly a long one | the first item, if there is another one |
//! | is away, or waits longer than items usually take, or runs no items | nothing |
//!
//! Items so short that all of them are kept need no tasks, as long as their consumer runs them. They are *raw* then: the stream holds them itself
//! ([`RawItems`]). A thread of the pool that takes an item makes tasks of all raw items first. It does so if the consumer has not taken one for a while
//! ([`ABANDONED_TIME`]), or if it takes items that are kept, too.
//!
//! A consumer goes away without notice. So while it is expected, one worker *watches*: when it parks it sleeps for [`WATCH_TIME`] only, and then looks again. Items
//! that are kept count as visible to a look if no worker watches. The look then wakes a worker, which watches.
//!
//! While the consumer is near, it uses one of the pool's places. If more threads are awake than are left then, those that run items go on, and the others find none:
//! the worker that has just ended an item takes the next one, and others wait a moment before they take its place. Otherwise all of them would stay awake.

use crate::job::Task;
use crate::sleep::Sleep;
use crate::sync::{
    Arc, AtomicBool, AtomicU64, AtomicUsize, MODEL, Mutex, Ordering, lock, try_lock,
};
use crate::sys::{self, TICKS_PER_MICROSECOND, ticks};
use std::cell::Cell;
use std::collections::VecDeque;
// From std: hints.
use std::sync::atomic::{AtomicU64 as HintWord, AtomicUsize as HintCount};
use std::time::Duration;

mod raw;

#[cfg(all(test, heist_loom))]
mod models;
#[cfg(all(test, not(heist_loom)))]
mod tests;

use raw::RawCount;
pub(crate) use raw::RawItems;
pub(super) use raw::rough_now;

/// For how long after it was seen a consumer counts as near: about the time that it takes to wake a worker.
const NEAR_TIME: u64 = 50 * TICKS_PER_MICROSECOND;

/// The longest time between two calls of `next` after which the consumer is expected to come back as soon.
const RETURN_TIME: u64 = 20 * TICKS_PER_MICROSECOND;

/// Items that take less time than this are not shared: to hand one to another thread and its result back costs as much.
const SHARED_TIME: u64 = TICKS_PER_MICROSECOND / 2;

/// The assumed time of an item before one has run, in ticks, and the longest time by which one item counts.
const LONG_ITEM: u64 = 1_000 * TICKS_PER_MICROSECOND;

/// How long after it was seen a consumer no longer counts as one that uses a place: it may be stuck in an item that waits for another one.
const STUCK_TIME: u64 = 10_000 * TICKS_PER_MICROSECOND;

/// For how long a worker that has ended an item can take the next one before other workers do.
const NEXT_TIME: u64 = 2 * TICKS_PER_MICROSECOND;

/// How often a parked worker looks whether the consumer for which items are kept is still near.
pub(super) const WATCH_TIME: Duration = Duration::from_millis(1);

/// Which items of a stream are left to its consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Nothing,
    First,
    All,
}

impl Kept {
    fn leaves_some_of(self, len: usize) -> bool {
        match self {
            Kept::Nothing => len > 0,
            Kept::First => len > 1,
            Kept::All => false,
        }
    }
}

/// The items of one stream that have not begun, in the order of the input.
#[derive(Debug)]
pub(crate) struct StreamQueue {
    items: Mutex<VecDeque<Task>>,
    /// The number of items. Changed under the lock.
    len: AtomicUsize,
    /// The raw items, if the stream can have some. Only a thread that holds the lock of `items` makes tasks of them.
    raw: Mutex<Option<Arc<dyn RawItems>>>,
    pub(crate) raw_count: RawCount,
    /// When the consumer last entered or left `next`, in ticks, or 0 if it is not expected to come back soon.
    seen: AtomicU64,
    /// Whether the consumer runs or awaits the item that it needs next.
    is_inside: AtomicBool,
    /// The average time of an item, in ticks.
    cost: HintWord,
    /// The number of workers that run items, the consumer among them if it is one.
    running: HintCount,
    /// Whether the consumer, while it is near, uses a place without being counted as awake in the pool.
    is_uncounted: AtomicBool,
    /// When a worker last ended an item, in ticks.
    freed: HintWord,
    /// Whether the consumer has left the pool without looking whether another thread is wanted.
    owes_look: AtomicBool,
}

impl Default for StreamQueue {
    fn default() -> Self {
        StreamQueue {
            items: Mutex::default(),
            len: AtomicUsize::new(0),
            raw: Mutex::default(),
            raw_count: RawCount::default(),
            seen: AtomicU64::new(0),
            is_inside: AtomicBool::new(false),
            cost: HintWord::new(LONG_ITEM),
            running: HintCount::new(0),
            is_uncounted: AtomicBool::new(false),
            freed: HintWord::new(0),
            owes_look: AtomicBool::new(false),
        }
    }
}

std::thread_local! {
    /// When this thread last ended an item as a worker, in ticks.
    static FREED: Cell<u64> = const { Cell::new(0) };
}

/// An item that runs, until this is dropped.
pub(crate) struct RunningItem<'a> {
    queue: &'a StreamQueue,
    on_worker: bool,
    began: u64,
}

impl Drop for RunningItem<'_> {
    fn drop(&mut self) {
        let (queue, now) = (self.queue, rough_now());
        // An eighth of the weight is on the last item. One during which the system ran something else counts little.
        let cost = queue.cost.load(Ordering::Relaxed);
        let most = (8 * cost + TICKS_PER_MICROSECOND).min(LONG_ITEM);
        let took = now.wrapping_sub(self.began).min(most);
        queue
            .cost
            .store(cost - cost / 8 + took / 8, Ordering::Relaxed);
        if self.on_worker {
            FREED.set(now);
            queue.freed.store(now, Ordering::Relaxed);
            queue.running.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

// ORDERING: Relaxed. `len` is changed under the lock and is a hint without it. The other atomics are hints: a wrong answer costs a nap of the worker that watches.
impl StreamQueue {
    /// Appends an item. Returns whether there are items that are not kept for the consumer, and whether the consumer uses one of the pool's places.
    pub(super) fn push(&self, task: Task) -> (bool, bool) {
        let len = self.change(|items| {
            items.push_back(task);
            items.len()
        });
        let kept = self.kept();
        let is_near = kept != Kept::Nothing || self.is_near();
        (kept.leaves_some_of(len), is_near)
    }

    /// Takes the first item if it is the one that `is_wanted`.
    pub(crate) fn take_first_if(&self, is_wanted: impl FnOnce(&Task) -> bool) -> Option<Task> {
        self.change(|items| {
            items
                .front()
                .is_some_and(is_wanted)
                .then(|| items.pop_front())?
        })
    }

    /// Takes the first item that is not kept for the consumer, if there is a place for the current worker.
    fn take(&self, sleep: &Sleep) -> Option<Task> {
        if self.len.load(Ordering::Relaxed) == 0 {
            if self.raw_count.len() == 0 || !self.raw_count.is_abandoned() {
                return None;
            }
            self.submit_raw();
        }
        if !self.has_place(sleep, 0) {
            return None;
        }
        let kept = self.kept();
        let is_inside = self.is_inside.load(Ordering::Relaxed);
        self.change(|items| match kept {
            Kept::All => None,
            Kept::First => items.remove(1),
            Kept::Nothing => items.remove(usize::from(is_inside && items.len() > 1)),
        })
    }

    fn take_all(&self) -> VecDeque<Task> {
        self.change(std::mem::take)
    }

    /// Makes the stream one that can have raw items.
    pub(crate) fn set_raw(&self, raw: Arc<dyn RawItems>) {
        *lock(&self.raw) = Some(raw);
    }

    /// Makes tasks of the raw items, behind those that are queued.
    pub(crate) fn submit_raw(&self) {
        self.change(|items| {
            let before = items.len();
            if let Some(raw) = &*lock(&self.raw) {
                raw.submit(&mut |task| items.push_back(task));
            }
            if items.len() > before {
                // The items turned out not to be short, or to wait for each other. They are shared from now on, until some have run.
                self.cost.store(LONG_ITEM, Ordering::Relaxed);
            }
        });
    }

    /// Whether there are raw items, as far as the consumer knows.
    pub(crate) fn has_raw(&self) -> bool {
        self.raw_count.len() > 0
    }

    /// Whether the consumer runs items itself that are so short that no other thread should take one.
    pub(crate) fn keeps_all(&self) -> bool {
        self.cost() < SHARED_TIME
    }

    /// The numbers of items that are queued, and of those that are raw.
    fn lens(&self) -> (usize, usize) {
        let items = lock(&self.items);
        let raw = lock(&self.raw);
        (items.len(), raw.as_ref().map_or(0, |raw| raw.len()))
    }

    fn change<R>(&self, change: impl FnOnce(&mut VecDeque<Task>) -> R) -> R {
        let mut items = lock(&self.items);
        let result = change(&mut items);
        self.len.store(items.len(), Ordering::Relaxed);
        result
    }

    /// Returns whether there are items that one more thread could take, or if `kept_too`, whether there are items. It takes the lock, so that of a thread that
    /// looks before it sleeps and one that pushes an item, the later one sees what the other has done before.
    fn offers_some(&self, kept_too: bool, sleep: &Sleep) -> bool {
        let (len, raw) = self.lens();
        let is_offered = || self.kept().leaves_some_of(len) && self.has_place(sleep, 1);
        len > 0 && (kept_too || is_offered())
            || raw > 0 && (kept_too || self.raw_count.is_abandoned())
    }

    /// Returns whether there are items.
    pub(super) fn is_empty(&self) -> bool {
        self.lens() == (0, 0)
    }

    /// Whether a worker that looks for an item may run one beside those that do, with so many `more` threads awake than there are now.
    fn has_place(&self, sleep: &Sleep, more: usize) -> bool {
        let is_stuck = || ticks().wrapping_sub(self.seen()) > STUCK_TIME;
        if MODEL || !self.is_near() || is_stuck() {
            return true;
        }
        let (counts, threads) = (sleep.counts(), sleep.target());
        let is_uncounted = self.is_uncounted.load(Ordering::Relaxed);
        let outside = counts.guests.max(usize::from(is_uncounted));
        if counts.workers + more + outside <= threads {
            return true;
        }
        let running = self.running.load(Ordering::Relaxed);
        // The only worker runs items beside a consumer that is in a long one.
        let places = threads
            .saturating_sub(outside)
            .max(usize::from(!self.is_expected()));
        if running + 1 != places {
            return running < places;
        }
        let freed = self.freed.load(Ordering::Relaxed);
        FREED.get() == freed || ticks().wrapping_sub(freed) > NEXT_TIME
    }

    fn kept(&self) -> Kept {
        if !self.is_expected() {
            Kept::Nothing
        } else if self.cost() < SHARED_TIME {
            Kept::All
        } else {
            Kept::First
        }
    }

    // ---- the consumer ----

    /// Notes that the consumer, which runs items itself, asks for a result. It was away since the tick `left`. `is_outside` is whether it is no member of the pool.
    pub(crate) fn enter(&self, left: u64, is_outside: bool) {
        self.is_uncounted.store(is_outside, Ordering::Relaxed);
        let now = rough_now();
        let is_back_soon = now.wrapping_sub(left) < RETURN_TIME;
        self.seen
            .store(if is_back_soon { now } else { 0 }, Ordering::Relaxed);
    }

    /// When the consumer last entered or left `next`, in ticks. 0 if it is not expected to come back soon.
    pub(crate) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// Notes that the consumer is about to run or to await an item.
    pub(crate) fn begin_wait(&self) {
        self.is_inside.store(true, Ordering::Relaxed);
    }

    /// Notes that the consumer has found a result. Returns the time, for [`enter`](Self::enter).
    pub(crate) fn leave(&self) -> u64 {
        let now = rough_now();
        if self.seen.load(Ordering::Relaxed) != 0 {
            self.seen.store(now, Ordering::Relaxed);
        }
        self.is_inside.store(false, Ordering::Relaxed);
        now
    }

    /// Notes that the consumer is about to sleep.
    pub(crate) fn sleep(&self) {
        self.seen.store(0, Ordering::Relaxed);
        self.is_inside.store(false, Ordering::Relaxed);
    }

    /// Notes whether the consumer, which is no member of the pool, is its guest for an item.
    pub(crate) fn set_guest(&self, is_guest: bool) {
        self.is_uncounted.store(!is_guest, Ordering::Relaxed);
    }

    /// Notes that the consumer neither runs nor awaits an item.
    pub(crate) fn end_wait(&self) {
        self.is_inside.store(false, Ordering::Relaxed);
    }

    /// Notes that the current thread runs an item until the result is dropped. A guest is not counted: it is the consumer most of the time.
    pub(crate) fn begin_item(&self, on_worker: bool) -> RunningItem<'_> {
        if on_worker {
            self.running.fetch_add(1, Ordering::Relaxed);
        }
        RunningItem {
            queue: self,
            on_worker,
            began: rough_now(),
        }
    }

    /// The average time of an item, in ticks.
    pub(crate) fn cost(&self) -> u64 {
        self.cost.load(Ordering::Relaxed)
    }

    /// Whether the consumer is or was there a moment ago, and will most likely be back soon.
    fn is_expected(&self) -> bool {
        let seen = self.seen.load(Ordering::Relaxed);
        !MODEL && seen != 0 && ticks().wrapping_sub(seen) < NEAR_TIME
    }

    /// Whether the consumer uses one of the pool's places, or will most likely do so soon.
    pub(super) fn is_near(&self) -> bool {
        let is_inside =
            || self.seen.load(Ordering::Relaxed) != 0 && self.is_inside.load(Ordering::Relaxed);
        self.is_expected() || is_inside()
    }

    /// Notes that the consumer has left the pool without looking whether another thread is wanted. The worker that watches looks.
    pub(super) fn owe_look(&self) {
        self.owes_look.store(true, Ordering::Relaxed);
    }

    /// Returns whether a look is owed. The caller looks.
    pub(super) fn take_owed_look(&self) -> bool {
        self.owes_look.load(Ordering::Relaxed) && self.owes_look.swap(false, Ordering::Relaxed)
    }
}

/// The queues of a pool's streams.
#[derive(Debug)]
pub(crate) struct Streams {
    queues: Mutex<Vec<Arc<StreamQueue>>>,
    /// The number of queues. Changed under the lock.
    len: AtomicUsize,
    /// The number of workers that watch: one, or a few for a moment.
    watchers: AtomicUsize,
    /// The process's count of forks when the pool was created.
    forks: u64,
}

impl Default for Streams {
    fn default() -> Self {
        Streams {
            queues: Mutex::default(),
            len: AtomicUsize::new(0),
            watchers: AtomicUsize::new(0),
            forks: sys::fork_generation(),
        }
    }
}

impl Streams {
    pub(super) fn open(&self) -> Arc<StreamQueue> {
        let queue = Arc::<StreamQueue>::default();
        self.change(|queues| queues.push(Arc::clone(&queue)));
        queue
    }

    /// Removes the queue, and drops the items that are left.
    pub(super) fn close(&self, queue: &Arc<StreamQueue>) {
        self.change(|queues| queues.retain(|other| !Arc::ptr_eq(other, queue)));
        let raw = lock(&queue.raw).take();
        drop((queue.take_all(), raw));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<StreamQueue>>)) {
        let mut queues = lock(&self.queues);
        change(&mut queues);
        self.len.store(queues.len(), Ordering::Relaxed);
    }

    /// Takes an item of one of the streams, beginning with number `turn`.
    pub(super) fn take(&self, turn: u32, sleep: &Sleep) -> Option<Task> {
        if self.len.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let queues = lock(&self.queues);
        let (before, from) = queues.split_at(turn as usize % queues.len().max(1));
        from.iter()
            .chain(before)
            .find_map(|queue| queue.take(sleep))
    }

    /// Takes an item, even if it is kept for a consumer.
    pub(super) fn take_any(&self) -> Option<Task> {
        if self.len.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let first = |queue: &Arc<StreamQueue>| {
            let take = || queue.take_first_if(|_| true);
            take().or_else(|| {
                queue.submit_raw();
                take()
            })
        };
        lock(&self.queues).iter().find_map(first)
    }

    /// Shows `visit` the items.
    pub(super) fn visit(&self, visit: &impl Fn(&Task)) {
        self.sum(|queue| {
            lock(&queue.items).iter().for_each(visit);
            0
        });
    }

    /// The number of items.
    pub(super) fn len(&self) -> usize {
        self.sum(|queue| {
            let (len, raw) = queue.lens();
            len + raw
        })
    }

    /// Holds a lock, for a test.
    #[cfg(all(test, not(any(heist_loom, heist_shuttle))))]
    pub(super) fn hold(&self) -> impl Drop {
        lock(&self.queues)
    }

    /// The number of items. `None` if another thread holds a lock.
    pub(super) fn try_len(&self) -> Option<usize> {
        if self.len.load(Ordering::Relaxed) == 0 {
            return Some(0);
        }
        let queues = try_lock(&self.queues)?;
        let lens = queues
            .iter()
            .map(|queue| Some(try_lock(&queue.items)?.len() + queue.raw_count.len()));
        lens.sum()
    }

    /// Whether there are no items other than those that are kept for consumers while a worker watches.
    pub(super) fn offers_none(&self, sleep: &Sleep) -> bool {
        let kept_too = !self.is_watched();
        self.sum(|queue| usize::from(queue.offers_some(kept_too, sleep))) == 0
    }

    fn sum(&self, of: impl Fn(&StreamQueue) -> usize) -> usize {
        // In a forked child the locks may be held forever.
        if self.len.load(Ordering::Relaxed) == 0 || sys::forks() != self.forks {
            return 0;
        }
        lock(&self.queues).iter().map(|queue| of(queue)).sum()
    }

    // ---- the worker that watches ----

    /// Lets the current worker, which is about to sleep, watch if one must. It sleeps for [`WATCH_TIME`] then.
    pub(super) fn begin_watch(&self) -> Option<Watch<'_>> {
        (self.must_watch() && !self.is_watched()).then(|| {
            // ORDERING: pairs with the load in `is_watched`: a consumer that reads the old count wakes a worker.
            self.watchers.fetch_add(1, Ordering::SeqCst);
            Watch(self)
        })
    }

    /// Whether a worker must watch, because a consumer is near or was there a moment ago.
    pub(super) fn must_watch(&self) -> bool {
        let must = |queue: &StreamQueue| {
            queue.is_near() || queue.raw_count.len() > 0 || queue.owes_look.load(Ordering::Relaxed)
        };
        !MODEL && self.sum(|queue| usize::from(must(queue))) > 0
    }

    /// Returns whether looks are owed. The caller looks.
    pub(super) fn take_owed_looks(&self) -> bool {
        self.sum(|queue| usize::from(queue.take_owed_look())) > 0
    }

    pub(super) fn is_watched(&self) -> bool {
        // ORDERING: pairs with the changes in `begin_watch` and in the drop of `Watch`.
        self.watchers.load(Ordering::SeqCst) > 0
    }
}

/// A worker that sleeps and watches, until this is dropped. The worker then looks.
pub(super) struct Watch<'a>(&'a Streams);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        // ORDERING: pairs with the load in `is_watched`. A consumer that still reads the old count has pushed its item before, under the lock that the look takes
        // next.
        self.0.watchers.fetch_sub(1, Ordering::SeqCst);
        self.0.take_owed_looks();
    }
}
