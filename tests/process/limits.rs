//! Time limits, cancelling, priorities, the queue's bound, sizes, shutdowns.

use crate::support::{LONG, Log, Test, is_alive, pids, pool_of, pool_with, sizes, until};
use crate::tasks::{self, logged, pid, sleep_ms, square, until_cancelled};
use heist::{Backend, CancelToken, Executor, Priority, WhenFull};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test> {
    vec![
        ("limits::a_timeout_kills", || a_timeout_kills(LONG)),
        ("limits::a_timeout_kills_in_time", || {
            a_timeout_kills(Duration::from_millis(100))
        }),
        (
            "limits::a_timeout_hits_no_other_task",
            a_timeout_hits_no_other_task,
        ),
        (
            "limits::a_timeout_spares_what_waits_behind",
            a_timeout_spares_what_waits_behind,
        ),
        (
            "limits::a_cancelled_task_is_asked_then_killed",
            a_cancelled_task_is_asked_then_killed,
        ),
        (
            "limits::a_cancelled_task_that_waits_never_runs",
            a_cancelled_task_that_waits_never_runs,
        ),
        (
            "limits::a_long_task_holds_nothing_up",
            a_long_task_holds_nothing_up,
        ),
        (
            "limits::high_priority_comes_first",
            high_priority_comes_first,
        ),
        ("limits::a_full_queue", a_full_queue),
        ("limits::max_tasks", max_tasks),
        ("limits::the_size_changes", the_size_changes),
        ("limits::shutdowns", shutdowns),
        (
            "limits::a_shutdown_during_the_start",
            a_shutdown_during_the_start,
        ),
    ]
}

/// The least delay of three, because other programs use the machine too, is below `late`.
fn a_timeout_kills(late: Duration) {
    for workers in sizes() {
        let pool = pool_of(workers);
        let limit = Duration::from_millis(200);
        let mut least = LONG;
        for _ in 0..3 {
            // A worker that was killed is replaced a moment later.
            until(LONG, || pids(&pool).len() == workers);
            let begin = Instant::now();
            let handle = pool.task().timeout(limit).submit(sleep_ms::TASK, 10_000);
            let old = pids(&pool);
            let others = old.len() - 1;
            assert!(handle.join().unwrap_err().is_timeout());
            assert!(begin.elapsed() >= limit);
            least = least.min(begin.elapsed() - limit);
            assert_eq!(old.into_iter().filter(|pid| is_alive(*pid)).count(), others);
        }
        assert!(least < late, "{least:?} late");
        assert_eq!(pool.stats().timed_out, 3);
        assert_eq!(pool.submit(square::TASK, 3).join().unwrap(), 9);
    }
}

/// Tasks that take about as long as they may, between tasks without a limit, which nothing may end.
fn a_timeout_hits_no_other_task() {
    for workers in sizes() {
        let (pool, log) = (pool_of(workers), Log::new());
        let limited = pool.task().timeout(Duration::from_millis(2));
        let mut handles = Vec::new();
        for n in 0..200 {
            handles.push((None, limited.submit(sleep_ms::TASK, 1 + n % 3)));
            handles.push((Some(n), pool.submit(logged::TASK, (log.path(), n))));
        }
        for (number, handle) in handles {
            match (number, handle.join()) {
                (Some(n), result) => assert_eq!(result.unwrap(), n * n),
                (None, Ok(ms)) => assert!(ms <= 3),
                (None, Err(error)) => assert!(error.is_timeout(), "{error}"),
            }
        }
        assert!(log.counts(200).iter().all(|count| *count == 1));
        assert_eq!(pool.stats().lost, 0);
    }
}

fn a_timeout_spares_what_waits_behind() {
    #[heist::task(timeout = "100ms")]
    fn too_slow() {
        sleep_ms(60_000);
    }
    for workers in sizes() {
        let (pool, log) = (pool_of(workers), Log::new());
        let slow: Vec<_> = (0..3).map(|_| pool.submit(too_slow::TASK, ())).collect();
        let others: Vec<_> = (0..40)
            .map(|n| pool.submit(logged::TASK, (log.path(), n)))
            .collect();
        for handle in slow {
            assert!(handle.join().unwrap_err().is_timeout());
        }
        for (n, handle) in (0..).zip(others) {
            assert_eq!(handle.join().unwrap(), n * n);
        }
        assert!(log.counts(40).iter().all(|count| *count == 1));
    }
}

