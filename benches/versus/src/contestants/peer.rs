//! The interfaces by which kernels and rows use a scheduler.

use crate::common::contract::{Join, JoinKernel, SpawnKernel, Tally};
use std::future::Future;
use std::time::{Duration, Instant};

/// A scheduler.
pub trait Peer {
    /// The name in the tables.
    const NAME: &'static str;

    /// A pool of this many threads.
    fn build(threads: usize) -> Self;
}

/// A scheduler that can join.
pub trait JoinPeer: Peer {
    /// Its fork-join primitive.
    type Join: Join;

    /// Enters the pool from outside and runs `work` in it.
    fn enter<R, F>(&self, work: F) -> R
    where
        R: Send,
        F: FnOnce(&mut <Self::Join as Join>::Context<'_>) -> R + Send;

    /// Runs a kernel in the pool. The time does not include entering the pool.
    fn time<K: JoinKernel>(&self, kernel: &K) -> (Duration, K::Answer) {
        self.enter(|context| {
            let start = Instant::now();
            let answer = kernel.run::<Self::Join>(context);
            (start.elapsed(), answer)
        })
    }
}

/// A scheduler with a scope that tasks are spawned on.
pub trait ScopePeer: Peer {
    /// Runs a kernel in a scope in the pool. The time is that from the scope's beginning to its end.
    fn time_scope<K: SpawnKernel>(&self, kernel: K, tally: &Tally) -> Duration;
}

/// A scheduler with a parallel map.
pub trait MapPeer: Peer {
    /// Maps in order, called from outside the pool.
    fn map<T, R, F>(&self, items: &[T], f: F) -> Vec<R>
    where
        T: Sync,
        R: Send,
        F: Fn(&T) -> R + Sync + Send;
}

/// A scheduler that takes single tasks from any thread and gives a handle for each one's result.
pub trait SubmitPeer: Peer + Sync {
    /// The handle of a task.
    type Handle<T: Send + 'static>: Send;

    /// A pool that runs tasks on this many workers while the submitter does something else.
    fn with_workers(workers: usize) -> Self
    where
        Self: Sized,
    {
        Self::build(workers)
    }

    /// Submits `task` and returns the handle of its result.
    fn submit<T, F>(&self, task: F) -> Self::Handle<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static;

    /// Runs `task` on the pool. Nobody waits for it.
    fn spawn<F>(&self, task: F)
    where
        F: FnOnce() + Send + 'static;

    /// Waits for each of the tasks in order, outside of the pool.
    fn join_all<T>(&self, handles: Vec<Self::Handle<T>>, each: impl FnMut(T) + Send)
    where
        T: Send + 'static;

    /// Waits for one task, outside of the pool.
    fn join<T>(&self, handle: Self::Handle<T>) -> T
    where
        T: Send + 'static;
}

/// A scheduler that polls futures.
pub trait AsyncPeer: Peer + Send + Sync + 'static {
    /// The handle of a future's result.
    type Task<T: Send + 'static>: Send + 'static;

    /// Polls `future` on the pool and returns the handle of its result.
    fn submit_async<F>(&self, future: F) -> Self::Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static;

    /// Polls `future` on the pool. Nobody waits for it.
    fn spawn_async<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static;

    /// Waits for the result of a task, inside a future.
    fn result<T: Send + 'static>(task: Self::Task<T>) -> impl Future<Output = T> + Send;

    /// Lets other tasks run, inside a task.
    fn yield_now() -> impl Future<Output = ()> + Send;

    /// Polls `future` on the current thread, outside of the pool.
    fn block_on<F: Future>(&self, future: F) -> F::Output;
}

/// A library with futures that end at a time.
pub trait SleepPeer {
    /// The name in the tables.
    const NAME: &'static str;

    /// The future.
    type Sleep: Future;

    /// Starts what the sleeps need.
    fn start() -> Self;

    /// A future that ends at `deadline`.
    fn sleep_until(&self, deadline: Instant) -> Self::Sleep;

    /// Polls `future` on the current thread.
    fn block_on(&self, future: impl Future);
}

/// A scheduler whose tasks return nothing. Each task sends its result over its own channel.
pub trait SpawnPeer: Peer + Sync {
    /// Runs `task` on the pool. Nobody waits for it.
    fn spawn_task<F>(&self, task: F)
    where
        F: FnOnce() + Send + 'static;
}

impl<P: SpawnPeer> SubmitPeer for P {
    type Handle<T: Send + 'static> = oneshot::Receiver<T>;

    fn submit<T, F>(&self, task: F) -> oneshot::Receiver<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        self.spawn_task(move || {
            // The receiver may have been dropped. Then nobody wants the result.
            let _ = sender.send(task());
        });
        receiver
    }

    fn spawn<F>(&self, task: F)
    where
        F: FnOnce() + Send + 'static,
    {
        self.spawn_task(task);
    }

    fn join_all<T>(&self, handles: Vec<oneshot::Receiver<T>>, each: impl FnMut(T) + Send)
    where
        T: Send + 'static,
    {
        let results = handles.into_iter().map(|handle| self.join(handle));
        results.for_each(each);
    }

    fn join<T>(&self, handle: oneshot::Receiver<T>) -> T
    where
        T: Send + 'static,
    {
        handle.recv().expect("a task was dropped or panicked")
    }
}
