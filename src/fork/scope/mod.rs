//! `scope`: any number of tasks that borrow from outside the scope, and a wait for all of them.
//!
//! The *owner* of a scope is the thread that opens it and waits at its end: a thread of the pool, or a guest.
//!
//! A task takes one block of memory. The tasks that have not ended are counted in two parts. `own` is the number of spawns minus the number of ends on
//! the owner's thread, a plain integer. The scope's word holds the difference for all other threads, and whether the owner is parked. Either part can be
//! negative. Only the owner asks for the sum. While it asks, nothing changes `own`, so one atomic read of the word makes the sum exact. A task that the
//! owner runs itself costs no atomic read-modify-write except those of the deque. A worker that has taken a task counts what that spawns by
//! [credits](crate::pool::credits), and changes the word twice for each steal rather than twice for each task.
//!
//! - **Spawn**: count up; push; light fence; wake the owner if it is parked, because it may run the task.
//! - **End of a task**: count down. The last task to end wakes the owner if it is parked. The count is the task's last access to the scope.
//! - **Wait** (owner): pop tasks from its own deque down to where it stood when the scope began; take tasks from other deques and from the scope
//!   injector, and forks of tasks that run elsewhere; then move `own` into the word and set the parked bit, heavy fence, final re-check, park. The last
//!   three steps are in `pool/wait.rs` and `pool/park.rs`.
//!
//! Thus the owner of a scope is parked only if each of its tasks has begun, or if the thread that has spawned a task is about to wake the owner. The final
//! re-check finds a task that is pushed just before the bit is set. Without it, the owner could sleep beside this task while all workers are blocked on a
//! lock that the owner holds, and the program would stop.
//!
//! A scope *from outside* has no owner: [`ThreadPool::scope_on_workers`] opens it on a thread that does not take part in the pool. This thread
//! runs none of the tasks, unless the pool has no thread. The body of such a scope counts as a task, the word counts all tasks, and the last one sets a latch.

mod measured;
mod wait;

use super::join::after_panic;
use super::measured::MeasuredScope;
use crate::blocks::Blocks;
use crate::job::{Fate, Group, Task, TaskHeader};
use crate::latch::Latch;
use crate::lineage::Origin;
use crate::pool::worker::{self, Awaited};
use crate::pool::{Injector, Member, Registry, Slot, ThreadPool, context, global};
use crate::profile::tasks::OpenScope;
use crate::record::{Entry, Named, Recorder, SiteInfo, SiteWord};
use crate::sync::{Arc, AtomicI64, Mutex, OnceLock, Ordering, lock};
use crate::unwind::{self, Payload};
use crossbeam_utils::CachePadded;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

/// Bit of a scope's word: the owner is parked, or makes the final re-check before it parks.
const PARKED: i64 = 1;
/// Unit of a scope's word: one task.
const ONE: i64 = 2;

/// Spawns tasks that may borrow data that outlives `'scope`. See [`scope`](crate::scope()).
#[repr(C)]
pub struct Scope<'scope> {
    /// The first field, so that a pointer to it is one to the scope.
    group: Group,
    /// The number of spawns minus the number of ends on the owner's thread since it last parked. It has cache lines of its own, because the owner writes
    /// it for each task, other threads write the word, and all threads read the other fields.
    own: CachePadded<Cell<i64>>,
    /// The number of spawns minus the number of ends on other threads, and the credits that workers hold, in units of [`ONE`]; and [`PARKED`].
    word: CachePadded<AtomicI64>,
    /// The first panic of a task.
    panic: Mutex<Option<Payload>>,
    registry: *const Registry,
    /// The slot of the thread that waits; null in a scope from outside.
    owner: *const Slot,
    /// In a scope from outside, the latch that the last task sets.
    outside: Option<Latch>,
    /// The tasks of [`Scope::spawn_fifo`], by the worker that has spawned them.
    fifos: OnceLock<Box<[Fifo]>>,
    /// The position of the owner's deque when the scope began.
    base: usize,
    /// Where the tasks are measured, or null.
    measured: *const OpenScope<'static>,
    /// Makes the type invariant in `'scope`, so that the compiler neither lengthens nor shortens what tasks may borrow.
    marker: PhantomData<fn(&'scope ()) -> &'scope ()>,
}

