//! `scope`: any number of tasks that borrow from the caller's frame, waited for at its end.
//!
//! One block of memory per task. The tasks that have not ended are counted in two parts: `own` is spawns minus ends on the owner's
//! thread, a plain number; the scope's word holds spawns minus ends elsewhere, and whether the owner is parked. Either can be
//! negative. Only the owner asks for the sum, and while it asks nothing happens on its thread: so the one atomic word makes the
//! sum exact. Tasks that nobody else runs cost no atomic read-modify-write but the deque's own.
//!
//! - **spawn**: count up; push; light fence; if the owner is parked, wake it: it may run what it waits for.
//! - **end of a task**: count down; the last one wakes the owner if it is parked, and touches the scope no more.
//! - **wait** (owner): run own tasks from the own deque, above where it stood when the scope began; take them from other
//!   deques and from the queue, and forks of tasks that run elsewhere; then move `own` into the word and set the parked bit, heavy fence, look
//!   for tasks once more, park (the last three in `worker::wait`).
//!
//! So a scope's owner is parked only while each of its tasks has been begun by somebody (or its spawner is about to wake the owner).
//! Without the second look a task pushed just before the bit was set could lie unseen, and where every
//! worker is blocked on a lock that the owner holds, for ever.
//!
//! A scope *from outside* has no owner. Its body counts as a task, all are counted in the word, and the last one sets a latch.

use crate::blocks::Blocks;
use crate::job::{Fate, Group, Task};
use crate::latch::Latch;
use crate::lineage::Origin;
use crate::pool::worker::{self, Awaited, Look};
use crate::pool::{Injector, Registry, Slot, ThreadPool, context, global};
use crate::sync::{Arc, AtomicI64, Mutex, OnceLock, Ordering, lock};
use crate::unwind::{self, Payload};
use crossbeam_utils::CachePadded;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::time::{Duration, Instant};

/// In a scope's word: the owner is parked, or about to look once more and park.
const PARKED: i64 = 1;
/// In a scope's word: a task.
const ONE: i64 = 2;

/// Where tasks that borrow for `'scope` are spawned. See [`scope`].
pub struct Scope<'scope> {
    group: Group,
    /// Spawns minus ends on the owner's thread, until it parks. On lines of its own: the owner writes it at each task, while
    /// others write the word and all read the rest.
    own: CachePadded<Cell<i64>>,
    /// The rest of the tasks that have not ended, by [`ONE`]s, and [`PARKED`].
    word: CachePadded<AtomicI64>,
    /// The first panic of a task.
    panic: Mutex<Option<Payload>>,
    registry: *const Registry,
    /// The slot whose thread waits. Null: it waits outside.
    owner: *const Slot,
    /// Set when no task is left of a scope from outside.
    outside: Option<Latch>,
    /// What [`Scope::spawn_fifo`] has queued, by worker.
    fifos: OnceLock<Box<[Injector]>>,
    /// Where the owner's deque stood when the scope began.
    base: usize,
    /// Invariant in `'scope`: a scope for longer data is none for shorter, nor the other way round.
    marker: PhantomData<fn(&'scope ()) -> &'scope ()>,
}

// SAFETY: `own` is touched only by the thread that owns the slot `owner`; registry and slot outlive the scope and are `Sync`; the
// rest is too.
unsafe impl Sync for Scope<'_> {}
// SAFETY: likewise.
unsafe impl Send for Scope<'_> {}

/// Runs `body`, which may spawn tasks that borrow what outlives this call, and waits for them all.
///
/// The body runs on the calling thread. Tasks get the scope too and may spawn further ones. On a thread that takes part in
/// a pool it uses that pool, elsewhere the [`global`] one.
///
/// # Panics
/// With the body's panic, else with the first task's, after all tasks have ended.
///
/// # Blocking
/// While it waits, the thread runs tasks of this scope, and whatever those fork and spawn, wherever it lies; it runs nothing else.
///
/// ```
/// let mut left = 0;
/// let mut right = 0;
/// heist::scope(|s| {
///     s.spawn(|_| left = 1);
///     s.spawn(|_| right = 2);
/// });
/// assert_eq!(left + right, 3);
/// ```
pub fn scope<'scope, R>(body: impl FnOnce(&Scope<'scope>) -> R) -> R {
    match context::slot() {
        Some(slot) => scope_on(slot, body),
        None => global().scope(body),
    }
}

