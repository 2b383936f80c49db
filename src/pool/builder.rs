//! How a pool is made.

use super::ThreadPool;
use super::gate::WhenFull;
use super::registry::Registry;
use super::slot::Seat;
use super::threads::PoolThread;
use crate::sleep::MAX_THREADS;
use crate::sync::OnceLock;
use crate::unwind::Payload;
use std::fmt;

pub(super) type Hook = Box<dyn Fn(usize) + Send + Sync>;
type Name = Box<dyn Fn(usize) -> String + Send + Sync>;
type PanicHandler = Box<dyn Fn(Payload) + Send + Sync>;

/// What a thread needs for itself, and something for the first closure, in bytes.
const MIN_STACK: usize = 64 << 10;

/// What a pool is told at its birth, checked.
pub(crate) struct Config {
    pub(super) num_threads: usize,
    pub(super) spare_threads: usize,
    pub(super) waits_any: bool,
    pub(super) thread_name: Option<Name>,
    pub(super) stack_size: Option<usize>,
    pub(super) on_thread_start: Option<Hook>,
    pub(super) on_thread_exit: Option<Hook>,
    pub(super) panic_handler: Option<PanicHandler>,
    pub(super) queue_capacity: Option<usize>,
    pub(super) when_full: WhenFull,
    pub(super) wait_on_drop: bool,
    /// Its threads are started by somebody else.
    pub(super) foreign: bool,
    /// Worker 0 is the thread that has built the pool. It is never gone, and takes what is queued when it waits or yields.
    pub(super) current_thread: bool,
}

/// When a pool's threads start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// Each when work first needs it. A pool that never gets work costs no thread.
    #[default]
    Lazy,
    /// All before `build` returns; one that cannot be started is an error.
    Eager,
}

/// What a thread may run while it waits for a fork, a scope or a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waits {
    /// What it waits for and what descends from that, wherever it lies; nothing else. A lock held across the wait is as safe as in a serial
    /// program.
    #[default]
    Own,
    /// Anything of the pool, as rayon does, also in destructors while a panic unwinds. A lock held across the wait may deadlock: an
    /// unrelated task that takes it can end up on top of its holder.
    Any,
}

/// Settings of a new [`ThreadPool`].
///
/// ```
/// let pool = heist::ThreadPool::builder()
///     .num_threads(2)
///     .thread_name(|index| format!("crunch-{index}"))
///     .build()?;
/// assert_eq!(pool.num_threads(), 2);
/// # Ok::<(), heist::BuildError>(())
/// ```
#[derive(Default)]
#[must_use = "a builder does nothing until `build` or `build_global`"]
pub struct ThreadPoolBuilder {
    num_threads: usize,
    spare_threads: Option<usize>,
    start: Start,
    waits: Waits,
    thread_name: Option<Name>,
    stack_size: Option<usize>,
    on_thread_start: Option<Hook>,
    on_thread_exit: Option<Hook>,
    panic_handler: Option<PanicHandler>,
    queue_capacity: Option<usize>,
    when_full: WhenFull,
    leave_on_drop: bool,
    use_current_thread: bool,
}

impl ThreadPoolBuilder {
    /// The defaults: automatic size, lazy start, waits that run only their own work.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many workers. If it is 0, the default, the environment variable `HEIST_NUM_THREADS` says how many.
    ///
    /// If the variable is unset, empty or 0, there is one worker for each processor that the affinity and the cgroup's quota leave to this
    /// process. If it is not a number, or above 4,096, the pool is not built: see [`build`](Self::build).
    pub fn num_threads(mut self, count: usize) -> Self {
        self.num_threads = count;
        self
    }

    /// The most threads that stand in for blocked workers, by default as many as there are workers; 0: none.
    ///
    /// A spare runs while a worker waits in a `join`, `scope` or `map` with nothing left that it may run.
    pub fn spare_threads(mut self, count: usize) -> Self {
        self.spare_threads = Some(count);
        self
    }

