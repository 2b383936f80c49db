//! The shared part of a pool: its slots, its queue, its threads.

use super::builder::{Config, automatic_size};
use super::context;
use super::gate::Gate;
use super::lanes::{Lanes, Priority};
use super::queue::Injector;
use super::slot::{Seat, Slot};
use super::threads::PoolThread;
use super::{threads, worker};
use crate::counters::{Count, Counters};
use crate::job::{Fate, Task};
use crate::sleep::{MAX_THREADS, Need, Park, Parker, Recruit, Sleep};
use crate::sync::{
    Arc, AtomicBool, AtomicPtr, AtomicUsize, MODEL, Mutex, OnceLock, Ordering, fence, lock, now,
};
use crate::sys::{self, PerProcess};
use crate::{barrier, ring, unwind};
use crossbeam_utils::CachePadded;
use std::collections::BTreeMap;
use std::ptr;
use std::sync::Weak;
use std::time::{Duration, Instant};

/// Everything that a pool's threads and handles share.
pub(crate) struct Registry {
    pub(crate) config: Config,
    /// Itself, for new threads and handles.
    pub(crate) this: Weak<Registry>,
    slots: SlotTable,
    /// Its number, of which there is one for each pool that ever was.
    pub(crate) id: u64,
    /// Detached tasks from outside, and those with a priority.
    pub(crate) lanes: Lanes,
    /// Who may queue such tasks.
    pub(crate) gate: Gate,
    /// Its threads have ended and no new one starts: what is left runs on its callers.
    retired: AtomicBool,
    /// The last handle is gone without waiting: to be closed when nothing is queued or runs. Then [`Sleep::is_awaited`] too.
    leaving: AtomicBool,
    /// Threads that wait until nothing is queued or runs. [`Sleep::is_awaited`] if there are any.
    idle_parkers: Mutex<Vec<Arc<Parker>>>,
    /// Tasks of scopes that are in no deque: spawned from outside, or met by somebody who may not run them.
    pub(crate) strays: Injector,
    /// Held by whoever runs detached tasks because no thread can be started.
    stranded: Mutex<()>,
    pub(crate) sleep: Sleep,
    threads: Mutex<Threads>,
    /// A guest slot that is free, most likely the one that was used last. Taken by swap.
    guest: CachePadded<AtomicPtr<Slot>>,
    /// How many [`super::ThreadPool`] handles there are.
    pub(crate) handles: AtomicUsize,
    /// How many of the pool's threads have been started and not ended.
    alive: AtomicUsize,
    /// Of those, spares.
    spares: AtomicUsize,
    /// Counts of events that belong to no slot.
    pub(crate) outside: Counters,
    pub(crate) start_failures: Count,
    born: Instant,
    forks: u64,
}

/// Who is where. Behind a mutex: looked at when threads start, end, or come from outside.
#[derive(Default)]
struct Threads {
    /// Slot of each worker index that was ever started.
    workers: Vec<Option<usize>>,
    /// Spare and guest slots without a thread.
    free_spares: Vec<usize>,
    free_guests: Vec<usize>,
    handles: Vec<threads::Handle>,
}

impl Registry {
    pub(crate) fn new(config: Config) -> Arc<Self> {
        barrier::flavour();
        let (threads, spares) = (config.num_threads, config.spare_threads);
        Arc::new_cyclic(|this| Registry {
            this: this.clone(),
            id: register(this),
            slots: SlotTable::default(),
            lanes: Lanes::new(),
            gate: Gate::new(config.queue_capacity, config.when_full),
            retired: AtomicBool::new(false),
            idle_parkers: Mutex::default(),
            strays: Injector::new(),
            stranded: Mutex::new(()),
            sleep: match config.foreign {
                false => Sleep::new(threads, spares),
                true => Sleep::foreign(threads),
            },
            leaving: AtomicBool::new(false),
            threads: Mutex::new(Threads::default()),
            guest: CachePadded::new(AtomicPtr::new(ptr::null_mut())),
            handles: AtomicUsize::new(1),
            alive: AtomicUsize::new(0),
            spares: AtomicUsize::new(0),
            outside: Counters::default(),
            start_failures: Count::default(),
            born: now(),
            forks: sys::fork_generation(),
            config,
        })
    }