impl ThreadPool {
    /// [`scope`](crate::scope()), on this pool.
    ///
    /// ```
    /// let pool = heist::ThreadPool::new()?;
    /// let mut counts = [0; 3];
    /// pool.scope(|s| {
    ///     for (n, count) in counts.iter_mut().enumerate() {
    ///         s.spawn(move |_| *count = n);
    ///     }
    /// });
    /// assert_eq!(counts, [0, 1, 2]);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn scope<'scope, R>(&self, body: impl FnOnce(&Scope<'scope>) -> R) -> R {
        worker::as_part(self.registry(), |slot| scope_on(slot, body))
    }
}

impl ThreadPool {
    /// A [`scope`](Self::scope) whose tasks run on the pool's own threads only: for their stacks, their thread-locals, their indices (which spares lack). The
    /// body runs on the calling thread, which does not take part in the pool and waits at the end, asleep.
    ///
    /// On a thread that takes part in the pool already it is `scope` itself. A pool that cannot get any thread has the caller run the tasks.
    ///
    /// ```
    /// let pool = heist::ThreadPool::builder().num_threads(2).build()?;
    /// let mut index = None;
    /// pool.scope_on_workers(|s| {
    ///     assert_eq!(heist::current_thread_index(), None);
    ///     s.spawn(|_| index = heist::current_thread_index());
    /// });
    /// assert!(index < Some(2));
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn scope_on_workers<'scope, R>(&self, body: impl FnOnce(&Scope<'scope>) -> R) -> R {
        match context::slot() {
            Some(slot) if ptr::eq(slot.registry(), self.registry()) => scope_on(slot, body),
            _ => scope_outside(self.registry(), body),
        }
    }
}

fn scope_on<'scope, R>(slot: &Slot, body: impl FnOnce(&Scope<'scope>) -> R) -> R {
    slot.registry().check_fork();
    let open = slot.open_scope();
    let scope = Scope {
        group: Group::new(open.origin),
        own: CachePadded::new(Cell::new(0)),
        word: CachePadded::new(AtomicI64::new(0)),
        panic: Mutex::new(None),
        registry: slot.registry(),
        owner: slot,
        outside: None,
        fifos: OnceLock::new(),
        base: slot.position(),
        marker: PhantomData,
    };
    let result = unwind::catch(|| body(&scope));
    if !scope.is_done() {
        worker::wait(slot, &scope, true);
    }
    drop(open);
    end(&scope, result)
}

/// On a thread that does not take part in the pool.
fn scope_outside<'scope, R>(registry: &Registry, body: impl FnOnce(&Scope<'scope>) -> R) -> R {
    registry.check_fork();
    let latch = Latch::new(1);
    let scope = Scope {
        group: Group::new(Origin::ROOT),
        own: CachePadded::new(Cell::new(0)),
        // The body.
        word: CachePadded::new(AtomicI64::new(ONE)),
        panic: Mutex::new(None),
        registry,
        owner: ptr::null(),
        outside: Some(latch.clone()),
        fifos: OnceLock::new(),
        base: 0,
        marker: PhantomData,
    };
    let result = unwind::catch(|| body(&scope));
    scope.count_down(None);
    while !latch.is_set() {
        let deserted = registry.is_deserted();
        if deserted {
            worker::as_guest(registry, |slot| scope.run_all(slot));
        }
        // Whoever spawns meanwhile, from elsewhere, may get no thread either.
        worker::block(&latch, deserted.then(|| Instant::now() + DESERTED_NAP));
    }
    end(&scope, result)
}

/// How long a scope from outside waits for tasks to run, or for threads, where the pool has none.
const DESERTED_NAP: Duration = Duration::from_millis(10);

/// All tasks have ended: the scope's result, or its panic.
fn end<R>(scope: &Scope<'_>, result: Result<R, Payload>) -> R {
    match (result, lock(&scope.panic).take()) {
        (Ok(result), None) => result,
        (Ok(result), Some(payload)) => {
            unwind::drop_quietly(result);
            unwind::resume(payload)
        }
        (Err(payload), second) => {
            unwind::drop_quietly(second);
            unwind::resume(payload)
        }
    }
}

