//! The settings of a rayon pool, and how a heist pool is built from them.

use crate::error::ThreadPoolBuildError;
use crate::threads::{ThreadBuilder, ThreadSpawn};
use std::any::Any;
use std::cell::Cell;
use std::num::NonZero;
use std::{env, mem, process, thread};

pub(crate) type PanicHandler = Box<dyn Fn(Box<dyn Any + Send>) + Send + Sync>;
pub(crate) type Hook = Box<dyn Fn(usize) + Send + Sync>;

/// Everything that a builder holds, except the way in which threads are started.
#[derive(Default)]
pub(crate) struct Settings {
    /// 0 stands for the default, which [`Settings::count`] finds.
    pub(crate) num_threads: usize,
    pub(crate) use_current_thread: bool,
    pub(crate) panic_handler: Option<PanicHandler>,
    pub(crate) thread_name: Option<Box<dyn FnMut(usize) -> String>>,
    pub(crate) stack_size: Option<usize>,
    pub(crate) start_handler: Option<Hook>,
    pub(crate) exit_handler: Option<Hook>,
    pub(crate) breadth_first: bool,
}

impl Settings {
    /// Builds the pool and starts its threads with `spawn`.
    pub(crate) fn make(
        mut self,
        mut spawn: impl ThreadSpawn,
    ) -> Result<heist::ThreadPool, ThreadPoolBuildError> {
        if self.use_current_thread && heist::in_pool() {
            return Err(ThreadPoolBuildError::thread_in_pool());
        }
        let mut builder = heist::ThreadPool::builder()
            .num_threads(self.count().min(heist::ThreadPool::MAX_THREADS))
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
                BREADTH_FIRST.set(true);
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
        // The closure is called for every index. The current thread keeps the name that it has.
        if self.use_current_thread
            && let Some(name) = &mut self.thread_name
        {
            name(0);
        }
        let pool = builder.build_on(|thread| {
            spawn.spawn(ThreadBuilder {
                name: self.thread_name.as_mut().map(|name| name(thread.index())),
                stack_size: self.stack_size,
                thread,
            })
        })?;
        if self.breadth_first && self.use_current_thread {
            BREADTH_FIRST.set(true);
        }
        Ok(pool)
    }

    /// Returns the number of threads: the one that was set, else `RAYON_NUM_THREADS`, else the older `RAYON_RS_NUM_CPUS`, else one for each processor.
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
}

/// Returns the handler for panics that no caller receives. Without a user's handler, or if that one panics, the process aborts.
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

thread_local! {
    /// Whether this thread belongs to a pool with [`Settings::breadth_first`].
    static BREADTH_FIRST: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether tasks that this thread spawns begin in the order of spawning.
pub(crate) fn is_breadth_first() -> bool {
    BREADTH_FIRST.get()
}
