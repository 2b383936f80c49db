//! The builder of pools, the global pool, and errors.

use super::config::{
    Config, MIN_STACK, Start, Timing, VARIABLE, Waits, Watcher, WhenFull, automatic_size,
};
use super::context;
use super::directory;
use super::registry::Registry;
use super::slot::Role;
use super::thread_pool::ThreadPool;
use super::threads::{PoolThread, UPCALLS};
use crate::record::TraceSettings;
use crate::sleep::MAX_THREADS;
use crate::sync::OnceLock;
use crate::sys::ThreadSettings;
use crate::unwind::Payload;
use std::fmt;

/// The settings of a new [`ThreadPool`].
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
    config: Config,
}

impl ThreadPoolBuilder {
    /// Creates a builder with the default settings: automatic size, lazy start, waits that run only their own
    /// work.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of workers. If it is 0, the default, the environment variable `HEIST_NUM_THREADS` sets
    /// it.
    ///
    /// If the variable is unset, empty or 0, there is one worker for each processor that the affinity and the
    /// cgroup quota leave to this process. If it is not a number, or above 4,096, [`build`](Self::build)
    /// fails.
    pub fn num_threads(mut self, count: usize) -> Self {
        self.config.num_threads = count;
        self
    }

    /// Sets the maximum number of spare threads, which stand in for blocked workers. The default is the
    /// number of workers, as far as the limit of 4,096 threads allows; 0 means none.
    ///
    /// A spare thread runs while a worker waits in a `join`, a scope or a map, or for a handle, and finds
    /// nothing that it may run. One also runs while a worker is in [`blocking`](crate::blocking()) or waits in
    /// [`block_on`](crate::block_on()).
    ///
    /// Without spare threads, do not make the only worker wait for something that depends on another task of the
    /// pool in a way that the pool cannot see: a promise that the task resolves, a channel, a permit of a
    /// semaphore or a place in an [`AsyncPool`](crate::AsyncPool) that it holds. The worker does not run that
    /// task, and waits forever.
    pub fn spare_threads(mut self, count: usize) -> Self {
        self.config.spare_threads = Some(count);
        self
    }

    /// Sets when the threads start. The default is [`Start::Lazy`].
    pub fn start(mut self, start: Start) -> Self {
        self.config.start = start;
        self
    }

    /// Sets what a waiting thread may run. The default is [`Waits::Own`].
    pub fn waits(mut self, waits: Waits) -> Self {
        self.config.waits = waits;
        self
    }

