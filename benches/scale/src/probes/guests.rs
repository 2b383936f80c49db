//! The membarriers that guests cause in a full pool.

use crate::options::ProbeOptions;
use crate::real;
use crate::samples::Samples;
use crate::table;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// How many times one more guest enters and leaves.
const INSTALLS: u32 = 1_000;

/// Counts the heavy barriers of guests that come and go while all places but one are taken by other guests.
pub fn run(options: &ProbeOptions) {
    println!("\nguests: {INSTALLS} installs of nothing, with P - 1 other guests inside");
    let mut rows = Vec::new();
    for threads in options.threads.clone().unwrap_or(vec![2, 4, 16]) {
        let pool = real::pool(threads);
        let (mut barriers, mut times) = (Samples::default(), Samples::default());
        let (entered, leave) = (Barrier::new(threads), Barrier::new(threads));
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| {
                    pool.install(|| {
                        entered.wait();
                        leave.wait();
                    })
                });
            }
            entered.wait();
            // The workers park.
            thread::sleep(Duration::from_millis(30));
            for _ in 0..options.reps {
                let before = pool.stats().scheduler.barriers;
                let begin = Instant::now();
                for _ in 0..INSTALLS {
                    pool.install(|| std::hint::black_box(()));
                }
                times.push(begin.elapsed().as_nanos() as f64 / f64::from(INSTALLS));
                barriers.push((pool.stats().scheduler.barriers - before) as f64);
            }
            leave.wait();
        });
        let mut row = vec![threads.to_string()];
        row.extend(barriers.cells());
        row.extend(times.cells());
        rows.push(row);
    }
    let head = [
        "P",
        "membarriers, min",
        "median",
        "ns an install, min",
        "median",
    ];
    table::print(&head, &rows);
}
