//! The recorder of one thread: events, and batches of short runs.

use super::event::{self, Entry, Name, Outcome, SiteInfo, SiteWord, Wait, Work};
use super::names::Names;
use super::places::{Place, Places};
use super::ring::{Copied, Ring};
use crate::clock::Clock;
use crate::sync::{Mutex, Ordering, hint::AtomicU64, lock};
use crate::sys::{self, TICKS_PER_MICROSECOND};
use std::cell::Cell;
use std::sync::Arc;

/// The most runs within one another whose begins are not written yet.
const LEVELS: usize = 16;

/// The most runs in a row after which the clock is not read, so that reading it adds less than a nanosecond to each.
const LONGEST_STRIDE: u64 = 64;

/// The least time between two samples of the lengths of a thread's queues.
const SAMPLE_TIME: u64 = 50 * TICKS_PER_MICROSECOND;

/// A name, and the place where its work is made. `None` stands for several places, which need not be noted.
type Noted = (Name, Option<Place>);

/// How many names each recorder knows the places of.
const CACHED: usize = 32;

/// The record of one thread.
pub(crate) struct Recorder {
    pub(super) ring: Ring,
    clock: Clock,
    names: Arc<Names>,
    places: Arc<Places>,
    /// Batches last at least as long as this, in ticks.
    resolution: AtomicU64,
    /// The number of the first event of the current recording.
    from: AtomicU64,
    /// Whether the thread runs the pool's work only, so that nothing of the user's comes between two runs.
    pub(super) is_pool_thread: bool,
    /// The thread that has written the first event.
    thread: Mutex<Option<Thread>>,
    state: State,
}

/// A thread of the system.
#[derive(Clone, Debug)]
pub(crate) struct Thread {
    pub(crate) id: u64,
    pub(crate) name: Option<String>,
}

/// What only the writer accesses.
#[derive(Default)]
struct State {
    /// The time of the last event, or a later one at which a batch begins.
    last: Cell<u64>,
    /// Whether the next run begins at the time `last`.
    is_fresh: Cell<bool>,
    /// Whether the begin of the next run is written at once, because it was stolen.
    is_stolen: Cell<bool>,
    /// Whether the thread searches for work between two runs.
    is_idle: Cell<bool>,
    /// Whether the thread is known.
    is_known: Cell<bool>,
    /// The number of runs whose begins were written and whose ends were not.
    depth: Cell<u32>,
    /// The runs in the current batch, and the site of the first one.
    count: Cell<u32>,
    site: Cell<SiteWord>,
    /// After how many more runs the clock is read.
    left: Cell<u64>,
    /// How many ticks a run took in the last batch.
    per_run: Cell<u64>,
    /// The runs whose begins are not written yet, the outermost first.
    open: Cell<usize>,
    sites: [Cell<SiteWord>; LEVELS],
    /// When the lengths of the queues are sampled next.
    sample_at: Cell<u64>,
    /// What was noted last, by a hash of the name.
    places: [Cell<Option<Noted>>; CACHED],
}

// SAFETY: (1) only the thread that owns the recorder accesses `state`: the methods that do so say that they are the writer's. (2) Every other field is `Sync`.
unsafe impl Sync for Recorder {}
// SAFETY: a recorder goes from one thread to another with its slot, or by a reference count that has come to one, both of which order the accesses.
unsafe impl Send for Recorder {}

impl Recorder {
    pub(super) fn new(
        capacity: usize,
        names: Arc<Names>,
        places: Arc<Places>,
        is_pool_thread: bool,
    ) -> Self {
        Recorder {
            ring: Ring::new(capacity),
            clock: Clock::get(),
            names,
            places,
            resolution: AtomicU64::new(0),
            from: AtomicU64::new(0),
            is_pool_thread,
            thread: Mutex::default(),
            state: State::default(),
        }
    }

    // ---- any thread ----

    /// Begins a recording: what was written before does not belong to it.
    pub(super) fn begin(&self, resolution: u64) {
        // ORDERING: Relaxed: a hint to the writer, and a number that only threads with the session's lock read.
        self.resolution.store(resolution, Ordering::Relaxed);
        self.from.store(self.ring.written(), Ordering::Relaxed);
    }

    /// The events of the current recording, numbered from its first one.
    pub(super) fn copy(&self) -> Copied {
        let from = self.from.load(Ordering::Relaxed);
        let copied = self.ring.read(from);
        Copied {
            first: copied.first - from,
            end: copied.end - from,
            ..copied
        }
    }

    pub(super) fn thread(&self) -> Option<Thread> {
        lock(&self.thread).clone()
    }

    /// The number of a name of the user, or else the site.
    #[cold]
    pub(crate) fn name_of(&self, name: Option<&Arc<str>>, site: SiteWord) -> Name {
        let number = name.and_then(|name| self.names.number(name));
        number.map_or(Name::Site(site), Name::User)
    }

