//! Programs that attack a pool: tasks that corrupt what their worker shares with it, hang where nobody looks, or leave something behind.

use crate::inputs::{Odd, PANICS_WHEN_WRITTEN, UNWRITABLE};
use crate::support::{
    LONG, Log, Test, is_alive, kill, note, pids, pool_of, pool_with, signal, sizes, until,
};
use crate::tasks::{self, bytes, pid, sleep_ms, square};
use heist::{Backend, Executor, ProcessPool};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test> {
    vec![
        (
            "attacks::a_cancelled_chunk_stops_at_the_item_that_runs",
            a_cancelled_chunk_stops_at_the_item_that_runs,
        ),
        (
            "attacks::a_shutdown_stops_a_chunk_at_the_item_that_runs",
            a_shutdown_stops_a_chunk_at_the_item_that_runs,
        ),
        (
            "attacks::a_time_limit_holds_for_each_item_of_a_stream",
            a_time_limit_holds_for_each_item_of_a_stream,
        ),
        (
            "attacks::one_bad_item_costs_no_other_of_its_chunk",
            one_bad_item_costs_no_other_of_its_chunk,
        ),
        (
            "attacks::a_chunk_may_be_longer_than_a_message",
            a_chunk_may_be_longer_than_a_message,
        ),
        (
            "attacks::a_result_whose_drop_panics",
            a_result_whose_drop_panics,
        ),
        (
            "attacks::a_shutdown_tries_nothing_again",
            a_shutdown_tries_nothing_again,
        ),
        (
            "attacks::a_shared_page_full_of_nonsense",
            a_shared_page_full_of_nonsense,
        ),
        (
            "attacks::a_stopped_worker_holds_nothing_up",
            a_stopped_worker_holds_nothing_up,
        ),
        (
            "attacks::a_stopped_worker_that_misses_a_limit_is_killed",
            a_stopped_worker_that_misses_a_limit_is_killed,
        ),
        (
            "attacks::large_messages_cross_without_a_deadlock",
            large_messages_cross_without_a_deadlock,
        ),
        (
            "attacks::a_programs_children_inherit_nothing",
            a_programs_children_inherit_nothing,
        ),
        ("attacks::no_zombies_are_left", no_zombies_are_left),
        (
            "attacks::a_pool_outlives_the_thread_that_built_it",
            a_pool_outlives_the_thread_that_built_it,
        ),
        (
            "attacks::callbacks_that_panic_or_end_the_pool",
            callbacks_that_panic_or_end_the_pool,
        ),
        (
            "attacks::a_cancel_races_with_the_end",
            a_cancel_races_with_the_end,
        ),
        ("attacks::absurd_settings", absurd_settings),
        (
            "attacks::threads_that_become_a_worker_together",
            threads_that_become_a_worker_together,
        ),
        (
            "attacks::a_fork_while_the_pool_is_busy",
            a_fork_while_the_pool_is_busy,
        ),
        (
            "attacks::a_child_that_somebody_else_waits_for",
            a_child_that_somebody_else_waits_for,
        ),
    ]
}

/// Notes that it begins, and sleeps if its number is `slow`.
#[heist::task]
fn hangs_at(log: String, number: u64, slow: u64) -> u64 {
    note(&log, number);
    if number == slow {
        std::thread::sleep(LONG * 10);
    }
    number
}

const GRACE: Duration = Duration::from_millis(100);

fn a_cancelled_chunk_stops_at_the_item_that_runs() {
    for workers in sizes() {
        let pool = pool_with(|builder| builder.num_workers(workers).grace(GRACE));
        let log = Log::new();
        let inputs = (0..20).map(|n| (log.path(), n, 5));
        // The time passes while the fifth item runs. Dropping the stream would cancel the chunk too.
        let stream = pool.imap(hangs_at::TASK, inputs).chunk(20);
        let results: Vec<_> = stream.timeout(Duration::from_millis(500)).collect();
        assert!(results.len() == 1 && results[0].as_ref().is_err_and(heist::JoinError::is_timeout));
        pool.wait_idle();
        // Another worker may have run what was behind.
        assert!(
            log.counts(20)[6..]
                .iter()
                .all(|count| *count <= u32::from(workers > 1))
        );
        assert_eq!(pool.submit(square::TASK, 3).join().unwrap(), 9);
        let stats = pool.stats();
        assert_eq!(
            (stats.completed + stats.cancelled, stats.lost),
            (21, 0),
            "{stats}"
        );
    }
}

