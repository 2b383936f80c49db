//! `scope_on_workers`: the body runs on the caller, the tasks run on workers only.

use crate::support::{Gate, Held, fib, panic_of, pool_with, serial_fib, spin_until, watched};
use heist::{Priority, Scope, ThreadPool, Waits};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;

#[test]
fn tasks_of_a_scope_on_workers_run_there_only() {
    watched(|| {
        for waits in [Waits::Own, Waits::Any] {
            for threads in [1, 2, 4] {
                let pool = pool_with(|b| b.num_threads(threads).spare_threads(0).waits(waits));
                for _ in 0..20 {
                    let count = AtomicUsize::new(0);
                    let counted = |_: &Scope<'_>| {
                        assert!(heist::current_thread_index() < Some(threads));
                        assert!(heist::current_thread_index().is_some());
                        count.fetch_add(1, Ordering::Relaxed);
                    };
                    pool.scope_on_workers(|s| {
                        assert!(!heist::in_pool());
                        for _ in 0..10 {
                            s.spawn(|s| {
                                counted(s);
                                s.spawn(counted);
                                assert_eq!(fib(5), serial_fib(5));
                            });
                        }
                    });
                    assert_eq!(count.into_inner(), 20);
                }
            }
        }
    });
}

#[test]
fn a_scope_on_workers_needs_its_body_for_nothing() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        let (sender, receiver) = mpsc::channel();
        pool.scope_on_workers(|s| {
            s.spawn(move |_| sender.send(1).unwrap());
            assert_eq!(receiver.recv(), Ok(1));
        });
        // On a worker it is a plain scope, whose owner helps.
        let sum = AtomicUsize::new(0);
        pool.run(|| pool.scope_on_workers(|s| s.spawn(|_| sum.store(7, Ordering::Relaxed))));
        assert_eq!(sum.into_inner(), 7);
    });
}

/// Runs ten tasks on the workers, each of which spawns another one.
fn run_twenty_tasks(pool: &ThreadPool) {
    let count = AtomicUsize::new(0);
    pool.scope_on_workers(|s| {
        for _ in 0..10 {
            s.spawn(|s| {
                s.spawn(|_| {
                    count.fetch_add(1, Ordering::Relaxed);
                });
            });
        }
    });
    assert_eq!(count.into_inner(), 10);
}

/// Guests count as threads of the pool until they park in a wait that the pool knows. Here there are as many guests as workers.
#[test]
fn a_scope_on_workers_runs_beside_guests_that_block() {
    watched(|| {
        for waits in [Waits::Own, Waits::Any] {
            for threads in [1, 2, 4] {
                let pool = pool_with(|b| b.num_threads(threads).spare_threads(0).waits(waits));
                let gate = Held(Gate::default());
                let inside = Barrier::new(threads + 1);
                thread::scope(|outside| {
                    for _ in 0..threads {
                        outside.spawn(|| {
                            pool.install(|| {
                                inside.wait();
                                gate.0.pass();
                            })
                        });
                    }
                    inside.wait();
                    for started in [false, true] {
                        run_twenty_tasks(&pool);
                        if !started {
                            pool.broadcast(|_| ());
                        }
                    }
                    gate.open();
                });
            }
        }
    });
}

#[test]
fn panics_of_a_scope_on_workers_reach_its_caller() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(2));
        let ran = AtomicUsize::new(0);
        let text = panic_of(|| {
            pool.scope_on_workers(|s| {
                s.spawn(|_| panic!("task"));
                s.spawn(|_| {
                    ran.fetch_add(1, Ordering::Relaxed);
                });
            })
        });
        assert_eq!(text, "task");
        let text = panic_of(|| {
            pool.scope_on_workers(|s| {
                s.spawn(|_| {
                    ran.fetch_add(1, Ordering::Relaxed);
                });
                panic!("body")
            })
        });
        assert_eq!((text.as_str(), ran.into_inner()), ("body", 2));
    });
}

