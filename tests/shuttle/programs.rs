//! The programs. Each checks its own results and the totals of its pools.

use heist::{
    CancelToken, IntoSource, JoinHandle, JoinSet, Priority, Start, ThreadPool, ThreadPoolBuilder,
    TrySubmitError, WaitFor, Waits, WhenFull, as_completed,
};
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;
use std::time::Duration;

/// Checks that every task of the pool has ended in exactly one way.
pub(crate) fn settled(pool: &ThreadPool) {
    let stats = pool.stats();
    assert_eq!(
        stats.submitted,
        stats.completed + stats.failed + stats.cancelled,
        "{stats}"
    );
}

pub(crate) fn workers(count: usize) -> ThreadPoolBuilder {
    ThreadPool::builder().num_threads(count).spare_threads(1)
}

pub(crate) fn pool(count: usize) -> ThreadPool {
    workers(count).build().expect("a pool")
}

pub(crate) fn fib(n: u32) -> u64 {
    if n < 2 {
        return u64::from(n);
    }
    let (a, b) = heist::join(|| fib(n - 1), || fib(n - 2));
    a + b
}

pub(crate) fn add(count: &AtomicUsize) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// A further thread outside the pool.
pub(crate) fn beside(
    pool: &ThreadPool,
    f: impl FnOnce(ThreadPool) + Send + 'static,
) -> thread::JoinHandle<()> {
    let pool = pool.clone();
    thread::spawn(move || f(pool))
}

/// Whether the task has completed. If it has not, it must have been cancelled or have missed its deadline.
pub(crate) fn ended<T>(handle: JoinHandle<T>) -> bool {
    match handle.join() {
        Ok(_) => true,
        Err(error) => {
            assert!(error.is_cancelled() || error.is_timeout(), "{error}");
            false
        }
    }
}

pub fn join_trees() {
    let pool = pool(3);
    let other = beside(&pool, |pool| assert_eq!(pool.install(|| fib(5)), 5));
    assert_eq!(pool.install(|| fib(6)), 8);
    // This is deeper than a ring of the model.
    fn deep(n: usize) -> usize {
        match n {
            0 => 0,
            n => {
                let (a, b) = heist::join(|| deep(n - 1), || 1);
                a + b
            }
        }
    }
    assert_eq!(pool.install(|| deep(7)), 7);
    other.join().expect("no panic");
}

