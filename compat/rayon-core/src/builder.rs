//! `ThreadPoolBuilder`: rayon's settings, told to heist.

use crate::error::ThreadPoolBuildError;
use crate::global;
use crate::pool::ThreadPool;
use crate::spawn;
use crate::threads::{CustomSpawn, DefaultSpawn, ThreadBuilder, ThreadSpawn};
use std::any::Any;
use std::num::NonZero;
use std::{env, fmt, io, mem, process, thread};

type PanicHandler = Box<dyn Fn(Box<dyn Any + Send>) + Send + Sync>;
type Hook = Box<dyn Fn(usize) + Send + Sync>;

/// Settings of a pool.
///
/// ```
/// let pool = rayon_core::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
/// assert_eq!(pool.current_num_threads(), 3);
/// ```
pub struct ThreadPoolBuilder<S = DefaultSpawn> {
    num_threads: usize,
    use_current_thread: bool,
    panic_handler: Option<PanicHandler>,
    thread_name: Option<Box<dyn FnMut(usize) -> String>>,
    stack_size: Option<usize>,
    start_handler: Option<Hook>,
    exit_handler: Option<Hook>,
    spawn_handler: S,
    breadth_first: bool,
}

impl Default for ThreadPoolBuilder {
    fn default() -> Self {
        ThreadPoolBuilder {
            num_threads: 0,
            use_current_thread: false,
            panic_handler: None,
            thread_name: None,
            stack_size: None,
            start_handler: None,
            exit_handler: None,
            spawn_handler: DefaultSpawn,
            breadth_first: false,
        }
    }
}

impl ThreadPoolBuilder {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a pool of scoped threads, which `wrapper` is called on and is to `run()`, for the time of `with_pool`.
    ///
    /// # Errors
    /// As [`build`](Self::build).
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
    /// Makes the pool, and starts its threads.
    ///
    /// # Errors
    /// A thread could not be started; or the current thread is to be part of the pool and is part of another one.
    pub fn build(self) -> Result<ThreadPool, ThreadPoolBuildError> {
        self.make().map(ThreadPool::of)
    }

    /// Makes the pool of the free functions.
    ///
    /// # Errors
    /// As [`build`](Self::build); or there is one.
    pub fn build_global(self) -> Result<(), ThreadPoolBuildError> {
        global::init(|| self.make())
    }

    pub(crate) fn make(mut self) -> Result<heist::ThreadPool, ThreadPoolBuildError> {
        if self.use_current_thread && heist::takes_part() {
            return Err(ThreadPoolBuildError::thread_in_pool());
        }
        let mut builder = heist::ThreadPool::builder()
            .num_threads(self.count().min(crate::max_num_threads()))
            .start(heist::Start::Eager)
            .waits(heist::Waits::Any)
            .wait_on_drop(false)
            .use_current_thread(self.use_current_thread)
            .panic_handler(lost_panic(self.panic_handler));
        if let Some(bytes) = self.stack_size {
            builder = builder.stack_size(bytes);
        }
        if self.breadth_first {
            let hook = self.start_handler.take();
            self.start_handler = Some(Box::new(move |index| {
                spawn::set_breadth_first();
                if let Some(hook) = &hook {
                    hook(index);
                }
            }));
        }
        if let Some(hook) = self.start_handler {
            builder = builder.on_thread_start(hook);
        }
        if let Some(hook) = self.exit_handler {
            builder = builder.on_thread_exit(hook);
        }
        // Asked for each thread, though this one keeps its own.
        if self.use_current_thread
            && let Some(name) = &mut self.thread_name
        {
            name(0);
        }
        let pool = builder.build_on(|thread| {
            self.spawn_handler.spawn(ThreadBuilder {
                name: self.thread_name.as_mut().map(|name| name(thread.index())),
                stack_size: self.stack_size,
                thread,
            })
        })?;
        if self.breadth_first && self.use_current_thread {
            spawn::set_breadth_first();
        }
        Ok(pool)
    }
}

/// What becomes of a panic that nobody waits for. Without a handler, and if that panics, the process ends.
fn lost_panic(handler: Option<PanicHandler>) -> impl Fn(Box<dyn Any + Send>) + Send + Sync {
    struct Abort;

    impl Drop for Abort {
        fn drop(&mut self) {
            process::abort();
        }
    }

    move |payload| {
        let abort = Abort;
        if let Some(handler) = &handler {
            handler(payload);
            mem::forget(abort);
        }
    }
}