fn a_cancelled_task_is_asked_then_killed() {
    for workers in sizes() {
        let pool = pool_with(|builder| builder.num_workers(workers).grace(Duration::from_secs(1)));
        // One that obeys: its process stays.
        let log = Log::new();
        let before = pids(&pool);
        let handle = pool.submit(until_cancelled::TASK, log.path());
        until(LONG, || log.counts(2)[0] == 1);
        assert!(handle.cancel());
        assert!(handle.join().unwrap_err().is_cancelled());
        until(LONG, || log.counts(2)[1] == 1);
        pool.wait_idle();
        assert!(before.iter().all(|pid| is_alive(*pid)));
        // By a token.
        let (log, token) = (Log::new(), CancelToken::new());
        let handle = pool
            .task()
            .token(&token)
            .submit(until_cancelled::TASK, log.path());
        until(LONG, || log.counts(2)[0] == 1);
        token.cancel();
        assert!(handle.join().unwrap_err().is_cancelled());
        until(LONG, || log.counts(2)[1] == 1);
        // One that does not.
        let handle = pool.submit(sleep_ms::TASK, 60_000);
        until(LONG, || handle.is_running());
        handle.cancel();
        pool.wait_idle();
        assert!(before.iter().any(|pid| !is_alive(*pid)));
        let stats = pool.stats();
        assert_eq!((stats.cancelled, stats.lost, stats.failed), (3, 0, 0));
        assert_eq!(pool.submit(square::TASK, 3).join().unwrap(), 9);
    }
}

fn a_cancelled_task_that_waits_never_runs() {
    for workers in sizes() {
        let pool = pool_with(|builder| builder.num_workers(workers).grace(Duration::ZERO));
        let log = Log::new();
        let slow: Vec<_> = (0..workers)
            .map(|_| pool.submit(sleep_ms::TASK, 60_000))
            .collect();
        // No worker is free for the others before each one runs a slow task.
        until(LONG, || slow.iter().all(heist::JoinHandle::is_running));
        let waiting: Vec<_> = (0..50)
            .map(|n| pool.submit(logged::TASK, (log.path(), n)))
            .collect();
        let cancelled = waiting.iter().filter(|handle| handle.cancel()).count();
        assert_eq!(cancelled, 50);
        for handle in waiting {
            assert!(handle.join().unwrap_err().is_cancelled());
        }
        until(LONG, || pool.stats().cancelled == 50);
        for handle in slow {
            assert!(handle.cancel());
        }
        pool.wait_idle();
        assert!(log.counts(50).iter().all(|count| *count == 0));
        let stats = pool.stats();
        assert_eq!((stats.queued, stats.active), (0, 0));
    }
}

fn a_long_task_holds_nothing_up() {
    for workers in [2, 8] {
        let pool = pool_with(|builder| builder.num_workers(workers).grace(Duration::ZERO));
        let begin = Instant::now();
        let long: Vec<_> = (1..workers)
            .map(|_| pool.submit(sleep_ms::TASK, 20_000))
            .collect();
        let short: Vec<_> = (0..200).map(|n| pool.submit(square::TASK, n)).collect();
        for (n, handle) in (0..).zip(short) {
            assert_eq!(handle.join().unwrap(), n * n);
        }
        assert!(begin.elapsed() < Duration::from_secs(10));
        assert!(long.iter().all(heist::JoinHandle::cancel));
    }
}

fn high_priority_comes_first() {
    #[heist::task]
    fn stamp(log: String, number: u64) {
        crate::support::note(&log, number);
    }
    let (pool, log) = (pool_of(1), Log::new());
    let gate = Log::new();
    let first = pool.submit(until_cancelled::TASK, gate.path());
    let submit = |n: u64, priority| {
        pool.task()
            .priority(priority)
            .submit(stamp::TASK, (log.path(), n))
    };
    let mut handles: Vec<_> = (0..3).map(|n| submit(n, Priority::Low)).collect();
    handles.extend((3..6).map(|n| submit(n, Priority::Normal)));
    handles.extend((6..9).map(|n| submit(n, Priority::High)));
    until(LONG, || first.is_running());
    assert!(first.cancel());
    heist::try_join_all(handles).unwrap();
    let bytes = std::fs::read(log.path()).unwrap();
    let order: Vec<u64> = bytes
        .chunks_exact(8)
        .map(|entry| u64::from_le_bytes(entry.try_into().unwrap()))
        .collect();
    // The worker had one or two of the first ones before the others came.
    assert_eq!(order[..3], [6, 7, 8], "{order:?}");
}