    /// When the threads start.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// What a waiting thread may run.
    pub fn waits(mut self, waits: Waits) -> Self {
        self.waits = waits;
        self
    }

    /// Names the workers' threads by their index; otherwise they are `heist-0`, `heist-1`, ...
    pub fn thread_name<F>(mut self, name: F) -> Self
    where
        F: Fn(usize) -> String + Send + Sync + 'static,
    {
        self.thread_name = Some(Box::new(name));
        self
    }

    /// Stack size of the pool's threads, in bytes, at least 64 KiB; by default std's. It says nothing about threads from outside, which run
    /// parts of what they call on their own stacks: see [`ThreadPool::run`].
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Called on each worker thread before its first work, as a part of the pool. Meanwhile other threads are started if there is work for
    /// them. A panic in it goes to the panic handler; the thread works on.
    pub fn on_thread_start<F>(mut self, hook: F) -> Self
    where
        F: Fn(usize) + Send + Sync + 'static,
    {
        self.on_thread_start = Some(Box::new(hook));
        self
    }

    /// Called on each worker thread after its last work. A panic in it goes to the panic handler.
    pub fn on_thread_exit<F>(mut self, hook: F) -> Self
    where
        F: Fn(usize) + Send + Sync + 'static,
    {
        self.on_thread_exit = Some(Box::new(hook));
        self
    }

    /// Gets the panics that no scope and no handle will see: those of [`ThreadPool::spawn`] and of the thread hooks. By default they are
    /// dropped (std's panic hook has printed them; those of tasks are counted in any case). Panics of the handler itself are dropped.
    pub fn panic_handler<F>(mut self, handler: F) -> Self
    where
        F: Fn(Payload) + Send + Sync + 'static,
    {
        self.panic_handler = Some(Box::new(handler));
        self
    }

    /// The most tasks of [`submit`](ThreadPool::submit), [`spawn`](ThreadPool::spawn) and streams that may be queued and not have
    /// begun; by default there is no limit. It binds threads outside the pool: a task's own are queued beyond it, and counted, since a worker
    /// that waited for its own pool would wait for itself. At least 1.
    pub fn queue_capacity(mut self, tasks: usize) -> Self {
        self.queue_capacity = Some(tasks.max(1));
        self
    }

    /// What happens to a task for which there is no room. See [`queue_capacity`](Self::queue_capacity).
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Whether dropping the last handle waits until what is queued has run and the threads have ended; by default it does.
    ///
    /// If not, the drop returns at once. The threads end when no task is queued or runs any more; until then the pool is what it was for
    /// the tasks.
    pub fn wait_on_drop(mut self, wait: bool) -> Self {
        self.leave_on_drop = !wait;
        self
    }

    /// The thread that builds the pool becomes its worker 0, for the rest of its life, without running the worker's loop: it takes part in
    /// what it calls (and while it waits there), and runs other tasks by [`yield_now`](crate::yield_now) only. Neither the
    /// thread hooks nor the thread's name apply to it. The pool's memory is never freed. What is queued when the last handle goes, and which no
    /// other worker takes, runs when the thread next waits or yields.
    pub fn use_current_thread(mut self, use_it: bool) -> Self {
        self.use_current_thread = use_it;
        self
    }

    /// Makes the pool.
    ///
    /// # Errors
    /// More than 4,096 workers and spares together; an invalid `HEIST_NUM_THREADS`, if [`num_threads`](Self::num_threads) is not set; with [`Start::Eager`], a thread that cannot be started: then those that could
    /// have ended again when this returns; with [`use_current_thread`](Self::use_current_thread), a thread that takes part in a pool
    /// already.
    pub fn build(self) -> Result<ThreadPool, BuildError> {
        let start = self.start;
        let here = self.use_current_thread;
        let pool = ThreadPool::from_new_registry(Registry::new(self.config(false)?));
        if here {
            pool.registry().adopt_current_thread();
        }
        if start == Start::Eager {
            pool.start_all()?;
        }
        Ok(pool)
    }