    /// Writer: notes where work of this name is made.
    #[inline]
    pub(crate) fn note_place(&self, name: Name, place: Place) {
        let cached = &self.state.places[name.hash() % CACHED];
        match cached.get() {
            Some((known, at)) if known == name && at.is_none_or(|at| std::ptr::eq(at, place)) => {}
            _ => cached.set(Some((name, self.places.note(name, place)))),
        }
    }

    // ---- events, by the writer ----

    #[inline]
    fn now(&self) -> u64 {
        // Processors may disagree on the time a little, and the thread may have changed processors.
        self.clock.now().max(self.state.last.get())
    }

    #[inline]
    fn write(&self, time: u64, entry: Entry) {
        if !self.state.is_known.get() {
            self.introduce();
        }
        self.ring.write(entry.words(time));
    }

    /// Notes which thread writes.
    #[cold]
    fn introduce(&self) {
        self.state.is_known.set(true);
        *lock(&self.thread) = Some(Thread {
            id: sys::thread::own_id(),
            name: std::thread::current().name().map(str::to_owned),
        });
    }

    /// Writer: records an event that happens now.
    #[cold]
    #[inline(never)]
    pub(crate) fn put(&self, entry: Entry) {
        self.state.is_fresh.set(false);
        self.put_at(self.now(), entry);
    }

    fn put_at(&self, time: u64, entry: Entry) {
        self.close(time);
        self.write(time, entry);
        self.state.last.set(time);
    }

    /// The time of the begin of something that follows a run at once, or else now.
    fn fresh_time(&self) -> u64 {
        if self.state.is_fresh.take() {
            self.state.last.get()
        } else {
            self.now()
        }
    }

    /// Writer: a thread begins on this slot.
    #[cold]
    pub(crate) fn thread_begins(&self) {
        self.state.is_known.set(false);
        self.state.is_idle.set(false);
        self.put(Entry::ThreadBegin);
    }

    /// Writer: begins a run.
    #[cold]
    #[inline(never)]
    pub(crate) fn run_begins(&self, what: Work, id: u64, name: Name) {
        let time = self.fresh_time();
        let id = id as u32;
        self.put_at(time, Entry::RunBegin { what, id, name });
        self.state.is_stolen.set(false);
        self.state.depth.update(|depth| depth + 1);
    }

    /// Writer: ends the innermost run whose begin was written.
    #[cold]
    #[inline(never)]
    pub(crate) fn run_ends(&self, outcome: Outcome) {
        let state = &self.state;
        self.put_at(self.now(), Entry::RunEnd(outcome));
        state.depth.update(|depth| depth.saturating_sub(1));
        state
            .is_fresh
            .set(self.is_pool_thread && state.depth.get() == 0);
    }

    /// Writer: begins the run of a stolen fork.
    #[cold]
    #[inline(never)]
    pub(crate) fn fork_begins(&self, site: &'static SiteInfo) {
        self.run_begins(Work::Fork, 0, Name::Site(SiteWord::of(site)));
    }

    /// Writer: ends the run of a stolen fork.
    #[cold]
    #[inline(never)]
    pub(crate) fn fork_ends(&self, panicked: bool) {
        self.ends(panicked);
    }

    /// Writer: a task for which a thread waits has ended, by the run that has ended last if that was just now.
    #[cold]
    #[inline(never)]
    pub(crate) fn finished(&self, id: u32) {
        let is_fresh = self.state.is_fresh.get();
        self.put_at(self.fresh_time(), Entry::Finished { id });
        self.state.is_fresh.set(is_fresh);
    }

    /// Writer: the thread has taken work from the slot `victim`.
    #[cold]
    pub(crate) fn stole(&self, victim: usize, what: Work, forced: bool) {
        self.found_work();
        self.put(Entry::Steal {
            victim: victim as u32,
            what,
            forced,
        });
        self.state.is_fresh.set(true);
        self.state.is_stolen.set(true);
    }

    /// Writer: a free thread has nothing to run.
    #[cold]
    #[inline(never)]
    pub(crate) fn finds_nothing(&self) {
        if !self.state.is_idle.replace(true) {
            let time = self.fresh_time();
            let (on, id) = (Wait::Idle, 0);
            self.put_at(time, Entry::WaitBegin { on, id });
        }
    }

    /// Writer: ends what [`finds_nothing`](Self::finds_nothing) has begun.
    #[inline]
    pub(crate) fn found_work(&self) {
        if self.state.is_idle.take() {
            self.put(Entry::WaitEnd);
            self.state.is_fresh.set(true);
        }
    }

