//! What all back ends have in common: each test runs on all of a harness, at all sizes.

use crate::support::{LONG, Test, each, until};
use crate::tasks::{self, bytes, fails, join_words, nothing, panics, sleep_ms, square};
use heist::{Backend, CancelToken, Executor, JoinSet, Priority, ThreadPool, WaitFor};
use std::time::Duration;

pub fn tests() -> Vec<Test> {
    vec![
        ("suite::values_go_there_and_back", || {
            each(values_go_there_and_back)
        }),
        ("suite::a_task_is_a_function", || each(a_task_is_a_function)),
        ("suite::a_panic_is_an_error", || each(a_panic_is_an_error)),
        ("suite::errors_of_the_task_are_results", || {
            each(errors_of_the_task_are_results)
        }),
        ("suite::handles_combine", || each(handles_combine)),
        ("suite::handles_are_futures", || each(handles_are_futures)),
        ("suite::callbacks_are_called", || each(callbacks_are_called)),
        ("suite::streams_are_in_order", || each(streams_are_in_order)),
        ("suite::streams_as_they_come", || each(streams_as_they_come)),
        ("suite::streams_keep_their_window", || {
            each(streams_keep_their_window)
        }),
        ("suite::streams_end_early", || each(streams_end_early)),
        ("suite::streams_have_panics", || each(streams_have_panics)),
        ("suite::time_limits", || each(time_limits)),
        ("suite::time_limits_are_noticed_late", || {
            each(time_limits_are_noticed_late)
        }),
        ("suite::options", || each(options)),
        ("suite::tokens", || each(tokens)),
        ("suite::totals_add_up", || each(totals_add_up)),
        ("suite::a_shutdown_runs_what_is_queued", || {
            each(a_shutdown_runs_what_is_queued)
        }),
        ("suite::a_shutdown_now_resolves_everything", || {
            each(a_shutdown_now_resolves_everything)
        }),
        ("suite::a_handle_knows_whether_its_task_runs", || {
            each(a_handle_knows_whether_its_task_runs)
        }),
        ("suite::the_contracts_names", || each(the_contracts_names)),
        ("suite::many_threads_submit", || each(many_threads_submit)),
    ]
}

fn values_go_there_and_back(executor: &dyn Backend) {
    assert_eq!(executor.submit(square::TASK, 7).join().unwrap(), 49);
    executor.submit(nothing::TASK, ()).join().unwrap();
    let words = ("to".to_owned(), "be".to_owned(), 2);
    assert_eq!(
        executor.submit(join_words::TASK, words).join().unwrap(),
        "to beto be"
    );
    for length in [0, 1, 100_000, 5 << 20] {
        let content = serde_bytes::ByteBuf::from(vec![length as u8; length]);
        assert_eq!(
            executor
                .submit(bytes::TASK, content.clone())
                .join()
                .unwrap(),
            content
        );
    }
}

fn a_task_is_a_function(executor: &dyn Backend) {
    // A local variable may have the name of a task, and the function is a value.
    let square = [1, 2, 3].map(tasks::square);
    assert_eq!(square, [1, 4, 9]);
    let pid = executor.submit(tasks::pid::TASK, ()).join().unwrap();
    assert!(pid > 0);
    let plain: fn(u64) -> u64 = tasks::square;
    assert_eq!(plain(3), 9);
}

fn a_panic_is_an_error(executor: &dyn Backend) {
    let error = executor
        .submit(panics::TASK, "no luck".to_owned())
        .join()
        .unwrap_err();
    assert!(
        error.is_panic() && error.to_string().ends_with("panicked: no luck"),
        "{error}"
    );
    assert!(error.to_string().contains("panics"), "{error}");
    let place = error.location().expect("the place of the panic");
    assert!(place.file().ends_with("tasks.rs") && place.line() > 0);
    let payload = error.into_panic();
    assert_eq!(payload.downcast_ref::<String>().unwrap(), "no luck");
    let error = executor
        .submit(tasks::panics_without_text::TASK, ())
        .join()
        .unwrap_err();
    assert!(error.is_panic());
    assert_eq!(executor.submit(square::TASK, 2).join().unwrap(), 4);
}