    // ---- slots ----

    pub(crate) fn slot(&self, id: usize) -> &Slot {
        self.slots.get(id).expect("heist: no such slot")
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        (0..self.slots.len()).map(|id| self.slot(id))
    }

    pub(crate) fn num_slots(&self) -> usize {
        self.slots.len()
    }

    /// A free slot of this kind. A worker's index has one slot, for all threads that ever have the index.
    fn acquire(&self, seat: Seat) -> &Slot {
        let mut threads = lock(&self.threads);
        let used = match seat {
            Seat::Worker(index) => {
                if threads.workers.len() <= index {
                    threads.workers.resize(index + 1, None);
                }
                threads.workers[index]
            }
            Seat::Spare => threads.free_spares.pop(),
            Seat::Guest => threads.free_guests.pop(),
        };
        let id = used.unwrap_or_else(|| {
            // Under the lock: slots are added one at a time.
            self.slots.push(|id| Slot::new(id, seat, self))
        });
        if let Seat::Worker(index) = seat {
            threads.workers[index] = Some(id);
        }
        self.slot(id)
    }

    fn release(&self, slot: &Slot) {
        let mut threads = lock(&self.threads);
        match slot.seat {
            Seat::Worker(_) => {}
            Seat::Spare => threads.free_spares.push(slot.id),
            Seat::Guest => threads.free_guests.push(slot.id),
        }
    }

    /// A slot for a thread from outside.
    pub(crate) fn acquire_guest(&self) -> &Slot {
        // ORDERING: Acquire pairs with the Release in `release_guest`: the slot's owner side is handed over.
        let cached = self.guest.swap(ptr::null_mut(), Ordering::Acquire);
        // SAFETY: only slots of this registry are put there, and they live as long as it does.
        match unsafe { cached.as_ref() } {
            Some(slot) => slot,
            None => self.acquire(Seat::Guest),
        }
    }

    pub(crate) fn release_guest(&self, slot: &Slot) {
        let kept = self.guest.compare_exchange(
            ptr::null_mut(),
            ptr::from_ref(slot).cast_mut(),
            Ordering::Release,
            Ordering::Relaxed,
        );
        if kept.is_err() {
            self.release(slot);
        }
    }

    // ---- wake-ups ----

    /// After work was made visible: gets a thread for it if that is of use.
    pub(crate) fn published(&self, need: Need) {
        self.dispatch(self.sleep.published(need));
    }

    /// A searcher found something: somebody else searches on, if there is more.
    pub(crate) fn pass_on(&self) {
        self.dispatch(self.sleep.found(|| {
            self.request_all();
            self.look()
        }));
    }

    /// Wakes or starts the recruit.
    pub(crate) fn dispatch(&self, recruit: Recruit) {
        match recruit {
            Recruit::None => {}
            Recruit::Unpark(slot) => self.wake(slot),
            Recruit::StartWorker(index) => {
                // Whoever published goes on without: the failure is counted and the next publisher tries again.
                let _ = self.start(Seat::Worker(index));
            }
            Recruit::StartSpare => {
                let _ = self.start(Seat::Spare);
            }
        }
    }

    /// Wakes the thread of a slot, whatever it sleeps for.
    pub(crate) fn wake(&self, slot: usize) {
        self.count(|counters| &counters.wakeups, 1);
        self.slot(slot).parker.unpark();
    }

    /// Has a letter run by the worker of `index`, whose thread is started if it is not there; where that fails, by the caller.
    pub(crate) fn deliver(&self, index: usize, letter: Task) {
        if self.sleep.claim_worker(index) && self.start(Seat::Worker(index)).is_err() {
            letter.resolve(Fate::Run, None);
        } else {
            self.post(index, letter);
        }
    }

