//! Faults in every place where a user's code or the system can cause them: nothing hangs, no thread is left, every handle resolves.

use crate::support::{
    fib, isolated, live_threads, outcome, pool_with, serial_fib, spin_until, threads, watched,
};
use heist::{
    IntoSource, JoinHandle, JoinSet, ThreadPool, ThreadPoolBuilder, WaitFor, as_completed,
};
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

fn throw<T>() -> T {
    resume_unwind(Box::new("thrown"))
}

/// Ignores the outcome of an operation that a fault may have hit.
fn done<T>(_: T) {}

/// A value that panics when it is dropped, unless its thread unwinds already. Two panics at once abort any program.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            throw()
        }
    }
}

/// Uses everything that a pool can do, a little of each.
fn everything(pool: &ThreadPool) {
    assert_eq!(pool.install(|| fib(10)), serial_fib(10));
    assert_eq!(pool.scope(|s| s.submit(|_| 3).join()).unwrap(), 3);
    assert_eq!(pool.map(0..100, |n| n + 1), (1..101).collect::<Vec<_>>());
    assert_eq!(pool.run(|| 5), 5);
    let handles: Vec<_> = (0..20).map(|n| pool.submit(move || n)).collect();
    heist::wait(&handles, WaitFor::All, None);
    let sum: i32 = handles
        .into_iter()
        .map(|handle| handle.join().unwrap())
        .sum();
    assert_eq!(sum, 190);
    let items: Vec<i32> = pool.imap(0..10, |n| n).map(Result::unwrap).collect();
    assert_eq!(items, (0..10).collect::<Vec<_>>());
    let ran = Arc::new(AtomicUsize::new(0));
    for _ in 0..10 {
        let ran = Arc::clone(&ran);
        pool.spawn(move || done(ran.fetch_add(1, Ordering::Relaxed)));
    }
    pool.wait_idle();
    assert_eq!(ran.load(Ordering::Relaxed), 10);
}

/// A thread whose name contains a nul does not start.
fn with_starts(
    workers: usize,
    fails: impl Fn(usize) -> bool + Send + Sync + 'static,
) -> ThreadPoolBuilder {
    let starts = AtomicUsize::new(0);
    ThreadPool::builder()
        .num_threads(workers)
        .thread_name(
            move |index| match fails(starts.fetch_add(1, Ordering::Relaxed)) {
                true => "\0".to_owned(),
                false => format!("fault-{index}"),
            },
        )
}

#[test]
fn any_start_may_fail() {
    isolated("whole_faults::any_start_may_fail", || {
        let before = live_threads();
        for k in 0..8 {
            // The k-th start fails; all from the k-th on fail; all up to the k-th fail.
            let faults: [Box<dyn Fn(usize) -> bool + Send + Sync>; 3] = [
                Box::new(move |start| start == k),
                Box::new(move |start| start >= k),
                Box::new(move |start| start <= k),
            ];
            for fails in faults {
                let first = fails(0);
                let pool = with_starts(8, fails).build().unwrap();
                everything(&pool);
                assert!(!first || pool.stats().start_failures > 0);
                let _ = outcome(|| pool.broadcast(|index| index));
                everything(&pool);
                drop(pool);
                spin_until(|| live_threads() == before);
            }
        }
    });
}

#[test]
fn any_start_of_an_eager_pool_may_fail() {
    isolated("whole_faults::any_start_of_an_eager_pool_may_fail", || {
        let before = live_threads();
        for k in 0..8 {
            let eager = with_starts(8, move |start| start == k).start(heist::Start::Eager);
            let error = eager.build().unwrap_err();
            assert!(error.to_string().contains(&k.to_string()), "{error}");
            spin_until(|| live_threads() == before);
        }
    });
}

/// A waker whose `wake` panics.
struct BadWaker;

impl Wake for BadWaker {
    fn wake(self: Arc<Self>) {
        throw()
    }
}

/// An input whose `next` panics after some items.
fn bad_input(good: usize) -> impl Iterator<Item = usize> {
    (0..).inspect(move |&n| {
        if n == good {
            throw()
        }
    })
}