    /// Makes a pool that runs on threads of the caller's: `start` gets one [`PoolThread`] for each worker, in order, and must have a
    /// thread of its own call [`PoolThread::run`].
    ///
    /// For threads that need more than a name and a stack: scoped ones, those with priorities or thread-locals set up. The pool starts no thread
    /// by itself and no spare ones, and keeps its size.
    ///
    /// # Errors
    /// As [`build`](Self::build); `start`'s own. The threads that have begun end then, as when it panics; those that have not must be run or
    /// dropped by another thread, or by `start` itself: this waits for them.
    ///
    /// ```
    /// let mut threads = Vec::new();
    /// let pool = heist::ThreadPool::builder().num_threads(2).build_on(|thread| {
    ///     threads.push(std::thread::spawn(|| thread.run()));
    ///     Ok(())
    /// })?;
    /// assert_eq!(pool.join(|| 1, || 2), (1, 2));
    /// drop(pool);
    /// threads.into_iter().for_each(|thread| thread.join().unwrap());
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn build_on(
        mut self,
        mut start: impl FnMut(PoolThread) -> std::io::Result<()>,
    ) -> Result<ThreadPool, BuildError> {
        self.spare_threads = Some(0);
        let here = self.use_current_thread;
        let pool = ThreadPool::from_new_registry(Registry::new(self.config(true)?));
        let registry = pool.registry();
        if here {
            registry.adopt_current_thread();
        }
        for index in usize::from(here)..pool.num_threads() {
            start(registry.foreign_thread(index))
                .map_err(|source| BuildError::new(Kind::ThreadStart { index, source }))?;
        }
        Ok(pool)
    }

    /// Makes the pool that [`global`] and the free functions use.
    ///
    /// # Errors
    /// As [`build`](Self::build), or when there is a global pool already, made by an earlier call or by the first use.
    pub fn build_global(self) -> Result<(), BuildError> {
        if GLOBAL.get().is_some() {
            return Err(BuildError::new(Kind::GlobalExists));
        }
        GLOBAL
            .set(self.build()?)
            .map_err(|_| BuildError::new(Kind::GlobalExists))
    }

    fn config(self, foreign: bool) -> Result<Config, BuildError> {
        if self.use_current_thread && super::context::slot().is_some() {
            return Err(BuildError::new(Kind::ThreadInPool));
        }
        let num_threads = match self.num_threads {
            0 => automatic_size()?,
            count => count,
        };
        // An explicit sum that does not fit is an error; the default number of spares just makes room.
        let spare_threads = match self.spare_threads {
            Some(count) => count,
            None => num_threads.min(MAX_THREADS.saturating_sub(num_threads)),
        };
        if num_threads.saturating_add(spare_threads) > MAX_THREADS {
            return Err(BuildError::new(Kind::TooManyThreads {
                num_threads,
                spare_threads,
            }));
        }
        Ok(Config {
            num_threads,
            spare_threads,
            waits_any: self.waits == Waits::Any,
            thread_name: self.thread_name,
            stack_size: self.stack_size.map(|bytes| bytes.max(MIN_STACK)),
            on_thread_start: self.on_thread_start,
            on_thread_exit: self.on_thread_exit,
            panic_handler: self.panic_handler,
            queue_capacity: self.queue_capacity,
            when_full: self.when_full,
            wait_on_drop: !self.leave_on_drop,
            foreign,
            current_thread: self.use_current_thread,
        })
    }
}

impl fmt::Debug for ThreadPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPoolBuilder")
            .field("num_threads", &self.num_threads)
            .field("spare_threads", &self.spare_threads)
            .field("start", &self.start)
            .field("waits", &self.waits)
            .field("stack_size", &self.stack_size)
            .field("queue_capacity", &self.queue_capacity)
            .field("when_full", &self.when_full)
            .field("wait_on_drop", &!self.leave_on_drop)
            .field("use_current_thread", &self.use_current_thread)
            .finish_non_exhaustive()
    }
}