// SAFETY: (1) only the thread that owns the slot `owner` accesses `own`. (2) Registry, slot and `measured` outlive the tasks and are `Sync`. (3) The other fields are
// `Sync`.
unsafe impl Sync for Scope<'_> {}
// SAFETY: (1) only the thread that owns the slot `owner` accesses `own`. (2) Registry, slot and `measured` outlive the tasks and are `Sync`. (3) The other fields are
// `Send`.
unsafe impl Send for Scope<'_> {}

/// The tasks that one worker has spawned with [`Scope::spawn_fifo`].
///
/// All entries for these tasks in deques hold the address of this header, so an entry needs no memory of its own.
#[repr(C)]
struct Fifo {
    header: TaskHeader,
    tasks: Injector,
}

/// Ends the oldest task of the [`Fifo`] that `entry` points to.
unsafe fn resolve_oldest(entry: NonNull<TaskHeader>, fate: Fate, blocks: Option<&Blocks>) -> bool {
    // SAFETY: (1) only `spawn_fifo` makes entries with this function, and each points to the header of a `Fifo`, which is its first field. (2) The fifo is
    // alive: its scope waits for the task that this entry takes. There are as many tasks as entries, so no other entry takes it.
    let fifo = unsafe { entry.cast::<Fifo>().as_ref() };
    let task = fifo.tasks.steal();
    task.expect("heist: as many tasks as entries")
        .resolve(fate, blocks)
}

/// Runs `body`, which may spawn tasks that borrow data from outside the scope, and waits for all of them.
///
/// The body runs on the calling thread. Each task gets the scope and may spawn further tasks. On a thread
/// that takes part in a pool, the scope uses that pool; elsewhere it uses the [`global`] one. Use
/// [`try_scope`](crate::try_scope()) for tasks that can fail, [`join`](crate::join) for two closures, and
/// [`ThreadPool::submit`] for tasks that outlive the caller.
///
/// # Panics
///
/// If the body or a task panics, the panic resumes in the caller after all tasks have ended. The body's
/// payload comes first, then that of the first task that panicked.
///
/// # Blocking
///
/// While the caller waits at the end of the scope, it runs tasks of this scope and work that descends from
/// them, and nothing else.
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
    match context::member() {
        Some(member) => scope_on(member, body),
        None => global().scope(body),
    }
}

impl ThreadPool {
    /// Opens a [`scope`](crate::scope()) on this pool.
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
        worker::as_part(self.registry(), |member| scope_on(member, body))
    }
}

impl ThreadPool {
    /// Opens a [`scope`](Self::scope) whose tasks run only on the pool's own threads.
    ///
    /// Use it for tasks that depend on the stack size, the thread-locals or the index of a worker. (Spare
    /// threads have no index.) The body runs on the calling thread, which does not take part in the pool and
    /// sleeps until the tasks have ended.
    ///
    /// On a thread that takes part in the pool already this is `scope` itself. If the pool cannot start any
    /// thread, the caller runs the tasks.
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
        let registry = self.registry();
        let inside = context::member_of(registry).is_some();
        if inside || worker::acts_for_pool_thread(registry) {
            self.scope(body)
        } else {
            scope_outside(registry, body)
        }
    }
}

pub(super) fn scope_on<'scope, R>(member: Member<'_>, body: impl FnOnce(&Scope<'scope>) -> R) -> R {
    member.registry.check_fork();
    let open = member.open_scope();
    let mut scope = Scope::new(open.origin, member.registry, 0);
    scope.owner = member.slot;
    scope.base = member.position();
    let measured = MeasuredScope::open();
    if let Some(measured) = &measured {
        scope.measured = measured.tasks();
    }
    let result = unwind::catch(|| body(&scope));
    if let Some(measured) = &measured {
        measured.body_ends();
    }
    if !scope.is_done() {
        worker::wait(member, &scope, true);
    }
    drop(measured);
    drop(open);
    scope.end(result)
}

