//! What only clusters have: ids, sessions, cancels that reach workers, priorities, limits, servers that are refused, and versions side by side.

use crate::parents::{UNKNOWN_FOR_MS, VERSION};
use crate::server::Server;
use crate::support::{ACK_WAIT, LONG, Log, Test, Worker, connect, options, signal, until};
use crate::tasks::{bytes, logged, many_bytes, sleep_ms, square, until_cancelled};
use heist::nats::{Cluster, Event, Options};
use heist::{Backend, Executor, Priority, Task, WhenFull};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::time::{Duration, Instant};

pub fn tests() -> Vec<Test> {
    vec![
        (
            "behaviour::results_are_found_by_id",
            results_are_found_by_id,
        ),
        ("behaviour::an_id_runs_once", an_id_runs_once),
        ("behaviour::a_session_is_continued", a_session_is_continued),
        (
            "behaviour::handles_outlive_their_client",
            handles_outlive_their_client,
        ),
        (
            "behaviour::a_queued_call_is_cancelled",
            a_queued_call_is_cancelled,
        ),
        (
            "behaviour::a_running_call_is_cancelled",
            a_running_call_is_cancelled,
        ),
        ("behaviour::cancels_race_with_ends", cancels_race_with_ends),
        (
            "behaviour::urgent_calls_come_first",
            urgent_calls_come_first,
        ),
        ("behaviour::a_full_queue", a_full_queue),
        (
            "behaviour::large_arguments_and_results",
            large_arguments_and_results,
        ),
        (
            "behaviour::workers_share_long_tasks",
            workers_share_long_tasks,
        ),
        (
            "behaviour::a_worker_that_leaves_loses_nothing",
            a_worker_that_leaves_loses_nothing,
        ),
        (
            "behaviour::a_worker_that_must_leave_says_what_is_lost",
            a_worker_that_must_leave_says_what_is_lost,
        ),
        ("behaviour::a_crash_costs_one_task", a_crash_costs_one_task),
        (
            "behaviour::a_worker_that_stops_is_replaced",
            a_worker_that_stops_is_replaced,
        ),
        (
            "behaviour::a_server_that_stops_is_waited_for",
            a_server_that_stops_is_waited_for,
        ),
        (
            "behaviour::an_unknown_task_waits_for_a_worker",
            an_unknown_task_waits_for_a_worker,
        ),
        (
            "behaviour::an_unknown_task_is_refused_in_the_end",
            an_unknown_task_is_refused_in_the_end,
        ),
        (
            "behaviour::a_changed_signature_is_refused",
            a_changed_signature_is_refused,
        ),
        ("behaviour::fields_have_names", fields_have_names),
        ("behaviour::what_is_going_on", what_is_going_on),
        ("behaviour::logins", logins),
        (
            "behaviour::servers_that_cannot_be_used",
            servers_that_cannot_be_used,
        ),
        ("behaviour::settings_that_differ", settings_that_differ),
    ]
}

fn results_are_found_by_id() {
    let server = Server::start();
    let first = connect(&server);
    let _worker = Worker::start(&server.address(), 2, false);
    let call = first.task().id("order-17");
    assert_eq!(call.submit(square::TASK, 7).join().unwrap(), 49);
    let numbered = first.submit_many(square::TASK, 0..100);
    heist::try_join_all(numbered).unwrap();
    let second = connect(&server);
    assert_eq!(
        second
            .find(square::TASK, "order-17")
            .unwrap()
            .join()
            .unwrap(),
        49
    );
    for n in 0..100 {
        let handle = second.attach::<u64>(&first.session(), n).unwrap();
        assert_eq!(handle.join().unwrap(), n * n);
    }
    let error = second.attach::<u64>(&first.session(), 100).unwrap_err();
    assert!(
        error.to_string().contains("the call 100 of the session"),
        "{error}"
    );
    assert!(second.find(square::TASK, "order-18").is_err());
    // A result that is not of the type that was asked for is an error.
    let wrong = second.attach::<String>(&first.session(), 3).unwrap();
    assert!(
        wrong
            .join()
            .unwrap_err()
            .to_string()
            .contains("cannot be read")
    );
    // A call that runs is found too, several times.
    let slow = first
        .task()
        .id("a slow one / 1")
        .submit(sleep_ms::TASK, 300);
    until(LONG, || {
        second.find(sleep_ms::TASK, "a slow one / 1").is_ok()
    });
    let twice = [(); 2].map(|()| second.find(sleep_ms::TASK, "a slow one / 1").unwrap());
    assert!(
        twice
            .into_iter()
            .all(|handle| handle.join().unwrap() == 300)
    );
    slow.join().unwrap();
}

