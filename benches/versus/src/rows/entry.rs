//! Rows that enter a pool from a thread outside of it: what a small parallel job costs in a serial program.
//!
//! In rows that call back to back, the pool may still be awake from the last call. In parked rows, the pool has been left alone.

use crate::common::contract::{Join, JoinKernel};
use crate::common::maps::{self, CheapMapByJoin};
use crate::common::naive::NaivePool;
use crate::contest::{Bench, Row};
#[cfg(feature = "forte")]
use crate::contestants::Forte;
use crate::contestants::{Chili, Crossbeam, Heist, JoinPeer, MapPeer, Naive, Peer, Rayon};
use crate::results::Unit;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

/// The pools' size.
const THREADS: usize = 2;

/// Items of the small map.
const ITEMS: usize = 1_000;

/// The time for which a pool is left alone before a parked call.
const LEFT_ALONE: Duration = Duration::from_millis(2);

/// Runs the rows.
pub fn run(bench: &mut Bench) {
    for pace in [Pace::BackToBack, Pace::Parked] {
        let suffix = match pace {
            Pace::BackToBack => "",
            Pace::Parked => "-parked",
        };
        bench.row(&format!("enter{suffix}/{THREADS}"), |bench| {
            enter(pace, bench)
        });
        bench.row(&format!("enter-join{suffix}/{THREADS}"), |bench| {
            enter_join(pace, bench)
        });
        bench.row(&format!("enter-map{suffix}/{THREADS}"), |bench| {
            enter_map(pace, bench)
        });
    }
}

/// How the calls follow each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    BackToBack,
    Parked,
}

impl Pace {
    fn calls(self, bench: &Bench) -> u64 {
        match self {
            Pace::BackToBack => bench.pick(5_000, 1_000),
            Pace::Parked => bench.pick(40, 10),
        }
    }

    /// Makes `calls` calls and returns the time that they take, without the pauses between them.
    fn time<R>(self, calls: u64, mut call: impl FnMut() -> R) -> Duration {
        match self {
            Pace::BackToBack => {
                let start = Instant::now();
                for _ in 0..calls {
                    black_box(call());
                }
                start.elapsed()
            }
            Pace::Parked => (0..calls)
                .map(|_| {
                    thread::sleep(LEFT_ALONE);
                    let start = Instant::now();
                    black_box(call());
                    start.elapsed()
                })
                .sum(),
        }
    }

    fn row<'a>(self, about: &str) -> Row<'a> {
        let pace = match self {
            Pace::BackToBack => "back to back",
            Pace::Parked => "from a parked pool",
        };
        Row::new(format!("{about}, {pace}"), Unit::MicrosecondsPer("call"))
    }
}

/// Enters the pool and does nothing there: `install`, and what comes closest to it.
fn enter<'a>(pace: Pace, bench: &Bench) -> Row<'a> {
    fn add<'a, P: JoinPeer + 'a>(row: &mut Row<'a>, pace: Pace, calls: u64) {
        let pool = P::build(THREADS);
        row.add(P::NAME, calls, move || {
            pace.time(calls, || pool.enter(|_| black_box(1)))
        });
    }

    let calls = pace.calls(bench);
    let mut row = pace.row("a trivial install");
    row.add("serial", calls, move || pace.time(calls, || black_box(1)));
    add::<Heist>(&mut row, pace, calls);
    add::<Rayon>(&mut row, pace, calls);
    add::<Chili>(&mut row, pace, calls);
    #[cfg(feature = "forte")]
    add::<Forte>(&mut row, pace, calls);
    add::<Crossbeam>(&mut row, pace, calls);
    let naive = NaivePool::new(THREADS);
    row.add(Naive::NAME, calls, move || {
        pace.time(calls, || {
            naive.scope(|scope| {
                scope.spawn(|_| {
                    black_box(1);
                })
            });
        })
    });
    row
}

/// Enters the pool for one join of two trivial closures.
fn enter_join<'a>(pace: Pace, bench: &Bench) -> Row<'a> {
    fn add<'a, P: JoinPeer + 'a>(row: &mut Row<'a>, pace: Pace, calls: u64) {
        let pool = P::build(THREADS);
        row.add(P::NAME, calls, move || {
            pace.time(calls, || {
                pool.enter(|context| P::Join::join(context, |_| black_box(1), |_| black_box(2)))
            })
        });
    }

    let calls = pace.calls(bench);
    let mut row = pace.row("one join of two trivial closures");
    row.add("serial", calls, move || {
        pace.time(calls, || (black_box(1), black_box(2)))
    });
    add::<Heist>(&mut row, pace, calls);
    add::<Rayon>(&mut row, pace, calls);
    add::<Chili>(&mut row, pace, calls);
    #[cfg(feature = "forte")]
    add::<Forte>(&mut row, pace, calls);
    add::<Crossbeam>(&mut row, pace, calls);
    row
}

/// A map of a thousand cheap items. Schedulers without a map join down to single items.
fn enter_map<'a>(pace: Pace, bench: &Bench) -> Row<'a> {
    fn add_map<'a, P: MapPeer + 'a>(row: &mut Row<'a>, pace: Pace, calls: u64) {
        let pool = P::build(THREADS);
        let items = maps::cheap_items(ITEMS);
        assert_eq!(pool.map(&items, maps::cheap), maps::serial_cheap(&items));
        row.add(P::NAME, calls, move || {
            pace.time(calls, || pool.map(black_box(&items), maps::cheap))
        });
    }

    fn add_join<'a, P: JoinPeer + 'a>(row: &mut Row<'a>, pace: Pace, calls: u64) {
        let pool = P::build(THREADS);
        let kernel = CheapMapByJoin {
            items: maps::cheap_items(ITEMS),
        };
        assert_eq!(pool.time(&kernel).1, kernel.serial());
        row.add(P::NAME, calls, move || {
            pace.time(calls, || {
                pool.enter(|context| black_box(&kernel).run::<P::Join>(context))
            })
        });
    }

    let calls = pace.calls(bench);
    let mut row = pace.row("a map of 1,000 cheap items");
    let items = maps::cheap_items(ITEMS);
    row.add("serial", calls, move || {
        pace.time(calls, || maps::serial_cheap(black_box(&items)))
    });
    add_map::<Heist>(&mut row, pace, calls);
    add_map::<Rayon>(&mut row, pace, calls);
    add_join::<Chili>(&mut row, pace, calls);
    #[cfg(feature = "forte")]
    add_join::<Forte>(&mut row, pace, calls);
    add_join::<Crossbeam>(&mut row, pace, calls);
    add_map::<Naive>(&mut row, pace, calls);
    row
}
