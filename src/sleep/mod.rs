//! The sleep protocol: idle threads cost nothing, and no work waits while a thread sleeps that could run it.
//!
//! # Threads
//!
//! *Workers* and *spares* are the pool's threads; *guests* are other threads that take part for a while. A thread is *awake* or parked. Some of
//! the awake threads *search*. The pool wants `target` awake threads, guests included. While fewer are awake, there is *room*. A thread parks in
//! one of three ways:
//!
//! - *Free*: a worker or spare that has nothing to do. It is on the idle list, and is woken for work of any kind.
//! - *Open*: a pool thread in the middle of a wait in which it may run anything (`Waits::Any`). It is on the idle list too.
//! - *Bound*: a thread in the middle of any other wait. The end of the wait wakes it, and so does a broadcast task for it. If it is a helper (see
//!   below), it is also woken for work that it may run.
//!
//! A thread that parks makes room, because it is no longer awake.
//!
//! The sleep word ([`Counts`]) holds the number of threads in each state, and how many are *available*: parked free, not yet started, or a
//! spare not yet started. The list behind the mutex says which threads these are. A change of the list, or of the threads not started, is
//! made under the mutex together with the change of the word. The other counts change by a single read-modify-write.
//!
//! # Publish
//!
//! A thread that has made work visible calls [`Sleep::published`]: fence; read the word; if no thread searches, one is available and there
//! is room, claim it ([`Sleep::claim_thread`]). A claimed thread is counted as awake *and searching* at once, so that a burst of publishers
//! wakes one thread, not all.
//!
//! The owner of a ring does not do this at each push. It reads its own `limit`, which is 0 if a thread has made one of the changes below since the
//! owner last looked.
//!
//! # Sleep
//!
//! After some changes of the word *no thread searches although there is room and a thread is available*. The thread that makes such a change does
//! this, in order: change the word; set `limit = 0` on all rings; heavy fence; look at every queue once more (the *final re-check*); if there is
//! work, claim a thread, or stay awake itself. The changes are:
//!
//! - The last searcher parks, free or open.
//! - A thread parks bound.
//! - A guest leaves, or a pool thread does.
//! - A thread that counts as searching has something else to do first. A new thread does if there is a start hook, which can take long.
//! - A worker that was called parks again.
//!
//! The last searcher that *finds* something claims the next thread at once. One that sees more claims up to two while fewer than half of the awake search.
//!
//! # Calls
//!
//! A worker that is parked free is *called* if it is woken for something that only it can do: a broadcast task. It leaves the list by itself
//! ([`Sleep::unpark_called`]) and is counted as awake, but not as searching. It relieves no other thread of a search, and does not begin one
//! afterwards, so that a broadcast to many workers does not make each of them spin in turn. When it parks again ([`Sleep::park_called`]), it
//! must make the final re-check only if its being awake has kept a publisher from getting a thread.
//!
//! # Helpers
//!
//! A thread that parks bound may be able to run some of the work that others make later: what descends from what it waits for. It
//! registers as a *helper*: the count of helpers goes up after the thread has been counted out of the word, and before its heavy fence and
//! its own final re-check. If no free thread is parked or can be started, a publisher gets [`Wakeup::Helper`], finds a helper that may run
//! the work, and claims it. The helper is then counted as awake *and searching*, like any claimed thread, so that one helper is woken at a
//! time. After it has looked, it hands the search off, whatever it has found.
//!
//! # Why no wake-up is lost
//!
//! Take a publisher, and a thread that makes one of the changes above. If the publisher reads the word after the change, it claims a thread. If it
//! reads the word before the change, that thread's final re-check sees the published work: the fence of the publisher pairs with the fence between
//! the change and the re-check. In a ring the light fence of the push pairs with that heavy one. Without the re-check, or without the
//! publisher's fence, both can miss: the model `last_searcher_against_publisher` fails then.

use crate::chunks::Chunks;
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering, fence, lock};
use crossbeam_utils::CachePadded;