    /// Posts a letter to the worker of `index`, whose thread was started, and wakes it. Where there is none, runs it.
    fn post(&self, index: usize, letter: Task) {
        let id = loop {
            // A worker that another thread is just starting gets its slot in a moment.
            if let Some(id) = lock(&self.threads).workers.get(index).copied().flatten() {
                break id;
            }
            // After a shutdown there is none.
            if !self.sleep.is_present(index) {
                letter.resolve(Fate::Run, None);
                return;
            }
            crate::sync::yield_thread();
        };
        let slot = self.slot(id);
        slot.mail().post(letter);
        slot.parker.unpark();
        slot.mail().wake_elsewhere();
        // If that start has failed meanwhile, or the worker has left, nobody would read the letter.
        if self.sleep.claim_worker(index) {
            let _ = self.start(Seat::Worker(index));
        } else if !self.sleep.is_present(index) {
            self.read_mail(slot);
        }
    }

    /// Runs the letters of a worker that is not there.
    fn read_mail(&self, slot: &Slot) {
        while let Some(letter) = slot.mail().take() {
            letter.resolve(Fate::Run, None);
        }
    }

    /// Starts a thread that is already counted awake and searching.
    pub(crate) fn start(&self, seat: Seat) -> std::io::Result<()> {
        let slot = self.acquire(seat);
        // ORDERING: Relaxed, a count; the thread's end lowers it.
        self.count_alive(seat, 1);
        let started = if self.forked() {
            Err(std::io::Error::other("the pool is the parent process's"))
        } else {
            threads::start(self, slot)
        };
        match started {
            Ok(handle) => {
                self.count(|counters| &counters.wakeups, 1);
                let handles = &mut lock(&self.threads).handles;
                // Of threads that have ended, spares and surplus workers, the system would keep the stacks.
                threads::let_go(handles);
                handles.push(handle);
                Ok(())
            }
            Err(error) => {
                self.start_failures.add_shared(1);
                self.not_started(slot);
                Err(error)
            }
        }
    }

    /// There will be no thread on a slot that was acquired for one.
    fn not_started(&self, slot: &Slot) {
        self.count_alive(slot.seat, usize::MAX);
        self.release(slot);
        self.sleep.start_failed(slot.seat.worker());
        self.look_idle();
        // To be had again, and nobody searches: the next pushes are to try. Who relied on the thread meanwhile gets
        // another that is there.
        self.request_all();
        fence(Ordering::SeqCst);
        if let Some(need) = self.look() {
            self.dispatch(self.sleep.recruit_parked(need));
        }
        self.read_mail(slot);
        // Of two whose starts fail at the same time, the fences let at least one see that the other's is over.
        fence(Ordering::SeqCst);
        self.run_stranded();
    }

    /// The worker of `index`, for whom somebody else has a thread.
    pub(super) fn foreign_thread(&self, index: usize) -> PoolThread {
        let seat = Seat::Worker(index);
        let slot = self.acquire(seat);
        self.count_alive(seat, 1);
        self.sleep.expect(index, true);
        PoolThread::new(self, slot, index)
    }

    /// There will be none.
    pub(super) fn no_foreign_thread(&self, slot: &Slot, index: usize) {
        self.sleep.expect(index, false);
        self.ended(slot);
        self.read_mail(slot);
    }

    /// The current thread becomes worker 0. It does not look for work.
    pub(super) fn adopt_current_thread(&self) {
        let slot = self.acquire(Seat::Worker(0));
        if self.config.foreign {
            self.sleep.adopt(0);
        } else {
            self.sleep.claim_worker(0);
        }
        context::settle(slot);
        // Nobody knows when the thread has no use for its slot any more.
        std::mem::forget(self.this.upgrade());
        self.pass_on();
    }

    /// A pool thread, at its very end.
    pub(crate) fn ended(&self, slot: &Slot) {
        self.release(slot);
        self.count_alive(slot.seat, usize::MAX);
        self.look_idle();
    }

    /// Adds 1 or, as `usize::MAX`, takes it away.
    fn count_alive(&self, seat: Seat, one: usize) {
        // ORDERING: Relaxed, counts.
        self.alive.fetch_add(one, Ordering::Relaxed);
        if seat == Seat::Spare {
            self.spares.fetch_add(one, Ordering::Relaxed);
        }
    }