fn errors_of_the_task_are_results(executor: &dyn Backend) {
    assert_eq!(
        executor.submit(fails::TASK, 3).join().unwrap(),
        Err("3 is odd".to_owned())
    );
    assert_eq!(executor.submit(fails::TASK, 4).join().unwrap(), Ok(4));
}

fn handles_combine(executor: &dyn Backend) {
    let submit = |n| executor.submit(square::TASK, n);
    let all = heist::try_join_all((0..100).map(submit)).unwrap();
    assert_eq!(all, (0..100).map(|n| n * n).collect::<Vec<_>>());
    let mut seen = [false; 50];
    for (index, result) in heist::as_completed((0..50).map(submit)) {
        assert_eq!(result.unwrap(), (index * index) as u64);
        seen[index] = true;
    }
    assert!(seen.iter().all(|seen| *seen));
    let handles: Vec<_> = (0..10).map(submit).collect();
    assert_eq!(
        heist::wait(&handles, WaitFor::All, Some(LONG)).done.len(),
        10
    );
    assert!(heist::first_finished((0..4).map(submit)).is_some_and(|(_, first)| first.is_ok()));
    let pool = ThreadPool::with_threads(1).unwrap();
    let mut set = JoinSet::new(&pool);
    for n in 0..10 {
        set.insert(submit(n));
    }
    let mut sum = 0;
    while let Some(result) = set.join_next() {
        sum += result.unwrap();
    }
    assert_eq!(sum, 285);
}

fn handles_are_futures(executor: &dyn Backend) {
    let handles = (
        executor.submit(square::TASK, 3),
        executor.submit(square::TASK, 4),
    );
    let sum = heist::block_on(async { handles.0.await.unwrap() + handles.1.await.unwrap() });
    assert_eq!(sum, 25);
}

fn callbacks_are_called(executor: &dyn Backend) {
    let (sender, receiver) = std::sync::mpsc::channel();
    for n in 0..20 {
        let sender = sender.clone();
        let mut handle = executor.submit(square::TASK, n);
        handle.on_finish(move |result| sender.send(*result.as_ref().unwrap()).unwrap());
        handle.detach();
    }
    let mut seen: Vec<u64> = receiver.iter().take(20).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..20).map(|n| n * n).collect::<Vec<_>>());
}

fn streams_are_in_order(executor: &dyn Backend) {
    let squares = |range: std::ops::Range<u64>| range.map(|n| n * n).collect::<Vec<_>>();
    let all: Result<Vec<_>, _> = executor.imap(square::TASK, 0..5000).collect();
    assert_eq!(all.unwrap(), squares(0..5000));
    for chunk in [1, 7, 5000] {
        let all: Result<Vec<_>, _> = executor.imap(square::TASK, 0..500).chunk(chunk).collect();
        assert_eq!(all.unwrap(), squares(0..500));
    }
    assert_eq!(executor.imap(square::TASK, 0..0).count(), 0);
    // The input may be endless.
    let some: Result<Vec<_>, _> = executor.imap(square::TASK, 0..).take(100).collect();
    assert_eq!(some.unwrap(), squares(0..100));
}

fn streams_as_they_come(executor: &dyn Backend) {
    let mut seen = vec![false; 2000];
    for (index, result) in executor.imap_unordered(square::TASK, 0..2000) {
        assert_eq!(result.unwrap(), (index * index) as u64);
        assert!(!std::mem::replace(&mut seen[index], true));
    }
    assert!(seen.iter().all(|seen| *seen));
}

fn streams_keep_their_window(executor: &dyn Backend) {
    let taken = std::cell::Cell::new(0);
    let inputs = (0..1000).inspect(|_| taken.set(taken.get() + 1));
    let mut stream = executor.imap(square::TASK, inputs).window(10);
    for read in 1..=200 {
        assert!(stream.next().unwrap().is_ok());
        assert!(
            taken.get() <= read + 10,
            "{} taken, {read} read",
            taken.get()
        );
    }
}

