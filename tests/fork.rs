//! After `fork()` a pool in the child fails with advice; it never hangs.

#![cfg(target_os = "linux")]

#[path = "it/support/mod.rs"]
mod support;

use heist::{Start, ThreadPool};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use support::{fib, isolated, outcome, payload_text, pool, pool_with, serial_fib};

/// The end of a forked child.
#[derive(Debug)]
#[expect(dead_code, reason = "what is in it is printed when a test fails")]
enum Child {
    Returned(String),
    Panicked(String),
    Hung,
    /// The child ended without a message, with this wait status.
    Died(i32),
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: `pipe` requires a pointer to two writable descriptors, which `ends` is.
    let result = unsafe { libc::pipe(ends.as_mut_ptr()) };
    assert_eq!(result, 0, "a pipe for the child");
    // SAFETY: `from_raw_fd` requires an open descriptor with no other owner. `pipe` has just made this one.
    let read = unsafe { OwnedFd::from_raw_fd(ends[0]) };
    // SAFETY: `from_raw_fd` requires an open descriptor with no other owner. `pipe` has just made the second one too.
    let write = unsafe { OwnedFd::from_raw_fd(ends[1]) };
    (read, write)
}

/// Runs `body` in a child made by `fork()`. The calling process has no thread that may hold a
/// lock of the allocator or of the standard streams: its workers sleep, and its tests run alone.
fn in_child(body: impl FnOnce() -> String) -> Child {
    let (read, write) = pipe();
    // SAFETY: after `fork`, a child of a process with threads may rely on no lock. The caller guarantees that no other thread holds one.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork() works");
    if child == 0 {
        let text = match outcome(body) {
            Ok(text) => format!("r{text}"),
            Err(payload) => format!("p{}", payload_text(&*payload)),
        };
        // Nobody can receive an error here. The parent sees a silent child.
        let _ = File::from(write).write_all(text.as_bytes());
        // SAFETY: `_exit` requires nothing. It ends the child without running exit handlers.
        unsafe { libc::_exit(0) }
    }
    drop(write);
    hear(child, read)
}

/// Waits until the child has sent its message and ended, or kills it after ten seconds.
fn hear(child: libc::pid_t, read: OwnedFd) -> Child {
    let (send, receive) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let result = File::from(read).read_to_string(&mut text);
        let _ = send.send(result.map(|_| text));
    });
    let heard = receive.recv_timeout(std::time::Duration::from_secs(10));
    if heard.is_err() {
        // SAFETY: `kill` has no memory obligations. `child` has not been waited for, so its id belongs to no other process.
        unsafe { libc::kill(child, libc::SIGKILL) };
    }
    let mut status = 0;
    // SAFETY: `waitpid` requires a pointer to a writable status, which `&mut status` is.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    reader.join().unwrap();
    match heard {
        Err(_) => Child::Hung,
        Ok(result) => match result.unwrap() {
            text if text.starts_with('r') => Child::Returned(text[1..].to_owned()),
            text if text.starts_with('p') => Child::Panicked(text[1..].to_owned()),
            _ => Child::Died(status),
        },
    }
}

/// Checks that the child fails with a message about fork.
#[track_caller]
fn fails_with_advice<R>(what: &str, body: impl FnOnce() -> R) {
    let child = in_child(|| {
        body();
        String::new()
    });
    match child {
        Child::Panicked(text) if text.to_lowercase().contains("fork") => (),
        other => panic!("{what} in the child: {other:?}"),
    }
}

#[track_caller]
fn returns(what: &str, expected: &str, body: impl FnOnce() -> String) {
    match in_child(body) {
        Child::Returned(text) if text == expected => (),
        other => panic!("{what} in the child: {other:?}"),
    }
}

/// Pools in the states in which a fork may find them.
fn pools() -> Vec<(&'static str, ThreadPool)> {
    let used = pool();
    assert_eq!(used.install(|| fib(12)), serial_fib(12));
    used.broadcast(|_| ());
    vec![
        ("a used pool", used),
        (
            "an eager pool",
            pool_with(|builder| builder.start(Start::Eager)),
        ),
        ("a pool without threads", pool()),
    ]
}

#[test]
fn every_way_into_a_pool_fails_with_advice_in_the_child() {
    isolated(
        "every_way_into_a_pool_fails_with_advice_in_the_child",
        || {
            for (state, pool) in pools() {
                let what = |call| format!("{call} on {state}");
                fails_with_advice(&what("join"), || pool.join(|| 1, || 2));
                fails_with_advice(&what("scope"), || pool.scope(|s| s.spawn(|_| ())));
                fails_with_advice(&what("map"), || pool.map(0..1000, |x| x));
                fails_with_advice(&what("for_each"), || pool.for_each(0..1000, |_| ()));
                fails_with_advice(&what("install"), || pool.install(|| fib(5)));
                fails_with_advice(&what("run"), || pool.run(|| ()));
                fails_with_advice(&what("spawn"), || pool.spawn(|| ()));
                fails_with_advice(&what("broadcast"), || pool.broadcast(|i| i));
                // Nothing has changed in the parent.
                assert_eq!(pool.install(|| fib(10)), serial_fib(10));
                assert_eq!(pool.broadcast(|i| i).len(), pool.num_threads());
            }
        },
    );
}

