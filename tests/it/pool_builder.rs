//! The builder: a pool has the settings that its builder was given.

use crate::support::{
    Held, Ledger, fib, isolated, named_pool, on_pool, outcome, pool, pool_with, serial_fib,
    spin_until, threads, threads_named, watched,
};
use heist::{BuildError, PoolStats, Start, ThreadPool, ThreadPoolBuilder, Waits};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

#[test]
fn handles_are_shared_between_threads() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    fn error<T: std::error::Error + Send + Sync + 'static>() {}
    shared::<ThreadPool>();
    error::<BuildError>();
    fn values<T: Clone + std::fmt::Debug + std::fmt::Display + Send>() {}
    values::<PoolStats>();
}

#[test]
fn a_pool_has_the_threads_it_was_told_to() {
    watched(|| {
        for count in [1, 2, 3, 17] {
            let pool = pool_with(|builder| builder.num_threads(count));
            assert_eq!(pool.num_threads(), count);
            assert_eq!(pool.install(|| fib(10)), serial_fib(10));
        }
        assert_eq!(pool().num_threads(), threads());
    });
}

#[test]
fn no_threads_means_as_many_as_fit_the_machine() {
    watched(|| {
        let of_zero = pool_with(|builder| builder.num_threads(0));
        let of_default = ThreadPoolBuilder::new().build().unwrap();
        let of_new = ThreadPool::new().unwrap();
        assert!(of_zero.num_threads() >= 1);
        assert_eq!(of_default.num_threads(), of_zero.num_threads());
        assert_eq!(of_new.num_threads(), of_zero.num_threads());
        assert_eq!(of_zero.install(|| fib(10)), serial_fib(10));
    });
}