fn an_id_runs_once() {
    let server = Server::start();
    let clusters = [connect(&server), connect(&server)];
    let log = Log::new();
    let submit = |cluster: &Cluster| {
        cluster
            .task()
            .id("once")
            .submit(logged::TASK, (log.path(), 3))
    };
    // Before there is a worker, while it runs, and afterwards.
    let early: Vec<_> = clusters.iter().map(submit).collect();
    let _worker = Worker::start(&server.address(), 2, false);
    assert!(early.into_iter().all(|handle| handle.join().unwrap() == 9));
    assert!(
        clusters
            .iter()
            .map(submit)
            .all(|handle| handle.join().unwrap() == 9)
    );
    assert_eq!(log.counts(4), [0, 0, 0, 1]);
    let error = clusters[0]
        .task()
        .id("once")
        .submit(square::TASK, 1)
        .join()
        .unwrap_err();
    assert!(
        error.is_refused() && error.to_string().contains("logged"),
        "{error}"
    );
}

fn a_session_is_continued() {
    let server = Server::start();
    let first = connect(&server);
    let log = Log::new();
    let submit = |cluster: &Cluster, n| cluster.submit(logged::TASK, (log.path(), n));
    let worker = Worker::start(&server.address(), 2, false);
    let some: Vec<_> = (0..50).map(|n| submit(&first, n)).collect();
    heist::try_join_all(some).unwrap();
    drop(worker);
    // These are stored, and nobody runs them.
    let more: Vec<_> = (50..100).map(|n| submit(&first, n)).collect();
    drop((more, first.clone()));
    let session = first.session();
    drop(first);
    let second = options(&server)
        .client()
        .session(session.to_string().parse().unwrap())
        .connect()
        .unwrap();
    let all: Vec<_> = (0..150).map(|n| submit(&second, n)).collect();
    let _worker = Worker::start(&server.address(), 2, false);
    for (n, result) in (0..).zip(heist::try_join_all(all).unwrap()) {
        assert_eq!(result, n * n);
    }
    assert_eq!(log.counts(150), [1; 150]);
    assert!("a.b".parse::<heist::nats::SessionId>().is_err());
}

fn handles_outlive_their_client() {
    let server = Server::start();
    let cluster = connect(&server);
    let handles = cluster.submit_many(square::TASK, 0..20);
    drop(cluster);
    let _worker = Worker::start(&server.address(), 2, false);
    assert_eq!(heist::try_join_all(handles).unwrap()[19], 361);
}

fn a_queued_call_is_cancelled() {
    let server = Server::start();
    let cluster = connect(&server);
    let log = Log::new();
    let _worker = Worker::start(&server.address(), 1, false);
    let block = cluster.submit(sleep_ms::TASK, 400);
    until(LONG, || cluster.stats().under_way > 0);
    let handles: Vec<_> = (0..20)
        .map(|n| cluster.submit(logged::TASK, (log.path(), n)))
        .collect();
    until(LONG, || cluster.stats().queued_normal > 10);
    assert!(handles.iter().all(|handle| handle.cancel()));
    assert!(
        handles
            .into_iter()
            .all(|handle| handle.join().unwrap_err().is_cancelled())
    );
    block.join().unwrap();
    assert_eq!(cluster.submit(square::TASK, 3).join().unwrap(), 9);
    assert_eq!(log.counts(20), [0; 20]);
    cluster.wait_idle();
    let stats = Backend::stats(&cluster);
    assert_eq!(
        (stats.submitted, stats.completed, stats.cancelled),
        (22, 2, 20)
    );
    is_empty(&cluster);
}

