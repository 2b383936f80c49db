//! `timing`: histograms of queue waits and run times.

use crate::support::{on_pool_with, pool_with, spin_until, watched};
use heist::{Histogram, PoolStats, ThreadPool, Timing, WhenFull};
use std::time::{Duration, Instant};

/// The figures once the pool is idle. A run time is counted before its task ends.
fn idle(pool: &ThreadPool) -> PoolStats {
    pool.wait_idle();
    pool.stats()
}

fn all(pool: impl FnOnce(&ThreadPool) + Send + 'static) {
    on_pool_with(|builder| builder.timing(Timing::All), pool);
}

#[test]
fn every_task_is_measured_if_all_are() {
    all(|pool| {
        for n in 0..200 {
            pool.spawn(|| ());
            drop(pool.submit(move || n));
            drop(pool.task().name("named").submit(move || n));
            drop(pool.task().deadline(Duration::from_secs(600)).submit(|| ()));
            drop(pool.submit_async(async move { n }));
            pool.spawn(|| std::panic::resume_unwind(Box::new("quiet")));
        }
        drop(pool.submit_many((0..100).map(|n| move || n)));
        // Tasks that tasks submit, and tasks that their handles run.
        let outer = pool.submit(|| {
            let inner: Vec<_> = (0..50).map(|n| heist::submit(move || n)).collect();
            inner.into_iter().for_each(|handle| drop(handle.join()));
        });
        outer.join().unwrap();
        let stats = idle(pool);
        assert_eq!(stats.submitted, 200 * 6 + 100 + 51);
        assert_eq!(stats.queue_wait.count(), stats.submitted);
        assert_eq!(stats.run_time.count(), stats.submitted);
        assert!(stats.run_time.max <= stats.run_time.total);
    });
}

#[test]
fn a_task_that_its_submitter_runs_is_measured() {
    watched(|| {
        let pool = pool_with(|b| {
            let full = b
                .num_threads(1)
                .queue_capacity(1)
                .when_full(WhenFull::CallerRuns);
            full.timing(Timing::All)
        });
        let handles: Vec<_> = (0..100).map(|n| pool.submit(move || n)).collect();
        handles.into_iter().for_each(|handle| drop(handle.join()));
        assert_eq!(idle(&pool).run_time.count(), 100);
    });
}

#[test]
fn tasks_that_do_not_begin_are_not_measured() {
    all(|pool| {
        let held = crate::support::hold_all(pool);
        let before = pool.stats().queue_wait.count();
        let handles: Vec<_> = (0..10).map(|n| pool.submit(move || n)).collect();
        assert!(handles.iter().all(|handle| handle.cancel()));
        held.open();
        assert_eq!(idle(pool).queue_wait.count(), before);
    });
}

#[test]
fn a_future_is_measured_at_its_first_poll() {
    all(|pool| {
        let handle = pool.submit_async(async {
            for _ in 0..20 {
                heist::yield_async().await;
            }
        });
        // A waiter adds a second block to the task, possibly while the task is queued.
        handle.join().unwrap();
        let stats = idle(pool);
        assert_eq!((stats.queue_wait.count(), stats.run_time.count()), (1, 1));
    });
}

#[test]
fn items_of_a_stream_are_measured_by_chunk() {
    all(|pool| {
        assert_eq!(pool.imap(0..100, |n| n).chunk(10).count(), 100);
        let count = idle(pool).run_time.count();
        assert!((1..=100).contains(&count), "{count}");
    });
}

#[test]
fn nothing_is_measured_if_timing_is_off() {
    on_pool_with(
        |builder| builder.timing(Timing::Off),
        |pool| {
            (0..300).for_each(|_| pool.spawn(|| ()));
            drop(pool.submit_many((0..100).map(|n| move || n)));
            let stats = idle(pool);
            assert!(stats.queue_wait == Histogram::new() && stats.run_time == Histogram::new());
        },
    );
}

#[test]
fn a_run_time_is_that_of_the_task() {
    all(|pool| {
        let start = Instant::now();
        let handle = pool.submit(|| {
            let start = Instant::now();
            spin_until(|| start.elapsed() >= Duration::from_millis(20));
        });
        handle.join().unwrap();
        let (stats, elapsed) = (idle(pool), start.elapsed());
        let max = stats.run_time.max;
        // The clock that measures may differ from the system's by some parts in 10,000.
        assert!(
            max >= Duration::from_millis(19) && max <= elapsed * 2,
            "{max:?}"
        );
        assert!(stats.queue_wait.max <= elapsed * 2);
    });
}
