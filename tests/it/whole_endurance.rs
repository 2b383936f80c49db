//! Many pools and many tasks: totals stay exact, and neither threads nor memory are left.

use crate::support::{
    LONG, Ledger, isolated, live_threads, on_pool, pool_with, pool_with_thieves, spin_until,
    threads, watched, work,
};
use heist::{JoinHandle, JoinSet, ThreadPool};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// The number of rounds, multiplied by ten if `HEIST_TEST_LONG` is set.
fn much(n: usize) -> usize {
    match std::env::var_os("HEIST_TEST_LONG") {
        Some(_) => 10 * n,
        None => n,
    }
}

#[test]
fn ten_thousand_pools_leave_no_thread() {
    isolated(
        "whole_endurance::ten_thousand_pools_leave_no_thread",
        || {
            let before = live_threads();
            let ran = Arc::new(AtomicUsize::new(0));
            for round in 0..much(10_000) {
                let pool = pool_with(|b| b);
                let count = Arc::clone(&ran);
                let handle = pool.submit(move || count.fetch_add(1, Ordering::Relaxed));
                match round % 7 {
                    0 => drop(handle.join().unwrap()),
                    1 => pool.shutdown(),
                    2 => assert!(pool.imap(0..3, |n| n).map(Result::unwrap).eq(0..3)),
                    3 => assert_eq!(pool.scope(|s| s.submit(|_| 3).join()).unwrap(), 3),
                    4 => drop(pool.clone()),
                    5 => pool.wait_idle(),
                    _ => (),
                }
                drop(pool);
                // The drop has joined the threads; they do not end later.
                if round % 100 == 0 {
                    spin_until(|| live_threads() == before);
                }
            }
            assert_eq!(ran.load(Ordering::Relaxed), much(10_000));
            spin_until(|| live_threads() == before);
        },
    );
}

/// The totals that the oracle expects, and the handles of tasks that may end in several ways.
#[derive(Default)]
struct Oracle {
    submitted: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
    /// The number of detached tasks that panic. Detached tasks always run.
    detached: u64,
    detached_panics: u64,
    open: Vec<Open>,
}

struct Open {
    handle: JoinHandle<u64>,
    number: u64,
    panics: bool,
}

impl Oracle {
    fn submit(&mut self, pool: &ThreadPool, rng: &mut StdRng, ran: &Arc<AtomicUsize>) {
        let (number, panics, rounds) = (
            self.submitted,
            rng.random_bool(0.01),
            rng.random_range(0..20),
        );
        let ran = Arc::clone(ran);
        let handle = pool.submit(move || {
            ran.fetch_add(1, Ordering::Relaxed);
            work(rounds);
            if panics {
                std::panic::resume_unwind(Box::new(number));
            }
            number
        });
        self.submitted += 1;
        self.open.push(Open {
            handle,
            number,
            panics,
        });
    }

    fn settle(&mut self, open: Open) {
        match open.handle.join() {
            Ok(number) => {
                assert!(!open.panics && number == open.number);
                self.completed += 1;
            }
            Err(error) if error.is_panic() => {
                let number = error.into_panic().downcast::<u64>().unwrap();
                assert!(open.panics && *number == open.number);
                self.failed += 1;
            }
            Err(error) => {
                assert!(error.is_cancelled());
                self.cancelled += 1;
            }
        }
    }

    fn check(&self, pool: &ThreadPool, ran: &AtomicUsize) {
        let stats = pool.stats();
        assert_eq!(stats.submitted, self.submitted);
        assert_eq!(stats.cancelled, self.cancelled);
        assert_eq!(stats.failed, self.failed + self.detached_panics);
        let completed = self.completed + self.detached - self.detached_panics;
        assert_eq!(stats.completed, completed);
        assert_eq!(stats.lost_panics, self.detached_panics);
        assert_eq!(
            ran.load(Ordering::Relaxed) as u64,
            stats.completed + stats.failed
        );
        assert_eq!(stats.queued, 0);
    }
}

fn random_life(seed: u64, tasks: usize) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (pool, ran) = (pool_with(|b| b), Arc::new(AtomicUsize::new(0)));
    let mut oracle = Oracle::default();
    while (oracle.submitted as usize) < tasks {
        for _ in 0..rng.random_range(1..64) {
            oracle.submit(&pool, &mut rng, &ran);
        }
        for _ in 0..rng.random_range(0..64) {
            if oracle.open.is_empty() {
                break;
            }
            let place = rng.random_range(0..oracle.open.len());
            match rng.random_range(0..4) {
                0 => {
                    let open = &oracle.open[place];
                    if open.handle.cancel() {
                        assert!(open.handle.is_cancelled());
                        let open = oracle.open.swap_remove(place);
                        oracle.cancelled += 1;
                        drop(open);
                    }
                }
                1 => {
                    let open = oracle.open.swap_remove(place);
                    oracle.detached += 1;
                    oracle.detached_panics += u64::from(open.panics);
                    open.handle.detach();
                }
                _ => {
                    let open = oracle.open.swap_remove(place);
                    oracle.settle(open);
                }
            }
        }
        if rng.random_bool(0.02) {
            pool.set_num_threads(rng.random_range(1..=threads() + 2));
        }
        if rng.random_bool(0.01) {
            pool.wait_idle();
            assert!(oracle.open.iter().all(|open| open.handle.is_finished()));
        }
        // Joining now and then keeps the memory small.
        while oracle.open.len() > 1000 {
            let open = oracle.open.swap_remove(0);
            oracle.settle(open);
        }
    }
    for open in std::mem::take(&mut oracle.open) {
        oracle.settle(open);
    }
    pool.wait_idle();
    oracle.check(&pool, &ran);
}