fn a_shutdown_stops_a_chunk_at_the_item_that_runs() {
    for workers in sizes() {
        let pool = pool_with(|builder| builder.num_workers(workers).grace(GRACE));
        let log = Log::new();
        let results: Vec<_> = std::thread::scope(|scope| {
            scope.spawn(|| {
                until(LONG, || log.counts(20)[5] == 1);
                pool.shutdown_now();
            });
            let inputs = (0..20).map(|n| (log.path(), n, 5));
            pool.imap(hangs_at::TASK, inputs).chunk(20).collect()
        });
        for (n, result) in (0..).zip(results) {
            match result {
                Ok(value) => assert!(value == n && n != 5),
                Err(error) => assert!(n >= 5 && error.is_cancelled(), "{n}: {error}"),
            }
        }
        assert!(workers > 1 || log.counts(20)[6..].iter().all(|count| *count == 0));
    }
}

fn a_time_limit_holds_for_each_item_of_a_stream() {
    let limit = Duration::from_millis(500);
    let check = |pool: &ProcessPool, chunk: Option<usize>, item: bool| {
        let log = Log::new();
        let inputs = (0..200).map(|n| (log.path(), n, 155));
        let mut stream = pool.imap(hangs_at::TASK, inputs);
        if let Some(chunk) = chunk {
            stream = stream.chunk(chunk);
        }
        if item {
            stream = stream.item_timeout(limit);
        }
        for (n, result) in (0..).zip(stream) {
            match result {
                Ok(value) => assert!(value == n && n != 155),
                Err(error) => assert!(n == 155 && error.is_timeout(), "{n}: {error}"),
            }
        }
        assert!(log.counts(200).iter().all(|count| *count == 1));
    };
    for workers in sizes() {
        let limited = pool_with(|builder| builder.num_workers(workers).timeout(limit));
        check(&limited, None, false);
        check(&limited, Some(10), false);
        check(&pool_of(workers), Some(10), true);
    }
}

fn one_bad_item_costs_no_other_of_its_chunk() {
    #[heist::task]
    fn takes(odd: Odd) -> u8 {
        odd.0
    }
    for workers in sizes() {
        let pool = pool_of(workers);
        let kind = |n: usize| match n {
            7 => UNWRITABLE,
            9 => PANICS_WHEN_WRITTEN,
            _ => 0,
        };
        for chunk in [1, 4, 10, 30] {
            let inputs = (0..30).map(|n| Odd(kind(n)));
            for (n, result) in pool.imap(takes::TASK, inputs).chunk(chunk).enumerate() {
                match result {
                    Ok(value) => assert!(value == 0 && kind(n) == 0),
                    Err(error) => assert!(
                        kind(n) != 0 && error.to_string().contains("cannot be serialised"),
                        "{n}: {error}"
                    ),
                }
            }
        }
        // A chunk in which nothing can be sent.
        let inputs = (0..5).map(|_| Odd(UNWRITABLE));
        let bad = pool.imap(takes::TASK, inputs).chunk(5);
        assert_eq!(bad.filter(Result::is_err).count(), 5);
        let stats = pool.stats();
        assert_eq!(
            (stats.submitted, stats.completed, stats.cancelled),
            (125, 112, 13),
            "{stats}"
        );
    }
}

fn a_chunk_may_be_longer_than_a_message() {
    for workers in sizes() {
        let pool = pool_with(|builder| builder.num_workers(workers).max_message(100_000));
        let of = |length: usize| serde_bytes::ByteBuf::from(vec![7; length]);
        let inputs = (0..40).map(|n| of(if n == 20 { 110_000 } else { 60_000 }));
        for (n, result) in pool.imap(bytes::TASK, inputs).chunk(8).enumerate() {
            match result {
                Ok(value) => assert!(value.len() == 60_000 && n != 20),
                Err(error) => assert!(n == 20 && error.is_refused(), "{n}: {error}"),
            }
        }
    }
}

/// A value whose drop panics in a worker.
#[derive(Serialize, Deserialize)]
struct Grenade(u8);

impl Drop for Grenade {
    fn drop(&mut self) {
        assert!(!heist::is_worker(), "a value is dropped");
    }
}

fn a_result_whose_drop_panics() {
    #[heist::task]
    fn grenade(n: u8) -> Grenade {
        Grenade(n)
    }
    #[heist::task]
    fn takes_grenade(_grenade: Grenade) {}
    for workers in sizes() {
        let pool = pool_of(workers);
        assert_eq!(pool.submit(grenade::TASK, 7).join().unwrap().0, 7);
        let error = pool.submit(takes_grenade::TASK, Grenade(1));
        let error = error.join().unwrap_err();
        assert!(error.is_panic(), "{error}");
        assert_eq!(pool.stats().lost, 0);
    }
}