/// Waits until the queue is empty.
fn is_empty(cluster: &Cluster) {
    until(ACK_WAIT * 20, || {
        let stats = cluster.stats();
        stats.queued_high + stats.queued_normal + stats.queued_low == 0 && stats.under_way == 0
    });
}

fn a_running_call_is_cancelled() {
    for isolate in [false, true] {
        let server = Server::start();
        let cluster = connect(&server);
        let _worker = Worker::start(&server.address(), 1, isolate);
        let log = Log::new();
        let handle = cluster.submit(until_cancelled::TASK, log.path());
        until(LONG, || log.counts(2)[0] == 1);
        let begin = Instant::now();
        assert!(handle.cancel());
        assert!(handle.join().unwrap_err().is_cancelled());
        // The place is free again.
        assert_eq!(cluster.submit(square::TASK, 3).join().unwrap(), 9);
        assert!(
            begin.elapsed() < Duration::from_secs(5),
            "{:?}",
            begin.elapsed()
        );
        assert_eq!(log.counts(2), [1, 1]);
        // A task that does not look at its token is killed if it runs in a process.
        if isolate {
            let handle = cluster.submit(sleep_ms::TASK, 120_000);
            until(LONG, || !cluster.running().is_empty());
            assert!(handle.cancel());
            assert_eq!(cluster.submit(square::TASK, 4).join().unwrap(), 16);
        }
        is_empty(&cluster);
    }
}

fn cancels_race_with_ends() {
    let server = Server::start();
    let cluster = connect(&server);
    let _worker = Worker::start(&server.address(), 2, false);
    let mut cancelled = 0;
    for n in 0..1000 {
        let handle = cluster.submit(square::TASK, n);
        std::thread::sleep(Duration::from_micros(n * 7 % 1500));
        let was_cancelled = handle.cancel();
        match handle.join() {
            Ok(value) => assert!(value == n * n && !was_cancelled),
            Err(error) => assert!(error.is_cancelled() && was_cancelled),
        }
        cancelled += u64::from(was_cancelled);
    }
    cluster.wait_idle();
    let stats = Backend::stats(&cluster);
    assert_eq!(
        (stats.submitted, stats.completed, stats.cancelled),
        (1000, 1000 - cancelled, cancelled)
    );
    is_empty(&cluster);
}

fn urgent_calls_come_first() {
    let server = Server::start();
    let cluster = connect(&server);
    let _worker = Worker::start(&server.address(), 1, false);
    let low = cluster.task().priority(Priority::Low);
    let slow: Vec<_> = (0..100).map(|_| low.submit(sleep_ms::TASK, 10)).collect();
    until(LONG, || slow[2].is_finished());
    let mut waits: Vec<_> = (0..9)
        .map(|_| {
            let ended = || slow.iter().filter(|handle| handle.is_finished()).count();
            let (begin, before) = (Instant::now(), ended());
            let high = cluster
                .task()
                .priority(Priority::High)
                .submit(square::TASK, 2);
            assert_eq!(high.join().unwrap(), 4);
            (begin.elapsed(), ended() - before)
        })
        .collect();
    assert!(!slow[99].is_finished());
    waits.sort_unstable();
    // About the rest of the task that runs. On a busy machine messages take their time too, in which others end.
    println!(
        "urgent calls among slow ones of 10 ms, and how many of these ended meanwhile: {waits:?}"
    );
    assert!(waits[4].0 < Duration::from_millis(200), "{waits:?}");
    heist::try_join_all(slow).unwrap();
}

