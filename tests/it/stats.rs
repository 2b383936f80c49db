//! `stats`: counts that add up.

use crate::support::{
    fib, named_pool, on_pool, panic_of, pool, serial_fib, spin_until, threads_named, watched, work,
};
use heist::{PoolStats, ThreadPool};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// The totals once everything that was submitted has ended.
fn settled(pool: &ThreadPool) -> PoolStats {
    spin_until(|| {
        let stats = pool.stats();
        stats.submitted == stats.completed + stats.failed + stats.cancelled && stats.queued == 0
    });
    pool.stats()
}

#[test]
fn a_fresh_pool_has_counted_nothing() {
    on_pool(|pool| {
        let stats = pool.stats();
        let tasks = [
            stats.submitted,
            stats.completed,
            stats.failed,
            stats.cancelled,
        ];
        assert_eq!(tasks, [0; 4]);
        assert_eq!(
            (stats.queued, stats.steals, stats.start_failures),
            (0, 0, 0)
        );
        assert_eq!((stats.active, stats.spares), (0, 0));
    });
}

#[test]
fn spawned_tasks_are_submitted_and_completed() {
    on_pool(|pool| {
        let ran = Arc::new(AtomicUsize::new(0));
        for _ in 0..500 {
            let ran = Arc::clone(&ran);
            pool.spawn(move || {
                ran.fetch_add(1, Ordering::AcqRel);
            });
        }
        spin_until(|| ran.load(Ordering::Acquire) == 500);
        let stats = settled(pool);
        assert_eq!((stats.submitted, stats.completed), (500, 500));
        assert_eq!((stats.failed, stats.cancelled), (0, 0));
    });
}

#[test]
fn tasks_of_a_scope_are_submitted_and_completed() {
    on_pool(|pool| {
        pool.scope(|s| {
            for _ in 0..100 {
                s.spawn(|s| s.spawn(|_| ()));
            }
        });
        pool.run(|| heist::scope(|s| s.spawn(|_| ())));
        let stats = settled(pool);
        // Whether `run` is a task is not said.
        assert!((201..=202).contains(&stats.submitted), "{stats:?}");
        assert_eq!(stats.completed, stats.submitted);
    });
}

#[test]
fn panics_are_failures() {
    on_pool(|pool| {
        for _ in 0..20 {
            pool.spawn(|| panic!("counted"));
        }
        spin_until(|| pool.stats().failed == 20);
        panic_of(|| {
            pool.scope(|s| {
                s.spawn(|_| panic!("counted as well"));
                s.spawn(|_| ());
            });
        });
        let stats = settled(pool);
        assert_eq!((stats.submitted, stats.failed), (22, 21));
    });
}

#[test]
fn tasks_of_a_scope_whose_body_panics_are_accounted_for() {
    on_pool(|pool| {
        panic_of(|| {
            pool.scope(|s| {
                for _ in 0..50 {
                    s.spawn(|_| ());
                }
                panic!("in the body");
            })
        });
        let stats = settled(pool);
        assert_eq!(stats.submitted, 50);
        assert_eq!(stats.completed + stats.cancelled, 50);
    });
}

#[test]
fn joins_and_pieces_of_a_map_are_no_tasks() {
    on_pool(|pool| {
        pool.install(|| fib(12));
        pool.map(0..10_000, |x| x);
        pool.for_each(0..100, |_| {
            work(100);
        });
        assert_eq!(settled(pool).submitted, 0);
    });
}

#[test]
fn totals_never_go_down() {
    fn totals(stats: &PoolStats) -> [u64; 8] {
        [
            stats.submitted,
            stats.completed,
            stats.failed,
            stats.cancelled,
            stats.steals,
            stats.parks,
            stats.wakeups,
            stats.start_failures,
        ]
    }
    on_pool(|pool| {
        let stop = AtomicBool::new(false);
        thread::scope(|threads| {
            threads.spawn(|| {
                let mut before = pool.stats();
                while !stop.load(Ordering::Acquire) {
                    let now = pool.stats();
                    for (old, new) in totals(&before).into_iter().zip(totals(&now)) {
                        assert!(old <= new, "{before:?}\n{now:?}");
                    }
                    assert!(before.busy <= now.busy);
                    before = now;
                    thread::yield_now();
                }
            });
            for round in 0..300 {
                pool.spawn(move || assert!(round % 5 != 0, "counted"));
                pool.scope(|s| s.spawn(|_| assert_eq!(fib(7), serial_fib(7))));
            }
            let stats = settled(pool);
            assert_eq!((stats.submitted, stats.failed), (600, 60));
            stop.store(true, Ordering::Release);
        });
    });
}