    /// Writer: records the lengths of the queues, if that was not done for a while. `lengths` returns those of the pool's queue, of the thread's own deques and of its ring.
    #[inline]
    pub(crate) fn sample(&self, lengths: impl FnOnce() -> (usize, usize, usize)) {
        let state = &self.state;
        let last = state.last.get();
        if last < state.sample_at.get() || state.count.get() > 0 || state.open.get() > 0 {
            return;
        }
        state.sample_at.set(last + SAMPLE_TIME);
        let (injector, deque, ring) = lengths();
        let sample = Entry::Depth {
            injector,
            deque,
            ring,
        };
        self.write(last, sample);
    }

    // ---- waits, by the writer ----

    /// Writer: the thread begins to wait, and may run something meanwhile, at first.
    #[cold]
    pub(crate) fn begins_to_help(&self) {
        let state = &self.state;
        if state.open.get() == 0 && state.count.get() == 0 {
            state.last.set(self.now());
        }
    }

    /// Writer: the thread ends a wait in which it has always found something to run.
    #[cold]
    pub(crate) fn has_helped(&self) {
        if self.state.open.get() == 0 && self.state.count.get() > 0 {
            let now = self.now();
            self.close(now);
            self.state.last.set(now);
        }
    }

    // ---- short runs, by the writer ----

    /// Writer: begins a run of a scope's task, which [`short_run_ends`](Self::short_run_ends) ends.
    #[inline]
    pub(crate) fn short_run_begins(&self, site: SiteWord) {
        let state = &self.state;
        let open = state.open.get();
        if state.is_stolen.get() || open == LEVELS {
            return self.run_begins(Work::ScopeTask, 0, Name::Site(site));
        }
        if state.count.get() == 0 && open == 0 {
            state.site.set(site);
        }
        state.sites[open].set(site);
        state.open.set(open + 1);
    }

    /// Writer: ends the innermost run that [`short_run_begins`](Self::short_run_begins) has begun.
    #[inline]
    pub(crate) fn short_run_ends(&self, panicked: bool) {
        let state = &self.state;
        let open = state.open.get();
        if open == 0 || panicked {
            return self.ends(panicked);
        }
        state.open.set(open - 1);
        state.count.update(|count| count + 1);
        let left = state.left.get();
        state.left.set(left.saturating_sub(1));
        if left <= 1 {
            self.read_clock();
        }
    }

    /// Writer: ends a run, which has panicked or returned. Its begin was written, or is now.
    #[cold]
    pub(crate) fn ends(&self, panicked: bool) {
        self.run_ends(if panicked {
            Outcome::Panicked
        } else {
            Outcome::Returned
        });
    }

    /// Ends the batch if it has lasted long enough. Decides when the clock is read again.
    #[cold]
    #[inline(never)]
    fn read_clock(&self) {
        let state = &self.state;
        let (now, count) = (self.now(), u64::from(state.count.get()));
        let (lasted, resolution) = (
            now - state.last.get(),
            self.resolution.load(Ordering::Relaxed),
        );
        let per_run = (lasted / count).max(1);
        state.per_run.set(per_run);
        let is_over =
            lasted >= resolution || count >= u64::from(event::MOST_IN_BATCH) - LONGEST_STRIDE;
        let wanted = if is_over {
            self.write_batch(now);
            state.last.set(now);
            resolution
        } else {
            resolution - lasted
        };
        state.left.set((wanted / per_run).clamp(1, LONGEST_STRIDE));
    }

    fn write_batch(&self, end: u64) {
        let state = &self.state;
        let batch = Entry::Batch {
            ticks: end - state.last.get(),
            count: state.count.take(),
            site: state.site.get(),
        };
        self.write(end, batch);
    }

    /// Writes the batch, and the begins of the runs that have not ended, before an event at the time `now`.
    #[inline]
    fn close(&self, now: u64) {
        if self.state.count.get() > 0 || self.state.open.get() > 0 {
            self.close_open(now);
        }
    }

    #[cold]
    fn close_open(&self, now: u64) {
        let state = &self.state;
        let (count, open) = (u64::from(state.count.get()), state.open.take());
        let mut begin = state.last.get();
        if count > 0 {
            // When the run began that has not ended was not measured. It follows runs that took as long as those of the last batch.
            begin = match (open, state.per_run.get()) {
                (0, _) => now,
                (_, 0) => begin + (now - begin) * count / (count + 1),
                (_, per_run) => now.min(begin + count * per_run),
            };
            self.write_batch(begin);
        }
        for site in &state.sites[..open] {
            let run = Entry::RunBegin {
                what: Work::ScopeTask,
                id: 0,
                name: Name::Site(site.get()),
            };
            self.write(begin, run);
        }
        state.depth.update(|depth| depth + open as u32);
        state.last.set(begin);
    }
}

#[cfg(test)]
mod tests;
