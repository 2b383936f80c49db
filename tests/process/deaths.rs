//! A worker dies: exactly the task that it ran is lost.

use crate::support::{LONG, Log, Test, is_alive, kill, pids, pool_of, pool_with, sizes, until};
use crate::tasks::{self, Death, dies, logged, pid, sleep_ms, square};
use heist::{Backend, Executor, ProcessPool};
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test> {
    vec![
        (
            "deaths::each_death_loses_exactly_its_task",
            each_death_loses_exactly_its_task,
        ),
        (
            "deaths::in_a_chunk_one_item_is_lost",
            in_a_chunk_one_item_is_lost,
        ),
        (
            "deaths::an_idle_worker_costs_no_task",
            an_idle_worker_costs_no_task,
        ),
        ("deaths::a_new_worker_comes_soon", a_new_worker_comes_soon),
        (
            "deaths::a_task_that_may_be_tried_again_is",
            a_task_that_may_be_tried_again_is,
        ),
        (
            "deaths::rubbish_costs_what_its_worker_has_begun",
            rubbish_costs_what_its_worker_has_begun,
        ),
        (
            "deaths::a_child_of_a_dead_worker_is_no_worker",
            a_child_of_a_dead_worker_is_no_worker,
        ),
        (
            "deaths::in_the_middle_of_a_result",
            in_the_middle_of_a_result,
        ),
        (
            "deaths::the_error_says_what_happened",
            the_error_says_what_happened,
        ),
    ]
}

const DEATHS: [(Death, Option<i32>, Option<i32>); 7] = [
    (Death::Kill, Some(libc::SIGKILL), None),
    (Death::Segfault, Some(libc::SIGSEGV), None),
    (Death::Abort, Some(libc::SIGABRT), None),
    (Death::Exit(0), None, Some(0)),
    (Death::Exit(3), None, Some(3)),
    (Death::StackOverflow, Some(libc::SIGABRT), None),
    (Death::OutOfMemory, Some(libc::SIGABRT), None),
];

fn each_death_loses_exactly_its_task() {
    for (death, signal, code) in DEATHS {
        for behind in [1, 16] {
            for workers in sizes() {
                let pool = pool_of(workers);
                let log = Log::new();
                let victim = 3;
                let handles: Vec<_> = (0..behind + 4)
                    .map(|n| match n == victim {
                        true => pool.submit(dies::TASK, (log.path(), n, death)),
                        false => pool.submit(logged::TASK, (log.path(), n)),
                    })
                    .collect();
                for (n, handle) in (0..).zip(handles) {
                    match handle.join() {
                        Ok(value) => assert_eq!((value, n != victim), (n * n, true)),
                        Err(error) => {
                            let lost = error.lost().expect("it was lost");
                            assert_eq!(
                                (n, lost.signal, lost.code),
                                (victim, signal, code),
                                "{death:?}"
                            );
                            assert_eq!((lost.starts, lost.may_have_run), (1, true));
                        }
                    }
                }
                assert!(
                    log.counts(behind as usize + 4)
                        .iter()
                        .all(|count| *count == 1)
                );
                let stats = pool.stats();
                assert_eq!(
                    (stats.lost, stats.failed, stats.completed),
                    (1, 1, behind + 3)
                );
            }
        }
    }
}

fn in_a_chunk_one_item_is_lost() {
    #[heist::task]
    fn dies_at(log: String, n: u64, at: u64) -> u64 {
        if n == at {
            return dies(log, n, Death::Kill);
        }
        logged(log, n)
    }
    for workers in sizes() {
        for at in [0, 1, 500, 998, 999] {
            let (pool, log) = (pool_of(workers), Log::new());
            let inputs = (0..1000).map(|n| (log.path(), n, at));
            let results: Vec<_> = pool.imap(dies_at::TASK, inputs).chunk(250).collect();
            for (n, result) in (0..).zip(&results) {
                match result {
                    Ok(value) => assert_eq!(*value, n * n),
                    Err(error) => assert!(n == at && error.is_lost(), "{n}: {error}"),
                }
            }
            assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
            assert!(log.counts(1000).iter().all(|count| *count == 1));
        }
    }
}

fn an_idle_worker_costs_no_task() {
    for workers in sizes() {
        let pool = pool_of(workers);
        for round in 0..10 {
            assert_eq!(
                pool.submit(square::TASK, round).join().unwrap(),
                round * round
            );
            pids(&pool).into_iter().for_each(kill);
        }
        let stats = pool.stats();
        assert_eq!((stats.lost, stats.completed), (0, 10));
    }
}