pub fn scopes() {
    let pool = pool(2);
    let ran = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ran);
    let other = beside(&pool, move |pool| {
        pool.scope(|s| {
            for _ in 0..2 {
                s.spawn(|s| {
                    s.spawn(|_| add(&count));
                    count.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
    });
    let own = AtomicUsize::new(0);
    let sum = pool.run(|| {
        heist::scope(|s| {
            s.spawn(|s| {
                heist::scope(|inner| inner.spawn(|_| add(&own)));
                s.spawn(|_| add(&own));
            });
            let handle = s.submit(|_| 20);
            let forked = heist::join(|| 1, || 2);
            handle.join().expect("it runs") + forked.0 + forked.1
        })
    });
    assert_eq!((sum, own.into_inner()), (23, 2));
    other.join().expect("no panic");
    assert_eq!(ran.load(Ordering::Relaxed), 4);
    settled(&pool);
}

pub fn maps() {
    let pool = pool(3);
    let other = beside(&pool, |pool| {
        let sum = pool.map_reduce((0..6_u64).with_max_len(1), |n| n, || 0, |a, b| a + b);
        assert_eq!(sum, 15);
        assert_eq!(pool.find_any((0..6).with_max_len(2), |&n| n == 4), Some(4));
    });
    let texts: Vec<String> = (0..6).map(|n| n.to_string()).collect();
    let back = pool.map(texts.with_max_len(2), |text| text.parse::<usize>());
    assert!(back.into_iter().flatten().eq(0..6));
    let failed = pool.try_map(
        (0..4).with_max_len(1),
        |n| if n == 2 { Err(n) } else { Ok(n) },
    );
    assert_eq!(failed, Err(2));
    other.join().expect("no panic");
}

pub fn submit_join_cancel() {
    let pool = pool(2);
    let ran = Arc::new(AtomicUsize::new(0));
    let submit = |pool: &ThreadPool, ran: &Arc<AtomicUsize>| {
        let ran = Arc::clone(ran);
        pool.submit(move || add(&ran))
    };
    let count = Arc::clone(&ran);
    let other = beside(&pool, move |pool| {
        let (first, second) = (submit(&pool, &count), submit(&pool, &count));
        // The handle moves to a task that waits for it.
        let outer = pool.submit(move || ended(first));
        if second.cancel() {
            assert!(second.is_cancelled() && !ended(second));
        } else {
            assert!(ended(second));
        }
        assert!(outer.join().expect("it runs"));
    });
    let handles: Vec<_> = (0..3).map(|_| submit(&pool, &ran)).collect();
    let cancelled = usize::from(handles[1].cancel());
    let ends = handles.into_iter().filter(|handle| !handle.is_cancelled());
    assert_eq!(ends.map(ended).filter(|&ran| ran).count(), 3 - cancelled);
    pool.spawn(|| ());
    other.join().expect("no panic");
    pool.wait_idle();
    settled(&pool);
    let stats = pool.stats();
    // Two more tasks count: the outer task and the spawned one.
    assert_eq!(stats.completed as usize, ran.load(Ordering::Relaxed) + 2);
}

pub fn streams() {
    let pool = pool(2);
    let other = beside(&pool, |pool| {
        let mut seen: Vec<_> = pool.imap_unordered(0..4, |n| n * 2).window(2).collect();
        seen.sort_by_key(|(index, _)| *index);
        for (index, value) in seen {
            assert_eq!(value.expect("no panic"), index * 2);
        }
    });
    let mut squares = pool.imap(0..5_usize, |n| n * n).window(2).chunk(2);
    for n in 0..3 {
        assert_eq!(squares.next().expect("more").expect("no panic"), n * n);
    }
    drop(squares);
    let own = [1, 2, 3];
    let sum: i32 = pool.scope(|s| s.imap(&own, |n| *n).map(|n| n.expect("no panic")).sum());
    assert_eq!(sum, 6);
    other.join().expect("no panic");
    pool.wait_idle();
    settled(&pool);
}

pub fn shutdown_against_submit() {
    let pool = pool(2);
    let submitters: Vec<_> = (0..2)
        .map(|n| {
            beside(&pool, move |pool| {
                let first = pool.submit(move || heist::spawn(|| ()));
                let (result, second) = (pool.try_submit(move || n), pool.submit(move || n));
                match result {
                    Ok(handle) => drop(ended(handle)),
                    Err(TrySubmitError::ShutDown(f)) => assert_eq!(f(), n),
                    Err(error) => panic!("{error}"),
                }
                ended(second);
                ended(first);
                // A task that has begun completes, whichever threads are left.
                assert_eq!(pool.join(|| n, || n + 1), (n, n + 1));
            })
        })
        .collect();
    let third = beside(&pool, |pool| {
        pool.shutdown_now();
    });
    pool.shutdown();
    for submitter in submitters {
        submitter.join().expect("no panic");
    }
    third.join().expect("no panic");
    settled(&pool);
}

pub fn resize_against_steal() {
    let pool = pool(1);
    let other = beside(&pool, |pool| {
        for count in [3, 1, 2] {
            pool.set_num_threads(count);
        }
    });
    let third = beside(&pool, |pool| assert_eq!(pool.run(|| fib(4)), 3));
    let handles: Vec<_> = (0..3).map(|n| pool.submit(move || fib(n))).collect();
    assert_eq!(pool.install(|| fib(4)), 3);
    for (handle, expected) in handles.into_iter().zip([0, 1, 1]) {
        assert_eq!(handle.join().expect("it runs"), expected);
    }
    other.join().expect("no panic");
    third.join().expect("no panic");
    settled(&pool);
}

pub fn guests_come_and_go() {
    let pool = pool(1);
    let ran = Arc::new(AtomicUsize::new(0));
    let guests: Vec<_> = (0..3)
        .map(|n| {
            let ran = Arc::clone(&ran);
            beside(&pool, move |pool| {
                for _ in 0..2 {
                    let ran = Arc::clone(&ran);
                    // A guest leaves this task behind. A worker must run it.
                    pool.install(move || heist::spawn(move || add(&ran)));
                    assert_eq!(pool.join(|| n, || 1), (n, 1));
                }
            })
        })
        .collect();
    assert_eq!(pool.submit(|| fib(3)).join().expect("it runs"), 2);
    for guest in guests {
        guest.join().expect("no panic");
    }
    pool.wait_idle();
    assert_eq!(ran.load(Ordering::Relaxed), 6);
}

pub fn deadlines_against_ends() {
    let pool = pool(1);
    let soon = Duration::from_micros(30);
    let other = beside(&pool, move |pool| {
        let handle = pool.task().deadline(soon).submit(|| fib(3));
        match handle.join() {
            Ok(value) => assert_eq!(value, 2),
            Err(error) => assert!(error.is_timeout()),
        }
    });
    let token = CancelToken::new();
    let handle = pool.task().deadline(soon).token(&token).submit(|| fib(4));
    let late = pool.submit(|| 7);
    let late = match late.join_timeout(soon) {
        Ok(value) => Some(value.expect("it runs")),
        Err(handle) => Some(handle.join().expect("it runs")),
    };
    assert_eq!(late, Some(7));
    handle.cancel();
    ended(handle);
    other.join().expect("no panic");
    pool.wait_idle();
    settled(&pool);
}

pub fn priorities() {
    let pool = pool(2);
    let ran = Arc::new(Mutex::new(Vec::new()));
    let submit = |pool: &ThreadPool, priority: Priority, ran: &Arc<Mutex<Vec<Priority>>>| {
        let ran = Arc::clone(ran);
        pool.task()
            .priority(priority)
            .submit(move || ran.lock().expect("no panic").push(priority))
    };
    let list = Arc::clone(&ran);
    let other = beside(&pool, move |pool| {
        for priority in [Priority::Low, Priority::Normal, Priority::High] {
            submit(&pool, priority, &list).detach();
        }
    });
    let inner = Arc::clone(&ran);
    let own = pool.clone();
    let outer = pool.submit(move || {
        submit(&own, Priority::Low, &inner).join().expect("it runs");
        submit(&own, Priority::High, &inner)
            .join()
            .expect("it runs");
    });
    outer.join().expect("it runs");
    other.join().expect("no panic");
    pool.wait_idle();
    let low = ran
        .lock()
        .expect("no panic")
        .iter()
        .filter(|&&p| p == Priority::Low)
        .count();
    assert_eq!((low, ran.lock().expect("no panic").len()), (2, 5));
}

pub fn full_queues() {
    for when_full in [WhenFull::Block, WhenFull::Reject, WhenFull::CallerRuns] {
        let pool = workers(1)
            .queue_capacity(1)
            .when_full(when_full)
            .build()
            .expect("a pool");
        let others: Vec<_> = (0..2)
            .map(|_| {
                beside(&pool, move |pool| {
                    for handle in [pool.submit(|| 1), pool.submit(|| 1)] {
                        let ran = ended(handle);
                        assert!(ran || when_full == WhenFull::Reject);
                    }
                })
            })
            .collect();
        let own = pool.clone();
        let beyond = pool.submit(move || own.submit(|| 3).detach());
        let tried = pool.try_submit(|| 2);
        match tried {
            Ok(handle) => assert!(ended(handle)),
            Err(TrySubmitError::Full(f)) => assert_eq!(f(), 2),
            Err(error) => panic!("{error}"),
        }
        ended(beyond);
        for other in others {
            other.join().expect("no panic");
        }
        pool.wait_idle();
        settled(&pool);
    }
}

pub fn sets_and_callbacks() {
    let pool = pool(2);
    let called = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&called);
    let other = beside(&pool, move |pool| {
        let mut set = JoinSet::new(&pool);
        for n in 0..3 {
            set.spawn(move || n);
        }
        let mut sum = 0;
        while let Some(value) = set.join_next() {
            sum += value.expect("it runs");
        }
        assert_eq!(sum, 3);
        set.spawn(|| 4);
        drop(set);
        let mut handle = pool.submit(|| ());
        handle.on_finish(move |_| add(&count));
        handle.join().expect("it runs");
    });
    let handles: Vec<_> = (0..3).map(|n| pool.submit(move || n)).collect();
    let waited = heist::wait(&handles, WaitFor::First, None);
    assert!(!waited.done.is_empty());
    let mut seen: Vec<_> = as_completed(handles)
        .map(|(index, value)| (index, value.expect("it runs")))
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [(0, 0), (1, 1), (2, 2)]);
    other.join().expect("no panic");
    assert_eq!(called.load(Ordering::Relaxed), 1);
    pool.wait_idle();
    settled(&pool);
}

/// Under shuttle, a thread with an empty name does not start.
pub fn starts_that_fail() {
    let tries = Arc::new(AtomicUsize::new(0));
    let pool = workers(3)
        .thread_name(move |_| match tries.fetch_add(1, Ordering::Relaxed) % 3 {
            1 => "starts".to_owned(),
            _ => String::new(),
        })
        .build()
        .expect("a lazy pool");
    let other = beside(&pool, |pool| {
        let handles: Vec<_> = (0..2).map(|n| pool.submit(move || n)).collect();
        assert!(handles.into_iter().all(ended));
        assert_eq!(pool.run(|| 5), 5);
    });
    assert_eq!(pool.install(|| fib(4)), 3);
    assert_eq!(pool.scope(|s| s.submit(|_| 2).join()).expect("it runs"), 2);
    pool.spawn(|| ());
    other.join().expect("no panic");
    drop(pool);
    let nowhere = workers(2)
        .thread_name(|_| String::new())
        .build()
        .expect("a lazy pool");
    let other = beside(&nowhere, |pool| assert!(ended(pool.submit(|| ()))));
    assert!(ended(nowhere.submit(|| ())));
    other.join().expect("no panic");
    assert!(
        workers(2)
            .thread_name(|_| String::new())
            .start(Start::Eager)
            .build()
            .is_err()
    );
}

pub fn panics() {
    fn thrown<R>(f: impl FnOnce() -> R) -> &'static str {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        caught
            .map(drop)
            .expect_err("a panic")
            .downcast_ref::<&str>()
            .expect("a text")
    }
    fn throw(text: &'static str) {
        std::panic::resume_unwind(Box::new(text));
    }
    let pool = pool(2);
    let other = beside(&pool, |pool| {
        let handle = pool.submit(|| throw("submitted"));
        assert!(handle.join().expect_err("a panic").is_panic());
        pool.spawn(|| throw("lost"));
    });
    let both = thrown(|| pool.join(|| throw("a"), || throw("b")));
    assert_eq!(both, "a");
    assert_eq!(thrown(|| pool.join(|| fib(2), || throw("b"))), "b");
    let in_scope = thrown(|| {
        pool.scope(|s| {
            s.spawn(|_| throw("task"));
            s.spawn(|_| assert_eq!(fib(2), 1));
        });
    });
    assert_eq!(in_scope, "task");
    other.join().expect("no panic");
    pool.wait_idle();
    settled(&pool);
    assert_eq!(pool.stats().failed, 3);
}

pub fn broadcasts() {
    let pool = pool(2);
    let other = beside(&pool, |pool| {
        let inside = pool.clone();
        let asked = pool.submit(move || inside.broadcast(|index| index));
        assert_eq!(asked.join().expect("it runs"), [0, 1]);
    });
    assert_eq!(pool.broadcast(|index| index * 2), [0, 2]);
    assert_eq!(pool.run(|| fib(3)), 2);
    other.join().expect("no panic");
}

pub fn tokens() {
    let pool = pool(2);
    let root = CancelToken::new();
    let child = root.child();
    let handles: Vec<_> = [&root, &child, &root]
        .into_iter()
        .map(|token| {
            pool.task()
                .token(token)
                .submit(|| ended(heist::ThreadPool::current().expect("a pool").submit(|| ())))
        })
        .collect();
    let above = root.clone();
    let other = thread::spawn(move || above.cancel());
    child.cancel();
    for handle in handles {
        ended(handle);
    }
    other.join().expect("no panic");
    assert!(child.is_cancelled() && root.child().is_cancelled());
    pool.wait_idle();
    settled(&pool);
}

/// Two pools wait for each other. Threads of one are guests of the other.
pub fn two_pools() {
    let (left, right) = (pool(1), pool(1));
    let (a, b) = (left.clone(), right.clone());
    let other = thread::spawn(move || {
        let inner = a.clone();
        let sum = b.submit(move || inner.join(|| fib(2), || fib(3)));
        assert_eq!(sum.join().expect("it runs"), (1, 2));
        assert_eq!(b.run(|| a.run(|| 3)), 3);
    });
    let inner = right.clone();
    let handle = left.submit(move || {
        let there = inner.submit(|| fib(3));
        inner.install(|| heist::join(|| 1, || 2)).1 + there.join().expect("it runs")
    });
    assert_eq!(handle.join().expect("it runs"), 4);
    other.join().expect("no panic");
}

/// All threads wait for each other in a chain. Then the last one forks, or opens a scope, and blocks until another thread
/// has run that. No thread is free, so one that waits must find the work or be woken for it.
pub fn waiting_threads_run_what_the_last_one_makes() {
    use shuttle::sync::mpsc;

    let pool = ThreadPool::builder()
        .num_threads(4)
        .spare_threads(0)
        .thread_name(|index| match index {
            0 | 1 => "starts".to_owned(),
            _ => String::new(),
        })
        .build()
        .expect("a lazy pool");
    let gate = mpsc::channel::<()>;
    let ((first, has_first), (second, has_second)) = (gate(), gate());
    let ((fork, has_fork), (task, has_task)) = (gate(), gate());
    pool.join(
        move || assert!(has_first.recv().is_err()),
        move || {
            drop(first);
            heist::join(
                move || assert!(has_second.recv().is_err()),
                move || {
                    drop(second);
                    heist::join(move || has_fork.recv().is_err(), move || drop(fork));
                    heist::scope(|s| {
                        s.spawn(move |_| drop(task));
                        assert!(has_task.recv().is_err());
                    });
                },
            );
        },
    );
    pool.spawn(|| ());
    pool.shutdown();
    settled(&pool);
}

/// A wait runs only what it waits for. So a thread that holds a lock meanwhile never runs a task that wants the lock on its own stack.
pub fn a_lock_across_waits() {
    let pool = workers(2).waits(Waits::Own).build().expect("a pool");
    let lock = Arc::new(Mutex::new(0));
    let hold = |lock: &Arc<Mutex<u64>>| {
        let mut sum = lock.lock().expect("no panic");
        *sum += fib(3);
    };
    let (shared, own) = (Arc::clone(&lock), pool.clone());
    let other = thread::spawn(move || {
        let handles: Vec<_> = (0..3)
            .map(|_| {
                let lock = Arc::clone(&shared);
                own.submit(move || hold(&lock))
            })
            .collect();
        own.install(|| hold(&shared));
        assert!(handles.into_iter().all(ended));
    });
    pool.scope(|s| {
        for _ in 0..2 {
            s.spawn(|_| hold(&lock));
        }
    });
    other.join().expect("no panic");
    assert_eq!(*lock.lock().expect("no panic"), 12);
}

pub fn idle_and_timeouts() {
    let pool = pool(2);
    let others: Vec<_> = (0..2)
        .map(|n| {
            beside(&pool, move |pool| {
                pool.spawn(move || assert_eq!(fib(n), u64::from(n)));
                pool.wait_idle();
            })
        })
        .collect();
    let handle = pool.submit(|| fib(3));
    handle.wait_timeout(Duration::from_micros(20));
    for other in others {
        other.join().expect("no panic");
    }
    let own = pool.clone();
    let last = pool.submit(move || own.submit(|| ()).detach());
    while pool.shutdown_timeout(Duration::from_micros(50)).is_err() {}
    assert!(ended(handle) && ended(last));
    settled(&pool);
}