type Fault = (&'static str, fn(&ThreadPool));

/// A panic in each closure that a pool is given, and in each drop of a value.
const FAULTS: &[Fault] = &[
    ("a of a join", |pool| done(pool.join(throw::<()>, || 1))),
    ("b of a join", |pool| done(pool.join(|| 1, throw::<()>))),
    ("both", |pool| done(pool.join(throw::<()>, throw::<()>))),
    ("body of a scope", |pool| pool.scope(|_| throw())),
    ("task of a scope", |pool| {
        pool.scope(|s| s.spawn(|_| throw()))
    }),
    ("submitted task of a scope", |pool| {
        pool.scope(|s| s.submit(|_| throw::<()>()).join()).unwrap();
    }),
    ("stream of a scope", |pool| {
        pool.scope(|s| {
            s.imap(0..9, |n| if n == 3 { throw() } else { n })
                .for_each(drop)
        });
    }),
    ("map", |pool| {
        drop(pool.map(0..99, |n| if n == 50 { throw() } else { n }))
    }),
    ("for_each", |pool| {
        pool.for_each((0..99).with_max_len(3), |_| throw())
    }),
    ("init", |pool| {
        drop(pool.map_init(0..99, throw::<u8>, |_, n| n))
    }),
    ("map_init", |pool| {
        drop(pool.map_init(0..99, || 1, |_, _| throw::<u8>()))
    }),
    ("map of a map_reduce", |pool| {
        pool.map_reduce(0..99, |_| throw::<u32>(), || 0, |a, b| a + b);
    }),
    ("identity", |pool| {
        pool.map_reduce(0..99_u32, |n| n, throw::<u32>, |a, b| a + b);
    }),
    ("reduce", |pool| {
        pool.map_reduce(
            (0..99_u32).with_max_len(1),
            |n| n,
            || 0,
            |_, _| throw::<u32>(),
        );
    }),
    ("try_map", |pool| {
        drop(pool.try_map(0..99, |_| throw::<Result<u8, u8>>()))
    }),
    ("find_any", |pool| done(pool.find_any(0..99, |_| throw()))),
    ("broadcast", |pool| drop(pool.broadcast(|_| throw::<u8>()))),
    ("install", |pool| pool.install(throw)),
    ("run", |pool| pool.run(throw)),
    ("spawn", |pool| pool.spawn(throw)),
    ("submit", |pool| {
        done(pool.submit(throw::<u8>).join().unwrap())
    }),
    ("a task with options", |pool| {
        let task = pool.task().name("bad").priority(heist::Priority::High);
        done(task.submit(throw::<u8>).join().unwrap());
    }),
    ("submit_many", |pool| {
        for handle in pool.submit_many((0..5).map(|_| throw::<u8>)) {
            assert!(handle.join().unwrap_err().is_panic());
        }
    }),
    ("submit_many's input", |pool| {
        drop(pool.submit_many(bad_input(3).map(|n| move || n)));
    }),
    ("on_finish", |pool| {
        let mut handle = pool.submit(|| 1);
        handle.on_finish(|_| throw());
        assert_eq!(handle.join().unwrap(), 1);
    }),
    ("on_finish at once", |pool| {
        let mut handle = pool.submit(|| 1);
        heist::wait(std::slice::from_ref(&handle), WaitFor::All, None);
        handle.on_finish(|_| throw());
        assert_eq!(handle.join().unwrap(), 1);
    }),
    ("a waker", |pool| {
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let mut handle = pool.submit(move || gate.recv().is_err());
        let waker = Waker::from(Arc::new(BadWaker));
        let pending = Pin::new(&mut handle).poll(&mut Context::from_waker(&waker));
        assert!(pending.is_pending());
        drop(open);
        assert!(handle.join().unwrap());
    }),
    ("imap", |pool| {
        pool.imap(0..9, |_| throw::<u8>()).for_each(drop)
    }),
    ("imap's input", |pool| {
        pool.imap(bad_input(5), |n| n).for_each(drop)
    }),
    ("imap_unordered", |pool| {
        pool.imap_unordered(0..9, |_| throw::<u8>()).for_each(drop);
    }),
    ("imap_unordered's input", |pool| {
        pool.imap_unordered(bad_input(5), |n| n).for_each(drop);
    }),
    ("as_completed", |pool| {
        let handles: Vec<JoinHandle<u8>> = (0..5).map(|_| pool.submit(throw)).collect();
        assert!(as_completed(handles).all(|(_, result)| result.is_err()));
    }),
    ("a set", |pool| {
        let mut set = JoinSet::new(pool);
        for _ in 0..5 {
            set.spawn(throw::<u8>);
        }
        while let Some(result) = set.join_next() {
            assert!(result.is_err());
        }
    }),
    ("drop of a capture in a join", |pool| {
        let bomb = Bomb;
        done(pool.join(|| 1, move || drop(bomb)));
    }),
    ("drop of a result of a join", |pool| {
        drop(pool.join(|| Bomb, || Bomb))
    }),
    ("drop of a capture in a scope", |pool| {
        let bomb = Bomb;
        pool.scope(|s| s.spawn(move |_| drop(bomb)));
    }),
    ("drop of an unread result in a scope", |pool| {
        pool.scope(|s| s.submit(|_| Bomb).detach());
    }),
    ("drop of a spawned capture", |pool| {
        let bomb = Bomb;
        pool.spawn(move || drop(bomb));
    }),
    ("drop of an unread result", |pool| {
        pool.submit(|| Bomb).detach()
    }),
    ("drop of a read result", |pool| {
        drop(pool.submit(|| Bomb).join().unwrap())
    }),
    ("drop of what is cancelled", |pool| {
        let handles: Vec<_> = (0..50)
            .map(|_| {
                let bomb = Bomb;
                pool.submit(move || drop(bomb))
            })
            .collect();
        for handle in &handles {
            let _ = outcome(|| handle.cancel());
        }
        for handle in handles {
            let _ = handle.join();
        }
    }),
    ("drop of a payload", |pool| {
        let handle = pool.submit(|| resume_unwind(Box::new(Bomb)));
        let _: Result<(), _> = handle.join();
    }),
    ("drop of a payload that nobody reads", |pool| {
        pool.spawn(|| resume_unwind(Box::new(Bomb)));
    }),
    ("drop of a callback", |pool| {
        let bomb = Bomb;
        let mut handle = pool.submit(|| 1);
        handle.on_finish(move |_| {
            let _kept = &bomb;
        });
        assert_eq!(handle.join().unwrap(), 1);
    }),
    ("drop of mapped items and results", |pool| {
        let items: Vec<Bomb> = (0..50).map(|_| Bomb).collect();
        drop(outcome(|| pool.for_each(items, drop)));
        let results = pool.map(0..50, |_| Bomb);
        for result in results {
            let _ = outcome(|| drop(result));
        }
    }),
    ("drop of a state", |pool| {
        drop(pool.map_init(0..50, || Bomb, |_, n| n));
    }),
    ("drop of a stream's results", |pool| {
        for result in pool.imap(0..9, |_| Bomb).take(3) {
            let _ = outcome(|| drop(result));
        }
    }),
    ("drop of a stream's function", |pool| {
        let bomb = Bomb;
        let stream = pool.imap(0..9, move |n| {
            let _kept = &bomb;
            n
        });
        stream.take(3).for_each(drop);
    }),
];

#[test]
fn a_panic_in_any_callback_or_drop_costs_no_thread_and_no_handle() {
    let name = "whole_faults::a_panic_in_any_callback_or_drop_costs_no_thread_and_no_handle";
    isolated(name, || {
        let before = live_threads();
        for (place, fault) in FAULTS {
            let pool = pool_with(|b| b);
            // The fault happens on a guest, on a worker, and in a task. The test does not check what the caller sees.
            let _ = outcome(|| fault(&pool));
            let _ = outcome(|| pool.run(|| fault(&pool)));
            let own = pool.clone();
            let _ = pool.submit(move || fault(&own)).join();
            everything(&pool);
            let stats = pool.stats();
            let ended = stats.completed + stats.failed + stats.cancelled;
            assert_eq!(stats.submitted, ended, "{place}: {stats}");
            drop(pool);
            spin_until(|| live_threads() == before);
        }
    });
}

#[test]
fn a_panic_in_any_hook_costs_no_thread() {
    isolated("whole_faults::a_panic_in_any_hook_costs_no_thread", || {
        let before = live_threads();
        let hooks: [fn(ThreadPoolBuilder) -> ThreadPoolBuilder; 4] = [
            |b| b.on_thread_start(|_| throw()),
            |b| b.on_thread_exit(|_| throw()),
            |b| b.panic_handler(|_| throw()),
            |b| b.thread_name(|_| throw()),
        ];
        for hook in hooks {
            let pool = pool_with(hook);
            everything(&pool);
            pool.spawn(throw);
            everything(&pool);
            pool.set_num_threads(threads() + 1);
            everything(&pool);
            pool.shutdown();
            spin_until(|| live_threads() == before);
        }
    });
}

#[test]
fn sixty_four_threads_do_with_what_cores_there_are() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(64));
        for _ in 0..5 {
            assert_eq!(pool.broadcast(|index| index), (0..64).collect::<Vec<_>>());
            everything(&pool);
        }
    });
}