#[test]
fn a_million_random_tasks_have_exact_totals() {
    let name = "whole_endurance::a_million_random_tasks_have_exact_totals";
    isolated(name, || random_life(1, much(600_000)));
}

#[test]
fn random_lives_inside_a_task_have_exact_totals() {
    watched(|| {
        for seed in 0..10 {
            let outer = pool_with_thieves();
            outer
                .submit(move || random_life(seed, 2_000))
                .join()
                .unwrap();
        }
    });
}

#[test]
fn many_threads_submit_and_join_with_exact_totals() {
    on_pool(|pool| {
        let (threads, each) = (4, much(400_000) / 4);
        let submitters: Vec<_> = (0..threads)
            .map(|_| {
                let own = pool.clone();
                std::thread::spawn(move || {
                    let mut set = JoinSet::new(&own);
                    let mut sum = 0;
                    for n in 0..each {
                        set.spawn(move || n);
                        if set.len() > 200 {
                            sum += set.join_next().unwrap().unwrap();
                        }
                    }
                    while let Some(n) = set.join_next() {
                        sum += n.unwrap();
                    }
                    sum
                })
            })
            .collect();
        for submitter in submitters {
            assert_eq!(submitter.join().unwrap(), each * (each - 1) / 2);
        }
        pool.wait_idle();
        let stats = pool.stats();
        let all = (threads * each) as u64;
        assert_eq!((stats.submitted, stats.completed), (all, all));
    });
}

/// Waits until the values behind the weak pointers are dropped, while no thread of the test does anything.
fn gone(weak: &[Weak<usize>]) {
    spin_until(|| weak.iter().all(|weak| weak.strong_count() == 0));
}

#[test]
fn no_closure_is_kept_after_it_ran_though_its_handle_is() {
    on_pool(|pool| {
        let things: Vec<Arc<usize>> = (0..500).map(Arc::new).collect();
        let weak: Vec<_> = things.iter().map(Arc::downgrade).collect();
        let handles: Vec<_> = things
            .into_iter()
            .map(|thing| pool.submit(move || *thing))
            .collect();
        for handle in &handles {
            assert!(handle.wait_timeout(LONG));
        }
        // This happens before the handle reports finished.
        assert!(weak.iter().all(|weak| weak.strong_count() == 0));
        for (n, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.join().unwrap(), n);
        }
    });
}

#[test]
fn no_result_is_kept_after_its_handle() {
    on_pool(|pool| {
        for ends in [drop::<JoinHandle<Arc<usize>>>, JoinHandle::detach] {
            let (made, makes) = std::sync::mpsc::channel();
            for n in 0..500 {
                let made = made.clone();
                let handle = pool.submit(move || {
                    let thing = Arc::new(n);
                    made.send(Arc::downgrade(&thing)).unwrap();
                    thing
                });
                if n % 2 == 0 {
                    assert!(handle.wait_timeout(LONG));
                }
                ends(handle);
            }
            let weak: Vec<_> = makes.iter().take(500).collect();
            gone(&weak);
        }
    });
}

#[test]
fn no_cancelled_closure_is_kept_though_its_handle_and_a_blocked_pool_are() {
    on_pool(|pool| {
        let held = crate::support::hold_all(pool);
        let ledger = Ledger::new(500);
        let handles: Vec<_> = ledger
            .tickets()
            .into_iter()
            .map(|ticket| pool.submit(move || drop(ticket)))
            .collect();
        assert!(handles.iter().all(JoinHandle::cancel));
        assert_eq!(ledger.dropped(), 500);
        drop(held);
    });
}

#[test]
fn an_idle_pool_keeps_nothing_of_its_last_tasks() {
    on_pool(|pool| {
        for _ in 0..100 {
            let thing = Arc::new(0);
            let weak = [Arc::downgrade(&thing)];
            let (spawned, submitted, scoped) =
                (Arc::clone(&thing), Arc::clone(&thing), Arc::clone(&thing));
            pool.spawn(move || drop(Arc::clone(&spawned)));
            let result = pool.submit(move || submitted).join().unwrap();
            pool.scope(|s| s.submit(|_| Arc::clone(&scoped)).detach());
            drop((result, scoped, thing));
            gone(&weak);
        }
    });
}