fn a_full_queue() {
    for workers in sizes() {
        let pool = pool_with(|builder| {
            builder
                .num_workers(workers)
                .queue_capacity(5)
                .when_full(WhenFull::Reject)
        });
        let handles: Vec<_> = (0..workers * 2 + 20)
            .map(|_| pool.submit(sleep_ms::TASK, 200))
            .collect();
        let refused = handles.into_iter().filter_map(|handle| handle.join().err());
        let refused: Vec<_> = refused.collect();
        assert!(refused.len() >= 5, "{}", refused.len());
        assert!(refused.iter().all(heist::JoinError::is_refused));
        assert!(
            refused[0].to_string().contains("queue was full"),
            "{}",
            refused[0]
        );
        let pool = pool_with(|builder| builder.num_workers(workers).queue_capacity(5));
        let handles: Vec<_> = (0..500).map(|n| pool.submit(square::TASK, n)).collect();
        assert_eq!(heist::try_join_all(handles).unwrap().len(), 500);
    }
}

fn max_tasks() {
    for workers in sizes() {
        let pool = pool_with(|builder| builder.num_workers(workers).max_tasks(3));
        let handles: Vec<_> = (0..30).map(|_| pool.submit(pid::TASK, ())).collect();
        let mut seen = heist::try_join_all(handles).unwrap();
        seen.sort_unstable();
        assert!(
            seen.chunk_by(|a, b| a == b).all(|same| same.len() <= 3),
            "{seen:?}"
        );
        assert_eq!(pool.stats().lost, 0);
        // In chunks too.
        let mut seen: Vec<_> = pool
            .imap(pid::TASK, (0..30).map(drop))
            .chunk(10)
            .collect::<Result<_, _>>()
            .unwrap();
        seen.sort_unstable();
        assert!(
            seen.chunk_by(|a, b| a == b).all(|same| same.len() <= 3),
            "{seen:?}"
        );
    }
}

fn the_size_changes() {
    let pool = pool_of(2);
    assert_eq!(pool.set_num_workers(4), 2);
    until(LONG, || pool.stats().processes.len() == 4);
    assert_eq!(pool.num_workers(), 4);
    let handles: Vec<_> = (0..100).map(|n| pool.submit(square::TASK, n)).collect();
    assert_eq!(pool.set_num_workers(1), 4);
    assert_eq!(heist::try_join_all(handles).unwrap().len(), 100);
    until(LONG, || pool.stats().processes.len() == 1);
    assert_eq!(pool.stats().lost, 0);
}

fn shutdowns() {
    for workers in sizes() {
        let pool = pool_of(workers);
        let handles: Vec<_> = (0..100).map(|n| pool.submit(square::TASK, n)).collect();
        let processes = pids(&pool);
        pool.shutdown();
        pool.shutdown();
        assert_eq!(heist::try_join_all(handles).unwrap().len(), 100);
        assert!(!processes.into_iter().any(is_alive));
        let error = pool.submit(square::TASK, 1).join().unwrap_err();
        assert!(error.is_refused() && error.is_cancelled(), "{error}");

        let pool = pool_with(|builder| {
            builder
                .num_workers(workers)
                .grace(Duration::from_millis(100))
        });
        let handles: Vec<_> = (0..50)
            .map(|_| pool.submit(sleep_ms::TASK, 60_000))
            .collect();
        let late = pool
            .shutdown_timeout(Duration::from_millis(50))
            .unwrap_err();
        assert_eq!(late.running().len() + late.queued(), 50);
        assert!(late.to_string().contains("sleep_ms"), "{late}");
        let begin = Instant::now();
        let dropped = pool.shutdown_now();
        assert!(dropped >= 50 - workers && begin.elapsed() < Duration::from_secs(20));
        for handle in handles {
            assert!(handle.join().unwrap_err().is_cancelled());
        }
        let stats = pool.stats();
        assert_eq!(
            stats.submitted,
            stats.completed + stats.failed + stats.cancelled,
            "{stats}"
        );
    }
}

fn a_shutdown_during_the_start() {
    for workers in sizes() {
        for _ in 0..5 {
            let pool = pool_of(workers);
            let handle = pool.submit(tasks::nothing::TASK, ());
            drop(pool);
            handle.join().unwrap();
            let pool = pool_of(workers);
            let handle = pool.submit(sleep_ms::TASK, 5);
            pool.shutdown_now();
            drop(handle.join());
        }
    }
}