fn a_full_queue() {
    let server = Server::start();
    let blocking = options(&server).queue_capacity(10).cluster().unwrap();
    let rejecting = options(&server)
        .client()
        .when_full(WhenFull::Reject)
        .connect()
        .unwrap();
    let stored = rejecting.submit_many(sleep_ms::TASK, vec![1; 30]);
    let begin = Instant::now();
    let is_full = |handle: &heist::JoinHandle<u64>| handle.is_finished();
    until(LONG, || {
        stored.iter().filter(|handle| is_full(handle)).count() == 20
    });
    println!("20 of 30 calls refused after {:?}", begin.elapsed());
    let (all, _worker) = std::thread::scope(|scope| {
        let submit = scope.spawn(|| blocking.submit_many(square::TASK, 0..100));
        let worker = Worker::start(&server.address(), 2, false);
        let all = heist::try_join_all(submit.join().unwrap()).unwrap();
        (all, worker)
    });
    assert_eq!(all[99], 9801);
    let full = stored.into_iter().filter_map(|handle| handle.join().err());
    let full: Vec<_> = full.collect();
    assert!(
        full.len() == 20 && full.iter().all(heist::JoinError::is_refused),
        "{full:?}"
    );
    is_empty(&rejecting);
    assert!(
        options(&server)
            .client()
            .when_full(WhenFull::CallerRuns)
            .connect()
            .is_err()
    );
}

fn large_arguments_and_results() {
    let server = Server::start();
    let cluster = connect(&server);
    let _worker = Worker::start(&server.address(), 2, true);
    for length in [900 << 10, 1 << 20, 2 << 20, 64 << 20] {
        let begin = Instant::now();
        let content = ByteBuf::from(vec![length as u8 | 1; length]);
        assert!(cluster.submit(bytes::TASK, content.clone()).join().unwrap() == content);
        println!("{} KiB there and back: {:?}", length >> 10, begin.elapsed());
    }
    let many = cluster.submit(many_bytes::TASK, 3 << 20).join().unwrap();
    assert_eq!(many.len(), 3 << 20);
    // Another client finds it.
    let other = connect(&server);
    let again = other.attach::<ByteBuf>(&cluster.session(), 3).unwrap();
    assert_eq!(again.join().unwrap().len(), 64 << 20);
}

fn workers_share_long_tasks() {
    let server = Server::start();
    let cluster = connect(&server);
    let _workers = [(); 2].map(|()| Worker::start(&server.address(), 2, false));
    until(LONG, || cluster.num_workers() == 4);
    // Short ones, after which the workers have many in hand.
    let short: Result<Vec<_>, _> = cluster.imap(square::TASK, 0..2000).collect();
    short.unwrap();
    let begin = Instant::now();
    let slow = cluster.submit_many(sleep_ms::TASK, vec![250; 8]);
    heist::try_join_all(slow).unwrap();
    let time = begin.elapsed();
    println!("8 tasks of 250 ms on 4 places: {time:?}");
    assert!(time < Duration::from_millis(1500), "{time:?}");
}

fn a_worker_that_leaves_loses_nothing() {
    for isolate in [false, true] {
        let server = Server::start();
        let cluster = connect(&server);
        let log = Log::new();
        let mut old = Worker::start(&server.address(), 2, isolate);
        let handles: Vec<_> = (0..600)
            .map(|n| cluster.submit(crate::chaos::work::TASK, (log.path(), n)))
            .collect();
        for round in 1..4 {
            until(LONG, || handles[round * 100].is_finished());
            let new = Worker::start(&server.address(), 2, isolate);
            let begin = Instant::now();
            assert_eq!(old.end(), Some(0));
            println!("a worker has left after {:?}", begin.elapsed());
            old = new;
        }
        heist::try_join_all(handles).unwrap();
        assert_eq!(log.counts(600), [1; 600]);
        is_empty(&cluster);
    }
}

fn a_worker_that_must_leave_says_what_is_lost() {
    let server = Server::start();
    let cluster = connect(&server);
    let mut worker = Worker::start(&server.address(), 1, true);
    let once = cluster.submit(sleep_ms::TASK, 100_000);
    until(LONG, || !cluster.running().is_empty());
    signal(worker.pid(), libc::SIGTERM);
    signal(worker.pid(), libc::SIGTERM);
    // The second signal may be one with the first.
    until(LONG, || {
        signal(worker.pid(), libc::SIGTERM);
        once.is_finished()
    });
    let error = once.join().unwrap_err();
    assert_eq!(error.lost().map(|lost| lost.starts), Some(1), "{error}");
    assert_eq!(worker.wait(), Some(0));
}