fn a_new_worker_comes_soon() {
    let pool = pool_of(1);
    let mut least = LONG;
    for _ in 0..10 {
        let old = pool.submit(pid::TASK, ()).join().unwrap();
        let begin = Instant::now();
        kill(old);
        until(LONG, || !pids(&pool).contains(&old));
        let new = pool.submit(pid::TASK, ()).join().unwrap();
        least = least.min(begin.elapsed());
        assert_ne!(old, new);
    }
    // The least of ten, because other programs use the machine too.
    assert!(least < Duration::from_millis(20), "{least:?}");
}

fn a_task_that_may_be_tried_again_is() {
    #[heist::task(tries = 3)]
    fn dies_twice(log: String) -> u32 {
        let before = std::fs::metadata(&log).map_or(0, |file| file.len() / 8);
        if before < 2 {
            dies(log, 0, Death::Abort);
        }
        42
    }
    for workers in sizes() {
        let (pool, log) = (pool_of(workers), Log::new());
        assert_eq!(
            pool.submit(dies_twice::TASK, log.path()).join().unwrap(),
            42
        );
        assert_eq!(pool.stats().retried, 2);
        let log = Log::new();
        let task = pool.task().tries(2);
        let error = task
            .submit(dies::TASK, (log.path(), 0, Death::Abort))
            .join()
            .unwrap_err();
        assert_eq!(error.lost().unwrap().starts, 2);
        assert_eq!(log.counts(1), [2]);
    }
}

/// What comes after rubbish cannot be read, so the tasks that the worker begins until it is killed are lost too. None begins again.
fn rubbish_costs_what_its_worker_has_begun() {
    for workers in sizes() {
        for bad in [
            |pool: &ProcessPool| pool.submit(tasks::writes_rubbish::TASK, ()),
            |pool: &ProcessPool| pool.submit(tasks::closes_all::TASK, ()),
        ] {
            let (pool, log) = (pool_of(workers), Log::new());
            let bad = bad(&pool);
            let good: Vec<_> = (0..50)
                .map(|n| pool.submit(logged::TASK, (log.path(), n)))
                .collect();
            assert!(bad.join().unwrap_err().is_lost());
            for (n, handle) in (0..).zip(good) {
                match handle.join() {
                    Ok(value) => assert_eq!(value, n * n),
                    Err(error) => assert!(error.is_lost(), "{error}"),
                }
            }
            assert!(log.counts(50).iter().all(|count| *count <= 1));
            assert_eq!(pool.submit(square::TASK, 3).join().unwrap(), 9);
        }
    }
}

fn a_child_of_a_dead_worker_is_no_worker() {
    for workers in sizes() {
        let pool = pool_of(workers);
        let begin = Instant::now();
        let error = pool
            .submit(tasks::forks_and_dies::TASK, ())
            .join()
            .unwrap_err();
        assert_eq!(error.lost().unwrap().signal, Some(libc::SIGABRT));
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "it waits for the child"
        );
        assert_eq!(pool.submit(square::TASK, 3).join().unwrap(), 9);
    }
}

fn the_error_says_what_happened() {
    let pool = pool_with(|builder| builder.num_workers(1));
    let handle = pool.submit(sleep_ms::TASK, 60_000);
    until(LONG, || handle.is_running());
    let worker = pids(&pool)[0];
    kill(worker);
    let error = handle.join().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("sleep_ms"), "{text}");
    assert!(
        text.contains(&format!("worker {worker} died of signal 9")),
        "{text}"
    );
    assert!(!is_alive(worker));
    assert!(
        !error.is_panic() && !error.is_cancelled() && !error.is_timeout() && !error.is_refused()
    );
}

fn in_the_middle_of_a_result() {
    const BYTES: usize = 32 << 20;
    for workers in sizes() {
        let pool = pool_of(workers);
        let (mut lost, mut whole) = (0, 0);
        for round in 0..16 {
            let handle = pool.submit(tasks::many_bytes::TASK, BYTES);
            let behind: Vec<_> = (0..4).map(|n| pool.submit(square::TASK, n)).collect();
            // Some kills come before the result, some while it is on its way, some after it.
            std::thread::sleep(Duration::from_millis(4 * round));
            pids(&pool).into_iter().for_each(kill);
            match handle.join() {
                Ok(bytes) => {
                    assert!(bytes.len() == BYTES && bytes.iter().all(|byte| *byte == 7));
                    whole += 1;
                }
                Err(error) => {
                    assert!(error.is_lost(), "{error}");
                    lost += 1;
                }
            }
            for (n, handle) in (0..).zip(behind) {
                match handle.join() {
                    Ok(value) => assert_eq!(value, n * n),
                    Err(error) => assert!(error.is_lost(), "{error}"),
                }
            }
        }
        assert_eq!(lost + whole, 16);
    }
}