mod answers;
mod bound;
mod counts;
mod event;
mod list;
mod parker;
mod size;

#[cfg(all(test, heist_loom))]
mod models;

pub(crate) use answers::{Left, Park, Presence, Wakeup};
pub(crate) use counts::{Counts, MAX_THREADS, Need};
use counts::{IDLE_AWAITED, ONE_AVAILABLE, ONE_SEARCHING, ONE_WORKER};
pub(crate) use event::{Event, Waited};
use list::{Idle, take};
pub(crate) use parker::Parker;

/// The sleep state of one pool. See the module.
#[derive(Debug)]
pub(crate) struct Sleep {
    /// On cache lines of its own, because each search and each guest writes it, and every spawn reads its neighbours.
    awake: CachePadded<Awake>,
    /// The number of threads that the pool wants awake.
    target: AtomicUsize,
    idle: Mutex<Idle>,
    /// For each slot, whether its thread is on one of the lists of available threads. Changed under the lock.
    listed: Chunks<AtomicBool>,
}

#[derive(Debug)]
struct Awake {
    word: AtomicU64,
    /// The number of threads that are registered as helpers. See "Helpers" in the module documentation.
    helpers: AtomicUsize,
}

impl Sleep {
    /// Creates the state of a pool. If `caller_threads` is true, the caller of the library provides the threads of the workers, which
    /// [`Sleep::adopt`] counts, so that the pool starts none of them.
    pub(crate) fn new(target: usize, spares: usize, caller_threads: bool) -> Self {
        let to_start = if caller_threads { 0 } else { target };
        let available = (to_start + spares) as u64;
        Sleep {
            awake: CachePadded::new(Awake {
                word: AtomicU64::new(available * ONE_AVAILABLE),
                helpers: AtomicUsize::new(0),
            }),
            target: AtomicUsize::new(target),
            idle: Mutex::new(Idle {
                unstarted: (0..to_start).rev().collect(),
                spares_left: spares,
                present: vec![false; target],
                caller_threads,
                ..Idle::default()
            }),
            listed: Chunks::default(),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.unpack(self.awake.word.load(Ordering::Relaxed))
    }

    fn unpack(&self, word: u64) -> Counts {
        // ORDERING: Relaxed: a caller that relies on it has fenced, or does so in `unpack_after`, against the heavy fence of a helper that parks.
        Counts::unpack(word, self.awake.helpers.load(Ordering::Relaxed))
    }

    /// Unpacks the word as the caller has just changed it.
    fn unpack_after(&self, word: u64) -> Counts {
        if Counts::unpack(word, 0).available == 0 {
            // ORDERING: Store-load pair: {word; fence; helpers} here, {helpers; heavy fence; word} in a helper that parks.
            fence(Ordering::SeqCst);
        }
        self.unpack(word)
    }

    /// The number of threads that the pool wants awake, which is its number of workers.
    pub(crate) fn target(&self) -> usize {
        self.target.load(Ordering::Relaxed)
    }

    // ---- publishers ----

    /// Called after work was made visible. Returns the thread to wake or start.
    pub(crate) fn published(&self, need: Need) -> Wakeup {
        // ORDERING: pairs with the fence between a sleeper's change of the word and its final re-check: that of `ring::request_all`, and that of `heavy`.
        fence(Ordering::SeqCst);
        if self.counts().wants(need, self.target()) {
            self.claim_thread(need)
        } else {
            Wakeup::None
        }
    }

    /// Claims a thread if one is wanted and available.
    #[cold]
    pub(crate) fn claim_thread(&self, need: Need) -> Wakeup {
        self.claim_from(lock(&self.idle), need)
    }

    /// Claims a thread for the kind of work that a look has reported. A look that reports a detached task has not looked for forks. So if no thread
    /// can be claimed for the task, this claims a helper for forks, if there is one.
    pub(crate) fn claim_thread_for(&self, need: Need) -> Wakeup {
        match self.claim_thread(need) {
            Wakeup::None if need == Need::Worker => self.claim_thread(Need::Help),
            wakeup => wakeup,
        }
    }

    /// Claims a thread that exists, after the start of another one has failed. While that one was being started it counted as searching, so that
    /// other threads may have relied on it.
    #[cold]
    pub(crate) fn claim_parked_thread(&self, need: Need) -> Wakeup {
        let idle = lock(&self.idle);
        if idle.workers.is_empty()
            && idle.waiters.is_empty()
            && (idle.spares.is_empty() || !idle.unstarted.is_empty())
        {
            return if self.counts().helpers > 0 && self.still_wanted(Need::Help) {
                Wakeup::Helper { or_spare: false }
            } else {
                Wakeup::None
            };
        }
        self.claim_from(idle, need)
    }

    fn claim_from(&self, idle: MutexGuard<'_, Idle>, need: Need) -> Wakeup {
        let spares_only =
            idle.workers.is_empty() && idle.waiters.is_empty() && idle.unstarted.is_empty();
        if spares_only && need == Need::Help && self.counts().helpers > 0 && self.still_wanted(need)
        {
            return Wakeup::Helper { or_spare: true };
        }
        self.claim_any(idle, |counts| counts.wants(need, self.target()))
    }

    /// Claims one more worker for what a thread sees that has found something, [if few enough search](Counts::may_spread).
    #[cold]
    pub(crate) fn claim_second(&self) -> Wakeup {
        let idle = lock(&self.idle);
        let has_workers = !idle.workers.is_empty() || !idle.unstarted.is_empty();
        self.claim_any(idle, |now| has_workers && now.may_spread(self.target()))
    }

    /// Claims one thread [beyond the number that the pool wants](Counts::may_exceed) if `is_needed`, for work that no thread awake will take soon.
    ///
    /// Called by the publisher of such work, and by a thread that has parked, which can be the one beyond the number.
    pub(crate) fn claim_extra(&self, is_needed: impl FnOnce() -> bool) -> Wakeup {
        // ORDERING: Store-load pair: {push; fence; word} in a publisher, {word; fence; queue} in a thread that has parked.
        fence(Ordering::SeqCst);
        if self.counts().may_exceed(self.target()) && is_needed() {
            self.claim_any(lock(&self.idle), |now| now.may_exceed(self.target()))
        } else {
            Wakeup::None
        }
    }

    /// Claims a spare after [`Wakeup::Helper`] was returned and no helper may run the work.
    #[cold]
    pub(crate) fn claim_spare(&self) -> Wakeup {
        self.claim_any(lock(&self.idle), |now| now.wants(Need::Help, self.target()))
    }

    fn claim_any(&self, mut idle: MutexGuard<'_, Idle>, wants: impl Fn(Counts) -> bool) -> Wakeup {
        let change = ONE_WORKER
            .wrapping_add(ONE_SEARCHING)
            .wrapping_sub(ONE_AVAILABLE);
        let taken = self.awake.word.fetch_update(
            // ORDERING: AcqRel: publishers and the threads that change the word agree through it.
            Ordering::AcqRel,
            Ordering::Acquire,
            |word| wants(Counts::unpack(word, 0)).then(|| word.wrapping_add(change)),
        );
        if taken.is_err() {
            return Wakeup::None;
        }
        if let Some(slot) = idle.workers.pop().or_else(|| idle.waiters.pop()) {
            self.note_listed(slot, false);
            Wakeup::Unpark(slot)
        } else if let Some(index) = idle.unstarted.pop() {
            idle.present[index] = true;
            Wakeup::StartWorker(index)
        } else if let Some(slot) = idle.spares.pop() {
            self.note_listed(slot, false);
            Wakeup::Unpark(slot)
        } else {
            idle.spares_left = idle
                .spares_left
                .checked_sub(1)
                .expect("heist: the sleep word counts a thread that is not there");
            idle.spares_started += 1;
            Wakeup::StartSpare
        }
    }

    /// Claims the worker with this index so that the caller starts it, wanted or not (eager start, broadcast). Returns `false` if it has been
    /// started or can no longer be.
    pub(crate) fn claim_worker(&self, index: usize) -> bool {
        self.claim_if_absent(index) == Presence::Claimed
    }

    /// Claims the worker with this index if it has no thread, for a caller that relies on the worker.
    pub(crate) fn claim_if_absent(&self, index: usize) -> Presence {
        let mut idle = lock(&self.idle);
        if idle.present[index] {
            return Presence::Present;
        }
        if !take(&mut idle.unstarted, index) {
            return Presence::Absent;
        }
        idle.present[index] = true;
        self.add(ONE_WORKER + ONE_SEARCHING, ONE_AVAILABLE);
        Presence::Claimed
    }

    /// Sets whether the caller of the library is going to provide a thread for the worker with this index. No thread relies on the worker before
    /// the pool has [adopted](Self::adopt) that thread.
    pub(crate) fn expect(&self, index: usize, is_to_come: bool) {
        lock(&self.idle).present[index] = is_to_come;
    }

    /// Counts the worker with this index, whose thread the caller of the library has provided, as awake and searching.
    pub(crate) fn adopt(&self, index: usize) {
        lock(&self.idle).present[index] = true;
        self.add(ONE_WORKER + ONE_SEARCHING, 0);
    }

    /// Counts the worker with this index, which gets a thread that never leaves, as awake and searching.
    pub(crate) fn settle(&self, index: usize) {
        lock(&self.idle).residents += 1;
        self.claim_worker(index);
    }

    /// Whether the worker with this index has a thread or is about to get one.
    pub(crate) fn is_present(&self, index: usize) -> bool {
        lock(&self.idle).present[index]
    }

    /// Makes a claimed thread available again, after its start has failed.
    pub(crate) fn start_failed(&self, worker: Option<usize>) {
        let mut idle = lock(&self.idle);
        self.leave(&mut idle, worker);
    }

    /// Counts out a searching thread that ends or has not started. It is available again if it can be started again.
    fn leave(&self, idle: &mut Idle, worker: Option<usize>) -> Counts {
        let back = match worker {
            Some(index) => idle.absent(index, self.target()),
            None => idle.spare_back(),
        };
        let (plus, minus) = (u64::from(back) * ONE_AVAILABLE, ONE_WORKER + ONE_SEARCHING);
        let before = self.add(plus, minus);
        self.unpack_after(before.wrapping_add(plus).wrapping_sub(minus))
    }

    // ---- workers ----

    /// Whether more threads are awake than the pool wants.
    pub(crate) fn overcommitted(&self) -> bool {
        let word = self.awake.word.load(Ordering::Relaxed);
        Counts::unpack(word, 0).overcommitted(self.target())
    }

    /// Whether there is room for one more awake thread.
    pub(crate) fn has_room(&self, need: Need) -> bool {
        self.counts().has_room(need, self.target())
    }

    /// Whether the pool has become too small for this worker.
    pub(crate) fn is_surplus(&self, worker: Option<usize>) -> bool {
        worker.is_some_and(|index| index >= self.target())
    }

    /// Counts the caller as searching. Returns the number of other searchers.
    pub(crate) fn begin_search(&self) -> usize {
        self.unpack(self.add(ONE_SEARCHING, 0)).searching
    }

    /// Counts out a searcher that has found something. If it was the last one, it claims a thread that continues the search.
    ///
    /// If no other thread is awake, it first looks, by `look`, whether there is more work. No thread can make work visible without reading the
    /// word, so that a look without a heavy fence is enough, if it sends share requests to the rings as any final re-check does.
    pub(crate) fn end_search_found(&self, look: impl FnOnce() -> Option<Need>) -> Wakeup {
        let after = self.uncount_searching();
        if !after.wants(Need::Help, self.target()) {
            return Wakeup::None;
        }
        if after.workers + after.guests == 1 {
            // ORDERING: pairs with the fence in `published`.
            fence(Ordering::SeqCst);
            return look().map_or(Wakeup::None, |need| self.claim_thread_for(need));
        }
        self.claim_thread(Need::Help)
    }

    /// Counts out a searcher that has something else to do before it looks at anything. Returns whether another thread is wanted, as
    /// [`Left::capacity`] does.
    #[must_use]
    pub(crate) fn stop_searching(&self) -> bool {
        self.uncount_searching().wants(Need::Help, self.target())
    }

    /// Counts out a searcher.
    fn uncount_searching(&self) -> Counts {
        let before = self.add(0, ONE_SEARCHING);
        self.unpack_after(before.wrapping_sub(ONE_SEARCHING))
    }

    /// Puts the searcher on `slot`, which has found nothing, on the idle list. `has_tasks` is asked whether tasks are queued if the thread could leave a
    /// pool that is closing.
    pub(crate) fn park_free(
        &self,
        slot: usize,
        worker: Option<usize>,
        has_tasks: impl FnOnce() -> bool,
    ) -> Park {
        self.park_free_locked(lock(&self.idle), slot, worker, has_tasks)
    }

    /// Puts the worker on `slot`, which [`Sleep::unpark_called`] has counted, back on the idle list after it has run its broadcast task.
    ///
    /// It was not counted as searching, so no thread has relied on it to look. It must look only if publishers can get a thread from now on and
    /// could not before: while it was awake, there may have been no room, or no thread available. If they could before as well, another thread has
    /// made that change, and has looked.
    pub(crate) fn park_called(
        &self,
        slot: usize,
        worker: usize,
        has_tasks: impl FnOnce() -> bool,
    ) -> Park {
        let mut idle = lock(&self.idle);
        if idle.closed || self.is_surplus(Some(worker)) {
            self.add(ONE_SEARCHING, 0);
            return self.park_free_locked(idle, slot, Some(worker), has_tasks);
        }
        idle.workers.push(slot);
        self.note_listed(slot, true);
        let before = self.add(ONE_AVAILABLE, ONE_WORKER);
        let after = self.unpack(before.wrapping_add(ONE_AVAILABLE).wrapping_sub(ONE_WORKER));
        let before = self.unpack(before);
        let new = |need| after.wants(need, self.target()) && !before.wants(need, self.target());
        if new(Need::Help) || new(Need::Worker) {
            Park::AfterLook
        } else {
            Park::Now
        }
    }

    fn park_free_locked(
        &self,
        mut idle: MutexGuard<'_, Idle>,
        slot: usize,
        worker: Option<usize>,
        has_tasks: impl FnOnce() -> bool,
    ) -> Park {
        let surplus = self.is_surplus(worker);
        let closes = idle.closed && (idle.caller_threads || idle.retired || !idle.others_work());
        // Tasks can have been queued between the last look of this thread and the closing of the pool.
        if closes && !surplus && !idle.retired && has_tasks() {
            return Park::Stay;
        }
        if closes || surplus {
            if closes && !idle.retired {
                let had = idle.retire() as u64;
                self.add(0, had * ONE_AVAILABLE);
            }
            let after = self.leave(&mut idle, worker);
            let wants = |need| after.wants(need, self.target());
            return Park::Leave {
                look: wants(Need::Help) || wants(Need::Worker),
            };
        }
        match worker {
            Some(_) => idle.workers.push(slot),
            None => idle.spares.push(slot),
        }
        self.note_listed(slot, true);
        self.park_counted()
    }

    /// Puts the searcher on `slot` on the idle list. It has found nothing in the middle of a wait in which it may run anything, and is available
    /// until the wait ends. Returns [`Park::Now`] or [`Park::AfterLook`].
    pub(crate) fn park_waiter(&self, slot: usize) -> Park {
        let mut idle = lock(&self.idle);
        idle.waiters.push(slot);
        self.note_listed(slot, true);
        self.park_counted()
    }

    /// Counts the caller, which is on a list, as parked.
    fn park_counted(&self) -> Park {
        let before = self.add(ONE_AVAILABLE, ONE_WORKER + ONE_SEARCHING);
        let after = self.unpack(
            before
                .wrapping_add(ONE_AVAILABLE)
                .wrapping_sub(ONE_WORKER + ONE_SEARCHING),
        );
        // This includes `Need::Help`: this thread is available now, and there is room for a detached task wherever there is room for a fork.
        if after.wants(Need::Worker, self.target()) {
            Park::AfterLook
        } else {
            Park::Now
        }
    }

    /// Takes the caller off the list and counts it as awake and searching. Does nothing if another thread has claimed the caller: that thread has
    /// done the same, and its token is on its way.
    pub(crate) fn unpark_self(&self, slot: usize) {
        // Only the thread itself puts itself on a list, so that one that was taken off stays off, and needs no lock to see it.
        if !self.listed.get_or_grow(slot).load(Ordering::Relaxed) {
            return;
        }
        let mut idle = lock(&self.idle);
        if take(&mut idle.workers, slot)
            || take(&mut idle.waiters, slot)
            || take(&mut idle.spares, slot)
        {
            self.note_listed(slot, false);
            self.add(ONE_WORKER + ONE_SEARCHING, ONE_AVAILABLE);
        }
    }

    /// Takes the worker on `slot`, which was woken for a broadcast task, off the list and counts it as awake but not as searching. Returns
    /// `false` if another thread has claimed it, which relies on it to search.
    pub(crate) fn unpark_called(&self, slot: usize) -> bool {
        let mut idle = lock(&self.idle);
        let was_parked = take(&mut idle.workers, slot);
        if was_parked {
            self.note_listed(slot, false);
            self.add(ONE_WORKER, ONE_AVAILABLE);
        }
        was_parked
    }

    /// Whether the thread that made a final re-check should take what it has seen. If not, enough others are there.
    pub(crate) fn still_wanted(&self, need: Need) -> bool {
        self.counts().wants(need, self.target())
    }

    /// Whether a publisher would get a thread for any kind of work.
    pub(crate) fn is_wanted(&self) -> bool {
        self.still_wanted(Need::Help) || self.still_wanted(Need::Worker)
    }

    /// Notes whether a thread is on a list. The caller holds the lock. That a thread is off the lists is noted only after the word counts it as awake: the thread may
    /// go on at once.
    fn note_listed(&self, slot: usize, is_listed: bool) {
        // ORDERING: Relaxed: the flag orders nothing. Its reader is the thread itself, which reads what it wrote when it parked, or a later value.
        self.listed
            .get_or_grow(slot)
            .store(is_listed, Ordering::Relaxed);
    }

    // ---- threads that wait for idleness ----

    /// Sets whether a thread waits until the pool is idle.
    pub(crate) fn set_idle_awaited(&self, awaited: bool) {
        // ORDERING: AcqRel: of a guest that leaves and a thread that begins to wait, the later one sees what the other did before.
        if awaited {
            self.awake.word.fetch_or(IDLE_AWAITED, Ordering::AcqRel);
        } else {
            self.awake.word.fetch_and(!IDLE_AWAITED, Ordering::AcqRel);
        }
    }

    /// Whether a thread waits until the pool is idle.
    pub(crate) fn is_idle_awaited(&self) -> bool {
        // ORDERING: Relaxed: the caller has fenced, which pairs with the fence of the waiting thread.
        self.awake.word.load(Ordering::Relaxed) & IDLE_AWAITED != 0
    }

    /// Changes the word. Returns its previous value.
    fn add(&self, plus: u64, minus: u64) -> u64 {
        // ORDERING: AcqRel: a thread that reads the change sees what came before it. The fences of `published` and of the final re-check do the rest.
        self.awake
            .word
            .fetch_add(plus.wrapping_sub(minus), Ordering::AcqRel)
    }
}