/// Opens a scope on a thread that does not take part in the pool.
fn scope_outside<'scope, R>(registry: &Registry, body: impl FnOnce(&Scope<'scope>) -> R) -> R {
    registry.check_fork();
    let latch = Latch::new(1);
    // The body counts as a task.
    let mut scope = Scope::new(Origin::ROOT, registry, ONE);
    scope.outside = Some(latch.clone());
    let result = unwind::catch(|| body(&scope));
    scope.count_down(None);
    while !latch.is_set() {
        let deserted = registry.is_deserted();
        if deserted {
            worker::as_guest(registry, |member| scope.run_all(member));
        }
        // A task that another thread spawns meanwhile may find no thread either.
        worker::block(&latch, deserted.then(|| Instant::now() + DESERTED_NAP));
    }
    scope.end(result)
}

/// Begins the run of a task of a scope on the current thread's recorder.
#[inline(never)]
fn begin_recorded<'a>(site: &'static SiteInfo) -> Option<&'a Recorder> {
    let recorder = context::slot()?.recorder()?;
    recorder.short_run_begins(SiteWord::of(site));
    Some(recorder)
}

/// How long a scope from outside waits before it looks again for tasks to run, if the pool has no thread.
const DESERTED_NAP: Duration = Duration::from_millis(10);

/// Puts `value` into `place` if that is empty. Otherwise returns `value`, so that it is dropped outside the lock: its destructor is the user's.
pub(super) fn keep_first<T>(place: &Mutex<Option<T>>, value: T) -> Option<T> {
    let mut first = lock(place);
    match *first {
        None => first.replace(value),
        Some(_) => Some(value),
    }
}

impl<'scope> Scope<'scope> {
    #[inline]
    fn new(origin: Origin, registry: &Registry, word: i64) -> Self {
        Scope {
            group: Group::new(origin, context::token(), give_back),
            own: CachePadded::default(),
            word: CachePadded::new(AtomicI64::new(word)),
            panic: Mutex::new(None),
            registry,
            owner: ptr::null(),
            outside: None,
            fifos: OnceLock::new(),
            base: 0,
            measured: ptr::null(),
            marker: PhantomData,
        }
    }

    /// Returns the result of the body, or resumes the first panic, after all tasks have ended.
    fn end<R>(&self, result: Result<R, Payload>) -> R {
        match (result, lock(&self.panic).take()) {
            (Ok(result), None) => result,
            (Ok(result), Some(payload)) => after_panic(payload, || drop(result)),
            (Err(payload), second) => after_panic(payload, || drop(second)),
        }
    }

