//! `ThreadPoolBuilder`.

use crate::error::ThreadPoolBuildError;
use crate::global;
use crate::pool::ThreadPool;
use crate::settings::Settings;
use crate::threads::{CustomSpawn, DefaultSpawn, ThreadBuilder, ThreadSpawn};
use std::any::Any;
use std::{fmt, io, thread};

/// Settings of a pool.
///
/// ```
/// let pool = rayon_core::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
/// assert_eq!(pool.current_num_threads(), 3);
/// ```
pub struct ThreadPoolBuilder<S = DefaultSpawn> {
    settings: Settings,
    spawn_handler: S,
}

// Not derived: `ThreadPoolBuilder::default()` infers `S` only if there is one implementation.
impl Default for ThreadPoolBuilder {
    fn default() -> Self {
        ThreadPoolBuilder {
            settings: Settings::default(),
            spawn_handler: DefaultSpawn,
        }
    }
}

impl ThreadPoolBuilder {
    /// Creates a builder with the default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Builds a pool of scoped threads and calls `with_pool` with it. Each thread calls `wrapper`, which must call
    /// [`ThreadBuilder::run`].
    ///
    /// # Errors
    /// Returns the errors of [`build`](Self::build).
    pub fn build_scoped<W, F, R>(self, wrapper: W, with_pool: F) -> Result<R, ThreadPoolBuildError>
    where
        W: Fn(ThreadBuilder) + Sync,
        F: FnOnce(&ThreadPool) -> R,
    {
        let wrapper = &wrapper;
        thread::scope(|scope| {
            let start = |thread: ThreadBuilder| {
                let builder = thread.std_builder();
                builder
                    .spawn_scoped(scope, move || wrapper(thread))
                    .map(drop)
            };
            let pool = self.spawn_handler(start).build()?;
            Ok(with_pool(&pool))
        })
    }
}

impl<S: ThreadSpawn> ThreadPoolBuilder<S> {
    /// Builds the pool and starts its threads.
    ///
    /// # Errors
    /// Returns an error if a thread cannot be started, or if the current thread is to be a thread of the pool and already belongs
    /// to another one.
    pub fn build(self) -> Result<ThreadPool, ThreadPoolBuildError> {
        self.settings.make(self.spawn_handler).map(ThreadPool::of)
    }

    /// Builds the global pool, which the free functions use.
    ///
    /// # Errors
    /// Returns the errors of [`build`](Self::build), and an error if the global pool exists already.
    pub fn build_global(self) -> Result<(), ThreadPoolBuildError> {
        global::init(|| self.settings.make(self.spawn_handler))
    }
}

impl<S> ThreadPoolBuilder<S> {
    /// Sets how threads are started: `spawn` must start a thread that calls [`ThreadBuilder::run`].
    pub fn spawn_handler<F>(self, spawn: F) -> ThreadPoolBuilder<CustomSpawn<F>>
    where
        F: FnMut(ThreadBuilder) -> io::Result<()>,
    {
        ThreadPoolBuilder {
            settings: self.settings,
            spawn_handler: CustomSpawn(spawn),
        }
    }

    /// Sets the names of the threads, by index. By default threads have no names.
    pub fn thread_name<F>(mut self, closure: F) -> Self
    where
        F: FnMut(usize) -> String + 'static,
    {
        self.settings.thread_name = Some(Box::new(closure));
        self
    }

    /// Sets the number of threads. With 0, the default, it is the value of `RAYON_NUM_THREADS`, or the number of processors.
    pub fn num_threads(mut self, num_threads: usize) -> Self {
        self.settings.num_threads = num_threads;
        self
    }

    /// Makes the current thread the pool's thread 0. It runs work while it waits or yields.
    pub fn use_current_thread(mut self) -> Self {
        self.settings.use_current_thread = true;
        self
    }

    /// Sets the handler of panics that no caller receives. Without a handler they abort the process.
    pub fn panic_handler<H>(mut self, panic_handler: H) -> Self
    where
        H: Fn(Box<dyn Any + Send>) + Send + Sync + 'static,
    {
        self.settings.panic_handler = Some(Box::new(panic_handler));
        self
    }

    /// Sets the stack size of the threads, in bytes.
    pub fn stack_size(mut self, stack_size: usize) -> Self {
        self.settings.stack_size = Some(stack_size);
        self
    }

    /// Lets the tasks that a thread of the pool spawns begin in the order of spawning.
    #[deprecated(note = "use `scope_fifo` and `spawn_fifo` for similar effect")]
    pub fn breadth_first(mut self) -> Self {
        self.settings.breadth_first = true;
        self
    }

    /// Sets a closure that each thread calls before its first work.
    pub fn start_handler<H>(mut self, start_handler: H) -> Self
    where
        H: Fn(usize) + Send + Sync + 'static,
    {
        self.settings.start_handler = Some(Box::new(start_handler));
        self
    }

    /// Sets a closure that each thread calls after its last work.
    pub fn exit_handler<H>(mut self, exit_handler: H) -> Self
    where
        H: Fn(usize) + Send + Sync + 'static,
    {
        self.settings.exit_handler = Some(Box::new(exit_handler));
        self
    }
}

impl<S> fmt::Debug for ThreadPoolBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.settings;
        let closure = |is_some: bool| is_some.then_some(format_args!("<closure>"));
        f.debug_struct("ThreadPoolBuilder")
            .field("num_threads", &settings.num_threads)
            .field("use_current_thread", &settings.use_current_thread)
            .field("get_thread_name", &closure(settings.thread_name.is_some()))
            .field("panic_handler", &closure(settings.panic_handler.is_some()))
            .field("stack_size", &settings.stack_size)
            .field("start_handler", &closure(settings.start_handler.is_some()))
            .field("exit_handler", &closure(settings.exit_handler.is_some()))
            .field("breadth_first", &settings.breadth_first)
            .finish()
    }
}