fn streams_end_early(executor: &dyn Backend) {
    let mut stream = executor
        .imap(sleep_ms::TASK, std::iter::repeat(20))
        .timeout(Duration::from_millis(60));
    let last = stream.by_ref().find_map(Result::err).unwrap();
    assert!(last.is_timeout());
    assert!(stream.next().is_none());
    drop(stream);
    drop(executor.imap(sleep_ms::TASK, std::iter::repeat(1)));
    executor.wait_idle();
}

fn streams_have_panics(executor: &dyn Backend) {
    #[heist::task]
    fn unlucky(n: u64) -> u64 {
        assert_ne!(n % 10, 7, "unlucky {n}");
        n
    }
    for chunk in [1, 8] {
        let results: Vec<_> = executor.imap(unlucky::TASK, 0..50).chunk(chunk).collect();
        for (n, result) in (0..).zip(results) {
            match result {
                Ok(value) => assert!(value == n && n % 10 != 7),
                Err(error) => {
                    assert!(error.is_panic() && error.to_string().contains(&format!("unlucky {n}")))
                }
            }
        }
    }
}

fn time_limits(executor: &dyn Backend) {
    let limit = Duration::from_millis(500);
    let slow = executor.task().timeout(limit).submit(sleep_ms::TASK, 1000);
    let quick = executor.task().timeout(LONG).submit(square::TASK, 3);
    assert_eq!(quick.join().unwrap(), 9);
    assert!(slow.join().unwrap_err().is_timeout());
    let items = executor
        .imap(sleep_ms::TASK, [1, 1000, 1])
        .item_timeout(limit);
    let late: Vec<_> = items
        .map(|item| item.is_err_and(|error| error.is_timeout()))
        .collect();
    assert_eq!(late, [false, true, false]);
    // The time that a task waits does not count.
    let blocked: Vec<_> = (0..executor.num_workers())
        .map(|_| executor.submit(sleep_ms::TASK, 600))
        .collect();
    let waits = executor.task().timeout(limit).submit(square::TASK, 4);
    assert_eq!(waits.join().unwrap(), 16);
    heist::try_join_all(blocked).unwrap();
}

/// Whoever watches the limits is held up until the task has returned, as on a busy machine.
fn time_limits_are_noticed_late(executor: &dyn Backend) {
    let task = |limit| executor.task().timeout(Duration::from_millis(limit));
    let late = task(100).submit(sleep_ms::TASK, 150);
    let mut holds_up = task(50).submit(sleep_ms::TASK, 200);
    holds_up.on_finish(|_| std::thread::sleep(Duration::from_millis(300)));
    assert!(late.join().unwrap_err().is_timeout());
    assert!(holds_up.join().unwrap_err().is_timeout());
}

fn options(executor: &dyn Backend) {
    let task = executor
        .task()
        .name("the name")
        .priority(Priority::High)
        .tries(3);
    let handle = task.submit(panics::TASK, "again".to_owned());
    assert_eq!(handle.name(), Some("the name"));
    let error = handle.join().unwrap_err();
    assert_eq!(error.name(), Some("the name"));
    assert_eq!(task.submit(square::TASK, 5).join().unwrap(), 25);
    let handles = executor.submit_many(square::TASK, 0..10);
    assert_eq!(heist::try_join_all(handles).unwrap()[9], 81);
}

fn tokens(executor: &dyn Backend) {
    let token = CancelToken::new();
    let blocked: Vec<_> = (0..executor.num_workers())
        .map(|_| executor.submit(sleep_ms::TASK, 50))
        .collect();
    let task = executor.task().token(&token);
    let handles: Vec<_> = (0..20).map(|n| task.submit(square::TASK, n)).collect();
    token.cancel();
    for handle in handles {
        // A thread may have begun one of them.
        assert!(
            handle
                .join()
                .map_or_else(|error| error.is_cancelled(), |_| true)
        );
    }
    let late = executor.task().token(&token).submit(square::TASK, 1);
    assert!(late.join().unwrap_err().is_cancelled());
    heist::try_join_all(blocked).unwrap();
}

