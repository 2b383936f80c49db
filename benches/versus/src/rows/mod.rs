//! The timed rows, one file a theme. A row's name is what is run, a slash, and the number of threads.

mod busy;
mod coarse;
mod entry;
mod join;
mod map;
mod scope;
mod stream;
mod submit;
mod tree;

use crate::common::contract::{JoinKernel, SpawnKernel, Tally};
use crate::contest::{Bench, Row};
#[cfg(feature = "forte")]
use crate::contestants::Forte;
use crate::contestants::{Chili, Crossbeam, Heist, JoinPeer, Rayon, ScopePeer};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Runs every row that is wanted.
pub fn run_all(bench: &mut Bench) {
    join::run(bench);
    tree::run(bench);
    coarse::run(bench);
    scope::run(bench);
    map::run(bench);
    entry::run(bench);
    submit::run(bench);
    stream::run(bench);
    busy::run(bench);
}

/// Times `work`. What it returns is dropped after the clock is read.
fn time<R>(work: impl FnOnce() -> R) -> (Duration, R) {
    let start = Instant::now();
    let result = black_box(work());
    (start.elapsed(), result)
}

/// Adds the serial program and every scheduler that can join, on pools of `threads` threads.
fn add_join_contestants<'a, K: JoinKernel>(row: &mut Row<'a>, kernel: &'a K, threads: usize) {
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
fn add_scope_peer<'a, P, K>(row: &mut Row<'a>, kernel: K, threads: usize)
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