    /// Sets the names of the workers' threads, by index. The default names are `heist-0`, `heist-1` and so
    /// on.
    ///
    /// The closure is called on the thread that starts the worker's thread. If it panics, or if the name contains a nul byte, the thread does not
    /// start. The pool tries again when the worker is next needed.
    pub fn thread_name<F: Fn(usize) -> String + Send + Sync + 'static>(mut self, name: F) -> Self {
        self.config.thread_name = Some(Box::new(name));
        self
    }

    /// Sets the stack size of the pool's threads in bytes, at least 64 KiB. The default is that of the
    /// standard library.
    ///
    /// It does not apply to threads from outside, which run parts of what they call on their own stacks. To
    /// run a closure on a thread of the pool, use [`ThreadPool::run`].
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.config.stack_size = Some(bytes);
        self
    }

    /// Sets a closure that each worker thread calls before its first work, with its index, as part of the
    /// pool.
    ///
    /// While it runs, other threads are started if there is work for them. A panic of the closure goes to the
    /// panic handler, and the thread continues.
    pub fn on_thread_start<F: Fn(usize) + Send + Sync + 'static>(mut self, hook: F) -> Self {
        self.config.on_thread_start = Some(Box::new(hook));
        self
    }

    /// Sets a closure that each worker thread calls after its last work, with its index. A panic of the
    /// closure goes to the panic handler.
    ///
    /// Workers of a pool that shuts down stay until all of them are idle, and then leave together. The pool then refuses the tasks that the
    /// closure submits. Its joins, scopes, maps and broadcasts run, on this thread if on no other.
    pub fn on_thread_exit<F: Fn(usize) + Send + Sync + 'static>(mut self, hook: F) -> Self {
        self.config.on_thread_exit = Some(Box::new(hook));
        self
    }

    /// Sets a closure that gets the payloads of panics that no scope and no handle sees: those of
    /// [`ThreadPool::spawn`] and of the thread hooks.
    ///
    /// By default they are dropped, after the standard library's panic hook has printed the panics. Panics of tasks are
    /// counted in any case. Panics of the handler itself are dropped.
    pub fn panic_handler<F: Fn(Payload) + Send + Sync + 'static>(mut self, handler: F) -> Self {
        self.config.panic_handler = Some(Box::new(handler));
        self
    }

    /// Sets the maximum number of tasks of [`submit`](ThreadPool::submit), [`spawn`](ThreadPool::spawn) and streams that are queued and have not
    /// begun, at least 1. By default there is no limit.
    ///
    /// The limit applies to threads outside the pool. Tasks that the pool's own threads submit are counted, and queued even beyond the limit,
    /// because a worker that waited for its own pool would wait for itself.
    pub fn queue_capacity(mut self, tasks: usize) -> Self {
        self.config.queue_capacity = Some(tasks.max(1));
        self
    }

    /// Sets what happens to a task if the queue is full. The default is [`WhenFull::Block`]. See
    /// [`queue_capacity`](Self::queue_capacity).
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.config.when_full = when_full;
        self
    }

    /// Sets which tasks are measured for the histograms [`queue_wait`](crate::PoolStats::queue_wait) and
    /// [`run_time`](crate::PoolStats::run_time). The default is [`Timing::Sampled`].
    ///
    /// ```
    /// use heist::{ThreadPool, Timing};
    /// let pool = ThreadPool::builder().timing(Timing::All).build()?;
    /// let handles = pool.submit_many((0..1_000).map(|n| move || n));
    /// handles.into_iter().for_each(|handle| drop(handle.join()));
    /// pool.wait_idle();
    /// assert_eq!(pool.stats().run_time.count(), 1_000);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn timing(mut self, timing: Timing) -> Self {
        self.config.timing = timing;
        self
    }

    pub(crate) fn watcher(mut self, watcher: std::sync::Arc<dyn Watcher>) -> Self {
        self.config.watcher = Some(watcher);
        self
    }

    /// Sets whether dropping the last handle waits until the queued tasks have run and the threads have
    /// ended. The default is `true`.
    ///
    /// With `false`, the drop returns at once. The pool continues to serve its tasks, and the threads end
    /// when no task is queued or running any more.
    pub fn wait_on_drop(mut self, wait: bool) -> Self {
        self.config.leave_on_drop = !wait;
        self
    }

    /// Sets whether the thread that builds the pool becomes its worker 0, for the rest of its life. The default is `false`.
    ///
    /// The thread does not run the loop of a worker. It takes part in what it calls, also while it waits there, and runs other tasks only in
    /// [`yield_now`](crate::yield_now). The thread hooks and the thread's name do not apply to it. The memory of the pool is never freed.
    /// Tasks that are queued when the last handle is dropped, and that no other worker takes, run when the thread next waits or yields.
    pub fn use_current_thread(mut self, use_it: bool) -> Self {
        self.config.current_thread = use_it;
        self
    }

    /// Records what the pool's threads do, from the beginning, for [`ThreadPool::trace`].
    ///
    /// Without this, nothing is recorded, unless [`ThreadPool::start_trace`] is called or the variable `HEIST_TRACE`
    /// is set. See the [module `trace`](crate::trace).
    ///
    /// ```
    /// use heist::{ThreadPool, Trace};
    /// use std::time::Duration;
    /// let recent = Trace::last(Duration::from_secs(10)).max_bytes(1 << 20);
    /// let pool = ThreadPool::builder().trace(recent).build()?;
    /// pool.submit(|| 6 * 7).join().unwrap();
    /// assert!(pool.trace().events().count() > 0);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn trace(mut self, settings: TraceSettings) -> Self {
        self.config.trace = Some(settings);
        self
    }

    /// Creates the pool.
    ///
    /// # What the threads inherit
    ///
    /// On Linux, each thread of the pool starts with the processor affinity, the scheduling policy and priority, the niceness and the signal
    /// mask that the thread which calls `build` has at that moment. It does not matter which thread starts it later: by default a thread starts
    /// when work first needs it, often in the middle of a call on another thread. Settings that the system does not permit are left
    /// unchanged. For example, without privilege a thread that was started by a nicer one stays as nice. A thread can change its own settings in
    /// [`on_thread_start`](Self::on_thread_start). The threads of the [`global`] pool, if it is created on first use, inherit from the thread
    /// that uses it first. On other systems a thread inherits from the thread that starts it.
    ///
    /// # Errors
    ///
    /// Returns an error
    ///
    /// - if there are more than 4,096 workers and spares together;
    /// - if `HEIST_NUM_THREADS` is invalid and [`num_threads`](Self::num_threads) is not set;
    /// - with [`Start::Eager`], if a thread cannot be started. The threads that were started have ended when this returns;
    /// - with [`use_current_thread`](Self::use_current_thread), if the current thread already takes part in a pool.
    pub fn build(self) -> Result<ThreadPool, BuildError> {
        let pool = self.make()?;
        let registry = pool.registry();
        if registry.config.start == Start::Eager {
            for index in 0..registry.config.num_threads {
                if registry.sleep.claim_worker(index) {
                    let started = registry.start(Role::Worker(index));
                    started.map_err(|source| Kind::ThreadStart { index, source })?;
                }
            }
        }
        Ok(pool)
    }

    /// Creates a pool that runs on threads provided by the caller.
    ///
    /// This is for threads that need more than a name and a stack, such as scoped threads, or threads with a priority or prepared thread-locals.
    /// The pool starts no threads itself, has no spare threads, and cannot change its size. `start` is called once for each worker.
    ///
    /// # Errors
    ///
    /// Returns an error where [`build`](Self::build) does, and the first error of `start`. If `start` fails or panics, the threads that have begun
    /// end. Each [`PoolThread`] that has not begun must be run or dropped by another thread or by `start`, because this function waits for them.
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
        self.config.spare_threads = Some(0);
        self.config.caller_threads = true;
        let pool = self.make()?;
        let registry = pool.registry();
        for index in usize::from(registry.config.current_thread)..pool.num_threads() {
            start(registry.caller_thread(index))
                .map_err(|source| Kind::ThreadStart { index, source })?;
        }
        Ok(pool)
    }

    /// Creates the pool that [`global`] and the free functions use.
    ///
    /// # Errors
    ///
    /// Returns an error where [`build`](Self::build) does, and if there is a global pool already, made by an
    /// earlier call or by the first use.
    pub fn build_global(self) -> Result<(), BuildError> {
        let exists = || BuildError::from(Kind::GlobalExists);
        if GLOBAL.get().is_some() {
            return Err(exists());
        }
        GLOBAL.set(self.build()?).map_err(|_| exists())
    }

    /// Resolves the defaults and creates the pool. It has no thread yet, except the current one if that is to be a worker.
    fn make(self) -> Result<ThreadPool, BuildError> {
        let mut config = self.config;
        if config.current_thread && context::slot().is_some() {
            return Err(Kind::ThreadInPool.into());
        }
        if config.num_threads == 0 {
            config.num_threads = automatic_size().map_err(|value| Kind::Variable { value })?;
        }
        let num_threads = config.num_threads;
        // An explicit sum that does not fit is an error; the default number of spares just makes room.
        let room = MAX_THREADS.saturating_sub(num_threads);
        let spare_threads = config.spare_threads.unwrap_or(num_threads.min(room));
        if num_threads.saturating_add(spare_threads) > MAX_THREADS {
            return Err(BuildError::from(Kind::TooManyThreads {
                num_threads,
                spare_threads,
            }));
        }
        config.spare_threads = Some(spare_threads);
        config.stack_size = config.stack_size.map(|bytes| bytes.max(MIN_STACK));
        config.thread_settings = Some(ThreadSettings::of_current_thread());
        let trace = config.trace.take();
        let registry = directory::register(|id| Registry::new(id, config, &UPCALLS));
        if let Some(settings) = trace {
            registry.start_recording(settings, None);
        }
        crate::POOL_MADE(&registry);
        if registry.config.current_thread {
            registry.adopt_current_thread();
        }
        Ok(ThreadPool { registry })
    }
}

