//! heist: entered by `install`, in place, as a guest.

use super::{JoinPeer, MapPeer, Peer, ScopePeer};
use crate::common::contract::{SpawnKernel, Tally};
use crate::common::through_heist::{self, HeistJoin};
use std::time::{Duration, Instant};

/// A heist pool.
pub struct Heist {
    pool: heist::ThreadPool,
}

impl Heist {
    /// What the pool counted so far.
    pub fn stats(&self) -> heist::PoolStats {
        self.pool.stats()
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