fn totals_add_up(executor: &dyn Backend) {
    let good: Vec<_> = (0..50).map(|n| executor.submit(square::TASK, n)).collect();
    let bad = executor.submit(panics::TASK, "once".to_owned());
    executor.wait_idle();
    let stats = executor.stats();
    assert_eq!(
        (stats.completed, stats.failed, stats.cancelled),
        (50, 1, 0),
        "{stats}"
    );
    assert_eq!((stats.submitted, stats.queued), (51, 0));
    assert_eq!(stats.workers, executor.num_workers());
    assert!(stats.to_string().contains("51 submitted"));
    assert!(good.iter().all(heist::JoinHandle::is_finished) && bad.is_finished());
}

fn a_shutdown_runs_what_is_queued(executor: &dyn Backend) {
    let handles: Vec<_> = (0..200).map(|n| executor.submit(square::TASK, n)).collect();
    executor.shutdown();
    assert_eq!(heist::try_join_all(handles).unwrap().len(), 200);
    let error = executor.submit(square::TASK, 1).join().unwrap_err();
    assert!(error.is_refused() && error.is_cancelled(), "{error}");
    let errors: Vec<_> = executor
        .imap(square::TASK, 0..3)
        .filter_map(Result::err)
        .collect();
    assert!(errors.len() == 3 && errors.iter().all(heist::JoinError::is_refused));
}

fn a_shutdown_now_resolves_everything(executor: &dyn Backend) {
    let handles: Vec<_> = (0..100)
        .map(|_| executor.submit(sleep_ms::TASK, 5))
        .collect();
    let dropped = executor.shutdown_now();
    let errors = handles.into_iter().filter_map(|handle| handle.join().err());
    assert_eq!(
        errors.filter(heist::JoinError::is_cancelled).count(),
        dropped
    );
}

fn many_threads_submit(executor: &dyn Backend) {
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for n in 0..200 {
                    let n = thread * 1000 + n;
                    assert_eq!(executor.submit(square::TASK, n).join().unwrap(), n * n);
                }
            });
        }
    });
}

fn a_handle_knows_whether_its_task_runs(executor: &dyn Backend) {
    let sizes = executor.num_workers();
    let running: Vec<_> = (0..sizes)
        .map(|_| executor.submit(sleep_ms::TASK, 300))
        .collect();
    let waiting = executor.submit(sleep_ms::TASK, 0);
    for handle in &running {
        until(LONG, || handle.is_running() || handle.is_finished());
    }
    assert!(!waiting.is_running() || running.iter().any(|handle| handle.is_finished()));
    for handle in running {
        assert!(handle.wait_timeout(LONG));
        assert!(handle.is_finished() && !handle.is_running());
    }
    waiting.join().unwrap();
}

/// All of `Executor` that the documentation promises, in one expression each.
fn the_contracts_names(executor: &dyn Backend) {
    let token = CancelToken::new();
    let call = executor.task().timeout(LONG).tries(3);
    let call = call.priority(Priority::Low).token(&token).name("order");
    assert_eq!(call.submit(square::TASK, 5).join().unwrap(), 25);
    let stream = executor.imap(square::TASK, 0..10).window(4).chunk(2);
    assert_eq!(stream.timeout(LONG).filter(Result::is_ok).count(), 10);
    let stream = executor.imap_unordered(square::TASK, 0..10);
    let stream = stream.window(4).chunk(2).timeout(LONG);
    assert_eq!(stream.filter(|(_, result)| result.is_ok()).count(), 10);
    assert!(executor.num_workers() > 0 && executor.stats().completed > 0);
    executor.wait_idle();
    assert!(executor.shutdown_timeout(LONG).is_ok());
    let error = executor.submit(square::TASK, 1).join().unwrap_err();
    assert!(error.is_refused() && !error.is_lost() && error.lost().is_none());
    assert_eq!(executor.shutdown_now(), 0);
    executor.shutdown();
}
