//! Random kills of workers: every handle resolves, nothing begins more often than it may.

use crate::support::{Log, Test, kill, note, pool_of};
use heist::{Backend, Executor, JoinHandle};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test> {
    vec![
        ("kills::of_workers_at_random_with_one_try", || rounds(1)),
        ("kills::of_workers_at_random_with_five_tries", || rounds(5)),
        ("kills::of_workers_at_random_with_chunks", chunks),
    ]
}

/// Notes that it begins, works long enough to be hit by kills, and squares.
#[heist::task]
fn works(log: String, number: u64) -> u64 {
    let begin = Instant::now();
    note(&log, number);
    while begin.elapsed() < Duration::from_micros(100) {
        std::hint::spin_loop();
    }
    number * number
}

/// The number of seeds. `HEIST_TEST_SEEDS` sets it.
fn seeds() -> u64 {
    std::env::var("HEIST_TEST_SEEDS").map_or(3, |text| text.parse().expect("a number"))
}

const TASKS: usize = 10_000;

/// Stops the kills, also when a test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Kills workers of the pool at random while `body` runs. Returns the number of kills.
fn killing(pool: &heist::ProcessPool, seed: u64, body: impl FnOnce()) -> u64 {
    let (stop, kills) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = SmallRng::seed_from_u64(seed);
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_micros(random.random_range(100..30_000)));
                // Mostly those that have worked: on a busy machine no other one would ever get ready.
                let any = random.random_ratio(1, 8);
                let processes = pool.stats().processes.into_iter();
                let pids = processes.filter(|one| any || one.done + one.under_way as u64 > 0);
                let pids: Vec<_> = pids.map(|process| process.pid).collect();
                if !pids.is_empty() {
                    kill(pids[random.random_range(0..pids.len())]);
                    kills.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let _stop = Stop(&stop);
        body();
    });
    kills.into_inner()
}

fn rounds(tries: u32) {
    for seed in 0..seeds() {
        let workers = [1, 2, 8][seed as usize % 3];
        let (pool, log) = (pool_of(workers), Log::new());
        let mut lost = 0;
        let kills = killing(&pool, seed, || {
            let task = pool.task().tries(tries);
            let submit = |n| task.submit(works::TASK, (log.path(), n));
            let handles: Vec<JoinHandle<u64>> = (0..TASKS as u64).map(submit).collect();
            for (n, handle) in (0..).zip(handles) {
                match handle.join() {
                    Ok(value) => assert_eq!(value, n * n),
                    Err(error) => {
                        let starts = error.lost().unwrap_or_else(|| panic!("{error}")).starts;
                        assert_eq!(starts, tries);
                        lost += 1;
                    }
                }
            }
        });
        let counts = log.counts(TASKS);
        assert!(
            counts.iter().all(|count| *count <= tries),
            "a task has begun too often"
        );
        let stats = pool.stats();
        assert_eq!((stats.completed, stats.lost), (TASKS as u64 - lost, lost));
        assert!(
            lost + stats.retried <= kills,
            "{lost} lost, {} retried, {kills} kills",
            stats.retried
        );
        // A lost task has begun, as far as its worker knew, but may not have come to its first statement.
        let begun = counts.iter().filter(|count| **count > 0).count() as u64;
        assert!(begun + lost >= TASKS as u64);
        println!(
            "seed {seed}, {workers} workers, tries {tries}: {kills} kills, {lost} lost, {} retried",
            stats.retried
        );
    }
}

fn chunks() {
    for seed in 0..seeds() {
        let workers = [1, 2, 8][seed as usize % 3];
        let (pool, log) = (pool_of(workers), Log::new());
        let mut lost = 0;
        let kills = killing(&pool, seed, || {
            let inputs = (0..TASKS as u64).map(|n| (log.path(), n));
            for (n, result) in (0..).zip(pool.imap(works::TASK, inputs)) {
                match result {
                    Ok(value) => assert_eq!(value, n * n),
                    Err(error) => {
                        assert!(error.is_lost(), "{error}");
                        lost += 1;
                    }
                }
            }
        });
        assert!(log.counts(TASKS).iter().all(|count| *count <= 1));
        assert!(lost <= kills, "{lost} lost, {kills} kills");
        println!("seed {seed}, {workers} workers, chunks: {kills} kills, {lost} lost");
    }
}
