//! `stats`: counts that add up.

use crate::support::{
    Gate, Held, fib, hold, hold_all, named_pool, on_pool, on_pool_of, panic_of, pool, pool_with,
    serial_fib, spin_until, threads_named, watched, work,
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
        // It is not specified whether `run` counts as a task.
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
                // The first task holds the lock and waits. The others wait for the lock.
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

/// The processor time that threads whose names begin with `prefix` have used.
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
        // The sleep is measured. Right after work, threads may still be falling asleep.
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

/// The number of tasks and forks that the workers have begun.
fn executed(pool: &ThreadPool) -> u64 {
    let stats = pool.stats();
    stats.workers.iter().map(|worker| worker.executed).sum()
}

#[test]
fn a_missed_deadline_is_a_failure_and_told_from_a_panic() {
    on_pool_of(1, |pool| {
        // One task runs past its deadline, one never begins, one panics, and one is in time.
        let held = Held(Gate::default());
        let mut missed = 0;
        let runs = loop {
            let (gate, (send, receive)) = (held.0.clone(), mpsc::channel());
            let task = pool.task().deadline(Duration::from_millis(1));
            let handle = task.submit(move || {
                send.send(()).unwrap();
                gate.pass();
            });
            // On a busy machine the task may miss its deadline before it begins, which is another case.
            if receive.recv().is_ok() {
                break handle;
            }
            missed += 1;
        };
        let waits = pool.task().deadline(Duration::from_millis(1)).submit(|| ());
        let panics = pool.submit(|| panic!("counted"));
        let in_time = pool
            .task()
            .deadline(Duration::from_secs(3600))
            .submit(|| ());
        assert!(waits.join().unwrap_err().is_timeout());
        let late = runs.join().unwrap_err();
        assert!(late.is_timeout());
        held.open();
        assert!(panics.join().unwrap_err().is_panic());
        in_time.join().unwrap();
        let stats = settled(pool);
        let ends = (stats.submitted, stats.completed, stats.cancelled);
        assert_eq!(ends, (4 + missed, 1, 0));
        assert_eq!((stats.failed, stats.timed_out), (3 + missed, 2 + missed));
        let text = format!("{} failed ({} too late)", 3 + missed, 2 + missed);
        assert!(stats.to_string().contains(&text), "{stats}");
    });
}

#[test]
fn executed_counts_what_ran_and_no_task_that_was_cancelled_or_late() {
    on_pool_of(1, |pool| {
        let held = hold_all(pool);
        let token = heist::CancelToken::new();
        let handles: Vec<_> = (0..10)
            .map(|n| match n % 2 {
                0 => pool.task().token(&token).submit(|| ()),
                _ => pool.task().deadline(Duration::from_millis(1)).submit(|| ()),
            })
            .collect();
        token.cancel();
        for handle in handles {
            assert!(handle.join().is_err());
        }
        // The handle runs the task on this thread, so it does not count for the worker.
        let own = pool.submit(|| ());
        pool.install(|| own.join().unwrap());
        held.open();
        pool.submit(|| ()).wait_timeout(Duration::from_secs(40));
        spin_until(|| settled(pool).queued == 0 && pool.stats().active == 0);
        // The worker has run the task that held it, and the last task.
        assert_eq!(executed(pool), 2);
        assert_eq!(settled(pool).completed, 3);
        // The worker has run a closure of `run` and a broadcast.
        pool.run(|| ());
        pool.broadcast(|_| ());
        spin_until(|| pool.stats().active == 0);
        assert_eq!(executed(pool), 4);
    });
}

#[test]
fn executed_counts_no_task_of_a_scope_that_its_handle_has_cancelled() {
    on_pool_of(1, |pool| {
        let before = executed(pool);
        pool.run(|| {
            heist::scope(|s| {
                let handles: Vec<_> = (0..20).map(|_| s.submit(|_| ())).collect();
                assert!(handles.iter().all(|handle| handle.cancel()));
            });
        });
        spin_until(|| pool.stats().active == 0);
        // The worker has run the closure of `run`.
        assert_eq!(executed(pool) - before, 1);
        assert_eq!(pool.stats().cancelled, 20);
    });
}

#[test]
fn a_cancelled_task_is_queued_no_more() {
    on_pool(|pool| {
        let held = hold_all(pool);
        let handles: Vec<_> = (0..5).map(|n| pool.submit(move || n)).collect();
        assert_eq!(pool.stats().queued, 5);
        assert!(handles[1].cancel() && handles[3].cancel());
        assert_eq!(pool.stats().queued, 3);
        held.open();
        assert_eq!(settled(pool).cancelled, 2);
    });
}

#[test]
fn a_refused_task_is_made_and_cancelled() {
    watched(|| {
        let pool = pool_with(|builder| {
            let builder = builder.num_threads(1).queue_capacity(1);
            builder.when_full(heist::WhenFull::Reject)
        });
        let held = hold(&pool, 1);
        let waits = pool.submit(|| ());
        let refused = pool.submit(|| ());
        assert!(refused.join().unwrap_err().is_cancelled());
        let stats = pool.stats();
        assert_eq!((stats.submitted, stats.cancelled, stats.queued), (3, 1, 1));
        held.open();
        waits.join().unwrap();
        assert_eq!(settled(&pool).completed, 2);
    });
}

#[test]
fn waits_in_the_queue_are_measured_until_the_task_begins() {
    on_pool_of(1, |pool| {
        assert_eq!(pool.stats().queue_wait.count(), 0);
        let held = hold_all(pool);
        let first = pool.stats().queue_wait;
        assert_eq!(first.count(), 1);
        let start = Instant::now();
        let handles: Vec<_> = (0..5).map(|n| pool.submit(move || n)).collect();
        let submitted = Instant::now();
        let cancelled = pool.submit(|| 0);
        cancelled.cancel();
        spin_until(|| submitted.elapsed() >= Duration::from_millis(20));
        held.open();
        for handle in handles {
            assert!(handle.wait_timeout(Duration::from_secs(40)));
        }
        let elapsed = start.elapsed();
        let wait = settled(pool).queue_wait;
        // The cancelled task never began.
        assert_eq!(wait.count(), 6);
        assert!(
            wait.max >= Duration::from_millis(20) && wait.max <= elapsed,
            "{wait:?}"
        );
        assert!(
            wait.total >= first.total + 5 * Duration::from_millis(20),
            "{wait:?}"
        );
        assert!(wait.quantile(1.0) == wait.max && wait.quantile(0.5) >= Duration::from_millis(16));
        assert!(
            wait.quantile(0.01) <= 2 * first.max.max(Duration::from_nanos(8)),
            "{wait:?}"
        );
        assert!(wait.mean() > Duration::from_millis(16) && wait.mean() < elapsed);
        assert!(wait.quantile(f64::NAN) <= wait.max && wait.quantile(7.0) == wait.max);
    });
}

#[test]
fn waits_are_measured_on_a_sample_of_many_tasks() {
    on_pool(|pool| {
        for _ in 0..20 {
            let handles: Vec<_> = (0..640).map(|n| pool.submit(move || n)).collect();
            handles.into_iter().for_each(|handle| drop(handle.join()));
            let handles = pool.submit_many((0..640).map(|n| move || n));
            handles.into_iter().for_each(|handle| drop(handle.join()));
        }
        let count = settled(pool).queue_wait.count();
        // The samples are the first 64 tasks from outside, one in 16 of the others, and one in 16 of each batch.
        assert!((1_600..=64 + 25_600 / 16).contains(&count), "{count}");
        for _ in 0..640 {
            pool.submit(|| ()).join().unwrap();
        }
        assert_eq!(settled(pool).queue_wait.count(), count + 640 / 16);
    });
}