#[test]
fn a_second_use_in_the_child_fails_like_the_first() {
    isolated("a_second_use_in_the_child_fails_like_the_first", || {
        for (state, pool) in pools() {
            fails_with_advice(state, || {
                assert!(outcome(|| pool.join(|| 1, || 2)).is_err());
                assert!(outcome(|| pool.spawn(|| ())).is_err());
                pool.join(|| 1, || 2)
            });
        }
    });
}

#[test]
fn a_pool_is_dropped_in_the_child_without_a_hang() {
    isolated("a_pool_is_dropped_in_the_child_without_a_hang", || {
        for (state, pool) in pools() {
            let mut own = Some(pool);
            // Only the child takes this branch.
            returns(state, "dropped", || {
                drop(own.take());
                String::from("dropped")
            });
            assert_eq!(own.unwrap().join(|| 1, || 2), (1, 2));
        }
    });
}

#[test]
fn stats_of_a_pool_can_be_read_in_the_child() {
    isolated("stats_of_a_pool_can_be_read_in_the_child", || {
        for (state, pool) in pools() {
            let child = in_child(|| pool.stats().to_string());
            assert!(
                matches!(child, Child::Returned(_) | Child::Panicked(_)),
                "{state}: {child:?}"
            );
        }
    });
}

#[test]
fn a_pool_made_in_the_child_works() {
    isolated("a_pool_made_in_the_child_works", || {
        for (state, pool) in pools() {
            returns(state, &serial_fib(12).to_string(), || {
                assert!(outcome(|| pool.join(|| 1, || 2)).is_err());
                let own = support::pool();
                assert_eq!(own.broadcast(|i| i).len(), own.num_threads());
                assert_eq!(own.map(0..1000, |x| x).len(), 1000);
                let value = own.install(|| fib(12));
                drop(own);
                value.to_string()
            });
        }
    });
}

#[test]
fn a_global_pool_of_the_parent_fails_with_advice_in_the_child() {
    isolated(
        "a_global_pool_of_the_parent_fails_with_advice_in_the_child",
        || {
            assert_eq!(fib(12), serial_fib(12));
            fails_with_advice("a free join", || heist::join(|| 1, || 2));
            fails_with_advice("a free scope", || heist::scope(|s| s.spawn(|_| ())));
            fails_with_advice("a free spawn", || heist::spawn(|| ()));
            assert_eq!(fib(12), serial_fib(12));
        },
    );
}

#[test]
fn a_global_pool_first_used_in_the_child_works() {
    isolated("a_global_pool_first_used_in_the_child_works", || {
        returns("the global pool", &serial_fib(12).to_string(), || {
            fib(12).to_string()
        });
        assert_eq!(fib(12), serial_fib(12));
    });
}

#[test]
fn a_fork_inside_a_guest_hangs_nowhere() {
    isolated("a_fork_inside_a_guest_hangs_nowhere", || {
        for (state, pool) in pools() {
            pool.install(|| {
                // The child is in the middle of the guest's call. It works alone, or fails.
                let child = in_child(|| fib(15).to_string());
                match child {
                    Child::Returned(text) => assert_eq!(text, serial_fib(15).to_string()),
                    Child::Panicked(text) => {
                        assert!(text.to_lowercase().contains("fork"), "{text}");
                    }
                    other => panic!("{state}: {other:?}"),
                }
                let child = in_child(|| {
                    heist::scope(|s| s.spawn(|_| ()));
                    pool.map(0..1000, |x| x).len().to_string()
                });
                assert!(
                    matches!(child, Child::Returned(_) | Child::Panicked(_)),
                    "{state}: {child:?}"
                );
                assert_eq!(fib(10), serial_fib(10));
            });
        }
    });
}

#[test]
fn a_wait_for_a_handle_fails_with_advice_in_the_child() {
    isolated("a_wait_for_a_handle_fails_with_advice_in_the_child", || {
        let pool = pool_with(|builder| builder.num_threads(2));
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let task = || false;
        let mut handles = vec![pool.submit(move || gate.recv().is_ok())];
        handles.extend((0..2).map(|_| pool.submit(task)));
        let mut set = heist::JoinSet::new(&pool);
        let (go_set, gate_set) = std::sync::mpsc::channel::<()>();
        set.spawn(move || gate_set.recv().is_ok());
        while pool.stats().queued > 0 {
            std::thread::yield_now();
        }
        let first = handles.remove(0);
        fails_with_advice("wait_timeout", || {
            first.wait_timeout(std::time::Duration::MAX)
        });
        fails_with_advice("wait", || {
            heist::wait(std::slice::from_ref(&first), heist::WaitFor::All, None)
        });
        fails_with_advice("join_next", || set.join_next());
        // Results of tasks that have ended are available.
        for handle in handles {
            while !handle.is_finished() {
                std::thread::yield_now();
            }
            returns("join", "true", || handle.join().is_ok().to_string());
        }
        returns("a handle that goes", "", || {
            drop(first);
            String::new()
        });
        drop((go, go_set));
    });
}

