//! Rows of few long closures on two threads: is all work in reach of the second worker, and how soon?
//!
//! In a warm row, parallel work ends just before the clock starts, so the other worker may still be awake. In a cold row,
//! the pool has been built and left alone, so its threads sleep or have not been started.

use super::shared::time;
use crate::common::coarse::{Case, Coarse};
use crate::common::contract::JoinKernel;
use crate::common::fib::Fib;
use crate::contest::{Bench, Row};
#[cfg(feature = "forte")]
use crate::contestants::Forte;
use crate::contestants::{Chili, Crossbeam, Heist, JoinPeer, Rayon};
use crate::results::Unit;
use std::thread;
use std::time::{Duration, Instant};

/// The thread count of these rows. The leaves watch the clock, so more threads than cores would show nothing.
const THREADS: usize = 2;

/// The time for which a new pool is left alone before a cold run.
const LEFT_ALONE: Duration = Duration::from_millis(5);

/// Runs the rows.
pub fn run(bench: &mut Bench) {
    let long = Duration::from_millis(bench.pick(50, 10));
    for (name, case, about) in [
        ("c0", Case::C0, "join of two long closures"),
        ("c1", Case::C1, "four long closures in nested joins"),
        (
            "c2",
            Case::C2,
            "join of two long closures inside a join with a tiny one",
        ),
        (
            "c3",
            Case::C3,
            "join of two long closures, the other worker busy at first",
        ),
    ] {
        let kernel = Coarse { case, long };
        bench.row(&format!("coarse-{name}-cold/{THREADS}"), |_| {
            let mut row = new_row(&kernel, about);
            add_cold::<Heist>(&mut row, kernel);
            add_cold::<Rayon>(&mut row, kernel);
            add_cold::<Chili>(&mut row, kernel);
            #[cfg(feature = "forte")]
            add_cold::<Forte>(&mut row, kernel);
            add_cold::<Crossbeam>(&mut row, kernel);
            row
        });
        bench.row(&format!("coarse-{name}-warm/{THREADS}"), |_| {
            let mut row = new_row(&kernel, about);
            add_warm::<Heist>(&mut row, kernel);
            add_warm::<Rayon>(&mut row, kernel);
            add_warm::<Chili>(&mut row, kernel);
            #[cfg(feature = "forte")]
            add_warm::<Forte>(&mut row, kernel);
            add_warm::<Crossbeam>(&mut row, kernel);
            row
        });
    }
}

/// A row with the serial program in it.
fn new_row<'a>(kernel: &Coarse, about: &str) -> Row<'a> {
    let kernel = *kernel;
    let about = format!("{about}, {} ms each", kernel.long.as_millis());
    let mut row = Row::new(about, Unit::Milliseconds).ideal(kernel.ideal_on_two());
    row.add("serial", 1, move || time(|| kernel.serial()).0);
    row
}

fn add_cold<P: JoinPeer>(row: &mut Row<'_>, kernel: Coarse) {
    row.add(P::NAME, 1, move || {
        let pool = P::build(THREADS);
        thread::sleep(LEFT_ALONE);
        pool.time(&kernel).0
    });
}

fn add_warm<'a, P: JoinPeer + 'a>(row: &mut Row<'a>, kernel: Coarse) {
    let pool = P::build(THREADS);
    row.add(P::NAME, 1, move || {
        pool.enter(|context| {
            Fib { n: 22 }.run::<P::Join>(context);
            let start = Instant::now();
            kernel.run::<P::Join>(context);
            start.elapsed()
        })
    });
}
