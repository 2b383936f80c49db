//! The naive pool: one queue, one lock. It has no join. Results of single tasks come by a oneshot channel.

use super::peer::{MapPeer, Peer, ScopePeer, SpawnPeer};
use crate::common::contract::{SpawnKernel, Tally};
use crate::common::naive::NaivePool;
use std::time::{Duration, Instant};

/// A naive pool.
pub struct Naive {
    pool: NaivePool,
}

impl Peer for Naive {
    const NAME: &'static str = "naive";

    fn build(threads: usize) -> Self {
        Self {
            pool: NaivePool::new(threads),
        }
    }
}

impl ScopePeer for Naive {
    fn time_scope<K: SpawnKernel>(&self, kernel: K, tally: &Tally) -> Duration {
        let start = Instant::now();
        self.pool.scope(|scope| kernel.run(scope, tally));
        start.elapsed()
    }
}

impl MapPeer for Naive {
    fn map<T, R, F>(&self, items: &[T], f: F) -> Vec<R>
    where
        T: Sync,
        R: Send,
        F: Fn(&T) -> R + Sync + Send,
    {
        self.pool.map(items, f)
    }
}

impl SpawnPeer for Naive {
    fn spawn_task<F>(&self, task: F)
    where
        F: FnOnce() + Send + 'static,
    {
        self.pool.spawn(task);
    }
}