fn a_shutdown_tries_nothing_again() {
    /// Dies when it is cancelled.
    #[heist::task(tries = 100)]
    fn dies_when_cancelled(log: String) {
        note(&log, 0);
        until(LONG, || heist::current_token().is_cancelled());
        kill(std::process::id());
    }
    for workers in sizes() {
        let (pool, log) = (pool_of(workers), Log::new());
        let handle = pool.submit(dies_when_cancelled::TASK, log.path());
        until(LONG, || log.counts(1)[0] == 1);
        pool.shutdown_now();
        assert!(handle.join().is_err());
        assert_eq!(log.counts(1), [1]);
    }
}

/// Fills the memory that the worker shares with its pool with ones, as a wild pointer might.
#[heist::task]
fn scribbles(hangs: bool) {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("the mappings");
    for line in maps.lines().filter(|line| line.contains("heist-worker")) {
        let (start, rest) = line.split_once('-').expect("a range");
        let end = rest.split_once(' ').expect("a range").0;
        let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).unwrap());
        let page = std::ptr::with_exposed_provenance_mut::<u8>(start);
        // SAFETY: the bytes are mapped. Others use them as atomics: that is what is tested.
        unsafe { page.write_bytes(0xff, end - start) };
    }
    if hangs {
        sleep_ms(600_000);
    }
}

fn a_shared_page_full_of_nonsense() {
    for workers in sizes() {
        let pool = pool_with(|builder| builder.num_workers(workers).grace(GRACE));
        let bad = pool.submit(scribbles::TASK, false);
        let good: Vec<_> = (0..20).map(|n| pool.submit(square::TASK, n)).collect();
        drop(bad.join());
        for (n, handle) in (0..).zip(good) {
            match handle.join() {
                Ok(value) => assert_eq!(value, n * n),
                Err(error) => assert!(error.is_lost(), "{error}"),
            }
        }
        assert_eq!(pool.submit(square::TASK, 3).join().unwrap(), 9);
        let bad: Vec<_> = (0..workers)
            .map(|_| pool.submit(scribbles::TASK, true))
            .collect();
        for handle in &bad {
            until(LONG, || handle.is_running() || handle.is_finished());
        }
        let queued: Vec<_> = (0..50)
            .map(|_| pool.submit(sleep_ms::TASK, 60_000))
            .collect();
        pool.shutdown_now();
        assert!(bad.into_iter().all(|handle| handle.join().is_err()));
        assert!(queued.into_iter().all(|handle| handle.join().is_err()));
    }
}

fn a_stopped_worker_holds_nothing_up() {
    let pool = pool_of(2);
    until(LONG, || {
        let stats = pool.stats();
        stats.processes.len() == 2 && stats.processes.iter().all(|one| one.done > 0) || {
            let handles = (0..8).map(|_| pool.submit(sleep_ms::TASK, 1));
            heist::try_join_all(handles).unwrap();
            false
        }
    });
    for stopped in pids(&pool) {
        signal(stopped, libc::SIGSTOP);
        for n in 0..20 {
            assert_eq!(pool.submit(square::TASK, n).join().unwrap(), n * n);
        }
        signal(stopped, libc::SIGCONT);
    }
    let stats = pool.stats();
    assert_eq!((stats.lost, stats.retried), (0, 0), "{stats}");
}

fn a_stopped_worker_that_misses_a_limit_is_killed() {
    for workers in sizes() {
        let (pool, log) = (pool_of(workers), Log::new());
        let task = pool.task().timeout(Duration::from_millis(500));
        let handle = task.submit(hangs_at::TASK, (log.path(), 0, 0));
        until(LONG, || log.counts(1)[0] == 1);
        pids(&pool)
            .into_iter()
            .for_each(|pid| signal(pid, libc::SIGSTOP));
        assert!(handle.join().unwrap_err().is_timeout());
        pids(&pool)
            .into_iter()
            .for_each(|pid| signal(pid, libc::SIGCONT));
    }
}

fn large_messages_cross_without_a_deadlock() {
    const BYTES: usize = 4 << 20;
    for workers in sizes() {
        let pool = pool_of(workers);
        let content = serde_bytes::ByteBuf::from(vec![9; BYTES]);
        let handles: Vec<_> = (0..8)
            .map(|_| pool.submit(bytes::TASK, content.clone()))
            .collect();
        for handle in handles {
            assert_eq!(handle.join().unwrap(), content);
        }
    }
}