    pub(crate) fn alive_spares(&self) -> usize {
        self.spares.load(Ordering::Relaxed)
    }

    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    /// Asks every ring's owner to look for sleepers at its next push. Then whether there is anything now.
    ///
    /// This is the middle of the sleep protocol: the word was changed just before. `Err`: the kernel no longer orders
    /// anything; sleep with a time limit only.
    pub(crate) fn last_look(&self) -> Result<Option<Need>, Unordered> {
        self.request_all();
        self.count(|counters| &counters.barriers, 1);
        let ordered = barrier::heavy();
        match self.look() {
            None if !ordered => Err(Unordered),
            seen => Ok(seen),
        }
    }

    fn request_all(&self) {
        ring::announce(self.slots().map(|slot| &*slot.ring));
    }

    fn look(&self) -> Option<Need> {
        if self.has_detached() {
            Some(Need::Worker)
        } else if !self.strays.is_empty() || self.slots().any(Slot::has_help) {
            Some(Need::Help)
        } else {
            None
        }
    }

    /// The same where no other thread of the pool is awake.
    pub(crate) fn fill_quiet_vacancy(&self) {
        // ORDERING: pairs with the fence in `published`.
        fence(Ordering::SeqCst);
        if let Some(need) = self.look() {
            self.dispatch(self.sleep.recruit(need));
        }
    }

    /// Whether there is something that only a worker will run.
    fn has_detached(&self) -> bool {
        !self.lanes.is_empty() || self.slots().any(|slot| slot.detached.len() > 0)
    }

    /// Room was made and nobody searches: finds a thread for what there is to do. Returns whether its heavy fence was in force.
    pub(crate) fn fill_vacancy(&self) -> bool {
        match self.last_look() {
            Ok(Some(need)) => self.dispatch(self.sleep.recruit(need)),
            Ok(None) => {}
            Err(Unordered) => return false,
        }
        true
    }

    // ---- tasks from anywhere ----

    /// Queues a detached task: on a thread of the pool in its own deque, if nothing else is asked for. `slot`: the current thread's in this pool.
    #[inline]
    pub(crate) fn enqueue(&self, slot: Option<&Slot>, task: Task, priority: Priority) {
        match slot {
            Some(slot) if priority == Priority::Normal && slot.role() != Seat::Guest => {
                slot.push_detached(task);
            }
            _ => self.inject([task], priority),
        }
    }

    /// Queues detached tasks for any worker. One wake-up: whoever comes gets the next.
    pub(crate) fn inject(&self, tasks: impl IntoIterator<Item = Task>, priority: Priority) {
        for task in tasks {
            self.lanes.push(task, priority);
        }
        self.injected();
    }

    /// So many more blocks in the lanes may be dead. They go before they are more than what lives, though no worker comes by.
    pub(crate) fn bury(&self, blocks: u64, is_dead: impl Fn(&Task) -> bool) {
        if self.lanes.bury(blocks) {
            self.sweep_lanes(is_dead);
        }
    }

    #[cold]
    pub(super) fn sweep_lanes(&self, is_dead: impl Fn(&Task) -> bool) {
        self.lanes.sweep(is_dead);
        // What lives was in no queue for a moment.
        self.injected();
    }

    /// After pushes into the lanes.
    fn injected(&self) {
        // With its fence, which `run_stranded` and the look at `retired` rely on.
        self.published(Need::Worker);
        self.run_stranded();
        if self.retired.load(Ordering::Relaxed) {
            self.cancel_queued();
        }
    }

    /// How many detached tasks wait in queues. What was cancelled there does not count, though its block is still in the queue.
    pub(crate) fn queued(&self) -> usize {
        let swept: u64 = self
            .counters()
            .map(|counters| counters.swept_up.get())
            .sum();
        let left: u64 = self
            .counters()
            .map(|counters| counters.left_behind.get())
            .sum();
        let own: usize = self.slots().map(|slot| slot.detached.len()).sum();
        let dead = usize::try_from(left.saturating_sub(swept)).unwrap_or(usize::MAX);
        (self.lanes.len() + own).saturating_sub(dead)
    }

