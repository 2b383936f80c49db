//! heist: entered by `install`, in place, as a guest.

use super::peer::{AsyncPeer, JoinPeer, MapPeer, Peer, ScopePeer, SubmitPeer};
use crate::common::contract::{SpawnKernel, Tally};
use crate::common::through_heist::{self, HeistJoin};
use std::future::Future;
use std::time::{Duration, Instant};

/// A heist pool.
pub struct Heist {
    pool: heist::ThreadPool,
}

impl Heist {
    /// The pool's statistics.
    pub fn stats(&self) -> heist::PoolStats {
        self.pool.stats()
    }

    /// The pool itself, for rows that no peer has.
    pub fn pool(&self) -> &heist::ThreadPool {
        &self.pool
    }
}

impl From<heist::ThreadPool> for Heist {
    fn from(pool: heist::ThreadPool) -> Self {
        Self { pool }
    }
}

impl Peer for Heist {
    const NAME: &'static str = "heist";

    fn build(threads: usize) -> Self {
        Self {
            pool: through_heist::pool(threads),
        }
    }
}

impl JoinPeer for Heist {
    type Join = HeistJoin;

    fn enter<R, F>(&self, work: F) -> R
    where
        R: Send,
        F: FnOnce(&mut ()) -> R + Send,
    {
        self.pool.install(|| work(&mut ()))
    }
}

impl ScopePeer for Heist {
    fn time_scope<K: SpawnKernel>(&self, kernel: K, tally: &Tally) -> Duration {
        self.pool.install(|| {
            let start = Instant::now();
            heist::scope(|scope| kernel.run(scope, tally));
            start.elapsed()
        })
    }
}

impl MapPeer for Heist {
    fn map<T, R, F>(&self, items: &[T], f: F) -> Vec<R>
    where
        T: Sync,
        R: Send,
        F: Fn(&T) -> R + Sync + Send,
    {
        self.pool.map(items, f)
    }
}

impl SubmitPeer for Heist {
    type Handle<T: Send + 'static> = heist::JoinHandle<T>;

    fn submit<T, F>(&self, task: F) -> heist::JoinHandle<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.pool.submit(task)
    }

    fn spawn<F>(&self, task: F)
    where
        F: FnOnce() + Send + 'static,
    {
        self.pool.spawn(task);
    }

    fn join_all<T>(&self, handles: Vec<heist::JoinHandle<T>>, mut each: impl FnMut(T) + Send)
    where
        T: Send + 'static,
    {
        for handle in handles {
            each(self.join(handle));
        }
    }

    fn join<T>(&self, handle: heist::JoinHandle<T>) -> T
    where
        T: Send + 'static,
    {
        handle.join().expect("a task panicked")
    }
}

impl AsyncPeer for Heist {
    type Task<T: Send + 'static> = heist::JoinHandle<T>;

    fn submit_async<F>(&self, future: F) -> heist::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.pool.submit_async(future)
    }

    fn spawn_async<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.pool.spawn_async(future);
    }

    async fn result<T: Send + 'static>(task: heist::JoinHandle<T>) -> T {
        task.await.expect("a task panicked")
    }

    fn yield_now() -> impl Future<Output = ()> + Send {
        heist::yield_async()
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        heist::block_on(future)
    }
}
