//! How often thieves force.

use crate::options::ProbeOptions;
use crate::real;
use crate::samples::Samples;
use crate::table;
use crate::workload::{Ns, Shape, Workload};
use std::thread;
use std::time::Duration;

/// The time that each of the two threads has to work at best.
const PER_THREAD: Ns = 10_000_000;

/// Counts forces and steals of a random tree on two threads.
pub fn run(options: &ProbeOptions) {
    println!("\nforces: random tree on 2 threads, 10 ms each, per run");
    let pool = real::pool(2);
    let mut rows = Vec::new();
    for leaf in [1_000, 2_000, 5_000, 20_000] {
        let workload = Workload::of(Shape::Random, 2, PER_THREAD, leaf);
        let mut columns: [Samples; 4] = Default::default();
        for run in 0..2 * options.reps as u64 {
            thread::sleep(Duration::from_millis(2));
            let events = real::events_of(&pool, || real::run(&workload, 31 * run + 1));
            let (steals, forces) = (events.steals as f64, events.forces as f64);
            let figures = [
                forces / steals.max(1.0),
                forces,
                steals,
                events.requests as f64,
            ];
            for (samples, figure) in columns.iter_mut().zip(figures) {
                samples.push(figure);
            }
        }
        let mut row = vec![format!("{} us", leaf / 1_000)];
        row.extend(columns.iter().flat_map(Samples::cells));
        rows.push(row);
    }
    let head = [
        "leaves",
        "forces per steal, min",
        "median",
        "forces, min",
        "median",
        "steals, min",
        "median",
        "requests, min",
        "median",
    ];
    table::print(&head, &rows);
}