    /// Spawns a task, which runs on any thread of the pool or on the scope's own thread while that waits.
    ///
    /// The scope returns only after the task has ended and its captures are dropped. Use
    /// [`submit`](Self::submit) to get the task's result.
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
        if !self.measured.is_null() {
            return self.spawn_measured(f);
        }
        self.spawn_now(f);
    }

    #[inline]
    fn spawn_now<F>(&self, f: F)
    where
        F: FnOnce(&Scope<'scope>) + Send + 'scope,
    {
        let task = self.task(f);
        // SAFETY: (1) what `f` borrows outlives 'scope. (2) The scope, with its group, waits for the task. (3) The task does not unwind.
        self.queue(1, |group, blocks| unsafe { Task::new(group, blocks, task) });
    }

    /// Spawns a task that begins after all tasks that the same worker has spawned with this method into this
    /// scope.
    ///
    /// With [`spawn`](Self::spawn) a worker begins its newest task first.
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
        let member = self.here();
        let Some(fifo) = member.and_then(|member| self.fifo(member.slot)) else {
            // Tasks from outside are in one queue, in the order of their spawns.
            return self.spawn(f);
        };
        if self.measured.is_null() {
            self.queue_fifo(fifo, member, f);
        } else {
            self.queue_fifo(fifo, member, self.measured_task(f));
        }
    }

    fn queue_fifo<F>(&self, fifo: &Fifo, member: Option<Member<'_>>, f: F)
    where
        F: FnOnce(&Scope<'scope>) + Send + 'scope,
    {
        let task = self.task(f);
        // SAFETY: (1) what `f` borrows outlives 'scope. (2) The scope, with its group, waits for the task. (3) The task does not unwind.
        let task = unsafe { Task::new(self.group(), member.map(Member::blocks), task) };
        // Each task has one entry in the deque. An entry ends whichever task is then the oldest.
        fifo.tasks.push(task);
        // SAFETY: (1) the header is the first field of a `Fifo`, as `resolve_oldest` requires, and that function runs correctly on any thread. (2) The fifo holds a
        // task for this entry, which ends once. (3) The scope, which owns the fifo, waits for that task.
        self.queue(1, |_, _| unsafe {
            Task::from_header(NonNull::from(fifo).cast())
        });
    }

    /// Returns the queue of the worker that owns `slot`; `None` for guests and spares.
    fn fifo(&self, slot: &Slot) -> Option<&Fifo> {
        let index = slot.role().worker()?;
        let fifo = |_| Fifo {
            header: TaskHeader::new(resolve_oldest, self.group()),
            tasks: Injector::new(),
        };
        let fifos = self
            .fifos
            .get_or_init(|| (0..self.num_threads()).map(fifo).collect());
        fifos.get(index)
    }

    /// Returns how many workers the scope's pool has.
    pub fn num_threads(&self) -> usize {
        self.registry().sleep.target()
    }

    /// Spawns one task for each worker of the pool and passes it the worker's index.
    ///
    /// Each task runs on its worker, even while that worker waits for something else, as in
    /// [`broadcast`](ThreadPool::broadcast).
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
            let task = self.task(move |scope| f(scope, index));
            self.count_up(self.here());
            registry.count(|counters| &counters.submitted, 1);
            // SAFETY: (1) what `f` borrows outlives 'scope. (2) The scope, with its group, waits for the task. (3) The task does not unwind.
            let task = unsafe { Task::new(self.group(), None, task) };
            registry.deliver(index, task);
        }
    }

    /// Returns the function of a task: it runs or drops `f`, and counts the task down.
    #[inline]
    fn task<F>(&self, f: F) -> impl FnOnce(Fate) + Send + use<'scope, F>
    where
        F: FnOnce(&Scope<'scope>) + Send + 'scope,
    {
        let scope = self.ptr();
        move |fate| {
            let scope = scope;
            // SAFETY: the scope waits for this task, which counts itself down at the end of the closure.
            let scope = unsafe { scope.get() };
            if !fate.runs() {
                return scope.dropped(f);
            }
            let recorder = (fate == Fate::RunRecorded)
                .then(|| begin_recorded(Named::<F>::SCOPE))
                .flatten();
            let outcome = unwind::catch(|| f(scope));
            if let Some(recorder) = recorder {
                recorder.short_run_ends(outcome.is_err());
            }
            scope.ended(outcome);
        }
    }

    /// Queues the entry that `make` returns, and counts it as one task of the scope. Its end counts it down again: see [`ScopePtr::end_one`].
    ///
    /// In the pool's statistics the entry counts as `tasks` submitted tasks. What runs or drops the entry counts the ends of these tasks there.
    #[inline]
    pub(crate) fn queue(
        &self,
        tasks: u64,
        make: impl FnOnce(*const Group, Option<&Blocks>) -> Task,
    ) {
        let registry = self.registry();
        registry.check_fork();
        let member = context::member_of(registry);
        let by_owner = self.count_up(member);
        let task = make(self.group(), member.map(Member::blocks));
        match member {
            Some(member) => {
                member.counters.submitted.add(tasks);
                member.push_task(task);
            }
            None => {
                registry.end_idle_moment(None);
                registry.outside.own().submitted.add_shared(tasks);
                registry.inject_scope_task(task);
            }
        }
        // Store-load pair: {push; light; word} here, {word (in `announce`); heavy; final re-check} in the wait (`park_bound`, `park_open`). The light fence is in
        // `push_task`. In `inject_scope_task` it is the fence of `published`. The owner skips the read: it is not parked, and reading the word would only
        // fetch a cache line that other threads write.
        if !by_owner && self.word.load(Ordering::Relaxed) & PARKED != 0 {
            registry.wake(self.owner().id);
        }
    }

    /// Returns the address of the group, by which [`give_back`] finds the scope.
    #[inline]
    fn group(&self) -> *const Group {
        ptr::from_ref(self).cast()
    }

    /// Returns the scope's address, for a task that keeps it.
    pub(crate) fn ptr(&self) -> ScopePtr<'scope> {
        ScopePtr(self)
    }

    pub(crate) fn registry(&self) -> &Registry {
        // SAFETY: the thread that has opened the scope takes part in the pool or borrows its registry until the scope ends.
        unsafe { &*self.registry }
    }

    fn owner(&self) -> &Slot {
        // SAFETY: the pointer is not null, because `PARKED` is set only by an owner. Slots live as long as their registry.
        unsafe { &*self.owner }
    }

    /// Returns the current thread as a member of the scope's pool, or `None` if it does not take part in the pool. Such a thread can spawn tasks. It ends
    /// tasks only while the pool shuts down, when it drops what is queued.
    #[inline]
    fn here(&self) -> Option<Member<'_>> {
        context::member_of(self.registry())
    }

    /// Counts a task that has run. This is the task's last access to the scope.
    #[inline]
    fn ended(&self, outcome: Result<(), Payload>) {
        if let Err(payload) = outcome {
            return self.failed(payload);
        }
        let member = self.here();
        let registry = self.registry();
        registry.count_as(member, |counters| &counters.completed, 1);
        self.count_down(member);
    }

    /// Counts a task that has panicked. This is the task's last access to the scope.
    #[cold]
    fn failed(&self, payload: Payload) {
        let registry = self.registry();
        registry.count(|counters| &counters.failed, 1);
        unwind::drop_quietly(keep_first(&self.panic, payload));
        self.count_down(self.here());
    }

    /// Drops the closure of a task that does not run. This is the task's last access to the scope.
    #[cold]
    fn dropped(&self, f: impl Sized) {
        unwind::drop_quietly(f);
        let registry = self.registry();
        registry.count(|counters| &counters.cancelled, 1);
        registry.record(Entry::Cancelled { id: 0 });
        self.count_down(self.here());
    }
}