#[test]
fn a_scope_on_workers_outlives_the_shutdown() {
    watched(|| {
        let pool = pool_with(|b| b.num_threads(2));
        pool.shutdown();
        let ran = AtomicUsize::new(0);
        pool.scope_on_workers(|s| {
            for _ in 0..10 {
                s.spawn(|s| {
                    s.spawn(|_| {
                        ran.fetch_add(1, Ordering::Relaxed);
                    })
                });
            }
        });
        assert_eq!(ran.into_inner(), 10);
    });
}

/// A worker that runs the tasks of a scope still takes broadcast tasks and tasks of high priority first, and normal tasks from outside now and then.
#[test]
fn a_worker_in_a_scope_takes_what_comes_first() {
    watched(|| {
        for waits in [Waits::Own, Waits::Any] {
            let pool = pool_with(|b| b.num_threads(1).spare_threads(0).waits(waits));
            let ended = Arc::new(AtomicUsize::new(0));
            let read = |ended: &Arc<AtomicUsize>| {
                let ended = Arc::clone(ended);
                move || ended.load(Ordering::Relaxed)
            };
            let (sender, handles) = mpsc::channel();
            let broadcast = AtomicUsize::new(usize::MAX);
            pool.scope_on_workers(|s| {
                let (pool, ended, read, broadcast) = (&pool, &ended, &read, &broadcast);
                s.spawn(move |s| {
                    for _ in 0..1000 {
                        s.spawn(|_| {
                            ended.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                    s.spawn_broadcast(|_, _| broadcast.store(read(ended)(), Ordering::Relaxed));
                    let high = pool.task().priority(Priority::High).submit(read(ended));
                    // From outside, since a worker would queue a normal task for itself.
                    let (pool, task) = (pool.clone(), read(ended));
                    let normal = thread::spawn(move || pool.submit(task)).join().unwrap();
                    sender.send((high, normal)).unwrap();
                });
            });
            let (high, normal) = handles.recv().unwrap();
            assert_eq!(high.join().unwrap(), 0);
            assert!(normal.join().unwrap() < 200);
            let broadcast = broadcast.into_inner();
            assert_eq!(broadcast, if waits == Waits::Own { 0 } else { 1000 });
        }
    });
}

/// The only worker polls a future that is always ready, and still takes the tasks of a scope.
#[test]
fn a_scope_on_workers_runs_beside_a_future_that_yields() {
    watched(|| {
        for waits in [Waits::Own, Waits::Any] {
            let pool = pool_with(|b| b.num_threads(1).spare_threads(0).waits(waits));
            let stop = Arc::new(AtomicBool::new(false));
            let stopped = Arc::clone(&stop);
            let future = pool.submit_async(async move {
                while !stopped.load(Ordering::Relaxed) {
                    heist::yield_async().await;
                }
            });
            run_twenty_tasks(&pool);
            stop.store(true, Ordering::Relaxed);
            future.join().unwrap();
        }
    });
}

/// A waker that is called when a future of a scope has ended waits until the scope has ended.
#[test]
fn a_scopes_end_needs_no_waker_to_return() {
    struct WaitsForTheScope(AtomicBool);
    impl Wake for WaitsForTheScope {
        fn wake(self: Arc<Self>) {
            spin_until(|| self.0.load(Ordering::Acquire));
        }
    }
    watched(|| {
        let pool = pool_with(|b| b.num_threads(1).spare_threads(0));
        let waits = Arc::new(WaitsForTheScope(AtomicBool::new(false)));
        pool.scope_on_workers(|s| {
            let waits = &waits;
            s.spawn(move |s| {
                let mut future = s.submit_async(async { 1 });
                let waker = Waker::from(Arc::clone(waits));
                let poll = Pin::new(&mut future).poll(&mut Context::from_waker(&waker));
                assert!(poll.is_pending());
                future.detach();
            });
        });
        waits.0.store(true, Ordering::Release);
    });
}