#[test]
fn a_hundred_thousand_threads_work_or_are_an_error() {
    isolated(
        "pool_builder::a_hundred_thousand_threads_work_or_are_an_error",
        || match ThreadPool::builder().num_threads(100_000).build() {
            Ok(pool) => {
                assert_eq!(pool.join(|| 1, || 2), (1, 2));
                assert_eq!(pool.install(|| fib(10)), serial_fib(10));
                assert_eq!(pool.map(0..1000, |x| x).len(), 1000);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        },
    );
}

#[test]
fn as_many_threads_as_a_word_holds_work_or_are_an_error() {
    isolated(
        "pool_builder::as_many_threads_as_a_word_holds_work_or_are_an_error",
        || {
            for configure in [
                |builder: ThreadPoolBuilder| builder.num_threads(usize::MAX),
                |builder: ThreadPoolBuilder| builder.num_threads(2).spare_threads(usize::MAX),
            ] {
                match configure(ThreadPool::builder()).build() {
                    Ok(pool) => assert_eq!(pool.join(|| 1, || 2), (1, 2)),
                    Err(error) => assert!(!error.to_string().is_empty()),
                }
            }
        },
    );
}

#[test]
fn a_stack_size_too_small_works_or_is_an_error() {
    isolated(
        "pool_builder::a_stack_size_too_small_works_or_is_an_error",
        || {
            for bytes in [0, 1, 4096] {
                match ThreadPool::builder().stack_size(bytes).build() {
                    Ok(pool) => {
                        assert_eq!(pool.run(|| 7), 7);
                        assert_eq!(pool.broadcast(|index| index).len(), pool.num_threads());
                        assert_eq!(pool.join(|| 1, || 2), (1, 2));
                    }
                    Err(error) => assert!(!error.to_string().is_empty()),
                }
            }
        },
    );
}

#[test]
fn a_stack_has_the_size_that_was_asked_for() {
    /// Uses about `kilobytes` of stack.
    fn deep(kilobytes: usize) -> usize {
        let frame = std::hint::black_box([1_u8; 1024]);
        let below = if kilobytes == 0 {
            0
        } else {
            deep(kilobytes - 1)
        };
        below + usize::from(std::hint::black_box(&frame)[kilobytes % 1024])
    }
    watched(|| {
        let pool = pool_with(|builder| builder.stack_size(64 << 20));
        assert_eq!(pool.run(|| deep(20_000)), 20_001);
    });
}

#[test]
fn threads_are_named_after_their_index() {
    on_pool(|pool| {
        let names = pool.broadcast(|_| thread::current().name().map(str::to_owned));
        for (index, name) in names.into_iter().enumerate() {
            assert_eq!(name, Some(format!("heist-{index}")));
        }
    });
}

#[test]
fn thread_names_can_be_chosen() {
    watched(|| {
        let pool = pool_with(|builder| builder.thread_name(|index| format!("mine {index}!")));
        let names = pool.broadcast(|_| thread::current().name().map(str::to_owned));
        for (index, name) in names.into_iter().enumerate() {
            assert_eq!(name, Some(format!("mine {index}!")));
        }
    });
}

/// Uses every way into the pool. Each may panic; none may hang or lose its closure.
fn use_everything(pool: &ThreadPool) {
    let ledger = Ledger::new(30);
    let mut tickets = ledger.tickets().into_iter();
    let mut next = || tickets.next().expect("there are thirty");
    for _ in 0..3 {
        let (a, b, task, run) = (next(), next(), next(), next());
        let _ = outcome(|| pool.join(|| drop(a), || drop(b)));
        let _ = outcome(|| pool.scope(|s| s.spawn(|_| drop(task))));
        let _ = outcome(|| pool.run(|| drop(run)));
        let _ = outcome(|| assert_eq!(pool.install(|| fib(10)), serial_fib(10)));
        let _ = outcome(|| assert_eq!(pool.map(0..1000, |x| x).len(), 1000));
    }
    drop(tickets);
    assert_eq!(ledger.made(), 30);
    ledger.assert_settled();
}

#[test]
fn a_thread_name_that_panics_or_holds_a_nul_hangs_nothing() {
    isolated(
        "pool_builder::a_thread_name_that_panics_or_holds_a_nul_hangs_nothing",
        || {
            for start in [Start::Lazy, Start::Eager] {
                for panics in [false, true] {
                    let built = outcome(|| {
                        ThreadPool::builder()
                            .num_threads(threads())
                            .start(start)
                            .thread_name(move |index| {
                                assert!(!panics, "no name for {index}");
                                String::from("a nul \0 in it")
                            })
                            .build()
                    });
                    // An error, a panic, or threads without that name are all allowed.
                    if let Ok(Ok(pool)) = built {
                        use_everything(&pool);
                        let _ = outcome(|| drop(pool));
                    }
                }
            }
        },
    );
}

#[test]
fn hooks_are_called_once_a_thread_with_its_index() {
    watched(|| {
        for start in [Start::Lazy, Start::Eager] {
            let started = Arc::new(Mutex::new(BTreeMap::new()));
            let exited = Arc::new(Mutex::new(BTreeMap::new()));
            let (begin, end) = (Arc::clone(&started), Arc::clone(&exited));
            let pool = pool_with(|builder| {
                builder
                    .start(start)
                    .on_thread_start(move |index| {
                        *begin.lock().unwrap().entry(index).or_insert(0) += 1;
                    })
                    .on_thread_exit(move |index| {
                        *end.lock().unwrap().entry(index).or_insert(0) += 1;
                    })
            });
            let expected: BTreeMap<usize, i32> =
                (0..pool.num_threads()).map(|index| (index, 1)).collect();
            pool.broadcast(|index| assert!(started.lock().unwrap().contains_key(&index)));
            assert_eq!(*started.lock().unwrap(), expected);
            assert!(exited.lock().unwrap().is_empty());
            drop(pool);
            assert_eq!(*exited.lock().unwrap(), expected);
            assert_eq!(*started.lock().unwrap(), expected);
        }
    });
}

/// A thread that is in its hook holds up no other thread: here each hook waits for all the others.
#[test]
fn hooks_run_at_the_same_time() {
    watched(|| {
        for start in [Start::Lazy, Start::Eager] {
            let all = Arc::new(Barrier::new(4));
            let builder = ThreadPool::builder().num_threads(4).start(start);
            let builder = builder.on_thread_start(move |_| {
                all.wait();
            });
            let pool = builder.build().unwrap();
            let handles = pool.submit_many((0..4).map(|n| move || n));
            let sum: i32 = handles
                .into_iter()
                .map(|handle| handle.join().unwrap())
                .sum();
            assert_eq!(sum, 6);
        }
    });
}

/// A thread that is in its hook does not hold up a fork whose owner is busy.
#[test]
fn a_fork_gets_another_thread_while_the_first_is_in_its_hook() {
    watched(|| {
        let begun = Arc::new(AtomicUsize::new(0));
        let (begins, held) = (Arc::clone(&begun), Held::default());
        let gate = held.0.clone();
        let builder = ThreadPool::builder().num_threads(3);
        let builder = builder.on_thread_start(move |_| {
            begins.fetch_add(1, Ordering::Release);
            gate.pass();
        });
        let pool = builder.build().unwrap();
        pool.join(
            || spin_until(|| begun.load(Ordering::Acquire) == 2),
            || held.open(),
        );
    });
}

#[test]
fn hooks_run_on_their_thread_and_may_use_the_pool() {
    watched(|| {
        let wrong = Arc::new(AtomicUsize::new(0));
        let note = |wrong: &Arc<AtomicUsize>| {
            let wrong = Arc::clone(wrong);
            move |index: usize| {
                let name = thread::current().name().map(str::to_owned);
                let right = name == Some(format!("heist-{index}"))
                    && heist::join(|| 1, || 2) == (1, 2)
                    && heist::scope(|s| {
                        s.spawn(|_| ());
                        true
                    });
                wrong.fetch_add(usize::from(!right), Ordering::Relaxed);
            }
        };
        let pool = pool_with(|builder| {
            builder
                .on_thread_start(note(&wrong))
                .on_thread_exit(note(&wrong))
        });
        pool.broadcast(|_| ());
        drop(pool);
        assert_eq!(wrong.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn an_eager_pool_has_all_its_threads_at_once() {
    watched(|| {
        let (pool, names) = named_pool(|builder| builder.start(Start::Eager));
        // The first thing that a new thread does is to take its name.
        spin_until(|| threads_named(&names) == pool.num_threads());
    });
}

#[test]
fn options_combine() {
    watched(|| {
        for waits in [Waits::Own, Waits::Any] {
            for start in [Start::Lazy, Start::Eager] {
                for spares in [0, 1, 5] {
                    let pool = pool_with(|builder| {
                        builder
                            .waits(waits)
                            .start(start)
                            .spare_threads(spares)
                            .stack_size(1 << 20)
                    });
                    assert_eq!(pool.install(|| fib(10)), serial_fib(10));
                    assert_eq!(pool.run(|| fib(10)), serial_fib(10));
                    assert_eq!(pool.map(0..100, |x| x).len(), 100);
                }
            }
        }
    });
}

#[test]
fn everything_says_what_it_is() {
    use heist::{CancelToken, JoinSet, TaskError, WhenFull, as_completed};
    on_pool(|pool| {
        let text = format!("{:?} {:?}", pool, ThreadPool::builder());
        assert!(text.contains("num_threads"), "{text}");
        let task = pool.task().name("shown");
        assert!(format!("{task:?}").contains("shown"));
        drop(task);
        pool.scope(|s| assert!(format!("{s:?}").contains("Scope")));
        let token = CancelToken::new();
        assert!(format!("{token:?}").contains("false"));
        let mut set = JoinSet::new(pool);
        set.spawn(|| 1);
        assert!(format!("{set:?}").contains('1'));
        let mut all = as_completed([pool.submit(|| 1)]);
        assert!(format!("{all:?}").contains("left"));
        assert!(all.next().is_some());
        let error = pool.submit(|| -> u8 { std::panic::resume_unwind(Box::new("shown")) });
        let error = error.join().unwrap_err();
        assert!(format!("{error:?}").contains(&error.to_string()));
        let failed: TaskError<std::fmt::Error> = TaskError::Failed(std::fmt::Error);
        let lost: TaskError<std::fmt::Error> = TaskError::Lost(error);
        for error in [failed, lost] {
            assert!(!error.to_string().is_empty());
            assert!(std::error::Error::source(&error).is_some());
        }
        assert!(!pool.stats().to_string().is_empty());
        pool.shutdown();
        let refused = pool.try_submit(|| 1).unwrap_err();
        assert!(format!("{refused:?}").contains("ShutDown"));
        assert_eq!(format!("{:?}", WhenFull::Block), "Block");
    });
}
