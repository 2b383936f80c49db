//! The totals of a pool add up after any schedule of submits, cancels, deadlines and panics.

use crate::support::{LONG, Ledger, hold_all, on_pool, pool_with, spin_until, watched, work};
use heist::{JoinHandle, ThreadPool};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::mem;

#[test]
fn queued_counts_fall_when_tasks_are_cancelled() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let handles: Vec<_> = (0..10).map(|n| pool.submit(move || n)).collect();
        assert_eq!(pool.stats().queued, 10);
        assert!(handles[0].cancel());
        let stats = pool.stats();
        assert_eq!(
            (stats.cancelled, stats.submitted),
            (1, 10 + pool.num_threads() as u64)
        );
        held.open();
        pool.wait_idle();
        assert_eq!(pool.stats().queued, 0);
    });
}

#[test]
fn cancelled_tasks_are_not_queued() {
    on_pool(|pool| {
        let _held = hold_all(pool);
        let handles: Vec<_> = (0..10).map(|n| pool.submit(move || n)).collect();
        for handle in &handles {
            handle.cancel();
        }
        assert_eq!(pool.stats().queued, 0);
    });
}

/// What the oracle knows about one task.
struct Entry {
    handle: JoinHandle<u64>,
    number: u64,
    panics: bool,
}

/// A pool under a random schedule, and the totals that the oracle expects.
struct Schedule {
    seed: u64,
    rng: StdRng,
    pool: ThreadPool,
    ledger: Ledger,
    entries: Vec<Entry>,
    submitted: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
    /// Tasks whose handles were dropped. They may have ended in any way.
    unknown: u64,
    /// The number of tasks that had ended at the last check.
    ended: u64,
}

#[test]
fn totals_are_exact_after_any_schedule() {
    watched(|| {
        for seed in 0..200 {
            let mut schedule = Schedule::new(seed);
            for number in 0..schedule.rng.random_range(20..200_u64) {
                schedule.step(number);
            }
            schedule.end();
        }
    });
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let bound: Option<usize> = rng.random_bool(0.3).then(|| rng.random_range(1..20));
        let pool = pool_with(|b| match bound {
            Some(capacity) => b.queue_capacity(capacity),
            None => b,
        });
        Schedule {
            seed,
            rng,
            pool,
            ledger: Ledger::new(400),
            entries: Vec::new(),
            submitted: 0,
            completed: 0,
            failed: 0,
            cancelled: 0,
            unknown: 0,
            ended: 0,
        }
    }

    fn step(&mut self, number: u64) {
        let seed = self.seed;
        match self.rng.random_range(0..10) {
            0..5 => self.submit(number),
            5 | 6 if !self.entries.is_empty() => {
                let place = self.rng.random_range(0..self.entries.len());
                let handle = &self.entries[place].handle;
                if handle.cancel() {
                    assert!(handle.wait_timeout(LONG) && handle.is_cancelled());
                }
            }
            7 if !self.entries.is_empty() => {
                let entry = self.any_entry();
                self.settle(entry);
            }
            8 if !self.entries.is_empty() => {
                drop(self.any_entry());
                self.unknown += 1;
            }
            9 => {
                self.pool.set_num_threads(self.rng.random_range(1..6));
            }
            _ => {
                let stats = self.pool.stats();
                let ended = stats.completed + stats.failed + stats.cancelled;
                assert!(ended >= self.ended, "seed {seed}");
                assert!(ended <= stats.submitted, "seed {seed}");
                self.ended = ended;
            }
        }
    }

    fn submit(&mut self, number: u64) {
        let (panics, rounds) = (self.rng.random_bool(0.1), self.rng.random_range(0..300));
        let ticket = self.ledger.ticket(self.submitted as usize);
        let handle = self.pool.submit(move || {
            let _ticket = ticket;
            work(rounds);
            if panics {
                std::panic::resume_unwind(Box::new("on purpose"));
            }
            number
        });
        self.submitted += 1;
        self.entries.push(Entry {
            handle,
            number,
            panics,
        });
    }

    fn any_entry(&mut self) -> Entry {
        let place = self.rng.random_range(0..self.entries.len());
        self.entries.swap_remove(place)
    }

    fn settle(&mut self, entry: Entry) {
        match entry.handle.join() {
            Ok(value) => {
                assert!(!entry.panics && value == entry.number);
                self.completed += 1;
            }
            Err(error) if error.is_panic() => {
                assert!(entry.panics);
                self.failed += 1;
            }
            Err(error) => {
                assert!(error.is_cancelled(), "seed {}: {error}", self.seed);
                self.cancelled += 1;
            }
        }
    }

    fn end(mut self) {
        let seed = self.seed;
        match self.rng.random_range(0..3) {
            0 => self.pool.wait_idle(),
            1 => self.pool.shutdown(),
            _ => {
                self.pool.shutdown_now();
            }
        }
        for entry in mem::take(&mut self.entries) {
            assert!(entry.handle.wait_timeout(LONG), "seed {seed}");
            self.settle(entry);
        }
        self.pool.wait_idle();
        let stats = self.pool.stats();
        assert_eq!(stats.submitted, self.submitted, "seed {seed}");
        let ended = stats.completed + stats.failed + stats.cancelled;
        assert_eq!(ended, self.submitted, "seed {seed}: {stats:?}");
        let known = self.completed + self.failed + self.cancelled;
        assert_eq!(ended - known, self.unknown, "seed {seed}");
        assert!(stats.completed >= self.completed, "seed {seed}");
        assert!(stats.failed >= self.failed, "seed {seed}");
        assert!(stats.cancelled >= self.cancelled, "seed {seed}");
        drop(self.pool);
        spin_until(|| self.ledger.dropped() == self.submitted as usize);
        self.ledger.assert_settled();
    }
}