#[heist::task]
fn dies_first(log: String, number: u64) -> u64 {
    crate::support::note(&log, number);
    if std::fs::metadata(&log).is_ok_and(|log| log.len() < 3 * 8) {
        std::process::abort();
    }
    number
}

fn a_crash_costs_one_task() {
    for isolate in [true, false] {
        let server = Server::start();
        let cluster = connect(&server);
        let mut events = cluster.events();
        let start = || Worker::start(&server.address(), 2, isolate);
        let _workers = [(); 3].map(|()| start());
        until(LONG, || cluster.num_workers() == 6);
        // Young connections do not judge.
        std::thread::sleep(Duration::from_secs(3));
        let log = Log::new();
        let begin = Instant::now();
        let error = cluster
            .submit(dies_first::TASK, (log.path(), 0))
            .join()
            .unwrap_err();
        let time = begin.elapsed();
        println!("isolate {isolate}: lost after {time:?}: {error}");
        let lost = error.lost().expect("it is lost");
        assert_eq!((lost.starts, lost.may_have_run), (1, true));
        assert_eq!(lost.signal, isolate.then_some(6));
        assert!(
            time < if isolate { LONG } else { ACK_WAIT * 30 },
            "{time:?}"
        );
        assert!(events.any(|event| matches!(event, Event::TaskLost { .. })));
        assert_eq!(cluster.submit(square::TASK, 3).join().unwrap(), 9);
        // With more tries it runs again, and returns in the end.
        let again = cluster
            .task()
            .tries(3)
            .submit(dies_first::TASK, (log.path(), 1));
        assert_eq!(again.join().unwrap(), 1);
        assert_eq!(log.counts(2), [1, 2]);
        assert_eq!(Backend::stats(&cluster).retried, 1);
    }
}

fn a_worker_that_stops_is_replaced() {
    let server = Server::start();
    let cluster = connect(&server);
    let log = Log::new();
    let first = Worker::start(&server.address(), 1, false);
    until(LONG, || cluster.num_workers() == 1);
    let slow = cluster
        .task()
        .tries(2)
        .submit(slow_first::TASK, (log.path(), 0));
    let once = {
        until(LONG, || log.counts(2)[0] == 1);
        let _second = Worker::start(&server.address(), 1, false);
        until(LONG, || cluster.num_workers() == 2);
        std::thread::sleep(Duration::from_secs(3));
        signal(first.pid(), libc::SIGSTOP);
        assert_eq!(slow.join().unwrap(), 0);
        signal(first.pid(), libc::SIGCONT);
        cluster.submit(square::TASK, 5)
    };
    assert_eq!(once.join().unwrap(), 25);
    assert_eq!(log.counts(2), [2, 0]);
    is_empty(&cluster);
}

/// Sleeps for long when it is started first.
#[heist::task]
fn slow_first(log: String, number: u64) -> u64 {
    crate::support::note(&log, number);
    if std::fs::metadata(&log).is_ok_and(|log| log.len() == 8) {
        std::thread::sleep(Duration::from_secs(30));
    }
    number
}

fn a_server_that_stops_is_waited_for() {
    let mut server = Server::start();
    let cluster = connect(&server);
    let mut events = cluster.events();
    let log = Log::new();
    let _worker = Worker::start(&server.address(), 2, false);
    let submit = |n| cluster.submit(crate::chaos::work::TASK, (log.path(), n));
    let mut handles: Vec<_> = (0..300).map(submit).collect();
    signal(server.pid(), libc::SIGSTOP);
    std::thread::sleep(Duration::from_secs(2));
    signal(server.pid(), libc::SIGCONT);
    for round in 1..4 {
        until(LONG, || handles[round * 50].is_finished());
        server.stop();
        handles.extend((0..20).map(|n| submit(300 + n + 20 * (round as u64 - 1))));
        server.run();
    }
    heist::try_join_all(handles).unwrap();
    assert_eq!(log.counts(360), [1; 360]);
    assert!(events.any(|event| event == Event::ServerAway));
    assert!(events.any(|event| event == Event::ServerBack));
    is_empty(&cluster);
}

/// A task that only workers of the new version know.
#[derive(Clone, Copy)]
pub struct New;

