//! The cost of a search that finds nothing.

use crate::options::ProbeOptions;
use crate::real;
use crate::samples::Samples;
use crate::table;
use heist::ThreadPool;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

/// How many threads from outside have been in the pool at once before the second measurement.
const GUESTS: usize = 1_000;

/// How many searches one sample consists of, and how many samples are taken for each repetition that is asked for.
const SEARCHES: u32 = 20;

/// Measures searches of pools whose workers are parked, or in the middle of tasks.
pub fn run(options: &ProbeOptions) {
    println!("\nsearch: one look at all queues of a pool, lines clean, ns");
    let mut rows = Vec::new();
    for threads in options.threads.clone().unwrap_or(vec![2, 8, 32, 128, 512]) {
        let pool = real::pool(threads);
        rows.push(row(&pool, threads, "parked", options));
        enter_at_once(&pool);
        rows.push(row(&pool, threads, "parked, after 1,000 guests", options));
        let (leave, begun) = (
            Arc::new(Barrier::new(threads + 1)),
            Arc::new(Barrier::new(threads + 1)),
        );
        for _ in 0..threads {
            let (leave, begun) = (Arc::clone(&leave), Arc::clone(&begun));
            pool.spawn(move || {
                begun.wait();
                leave.wait();
            });
        }
        begun.wait();
        rows.push(row(&pool, threads, "busy", options));
        leave.wait();
    }
    let head = [
        "P",
        "workers",
        "min",
        "median",
        "a worker, min",
        "a worker, median",
    ];
    table::print(&head, &rows);
}

fn row(pool: &ThreadPool, threads: usize, workers: &str, options: &ProbeOptions) -> Vec<String> {
    // The threads park.
    thread::sleep(Duration::from_millis(30 + threads as u64 / 2));
    let searches = pool.install(|| {
        let sample = |_| {
            let begin = Instant::now();
            for _ in 0..SEARCHES {
                heist::yield_now();
            }
            begin.elapsed().as_nanos() as f64 / f64::from(SEARCHES)
        };
        (0..4 * options.reps).map(sample).collect::<Vec<_>>()
    });
    let each: Samples = searches
        .iter()
        .map(|search| search / threads as f64)
        .collect();
    let all: Samples = searches.into_iter().collect();
    let mut row = vec![threads.to_string(), workers.to_owned()];
    row.extend(all.cells());
    row.extend(each.cells());
    row
}

/// Has many threads from outside be in the pool at the same time.
fn enter_at_once(pool: &ThreadPool) {
    let inside = Barrier::new(GUESTS);
    thread::scope(|scope| {
        for _ in 0..GUESTS {
            scope.spawn(|| {
                pool.install(|| {
                    inside.wait();
                })
            });
        }
    });
}
