//! A pool of processes, as users see it.

use super::backend::{Backend, Close, ExecutorStats};
use super::call::Call;
use super::shared::{Refusal, Shared};
use super::state::{Effects, Gate, State};
use crate::executor::remote::Failure;
use crate::sync::{Mutex, lock};
use crate::{BuildError, ShutdownTimeout};
use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A pool of worker processes, which run [tasks](crate::Task).
///
/// A task that crashes, exits, or is killed takes its process with it and nothing else: its handle resolves to
/// an error that [says so](crate::JoinError::lost), another process takes the place, and the other tasks run.
/// The workers are this program, started again, so `main` must begin with [`heist::init`](crate::init()) or carry
/// [`#[heist::main]`](macro@crate::main).
///
/// The methods that start tasks and end the pool are those of [`Executor`](crate::Executor), which has to be in
/// scope. The pool is a handle: clones share the workers, and dropping the last one runs the queued tasks and
/// ends the workers.
///
/// ```
/// use heist::{Executor, ProcessPool};
///
/// #[heist::task]
/// fn divide(a: i64, b: i64) -> i64 {
///     if b == 0 {
///         std::process::abort();
///     }
///     a / b
/// }
///
/// #[heist::main]
/// fn main() -> Result<(), heist::BuildError> {
///     let pool = ProcessPool::builder().num_workers(2).build()?;
///     let good = pool.submit(divide::TASK, (84, 2));
///     let bad = pool.submit(divide::TASK, (1, 0));
///     assert_eq!(good.join().unwrap(), 42);
///     let error = bad.join().unwrap_err();
///     assert_eq!(error.lost().unwrap().signal, Some(6));
///     Ok(())
/// }
/// ```
///
/// # When processes pay off
///
/// Threads are faster: a task costs well below a microsecond there, and some microseconds in a process, plus
/// what it takes to serialise its arguments and its result. Use processes
///
/// - for code that can crash or corrupt memory, such as foreign C libraries, and for code that calls `exit`;
/// - for code that leaks, with [`max_tasks`](crate::ProcessPoolBuilder::max_tasks);
/// - for tasks that can hang and must be stopped: only a process can be killed;
/// - for limits and state that belong to a process: memory limits, the working directory, locales, libraries
///   with global state that allow one user at a time.
///
/// # What a worker inherits
///
/// Its environment, working directory, standard output and standard error are those of the program at the time
/// when the worker starts. Its standard input is empty. It is in a process group of its own, so a Ctrl-C at the
/// terminal reaches only the program. No worker outlives the program: the kernel kills it when the program ends,
/// however that happens.
///
/// # How often a task starts
///
/// A task starts once, unless it or its call says that it may be [tried](crate::CallBuilder::tries) again. Before a
/// worker begins a task it notes that in memory which outlives it. So a task that was sent to a worker and had
/// not begun when that ended is not lost. It runs in another one.
///
/// A task that writes to descriptors or memory that are not its own can destroy the results of those that its
/// worker has run before or runs next. They are lost too, and not started again.
///
/// # Callbacks
///
/// Results are deserialised, and callbacks such as those of [`on_finish`](crate::JoinHandle::on_finish) called, on
/// the pool's own thread. A callback that waits for another task of the same pool waits forever, because only
/// that thread could end the wait.
#[derive(Clone)]
pub struct ProcessPool {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl ProcessPool {
    pub(super) fn from_parts(shared: Arc<Shared>, thread: JoinHandle<()>) -> Self {
        let handle = Handle {
            shared,
            thread: Mutex::new(Some(thread)),
        };
        ProcessPool {
            handle: Arc::new(handle),
        }
    }

    /// Sets the number of workers and returns the previous one. If it is 0, the number is that of the processors
    /// that this process may use. Above 4,096 it is 4,096.
    ///
    /// Missing workers are started in the background. Surplus ones finish the task that they run and end.
    ///
    /// # Panics
    ///
    /// Panics in a fork of the process that built the pool.
    pub fn set_num_workers(&self, count: usize) -> usize {
        self.refuse_forked("set_num_workers");
        let before = self
            .handle
            .shared
            .set_num_workers(size(count).min(MAX_WORKERS));
        self.handle.shared.wake();
        before
    }

    /// Waits until the thread has ended, or the time has come.
    fn join(&self, until: Option<Instant>) -> bool {
        let shared = &self.handle.shared;
        let (state, is_over) = shared.wait_until(shared.lock(), until, |state| state.is_over);
        drop(state);
        if is_over {
            self.handle.join_thread();
        }
        is_over
    }

    fn refuse_inside(&self, what: &str) {
        let shared = &self.handle.shared;
        assert!(
            !shared.is_own_thread(),
            "heist: {what} in a callback of a process pool would wait for itself: call it from another thread"
        );
        self.refuse_forked(what);
    }