/// Threads that take the locks of all pools again and again, until the guard is dropped.
struct Hammers {
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Hammers {
    fn new(pool: &ThreadPool) -> Self {
        use std::sync::atomic::{AtomicBool, Ordering};
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let hammer = |strike: fn(&ThreadPool)| {
            let (pool, stop) = (pool.clone(), stop.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    strike(&pool);
                }
            })
        };
        // The loop takes the lock of the table of pools, then the lock of the timer's queue.
        let cancel = hammer(|pool| {
            let _ = pool.submit(|| ()).cancel();
        });
        let deadline = hammer(|pool| {
            let deadline = std::time::Duration::from_secs(3600);
            let _ = pool.task().deadline(deadline).submit(|| ()).cancel();
        });
        Hammers {
            stop,
            threads: vec![cancel, deadline],
        }
    }
}

impl Drop for Hammers {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Other threads of the parent may hold any lock at the moment of the fork.
#[test]
fn a_fork_while_other_threads_use_pools_hangs_nowhere() {
    isolated("a_fork_while_other_threads_use_pools_hangs_nowhere", || {
        let pool = pool_with(|builder| builder.num_threads(2));
        let hammers = Hammers::new(&pool);
        let deadline = std::time::Duration::from_secs(60);
        for round in 0..150 {
            let mut parents = Some((pool.clone(), pool.submit(|| 1)));
            returns(&format!("fork {round}"), "8", || {
                // The child can drop the parent's pools, and new pools work.
                drop(parents.take());
                let own = support::pool();
                let one = own.task().deadline(deadline).submit(|| 1);
                let sum = one.join().unwrap() + own.submit(|| 7).join().unwrap();
                drop(own);
                sum.to_string()
            });
            let (_, handle) = parents.unwrap();
            assert_eq!(handle.join().unwrap(), 1);
        }
        drop(hammers);
    });
}

/// A future that is never ready. It shows its waker.
fn pending_in(pool: &ThreadPool) -> (std::task::Waker, heist::JoinHandle<()>) {
    let (send, receive) = std::sync::mpsc::channel();
    let handle = pool.submit_async(std::future::poll_fn(move |context| {
        // Nobody receives the waker of a later poll.
        let _ = send.send(context.waker().clone());
        std::task::Poll::Pending
    }));
    let waker = receive.recv().unwrap();
    support::spin_until(|| pool.stats().suspended == 1 && pool.stats().active == 0);
    (waker, handle)
}

#[test]
fn wakers_and_futures_of_the_parent_hang_nowhere_in_the_child() {
    isolated(
        "wakers_and_futures_of_the_parent_hang_nowhere_in_the_child",
        || {
            let soon = std::time::Duration::from_millis(1);
            let pool = pool_with(|builder| builder.num_threads(1));
            let (waker, handle) = pending_in(&pool);
            let mut parents = Some((pool, handle, waker.clone()));
            returns("a wake-up", "woken", || {
                let clone = waker.clone();
                clone.wake_by_ref();
                drop(clone);
                waker.wake_by_ref();
                "woken".to_owned()
            });
            returns("a cancel and drops", "true", || {
                let (pool, handle, waker) = parents.take().unwrap();
                let cancelled = handle.cancel();
                waker.wake();
                drop((handle, pool));
                cancelled.to_string()
            });
            returns("time", "2", || {
                heist::block_on(async {
                    heist::sleep(soon).await;
                    let late = heist::timeout(soon, std::future::pending::<()>()).await;
                    assert!(late.is_err());
                });
                let own = pool_with(|builder| builder.num_threads(1));
                let every = own.every(soon, || ());
                support::spin_until(|| every.runs() >= 2);
                own.submit_async(async { 2 }).join().unwrap().to_string()
            });
            let (pool, handle, waker) = parents.unwrap();
            fails_with_advice("submit_async", || pool.submit_async(async {}));
            fails_with_advice("spawn_async", || pool.spawn_async(async {}));
            fails_with_advice("delay", || pool.delay(soon, || ()));
            fails_with_advice("every", || drop(pool.every(soon, || ())));
            // The parent goes on.
            waker.wake();
            assert!(handle.cancel());
            assert!(handle.join().unwrap_err().is_cancelled());
        },
    );
}

#[test]
fn a_dump_in_the_child_says_that_the_threads_are_in_the_parent() {
    isolated(
        "a_dump_in_the_child_says_that_the_threads_are_in_the_parent",
        || {
            for (state, pool) in pools() {
                returns(state, "true 0", || {
                    let dump = pool.dump();
                    let says = dump.to_string().contains("made before fork()");
                    format!("{says} {}", dump.pools[0].threads.len())
                });
            }
            // A pool of the child has a dump as any other.
            returns("a new pool", "1 true", || {
                let pool = pool_with(|builder| builder.num_threads(1));
                let own = pool.clone();
                let dump = pool.submit(move || own.dump()).join().unwrap();
                let threads = &dump.pools[0].threads;
                format!("{} {}", threads.len(), threads[0].task.is_some())
            });
        },
    );
}
