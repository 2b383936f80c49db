//! Who sleeps, who wakes: the protocol that lets idle threads cost nothing and lets no work wait beside one.
//!
//! # Who is there
//!
//! *Workers* (and spares) are the pool's threads, *guests* are others that take part for a while. A thread is *awake* or
//! parked. Of the awake workers some *search*. A worker parks *free* (on the idle list; it can run anything) or *bound*
//! (in the middle of a wait; only that wait's end wakes it). The pool wants `target` awake threads, guests
//! included; a bound waiter that parks leaves a vacancy simply by not being awake.
//!
//! The word ([`Counts`]) says how many there are of each, and how many could be *had*: parked free, not yet started,
//! or a spare not yet started. The list behind the mutex says which. Threads that are on the list, or counted as not started, change
//! under the mutex together with the word; the other counts change by a single read-modify-write.
//!
//! # Publish
//!
//! Whoever makes work visible then calls [`Sleep::published`]: fence; read the word; if nobody searches, a thread is to be had and
//! there is room, get one ([`Sleep::recruit`]). The recruit is counted awake *and searching* by the recruiter, so
//! that a burst of publishers wakes one thread, not all.
//!
//! The owner of a ring does not do this at each push: it reads its own `limit`, which is 0 if anything happened since it
//! last looked.
//!
//! # Sleep
//!
//! Each event after which *nobody searches although there is room and someone to be had* is answered by whoever causes
//! it, in this order: change the word; set `limit = 0` on all rings; heavy fence; look at every queue once more; if there
//! is something, recruit (or stay awake oneself). The events: the last searcher parks; a busy thread parks bound; a guest
//! leaves; a worker steps back; a new thread calls its start hook. The last searcher that *finds* something recruits the next at once.
//!
//! # Helpers
//!
//! A thread that parks bound may be able to run some of the work that others make later: what descends from what it waits for. It registers
//! as a *helper*: the count of helpers goes up after the thread has been counted out of the word, and before its heavy fence and its own
//! last look. Whoever recruits, where free threads are neither parked nor to be started, gets [`Recruit::Helper`], finds a helper that may run
//! what is there, and claims it: that one is then counted awake *and searching*, like any recruit, so that one helper is on its way at a time.
//! It passes the search on when it has looked, whatever it has found.
//!
//! # Why no wake-up is lost
//!
//! Take a publisher and the last event before its work is visible. Either the publisher's read of the word comes after
//! the change, then it recruits. Or the change comes after that read; then (fence against fence, or the rings' light against heavy)
//! the event's last look sees the work. Without the look, or without either fence, both can miss:
//! `models::sleep_*` fail then.

use crate::sync::{AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering, fence, lock};
use crossbeam_utils::CachePadded;

mod counts;
mod parker;

#[cfg(all(test, loom))]
mod models;

use counts::{AWAITED, ONE_AVAILABLE, ONE_GUEST, ONE_SEARCHING, ONE_WORKER};
pub(crate) use counts::{Counts, Need};
pub(crate) use parker::Parker;

/// Threads that can be told apart in the word.
pub(crate) const MAX_THREADS: usize = 1 << 12;

/// The sleep state of one pool. See the module.
#[derive(Debug)]
pub(crate) struct Sleep {
    /// On lines of its own: written at each search and by each guest, beside what every spawn reads.
    awake: CachePadded<Awake>,
    /// How many threads the pool wants awake.
    target: AtomicUsize,
    idle: Mutex<Idle>,
}

#[derive(Debug)]
struct Awake {
    word: AtomicU64,
    /// How many threads are registered as helpers: see "Helpers" in the module.
    helpers: AtomicUsize,
}

/// Which threads are available, one by one. `Counts::available` is their number.
#[derive(Debug)]
struct Idle {
    /// Slots of workers that are parked free.
    workers: Vec<usize>,
    /// Slots of threads that are parked in the middle of a wait and may run anything.
    waiters: Vec<usize>,
    /// Slots of spares that are parked free.
    spares: Vec<usize>,
    /// Workers, by index, that have no thread yet. The last is started first.
    unstarted: Vec<usize>,
    /// Spares that may still be started.
    spares_left: usize,
    /// Workers, by index, that have a thread, or are about to.
    present: Vec<bool>,
    /// No thread parks any more.
    closed: bool,
    /// No thread starts any more.
    retired: bool,
    /// Threads are started by somebody else, each once: one that has left is not to be had.
    foreign: bool,
}