/// The [`GiveBack`](crate::job::GiveBack) of a scope: subtracts from its word.
///
/// # Safety
/// `group` is the [`group`](Scope::group) of a scope whose word still includes these `tasks`, so that the scope is alive. They are subtracted once.
unsafe fn give_back(group: *const Group, tasks: i64) {
    // SAFETY: the group is the first field of a scope, which is alive, as the caller asserts. The pointer is derived from the whole scope.
    let scope = unsafe { &*group.cast::<Scope<'static>>() };
    scope.subtract(tasks);
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

/// The address of a scope, as its tasks keep it.
pub(crate) struct ScopePtr<'scope>(*const Scope<'scope>);

// SAFETY: a scope is `Sync`.
unsafe impl Send for ScopePtr<'_> {}

impl<'scope> ScopePtr<'scope> {
    /// Returns another pointer to the scope.
    pub(crate) fn copy(&self) -> Self {
        ScopePtr(self.0)
    }

    /// Removes the lifetime, for places where it cannot be named.
    pub(crate) fn erased(self) -> ScopePtr<'static> {
        ScopePtr(self.0.cast())
    }

    /// # Safety
    /// The scope has not counted the caller's task down.
    pub(crate) unsafe fn get<'a>(&self) -> &'a Scope<'scope> {
        // SAFETY: the scope still waits for a task, as the caller asserts, so it is alive.
        unsafe { &*self.0 }
    }

    /// Ends a task that has not counted itself down.
    ///
    /// # Safety
    /// The scope has not counted the task down, this is called once for that task, and the calling thread takes part in the scope's pool or keeps it alive.
    pub(crate) unsafe fn end_one(self) {
        // SAFETY: the scope has not counted the task down, as the caller asserts.
        let scope = unsafe { self.get() };
        scope.count_down(scope.here());
    }
}
