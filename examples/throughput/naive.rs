//! The pool that a user writes first: one `Mutex<VecDeque>` of boxed tasks and one `Condvar`.
//!
//! It is no straw man. A thread that waits runs tasks (the newest, likely its own). Idle threads take the oldest task
//! and sleep when there is none. Tasks may borrow. What it lacks is a queue for each thread.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

type Task = Box<dyn FnOnce() + Send>;

/// A pool with one queue and `threads - 1` threads. The caller is the last one.
pub struct NaivePool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Signalled when a task arrives, a scope ends, or the pool closes.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    closed: bool,
}

impl NaivePool {
    /// Builds a pool that keeps `threads` processors busy, that of the caller included.
    ///
    /// # Errors
    ///
    /// Returns an error if the system refuses a thread. Threads that were started have ended by then.
    pub fn new(threads: usize) -> io::Result<Self> {
        let mut pool = NaivePool {
            shared: Arc::default(),
            threads: Vec::new(),
        };
        for index in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let builder = thread::Builder::new().name(format!("naive-{index}"));
            pool.threads.push(builder.spawn(move || shared.work())?);
        }
        Ok(pool)
    }

    /// The number of processors that the pool keeps busy.
    pub fn threads(&self) -> usize {
        self.threads.len() + 1
    }

    /// Runs `body` and everything it spawns, then returns.
    pub fn scope<'scope, R>(&self, body: impl FnOnce(&NaiveScope<'scope>) -> R) -> R {
        let state = Arc::new(ScopeState {
            shared: Arc::clone(&self.shared),
            pending: AtomicUsize::new(0),
            panic: Mutex::new(None),
        });
        let scope = NaiveScope {
            state,
            invariant: PhantomData,
        };
        let wait = WaitForTasks(&scope.state);
        let result = body(&scope);
        drop(wait);
        let panic = lock(&scope.state.panic).take();
        match panic {
            Some(payload) => resume_unwind(payload),
            None => result,
        }
    }

    /// Runs both closures, possibly at the same time.
    pub fn join<A, B: Send>(&self, a: impl FnOnce() -> A, b: impl FnOnce() -> B + Send) -> (A, B) {
        let mut result_b = None;
        let result_a = self.scope(|scope| {
            scope.spawn(|_| result_b = Some(b()));
            a()
        });
        (result_a, result_b.expect("scope waits for its tasks"))
    }

    /// Maps every item by `f`, in order. A task for each item would be far too slow for cheap items, so this cuts the input
    /// into eight equal pieces for each thread.
    pub fn map<T: Sync, R: Send + Clone + Default>(
        &self,
        input: &[T],
        f: impl Fn(&T) -> R + Sync,
    ) -> Vec<R> {
        let mut output = vec![R::default(); input.len()];
        let piece = input.len().div_ceil(8 * self.threads()).max(1);
        let f = &f;
        self.scope(|scope| {
            for (from, to) in input.chunks(piece).zip(output.chunks_mut(piece)) {
                scope.spawn(move |_| {
                    for (from, to) in from.iter().zip(to) {
                        *to = f(from);
                    }
                });
            }
        });
        output
    }
}

impl Drop for NaivePool {
    fn drop(&mut self) {
        lock(&self.shared.queue).closed = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // Tasks catch their panics, so no thread ends by a panic.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn push(&self, task: Task) {
        lock(&self.queue).tasks.push_back(task);
        self.changed.notify_one();
    }

    /// Runs tasks on a thread of the pool, the oldest first, until the pool closes.
    fn work(&self) {
        let mut queue = lock(&self.queue);
        while !queue.closed {
            match queue.tasks.pop_front() {
                Some(task) => {
                    drop(queue);
                    task();
                    queue = lock(&self.queue);
                }
                None => queue = sleep(&self.changed, queue),
            }
        }
    }

    /// Runs tasks on a waiting caller, the newest first, until none of its own is pending.
    fn work_until_done(&self, pending: &AtomicUsize) {
        let mut queue = lock(&self.queue);
        // Acquire makes the writes of the tasks visible to the caller.
        while pending.load(Ordering::Acquire) > 0 {
            match queue.tasks.pop_back() {
                Some(task) => {
                    drop(queue);
                    task();
                    queue = lock(&self.queue);
                }
                None => queue = sleep(&self.changed, queue),
            }
        }
    }
}

/// A scope in which tasks are spawned. They may borrow what outlives `'scope`.
pub struct NaiveScope<'scope> {
    state: Arc<ScopeState>,
    /// Makes the lifetime invariant.
    invariant: PhantomData<fn(&'scope ()) -> &'scope ()>,
}

struct ScopeState {
    shared: Arc<Shared>,
    /// The number of tasks that were spawned and have not ended.
    pending: AtomicUsize,
    /// The first panic of a task.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl<'scope> NaiveScope<'scope> {
    /// Queues a task that ends before the scope does.
    pub fn spawn(&self, f: impl FnOnce(&NaiveScope<'scope>) + Send + 'scope) {
        let scope = NaiveScope {
            state: Arc::clone(&self.state),
            invariant: PhantomData,
        };
        let task: Box<dyn FnOnce() + Send + 'scope> = Box::new(move || {
            let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
            scope.state.finish(result.err());
        });
        self.state.pending.fetch_add(1, Ordering::Relaxed);
        // SAFETY: only the lifetime changes. (1) The task was counted in `pending`, which it leaves only after
        // `f`, its last use of borrowed data, is gone. (2) `NaivePool::scope`, whose call `'scope` outlives, neither
        // returns nor unwinds before `pending` is zero: `WaitForTasks` waits in its `drop`. (3) No task is dropped
        // unrun in that time: the call borrows the pool, so its queue lives on.
        let task: Task = unsafe { std::mem::transmute(task) };
        self.state.shared.push(task);
    }
}

impl ScopeState {
    fn finish(&self, panic: Option<Box<dyn Any + Send>>) {
        if let Some(payload) = panic {
            lock(&self.panic).get_or_insert(payload);
        }
        // Release: partner of the Acquire in `work_until_done`.
        if self.pending.fetch_sub(1, Ordering::Release) == 1 {
            // While this thread holds the lock, no thread is between its check of `pending` and its sleep.
            let queue = lock(&self.shared.queue);
            self.shared.changed.notify_all();
            drop(queue);
        }
    }
}

/// Waits for the tasks when the body returns and when it panics.
struct WaitForTasks<'a>(&'a ScopeState);

impl Drop for WaitForTasks<'_> {
    fn drop(&mut self) {
        self.0.shared.work_until_done(&self.0.pending);
    }
}

/// Locks, also if the lock is poisoned: no panic happens while one of these locks is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sleep<'a>(changed: &Condvar, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
    changed.wait(queue).unwrap_or_else(PoisonError::into_inner)
}