    /// All there are, the one for events elsewhere too.
    fn counters(&self) -> impl Iterator<Item = &Counters> {
        let slots = self.slots().map(|slot| &*slot.counters);
        slots.chain([&self.outside])
    }

    /// Drops what is queued and has not begun. Returns how much that was.
    pub(crate) fn cancel_queued(&self) -> usize {
        let mut dropped = 0;
        let mut drop_it = |task: Task| dropped += usize::from(task.resolve(Fate::Drop, None));
        while let Some(task) = self.lanes.steal() {
            drop_it(task);
        }
        for slot in self.slots() {
            while let Some(task) = slot.detached.steal() {
                drop_it(task);
            }
        }
        dropped
    }

    /// Queues a scope's task where its waiter will find it: one that a waiter has come across and may not run, or from outside.
    /// Its own waiter may have looked for it while it was in nobody's queue: then it looks again.
    pub(crate) fn stray(&self, task: Task) {
        // Before the push: afterwards the task, and its group, may be gone.
        let waiter = task.waiter();
        self.strays.push(task);
        self.published(Need::Worker);
        if let Some(waiter) = waiter {
            self.wake_for_task(waiter);
        }
    }

    /// After a task was queued again, and [`published`](Self::published): its waiter looks for it once more, if it sleeps.
    pub(crate) fn wake_for_task(&self, waiter: usize) {
        // Dekker: {push; fence (in `published`); flag} here, {flag; heavy; look} in a scope's `announce`.
        if self.slot(waiter).awaits_tasks() {
            self.wake(waiter);
        }
    }

    /// Whether the pool has no thread at the moment.
    pub(crate) fn is_deserted(&self) -> bool {
        // A thread that is just being started is counted awake before it is alive.
        self.alive() == 0 && self.sleep.counts().workers == 0
    }

    /// Runs detached tasks on the calling thread if the pool has no thread and can get none.
    pub(crate) fn run_stranded(&self) {
        // The caller has fenced, after its push or after its failure.
        let nobody = || self.is_deserted();
        while nobody() && !self.lanes.is_empty() {
            // Somebody else at it, or this thread further down, comes to what is queued now.
            let Ok(alone) = self.stranded.try_lock() else {
                return;
            };
            while nobody()
                && let Some(task) = self.lanes.steal()
            {
                worker::as_guest(self, |slot| worker::run_task(slot, task));
            }
            drop(alone);
            // Dekker: {lock; fence; lanes} here, {lanes; fence; lock} with whoever found it taken.
            fence(Ordering::SeqCst);
        }
    }

    // ---- the end ----

    /// Lets the threads run what is queued and end; waits for them unless the caller is one of them.
    pub(crate) fn shut_down(&self) {
        self.close();
        if !self.forked() && !self.is_here() {
            self.join_threads();
        }
    }

    /// No handle is left.
    pub(super) fn last_handle_gone(&self) {
        if self.config.wait_on_drop {
            return self.shut_down();
        }
        {
            let _no_waiter_forgets = lock(&self.idle_parkers);
            self.leaving.store(true, Ordering::Relaxed);
            self.sleep.set_awaited(true);
        }
        // Dekker: {leaving, awaited; fence; counts} here, {counts; fence; awaited} in `look_idle`.
        fence(Ordering::SeqCst);
        self.leave_if_idle();
    }

    fn leave_if_idle(&self) {
        if self.leaving.load(Ordering::Relaxed) && self.is_idle() {
            self.leaving.store(false, Ordering::Relaxed);
            self.close();
        }
    }

    /// Whether the current thread is one of the pool's, or acts as a part of it at the moment.
    pub(crate) fn is_here(&self) -> bool {
        let here = context::slot().is_some_and(|slot| ptr::eq(slot.registry(), self));
        here || context::home_in(self).is_some() || context::left() == self.id
    }

    /// Threads end when they find nothing more to do.
    pub(crate) fn close(&self) {
        for slot in self.sleep.close() {
            self.wake(slot);
        }
    }