/// Returns what is open in a program that the current process starts.
fn inherited() -> String {
    let output = std::process::Command::new("ls")
        .args(["-l", "/proc/self/fd"])
        .output()
        .expect("ls runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn a_programs_children_inherit_nothing() {
    #[heist::task]
    fn in_a_worker() -> String {
        inherited()
    }
    for workers in sizes() {
        let pool = pool_of(workers);
        let in_worker = pool.submit(in_a_worker::TASK, ()).join().unwrap();
        for text in [inherited(), in_worker] {
            assert!(text.contains("/proc/"), "{text}");
            assert!(!text.contains("socket:"), "{text}");
            assert!(!text.contains("memfd") && !text.contains("pidfd"), "{text}");
        }
    }
}

/// The children of this process that have ended and that nobody has waited for.
fn zombies() -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("the processes");
    let me = std::process::id().to_string();
    let is_ours = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let mut rest = stat.rsplit(')').next().unwrap_or("").split_whitespace();
        rest.next() == Some("Z") && rest.next() == Some(&*me)
    };
    processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(is_ours)
        .collect()
}

fn no_zombies_are_left() {
    for workers in sizes() {
        let pool = pool_with(|builder| builder.num_workers(workers).max_tasks(2));
        for n in 0..20 {
            assert_eq!(pool.submit(square::TASK, n).join().unwrap(), n * n);
            pids(&pool).into_iter().take(1).for_each(kill);
        }
        drop(pool);
        // Other tests have processes that end just now.
        until(LONG, || zombies().is_empty());
        let error = ProcessPool::builder()
            .num_workers(workers)
            .init(tasks::prepare::TASK, "exit".to_owned())
            .build();
        assert!(error.is_err());
        until(LONG, || zombies().is_empty());
    }
}

fn a_pool_outlives_the_thread_that_built_it() {
    for workers in sizes() {
        let pool = std::thread::spawn(move || pool_of(workers)).join().unwrap();
        let before = pool.submit(pid::TASK, ()).join().unwrap();
        std::thread::sleep(Duration::from_millis(20));
        assert!(is_alive(before));
        assert_eq!(pool.submit(square::TASK, 4).join().unwrap(), 16);
        assert_eq!(pool.stats().lost, 0);
    }
}

fn callbacks_that_panic_or_end_the_pool() {
    for workers in sizes() {
        let pool = pool_of(workers);
        let mut handle = pool.submit(square::TASK, 1);
        handle.on_finish(|_| std::panic::resume_unwind(Box::new("a callback")));
        let (sender, receiver) = std::sync::mpsc::channel();
        let inner = pool.clone();
        let mut second = pool.submit(square::TASK, 2);
        second.on_finish(move |_| {
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| inner.shutdown()));
            let waited =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| inner.wait_idle()));
            sender.send((ended.is_err(), waited.is_err())).unwrap();
        });
        drop(handle);
        second.join().unwrap();
        assert!(matches!(
            receiver.recv_timeout(LONG).unwrap(),
            // The callback ran here if the task had ended before it was added.
            (true, true) | (false, false)
        ));
        // The last handle of a pool is dropped on the pool's own thread.
        let pool = pool_of(workers);
        let mut last = pool.submit(sleep_ms::TASK, 20);
        let (sender, receiver) = std::sync::mpsc::channel();
        last.on_finish(move |_| {
            drop(pool);
            sender.send(()).unwrap();
        });
        receiver.recv_timeout(LONG).unwrap();
    }
}

fn a_cancel_races_with_the_end() {
    for workers in sizes() {
        let pool = pool_with(|builder| builder.num_workers(workers).grace(LONG));
        let log = Log::new();
        let mut cancelled = 0;
        for round in 0..1000_u64 {
            let handle = pool.submit(tasks::logged::TASK, (log.path(), round));
            for _ in 0..round % 64 * 100 {
                std::hint::spin_loop();
            }
            let won = handle.cancel();
            match handle.join() {
                Ok(value) => assert!(!won && value == round * round),
                Err(error) => {
                    assert!(won && error.is_cancelled(), "{error}");
                    cancelled += 1;
                }
            }
        }
        pool.wait_idle();
        assert!(log.counts(1000).iter().all(|count| *count <= 1));
        let stats = pool.stats();
        assert_eq!(stats.completed + stats.cancelled, 1000, "{stats}");
        assert!(stats.cancelled <= cancelled && stats.lost == 0, "{stats}");
    }
}

