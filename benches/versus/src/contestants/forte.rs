//! forte: a heartbeat scheduler whose caller becomes a worker and hands the worker from join to join.
//!
//! Its pools live forever, so each row leaks one. It runs the second closure of a join first.

use super::peer::{JoinPeer, Peer, SubmitPeer};
use crate::common::contract::Join;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// The pause between two empty tasks: long compared with a run, and short for a user who waits.
const NUDGE: Duration = Duration::from_millis(500);

/// A forte pool.
pub struct Forte {
    pool: &'static forte::ThreadPool,
    /// While this sender exists, a thread spawns an empty task now and then.
    nudges: Option<mpsc::Sender<()>>,
}

/// `forte::Worker::join`.
pub struct ForteJoin;

impl Peer for Forte {
    const NAME: &'static str = "forte";

    /// The caller is the last of the threads.
    fn build(threads: usize) -> Self {
        let pool: &'static forte::ThreadPool = Box::leak(Box::new(forte::ThreadPool::new()));
        pool.resize_to(threads - 1);
        Self { pool, nudges: None }
    }
}

impl Drop for Forte {
    fn drop(&mut self) {
        self.nudges = None;
        self.pool.depopulate();
    }
}

impl Join for ForteJoin {
    type Context<'c> = &'c forte::Worker;

    #[inline(always)]
    fn join<A, B, RA, RB>(context: &mut &forte::Worker, a: A, b: B) -> (RA, RB)
    where
        A: FnOnce(&mut &forte::Worker) -> RA + Send,
        B: FnOnce(&mut &forte::Worker) -> RB + Send,
        RA: Send,
        RB: Send,
    {
        context.join(
            move |mut worker: &forte::Worker| a(&mut worker),
            move |mut worker: &forte::Worker| b(&mut worker),
        )
    }
}

impl JoinPeer for Forte {
    type Join = ForteJoin;

    fn enter<R, F>(&self, work: F) -> R
    where
        R: Send,
        F: FnOnce(&mut &forte::Worker) -> R + Send,
    {
        self.pool.with_worker(|mut worker| work(&mut worker))
    }
}

/// A task with a result is a future that never waits; one without is a closure.
impl SubmitPeer for Forte {
    type Handle<T: Send + 'static> = forte::Task<T>;

    /// A task that a thread outside the pool pushes while the last worker falls asleep may wake no thread. With beta 2, all threads then
    /// park forever, until the next task arrives. A thread sends that next task, so that a run ends and the sample shows the delay.
    fn with_workers(workers: usize) -> Self {
        let mut this = Self::build(workers + 1);
        let (sender, receiver) = mpsc::channel();
        let pool = this.pool;
        thread::spawn(move || {
            while receiver.recv_timeout(NUDGE) == Err(RecvTimeoutError::Timeout) {
                pool.spawn(|_: &forte::Worker| ());
            }
        });
        this.nudges = Some(sender);
        this
    }

    fn submit<T, F>(&self, task: F) -> forte::Task<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.pool.spawn(async move { task() })
    }

    fn spawn<F>(&self, task: F)
    where
        F: FnOnce() + Send + 'static,
    {
        self.pool.spawn(move |_: &forte::Worker| task());
    }

    fn join_all<T>(&self, handles: Vec<forte::Task<T>>, mut each: impl FnMut(T) + Send)
    where
        T: Send + 'static,
    {
        self.pool.block_on(async {
            for handle in handles {
                each(handle.await);
            }
        });
    }

    fn join<T>(&self, handle: forte::Task<T>) -> T
    where
        T: Send + 'static,
    {
        self.pool.block_on(handle)
    }
}
