//! `stall_after`: each planted stall is reported, and nothing else.

use crate::plants::{Stop, circle};
use crate::support::{Held, LONG, fib, isolated, pool_with, spin_until, watched};
use heist::{StallKind, StallReport, ThreadPool, ThreadPoolBuilder};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_millis(200);

/// A pool whose stalls are sent to the test.
fn watching(
    limit: Duration,
    configure: impl FnOnce(ThreadPoolBuilder) -> ThreadPoolBuilder,
) -> (ThreadPool, Receiver<StallReport>) {
    let (sender, reports) = channel();
    let hook = move |report: &StallReport| drop(sender.send(report.clone()));
    let pool = pool_with(|builder| configure(builder.num_threads(1).stall_after(limit, hook)));
    (pool, reports)
}

/// The task of the thread that stands still.
fn task(report: &StallReport) -> Option<String> {
    let thread = report.dump.thread(report.thread?);
    thread.task.as_ref()?.name.clone()
}

/// Checks the reports of something that has stood still since `start`: one after the limit, one after twice the limit.
fn twice(reports: &Receiver<StallReport>, start: Instant, is_kind: impl Fn(&StallReport) -> bool) {
    for least in [LIMIT, 2 * LIMIT] {
        let report = reports.recv_timeout(LONG).expect("a report");
        assert!(is_kind(&report), "{report}");
        assert!(
            report.lasts >= least && report.lasts <= start.elapsed() * 2,
            "{report}"
        );
    }
}

#[test]
fn a_blocked_task_is_reported_once_for_each_doubling() {
    watched(|| {
        let (pool, reports) = watching(LIMIT, |builder| builder);
        let held = Held::default();
        let (start, gate) = (Instant::now(), held.0.clone());
        let handle = pool.task().name("planted").submit(move || gate.pass());
        twice(&reports, start, |report| {
            let text = report.to_string();
            assert!(
                text.contains("worker 0 is blocked") && text.contains("\"planted\""),
                "{text}"
            );
            report.kind == StallKind::Blocked && task(report).as_deref() == Some("planted")
        });
        held.open();
        handle.join().unwrap();
        // As many as there are doublings.
        let more = reports.try_iter().count() as u32;
        assert!(start.elapsed() >= LIMIT * 2_u32.pow(more + 1));
        // The next task that is stuck is another thing.
        let held = Held::default();
        let gate = held.0.clone();
        let handle = pool.task().name("another").submit(move || gate.pass());
        let report = reports.recv_timeout(LONG).unwrap();
        assert_eq!(task(&report).as_deref(), Some("another"), "{report}");
        held.open();
        handle.join().unwrap();
    });
}

#[test]
fn a_busy_task_is_reported() {
    watched(|| {
        let (pool, reports) = watching(LIMIT, |builder| builder);
        let (start, stop) = (Instant::now(), Stop::default());
        let handle = pool.task().name("planted").submit(stop.spinner());
        // On a loaded machine a busy thread can wait long for a processor.
        let kinds = [StallKind::Busy, StallKind::Starved];
        twice(&reports, start, |report| {
            kinds.contains(&report.kind) && task(report).as_deref() == Some("planted")
        });
        drop(stop);
        handle.join().unwrap();
    });
}

#[test]
fn a_circle_is_reported() {
    isolated("stalls::a_circle_is_reported", || {
        for count in [1, 2, 3] {
            let (pool, reports) = watching(LIMIT, |builder| builder);
            let others = (1..count).map(|_| pool_with(|builder| builder.num_threads(1)));
            let pools: Vec<_> = [pool].into_iter().chain(others).collect();
            let start = Instant::now();
            circle(&pools);
            twice(&reports, start, |report| {
                assert!(report.to_string().contains("deadlock: "), "{report}");
                report.kind == StallKind::Deadlock && report.dump.cycles[0].edges.len() == count
            });
        }
    });
}

#[test]
fn waiting_threads_beside_queued_work_are_reported() {
    watched(|| {
        let (pool, reports) = watching(LIMIT, |builder| builder.spare_threads(0));
        let (promise, handle) = heist::promise::<()>();
        let start = Instant::now();
        let waits = pool.submit(move || handle.join().unwrap());
        spin_until(|| waits.is_running());
        let queued = pool.submit(|| ());
        twice(&reports, start, |report| report.kind == StallKind::AllWait);
        promise.resolve(()).unwrap();
        waits.join().unwrap();
        queued.join().unwrap();
    });
}

#[test]
fn old_entries_of_a_queue_are_reported() {
    watched(|| {
        let (pool, reports) = watching(LIMIT, |builder| builder);
        let start = Instant::now();
        let slow = || std::thread::sleep(LIMIT / 10);
        let handles: Vec<_> = (0..100).map(|_| pool.submit(slow)).collect();
        twice(&reports, start, |report| report.kind == StallKind::Queue);
        drop(handles);
        pool.shutdown_now();
    });
}

#[test]
fn what_goes_on_is_not_reported() {
    watched(|| {
        let limit = Duration::from_secs(20);
        let (pool, reports) = watching(limit, |builder| builder.num_threads(2));
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            pool.submit(|| fib(10)).join().unwrap();
            pool.scope(|s| (0..10).for_each(|_| s.spawn(|_| ())));
        }
        let held = Held::default();
        let gate = held.0.clone();
        let blocking = pool.submit(move || heist::blocking(|| gate.pass()));
        spin_until(|| blocking.is_running());
        held.open();
        blocking.join().unwrap();
        pool.wait_idle();
        assert_eq!(reports.try_iter().count(), 0);
    });
}

#[test]
fn blocking_says_that_it_waits() {
    watched(|| {
        let (pool, reports) = watching(Duration::from_millis(20), |builder| builder);
        let held = Held::default();
        let gate = held.0.clone();
        let blocking = pool.submit(move || heist::blocking(|| gate.pass()));
        assert!(!blocking.wait_timeout(Duration::from_millis(200)));
        held.open();
        blocking.join().unwrap();
        let wrong = reports
            .try_iter()
            .find(|report| report.kind != StallKind::Starved);
        assert!(wrong.is_none(), "{}", wrong.unwrap());
    });
}

#[test]
fn a_hook_that_panics_is_called_again() {
    watched(|| {
        let (sender, calls) = channel();
        let pool = pool_with(|builder| {
            builder.num_threads(1).stall_after(LIMIT, move |_| {
                sender.send(()).unwrap();
                std::panic::resume_unwind(Box::new("planted"));
            })
        });
        let held = Held::default();
        let gate = held.0.clone();
        let handle = pool.submit(move || gate.pass());
        (0..2).for_each(|_| calls.recv_timeout(LONG).unwrap());
        held.open();
        handle.join().unwrap();
    });
}

/// The hook may use the pool, and end it.
#[test]
fn a_hook_can_shut_the_pool_down() {
    watched(|| {
        let (sender, calls) = channel();
        let (pool, reports) = watching(LIMIT, |builder| builder);
        let held = Held::default();
        let gate = held.0.clone();
        let handle = pool.submit(move || gate.pass());
        let queued = pool.submit(|| ());
        let own = pool.clone();
        std::thread::spawn(move || {
            let report = reports.recv().unwrap();
            own.close_now();
            drop((report, own));
            sender.send(()).unwrap();
        });
        calls.recv_timeout(LONG).unwrap();
        assert!(queued.join().unwrap_err().is_cancelled());
        held.open();
        handle.join().unwrap();
    });
}