impl<'scope> Scope<'scope> {
    /// Spawns a task. It runs on any thread of the pool, or on the scope's own while that waits.
    ///
    /// The scope's [`scope`] returns only after the task has ended and dropped what it had captured.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// let count = AtomicUsize::new(0);
    /// heist::scope(|s| {
    ///     s.spawn(|s| {
    ///         count.fetch_add(1, Ordering::Relaxed);
    ///         s.spawn(|_| { count.fetch_add(1, Ordering::Relaxed); });
    ///     });
    /// });
    /// assert_eq!(count.into_inner(), 2);
    /// ```
    pub fn spawn<F>(&self, f: F)
    where
        F: FnOnce(&Scope<'scope>) + Send + 'scope,
    {
        let task = self.task(f);
        // SAFETY: what `f` borrows outlives 'scope, and the scope, with its group, waits for the task.
        self.queue(1, |group, blocks| unsafe { Task::new(group, blocks, task) });
    }

    /// [`spawn`](Self::spawn), but what one worker spawns so into this scope begins in the order in which it was spawned: the oldest first. By
    /// `spawn` a worker begins its newest task first.
    ///
    /// ```
    /// let order = std::sync::Mutex::new(Vec::new());
    /// let pool = heist::ThreadPool::builder().num_threads(1).build()?;
    /// pool.run(|| heist::scope(|s| {
    ///     for n in 0..3 {
    ///         let order = &order;
    ///         s.spawn_fifo(move |_| order.lock().unwrap().push(n));
    ///     }
    /// }));
    /// assert_eq!(order.into_inner().unwrap(), [0, 1, 2]);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn spawn_fifo<F>(&self, f: F)
    where
        F: FnOnce(&Scope<'scope>) + Send + 'scope,
    {
        self.registry().check_fork();
        let slot = self.here();
        let Some((index, fifo)) = slot.and_then(|slot| self.fifo(slot)) else {
            // From outside they are in one queue, in that order, anyway.
            return self.spawn(f);
        };
        let task = self.task(f);
        // SAFETY: as in `spawn`.
        let task = unsafe { Task::new(&self.group, slot.map(Slot::blocks), task) };
        // Each task has an entry in the deque that stands for the oldest of them. It counts for its own.
        fifo.push(task);
        let scope = self.handle();
        let entry = move |fate| {
            let scope = scope;
            // SAFETY: the scope waits for the task that this entry finds, which nobody else takes.
            let scope = unsafe { scope.get() };
            let fifo = scope.fifos.get().map(|fifos| &fifos[index]);
            let task = fifo.and_then(Injector::steal);
            let task = task.expect("heist: as many tasks as entries");
            task.resolve(fate, None);
        };
        // SAFETY: the entry borrows nothing but the scope, which waits.
        self.queue(1, |group, blocks| unsafe {
            Task::new(group, blocks, entry)
        });
    }

    /// The queue of the worker that the current thread is.
    fn fifo(&self, slot: &Slot) -> Option<(usize, &Injector)> {
        let index = slot.role().worker()?;
        let fifos = self
            .fifos
            .get_or_init(|| (0..self.num_threads()).map(|_| Injector::new()).collect());
        fifos.get(index).map(|fifo| (index, fifo))
    }

    /// How many workers the scope's pool has.
    pub fn num_threads(&self) -> usize {
        self.registry().sleep.target()
    }

    /// Spawns a task for each worker of the pool, which gets its index. As the closures of [`broadcast`](ThreadPool::broadcast), they run on
    /// that worker, also while it waits for something else.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// let sum = AtomicUsize::new(0);
    /// let pool = heist::ThreadPool::builder().num_threads(3).build()?;
    /// pool.scope(|s| s.spawn_broadcast(|_, index| { sum.fetch_add(index, Ordering::Relaxed); }));
    /// assert_eq!(sum.into_inner(), 0 + 1 + 2);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn spawn_broadcast<F>(&self, f: F)
    where
        F: Fn(&Scope<'scope>, usize) + Send + Sync + 'scope,
    {
        let registry = self.registry();
        registry.check_fork();
        let f = Arc::new(f);
        for index in 0..self.num_threads() {
            let f = Arc::clone(&f);
            let letter = self.task(move |scope| f(scope, index));
            self.count(self.here(), 1);
            registry.count(|counters| &counters.submitted, 1);
            // SAFETY: as in `spawn`.
            let letter = unsafe { Task::new(&self.group, None, letter) };
            registry.deliver(index, letter);
        }
    }

    /// What a task of the scope does, whatever becomes of it.
    #[inline]
    fn task<F>(&self, f: F) -> impl FnOnce(Fate) + Send + use<'scope, F>
    where
        F: FnOnce(&Scope<'scope>) + Send + 'scope,
    {
        let scope = self.handle();
        move |fate| {
            let scope = scope;
            // SAFETY: the scope waits until the task is counted down, below.
            let scope = unsafe { scope.get() };
            match fate {
                Fate::Run => scope.ended(unwind::catch(|| f(scope))),
                Fate::Drop => {
                    unwind::drop_quietly(f);
                    scope.dropped();
                }
            }
            scope.count_down(scope.here());
        }
    }

    /// Counts a task and queues it, once `make` has made it for this group. It stands for `tasks` in the pool's counts, counts their ends
    /// itself, and then calls [`ScopePtr::end_one`].
    #[inline]
    pub(crate) fn queue(
        &self,
        tasks: u64,
        make: impl FnOnce(*const Group, Option<&Blocks>) -> Task,
    ) {
        let registry = self.registry();
        registry.check_fork();
        let slot = context::slot().filter(|slot| ptr::eq(slot.registry(), registry));
        let by_owner = self.count(slot, 1).is_none();
        let task = make(&self.group, slot.map(Slot::blocks));
        match slot {
            Some(slot) => {
                slot.counters.submitted.add(tasks);
                slot.push_task(task);
            }
            None => {
                registry.outside.submitted.add_shared(tasks);
                registry.stray(task);
            }
        }
        // Dekker: {push; light (in `push_task`, or the fence of `published` in `stray`); word} here, {word in `announce`; heavy; look} in the
        // wait that parks next (`park_bound`, `park_open`).
        // The owner, at work, is not parked, and would only fetch the line that others write.
        if !by_owner && self.word.load(Ordering::Relaxed) & PARKED != 0 {
            registry.wake(self.owner().id);
        }
    }

    /// What a task takes along to find its scope.
    pub(crate) fn handle(&self) -> ScopePtr<'scope> {
        ScopePtr(self)
    }

    pub(crate) fn registry(&self) -> &Registry {
        // SAFETY: the owner takes part in the pool while the scope lives.
        unsafe { &*self.registry }
    }

    /// Runs what there is of the scope's tasks on a thread that is not its owner's.
    #[cold]
    fn run_all(&self, slot: &Slot) {
        let base = slot.position();
        loop {
            let own = (slot.position() > base).then(|| slot.pop_task()).flatten();
            let wanted = |task: &Task| task.is_of(&self.group);
            match own.or_else(|| worker::find_task(slot, wanted, |_| true, usize::MAX)) {
                Some(task) if wanted(&task) => worker::run_task(slot, task),
                Some(task) => self.registry().stray(task),
                None => return,
            }
        }
    }

    fn owner(&self) -> &Slot {
        // SAFETY: slots live as long as their registry.
        unsafe { &*self.owner }
    }

    /// The slot of the current thread, if it is one of this pool's. Tasks end on such threads, but for a closing pool's.
    #[inline]
    fn here(&self) -> Option<&Slot> {
        context::slot().filter(|slot| ptr::eq(slot.registry(), self.registry()))
    }

    #[inline]
    fn ended(&self, outcome: Result<(), Payload>) {
        let slot = self.here();
        let counters = slot.map_or(&self.registry().outside, |slot| &slot.counters);
        match (outcome, slot) {
            (Ok(()), Some(_)) => counters.completed.add(1),
            (Ok(()), None) => counters.completed.add_shared(1),
            (Err(payload), _) => {
                self.registry().count(|counters| &counters.failed, 1);
                self.keep_panic(payload);
            }
        }
    }

    #[cold]
    fn keep_panic(&self, payload: Payload) {
        let second = {
            let mut first = lock(&self.panic);
            match &*first {
                None => first.replace(payload),
                Some(_) => Some(payload),
            }
        };
        unwind::drop_quietly(second);
    }

    fn dropped(&self) {
        self.registry().count(|counters| &counters.cancelled, 1);
    }

    /// Counts tasks on the current thread. Returns the word as it is now, if it was touched.
    #[inline]
    fn count(&self, slot: Option<&Slot>, tasks: i64) -> Option<i64> {
        if slot.is_some_and(|slot| ptr::eq(slot, self.owner)) {
            self.own.set(self.own.get() + tasks);
            return None;
        }
        // ORDERING: AcqRel: Release publishes a task's effects to the Acquire in `is_done`. A spawn is
        // counted before its own task's end, so the sum is never too low.
        Some(self.word.fetch_add(tasks * ONE, Ordering::AcqRel) + tasks * ONE)
    }

    /// A task has ended. The last thing that it does with the scope.
    #[inline]
    fn count_down(&self, slot: Option<&Slot>) {
        if let Some(latch) = self.outside.clone() {
            if self.count(slot, -1) == Some(0) {
                latch.count_down();
            }
            return;
        }
        let (registry, owner) = (self.registry, self.owner);
        if self.count(slot, -1) == Some(PARKED) {
            // The scope may be gone; registry and slot are not: this thread takes part in the pool, or holds it.
            // SAFETY: as said.
            let (registry, owner) = (unsafe { &*registry }, unsafe { &*owner });
            registry.wake(owner.id);
        }
    }
}

impl Awaited for Scope<'_> {
    fn is_done(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `count`.
        self.own.get() * ONE + (self.word.load(Ordering::Acquire) & !PARKED) == 0
    }

    fn below(&self) -> Option<Origin> {
        Some(self.group.origin())
    }

    fn must_find_tasks(&self) -> bool {
        true
    }

    /// What this thread has spawned itself.
    fn help(&self, slot: &Slot, _: Look) -> bool {
        let any = worker::waits_any(self.registry());
        let mut helped = false;
        while slot.position() > self.base && (any || slot.mail().is_empty()) {
            if any && self.is_done() {
                break;
            }
            let Some(task) = slot.pop_task() else { break };
            if task.is_of(&self.group) {
                worker::run_in_place(slot, task);
                helped = true;
            } else if self.is_ours(&task) {
                worker::run_task(slot, task);
                helped = true;
            } else if any {
                worker::run_strangers_task(slot, task);
                helped = true;
            } else {
                // Spawned here, but nobody's descendant of ours.
                self.registry().stray(task);
            }
        }
        helped || self.is_done()
    }

    /// All others may be blocked on what this thread holds: it looks in any case.
    fn find_task(&self, slot: &Slot, _: Look) -> Option<Task> {
        worker::find_task(slot, |task| self.is_ours(task), |_| true, usize::MAX)
    }

    fn announce(&self, slot: &Slot) -> bool {
        let own = self.own.replace(0) * ONE;
        slot.set_awaits_tasks(true);
        // ORDERING: AcqRel: a count that comes later reads the bit.
        if self.word.fetch_add(own + PARKED, Ordering::AcqRel) + own == 0 {
            self.withdraw(slot);
            return false;
        }
        true
    }

    fn withdraw(&self, slot: &Slot) {
        self.word.fetch_and(!PARKED, Ordering::AcqRel);
        slot.set_awaits_tasks(false);
    }
}

impl Scope<'_> {
    /// Whether it is a task of this scope, or descends from one.
    fn is_ours(&self, task: &Task) -> bool {
        self.registry().descends(task.origin(), self.group.origin())
    }
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

/// Moves the scope's address into its tasks.
pub(crate) struct ScopePtr<'scope>(*const Scope<'scope>);

// SAFETY: a scope is `Sync`.
unsafe impl Send for ScopePtr<'_> {}

impl<'scope> ScopePtr<'scope> {
    /// The same scope once more.
    pub(crate) fn copy(&self) -> Self {
        ScopePtr(self.0)
    }

    /// Without the lifetime, to be kept where that cannot be named.
    pub(crate) fn erased(self) -> ScopePtr<'static> {
        ScopePtr(self.0.cast())
    }

    /// # Safety
    /// The scope has not counted the caller's task down.
    pub(crate) unsafe fn get<'a>(&self) -> &'a Scope<'scope> {
        // SAFETY: forwarded.
        unsafe { &*self.0 }
    }

    /// Ends a task that has not counted itself down.
    ///
    /// # Safety
    /// As for `get`, it is called once for that task, and the calling thread takes part in the scope's pool or keeps it alive.
    pub(crate) unsafe fn end_one(self) {
        // SAFETY: forwarded.
        let scope = unsafe { self.get() };
        scope.count_down(scope.here());
    }
}