#[test]
fn queued_tasks_are_counted() {
    on_pool(|pool| {
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(std::sync::Mutex::new(released));
        let workers = pool.num_threads();
        for _ in 0..workers + 10 {
            let released = Arc::clone(&released);
            pool.spawn(move || {
                // The first holds the lock and waits, the others wait for the lock.
                let _ = released.lock().unwrap().recv();
            });
        }
        spin_until(|| pool.stats().queued == 10);
        let stats = pool.stats();
        assert_eq!(stats.submitted, workers as u64 + 10);
        assert_eq!(stats.active, workers);
        drop(release);
        spin_until(|| pool.stats().completed == workers as u64 + 10);
        assert_eq!(settled(pool).queued, 0);
    });
}

#[test]
fn an_idle_pool_has_no_active_thread() {
    on_pool(|pool| {
        pool.install(|| fib(14));
        pool.broadcast(|_| ());
        spin_until(|| pool.stats().active == 0);
        let stats = pool.stats();
        assert_eq!(stats.queued, 0);
        assert!(stats.idle <= pool.num_threads());
    });
}

#[test]
fn work_and_steals_are_seen_per_worker() {
    watched(|| {
        let pool = crate::support::pool_with_thieves();
        let before = pool.stats().steals;
        let started = AtomicBool::new(false);
        pool.join(
            || spin_until(|| started.load(Ordering::Acquire)),
            || started.store(true, Ordering::Release),
        );
        spin_until(|| pool.stats().steals > before);
        let (send, receive) = mpsc::channel();
        pool.spawn(move || {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(20) {
                work(10);
            }
            send.send(()).unwrap();
        });
        receive.recv().unwrap();
        spin_until(|| pool.stats().busy >= Duration::from_millis(10));
        let stats = settled(&pool);
        assert!(stats.workers.len() <= pool.num_threads());
        assert!(stats.workers.iter().map(|w| w.executed).sum::<u64>() >= 1);
        assert!(stats.workers.iter().all(|w| w.queued == 0));
    });
}

#[test]
fn sleeping_and_waking_are_counted() {
    on_pool(|pool| {
        for _ in 0..20 {
            pool.broadcast(|_| ());
            spin_until(|| pool.stats().active == 0);
        }
        spin_until(|| pool.stats().parks > 0);
        pool.broadcast(|_| ());
        spin_until(|| pool.stats().wakeups > 0);
    });
}

#[test]
fn stats_print_as_a_table() {
    on_pool(|pool| {
        pool.scope(|s| {
            for _ in 0..4321 {
                s.spawn(|_| ());
            }
        });
        let text = settled(pool).to_string();
        assert!(text.contains("4321"), "{text}");
        assert!(text.lines().count() > 1, "{text}");
    });
}

/// Processor time that the threads with this prefix have used.
fn cpu_time(names: &str) -> Duration {
    let nanoseconds = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|task| {
            std::fs::read_to_string(task.path().join("comm"))
                .is_ok_and(|name| name.starts_with(names))
        })
        .filter_map(|task| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        })
        .sum();
    Duration::from_nanos(nanoseconds)
}

#[test]
fn an_idle_pool_uses_no_processor_time() {
    watched(|| {
        let (pool, names) = named_pool(|builder| builder);
        pool.broadcast(|_| ());
        pool.install(|| fib(14));
        assert_eq!(threads_named(&names), pool.num_threads());
        // The sleep is what is measured. Right after work, threads may still be on their way to bed.
        spin_until(|| {
            let before = cpu_time(&names);
            thread::sleep(Duration::from_millis(500));
            cpu_time(&names) - before < Duration::from_micros(200)
        });
    });
}

#[test]
fn a_snapshot_outlives_its_pool() {
    watched(|| {
        let pool = pool();
        pool.scope(|s| s.spawn(|_| ()));
        let stats = settled(&pool);
        drop(pool);
        assert_eq!(stats.clone().submitted, 1);
    });
}