    /// In a fork, the lock may be held by a thread that the fork does not have.
    fn refuse_forked(&self, what: &str) {
        let is_forked = self.handle.shared.is_forked();
        assert!(!is_forked, "heist: {what}: {FORKED}");
    }
}

const FORKED: &str =
    "this process is a fork of the one that built the process pool: build a pool of its own";

impl Handle {
    fn join_thread(&self) {
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // The thread catches its panics.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    /// Runs the queued tasks and ends the workers.
    fn drop(&mut self) {
        if self.shared.is_forked() {
            // The workers and the thread are those of another process.
            return;
        }
        close_gate(&mut self.shared.lock());
        self.shared.wake();
        if !self.shared.is_own_thread() {
            self.join_thread();
        }
    }
}

fn close_gate(state: &mut State) {
    if state.gate == Gate::Open {
        state.gate = Gate::Draining;
    }
}

impl Backend for ProcessPool {
    fn start(&self, call: Call<'_>) {
        let shared = &self.handle.shared;
        if shared.is_forked() {
            return call.refuse(FORKED);
        }
        let refused = call.encode(&shared.defaults, &mut |job| {
            if let Err((job, refusal)) = shared.submit(job) {
                job.refuse(|| match refusal {
                    Refusal::Closed => Failure::Closed,
                    Refusal::Full => Failure::Full,
                });
            }
        });
        if refused > 0 {
            shared.lock().count_refused(refused);
        }
    }

    fn num_workers(&self) -> usize {
        self.handle.shared.num_workers()
    }

    fn close(&self, how: Close) -> Result<usize, ShutdownTimeout> {
        self.refuse_inside("a shutdown");
        let shared = &self.handle.shared;
        let mut dropped = 0;
        let mut effects = Effects::default();
        let mut state = shared.lock();
        close_gate(&mut state);
        if how == Close::Now {
            dropped = state.stop(&mut effects);
        }
        drop(state);
        shared.settle(effects, None);
        shared.wake();
        let Close::Within(time) = how else {
            self.join(None);
            return Ok(dropped);
        };
        if self.join(Instant::now().checked_add(time)) {
            return Ok(0);
        }
        let state = shared.lock();
        let queued = state.stats().queued;
        Err(ShutdownTimeout::remote(time, state.running(), queued))
    }

    fn wait_idle(&self) {
        self.refuse_inside("wait_idle");
        let shared = &self.handle.shared;
        drop(shared.wait_until(shared.lock(), None, |state| {
            state.open == 0 || state.is_over
        }));
    }

    /// # Panics
    ///
    /// Panics in a fork of the process that built the pool.
    fn stats(&self) -> ExecutorStats {
        self.refuse_forked("stats");
        self.handle.shared.lock().stats()
    }
}

impl fmt::Debug for ProcessPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPool")
            .field("num_workers", &self.num_workers())
            .finish_non_exhaustive()
    }
}

/// Starts the thread of a pool, and waits until the first worker is ready.
pub(super) fn launch(
    shared: Shared,
    wake: std::os::unix::net::UnixStream,
) -> Result<ProcessPool, BuildError> {
    let shared = Arc::new(shared);
    let own = Arc::clone(&shared);
    let (sender, started) = std::sync::mpsc::channel();
    let thread = thread::Builder::new()
        .name("heist-processes".to_owned())
        .spawn(move || {
            // The builder waits for this, so nobody asks before.
            let _ = own.thread.set(thread::current().id());
            let _ = sender.send(());
            super::io::run(&own, wake);
        });
    let thread = thread.map_err(|error| {
        BuildError::of_backend(format!("the pool's thread could not be started: {error}"))
    })?;
    let _ = started.recv();
    let pool = ProcessPool::from_parts(Arc::clone(&shared), thread);
    let ready = |state: &State| state.has_worked || state.has_failed() || state.is_over;
    let (mut state, _) = shared.wait_until(shared.lock(), None, ready);
    if state.has_worked {
        drop(state);
        return Ok(pool);
    }
    let trouble = state.trouble.clone();
    state.gate = Gate::Draining;
    drop(state);
    shared.wake();
    drop(pool);
    let trouble = trouble.unwrap_or_else(|| "its thread has ended".into());
    Err(BuildError::of_backend(format!(
        "no process pool: {trouble}"
    )))
}

/// How long a worker may take to say hello and to prepare itself.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The most workers that a pool may have.
pub(super) const MAX_WORKERS: usize = 4096;

/// The number of workers for a setting, which may be 0.
pub(super) fn size(count: usize) -> usize {
    match count {
        0 => thread::available_parallelism().map_or(1, usize::from),
        count => count,
    }
}
