//! What several rows share: the clock, and adding every scheduler that can run a kernel.

use crate::common::contract::{JoinKernel, SpawnKernel, Tally};
use crate::contest::Row;
#[cfg(feature = "forte")]
use crate::contestants::Forte;
use crate::contestants::{Chili, Crossbeam, Heist, JoinPeer, Peer, Rayon, ScopePeer};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Times `work`. What it returns is dropped after the clock is read.
pub fn time<R>(work: impl FnOnce() -> R) -> (Duration, R) {
    let start = Instant::now();
    let result = black_box(work());
    (start.elapsed(), result)
}

/// Adds the serial program and every scheduler that can join, on pools of `threads` threads.
pub fn add_join_contestants<'a, K: JoinKernel>(row: &mut Row<'a>, kernel: &'a K, threads: usize) {
    row.add("serial", kernel.units(), || time(|| kernel.serial()).0);
    add_join_peer::<Heist, K>(row, kernel, threads);
    add_join_peer::<Rayon, K>(row, kernel, threads);
    add_join_peer::<Chili, K>(row, kernel, threads);
    #[cfg(feature = "forte")]
    add_join_peer::<Forte, K>(row, kernel, threads);
    add_join_peer::<Crossbeam, K>(row, kernel, threads);
}

fn add_join_peer<'a, P, K>(row: &mut Row<'a>, kernel: &'a K, threads: usize)
where
    P: JoinPeer + 'a,
    K: JoinKernel,
{
    let pool = P::build(threads);
    let expected = kernel.serial();
    row.add(P::NAME, kernel.units(), move || {
        let (duration, answer) = pool.time(kernel);
        assert!(
            answer == expected,
            "{} computed something else than the serial program",
            P::NAME
        );
        duration
    });
}

/// Adds a scheduler that runs a kernel with a spawned task per node, on a pool of `threads` threads.
pub fn add_scope_peer<'a, P, K>(row: &mut Row<'a>, kernel: K, threads: usize)
where
    P: ScopePeer + 'a,
    K: SpawnKernel + 'a,
{
    let pool = P::build(threads);
    let expected = kernel.serial();
    row.add(P::NAME, kernel.spawns(), move || {
        let tally = Tally::default();
        let duration = pool.time_scope(kernel, &tally);
        assert_eq!(tally.total(), expected, "{} lost a task", P::NAME);
        duration
    });
}

/// The thread count of rows that have only one.
pub const THREADS: usize = 2;

/// Makes a pool that is never freed, because tasks refer to it.
pub fn leak<P: Peer>(threads: usize) -> &'static P {
    Box::leak(Box::new(P::build(threads)))
}
