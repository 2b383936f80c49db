//! A dump waits for no lock.

use crate::pool::tests::with_locks_held;
use crate::{ThreadPool, ThreadState};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Takes dumps while another thread holds all locks. Returns the longest time that one took.
fn with_all_locks_held(dumps: usize) -> Duration {
    let pool = ThreadPool::builder()
        .num_threads(2)
        .build()
        .expect("a pool");
    let (go, gate) = mpsc::channel::<()>();
    let handle = pool.task().name("held").submit(move || gate.recv().is_ok());
    // The items of a stream have locks too.
    let mut items = pool.imap(0..10, |n| n);
    items.next();
    while !handle.is_running() {
        std::thread::yield_now();
    }
    let (done, end) = mpsc::channel::<Duration>();
    let (asks, other) = (pool.clone(), mpsc::channel::<()>());
    let dumper = std::thread::spawn(move || {
        other.1.recv().expect("the locks are held");
        let mut longest = Duration::ZERO;
        for _ in 0..dumps {
            let start = Instant::now();
            let dump = asks.dump_at_once();
            longest = longest.max(start.elapsed());
            assert!(dump.is_partial);
            let mut threads = dump.pools[0].threads.iter();
            let runs = threads
                .find(|thread| thread.task.is_some())
                .expect("the task runs");
            assert_eq!(runs.does, ThreadState::Running);
            // The lock of its name is held.
            assert_eq!(
                runs.task.as_ref().and_then(|task| task.name.as_deref()),
                None
            );
            assert!(!dump.to_string().is_empty());
        }
        done.send(longest).expect("the test waits");
    });
    let held = with_locks_held(pool.registry(), || {
        other.0.send(()).expect("the thread waits");
        end.recv_timeout(Duration::from_secs(50))
    });
    go.send(()).expect("the task waits");
    drop(items);
    dumper.join().expect("the dumps are right");
    held.expect("no dump waits for a lock")
}

/// The variable sets the number of dumps, none of which may then take long.
#[test]
fn a_dump_waits_for_no_lock() {
    let dumps = std::env::var("HEIST_TEST_DUMPS").ok();
    let dumps = dumps.map(|dumps| dumps.parse().expect("a number"));
    let longest = with_all_locks_held(dumps.unwrap_or(50));
    println!("the longest dump took {longest:?}");
    assert!(
        dumps.is_none() || longest < Duration::from_millis(10),
        "{longest:?}"
    );
}