fn absurd_settings() {
    let error = ProcessPool::builder()
        .num_workers(usize::MAX)
        .build()
        .unwrap_err();
    assert!(error.to_string().contains("workers"), "{error}");
    let error = heist::open("processes://1000000").err().unwrap();
    assert!(error.to_string().contains("workers"), "{error}");
    let error = ProcessPool::builder()
        .max_message(1000)
        .init(tasks::prepare::TASK, "x".repeat(2000))
        .build()
        .unwrap_err();
    assert!(error.to_string().contains("max_message"), "{error}");
    #[heist::task]
    fn prepares(_odd: Odd) {}
    for kind in [UNWRITABLE, PANICS_WHEN_WRITTEN] {
        let error = ProcessPool::builder()
            .init(prepares::TASK, Odd(kind))
            .build()
            .unwrap_err();
        assert!(
            error.to_string().contains("cannot be serialised"),
            "{error}"
        );
    }
    // No time at all, no tasks, no bytes.
    let pool = pool_with(|builder| {
        let builder = builder.num_workers(1).max_tasks(0).queue_capacity(0);
        builder.grace(Duration::MAX).timeout(Duration::MAX)
    });
    assert_eq!(pool.submit(square::TASK, 3).join().unwrap(), 9);
    let late = pool
        .task()
        .timeout(Duration::ZERO)
        .submit(sleep_ms::TASK, 60_000);
    assert!(late.join().unwrap_err().is_timeout());
    let handle = pool.submit(sleep_ms::TASK, 300);
    until(LONG, || pool.stats().active == 1);
    handle.cancel();
    assert_eq!(pool.submit(square::TASK, 4).join().unwrap(), 16);
}

/// In the environment of a worker: the path of a log.
pub const TOGETHER: &str = "HEIST_TEST_TOGETHER";

/// Several threads of this process call `heist::init` at once, and then build a pool, as tests of a harness might.
pub fn initialise_together(log: &str) {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                heist::init();
                if ProcessPool::builder().num_workers(1).build().is_ok() {
                    note(log, 0);
                }
            });
        }
    });
}

fn threads_that_become_a_worker_together() {
    for workers in sizes() {
        for _ in 0..10 {
            let log = Log::new();
            let pool = pool_with(|builder| {
                let builder = builder.num_workers(workers);
                builder.env(TOGETHER, log.path())
            });
            assert_eq!(pool.submit(square::TASK, 3).join().unwrap(), 9);
            drop(pool);
            assert_eq!(log.counts(1), [0], "a worker has built a pool");
        }
    }
}

fn a_child_that_somebody_else_waits_for() {
    for workers in sizes() {
        let (pool, log) = (pool_of(workers), Log::new());
        let begin = Instant::now();
        let handle = pool.submit(tasks::dies::TASK, (log.path(), 0, tasks::Death::Abort));
        // As a program does that waits for all its children.
        let mut waited = 0;
        while waited == 0 && begin.elapsed() < LONG && !handle.is_finished() {
            for pid in pids(&pool) {
                let pid = libc::pid_t::try_from(pid).unwrap();
                let mut status = 0;
                // SAFETY: the call writes the status.
                waited = waited.max(unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) });
            }
        }
        assert!(handle.join().unwrap_err().is_lost());
        assert_eq!(pool.submit(square::TASK, 3).join().unwrap(), 9);
    }
}

/// In a fork, a lock of the pool may be held for ever.
fn a_fork_while_the_pool_is_busy() {
    let pool = pool_with(|builder| builder.num_workers(2).grace(GRACE));
    let slow = pool.submit(sleep_ms::TASK, 60_000);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                drop(pool.stats());
            }
        });
        for _ in 0..20 {
            // SAFETY: the child uses nothing that another thread of this process may hold, except where the pool does.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: the call takes an integer. The signal ends a child that waits.
                unsafe { libc::alarm(10) };
                let size = pool.num_workers();
                let runs = slow.is_running();
                let refused = pool.submit(square::TASK, 2);
                let refused = refused.is_finished();
                // SAFETY: the call requires nothing.
                unsafe { libc::_exit(if size == 2 && refused && !runs { 0 } else { 1 }) };
            }
            let mut status = 0;
            // SAFETY: the call writes the status.
            unsafe { libc::waitpid(child, &mut status, 0) };
            assert_eq!(status, 0);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(slow.cancel());
    pool.shutdown_now();
}