/// The thread that a publisher got. It is already counted awake and searching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a recruit that nobody wakes is counted searching for ever"]
pub(crate) enum Recruit {
    /// Nobody is needed, or nobody is to be had.
    None,
    /// Wake the thread of this slot.
    Unpark(usize),
    /// Start the worker of this index; report a failure with [`Sleep::start_failed`].
    StartWorker(usize),
    /// Start a spare; report a failure likewise.
    StartSpare,
    /// Only helpers and spares are left. Nothing is claimed yet: find a helper and [`Sleep::claim_helper`], or else, where a spare may be
    /// started, [`Sleep::recruit_spare`].
    Helper { or_spare: bool },
}

/// What a worker that wants to park has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Park {
    /// Park; somebody else keeps looking.
    Now,
    /// Look once more (announce, heavy fence, every queue), then park.
    AfterLook,
    /// The pool is closing: the thread is to be had again by starting it. Look once more; then leave, or
    /// [`Sleep::rejoin`].
    Leave,
    /// The pool has become smaller: the thread ends. Look once more, for somebody else.
    Surplus,
}

/// What a guest that has left must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Left {
    /// Look for work, and [`Sleep::recruit`] if there is some.
    pub(crate) vacancy: bool,
    /// Tell those who wait until the pool is idle.
    pub(crate) awaited: bool,
}

impl Idle {
    /// The worker of `index` has no thread any more: it can be started, where it is one of the pool still.
    fn absent(&mut self, index: usize, target: usize) -> bool {
        self.present[index] = false;
        let wanted = index < target && !self.retired && !self.foreign;
        if wanted {
            self.unstarted.push(index);
        }
        wanted
    }

    /// A spare has no thread any more.
    fn spare_back(&mut self) -> bool {
        if !self.retired {
            self.spares_left += 1;
        }
        !self.retired
    }
}

impl Sleep {
    pub(crate) fn new(target: usize, spares: usize) -> Self {
        Self::with(target, (0..target).rev().collect(), spares, false)
    }

    /// Of a pool whose threads are started by somebody else. See [`Sleep::adopt`].
    pub(crate) fn foreign(target: usize) -> Self {
        Self::with(target, Vec::new(), 0, true)
    }

