//! rayon: entered by `install`, which hands over to a worker and sleeps. Results of single tasks come by a oneshot
//! channel.

use super::peer::{JoinPeer, MapPeer, Peer, ScopePeer, SpawnPeer};
use crate::common::contract::{Join, Spawn, SpawnKernel, Tally};
use rayon::prelude::*;
use std::time::{Duration, Instant};

/// A rayon pool.
pub struct Rayon {
    pool: rayon::ThreadPool,
}

/// `rayon::join`.
pub struct RayonJoin;

impl Peer for Rayon {
    const NAME: &'static str = "rayon";

    fn build(threads: usize) -> Self {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("rayon's pool could not be built");
        Self { pool }
    }
}

impl Join for RayonJoin {
    type Context<'c> = ();

    #[inline(always)]
    fn join<A, B, RA, RB>(_context: &mut (), a: A, b: B) -> (RA, RB)
    where
        A: FnOnce(&mut ()) -> RA + Send,
        B: FnOnce(&mut ()) -> RB + Send,
        RA: Send,
        RB: Send,
    {
        rayon::join(move || a(&mut ()), move || b(&mut ()))
    }
}

impl JoinPeer for Rayon {
    type Join = RayonJoin;

    fn enter<R, F>(&self, work: F) -> R
    where
        R: Send,
        F: FnOnce(&mut ()) -> R + Send,
    {
        self.pool.install(|| work(&mut ()))
    }
}

impl<'scope> Spawn<'scope> for rayon::Scope<'scope> {
    #[inline]
    fn spawn<F>(&self, task: F)
    where
        F: FnOnce(&Self) + Send + 'scope,
    {
        rayon::Scope::spawn(self, task);
    }
}

impl ScopePeer for Rayon {
    fn time_scope<K: SpawnKernel>(&self, kernel: K, tally: &Tally) -> Duration {
        self.pool.install(|| {
            let start = Instant::now();
            rayon::scope(|scope| kernel.run(scope, tally));
            start.elapsed()
        })
    }
}

impl MapPeer for Rayon {
    fn map<T, R, F>(&self, items: &[T], f: F) -> Vec<R>
    where
        T: Sync,
        R: Send,
        F: Fn(&T) -> R + Sync + Send,
    {
        self.pool.install(|| items.par_iter().map(f).collect())
    }
}

impl SpawnPeer for Rayon {
    fn spawn_task<F>(&self, task: F)
    where
        F: FnOnce() + Send + 'static,
    {
        self.pool.spawn(task);
    }
}