    /// After `close`: waits for the threads, and runs what none can be started for.
    pub(crate) fn join_threads(&self) {
        // What runs here on the way may start another thread.
        loop {
            let handle = lock(&self.threads).handles.pop();
            match handle {
                Some(handle) => threads::join(handle),
                // Somebody else joins them, who shuts down too.
                None if self.alive() > 0 => drop(self.wait_threads(None)),
                None if self.lanes.is_empty() => break,
                None => {
                    fence(Ordering::SeqCst);
                    self.run_stranded();
                    crate::sync::yield_thread();
                }
            }
        }
    }

    /// After `close`: waits until the threads have ended, at most until `deadline`. Returns whether they have.
    pub(crate) fn wait_threads(&self, deadline: Option<Instant>) -> bool {
        let parker = Arc::new(Parker::default());
        self.add_idle_waiter(&parker);
        let over = loop {
            // Dekker: {awaited; fence; alive} here, {alive; fence; awaited} in `look_idle`.
            fence(Ordering::SeqCst);
            if self.alive() == 0 {
                break true;
            }
            if deadline.is_some_and(|deadline| now() >= deadline) {
                break false;
            }
            parker.park_until(deadline);
        };
        self.forget_idle_waiter(&parker);
        over
    }

    /// Changes the number of workers; 0: the automatic one. Returns how many there were.
    pub(crate) fn set_num_threads(&self, count: usize) -> usize {
        let most = MAX_THREADS - self.config.spare_threads;
        let count = match count {
            0 => automatic_size(),
            count => count,
        };
        let (before, woken) = self.sleep.set_target(count.clamp(1, most));
        for slot in woken {
            self.wake(slot);
        }
        // Where there is more room than before, whoever published has not asked for it.
        self.fill_vacancy();
        before
    }

    /// After `join_threads`: no thread starts any more.
    pub(crate) fn retire(&self) {
        self.sleep.retire();
        self.retired.store(true, Ordering::Relaxed);
        // Dekker: {retired; fence; lanes} here, {lanes; fence (in `published`); retired} in `inject`.
        fence(Ordering::SeqCst);
        self.cancel_queued();
        // One that was being started when it was too late for that.
        self.join_threads();
    }

    /// Whether nothing is queued or runs that is counted.
    fn is_idle(&self) -> bool {
        // Ends before beginnings: then the sums are equal only if nothing was under way.
        let ended: u64 = self.counters().map(Counters::ended).sum();
        let begun: u64 = self
            .counters()
            .map(|counters| counters.submitted.get())
            .sum();
        // An end is counted before the last step of its task.
        ended == begun && !self.slots().any(|slot| slot.running.is_some())
    }

    /// Waits until nothing is queued or runs.
    pub(crate) fn wait_idle(&self) {
        let parker = Arc::new(Parker::default());
        self.add_idle_waiter(&parker);
        loop {
            // Dekker: {awaited; fence; counts} here, {counts; fence; awaited} in `look_idle`.
            fence(Ordering::SeqCst);
            if self.is_idle() {
                break;
            }
            parker.park();
        }
        self.forget_idle_waiter(&parker);
    }

    fn add_idle_waiter(&self, parker: &Arc<Parker>) {
        let mut parkers = lock(&self.idle_parkers);
        parkers.push(Arc::clone(parker));
        self.sleep.set_awaited(true);
    }

    fn forget_idle_waiter(&self, parker: &Arc<Parker>) {
        let mut parkers = lock(&self.idle_parkers);
        parkers.retain(|other| !Arc::ptr_eq(other, parker));
        let leaving = self.leaving.load(Ordering::Relaxed);
        self.sleep.set_awaited(leaving || !parkers.is_empty());
    }

    /// A thread found nothing to do, or a task was ended by somebody else: those who wait for that look again.
    pub(crate) fn look_idle(&self) {
        fence(Ordering::SeqCst);
        if self.sleep.is_awaited() {
            self.tell_idle_waiters();
        }
    }

    #[cold]
    pub(crate) fn tell_idle_waiters(&self) {
        self.leave_if_idle();
        for parker in lock(&self.idle_parkers).iter() {
            parker.unpark();
        }
    }