impl fmt::Debug for ThreadPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPoolBuilder")
            .field("num_threads", &self.config.num_threads)
            .field("spare_threads", &self.config.spare_threads)
            .field("start", &self.config.start)
            .field("waits", &self.config.waits)
            .field("stack_size", &self.config.stack_size)
            .field("queue_capacity", &self.config.queue_capacity)
            .field("when_full", &self.config.when_full)
            .field("wait_on_drop", &!self.config.leave_on_drop)
            .field("use_current_thread", &self.config.current_thread)
            .field("trace", &self.config.trace)
            .finish_non_exhaustive()
    }
}

static GLOBAL: OnceLock<ThreadPool> = OnceLock::new();

/// Returns the global pool, which the free functions use on threads that take part in no pool.
///
/// It is created on first use with the default settings, unless
/// [`build_global`](ThreadPoolBuilder::build_global) was called before, and lives as long as the process.
///
/// # Panics
///
/// Panics if `HEIST_NUM_THREADS` is invalid. See [`num_threads`](ThreadPoolBuilder::num_threads).
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

/// Calls `f` with the pool that the free functions use: that in which the current thread takes part, or else the [`global`] one.
pub(crate) fn with_current<R>(f: impl FnOnce(&Registry) -> R) -> R {
    match context::member() {
        Some(member) => f(member.registry),
        None => f(global().registry()),
    }
}

