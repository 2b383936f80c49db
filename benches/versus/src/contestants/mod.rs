//! The contestants: each scheduler behind the interfaces of the kernels, used as its documentation advises.
//!
//! `threads` means the same for all: that many threads work at a time. Where the caller takes part (heist, chili,
//! forte), it is one of them; where it hands over and sleeps (rayon, crossbeam, naive), there are that many workers.

mod chili;
mod crossbeam;
#[cfg(feature = "forte")]
mod forte;
mod heist;
mod naive;
mod rayon;

pub use self::chili::Chili;
pub use self::crossbeam::Crossbeam;
#[cfg(feature = "forte")]
pub use self::forte::Forte;
pub use self::heist::Heist;
pub use self::naive::Naive;
pub use self::rayon::Rayon;

use crate::common::contract::{Join, JoinKernel, SpawnKernel, Tally};
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

    /// Runs a kernel in the pool; the time is taken inside, without the entering.
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
    /// Runs a kernel in a scope in the pool; the time is taken inside, from the scope's opening to its end.
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