/// How many workers a pool has that was not told.
const VARIABLE: &str = "HEIST_NUM_THREADS";

/// The number of workers of a pool that was not told one.
pub(super) fn automatic_size() -> Result<usize, BuildError> {
    let Some(value) = std::env::var_os(VARIABLE) else {
        return Ok(processors());
    };
    // Text that is not Unicode is not a number either.
    let text = value.to_string_lossy();
    match (text.trim(), text.trim().parse()) {
        ("", _) | (_, Ok(0)) => Ok(processors()),
        (_, Ok(count @ 1..=MAX_THREADS)) => Ok(count),
        _ => Err(BuildError::new(Kind::Variable {
            value: text.into_owned(),
        })),
    }
}

/// How many processors the affinity and the cgroup's quota leave to this process.
pub(super) fn processors() -> usize {
    num_cpus::get().clamp(1, MAX_THREADS)
}

static GLOBAL: OnceLock<ThreadPool> = OnceLock::new();

/// The pool of the free functions. Made on first use, with the defaults, unless
/// [`build_global`](ThreadPoolBuilder::build_global) came first; it lasts as long as the process.
///
/// # Panics
/// If `HEIST_NUM_THREADS` is not valid; see [`num_threads`](ThreadPoolBuilder::num_threads).
///
/// ```
/// assert!(heist::global().num_threads() >= 1);
/// ```
pub fn global() -> &'static ThreadPool {
    GLOBAL.get_or_init(|| {
        ThreadPoolBuilder::new()
            .build()
            .unwrap_or_else(|error| panic!("heist: no global pool: {error}"))
    })
}

/// Whether that is the pool of the free functions.
pub(crate) fn is_global(registry: &Registry) -> bool {
    GLOBAL
        .get()
        .is_some_and(|pool| std::ptr::eq(pool.registry(), registry))
}

impl ThreadPool {
    fn start_all(&self) -> Result<(), BuildError> {
        let registry = self.registry();
        for index in 0..registry.config.num_threads {
            if registry.sleep.claim_worker(index) {
                registry
                    .start(Seat::Worker(index))
                    .map_err(|source| BuildError::new(Kind::ThreadStart { index, source }))?;
            }
        }
        Ok(())
    }
}

/// Why a pool could not be made.
#[derive(Debug)]
pub struct BuildError {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Variable {
        value: String,
    },
    TooManyThreads {
        num_threads: usize,
        spare_threads: usize,
    },
    ThreadStart {
        index: usize,
        source: std::io::Error,
    },
    GlobalExists,
    ThreadInPool,
}

impl BuildError {
    fn new(kind: Kind) -> Self {
        BuildError { kind }
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Variable { value } => write!(
                f,
                "{VARIABLE} is {value:?}: set it to a number from 1 to {MAX_THREADS}, or unset it for one thread for each processor"
            ),
            Kind::TooManyThreads {
                num_threads,
                spare_threads,
            } => write!(
                f,
                "{num_threads} workers and {spare_threads} spares are more than {MAX_THREADS} threads: ask for fewer \
                 (a pool needs about as many as there are cores)"
            ),
            Kind::ThreadStart { index, source } => write!(
                f,
                "thread {index} could not be started: {source}; ask for fewer threads or smaller stacks, or use \
                 Start::Lazy, which makes do with the threads it gets"
            ),
            Kind::ThreadInPool => write!(
                f,
                "this thread takes part in a pool already: call use_current_thread on a thread outside of pools"
            ),
            Kind::GlobalExists => write!(
                f,
                "the global pool exists already: call build_global once, before the first use of a free function"
            ),
        }
    }
}

/// The system's error where a thread could not be started; else one that says the same as this.
impl From<BuildError> for std::io::Error {
    fn from(error: BuildError) -> Self {
        match error.kind {
            Kind::ThreadStart { source, .. } => source,
            _ => std::io::Error::other(error),
        }
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            Kind::ThreadStart { source, .. } => Some(source),
            _ => None,
        }
    }
}