impl<S> ThreadPoolBuilder<S> {
    /// How threads are started: `spawn` is to have `run()` called on a new thread.
    pub fn spawn_handler<F>(self, spawn: F) -> ThreadPoolBuilder<CustomSpawn<F>>
    where
        F: FnMut(ThreadBuilder) -> io::Result<()>,
    {
        ThreadPoolBuilder {
            spawn_handler: CustomSpawn(spawn),
            num_threads: self.num_threads,
            use_current_thread: self.use_current_thread,
            panic_handler: self.panic_handler,
            thread_name: self.thread_name,
            stack_size: self.stack_size,
            start_handler: self.start_handler,
            exit_handler: self.exit_handler,
            breadth_first: self.breadth_first,
        }
    }

    /// As asked for, else by `RAYON_NUM_THREADS`, else by the older `RAYON_RS_NUM_CPUS`, else as many as there are processors.
    fn count(&self) -> usize {
        let variable = |name| -> Option<usize> { env::var(name).ok()?.parse().ok() };
        let processors = || thread::available_parallelism().map_or(1, NonZero::get);
        if self.num_threads > 0 {
            return self.num_threads;
        }
        match (variable("RAYON_NUM_THREADS"), variable("RAYON_RS_NUM_CPUS")) {
            (Some(0), _) | (None, None | Some(0)) => processors(),
            (Some(count), _) | (None, Some(count)) => count,
        }
    }

    /// Names the threads by their index. By default they have no names.
    pub fn thread_name<F>(mut self, closure: F) -> Self
    where
        F: FnMut(usize) -> String + 'static,
    {
        self.thread_name = Some(Box::new(closure));
        self
    }

    /// How many threads. 0, the default: see `RAYON_NUM_THREADS`; else one for each processor.
    pub fn num_threads(mut self, num_threads: usize) -> Self {
        self.num_threads = num_threads;
        self
    }

    /// The current thread becomes the pool's thread 0. It works where it waits or yields.
    pub fn use_current_thread(mut self) -> Self {
        self.use_current_thread = true;
        self
    }

    /// Gets the panics that nobody waits for. Without it they abort the process.
    pub fn panic_handler<H>(mut self, panic_handler: H) -> Self
    where
        H: Fn(Box<dyn Any + Send>) + Send + Sync + 'static,
    {
        self.panic_handler = Some(Box::new(panic_handler));
        self
    }

    /// The threads' stack size, in bytes.
    pub fn stack_size(mut self, stack_size: usize) -> Self {
        self.stack_size = Some(stack_size);
        self
    }

    /// What a thread of the pool spawns begins in order.
    #[deprecated(note = "use `scope_fifo` and `spawn_fifo` for similar effect")]
    pub fn breadth_first(mut self) -> Self {
        self.breadth_first = true;
        self
    }

    /// Called on each thread before its first work.
    pub fn start_handler<H>(mut self, start_handler: H) -> Self
    where
        H: Fn(usize) + Send + Sync + 'static,
    {
        self.start_handler = Some(Box::new(start_handler));
        self
    }

    /// Called on each thread after its last work.
    pub fn exit_handler<H>(mut self, exit_handler: H) -> Self
    where
        H: Fn(usize) + Send + Sync + 'static,
    {
        self.exit_handler = Some(Box::new(exit_handler));
        self
    }
}

impl<S> fmt::Debug for ThreadPoolBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let closure = |is_some: bool| is_some.then_some(format_args!("<closure>"));
        f.debug_struct("ThreadPoolBuilder")
            .field("num_threads", &self.num_threads)
            .field("use_current_thread", &self.use_current_thread)
            .field("get_thread_name", &closure(self.thread_name.is_some()))
            .field("panic_handler", &closure(self.panic_handler.is_some()))
            .field("stack_size", &self.stack_size)
            .field("start_handler", &closure(self.start_handler.is_some()))
            .field("exit_handler", &closure(self.exit_handler.is_some()))
            .field("breadth_first", &self.breadth_first)
            .finish()
    }
}