    /// The stack of a pool's thread, in bytes, as far as is known.
    pub(crate) fn stack_size(&self) -> usize {
        threads::stack_size(self)
    }

    /// Whether this is a child process that has the pool's memory but not its threads.
    #[inline]
    pub(crate) fn forked(&self) -> bool {
        sys::forks() != self.forks
    }

    /// # Panics
    /// In a forked child.
    #[inline]
    pub(crate) fn check_fork(&self) {
        if self.forked() {
            forked_child();
        }
    }

    // ---- counts ----

    /// Adds to a count of the current thread's slot in this pool, or to the shared one.
    pub(crate) fn count(&self, which: impl Fn(&Counters) -> &Count, n: u64) {
        match context::slot() {
            Some(slot) if ptr::eq(slot.registry(), self) => which(&slot.counters).add(n),
            _ => which(&self.outside).add_shared(n),
        }
    }

    /// Nanoseconds since the pool was made, never 0.
    pub(crate) fn now_ns(&self) -> u64 {
        let nanos = (now() - self.born).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX).max(1)
    }

    /// A panic that no handle and no scope will see.
    pub(crate) fn lost_panic(&self, payload: unwind::Payload) {
        self.count(|counters| &counters.lost_panics, 1);
        match &self.config.panic_handler {
            Some(handler) => {
                if let Err(second) = unwind::catch(|| handler(payload)) {
                    unwind::drop_quietly(second);
                }
            }
            None => unwind::drop_quietly(payload),
        }
    }
}

/// The heavy fence was refused.
#[derive(Debug)]
pub(crate) struct Unordered;

/// How long a thread sleeps at most where fences are refused.
pub(crate) const UNORDERED_NAP: Duration = Duration::from_millis(1);

#[cold]
fn forked_child() -> ! {
    panic!(
        "heist: this thread pool was made before fork(), and its threads stayed in the parent: make a new pool in \
         the child, or call fork() before the first use of a pool"
    )
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Tasks that nobody ran (a forked child, or none): their wrappers resolve them.
        self.cancel_queued();
        pools().by_id.remove(&self.id);
    }
}

/// All pools, by number: for those who must not keep one alive, and rarely need it. Not of the loom seam: nothing waits for it.
fn pools() -> std::sync::MutexGuard<'static, Pools> {
    static POOLS: PerProcess<std::sync::Mutex<Pools>> = PerProcess::new();
    POOLS
        .get()
        .lock()
        .unwrap_or_else(|poison| poison.into_inner())
}

/// The pools of this process.
struct Pools {
    by_id: BTreeMap<u64, Weak<Registry>>,
    /// Those with lower numbers were made before a `fork()`.
    first: u64,
}

static NEXT_POOL: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

impl Default for Pools {
    fn default() -> Self {
        Pools {
            by_id: BTreeMap::new(),
            first: NEXT_POOL.load(Ordering::Relaxed),
        }
    }
}

fn register(registry: &Weak<Registry>) -> u64 {
    let mut pools = pools();
    let id = NEXT_POOL.fetch_add(1, Ordering::Relaxed);
    pools.by_id.insert(id, registry.clone());
    id
}

/// # Panics
/// If the pool of this number was made by the process of which this one is a forked child.
pub(crate) fn check_fork_of(id: u64) {
    let first = pools().first;
    if id < first {
        forked_child();
    }
}

/// Calls `f` with the pool of this number, if it is still there: at hand on a thread that takes part in it, else looked up.
pub(crate) fn with_pool<R>(id: u64, f: impl FnOnce(Option<&Registry>) -> R) -> R {
    match context::slot().map(Slot::registry) {
        Some(registry) if registry.id == id => f(Some(registry)),
        _ => f(pool(id).as_deref()),
    }
}

/// The pool of this number, if it is still there.
pub(crate) fn pool(id: u64) -> Option<Arc<Registry>> {
    let pool = pools().by_id.get(&id).cloned();
    pool?.upgrade()
}

