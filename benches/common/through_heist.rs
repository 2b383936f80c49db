//! heist behind the two interfaces of the kernels. No other file of this folder names heist.

use super::contract::{Join, Spawn};

/// `heist::join`, on the pool of the current worker or guest.
pub struct HeistJoin;

impl Join for HeistJoin {
    type Context<'c> = ();

    #[inline(always)]
    fn join<A, B, RA, RB>(_context: &mut (), a: A, b: B) -> (RA, RB)
    where
        A: FnOnce(&mut ()) -> RA + Send,
        B: FnOnce(&mut ()) -> RB + Send,
        RA: Send,
        RB: Send,
    {
        heist::join(move || a(&mut ()), move || b(&mut ()))
    }
}

impl<'scope> Spawn<'scope> for heist::Scope<'scope> {
    #[inline]
    fn spawn<F>(&self, task: F)
    where
        F: FnOnce(&Self) + Send + 'scope,
    {
        heist::Scope::spawn(self, task);
    }
}

/// A pool of `threads` workers with default settings.
pub fn pool(threads: usize) -> heist::ThreadPool {
    heist::ThreadPool::builder()
        .num_threads(threads)
        .build()
        .expect("a pool for the bench could not be built")
}