impl Task for New {
    type Args = u64;
    type Output = u64;
    const NAME: &'static str = "only new workers have it";

    fn run(args: u64) -> u64 {
        args + 1
    }
}

fn an_unknown_task_waits_for_a_worker() {
    let server = Server::start();
    let cluster = connect(&server);
    let _old = Worker::with(&server.address(), 2, false, &[(VERSION, "old")]);
    let handle = cluster.submit(New, 1);
    assert!(handle.join_timeout(Duration::from_millis(500)).is_err());
    let _new = Worker::with(&server.address(), 2, false, &[(VERSION, "new")]);
    assert_eq!(cluster.submit(New, 7).join().unwrap(), 8);
    assert_eq!(cluster.submit(square::TASK, 7).join().unwrap(), 49);
}

fn an_unknown_task_is_refused_in_the_end() {
    let server = Server::start();
    let cluster = connect(&server);
    let more = [(VERSION, "0.3.1"), (UNKNOWN_FOR_MS, "300")];
    let _old = Worker::with(&server.address(), 2, false, &more);
    let error = cluster.submit(New, 1).join().unwrap_err();
    let text = error.to_string();
    assert!(
        error.is_refused() && text.contains("only new workers have it"),
        "{text}"
    );
    assert!(
        text.contains("1 workers, of the versions 0.3.1") && text.contains("use thumbs as _;"),
        "{text}"
    );
}

/// A client's view of tasks that its workers have with other parameters.
macro_rules! seen_as {
    ($name:ident, $task:expr, $args:ty, $signature:expr) => {
        #[derive(Clone, Copy)]
        struct $name;

        impl Task for $name {
            type Args = $args;
            type Output = u32;
            const NAME: &'static str = $task;
            const SIGNATURE: &'static str = $signature;

            fn run(_: $args) -> u32 {
                0
            }
        }
    };
}

seen_as!(OldSquare, <square as Task>::NAME, u32, "(u32) -> u32");

fn a_changed_signature_is_refused() {
    let server = Server::start();
    let cluster = connect(&server);
    let _worker = Worker::start(&server.address(), 2, false);
    let error = cluster.submit(OldSquare, 3).join().unwrap_err();
    let text = error.to_string();
    assert!(error.is_refused(), "{text}");
    assert!(
        text.contains("(u32) -> u32") && text.contains("(u64) -> u64"),
        "{text}"
    );
}

/// A size as workers know it.
#[derive(Serialize, Deserialize)]
pub struct Size {
    width: u32,
    height: u32,
    #[serde(default)]
    depth: u32,
}

#[heist::task]
fn size(size: Size) -> u32 {
    size.width * 10_000 + size.height * 100 + size.depth
}

/// A size as an older client knows it, with its fields in another order.
#[derive(Serialize, Deserialize)]
struct OldSize {
    height: u32,
    width: u32,
}

/// A size as a client knows it whose fields have other names.
#[derive(Serialize, Deserialize)]
struct OtherSize {
    tall: u32,
}

seen_as!(
    SizeOfOld,
    <size as Task>::NAME,
    OldSize,
    <size as Task>::SIGNATURE
);
seen_as!(
    SizeOfOther,
    <size as Task>::NAME,
    OtherSize,
    <size as Task>::SIGNATURE
);

fn fields_have_names() {
    let server = Server::start();
    let cluster = connect(&server);
    let _worker = Worker::start(&server.address(), 2, false);
    let new = Size {
        width: 1,
        height: 2,
        depth: 3,
    };
    assert_eq!(cluster.submit(size::TASK, new).join().unwrap(), 10_203);
    let old = OldSize {
        height: 2,
        width: 1,
    };
    assert_eq!(cluster.submit(SizeOfOld, old).join().unwrap(), 10_200);
    let error = cluster
        .submit(SizeOfOther, OtherSize { tall: 1 })
        .join()
        .unwrap_err();
    assert!(
        error.is_refused() && error.to_string().contains("missing field"),
        "{error}"
    );
}

