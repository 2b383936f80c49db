//! Hooks that use their own pool in each of its phases: while its threads start, while it works, while it closes, and afterwards.

use crate::support::{Gate, fib, pool_with, serial_fib, threads, watched};
use heist::{Start, ThreadPool, ThreadPoolBuilder};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard};
use std::time::Duration;

/// A handle of the hooks' own pool, once it is built.
#[derive(Clone, Default)]
struct Handle(Arc<Mutex<Option<ThreadPool>>>);

impl Handle {
    fn lock(&self) -> MutexGuard<'_, Option<ThreadPool>> {
        self.0.lock().unwrap()
    }
}

/// A name, and what is done with a pool.
type Use = (&'static str, fn(&ThreadPool));

/// The ways in which a hook uses its pool. Each ends, whatever phase the pool is in.
const USES: [Use; 10] = [
    ("join", |pool| {
        pool.install(|| assert_eq!(fib(8), serial_fib(8)))
    }),
    ("map", |pool| {
        assert_eq!(pool.map(&[1, 2, 3, 4, 5], |n| n * n), [1, 4, 9, 16, 25])
    }),
    ("scope", |pool| {
        let count = AtomicUsize::new(0);
        pool.scope(|s| {
            for _ in 0..5 {
                s.spawn(|s| {
                    s.spawn(|_| {
                        count.fetch_add(1, Ordering::Relaxed);
                    });
                });
            }
        });
        assert_eq!(count.into_inner(), 5);
    }),
    ("scope_on_workers", |pool| {
        let mut ran = false;
        pool.scope_on_workers(|s| s.spawn(|_| ran = true));
        assert!(ran);
    }),
    ("broadcast", |pool| {
        let all = pool.broadcast(|index| index);
        assert_eq!(all, (0..pool.num_threads()).collect::<Vec<_>>());
    }),
    ("spawn_broadcast", |pool| pool.spawn_broadcast(|_| ())),
    ("run", |pool| assert_eq!(pool.run(|| 7), 7)),
    ("submit", |pool| {
        let result = pool.submit(|| fib(5)).join();
        assert!(result.map_or_else(|error| error.is_cancelled(), |n| n == serial_fib(5)));
    }),
    ("spawn", |pool| pool.spawn(|| ())),
    ("imap", |pool| {
        let ok = |item: Result<u64, heist::JoinError>| item.is_ok_and(|n| n == serial_fib(5));
        for item in pool.imap(0..5, |_| fib(5)) {
            assert!(item.as_ref().is_err_and(|e| e.is_cancelled()) || ok(item));
        }
    }),
];

thread_local! {
    /// Whether a hook runs on this thread. What a hook does may call further hooks.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// A hook that uses its pool in this way.
fn using(handle: &Handle, action: fn(&ThreadPool), calls: &Arc<AtomicUsize>) -> impl Fn() + use<> {
    let (handle, calls) = (handle.clone(), Arc::clone(calls));
    move || {
        let pool = handle.lock().clone();
        let Some(pool) = pool else { return };
        if INSIDE.replace(true) {
            return;
        }
        action(&pool);
        INSIDE.set(false);
        calls.fetch_add(1, Ordering::Relaxed);
    }
}

/// Builds pools with this hook, uses them, and shuts them down.
fn with_hooks(
    add: fn(ThreadPoolBuilder, Box<dyn Fn() + Send + Sync>) -> ThreadPoolBuilder,
    shut_down: fn(&ThreadPool),
) {
    for (name, action) in USES {
        for start in [Start::Eager, Start::Lazy] {
            eprintln!("{name}, {start:?}");
            watched(move || {
                let (handle, calls) = (Handle::default(), Arc::new(AtomicUsize::new(0)));
                let hook = using(&handle, action, &calls);
                let pool = pool_with(|b| add(b.start(start), Box::new(hook)));
                *handle.lock() = Some(pool.clone());
                assert_eq!(pool.install(|| fib(12)), serial_fib(12));
                let handles: Vec<_> = (0..20).map(|_| pool.submit(|| fib(8))).collect();
                for handle in handles {
                    assert_eq!(handle.join().unwrap(), serial_fib(8), "{name}");
                }
                shut_down(&pool);
                // A hook that comes too late runs the closure itself.
                assert_eq!(pool.install(|| fib(12)), serial_fib(12));
                drop(handle.lock().take());
            });
        }
    }
}

const SHUTDOWNS: [fn(&ThreadPool); 3] = [
    ThreadPool::shutdown,
    |pool| {
        pool.shutdown_now();
    },
    |pool| {
        let result = pool.shutdown_timeout(Duration::from_secs(60));
        assert!(result.is_ok(), "{result:?}");
    },
];

#[test]
fn a_start_hook_may_use_its_pool() {
    for shut_down in SHUTDOWNS {
        with_hooks(|b, hook| b.on_thread_start(move |_| hook()), shut_down);
    }
}

#[test]
fn an_exit_hook_may_use_its_pool() {
    for shut_down in SHUTDOWNS {
        with_hooks(|b, hook| b.on_thread_exit(move |_| hook()), shut_down);
    }
}

#[test]
fn a_name_hook_may_use_its_pool() {
    for shut_down in SHUTDOWNS {
        with_hooks(
            |b, hook| {
                b.thread_name(move |index| {
                    hook();
                    format!("named-{index}")
                })
            },
            shut_down,
        );
    }
}

#[test]
fn a_panic_handler_may_use_its_pool() {
    for (name, action) in USES {
        watched(move || {
            let (handle, calls) = (Handle::default(), Arc::new(AtomicUsize::new(0)));
            let hook = using(&handle, action, &calls);
            let pool = pool_with(|b| b.panic_handler(move |_| hook()));
            *handle.lock() = Some(pool.clone());
            for _ in 0..10 {
                pool.spawn(|| std::panic::resume_unwind(Box::new("lost")));
            }
            pool.shutdown();
            assert_eq!(calls.load(Ordering::Relaxed), 10, "{name}");
            drop(handle.lock().take());
        });
    }
}

/// Each thread that ends makes work in its hook. If a new thread started for that work and ended again, a shutdown would never end.
#[test]
fn threads_of_a_closing_pool_call_their_exit_hook_once() {
    watched(|| {
        for _ in 0..20 {
            let handle = Handle::default();
            let exits = Arc::new(Mutex::new(Vec::new()));
            let pool = {
                let (handle, exits) = (handle.clone(), Arc::clone(&exits));
                pool_with(|b| {
                    b.start(Start::Eager).on_thread_exit(move |index| {
                        exits.lock().unwrap().push(index);
                        let pool = handle.lock().clone().unwrap();
                        pool.broadcast(|_| ());
                        pool.install(|| fib(15));
                    })
                })
            };
            *handle.lock() = Some(pool.clone());
            pool.shutdown();
            drop(handle.lock().take());
            let mut exits = exits.lock().unwrap();
            exits.sort_unstable();
            assert_eq!(*exits, (0..threads()).collect::<Vec<_>>());
        }
    });
}

/// The last task of a closing pool still has all threads, although their exit hooks have work too.
#[test]
fn threads_with_an_exit_hook_stay_while_others_work() {
    watched(|| {
        let count = threads();
        let exits = Arc::new(AtomicUsize::new(0));
        let pool = {
            let exits = Arc::clone(&exits);
            pool_with(|b| {
                b.start(Start::Eager).on_thread_exit(move |_| {
                    exits.fetch_add(1, Ordering::Relaxed);
                })
            })
        };
        let (go, begun) = (Gate::default(), Gate::default());
        let (wait, tell, left) = (go.clone(), begun.clone(), Arc::clone(&exits));
        let last = pool.submit(move || {
            tell.open();
            wait.pass();
            // All hooks run at once.
            for _ in 0..20 {
                let meeting = Barrier::new(count);
                heist::scope(|s| {
                    for _ in 0..count {
                        s.spawn(|_| {
                            meeting.wait();
                        });
                    }
                });
            }
            left.load(Ordering::Relaxed)
        });
        begun.pass();
        let error = pool.shutdown_timeout(Duration::from_millis(5)).unwrap_err();
        assert_eq!(error.running().len(), 1);
        go.open();
        assert_eq!(last.join().unwrap(), 0);
        pool.shutdown();
        assert_eq!(exits.load(Ordering::Relaxed), count);
    });
}