    fn with(target: usize, unstarted: Vec<usize>, spares: usize, foreign: bool) -> Self {
        let available = (unstarted.len() + spares) as u64;
        Sleep {
            awake: CachePadded::new(Awake {
                word: AtomicU64::new(available * ONE_AVAILABLE),
                helpers: AtomicUsize::new(0),
            }),
            target: AtomicUsize::new(target),
            idle: Mutex::new(Idle {
                workers: Vec::new(),
                waiters: Vec::new(),
                spares: Vec::new(),
                unstarted,
                spares_left: spares,
                present: vec![false; target],
                closed: false,
                retired: false,
                foreign,
            }),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.unpack(self.awake.word.load(Ordering::Relaxed))
    }

    fn unpack(&self, word: u64) -> Counts {
        // ORDERING: Relaxed: whoever relies on it has fenced, or does so in `unpack_after`, against the heavy fence of a helper that parks.
        Counts::unpack(word, self.awake.helpers.load(Ordering::Relaxed))
    }

    /// The word as the caller has just changed it.
    fn unpack_after(&self, word: u64) -> Counts {
        if Counts::unpack(word, 0).available == 0 {
            // ORDERING: Dekker: {word; fence; helpers} here, {helpers; heavy fence; word} in a helper that parks.
            fence(Ordering::SeqCst);
        }
        self.unpack(word)
    }

    /// How many threads the pool wants awake: its number of workers.
    pub(crate) fn target(&self) -> usize {
        self.target.load(Ordering::Relaxed)
    }

    // ---- publishers ----

    /// After work was made visible: whom to wake.
    pub(crate) fn published(&self, need: Need) -> Recruit {
        // ORDERING: pairs with the fence in `heavy` between a sleeper's change of the word and its last look.
        fence(Ordering::SeqCst);
        if self.counts().wants(need, self.target()) {
            self.recruit(need)
        } else {
            Recruit::None
        }
    }

    /// Gets a thread if one is wanted and to be had.
    #[cold]
    pub(crate) fn recruit(&self, need: Need) -> Recruit {
        self.recruit_from(lock(&self.idle), need)
    }

    /// Gets a thread for what a look has found. Where detached tasks get none, there may be forks, which a look does not tell of then.
    pub(crate) fn recruit_for(&self, need: Need) -> Recruit {
        match self.recruit(need) {
            Recruit::None if need == Need::Worker => self.recruit(Need::Help),
            recruit => recruit,
        }
    }

    /// The same after a start has failed: only threads that are there. While it was being started the recruit counted as
    /// searching, and others may have relied on it.
    #[cold]
    pub(crate) fn recruit_parked(&self, need: Need) -> Recruit {
        let idle = lock(&self.idle);
        if idle.workers.is_empty()
            && idle.waiters.is_empty()
            && (idle.spares.is_empty() || !idle.unstarted.is_empty())
        {
            return if self.counts().helpers > 0 && self.still_wanted(Need::Help) {
                Recruit::Helper { or_spare: false }
            } else {
                Recruit::None
            };
        }
        self.recruit_from(idle, need)
    }

    fn recruit_from(&self, idle: MutexGuard<'_, Idle>, need: Need) -> Recruit {
        let spares_only =
            idle.workers.is_empty() && idle.waiters.is_empty() && idle.unstarted.is_empty();
        if spares_only && need == Need::Help && self.counts().helpers > 0 && self.still_wanted(need)
        {
            return Recruit::Helper { or_spare: true };
        }
        self.recruit_any(idle, need)
    }

    /// [`Recruit::Helper`] was the answer, and no helper may run what there is.
    #[cold]
    pub(crate) fn recruit_spare(&self) -> Recruit {
        self.recruit_any(lock(&self.idle), Need::Help)
    }

    fn recruit_any(&self, mut idle: MutexGuard<'_, Idle>, need: Need) -> Recruit {
        let change = ONE_WORKER
            .wrapping_add(ONE_SEARCHING)
            .wrapping_sub(ONE_AVAILABLE);
        let taken = self.awake.word.fetch_update(
            // ORDERING: AcqRel: the word is what events and publishers agree by.
            Ordering::AcqRel,
            Ordering::Acquire,
            |word| {
                Counts::unpack(word, 0)
                    .wants(need, self.target())
                    .then(|| word.wrapping_add(change))
            },
        );
        if taken.is_err() {
            return Recruit::None;
        }
        if let Some(slot) = idle.workers.pop() {
            Recruit::Unpark(slot)
        } else if let Some(slot) = idle.waiters.pop() {
            Recruit::Unpark(slot)
        } else if let Some(index) = idle.unstarted.pop() {
            idle.present[index] = true;
            Recruit::StartWorker(index)
        } else if let Some(slot) = idle.spares.pop() {
            Recruit::Unpark(slot)
        } else {
            idle.spares_left = idle
                .spares_left
                .checked_sub(1)
                .expect("heist: the sleep word counts a thread that is not there");
            Recruit::StartSpare
        }
    }

    /// The worker of `index` is to be started whether it is wanted or not (eager start, broadcast). False: it was.
    pub(crate) fn claim_worker(&self, index: usize) -> bool {
        let mut idle = lock(&self.idle);
        let Some(place) = idle.unstarted.iter().position(|&other| other == index) else {
            return false;
        };
        idle.unstarted.remove(place);
        idle.present[index] = true;
        self.add(ONE_WORKER + ONE_SEARCHING, ONE_AVAILABLE);
        true
    }

    /// Somebody else is to have a thread for the worker of `index`, or after all is not. Nobody may rely on it before it is there.
    pub(crate) fn expect(&self, index: usize, is_to_come: bool) {
        lock(&self.idle).present[index] = is_to_come;
    }

    /// The worker of `index` has got a thread from somebody else: counted awake and searching.
    pub(crate) fn adopt(&self, index: usize) {
        lock(&self.idle).present[index] = true;
        self.add(ONE_WORKER + ONE_SEARCHING, 0);
    }

    /// Whether the worker of `index` has a thread, or is about to.
    pub(crate) fn is_present(&self, index: usize) -> bool {
        lock(&self.idle).present[index]
    }

    /// A recruit's thread could not be started: it is to be had again.
    pub(crate) fn start_failed(&self, worker: Option<usize>) {
        let mut idle = lock(&self.idle);
        let back = match worker {
            Some(index) => idle.absent(index, self.target()),
            None => idle.spare_back(),
        };
        self.leave(back);
    }

    /// A searching thread is no more; it is to be had again, or not.
    fn leave(&self, back: bool) {
        let available = if back { ONE_AVAILABLE } else { 0 };
        self.add(available, ONE_WORKER + ONE_SEARCHING);
    }

    // ---- workers ----

    /// Whether the caller, an awake worker, is one too many.
    pub(crate) fn overcommitted(&self) -> bool {
        let word = self.awake.word.load(Ordering::Relaxed);
        Counts::unpack(word, 0).overcommitted(self.target())
    }

    /// Whether one more thread may be awake.
    pub(crate) fn has_room(&self, need: Need) -> bool {
        self.counts().has_room(need, self.target())
    }

    /// Whether the pool has become too small for this worker.
    pub(crate) fn is_surplus(&self, worker: Option<usize>) -> bool {
        worker.is_some_and(|index| index >= self.target())
    }

    /// A worker begins to search. Returns how many others do.
    pub(crate) fn search(&self) -> usize {
        self.unpack(self.add(ONE_SEARCHING, 0)).searching
    }

    /// A searcher found something. If it was the last one, it passes the search on.
    ///
    /// Where no other thread is awake it first looks, by `look`, whether there is anything more: nobody can make anything visible
    /// without reading the word, so that a light look is enough, if it asks the rings for attention as any last look does.
    pub(crate) fn found(&self, look: impl FnOnce() -> Option<Need>) -> Recruit {
        let after = self.turn_away();
        if !after.wants(Need::Help, self.target()) {
            return Recruit::None;
        }
        if after.workers + after.guests == 1 {
            // ORDERING: pairs with the fence in `published`.
            fence(Ordering::SeqCst);
            return look().map_or(Recruit::None, |need| self.recruit_for(need));
        }
        self.recruit(Need::Help)
    }

    /// A searcher has something else to do, before it looks at anything. True: as for [`Left::vacancy`].
    #[must_use]
    pub(crate) fn put_off(&self) -> bool {
        self.turn_away().wants(Need::Help, self.target())
    }

    /// One fewer searches.
    fn turn_away(&self) -> Counts {
        let before = self.add(0, ONE_SEARCHING);
        self.unpack_after(before.wrapping_sub(ONE_SEARCHING))
    }

    /// A searcher of `slot` found nothing and goes on the idle list.
    pub(crate) fn park_free(&self, slot: usize, worker: Option<usize>) -> Park {
        let mut idle = lock(&self.idle);
        let surplus = self.is_surplus(worker);
        if idle.closed || surplus {
            let back = match worker {
                Some(index) => idle.absent(index, self.target()),
                None => idle.spare_back(),
            };
            self.leave(back);
            return if surplus { Park::Surplus } else { Park::Leave };
        }
        match worker {
            Some(_) => idle.workers.push(slot),
            None => idle.spares.push(slot),
        }
        self.park_counted()
    }

    /// A searcher of `slot`, in the middle of a wait in which it may run anything, found nothing, and can be had until the wait
    /// ends. [`Park::Now`] or [`Park::AfterLook`].
    pub(crate) fn park_waiter(&self, slot: usize) -> Park {
        let mut idle = lock(&self.idle);
        idle.waiters.push(slot);
        self.park_counted()
    }

    /// The caller is on a list, and stops searching.
    fn park_counted(&self) -> Park {
        let before = self.add(ONE_AVAILABLE, ONE_WORKER + ONE_SEARCHING);
        let after = self.unpack(
            before
                .wrapping_add(ONE_AVAILABLE)
                .wrapping_sub(ONE_WORKER + ONE_SEARCHING),
        );
        if after.wants(Need::Worker, self.target()) {
            Park::AfterLook
        } else {
            Park::Now
        }
    }

    /// A thread that was about to leave saw work: counted again, searching. False: another one was started in its place.
    pub(crate) fn rejoin(&self, worker: Option<usize>) -> bool {
        let foreign = lock(&self.idle).foreign;
        match worker {
            Some(index) if foreign => {
                self.adopt(index);
                true
            }
            Some(index) => self.claim_worker(index),
            None => {
                let mut idle = lock(&self.idle);
                let Some(left) = idle.spares_left.checked_sub(1) else {
                    return false;
                };
                idle.spares_left = left;
                self.add(ONE_WORKER + ONE_SEARCHING, ONE_AVAILABLE);
                true
            }
        }
    }

    /// The last look found work: off the list again, searching. False: somebody recruited the caller meanwhile,
    /// whose token is on its way.
    pub(crate) fn unpark_self(&self, slot: usize) -> bool {
        let mut idle = lock(&self.idle);
        let idle = &mut *idle;
        for list in [&mut idle.workers, &mut idle.waiters, &mut idle.spares] {
            if let Some(place) = list.iter().position(|&other| other == slot) {
                list.remove(place);
                self.add(ONE_WORKER + ONE_SEARCHING, ONE_AVAILABLE);
                return true;
            }
        }
        false
    }

    /// The last look saw something: whether the looker should take it, or others are enough.
    pub(crate) fn still_wanted(&self, need: Need) -> bool {
        self.counts().wants(need, self.target())
    }

    /// Whether a thread would be got for anything.
    pub(crate) fn is_wanted(&self) -> bool {
        self.still_wanted(Need::Help) || self.still_wanted(Need::Worker)
    }

    /// A spare that has been parked for long. True: it is off the list, to be started again when there is need.
    pub(crate) fn dismiss_spare(&self, slot: usize) -> bool {
        let mut idle = lock(&self.idle);
        let Some(place) = idle.spares.iter().position(|&other| other == slot) else {
            return false;
        };
        idle.spares.remove(place);
        idle.spares_left += 1;
        true
    }

    /// Changes how many workers there are. Returns how many there were, and the slots to wake: they are counted awake and searching,
    /// and those of them that are too many end.
    pub(crate) fn set_target(&self, target: usize) -> (usize, Vec<usize>) {
        let mut idle = lock(&self.idle);
        let idle = &mut *idle;
        let before = self.target();
        if idle.foreign {
            return (before, Vec::new());
        }
        self.target.store(target, Ordering::Relaxed);
        if idle.present.len() < target {
            idle.present.resize(target, false);
        }
        if idle.retired {
            return (before, Vec::new());
        }
        // Those that are still there stay; the rest can be started.
        let fresh: Vec<usize> = (before..target)
            .filter(|&index| !idle.present[index])
            .collect();
        let started = idle.unstarted.len();
        idle.unstarted.retain(|&index| index < target);
        let gone = started - idle.unstarted.len();
        idle.unstarted.splice(0..0, fresh.iter().rev().copied());
        self.add(
            fresh.len() as u64 * ONE_AVAILABLE,
            gone as u64 * ONE_AVAILABLE,
        );
        let mut woken = Vec::new();
        if target < before {
            // The list does not know whose index is which; those that stay park again.
            woken = std::mem::take(&mut idle.workers);
            let count = woken.len() as u64;
            self.add(count * (ONE_WORKER + ONE_SEARCHING), count * ONE_AVAILABLE);
        }
        (before, woken)
    }

    /// No thread starts from now on. All have ended, but for those that are being started at this moment.
    pub(crate) fn retire(&self) {
        let mut idle = lock(&self.idle);
        if std::mem::replace(&mut idle.retired, true) {
            return;
        }
        let had = (idle.unstarted.len() + idle.spares_left) as u64;
        idle.unstarted.clear();
        idle.spares_left = 0;
        self.add(0, had * ONE_AVAILABLE);
    }

    /// Nobody parks from now on. Returns the slots to wake; they are counted awake and searching.
    pub(crate) fn close(&self) -> Vec<usize> {
        let mut idle = lock(&self.idle);
        idle.closed = true;
        let mut slots = std::mem::take(&mut idle.workers);
        slots.append(&mut idle.spares);
        let woken = slots.len() as u64;
        self.add(woken * (ONE_WORKER + ONE_SEARCHING), woken * ONE_AVAILABLE);
        slots
    }

    // ---- guests and bound waiters ----

    /// A thread outside the pool begins to take part.
    pub(crate) fn enter_guest(&self) {
        self.add(ONE_GUEST, 0);
    }

    /// It leaves.
    pub(crate) fn leave_guest(&self) -> Left {
        let before = self.add(0, ONE_GUEST);
        Left {
            vacancy: self.vacated(before, ONE_GUEST),
            awaited: before & AWAITED != 0,
        }
    }

    /// A thread in the middle of a wait parks. True: as for [`Left::vacancy`].
    #[must_use]
    pub(crate) fn park_bound(&self, guest: bool) -> bool {
        let unit = if guest { ONE_GUEST } else { ONE_WORKER };
        self.vacated(self.add(0, unit), unit)
    }

    /// Its wait is over.
    pub(crate) fn resume_bound(&self, guest: bool) {
        self.add(if guest { ONE_GUEST } else { ONE_WORKER }, 0);
    }

    /// Where there was room before, whoever made it has asked all rings, and nothing is new.
    fn vacated(&self, before: u64, unit: u64) -> bool {
        let after = self.unpack_after(before.wrapping_sub(unit));
        let before = self.unpack(before);
        let new = |need| after.wants(need, self.target()) && !before.has_room(need, self.target());
        new(Need::Help) || new(Need::Worker)
    }

    // ---- helpers ----

    /// Whether a run that begins must have its first push looked at: there may be a helper for it, and nobody searches.
    #[inline]
    pub(crate) fn wants_helpers(&self) -> bool {
        self.awake.helpers.load(Ordering::Relaxed) > 0 && self.still_wanted(Need::Help)
    }

    /// A thread that has parked bound can be woken for what it may run. To be called after [`Sleep::park_bound`], before its last look.
    pub(crate) fn register_helper(&self) {
        // ORDERING: Relaxed: the parker's heavy fence follows, against the fence of a publisher.
        self.awake.helpers.fetch_add(1, Ordering::Relaxed);
    }

    /// It has woken by itself, or somebody has claimed it.
    pub(crate) fn unregister_helper(&self) {
        self.awake.helpers.fetch_sub(1, Ordering::Relaxed);
    }

    /// A helper is to be woken, which parked as a guest or not: counts it awake and searching. False: it is no longer wanted.
    #[must_use]
    pub(crate) fn claim_helper(&self, guest: bool) -> bool {
        let unit = if guest { ONE_GUEST } else { ONE_WORKER };
        // ORDERING: AcqRel, as in `recruit_any`.
        let claimed = self
            .awake
            .word
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                self.unpack(word)
                    .wants(Need::Help, self.target())
                    .then(|| word.wrapping_add(unit + ONE_SEARCHING))
            });
        claimed.is_ok()
    }

    /// The claimed helper has woken by itself meanwhile. Others may have relied on it: the caller looks again, as after a search.
    pub(crate) fn unclaim_helper(&self, guest: bool) {
        let unit = if guest { ONE_GUEST } else { ONE_WORKER };
        self.add(0, unit + ONE_SEARCHING);
    }

    // ---- who waits for idleness ----

    /// Somebody waits until the pool is idle, or nobody does any more.
    pub(crate) fn set_awaited(&self, awaited: bool) {
        // ORDERING: AcqRel: of the guest that leaves and the one that begins to wait, the later one sees what the other did before.
        if awaited {
            self.awake.word.fetch_or(AWAITED, Ordering::AcqRel);
        } else {
            self.awake.word.fetch_and(!AWAITED, Ordering::AcqRel);
        }
    }

    /// Whether somebody does.
    pub(crate) fn is_awaited(&self) -> bool {
        // ORDERING: Relaxed: the caller has fenced, against the fence of whoever waits.
        self.awake.word.load(Ordering::Relaxed) & AWAITED != 0
    }

    /// Every other change of the word. Returns it as it was.
    fn add(&self, plus: u64, minus: u64) -> u64 {
        // ORDERING: AcqRel: who reads the change sees what came before it; the fences of `published` and `heavy` do the rest.
        self.awake
            .word
            .fetch_add(plus.wrapping_sub(minus), Ordering::AcqRel)
    }
}