/// Whether this is the [`global`] pool.
pub(crate) fn is_global(registry: &Registry) -> bool {
    let global = GLOBAL.get();
    global.is_some_and(|pool| pool.registry().id == registry.id)
}

/// # Building a pool
impl ThreadPool {
    /// Creates a pool with the default settings, which has one worker for each core that the process may use.
    ///
    /// # Errors
    ///
    /// Returns an error if `HEIST_NUM_THREADS` is invalid. See [`ThreadPoolBuilder::num_threads`].
    pub fn new() -> Result<ThreadPool, BuildError> {
        ThreadPoolBuilder::new().build()
    }

    /// Creates a pool of `count` workers with otherwise default settings. If `count` is 0, the number is that of [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// Returns an error if `count` is greater than [`MAX_THREADS`](Self::MAX_THREADS), or if it is 0 and `HEIST_NUM_THREADS` is invalid.
    ///
    /// ```
    /// let pool = heist::ThreadPool::with_threads(3)?;
    /// assert_eq!(pool.num_threads(), 3);
    /// # Ok::<(), heist::BuildError>(())
    /// ```
    pub fn with_threads(count: usize) -> Result<ThreadPool, BuildError> {
        ThreadPoolBuilder::new().num_threads(count).build()
    }

    /// Returns a builder, which sets the properties of a pool and creates it.
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder::new()
    }
}

/// The reason why a pool could not be created.
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
    /// Of another back end, which has written the text.
    #[cfg(all(feature = "process", target_os = "linux"))]
    Backend(String),
}

#[cfg(all(feature = "process", target_os = "linux"))]
impl BuildError {
    pub(crate) fn of_backend(text: impl Into<String>) -> Self {
        Kind::Backend(text.into()).into()
    }
}

impl From<Kind> for BuildError {
    fn from(kind: Kind) -> Self {
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
            #[cfg(all(feature = "process", target_os = "linux"))]
            Kind::Backend(text) => f.write_str(text),
            Kind::GlobalExists => write!(
                f,
                "the global pool exists already: call build_global once, before the first use of a free function"
            ),
        }
    }
}

/// Converts to the system's error if a thread could not be started, and otherwise to an error with the text of the [`BuildError`].
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