/// Searches end here: on the idle list until recruited, or out.
#[must_use]
pub(crate) fn sleep_free(registry: &Registry, slot: &Slot) -> bool {
    let park = registry.sleep.park_free(slot.id, slot.seat.worker());
    registry.look_idle();
    match park {
        Park::Surplus => {
            // Others come to what is left here. From now on another thread may be started for this index, and own the slot.
            if !slot.mail().is_empty() {
                worker::as_guest(registry, |_| registry.read_mail(slot));
            }
            worker::on_fresh_ring(slot, |_| {
                if let Ok(Some(need)) = registry.last_look() {
                    registry.dispatch(registry.sleep.recruit(need));
                }
            });
            return false;
        }
        Park::Leave => {
            // Who published while we were counted searching has left it to us. The slot may be another thread's meanwhile.
            let look = worker::on_fresh_ring(slot, |_| registry.last_look());
            // Where there is no room, whoever makes some looks again: to stay would be to look in vain until then.
            let wanted = matches!(look, Ok(Some(need)) if registry.sleep.still_wanted(need));
            return (wanted || !slot.mail().is_empty())
                && registry.sleep.rejoin(slot.seat.worker());
        }
        Park::Now => {
            slot.counters.parks.add(1);
            if !park_idle(registry, slot) {
                return false;
            }
        }
        Park::AfterLook => match registry.last_look() {
            Ok(Some(need)) if registry.sleep.still_wanted(need) => {
                // A model must let whoever holds that work get on.
                if MODEL {
                    crate::sync::yield_thread();
                }
            }
            Ok(_) => {
                slot.counters.parks.add(1);
                if !park_idle(registry, slot) {
                    return false;
                }
            }
            Err(Unordered) => {
                slot.counters.parks.add(1);
                slot.parker.park_timeout(UNORDERED_NAP);
            }
        },
    }
    // Woken by a recruiter, who has counted us; or by mail or time, then we count ourselves; or work was seen.
    if !registry.sleep.unpark_self(slot.id) {
        // Recruited; if we had not parked, the token is still to come, and a later park takes it for nothing.
    }
    true
}

/// How long a spare that nobody needs stays.
const SPARE_KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Parks until recruited. False: the thread is a spare, and nobody has needed it for long.
fn park_idle(registry: &Registry, slot: &Slot) -> bool {
    if slot.seat != Seat::Spare {
        slot.parker.park();
        return true;
    }
    slot.parker.park_timeout(SPARE_KEEP_ALIVE);
    !registry.sleep.dismiss_spare(slot.id)
}

/// Slots by id: grows, never moves, never shrinks. Chunk `k` holds `8 << k`.
struct SlotTable {
    chunks: [OnceLock<Box<[OnceLock<Slot>]>>; 20],
    /// Slots with a lower id are there. Written under the registry's lock.
    len: AtomicUsize,
}

impl Default for SlotTable {
    fn default() -> Self {
        SlotTable {
            chunks: [const { OnceLock::new() }; 20],
            len: AtomicUsize::new(0),
        }
    }
}

impl SlotTable {
    fn place(id: usize) -> (usize, usize) {
        let chunk = (id / 8 + 1).ilog2() as usize;
        (chunk, id - 8 * ((1 << chunk) - 1))
    }

    fn len(&self) -> usize {
        // ORDERING: Acquire pairs with the Release in `push`: a slot below the length is there.
        self.len.load(Ordering::Acquire)
    }

    fn get(&self, id: usize) -> Option<&Slot> {
        let (chunk, place) = Self::place(id);
        self.chunks.get(chunk)?.get()?.get(place)?.get()
    }

    /// Not to be called by two threads at once.
    fn push(&self, slot: impl FnOnce(usize) -> Slot) -> usize {
        let id = self.len.load(Ordering::Relaxed);
        let (chunk, place) = Self::place(id);
        let chunk = self.chunks[chunk]
            .get_or_init(|| (0..8usize << chunk).map(|_| OnceLock::new()).collect());
        chunk[place].get_or_init(|| slot(id));
        self.len.store(id + 1, Ordering::Release);
        id
    }
}