fn what_is_going_on() {
    let server = Server::start();
    let cluster = connect(&server);
    let mut events = cluster.events();
    assert_eq!(cluster.stats().workers.len(), 0);
    let mut worker = Worker::with(&server.address(), 1, true, &[(VERSION, "1.2.3")]);
    assert!(
        events
            .any(|event| matches!(event, Event::WorkerJoined(worker) if worker.version == "1.2.3"))
    );
    let handles = cluster.submit_many(sleep_ms::TASK, vec![2500; 3]);
    until(LONG, || !cluster.running().is_empty());
    let running = cluster.running();
    assert_eq!((running.len(), running[0].start), (1, 1));
    assert_eq!(running[0].key, format!("{}.0", cluster.session()));
    assert!(running[0].task.ends_with("sleep_ms"));
    let stats = cluster.stats();
    assert_eq!(
        (stats.workers.len(), stats.queued_normal, stats.under_way),
        (1, 2, 1),
        "{stats}"
    );
    assert_eq!(
        (stats.workers[0].pid, stats.workers[0].places),
        (worker.pid(), 1)
    );
    assert!(
        stats.to_string().contains("1.2.3") && stats.to_string().contains("2 normal"),
        "{stats}"
    );
    heist::try_join_all(handles).unwrap();
    assert_eq!(
        (cluster.stats().results, cluster.stats().workers[0].done),
        (3, 3)
    );
    assert_eq!(worker.end(), Some(0));
    assert!(events.any(|event| matches!(event, Event::WorkerLeft(_))));
}

fn logins() {
    let server = Server::with(&["-js", "--user", "ann", "--pass", "a:b c"]);
    let address = server.address_with("ann:a%3Ab%20c@");
    let cluster = Cluster::connect(&address).unwrap();
    let _worker = Worker::start(&address, 1, false);
    assert_eq!(cluster.submit(square::TASK, 3).join().unwrap(), 9);
    for address in [server.address_with("ann:secret@"), server.address()] {
        let begin = Instant::now();
        let error = Cluster::connect(&address).unwrap_err().to_string();
        assert!(
            error.contains("refuses the login") && !error.contains("secret"),
            "{error}"
        );
        assert!(begin.elapsed() < LONG);
    }
    let options = Options::new(&server.address_with("ann:secret@")).unwrap();
    assert!(!format!("{options:?}").contains("secret"));
}

fn servers_that_cannot_be_used() {
    let quick = |address: &str| {
        Options::new(address)
            .unwrap()
            .connect_timeout(Duration::from_millis(500))
            .cluster()
    };
    let without = Server::with(&[]);
    let error = quick(&without.address()).unwrap_err().to_string();
    assert!(error.contains("nats-server -js"), "{error}");
    let nobody = format!("nats://127.0.0.1:{}/tests", crate::server::free_port());
    let error = quick(&nobody).unwrap_err().to_string();
    assert!(
        error.contains("no connection to nats://127.0.0.1"),
        "{error}"
    );
    let error = heist::open("nats://u:secret@host")
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("nats://host:4222/queue") && !error.contains("secret"),
        "{error}"
    );
    // A server that says it is of this version.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        use std::io::{BufRead, BufReader, Write};
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let info = r#"{"server_id":"X","server_name":"x","version":"2.9.10","go":"go","host":"127.0.0.1","port":1,"headers":true,"max_payload":1048576,"proto":1}"#;
            write!(stream, "INFO {info}\r\n").unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            for line in lines.map_while(Result::ok) {
                if line.starts_with("PING") {
                    let _ = stream.write_all(b"PONG\r\n");
                }
            }
        }
    });
    let error = quick(&format!("nats://127.0.0.1:{port}/tests"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("nats-server 2.9.10") && error.contains("2.11 or later"),
        "{error}"
    );
}

fn settings_that_differ() {
    let server = Server::start();
    let _first = connect(&server);
    let error = Options::new(&server.address())
        .unwrap()
        .ack_wait(ACK_WAIT * 3)
        .cluster()
        .unwrap_err();
    assert!(error.to_string().contains("ack_wait of 1s"), "{error}");
    // Without a wish, the queue's setting is taken.
    let second = Cluster::connect(&server.address()).unwrap();
    assert_eq!(second.session(), second.clone().session());
}
